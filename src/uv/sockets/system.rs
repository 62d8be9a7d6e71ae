//! The system calls on sockets and epoll sets that the standard library does not offer.
//!
//! Descriptors come and go as owned or borrowed ones, so none is used after it was closed.
//!
//! # Invariant that the `SAFETY:` notes cite
//! - **S1 call**: the descriptor is open for the call (it is borrowed), and whatever a pointer refers
//!   to outlives the call and is as long as the call is told.

use std::ffi::{c_int, c_void};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use super::super::address::SocketAddress;

/// One entry of what a set reports.
pub(super) type Event = libc::epoll_event;

fn check(status: c_int) -> io::Result<c_int> {
    if status < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(status)
    }
}

fn owned(descriptor: c_int) -> io::Result<OwnedFd> {
    let descriptor = check(descriptor)?;
    // SAFETY: the system has just made the descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Makes an epoll set.
pub(super) fn epoll_create() -> io::Result<OwnedFd> {
    // SAFETY: the call takes no pointer.
    owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })
}

/// Adds `descriptor` to the set (`EPOLL_CTL_ADD`), changes what is reported of it
/// (`EPOLL_CTL_MOD`) or removes it (`EPOLL_CTL_DEL`).
pub(super) fn epoll_ctl(
    set: BorrowedFd<'_>,
    operation: c_int,
    descriptor: BorrowedFd<'_>,
    events: u32,
    data: u64,
) -> io::Result<()> {
    let mut event = Event { events, u64: data };
    let (set, descriptor) = (set.as_raw_fd(), descriptor.as_raw_fd());
    // SAFETY: S1.
    check(unsafe { libc::epoll_ctl(set, operation, descriptor, &raw mut event) }).map(drop)
}

/// Fetches what is ready, without waiting, and returns how many entries that is.
pub(super) fn epoll_wait(set: BorrowedFd<'_>, events: &mut [Event]) -> io::Result<usize> {
    let room = events.len() as c_int;
    // SAFETY: S1.
    let count = unsafe { libc::epoll_wait(set.as_raw_fd(), events.as_mut_ptr(), room, 0) };
    check(count).map(|count| count as usize)
}

/// Makes a TCP socket for the family of `address`.
pub(super) fn socket(address: &SocketAddr) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: the call takes no pointer.
    owned(unsafe { libc::socket(family, kind, 0) }).map(TcpStream::from)
}

/// Starts to connect. A failure may be `EINPROGRESS`.
pub(super) fn connect(socket: &TcpStream, address: &SocketAddr) -> io::Result<()> {
    let len = SocketAddress::len(address) as libc::socklen_t;
    let address = SocketAddress::new(address);
    // SAFETY: S1.
    check(unsafe { libc::connect(socket.as_raw_fd(), address.as_ptr().cast(), len) }).map(drop)
}

/// Binds `socket` to `address`.
pub(super) fn bind(socket: &TcpStream, address: &SocketAddr) -> io::Result<()> {
    let len = SocketAddress::len(address) as libc::socklen_t;
    let address = SocketAddress::new(address);
    // SAFETY: S1.
    check(unsafe { libc::bind(socket.as_raw_fd(), address.as_ptr().cast(), len) }).map(drop)
}

/// Starts to listen.
pub(super) fn listen(socket: &TcpStream, backlog: c_int) -> io::Result<()> {
    // SAFETY: S1.
    check(unsafe { libc::listen(socket.as_raw_fd(), backlog) }).map(drop)
}

/// Accepts a connection that waits.
pub(super) fn accept(socket: &TcpStream) -> io::Result<TcpStream> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: S1; without a place for the peer's address none is written.
    owned(unsafe { libc::accept4(socket.as_raw_fd(), ptr::null_mut(), ptr::null_mut(), flags) })
        .map(TcpStream::from)
}

/// Reads up to `most` bytes to the end of `buffer`, as far as there is room, and returns how many.
pub(super) fn append(socket: &TcpStream, buffer: &mut Vec<u8>, most: usize) -> io::Result<usize> {
    let room = buffer.spare_capacity_mut();
    let (at, len) = (room.as_mut_ptr().cast(), room.len().min(most));
    // SAFETY: S1.
    let count = unsafe { libc::recv(socket.as_raw_fd(), at, len, 0) };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the call has written so many bytes behind those that were there.
    unsafe { buffer.set_len(buffer.len() + count) };
    Ok(count)
}

/// Sets an option that is an integer.
pub(super) fn set_option(
    socket: &TcpStream,
    level: c_int,
    name: c_int,
    value: c_int,
) -> io::Result<()> {
    set(socket, level, name, &value)
}

/// Makes a close reset the connection.
pub(super) fn linger_zero(socket: &TcpStream) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    set(socket, libc::SOL_SOCKET, libc::SO_LINGER, &linger)
}

fn set<T>(socket: &TcpStream, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    let (value, len) = (ptr::from_ref(value).cast::<c_void>(), size_of::<T>() as libc::socklen_t);
    // SAFETY: S1.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, len) }).map(drop)
}
