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
//! - **N5 block**: a memory block shown to JavaScript is reference counted; the finalizer of its
//!   ArrayBuffer holds one count, so it outlives every view, and detaching it frees nothing of ours.
//! - **N6 records**: the record array is `lib/`'s own and never detached; while a delegate is not
//!   silent, its reference keeps the array alive and its memory in place.

mod control;
mod delegate;
mod environment;
mod hot;
mod publishing;
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
