//! The bytes that are sent and the bytes that must come back, made once before a run.
//!
//! A connection sends the frames of a ring, over and over. Each frame of the ring carries its own
//! number in its payload and its own masking key, so the stream of replies is a periodic sequence of
//! known bytes: a reply that is lost, altered, reordered or split over frames differs from it.

use crate::deflate::{Compressor, Inflater, Owed, Takeover, COMPRESSED};

/// Kind of the messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// ASCII text.
    Text,
    /// Binary.
    Binary,
    /// Text with characters of 1 to 4 bytes.
    NonAscii,
    /// An array of records, as an API would answer with.
    Json,
}

impl Kind {
    /// First byte of a whole message's frame (RFC 6455 section 5.2): FIN and the opcode.
    fn first_byte(self) -> u8 {
        match self {
            Kind::Text | Kind::NonAscii | Kind::Json => 0x81,
            Kind::Binary => 0x82,
        }
    }
}

/// What a message is, and what it looks like on its way.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Kind of message.
    pub kind: Kind,
    /// Bytes of payload per message.
    pub size: usize,
    /// Frames per request; a reply is to be one frame.
    pub fragments: usize,
    /// Whether and how messages are compressed, in both directions.
    pub deflate: Option<Takeover>,
    /// Replies per request.
    pub repeat: usize,
}

/// A Close frame of a client with code 1000, masked with the key 0 (RFC 6455 section 5.5.1).
pub const CLOSE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8];
/// First byte of a Close frame.
pub const CLOSE_FIRST_BYTE: u8 = 0x88;

/// Replies up to this size are compared whole, larger ones only now and then.
const ALWAYS_COMPARED: usize = 4096;
/// Of the other large replies, as much is compared: the header, the number and some payload.
const HEAD_COMPARED: usize = 64;
/// The ring is at least this long, so that neighbours differ...
const LEAST_FRAMES: usize = 2;
/// ...and for small frames fills about this many bytes, which stay in the first-level cache.
const RING_BYTES: usize = 4096;

/// Compressed messages must not find themselves in the 32 KiB that compression remembers.
const DEFLATE_RING_BYTES: usize = 128 * 1024;

/// FIN: the last frame of a message.
const FIN: u8 = 0x80;
/// The length byte's bit for a masked payload.
const MASKED: u8 = 0x80;

/// The ring of requests and the replies they are owed.
pub struct Exchange {
    /// Masked messages: those that come first and only once, those of the ring, and `depth` of the
    /// ring once more, so that from any of them on `depth` are contiguous.
    requests: Box<[u8]>,
    /// Where each of them begins, and where the last one ends.
    starts: Box<[usize]>,
    /// Messages that come before the ring.
    once: usize,
    /// Messages of the ring.
    frames: usize,
    /// Unmasked frames, `frames * repeat` of them, of one length.
    replies: Box<[u8]>,
    reply_length: usize,
    /// In place of `replies`, if they are compressed: how is the server's choice.
    compressed: Option<Owed>,
    check_every: u64,
}

impl Exchange {
    /// Prepares messages of which at most `depth` wait to be sent on a connection.
    pub fn new(shape: &Shape, depth: usize, check_every: u64) -> Self {
        let &Shape { kind, size, .. } = shape;
        let ring_bytes = match shape.deflate {
            Some(_) => DEFLATE_RING_BYTES,
            None => RING_BYTES / shape.repeat,
        };
        let frames = (ring_bytes / (size + 8)).max(LEAST_FRAMES);
        let payloads: Vec<_> = (0..frames).map(|index| payload(kind, size, index)).collect();

        // What is compressed with a context refers to what came before: only from the second time
        // round on is that always the same.
        let once = match shape.deflate {
            Some(Takeover::Yes) => frames,
            _ => 0,
        };
        let mut compressor = shape.deflate.map(Compressor::new);
        let mut starts = vec![0];
        let mut requests = Vec::new();
        for index in 0..once + frames {
            let payload = &payloads[index % frames];
            match &mut compressor {
                Some(compressor) => {
                    let compressed = compressor.compress(payload);
                    push_request(&mut requests, shape, &compressed, index);
                }
                None => push_request(&mut requests, shape, payload, index),
            }
            starts.push(requests.len());
        }
        for index in 0..depth {
            let again = starts[once + index % frames]..starts[once + index % frames + 1];
            requests.extend_from_within(again);
            starts.push(requests.len());
        }

        let mut replies = Vec::new();
        let mut reply_length = 0;
        let compressed =
            shape.deflate.map(|takeover| Owed::new(takeover, kind.first_byte(), payloads.clone()));
        if compressed.is_none() {
            for payload in &payloads {
                for _ in 0..shape.repeat {
                    push_header(&mut replies, kind.first_byte(), 0, size);
                    replies.extend_from_slice(payload);
                }
            }
            reply_length = replies.len() / (frames * shape.repeat);
        }
        Exchange {
            requests: requests.into_boxed_slice(),
            starts: starts.into_boxed_slice(),
            once,
            frames,
            replies: replies.into_boxed_slice(),
            reply_length,
            compressed,
            check_every,
        }
    }

