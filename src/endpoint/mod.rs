//! Servers and clients: a transport pumped through the protocol.
//!
//! A [`Connection`] owns one transport and one [`Receiver`](crate::protocol::Receiver), a cork
//! buffer, one deadline, and the opening and closing handshakes of its role. It reports by records
//! of its [`Context`](crate::context::Context). A [`Listener`] accepts connections. Both are found
//! by number through the [`Table`] of their environment.

mod compression;
mod connection;
mod dial;
mod failure;
mod listener;
mod offload;
mod opening;
mod publishing;
mod receiving;
mod sending;
mod settings;
mod table;
mod timings;

pub(crate) use compression::DeflateOptions;
pub(crate) use connection::{Connection, Stream};
pub(crate) use dial::Destination;
pub(crate) use failure::{Failure, FailureKind};
pub(crate) use listener::Listener;
pub(crate) use publishing::{Overflow, Publication};
pub(crate) use sending::Pressure;
pub(crate) use settings::{Group, Settings};
pub(crate) use table::Table;
