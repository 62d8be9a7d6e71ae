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
        if let Err(error) = sockets.start() {
            sockets.close();
            return Err(error);
        }
        Ok(self.sockets.get_or_init(|| sockets))
    }

    /// Whether sockets that are ready were left to the next turn of the loop.
    pub(super) fn sockets_wait(&self) -> bool {
        self.sockets.get().is_some_and(|sockets| sockets.has_more())
    }

    /// Serves those that were left by the last turn, unless the loop has had the set do so: it looks for
    /// what is ready, and knows nothing of them.
    pub(super) fn serve_those_left(&self) {
        if !self.served.replace(false) && self.sockets_wait() {
            self.serve_sockets();
            self.served.set(false);
        }
    }

    fn serve_sockets(&self) {
        if self.rest.is_on() {
            return self.want_turn();
        }
        self.served.set(true);
        if let Some(sockets) = self.sockets.get() {
            self.at_length(|| sockets.serve());
            if sockets.has_more() {
                self.want_turn();
            }
        }
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
        self.serve_sockets();
    }

    // Deaf, it is of no use.
    fn unwatched(self: Rc<Self>) {
        self.destroy();
    }
}

impl SocketsOwner for Context {
    fn may_go_on(&self) -> bool {
        Self::may_go_on(self)
    }

    fn socket_closed(&self, owner: Rc<dyn StreamOwner>) {
        self.closed.borrow_mut().push(owner);
        self.want_turn();
    }
}
