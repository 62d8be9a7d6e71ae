//! A flag that says that something is under way.

use std::cell::Cell;

/// Holds a flag set, and clears it when it is dropped, also by unwinding.
pub(super) struct Busy<'a>(&'a Cell<bool>);

impl<'a> Busy<'a> {
    /// Sets the flag, unless it is set already.
    pub(super) fn begin(flag: &'a Cell<bool>) -> Option<Self> {
        (!flag.replace(true)).then_some(Self(flag))
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}
