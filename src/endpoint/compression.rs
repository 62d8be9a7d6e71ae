//! Compression of what a connection sends (permessage-deflate), and what it takes to inflate what it
//! receives.
//!
//! With context takeover a connection has a compressor of its own, made with its first compressed
//! message. Without, no state outlives a frame, and one compressor serves every connection of the
//! environment that has the same settings. Large fragments are compressed elsewhere (`offload`).

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::connection::{Connection, Flags, Phase};
use super::offload::{Slots, Waiting};
use super::sending::Corked;
use crate::context::copy;
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
    /// How many large fragments of the environment's connections are compressed at the same time; 0
    /// for no limit. Whoever comes last decides.
    pub concurrency: u32,
}

/// What the connections of one environment share.
#[derive(Default)]
pub(crate) struct SharedDeflate {
    inflaters: Rc<InflaterPool>,
    compressors: RefCell<Vec<(CompressorConfig, Compressor)>>,
    output: Cell<Vec<u8>>,
    pub(super) slots: Slots,
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
        let mut compressor = self.take_compressor(config).or_else(|| Compressor::new(config))?;
        let written = compressor.compress(payload, fin, output);
        compressor.reset();
        self.give_back_compressor(config, compressor);
        written
    }

    /// Compresses a message for all connections with this setting. Returns nothing if that does not
    /// make it shorter, or there is no memory for it.
    pub(super) fn compress_once(
        &self,
        config: CompressorConfig,
        message: &[u8],
    ) -> Option<Vec<u8>> {
        let mut output = self.output.take();
        let len = self.compress(config, message, true, &mut output);
        let shorter = len.filter(|len| *len < message.len());
        let compressed = shorter.and_then(|len| copy([output.get(..len)?]));
        self.give_back(output);
        compressed
    }

    /// Takes a compressor that was given back, if there is one with these settings.
    pub(super) fn take_compressor(&self, config: CompressorConfig) -> Option<Compressor> {
        let mut compressors = self.compressors.borrow_mut();
        let place = compressors.iter().rposition(|(of, _)| *of == config)?;
        Some(compressors.remove(place).1)
    }

    /// Keeps a compressor that has been reset. The one that was used longest ago makes room for it.
    pub(super) fn give_back_compressor(&self, config: CompressorConfig, compressor: Compressor) {
        let mut compressors = self.compressors.borrow_mut();
        if compressors.len() >= MAX_COMPRESSORS {
            compressors.remove(0);
        }
        compressors.push((config, compressor));
    }

    fn give_back(&self, output: Vec<u8>) {
        if output.len() <= MAX_OUTPUT {
            self.output.set(output);
        }
    }
}

/// The sending half of the extension on one connection.
pub(super) struct Compression {
    pub(super) config: CompressorConfig,
    pub(super) takes_over: bool,
    threshold: usize,
    /// Present with context takeover, from the first message on, unless it is in use elsewhere.
    pub(super) own: Option<Compressor>,
    /// The peer has got a message that `own` does not know of: it must not refer to those before.
    is_stale: bool,
    /// The message that has begun is compressed.
    is_active: bool,
    /// Present while something waits.
    pub(super) waiting: Option<Box<Waiting>>,
}

impl Compression {
    /// The connection's own compressor, if there is one, to be used for the next fragment.
    pub(super) fn usable(&mut self) -> &mut Option<Compressor> {
        if std::mem::take(&mut self.is_stale) {
            if let Some(own) = &mut self.own {
                own.reset();
            }
        }
        &mut self.own
    }

    /// Whether a fragment is to be compressed: the first one of its message decides.
    fn applies_to(&mut self, opcode: Opcode, len: usize, wanted: bool) -> bool {
        if opcode != Opcode::Continuation {
            self.is_active = wanted && (self.takes_over || len >= self.threshold);
        }
        self.is_active
    }

    /// Compresses a fragment into the front of `output`, and returns its length there.
    fn compress(
        &mut self,
        shared: &SharedDeflate,
        payload: &[u8],
        fin: bool,
        output: &mut Vec<u8>,
    ) -> Option<usize> {
        if self.takes_over {
            let config = self.config;
            let own = self.usable();
            if own.is_none() {
                *own = Compressor::new(config);
            }
            own.as_mut()?.compress(payload, fin, output)
        } else {
            shared.compress(self.config, payload, fin, output)
        }
    }
}

impl Connection {
    /// Turns permessage-deflate on, once, before the first frame is parsed. Returns false when it
    /// is too late or a number is out of range.
    pub(crate) fn enable_deflate(&self, options: &DeflateOptions) -> bool {
        // It is gone, which is told next.
        if self.phase.get() >= Phase::Closing {
            return true;
        }
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
        let table = self.table();
        table.deflate().slots.set_limit(options.concurrency);
        self.compression.set(present.or_else(|| {
            let pool = &table.deflate().inflaters;
            let decompressor = Decompressor::new(pool, options.params.takes_over(theirs))
                .with_allowance(self.context.allowance());
            self.receiver.borrow_mut().set_decompressor(decompressor);
            Some(Box::new(Compression {
                config,
                takes_over,
                threshold: options.threshold,
                own: None,
                is_stale: false,
                is_active: false,
                waiting: None,
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

    /// Corks a data frame, compressed if its message is to be. That takes its bytes off `allowed`, and
    /// is left to the caller if there are not as many.
    pub(super) fn cork_data(
        &self,
        opcode: Opcode,
        fin: bool,
        payload: &[u8],
        compress: bool,
        allowed: &mut usize,
    ) -> Corked {
        let Some(mut compression) = self.compression.take() else {
            return self.cork_frame(opcode, fin, false, payload).into();
        };
        if !compression.applies_to(opcode, payload.len(), compress) {
            self.compression.set(Some(compression));
            return self.cork_frame(opcode, fin, false, payload).into();
        }
        if payload.len() >= *allowed {
            self.compression.set(Some(compression));
            return Corked::TooLarge;
        }
        *allowed -= payload.len();
        let table = self.table();
        let shared = table.deflate();
        let mut output = shared.output.take();
        let written = compression.compress(shared, payload, fin, &mut output);
        let takes_over = compression.takes_over;
        self.compression.set(Some(compression));
        let corked = match written {
            Some(len) => {
                let compressed = output.get(..len).unwrap_or_default();
                self.cork_compressed(opcode, fin, takes_over, payload, compressed)
            }
            None => {
                self.lacks_memory();
                Corked::Failed
            }
        };
        shared.give_back(output);
        corked
    }

    /// Corks a data frame that has been compressed.
    pub(super) fn cork_compressed(
        &self,
        opcode: Opcode,
        fin: bool,
        takes_over: bool,
        payload: &[u8],
        compressed: &[u8],
    ) -> Corked {
        let is_first = opcode != Opcode::Continuation;
        // Nobody needs to have seen this message to inflate the next one.
        let is_useless = is_first && fin && !takes_over && compressed.len() >= payload.len();
        let corked = match is_useless {
            true => self.cork_frame(opcode, fin, false, payload),
            false => self.cork_frame(opcode, fin, is_first, compressed),
        };
        corked.into()
    }
}
