//! Masking (RFC 6455 section 5.3): `payload[i] ^= key[i % 4]`, in place.
//!
//! Every byte that a server receives passes through here, so the loops are
//! written for the vectoriser: fixed-size blocks, a block-sized key, no
//! dependence between blocks. Safe code; the speed is measured by
//! `benches/protocol.rs`.

#![allow(
    clippy::arithmetic_side_effects,
    reason = "only offset % 4 is computed, by constants that are not zero"
)]

/// The largest block: four 16-byte registers of the x86-64 baseline, the
/// shape in which the loop unrolls to independent loads, xors and stores.
const BLOCK: usize = 64;

/// Masks or unmasks `bytes`, which begin at position `offset` of the payload.
///
/// Masking is its own inverse. A payload that arrives in pieces is unmasked
/// piece by piece, each with its own offset.
#[inline]
pub fn apply_mask(key: [u8; 4], offset: usize, bytes: &mut [u8]) {
    apply_aligned(rotate_key(key, offset), bytes);
}

/// Turns the key so that its first byte belongs to position `offset` of the payload.
#[inline]
pub(super) fn rotate_key(key: [u8; 4], offset: usize) -> [u8; 4] {
    // As a little-endian word the first byte is the lowest, so a turn to the
    // right drops the bytes that are already used and appends them behind.
    let turn = (offset % 4) as u32 * 8;
    u32::from_le_bytes(key).rotate_right(turn).to_le_bytes()
}

/// Masks `bytes` with a key whose first byte is the next one due.
#[inline]
pub(super) fn apply_aligned(key: [u8; 4], bytes: &mut [u8]) {
    let word = u32::from_ne_bytes(key);
    let double = u64::from(word) << 32 | u64::from(word);

    // Every size of block is a multiple of four, so the key stays aligned
    // from one loop to the next.
    let (blocks, rest) = bytes.as_chunks_mut::<BLOCK>();
    for block in blocks {
        let (words, _) = block.as_chunks_mut::<8>();
        for bytes in words {
            *bytes = (u64::from_ne_bytes(*bytes) ^ double).to_ne_bytes();
        }
    }
    let (words, rest) = rest.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ double).to_ne_bytes();
    }
    let (halves, rest) = rest.as_chunks_mut::<4>();
    for bytes in halves {
        *bytes = (u32::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::{apply_mask, rotate_key, BLOCK};

    #[test]
    fn masking_agrees_with_the_definition_at_every_length_offset_and_alignment() {
        let key = [0x37, 0xFA, 0x21, 0x3D];
        for length in 0..=2 * BLOCK + 9 {
            for offset in 0..5 {
                for start in 0..8 {
                    let mut bytes: Vec<u8> = (0..start + length).map(|i| i as u8).collect();
                    let expected: Vec<u8> = bytes[start..]
                        .iter()
                        .enumerate()
                        .map(|(i, byte)| byte ^ key[(offset + i) % 4])
                        .collect();
                    apply_mask(key, offset, &mut bytes[start..]);
                    assert_eq!(bytes[start..], expected);
                }
            }
        }
    }

    #[test]
    fn turning_the_key_in_steps_is_turning_it_at_once() {
        let key = [1, 2, 3, 4];
        assert_eq!(rotate_key(key, 0), key);
        assert_eq!(rotate_key(key, 1), [2, 3, 4, 1]);
        assert_eq!(rotate_key(key, usize::MAX), [4, 1, 2, 3]);
        for first in 0..9 {
            for second in 0..9 {
                assert_eq!(
                    rotate_key(rotate_key(key, first), second),
                    rotate_key(key, first + second)
                );
            }
        }
    }
}
