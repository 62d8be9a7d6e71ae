//! Servers and clients: a transport pumped through the protocol.
//!
//! A [`Connection`] owns one transport and one [`Receiver`](crate::protocol::Receiver), a cork
//! buffer, one deadline, and the opening and closing handshakes of its role. It reports by records
//! of its [`Context`](crate::context::Context). A [`Listener`] accepts connections for
//! one or several [`Server`]s. Connections and servers are found by number through the [`Table`] of
//! their environment.

mod admission;
mod compression;
mod connection;
mod dial;
mod failure;
mod heartbeat;
mod listener;
mod memory;
mod offload;
mod opening;
mod publishing;
mod rare;
mod receiving;
mod sending;
mod server;
mod settings;
mod table;
mod tally;
mod timings;

pub(crate) use admission::Admission;
pub(crate) use compression::DeflateOptions;
pub(crate) use connection::{Connection, Stream};
pub(crate) use dial::Destination;
pub(crate) use failure::{Failure, FailureKind};
pub(crate) use listener::{Listener, ListenerOptions};
pub(crate) use publishing::{Overflow, Publication};
pub(crate) use sending::Pressure;
pub(crate) use server::{Hosts, Server};
pub(crate) use settings::{Group, Settings};
pub(crate) use table::{Entry, Table};
