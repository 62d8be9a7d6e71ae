//! Bytes that a write owns until it has ended.

use std::rc::Rc;

/// Bytes to be written, from some place on. Nobody changes them, and they do not move.
pub(crate) struct Bytes {
    held: Held,
    from: usize,
}

enum Held {
    Own(Vec<u8>),
    Shared(Rc<Vec<u8>>),
}

impl Bytes {
    /// What a buffer holds from `from` on.
    pub(crate) fn own(buffer: Vec<u8>, from: usize) -> Self {
        Self { held: Held::Own(buffer), from }
    }

    /// The same of a buffer that others write too.
    pub(crate) fn shared(buffer: Rc<Vec<u8>>, from: usize) -> Self {
        Self { held: Held::Shared(buffer), from }
    }

    /// The buffer, if it may be appended to.
    pub(crate) fn own_mut(&mut self) -> Option<&mut Vec<u8>> {
        match &mut self.held {
            Held::Own(buffer) => Some(buffer),
            Held::Shared(_) => None,
        }
    }

    /// Leaves out the first `count` bytes.
    pub(crate) fn advance(&mut self, count: usize) {
        self.from += count;
    }

    /// The bytes.
    pub(crate) fn as_slice(&self) -> &[u8] {
        let buffer = match &self.held {
            Held::Own(buffer) => buffer,
            Held::Shared(buffer) => &**buffer,
        };
        buffer.get(self.from..).unwrap_or_default()
    }
}
