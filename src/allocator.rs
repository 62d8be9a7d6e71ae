//! Memory of large blocks (Linux).
//!
//! The system's allocator serves what is smaller. Its large blocks hold the loop up: one that grows is copied to
//! fresh pages, two thousand for 8 MiB, and when much is free at the end of the heap, whoever frees the next
//! block gives all of it back. Each takes several milliseconds, and a garbage collection finds several long
//! messages at once.
//!
//! Here a large block is a mapping of its own. One that is freed is kept for the next that needs about as much,
//! whose pages are there already: a message that grows goes on in what another one has left. What nobody has
//! taken for a while is given back by a thread, in pieces: to give back a mapping as a whole would hold the loop
//! up as well, where that wants to map memory. Before an allocation fails, all that is kept is given back for it.
//!
//! # Invariants that the `SAFETY:` notes cite
//!
//! - **M1 caller**: the contract of [`GlobalAlloc`]: a layout has a size above 0, and a block that is passed in
//!   came from here, with the layout that is passed in. A block that cannot grow stays as it is.
//! - **M2 mapping**: a [`Mapping`] is whole pages from the kernel, which belong to whoever has it, alone.
//! - **M3 block**: a large block begins [`HEADER`] bytes behind the start of a mapping, whose length is the first
//!   word in there. The block has the mapping, in which there is room for both.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::VecDeque;
use std::mem::{self, MaybeUninit};
use std::ptr;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Smaller blocks are the system's. `protocol::receiver::inflating` shrinks no message from above it to below.
const LARGE: usize = 1 << 20;

/// How far behind the start of its mapping a block begins: a cache line, so that every usual alignment is kept.
const HEADER: usize = 64;

/// Mappings are made a multiple of it long. Every size of pages divides it.
const GRAIN: usize = 64 << 10;

/// A longer block is not copied when it grows: the kernel moves its pages to where there is room, and the rest
/// comes as it is written to. To copy 8 MiB takes a millisecond or two.
const LONG: usize = 8 << 20;

/// Above it, what has been kept longest is given back at once. A garbage collection finds a few hundred
/// mebibytes where messages are long, all of which the next ones can use.
const MOST: usize = 256 << 20;

/// Above it, whoever frees a block gives it back by himself: the thread does not get done.
const FAR_TOO_MUCH: usize = 8 * MOST;

/// What has been kept for as long is given back. On a busy loop garbage collections are not that far apart.
const WHILE: Duration = Duration::from_millis(750);

/// How much the thread gives back at a time, for which the lock of the address space is kept some tenths of a
/// millisecond, and where pieces end: a large page need not be split.
const PIECE: usize = 2 << 20;

/// Allocates large blocks, and leaves all others to the system.
pub(crate) struct Allocator;

// SAFETY: a large block has a mapping to itself (M3), all others are the system's. Which of them one is only
// depends on its layout (M1). Nothing unwinds: the list has room, and of a thread that cannot be had one is told.
unsafe impl GlobalAlloc for Allocator {
    /// # Safety
    /// That of the trait.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !is_large(layout) {
            // SAFETY: M1.
            return insist(|| unsafe { System.alloc(layout) });
        }
        let len = length_for(layout.size());
        take(len).or_else(|| Mapping::new(len)).map_or(ptr::null_mut(), Mapping::into_block)
    }

    /// # Safety
    /// That of the trait.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !is_large(layout) {
            // SAFETY: M1.
            return insist(|| unsafe { System.alloc_zeroed(layout) });
        }
        Mapping::new(length_for(layout.size())).map_or(ptr::null_mut(), Mapping::into_block)
    }

    /// # Safety
    /// That of the trait.
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if !is_large(layout) {
            // SAFETY: M1.
            return unsafe { System.dealloc(block, layout) };
        }
        // SAFETY: M1.
        keep(unsafe { Mapping::of(block) });
    }

    /// # Safety
    /// That of the trait.
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: M1: with its alignment, the size does not overflow.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (is_large(layout), is_large(wanted)) {
            // SAFETY: M1.
            (false, false) => insist(|| unsafe { System.realloc(block, layout, size) }),
            // SAFETY: M1.
            (true, true) => resize(unsafe { Mapping::of(block) }, layout.size(), size)
                .map_or(ptr::null_mut(), Mapping::into_block),
            _ => {
                // SAFETY: M1.
                let new = unsafe { self.alloc(wanted) };
                if !new.is_null() {
                    // SAFETY: M1: both have as much, and are not the same.
                    unsafe { ptr::copy_nonoverlapping(block, new, layout.size().min(size)) };
                    // SAFETY: M1.
                    unsafe { self.dealloc(block, layout) };
                }
                new
            }
        }
    }
}

