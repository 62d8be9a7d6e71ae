//! The names of the limits, the numbers of the protocol and its default limits,
//! each with its reason.
//!
//! A limit bounds what a peer can make this side keep or do. Those that a user
//! can set are defaults here and travel in [`Config`](super::Config) and
//! [`HandshakeLimits`](super::handshake::HandshakeLimits); those that the
//! standard fixes have no switch. The defaults of what limits a connection, a
//! server or a context are those of the options, in `lib/constants.js` and
//! `lib/limits.js`. What is done in one turn of the loop has its numbers where it
//! is done. `docs/limits.md` lists them all.

/// A limit by its name: what counts breaches goes by it. The numbers are shared
/// with `lib/limits.js`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Limit {
    /// Bytes of a message.
    MaxPayload = 0,
    /// Frames of a message.
    MaxFragments = 1,
    /// PING and PONG frames in a while.
    ControlFrames = 2,
    /// Bytes that a peer has not taken.
    MaxBackpressure = 3,
    /// Bytes that a context holds.
    MemoryBudget = 4,
    /// Connections of a server.
    MaxConnections = 5,
    /// Connections of a server with one address.
    MaxConnectionsPerAddress = 6,
    /// Handshakes of a listener that are under way.
    MaxPendingHandshakes = 7,
    /// Time for an opening handshake.
    HandshakeTimeout = 8,
    /// Time for a closing handshake.
    CloseTimeout = 9,
    /// Bytes of a head.
    MaxHeaderSize = 10,
    /// Lines of a head.
    MaxHeadersCount = 11,
    /// Silence.
    Heartbeat = 12,
}

/// Longest payload of a control frame (RFC 6455 section 5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;

/// Longest reason of a Close frame: a control payload less the two bytes of
/// the code (section 5.5.1).
pub const MAX_CLOSE_REASON: usize = 123;

/// Longest frame header: two bytes, eight of length, four of masking key
/// (section 5.2).
pub const MAX_FRAME_HEADER: usize = 14;

/// Longest frame that is accepted: 2^53 - 1, the last integer that JavaScript
/// counts exactly. The standard's own bound is 2^63 - 1 (section 5.2).
pub const MAX_FRAME_PAYLOAD: u64 = (1 << 53) - 1;

/// Default of `max_payload`, in bytes of a whole message: 100 MiB, as in `ws`,
/// so that a program that moves over keeps its bound.
pub const DEFAULT_MAX_PAYLOAD: u64 = 100 * 1024 * 1024;

/// Default of `max_fragments`, in frames of one message: 16,384, as in `ws`.
/// Fragments are joined as they arrive and cost no memory of their own; what
/// the limit bounds is a message that never ends. Empty fragments count.
pub const DEFAULT_MAX_FRAGMENTS: u32 = 16_384;

/// Highest rate of PING and PONG frames that can be set, in frames a second: the time
/// is counted in milliseconds. The default, 100, is in lib/constants.js: a heartbeat is
/// one in many seconds, a busy measurement of latency some ten in one.
pub const FASTEST_CONTROL_FRAMES: u32 = 1_000;

/// Smallest allocation for a message that arrives in pieces. Below it the
/// allocator's own overhead outweighs what a tighter size would save, and
/// twice the bytes that arrived plus this stays within the law of retained
/// memory (twice what was sent plus 16 KiB).
pub const MIN_MESSAGE_ALLOCATION: usize = 64;

/// Default bound of a request's or response's head, in bytes: 16 KiB, Node's
/// `--max-http-header-size`, so that whatever passes Node passes here.
pub const DEFAULT_MAX_HEADER_SIZE: usize = 16 * 1024;

/// Default bound of the number of header lines: 2,000, Node's
/// `server.maxHeadersCount`.
pub const DEFAULT_MAX_HEADERS_COUNT: usize = 2_000;

/// Header lines that are parsed without touching the heap. Browsers send some
/// 15 on an upgrade, a proxy adds a few; 32 slots are 1 KiB of stack.
pub const INLINE_HEADERS: usize = 32;

/// Subprotocols looked at in one offer. Each is compared with the earlier ones,
/// so the square of this bounds the work; real offers have one to five.
pub const MAX_OFFERED_PROTOCOLS: usize = 128;

/// Extensions looked at in one offer. A browser offers one.
pub const MAX_OFFERED_EXTENSIONS: usize = 32;

/// Bytes of the buffers through which messages are inflated. One is shared by all connections of an
/// environment: a message whose inflated form fits is lent out of it, a longer one passes through.
/// As large as what one read brings.
pub const INFLATE_BUFFER: usize = 64 * 1024;

/// Inflaters without a message that are kept for reuse, at 47 KiB each. One is taken for as long as a
/// message is arriving; more than a few at once are only needed when messages come in pieces.
pub const MAX_SPARE_INFLATERS: usize = 4;
