//! uvws: WebSockets on Node's own event loop.
//!
//! The module tree is the map, and the order of use is one way:
//!
//! ```text
//! binding -> endpoint -> { protocol, transport, context }      transport, context -> uv
//! ```
//!
//! - [`protocol`]: RFC 6455 without I/O: bytes in, events out.
//! - `uv`: the only code that touches libuv, as a guest on the host's loop.
//! - `context`: what lives and ends together: registry, buffers, deadlines, the state machine.
//! - `transport`: byte pipes behind one trait.
//! - `endpoint`: connections, listeners, clients.
//! - `binding`: the only code that touches Node-API.
//! - `allocator`: the memory of large blocks, whoever has them. Nobody calls it.
//!
//! Without the feature `addon` only [`protocol`] is built, which needs neither Node nor libuv.

#[cfg(all(feature = "addon", target_os = "linux"))]
mod allocator;
#[cfg(feature = "addon")]
mod binding;
#[cfg(feature = "addon")]
mod context;
#[cfg(feature = "addon")]
mod endpoint;
pub mod protocol;
#[cfg(feature = "addon")]
mod transport;
#[cfg(feature = "addon")]
mod uv;

#[cfg(all(feature = "addon", target_os = "linux", not(feature = "faults")))]
#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator;

/// Has no memory where a test has planned so.
#[cfg(all(feature = "faults", target_os = "linux"))]
#[global_allocator]
static ALLOCATOR: uvws_faults::Memory<allocator::Allocator> =
    uvws_faults::Memory(allocator::Allocator);
