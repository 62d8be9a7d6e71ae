//! The receiving half of a connection: frames in, messages out.
//!
//! # Shape
//!
//! A receiver is in one of three phases: within a frame header, within a
//! frame's payload, or concluded. Between frames it is in the header phase with
//! no byte of it seen, and then looks at the input directly: a frame that lies
//! there whole is unmasked in place and lent out, and nothing of it is stored.
//! Only what the end of the input cuts is kept. Messages in one frame that lies
//! there whole, which are nearly all, have a quicker path (`lend`).
//!
//! A message that is cut, or fragmented by the peer (RFC 6455 section 5.4), is
//! joined in one buffer. A control frame that is cut has a small buffer of its
//! own, because it may come between the fragments of a message; it cannot come
//! within a data frame, so one of each is enough.

mod inflating;
mod lend;
mod room;

use core::{fmt, mem};

use inflating::longest_compressed;
pub use lend::Lent;

use super::control::ControlBuffer;
use super::deflate::Decompressor;
use super::event::{Event, Payload, Step};
use super::frame::{Expected, FrameHead};
use super::limits::{
    DEFAULT_MAX_FRAGMENTS, DEFAULT_MAX_PAYLOAD, MAX_FRAME_HEADER, MIN_MESSAGE_ALLOCATION,
};
use super::{close, mask, utf8, Opcode, ProtocolError, Role};

/// How a receiver is set up.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Our side of the connection.
    pub role: Role,
    /// Longest message in bytes, all fragments together; 0 sets no limit.
    pub max_payload: u64,
    /// Most frames in one message, empty ones included; 0 sets no limit.
    pub max_fragments: u32,
    /// Lets text and close reasons pass unchecked.
    pub skip_utf8_validation: bool,
}

impl Config {
    /// Returns the defaults for `role`.
    pub const fn new(role: Role) -> Self {
        Self {
            role,
            max_payload: DEFAULT_MAX_PAYLOAD,
            max_fragments: DEFAULT_MAX_FRAGMENTS,
            skip_utf8_validation: false,
        }
    }
}

/// Reads frames and puts messages together.
pub struct Receiver {
    /// The message so far. Empty and without capacity unless a message is
    /// cut or fragmented.
    buffer: Vec<u8>,
    phase: Phase,
    max_payload: u64,
    max_fragments: u32,
    /// Frames of the message that has begun.
    fragments: u32,
    /// A control frame that is cut.
    control: Option<Box<ControlBuffer>>,
    /// Present if permessage-deflate was agreed on.
    decompressor: Option<Box<Decompressor>>,
    /// The message that has begun and not ended.
    message: Option<Kind>,
    /// Bytes at the end of `buffer`, 0 to 3, of an unfinished character.
    unfinished: u8,
    role: Role,
    skip_utf8_validation: bool,
}

/// Ten thousand idle connections are ten thousand of these.
const _: () = assert!(size_of::<Receiver>() <= 96);

/// Where in a frame the next byte belongs.
#[derive(Clone, Copy)]
enum Phase {
    /// Within a header of which `len` bytes are in; none between frames.
    Head { bytes: [u8; MAX_FRAME_HEADER], len: u8 },
    /// Within a payload. INVARIANT: `remaining` is above 0.
    Payload {
        remaining: u64,
        /// Turned so that its first byte is the next one due.
        key: [u8; 4],
        opcode: Opcode,
        fin: bool,
    },
    /// A Close frame came, or the peer failed.
    Concluded,
}

impl Phase {
    const BETWEEN_FRAMES: Self = Self::Head { bytes: [0; MAX_FRAME_HEADER], len: 0 };

    /// At the payload of a frame.
    fn payload_of(head: FrameHead) -> Self {
        Self::Payload { remaining: head.length, key: head.key, opcode: head.opcode, fin: head.fin }
    }
}

/// What kind of message has begun.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
}

impl Receiver {
    /// Makes a receiver that waits for the first frame.
    pub fn new(config: &Config) -> Self {
        Self {
            buffer: Vec::new(),
            phase: Phase::BETWEEN_FRAMES,
            max_payload: match config.max_payload {
                0 => u64::MAX,
                limit => limit,
            },
            max_fragments: match config.max_fragments {
                0 => u32::MAX,
                limit => limit,
            },
            fragments: 0,
            control: None,
            decompressor: None,
            message: None,
            unfinished: 0,
            role: config.role,
            skip_utf8_validation: config.skip_utf8_validation,
        }
    }

