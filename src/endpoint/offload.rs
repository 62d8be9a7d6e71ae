//! Compression of large messages on the thread pool, and the order of what is sent meanwhile.
//!
//! A fragment of [`OFFLOAD`] bytes or more that is to be compressed is copied into a job. Until the job
//! is back, whatever else is sent on the connection waits behind it: data, control frames, raw bytes and
//! what is published alike, each with its wish to hear of its end. Then frames are corked in order, up to the next
//! one that needs the pool. Answers to PING frames and the PING of a heartbeat do not wait: nobody has asked
//! to hear of them, and a control frame may go anywhere between frames.
//!
//! # Ownership
//! A job holds bytes and a compressor, nothing of the connection. The connection is kept by the request
//! until the job is back, however long ago it has ended, and then drops what the job brings; a job that
//! has not begun by its end is taken back from the pool. Each job is counted by its context like a
//! handle: a context, and with it an environment, ends once its last job is back.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use super::connection::{Connection, Flags, Phase};
use super::sending::Corked;
use crate::context::{Job, Work, WorkOwner};
use crate::protocol::deflate::{Compressor, CompressorConfig};
use crate::protocol::Opcode;
use crate::transport::Bytes;

/// Fragments from this size on are compressed on the thread pool. At the default level this many bytes
/// take 0.2 ms (JSON) to 1 ms (noise in base64), which is many times what it costs to move them there,
/// and as long as one connection may hold up the others.
pub(super) const OFFLOAD: usize = 64 * 1024;

/// A frame to send, kept for later.
pub(super) struct Frame {
    pub opcode: Opcode,
    pub fin: bool,
    pub compress: bool,
    pub notify: bool,
    pub payload: Vec<u8>,
}

/// Something that waits for its turn.
pub(super) enum Item {
    /// Sent to this connection alone.
    Frame(Frame),
    /// Sent as it is, between frames.
    Raw { bytes: Vec<u8>, notify: bool },
    /// A frame that many get, and whether its message is compressed.
    Published { bytes: Bytes, is_compressed: bool },
}

impl Item {
    fn len(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.payload.len(),
            Self::Raw { bytes, .. } => bytes.len(),
            Self::Published { bytes, .. } => bytes.as_slice().len(),
        }
    }

    fn published_len(&self) -> usize {
        match self {
            Self::Published { bytes, .. } => bytes.as_slice().len(),
            _ => 0,
        }
    }

    /// Whether somebody wants to hear of its end.
    fn notify(&self) -> bool {
        match self {
            Self::Frame(Frame { notify, .. }) | Self::Raw { notify, .. } => *notify,
            Self::Published { .. } => false,
        }
    }
}

/// What waits on one connection, behind a frame that is being compressed or is about to be.
#[derive(Default)]
pub(super) struct Waiting {
    /// The frame in front, until it is on the thread pool.
    first: Option<Frame>,
    items: VecDeque<Item>,
    /// Bytes of all these, and of the frame that is on the thread pool.
    bytes: usize,
    /// Bytes of those that were published.
    published: usize,
    /// Sends among them, whose end somebody wants to hear of.
    notifies: u32,
    /// Present while a frame is on the thread pool.
    work: Option<Work>,
}

impl Waiting {
    fn push(&mut self, item: Item) {
        self.bytes += item.len();
        self.published += item.published_len();
        self.notifies += u32::from(item.notify());
        self.items.push_back(item);
    }

    fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.bytes -= item.len();
        self.published -= item.published_len();
        self.notifies -= u32::from(item.notify());
        Some(item)
    }

    fn set_first(&mut self, frame: Frame) {
        self.bytes += frame.payload.len();
        self.notifies += u32::from(frame.notify);
        self.first = Some(frame);
    }

    /// The frame that was on the thread pool is back.
    fn has_returned(&mut self, frame: &Frame) {
        self.work = None;
        self.bytes -= frame.payload.len();
        self.notifies -= u32::from(frame.notify);
    }
}

