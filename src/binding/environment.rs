//! One per `napi_env`: the loop, the live contexts, the cleanup hook.
//!
//! # Teardown
//! Node runs the asynchronous cleanup hook on the environment's thread, when no JavaScript may run
//! any more, and turns the loop until the hook is removed. The hook silences all delegates, destroys
//! all contexts, and is removed in the last close callback, or when libuv has let go of the last name
//! lookup, whichever is later. Only then does Node close the loop. (napi-rs has a wrapper for such
//! hooks that removes the hook as soon as it returns; it does not wait, so it is not used.)

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::rc::{Rc, Weak};

use napi_sys as sys;

use super::delegate::JsDelegate;
use crate::context::Context;
use crate::endpoint::Table;
use crate::uv::{Loop, UvError};

/// Size of the buffer through which strings pass on their way to the wire.
const SCRATCH: usize = 16 * 1024;

pub(super) struct Environment {
    this: Weak<Self>,
    env: sys::napi_env,
    on: Loop,
    pub(super) table: Rc<Table>,
    contexts: RefCell<HashMap<u32, Live>>,
    last_context: Cell<u32>,
    hook: Cell<sys::napi_async_cleanup_hook_handle>,
    ending: Cell<bool>,
    /// Shared with every name lookup under way; see `Pending`.
    pending: RefCell<Option<Rc<dyn Any>>>,
    /// The last of them has ended, and no other can begin.
    lookups_over: Cell<bool>,
    /// See `SCRATCH`.
    pub(super) scratch: RefCell<Vec<u8>>,
}

struct Live {
    context: Rc<Context>,
    delegate: Rc<JsDelegate>,
}

/// Dropped by the last lookup when the environment has dropped its own: nothing of ours is then
/// left in libuv's thread pool.
struct Pending(Weak<Environment>);

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(environment) = self.0.upgrade() {
            environment.lookups_over.set(true);
            environment.finish_if_over();
        }
    }
}

