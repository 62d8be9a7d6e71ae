//! `uv_tcp_t`: listeners and streams.

use std::cell::{Cell, UnsafeCell};
use std::ffi::{c_char, c_int};
use std::net::SocketAddr;
#[cfg(unix)]
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::slice;

use libuv_sys2 as sys;

use super::address::SocketAddress;
#[cfg(target_os = "linux")]
use super::busy::Busy;
use super::bytes::Bytes;
use super::error::UvError;
use super::event_loop::Loop;
use super::handle::{call, guard, Core, Owner};
use super::request;
use super::told::{planned, run, told};

/// The memory that all streams of a context read into. libuv asks for it just before each read
/// and hands the bytes over right after, on one thread, so one buffer serves them all.
pub(crate) struct ReceiveBuffer {
    bytes: UnsafeCell<Box<[u8]>>,
    lent: Cell<bool>,
    /// Nothing was lent to the read that has asked last: libuv is about to say so.
    refused: Cell<bool>,
}

impl ReceiveBuffer {
    /// Allocates a buffer of `len` bytes.
    pub(crate) fn new(len: usize) -> Self {
        Self {
            bytes: UnsafeCell::new(vec![0; len].into_boxed_slice()),
            lent: Cell::new(false),
            refused: Cell::new(false),
        }
    }

    /// Lends the buffer to a read, unless it is already lent (B1).
    fn lend(&self) -> sys::uv_buf_t {
        if self.lent.replace(true) {
            return buf(&[]);
        }
        // SAFETY: B1: the flag was false, so no slice of the buffer exists.
        let bytes = unsafe { &mut *self.bytes.get() };
        sys::uv_buf_t { base: bytes.as_mut_ptr().cast::<c_char>(), len: bytes.len() as _ }
    }
}

#[cfg(target_os = "linux")]
impl ReceiveBuffer {
    /// Lends the buffer to `read`, unless it is already lent (B1).
    pub(super) fn lend_to<T>(&self, read: impl FnOnce(&mut [u8]) -> T) -> Option<T> {
        let _lent = Busy::begin(&self.lent)?;
        // SAFETY: B1: the flag was false, so no slice of the buffer exists.
        Some(read(unsafe { &mut *self.bytes.get() }))
    }
}

/// Reads up to so many bytes to the end of a buffer, which has room for them.
pub(crate) type ReadInto<'a> = &'a mut dyn FnMut(&mut Vec<u8>, usize) -> Result<usize, UvError>;

/// Called back by a stream or a listener.
pub(crate) trait StreamOwner: Owner {
    /// Where reads go.
    fn receive_buffer(&self) -> &ReceiveBuffer;
    /// Whether to read more in this turn of the loop. What is there is read in the next one otherwise.
    fn may_read(&self) -> bool {
        true
    }
    /// Reads to where the next bytes belong, by `read`, which returns how many it has appended.
    /// Returns what `read` did, or nothing if they are to go to the receive buffer.
    fn receive_in_place(&self, _read: ReadInto<'_>) -> Option<Result<usize, UvError>> {
        None
    }
    /// Bytes have arrived. They may be changed in place and are gone afterwards.
    fn received(&self, bytes: &mut [u8]);
    /// Bytes have arrived that do not make anything yet, or such bytes are gone.
    fn undecoded_changed(&self) {}
    /// No more will arrive: the peer has ended its side (`EOF`) or the stream failed.
    fn ended(&self, reason: UvError);
    /// A queued write has been handed to the system, or has failed.
    fn written(&self, outcome: Result<(), UvError>);
    /// Our side has been ended, or that failed.
    fn shut(&self, outcome: Result<(), UvError>);
    /// A connect has ended.
    fn connected(&self, outcome: Result<(), UvError>);
    /// A listener has a connection to accept.
    fn incoming(&self, outcome: Result<(), UvError>);
}

type TcpCore = Core<sys::uv_tcp_t, dyn StreamOwner>;

/// A TCP handle. Clones refer to the same handle.
#[derive(Clone)]
pub(crate) struct Tcp(Rc<TcpCore>);

/// What a queued write keeps: its bytes, which do not move (a Vec's heap block), and its handle.
type Queued = (Rc<TcpCore>, Bytes);

impl Tcp {
    /// Initialises a handle that calls `owner` back.
    pub(crate) fn new(on: Loop, owner: Rc<dyn StreamOwner>) -> Result<Self, UvError> {
        let core = Core::new(on, owner, |on, raw| {
            // SAFETY: U6 and a live loop; `raw` is ours and pinned (U1).
            unsafe { (on.uv().uv_tcp_init)(on.as_ptr(), raw) }
        })?;
        Ok(Self(core))
    }

    /// Gives the handle to another owner, as when a connect attempt has won.
    pub(crate) fn set_owner(&self, owner: Rc<dyn StreamOwner>) {
        self.0.set_owner(owner);
    }

