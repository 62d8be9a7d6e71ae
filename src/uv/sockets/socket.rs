//! One socket of a set: a listener or a stream.

use std::cell::Cell;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use super::super::bytes::Bytes;
use super::super::error::UvError;
use super::super::handle::guard;
use super::super::tcp::{has_input, StreamOwner};
use super::{system, Sockets};

/// A TCP socket. Every method is safe to call after `close`, and then does nothing or fails.
pub(crate) struct Socket {
    set: Rc<Sockets>,
    /// Present until the socket is closed.
    owner: Cell<Option<Rc<dyn StreamOwner>>>,
    /// Present from when the socket is a member of its set until it is closed.
    stream: Cell<Option<TcpStream>>,
    /// What the set knows it by.
    key: Cell<u64>,
    /// It is there while `WRITES` is set.
    queued: Cell<Option<Box<Bytes>>>,
    state: Cell<u16>,
}

/// Connections are announced by it.
const LISTENS: u16 = 1 << 0;
/// It is being connected.
const CONNECTS: u16 = 1 << 1;
/// The owner wants what comes.
const READS: u16 = 1 << 2;
/// There may be something that the set will not report again by itself.
const LEFT_SOME: u16 = 1 << 3;
/// A write is queued.
const WRITES: u16 = 1 << 4;
/// The set reports room for output.
const WATCHES_ROOM: u16 = 1 << 5;
/// The socket may be known by another descriptor, too.
const SHARED: u16 = 1 << 6;
/// The owner wants it to keep the loop alive while it is active.
const REFERENCED: u16 = 1 << 7;
/// The set counts it among those that keep the loop alive.
const HOLDS_LOOP: u16 = 1 << 8;
/// The owner wants no connection for now.
const HOLDS_BACK: u16 = 1 << 9;

impl Socket {
    /// Makes a socket that is neither connected nor listens.
    pub(crate) fn new(set: &Rc<Sockets>, owner: Rc<dyn StreamOwner>) -> Rc<Self> {
        Rc::new(Self {
            set: Rc::clone(set),
            owner: Cell::new(Some(owner)),
            stream: Cell::default(),
            key: Cell::new(0),
            queued: Cell::default(),
            state: Cell::new(REFERENCED),
        })
    }

    /// Gives the socket to another owner, as when a connect attempt has won.
    pub(crate) fn set_owner(&self, owner: Rc<dyn StreamOwner>) {
        if let Some(former) = self.owner.take() {
            self.owner.set(Some(owner));
            drop(former);
        }
    }

    /// Binds to an address and listens; `incoming` follows. An IPv6 socket takes IPv4 peers, too.
    pub(crate) fn listen(
        self: &Rc<Self>,
        address: &SocketAddr,
        backlog: i32,
    ) -> Result<(), UvError> {
        let listening = || {
            let stream = system::socket(address)?;
            system::set_option(&stream, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
            if address.is_ipv6() {
                system::set_option(&stream, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)?;
            }
            // Connections inherit it.
            stream.set_nodelay(true)?;
            system::bind(&stream, address)?;
            system::listen(&stream, backlog)?;
            Ok(stream)
        };
        self.join(listening().map_err(failed)?, LISTENS)
    }

    /// Announces connections again, or none for now.
    pub(crate) fn set_accepting(&self, is_accepting: bool) -> Result<(), UvError> {
        if is_accepting {
            self.clear(HOLDS_BACK);
        } else {
            self.set(HOLDS_BACK);
        }
        let events = if is_accepting { CONNECTION } else { 0 };
        self.with(|stream| self.control(libc::EPOLL_CTL_MOD, stream, events))
    }

    /// Takes over the connection that is announced.
    pub(crate) fn accept(self: &Rc<Self>) -> Result<(), UvError> {
        self.join(self.set.accepted.take().ok_or(UvError::EAGAIN)?, 0)
    }

    /// Takes over an open socket.
    pub(crate) fn open(self: &Rc<Self>, socket: OwnedFd) -> Result<(), UvError> {
        let stream = TcpStream::from(socket);
        stream.set_nonblocking(true).map_err(failed)?;
        self.join(stream, SHARED)
    }

    /// Starts to connect; `connected` follows.
    pub(crate) fn connect(self: &Rc<Self>, address: &SocketAddr) -> Result<(), UvError> {
        let stream = system::socket(address).map_err(failed)?;
        match system::connect(&stream, address) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(failed(error)),
            _ => self.join(stream, CONNECTS | WATCHES_ROOM),
        }
    }