impl Environment {
    /// Attaches to the environment that is loading the addon.
    pub(super) fn attach(env: sys::napi_env) -> Result<Rc<Self>, String> {
        let mut raw_loop = ptr::null_mut();
        // SAFETY: N1.
        let status = unsafe { sys::napi_get_uv_event_loop(env, &raw mut raw_loop) };
        let raw_loop = NonNull::new(raw_loop.cast::<c_void>())
            .filter(|_| status == sys::Status::napi_ok)
            .ok_or("uvws needs a host that runs on libuv, as Node.js does: this one has no loop")?;
        // SAFETY: Node hands out its live loop on its thread, and closes it only after our cleanup
        // hook has been removed, which waits for every handle.
        let on = unsafe { Loop::from_host(raw_loop) }.map_err(|error| error.to_string())?;
        let environment = Rc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            env,
            on,
            table: Rc::default(),
            contexts: RefCell::default(),
            last_context: Cell::new(0),
            hook: Cell::new(ptr::null_mut()),
            ending: Cell::new(false),
            pending: RefCell::new(Some(Rc::new(Pending(Weak::clone(this))))),
            lookups_over: Cell::new(false),
            scratch: RefCell::new(vec![0; SCRATCH]),
        });
        let data = Rc::into_raw(Rc::clone(&environment)).cast_mut().cast::<c_void>();
        // SAFETY: N1, N2: the finalizer takes the count back.
        let status = unsafe {
            sys::napi_set_instance_data(env, data, Some(drop_instance_data), ptr::null_mut())
        };
        if status != sys::Status::napi_ok {
            // SAFETY: N2: nobody has taken the count made above.
            drop(unsafe { Rc::from_raw(data.cast_const().cast::<Self>()) });
            return Err("uvws could not attach to this environment".into());
        }
        let mut hook = ptr::null_mut();
        // SAFETY: N1, N2: the hook runs before the instance data is finalised.
        let status =
            unsafe { sys::napi_add_async_cleanup_hook(env, Some(on_cleanup), data, &raw mut hook) };
        if status != sys::Status::napi_ok {
            return Err("uvws could not register its cleanup hook".into());
        }
        environment.hook.set(hook);
        Ok(environment)
    }

    /// Finds the environment of a control plane call.
    pub(super) fn of(env: sys::napi_env) -> Option<Rc<Self>> {
        let mut data = ptr::null_mut();
        // SAFETY: N1.
        let status = unsafe { sys::napi_get_instance_data(env, &raw mut data) };
        if status != sys::Status::napi_ok || data.is_null() {
            return None;
        }
        // SAFETY: N2.
        unsafe { &*data.cast_const().cast::<Self>() }.this.upgrade()
    }

    pub(super) fn env(&self) -> sys::napi_env {
        self.env
    }

    pub(super) fn event_loop(&self) -> Loop {
        self.on
    }

    /// What a name lookup keeps while it is under way.
    pub(super) fn pending(&self) -> Rc<dyn Any> {
        match self.pending.borrow().as_ref() {
            Some(pending) => Rc::clone(pending),
            None => Rc::new(()),
        }
    }

    /// Makes a context that delivers to `delegate`.
    pub(super) fn open_context(&self, delegate: Rc<JsDelegate>) -> Result<u32, UvError> {
        if self.ending.get() {
            return Err(UvError::EINVAL);
        }
        let id = self.last_context.get() + 1;
        self.last_context.set(id);
        let as_delegate: Rc<dyn crate::context::Delegate> = Rc::<JsDelegate>::clone(&delegate);
        let context = Context::new(id, self.on, as_delegate);
        // Known before it opens: should that fail half-way, its end is waited for all the same.
        let live = Live { context: Rc::clone(&context), delegate: Rc::clone(&delegate) };
        self.contexts.borrow_mut().insert(id, live);
        if let Err(error) = context.open() {
            delegate.silence();
            context.destroy();
            return Err(error);
        }
        Ok(id)
    }

    pub(super) fn context(&self, id: u32) -> Option<Rc<Context>> {
        self.contexts.borrow().get(&id).map(|live| Rc::clone(&live.context))
    }

    /// A context is destroyed. Called from its last close callback.
    pub(super) fn context_ended(&self, id: u32) {
        let live = self.contexts.borrow_mut().remove(&id);
        drop(live);
        self.finish_if_over();
    }

    /// Writes out everything that is corked, as when the process is about to exit.
    pub(super) fn flush(&self) {
        let contexts: Vec<_> =
            self.contexts.borrow().values().map(|live| Rc::clone(&live.context)).collect();
        for context in contexts {
            context.flush();
        }
    }

    /// Keeps the memory budgets of the contexts.
    pub(super) fn balance(&self) {
        let contexts: Vec<_> =
            self.contexts.borrow().values().map(|live| Rc::clone(&live.context)).collect();
        for context in contexts {
            context.balance();
        }
    }

    fn end(&self) {
        self.ending.set(true);
        let contexts: Vec<_> = self
            .contexts
            .borrow()
            .values()
            .map(|live| (Rc::clone(&live.context), Rc::clone(&live.delegate)))
            .collect();
        for (_, delegate) in &contexts {
            delegate.silence();
        }
        for (context, _) in &contexts {
            context.destroy_for_teardown();
        }
        drop(contexts);
        // The last lookup under way, or this very statement, drops the token.
        let pending = self.pending.take();
        drop(pending);
        self.finish_if_over();
    }

    /// Reports the hook as done once nothing of ours is left on the loop.
    fn finish_if_over(&self) {
        let is_over =
            self.ending.get() && self.contexts.borrow().is_empty() && self.lookups_over.get();
        if !is_over {
            return;
        }
        let hook = self.hook.replace(ptr::null_mut());
        if !hook.is_null() {
            // SAFETY: N1: the handle came from napi_add_async_cleanup_hook and is removed once,
            // because it was replaced by null.
            unsafe { sys::napi_remove_async_cleanup_hook(hook) };
        }
    }
}

unsafe extern "C" fn drop_instance_data(
    _env: sys::napi_env,
    data: *mut c_void,
    _hint: *mut c_void,
) {
    // SAFETY: N2: this takes back the count that `attach` gave to the instance data.
    drop(unsafe { Rc::from_raw(data.cast_const().cast::<Environment>()) });
}

unsafe extern "C" fn on_cleanup(_hook: sys::napi_async_cleanup_hook_handle, data: *mut c_void) {
    // SAFETY: N2: the hook runs before the instance data is finalised.
    let environment = unsafe { &*data.cast_const().cast::<Environment>() };
    let guarded = std::panic::AssertUnwindSafe(|| environment.end());
    // A panic here leaves the hook in place, and Node waits: better than freed memory in use.
    let _ = std::panic::catch_unwind(guarded);
}
