//! Socket addresses as the operating system lays them out.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use libuv_sys2 as sys;

use super::error::UvError;

/// A C socket address made from, or turned into, a Rust one.
pub(crate) struct SocketAddress {
    storage: MaybeUninit<sys::sockaddr_storage>,
}

const AF_INET: c_int = sys::AF_INET as c_int;
const AF_INET6: c_int = sys::AF_INET6 as c_int;

impl SocketAddress {
    pub(super) fn new(address: &SocketAddr) -> Self {
        let mut storage = MaybeUninit::<sys::sockaddr_storage>::zeroed();
        match address {
            SocketAddr::V4(v4) => {
                // SAFETY: A1: sockaddr_storage is large enough and aligned for every address
                // family, and was zeroed, which is a valid sockaddr_in.
                let out = unsafe { &mut *storage.as_mut_ptr().cast::<sys::sockaddr_in>() };
                out.sin_family = AF_INET as _;
                out.sin_port = v4.port().to_be();
                out.sin_addr.s_addr = u32::from(*v4.ip()).to_be();
            }
            SocketAddr::V6(v6) => {
                // SAFETY: A1: there is room for a sockaddr_in6, too.
                let out = unsafe { &mut *storage.as_mut_ptr().cast::<sys::sockaddr_in6>() };
                out.sin6_family = AF_INET6 as _;
                out.sin6_port = v6.port().to_be();
                out.sin6_scope_id = v6.scope_id();
                out.sin6_addr = ipv6_to_raw(v6.ip());
            }
        }
        Self { storage }
    }

    /// The size of the address that was given to `new`.
    #[cfg(target_os = "linux")]
    pub(super) fn len(address: &SocketAddr) -> usize {
        match address {
            SocketAddr::V4(_) => size_of::<sys::sockaddr_in>(),
            SocketAddr::V6(_) => size_of::<sys::sockaddr_in6>(),
        }
    }

    pub(super) fn as_ptr(&self) -> *const c_void {
        self.storage.as_ptr().cast()
    }

    /// Lets `fill` write an address, as `uv_tcp_getsockname` does.
    pub(super) fn read(
        fill: impl FnOnce(*mut c_void, *mut c_int) -> c_int,
    ) -> Result<SocketAddr, UvError> {
        let mut storage = MaybeUninit::<sys::sockaddr_storage>::zeroed();
        let mut len = size_of::<sys::sockaddr_storage>() as c_int;
        UvError::check(fill(storage.as_mut_ptr().cast(), &raw mut len))?;
        // SAFETY: A1: the storage is zeroed or filled, so its family field is initialised.
        unsafe { Self::parse(storage.as_ptr().cast()) }.ok_or(UvError::EAFNOSUPPORT)
    }

    /// Reads an address of family `AF_INET` or `AF_INET6`.
    ///
    /// # Safety
    /// `raw` points at an initialised socket address of the length its family implies.
    pub(super) unsafe fn parse(raw: *const sys::sockaddr) -> Option<SocketAddr> {
        // SAFETY: by the contract of this function.
        let family = c_int::from(unsafe { (*raw).sa_family });
        match family {
            AF_INET => {
                // SAFETY: by the contract: an AF_INET address is a whole sockaddr_in.
                let v4 = unsafe { &*raw.cast::<sys::sockaddr_in>() };
                let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
                Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(v4.sin_port))))
            }
            AF_INET6 => {
                // SAFETY: by the contract: an AF_INET6 address is a whole sockaddr_in6.
                let v6 = unsafe { &*raw.cast::<sys::sockaddr_in6>() };
                let ip = ipv6_from_raw(&v6.sin6_addr);
                let port = u16::from_be(v6.sin6_port);
                Some(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, v6.sin6_scope_id)))
            }
            _ => None,
        }
    }
}

fn ipv6_to_raw(ip: &Ipv6Addr) -> sys::in6_addr {
    // SAFETY: in6_addr is 16 plain bytes in network order on every platform.
    unsafe { std::mem::transmute_copy::<[u8; 16], sys::in6_addr>(&ip.octets()) }
}

fn ipv6_from_raw(raw: &sys::in6_addr) -> Ipv6Addr {
    // SAFETY: in6_addr is 16 plain bytes in network order on every platform.
    Ipv6Addr::from(unsafe { std::mem::transmute_copy::<sys::in6_addr, [u8; 16]>(raw) })
}
