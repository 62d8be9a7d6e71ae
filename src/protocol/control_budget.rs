//! How many PING and PONG frames a peer may send: so many a second in the long run, and two seconds'
//! worth at once.
//!
//! Each costs the peer two to six bytes, and us an answer or an event. A PONG that answers a PING of
//! ours is free: we have asked for it.
//!
//! A bucket of tokens, kept as the one moment at which it will be full again. The time comes from
//! above, in milliseconds of any clock, and may wrap around: a connection pays eight bytes for it.

use super::limits::FASTEST_CONTROL_FRAMES;
use super::ProtocolError;

/// Seconds whose frames may come at once, so that what has piled up behind a busy event loop, ours
/// or the peer's, is no breach.
const BURST: u32 = 2;

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default)]
pub struct ControlBudget {
    /// When the bucket is full, or the past.
    full_at: u32,
    /// PINGs of ours that no PONG has come for.
    asked: u32,
}

impl ControlBudget {
    /// Notes that we have sent a PING.
    pub fn asks(&mut self) {
        self.asked = self.asked.saturating_add(1);
    }

    /// Spends a token on a PING that came at `now`, where `rate` come back in a second: at most
    /// [`FASTEST_CONTROL_FRAMES`]; 0 for no limit. A rate that does not divide 1,000 is rounded up.
    pub fn ping(&mut self, now: u32, rate: u32) -> Result<(), ProtocolError> {
        if rate == 0 {
            return Ok(());
        }
        // Milliseconds in which a token comes back, and in which an empty bucket is full again.
        let rate = rate.min(FASTEST_CONTROL_FRAMES);
        let interval = 1_000_u32.div_euclid(rate);
        let window = interval.saturating_mul(rate).saturating_mul(BURST);
        // What lies further ahead than a bucket lasts is the past, seen across the clock's end.
        let missing = match self.full_at.wrapping_sub(now) {
            missing if missing <= window => missing,
            _ => 0,
        };
        if missing > window.saturating_sub(interval) {
            return Err(ProtocolError::TooManyControlFrames);
        }
        self.full_at = now.wrapping_add(missing).wrapping_add(interval);
        Ok(())
    }

    /// The same for a PONG, unless we have asked for one.
    pub fn pong(&mut self, now: u32, rate: u32) -> Result<(), ProtocolError> {
        match self.asked.checked_sub(1) {
            Some(asked) => {
                self.asked = asked;
                Ok(())
            }
            None => self.ping(now, rate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ControlBudget, FASTEST_CONTROL_FRAMES};

    const RATE: u32 = 100;
    const WINDOW: u32 = 2_000;

    /// How many PINGs pass at `now`.
    fn burst(budget: &mut ControlBudget, now: u32, rate: u32) -> u32 {
        (0..5_000).take_while(|_| budget.ping(now, rate).is_ok()).count() as u32
    }

    #[test]
    fn two_seconds_worth_passes_at_once_and_no_more() {
        for now in [0, 1, 12_345, u32::MAX / 2] {
            for rate in [1, 2, 3, 7, 99, 100, 101, 333, 999, FASTEST_CONTROL_FRAMES] {
                let mut budget = ControlBudget::default();
                assert_eq!(burst(&mut budget, now, rate), 2 * rate, "{now} {rate}");
                assert_eq!(burst(&mut budget, now, rate), 0);
            }
        }
    }

    #[test]
    fn what_comes_back_in_a_second_is_the_rate_or_a_little_more() {
        for rate in [1, 2, 3, 7, 99, 100, 101, 333, 999, FASTEST_CONTROL_FRAMES] {
            let mut budget = ControlBudget::default();
            burst(&mut budget, 0, rate);
            let passed = burst(&mut budget, 1_000, rate);
            assert!((rate..=rate * 2).contains(&passed), "{rate} {passed}");
        }
    }

    #[test]
    fn without_a_limit_all_pass() {
        let mut budget = ControlBudget::default();
        assert_eq!(burst(&mut budget, 7, 0), 5_000);
        assert!((0..5_000).all(|_| budget.pong(7, 0).is_ok()));
    }

    #[test]
    fn a_hundred_come_back_in_a_second_and_never_more_than_two_hundred() {
        let mut budget = ControlBudget::default();
        let start = u32::MAX - 5_000;
        assert_eq!(burst(&mut budget, start, RATE), 200);
        assert_eq!(burst(&mut budget, start + 9, RATE), 0);
        assert_eq!(burst(&mut budget, start + 10, RATE), 1);
        assert_eq!(burst(&mut budget, start + 1_010, RATE), 100);
        for idle in [WINDOW, 2 * WINDOW, 3_600_000, u32::MAX / 2, u32::MAX - 2 * WINDOW] {
            let now = start.wrapping_add(1_010).wrapping_add(idle);
            let mut later = budget;
            assert_eq!(burst(&mut later, now, RATE), 200, "{idle}");
        }
    }

    #[test]
    fn a_hundred_a_second_pass_for_ever() {
        let mut budget = ControlBudget::default();
        let mut now = u32::MAX - 500_000;
        for _ in 0..100_000 {
            now = now.wrapping_add(10);
            assert!(budget.ping(now, RATE).is_ok());
        }
        assert_eq!(burst(&mut budget, now, RATE), 199);
    }

    #[test]
    fn a_pong_that_was_asked_for_is_free_and_another_is_not() {
        let mut budget = ControlBudget::default();
        for _ in 0..5_000 {
            budget.asks();
        }
        for _ in 0..5_000 {
            assert!(budget.pong(7, RATE).is_ok());
        }
        assert_eq!((0..1_000).take_while(|_| budget.pong(7, RATE).is_ok()).count(), 200);
    }

    #[test]
    fn a_heartbeat_is_never_a_breach() {
        for interval in [20, 1_000, 30_000, WINDOW, 655_360, 3_600_000] {
            let mut budget = ControlBudget::default();
            let mut now = 0_u32;
            for _ in 0..10_000 {
                assert!(budget.ping(now, RATE).is_ok() && budget.pong(now, RATE).is_ok());
                now = now.wrapping_add(interval);
            }
        }
    }
}
