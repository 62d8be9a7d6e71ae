//! The hot plane: plain Node-API callbacks, one crossing each.
//!
//! Every function takes the number of a connection first and answers -1 (or nothing) for a number
//! that stands for none: a late call is harmless. Arguments are positional and already checked by
//! `lib/`. None calls JavaScript.

use std::ffi::{c_char, c_void};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr;
use std::rc::Rc;

use napi_sys as sys;

use super::delegate::JsDelegate;
use super::environment::Environment;
use super::publishing::publish;
use super::stats::connection_stats;
use super::values::{self, Call, Unlent};
use crate::context::copy;
use crate::endpoint::{Connection, Pressure};
use crate::protocol::Opcode;
use crate::uv::{wake, UvError};

/// Bits of `send`'s flags.
pub(super) const OPCODE: u32 = 0x0f;
const FIN: u32 = 1 << 4;
const NOTIFY: u32 = 1 << 5;
pub(super) const COMPRESS: u32 = 1 << 6;
/// The data is a string. Without it that is found out, at some cost.
const STRING: u32 = 1 << 7;

/// Answer of `send` for a connection that is not open.
const NOT_OPEN: i32 = -1;
/// Answer of `send` if that has ended the connection, because too much was queued.
const EXCESS: i32 = -2;

type Body = fn(&Environment, &Call) -> sys::napi_value;

macro_rules! exports {
    ($($js:literal => $name:ident,)*) => {
        /// Adds the functions to the addon's exports.
        ///
        /// # Safety
        /// N1, N3: `exports` is the exports object of the init under way.
        pub(super) unsafe fn export(
            env: sys::napi_env,
            exports: sys::napi_value,
            environment: &Rc<Environment>,
        ) {
            $({
                unsafe extern "C" fn callback(
                    env: sys::napi_env,
                    info: sys::napi_callback_info,
                ) -> sys::napi_value {
                    // SAFETY: N1: Node runs this callback.
                    unsafe { enter(env, info, $name) }
                }
                let data = Rc::as_ptr(environment).cast_mut().cast::<c_void>();
                let mut function = ptr::null_mut();
                // SAFETY: N1, N2; the name has its length beside it.
                unsafe {
                    sys::napi_create_function(
                        env,
                        $js.as_ptr().cast::<c_char>(),
                        $js.len() as isize,
                        Some(callback),
                        data,
                        &raw mut function,
                    )
                };
                let name = concat!($js, "\0");
                // SAFETY: N1, N3; the name ends with a NUL.
                unsafe {
                    sys::napi_set_named_property(env, exports, name.as_ptr().cast(), function)
                };
            })*
        }
    };
}

exports! {
    "send" => send,
    "ping" => ping,
    "pong" => pong,
    "closeFrame" => close_frame,
    "terminate" => terminate,
    "pause" => pause,
    "resume" => resume,
    "bufferedAmount" => buffered_amount,
    "accept" => accept,
    "acceptWith" => accept_with,
    "reject" => reject,
    "endStream" => end_stream,
    "writeRaw" => write_raw,
    "feed" => feed,
    "feedEnd" => feed_end,
    "feedClosed" => feed_closed,
    "outputPassedOn" => output_passed_on,
    "outputDrained" => output_drained,
    "publish" => publish,
    "flush" => flush,
    "connectionStats" => connection_stats,
    "contextCreate" => context_create,
    "contextWake" => context_wake,
    "contextWakeToken" => context_wake_token,
    "wakeByToken" => wake_by_token,
}

/// Finds the environment and runs `body` so that no panic crosses into C.
///
/// # Safety
/// N1: `info` belongs to the callback that `env` is running, whose data is N2.
#[inline(always)]
unsafe fn enter(env: sys::napi_env, info: sys::napi_callback_info, body: Body) -> sys::napi_value {
    // SAFETY: N1: by the contract.
    let (call, data) = unsafe { Call::read(env, info) };
    // SAFETY: N2.
    let environment = unsafe { &*data.cast_const().cast::<Environment>() };
    match catch_unwind(AssertUnwindSafe(|| body(environment, &call))) {
        Ok(value) => value,
        Err(_) => values::throw(env, None, "internal error in uvws"),
    }
}

/// Lends argument `index` as bytes: a view, an ArrayBuffer, a string as UTF-8, or nothing for
/// anything else. Returns nothing if there is no memory for a string.
pub(super) fn with_payload<T>(
    environment: &Environment,
    call: &Call,
    index: usize,
    read: impl Fn(&[u8]) -> T,
) -> Option<T> {
    call.with_bytes(index, &read).or_else(|| with_string(environment, call, index, &read))
}

/// Lends argument `index` as UTF-8, or nothing if it is no string. Returns nothing if there is no memory
/// for it.
fn with_string<T>(
    environment: &Environment,
    call: &Call,
    index: usize,
    read: impl Fn(&[u8]) -> T,
) -> Option<T> {
    match call.with_string(index, &mut environment.scratch.borrow_mut(), &read) {
        Ok(outcome) => Some(outcome),
        Err(Unlent::NoString) => Some(read(&[])),
        Err(Unlent::NoMemory) => None,
    }
}

