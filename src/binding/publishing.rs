//! One call for a message to many connections.

use napi_sys as sys;

use super::environment::Environment;
use super::hot::{opcode, with_payload, COMPRESS, OPCODE};
use super::values::{self, Call};
use crate::endpoint::{Overflow, Publication};

/// The flag beside those of `send`: a receiver that is too slow is dropped.
const CLOSE_ON_OVERFLOW: u32 = 1 << 8;
/// What stands for no limit.
const UNLIMITED: u32 = u32::MAX;

/// `publish(context, data, flags, receivers)`: returns how many have got the message. `receivers` is
/// `[count, except, maxBackpressure, ...numbers]`, of which the first `count` numbers count. Throws if there
/// is no memory for a string.
pub(super) fn publish(environment: &Environment, call: &Call) -> sys::napi_value {
    let context = call.u32(0).and_then(|id| environment.context(id));
    let (Some(context), Some(flags)) = (context, call.u32(2)) else {
        return values::uint32(call.env, 0);
    };
    let sent = call.with_numbers(3, |receivers| {
        let Some((&[count, except, max_backpressure], numbers)) = receivers.split_first_chunk()
        else {
            return Some(0);
        };
        let numbers = numbers.get(..count as usize).unwrap_or(numbers);
        let limit = match max_backpressure {
            UNLIMITED => usize::MAX,
            limit => limit as usize,
        };
        let overflow =
            if flags & CLOSE_ON_OVERFLOW == 0 { Overflow::Drop } else { Overflow::Close };
        with_payload(environment, call, 1, |message| {
            let opcode = opcode(flags & OPCODE);
            let compress = flags & COMPRESS != 0;
            Publication::new(&context, &environment.table, opcode, message, compress)
                .send(numbers, except, limit, overflow)
        })
    });
    if context.budget().is_over() {
        context.balance();
    }
    match sent.unwrap_or(Some(0)) {
        Some(sent) => values::uint32(call.env, sent),
        None => values::throw(call.env, Some("ENOMEM"), "There is no memory for the message"),
    }
}