    /// Accepts compressed messages from now on.
    pub fn set_decompressor(&mut self, decompressor: Decompressor) {
        if !self.is_concluded() {
            self.decompressor = Some(Box::new(decompressor));
        }
    }

    /// Consumes the front of `input` up to and including the next event.
    ///
    /// Payloads are unmasked where they lie. A non-empty input is consumed by at
    /// least one byte; what is left without an event is for later, because enough
    /// was inflated for now. After a Close event or an error everything is
    /// consumed and nothing is looked at.
    #[inline]
    pub fn receive<'a>(&mut self, input: &'a mut [u8]) -> Result<Step<'a>, ProtocolError> {
        let size = input.len();
        match self.advance(input) {
            Ok((event, left)) => Ok(Step { consumed: size.saturating_sub(left), event }),
            Err(error) => {
                self.conclude();
                Err(error)
            }
        }
    }

    /// Returns the bytes of heap held for a message or control frame in progress.
    pub fn retained(&self) -> usize {
        let control = match self.control {
            Some(_) => size_of::<ControlBuffer>(),
            None => 0,
        };
        self.buffer.capacity().saturating_add(control)
    }

    /// As `retained`, with the state of the decompressor if a compressed message is in progress.
    pub fn held(&self) -> usize {
        let context = if self.is_inflating() { self.context_size() } else { 0 };
        self.retained().saturating_add(context)
    }

    /// Returns the bytes of heap held for the sake of compressed messages: much
    /// while one is arriving or with context takeover, else next to none.
    pub fn context_size(&self) -> usize {
        self.decompressor.as_ref().map_or(0, |decompressor| decompressor.size())
    }

    /// Tells whether a Close frame came or the peer failed.
    pub fn is_concluded(&self) -> bool {
        matches!(self.phase, Phase::Concluded)
    }

    /// Runs to the next event; returns it with the number of bytes not consumed.
    fn advance<'a>(
        &mut self,
        mut input: &'a mut [u8],
    ) -> Result<(Option<Event<'a>>, usize), ProtocolError> {
        while !input.is_empty() {
            let event = match &mut self.phase {
                Phase::Head { len: 0, .. } => match FrameHead::parse(input, self.expected())? {
                    Some(head) => {
                        take(&mut input, head.size);
                        self.begin_frame(head, &mut input)?
                    }
                    None => {
                        self.store_head(input);
                        return Ok((None, 0));
                    }
                },
                Phase::Head { .. } => match self.resume_head(&mut input)? {
                    Some(head) => self.begin_frame(head, &mut input)?,
                    None => return Ok((None, 0)),
                },
                Phase::Payload { .. } => {
                    let event = self.resume_payload(&mut input)?;
                    if event.is_none() && self.has_inflated_enough() {
                        return Ok((None, input.len()));
                    }
                    event
                }
                Phase::Concluded => return Ok((None, 0)),
            };
            if event.is_some() {
                return Ok((event, input.len()));
            }
        }
        Ok((None, 0))
    }

    #[inline]
    fn expected(&self) -> Expected {
        Expected {
            role: self.role,
            in_message: self.message.is_some(),
            room: match self.is_inflating() {
                true => longest_compressed(self.max_payload),
                false => self.max_payload.saturating_sub(self.buffer.len() as u64),
            },
            compressed_room: (self.decompressor.as_ref())
                .map(|_| longest_compressed(self.max_payload)),
        }
    }

    /// Keeps the front of a header that the end of the input cuts.
    fn store_head(&mut self, front: &[u8]) {
        let mut bytes = [0; MAX_FRAME_HEADER];
        let mut len = 0_u8;
        for (slot, byte) in bytes.iter_mut().zip(front) {
            *slot = *byte;
            len = len.saturating_add(1);
        }
        self.phase = Phase::Head { bytes, len };
    }

    /// Feeds a header that was cut, byte by byte, until it is whole.
    ///
    /// It is parsed anew with each byte: at most 13 times, and the rules stand
    /// in one place only.
    fn resume_head(&mut self, input: &mut &mut [u8]) -> Result<Option<FrameHead>, ProtocolError> {
        let expected = self.expected();
        let Phase::Head { bytes, len } = &mut self.phase else {
            return Ok(None);
        };
        while let Some(byte) = take(input, 1).first() {
            if let Some(slot) = bytes.get_mut(usize::from(*len)) {
                *slot = *byte;
            }
            *len = len.saturating_add(1);
            let front = bytes.get(..usize::from(*len)).unwrap_or(bytes);
            if let Some(head) = FrameHead::parse(front, expected)? {
                self.phase = Phase::BETWEEN_FRAMES;
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    /// Enters the frame that `head` announces; `input` is at its payload.
    fn begin_frame<'a>(
        &mut self,
        head: FrameHead,
        input: &mut &'a mut [u8],
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        if !head.opcode.is_control() {
            self.begin_data_frame(head.opcode, head.compressed)?;
            if self.is_inflating() {
                return self.begin_compressed(head);
            }
        }
        if head.length > input.len() as u64 {
            self.phase = Phase::payload_of(head);
            return Ok(None);
        }
        let payload = take(input, head.length as usize);
        self.unmask(head.key, payload);
        if head.opcode.is_control() {
            return self.control_event(head.opcode, Payload::Borrowed(payload)).map(Some);
        }
        self.take_data(payload, head.fin, 0)
    }

    /// Notes that a frame of a message begins, its first or a further one.
    #[inline]
    fn begin_data_frame(&mut self, opcode: Opcode, compressed: bool) -> Result<(), ProtocolError> {
        match opcode {
            Opcode::Text => self.message = Some(Kind::Text),
            Opcode::Binary => self.message = Some(Kind::Binary),
            _ => {}
        }
        if self.fragments >= self.max_fragments {
            return Err(ProtocolError::TooManyFragments);
        }
        if let (Some(decompressor), false) =
            (&mut self.decompressor, opcode == Opcode::Continuation)
        {
            decompressor.begin_message(compressed);
        }
        self.fragments = self.fragments.saturating_add(1);
        Ok(())
    }

    /// Takes what arrived of a payload that an earlier input began.
    fn resume_payload<'a>(
        &mut self,
        input: &mut &'a mut [u8],
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        let Phase::Payload { remaining, key, opcode, fin } = self.phase else {
            return Ok(None);
        };
        if !opcode.is_control() && self.is_inflating() {
            return self.resume_compressed(input);
        }
        let piece = take(input, usize::try_from(remaining).unwrap_or(usize::MAX));
        self.unmask(key, piece);
        let remaining = self.advance_payload(piece.len());
        if !opcode.is_control() {
            return self.take_data(piece, fin, remaining);
        }
        if self.control.is_none() && remaining == 0 {
            return self.control_event(opcode, Payload::Borrowed(piece)).map(Some);
        }
        let control = self.control.get_or_insert_with(ControlBuffer::new);
        control.push(piece);
        if remaining > 0 {
            return Ok(None);
        }
        let payload = Payload::Owned(control.to_vec());
        self.control = None;
        self.control_event(opcode, payload).map(Some)
    }

    /// Moves on behind `count` bytes of the payload, and returns how many are still due.
    #[inline]
    fn advance_payload(&mut self, count: usize) -> u64 {
        let Phase::Payload { remaining, key, opcode, fin } = self.phase else { return 0 };
        let remaining = remaining.saturating_sub(count as u64);
        self.phase = match remaining {
            0 => Phase::BETWEEN_FRAMES,
            _ => Phase::Payload { remaining, key: mask::rotate_key(key, count), opcode, fin },
        };
        remaining
    }

    #[inline]
    fn unmask(&self, key: [u8; 4], payload: &mut [u8]) {
        if self.role == Role::Server {
            mask::apply_aligned(key, payload);
        }
    }

    /// Takes unmasked bytes of a plain message; `remaining` more of the frame are due.
    ///
    /// The whole of a message is lent, anything less is appended to the buffer.
    #[inline]
    fn take_data<'a>(
        &mut self,
        piece: &'a [u8],
        fin: bool,
        remaining: u64,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        let ends = fin && remaining == 0;
        let text = self.is_checked_text();
        if ends && self.buffer.is_empty() {
            if text {
                utf8::check(piece)?;
            }
            return Ok(Some(self.end_message(Payload::Borrowed(piece))));
        }
        self.reserve(piece.len(), fin, remaining)?;
        self.buffer.extend_from_slice(piece);
        let message = self.end_appended(piece.len(), ends)?;
        Ok(message.map(|message| self.end_message(Payload::Owned(message))))
    }

    /// Checks `count` bytes that were appended to the message, and returns it if it `ends`.
    fn end_appended(&mut self, count: usize, ends: bool) -> Result<Option<Vec<u8>>, ProtocolError> {
        if self.is_checked_text() {
            self.check_appended(count, ends)?;
        }
        Ok(ends.then(|| mem::take(&mut self.buffer)))
    }

    #[inline]
    fn is_checked_text(&self) -> bool {
        self.message == Some(Kind::Text) && !self.skip_utf8_validation
    }

    #[inline]
    fn end_message<'a>(&mut self, payload: Payload<'a>) -> Event<'a> {
        if let Some(decompressor) = &mut self.decompressor {
            decompressor.end_message();
        }
        let binary = self.message == Some(Kind::Binary);
        self.message = None;
        self.fragments = 0;
        Event::Message { binary, payload }
    }

    /// Makes room for `count` more bytes of the message, behind which `remaining` are due in the
    /// frame. The buffer doubles, and in the last frame, whose end is known, stops at the message's
    /// length: it is less than twice what has arrived and is lent together, and exact at the end.
    fn reserve(&mut self, count: usize, fin: bool, remaining: u64) -> Result<(), ProtocolError> {
        let needed = self.buffer.len().saturating_add(count);
        if needed > self.buffer.capacity() {
            let doubled = room_for(needed);
            let end = if fin {
                needed.saturating_add(usize::try_from(remaining).unwrap_or(usize::MAX))
            } else {
                usize::MAX
            };
            let additional = doubled.min(end).saturating_sub(self.buffer.len());
            // Memory that cannot be had is a limit like another: this message
            // fails, the process goes on.
            if self.buffer.try_reserve_exact(additional).is_err() {
                return Err(ProtocolError::UnsupportedMessageLength);
            }
        }
        Ok(())
    }

    /// Checks the last `count` bytes of the buffer as text, together with an
    /// unfinished character before them.
    fn check_appended(&mut self, count: usize, ends: bool) -> Result<(), ProtocolError> {
        let unchecked = count.saturating_add(self.unfinished.into());
        let start = self.buffer.len().saturating_sub(unchecked);
        let text = self.buffer.get(start..).unwrap_or_default();
        self.unfinished = utf8::check_prefix(text)?;
        if ends && self.unfinished > 0 {
            return Err(ProtocolError::InvalidUtf8);
        }
        Ok(())
    }

    /// Makes the event of a complete control frame.
    fn control_event<'a>(
        &mut self,
        opcode: Opcode,
        payload: Payload<'a>,
    ) -> Result<Event<'a>, ProtocolError> {
        match opcode {
            Opcode::Ping => return Ok(Event::Ping(payload)),
            Opcode::Pong => return Ok(Event::Pong(payload)),
            _ => {}
        }
        let skip = self.skip_utf8_validation;
        let (code, reason) = match payload {
            Payload::Borrowed(bytes) => {
                let (code, reason) = close::parse(bytes, skip)?;
                (code, Payload::Borrowed(reason))
            }
            payload => {
                let (code, reason) = close::parse(&payload, skip)?;
                (code, Payload::Owned(reason.to_vec()))
            }
        };
        self.conclude();
        Ok(Event::Close { code, reason })
    }

    /// Forgets what is in progress and swallows all that follows, as after an error: for what is
    /// judged outside, such as a rate.
    #[cold]
    pub fn conclude(&mut self) {
        self.buffer = Vec::new();
        self.control = None;
        self.decompressor = None;
        self.message = None;
        self.fragments = 0;
        self.unfinished = 0;
        self.phase = Phase::Concluded;
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("role", &self.role)
            .field("retained", &self.retained())
            .field("concluded", &self.is_concluded())
            .finish_non_exhaustive()
    }
}

/// Returns how much room a message gets that needs `needed` bytes: as much as others have had that were about as
/// long, so that memory can be used again.
fn room_for(needed: usize) -> usize {
    needed.checked_next_power_of_two().unwrap_or(usize::MAX).max(MIN_MESSAGE_ALLOCATION)
}

/// Splits up to `count` bytes off the front of `input`.
#[inline]
fn take<'a>(input: &mut &'a mut [u8], count: usize) -> &'a mut [u8] {
    let count = count.min(input.len());
    input.split_off_mut(..count).unwrap_or_default()
}