    /// Binds to an address; an IPv6 socket takes IPv4 peers, too.
    fn bind(&self, address: &SocketAddr) -> Result<(), UvError> {
        let raw = self.0.raw()?;
        let address = SocketAddress::new(address);
        // SAFETY: U3; the address outlives the call.
        let status = unsafe { (self.0.on().uv().uv_tcp_bind)(raw, address.as_ptr(), 0) };
        UvError::check(status).map(drop)
    }

    /// Binds and listens.
    pub(crate) fn listen(&self, address: &SocketAddr, backlog: i32) -> Result<(), UvError> {
        self.bind(address)?;
        let raw = self.stream()?;
        // SAFETY: U3.
        let status = unsafe { (self.0.on().uv().uv_listen)(raw, backlog, Some(on_connection)) };
        UvError::check(status).map(drop)
    }

    /// Accepts the connection that was announced into `client`.
    pub(crate) fn accept(&self, client: &Self) -> Result<(), UvError> {
        let server = self.stream()?;
        let client = client.stream()?;
        // SAFETY: U3 for both.
        UvError::check(unsafe { (self.0.on().uv().uv_accept)(server, client) }).map(drop)
    }

    /// Starts to connect; `connected` follows.
    pub(crate) fn connect(&self, address: &SocketAddr) -> Result<(), UvError> {
        let raw = self.0.raw()?;
        let address = SocketAddress::new(address);
        request::start(Rc::clone(&self.0), |request| {
            // SAFETY: U3, U5; the address outlives the call.
            unsafe {
                (self.0.on().uv().uv_tcp_connect)(request, raw, address.as_ptr(), Some(on_connect))
            }
        })
        .map(drop)
    }

    /// Takes over an open socket.
    #[cfg(unix)]
    pub(crate) fn open(&self, socket: OwnedFd) -> Result<(), UvError> {
        let raw = self.0.raw()?;
        // SAFETY: U3; the descriptor is open.
        let status = unsafe { (self.0.on().uv().uv_tcp_open)(raw, socket.as_raw_fd()) };
        UvError::check(status)?;
        // The handle owns it now.
        let _ = socket.into_raw_fd();
        Ok(())
    }

    /// Starts to read.
    pub(crate) fn read_start(&self) -> Result<(), UvError> {
        let raw = self.stream()?;
        // SAFETY: U3.
        let status =
            unsafe { (self.0.on().uv().uv_read_start)(raw, Some(on_alloc), Some(on_read)) };
        UvError::check(status).map(drop)
    }

    /// Stops reading.
    pub(crate) fn read_stop(&self) {
        if let Ok(raw) = self.stream() {
            // SAFETY: U3. Never fails.
            unsafe { (self.0.on().uv().uv_read_stop)(raw) };
        }
    }

