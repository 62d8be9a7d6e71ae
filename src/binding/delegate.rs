//! Records and payloads on their way to JavaScript: one call for everything of a loop turn.
//!
//! The payload memory is ours ([`memory`](super::memory)).

use std::cell::{Cell, RefCell};
use std::ptr;
use std::rc::{Rc, Weak};

use napi_sys as sys;

use super::environment::Environment;
use super::memory::{Current, Memory};
use super::values::{delete_reference, of_reference, refer_to};
use crate::context::{Delegate, Kind, Record, Stash};

/// Words before the first record: cursor, count, muted, spare.
const HEADER: usize = 4;
const CURSOR: usize = 0;
const COUNT: usize = 1;
const MUTED: usize = 2;
/// Words of a record.
const WORDS: usize = 4;
const _: () = assert!(size_of::<Record>() == WORDS * size_of::<u32>());

/// Environment variable by which JavaScript gets copies in Node, too, as in a host that allows no external
/// buffers: for programs that move what they get to other threads (`memory`).
const COPIES: &str = "UVWS_COPY_BUFFERS";

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
    /// What a batch refers to by order.
    extras: RefCell<Vec<Memory>>,
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
        let records_ref = refer_to(env, records)?;
        let Some(deliver) = refer_to(env, deliver) else {
            delete_reference(env, records_ref);
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
                delete_reference(self.env, reference);
            }
        }
        self.extras.take();
        self.current.take();
    }

    fn word(&self, index: usize) -> u32 {
        // SAFETY: N6: `index` is within the header, and the array is there.
        let at = unsafe { self.records.add(index) };
        // SAFETY: N6: it is within the header.
        unsafe { at.read() }
    }

    fn set_word(&self, index: usize, value: u32) {
        // SAFETY: N6: `index` is within the header, and the array is there.
        let at = unsafe { self.records.add(index) };
        // SAFETY: N6: it is within the header; JavaScript is not running meanwhile.
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
        let deliver = of_reference(self.env, self.deliver.get());
        let records = of_reference(self.env, self.records_ref.get());
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
            let buffer = self.show(extra);
            // SAFETY: N1, N3: both values were made in the caller's scope.
            unsafe { sys::napi_set_element(self.env, array, index, buffer) };
        }
        array
    }

    fn show(&self, memory: Memory) -> sys::napi_value {
        if self.copies.get() {
            return memory.copy(self.env);
        }
        memory.show(self.env).unwrap_or_else(|(memory, status)| {
            if status == sys::Status::napi_no_external_buffers_allowed {
                self.copies.set(true);
                self.current.take();
            }
            memory.copy(self.env)
        })
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
        let put = current.as_mut().and_then(|current| current.put(payload));
        let fresh = put.is_none();
        let offset = match put {
            Some(offset) => offset,
            None => {
                let next = current.insert(Current::new(payload));
                self.extras.borrow_mut().push(next.memory());
                next.put(payload)?
            }
        };
        Some(Stash { offset: offset as u32, fresh })
    }

    fn hand_over(&self, payload: Vec<u8>) {
        if !self.silent.get() {
            self.extras.borrow_mut().push(Memory::Own(payload));
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
