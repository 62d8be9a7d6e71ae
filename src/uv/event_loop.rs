//! A borrowed event loop.

use std::ffi::{c_void, CStr};
use std::ptr::NonNull;

use libuv_sys2 as sys;

use super::symbols::{HostError, Symbols};

/// The host's loop and the functions to use on it. It is a guest's view: nothing here can run,
/// stop or close the loop.
#[derive(Clone, Copy)]
pub(crate) struct Loop {
    raw: NonNull<sys::uv_loop_t>,
    uv: &'static Symbols,
}

impl Loop {
    /// Wraps the loop that the host handed out, and checks the host's libuv on the way.
    ///
    /// # Safety
    /// `raw` is a live loop of the host's libuv, the caller is on its thread, and it outlives
    /// every handle made on it (the host's environment waits for our close callbacks).
    pub(crate) unsafe fn from_host(raw: NonNull<c_void>) -> Result<Self, HostError> {
        Ok(Self { raw: raw.cast(), uv: Symbols::load()? })
    }

    /// Returns the loop's cached time in milliseconds.
    pub(crate) fn now(self) -> u64 {
        // SAFETY: U6, and the loop is live by the contract of `from_host`.
        unsafe { (self.uv.uv_now)(self.raw.as_ptr()) }
    }

    /// Refreshes the cached time, so that a deadline armed after long work is not too early.
    pub(crate) fn update_time(self) {
        // SAFETY: U6, and the loop is live by the contract of `from_host`.
        unsafe { (self.uv.uv_update_time)(self.raw.as_ptr()) }
    }

    /// Returns the host's libuv version, such as `1.46.0`.
    pub(crate) fn version(self) -> String {
        // SAFETY: U6; the function takes no argument.
        let text = unsafe { (self.uv.uv_version_string)() };
        // SAFETY: libuv returns a static string that ends with a NUL.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }

    pub(super) fn as_ptr(self) -> *mut sys::uv_loop_t {
        self.raw.as_ptr()
    }

    pub(super) fn uv(self) -> &'static Symbols {
        self.uv
    }
}