    /// Writes as much of `parts` as the system takes at once, and returns how many bytes it took.
    pub(crate) fn try_write(&self, parts: [&[u8]; 2]) -> Result<usize, UvError> {
        let raw = self.stream()?;
        let bufs = [buf(parts[0]), buf(parts[1])];
        let (first, count) = match (parts[0].is_empty(), parts[1].is_empty()) {
            (true, true) => return Ok(0),
            (true, false) => (1, 1),
            (false, true) => (0, 1),
            (false, false) => (0, 2),
        };
        // SAFETY: U3; `first` and `count` select existing elements; libuv reads the bytes before it
        // returns.
        let status = unsafe {
            (self.0.on().uv().uv_try_write)(raw, bufs.as_ptr().wrapping_add(first), count)
        };
        match UvError::check(status) {
            Ok(count) => Ok(count as usize),
            Err(UvError::EAGAIN) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Queues `bytes`; `written` follows.
    pub(crate) fn write(&self, bytes: Bytes) -> Result<(), UvError> {
        let raw = self.stream()?;
        let part = buf(bytes.as_slice());
        let queued: Queued = (Rc::clone(&self.0), bytes);
        request::start(queued, |request| {
            // SAFETY: U3, U5: the request keeps the bytes, or a share of them.
            unsafe { (self.0.on().uv().uv_write)(request, raw, &raw const part, 1, Some(on_write)) }
        })
        .map(drop)
    }

    /// Bytes that are queued and that the system has not taken.
    pub(crate) fn unwritten(&self) -> usize {
        self.stream().map_or(0, |raw| {
            // SAFETY: U3.
            unsafe { (self.0.on().uv().uv_stream_get_write_queue_size)(raw) }
        })
    }

    /// Whether there is something to read, or will never be.
    #[cfg(unix)]
    pub(crate) fn has_input(&self) -> bool {
        self.descriptor().is_ok_and(|descriptor| {
            // SAFETY: the descriptor is the handle's and open while it is active (U3).
            has_input(unsafe { BorrowedFd::borrow_raw(descriptor) })
        })
    }

    /// That cannot be told on this platform.
    #[cfg(not(unix))]
    pub(crate) fn has_input(&self) -> bool {
        false
    }

    /// Ends our side once everything queued is written; `shut` follows.
    pub(crate) fn shutdown(&self) -> Result<(), UvError> {
        let raw = self.stream()?;
        request::start(Rc::clone(&self.0), |request| {
            // SAFETY: U3, U5.
            unsafe { (self.0.on().uv().uv_shutdown)(request, raw, Some(on_shutdown)) }
        })
        .map(drop)
    }

    /// Makes the close that follows a reset: nothing lingers.
    #[cfg(unix)]
    pub(crate) fn linger_zero(&self) {
        if let Ok(descriptor) = self.descriptor() {
            let linger = libc::linger { l_onoff: 1, l_linger: 0 };
            // SAFETY: the descriptor is the handle's and open while it is active (U3); the option is
            // read before the call returns.
            unsafe {
                libc::setsockopt(
                    descriptor,
                    libc::SOL_SOCKET,
                    libc::SO_LINGER,
                    (&raw const linger).cast(),
                    size_of::<libc::linger>() as libc::socklen_t,
                )
            };
        }
    }

    /// Closes, and gives a duplicate of the socket away, which lives on; the owner hears `closed`.
    #[cfg(unix)]
    pub(crate) fn release(&self) -> Result<OwnedFd, UvError> {
        let descriptor = self.descriptor()?;
        // SAFETY: the descriptor is the handle's, which is closed below.
        let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
        let socket = borrowed.try_clone_to_owned().map_err(|error| UvError::from_system(&error))?;
        self.close();
        Ok(socket)
    }

    /// The descriptor, which is the handle's and open while that is active.
    #[cfg(unix)]
    fn descriptor(&self) -> Result<RawFd, UvError> {
        let raw = self.0.raw()?;
        let mut descriptor = -1;
        // SAFETY: U3.
        let status = unsafe { (self.0.on().uv().uv_fileno)(raw.cast(), &raw mut descriptor) };
        UvError::check(status)?;
        Ok(descriptor)
    }

    /// A reset cannot be asked for on this platform; the close that follows is an ordinary one.
    #[cfg(not(unix))]
    pub(crate) fn linger_zero(&self) {}

    /// Turns Nagle's algorithm off or on.
    pub(crate) fn set_nodelay(&self, enable: bool) {
        if let Ok(raw) = self.0.raw() {
            // SAFETY: U3. A socket that is gone already fails harmlessly.
            unsafe { (self.0.on().uv().uv_tcp_nodelay)(raw, c_int::from(enable)) };
        }
    }

    /// Turns TCP keep-alive on, first probe after `delay` seconds, or off.
    pub(crate) fn set_keepalive(&self, enable: bool, delay: u32) {
        if let Ok(raw) = self.0.raw() {
            // SAFETY: U3. A socket that is gone already fails harmlessly.
            unsafe { (self.0.on().uv().uv_tcp_keepalive)(raw, c_int::from(enable), delay) };
        }
    }

    /// Returns the address of our side.
    pub(crate) fn local_address(&self) -> Result<SocketAddr, UvError> {
        let raw = self.0.raw()?;
        SocketAddress::read(|name, len| {
            // SAFETY: U3; `name` has room for `*len` bytes.
            unsafe { (self.0.on().uv().uv_tcp_getsockname)(raw, name, len) }
        })
    }

    /// Returns the address of the peer.
    pub(crate) fn peer_address(&self) -> Result<SocketAddr, UvError> {
        let raw = self.0.raw()?;
        SocketAddress::read(|name, len| {
            // SAFETY: U3; `name` has room for `*len` bytes.
            unsafe { (self.0.on().uv().uv_tcp_getpeername)(raw, name, len) }
        })
    }

    /// Lets the handle keep the loop alive, or not.
    pub(crate) fn set_ref(&self, keep_alive: bool) {
        self.0.set_ref(keep_alive);
    }

    /// Starts closing; the owner hears `closed`.
    pub(crate) fn close(&self) {
        self.0.close();
    }

    fn stream(&self) -> Result<*mut sys::uv_stream_t, UvError> {
        self.0.raw().map(<*mut sys::uv_tcp_t>::cast)
    }
}

fn buf(bytes: &[u8]) -> sys::uv_buf_t {
    // libuv never writes through a buffer that is given to a write.
    sys::uv_buf_t { base: bytes.as_ptr().cast_mut().cast::<c_char>(), len: bytes.len() as _ }
}

/// Whether a socket has something to read, or will never have. It reads nothing: an error of the socket
/// is still there for who reads.
#[cfg(unix)]
pub(super) fn has_input(socket: BorrowedFd<'_>) -> bool {
    let mut asked = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: the descriptor is open, as it is borrowed; the one entry outlives the call.
    unsafe { libc::poll(&raw mut asked, 1, 0) > 0 }
}

/// Calls the owner from a callback of a request; a panic closes the stream.
fn answer(core: &TcpCore, point: &'static str, body: impl FnOnce(Rc<dyn StreamOwner>)) {
    if core.owner().is_some_and(|owner| call(point, owner, body)) {
        core.close();
    }
}

unsafe extern "C" fn on_alloc(
    handle: *mut sys::uv_handle_t,
    _suggested: usize,
    out: *mut sys::uv_buf_t,
) {
    // SAFETY: U4: only `Tcp::read_start` registers this callback.
    let core = unsafe { TcpCore::from_raw(handle.cast()) };
    let mut lent = buf(&[]);
    // libuv reads nothing without memory, and asks again in its next turn.
    if let Some(owner) = core.owner() {
        guard(|| {
            run("panic:uv_alloc_cb", || {
                if owner.may_read() {
                    lent = owner.receive_buffer().lend();
                }
            });
        });
        owner.receive_buffer().refused.set(lent.len == 0);
    }
    // SAFETY: libuv hands a place for the answer.
    unsafe { *out = lent };
}

unsafe extern "C" fn on_read(
    stream: *mut sys::uv_stream_t,
    count: isize,
    bytes: *const sys::uv_buf_t,
) {
    // SAFETY: U4: only `Tcp::read_start` registers this callback.
    let core = unsafe { TcpCore::from_raw(stream.cast()) };
    let Some(owner) = core.owner() else { return };
    let count = match planned("uv_read_cb") {
        Some(error) => {
            // As libuv has done where it tells of an error.
            // SAFETY: U4: libuv calls back for a handle that reads.
            unsafe { (core.on().uv().uv_read_stop)(stream) };
            owner.receive_buffer().refused.set(false);
            error as isize
        }
        None => count,
    };
    // The system has an error of this name, too.
    if count == sys::uv_errno_t_UV_ENOBUFS as isize && owner.receive_buffer().refused.take() {
        return;
    }
    // SAFETY: B1: libuv hands back the buffer that `on_alloc` gave it, or none where it has not asked.
    let base = unsafe { (*bytes).base };
    let failed = core.call("panic:uv_read_cb", |owner| match count {
        0 => {}
        1.. => {
            // SAFETY: B1: the buffer is lent to this read only, and libuv filled `count` bytes.
            let bytes = unsafe { slice::from_raw_parts_mut(base.cast::<u8>(), count as usize) };
            owner.received(bytes);
        }
        _ => owner.ended(UvError::check(count as c_int).err().unwrap_or(UvError::EOF)),
    });
    if !base.is_null() {
        owner.receive_buffer().lent.set(false);
    }
    if failed {
        core.close();
    }
}

unsafe extern "C" fn on_connection(stream: *mut sys::uv_stream_t, status: c_int) {
    // SAFETY: U4: only `Tcp::listen` registers this callback.
    let core = unsafe { TcpCore::from_raw(stream.cast()) };
    // The connection that is announced is still to be taken.
    if let Some(error) = planned("uv_connection_cb") {
        core.call("panic:uv_connection_cb", |owner| {
            owner.incoming(UvError::check(error).map(drop))
        });
    }
    core.call("panic:uv_connection_cb", |owner| owner.incoming(UvError::check(status).map(drop)));
}

unsafe extern "C" fn on_write(raw: *mut sys::uv_write_t, status: c_int) {
    // SAFETY: U5: only `Tcp::write` registers this callback.
    let (core, bytes) = unsafe { request::take::<_, Queued>(raw) };
    drop(bytes);
    let status = told("uv_write_cb", status);
    answer(&core, "panic:uv_write_cb", |owner| owner.written(UvError::check(status).map(drop)));
}

unsafe extern "C" fn on_connect(raw: *mut sys::uv_connect_t, status: c_int) {
    // SAFETY: U5: only `Tcp::connect` registers this callback.
    let core = unsafe { request::take::<_, Rc<TcpCore>>(raw) };
    let status = told("uv_connect_cb", status);
    answer(&core, "panic:uv_connect_cb", |owner| owner.connected(UvError::check(status).map(drop)));
}

unsafe extern "C" fn on_shutdown(raw: *mut sys::uv_shutdown_t, status: c_int) {
    // SAFETY: U5: only `Tcp::shutdown` registers this callback.
    let core = unsafe { request::take::<_, Rc<TcpCore>>(raw) };
    let status = told("uv_shutdown_cb", status);
    answer(&core, "panic:uv_shutdown_cb", |owner| owner.shut(UvError::check(status).map(drop)));
}
