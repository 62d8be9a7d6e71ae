//! A JavaScript stream as a byte pipe: TLS sockets, HTTP/2 streams, any Duplex.
//!
//! Output becomes records, which `lib/` writes to the stream; input is fed by calls. There is no
//! handle to wait for: closing is immediate here, and `lib/` closes its stream when it hears that
//! the connection is gone.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
#[cfg(unix)]
use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::{Bytes, StreamOwner, Transport, UvError};
use crate::context::{Context, Kind, Record};

/// No more is given to the stream once so many bytes are on their way there: whether it takes them is
/// not known before they are delivered.
const ENOUGH_ON_THEIR_WAY: usize = 64 * 1024;

/// See the module's documentation.
pub(crate) struct Bridge {
    id: u32,
    context: Rc<Context>,
    owner: RefCell<Option<Rc<dyn StreamOwner>>>,
    /// The stream takes no more until it has drained.
    is_blocked: Cell<bool>,
    /// Bytes that are on their way to the stream.
    on_their_way: Cell<usize>,
    /// Bytes that the stream has got since it takes no more.
    in_stream: Cell<usize>,
    /// It is to bring no more for now.
    is_stopped: Cell<bool>,
    /// A queued write.
    queued: RefCell<Option<Bytes>>,
}

impl Bridge {
    /// Makes a pipe for the connection `id`, which is counted by its context like a handle.
    pub(crate) fn new(context: &Rc<Context>, id: u32, owner: Rc<dyn StreamOwner>) -> Self {
        context.handle_opened();
        Self {
            id,
            context: Rc::clone(context),
            owner: RefCell::new(Some(owner)),
            is_blocked: Cell::new(false),
            on_their_way: Cell::new(0),
            in_stream: Cell::new(0),
            is_stopped: Cell::new(false),
            queued: RefCell::new(None),
        }
    }

    fn may_give(&self) -> bool {
        !self.is_blocked.get() && self.on_their_way.get() < ENOUGH_ON_THEIR_WAY
    }

    fn give(&self, bytes: &[u8]) -> Result<(), UvError> {
        if !bytes.is_empty() {
            if !self.context.record_output(self.id, bytes) {
                return Err(UvError::ENOMEM);
            }
            self.on_their_way.set(self.on_their_way.get() + bytes.len());
        }
        Ok(())
    }

    /// Ends the queued write, if the stream takes it.
    fn give_queued(&self) {
        let Some(bytes) = self.queued.borrow_mut().take_if(|_| self.may_give()) else { return };
        let given = self.give(bytes.as_slice());
        let owner = self.owner.borrow().clone();
        if let Some(owner) = owner {
            owner.written(given);
        }
    }
}

impl Transport for Bridge {
    fn read_start(&self) -> Result<(), UvError> {
        if self.is_stopped.replace(false) {
            self.context.record(Record::new(Kind::InputWanted, 0, self.id, 0, 0));
        }
        Ok(())
    }

    // `lib/` hears of it when it feeds; what its stream had read before is kept by the connection.
    fn read_stop(&self) {
        self.is_stopped.set(true);
    }

    fn try_write(&self, parts: [&[u8]; 2]) -> Result<usize, UvError> {
        if !self.may_give() {
            return Ok(0);
        }
        for part in parts {
            self.give(part)?;
        }
        Ok(parts[0].len() + parts[1].len())
    }

    fn write(&self, bytes: Bytes) -> Result<(), UvError> {
        self.queued.replace(Some(bytes));
        Ok(())
    }

    // How much of its share the stream has passed on is not known here.
    fn unwritten(&self) -> usize {
        self.queued.borrow().as_ref().map_or(0, |bytes| bytes.as_slice().len())
    }

    fn held(&self) -> usize {
        self.on_their_way.get() + self.in_stream.get()
    }

    fn shutdown(&self) -> Result<(), UvError> {
        self.context.record(Record::new(Kind::OutputEnd, 0, self.id, 0, 0));
        Ok(())
    }

    fn reset_on_close(&self) {}

    #[cfg(unix)]
    fn release(&self) -> Result<OwnedFd, UvError> {
        Err(UvError::EINVAL)
    }

    fn ends_by_close(&self) -> bool {
        false
    }

    fn close(&self) {
        // Nothing may be written any more: the number may soon be somebody else's.
        self.queued.take();
        self.is_blocked.set(true);
        let owner = self.owner.take();
        if let Some(owner) = owner {
            owner.closed();
        }
    }

    fn passed_on(&self, len: usize, is_full: bool) {
        self.on_their_way.set(self.on_their_way.get().saturating_sub(len));
        if is_full {
            self.is_blocked.set(true);
        }
        if self.is_blocked.get() {
            self.in_stream.set(self.in_stream.get() + len);
        }
        self.give_queued();
    }

    fn drained(&self) {
        self.in_stream.set(0);
        if self.owner.borrow().is_some() {
            self.is_blocked.set(false);
            self.give_queued();
        }
    }

    // The stream's own liveness, options and addresses are `lib/`'s business.
    fn set_ref(&self, _keep_alive: bool) {}

    fn set_nodelay(&self, _enable: bool) {}

    fn set_keepalive(&self, _enable: bool, _delay: u32) {}

    fn local_address(&self) -> Result<SocketAddr, UvError> {
        Err(UvError::EINVAL)
    }

    fn peer_address(&self) -> Result<SocketAddr, UvError> {
        Err(UvError::EINVAL)
    }
}
