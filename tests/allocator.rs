//! The allocator of large blocks: what is in a block stays there while it grows, shrinks and moves, blocks are
//! apart, what was freed serves again, and what nobody takes is given back.

#![cfg(target_os = "linux")]

#[path = "../src/allocator.rs"]
mod allocator;

use std::fs;
use std::hint::black_box;
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator;

const MIB: usize = 1 << 20;

/// What is kept is the process's: one test at a time, each after what the last one has left was given back.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    // The first one in the process starts the thread, and is not kept.
    drop(black_box(vec![1_u8; MIB]));
    settle();
    one
}

/// Waits until nothing is kept.
fn settle() {
    let begun = Instant::now();
    let mut settled = (memory(), Instant::now());
    while settled.1.elapsed() < Duration::from_millis(1500) {
        assert!(begun.elapsed() < Duration::from_secs(60), "never given back");
        thread::sleep(Duration::from_millis(20));
        let now = memory();
        if (0..2).any(|kind| now[kind].abs_diff(settled.0[kind]) >= MIB) {
            settled = (now, Instant::now());
        }
    }
}

/// Address space and resident memory in bytes.
fn memory() -> [usize; 2] {
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux");
    let mut pages = statm.split(' ').map(|pages| pages.parse::<usize>().expect("a number"));
    // SAFETY: asks for a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    [(); 2].map(|()| page * pages.next().expect("two of seven"))
}

fn mapped() -> usize {
    memory()[0]
}

fn resident() -> usize {
    memory()[1]
}

/// Numbers that are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((self.0 >> 33) as usize) % end
    }
}

/// A block that knows what is in it: its mark at both ends of each page.
struct Marked {
    bytes: Vec<u8>,
    mark: u8,
}

impl Marked {
    fn new(size: usize, mark: u8) -> Self {
        let mut marked = Self { bytes: Vec::new(), mark };
        marked.resize(size);
        marked
    }

    /// Sets length and capacity.
    fn resize(&mut self, size: usize) {
        self.bytes.truncate(size);
        self.bytes.shrink_to(size);
        self.bytes.reserve_exact(size - self.bytes.len());
        self.check();
        self.bytes.resize(size, self.mark);
    }

    fn check(&self) {
        for page in self.bytes.chunks(4096) {
            assert!(page.first() == Some(&self.mark) && page.last() == Some(&self.mark));
        }
    }
}

fn work(seed: u64, steps: usize) {
    let mut numbers = Numbers(seed);
    let mut blocks: Vec<Marked> = Vec::new();
    for step in 0..steps {
        let size = match numbers.below(4) {
            0 => numbers.below(MIB),
            1 => MIB - 2 + numbers.below(4),
            2 => 1 << (18 + numbers.below(7)),
            _ => numbers.below(24 * MIB),
        };
        let at = numbers.below(8);
        match (blocks.len() > at, numbers.below(3)) {
            (true, 0) => drop(blocks.swap_remove(at)),
            (true, 1) => blocks[at].resize(size),
            _ if blocks.len() < 8 => blocks.push(Marked::new(size, step as u8)),
            _ => {}
        }
        blocks.iter().for_each(Marked::check);
    }
}

#[test]
fn blocks_keep_what_is_in_them() {
    let _alone = alone();
    work(1, 500);
}

#[test]
fn threads_share_what_is_free() {
    let _alone = alone();
    thread::scope(|scope| {
        for seed in 2..5 {
            scope.spawn(move || work(seed, 150));
        }
    });
}

#[test]
fn zeroed_blocks_are_zeros_in_used_memory() {
    let _alone = alone();
    for _ in 0..10 {
        drop(black_box(vec![7_u8; 3 * MIB]));
        assert!(black_box(vec![0_u8; 3 * MIB]).iter().all(|byte| *byte == 0));
    }
}

/// Where a block begins, of which the compiler takes nothing for granted.
fn place<T>(block: &[T]) -> usize {
    black_box(block.as_ptr()).addr()
}

#[test]
fn blocks_are_aligned_as_asked() {
    let _alone = alone();
    #[repr(align(4096))]
    #[derive(Clone)]
    struct Page([u8; 4096]);
    #[repr(align(64))]
    #[derive(Clone)]
    struct Line([u8; 64]);
    let mut pages = vec![Page([1; 4096]); 1024];
    let mut lines = vec![Line([1; 64]); 65_536];
    assert_eq!((place(&pages) % 4096, place(&lines) % 64), (0, 0));
    lines.reserve_exact(65_536);
    pages.reserve_exact(1024);
    assert_eq!((place(&pages) % 4096, place(&lines) % 64), (0, 0));
    assert!(pages.iter().all(|page| page.0[0] == 1) && lines.iter().all(|line| line.0[0] == 1));
}

