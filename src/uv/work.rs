//! `uv_queue_work`: computation on libuv's thread pool, never on the loop's thread.

use std::cell::Cell;
use std::ffi::c_int;
use std::ptr;
use std::rc::Rc;

use libuv_sys2 as sys;

use super::error::UvError;
use super::event_loop::Loop;
use super::handle::{call, guard, Owner};
use super::request;
use super::told::{run, told};

/// Something to compute. It crosses to another thread and back, so that the compiler holds that
/// nothing of a loop, a connection or JavaScript is in it.
pub(crate) trait Job: Send + 'static {
    /// Runs once, on a thread of the pool.
    fn run(&mut self);
}

/// Called back on the loop's thread, by each function exactly once for each job.
pub(crate) trait WorkOwner<J: Job>: Owner {
    /// The job is back. It has not run to its end if it was cancelled before, or has panicked.
    fn work_ended(self: Rc<Self>, job: J, is_done: bool);
    /// Nothing more comes of the job, also where `work_ended` has panicked.
    fn work_over(&self);
}

/// A job under way. Dropping it takes the job back from the pool's queue if it has not begun; the
/// owner is called in any case.
pub(crate) struct Work {
    /// Null once the callback has run.
    request: Rc<Cell<*mut sys::uv_req_t>>,
    on: Loop,
}

/// What the request keeps. A thread of the pool touches the first two (U7).
struct Queued<J: Job> {
    job: J,
    is_done: bool,
    place: Rc<Cell<*mut sys::uv_req_t>>,
    owner: Rc<dyn WorkOwner<J>>,
}

/// Runs `job` on the thread pool, then calls `owner`.
pub(crate) fn queue_work<J: Job>(
    on: Loop,
    job: J,
    owner: Rc<dyn WorkOwner<J>>,
) -> Result<Work, UvError> {
    let place = Rc::new(Cell::new(ptr::null_mut()));
    let queued = Queued { job, is_done: false, place: Rc::clone(&place), owner };
    let request = request::start(queued, |request| {
        // SAFETY: U5, U6 and a live loop.
        unsafe {
            (on.uv().uv_queue_work)(on.as_ptr(), request, Some(on_run::<J>), Some(on_ended::<J>))
        }
    })?;
    // The callback on this thread cannot run before this returns.
    place.set(request.cast());
    Ok(Work { request: place, on })
}

impl Drop for Work {
    fn drop(&mut self) {
        let request = self.request.get();
        if !request.is_null() {
            // SAFETY: U5: not null means the callback has not run, so the request is live.
            // EBUSY (already running) is fine: the callback follows all the same.
            unsafe { (self.on.uv().uv_cancel)(request) };
        }
    }
}

/// Runs on a thread of the pool.
unsafe extern "C" fn on_run<J: Job>(raw: *mut sys::uv_work_t) {
    // SAFETY: U5: only `queue_work` registers this callback.
    let queued = unsafe { request::kept::<_, Queued<J>>(raw) };
    // SAFETY: U7: until the callback on the loop's thread nobody else touches `job`.
    let job = unsafe { &mut (*queued).job };
    let is_done = !guard(|| run("panic:uv_work_cb", || job.run()));
    // SAFETY: U7: nor does anybody touch `is_done`, which stands beside it.
    unsafe { (*queued).is_done = is_done };
}

unsafe extern "C" fn on_ended<J: Job>(raw: *mut sys::uv_work_t, status: c_int) {
    // SAFETY: U5: only `queue_work` registers this callback.
    let Queued { job, is_done, place, owner } = unsafe { request::take::<_, Queued<J>>(raw) };
    place.set(ptr::null_mut());
    // What was cancelled has not run.
    let is_done = is_done && told("uv_after_work_cb", status) == 0;
    let waiting = Rc::clone(&owner);
    call("panic:uv_after_work_cb", owner, |owner| owner.work_ended(job, is_done));
    // Last: an ending environment may be waiting for what the owner does.
    guard(move || waiting.work_over());
}
