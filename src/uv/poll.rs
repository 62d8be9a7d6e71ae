//! `uv_poll_t`: a descriptor whose readiness the loop reports.

use std::ffi::c_int;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::rc::Rc;

use libuv_sys2 as sys;

use super::error::UvError;
use super::event_loop::Loop;
use super::handle::{Core, Owner};
use super::told::planned;

/// Called when the descriptor is readable.
pub(crate) trait PollOwner: Owner {
    /// There is something to read.
    fn readable(self: Rc<Self>);
    /// Whether there is something to read will not be known any more.
    fn unwatched(self: Rc<Self>);
}

type PollCore = Core<sys::uv_poll_t, dyn PollOwner>;

/// A `uv_poll_t` that does not keep the loop alive until told to.
pub(super) struct Poll(Rc<PollCore>);

impl Poll {
    /// Initialises the watcher; `start` follows. The descriptor must stay open until it is closed.
    pub(super) fn new(
        on: Loop,
        descriptor: BorrowedFd<'_>,
        owner: Rc<dyn PollOwner>,
    ) -> Result<Self, UvError> {
        let core = Core::new(on, owner, |on, raw| {
            // SAFETY: U6 and a live loop; `raw` is ours and pinned (U1).
            unsafe { (on.uv().uv_poll_init)(on.as_ptr(), raw, descriptor.as_raw_fd()) }
        })?;
        core.set_ref(false);
        Ok(Self(core))
    }

    /// Starts to watch.
    pub(super) fn start(&self) -> Result<(), UvError> {
        watch(&self.0, READABLE)
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

const READABLE: c_int = sys::uv_poll_event_UV_READABLE as c_int;

/// Starts to watch for `events`, or stops if there are none.
fn watch(core: &PollCore, events: c_int) -> Result<(), UvError> {
    let raw = core.raw()?;
    // SAFETY: U3: active.
    let status = unsafe { (core.on().uv().uv_poll_start)(raw, events, Some(on_readable)) };
    UvError::check(status).map(drop)
}

unsafe extern "C" fn on_readable(raw: *mut sys::uv_poll_t, status: c_int, _events: c_int) {
    // SAFETY: U4: only `watch` registers this callback.
    let core = unsafe { PollCore::from_raw(raw) };
    let status = match planned("uv_poll_cb") {
        Some(error) => {
            // As libuv has done where it tells of an error.
            let _ = watch(core, 0);
            error
        }
        None => status,
    };
    // It may be watched again.
    let is_watched = status >= 0 || watch(core, READABLE).is_ok();
    core.call(
        "panic:uv_poll_cb",
        |owner| if is_watched { owner.readable() } else { owner.unwatched() },
    );
}
