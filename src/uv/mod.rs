//! The only code that touches libuv.
//!
//! The loop belongs to the host: this module initialises handles on it, starts and closes them,
//! and nothing else. It never creates, runs, stops, walks or closes a loop.
//!
//! # Invariants that the `SAFETY:` notes cite
//!
//! - **U1 pinned**: a handle lives inside an `Rc` allocation that never moves. libuv holds one
//!   strong count of it from a successful `init` until its close callback has run.
//! - **U2 thread**: everything here is `!Send`, made and used on the loop's own thread. The two
//!   exceptions are [`wake`], whose registry is locked, and the jobs of `work` (U7).
//! - **U3 active**: a libuv function is called on a handle only while its state is `Active`;
//!   `uv_close` moves it to `Closing` and is therefore called exactly once.
//! - **U4 data**: `handle->data` is the `Core` that embeds the handle, of that exact type, set
//!   right after `init` and never changed.
//! - **U5 request**: a request is in front of a heap box that libuv owns from the call that started it
//!   until its callback, which takes the box back (`request`). libuv always calls it, with
//!   `UV_ECANCELED` when the handle is closed first.
//! - **U6 symbols**: the function table is complete and belongs to a libuv 1.x whose structures
//!   fit into ours (checked at load).
//! - **U7 job**: what a thread of the pool touches of a request is its job, which is `Send`, and
//!   whether that is done; the loop's thread touches neither between the call that queued the request
//!   and its callback. libuv's lock orders the two.
//! - **A1 address**: a `sockaddr_storage` is large enough and aligned for every family, and zeroed
//!   before anything else is written to it.
//! - **B1 buffer**: a [`ReceiveBuffer`] is lent to one read at a time, from libuv's asking for
//!   memory to the end of the read callback; nothing else refers to its bytes meanwhile.
//! - **W1 wake**: a handle in the registry of [`wake`] is not closing. It is taken out, under the
//!   registry's lock, before it is closed.
//!
//! No panic crosses into C: each trampoline runs inside [`handle::guard`], and who is called back hears of it
//! ([`Owner::panicked`]).

mod address;
#[cfg(target_os = "linux")]
mod busy;
mod bytes;
mod dns;
mod error;
mod event_loop;
mod handle;
#[cfg(target_os = "linux")]
mod poll;
mod request;
#[cfg(target_os = "linux")]
mod sockets;
mod symbols;
mod tcp;
mod timer;
mod told;
pub(crate) mod wake;
mod watcher;
mod work;

pub(crate) use bytes::Bytes;
pub(crate) use dns::{resolve, Resolution, ResolveOwner};
pub(crate) use error::UvError;
pub(crate) use event_loop::Loop;
pub(crate) use handle::{call, tell_closed, Owner};
#[cfg(target_os = "linux")]
pub(crate) use poll::PollOwner;
#[cfg(target_os = "linux")]
pub(crate) use sockets::{Socket, Sockets, SocketsOwner};
pub(crate) use tcp::{ReadInto, ReceiveBuffer, StreamOwner, Tcp};
pub(crate) use timer::{Timer, TimerOwner};
pub(crate) use watcher::{Check, CheckOwner, Idle, IdleOwner};
pub(crate) use work::{queue_work, Job, Work, WorkOwner};
