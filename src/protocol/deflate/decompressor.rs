//! The receiving half.

use core::cell::{Cell, RefCell};
use core::mem;
use core::ops::Deref;
use std::rc::Rc;

use zlib_rs::{Inflate, InflateError, InflateFlush, Status};

use super::super::limits::{INFLATE_BUFFER, MAX_SPARE_INFLATERS};
use super::super::ProtocolError;
use super::compressor::has_room;

/// What an inflater holds: a window of 32 KiB, code tables and state.
const INFLATER_SIZE: usize = 47 * 1024;

/// Inflaters and a buffer that decompressors share.
#[derive(Default)]
pub struct InflaterPool {
    spare: RefCell<Vec<Inflate>>,
    /// All of it initialised; empty while it is lent.
    buffer: Cell<Vec<u8>>,
}

impl InflaterPool {
    /// Makes an empty pool.
    pub fn new() -> Rc<Self> {
        Rc::default()
    }

    /// Takes a spare one or makes one, if there is memory for it.
    fn take(&self) -> Option<Inflate> {
        let spare = self.spare.borrow_mut().pop();
        // The largest window inflates what any smaller one made.
        spare.or_else(|| has_room(2 * INFLATER_SIZE).then(|| Inflate::new(false, 15)))
    }

    fn give_back(&self, mut inflater: Inflate) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < MAX_SPARE_INFLATERS {
            inflater.reset(false);
            spare.push(inflater);
        }
    }
}

/// The pool's buffer on loan; it goes back when this is dropped.
pub(in super::super) struct Scratch {
    pub(in super::super) bytes: Vec<u8>,
    pool: Rc<InflaterPool>,
}

impl Scratch {
    /// Makes the loan the payload of an event.
    pub(in super::super) fn into_inflated(self, len: usize) -> Inflated {
        Inflated { scratch: self, len }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.pool.buffer.set(mem::take(&mut self.bytes));
    }
}

/// An inflated message in a buffer that is reused once this is dropped.
pub struct Inflated {
    scratch: Scratch,
    len: usize,
}

impl Deref for Inflated {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.scratch.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Inflates what the peer of one connection sends.
///
/// Without context takeover it holds an inflater only while a message is arriving.
pub struct Decompressor {
    pool: Rc<InflaterPool>,
    allowance: Option<Rc<Cell<isize>>>,
    inflater: Option<Inflate>,
    takes_over: bool,
    /// The message that has begun is compressed.
    is_active: bool,
    /// A message, or the stream itself, has ended, and nothing has been inflated since.
    is_between: bool,
}

impl Decompressor {
    /// Makes a decompressor for messages that refer to earlier ones if the peer `takes_over` its
    /// context.
    pub fn new(pool: &Rc<InflaterPool>, takes_over: bool) -> Self {
        Self {
            pool: Rc::clone(pool),
            allowance: None,
            inflater: None,
            takes_over,
            is_active: false,
            is_between: true,
        }
    }

    /// Whether the message that has begun is compressed.
    pub(in super::super) fn is_active(&self) -> bool {
        self.is_active
    }

    /// Notes that a message begins.
    pub(in super::super) fn begin_message(&mut self, is_compressed: bool) {
        self.is_active = is_compressed;
    }

    /// Notes that the message has ended.
    pub(in super::super) fn end_message(&mut self) {
        self.is_active = false;
        self.is_between = true;
        if !self.takes_over {
            if let Some(inflater) = self.inflater.take() {
                self.pool.give_back(inflater);
            }
        }
    }

    /// Whether the tail of the message is to be inflated too. It is not when the peer ended its
    /// stream with the message, or sent an empty message as no octets at all.
    pub(in super::super) fn wants_tail(&self) -> bool {
        !self.is_between
    }

    /// Takes what is inflated, in bytes, off `allowance`, which may go below 0. Once that is used up, a long
    /// message is inflated no further than [`INFLATE_BUFFER`] bytes at a time.
    #[must_use]
    pub fn with_allowance(self, allowance: &Rc<Cell<isize>>) -> Self {
        Self { allowance: Some(Rc::clone(allowance)), ..self }
    }

    /// Takes what was inflated off the allowance.
    pub(in super::super) fn spend(&self, inflated: usize) {
        if let Some(allowance) = &self.allowance {
            allowance.set(allowance.get().saturating_sub_unsigned(inflated));
        }
    }

    /// Whether a compressed message has begun, and nothing is left of the allowance.
    pub(in super::super) fn has_done_enough(&self) -> bool {
        self.is_active && self.allowance.as_ref().is_some_and(|allowance| allowance.get() <= 0)
    }

    /// Borrows the pool's buffer, or makes one.
    pub(in super::super) fn scratch(&self) -> Scratch {
        let mut bytes = self.pool.buffer.take();
        if bytes.is_empty() {
            bytes = vec![0; INFLATE_BUFFER];
        }
        Scratch { bytes, pool: Rc::clone(&self.pool) }
    }

    /// Inflates `input` into `output` until either is used up, and returns how much was written:
    /// less than there was room for if the input is. A fault leaves what was written before it.
    pub(in super::super) fn inflate(
        &mut self,
        input: &mut &[u8],
        output: &mut [u8],
    ) -> (usize, Option<ProtocolError>) {
        if self.inflater.is_none() {
            self.inflater = self.pool.take();
        }
        let Some(inflater) = &mut self.inflater else {
            return (0, Some(ProtocolError::UnsupportedMessageLength));
        };
        let mut written = 0_usize;
        loop {
            let room = output.get_mut(written..).unwrap_or_default();
            if room.is_empty() {
                return (written, None);
            }
            let size = room.len();
            let (from, before) = (inflater.total_in(), inflater.total_out());
            let status = inflater.decompress(input, room, InflateFlush::SyncFlush);
            let used = inflater.total_in().wrapping_sub(from) as usize;
            let more = inflater.total_out().wrapping_sub(before) as usize;
            *input = input.get(used..).unwrap_or_default();
            written = written.saturating_add(more);
            self.is_between &= used == 0;
            match status {
                Ok(Status::StreamEnd) => {
                    inflater.reset(false);
                    self.is_between = true;
                    if input.is_empty() {
                        return (written, None);
                    }
                }
                // All is inflated that can be, unless the room was used up exactly.
                Ok(_) if more < size => return (written, None),
                Ok(_) => {}
                Err(error) => {
                    let fault = ProtocolError::InvalidCompressedData(message(inflater, error));
                    return (written, Some(fault));
                }
            }
        }
    }

    /// Bytes of heap held for this connection alone.
    pub(in super::super) fn size(&self) -> usize {
        let inflater = if self.inflater.is_some() { INFLATER_SIZE } else { 0 };
        inflater.saturating_add(size_of::<Self>())
    }
}

/// Returns zlib's words for a fault.
fn message(inflater: &Inflate, error: InflateError) -> &'static str {
    match inflater.error_message() {
        // Where codes are read many at a time, zlib-rs loses which of three faults it was: the words
        // of one stand for all, so that they do not depend on how the input was split.
        Some(
            "repeated call with bad state"
            | "invalid distance code"
            | "invalid literal/length code",
        ) => "invalid distance too far back",
        Some(message) => message,
        None => error.as_str(),
    }
}
