//! Records and payloads on their way to JavaScript: one call for everything of a loop turn.
//!
//! The payload memory is ours and reference counted (N5). JavaScript sees it through external
//! ArrayBuffers, as views into them are what it hands to its users; a region that has been handed out is
//! never written again.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::ffi::c_void;
use std::ptr;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use napi_sys as sys;

use super::environment::Environment;
use crate::context::{Delegate, Kind, Record, Stash};

/// Size of a shared memory block. A user who keeps one small message keeps one block, as with the
/// read buffers of Node's own streams; larger blocks pin more, smaller ones are made more often.
const BLOCK: usize = 64 * 1024;

/// Words before the first record: cursor, count, muted, spare.
const HEADER: usize = 4;
const CURSOR: usize = 0;
const COUNT: usize = 1;
const MUTED: usize = 2;
/// Words of a record.
const WORDS: usize = 4;

/// Environment variable that makes Node behave like a host that allows no external buffers, so that
/// this way can be tested there.
const COPIES: &str = "UVWS_COPY_BUFFERS";

/// Memory shown to JavaScript.
struct Block {
    bytes: UnsafeCell<Box<[u8]>>,
}

// SAFETY: N5: only the environment's thread writes, and only to regions that no view covers yet; a
// view that was transferred to another thread reads regions written before. The count is atomic, so
// the last holder may free it from any thread.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

/// The block being filled.
struct Current {
    block: Arc<Block>,
    used: usize,
}

/// What a batch refers to by order.
enum Extra {
    Block(Arc<Block>),
    Own(Vec<u8>),
}

/// Whether JavaScript has been given memory of ours. If not, it is still ours.
enum Shown {
    Yes(sys::napi_value),
    No,
}

pub(super) struct JsDelegate {
    environment: Weak<Environment>,
    env: sys::napi_env,
    deliver: Cell<sys::napi_ref>,
    records_ref: Cell<sys::napi_ref>,
    /// The shared record array (N6).
    records: *mut u32,
    /// Records that fit into it.
    capacity: usize,
    current: RefCell<Option<Current>>,
    extras: RefCell<Vec<Extra>>,
    /// JavaScript cannot be called any more.
    silent: Cell<bool>,
    /// The host allows no memory of ours in ArrayBuffers: it gets copies, and no block lasts longer
    /// than a batch.
    copies: Cell<bool>,
}

