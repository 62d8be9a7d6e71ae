//! One message to many connections: framed once, compressed once, and shared.
//!
//! A small frame is kept in the context's log until the turn is over, where its receivers have spans
//! ([`Log`](crate::context::Log)): the messages that a connection gets in a turn lie side by side
//! there, and leave in one write. A large frame is written from the publisher's memory at once; what
//! the system of some receiver does not take is copied once, for all of them.
//!
//! # Order
//! What is sent to a connection goes out in this order: the write in flight, the cork, the span of the
//! log, the backlog. A connection has a span only while nothing is in flight, and a backlog that is
//! ready only while something is. What is sent by itself behind a span makes the connection copy the
//! span into its cork; behind a backlog it joins it. While a message is being sent in fragments what is
//! published is held back: data frames of two messages must not mix (RFC 6455 section 5.4). While a
//! large message is being compressed it waits in line with what is sent (`offload`).

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::connection::{Connection, Flags, Phase};
use super::offload::Item;
use super::sending::{CORK_LIMIT, WRITE_THROUGH};
use super::Table;
use crate::context::{append, copy, Context, Span};
use crate::protocol::deflate::CompressorConfig;
use crate::protocol::{encode_header, Header, Opcode, Role};
use crate::transport::{Bytes, Transport, UvError};

/// What becomes of a connection that has too much unsent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Overflow {
    /// It does not get the message.
    Drop,
    /// It is dropped itself.
    Close,
}

/// A message on its way to many connections of one context.
pub(crate) struct Publication<'a> {
    context: &'a Rc<Context>,
    table: &'a Table,
    opcode: Opcode,
    message: &'a [u8],
    compress: bool,
    plain: Option<Frame<'a>>,
    /// By setting. Nothing stands for a message that does not get shorter.
    compressed: Vec<(CompressorConfig, Option<Frame<'a>>)>,
}

enum Frame<'a> {
    Logged(Span),
    Large(Large<'a>),
}

struct Large<'a> {
    header: Vec<u8>,
    payload: Cow<'a, [u8]>,
    /// Header and payload, once somebody has to wait for the system.
    shared: OnceCell<Rc<Vec<u8>>>,
}

/// Published frames that a connection still has to write.
#[derive(Default)]
pub(super) struct Backlog {
    /// Behind what is in flight.
    ready: VecDeque<Bytes>,
    /// Behind a message that is being sent in fragments.
    held: VecDeque<Bytes>,
    ready_len: usize,
    held_len: usize,
}

impl<'a> Publication<'a> {
    /// A message, to be compressed where that was agreed on if `compress` says so.
    pub(crate) fn new(
        context: &'a Rc<Context>,
        table: &'a Table,
        opcode: Opcode,
        message: &'a [u8],
        compress: bool,
    ) -> Self {
        context.relieve_log();
        Self { context, table, opcode, message, compress, plain: None, compressed: Vec::new() }
    }

    /// Sends the message to each of `receivers` that is an open server connection of the context, but
    /// not to `except`. A receiver that has more than `max_backpressure` bytes unsent does not get it;
    /// `overflow` says what becomes of it; one that has more than it may have ever ends. Returns how
    /// many have got it.
    pub(crate) fn send(
        mut self,
        receivers: &[u32],
        except: u32,
        max_backpressure: usize,
        overflow: Overflow,
    ) -> u32 {
        let (mut sent, mut dropped) = (0, 0);
        let (mut too_slow, mut overflowing) = (Vec::new(), Vec::new());
        for id in receivers.iter().filter(|id| **id != except) {
            self.table.with_connection(*id, |connection| {
                if !connection.may_get_from(self.context) {
                    return;
                }
                let backpressure = connection.backpressure();
                if backpressure > 0 && connection.has_too_much_queued() {
                    dropped += 1;
                    connection.tally.message_dropped();
                    overflowing.push(Rc::clone(connection));
                    return;
                }
                if backpressure > max_backpressure {
                    dropped += 1;
                    connection.tally.message_dropped();
                    if overflow == Overflow::Close {
                        too_slow.push(Rc::clone(connection));
                    }
                    return;
                }
                self.send_to(connection);
                connection.tally.message_sent();
                connection.settle_account();
                sent += 1;
            });
        }
        // Whatever their ends bring about, nothing is borrowed any more.
        for connection in too_slow {
            connection.terminate();
        }
        for connection in overflowing {
            connection.overflows();
        }
        self.context.counters().messages_sent(sent);
        self.context.counters().messages_dropped(dropped);
        sent
    }

