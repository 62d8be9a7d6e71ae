//! The system calls of the addon, those that the standard library makes for it included.
//!
//! # Invariant that the `SAFETY:` notes cite
//! - **F1 same**: a function here has the signature of the system's function of the same name, and
//!   hands on the arguments it was given.

use std::ffi::{c_int, c_ulong, c_void};

use libc::{epoll_event, iovec, sockaddr, socklen_t, ssize_t};

use crate::{at, behind, SHORT};

fn fail(errno: c_int) {
    // SAFETY: the place of this thread's error number.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: that place, which nobody else writes to meanwhile.
    unsafe { place.write(errno) };
}

macro_rules! points {
    ($(fn $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty $({ $short:expr })?;)*) => {$(
        /// Fails as the plan says, or does what it is called for.
        ///
        /// # Safety
        /// That of the function behind it.
        #[no_mangle]
        #[allow(unused_mut)]
        pub unsafe extern "C" fn $name($(mut $arg: $ty),*) -> $ret {
            match at(stringify!($name)) {
                Some(SHORT) => { $($short)? }
                Some(errno) => {
                    fail(errno);
                    return -1;
                }
                None => {}
            }
            type Function = unsafe extern "C" fn($($ty),*) -> $ret;
            let function = behind(concat!(stringify!($name), "\0"));
            // SAFETY: F1.
            let function = unsafe { std::mem::transmute::<*mut c_void, Function>(function) };
            // SAFETY: F1.
            unsafe { function($($arg),*) }
        }
    )*};
}

points! {
    fn socket(family: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn bind(socket: c_int, address: *const sockaddr, len: socklen_t) -> c_int;
    fn listen(socket: c_int, backlog: c_int) -> c_int;
    fn accept4(socket: c_int, address: *mut sockaddr, len: *mut socklen_t, flags: c_int) -> c_int;
    fn connect(socket: c_int, address: *const sockaddr, len: socklen_t) -> c_int;
    fn getsockopt(socket: c_int, level: c_int, name: c_int, value: *mut c_void, len: *mut socklen_t) -> c_int;
    fn setsockopt(socket: c_int, level: c_int, name: c_int, value: *const c_void, len: socklen_t) -> c_int;
    fn getsockname(socket: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int;
    fn getpeername(socket: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int;
    fn shutdown(socket: c_int, how: c_int) -> c_int;
    fn recv(socket: c_int, bytes: *mut c_void, len: usize, flags: c_int) -> ssize_t;
    fn send(socket: c_int, bytes: *const c_void, len: usize, flags: c_int) -> ssize_t { len = len.min(1) };
    fn writev(file: c_int, parts: *const iovec, count: c_int) -> ssize_t { count = count.min(1) };
    fn epoll_create1(flags: c_int) -> c_int;
    fn epoll_ctl(set: c_int, operation: c_int, file: c_int, event: *mut epoll_event) -> c_int;
    fn epoll_wait(set: c_int, events: *mut epoll_event, room: c_int, timeout: c_int) -> c_int;
    // The system's have more arguments at times; what the addon calls them for has one.
    fn ioctl(file: c_int, request: c_ulong, argument: *mut c_void) -> c_int;
    fn fcntl(file: c_int, command: c_int, argument: *mut c_void) -> c_int;
}