/// A frame on its way through the thread pool.
pub(crate) struct Compressing {
    frame: Frame,
    config: CompressorConfig,
    /// Made there if none was at hand.
    compressor: Option<Compressor>,
    /// The compressor is the connection's own.
    takes_over: bool,
    output: Vec<u8>,
    written: Option<usize>,
}

impl Job for Compressing {
    fn run(&mut self) {
        if self.compressor.is_none() {
            self.compressor = Compressor::new(self.config);
        }
        let Some(compressor) = &mut self.compressor else { return };
        self.written = compressor.compress(&self.frame.payload, self.frame.fin, &mut self.output);
        if !self.takes_over {
            compressor.reset();
        }
    }
}

/// How many frames of one environment are on the thread pool at the same time.
#[derive(Default)]
pub(super) struct Slots {
    taken: Cell<u32>,
    /// 0 for no limit.
    limit: Cell<u32>,
    waiting: RefCell<VecDeque<Weak<Connection>>>,
}

impl Slots {
    pub(super) fn set_limit(&self, limit: u32) {
        self.limit.set(limit);
    }

    /// Takes a slot, or remembers the connection until there is one.
    fn take(&self, connection: &Rc<Connection>) -> bool {
        let (taken, limit) = (self.taken.get(), self.limit.get());
        if limit != 0 && taken >= limit {
            self.waiting.borrow_mut().push_back(Rc::downgrade(connection));
            return false;
        }
        self.taken.set(taken + 1);
        true
    }

    /// Gives a slot back. Those who wait get their turn.
    fn give_back(&self) {
        self.taken.set(self.taken.get() - 1);
        while self.taken.get() < self.limit.get() {
            let Some(next) = self.waiting.borrow_mut().pop_front() else { return };
            if let Some(connection) = next.upgrade() {
                connection.offload_first();
            }
        }
    }
}

impl Connection {
    /// Keeps something until what was sent before it is on its way.
    pub(super) fn defer(&self, item: Item) {
        self.with_waiting(|waiting| waiting.push(item));
    }

    /// Has the frame in front compressed. What is sent from now on waits.
    pub(super) fn offload(&self, frame: Frame) {
        self.flags.set(Flags::WAITING);
        self.with_waiting(|waiting| waiting.set_first(frame));
        self.offload_first();
    }

    /// Bytes that wait, payloads before compression.
    pub(super) fn waiting(&self) -> usize {
        if !self.flags.has(Flags::WAITING) {
            return 0;
        }
        self.with_waiting(|waiting| waiting.bytes).unwrap_or_default()
    }

    /// Bytes of published frames that wait.
    pub(super) fn waiting_published(&self) -> usize {
        if !self.flags.has(Flags::WAITING) {
            return 0;
        }
        self.with_waiting(|waiting| waiting.published).unwrap_or_default()
    }

    /// Forgets the job that is under way.
    pub(super) fn abandon_waiting(&self) {
        if self.flags.has(Flags::WAITING) {
            self.with_waiting(|waiting| waiting.work = None);
        }
    }

    /// Drops what waits, and returns how many of these sends somebody wants to hear of.
    pub(super) fn drop_waiting(&self) -> u32 {
        self.compression
            .take()
            .and_then(|compression| compression.waiting)
            .map_or(0, |waiting| waiting.notifies)
    }

    /// Hands the first of those that wait to the thread pool, now or when there is a slot.
    fn offload_first(&self) {
        let Some(this) = self.this() else { return };
        if self.phase.get() != Phase::Open {
            return;
        }
        let table = self.table();
        let shared = table.deflate();
        if !shared.slots.take(&this) {
            return;
        }
        let job = self.compression.take().and_then(|mut compression| {
            let first = compression.waiting.get_or_insert_default().first.take();
            let job = first.map(|frame| Compressing {
                frame,
                config: compression.config,
                compressor: match compression.takes_over {
                    true => compression.usable().take(),
                    false => shared.take_compressor(compression.config),
                },
                takes_over: compression.takes_over,
                output: Vec::new(),
                written: None,
            });
            self.compression.set(Some(compression));
            job
        });
        let Some(job) = job else { return shared.slots.give_back() };
        match self.context.queue_work(job, this) {
            Ok(work) => {
                self.with_waiting(|waiting| waiting.work = Some(work));
            }
            Err(_) => {
                self.close_handles();
                shared.slots.give_back();
            }
        }
    }

