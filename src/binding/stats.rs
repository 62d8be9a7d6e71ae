//! The figures of contexts and connections.

// napi-rs exports what is `pub`, wherever the module stands.
#![allow(unreachable_pub)]

use std::ptr;

use napi::bindgen_prelude::*;
use napi_derive::napi;
use napi_sys as sys;

use super::control::context;
use super::environment::Environment;
use super::values::Call;
use crate::context::Stats;

/// The figures of a context.
#[napi(object)]
pub struct StatsObject {
    pub handles: u32,
    pub closing: u32,
    pub connections: u32,
    pub listeners: u32,
    pub pending_connects: u32,
    pub pending_handshakes: u32,
    pub bytes_buffered: f64,
    pub bytes_received: f64,
    pub bytes_sent: f64,
    pub messages_received: f64,
    pub messages_sent: f64,
    pub messages_dropped: f64,
    /// 0 for no limit.
    pub memory_budget: f64,
    pub memory_used: f64,
    pub memory_peak: f64,
}

/// The context's figures; all zero once it is destroyed.
#[napi(catch_unwind)]
pub fn context_stats(env: Env, id: u32) -> Result<StatsObject> {
    let stats = context(env, id)?.map_or_else(Stats::default, |context| context.stats());
    Ok(StatsObject {
        handles: stats.handles,
        closing: stats.closing,
        connections: stats.connections,
        listeners: stats.listeners,
        pending_connects: stats.pending_connects,
        pending_handshakes: stats.pending_handshakes,
        bytes_buffered: stats.bytes_buffered as f64,
        bytes_received: stats.bytes_received as f64,
        bytes_sent: stats.bytes_sent as f64,
        messages_received: stats.messages_received as f64,
        messages_sent: stats.messages_sent as f64,
        messages_dropped: stats.messages_dropped as f64,
        memory_budget: stats.memory_budget as f64,
        memory_used: stats.memory_used as f64,
        memory_peak: stats.memory_peak as f64,
    })
}

/// `connectionStats(id, figures)`: writes the figures of a connection into a Float64Array, in the order of
/// lib/stats.js. Each connection asks for them at its end, and an object with names takes a microsecond.
pub(super) fn connection_stats(environment: &Environment, call: &Call) -> sys::napi_value {
    let stats = call
        .u32(0)
        .and_then(|id| environment.table.with_connection(id, |connection| connection.stats()))
        .unwrap_or_default();
    let figures = [
        stats.bytes_received as f64,
        stats.bytes_sent as f64,
        stats.bytes_buffered as f64,
        stats.messages_received as f64,
        stats.messages_sent as f64,
        f64::from(stats.messages_dropped),
        f64::from(stats.pings_received),
        f64::from(stats.pings_sent),
        f64::from(stats.pongs_received),
        f64::from(stats.pongs_sent),
        stats.duration as f64,
        stats.idle_time as f64,
        f64::from(stats.transport),
    ];
    call.write_numbers(1, &figures);
    ptr::null_mut()
}
