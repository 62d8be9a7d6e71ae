//! `uv_poll_t`: a descriptor whose readiness the loop reports.

use std::ffi::c_int;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::rc::Rc;

use libuv_sys2 as sys;

use super::error::UvError;
use super::event_loop::Loop;
use super::handle::{guard, Core, Owner};

/// Called when the descriptor is readable.
pub(crate) trait PollOwner: Owner {
    /// There is something to read.
    fn readable(self: Rc<Self>);
}

/// A started `uv_poll_t` that does not keep the loop alive until told to.
pub(super) struct Poll(Rc<Core<sys::uv_poll_t, dyn PollOwner>>);

impl Poll {
    /// Initialises and starts the watcher. The descriptor must stay open until it is closed.
    pub(super) fn start(
        on: Loop,
        descriptor: BorrowedFd<'_>,
        owner: Rc<dyn PollOwner>,
    ) -> Result<Self, UvError> {
        let core = Core::new(on, owner, |on, raw| {
            // SAFETY: U6 and a live loop; `raw` is ours and pinned (U1).
            unsafe { (on.uv().uv_poll_init)(on.as_ptr(), raw, descriptor.as_raw_fd()) }
        })?;
        let raw = core.raw()?;
        let events = sys::uv_poll_event_UV_READABLE as c_int;
        // SAFETY: U3: initialised just now. Never fails where descriptors are polled natively.
        unsafe { (on.uv().uv_poll_start)(raw, events, Some(on_readable)) };
        core.set_ref(false);
        Ok(Self(core))
    }

    /// Lets the watcher keep the loop alive, or not.
    pub(super) fn set_ref(&self, keep_alive: bool) {
        self.0.set_ref(keep_alive);
    }

    /// Starts closing; the owner hears `closed`. The descriptor may be closed from here on.
    pub(super) fn close(&self) {
        self.0.close();
    }
}

unsafe extern "C" fn on_readable(raw: *mut sys::uv_poll_t, _status: c_int, _events: c_int) {
    // SAFETY: U4: only `Poll::start` registers this callback.
    let core = unsafe { Core::<sys::uv_poll_t, dyn PollOwner>::from_raw(raw) };
    if let (true, Some(owner)) = (core.is_active(), core.owner()) {
        guard(|| owner.readable());
    }
}