    /// Returns the first request, for connections that send just one.
    pub fn first_request(&self) -> &[u8] {
        &self.requests[..self.starts[1]]
    }
}

/// What one connection has yet to send.
#[derive(Clone, Copy, Default)]
pub struct Outbox {
    /// The message that is queued next.
    next: usize,
    position: usize,
    length: usize,
}

impl Outbox {
    /// Adds the next `count` messages; at most the exchange's depth may be waiting at a time.
    pub fn queue(&mut self, exchange: &Exchange, count: usize) {
        self.length += exchange.starts[self.next + count] - exchange.starts[self.next];
        self.next += count;
        let end = exchange.once + exchange.frames;
        if self.next >= end {
            self.next = exchange.once + (self.next - end) % exchange.frames;
        }
    }

    /// Returns the bytes to send next.
    pub fn bytes<'a>(&self, exchange: &'a Exchange) -> &'a [u8] {
        &exchange.requests[self.position..self.position + self.length]
    }

    /// Removes `count` bytes that were sent.
    pub fn advance(&mut self, exchange: &Exchange, count: usize) {
        self.length -= count;
        self.position += count;
        let ring = exchange.starts[exchange.once];
        let end = exchange.starts[exchange.once + exchange.frames];
        if self.position >= end {
            self.position = ring + (self.position - end) % (end - ring);
        }
    }

    /// Tells whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

/// Where one connection is in the stream of its replies.
pub struct Inbox {
    /// Offset in the ring of replies.
    position: usize,
    /// Offset in the reply that is under way.
    offset: usize,
    replies: u64,
    inflater: Option<Box<Inflater>>,
}

impl Inbox {
    /// Returns the inbox of a new connection.
    pub fn new(exchange: &Exchange) -> Self {
        Inbox {
            position: 0,
            offset: 0,
            replies: 0,
            inflater: exchange.compressed.as_ref().map(|owed| Box::new(Inflater::new(owed))),
        }
    }

    /// Compares `received` with what is owed, and returns how many replies it completed, or `None`
    /// if it differs.
    pub fn accept(&mut self, exchange: &Exchange, mut received: &[u8]) -> Option<usize> {
        if let (Some(inflater), Some(owed)) = (&mut self.inflater, &exchange.compressed) {
            return inflater.accept(owed, received);
        }
        if exchange.reply_length > ALWAYS_COMPARED {
            return self.accept_large(exchange, received);
        }
        let total = self.offset + received.len();
        while !received.is_empty() {
            let owed = &exchange.replies[self.position..];
            let length = owed.len().min(received.len());
            let (now, later) = received.split_at(length);
            if now != &owed[..length] {
                return None;
            }
            self.step(exchange, length);
            received = later;
        }
        let completed = total / exchange.reply_length;
        self.offset = total % exchange.reply_length;
        self.replies += completed as u64;
        Some(completed)
    }

    fn accept_large(&mut self, exchange: &Exchange, mut received: &[u8]) -> Option<usize> {
        let mut completed = 0;
        while !received.is_empty() {
            let length = (exchange.reply_length - self.offset).min(received.len());
            let compared = if self.replies.is_multiple_of(exchange.check_every) {
                length
            } else {
                HEAD_COMPARED.saturating_sub(self.offset).min(length)
            };
            if received[..compared] != exchange.replies[self.position..self.position + compared] {
                return None;
            }
            self.step(exchange, length);
            self.offset += length;
            if self.offset == exchange.reply_length {
                self.offset = 0;
                self.replies += 1;
                completed += 1;
            }
            received = &received[length..];
        }
        Some(completed)
    }

    fn step(&mut self, exchange: &Exchange, length: usize) {
        self.position += length;
        if self.position == exchange.replies.len() {
            self.position = 0;
        }
    }
}

