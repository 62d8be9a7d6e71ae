//! What all handles share: memory, state, owner, close.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;

use libuv_sys2 as sys;

use super::error::UvError;
use super::event_loop::Loop;
use super::told::run;

/// Whoever is called back by a handle. The handle keeps it alive until it is closed.
pub(crate) trait Owner {
    /// The close callback has run: the handle is gone. Called exactly once for each handle that
    /// was initialised.
    fn closed(&self);
    /// A callback has panicked: it may have done all, some or nothing of what it was to do. Whatever it
    /// was for ends, and whoever waits for that hears of it.
    fn panicked(self: Rc<Self>);
}

/// Where a handle stands. It only ever moves downwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Uninitialised,
    Active,
    Closing,
    Closed,
}

/// A libuv structure that starts with the fields of `uv_handle_t`.
///
/// # Safety
/// The implementing type is such a structure.
pub(super) unsafe trait RawHandle {}

// SAFETY: libuv documents these as subclasses of `uv_handle_t`.
unsafe impl RawHandle for sys::uv_tcp_t {}
// SAFETY: libuv documents it as such a subclass, too.
unsafe impl RawHandle for sys::uv_timer_t {}
// SAFETY: libuv documents it as such a subclass, too.
unsafe impl RawHandle for sys::uv_idle_t {}
// SAFETY: libuv documents it as such a subclass, too.
unsafe impl RawHandle for sys::uv_check_t {}
// SAFETY: libuv documents it as such a subclass, too.
unsafe impl RawHandle for sys::uv_poll_t {}
// SAFETY: libuv documents it as such a subclass, too.
unsafe impl RawHandle for sys::uv_async_t {}

/// One handle: the libuv structure, its state, and a strong reference to its owner.
pub(super) struct Core<H: RawHandle, O: Owner + ?Sized> {
    raw: UnsafeCell<MaybeUninit<H>>,
    on: Loop,
    state: Cell<State>,
    owner: RefCell<Option<Rc<O>>>,
}

impl<H: RawHandle, O: Owner + ?Sized + 'static> Core<H, O> {
    /// Allocates the handle, lets `init` initialise it, and hands libuv its strong count (U1).
    pub(super) fn new(
        on: Loop,
        owner: Rc<O>,
        init: impl FnOnce(Loop, *mut H) -> c_int,
    ) -> Result<Rc<Self>, UvError> {
        let core = Rc::new(Self {
            raw: UnsafeCell::new(MaybeUninit::zeroed()),
            on,
            state: Cell::new(State::Uninitialised),
            owner: RefCell::new(Some(owner)),
        });
        UvError::check(init(on, core.raw_unchecked()))?;
        core.state.set(State::Active);
        let data = Rc::into_raw(Rc::clone(&core));
        // SAFETY: U4: `raw` was initialised just now, `data` is its first public field.
        unsafe { (*core.handle_ptr()).data = data.cast_mut().cast::<c_void>() };
        Ok(core)
    }

    /// The loop the handle lives on.
    pub(super) fn on(&self) -> Loop {
        self.on
    }

    /// Whether the handle may be used (U3).
    pub(super) fn is_active(&self) -> bool {
        self.state.get() == State::Active
    }

    /// Returns the structure for a libuv call, or an error once the handle is closing.
    pub(super) fn raw(&self) -> Result<*mut H, UvError> {
        if self.is_active() {
            Ok(self.raw_unchecked())
        } else {
            Err(UvError::EINVAL)
        }
    }

    /// Returns the owner while the handle is not closed.
    pub(super) fn owner(&self) -> Option<Rc<O>> {
        self.owner.borrow().clone()
    }

    /// Calls the owner from the callback `point`, unless the handle is closing. Returns whether that
    /// panicked.
    pub(super) fn call(&self, point: &'static str, body: impl FnOnce(Rc<O>)) -> bool {
        self.owner().filter(|_| self.is_active()).is_some_and(|owner| call(point, owner, body))
    }

    /// Gives the handle to another owner.
    pub(super) fn set_owner(&self, owner: Rc<O>) {
        if self.state.get() != State::Closed {
            let former = self.owner.replace(Some(owner));
            drop(former);
        }
    }

    /// Starts closing. Later calls do nothing.
    pub(super) fn close(&self) {
        if self.state.get() != State::Active {
            return;
        }
        self.state.set(State::Closing);
        let handle = self.handle_ptr();
        // SAFETY: U3: the state was Active, so this is the only uv_close of this handle.
        unsafe { (self.on.uv().uv_close)(handle, Some(Self::on_closed)) };
    }

    /// Lets the handle keep the loop alive, or not.
    pub(super) fn set_ref(&self, keep_alive: bool) {
        if !self.is_active() {
            return;
        }
        let uv = self.on.uv();
        let function = if keep_alive { uv.uv_ref } else { uv.uv_unref };
        // SAFETY: U3: active, checked above.
        unsafe { function(self.handle_ptr()) };
    }

    /// Recovers the core from a pointer that libuv hands to a callback.
    ///
    /// # Safety
    /// `handle` is a handle made by `Core::<H, O>::new` whose close callback has not run.
    pub(super) unsafe fn from_raw<'a>(handle: *const H) -> &'a Self {
        // SAFETY: `H` starts with the fields of `uv_handle_t` (trait `RawHandle`).
        let data = unsafe { (*handle.cast::<sys::uv_handle_t>()).data };
        // SAFETY: U4 and U1: libuv's strong count keeps the core alive for the callback.
        unsafe { &*data.cast::<Self>() }
    }

    fn raw_unchecked(&self) -> *mut H {
        self.raw.get().cast::<H>()
    }

    fn handle_ptr(&self) -> *mut sys::uv_handle_t {
        self.raw_unchecked().cast()
    }

    unsafe extern "C" fn on_closed(handle: *mut sys::uv_handle_t) {
        // SAFETY: U4: libuv hands back the handle that was closed.
        let data = unsafe { (*handle).data };
        // SAFETY: U1: this takes back the strong count that `new` gave to libuv; it is the last
        // callback of this handle.
        let core = unsafe { Rc::from_raw(data.cast_const().cast::<Self>()) };
        core.state.set(State::Closed);
        if let Some(owner) = core.owner.take() {
            tell_closed(owner);
        }
    }
}

/// Tells an owner that a handle or a socket of its own is gone.
pub(crate) fn tell_closed<O: Owner + ?Sized>(owner: Rc<O>) {
    guard(|| run("panic:uv_close_cb", move || owner.closed()));
}

/// Calls an owner from the callback `point`, and tells it of a panic. Returns whether there was one.
pub(crate) fn call<O: Owner + ?Sized>(
    point: &'static str,
    owner: Rc<O>,
    body: impl FnOnce(Rc<O>),
) -> bool {
    let again = Rc::clone(&owner);
    let has_panicked = guard(|| run(point, || body(owner)));
    if has_panicked {
        guard(|| again.panicked());
    }
    has_panicked
}

/// Runs a callback's body so that no panic crosses into C. Returns whether it panicked.
pub(super) fn guard(body: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(body)).is_err()
}
