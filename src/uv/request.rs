//! Requests: what libuv works on between a call and its callback.

use std::ffi::c_int;

use libuv_sys2 as sys;

use super::error::UvError;

/// A libuv request.
///
/// # Safety
/// The implementing type is plain data, and all zeroes are what it may be before it is started.
pub(super) unsafe trait RawRequest {}

// SAFETY: libuv documents these as requests, and reads nothing of them before it has written it.
unsafe impl RawRequest for sys::uv_connect_t {}
// SAFETY: libuv documents it as a request, too.
unsafe impl RawRequest for sys::uv_write_t {}
// SAFETY: libuv documents it as a request, too.
unsafe impl RawRequest for sys::uv_shutdown_t {}
// SAFETY: libuv documents it as a request, too.
unsafe impl RawRequest for sys::uv_getaddrinfo_t {}
// SAFETY: libuv documents it as a request, too.
unsafe impl RawRequest for sys::uv_work_t {}

/// A request and what is kept for it. The address of the one is that of both.
#[repr(C)]
struct Request<R, T> {
    raw: R,
    kept: T,
}

/// Starts a request by `call`, and keeps `kept` until the callback has it back by [`take`]. Drops it if
/// libuv refuses the request.
pub(super) fn start<R: RawRequest, T>(
    kept: T,
    call: impl FnOnce(*mut R) -> c_int,
) -> Result<*mut R, UvError> {
    // SAFETY: by the contract of `RawRequest`.
    let raw = unsafe { std::mem::zeroed::<R>() };
    let request = Box::into_raw(Box::new(Request { raw, kept }));
    match UvError::check(call(request.cast())) {
        Ok(_) => Ok(request.cast()),
        Err(error) => {
            // SAFETY: U5: libuv has refused the request and will not call back, so the box is ours.
            drop(unsafe { Box::from_raw(request) });
            Err(error)
        }
    }
}

/// Takes back what was kept for a request.
///
/// # Safety
/// U5: `raw` was started by [`start`] with a `T`, and this is its callback, which takes it once.
pub(super) unsafe fn take<R: RawRequest, T>(raw: *mut R) -> T {
    // SAFETY: by the contract of this function.
    let request = unsafe { Box::from_raw(raw.cast::<Request<R, T>>()) };
    request.kept
}

/// The place of what is kept for a request.
///
/// # Safety
/// U5: `raw` was started by [`start`] with a `T`, and its callback has not run.
pub(super) unsafe fn kept<R: RawRequest, T>(raw: *mut R) -> *mut T {
    // SAFETY: by the contract of this function.
    unsafe { &raw mut (*raw.cast::<Request<R, T>>()).kept }
}
