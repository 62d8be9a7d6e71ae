//! How many connections a server may have, and how many of one address.
//!
//! A native listener asks when it accepts, before anything is read. `lib/` asks for connections that
//! come from elsewhere, when their upgrade is decided on. Both ask the one `Admission` of the server.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::protocol::limits::Limit;

/// See the module's documentation.
pub(crate) struct Admission {
    max: u32,
    max_per_address: u32,
    count: Cell<u32>,
    /// Connections by the network that their address stands for; empty without `max_per_address`.
    by_network: RefCell<HashMap<IpAddr, u32>>,
}

impl Admission {
    /// Makes the limits of a server; 0 is no limit.
    pub(crate) fn new(max: u32, max_per_address: u32) -> Self {
        Self { max, max_per_address, count: Cell::new(0), by_network: RefCell::default() }
    }

    /// Counts a connection, or tells which limit stands against it. One without an address counts for
    /// none.
    pub(crate) fn enter(&self, address: Option<IpAddr>) -> Result<(), Limit> {
        if self.max != 0 && self.count.get() >= self.max {
            return Err(Limit::MaxConnections);
        }
        if let Some(network) = self.network(address) {
            let mut by_network = self.by_network.borrow_mut();
            let count = by_network.entry(network).or_default();
            if *count >= self.max_per_address {
                return Err(Limit::MaxConnectionsPerAddress);
            }
            *count += 1;
        }
        self.count.set(self.count.get() + 1);
        Ok(())
    }

    /// Counts it no longer.
    pub(crate) fn leave(&self, address: Option<IpAddr>) {
        self.count.set(self.count.get().saturating_sub(1));
        let Some(network) = self.network(address) else { return };
        let mut by_network = self.by_network.borrow_mut();
        match by_network.get_mut(&network) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                by_network.remove(&network);
            }
        }
    }

    /// Tells whether addresses are to be remembered.
    pub(super) fn counts_addresses(&self) -> bool {
        self.max_per_address != 0
    }

    fn network(&self, address: Option<IpAddr>) -> Option<IpAddr> {
        address.filter(|_| self.counts_addresses()).map(network_of)
    }
}

/// What counts as one address: of IPv6 a network of 64 bits, which is what one customer gets (RFC 6177
/// section 2); and an IPv4 address also in its form for IPv6 (RFC 4291 section 2.5.5.2).
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}