impl JsDelegate {
    /// Keeps `deliver`, a function, and `records`, a Uint32Array.
    ///
    /// # Safety
    /// N1, N3: both are values of the call under way.
    pub(super) unsafe fn new(
        environment: &Rc<Environment>,
        deliver: sys::napi_value,
        records: sys::napi_value,
    ) -> Option<Rc<Self>> {
        let env = environment.env();
        let mut kind = 0;
        let mut len = 0;
        let mut data = ptr::null_mut();
        // SAFETY: by the contract; the results that are not wanted may be null.
        let status = unsafe {
            sys::napi_get_typedarray_info(
                env,
                records,
                &raw mut kind,
                &raw mut len,
                &raw mut data,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        let is_usable = status == sys::Status::napi_ok
            && kind == sys::TypedarrayType::uint32_array
            && len >= HEADER + WORDS
            && !data.is_null();
        if !is_usable {
            return None;
        }
        let records_ref = reference(env, records)?;
        let Some(deliver) = reference(env, deliver) else {
            delete(env, records_ref);
            return None;
        };
        Some(Rc::new(Self {
            environment: Rc::downgrade(environment),
            env,
            deliver: Cell::new(deliver),
            records_ref: Cell::new(records_ref),
            records: data.cast::<u32>(),
            capacity: (len - HEADER) / WORDS,
            current: RefCell::new(None),
            extras: RefCell::default(),
            silent: Cell::new(false),
            copies: Cell::new(std::env::var_os(COPIES).is_some()),
        }))
    }

    /// Never calls JavaScript again, and lets go of what belongs to it.
    pub(super) fn silence(&self) {
        self.silent.set(true);
        for slot in [&self.deliver, &self.records_ref] {
            let reference = slot.replace(ptr::null_mut());
            if !reference.is_null() {
                delete(self.env, reference);
            }
        }
        self.extras.take();
        self.current.take();
    }

    fn word(&self, index: usize) -> u32 {
        // SAFETY: N6: `index` is within the header, and the caller has checked `silent`.
        let at = unsafe { self.records.add(index) };
        // SAFETY: N6, as above.
        unsafe { at.read() }
    }

    fn set_word(&self, index: usize, value: u32) {
        // SAFETY: N6: `index` is within the header, and the caller has checked `silent`.
        let at = unsafe { self.records.add(index) };
        // SAFETY: N6, as above; JavaScript is not running meanwhile.
        unsafe { at.write(value) };
    }

    /// Shows one chunk of a batch to JavaScript and lets it work through it.
    fn deliver_chunk(&self, chunk: &[Record]) {
        let from = chunk.as_ptr().cast::<u32>();
        // SAFETY: N6: HEADER words precede the records.
        let to = unsafe { self.records.add(HEADER) };
        // SAFETY: N6: a record is WORDS words and the chunk fits (`capacity`); Rust's vector and
        // JavaScript's array do not overlap.
        unsafe { ptr::copy_nonoverlapping(from, to, chunk.len() * WORDS) };
        self.set_word(CURSOR, 0);
        self.set_word(COUNT, chunk.len() as u32);

        let mut scope = ptr::null_mut();
        // SAFETY: N1.
        unsafe { sys::napi_open_handle_scope(self.env, &raw mut scope) };
        let deliver = value_of(self.env, self.deliver.get());
        let records = value_of(self.env, self.records_ref.get());
        let extras = self.extras_of(chunk);
        let mut argument_count = usize::from(!extras.is_null());
        loop {
            let before = self.word(CURSOR);
            let mut result = ptr::null_mut();
            // SAFETY: N1, N3: the values were made in the scope opened above.
            let status = unsafe {
                sys::napi_make_callback(
                    self.env,
                    ptr::null_mut(),
                    records,
                    deliver,
                    argument_count,
                    &raw const extras,
                    &raw mut result,
                )
            };
            if status == sys::Status::napi_ok || self.silent.get() {
                break;
            }
            if !self.report_exception() {
                // JavaScript cannot be called and nothing was thrown: the environment is ending.
                self.silent.set(true);
                break;
            }
            if self.word(CURSOR) >= self.word(COUNT) {
                break;
            }
            // A dispatcher that throws before it advances would never end.
            if self.word(CURSOR) == before {
                self.set_word(CURSOR, before + 1);
            }
            argument_count = 0;
        }
        // SAFETY: N1, N3: the scope opened above, not used afterwards.
        unsafe { sys::napi_close_handle_scope(self.env, scope) };
    }

    /// Passes a thrown exception to 'uncaughtException'. Returns false when there was none.
    fn report_exception(&self) -> bool {
        let mut pending = false;
        // SAFETY: N1.
        unsafe { sys::napi_is_exception_pending(self.env, &raw mut pending) };
        if !pending {
            return false;
        }
        let mut exception = ptr::null_mut();
        // SAFETY: N1.
        unsafe { sys::napi_get_and_clear_last_exception(self.env, &raw mut exception) };
        // SAFETY: N1, N3: the exception was made in the scope of the caller.
        unsafe { sys::napi_fatal_exception(self.env, exception) };
        true
    }

    /// Makes the array of memory blocks that `chunk` refers to, or null when it refers to none.
    fn extras_of(&self, chunk: &[Record]) -> sys::napi_value {
        let refers = |record: &&Record| {
            let kinds = [Kind::Slab, Kind::MessageOwn, Kind::OutputOwn, Kind::InputOwn];
            kinds.iter().any(|kind| record.kind() == *kind as u32)
        };
        let count = chunk.iter().filter(refers).count();
        if count == 0 {
            return ptr::null_mut();
        }
        let extras: Vec<_> = {
            let mut extras = self.extras.borrow_mut();
            let count = count.min(extras.len());
            extras.drain(..count).collect()
        };
        let mut array = ptr::null_mut();
        // SAFETY: N1, N3.
        unsafe { sys::napi_create_array_with_length(self.env, count, &raw mut array) };
        for (extra, index) in extras.into_iter().zip(0_u32..) {
            let buffer = match extra {
                Extra::Block(block) => self.show_block(block),
                Extra::Own(bytes) => self.show_own(bytes),
            };
            // SAFETY: N1, N3: both values were made in the caller's scope.
            unsafe { sys::napi_set_element(self.env, array, index, buffer) };
        }
        array
    }

    fn show_block(&self, block: Arc<Block>) -> sys::napi_value {
        // SAFETY: N5: the boxed slice does not move; its address and length are read here.
        let bytes = unsafe { &mut *block.bytes.get() };
        let (data, len) = (bytes.as_mut_ptr().cast::<c_void>(), bytes.len());
        let hint = Arc::into_raw(block).cast_mut().cast::<c_void>();
        match self.show(data, len, drop_block, hint) {
            Shown::Yes(buffer) => buffer,
            Shown::No => {
                // SAFETY: N5: nobody has taken the count that `hint` carries.
                let block = unsafe { Arc::from_raw(hint.cast_const().cast::<Block>()) };
                // SAFETY: N5: no write is under way; a batch is complete when it is shown.
                self.copy_of(unsafe { &*block.bytes.get() })
            }
        }
    }

    fn show_own(&self, bytes: Vec<u8>) -> sys::napi_value {
        let mut bytes = Box::new(bytes);
        let (data, len) = (bytes.as_mut_ptr().cast::<c_void>(), bytes.len());
        let hint = Box::into_raw(bytes).cast::<c_void>();
        match self.show(data, len, drop_own, hint) {
            Shown::Yes(buffer) => buffer,
            // SAFETY: N5: nobody has taken the box that `hint` carries.
            Shown::No => self.copy_of(&unsafe { Box::from_raw(hint.cast::<Vec<u8>>()) }),
        }
    }

    /// Makes an ArrayBuffer of memory that `finalizer` frees through `hint`.
    fn show(
        &self,
        data: *mut c_void,
        len: usize,
        finalizer: unsafe extern "C" fn(sys::napi_env, *mut c_void, *mut c_void),
        hint: *mut c_void,
    ) -> Shown {
        let mut buffer = ptr::null_mut();
        let status = if self.copies.get() {
            sys::Status::napi_no_external_buffers_allowed
        } else {
            // SAFETY: N1, N5: from success on the finalizer owns what `hint` carries.
            unsafe {
                sys::napi_create_external_arraybuffer(
                    self.env,
                    data,
                    len,
                    Some(finalizer),
                    hint,
                    &raw mut buffer,
                )
            }
        };
        if status == sys::Status::napi_no_external_buffers_allowed {
            self.copies.set(true);
            self.current.take();
            return Shown::No;
        }
        // The environment is ending. Node looks at that first, before it takes the finalizer.
        let untouched = [
            sys::Status::napi_pending_exception,
            sys::Status::napi_cannot_run_js,
            sys::Status::napi_closing,
        ];
        if untouched.contains(&status) {
            return Shown::No;
        }
        // After any other failure Node may have taken the finalizer, so what `hint` carries is left to it.
        Shown::Yes(buffer)
    }

    /// Makes an ArrayBuffer with a copy of `bytes`, for hosts that allow no memory of ours (Electron).
    fn copy_of(&self, bytes: &[u8]) -> sys::napi_value {
        let mut data = ptr::null_mut();
        let mut buffer = ptr::null_mut();
        // SAFETY: N1.
        let status = unsafe {
            sys::napi_create_arraybuffer(self.env, bytes.len(), &raw mut data, &raw mut buffer)
        };
        if status == sys::Status::napi_ok && !data.is_null() {
            // SAFETY: N3: the new buffer has room for `bytes` and nobody has seen it yet.
            unsafe {
                ptr::copy_nonoverlapping(bytes.as_ptr(), data.cast::<u8>(), bytes.len());
            }
        }
        buffer
    }

    /// Numbers become free once JavaScript has heard of the end they had.
    fn release(&self, chunk: &[Record]) {
        let Some(environment) = self.environment.upgrade() else {
            return;
        };
        for record in chunk {
            let kind = record.kind();
            if kind == Kind::Closed as u32 || kind == Kind::ServerClosed as u32 {
                environment.table.release(record.id());
            }
        }
    }
}

impl Delegate for JsDelegate {
    fn stash(&self, payload: &[u8]) -> Option<Stash> {
        if self.silent.get() {
            return None;
        }
        let mut current = self.current.borrow_mut();
        let has_room = |current: &&mut Current| {
            // SAFETY: the boxed slice does not move; only its length is read.
            let len = unsafe { &*current.block.bytes.get() }.len();
            len - current.used >= payload.len()
        };
        let fresh = current.as_mut().filter(has_room).is_none();
        if fresh {
            let len = BLOCK.max(payload.len());
            let bytes = UnsafeCell::new(vec![0; len].into_boxed_slice());
            let block = Arc::new(Block { bytes });
            self.extras.borrow_mut().push(Extra::Block(Arc::clone(&block)));
            *current = Some(Current { block, used: 0 });
        }
        let current = current.as_mut()?;
        let offset = current.used;
        let base = current.block.bytes.get();
        // SAFETY: N5: nothing refers to the boxed slice as a whole while its address is read.
        let start = unsafe { (*base).as_mut_ptr() };
        // SAFETY: N5: the region from `used` on has not been handed out, and there is room.
        let to = unsafe { start.add(offset) };
        // SAFETY: as above; the payload is in the receive buffer or a vector, not in this block.
        unsafe { ptr::copy_nonoverlapping(payload.as_ptr(), to, payload.len()) };
        current.used += payload.len();
        Some(Stash { offset: offset as u32, fresh })
    }

    fn hand_over(&self, payload: Vec<u8>) {
        if !self.silent.get() {
            self.extras.borrow_mut().push(Extra::Own(payload));
        }
    }

    fn deliver(&self, batch: &[Record]) {
        // A copy shows what the block holds now; what comes while the batch is worked through goes
        // into a block of its own.
        if self.copies.get() {
            self.current.take();
        }
        for chunk in batch.chunks(self.capacity) {
            if !self.silent.get() {
                self.deliver_chunk(chunk);
            }
            self.release(chunk);
        }
    }

    fn mute(&self) {
        if !self.silent.get() {
            self.set_word(MUTED, 1);
        }
    }

    fn ended(&self, id: u32) {
        self.silence();
        if let Some(environment) = self.environment.upgrade() {
            environment.context_ended(id);
        }
    }
}

fn reference(env: sys::napi_env, value: sys::napi_value) -> Option<sys::napi_ref> {
    let mut reference = ptr::null_mut();
    // SAFETY: N1, N3: a value of the call under way.
    let status = unsafe { sys::napi_create_reference(env, value, 1, &raw mut reference) };
    (status == sys::Status::napi_ok).then_some(reference)
}

fn value_of(env: sys::napi_env, reference: sys::napi_ref) -> sys::napi_value {
    let mut value = ptr::null_mut();
    // SAFETY: N1, N4: not deleted yet, as the delegate is not silent.
    unsafe { sys::napi_get_reference_value(env, reference, &raw mut value) };
    value
}

fn delete(env: sys::napi_env, reference: sys::napi_ref) {
    // SAFETY: N1, N4: the slot it came from is null now.
    unsafe { sys::napi_delete_reference(env, reference) };
}

unsafe extern "C" fn drop_block(_env: sys::napi_env, _data: *mut c_void, hint: *mut c_void) {
    // SAFETY: N5: the count that `show_block` made.
    drop(unsafe { Arc::from_raw(hint.cast_const().cast::<Block>()) });
}

unsafe extern "C" fn drop_own(_env: sys::napi_env, _data: *mut c_void, hint: *mut c_void) {
    // SAFETY: N5: the box that `show_own` made.
    drop(unsafe { Box::from_raw(hint.cast::<Vec<u8>>()) });
}
