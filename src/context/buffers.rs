//! What members of a context share: output buffers and masking keys.
//!
//! Memory for what a peer or a message decides the size of may not be had, and then one connection ends
//! instead of the process: such bytes are copied by [`copy`] and [`append`].

use std::cell::RefCell;

/// Buffers kept for reuse. One per connection that is written to in a turn is enough.
const MAX_SPARE: usize = 64;
/// A buffer that has grown beyond this is freed, so that one burst does not pin memory.
const MAX_SPARE_CAPACITY: usize = 64 * 1024;
/// Room that a fresh buffer starts with: a few small messages.
const FIRST_CAPACITY: usize = 2 * 1024;
/// Random bytes fetched at once: one system call for a thousand masking keys.
const ENTROPY: usize = 4 * 1024;

/// Copies the bytes of `parts`, one after the other, into a buffer that is as long as they are. Returns
/// nothing if there is no memory for it.
pub(crate) fn copy<const N: usize>(parts: [&[u8]; N]) -> Option<Vec<u8>> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(parts.iter().map(|part| part.len()).sum()).ok()?;
    for part in parts {
        buffer.extend_from_slice(part);
    }
    Some(buffer)
}

/// Appends `bytes` to `buffer`. Returns false if there is no memory for them.
pub(crate) fn append(buffer: &mut Vec<u8>, bytes: &[u8]) -> bool {
    let has_room = buffer.try_reserve(bytes.len()).is_ok();
    if has_room {
        buffer.extend_from_slice(bytes);
    }
    has_room
}

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct BufferPool {
    spare: RefCell<Vec<Vec<u8>>>,
    entropy: RefCell<Entropy>,
}

#[derive(Default)]
struct Entropy {
    bytes: Vec<u8>,
    used: usize,
}

impl BufferPool {
    /// Takes an empty buffer with some capacity.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.spare.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(FIRST_CAPACITY))
    }

    /// Gives a buffer back.
    pub(crate) fn give_back(&self, mut buffer: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if buffer.capacity() > 0
            && buffer.capacity() <= MAX_SPARE_CAPACITY
            && spare.len() < MAX_SPARE
        {
            buffer.clear();
            spare.push(buffer);
        }
    }

    /// Returns `N` bytes of the operating system's secure generator, or nothing when it fails.
    pub(crate) fn random<const N: usize>(&self) -> Option<[u8; N]> {
        let mut entropy = self.entropy.borrow_mut();
        if entropy.bytes.len() < entropy.used + N {
            entropy.used = 0;
            entropy.bytes.resize(ENTROPY, 0);
            if !fill(&mut entropy.bytes) {
                // What is there now is nobody's secret.
                entropy.bytes.clear();
                return None;
            }
        }
        let from = entropy.used;
        entropy.used += N;
        entropy.bytes.get(from..from + N)?.try_into().ok()
    }
}

/// Fills `bytes` from the operating system's secure generator, unless that fails.
fn fill(bytes: &mut [u8]) -> bool {
    #[cfg(feature = "faults")]
    if uvws_faults::at("getrandom").is_some() {
        return false;
    }
    getrandom::fill(bytes).is_ok()
}
