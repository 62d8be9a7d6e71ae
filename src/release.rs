//! Gives large memory back without holding anybody up (Linux).
//!
//! For 90 MiB the system takes 6 ms, and a garbage collection finds several such messages at once. If another
//! thread gave them back whole, it would hold up the loop as well, where that wants to map or unmap memory: the
//! lock of the address space is kept all the while. So it gives them back in pieces, with the lock for some tenths
//! of a millisecond each, and frees what is then an empty mapping. There is one such thread: several get in each
//! other's way, and to start one takes the same lock.
//!
//! Whoever releases more than the thread gets done waits for it by doing it: nothing piles up.
//!
//! # Invariant that the `SAFETY:` notes cite
//!
//! - **D1 room**: advice to drop pages is given for spare capacity of a vector that nobody else has, and for
//!   whole pages of it: what is in there is not initialised, and may as well be zeros.

#[cfg(target_os = "linux")]
use std::{
    mem::MaybeUninit,
    ptr,
    sync::mpsc::{self, SyncSender},
    sync::OnceLock,
    thread,
};

/// Less is given back faster than it is passed on.
#[cfg(target_os = "linux")]
const LARGE: usize = 4 << 20;

/// Longer blocks glibc always maps by themselves.
#[cfg(target_os = "linux")]
const MAPPED: usize = 32 << 20;

/// Where a block begins within a page that has a mapping of its own: glibc puts two words in front of it.
#[cfg(target_os = "linux")]
const HEADER: usize = 2 * size_of::<usize>();

/// Every size of pages is a multiple of it.
#[cfg(target_os = "linux")]
const PAGE: usize = 4096;

/// What is given back at a time, and what that is aligned to: a multiple of every size of pages, and a large
/// page, which need not be split.
#[cfg(target_os = "linux")]
const PIECE: usize = 2 << 20;

/// How many may wait for the thread: nobody counts their memory any more.
#[cfg(target_os = "linux")]
const WAITING: usize = 32;

/// Drops `bytes`.
pub(crate) fn release(bytes: Vec<u8>) {
    #[cfg(target_os = "linux")]
    if is_mapped(&bytes) {
        // What the thread does not take is dropped here.
        drop(queue().map(|queue| queue.try_send(bytes)));
    }
}

/// Whether a large block has a mapping of its own, as far as one can tell. The pages of others are used
/// again.
#[cfg(target_os = "linux")]
fn is_mapped(bytes: &Vec<u8>) -> bool {
    let size = bytes.capacity();
    size > MAPPED || (size > LARGE && bytes.as_ptr().addr() % PAGE == HEADER)
}

/// The way to the thread, which is started when it is first needed and lasts as long as the process.
#[cfg(target_os = "linux")]
fn queue() -> Option<&'static SyncSender<Vec<u8>>> {
    static QUEUE: OnceLock<Option<SyncSender<Vec<u8>>>> = OnceLock::new();
    let start = || {
        let (sender, receiver) = mpsc::sync_channel(WAITING);
        let thread = thread::Builder::new().name("uvws-release".into()).stack_size(128 * 1024);
        let work = move || {
            block_signals();
            receiver.into_iter().for_each(empty);
        };
        thread.spawn(work).ok().map(|_| sender)
    };
    QUEUE.get_or_init(start).as_ref()
}

/// Leaves the signals of the process to its other threads.
#[cfg(target_os = "linux")]
fn block_signals() {
    let mut all = MaybeUninit::uninit();
    // SAFETY: writes as much of the set as `pthread_sigmask` reads.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: the set was written just now; the former one is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), ptr::null_mut()) };
}

#[cfg(target_os = "linux")]
fn empty(mut bytes: Vec<u8>) {
    bytes.clear();
    let room = bytes.spare_capacity_mut();
    let before = room.as_ptr().align_offset(PIECE).min(room.len());
    for piece in room.get_mut(before..).unwrap_or_default().chunks_exact_mut(PIECE) {
        // SAFETY: D1.
        unsafe { libc::madvise(piece.as_mut_ptr().cast(), PIECE, libc::MADV_DONTNEED) };
    }
}
