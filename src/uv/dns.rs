//! `uv_getaddrinfo`: name lookup on libuv's thread pool, never on the loop's thread.

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, CString};
use std::net::SocketAddr;
use std::ptr;
use std::rc::Rc;

use libuv_sys2 as sys;

use super::address::SocketAddress;
use super::error::UvError;
use super::event_loop::Loop;
use super::handle::guard;
use super::request;
use super::told::{run, told};

/// Called with the outcome of a lookup.
pub(crate) trait ResolveOwner {
    /// The addresses in the order the system prefers them, or why there are none. Where this panics, it is
    /// called again with `ECANCELED`.
    fn resolved(&self, outcome: Result<Vec<SocketAddr>, UvError>);
}

/// A lookup under way. Dropping it, or `cancel`, silences it: the owner hears nothing more. The
/// request itself lives on until the thread pool lets go of it.
pub(crate) struct Resolution(Rc<Shared>);

struct Shared {
    owner: RefCell<Option<Rc<dyn ResolveOwner>>>,
    request: Cell<*mut sys::uv_req_t>,
    on: Loop,
}

struct Kept {
    shared: Rc<Shared>,
    /// Dropped when the request is over, whoever is still interested.
    _pending: Rc<dyn std::any::Any>,
}

/// Looks `host` up, in the family 4, 6 or 0 for both, and calls `owner` back with addresses that carry `port`. `pending` is kept
/// until libuv has let go of the request, which is what an ending environment must wait for.
pub(crate) fn resolve(
    on: Loop,
    host: &str,
    port: u16,
    family: u8,
    owner: Rc<dyn ResolveOwner>,
    pending: Rc<dyn std::any::Any>,
) -> Result<Resolution, UvError> {
    let host = CString::new(host).map_err(|_| UvError::EINVAL)?;
    let service = CString::new(port.to_string()).map_err(|_| UvError::EINVAL)?;
    // SAFETY: addrinfo is plain data for which all zeroes mean "no preference".
    let mut hints = unsafe { std::mem::zeroed::<sys::addrinfo>() };
    hints.ai_socktype = STREAM;
    hints.ai_family = match family {
        4 => sys::AF_INET as c_int,
        6 => sys::AF_INET6 as c_int,
        _ => 0,
    };
    let shared = Rc::new(Shared {
        owner: RefCell::new(Some(owner)),
        request: Cell::new(ptr::null_mut()),
        on,
    });
    let kept = Kept { shared: Rc::clone(&shared), _pending: pending };
    let request = request::start(kept, |request| {
        // SAFETY: U5, U6 and a live loop; libuv copies the strings and hints before it returns.
        unsafe {
            (on.uv().uv_getaddrinfo)(
                on.as_ptr(),
                request,
                Some(on_resolved),
                host.as_ptr(),
                service.as_ptr(),
                &raw const hints,
            )
        }
    })?;
    // The callback cannot run before this returns.
    shared.request.set(request.cast());
    Ok(Resolution(shared))
}

/// `SOCK_STREAM` of every supported platform.
const STREAM: c_int = 1;

impl Resolution {
    /// Silences the lookup and asks libuv to drop it if it has not begun.
    pub(crate) fn cancel(&self) {
        let owner = self.0.owner.take();
        let request = self.0.request.get();
        if !request.is_null() {
            // SAFETY: U5: not null means the callback has not run, so the request is live.
            // EBUSY (already running) is fine: the callback finds no owner.
            unsafe { (self.0.on.uv().uv_cancel)(request) };
        }
        drop(owner);
    }
}

impl Drop for Resolution {
    fn drop(&mut self) {
        self.cancel();
    }
}

unsafe extern "C" fn on_resolved(
    raw: *mut sys::uv_getaddrinfo_t,
    status: c_int,
    list: *mut sys::addrinfo,
) {
    // SAFETY: U5: only `resolve` registers this callback.
    let kept = unsafe { request::take::<_, Kept>(raw) };
    let shared = &kept.shared;
    shared.request.set(ptr::null_mut());
    let owner = shared.owner.take();
    let outcome = UvError::check(told("uv_getaddrinfo_cb", status)).map(|_| {
        let mut addresses = Vec::new();
        let mut at = list.cast_const();
        while !at.is_null() {
            // SAFETY: the list is libuv's, linked and ended by null.
            let entry = unsafe { &*at };
            // SAFETY: getaddrinfo returns whole addresses of the family they name.
            addresses.extend(unsafe { SocketAddress::parse(entry.ai_addr) });
            at = entry.ai_next;
        }
        addresses
    });
    // SAFETY: U6; the list came from uv_getaddrinfo and is freed once. There is none after a failure, which
    // is null, and allowed.
    unsafe { (shared.on.uv().uv_freeaddrinfo)(list) };
    if let Some(owner) = owner {
        let again = Rc::clone(&owner);
        let has_panicked =
            guard(|| run("panic:uv_getaddrinfo_cb", move || owner.resolved(outcome)));
        guard(move || {
            if has_panicked {
                again.resolved(Err(UvError::ECANCELED));
            }
        });
    }
    // Last: an ending environment may be waiting for this very drop.
    drop(kept);
}
