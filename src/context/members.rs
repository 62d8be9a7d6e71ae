//! Connections and listeners, as their context sees them.

use std::collections::BinaryHeap;
use std::rc::Rc;

use super::Stats;
use crate::uv::Owner;

/// What kind of member it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MemberKind {
    /// Accepts connections.
    Listener,
    /// A connection, from its first attempt on.
    Connection,
}

/// Something that lives in a context and has handles to close.
pub(crate) trait Member: Owner {
    /// What it is.
    fn kind(&self) -> MemberKind;
    /// The context closes gracefully: a listener stops, a half-done handshake is refused. Open
    /// connections do nothing: they are closed by a Close frame.
    fn retire(&self);
    /// The context is destroyed: close every handle now.
    fn end(&self);
    /// Writes out what is corked, if anything.
    fn flush(&self);
    /// Goes on with bytes that were put aside, if it has asked for that.
    fn resume(&self);
    /// The deadline that is armed, in the loop's milliseconds; 0 for none.
    fn deadline(&self) -> u64;
    /// That deadline has passed.
    fn deadline_reached(&self);
    /// Keeps the loop alive, or not.
    fn set_ref(&self, keep_alive: bool);
    /// Adds itself to the figures.
    fn count(&self, stats: &mut Stats);
    /// Brings its account with the context's budget up to date.
    fn settle(&self) {}
    /// Bytes on that account.
    fn account(&self) -> usize {
        0
    }
    /// Ends because it holds most, and holds nothing any more.
    fn evict(&self) {}
    /// There is room in the budget: whoever was not read from is again.
    fn release(&self) {}
}

/// A slab: places are stable and reused.
#[derive(Default)]
pub(crate) struct Members {
    places: Vec<Option<Rc<dyn Member>>>,
    free: Vec<u32>,
}

impl Members {
    /// Whether nobody is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.places.len()
    }

    /// Adds a member and returns its place.
    pub(crate) fn insert(&mut self, member: Rc<dyn Member>) -> u32 {
        match self.free.pop() {
            Some(place) => {
                if let Some(slot) = self.places.get_mut(place as usize) {
                    *slot = Some(member);
                }
                place
            }
            None => {
                self.places.push(Some(member));
                (self.places.len() - 1) as u32
            }
        }
    }

    /// Removes a member.
    pub(crate) fn remove(&mut self, place: u32) -> Option<Rc<dyn Member>> {
        let member = self.places.get_mut(place as usize)?.take();
        if member.is_some() {
            self.free.push(place);
        }
        member
    }

    /// Finds a member.
    pub(crate) fn get(&self, place: u32) -> Option<&Rc<dyn Member>> {
        self.places.get(place as usize)?.as_ref()
    }

    /// What each member holds that holds something, and its place, largest first.
    pub(crate) fn holders(&self) -> BinaryHeap<(usize, u32)> {
        let accounts = self.places.iter().zip(0_u32..).filter_map(|(member, place)| {
            let account = member.as_ref()?.account();
            (account > 0).then_some((account, place))
        });
        accounts.collect()
    }

    /// Returns all members, so that they can be called while the registry changes.
    pub(crate) fn snapshot(&self) -> Vec<Rc<dyn Member>> {
        self.places.iter().flatten().map(Rc::clone).collect()
    }
}
