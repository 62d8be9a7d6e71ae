//! `uv_prepare_t` and `uv_check_t`: just before and just after the loop polls.

use std::rc::Rc;

use libuv_sys2 as sys;

use super::error::UvError;
use super::event_loop::Loop;
use super::handle::{guard, Core, Owner};

/// Called before each poll.
pub(crate) trait PrepareOwner: Owner {
    /// The loop is about to poll.
    fn before_poll(self: Rc<Self>);
}

/// Called after each poll.
pub(crate) trait CheckOwner: Owner {
    /// The loop has polled.
    fn after_poll(self: Rc<Self>);
}

/// A started `uv_prepare_t` that does not keep the loop alive until told to.
pub(crate) struct Prepare(Rc<Core<sys::uv_prepare_t, dyn PrepareOwner>>);

impl Prepare {
    /// Initialises and starts the watcher.
    pub(crate) fn start(on: Loop, owner: Rc<dyn PrepareOwner>) -> Result<Self, UvError> {
        let core = Core::new(on, owner, |on, raw| {
            // SAFETY: U6 and a live loop; `raw` is ours and pinned (U1).
            unsafe { (on.uv().uv_prepare_init)(on.as_ptr(), raw) }
        })?;
        let raw = core.raw()?;
        // SAFETY: U3: initialised just now. Fails only without a callback.
        unsafe { (on.uv().uv_prepare_start)(raw, Some(on_prepare)) };
        core.set_ref(false);
        Ok(Self(core))
    }

    /// Lets the watcher keep the loop alive, or not.
    pub(crate) fn set_ref(&self, keep_alive: bool) {
        self.0.set_ref(keep_alive);
    }

    /// Starts closing; the owner hears `closed`.
    pub(crate) fn close(&self) {
        self.0.close();
    }
}

/// A started `uv_check_t` that does not keep the loop alive.
pub(crate) struct Check(Rc<Core<sys::uv_check_t, dyn CheckOwner>>);

impl Check {
    /// Initialises and starts the watcher.
    pub(crate) fn start(on: Loop, owner: Rc<dyn CheckOwner>) -> Result<Self, UvError> {
        let core = Core::new(on, owner, |on, raw| {
            // SAFETY: U6 and a live loop; `raw` is ours and pinned (U1).
            unsafe { (on.uv().uv_check_init)(on.as_ptr(), raw) }
        })?;
        let raw = core.raw()?;
        // SAFETY: U3: initialised just now. Fails only without a callback.
        unsafe { (on.uv().uv_check_start)(raw, Some(on_check)) };
        core.set_ref(false);
        Ok(Self(core))
    }

    /// Starts closing; the owner hears `closed`.
    pub(crate) fn close(&self) {
        self.0.close();
    }
}

unsafe extern "C" fn on_prepare(raw: *mut sys::uv_prepare_t) {
    // SAFETY: U4: only `Prepare::start` registers this callback.
    let core = unsafe { Core::<sys::uv_prepare_t, dyn PrepareOwner>::from_raw(raw) };
    if let (true, Some(owner)) = (core.is_active(), core.owner()) {
        guard(|| owner.before_poll());
    }
}

unsafe extern "C" fn on_check(raw: *mut sys::uv_check_t) {
    // SAFETY: U4: only `Check::start` registers this callback.
    let core = unsafe { Core::<sys::uv_check_t, dyn CheckOwner>::from_raw(raw) };
    if let (true, Some(owner)) = (core.is_active(), core.owner()) {
        guard(|| owner.after_poll());
    }
}
