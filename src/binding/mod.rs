//! The only code that touches Node-API. It converts and delegates.
//!
//! Two planes: the functions of [`control`] are made by napi-rs and called a few times per
//! connection at most; those of [`hot`] are plain Node-API callbacks, because a message may pay for
//! one crossing but not for a wrapper around it.
//!
//! # Invariants that the `SAFETY:` notes cite
//!
//! - **N1 env**: `env` is the live environment of the current call, or of the loop turn that the
//!   environment runs; everything here happens on its thread.
//! - **N2 data**: a function's `data`, and the instance data, point at the [`Environment`], which
//!   the instance data keeps alive until its finalizer, after which no function can be called.
//! - **N3 scope**: values are used only within the handle scope that was open when they were made.
//! - **N4 refs**: a reference is deleted once, at the latest in the cleanup hook.
//! - **N5 memory**: memory shown to JavaScript is freed by the finalizer of its ArrayBuffer; a block,
//!   which is reference counted, by the last holder of a count, of which that is one. So it outlives
//!   every view that its environment has, and detaching it frees nothing of ours.
//! - **N6 records**: the record array is `lib/`'s own and never detached, so its memory stays in place.
//!   It is kept alive by a reference until the delegate is silent, which whoever uses it asks first, and
//!   by the handle scope of a delivery until that ends, whatever happens meanwhile. `lib/` gives it to
//!   another context once the last record of this one has been delivered. What ran behind that record may
//!   have thrown, and then the header is read once more: it is of the new one then, which is between two
//!   deliveries and has nothing left, either.

mod admission;
mod control;
mod delegate;
mod environment;
#[cfg(feature = "faults")]
mod faults;
mod hot;
mod memory;
mod publishing;
mod stats;
mod tls;
mod values;

use napi::bindgen_prelude::*;
use napi_derive::napi;

use environment::Environment;

/// Runs once for each environment that loads the addon.
#[napi(module_exports)]
pub(crate) fn module_exports(exports: Object, env: Env) -> Result<()> {
    let environment = Environment::attach(env.raw())
        .map_err(|message| Error::new(Status::GenericFailure, message))?;
    // SAFETY: N1: Node is calling the module's init; `exports` belongs to the same call.
    unsafe { hot::export(env.raw(), exports.raw(), &environment) };
    Ok(())
}
