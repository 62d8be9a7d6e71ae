//! Waking a loop from any thread, at any time, after anything.
//!
//! The registry is the only process-wide state of uvws. A token is an index that is never reused;
//! its cell is emptied *before* the handle is closed, under the same lock that `wake` takes to
//! signal it. A token that outlives its context is therefore safe for ever: it finds nothing.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use libuv_sys2 as sys;

use super::error::UvError;
use super::event_loop::Loop;
use super::handle::{Core, Owner};
use super::symbols::Symbols;

/// Called on the loop's thread after one or more wakes.
pub(crate) trait WakeOwner: Owner {
    /// Somebody asked the loop to look; many requests may have been merged into this call.
    fn woken(&self);
}

/// A registered `uv_async_t` that does not keep the loop alive.
pub(crate) struct Wake {
    core: Rc<Core<sys::uv_async_t, dyn WakeOwner>>,
    token: u64,
}

impl Wake {
    /// Initialises the handle and registers it.
    pub(crate) fn new(on: Loop, owner: Rc<dyn WakeOwner>) -> Result<Self, UvError> {
        let core = Core::new(on, owner, |on, raw| {
            // SAFETY: U6 and a live loop; `raw` is ours and pinned (U1).
            unsafe { (on.uv().uv_async_init)(on.as_ptr(), raw, Some(on_wake)) }
        })?;
        core.set_ref(false);
        let target = Target { handle: core.raw()?, uv: on.uv() };
        let mut registry = registry();
        registry.next += 1;
        let token = registry.next;
        registry.targets.insert(token, target);
        drop(registry);
        Ok(Self { core, token })
    }

    /// Returns the token with which any thread can wake the loop.
    pub(crate) fn token(&self) -> u64 {
        self.token
    }

    /// Lets the handle keep the loop alive, or not.
    pub(crate) fn set_ref(&self, keep_alive: bool) {
        self.core.set_ref(keep_alive);
    }

    /// Unregisters the token and starts closing; the owner hears `closed`.
    pub(crate) fn close(&self) {
        registry().targets.remove(&self.token);
        self.core.close();
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        registry().targets.remove(&self.token);
    }
}

/// Wakes the loop behind `token`. Returns false when that context is gone. Callable from any
/// thread.
pub(crate) fn wake(token: u64) -> bool {
    let registry = registry();
    match registry.targets.get(&token) {
        Some(target) => {
            // SAFETY: W1: a registered handle is not closing, because `close` removes it under the
            // lock held here before it calls uv_close. uv_async_send may be called from any thread.
            unsafe { (target.uv.uv_async_send)(target.handle) == 0 }
        }
        None => false,
    }
}

struct Target {
    handle: *mut sys::uv_async_t,
    uv: &'static Symbols,
}

// SAFETY: W1 (see `wake`): the pointer is used only under the registry's lock, only for
// uv_async_send, which libuv documents as safe from any thread.
unsafe impl Send for Target {}

#[derive(Default)]
struct Registry {
    /// The last token handed out. 2^64 tokens are never used up.
    next: u64,
    targets: HashMap<u64, Target>,
}

fn registry() -> MutexGuard<'static, Registry> {
    static REGISTRY: OnceLock<Mutex<Registry>> = OnceLock::new();
    // No code between lock and unlock can panic half-way through a change, so a poisoned lock
    // guards intact data.
    REGISTRY.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

unsafe extern "C" fn on_wake(raw: *mut sys::uv_async_t) {
    // SAFETY: U4: only `Wake::new` registers this callback.
    let core = unsafe { Core::<sys::uv_async_t, dyn WakeOwner>::from_raw(raw) };
    core.call("panic:uv_async_cb", |owner| owner.woken());
}
