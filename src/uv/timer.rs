//! `uv_timer_t`, one shot.

use std::rc::Rc;

use libuv_sys2 as sys;

use super::error::UvError;
use super::event_loop::Loop;
use super::handle::{Core, Owner};

/// Called when the timer is due.
pub(crate) trait TimerOwner: Owner {
    /// The time has come. The timer is stopped and may be armed again.
    fn due(self: Rc<Self>);
}

/// A timer that does not keep the loop alive.
pub(crate) struct Timer(Rc<Core<sys::uv_timer_t, dyn TimerOwner>>);

impl Timer {
    /// Initialises the timer; it is not armed yet.
    pub(crate) fn new(on: Loop, owner: Rc<dyn TimerOwner>) -> Result<Self, UvError> {
        let core = Core::new(on, owner, |on, raw| {
            // SAFETY: U6 and a live loop; `raw` is ours and pinned (U1).
            unsafe { (on.uv().uv_timer_init)(on.as_ptr(), raw) }
        })?;
        core.set_ref(false);
        Ok(Self(core))
    }

    /// Arms the timer to fire once after `timeout` milliseconds, replacing an earlier arming.
    pub(crate) fn arm(&self, timeout: u64) {
        if let Ok(raw) = self.0.raw() {
            // SAFETY: U3: active. Fails only when closing or without a callback.
            unsafe { (self.0.on().uv().uv_timer_start)(raw, Some(on_timer), timeout, 0) };
        }
    }

    /// Starts closing; the owner hears `closed`.
    pub(crate) fn close(&self) {
        self.0.close();
    }
}

unsafe extern "C" fn on_timer(raw: *mut sys::uv_timer_t) {
    // SAFETY: U4: only `Timer::arm` registers this callback.
    let core = unsafe { Core::<sys::uv_timer_t, dyn TimerOwner>::from_raw(raw) };
    core.call("panic:uv_timer_cb", |owner| owner.due());
}
