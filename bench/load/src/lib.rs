//! Load generator for WebSocket echo servers, and the raw floor they are compared with.
//!
//! The crate has three programs. `load` drives a server and reports one line of JSON, `rawecho` is
//! the least a server can do, `launch` starts a process pinned to a core or in a network of its own.
//! All system calls that need `unsafe` are in [`sys`]; everything else is safe Rust.
//!
//! Deliberately elsewhere: which runs are made, in which order, and how they are summed up
//! (`bench/run.js`).

pub mod broadcast;
pub mod churn;
pub mod client;
pub mod connection;
pub mod deflate;
pub mod echo;
pub mod frames;
pub mod histogram;
pub mod idle;
pub mod options;
pub mod paced;
pub mod probe;
pub mod report;
pub mod secure;
pub mod sha1;
pub mod stream;
pub mod sys;