fn is_large(layout: Layout) -> bool {
    layout.size() >= LARGE && layout.align() <= HEADER
}

/// How long the mapping of a block is. A layout ends far below where this would overflow.
fn length_for(size: usize) -> usize {
    (size + HEADER).next_multiple_of(GRAIN)
}

/// Makes a block of `size` bytes of one of `old` bytes. Where there is no memory, that one stays as it is.
fn resize(mapping: Mapping, old: usize, size: usize) -> Option<Mapping> {
    let len = length_for(size);
    if len <= mapping.len {
        return Some(mapping.shrink(len));
    }
    if old > LONG {
        return mapping.grow(len);
    }
    let Some(kept) = take(len) else { return mapping.grow(len) };
    // SAFETY: M2 and M3: both are ours, and the longer one has room for the block as well.
    unsafe { ptr::copy_nonoverlapping(mapping.start, kept.start, HEADER + old) };
    keep(mapping);
    Some(kept)
}

/// Memory from the kernel: whole pages.
struct Mapping {
    start: *mut u8,
    len: usize,
}

// SAFETY: M2: whichever thread has it, no other one does.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps `len` bytes, all zeros.
    fn new(len: usize) -> Option<Self> {
        let (access, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: nothing is passed in. Wherever there is room, so that M2 holds: nobody else has been given it.
        Self::ask(len, || unsafe { libc::mmap(ptr::null_mut(), len, access, kind, -1, 0) })
    }

    /// What the kernel answers: where `len` bytes are, or that it has no memory for them.
    fn ask(len: usize, kernel: impl Fn() -> *mut libc::c_void) -> Option<Self> {
        let start = insist(|| match kernel() {
            libc::MAP_FAILED => ptr::null_mut(),
            start => start.cast(),
        });
        (!start.is_null()).then_some(Self { start, len })
    }

    /// The mapping of a block.
    ///
    /// # Safety
    /// `block` is a large one, and is not used any more.
    unsafe fn of(block: *mut u8) -> Self {
        // SAFETY: M3.
        let start = unsafe { block.sub(HEADER) };
        // SAFETY: M3.
        let len = unsafe { start.cast::<usize>().read() };
        Self { start, len }
    }

    /// The block in it.
    fn into_block(self) -> *mut u8 {
        // SAFETY: M2: it begins with a page, in which the header has room.
        unsafe { self.start.cast::<usize>().write(self.len) };
        // SAFETY: M2: within that page.
        unsafe { self.start.add(HEADER) }
    }

    /// Lets the kernel move it to where `len` bytes have room.
    fn grow(self, len: usize) -> Option<Self> {
        let (from, old) = (self.start.cast(), self.len);
        // SAFETY: M1 to M3: it is the block's, whose owner waits for us, and finds it where it was if this fails.
        Self::ask(len, || unsafe { libc::mremap(from, old, len, libc::MREMAP_MAYMOVE) })
    }

    /// Whether it serves where `len` bytes are needed, with a quarter too many at most.
    fn is_about(&self, len: usize) -> bool {
        (len..=len + len / 4).contains(&self.len)
    }

    /// Gives back what is behind `len` bytes, if that is much. It is kept if it serves for a block.
    fn shrink(mut self, len: usize) -> Self {
        if !self.is_about(len) {
            let rest = self.cut(self.len.saturating_sub(len));
            if rest.len < length_for(LARGE) {
                rest.unmap();
            } else {
                keep(rest);
            }
        }
        self
    }

    /// Cuts `len` bytes off its end, or all that there is: whole pages (M2).
    fn cut(&mut self, len: usize) -> Self {
        let len = len.min(self.len);
        self.len -= len;
        // SAFETY: M2: within it, or its end.
        let start = unsafe { self.start.add(self.len) };
        Self { start, len }
    }

    /// Gives it back while others go on: its pages can go while pages are mapped elsewhere, its addresses cannot.
    fn unmap_gently(self) {
        // SAFETY: M2.
        unsafe { libc::madvise(self.start.cast(), self.len, libc::MADV_DONTNEED) };
        self.unmap();
    }

    /// Gives it back. Where the kernel cannot take it out of a longer one, for want of memory, it is lost.
    fn unmap(self) {
        // SAFETY: M2.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}

/// Asks for memory; if there is none, gives back what is kept, or waits for who does, and asks once more. `ask`
/// leaves everything as it is where it returns null.
#[inline]
fn insist(ask: impl Fn() -> *mut u8) -> *mut u8 {
    let start = ask();
    if start.is_null() {
        give_all_back();
        return ask();
    }
    start
}

/// Gives back what is kept. Everybody else waits.
#[cold]
fn give_all_back() {
    let mut kept = lock();
    kept.bytes = 0;
    kept.free.drain(..).for_each(|(mapping, _)| mapping.unmap());
}

/// Mappings that are free. Each is in no other place (M2).
struct Kept {
    /// With the time at which each came; what came first is in front. Nothing is allocated under the lock: the list
    /// does not grow, and locks of Linux need no memory.
    free: VecDeque<(Mapping, Instant)>,
    bytes: usize,
    /// Whether the thread waits for the first one.
    is_asleep: bool,
}

static KEPT: Mutex<Kept> = Mutex::new(Kept { free: VecDeque::new(), bytes: 0, is_asleep: false });

/// Wakes the thread.
static WORK: Condvar = Condvar::new();

/// Whether there is a thread that gives back; nothing if nobody has needed it so far. Without it nothing is kept.
static HAS_THREAD: OnceLock<bool> = OnceLock::new();

fn lock() -> MutexGuard<'static, Kept> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes what was kept last of what serves for `len` bytes: it may still be in the processor's caches.
fn take(len: usize) -> Option<Mapping> {
    let mut kept = lock();
    let at = kept.free.iter().rposition(|(mapping, _)| mapping.is_about(len))?;
    let (mapping, _) = kept.free.remove(at)?;
    kept.bytes -= mapping.len;
    Some(mapping)
}

/// Keeps a mapping for whoever needs one, or for the thread to give it back.
fn keep(mapping: Mapping) {
    if HAS_THREAD.get() != Some(&true) {
        mapping.unmap();
        // Not before: there may have been no memory to start it with.
        HAS_THREAD.get_or_init(start_thread);
        return;
    }
    let mut kept = lock();
    if kept.bytes + mapping.len > FAR_TOO_MUCH || kept.free.len() == kept.free.capacity() {
        drop(kept);
        return mapping.unmap();
    }
    kept.bytes += mapping.len;
    kept.free.push_back((mapping, Instant::now()));
    if mem::take(&mut kept.is_asleep) || kept.bytes > MOST {
        drop(kept);
        WORK.notify_one();
    }
}

/// Starts the thread, which lasts as long as the process, and returns whether that could be done.
fn start_thread() -> bool {
    let mut list = VecDeque::new();
    if list.try_reserve_exact(FAR_TOO_MUCH / LARGE).is_err() {
        return false;
    }
    lock().free = list;
    let thread = thread::Builder::new().name("uvws-memory".into()).stack_size(128 * 1024);
    thread.spawn(give_back).is_ok()
}

/// Gives back what nobody takes, for ever.
fn give_back() {
    block_signals();
    let mut kept = lock();
    loop {
        let wait = kept.free.front().map(|(_, since)| match kept.bytes > MOST {
            true => Duration::ZERO,
            false => WHILE.saturating_sub(since.elapsed()),
        });
        kept = match wait {
            Some(Duration::ZERO) => {
                let piece = kept.cut_piece();
                drop(kept);
                if let Some(piece) = piece {
                    piece.unmap_gently();
                }
                lock()
            }
            Some(wait) => WORK.wait_timeout(kept, wait).unwrap_or_else(PoisonError::into_inner).0,
            None => {
                kept.is_asleep = true;
                WORK.wait(kept).unwrap_or_else(PoisonError::into_inner)
            }
        };
    }
}

impl Kept {
    /// Takes a piece of what came first.
    fn cut_piece(&mut self) -> Option<Mapping> {
        let (mapping, _) = self.free.front_mut()?;
        // Whole pages: the mapping ends with one, and each size of them divides a piece.
        let end = mapping.start.addr() + mapping.len;
        let piece = mapping.cut((end - 1) % PIECE + 1);
        self.bytes -= piece.len;
        if mapping.len == 0 {
            self.free.pop_front();
        }
        Some(piece)
    }
}

/// Leaves the signals of the process to its other threads.
fn block_signals() {
    let mut all = MaybeUninit::uninit();
    // SAFETY: on `all`, which is ours and long enough: it writes the whole set, which initializes it.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: on `all`, which was initialized just now. The former set has nowhere to be written to.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), ptr::null_mut()) };
}
