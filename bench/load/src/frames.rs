//! The bytes that are sent and the bytes that must come back, made once before a run.
//!
//! A connection sends the frames of a ring, over and over. Each frame of the ring carries its own
//! number in its payload and its own masking key, so the stream of replies is a periodic sequence of
//! known bytes: a reply that is lost, altered, reordered or split over frames differs from it.

/// Kind of the messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// ASCII text.
    Text,
    /// Binary.
    Binary,
    /// Text with characters of 1 to 4 bytes.
    NonAscii,
}

impl Kind {
    /// First byte of a whole message's frame (RFC 6455 section 5.2): FIN and the opcode.
    fn first_byte(self) -> u8 {
        match self {
            Kind::Text | Kind::NonAscii => 0x81,
            Kind::Binary => 0x82,
        }
    }
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

/// The ring of requests and the replies they are owed.
pub struct Exchange {
    /// `frames + depth` masked frames: from any frame of the ring, `depth` of them are contiguous.
    requests: Box<[u8]>,
    /// `frames` unmasked frames.
    replies: Box<[u8]>,
    request_length: usize,
    reply_length: usize,
    frames: usize,
    check_every: u64,
}

impl Exchange {
    /// Prepares messages of `size` bytes, `depth` of which are in flight per connection.
    pub fn new(kind: Kind, size: usize, depth: usize, check_every: u64) -> Self {
        let frames = (RING_BYTES / (size + 8)).max(LEAST_FRAMES);
        let mut requests = Vec::new();
        let mut replies = Vec::new();
        for index in 0..frames + depth {
            let payload = payload(kind, size, index % frames);
            push_header(&mut requests, kind, size, 0x80);
            let key = masking_key(index % frames);
            requests.extend_from_slice(&key);
            requests.extend(
                payload
                    .iter()
                    .zip(key.iter().cycle())
                    .map(|(byte, key)| byte ^ key),
            );
            if index < frames {
                push_header(&mut replies, kind, size, 0);
                replies.extend_from_slice(&payload);
            }
        }
        Exchange {
            request_length: requests.len() / (frames + depth),
            reply_length: replies.len() / frames,
            requests: requests.into_boxed_slice(),
            replies: replies.into_boxed_slice(),
            frames,
            check_every,
        }
    }

    /// Bytes of one reply frame.
    pub fn reply_length(&self) -> usize {
        self.reply_length
    }

    /// Returns the first request, for connections that send just one.
    pub fn first_request(&self) -> &[u8] {
        &self.requests[..self.request_length]
    }

    /// Returns the reply to the first request.
    pub fn first_reply(&self) -> &[u8] {
        &self.replies[..self.reply_length]
    }
}

/// What one connection has yet to send.
#[derive(Clone, Copy, Default)]
pub struct Outbox {
    position: usize,
    length: usize,
}

impl Outbox {
    /// Adds the next `count` messages; at most the exchange's depth may be waiting at a time.
    pub fn queue(&mut self, exchange: &Exchange, count: usize) {
        self.length += count * exchange.request_length;
    }

    /// Returns the bytes to send next.
    pub fn bytes<'a>(&self, exchange: &'a Exchange) -> &'a [u8] {
        &exchange.requests[self.position..self.position + self.length]
    }

    /// Removes `count` bytes that were sent.
    pub fn advance(&mut self, exchange: &Exchange, count: usize) {
        self.length -= count;
        self.position = (self.position + count) % (exchange.frames * exchange.request_length);
    }

    /// Tells whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

/// Where one connection is in the stream of its replies.
#[derive(Clone, Copy, Default)]
pub struct Inbox {
    /// Offset in the ring of replies.
    position: usize,
    /// Offset in the reply that is under way.
    offset: usize,
    replies: u64,
}

impl Inbox {
    /// Compares `received` with what is owed, and returns how many replies it completed, or `None`
    /// if it differs.
    pub fn accept(&mut self, exchange: &Exchange, mut received: &[u8]) -> Option<usize> {
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

/// RFC 6455 section 5.2, without the masking key. `mask_bit` is 0x80 for a client.
fn push_header(out: &mut Vec<u8>, kind: Kind, size: usize, mask_bit: u8) {
    out.push(kind.first_byte());
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
    (index as u32)
        .wrapping_mul(0x9E37_79B9)
        .wrapping_add(0x5DEE_CE6D)
        .to_be_bytes()
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
    }
    payload.truncate(size);
    payload
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 3] = [Kind::Text, Kind::Binary, Kind::NonAscii];

    #[test]
    fn payloads_have_the_size_asked_for_and_text_is_utf_8() {
        for kind in KINDS {
            for size in [0, 1, 7, 8, 20, 125, 126, 1024, 70_000] {
                let payload = payload(kind, size, 3);
                assert_eq!(payload.len(), size);
                assert!(kind == Kind::Binary || std::str::from_utf8(&payload).is_ok());
            }
        }
        assert!(!payload(Kind::NonAscii, 1024, 0).is_ascii());
    }

    #[test]
    fn requests_unmask_to_the_replies() {
        let exchange = Exchange::new(Kind::Binary, 300, 2, 1);
        let (request, reply) = (exchange.first_request(), exchange.first_reply());
        assert_eq!(request[0], reply[0]);
        assert_eq!(request[1], reply[1] | 0x80);
        assert_eq!(request[2..4], reply[2..4]);
        let unmasked: Vec<u8> = request[8..]
            .iter()
            .zip(request[4..8].iter().cycle())
            .map(|(a, b)| a ^ b)
            .collect();
        assert_eq!(unmasked, reply[4..]);
    }

    #[test]
    fn replies_are_counted_however_they_are_split() {
        for size in [20, 10_000] {
            let exchange = Exchange::new(Kind::Text, size, 1, 16);
            let stream = exchange.replies.repeat(3);
            for step in [1, 7, 4096, 100_000] {
                let mut inbox = Inbox::default();
                let replies: usize = stream
                    .chunks(step)
                    .map(|chunk| inbox.accept(&exchange, chunk).unwrap())
                    .sum();
                assert_eq!(replies, exchange.frames * 3);
            }
        }
    }

    #[test]
    fn an_altered_reply_is_noticed() {
        for (size, altered) in [(20, 15), (10_000, 20), (10_000, 9_999)] {
            let exchange = Exchange::new(Kind::Text, size, 1, 16);
            let mut stream = exchange.replies.to_vec();
            stream[altered] ^= 1;
            assert_eq!(Inbox::default().accept(&exchange, &stream), None);
        }
    }

    #[test]
    fn an_outbox_goes_round_the_ring() {
        for (size, depth) in [(20, 1), (20, 32), (1024, 8), (5000, 32)] {
            let exchange = Exchange::new(Kind::Binary, size, depth, 16);
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
            let ring = &exchange.requests[..exchange.frames * exchange.request_length];
            assert_eq!(sent, ring.repeat(depth));
        }
    }
}
