//! Memory that cannot be had.
//!
//! # Invariant that the `SAFETY:` notes cite
//! - **F2 handed on**: a call that does not fail goes on to the system's allocator with the arguments that came.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;

use crate::at;

/// Blocks from this size on are points. Whatever has a fixed size is shorter: the longest such block is the
/// state of a compressor, with 490 KiB at most. What is longer has grown with a message, or with a queue.
const LARGE: usize = 512 * 1024;

/// An allocator in front of the system's. Blocks that shrink are no points: the system's allocator leaves one
/// as it is before it fails there.
pub struct Memory;

// SAFETY: F2; a null pointer says that there is no memory, and a block that was to grow stays as it is.
unsafe impl GlobalAlloc for Memory {
    /// # Safety
    /// That of the trait.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() >= LARGE && at("alloc").is_some() {
            return ptr::null_mut();
        }
        // SAFETY: F2.
        unsafe { System.alloc(layout) }
    }

    /// # Safety
    /// That of the trait.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() >= LARGE && at("alloc_zeroed").is_some() {
            return ptr::null_mut();
        }
        // SAFETY: F2.
        unsafe { System.alloc_zeroed(layout) }
    }

    /// # Safety
    /// That of the trait.
    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size >= LARGE && size > layout.size() && at("realloc").is_some() {
            return ptr::null_mut();
        }
        // SAFETY: F2.
        unsafe { System.realloc(start, layout, size) }
    }

    /// # Safety
    /// That of the trait.
    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: F2.
        unsafe { System.dealloc(start, layout) }
    }
}
