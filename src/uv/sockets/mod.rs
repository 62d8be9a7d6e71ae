//! TCP sockets of our own in an epoll set, behind one `uv_poll_t` (Linux).
//!
//! libuv sees one handle, whatever the number of sockets. That saves what libuv keeps and does for
//! each of them: its handle, a change of its own set when reading starts and ends, two callbacks and
//! an entry in its queue of closing handles.
//!
//! Sockets are reported edge-triggered: the kernel need not look at each again in the next turn to
//! find that nothing more has come. In return whoever leaves something behind has the set look again
//! ([`Socket`]). Listeners are level-triggered, as they leave most behind.
//!
//! Serving them ends where the owner says that it is the others' turn on the loop; what was reported and
//! not served is remembered, as the kernel does not report it again.
//!
//! # Invariants
//! - A socket is found by its place and the place's generation, not by its descriptor: an event that
//!   was fetched before its socket was closed reaches nobody, though place and descriptor may have a
//!   new owner already.
//! - Closing takes effect at once, but the owner hears of it later and from the outside, as it would
//!   from libuv: [`SocketsOwner::socket_closed`].
//! - The handle keeps the loop alive as long as some socket does; a socket does as long as a
//!   `uv_tcp_t` in its place would.

mod socket;
mod system;

use std::cell::{Cell, RefCell};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::{Rc, Weak};

pub(crate) use socket::Socket;

use super::busy::Busy;
use super::error::UvError;
use super::event_loop::Loop;
use super::handle::guard;
use super::poll::{Poll, PollOwner};
use super::tcp::StreamOwner;
use super::told::run;
use system::Event;

/// Whoever owns a set, and its handle.
pub(crate) trait SocketsOwner: PollOwner {
    /// A socket was closed. `owner` is to hear `closed`, soon, but not from here.
    fn socket_closed(&self, owner: Rc<dyn StreamOwner>);
    /// Whether to serve another socket, or more of the same, in this turn of the loop.
    fn may_go_on(&self) -> bool;
}

/// See the module's documentation.
pub(crate) struct Sockets {
    epoll: OwnedFd,
    poll: Poll,
    owner: Weak<dyn SocketsOwner>,
    places: RefCell<Places>,
    ready: Cell<Ready>,
    /// Whether `ready` has some that were not served.
    has_more: Cell<bool>,
    /// The connection that a listener announces.
    accepted: Cell<Option<TcpStream>>,
    is_serving: Cell<bool>,
    /// Sockets that keep the loop alive.
    holders: Cell<u32>,
}

impl Sockets {
    /// Makes a set on `on`; `start` follows. `owner` is called back by its handle, and is to call `serve`.
    pub(crate) fn new<O: SocketsOwner + 'static>(
        on: Loop,
        owner: &Rc<O>,
    ) -> Result<Rc<Self>, UvError> {
        let epoll = system::epoll_create().map_err(|error| UvError::from_system(&error))?;
        let poll = Poll::new(on, epoll.as_fd(), Rc::<O>::clone(owner))?;
        let owner: Weak<O> = Rc::downgrade(owner);
        Ok(Rc::new(Self {
            epoll,
            poll,
            owner,
            places: RefCell::default(),
            ready: Cell::default(),
            has_more: Cell::new(false),
            is_serving: Cell::new(false),
            accepted: Cell::default(),
            holders: Cell::new(0),
        }))
    }

    /// Starts to look for what is ready.
    pub(crate) fn start(&self) -> Result<(), UvError> {
        self.poll.start()
    }

    /// Serves the sockets that are ready, or as many of them as may be in this turn: the others are the
    /// first of the next one. To be called when the handle is readable, and as long as there is more.
    pub(crate) fn serve(&self) {
        // Not by a loop that is run from within: what it fetched would be forgotten.
        let Some(_serving) = Busy::begin(&self.is_serving) else { return };
        // Serving a socket may run anything, so nothing stays borrowed meanwhile.
        let mut ready = self.ready.take();
        if !self.has_more.get() {
            ready.fetch(self.epoll.as_fd());
        }
        let count = ready.count;
        while let Some(event) = ready.next() {
            let socket = self.places.borrow().find(event.u64);
            if let Some(socket) = socket {
                if guard(|| run("panic:socket", || socket.ready(event.events, count))) {
                    socket.panicked();
                }
            }
            if !self.may_go_on() {
                break;
            }
        }
        self.has_more.set(ready.at < ready.count);
        self.ready.set(ready);
    }

    /// Whether sockets that were ready have not been served yet.
    pub(crate) fn has_more(&self) -> bool {
        self.has_more.get()
    }

    fn may_go_on(&self) -> bool {
        self.owner.upgrade().is_some_and(|context| context.may_go_on())
    }

    /// Closes the handle; the owner hears `closed`. No socket is left by then.
    pub(crate) fn close(&self) {
        self.poll.close();
    }

    fn was_closed(&self, owner: Rc<dyn StreamOwner>) {
        if let Some(context) = self.owner.upgrade() {
            context.socket_closed(owner);
        }
    }

    fn hold_loop(&self) {
        let holders = self.holders.get();
        self.holders.set(holders + 1);
        if holders == 0 {
            self.poll.set_ref(true);
        }
    }

    fn release_loop(&self) {
        let holders = self.holders.get() - 1;
        self.holders.set(holders);
        if holders == 0 {
            self.poll.set_ref(false);
        }
    }
}

/// What the set has reported.
#[derive(Default)]
struct Ready {
    events: Vec<Event>,
    /// How many of them are of the last report, and which is next.
    count: usize,
    at: usize,
}

impl Ready {
    fn fetch(&mut self, set: BorrowedFd<'_>) {
        self.events.resize(EVENTS, Event { events: 0, u64: 0 });
        self.count = system::epoll_wait(set, &mut self.events).unwrap_or(0);
        self.at = 0;
    }

    fn next(&mut self) -> Option<Event> {
        let event = self.events.get(self.at..self.count)?.first().copied();
        self.at += usize::from(event.is_some());
        event
    }
}

/// The sockets of a set. The set is told the key of each, and reports it with an event: the place,
/// and above it the generation.
#[derive(Default)]
struct Places {
    places: Vec<Place>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Place {
    generation: u32,
    socket: Option<Rc<Socket>>,
}

impl Places {
    fn insert(&mut self, socket: Rc<Socket>) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            (self.places.len() - 1) as u32
        });
        let mut generation = 0;
        if let Some(place) = self.places.get_mut(index as usize) {
            place.socket = Some(socket);
            generation = place.generation;
        }
        u64::from(generation) << 32 | u64::from(index)
    }

    fn find(&self, key: u64) -> Option<Rc<Socket>> {
        let place = self.places.get(key as u32 as usize)?;
        if place.generation != (key >> 32) as u32 {
            return None;
        }
        place.socket.clone()
    }

    fn remove(&mut self, key: u64) {
        if let Some(place) = self.places.get_mut(key as u32 as usize) {
            place.generation = place.generation.wrapping_add(1);
            place.socket = None;
            self.free.push(key as u32);
        }
    }
}

/// Events fetched in a turn, as many as libuv fetches.
const EVENTS: usize = 1024;