    /// Corks the frame that is back from the thread pool, and what waits behind it.
    fn compressed(&self, job: Compressing, is_done: bool) {
        let Compressing { frame, compressor, takes_over, output, written, .. } = job;
        self.with_waiting(|waiting| waiting.has_returned(&frame));
        if takes_over {
            if let Some(mut compression) = self.compression.take() {
                compression.own = compressor;
                self.compression.set(Some(compression));
            }
        }
        if !is_done {
            return self.close_handles();
        }
        let Some(len) = written else { return self.lacks_memory() };
        let opcode = frame.opcode;
        let compressed = output.get(..len).unwrap_or_default();
        match self.cork_compressed(opcode, frame.fin, takes_over, &frame.payload, compressed) {
            // Unless the write that this frame caused found the stream broken.
            Corked::Now if self.phase.get() == Phase::Open => {
                self.frame_queued(opcode, frame.fin, frame.notify);
            }
            _ => return,
        }
        drop((frame, output));
        self.cork_waiting();
    }

    /// Corks what waits, up to the next frame for the thread pool. Much of less than [`OFFLOAD`] bytes
    /// each may wait, and is not to hold up the loop either: only so many are compressed here.
    fn cork_waiting(&self) {
        let mut allowed = OFFLOAD;
        while self.phase.get() == Phase::Open {
            let Some(item) = self.with_waiting(Waiting::pop).flatten() else {
                return self.nothing_waits();
            };
            match item {
                Item::Frame(frame) => {
                    if !self.cork_waiting_frame(frame, &mut allowed) {
                        return;
                    }
                }
                Item::Raw { bytes, notify } => {
                    if self.cork_bytes(&bytes) && notify {
                        self.notify_when_sent();
                    }
                }
                Item::Published { bytes, is_compressed } => {
                    if is_compressed {
                        self.context_is_stale();
                    }
                    self.queue_bytes(bytes);
                }
            }
        }
    }

    /// Returns false if what is behind the frame has to wait on.
    fn cork_waiting_frame(&self, frame: Frame, allowed: &mut usize) -> bool {
        let Frame { opcode, fin, compress, notify, .. } = frame;
        let corked = if opcode.is_control() {
            self.cork_frame(opcode, fin, false, &frame.payload).into()
        } else {
            self.cork_data(opcode, fin, &frame.payload, compress, allowed)
        };
        match corked {
            Corked::Now if self.phase.get() == Phase::Open => {
                self.frame_queued(opcode, fin, notify);
                return true;
            }
            Corked::TooLarge => self.offload(frame),
            Corked::Now | Corked::Failed => {}
        }
        false
    }

    /// The queue is empty: sends are corked at once again, and what was to happen behind them happens.
    fn nothing_waits(&self) {
        self.flags.clear(Flags::WAITING);
        if let Some(mut compression) = self.compression.take() {
            compression.waiting = None;
            self.compression.set(Some(compression));
        }
        self.mark_dirty();
    }

    fn with_waiting<T>(&self, visit: impl FnOnce(&mut Waiting) -> T) -> Option<T> {
        let mut compression = self.compression.take()?;
        let outcome = visit(compression.waiting.get_or_insert_default());
        self.compression.set(Some(compression));
        Some(outcome)
    }
}

impl WorkOwner<Compressing> for Connection {
    fn work_ended(self: Rc<Self>, mut job: Compressing, is_done: bool) {
        let table = self.table();
        let shared = table.deflate();
        // One of the connection's own goes back to it, below.
        if is_done && !job.takes_over {
            if let Some(compressor) = job.compressor.take() {
                shared.give_back_compressor(job.config, compressor);
            }
        }
        if self.phase.get() == Phase::Open {
            self.compressed(job, is_done);
            self.settle_account();
        }
    }

    fn work_over(&self) {
        self.table().deflate().slots.give_back();
        // Last: it may end the context, and the environment.
        self.context.handle_closed();
    }
}
