//! A JavaScript stream as a byte pipe: TLS sockets, HTTP/2 streams, any Duplex.
//!
//! Output becomes records, which `lib/` writes to the stream; input is fed by calls. There is no
//! handle to wait for: closing is immediate here, and `lib/` closes its stream when it hears that
//! the connection is gone.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use super::{Bytes, StreamOwner, Transport, UvError};
use crate::context::{Context, Kind, Record};

/// See the module's documentation.
pub(crate) struct Bridge {
    id: u32,
    context: Rc<Context>,
    owner: RefCell<Option<Rc<dyn StreamOwner>>>,
    /// The stream takes no more until it has drained.
    is_blocked: Cell<bool>,
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
            is_stopped: Cell::new(false),
            queued: RefCell::new(None),
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
        if self.is_blocked.get() {
            return Ok(0);
        }
        for part in parts {
            if !part.is_empty() {
                self.context.record_output(self.id, part);
            }
        }
        Ok(parts[0].len() + parts[1].len())
    }

    fn write(&self, bytes: Bytes) -> Result<(), UvError> {
        self.queued.replace(Some(bytes));
        Ok(())
    }

    fn shutdown(&self) -> Result<(), UvError> {
        self.context.record(Record::new(Kind::OutputEnd, 0, self.id, 0, 0));
        Ok(())
    }

    fn reset_on_close(&self) {}

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

    fn set_blocked(&self, is_blocked: bool) {
        if self.owner.borrow().is_none() {
            return;
        }
        self.is_blocked.set(is_blocked);
        if is_blocked {
            return;
        }
        if let Some(bytes) = self.queued.take() {
            self.context.record_output(self.id, bytes.as_slice());
            let owner = self.owner.borrow().clone();
            if let Some(owner) = owner {
                owner.written(Ok(()));
            }
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
