//! Bytes that several members write in one turn, kept once.
//!
//! A member remembers its span of the log instead of a copy. What a member has a span of is written,
//! or copied, when the member is flushed; so the log is empty after every flush of the context, and
//! only members that are marked dirty have spans.

use std::cell::{Cell, RefCell};

/// A log of this size is written out at once: a larger one saves no system call that would matter.
const FULL: usize = 64 * 1024;
/// A log that has grown beyond this is freed, so that one burst does not pin memory.
const MAX_SPARE_CAPACITY: usize = 4 * FULL;

/// A part of the log. The default is an empty one.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    from: u32,
    to: u32,
}

impl Span {
    /// Whether there is nothing in it.
    pub(crate) fn is_empty(self) -> bool {
        self.from == self.to
    }

    /// How many bytes it has.
    pub(crate) fn len(self) -> usize {
        (self.to - self.from) as usize
    }

    /// This span and the one right behind it as one, if that is where `next` is.
    pub(crate) fn joined(self, next: Self) -> Option<Self> {
        (self.to == next.from).then_some(Self { from: self.from, to: next.to })
    }
}

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Log {
    bytes: RefCell<Vec<u8>>,
    /// What was appended last.
    last: Cell<Span>,
}

impl Log {
    /// Appends what `fill` does.
    pub(crate) fn append(&self, fill: impl FnOnce(&mut Vec<u8>)) -> Span {
        let mut bytes = self.bytes.borrow_mut();
        let from = bytes.len() as u32;
        fill(&mut bytes);
        let span = Span { from, to: bytes.len() as u32 };
        self.last.set(span);
        span
    }

    /// Appends what `fill` does to the part `present`. Returns nothing if that is not at the end, or
    /// the log is full.
    #[inline]
    pub(crate) fn extend(&self, present: Span, fill: impl FnOnce(&mut Vec<u8>)) -> Option<Span> {
        let mut bytes = self.bytes.borrow_mut();
        if present.to as usize != bytes.len() || bytes.len() >= FULL {
            return None;
        }
        fill(&mut bytes);
        Some(Span { from: present.from, to: bytes.len() as u32 })
    }

    /// Puts what `fill` appends behind `present`, or anywhere if that is empty, and returns both as one.
    /// What is there already is not kept twice. Returns nothing if something else is behind `present`,
    /// or the log is full.
    pub(crate) fn follow(&self, present: Span, fill: impl FnOnce(&mut Vec<u8>)) -> Option<Span> {
        let mut bytes = self.bytes.borrow_mut();
        let end = bytes.len();
        if end >= FULL {
            return None;
        }
        fill(&mut bytes);
        let (before, new) = bytes.split_at(end);
        let (first, from) = if present.is_empty() {
            (None, self.last.get().from)
        } else {
            (Some(present.from), present.to)
        };
        let to = from + new.len() as u32;
        let appended = Span { from: end as u32, to: bytes.len() as u32 };
        if before.get(from as usize..to as usize) == Some(new) {
            bytes.truncate(end);
            return Some(Span { from: first.unwrap_or(from), to });
        }
        if first.is_some() {
            bytes.truncate(end);
            return None;
        }
        self.last.set(appended);
        Some(appended)
    }

    /// Lends a part to `read`.
    pub(crate) fn with<T>(&self, span: Span, read: impl FnOnce(&[u8]) -> T) -> T {
        let bytes = self.bytes.borrow();
        read(bytes.get(span.from as usize..span.to as usize).unwrap_or_default())
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.borrow().len() >= FULL
    }

    /// Forgets everything: nobody has a span.
    pub(super) fn clear(&self) {
        self.last.take();
        let mut bytes = self.bytes.borrow_mut();
        bytes.clear();
        if bytes.capacity() > MAX_SPARE_CAPACITY {
            *bytes = Vec::new();
        }
    }
}
