//! The host's libuv, looked up at run time.
//!
//! Node exports the libuv that it runs on. Calling any other copy of libuv on Node's loop corrupts
//! memory, because private fields differ between releases; so nothing of libuv is linked, and every
//! function is found in the process. Types come from `libuv-sys2`.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::fmt;
use std::sync::OnceLock;

use libuv_sys2 as sys;

/// Why the host's libuv cannot be used.
#[derive(Debug, Clone)]
pub(crate) enum HostError {
    /// The process exports no such function: it does not run on libuv, or hides it.
    Missing(&'static str),
    /// The process runs on a libuv with another ABI.
    Version(u32),
    /// A structure of the host's libuv is larger than the memory we would give it.
    Size(&'static str),
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(
                f,
                "uvws needs a host that runs on libuv and exports it, as Node.js does: {name} was not found"
            ),
            Self::Version(v) => write!(
                f,
                "uvws needs libuv 1.x, and the host runs on {}.{}.{}",
                v >> 16,
                (v >> 8) & 0xff,
                v & 0xff
            ),
            Self::Size(name) => {
                write!(f, "uvws cannot use the host's libuv: its {name} is larger than expected")
            }
        }
    }
}

macro_rules! symbols {
    ($(fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)?;)*) => {
        /// One pointer for each libuv function in use.
        pub(super) struct Symbols {
            $(pub(super) $name: unsafe extern "C" fn($($arg: $ty),*) $(-> $ret)?,)*
        }

        impl Symbols {
            fn find() -> Result<Self, HostError> {
                let host = host_module().ok_or(HostError::Missing("the executable's module"))?;
                Ok(Self {
                    $($name: {
                        // SAFETY: U6: the type is the one libuv 1.x documents for this name.
                        let found = unsafe {
                            host.get::<unsafe extern "C" fn($($arg: $ty),*) $(-> $ret)?>(stringify!($name))
                        };
                        match found {
                            Ok(symbol) => *symbol,
                            Err(_) => return Err(HostError::Missing(stringify!($name))),
                        }
                    },)*
                })
            }
        }

        /// Stand in front of the host's functions, and fail as a test has planned it.
        #[cfg(feature = "faults")]
        mod faulty {
            use super::*;

            pub(super) static BEHIND: OnceLock<Symbols> = OnceLock::new();

            pub(super) fn table() -> Symbols {
                Symbols { $($name,)* }
            }

            $(unsafe extern "C" fn $name($($arg: $ty),*) $(-> $ret)? {
                let Some(behind) = BEHIND.get() else { std::process::abort() };
                match Fallible::fault(stringify!($name)) {
                    Some(fault) => fault,
                    // SAFETY: U6: the function of the same name, with the arguments of its caller.
                    None => unsafe { (behind.$name)($($arg),*) },
                }
            })*
        }
    };
}

/// What a function of libuv returns when it is made to fail; nothing, if it cannot fail.
#[cfg(feature = "faults")]
trait Fallible: Sized {
    fn fault(_point: &'static str) -> Option<Self> {
        None
    }
}

#[cfg(feature = "faults")]
mod fallible {
    use super::{c_char, c_int, c_uint, Fallible};

    impl Fallible for () {}
    impl Fallible for u64 {}
    impl Fallible for *const c_char {}
    impl Fallible for *mut c_char {}
    impl Fallible for c_int {
        fn fault(point: &'static str) -> Option<Self> {
            uvws_faults::at(point).map(|errno| -errno)
        }
    }
    impl Fallible for c_uint {
        fn fault(point: &'static str) -> Option<Self> {
            uvws_faults::at(point).map(|version| version as Self)
        }
    }
    impl Fallible for usize {
        fn fault(point: &'static str) -> Option<Self> {
            uvws_faults::at(point).map(|_| Self::MAX)
        }
    }
}

