//! Every target with its seeds and with inputs made from them: a check on stable
//! Rust that the targets hold. The same inputs in every run.
//!
//! `FUZZ_INPUTS` sets how many inputs a target gets.

use std::fs;
use std::path::PathBuf;

const DEFAULT_INPUTS: usize = 20_000;

/// Longest input. Faults that need more are for the long runs.
const MAX_LENGTH: usize = 2_000;

/// A xorshift generator.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as usize % end
    }

    fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Changes a few bytes, or exchanges, copies or drops a few.
fn mutate(input: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Random) {
    for _ in 0..1 + random.below(6) {
        let at = random.below(input.len() + 1);
        let end = (at + random.below(9)).min(input.len());
        match random.below(7) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.byte(),
            2 => input.insert(at, random.byte()),
            3 => drop(input.drain(at..end)),
            4 => {
                let copy = input[at..end].to_vec();
                let to = random.below(input.len() + 1);
                input.splice(to..to, copy);
            }
            5 => {
                let other = &others[random.below(others.len())];
                let from = random.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            6 if at < input.len() => {
                input[at] = [0, 1, 125, 126, 127, 128, 254, 255][random.below(8)];
            }
            _ => {}
        }
    }
    input.truncate(MAX_LENGTH);
}

fn smoke(name: &str, target: fn(&[u8])) {
    let inputs = std::env::var("FUZZ_INPUTS").map_or(DEFAULT_INPUTS, |text| text.parse().unwrap());
    let seeds = seeds(name);
    assert!(!seeds.is_empty());
    for seed in &seeds {
        target(seed);
    }
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for _ in 0..inputs {
        let mut input = seeds[random.below(seeds.len())].clone();
        mutate(&mut input, &seeds, &mut random);
        let result = std::panic::catch_unwind(|| target(&input));
        assert!(result.is_ok(), "{name} fails on {input:02x?}");
    }
}

macro_rules! smoke_tests {
    ($($target:ident)*) => {
        $(
            #[test]
            fn $target() {
                smoke(stringify!($target), uvws_fuzz::$target);
            }
        )*
    };
}

smoke_tests!(frames round_trip inflate request response lists writing utf8);
