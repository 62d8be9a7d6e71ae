//! The queue of what the delegate is to hear.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use super::{copy, Delegate, MessagePayload};

/// What a record says. The numbers are shared with `lib/deliver.js`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Kind {
    /// Later places refer to the next memory block.
    Slab = 0,
    /// A message: flag 1 = binary; place of the payload.
    Message = 1,
    /// A message in a block of its own: flag 1 = binary; `b` = length.
    MessageOwn = 2,
    /// A PING frame; place of its payload.
    Ping = 3,
    /// A PONG frame; place of its payload.
    Pong = 4,
    /// The peer's Close frame: flags = code; place of the reason.
    PeerClose = 5,
    /// A client's opening handshake is done; place of the response head.
    Open = 6,
    /// A server has an upgrade request; place of the request head.
    Upgrade = 7,
    /// The connection failed: flags = close code to send, or 0.
    Error = 8,
    /// The connection is gone; `a` sends with a completion wish had not been compressed yet.
    Closed = 9,
    /// The send queue is empty again.
    Drain = 10,
    /// `a` sends with a completion wish have been written out.
    Sent = 11,
    /// A server listens.
    Listening = 12,
    /// A server could not listen.
    ServerError = 13,
    /// A server and its last connection are gone.
    ServerClosed = 14,
    /// Somebody woke the context.
    WaitCancelled = 15,
    /// The context's state is now `a`.
    State = 16,
    /// The context is destroyed. Its last record.
    Destroyed = 17,
    /// A limit was breached: flags = which one; the connection, if there is one, or 0; `a` = its
    /// listener, or 0.
    Breach = 18,
    /// Bytes for the stream under a bridged connection; their place.
    Output = 19,
    /// The same in a block of its own; `b` = length.
    OutputOwn = 20,
    /// The stream is to be ended behind them.
    OutputEnd = 21,
    /// Bytes that a tapped connection has read; their place.
    Input = 22,
    /// The same in a block of its own; `b` = length.
    InputOwn = 23,
    /// A bridged stream that was to bring no more may go on.
    InputWanted = 24,
    /// The listener `a` has accepted a connection, whose request is awaited.
    Accepted = 25,
    /// A connection of a listener has failed before its request; place of what happened.
    ClientError = 26,
    /// A request that is none for a WebSocket, to the server `a`, which has asked for such.
    Http = 27,
    /// A head was refused natively, by a listener that has asked for such: flags = status; place of the
    /// reason and the request's target, a line each.
    Refused = 28,
}

/// One entry: `[kind | flags << 8, id, a, b]`. It goes to the delegate word by word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(crate) struct Record(pub [u32; 4]);

impl Record {
    /// Builds a record. `flags` has 24 bits.
    pub(crate) fn new(kind: Kind, flags: u32, id: u32, a: u32, b: u32) -> Self {
        Self([kind as u32 | flags << 8, id, a, b])
    }

    /// The kind's number.
    pub(crate) fn kind(&self) -> u32 {
        self.0[0] & 0xff
    }

    /// The member or context it concerns.
    pub(crate) fn id(&self) -> u32 {
        self.0[1]
    }
}

/// Where a delegate has put a payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stash {
    /// Offset in the current memory block.
    pub offset: u32,
    /// Whether that block is new, so that the reader must move on to it first.
    pub fresh: bool,
}

/// From this size on a payload gets a memory block of its own, which is shown to JavaScript as an
/// ArrayBuffer of its own: that costs as much as copying some 10 KiB.
const OWN_BLOCK: usize = 24 * 1024;

/// A batch is delivered at once, without waiting for the end of the turn, when it has grown to this
/// many records: the smallest frames make more than twice their size of records, so what all peers
/// send in one turn must not be gathered without limit.
const FULL: usize = 1024;
/// The least that this may become for handlers that take long: with fewer, what each batch costs
/// whatever its size, such as a write for each of hundreds of receivers, would be nearly all.
const LEAST: usize = 64;
/// The same for payload bytes.
const FULL_BYTES: usize = 1024 * 1024;

/// Records waiting for the next delivery.
pub(crate) struct Outbox {
    /// How many make a batch: fewer than [`FULL`] where handlers take long, as one that sends each
    /// message on to hundreds.
    full: Cell<usize>,
    records: RefCell<Vec<Record>>,
    /// Payload bytes that the records refer to.
    bytes: Cell<usize>,
    /// The vector of the previous batch, kept for its allocation.
    spare: Cell<Vec<Record>>,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            full: Cell::new(FULL),
            records: RefCell::default(),
            bytes: Cell::default(),
            spare: Cell::default(),
        }
    }
}

