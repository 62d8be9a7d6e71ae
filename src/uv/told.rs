//! What libuv tells a callback, or what a test has planned in its place.
//!
//! Without the feature `faults` there is nothing here: it is what libuv says, and nothing panics by plan.

use std::ffi::c_int;

/// The error that the callback `point` is to be told of now, if a test has planned one.
#[cfg(feature = "faults")]
pub(super) fn planned(point: &'static str) -> Option<c_int> {
    uvws_faults::at(point).map(|errno| -errno)
}

/// As above, without tests.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub(super) fn planned(_point: &'static str) -> Option<c_int> {
    None
}

/// Runs the body of a callback, which panics if a test has planned that for `point`.
#[cfg(feature = "faults")]
pub(super) fn run(point: &'static str, body: impl FnOnce()) {
    uvws_faults::panics(point, body);
}

/// As above, without tests.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub(super) fn run(_point: &'static str, body: impl FnOnce()) {
    body();
}

/// The status with which libuv calls the callback `point`, or a planned error.
#[inline(always)]
pub(super) fn told(point: &'static str, status: c_int) -> c_int {
    planned(point).unwrap_or(status)
}