    fn send_to(&mut self, connection: &Connection) {
        let Self { context, table, opcode, message, .. } = *self;
        // Within a message the compressor of its own is in use.
        let may_compress = self.compress && !connection.flags.has(Flags::FRAGMENTING);
        let setting = may_compress.then(|| connection.setting_for(message.len())).flatten();
        if let Some(setting) = setting {
            let known = self.compressed.iter().position(|(of, _)| *of == setting);
            let place = known.unwrap_or_else(|| {
                let payload = table.deflate().compress_once(setting, message);
                let frame = payload.map(|bytes| Frame::new(context, opcode, true, bytes.into()));
                self.compressed.push((setting, frame));
                self.compressed.len() - 1
            });
            if let Some((_, Some(frame))) = self.compressed.get(place) {
                return connection.queue_published(frame, true);
            }
        }
        let plain = || Frame::new(context, opcode, false, message.into());
        connection.queue_published(self.plain.get_or_insert_with(plain), false);
    }
}

impl<'a> Frame<'a> {
    fn new(context: &Context, opcode: Opcode, rsv1: bool, payload: Cow<'a, [u8]>) -> Self {
        let len = payload.len() as u64;
        let header = encode_header(Role::Server, opcode, true, rsv1, len, None);
        if payload.len() < WRITE_THROUGH {
            return Self::Logged(context.log().append(|log| {
                header.append_to(log);
                log.extend_from_slice(&payload);
            }));
        }
        Self::Large(Large { header: header.to_vec(), payload, shared: OnceCell::new() })
    }
}

impl Frame<'_> {
    /// Nothing if there is no memory for them.
    fn bytes(&self, context: &Context) -> Option<Bytes> {
        match self {
            Self::Logged(span) => Some(Bytes::own(context.log().with(*span, <[u8]>::to_vec), 0)),
            Self::Large(large) => large.bytes(0),
        }
    }
}

impl Large<'_> {
    /// Nothing if there is no memory for them.
    fn bytes(&self, from: usize) -> Option<Bytes> {
        let whole = match self.shared.get() {
            Some(whole) => Rc::clone(whole),
            None => {
                let whole = Rc::new(copy([&self.header, &self.payload])?);
                Rc::clone(self.shared.get_or_init(|| whole))
            }
        };
        Some(Bytes::shared(whole, from))
    }
}

impl Backlog {
    /// The buffer at the end of what is ready.
    fn tail(queue: &mut VecDeque<Bytes>) -> Option<&mut Vec<u8>> {
        if queue.back_mut().is_none_or(|last| last.own_mut().is_none()) {
            queue.push_back(Bytes::own(Vec::new(), 0));
        }
        queue.back_mut().and_then(Bytes::own_mut)
    }
}

impl Connection {
    /// Whether it takes part in what is published in `context`.
    fn may_get_from(&self, context: &Rc<Context>) -> bool {
        self.is_open() && self.role == Role::Server && Rc::ptr_eq(&self.context, context)
    }

    /// Bytes that wait because the system takes no more, and published ones that wait for something
    /// else. What our side has still to compress is not the peer's slowness.
    fn backpressure(&self) -> usize {
        let queued = if self.flags.has(Flags::WRITING) { self.queued() } else { self.held_back() };
        queued + self.held_by_stream() + self.waiting_published()
    }

    /// Bytes that wait for the end of a message.
    pub(super) fn held_back(&self) -> usize {
        if !self.flags.has(Flags::TRAILED) {
            return 0;
        }
        self.backlog_len(|backlog| backlog.held_len)
    }

    /// Bytes behind the cork.
    pub(super) fn trail(&self) -> usize {
        self.logged.get().len() + self.backlog_len(|of| of.ready_len + of.held_len)
    }

    fn backlog_len(&self, len: fn(&Backlog) -> usize) -> usize {
        self.if_rare(|rare| rare.backlog.borrow().as_deref().map_or(0, len)).unwrap_or(0)
    }