pub(super) fn opcode(number: u32) -> Opcode {
    match number {
        0 => Opcode::Continuation,
        1 => Opcode::Text,
        _ => Opcode::Binary,
    }
}

fn pressure(
    environment: &Environment,
    env: sys::napi_env,
    outcome: Option<Option<Pressure>>,
) -> sys::napi_value {
    if outcome == Some(Some(Pressure::Scarce)) {
        environment.balance();
    }
    let answer = match outcome.flatten() {
        None => NOT_OPEN,
        Some(Pressure::Low) => 0,
        Some(Pressure::High | Pressure::Scarce) => 1,
        Some(Pressure::Excess) => EXCESS,
    };
    values::int32(env, answer)
}

/// `send(id, data, flags)`.
fn send(environment: &Environment, call: &Call) -> sys::napi_value {
    let (Some(id), Some(flags)) = (call.u32(0), call.u32(2)) else {
        return values::int32(call.env, NOT_OPEN);
    };
    let opcode = opcode(flags & OPCODE);
    let (fin, notify) = (flags & FIN != 0, flags & NOTIFY != 0);
    let compress = flags & COMPRESS != 0;
    let outcome = environment.table.with_connection(id, |connection| {
        let transmit = |bytes: &[u8]| connection.send(opcode, fin, bytes, notify, compress);
        let sent = match flags & STRING {
            0 => with_payload(environment, call, 1, transmit),
            _ => with_string(environment, call, 1, transmit),
        };
        sent.unwrap_or_else(|| {
            connection.lacks_memory();
            Some(Pressure::Excess)
        })
    });
    pressure(environment, call.env, outcome)
}

fn control_frame(environment: &Environment, call: &Call, opcode: Opcode) -> sys::napi_value {
    let Some(id) = call.u32(0) else {
        return values::int32(call.env, NOT_OPEN);
    };
    let notify = call.u32(2).unwrap_or(0) & NOTIFY != 0;
    let outcome = environment.table.with_connection(id, |connection| {
        with_payload(environment, call, 1, |bytes| {
            connection.send(opcode, true, bytes, notify, false)
        })?
    });
    pressure(environment, call.env, outcome)
}

/// `ping(id, data, flags)`.
fn ping(environment: &Environment, call: &Call) -> sys::napi_value {
    control_frame(environment, call, Opcode::Ping)
}

/// `pong(id, data, flags)`.
fn pong(environment: &Environment, call: &Call) -> sys::napi_value {
    control_frame(environment, call, Opcode::Pong)
}

/// `closeFrame(id, code, reason)`.
fn close_frame(environment: &Environment, call: &Call) -> sys::napi_value {
    let code = u16::try_from(call.u32(1).unwrap_or(0)).unwrap_or(0);
    with_connection(environment, call, |connection| {
        with_payload(environment, call, 2, |reason| connection.close(code, reason));
    })
}

/// Calls `act` with the connection that argument 0 stands for, if there is one.
fn with_connection(
    environment: &Environment,
    call: &Call,
    act: impl FnOnce(&Connection),
) -> sys::napi_value {
    if let Some(connection) = call.u32(0).and_then(|id| environment.table.connection(id)) {
        act(&connection);
    }
    ptr::null_mut()
}

/// `terminate(id)`.
fn terminate(environment: &Environment, call: &Call) -> sys::napi_value {
    with_connection(environment, call, |connection| connection.terminate())
}

/// `pause(id)`.
fn pause(environment: &Environment, call: &Call) -> sys::napi_value {
    with_connection(environment, call, |connection| connection.pause_reading())
}

/// `resume(id)`.
fn resume(environment: &Environment, call: &Call) -> sys::napi_value {
    with_connection(environment, call, |connection| connection.resume_reading())
}

/// `bufferedAmount(id)`.
fn buffered_amount(environment: &Environment, call: &Call) -> sys::napi_value {
    let connection = call.u32(0).and_then(|id| environment.table.connection(id));
    let amount = connection.map_or(0, |connection| connection.buffered_amount());
    values::double(call.env, amount as f64)
}

/// `accept(id, protocol, headers)`.
fn accept(environment: &Environment, call: &Call) -> sys::napi_value {
    let protocol = call.string(1);
    let headers = call.string(2).unwrap_or_default();
    let connection = call.u32(0).and_then(|id| environment.table.connection(id));
    let accepted =
        connection.is_some_and(|connection| connection.accept(protocol.as_deref(), &headers));
    values::boolean(call.env, accepted)
}

/// `acceptWith(id, head)`.
fn accept_with(environment: &Environment, call: &Call) -> sys::napi_value {
    let head = call.string(1).unwrap_or_default();
    let connection = call.u32(0).and_then(|id| environment.table.connection(id));
    values::boolean(call.env, connection.is_some_and(|connection| connection.accept_with(&head)))
}

