//! `uv_idle_t` and `uv_check_t`: before the loop polls, and just after.

use std::cell::Cell;
use std::rc::Rc;

use libuv_sys2 as sys;

use super::error::UvError;
use super::event_loop::Loop;
use super::handle::{Core, Owner};

/// Called before each poll while started.
pub(crate) trait IdleOwner: Owner {
    /// The loop is about to poll.
    fn before_poll(self: Rc<Self>);
}

/// Called after each poll.
pub(crate) trait CheckOwner: Owner {
    /// The loop has polled.
    fn after_poll(self: Rc<Self>);
}

/// A `uv_idle_t`. While it is started it keeps the loop alive and keeps it from blocking in a poll:
/// whatever waits for its owner waits no longer than one iteration.
pub(crate) struct Idle {
    core: Rc<Core<sys::uv_idle_t, dyn IdleOwner>>,
    is_started: Cell<bool>,
}

impl Idle {
    /// Initialises the watcher; it is not started yet.
    pub(crate) fn new(on: Loop, owner: Rc<dyn IdleOwner>) -> Result<Self, UvError> {
        let core = Core::new(on, owner, |on, raw| {
            // SAFETY: U6 and a live loop; `raw` is ours and pinned (U1).
            unsafe { (on.uv().uv_idle_init)(on.as_ptr(), raw) }
        })?;
        Ok(Self { core, is_started: Cell::new(false) })
    }

    /// Starts the watcher. Does nothing when it is started.
    #[inline]
    pub(crate) fn start(&self) {
        if !self.is_started.get() {
            self.try_to_start();
        }
    }

    fn try_to_start(&self) {
        if let Ok(raw) = self.core.raw() {
            // SAFETY: U3: active. Fails only without a callback.
            let status = unsafe { (self.core.on().uv().uv_idle_start)(raw, Some(on_idle)) };
            self.is_started.set(status == 0);
        }
    }

    /// Stops the watcher. Does nothing when it is stopped.
    pub(crate) fn stop(&self) {
        if let Ok(raw) = self.core.raw() {
            // SAFETY: U3: active. Never fails.
            unsafe { (self.core.on().uv().uv_idle_stop)(raw) };
            self.is_started.set(false);
        }
    }

    /// Starts closing; the owner hears `closed`.
    pub(crate) fn close(&self) {
        self.core.close();
    }
}

/// A `uv_check_t` that does not keep the loop alive.
pub(crate) struct Check(Rc<Core<sys::uv_check_t, dyn CheckOwner>>);

impl Check {
    /// Initialises the watcher; it is not started yet.
    pub(crate) fn new(on: Loop, owner: Rc<dyn CheckOwner>) -> Result<Self, UvError> {
        let core = Core::new(on, owner, |on, raw| {
            // SAFETY: U6 and a live loop; `raw` is ours and pinned (U1).
            unsafe { (on.uv().uv_check_init)(on.as_ptr(), raw) }
        })?;
        core.set_ref(false);
        Ok(Self(core))
    }

    /// Starts the watcher.
    pub(crate) fn start(&self) -> Result<(), UvError> {
        let raw = self.0.raw()?;
        // SAFETY: U3: active.
        let status = unsafe { (self.0.on().uv().uv_check_start)(raw, Some(on_check)) };
        UvError::check(status).map(drop)
    }

    /// Starts closing; the owner hears `closed`.
    pub(crate) fn close(&self) {
        self.0.close();
    }
}

unsafe extern "C" fn on_idle(raw: *mut sys::uv_idle_t) {
    // SAFETY: U4: only `Idle::start` registers this callback.
    let core = unsafe { Core::<sys::uv_idle_t, dyn IdleOwner>::from_raw(raw) };
    core.call("panic:uv_idle_cb", |owner| owner.before_poll());
}

unsafe extern "C" fn on_check(raw: *mut sys::uv_check_t) {
    // SAFETY: U4: only `Check::start` registers this callback.
    let core = unsafe { Core::<sys::uv_check_t, dyn CheckOwner>::from_raw(raw) };
    core.call("panic:uv_check_cb", |owner| owner.after_poll());
}