    /// Starts or resumes reading.
    pub(crate) fn read_start(&self) -> Result<(), UvError> {
        self.with(|_| Ok(()))?;
        self.set(READS);
        self.update_hold();
        if self.has(LEFT_SOME) {
            self.clear(LEFT_SOME);
            self.look_again()?;
        }
        Ok(())
    }

    /// Stops reading.
    pub(crate) fn read_stop(&self) {
        self.clear(READS);
        self.update_hold();
    }

    /// Writes as much of `parts` as the system takes at once, and returns how many bytes it took.
    pub(crate) fn try_write(&self, parts: [&[u8]; 2]) -> Result<usize, UvError> {
        if self.has(WRITES) {
            return Ok(0);
        }
        loop {
            let written = self.with(|mut stream| match parts {
                [first, []] => stream.write(first),
                [[], second] => stream.write(second),
                [first, second] => {
                    stream.write_vectored(&[IoSlice::new(first), IoSlice::new(second)])
                }
            });
            match written {
                Err(UvError::EINTR) => {}
                Err(UvError::EAGAIN) => return Ok(0),
                _ => return written,
            }
        }
    }

    /// Queues `bytes`; `written` follows unless the socket is closed first.
    pub(crate) fn write(&self, bytes: Bytes) -> Result<(), UvError> {
        self.with(|_| Ok(()))?;
        self.queued.set(Some(Box::new(bytes)));
        self.set(WRITES | WATCHES_ROOM);
        self.update_hold();
        self.look_again()
    }

    /// Bytes of the queued write that the system has not taken.
    pub(crate) fn unwritten(&self) -> usize {
        let queued = self.queued.take();
        let len = queued.as_ref().map_or(0, |bytes| bytes.as_slice().len());
        self.queued.set(queued);
        len
    }

    /// Whether there is something to read, or will never be.
    pub(crate) fn has_input(&self) -> bool {
        self.with(|stream| Ok(has_input(stream.as_fd()))).unwrap_or(false)
    }

    /// Ends our side. Nothing is queued.
    pub(crate) fn shutdown(&self) -> Result<(), UvError> {
        self.with(|stream| stream.shutdown(Shutdown::Write))
    }

    /// Makes the close that follows a reset: nothing lingers.
    pub(crate) fn linger_zero(&self) {
        let _ = self.with(system::linger_zero);
    }

    /// Turns Nagle's algorithm off or on.
    pub(crate) fn set_nodelay(&self, enable: bool) {
        let _ = self.with(|stream| stream.set_nodelay(enable));
    }

    /// Turns TCP keep-alive on, first probe after `delay` seconds, or off.
    pub(crate) fn set_keepalive(&self, enable: bool, delay: u32) {
        let _ = self.with(|stream| {
            let on = i32::from(enable);
            system::set_option(stream, libc::SOL_SOCKET, libc::SO_KEEPALIVE, on)?;
            if enable {
                let delay = delay.try_into().unwrap_or(i32::MAX);
                let options = [
                    (libc::TCP_KEEPIDLE, delay),
                    (libc::TCP_KEEPINTVL, PROBE_INTERVAL),
                    (libc::TCP_KEEPCNT, PROBES),
                ];
                for (name, value) in options {
                    system::set_option(stream, libc::IPPROTO_TCP, name, value)?;
                }
            }
            Ok(())
        });
    }

    /// Returns the address of our side.
    pub(crate) fn local_address(&self) -> Result<SocketAddr, UvError> {
        self.with(TcpStream::local_addr)
    }

    /// Returns the address of the peer.
    pub(crate) fn peer_address(&self) -> Result<SocketAddr, UvError> {
        self.with(TcpStream::peer_addr)
    }

    /// Lets the socket keep the loop alive, or not.
    pub(crate) fn set_ref(&self, keep_alive: bool) {
        if keep_alive {
            self.set(REFERENCED);
        } else {
            self.clear(REFERENCED);
        }
        self.update_hold();
    }

    /// Takes the socket out of the set and gives it away; the owner hears `closed`.
    pub(crate) fn release(&self) -> Result<OwnedFd, UvError> {
        let stream = self.stream.take().ok_or(UvError::EINVAL)?;
        self.set.places.borrow_mut().remove(self.key.get());
        let _ = self.control(libc::EPOLL_CTL_DEL, &stream, 0);
        self.close();
        Ok(stream.into())
    }

