//! The calls of Node-API that may fail while an environment lives.
//!
//! # Invariant that the `SAFETY:` notes cite
//! - **F3 same**: a function here has the signature of Node's function of the same name, and hands on the
//!   arguments it was given.

use std::ffi::{c_int, c_void};

use crate::{at, behind};

type Pointer = *mut c_void;

macro_rules! points {
    ($(fn $name:ident($($arg:ident: $ty:ty),*);)*) => {$(
        /// Returns the status that the plan says, or does what it is called for.
        ///
        /// # Safety
        /// That of the function behind it.
        #[no_mangle]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> c_int {
            if let Some(status) = at(stringify!($name)) {
                return status;
            }
            type Function = unsafe extern "C" fn($($ty),*) -> c_int;
            let function = behind(concat!(stringify!($name), "\0"));
            // SAFETY: F3.
            let function = unsafe { std::mem::transmute::<Pointer, Function>(function) };
            // SAFETY: F3.
            unsafe { function($($arg),*) }
        }
    )*};
}

points! {
    fn napi_get_uv_event_loop(env: Pointer, result: Pointer);
    fn napi_set_instance_data(env: Pointer, data: Pointer, finalizer: Pointer, hint: Pointer);
    fn napi_add_async_cleanup_hook(env: Pointer, hook: Pointer, argument: Pointer, result: Pointer);
    fn napi_create_reference(env: Pointer, value: Pointer, count: u32, result: Pointer);
    fn napi_create_external_arraybuffer(env: Pointer, data: Pointer, len: usize, finalizer: Pointer, hint: Pointer, result: Pointer);
}