    fn queue_published(&self, frame: &Frame<'_>, is_compressed: bool) {
        if self.flags.has(Flags::FRAGMENTING) {
            return self.hold_back(frame);
        }
        if self.flags.has(Flags::WAITING) {
            return match frame.bytes(&self.context) {
                Some(bytes) => self.defer(Item::Published { bytes, is_compressed }),
                None => self.lacks_memory(),
            };
        }
        if is_compressed {
            self.context_is_stale();
        }
        match frame {
            Frame::Logged(span) if !self.flags.has(Flags::WRITING) => self.follow_log(*span),
            Frame::Logged(span) => self.cork_span(*span),
            Frame::Large(large) => self.write_large(large),
        }
        self.pressure();
    }

    /// Puts a part of the log behind what is corked.
    fn follow_log(&self, span: Span) {
        let present = self.logged.get();
        if present.is_empty() {
            self.logged.set(span);
            self.flags.set(Flags::TRAILED);
            self.mark_dirty();
        } else if let Some(joined) = present.joined(span) {
            self.logged.set(joined);
        } else {
            // Something that it did not get lies in between.
            self.cork_span(span);
        }
    }

    /// Keeps a frame that is sent to this connection alone in the log, too. So a connection needs no
    /// buffer of its own, and who sends the same message to one connection after the other has it once.
    /// Returns false if it has to be corked.
    #[inline]
    pub(super) fn log_frame(&self, header: &Header, payload: &[u8]) -> bool {
        let fill = |log: &mut Vec<u8>| {
            header.append_to(log);
            log.extend_from_slice(payload);
        };
        let present = self.logged.get();
        if payload.len() >= WRITE_THROUGH {
            return false;
        }
        if present.is_empty() {
            return self.begin_in_log(fill);
        }
        let log = self.context.log();
        match log.extend(present, fill).or_else(|| log.follow(present, fill)) {
            Some(span) => self.logged.set(span),
            None if present.len() < CORK_LIMIT / 2 => return false,
            // Too much to copy it into the cork.
            None => {
                self.write_corked();
                return false;
            }
        }
        true
    }

    fn begin_in_log(&self, fill: impl FnOnce(&mut Vec<u8>)) -> bool {
        let is_idle = !self.flags.has(Flags::WRITING)
            && !self.flags.has(Flags::TRAILED)
            && self.cork.borrow().is_empty();
        let begun = if is_idle { self.context.log().follow(Span::default(), fill) } else { None };
        let Some(span) = begun else {
            return false;
        };
        self.logged.set(span);
        self.flags.set(Flags::TRAILED);
        self.mark_dirty();
        true
    }

    fn write_large(&self, large: &Large<'_>) {
        if !self.flags.has(Flags::WRITING) {
            self.write_corked_once();
        }
        if self.phase.get() >= Phase::Closing {
            return;
        }
        if self.flags.has(Flags::WRITING) {
            return match large.bytes(0) {
                Some(bytes) => self.wait(bytes),
                None => self.lacks_memory(),
            };
        }
        let Some(transport) = self.transport.get() else {
            return;
        };
        match transport.try_write([&large.header, &large.payload]) {
            Ok(taken) => {
                self.progress(taken);
                if taken < large.header.len() + large.payload.len() {
                    match large.bytes(taken) {
                        Some(bytes) => self.queue_write(bytes),
                        None => self.lacks_memory(),
                    }
                }
            }
            Err(error) => self.write_failed(error),
        }
    }

    /// Puts bytes behind what is in flight.
    fn wait(&self, bytes: Bytes) {
        let rare = self.rare();
        let mut backlog = rare.backlog.borrow_mut();
        let backlog = backlog.get_or_insert_default();
        backlog.ready_len += bytes.as_slice().len();
        backlog.ready.push_back(bytes);
        self.flags.set(Flags::TRAILED);
    }

    /// Keeps a frame until the message that is being sent is whole.
    fn hold_back(&self, frame: &Frame<'_>) {
        let rare = self.rare();
        let mut backlog = rare.backlog.borrow_mut();
        let Backlog { held, held_len, .. } = &mut **backlog.get_or_insert_default();
        let len = match frame {
            Frame::Logged(span) => {
                let keep =
                    |bytes: &[u8]| append(Backlog::tail(held)?, bytes).then_some(bytes.len());
                self.context.log().with(*span, keep)
            }
            Frame::Large(large) => large.bytes(0).map(|bytes| {
                let len = bytes.as_slice().len();
                held.push_back(bytes);
                len
            }),
        };
        *held_len += len.unwrap_or_default();
        drop(backlog);
        self.flags.set(Flags::TRAILED);
        if len.is_none() {
            self.lacks_memory();
        }
    }