    /// Closes; the owner hears `closed`.
    pub(crate) fn close(&self) {
        let Some(owner) = self.owner.take() else { return };
        if let Some(stream) = self.stream.take() {
            self.set.places.borrow_mut().remove(self.key.get());
            if self.has(SHARED) {
                // The last descriptor to be closed takes a socket out of the set; ours may not be it.
                let _ = self.control(libc::EPOLL_CTL_DEL, &stream, 0);
            }
            drop(stream);
        }
        self.queued.take();
        self.clear(LISTENS | CONNECTS | READS | WRITES);
        self.update_hold();
        self.set.was_closed(owner);
    }

    /// Serves what the set has reported, together with `count - 1` other events.
    pub(super) fn ready(&self, events: u32, count: usize) {
        if self.has(LISTENS) {
            return self.accept_some(count);
        }
        if self.has(CONNECTS) {
            if events & (ROOM | END) == 0 {
                return;
            }
            self.conclude_connect();
        }
        // Reading comes first, as in libuv: what a peer sent before it was gone is still read, where a
        // write would fail.
        if events & (INPUT | END) != 0 {
            self.read_some(events & END != 0);
        }
        if events & (ROOM | END) != 0 {
            self.go_on_writing();
        }
    }

    /// Serving it has panicked. Its owner is told, and a stream is closed.
    pub(super) fn panicked(&self) {
        // A connection that was announced and not taken is nobody else's.
        self.set.accepted.take();
        guard(|| self.tell(|owner| owner.panicked()));
        if !self.has(LISTENS) {
            self.close();
        }
    }

    fn accept_some(&self, count: usize) {
        // As a rule one connection waits, and asking for another is a call in vain. In a busy loop
        // turns are rare and the question costs little.
        let most = (1 + count / EVENTS_PER_ACCEPT).min(ACCEPTS);
        for _ in 0..most {
            let Some(owner) = self.owner() else { return };
            if self.has(HOLDS_BACK) {
                return;
            }
            match self.with(system::accept) {
                Ok(stream) => {
                    self.set.accepted.set(Some(stream));
                    owner.incoming(Ok(()));
                    self.set.accepted.take();
                }
                Err(UvError::EINTR | UvError::ECONNABORTED) => {}
                Err(UvError::EAGAIN) => return,
                Err(error) => return owner.incoming(Err(error)),
            }
        }
    }

    fn conclude_connect(&self) {
        self.clear(CONNECTS);
        self.update_hold();
        let outcome = self.with(|stream| stream.take_error()?.map_or(Ok(()), Err));
        self.tell(|owner| owner.connected(outcome));
    }

    fn go_on_writing(&self) {
        let Some(mut queued) = self.queued.take() else { return };
        self.clear(WRITES);
        let rest = queued.as_slice();
        let written = self.try_write([rest, &[]]);
        if let Ok(count) = written {
            if count < rest.len() {
                queued.advance(count);
                self.queued.set(Some(queued));
                return self.set(WRITES);
            }
        }
        drop(queued);
        self.update_hold();
        self.tell(|owner| owner.written(written.map(drop)));
    }

    /// Reads until nothing is left. A short read tells so, unless the set has reported that
    /// something else than bytes comes behind them.
    fn read_some(&self, to_the_end: bool) {
        for _ in 0..MAX_READS {
            let Some(owner) = self.owner() else { return };
            if !self.has(READS) {
                return self.set(LEFT_SOME);
            }
            let mut is_short = false;
            let mut append = |message: &mut Vec<u8>, most: usize| {
                let count = self.with(|stream| system::append(stream, message, most))?;
                is_short = count < most;
                Ok(count)
            };
            let outcome = owner.receive_in_place(&mut append).or_else(|| {
                owner.receive_buffer().lend_to(|buffer| {
                    let count = self.with(|mut stream| stream.read(buffer))?;
                    is_short = count < buffer.len();
                    if count > 0 {
                        owner.received(buffer.get_mut(..count).unwrap_or_default());
                    }
                    Ok(count)
                })
            });
            match outcome {
                Some(Ok(1..)) if is_short && !to_the_end => return,
                Some(Ok(1..) | Err(UvError::EINTR)) if self.set.may_go_on() => {}
                Some(Ok(1..) | Err(UvError::EINTR)) => break,
                Some(Ok(0)) => {
                    self.read_stop();
                    return owner.ended(UvError::EOF);
                }
                Some(Err(UvError::EAGAIN)) | None => return,
                Some(Err(error)) => {
                    self.read_stop();
                    return owner.ended(error);
                }
            }
        }
        // It is the others' turn.
        if !self.has(READS) {
            return self.set(LEFT_SOME);
        }
        if let Err(error) = self.look_again() {
            self.read_stop();
            self.tell(|owner| owner.ended(error));
        }
    }

