//! Memory that cannot be had, and how much is.
//!
//! # Invariant that the `SAFETY:` notes cite
//! - **F2 handed on**: a call that does not fail goes on to the allocator behind, with the arguments that came.

use std::alloc::{GlobalAlloc, Layout};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::at;

/// Bytes of all blocks that there are, as long as was asked for.
static HELD: AtomicUsize = AtomicUsize::new(0);

/// How many bytes are allocated.
pub fn held() -> usize {
    HELD.load(Ordering::Relaxed)
}

/// Counts a block of `size` bytes, unless there was no memory for it.
fn counted(block: *mut u8, size: usize) -> *mut u8 {
    if !block.is_null() {
        HELD.fetch_add(size, Ordering::Relaxed);
    }
    block
}

/// Blocks from this size on are points. Whatever has a fixed size is shorter: the longest such block is the
/// state of a compressor, with 490 KiB at most. What is longer has grown with a message, or with a queue.
const LARGE: usize = 512 * 1024;

/// An allocator in front of another one. Blocks that shrink are no points: no message shrinks to where it would
/// have to move.
pub struct Memory<A>(pub A);

// SAFETY: F2; a null pointer says that there is no memory, and a block that was to grow stays as it is.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Memory<A> {
    /// # Safety
    /// That of the trait.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() >= LARGE && at("alloc").is_some() {
            return ptr::null_mut();
        }
        // SAFETY: F2.
        counted(unsafe { self.0.alloc(layout) }, layout.size())
    }

    /// # Safety
    /// That of the trait.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() >= LARGE && at("alloc_zeroed").is_some() {
            return ptr::null_mut();
        }
        // SAFETY: F2.
        counted(unsafe { self.0.alloc_zeroed(layout) }, layout.size())
    }

    /// # Safety
    /// That of the trait.
    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size >= LARGE && size > layout.size() && at("realloc").is_some() {
            return ptr::null_mut();
        }
        // SAFETY: F2.
        let block = counted(unsafe { self.0.realloc(start, layout, size) }, size);
        if !block.is_null() {
            HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        }
        block
    }

    /// # Safety
    /// That of the trait.
    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: F2.
        unsafe { self.0.dealloc(start, layout) }
    }
}