impl Outbox {
    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.borrow().is_empty()
    }

    /// Whether what waits is enough to tell how long handlers take.
    pub(crate) fn is_telling(&self) -> bool {
        self.records.borrow().len() >= self.full.get() / 2
    }

    /// Learns how long such a batch has taken, of the time that it may.
    pub(crate) fn learn(&self, taken: Duration, allowed: Duration) {
        let full = self.full.get();
        if taken > allowed {
            self.full.set((full / 2).max(LEAST));
        } else if taken < allowed / 4 {
            self.full.set((full * 2).min(FULL));
        }
    }

    /// Whether no more should be gathered.
    pub(crate) fn is_full(&self) -> bool {
        self.records.borrow().len() >= self.full.get() || self.bytes.get() >= FULL_BYTES
    }

    /// Appends a record.
    pub(crate) fn push(&self, record: Record) {
        self.records.borrow_mut().push(record);
    }

    /// Appends a record that refers to a copy of `payload`.
    pub(crate) fn push_with(
        &self,
        delegate: &dyn Delegate,
        kind: Kind,
        flags: u32,
        id: u32,
        payload: &[u8],
    ) {
        // A delegate that refuses will never read the record either.
        let Some(stash) = delegate.stash(payload) else {
            return;
        };
        self.bytes.set(self.bytes.get() + payload.len());
        let mut records = self.records.borrow_mut();
        if stash.fresh {
            records.push(Record::new(Kind::Slab, 0, 0, 0, 0));
        }
        records.push(Record::new(kind, flags, id, stash.offset, payload.len() as u32));
    }

    /// Appends bytes for the stream under a bridged connection, as `push_payload` does.
    pub(crate) fn push_output(&self, delegate: &dyn Delegate, id: u32, bytes: &[u8]) -> bool {
        let payload = MessagePayload::Borrowed(bytes);
        self.push_payload(delegate, [Kind::Output, Kind::OutputOwn], 0, id, payload)
    }

    /// Appends a copy of what a tapped connection has read, as `push_payload` does.
    pub(crate) fn push_input(&self, delegate: &dyn Delegate, id: u32, bytes: &[u8]) -> bool {
        let payload = MessagePayload::Borrowed(bytes);
        self.push_payload(delegate, [Kind::Input, Kind::InputOwn], 0, id, payload)
    }

    /// Appends a message, as `push_payload` does.
    pub(crate) fn push_message(
        &self,
        delegate: &dyn Delegate,
        id: u32,
        binary: bool,
        payload: MessagePayload<'_>,
    ) -> bool {
        let flags = u32::from(binary);
        self.push_payload(delegate, [Kind::Message, Kind::MessageOwn], flags, id, payload)
    }

    /// Appends a payload as the first of `kinds`, or as the second if it is large. Returns false if
    /// there is no memory for that.
    fn push_payload(
        &self,
        delegate: &dyn Delegate,
        kinds: [Kind; 2],
        flags: u32,
        id: u32,
        payload: MessagePayload<'_>,
    ) -> bool {
        let [small, large] = kinds;
        let own = match payload {
            MessagePayload::Borrowed(bytes) if bytes.len() < OWN_BLOCK => {
                self.push_with(delegate, small, flags, id, bytes);
                return true;
            }
            MessagePayload::Owned(bytes) if bytes.len() < OWN_BLOCK => {
                self.push_with(delegate, small, flags, id, &bytes);
                return true;
            }
            MessagePayload::Borrowed(bytes) => match copy([bytes]) {
                Some(bytes) => bytes,
                None => return false,
            },
            MessagePayload::Owned(bytes) => bytes,
        };
        self.bytes.set(self.bytes.get() + own.len());
        let len = own.len() as u32;
        delegate.hand_over(own);
        self.push(Record::new(large, flags, id, 0, len));
        true
    }

    /// Takes everything that waits.
    pub(crate) fn take(&self) -> Vec<Record> {
        self.bytes.set(0);
        self.records.replace(self.spare.take())
    }

    /// Returns a consumed batch for reuse.
    pub(crate) fn give_back(&self, mut batch: Vec<Record>) {
        batch.clear();
        // A burst must not pin its memory.
        if batch.capacity() <= 4 * FULL {
            self.spare.set(batch);
        }
    }
}