symbols! {
    fn uv_version() -> c_uint;
    fn uv_version_string() -> *const c_char;
    fn uv_handle_size(kind: sys::uv_handle_type) -> usize;
    fn uv_req_size(kind: sys::uv_req_type) -> usize;
    fn uv_err_name_r(err: c_int, buf: *mut c_char, len: usize) -> *mut c_char;
    fn uv_strerror_r(err: c_int, buf: *mut c_char, len: usize) -> *mut c_char;
    fn uv_now(event_loop: *const sys::uv_loop_t) -> u64;
    fn uv_update_time(event_loop: *mut sys::uv_loop_t);
    fn uv_close(handle: *mut sys::uv_handle_t, cb: sys::uv_close_cb);
    fn uv_fileno(handle: *const sys::uv_handle_t, fd: *mut sys::uv_os_fd_t) -> c_int;
    fn uv_ref(handle: *mut sys::uv_handle_t);
    fn uv_unref(handle: *mut sys::uv_handle_t);
    fn uv_tcp_init(event_loop: *mut sys::uv_loop_t, handle: *mut sys::uv_tcp_t) -> c_int;
    fn uv_tcp_open(handle: *mut sys::uv_tcp_t, sock: sys::uv_os_sock_t) -> c_int;
    fn uv_tcp_nodelay(handle: *mut sys::uv_tcp_t, enable: c_int) -> c_int;
    fn uv_tcp_keepalive(handle: *mut sys::uv_tcp_t, enable: c_int, delay: c_uint) -> c_int;
    fn uv_tcp_bind(handle: *mut sys::uv_tcp_t, address: *const c_void, flags: c_uint) -> c_int;
    fn uv_tcp_getsockname(handle: *const sys::uv_tcp_t, name: *mut c_void, len: *mut c_int) -> c_int;
    fn uv_tcp_getpeername(handle: *const sys::uv_tcp_t, name: *mut c_void, len: *mut c_int) -> c_int;
    fn uv_tcp_connect(req: *mut sys::uv_connect_t, handle: *mut sys::uv_tcp_t, address: *const c_void, cb: sys::uv_connect_cb) -> c_int;
    fn uv_listen(stream: *mut sys::uv_stream_t, backlog: c_int, cb: sys::uv_connection_cb) -> c_int;
    fn uv_accept(server: *mut sys::uv_stream_t, client: *mut sys::uv_stream_t) -> c_int;
    fn uv_read_start(stream: *mut sys::uv_stream_t, alloc: sys::uv_alloc_cb, read: sys::uv_read_cb) -> c_int;
    fn uv_read_stop(stream: *mut sys::uv_stream_t) -> c_int;
    fn uv_write(req: *mut sys::uv_write_t, stream: *mut sys::uv_stream_t, bufs: *const sys::uv_buf_t, n: c_uint, cb: sys::uv_write_cb) -> c_int;
    fn uv_try_write(stream: *mut sys::uv_stream_t, bufs: *const sys::uv_buf_t, n: c_uint) -> c_int;
    fn uv_stream_get_write_queue_size(stream: *const sys::uv_stream_t) -> usize;
    fn uv_shutdown(req: *mut sys::uv_shutdown_t, stream: *mut sys::uv_stream_t, cb: sys::uv_shutdown_cb) -> c_int;
    fn uv_timer_init(event_loop: *mut sys::uv_loop_t, handle: *mut sys::uv_timer_t) -> c_int;
    fn uv_timer_start(handle: *mut sys::uv_timer_t, cb: sys::uv_timer_cb, timeout: u64, repeat: u64) -> c_int;
    fn uv_idle_init(event_loop: *mut sys::uv_loop_t, handle: *mut sys::uv_idle_t) -> c_int;
    fn uv_idle_start(handle: *mut sys::uv_idle_t, cb: sys::uv_idle_cb) -> c_int;
    fn uv_idle_stop(handle: *mut sys::uv_idle_t) -> c_int;
    fn uv_check_init(event_loop: *mut sys::uv_loop_t, handle: *mut sys::uv_check_t) -> c_int;
    fn uv_check_start(handle: *mut sys::uv_check_t, cb: sys::uv_check_cb) -> c_int;
    fn uv_async_init(event_loop: *mut sys::uv_loop_t, handle: *mut sys::uv_async_t, cb: sys::uv_async_cb) -> c_int;
    fn uv_async_send(handle: *mut sys::uv_async_t) -> c_int;
    fn uv_poll_init(event_loop: *mut sys::uv_loop_t, handle: *mut sys::uv_poll_t, fd: c_int) -> c_int;
    fn uv_poll_start(handle: *mut sys::uv_poll_t, events: c_int, cb: sys::uv_poll_cb) -> c_int;
    fn uv_getaddrinfo(event_loop: *mut sys::uv_loop_t, req: *mut sys::uv_getaddrinfo_t, cb: sys::uv_getaddrinfo_cb, node: *const c_char, service: *const c_char, hints: *const sys::addrinfo) -> c_int;
    fn uv_freeaddrinfo(list: *mut sys::addrinfo);
    fn uv_queue_work(event_loop: *mut sys::uv_loop_t, req: *mut sys::uv_work_t, work: sys::uv_work_cb, after: sys::uv_after_work_cb) -> c_int;
    fn uv_cancel(req: *mut sys::uv_req_t) -> c_int;
}