#[test]
fn a_block_is_used_again_and_then_given_back() {
    let _alone = alone();
    let size = 24 * MIB;
    // It is kept for three quarters of a second. A machine that stands still for as long is to try again.
    let with = (0..5).find_map(|_| {
        let first = black_box(vec![1_u8; size]);
        let (address, begun) = (first.as_ptr(), Instant::now());
        drop(first);
        let second: Vec<u8> = black_box(Vec::with_capacity(size));
        let is_same = second.as_ptr() == address;
        let with = resident();
        drop(second);
        let is_kept = with.saturating_sub(resident()) < 4 * MIB;
        let is_in_time = begun.elapsed() < Duration::from_millis(500);
        assert!(!is_in_time || is_same && is_kept);
        is_in_time.then_some(with)
    });
    let with = with.expect("one try in time");
    let end = Instant::now() + Duration::from_secs(20);
    while with.saturating_sub(resident()) < 20 * MIB {
        assert!(Instant::now() < end, "never given back");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn more_than_may_be_kept_is_given_back_soon() {
    let _alone = alone();
    // By its age nothing is given back for three quarters of a second. A machine that stands still for as long is
    // to try again.
    let is_soon = (0..5).any(|_| {
        settle();
        let before = resident();
        let blocks: Vec<_> = (0..12).map(|_| black_box(vec![1_u8; 32 * MIB])).collect();
        let (full, begun) = (resident(), Instant::now());
        assert!(full > before + 380 * MIB);
        drop(blocks);
        loop {
            let is_less = resident() + 64 * MIB < full;
            if is_less || begun.elapsed() > Duration::from_millis(500) {
                break is_less && begun.elapsed() < Duration::from_millis(700);
            }
            thread::sleep(Duration::from_millis(5));
        }
    });
    assert!(is_soon);
}

#[test]
fn what_is_not_given_back_yet_is_used_again() {
    let _alone = alone();
    // A machine that stands still while pieces are given back is to try again.
    let is_same = (0..5).any(|_| {
        settle();
        let first = black_box(vec![1_u8; 300 * MIB]);
        let (address, full, begun) = (first.as_ptr(), resident(), Instant::now());
        drop(first);
        let mut is_partly_back = false;
        while !is_partly_back && begun.elapsed() < Duration::from_millis(500) {
            thread::sleep(Duration::from_millis(1));
            is_partly_back = resident() + 40 * MIB < full;
        }
        let mut second = Marked::new(240 * MIB, 5);
        let is_same = second.bytes.as_ptr() == address;
        second.resize(320 * MIB);
        is_partly_back && is_same
    });
    assert!(is_same);
}

#[test]
fn what_cannot_be_had_is_an_error_and_leaves_the_block() {
    let _alone = alone();
    let mut block = Marked::new(2 * MIB, 9);
    for too_much in [isize::MAX as usize / 2, isize::MAX as usize - 20 * MIB] {
        assert!(block.bytes.try_reserve_exact(too_much).is_err());
        assert!(Vec::<u8>::new().try_reserve_exact(too_much).is_err());
    }
    block.check();
    block.resize(20 * MIB);
}

fn limit_address_space(soft: libc::rlim_t) -> libc::rlim_t {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes the limit to where there is room for one.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) }, 0);
    let former = limit.rlim_cur;
    limit.rlim_cur = soft;
    // SAFETY: reads a limit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
    former
}

/// Leaves 40 MiB of address space while `work` is done, and 200 more that are kept, in blocks too small for it.
fn with_little_memory<T>(work: impl FnOnce() -> T) -> T {
    let kept: Vec<_> = (0..160).map(|_| black_box(vec![1_u8; MIB + MIB / 4])).collect();
    let former = limit_address_space((mapped() + 40 * MIB) as libc::rlim_t);
    drop(kept);
    let result = work();
    limit_address_space(former);
    result
}

#[test]
fn what_is_kept_is_given_back_where_memory_runs_out() {
    let _alone = alone();
    let mut grows = Marked::new(10 * MIB, 3);
    let mut fresh = Vec::<u8>::new();
    let new = with_little_memory(|| black_box(&mut fresh).try_reserve_exact(150 * MIB));
    let grown = with_little_memory(|| grows.bytes.try_reserve_exact(150 * MIB));
    // Small blocks, more than three times of what the system has left.
    let small = with_little_memory(|| {
        let mut blocks = Vec::with_capacity(200);
        for _ in 0..200 {
            let mut block = Vec::<u8>::new();
            block.try_reserve_exact(MIB * 3 / 4)?;
            blocks.push(block);
        }
        Ok(())
    });
    assert_eq!([new, grown, small], [Ok(()), Ok(()), Ok(())]);
    grows.check();
    drop((grows, fresh));
    // Two threads at once: who comes while the other one gives back waits, and finds enough.
    for _ in 0..4 {
        settle();
        let together = Barrier::new(3);
        let at_once = thread::scope(|scope| {
            let threads = [(); 2].map(|()| {
                scope.spawn(|| {
                    let mut block = Vec::<u8>::new();
                    together.wait();
                    together.wait();
                    let result = black_box(&mut block).try_reserve_exact(110 * MIB);
                    together.wait();
                    result
                })
            });
            together.wait();
            with_little_memory(|| (together.wait(), together.wait()));
            threads.map(|thread| thread.join().expect("no panic"))
        });
        assert_eq!(at_once, [Ok(()), Ok(())]);
    }
}
