//! Numbers for connections and listeners.
//!
//! JavaScript names a connection by a number, one table lookup away. A number is given out again
//! only after the record that ends its use has been delivered, so an old object in JavaScript can
//! never reach a new connection.

use std::cell::RefCell;
use std::rc::Rc;

use super::compression::SharedDeflate;
use super::{Connection, Listener};

/// What a number stands for.
pub(crate) enum Entry {
    /// A connection.
    Connection(Rc<Connection>),
    /// A listener.
    Listener(Rc<Listener>),
}

/// All connections and listeners of one environment.
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
            Entry::Listener(_) => None,
        }
    }

    /// Returns the connection, if the number stands for one.
    pub(crate) fn connection(&self, id: u32) -> Option<Rc<Connection>> {
        self.with_connection(id, Rc::clone)
    }

    /// Returns the listener, if the number stands for one.
    pub(crate) fn listener(&self, id: u32) -> Option<Rc<Listener>> {
        match self.entries.borrow().get(id as usize)?.as_ref()? {
            Entry::Listener(listener) => Some(Rc::clone(listener)),
            Entry::Connection(_) => None,
        }
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