/// The module in which the host's symbols are searched.
#[cfg(unix)]
fn host_module() -> Option<libloading::os::unix::Library> {
    // The global namespace of the process: the executable first, then the libraries it was linked
    // with, so a Node built with a shared libuv works too.
    Some(libloading::os::unix::Library::this())
}

/// The module in which the host's symbols are searched.
#[cfg(windows)]
fn host_module() -> Option<libloading::os::windows::Library> {
    libloading::os::windows::Library::this().ok()
}

impl Symbols {
    /// Returns the process-wide table, looked up and checked once.
    pub(super) fn load() -> Result<&'static Self, HostError> {
        static TABLE: OnceLock<Result<Symbols, HostError>> = OnceLock::new();
        TABLE
            .get_or_init(|| {
                let table = Self::find()?;
                #[cfg(feature = "faults")]
                let table = {
                    let _ = faulty::BEHIND.set(table);
                    faulty::table()
                };
                table.check()?;
                Ok(table)
            })
            .as_ref()
            .map_err(HostError::clone)
    }

    /// Establishes U6.
    fn check(&self) -> Result<(), HostError> {
        // SAFETY: U6 (the pointer was found under this name); the function takes no argument.
        let version = unsafe { (self.uv_version)() };
        if version >> 16 != 1 {
            return Err(HostError::Version(version));
        }
        let handles = [
            ("uv_tcp_t", sys::uv_handle_type_UV_TCP, size_of::<sys::uv_tcp_t>()),
            ("uv_timer_t", sys::uv_handle_type_UV_TIMER, size_of::<sys::uv_timer_t>()),
            ("uv_idle_t", sys::uv_handle_type_UV_IDLE, size_of::<sys::uv_idle_t>()),
            ("uv_check_t", sys::uv_handle_type_UV_CHECK, size_of::<sys::uv_check_t>()),
            ("uv_poll_t", sys::uv_handle_type_UV_POLL, size_of::<sys::uv_poll_t>()),
            ("uv_async_t", sys::uv_handle_type_UV_ASYNC, size_of::<sys::uv_async_t>()),
        ];
        for (name, kind, ours) in handles {
            // SAFETY: U6; any integer is a valid argument, unknown ones give a huge size.
            let theirs = unsafe { (self.uv_handle_size)(kind) };
            // A host structure larger than ours would be written past its end.
            if theirs > ours {
                return Err(HostError::Size(name));
            }
        }
        let requests = [
            ("uv_write_t", sys::uv_req_type_UV_WRITE, size_of::<sys::uv_write_t>()),
            ("uv_connect_t", sys::uv_req_type_UV_CONNECT, size_of::<sys::uv_connect_t>()),
            ("uv_shutdown_t", sys::uv_req_type_UV_SHUTDOWN, size_of::<sys::uv_shutdown_t>()),
            (
                "uv_getaddrinfo_t",
                sys::uv_req_type_UV_GETADDRINFO,
                size_of::<sys::uv_getaddrinfo_t>(),
            ),
            ("uv_work_t", sys::uv_req_type_UV_WORK, size_of::<sys::uv_work_t>()),
        ];
        for (name, kind, ours) in requests {
            // SAFETY: U6; any integer is a valid argument, unknown ones give a huge size.
            let theirs = unsafe { (self.uv_req_size)(kind) };
            if theirs > ours {
                return Err(HostError::Size(name));
            }
        }
        Ok(())
    }
}
