//! An allocator that counts: what the tests of memory measure with. Each test runs
//! on a thread of its own, and counts what its thread does.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
    /// Longest block that can be had.
    static LONGEST: Cell<usize> = const { Cell::new(usize::MAX) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn account(less: usize, more: usize) {
    let held = HELD.get().wrapping_sub(less).wrapping_add(more);
    HELD.set(held);
    // Memory that another thread allocated may be freed here.
    if held < usize::MAX / 2 {
        PEAK.set(PEAK.get().max(held));
    }
}

// SAFETY: every call goes to `System` unchanged or fails; the counters are plain cells
// with constant initialisers, which neither allocate nor are ever destroyed.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        if layout.size() > LONGEST.get() {
            return std::ptr::null_mut();
        }
        account(0, layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        account(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        if size > LONGEST.get() {
            return std::ptr::null_mut();
        }
        account(layout.size(), size);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Allocations of this thread so far.
pub fn calls() -> usize {
    CALLS.get()
}

/// Bytes that this thread holds.
pub fn held() -> usize {
    HELD.get()
}

/// What `work` cost.
#[derive(Debug, PartialEq, Eq)]
pub struct Cost {
    /// Allocations.
    pub calls: usize,
    /// Bytes that it left held.
    pub held: usize,
    /// The most bytes that it held at any time.
    pub peak: usize,
}

impl Cost {
    /// Of work that allocates nothing.
    pub const NONE: Self = Self { calls: 0, held: 0, peak: 0 };
}

/// Measures `work`, which must not free more than it allocates.
pub fn measure(work: impl FnOnce()) -> Cost {
    let (calls, held) = (CALLS.get(), HELD.get());
    PEAK.set(held);
    work();
    Cost {
        calls: CALLS.get() - calls,
        held: HELD.get().wrapping_sub(held),
        peak: PEAK.get() - held,
    }
}

/// Does `work` while no block above `longest` bytes can be had.
pub fn with_little_memory(longest: usize, work: impl FnOnce()) {
    LONGEST.set(longest);
    work();
    LONGEST.set(usize::MAX);
}

/// The law: twice what was sent, and 16 KiB.
pub fn allowance(sent: usize) -> usize {
    2 * sent + 16 * 1024
}
