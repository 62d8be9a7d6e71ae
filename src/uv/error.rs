//! libuv's error numbers.

use std::ffi::{c_char, c_int, CStr};
use std::fmt;

use libuv_sys2 as sys;

use super::symbols::Symbols;

/// A negative libuv error number, such as `UV_ECONNRESET`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct UvError(c_int);

impl UvError {
    /// The peer has ended its side of the stream.
    pub(crate) const EOF: Self = Self(sys::uv_errno_t_UV_EOF);
    /// The handle is closed or closing, or the argument is not acceptable.
    pub(crate) const EINVAL: Self = Self(sys::uv_errno_t_UV_EINVAL);
    /// Nothing could be done now without waiting.
    pub(crate) const EAGAIN: Self = Self(sys::uv_errno_t_UV_EAGAIN);
    /// There is no memory.
    pub(crate) const ENOMEM: Self = Self(sys::uv_errno_t_UV_ENOMEM);
    /// The address family is not supported here.
    pub(crate) const EAFNOSUPPORT: Self = Self(sys::uv_errno_t_UV_EAFNOSUPPORT);
    /// The address does not exist on this machine.
    pub(crate) const EADDRNOTAVAIL: Self = Self(sys::uv_errno_t_UV_EADDRNOTAVAIL);
    /// It was given up.
    pub(super) const ECANCELED: Self = Self(sys::uv_errno_t_UV_ECANCELED);
    /// A signal came first.
    #[cfg(target_os = "linux")]
    pub(super) const EINTR: Self = Self(sys::uv_errno_t_UV_EINTR);
    /// The peer has gone before its connection was accepted.
    #[cfg(target_os = "linux")]
    pub(super) const ECONNABORTED: Self = Self(sys::uv_errno_t_UV_ECONNABORTED);
    /// What the peer has sent is not acceptable.
    pub(crate) const EPROTO: Self = Self(sys::uv_errno_t_UV_EPROTO);
    /// The name does not resolve.
    pub(crate) const EAI_NONAME: Self = Self(sys::uv_errno_t_UV_EAI_NONAME);

    /// Turns a libuv status into a result.
    pub(super) fn check(status: c_int) -> Result<c_int, Self> {
        if status < 0 {
            Err(Self(status))
        } else {
            Ok(status)
        }
    }

    /// Takes the error of a system call of ours, whose number is the negative of libuv's.
    #[cfg(target_os = "linux")]
    pub(super) fn from_system(error: &std::io::Error) -> Self {
        Self(error.raw_os_error().map_or(sys::uv_errno_t_UV_EINVAL, |errno| -errno))
    }

    /// Returns the number: negative, as Node shows it in `error.errno`.
    pub(crate) fn errno(self) -> i32 {
        self.0
    }

    /// Returns the name, such as `ECONNRESET`.
    pub(crate) fn name(self) -> String {
        self.text(|uv| uv.uv_err_name_r)
    }

    /// Returns the description, such as `connection reset by peer`.
    pub(crate) fn message(self) -> String {
        self.text(|uv| uv.uv_strerror_r)
    }

    fn text(
        self,
        function: fn(&Symbols) -> unsafe extern "C" fn(c_int, *mut c_char, usize) -> *mut c_char,
    ) -> String {
        let Ok(uv) = Symbols::load() else {
            return format!("UV_{}", self.0);
        };
        let mut buf = [0 as c_char; 128];
        // SAFETY: U6; libuv writes at most `len` bytes and ends them with a NUL.
        unsafe { function(uv)(self.0, buf.as_mut_ptr(), buf.len()) };
        // SAFETY: the NUL stands within `buf`, which outlives the borrow.
        unsafe { CStr::from_ptr(buf.as_ptr()) }.to_string_lossy().into_owned()
    }
}

impl fmt::Debug for UvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UvError({} {})", self.0, self.name())
    }
}

impl fmt::Display for UvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}
