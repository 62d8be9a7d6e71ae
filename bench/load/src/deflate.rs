//! permessage-deflate (RFC 7692), as far as a load generator needs it: messages are compressed once
//! before a run, and every reply is inflated and compared with what was sent.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// The level that most servers use, and that all are set to where they let one choose.
const LEVEL: u32 = 6;
/// What a sender leaves out at the end of a message (RFC 7692 section 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];
/// RSV1: the message is compressed (RFC 7692 section 6).
pub const COMPRESSED: u8 = 0x40;

/// Whether the compression of a message refers to the messages before it, in both directions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Takeover {
    /// Each message stands for itself.
    No,
    /// A message refers to up to 32 KiB before it.
    Yes,
}

impl Takeover {
    /// Returns the line of the opening handshake that asks for it.
    pub fn offer(self) -> &'static str {
        match self {
            Takeover::No => {
                "Sec-WebSocket-Extensions: permessage-deflate; \
                 server_no_context_takeover; client_no_context_takeover\r\n"
            }
            Takeover::Yes => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
        }
    }

    /// Tells whether the head of a response agrees to what was asked for, and to nothing else.
    pub fn is_agreed(self, head: &[u8]) -> bool {
        let head = String::from_utf8_lossy(head).to_ascii_lowercase();
        let Some(line) =
            head.lines().find_map(|line| line.strip_prefix("sec-websocket-extensions:"))
        else {
            return false;
        };
        let mut parts = line.split(';').map(str::trim);
        let mut server = Takeover::Yes;
        let mut client = Takeover::Yes;
        if parts.next() != Some("permessage-deflate") {
            return false;
        }
        for part in parts {
            match part {
                "server_no_context_takeover" => server = Takeover::No,
                "client_no_context_takeover" => client = Takeover::No,
                _ => return false,
            }
        }
        // A server that inflates with a context although none is used may not say so.
        server == self && (client == self || self == Takeover::No)
    }
}

/// Compresses the messages of one direction of one connection.
pub struct Compressor {
    takeover: Takeover,
    stream: Compress,
}

impl Compressor {
    /// Returns a compressor that has seen nothing.
    pub fn new(takeover: Takeover) -> Self {
        Compressor { takeover, stream: Compress::new(Compression::new(LEVEL), false) }
    }

    /// Compresses the next message.
    pub fn compress(&mut self, payload: &[u8]) -> Vec<u8> {
        /// Deflate grows what it cannot shrink by a few bytes per 16 KiB.
        const GROWTH: usize = 256;
        if self.takeover == Takeover::No {
            self.stream.reset();
        }
        let mut out = Vec::with_capacity(payload.len() + payload.len() / 64 + GROWTH);
        self.stream
            .compress_vec(payload, &mut out, FlushCompress::Sync)
            .expect("the parameters are valid");
        let length = out.strip_suffix(&TAIL).expect("a sync flush ends in an empty block").len();
        out.truncate(length);
        out
    }
}

/// Inflates the replies of one connection and compares them with what they must be.
pub struct Inflater {
    takeover: Takeover,
    stream: Decompress,
    inflated: Vec<u8>,
    /// The frame under way, as far as it has come.
    frame: Vec<u8>,
    replies: usize,
}

/// What is owed to each connection, over and over, and what was already found to be equal to it.
pub struct Owed {
    takeover: Takeover,
    first_byte: u8,
    payloads: Vec<Vec<u8>>,
    /// Without takeover a compressed payload that is the same as one that was inflated before needs
    /// no inflating.
    verified: RefCell<Vec<Vec<u8>>>,
}

impl Owed {
    /// Returns what is owed for messages of `payloads`, in frames that begin with `first_byte`.
    pub fn new(takeover: Takeover, first_byte: u8, payloads: Vec<Vec<u8>>) -> Self {
        Owed {
            takeover,
            first_byte: first_byte | COMPRESSED,
            verified: RefCell::new(vec![Vec::new(); payloads.len()]),
            payloads,
        }
    }
}

impl Inflater {
    /// Returns an inflater for a new connection.
    pub fn new(owed: &Owed) -> Self {
        Inflater {
            takeover: owed.takeover,
            stream: Decompress::new(false),
            inflated: vec![0; owed.payloads.iter().map(Vec::len).max().unwrap_or(0) + 1],
            frame: Vec::new(),
            replies: 0,
        }
    }

