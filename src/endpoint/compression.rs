//! Compression of what a connection sends (permessage-deflate), and what it takes to inflate what it
//! receives.
//!
//! With context takeover a connection has a compressor of its own, made with its first compressed
//! message. Without, no state outlives a frame, and one compressor serves every connection of the
//! environment that has the same settings.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::connection::{Connection, Flags, Phase};
use crate::protocol::deflate::{
    Compressor, CompressorConfig, Decompressor, DeflateParams, InflaterPool, DEFAULT_CONTEXT_BITS,
    DEFAULT_LEVEL,
};
use crate::protocol::{Opcode, Role};

/// Shared compressors that are kept. Users set one or two levels, and peers may ask for eight
/// windows; each is 300 KiB.
const MAX_COMPRESSORS: usize = 16;
/// An output buffer that has grown beyond this is freed, so that one message does not pin memory.
const MAX_OUTPUT: usize = 256 * 1024;

/// What was agreed on, and how the user wants it done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeflateOptions {
    /// The outcome of the negotiation.
    pub params: DeflateParams,
    /// How well to compress, if the user says so.
    pub level: Option<u8>,
    /// How much memory to compress with.
    pub mem_level: u8,
    /// Shorter messages are not compressed if each is compressed by itself.
    pub threshold: usize,
}

/// What the connections of one environment share.
#[derive(Default)]
pub(crate) struct SharedDeflate {
    inflaters: Rc<InflaterPool>,
    compressors: RefCell<Vec<(CompressorConfig, Compressor)>>,
    output: Cell<Vec<u8>>,
}

impl SharedDeflate {
    /// Compresses a fragment by itself.
    fn compress(
        &self,
        config: CompressorConfig,
        payload: &[u8],
        fin: bool,
        output: &mut Vec<u8>,
    ) -> Option<usize> {
        let mut compressors = self.compressors.borrow_mut();
        let place = match compressors.iter().position(|(of, _)| *of == config) {
            Some(place) => place,
            None => {
                if compressors.len() >= MAX_COMPRESSORS {
                    compressors.remove(0);
                }
                compressors.push((config, Compressor::new(config)));
                compressors.len() - 1
            }
        };
        let (_, compressor) = compressors.get_mut(place)?;
        let written = compressor.compress(payload, fin, output);
        compressor.reset();
        written
    }

    /// Compresses a message for all connections with this setting. Returns nothing if that does not
    /// make it shorter.
    pub(super) fn compress_once(
        &self,
        config: CompressorConfig,
        message: &[u8],
    ) -> Option<Vec<u8>> {
        let mut output = self.output.take();
        let len = self.compress(config, message, true, &mut output);
        let shorter = len.filter(|len| *len < message.len());
        let compressed = shorter.and_then(|len| output.get(..len)).map(<[u8]>::to_vec);
        self.give_back(output);
        compressed
    }

    fn give_back(&self, output: Vec<u8>) {
        if output.len() <= MAX_OUTPUT {
            self.output.set(output);
        }
    }
}

/// The sending half of the extension on one connection.
pub(super) struct Compression {
    config: CompressorConfig,
    takes_over: bool,
    threshold: usize,
    /// Present with context takeover, from the first message on.
    own: Option<Compressor>,
    /// The peer has got a message that `own` does not know of: it must not refer to those before.
    is_stale: bool,
    /// The message that has begun is compressed.
    is_active: bool,
}

/// What becomes of a fragment.
enum Outcome {
    /// Its message is not compressed.
    Plain,
    /// It has this length in the output.
    Compressed(usize),
    /// The compressor is of no use any more.
    Broken,
}

