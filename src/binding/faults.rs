//! What a test that makes calls fail sees of it.

// napi-rs exports what is `pub`, wherever the module stands.
#![allow(unreachable_pub)]

use napi_derive::napi;

/// Forgets what was counted, and fails `count` calls of `point` from the one with number `first` on. An
/// empty name fails nothing.
#[napi(catch_unwind)]
pub fn fault_plan(point: String, first: u32, count: u32, fault: i32) {
    uvws_faults::plan(point, first, count, fault);
}

/// How many calls have failed because of the plan.
#[napi(catch_unwind)]
pub fn fault_injected() -> u32 {
    uvws_faults::injected()
}

/// Bytes that the addon has allocated, on all threads.
#[napi(catch_unwind)]
pub fn fault_held() -> f64 {
    uvws_faults::held() as f64
}

/// How many calls there were, by point: `name=count`.
#[napi(catch_unwind)]
pub fn fault_calls() -> Vec<String> {
    let calls = uvws_faults::calls();
    calls.into_iter().map(|(point, count)| format!("{point}={count}")).collect()
}
