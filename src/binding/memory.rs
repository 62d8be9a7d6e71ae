//! Memory of payloads, which JavaScript sees through external ArrayBuffers.
//!
//! A block is shared by payloads, and filled while JavaScript has it already: a region that has been handed
//! out is never written again. A large payload has memory of its own.
//!
//! # Memory that was moved
//! When an environment ends, Node has external memory freed, whoever sees it by then. For this reason it
//! transfers no external ArrayBuffer to another thread; but JavaScript can move the memory to one that it
//! does transfer. `docs/reliability.md` says what that comes to.

use std::ffi::c_void;
use std::ptr;
use std::slice;
use std::sync::Arc;

use napi_sys as sys;

/// Size of a shared memory block. A user who keeps one small message keeps one block, as with the
/// read buffers of Node's own streams; larger blocks pin more, smaller ones are made more often.
const BLOCK: usize = 64 * 1024;

/// Memory that payloads share. Only its address is kept: a reference to all of it would claim what
/// JavaScript reads and writes as well.
pub(super) struct Block {
    start: *mut u8,
    len: usize,
}

impl Block {
    fn new(len: usize) -> Self {
        let bytes: *mut [u8] = Box::into_raw(vec![0; len].into_boxed_slice());
        Self { start: bytes.cast(), len }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let bytes = ptr::slice_from_raw_parts_mut(self.start, self.len);
        // SAFETY: N5: the box that `new` has taken apart; nobody else holds a count.
        drop(unsafe { Box::from_raw(bytes) });
    }
}

// SAFETY: N5: only the environment's thread writes, and only to regions that no view covers yet; a
// view that was transferred to another thread reads regions written before. The count is atomic, so
// the last holder may free it from any thread.
unsafe impl Send for Block {}
// SAFETY: N5: as for `Send`.
unsafe impl Sync for Block {}

/// The block being filled.
pub(super) struct Current {
    block: Arc<Block>,
    used: usize,
}

impl Current {
    /// Begins a block in which `payload` has room.
    pub(super) fn new(payload: &[u8]) -> Self {
        Self { block: Arc::new(Block::new(BLOCK.max(payload.len()))), used: 0 }
    }

    /// The block, to be shown.
    pub(super) fn memory(&self) -> Memory {
        Memory::Block(Arc::clone(&self.block))
    }

    /// Copies `payload` into the block, and returns to where, if there is room.
    pub(super) fn put(&mut self, payload: &[u8]) -> Option<usize> {
        let offset = self.used;
        if !self.takes(payload) {
            return None;
        }
        // SAFETY: N5: the region from `used` on has not been handed out, and there is room.
        let to = unsafe { self.block.start.add(offset) };
        // SAFETY: N5: there is room; the payload is not there (`takes`).
        unsafe { ptr::copy_nonoverlapping(payload.as_ptr(), to, payload.len()) };
        self.used += payload.len();
        Some(offset)
    }

    /// Whether `payload` fits, and is not where it would be copied to: what JavaScript sends may be any
    /// part of a block.
    fn takes(&self, payload: &[u8]) -> bool {
        let Block { start, len } = &*self.block;
        let (from, to) = (payload.as_ptr_range(), start.cast_const());
        let is_elsewhere =
            from.end <= to.wrapping_add(self.used) || to.wrapping_add(*len) <= from.start;
        len - self.used >= payload.len() && is_elsewhere
    }
}

/// What one ArrayBuffer is made of.
pub(super) enum Memory {
    Block(Arc<Block>),
    Own(Vec<u8>),
}

impl Memory {
    fn parts(&mut self) -> (*mut u8, usize) {
        match self {
            Self::Block(block) => (block.start, block.len),
            Self::Own(bytes) => (bytes.as_mut_ptr(), bytes.len()),
        }
    }

    /// Makes an ArrayBuffer of it, or returns it if the host allows none or the environment is ending.
    pub(super) fn show(
        self,
        env: sys::napi_env,
    ) -> Result<sys::napi_value, (Self, sys::napi_status)> {
        let mut shown = Box::new(self);
        let (data, len) = shown.parts();
        let hint = Box::into_raw(shown);
        let mut buffer = ptr::null_mut();
        // SAFETY: N1, N5: from success on the finalizer owns what `hint` points at.
        let status = unsafe {
            sys::napi_create_external_arraybuffer(
                env,
                data.cast(),
                len,
                Some(take_back),
                hint.cast(),
                &raw mut buffer,
            )
        };
        // Node looks at these first, before it takes the finalizer.
        let untouched = [
            sys::Status::napi_no_external_buffers_allowed,
            sys::Status::napi_pending_exception,
            sys::Status::napi_cannot_run_js,
            sys::Status::napi_closing,
        ];
        if untouched.contains(&status) {
            // SAFETY: N5: nobody has taken the box.
            return Err((*unsafe { Box::from_raw(hint) }, status));
        }
        // After any other failure Node may have taken it, so it is left to Node.
        Ok(buffer)
    }

    /// Makes an ArrayBuffer with a copy.
    pub(super) fn copy(mut self, env: sys::napi_env) -> sys::napi_value {
        let (from, len) = self.parts();
        // SAFETY: N5: JavaScript has not seen it, and no write is under way: a batch is complete when it
        // is shown.
        let bytes = unsafe { slice::from_raw_parts(from, len) };
        let mut data = ptr::null_mut();
        let mut buffer = ptr::null_mut();
        // SAFETY: N1.
        let status =
            unsafe { sys::napi_create_arraybuffer(env, len, &raw mut data, &raw mut buffer) };
        if status == sys::Status::napi_ok && !data.is_null() {
            // SAFETY: N3: the new buffer has room for `bytes` and nobody has seen it yet.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), data.cast::<u8>(), len) };
        }
        buffer
    }
}

unsafe extern "C" fn take_back(_env: sys::napi_env, _data: *mut c_void, hint: *mut c_void) {
    // SAFETY: N5: the box that `show` made.
    drop(unsafe { Box::from_raw(hint.cast::<Memory>()) });
}
