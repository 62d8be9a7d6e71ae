//! Fuzz targets of the protocol core: each is a function of bytes that panics
//! when a law of `src/protocol/mod.rs` does not hold for them.
//!
//! `fuzz_targets/` makes each a program of libFuzzer, `tests/smoke.rs` runs
//! them on stable Rust. Where a target needs more than one value, they come from
//! the front of the input ([`input::Input`]).

#![forbid(unsafe_code)]

mod deflate;
mod frames;
mod handshake;
mod input;
mod run;
mod text;

pub use deflate::inflate;
pub use frames::{frames, round_trip};
pub use handshake::{lists, request, response, writing};
pub use text::utf8;