    /// The last fragment of a message is sent, or waits: what was held back follows it.
    pub(super) fn message_is_whole(&self) {
        self.flags.clear(Flags::FRAGMENTING);
        let held = self.if_rare(|rare| {
            rare.backlog.borrow_mut().as_deref_mut().map(|backlog| {
                backlog.held_len = 0;
                std::mem::take(&mut backlog.held)
            })
        });
        for bytes in held.flatten().unwrap_or_default() {
            if self.flags.has(Flags::WAITING) {
                self.defer(Item::Published { bytes, is_compressed: false });
            } else {
                self.queue_bytes(bytes);
            }
        }
    }

    /// Puts bytes behind everything that is queued.
    pub(super) fn queue_bytes(&self, mut bytes: Bytes) {
        if let Some(small) = bytes.own_mut() {
            self.cork_bytes(small);
            return;
        }
        if !self.flags.has(Flags::WRITING) {
            self.write_corked_once();
        }
        self.wait(bytes);
        if !self.flags.has(Flags::WRITING) {
            self.write_corked_once();
        }
    }

    /// Lets `fill` append `len` bytes to whatever is last: the cork, with the span of the log copied into
    /// it, or the backlog. Returns false if there is no memory for them.
    pub(super) fn cork_behind(&self, len: usize, fill: impl FnOnce(&mut Vec<u8>)) -> bool {
        let rare = self.rare();
        let mut backlog = rare.backlog.borrow_mut();
        match backlog.as_deref_mut().filter(|backlog| !backlog.ready.is_empty()) {
            Some(backlog) => {
                if let Some(tail) = Backlog::tail(&mut backlog.ready) {
                    if tail.try_reserve(len).is_err() {
                        return false;
                    }
                    let before = tail.len();
                    fill(tail);
                    backlog.ready_len += tail.len() - before;
                }
            }
            None => {
                let mut cork = self.cork.borrow_mut();
                if cork.capacity() == 0 {
                    *cork = self.context.buffers().take();
                }
                let span = self.logged.take();
                if cork.try_reserve(span.len() + len).is_err() {
                    return false;
                }
                self.context.log().with(span, |bytes| cork.extend_from_slice(bytes));
                fill(&mut cork);
                if backlog.is_none() {
                    self.flags.clear(Flags::TRAILED);
                }
            }
        }
        true
    }

    /// Writes `cork` and what is behind it, while nothing is in flight.
    pub(super) fn write_trail(&self, transport: &dyn Transport, mut cork: Vec<u8>) {
        let span = self.logged.take();
        let written = self.context.log().with(span, |logged| {
            let total = cork.len() + logged.len();
            let taken = transport.try_write([&cork, logged])?;
            self.progress(taken);
            if taken < total {
                let from = taken.saturating_sub(cork.len());
                let at = taken.min(cork.len());
                if !append(&mut cork, logged.get(from..).unwrap_or_default()) {
                    return Err(UvError::ENOMEM);
                }
                self.queue_write(Bytes::own(cork, at));
            } else {
                self.context.buffers().give_back(cork);
            }
            Ok(())
        });
        if let Err(error) = written.and_then(|()| self.write_backlog(transport)) {
            self.write_failed(error);
        }
    }

    /// Writes what is ready until the system takes no more.
    fn write_backlog(&self, transport: &dyn Transport) -> Result<(), UvError> {
        while !self.flags.has(Flags::WRITING) {
            let next = self.if_rare(|rare| {
                let mut backlog = rare.backlog.borrow_mut();
                let backlog = backlog.as_deref_mut()?;
                let next = backlog.ready.pop_front()?;
                backlog.ready_len -= next.as_slice().len();
                Some(next)
            });
            let Some(mut bytes) = next.flatten() else {
                self.forget_empty_backlog();
                return Ok(());
            };
            let taken = transport.try_write([bytes.as_slice(), &[]])?;
            self.progress(taken);
            if taken < bytes.as_slice().len() {
                bytes.advance(taken);
                self.queue_write(bytes);
            }
        }
        Ok(())
    }

    fn forget_empty_backlog(&self) {
        let is_needed = self.if_rare(|rare| {
            let mut backlog = rare.backlog.borrow_mut();
            if backlog.as_deref().is_some_and(|backlog| backlog.held.is_empty()) {
                backlog.take();
            }
            backlog.is_some()
        });
        if is_needed != Some(true) {
            self.flags.clear(Flags::TRAILED);
        }
    }
}