/// `reject(id, status, body, headers)`.
fn reject(environment: &Environment, call: &Call) -> sys::napi_value {
    let status = call.u32(1).and_then(|status| u16::try_from(status).ok()).unwrap_or(400);
    let body = call.string(2).unwrap_or_default();
    let headers = call.string(3).unwrap_or_default();
    with_connection(environment, call, |connection| connection.reject(status, &body, &headers))
}

/// `endStream(id)`.
fn end_stream(environment: &Environment, call: &Call) -> sys::napi_value {
    with_connection(environment, call, |connection| connection.end_stream())
}

/// `writeRaw(id, bytes, flags)`.
fn write_raw(environment: &Environment, call: &Call) -> sys::napi_value {
    let Some(id) = call.u32(0) else { return values::int32(call.env, NOT_OPEN) };
    let notify = call.u32(2).unwrap_or(0) & NOTIFY != 0;
    let outcome = environment.table.with_connection(id, |connection| {
        with_payload(environment, call, 1, |bytes| connection.write_raw(bytes, notify))?
    });
    pressure(environment, call.env, outcome)
}

/// `feed(id, bytes)`: whether more is wanted.
fn feed(environment: &Environment, call: &Call) -> sys::napi_value {
    if let Some(connection) = call.u32(0).and_then(|id| environment.table.connection(id)) {
        // A copy: frames are unmasked in place, and the bytes may still be somebody else's.
        match call.with_bytes(1, |bytes| copy([bytes])) {
            Some(Some(mut bytes)) => {
                return values::boolean(call.env, connection.feed(&mut bytes));
            }
            Some(None) => connection.lacks_memory_for_input(),
            None => {}
        }
    }
    values::boolean(call.env, true)
}

/// `feedEnd(id)`.
fn feed_end(environment: &Environment, call: &Call) -> sys::napi_value {
    with_connection(environment, call, |connection| connection.feed_end())
}

/// `feedClosed(id)`.
fn feed_closed(environment: &Environment, call: &Call) -> sys::napi_value {
    with_connection(environment, call, |connection| connection.feed_closed())
}

/// `outputPassedOn(id, length, isFull)`.
fn output_passed_on(environment: &Environment, call: &Call) -> sys::napi_value {
    let len = call.u32(1).unwrap_or(0) as usize;
    let is_full = call.u32(2).unwrap_or(0) != 0;
    with_connection(environment, call, |connection| connection.output_passed_on(len, is_full))
}

/// `outputDrained(id)`.
fn output_drained(environment: &Environment, call: &Call) -> sys::napi_value {
    with_connection(environment, call, |connection| connection.output_drained())
}

/// `flush()`.
fn flush(environment: &Environment, _call: &Call) -> sys::napi_value {
    environment.flush();
    ptr::null_mut()
}

/// `contextCreate(deliver, records)`.
fn context_create(environment: &Environment, call: &Call) -> sys::napi_value {
    let [deliver, records, ..] = call.args;
    let Some(environment) = Environment::of(environment.env()) else {
        return ptr::null_mut();
    };
    // SAFETY: N1, N3: arguments of the call under way.
    let delegate = unsafe { JsDelegate::new(&environment, deliver, records) };
    let created = delegate.ok_or(UvError::EINVAL).and_then(|delegate| {
        let id = environment.open_context(Rc::clone(&delegate));
        id.inspect_err(|_| delegate.silence())
    });
    match created {
        Ok(id) => values::uint32(call.env, id),
        Err(error) => {
            let message = format!("The context could not be created: {error}");
            values::throw(call.env, Some(&error.name()), &message)
        }
    }
}

/// `contextWake(context)`.
fn context_wake(environment: &Environment, call: &Call) -> sys::napi_value {
    let context = call.u32(0).and_then(|id| environment.context(id));
    let woken =
        context.is_some_and(|context| !context.is_ending() && wake::wake(context.wake_token()));
    values::boolean(call.env, woken)
}

/// `contextWakeToken(context)`.
fn context_wake_token(environment: &Environment, call: &Call) -> sys::napi_value {
    let context = call.u32(0).and_then(|id| environment.context(id));
    let token = context.map_or(0, |context| context.wake_token());
    let mut result = ptr::null_mut();
    // SAFETY: N1.
    unsafe { sys::napi_create_bigint_uint64(call.env, token, &raw mut result) };
    result
}

/// `wakeByToken(token)`.
fn wake_by_token(_environment: &Environment, call: &Call) -> sys::napi_value {
    let [argument, ..] = call.args;
    let (mut token, mut lossless) = (0, false);
    // SAFETY: N1, N3: an argument of the call under way.
    let status = unsafe {
        sys::napi_get_value_bigint_uint64(call.env, argument, &raw mut token, &raw mut lossless)
    };
    let woken = status == sys::Status::napi_ok && lossless && wake::wake(token);
    values::boolean(call.env, woken)
}
