//! Bytes that several members write in one turn, kept once.
//!
//! A member remembers its span of the log instead of a copy. What a member has a span of is written,
//! or copied, when the member is flushed; so the log is empty after every flush of the context, and
//! only members that are marked dirty have spans.

use std::cell::RefCell;

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
pub(crate) struct Log(RefCell<Vec<u8>>);

impl Log {
    /// Appends what `fill` does.
    pub(crate) fn append(&self, fill: impl FnOnce(&mut Vec<u8>)) -> Span {
        let mut bytes = self.0.borrow_mut();
        let from = bytes.len() as u32;
        fill(&mut bytes);
        Span { from, to: bytes.len() as u32 }
    }

    /// Lends a part to `read`.
    pub(crate) fn with<T>(&self, span: Span, read: impl FnOnce(&[u8]) -> T) -> T {
        let bytes = self.0.borrow();
        read(bytes.get(span.from as usize..span.to as usize).unwrap_or_default())
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.borrow().len() >= FULL
    }

    /// Forgets everything: nobody has a span.
    pub(super) fn clear(&self) {
        let mut bytes = self.0.borrow_mut();
        bytes.clear();
        if bytes.capacity() > MAX_SPARE_CAPACITY {
            *bytes = Vec::new();
        }
    }
}