    /// Makes the socket a member of its set.
    fn join(self: &Rc<Self>, stream: TcpStream, state: u16) -> Result<(), UvError> {
        let events = match state {
            LISTENS => CONNECTION,
            state if state & WATCHES_ROOM != 0 => EDGES | ROOM,
            _ => EDGES,
        };
        let key = self.set.places.borrow_mut().insert(Rc::clone(self));
        self.key.set(key);
        if let Err(error) = self.control(libc::EPOLL_CTL_ADD, &stream, events) {
            self.set.places.borrow_mut().remove(key);
            return Err(failed(error));
        }
        self.stream.set(Some(stream));
        self.set(state);
        self.update_hold();
        Ok(())
    }

    /// Has the set report what is ready now, though it may have reported it before.
    fn look_again(&self) -> Result<(), UvError> {
        let events = if self.has(WATCHES_ROOM) { EDGES | ROOM } else { EDGES };
        self.with(|stream| self.control(libc::EPOLL_CTL_MOD, stream, events))
    }

    fn control(&self, operation: i32, stream: &TcpStream, events: u32) -> io::Result<()> {
        let set = self.set.epoll.as_fd();
        system::epoll_ctl(set, operation, stream.as_fd(), events, self.key.get())
    }

    /// Keeps the loop alive while something may still come of this socket.
    fn update_hold(&self) {
        let is_active = self.has(LISTENS | CONNECTS | READS | WRITES);
        let holds = is_active && self.has(REFERENCED);
        if holds == self.has(HOLDS_LOOP) {
            return;
        }
        if holds {
            self.set(HOLDS_LOOP);
            self.set.hold_loop();
        } else {
            self.clear(HOLDS_LOOP);
            self.set.release_loop();
        }
    }

    fn with<T>(&self, call: impl FnOnce(&TcpStream) -> io::Result<T>) -> Result<T, UvError> {
        // Only system calls are made with it, so nobody misses it meanwhile.
        let stream = self.stream.take().ok_or(UvError::EINVAL)?;
        let outcome = call(&stream).map_err(failed);
        self.stream.set(Some(stream));
        outcome
    }

    /// Calls the owner, unless the socket is closed.
    fn tell(&self, call: impl FnOnce(Rc<dyn StreamOwner>)) {
        if let Some(owner) = self.owner() {
            call(owner);
        }
    }

    fn owner(&self) -> Option<Rc<dyn StreamOwner>> {
        let owner = self.owner.take();
        self.owner.set(owner.clone());
        owner
    }

    fn has(&self, flags: u16) -> bool {
        self.state.get() & flags != 0
    }

    fn set(&self, flags: u16) {
        self.state.set(self.state.get() | flags);
    }

    fn clear(&self, flags: u16) {
        self.state.set(self.state.get() & !flags);
    }
}

fn failed(error: io::Error) -> UvError {
    UvError::from_system(&error)
}

/// Something to read.
const INPUT: u32 = libc::EPOLLIN as u32;
/// Room for output.
const ROOM: u32 = libc::EPOLLOUT as u32;
/// The peer has ended its side, the connection has failed, or urgent data interrupts the stream: a
/// short read does not tell that nothing is left.
const END: u32 =
    (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32 | libc::EPOLLPRI as u32;
/// What is watched of every stream.
const EDGES: u32 = INPUT | libc::EPOLLRDHUP as u32 | libc::EPOLLPRI as u32 | libc::EPOLLET as u32;
/// What is watched of a listener.
const CONNECTION: u32 = libc::EPOLLIN as u32;

/// Reads of one socket in a turn; then it is the others' turn. With a receive buffer of 64 KiB that is
/// a mebibyte, as much as is delivered at once. Messages of that size cost a tenth more with a quarter
/// of it.
const MAX_READS: usize = 16;
/// Connections that one listener accepts in a turn, at most: some 10 microseconds each with what follows, so
/// less than a millisecond. The others wait in the system's queue, which costs nothing.
const ACCEPTS: usize = 64;
/// So many events in a turn make it worth while to ask for one more connection.
const EVENTS_PER_ACCEPT: usize = 4;
/// Seconds between keep-alive probes, and how many, as libuv sets them.
const PROBE_INTERVAL: i32 = 1;
const PROBES: i32 = 10;
