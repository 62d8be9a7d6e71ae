//! The set of a context's sockets.

use std::rc::Rc;

use super::Context;
use crate::uv::{PollOwner, Sockets, SocketsOwner, StreamOwner, UvError};

impl Context {
    /// The set, which is made on first use. Its handle is counted among the context's.
    pub(crate) fn sockets(self: &Rc<Self>) -> Result<&Rc<Sockets>, UvError> {
        if let Some(sockets) = self.sockets.get() {
            return Ok(sockets);
        }
        if self.is_ending() {
            return Err(UvError::EINVAL);
        }
        let sockets = Sockets::new(self.on, self)?;
        self.handle_opened();
        Ok(self.sockets.get_or_init(|| sockets))
    }

    /// Closes the set. Every socket in it is closed already.
    pub(super) fn close_sockets(&self) {
        if let Some(sockets) = self.sockets.get() {
            sockets.close();
        }
    }
}

impl PollOwner for Context {
    fn readable(self: Rc<Self>) {
        if let Some(sockets) = self.sockets.get() {
            sockets.serve();
        }
    }
}

impl SocketsOwner for Context {
    fn socket_closed(&self, owner: Rc<dyn StreamOwner>) {
        self.closed.borrow_mut().push(owner);
        self.want_turn();
    }
}