/// Appends the message number `index`, cut into the frames that `shape` asks for.
fn push_request(out: &mut Vec<u8>, shape: &Shape, payload: &[u8], index: usize) {
    let compressed = if shape.deflate.is_some() { COMPRESSED } else { 0 };
    let mut first_byte = (shape.kind.first_byte() & !FIN) | compressed;
    let length = payload.len().div_ceil(shape.fragments).max(1);
    let last = shape.fragments - 1;
    for fragment in 0..shape.fragments {
        let start = (fragment * length).min(payload.len());
        let end = (start + length).min(payload.len());
        let fin = if fragment == last { FIN } else { 0 };
        push_header(out, first_byte | fin, MASKED, end - start);
        let key = masking_key(index * shape.fragments + fragment);
        out.extend_from_slice(&key);
        let masked = payload[start..end].iter().zip(key.iter().cycle());
        out.extend(masked.map(|(byte, key)| byte ^ key));
        // The opcode of the frames that continue a message is 0.
        first_byte = 0;
    }
}

/// RFC 6455 section 5.2, without the masking key.
fn push_header(out: &mut Vec<u8>, first_byte: u8, mask_bit: u8, size: usize) {
    out.push(first_byte);
    if size < 126 {
        out.push(mask_bit | size as u8);
    } else if let Ok(size) = u16::try_from(size) {
        out.push(mask_bit | 126);
        out.extend_from_slice(&size.to_be_bytes());
    } else {
        out.push(mask_bit | 127);
        out.extend_from_slice(&(size as u64).to_be_bytes());
    }
}

/// Any key will do that is not 0 and differs between frames.
fn masking_key(index: usize) -> [u8; 4] {
    (index as u32).wrapping_mul(0x9E37_79B9).wrapping_add(0x5DEE_CE6D).to_be_bytes()
}