    /// Returns how many replies `received` completed, or `None` if one is not what is owed.
    pub fn accept(&mut self, owed: &Owed, received: &[u8]) -> Option<usize> {
        let mut frames = std::mem::take(&mut self.frame);
        frames.extend_from_slice(received);
        let mut rest = &frames[..];
        let mut completed = 0;
        while let Some((header, length)) = frame_length(rest) {
            if rest[0] != owed.first_byte {
                return None;
            }
            let Some(payload) = rest.get(header..header + length) else {
                break;
            };
            if !self.is_owed(owed, payload) {
                return None;
            }
            self.replies += 1;
            completed += 1;
            rest = &rest[header + length..];
        }
        let consumed = frames.len() - rest.len();
        frames.drain(..consumed);
        self.frame = frames;
        Some(completed)
    }

    fn is_owed(&mut self, owed: &Owed, compressed: &[u8]) -> bool {
        let index = self.replies % owed.payloads.len();
        if self.takeover == Takeover::Yes {
            return self.inflates_to(compressed, &owed.payloads[index]);
        }
        let mut verified = owed.verified.borrow_mut();
        if !compressed.is_empty() && verified[index] == compressed {
            return true;
        }
        self.stream.reset(false);
        let equal = self.inflates_to(compressed, &owed.payloads[index]);
        if equal {
            verified[index] = compressed.to_vec();
        }
        equal
    }

    fn inflates_to(&mut self, compressed: &[u8], payload: &[u8]) -> bool {
        let mut length = 0;
        for mut input in [compressed, &TAIL] {
            while !input.is_empty() {
                let (read, written) = (self.stream.total_in(), self.stream.total_out());
                let status = self.stream.decompress(
                    input,
                    &mut self.inflated[length..],
                    FlushDecompress::Sync,
                );
                let consumed = (self.stream.total_in() - read) as usize;
                length += (self.stream.total_out() - written) as usize;
                input = &input[consumed..];
                match status {
                    // A last block ends the stream: nothing may refer to it, and none has to.
                    Ok(Status::StreamEnd) if self.takeover == Takeover::No => {
                        return self.inflated[..length] == *payload;
                    }
                    Ok(Status::Ok) if consumed > 0 => {}
                    _ => return false,
                }
            }
        }
        self.inflated[..length] == *payload
    }
}

/// Returns the lengths of an unmasked frame's header and payload (RFC 6455 section 5.2), or `None`
/// if the header is not all here.
fn frame_length(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes.get(1)? {
        126 => Some((4, u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?).into())),
        127 => {
            let length = u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?);
            Some((10, usize::try_from(length).ok()?))
        }
        length => Some((2, length.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Takeover; 2] = [Takeover::No, Takeover::Yes];

    fn frame(compressed: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x81 | COMPRESSED, 126];
        frame.extend_from_slice(&(compressed.len() as u16).to_be_bytes());
        frame.extend_from_slice(compressed);
        frame
    }

    #[test]
    fn compressed_replies_are_counted_however_they_are_split() {
        for takeover in KINDS {
            let payloads: Vec<Vec<u8>> = (0..3u8).map(|i| vec![i; 1000]).collect();
            let mut compressor = Compressor::new(takeover);
            let stream: Vec<u8> = payloads
                .iter()
                .cycle()
                .take(9)
                .flat_map(|payload| frame(&compressor.compress(payload)))
                .collect();
            let owed = Owed::new(takeover, 0x81, payloads);
            for step in [1, 7, 100_000] {
                let mut inflater = Inflater::new(&owed);
                let replies: usize =
                    stream.chunks(step).map(|chunk| inflater.accept(&owed, chunk).unwrap()).sum();
                assert_eq!(replies, 9);
            }
        }
    }

    #[test]
    fn replies_that_differ_or_are_not_compressed_are_noticed() {
        for takeover in KINDS {
            let owed = Owed::new(takeover, 0x81, vec![b"owed".to_vec()]);
            let right = frame(&Compressor::new(takeover).compress(b"owed"));
            let other = frame(&Compressor::new(takeover).compress(b"paid"));
            let short = frame(&Compressor::new(takeover).compress(b"owe"));
            assert_eq!(Inflater::new(&owed).accept(&owed, &right), Some(1));
            for wrong in [&other[..], &short, b"\x81\x04owed"] {
                assert_eq!(Inflater::new(&owed).accept(&owed, wrong), None);
            }
        }
    }

    #[test]
    fn an_agreement_is_to_what_was_asked_for() {
        let head = |line: &str| format!("HTTP/1.1 101 Switching Protocols\r\n{line}\r\n\r\n");
        let both = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        let server = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover";
        let plain = "sec-websocket-extensions: permessage-deflate";
        for (line, no, yes) in [
            (both, true, false),
            (server, true, false),
            (plain, false, true),
            ("Upgrade: websocket", false, false),
        ] {
            assert_eq!(Takeover::No.is_agreed(head(line).as_bytes()), no);
            assert_eq!(Takeover::Yes.is_agreed(head(line).as_bytes()), yes);
        }
    }
}
