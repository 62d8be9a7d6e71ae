//! Reading and making JavaScript values with plain Node-API calls.

use std::ffi::{c_void, CString};
use std::ptr;

use napi_sys as sys;

/// The most arguments that a function of the hot plane takes.
const ARGUMENTS: usize = 4;

/// Why a string argument cannot be lent.
pub(super) enum Unlent {
    /// It is none.
    NoString,
    /// There is no memory for it.
    NoMemory,
}

/// A call from JavaScript with its arguments, in a fixed array.
pub(super) struct Call {
    pub(super) env: sys::napi_env,
    pub(super) args: [sys::napi_value; ARGUMENTS],
}

impl Call {
    /// Reads the arguments, of which missing ones are `undefined`, and the function's data.
    ///
    /// # Safety
    /// N1: `info` belongs to the callback that `env` is running.
    #[inline(always)]
    pub(super) unsafe fn read(
        env: sys::napi_env,
        info: sys::napi_callback_info,
    ) -> (Self, *mut c_void) {
        let mut args = [ptr::null_mut(); ARGUMENTS];
        let mut count = ARGUMENTS;
        let mut data = ptr::null_mut();
        // SAFETY: by the contract; the array has room for `count` values.
        unsafe {
            sys::napi_get_cb_info(
                env,
                info,
                &raw mut count,
                args.as_mut_ptr(),
                ptr::null_mut(),
                &raw mut data,
            )
        };
        (Self { env, args }, data)
    }

    pub(super) fn u32(&self, index: usize) -> Option<u32> {
        let mut value = 0;
        let argument = *self.args.get(index)?;
        // SAFETY: N1, N3: an argument of the call under way.
        let status = unsafe { sys::napi_get_value_uint32(self.env, argument, &raw mut value) };
        (status == sys::Status::napi_ok).then_some(value)
    }

    /// Lends the bytes of a view or ArrayBuffer argument to `read`, which must not call
    /// JavaScript.
    pub(super) fn with_bytes<T>(&self, index: usize, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let argument = *self.args.get(index)?;
        let mut data = ptr::null_mut();
        let mut len = 0;
        // Asked first: before Node 20.12 napi_get_buffer_info aborts on what is no view.
        let mut is_view = false;
        // SAFETY: N1, N3: an argument of the call under way.
        unsafe { sys::napi_is_typedarray(self.env, argument, &raw mut is_view) };
        if !is_view {
            // SAFETY: N1, N3: an argument of the call under way.
            unsafe { sys::napi_is_dataview(self.env, argument, &raw mut is_view) };
        }
        let status = if is_view {
            // SAFETY: N1, N3: an argument of the call under way.
            unsafe { sys::napi_get_buffer_info(self.env, argument, &raw mut data, &raw mut len) }
        } else {
            // SAFETY: N1, N3: an argument of the call under way.
            unsafe {
                sys::napi_get_arraybuffer_info(self.env, argument, &raw mut data, &raw mut len)
            }
        };
        if status != sys::Status::napi_ok {
            return None;
        }
        let bytes: &[u8] = if data.is_null() || len == 0 {
            &[]
        } else {
            // SAFETY: N3: the argument keeps the memory alive, and no JavaScript runs that could
            // detach it before `read` returns.
            unsafe { std::slice::from_raw_parts(data.cast::<u8>(), len) }
        };
        Some(read(bytes))
    }

    /// Lends the numbers of a Uint32Array argument to `read`, which must not call JavaScript.
    pub(super) fn with_numbers<T>(
        &self,
        index: usize,
        read: impl FnOnce(&[u32]) -> T,
    ) -> Option<T> {
        let (data, len) = self.typed_array(index, sys::TypedarrayType::uint32_array)?;
        let numbers: &[u32] = if data.is_null() || len == 0 {
            &[]
        } else {
            // SAFETY: N3: the argument keeps the memory alive, it is aligned for its elements, and no
            // JavaScript runs that could detach it before `read` returns.
            unsafe { std::slice::from_raw_parts(data.cast::<u32>(), len) }
        };
        Some(read(numbers))
    }

    /// Writes `values` into a Float64Array argument, as far as it has room for them.
    pub(super) fn write_numbers(&self, index: usize, values: &[f64]) {
        let array = self.typed_array(index, sys::TypedarrayType::float64_array);
        let Some((data, len)) = array.filter(|(data, _)| !data.is_null()) else { return };
        // SAFETY: N3: the argument keeps the memory alive, which is aligned for its elements, has `len` of
        // them, and is nobody else's while no JavaScript runs.
        unsafe {
            ptr::copy_nonoverlapping(values.as_ptr(), data.cast::<f64>(), len.min(values.len()));
        }
    }

