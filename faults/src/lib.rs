//! Makes calls fail that do not fail by themselves in a test.
//!
//! Each call that can be made to fail is a *point*, known by its name, such as `accept4`. A plan says
//! which call of which point fails, and how. All calls are counted, so that a first run without a plan
//! tells how many there are to fail in a second one.
//!
//! Calls of the operating system and of Node-API are intercepted at the link: this crate defines
//! functions of their names, which the addon is bound to (`-Bsymbolic`, see build.rs of the root), the
//! standard library in it included. Nobody else in the process is. Those of libuv pass through a table
//! of functions anyway, whose entries ask [`at`] (src/uv/symbols.rs). In front of the allocator stands [`Memory`]
//! (src/lib.rs).
//!
//! The feature `faults` of the addon brings this in. No binary that is published has it.

mod host;
mod memory;
mod system;

use std::collections::BTreeMap;
use std::ffi::{c_void, CStr};
use std::panic::resume_unwind;
use std::ptr;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

pub use memory::{held, Memory};

/// What is to fail while the addon is loaded, when nobody can call [`plan`] yet: the name of a point and the
/// fault of its first call, as in `uv_version=0`.
const AT_LOAD: &str = "UVWS_FAULT";

static PLAN: LazyLock<Mutex<Plan>> = LazyLock::new(|| {
    let at_load = std::env::var(AT_LOAD).unwrap_or_default();
    let (point, fault) = at_load.split_once('=').unwrap_or_default();
    Mutex::new(Plan {
        point: point.to_owned(),
        first: 1,
        count: 1,
        fault: fault.parse().unwrap_or_default(),
        injected: 0,
        calls: BTreeMap::new(),
    })
});

struct Plan {
    /// Which calls fail: `count` ones of this point, the first of which is number `first`, from 1 on.
    point: String,
    first: u32,
    count: u32,
    /// An error number, or [`SHORT`].
    fault: i32,
    /// Calls that have failed.
    injected: u32,
    /// Calls so far, failed ones included.
    calls: BTreeMap<&'static str, u32>,
}

/// In place of an error number: a write takes less than it could.
pub const SHORT: i32 = -1;
/// In place of an error number: a callback panics before it has done anything.
const BEFORE: i32 = -2;
/// In place of an error number: a callback panics when it has done everything.
const BEHIND: i32 = -3;

/// Forgets what was counted, and fails `count` calls of `point` from the one with number `first` on,
/// with `fault`. An empty name fails nothing.
pub fn plan(point: String, first: u32, count: u32, fault: i32) {
    *current() = Plan { point, first, count, fault, injected: 0, calls: BTreeMap::new() };
}

/// How many calls there were of each point.
pub fn calls() -> Vec<(&'static str, u32)> {
    current().calls.iter().map(|(point, count)| (*point, *count)).collect()
}

/// How many calls have failed because the plan says so.
pub fn injected() -> u32 {
    current().injected
}

/// Counts a call of `point`. Returns with what it is to fail, if it is.
pub fn at(point: &'static str) -> Option<i32> {
    let mut plan = current();
    let calls = plan.calls.entry(point).or_default();
    *calls += 1;
    let number = *calls;
    let fails = plan.point == point && number >= plan.first && number - plan.first < plan.count;
    if !fails {
        return None;
    }
    plan.injected += 1;
    Some(plan.fault)
}

/// Runs `body`, which is a call of `point`, and panics before or behind it as the plan says. stderr has no
/// line for such a panic, as it has for others.
pub fn panics(point: &'static str, body: impl FnOnce()) {
    let fault = at(point);
    if fault == Some(BEFORE) {
        resume_unwind(Box::new(point));
    }
    body();
    if fault == Some(BEHIND) {
        resume_unwind(Box::new(point));
    }
}

fn current() -> MutexGuard<'static, Plan> {
    // Nothing panics while it is locked, so a poisoned lock guards a whole plan.
    PLAN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Finds the function of the process that the one of the addon stands in front of. The name ends with a
/// NUL.
fn behind(name: &str) -> *mut c_void {
    let name = CStr::from_bytes_with_nul(name.as_bytes()).unwrap_or_default();
    // SAFETY: without a name it is the process itself that is opened.
    let process = unsafe { libc::dlopen(ptr::null(), libc::RTLD_LAZY) };
    // SAFETY: the name ends with a NUL.
    let found = unsafe { libc::dlsym(process, name.as_ptr()) };
    assert!(!found.is_null(), "{name:?} is not to be found");
    found
}
