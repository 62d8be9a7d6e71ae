//! DEFLATE streams of a hostile peer.

use flate2::{Decompress, FlushDecompress, Status};
use uvws::protocol::{encode_header, Config, Opcode, ProtocolError, Role};

use crate::input::{cut, Input};
use crate::run::{run, Compression, Seen};

/// Bytes that claim to be compressed messages give the same in whatever frames and
/// reads they come, no more than `max_payload`, and what zlib makes of them.
pub fn inflate(data: &[u8]) {
    let mut input = Input(data);
    let compression = input.pick(&[Compression::Alone, Compression::TakingOver]);
    let max_payload = input.pick(&[0_u64, 1, 100, 1000, 65_535, 65_536, 65_537, 200_000]);
    let config = Config { max_payload, max_fragments: 0, ..Config::new(Role::Client) };
    let messages = 1 + usize::from(input.byte() % 3);
    let (frame_seed, read_seed) = (input.byte(), input.byte());
    let messages: Vec<_> = match input.0.len().div_ceil(messages) {
        0 => vec![input.0],
        length => input.0.chunks(length).collect(),
    };

    let (mut in_one, mut in_pieces) = (Vec::new(), Vec::new());
    for message in &messages {
        frame(&mut in_one, Opcode::Binary, true, message);
        let mut opcode = Opcode::Binary;
        for piece in cut(message, frame_seed) {
            frame(&mut in_pieces, opcode, false, piece);
            opcode = Opcode::Continuation;
        }
        frame(&mut in_pieces, opcode, true, &[]);
    }
    let whole = run(&config, compression, [&in_one[..]]);
    assert_eq!(run(&config, compression, in_one.chunks(1)), whole);
    if whole.error != Some(ProtocolError::UnsupportedMessageLength) {
        // How long a frame may be depends on how the message is cut.
        assert_eq!(run(&config, compression, cut(&in_pieces, read_seed)), whole);
        assert_eq!(run(&config, compression, [&in_pieces[..]]), whole);
    }

    let mut zlib = Zlib::new(compression == Compression::TakingOver);
    let mut expected = messages.iter().map(|message| zlib.message(message));
    for event in whole.events {
        let Seen::Binary(inflated) = event else {
            panic!("{event:?}");
        };
        assert!(max_payload == 0 || inflated.len() as u64 <= max_payload);
        assert!(expected.next().unwrap() == Some(inflated), "zlib sees it otherwise");
    }
    match whole.error {
        None => {}
        Some(ProtocolError::UnsupportedMessageLength) => assert!(max_payload > 0),
        Some(_) => assert!(expected.next().unwrap().is_none(), "zlib finds no fault"),
    }
}

fn frame(stream: &mut Vec<u8>, opcode: Opcode, fin: bool, payload: &[u8]) {
    let rsv1 = opcode != Opcode::Continuation;
    let length = payload.len() as u64;
    encode_header(Role::Server, opcode, fin, rsv1, length, None).append_to(stream);
    stream.extend_from_slice(payload);
}

/// zlib, used as RFC 7692 says.
struct Zlib {
    stream: Decompress,
    takes_over: bool,
}

impl Zlib {
    fn new(takes_over: bool) -> Self {
        Self { stream: Decompress::new(false), takes_over }
    }

    /// Returns the message; `None` if it is invalid.
    fn message(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let mut message = Vec::new();
        let ended = self.feed(payload, &mut message)?;
        if !ended && !payload.is_empty() {
            self.feed(&[0x00, 0x00, 0xFF, 0xFF], &mut message)?;
        }
        if !self.takes_over {
            self.stream.reset(false);
        }
        Some(message)
    }

    /// Returns whether the stream ended with the input.
    fn feed(&mut self, mut input: &[u8], message: &mut Vec<u8>) -> Option<bool> {
        let mut output = [0; 16 * 1024];
        loop {
            let (read, written) = (self.stream.total_in(), self.stream.total_out());
            let status = self.stream.decompress(input, &mut output, FlushDecompress::Sync).ok()?;
            let read = (self.stream.total_in() - read) as usize;
            let written = (self.stream.total_out() - written) as usize;
            message.extend_from_slice(&output[..written]);
            input = &input[read..];
            if status == Status::StreamEnd {
                self.stream.reset(false);
                if input.is_empty() {
                    return Some(true);
                }
            } else if written < output.len() {
                return Some(false);
            }
        }
    }
}