    /// The memory of an argument that is a typed array of `kind`, and its length in elements.
    fn typed_array(
        &self,
        index: usize,
        kind: sys::napi_typedarray_type,
    ) -> Option<(*mut c_void, usize)> {
        let argument = *self.args.get(index)?;
        let (mut found, mut len, mut data) = (0, 0, ptr::null_mut());
        // SAFETY: N1, N3: an argument of the call under way; results that are not wanted may be null.
        let status = unsafe {
            sys::napi_get_typedarray_info(
                self.env,
                argument,
                &raw mut found,
                &raw mut len,
                &raw mut data,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        (status == sys::Status::napi_ok && found == kind).then_some((data, len))
    }

    /// Lends a string argument as UTF-8 to `read`, through `scratch` if it fits there.
    pub(super) fn with_string<T>(
        &self,
        index: usize,
        scratch: &mut Vec<u8>,
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, Unlent> {
        let argument = *self.args.get(index).ok_or(Unlent::NoString)?;
        let mut len = 0;
        let capacity = scratch.len();
        // SAFETY: N1, N3; at most `capacity` bytes are written, a NUL among them.
        let status = unsafe {
            sys::napi_get_value_string_utf8(
                self.env,
                argument,
                scratch.as_mut_ptr().cast(),
                capacity,
                &raw mut len,
            )
        };
        if status != sys::Status::napi_ok {
            return Err(Unlent::NoString);
        }
        // Node-API cuts at a character that does not fit whole: within 4 bytes of the end the
        // string may have been cut.
        if len + 4 < capacity {
            return Ok(read(scratch.get(..len).unwrap_or_default()));
        }
        text(self.env, argument).map(|text| read(&text))
    }

    pub(super) fn string(&self, index: usize) -> Option<String> {
        let text = text(self.env, *self.args.get(index)?).ok()?;
        Some(String::from_utf8_lossy(&text).into_owned())
    }
}

/// Copies a string value as UTF-8. Lone surrogates become U+FFFD.
fn text(env: sys::napi_env, value: sys::napi_value) -> Result<Vec<u8>, Unlent> {
    let mut len = 0;
    // SAFETY: N1, N3; without a buffer the length alone is returned.
    let status =
        unsafe { sys::napi_get_value_string_utf8(env, value, ptr::null_mut(), 0, &raw mut len) };
    if status != sys::Status::napi_ok {
        return Err(Unlent::NoString);
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len + 1).map_err(|_| Unlent::NoMemory)?;
    bytes.resize(len + 1, 0_u8);
    // SAFETY: N1, N3; the buffer has room for the string and its NUL.
    let status = unsafe {
        sys::napi_get_value_string_utf8(
            env,
            value,
            bytes.as_mut_ptr().cast(),
            bytes.len(),
            &raw mut len,
        )
    };
    bytes.truncate(len);
    if status == sys::Status::napi_ok {
        Ok(bytes)
    } else {
        Err(Unlent::NoString)
    }
}

pub(super) fn int32(env: sys::napi_env, value: i32) -> sys::napi_value {
    let mut result = ptr::null_mut();
    // SAFETY: N1.
    unsafe { sys::napi_create_int32(env, value, &raw mut result) };
    result
}

pub(super) fn uint32(env: sys::napi_env, value: u32) -> sys::napi_value {
    let mut result = ptr::null_mut();
    // SAFETY: N1.
    unsafe { sys::napi_create_uint32(env, value, &raw mut result) };
    result
}

pub(super) fn double(env: sys::napi_env, value: f64) -> sys::napi_value {
    let mut result = ptr::null_mut();
    // SAFETY: N1.
    unsafe { sys::napi_create_double(env, value, &raw mut result) };
    result
}

pub(super) fn boolean(env: sys::napi_env, value: bool) -> sys::napi_value {
    let mut result = ptr::null_mut();
    // SAFETY: N1.
    unsafe { sys::napi_get_boolean(env, value, &raw mut result) };
    result
}

/// Throws an `Error` and returns nothing, as a callback that throws must.
pub(super) fn throw(env: sys::napi_env, code: Option<&str>, message: &str) -> sys::napi_value {
    let text = |text: &str| CString::new(text.replace('\0', " ")).unwrap_or_default();
    let (code, message) = (code.map(text), text(message));
    let code = code.as_ref().map_or(ptr::null(), |code| code.as_ptr());
    // SAFETY: N1; both texts end with a NUL, and there may be no code.
    unsafe { sys::napi_throw_error(env, code, message.as_ptr()) };
    ptr::null_mut()
}

/// Makes a reference, which keeps its value alive.
pub(super) fn refer_to(env: sys::napi_env, value: sys::napi_value) -> Option<sys::napi_ref> {
    let mut reference = ptr::null_mut();
    // SAFETY: N1, N3.
    let status = unsafe { sys::napi_create_reference(env, value, 1, &raw mut reference) };
    (status == sys::Status::napi_ok).then_some(reference)
}

/// The value of a reference that is not deleted.
pub(super) fn of_reference(env: sys::napi_env, reference: sys::napi_ref) -> sys::napi_value {
    let mut value = ptr::null_mut();
    // SAFETY: N1, N4.
    unsafe { sys::napi_get_reference_value(env, reference, &raw mut value) };
    value
}

/// Deletes a reference whose place has been emptied.
pub(super) fn delete_reference(env: sys::napi_env, reference: sys::napi_ref) {
    // SAFETY: N1, N4.
    unsafe { sys::napi_delete_reference(env, reference) };
}