impl Compression {
    /// Compresses a fragment into `output` if its message is to be.
    fn apply(
        &mut self,
        shared: &SharedDeflate,
        opcode: Opcode,
        fin: bool,
        payload: &[u8],
        wanted: bool,
        output: &mut Vec<u8>,
    ) -> Outcome {
        let is_first = opcode != Opcode::Continuation;
        if is_first {
            self.is_active = wanted && (self.takes_over || payload.len() >= self.threshold);
        }
        if !self.is_active {
            return Outcome::Plain;
        }
        let written = if self.takes_over {
            let own = self.own.get_or_insert_with(|| Compressor::new(self.config));
            if self.is_stale {
                self.is_stale = false;
                own.reset();
            }
            own.compress(payload, fin, output)
        } else {
            shared.compress(self.config, payload, fin, output)
        };
        match written {
            // Nobody needs to have seen this message to inflate the next one.
            Some(len) if is_first && fin && !self.takes_over && len >= payload.len() => {
                Outcome::Plain
            }
            Some(len) => Outcome::Compressed(len),
            None => Outcome::Broken,
        }
    }
}

impl Connection {
    /// Turns permessage-deflate on, once, before the first frame is parsed. Returns false when it
    /// is too late or a number is out of range.
    pub(crate) fn enable_deflate(&self, options: &DeflateOptions) -> bool {
        let is_early = matches!(self.phase.get(), Phase::Deciding | Phase::Open);
        if !is_early || self.flags.has(Flags::PARSING) {
            return false;
        }
        let (ours, theirs) = match self.role {
            Role::Server => (Role::Server, Role::Client),
            Role::Client => (Role::Client, Role::Server),
        };
        let takes_over = options.params.takes_over(ours);
        let agreed = options.params.window_bits(ours);
        let config = CompressorConfig {
            level: options.level.unwrap_or(DEFAULT_LEVEL),
            window_bits: match options.level {
                None if takes_over => agreed.min(DEFAULT_CONTEXT_BITS),
                _ => agreed,
            },
            mem_level: options.mem_level,
        };
        if !config.is_valid() || !options.params.is_valid() {
            return false;
        }
        let present = self.compression.take();
        let is_new = present.is_none();
        self.compression.set(present.or_else(|| {
            let table = self.table();
            let pool = &table.deflate().inflaters;
            let decompressor = Decompressor::new(pool, options.params.takes_over(theirs));
            self.receiver.borrow_mut().set_decompressor(decompressor);
            Some(Box::new(Compression {
                config,
                takes_over,
                threshold: options.threshold,
                own: None,
                is_stale: false,
                is_active: false,
            }))
        }));
        is_new
    }

    /// How a message of `len` bytes that many are to get is compressed for this connection; nothing
    /// if it is not.
    pub(super) fn setting_for(&self, len: usize) -> Option<CompressorConfig> {
        let compression = self.compression.take();
        let setting = compression.as_ref().filter(|of| len >= of.threshold).map(|of| of.config);
        self.compression.set(compression);
        setting
    }

    /// Notes that the peer gets a message that others have compressed.
    pub(super) fn context_is_stale(&self) {
        if let Some(mut compression) = self.compression.take() {
            compression.is_stale = true;
            self.compression.set(Some(compression));
        }
    }

    /// Corks a data frame, compressed if its message is to be. Returns false when the connection
    /// is of no use any more.
    pub(super) fn cork_data(
        &self,
        opcode: Opcode,
        fin: bool,
        payload: &[u8],
        compress: bool,
    ) -> bool {
        let Some(mut compression) = self.compression.take() else {
            return self.cork_frame(opcode, fin, false, payload);
        };
        let table = self.table();
        let shared = table.deflate();
        let mut output = shared.output.take();
        let outcome = compression.apply(shared, opcode, fin, payload, compress, &mut output);
        self.compression.set(Some(compression));
        let corked = match outcome {
            Outcome::Plain => self.cork_frame(opcode, fin, false, payload),
            Outcome::Compressed(len) => {
                let rsv1 = opcode != Opcode::Continuation;
                self.cork_frame(opcode, fin, rsv1, output.get(..len).unwrap_or_default())
            }
            Outcome::Broken => false,
        };
        shared.give_back(output);
        corked
    }
}
