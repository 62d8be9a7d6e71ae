//! The control plane of what limits a server's connections.

// napi-rs exports what is `pub`, wherever the module stands.
#![allow(unreachable_pub)]

use std::net::IpAddr;
use std::rc::Rc;

use napi::bindgen_prelude::*;
use napi_derive::napi;

use super::control::environment;
use crate::endpoint::{Admission, Entry};

/// What is no address counts for none.
fn parse(address: Option<String>) -> Option<IpAddr> {
    address?.parse().ok()
}

/// Makes what limits the connections of a server, and returns its number; 0 is no limit.
#[napi(catch_unwind)]
pub fn admission_create(env: Env, max: u32, max_per_address: u32) -> Result<u32> {
    let table = &environment(env)?.table;
    let id = table.reserve();
    table.set(id, Entry::Admission(Rc::new(Admission::new(max, max_per_address))));
    Ok(id)
}

/// Counts a connection that does not come from a listener. Returns the number of the limit that stands
/// against it, or -1.
#[napi(catch_unwind)]
pub fn admission_enter(env: Env, id: u32, address: Option<String>) -> Result<i32> {
    let admission = environment(env)?.table.admission(id);
    Ok(match admission.map(|admission| admission.enter(parse(address))) {
        Some(Err(limit)) => limit as i32,
        _ => -1,
    })
}

/// Counts it no longer.
#[napi(catch_unwind)]
pub fn admission_leave(env: Env, id: u32, address: Option<String>) -> Result<()> {
    if let Some(admission) = environment(env)?.table.admission(id) {
        admission.leave(parse(address));
    }
    Ok(())
}

/// Gives the number back.
#[napi(catch_unwind)]
pub fn admission_release(env: Env, id: u32) -> Result<()> {
    let table = &environment(env)?.table;
    if table.admission(id).is_some() {
        table.release(id);
    }
    Ok(())
}
