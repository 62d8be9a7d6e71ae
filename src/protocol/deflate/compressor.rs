//! The sending half.

use core::hint::black_box;

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Method, Status, Strategy};

use super::TAIL;

/// Compression level unless the user names one. zlib's own is 6: for 16 KiB of JSON that takes 1.7
/// times as long and saves another 8 %, for 1 KiB by itself it saves nothing.
pub const DEFAULT_LEVEL: u8 = 3;

/// Largest window with context takeover unless the user names a level, whatever was agreed on: less
/// is always allowed. With many connections each message finds the processor's caches cold, and a
/// context of 8 KiB is fetched in half the time of one of 32 KiB. It takes 96 KiB less memory, and its
/// output is 4 % longer.
pub const DEFAULT_CONTEXT_BITS: u8 = 13;

/// Memory level unless the user names one. zlib's own is 8; 6 saves 84 KiB for each connection with
/// context takeover and costs no measurable compression, because a block then ends after 4,096
/// symbols, which is more than most messages have.
pub const DEFAULT_MEM_LEVEL: u8 = 6;

/// A payload up to this size is compressed in one call, into a buffer that is certainly long enough.
const ONE_CALL: usize = 64 * 1024;

/// More than a compressor holds.
const SIZE: usize = 512 * 1024;

/// Room that every call gets at least. With less than seven octets zlib may write the flush twice.
const MIN_ROOM: usize = 64;

/// Octets that stand for an empty piece: the header of an empty stored block, whose other four are
/// the tail (section 7.2.3.6).
const EMPTY: u8 = 0x00;

/// How a compressor is set up. Those with equal settings are interchangeable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompressorConfig {
    /// 0 (store) to 9 (smallest).
    pub level: u8,
    /// The window has 2 to this power octets: 8 to 15.
    pub window_bits: u8,
    /// How much memory it takes: 1 to 9.
    pub mem_level: u8,
}

impl Default for CompressorConfig {
    fn default() -> Self {
        Self { level: DEFAULT_LEVEL, window_bits: 15, mem_level: DEFAULT_MEM_LEVEL }
    }
}

impl CompressorConfig {
    /// Whether every number is within its range.
    pub fn is_valid(&self) -> bool {
        self.level <= 9 && (8..=15).contains(&self.window_bits) && (1..=9).contains(&self.mem_level)
    }
}

/// Compresses what one side sends.
pub struct Compressor {
    deflate: Deflate,
}

impl Compressor {
    /// Makes a compressor; numbers out of range are moved to the nearest that is not. Nothing is returned
    /// if there is no memory for it.
    pub fn new(config: CompressorConfig) -> Option<Self> {
        if !has_room(SIZE) {
            return None;
        }
        let config = DeflateConfig {
            level: config.level.min(9).into(),
            method: Method::Deflated,
            // Negative: without a zlib header. See the module's documentation for 8.
            window_bits: i32::from(config.window_bits.clamp(9, 15)).wrapping_neg(),
            mem_level: config.mem_level.clamp(1, 9).into(),
            strategy: Strategy::Default,
        };
        Some(Self { deflate: Deflate::new_with_config(config) })
    }

    /// Compresses a fragment, `fin` if it is its message's last, into the front of `output`, and
    /// returns how long it is. `output` is made longer as needed; what is in it does not matter.
    ///
    /// Nothing is returned if there is no memory for the output, and should the compressor fail, which
    /// only a wrong setting could cause; it is of no use then.
    pub fn compress(&mut self, payload: &[u8], fin: bool, output: &mut Vec<u8>) -> Option<usize> {
        let likely = zlib_rs::compress_bound(payload.len().min(ONE_CALL)).saturating_add(MIN_ROOM);
        lengthen(output, likely)?;
        if payload.is_empty() {
            // A flush of nothing would be refused right after another.
            let first = output.first_mut()?;
            *first = EMPTY;
            return Some(usize::from(fin));
        }
        let (mut taken, mut written) = (0_usize, 0_usize);
        loop {
            let room = output.get_mut(written..)?;
            let size = room.len();
            let (before, from) = (self.deflate.total_out(), self.deflate.total_in());
            let rest = payload.get(taken..)?;
            match self.deflate.compress(rest, room, DeflateFlush::SyncFlush) {
                Ok(Status::Ok | Status::BufError) => {}
                Ok(Status::StreamEnd) | Err(_) => return None,
            }
            taken = taken.saturating_add(self.deflate.total_in().wrapping_sub(from) as usize);
            let more = self.deflate.total_out().wrapping_sub(before) as usize;
            written = written.saturating_add(more);
            if more < size {
                break;
            }
            let len = output.len();
            lengthen(output, len.saturating_mul(2))?;
        }
        if fin && output.get(..written)?.ends_with(&TAIL) {
            written = written.saturating_sub(TAIL.len());
        }
        Some(written)
    }

    /// Forgets what was compressed, as between messages without context takeover.
    pub fn reset(&mut self) {
        self.deflate.reset();
    }
}

/// Whether there is memory for `len` bytes at this moment: zlib-rs panics where there is none.
pub(super) fn has_room(len: usize) -> bool {
    let mut room: Vec<u8> = Vec::new();
    let has_room = room.try_reserve_exact(len).is_ok();
    // Or the compiler leaves it out.
    black_box(&room);
    has_room
}

/// Makes `output` at least `len` bytes long, if there is memory for that.
fn lengthen(output: &mut Vec<u8>, len: usize) -> Option<()> {
    let more = len.saturating_sub(output.len());
    output.try_reserve_exact(more).ok()?;
    output.resize(output.len().max(len), 0);
    Some(())
}