fn payload(kind: Kind, size: usize, index: usize) -> Vec<u8> {
    /// Two, three and four byte characters beside ASCII, as messages in many languages have them.
    const SAMPLE: &str = "Zażółć gęślą jaźń, ещё один день; 今日は良い天気ですね 🚀 naïve café. ";
    let mut payload = format!("{index:07} ").into_bytes();
    match kind {
        Kind::Binary => payload.extend((0..size).map(|i| (i * 7 + index) as u8)),
        Kind::Text => payload.extend((0..size).map(|i| b' ' + ((i * 7 + index) % 95) as u8)),
        Kind::NonAscii => {
            let characters = SAMPLE.chars().cycle().skip(index);
            for character in characters.take(size) {
                if payload.len() + character.len_utf8() > size {
                    break;
                }
                payload.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            // A character that would be cut leaves room for up to three bytes.
            payload.resize(payload.len().max(size), b'.');
        }
        Kind::Json => payload = json(size, index),
    }
    payload.truncate(size);
    payload
}

/// An array of records with few different words and many different numbers, `size` bytes long.
/// Compresses to about a third.
fn json(size: usize, index: usize) -> Vec<u8> {
    const FIRST: [&str; 8] = ["Ada", "Björk", "Chidi", "Dana", "Emre", "Fumiko", "Grace", "Hugo"];
    const LAST: [&str; 8] =
        ["Novak", "Okafor", "Lindqvist", "Tanaka", "Moreau", "Silva", "Yilmaz", "Berg"];
    const TAGS: [&str; 4] = ["new", "priority", "wholesale", "newsletter"];
    // Splitmix64: the same numbers in every run, and no two messages alike.
    let mut state = index as u64;
    let mut random = move |below: u64| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = state;
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (value ^ (value >> 31)) % below
    };
    let mut json = String::from("[");
    loop {
        let (first, last) = (FIRST[random(8) as usize], LAST[random(8) as usize]);
        let record = format!(
            "{{\"id\":{},\"name\":\"{first} {last}\",\"email\":\"{}.{}@example.com\",\
             \"balance\":{}.{:02},\"active\":{},\"tags\":[\"{}\"]}}",
            random(1_000_000_000),
            last.to_lowercase(),
            random(10_000),
            random(100_000),
            random(100),
            random(2) == 0,
            TAGS[random(4) as usize],
        );
        // A comma or the closing bracket follows.
        if json.len() + record.len() + 2 > size {
            break;
        }
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(&record);
    }
    let mut json = json.into_bytes();
    json.resize(size.max(2) - 1, b' ');
    json.push(b']');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 4] = [Kind::Text, Kind::Binary, Kind::NonAscii, Kind::Json];

    fn shape(kind: Kind, size: usize) -> Shape {
        Shape { kind, size, fragments: 1, deflate: None, repeat: 1 }
    }

    /// Takes masked frames apart: first byte and payload of each.
    fn frames_of(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let (header, length) = match bytes[1] & !MASKED {
                126 => (8, u16::from_be_bytes([bytes[2], bytes[3]]).into()),
                length => (6, usize::from(length)),
            };
            let key = &bytes[header - 4..header];
            let payload = bytes[header..header + length].iter();
            let payload = payload.zip(key.iter().cycle()).map(|(a, b)| a ^ b);
            frames.push((bytes[0], payload.collect()));
            bytes = &bytes[header + length..];
        }
        frames
    }

    #[test]
    fn payloads_have_the_size_asked_for_and_text_is_utf_8() {
        for kind in KINDS {
            for size in [2, 7, 8, 20, 125, 126, 1024, 70_000] {
                let payload = payload(kind, size, 3);
                assert_eq!(payload.len(), size);
                assert!(kind == Kind::Binary || std::str::from_utf8(&payload).is_ok());
            }
        }
        assert!(!payload(Kind::NonAscii, 1024, 0).is_ascii());
    }

    #[test]
    fn requests_unmask_to_the_replies() {
        let exchange = Exchange::new(&shape(Kind::Binary, 300), 2, 1);
        let (first_byte, payload) = frames_of(exchange.first_request()).remove(0);
        let mut reply = vec![];
        push_header(&mut reply, first_byte, 0, payload.len());
        reply.extend(payload);
        assert_eq!(reply, exchange.replies[..exchange.reply_length]);
    }

    #[test]
    fn fragments_make_up_the_message() {
        for size in [20, 16_384] {
            let shape = Shape { fragments: 3, ..shape(Kind::Text, size) };
            let exchange = Exchange::new(&shape, 1, 1);
            let frames = frames_of(exchange.first_request());
            let first_bytes: Vec<u8> = frames.iter().map(|frame| frame.0).collect();
            assert_eq!(first_bytes, [0x01, 0x00, 0x80]);
            let message: Vec<u8> = frames.into_iter().flat_map(|frame| frame.1).collect();
            assert_eq!(message, payload(Kind::Text, size, 0));
        }
    }

    #[test]
    fn compressed_requests_stay_valid_however_often_the_ring_goes_round() {
        for takeover in [Takeover::No, Takeover::Yes] {
            let shape = Shape { deflate: Some(takeover), ..shape(Kind::Json, 1024) };
            let exchange = Exchange::new(&shape, 1, 1);
            let owed = exchange.compressed.as_ref().unwrap();
            let mut inflater = Inflater::new(owed);
            let mut outbox = Outbox::default();
            for _ in 0..exchange.frames * 4 {
                outbox.queue(&exchange, 1);
                let (first_byte, payload) = frames_of(outbox.bytes(&exchange)).remove(0);
                outbox.advance(&exchange, outbox.length);
                assert_eq!(first_byte, 0x81 | COMPRESSED);
                assert!(payload.len() < 600);
                let mut reply = vec![];
                push_header(&mut reply, first_byte, 0, payload.len());
                reply.extend(payload);
                assert_eq!(inflater.accept(owed, &reply), Some(1));
            }
        }
    }

    #[test]
    fn replies_are_counted_however_they_are_split() {
        for (size, repeat) in [(20, 1), (20, 50), (10_000, 1)] {
            let shape = Shape { repeat, ..shape(Kind::Text, size) };
            let exchange = Exchange::new(&shape, 1, 16);
            let stream = exchange.replies.repeat(3);
            for step in [1, 7, 4096, 100_000] {
                let mut inbox = Inbox::new(&exchange);
                let replies: usize =
                    stream.chunks(step).map(|chunk| inbox.accept(&exchange, chunk).unwrap()).sum();
                assert_eq!(replies, exchange.frames * repeat * 3);
            }
        }
    }

    #[test]
    fn an_altered_reply_is_noticed() {
        for (size, altered) in [(20, 15), (10_000, 20), (10_000, 9_999)] {
            let exchange = Exchange::new(&shape(Kind::Text, size), 1, 16);
            let mut stream = exchange.replies.to_vec();
            stream[altered] ^= 1;
            assert_eq!(Inbox::new(&exchange).accept(&exchange, &stream), None);
        }
    }

    #[test]
    fn an_outbox_goes_round_the_ring() {
        for (size, depth) in [(20, 1), (20, 32), (1024, 8), (5000, 32)] {
            let exchange = Exchange::new(&shape(Kind::Binary, size), depth, 16);
            let mut outbox = Outbox::default();
            let mut sent = Vec::new();
            for _ in 0..exchange.frames {
                outbox.queue(&exchange, depth);
                while !outbox.is_empty() {
                    let count = outbox.bytes(&exchange).len().min(size + 1);
                    sent.extend_from_slice(&outbox.bytes(&exchange)[..count]);
                    outbox.advance(&exchange, count);
                }
            }
            let ring = &exchange.requests[..exchange.starts[exchange.frames]];
            assert_eq!(sent, ring.repeat(depth));
        }
    }
}
