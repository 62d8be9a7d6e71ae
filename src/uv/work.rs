//! `uv_queue_work`: computation on libuv's thread pool, never on the loop's thread.

use std::cell::Cell;
use std::ffi::c_int;
use std::ptr;
use std::rc::Rc;

use libuv_sys2 as sys;

use super::error::UvError;
use super::event_loop::Loop;
use super::handle::guard;

/// Something to compute. It crosses to another thread and back, so that the compiler holds that
/// nothing of a loop, a connection or JavaScript is in it.
pub(crate) trait Job: Send + 'static {
    /// Runs once, on a thread of the pool.
    fn run(&mut self);
}

/// Called back on the loop's thread, exactly once for each job.
pub(crate) trait WorkOwner<J: Job> {
    /// The job is back. It has not run to its end if it was cancelled before, or has panicked.
    fn work_ended(self: Rc<Self>, job: J, is_done: bool);
}

/// A job under way. Dropping it takes the job back from the pool's queue if it has not begun; the
/// owner is called in any case.
pub(crate) struct Work {
    /// Null once the callback has run.
    request: Rc<Cell<*mut sys::uv_req_t>>,
    on: Loop,
}

struct Request<J: Job> {
    raw: sys::uv_work_t,
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
    // SAFETY: uv_work_t is plain data that libuv initialises.
    let raw = unsafe { std::mem::zeroed::<sys::uv_work_t>() };
    let place = Rc::new(Cell::new(ptr::null_mut()));
    let request = Box::into_raw(Box::new(Request {
        raw,
        job,
        is_done: false,
        place: Rc::clone(&place),
        owner,
    }));
    // SAFETY: `request` is a live box that nothing else refers to.
    let raw_request = unsafe { &raw mut (*request).raw };
    // SAFETY: as above; libuv leaves `data` alone.
    unsafe { (*raw_request).data = request.cast() };
    // The request pointer that uv_cancel takes is the libuv structure.
    place.set(raw_request.cast());
    // SAFETY: U5: the box stays until the callback on the loop's thread, which cannot run before this
    // returns.
    let status = unsafe {
        (on.uv().uv_queue_work)(on.as_ptr(), raw_request, Some(on_run::<J>), Some(on_ended::<J>))
    };
    if let Err(error) = UvError::check(status) {
        // SAFETY: U5: libuv refused the request and will not call back, so the box is ours again.
        drop(unsafe { Box::from_raw(request) });
        return Err(error);
    }
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
    // SAFETY: `data` was set to the box by `queue_work`.
    let request = unsafe { (*raw).data }.cast::<Request<J>>();
    // SAFETY: U7: until the callback on the loop's thread nobody else touches `job`.
    let job = unsafe { &mut (*request).job };
    let is_done = !guard(|| job.run());
    // SAFETY: U7, as above, for `is_done`.
    unsafe { (*request).is_done = is_done };
}

unsafe extern "C" fn on_ended<J: Job>(raw: *mut sys::uv_work_t, _status: c_int) {
    // SAFETY: `data` was set to the box by `queue_work`.
    let request = unsafe { (*raw).data };
    // SAFETY: U5: libuv gives the request back.
    let request = unsafe { Box::from_raw(request.cast::<Request<J>>()) };
    let Request { job, is_done, place, owner, .. } = *request;
    place.set(ptr::null_mut());
    // Last: an ending environment may be waiting for what the owner does.
    guard(|| owner.work_ended(job, is_done));
}
