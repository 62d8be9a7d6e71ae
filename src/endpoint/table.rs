//! Numbers for connections, servers and what else JavaScript names.
//!
//! JavaScript names a connection by a number, one table lookup away. A number is given out again
//! only after the record that ends its use has been delivered, so an old object in JavaScript can
//! never reach a new connection.

use std::cell::RefCell;
use std::rc::Rc;

use super::compression::SharedDeflate;
use super::{Admission, Connection, Server};

/// What a number stands for.
pub(crate) enum Entry {
    /// A connection.
    Connection(Rc<Connection>),
    /// A server.
    Server(Rc<Server>),
    /// How many connections a server may have.
    Admission(Rc<Admission>),
}

/// All connections and servers of one environment, and what they have in common.
pub(crate) struct Table {
    entries: RefCell<Vec<Option<Entry>>>,
    free: RefCell<Vec<u32>>,
    deflate: SharedDeflate,
}

impl Default for Table {
    fn default() -> Self {
        // No number is 0: what JavaScript makes of NaN and the like stands for nobody.
        Self {
            entries: RefCell::new(vec![None]),
            free: RefCell::default(),
            deflate: SharedDeflate::default(),
        }
    }
}

impl Table {
    /// What compressing connections share.
    pub(super) fn deflate(&self) -> &SharedDeflate {
        &self.deflate
    }

    /// Reserves a number.
    pub(crate) fn reserve(&self) -> u32 {
        if let Some(id) = self.free.borrow_mut().pop() {
            return id;
        }
        let mut entries = self.entries.borrow_mut();
        entries.push(None);
        (entries.len() - 1) as u32
    }

    /// Fills a reserved number.
    pub(crate) fn set(&self, id: u32, entry: Entry) {
        if let Some(slot) = self.entries.borrow_mut().get_mut(id as usize) {
            *slot = Some(entry);
        }
    }

    /// Frees a number. Freeing twice does nothing.
    pub(crate) fn release(&self, id: u32) {
        let entry = self.entries.borrow_mut().get_mut(id as usize).and_then(Option::take);
        if entry.is_some() {
            self.free.borrow_mut().push(id);
        }
    }

    /// Calls `visit` with the connection, if the number stands for one.
    pub(crate) fn with_connection<T>(
        &self,
        id: u32,
        visit: impl FnOnce(&Rc<Connection>) -> T,
    ) -> Option<T> {
        match self.entries.borrow().get(id as usize)?.as_ref()? {
            Entry::Connection(connection) => Some(visit(connection)),
            _ => None,
        }
    }

    /// Returns the connection, if the number stands for one.
    pub(crate) fn connection(&self, id: u32) -> Option<Rc<Connection>> {
        self.with_connection(id, Rc::clone)
    }

    /// Returns the server, if the number stands for one.
    pub(crate) fn server(&self, id: u32) -> Option<Rc<Server>> {
        match self.entries.borrow().get(id as usize)?.as_ref()? {
            Entry::Server(server) => Some(Rc::clone(server)),
            _ => None,
        }
    }

    /// Returns what admits a server's connections, if the number stands for that.
    pub(crate) fn admission(&self, id: u32) -> Option<Rc<Admission>> {
        match self.entries.borrow().get(id as usize)?.as_ref()? {
            Entry::Admission(admission) => Some(Rc::clone(admission)),
            _ => None,
        }
    }

    /// Returns a server for which `is_it` holds.
    pub(crate) fn find_server(&self, is_it: impl Fn(&Server) -> bool) -> Option<Rc<Server>> {
        self.entries.borrow().iter().flatten().find_map(|entry| match entry {
            Entry::Server(server) if is_it(server) => Some(Rc::clone(server)),
            _ => None,
        })
    }

    /// Returns the numbers of all connections for which `keep` holds.
    pub(crate) fn connections(&self, keep: impl Fn(&Connection) -> bool) -> Vec<u32> {
        let entries = self.entries.borrow();
        let matching = entries.iter().zip(0u32..).filter_map(|(entry, id)| match entry {
            Some(Entry::Connection(connection)) if keep(connection) => Some(id),
            _ => None,
        });
        matching.collect()
    }
}
