//! One libwebsockets-style context: everything that lives on one loop and ends together.
//!
//! A context owns a few small handles (an idle and a check watcher, one timer, one wake handle, and on
//! Linux one for all its sockets), the registry of its members (connections and listeners), the
//! buffers they share, and the state machine that takes all of it down in the right order. It knows
//! nothing of WebSockets and nothing of JavaScript: members and the delegate are traits.
//!
//! # A loop turn
//! Reads and other callbacks only queue [`Record`]s. Once per turn, after the loop has polled (and
//! before it polls, for what came up elsewhere), [`Context::turn`] hands all records to the
//! delegate in one delivery and then flushes the members that were written to. While something
//! waits for a turn the idle watcher keeps the loop alive and from blocking in a poll, so nothing is
//! lost or late when it is the last thing on the loop.
//!
//! # The end
//! ```text
//! Running -> Draining -> Closing -> Destroying -> Destroyed
//! ```
//! `Destroying` is entered at once, or, when `destroy` is called while the delegate is running
//! (`depth > 0`), as soon as it returns. Each handle that was opened is counted until its close
//! callback; the last one finalises the context from inside that callback. The count decides when
//! promises settle. It does not decide memory: each handle holds its owner by a strong reference.

mod budget;
mod buffers;
mod deadlines;
mod log;
mod members;
mod outbox;
mod slice;
#[cfg(target_os = "linux")]
mod sockets;
mod stats;

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use budget::Budget;
pub(crate) use buffers::{append, copy, BufferPool};
pub(crate) use log::{Log, Span};
pub(crate) use members::{Member, MemberKind, Members};
pub(crate) use outbox::{Kind, Outbox, Record, Stash};
pub(crate) use stats::{Counters, Stats};

use crate::uv::wake::{Wake, WakeOwner};
use crate::uv::{
    call, queue_work, tell_closed, Check, CheckOwner, Idle, IdleOwner, Loop, Owner, ReceiveBuffer,
    StreamOwner, Timer, TimerOwner, UvError,
};
pub(crate) use crate::uv::{Job, Work, WorkOwner};
use deadlines::Deadlines;
use slice::{Rest, Round, Slice, SLICE};

/// Bytes that one read may bring. Large enough that a burst of small messages is one read, small
/// enough to stay in the second-level cache.
const RECEIVE_BUFFER: usize = 64 * 1024;

/// Deliveries in one turn. What handlers bring about at once (a completed send, a resumed connection)
/// is delivered in the same turn, but a handler that goes on for ever must not hold up the loop.
const ROUNDS: u32 = 8;

/// Bytes that members may unpack from their input in one turn of the loop: some tenths of a millisecond's work,
/// and several milliseconds' where a virtual machine has to get the memory first. More of it would hold up
/// timers and other connections.
const ALLOWANCE: isize = 256 * 1024;

/// Bytes that a member may unpack, in some turns in a row, before it is another one's turn. If they changed places
/// after each, all would hold most of a message at the same time.
const SHARE: isize = 1024 * 1024;

/// Deadlines that are looked at in one turn of the loop. A member answers with a write, at most, so that is
/// some milliseconds' work; and members whose deadlines fell due while the loop was held up, all at once,
/// are spread again.
const DUE: usize = 1024;

/// Where a context stands. The order of the variants is the order of a life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum State {
    /// Everything is possible.
    Running,
    /// Listeners are closed; connections live on until they end by themselves.
    Draining,
    /// Connections are being closed with a closing handshake, until a deadline.
    Closing,
    /// Handles are being closed.
    Destroying,
    /// Every close callback has run.
    Destroyed,
}

/// The side that consumes records: the JavaScript environment, or a test.
pub(crate) trait Delegate {
    /// Keeps a copy of `payload` for the records of this batch, or refuses because nobody will
    /// ever consume it.
    fn stash(&self, payload: &[u8]) -> Option<Stash>;
    /// Takes over a large payload; the record refers to it by order.
    fn hand_over(&self, payload: Vec<u8>);
    /// Consumes `batch`. Runs user code, which may call anything.
    fn deliver(&self, batch: &[Record]);
    /// From now on only endings are of interest.
    fn mute(&self);
    /// The context is destroyed and its last record delivered.
    fn ended(&self, id: u32);
}

/// See the module's documentation.
pub(crate) struct Context {
    id: u32,
    on: Loop,
    delegate: Rc<dyn Delegate>,
    state: Cell<State>,
    /// Deliveries on the stack.
    depth: Cell<u32>,
    destroy_queued: Cell<bool>,
    closing_timeout: Cell<u64>,
    keep_alive: Cell<bool>,

    idle: OnceCell<Idle>,
    check: OnceCell<Check>,
    timer: OnceCell<Timer>,
    wake: OnceCell<Wake>,
    #[cfg(target_os = "linux")]
    sockets: OnceCell<Rc<crate::uv::Sockets>>,
    /// The set was served in this turn of the loop.
    #[cfg(target_os = "linux")]
    served: Cell<bool>,
    /// Handles whose close callback has not run.
    handles: Cell<u32>,
    turn_wanted: Cell<bool>,
    /// The timer has fired; deadlines are looked at once the loop has polled.
    timer_fired: Cell<bool>,

    members: RefCell<Members>,
    ended_listeners: RefCell<Vec<u32>>,
    /// Places of members to flush, and to resume. One that has left may have been followed by another,
    /// which can be asked in vain.
    dirty: RefCell<Vec<u32>>,
    resumable: RefCell<Vec<u32>>,
    /// Owners of closed sockets, which are to hear of it.
    closed: RefCell<Vec<Rc<dyn StreamOwner>>>,
    allowance: Rc<Cell<isize>>,
    /// What the first of `resumable` has unpacked in a row.
    unpacked: Cell<isize>,
    slice: Slice,
    /// Something was left to the next turn, which begins when the loop has polled.
    put_off: Cell<bool>,
    rest: Rest,
    round: Round,
    outbox: Outbox,
    deadlines: Deadlines,
    budget: Budget,
    receive_buffer: OnceCell<ReceiveBuffer>,
    buffers: BufferPool,
    log: Log,
    counters: Counters,
}

impl Context {
    /// Makes a context on `on`; `open` follows.
    pub(crate) fn new(id: u32, on: Loop, delegate: Rc<dyn Delegate>) -> Rc<Self> {
        Rc::new(Self {
            id,
            on,
            delegate,
            state: Cell::new(State::Running),
            depth: Cell::new(0),
            destroy_queued: Cell::new(false),
            closing_timeout: Cell::new(0),
            keep_alive: Cell::new(true),
            idle: OnceCell::new(),
            check: OnceCell::new(),
            timer: OnceCell::new(),
            wake: OnceCell::new(),
            #[cfg(target_os = "linux")]
            sockets: OnceCell::new(),
            #[cfg(target_os = "linux")]
            served: Cell::new(false),
            handles: Cell::new(0),
            turn_wanted: Cell::new(false),
            timer_fired: Cell::new(false),
            members: RefCell::new(Members::default()),
            ended_listeners: RefCell::new(Vec::new()),
            dirty: RefCell::new(Vec::new()),
            resumable: RefCell::new(Vec::new()),
            closed: RefCell::new(Vec::new()),
            allowance: Rc::new(Cell::new(ALLOWANCE)),
            unpacked: Cell::default(),
            slice: Slice::default(),
            put_off: Cell::new(false),
            rest: Rest::default(),
            round: Round::default(),
            outbox: Outbox::default(),
            deadlines: Deadlines::default(),
            budget: Budget::default(),
            receive_buffer: OnceCell::new(),
            buffers: BufferPool::default(),
            log: Log::default(),
            counters: Counters::default(),
        })
    }

    /// Opens the context's own handles, which do not keep the loop alive. After a failure the caller
    /// destroys the context.
    pub(crate) fn open(self: &Rc<Self>) -> Result<(), UvError> {
        let idle = Idle::new(self.on, self.clone_as_idle())?;
        self.handle_opened();
        let _ = self.idle.set(idle);
        let check = Check::new(self.on, self.clone_as_check())?;
        self.handle_opened();
        self.check.get_or_init(|| check).start()?;
        let timer = Timer::new(self.on, self.clone_as_timer())?;
        self.handle_opened();
        let _ = self.timer.set(timer);
        let wake = Wake::new(self.on, self.clone_as_wake())?;
        self.handle_opened();
        let _ = self.wake.set(wake);
        Ok(())
    }

    fn clone_as_idle(self: &Rc<Self>) -> Rc<dyn IdleOwner> {
        Rc::<Self>::clone(self)
    }

    fn clone_as_check(self: &Rc<Self>) -> Rc<dyn CheckOwner> {
        Rc::<Self>::clone(self)
    }

    fn clone_as_timer(self: &Rc<Self>) -> Rc<dyn TimerOwner> {
        Rc::<Self>::clone(self)
    }

    fn clone_as_wake(self: &Rc<Self>) -> Rc<dyn WakeOwner> {
        Rc::<Self>::clone(self)
    }

    /// The loop.
    pub(crate) fn event_loop(&self) -> Loop {
        self.on
    }

    /// The current state.
    pub(crate) fn state(&self) -> State {
        self.state.get()
    }

    /// Whether new members are accepted. `Draining` refuses servers but lets clients in.
    pub(crate) fn accepts(&self, kind: MemberKind) -> bool {
        match kind {
            MemberKind::Listener => self.state.get() == State::Running,
            MemberKind::Connection => self.state.get() <= State::Draining,
        }
    }

    /// What happened so far, in numbers.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Records for the delegate.
    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Buffers that members borrow and give back.
    pub(crate) fn buffers(&self) -> &BufferPool {
        &self.buffers
    }

    /// What several members are to write in this turn.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Writes everything out if the log is full, so that it can take more.
    pub(crate) fn relieve_log(&self) {
        if self.log.is_full() {
            self.flush();
        }
    }

    /// The buffer that all reads of this context go through.
    pub(crate) fn receive_buffer(&self) -> &ReceiveBuffer {
        self.receive_buffer.get_or_init(|| ReceiveBuffer::new(RECEIVE_BUFFER))
    }

    // ---- records

    /// Queues a record and makes sure that a turn follows.
    pub(crate) fn record(&self, record: Record) {
        self.outbox.push(record);
        self.want_turn();
    }

    /// Queues a record whose `a` and `b` are the place of `payload`, which is copied.
    pub(crate) fn record_with(&self, kind: Kind, flags: u32, id: u32, payload: &[u8]) {
        self.outbox.push_with(&*self.delegate, kind, flags, id, payload);
        self.want_turn();
    }

    /// Queues a message. Returns false if there is no memory for it.
    pub(crate) fn record_message(
        &self,
        id: u32,
        binary: bool,
        payload: MessagePayload<'_>,
    ) -> bool {
        let is_queued = self.outbox.push_message(&*self.delegate, id, binary, payload);
        if is_queued {
            self.counters.message_received();
            self.want_turn();
        }
        is_queued
    }

    /// Queues bytes for the stream under a bridged connection. Returns false if there is no memory for
    /// them.
    pub(crate) fn record_output(&self, id: u32, bytes: &[u8]) -> bool {
        let is_queued = self.outbox.push_output(&*self.delegate, id, bytes);
        self.want_turn();
        is_queued
    }

    /// Queues a copy of what a tapped connection has read. Returns false if there is no memory for it.
    pub(crate) fn record_input(&self, id: u32, bytes: &[u8]) -> bool {
        let is_queued = self.outbox.push_input(&*self.delegate, id, bytes);
        self.want_turn();
        is_queued
    }

    fn want_turn(&self) {
        self.turn_wanted.set(true);
        if let Some(idle) = self.idle.get() {
            idle.start();
        }
    }

    // ---- members

    /// Registers a member and returns its place.
    pub(crate) fn join(&self, member: Rc<dyn Member>) -> u32 {
        self.members.borrow_mut().insert(member)
    }

    /// Forgets a member whose handles are closed. The last one to go may end the context.
    pub(crate) fn leave(self: &Rc<Self>, place: u32) {
        let member = self.members.borrow_mut().remove(place);
        drop(member);
        self.end_if_deserted();
    }

    fn member(&self, place: u32) -> Option<Rc<dyn Member>> {
        self.members.borrow().get(place).map(Rc::clone)
    }

    /// Remembers a listener whose end must be told after the ends of all connections.
    pub(crate) fn listener_ended(&self, id: u32) {
        if self.state.get() >= State::Destroying {
            self.ended_listeners.borrow_mut().push(id);
        } else {
            self.record(Record::new(Kind::ServerClosed, 0, id, 0, 0));
        }
    }

    /// Marks a member as written to; it is flushed at the end of the turn.
    pub(crate) fn mark_dirty(&self, place: u32) {
        self.dirty.borrow_mut().push(place);
        if self.depth.get() == 0 {
            self.want_turn();
        }
    }

    /// Delivers at once if the outbox is full. Called between the reads of a turn, by a member that
    /// holds no borrow.
    pub(crate) fn relieve(self: &Rc<Self>) {
        if self.outbox.is_full() {
            self.at_length(|| self.turn());
        }
    }

    /// How many bytes members may still unpack from their input in this turn of the loop. Whoever does
    /// takes it off, and asks to be resumed when nothing is left.
    pub(crate) fn allowance(&self) -> &Rc<Cell<isize>> {
        &self.allowance
    }

    /// Whether to go on in this turn of the loop. The first question in each phase of it is answered by
    /// yes.
    pub(crate) fn may_go_on(&self) -> bool {
        !self.slice.is_over()
    }

    /// The round of reading that is under way over libuv's handles. Who comes now has its turn in the next one.
    pub(crate) fn round(&self) -> u32 {
        self.round.number()
    }

    /// Whether a member whose handle the loop has named may read, which has last done so in the round `last`.
    pub(crate) fn may_read(&self, last: &Cell<u32>) -> bool {
        !self.rest.is_on() && self.round.admits(last, || self.may_go_on())
    }

    /// Asks that the member's `resume` runs once the current delivery is over.
    pub(crate) fn mark_resumable(&self, place: u32) {
        self.resumable.borrow_mut().push(place);
        self.want_turn();
    }

    /// Arms the deadline that `member` reports by [`Member::deadline`].
    pub(crate) fn arm(&self, place: u32, when: u64) {
        let members = self.members.borrow();
        if self.deadlines.arm(place, when, &members) {
            self.rearm();
        }
    }

    /// Whether members keep the loop alive.
    pub(crate) fn keeps_alive(&self) -> bool {
        self.keep_alive.get()
    }

    /// Lets all members keep the loop alive, or none.
    pub(crate) fn set_ref(&self, keep_alive: bool) {
        self.keep_alive.set(keep_alive);
        self.hold();
        let members = self.members.borrow().snapshot();
        for member in members {
            member.set_ref(keep_alive);
        }
    }

    /// Calls `visit` for each member.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&dyn Member)) {
        let members = self.members.borrow().snapshot();
        for member in members {
            visit(&*member);
        }
    }

    /// Collects the figures that `stats()` shows.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats::from_counters(&self.counters);
        stats.handles = self.handles.get();
        self.budget.count(&mut stats);
        self.for_each(|member| member.count(&mut stats));
        if self.state.get() >= State::Destroying {
            stats.closing = stats.handles;
        }
        stats
    }

    // ---- wake

    /// The token with which any thread can wake this context.
    pub(crate) fn wake_token(&self) -> u64 {
        self.wake.get().map_or(0, Wake::token)
    }

    // ---- the state machine

    /// Closes the listeners and lets the connections end by themselves.
    pub(crate) fn drain(self: &Rc<Self>) {
        if self.state.get() == State::Running {
            self.enter(State::Draining);
            self.retire(MemberKind::Listener);
            self.end_if_deserted();
        }
    }

    /// Closes the listeners, refuses what is half done, and gives open connections until
    /// `timeout` milliseconds from now. The delegate starts their closing handshakes.
    pub(crate) fn close(self: &Rc<Self>, timeout: u64) {
        if self.state.get() < State::Closing {
            self.enter(State::Closing);
            self.retire(MemberKind::Listener);
            self.retire(MemberKind::Connection);
            self.on.update_time();
            self.closing_timeout.set(self.on.now().saturating_add(timeout).max(1));
            self.rearm();
            self.end_if_deserted();
        }
    }

    /// Ends everything now. Called while the delegate is running, it takes effect when the
    /// delegate returns, and no message is delivered in between.
    pub(crate) fn destroy(self: &Rc<Self>) {
        if self.state.get() >= State::Destroying || self.destroy_queued.replace(true) {
            return;
        }
        self.delegate.mute();
        if self.depth.get() == 0 {
            self.enter_destroying();
        }
    }

    /// Ends everything now because the environment ends: no delivery is waited for.
    pub(crate) fn destroy_for_teardown(self: &Rc<Self>) {
        self.destroy_queued.set(true);
        self.enter_destroying();
    }

    /// Whether `destroy` has been called or has taken effect.
    pub(crate) fn is_ending(&self) -> bool {
        self.destroy_queued.get() || self.state.get() >= State::Destroying
    }

    fn enter(&self, state: State) {
        self.state.set(state);
        self.hold();
        self.record(Record::new(Kind::State, 0, self.id, state as u32, 0));
    }

    /// A context that is ending keeps the loop alive until it has, and so does one whose members wait for
    /// room in its budget: members may not, as a paused connection does not. The wake handle, which is
    /// always active, stands in for them.
    fn hold(&self) {
        let is_ending = matches!(self.state.get(), State::Draining | State::Closing);
        if let Some(wake) = self.wake.get() {
            wake.set_ref((is_ending || self.budget.is_tight()) && self.keep_alive.get());
        }
    }

    fn retire(&self, kind: MemberKind) {
        let members = self.members.borrow().snapshot();
        for member in members {
            if member.kind() == kind {
                member.retire();
            }
        }
    }

    /// Moves on when `drain` or `close` waits and nobody is left.
    fn end_if_deserted(self: &Rc<Self>) {
        let waits = matches!(self.state.get(), State::Draining | State::Closing);
        if waits && self.members.borrow().is_empty() {
            self.destroy();
        }
    }

    fn enter_destroying(self: &Rc<Self>) {
        if self.state.get() >= State::Destroying {
            return;
        }
        // What was sent before is given to the system, as an unbuffered send would have been.
        self.flush();
        self.state.set(State::Destroying);
        self.delegate.mute();
        // Keeps the context from finalising before everything has been asked to close.
        self.handle_opened();
        // The wake cell is emptied before its handle closes: a token is safe from here on.
        if let Some(wake) = self.wake.get() {
            wake.close();
        }
        if let Some(timer) = self.timer.get() {
            timer.close();
        }
        let members = self.members.borrow().snapshot();
        for member in members {
            call("panic:end", member, |member| member.end());
        }
        self.dirty.take();
        self.resumable.take();
        self.announce_closed();
        #[cfg(target_os = "linux")]
        self.close_sockets();
        if let Some(check) = self.check.get() {
            check.close();
        }
        if let Some(idle) = self.idle.get() {
            idle.close();
        }
        self.handle_closed();
    }

    // ---- handles

    /// Counts a handle that was initialised on behalf of this context.
    pub(crate) fn handle_opened(&self) {
        self.handles.set(self.handles.get() + 1);
    }

    /// Counts a handle whose close callback has run. The last one finalises the context.
    pub(crate) fn handle_closed(&self) {
        let left = self.handles.get() - 1;
        self.handles.set(left);
        if left == 0 && self.state.get() == State::Destroying {
            self.finalise();
        }
    }

    /// Runs `job` on the thread pool. It is counted like a handle; when `owner` has it back and is done
    /// with it, it calls `handle_closed`.
    pub(crate) fn queue_work<J: Job>(
        &self,
        job: J,
        owner: Rc<dyn WorkOwner<J>>,
    ) -> Result<Work, UvError> {
        let work = queue_work(self.on, job, owner)?;
        self.handle_opened();
        Ok(work)
    }

    fn finalise(&self) {
        self.state.set(State::Destroyed);
        for id in self.ended_listeners.take() {
            self.outbox.push(Record::new(Kind::ServerClosed, 0, id, 0, 0));
        }
        self.outbox.push(Record::new(Kind::Destroyed, 0, self.id, 0, 0));
        self.deliver();
        self.delegate.ended(self.id);
    }

    // ---- turns

    /// Delivers what is queued and flushes what was written, until nothing is left.
    fn turn(self: &Rc<Self>) {
        if self.depth.get() > 0 {
            return;
        }
        if !self.turn_wanted.get() && self.dirty.borrow().is_empty() {
            return;
        }
        for _ in 0..ROUNDS {
            // What is told of the end comes with the last handle.
            if self.state.get() >= State::Destroying {
                return;
            }
            let begun = self.outbox.is_telling().then(Instant::now);
            if !self.outbox.is_empty() {
                self.deliver();
            }
            self.flush();
            if let Some(begun) = begun {
                self.outbox.learn(begun.elapsed(), SLICE);
            }
            self.balance();
            if self.destroy_queued.get() {
                self.enter_destroying();
                return;
            }
            // What was put aside goes on after the delivery that it waited for.
            let nobody_waits =
                self.closed.borrow().is_empty() && self.resumable.borrow().is_empty();
            if nobody_waits && self.outbox.is_empty() {
                return self.turn_is_over();
            }
            self.announce_closed();
            if self.outbox.is_empty() && self.allowance.get() <= 0 {
                return;
            }
            if self.slice.is_over() {
                return self.put_off.set(true);
            }
            self.run_resumable();
        }
        self.flush();
    }

    /// Lets the loop block again, unless a deadline is still to be looked at, or sockets to be served.
    fn turn_is_over(&self) {
        #[cfg(target_os = "linux")]
        if self.sockets_wait() {
            return;
        }
        if !self.timer_fired.get() && self.turn_wanted.replace(false) {
            if let Some(idle) = self.idle.get() {
                idle.stop();
            }
        }
    }

    /// Does `work`. If that has taken long the next turn of the loop is the others', and it comes at once.
    fn at_length(&self, work: impl FnOnce()) {
        self.rest.after(work);
        if self.rest.is_next() {
            self.want_turn();
        }
    }

    fn deliver(&self) {
        let batch = self.outbox.take();
        {
            let _depth = Depth::enter(&self.depth);
            self.delegate.deliver(&batch);
        }
        self.outbox.give_back(batch);
    }

    /// Writes out everything that members have corked.
    pub(crate) fn flush(&self) {
        while !self.dirty.borrow().is_empty() {
            let mut dirty = self.dirty.take();
            for place in dirty.drain(..) {
                if let Some(member) = self.member(place) {
                    call("panic:flush", member, |member| member.flush());
                }
            }
            // Keep the allocation, unless a flush made somebody dirty again.
            let mut current = self.dirty.borrow_mut();
            if current.is_empty() {
                *current = dirty;
            }
        }
        self.log.clear();
    }

    fn announce_closed(&self) {
        for owner in self.closed.take() {
            tell_closed(owner);
        }
    }

    /// Resumes members, the first one first, as long as they may unpack something and the batch is not full.
    fn run_resumable(&self) {
        if self.allowance.get() <= 0 {
            return;
        }
        let mut places = self.resumable.take().into_iter();
        let mut in_a_row = self.unpacked.take();
        while let Some(place) = places.next() {
            let before = self.allowance.get();
            if let Some(member) = self.member(place) {
                call("panic:resume", member, |member| member.resume());
            }
            in_a_row += before - self.allowance.get();
            let is_spent = self.allowance.get() <= 0;
            if is_spent || self.outbox.is_full() {
                // Those who did not get their turn are in front of those who want another, but behind who still
                // has a part of its share.
                let mut resumable = self.resumable.borrow_mut();
                let has_share = is_spent && in_a_row < SHARE;
                let goes_on = has_share && resumable.pop_if(|last| *last == place).is_some();
                if goes_on {
                    self.unpacked.set(in_a_row);
                }
                resumable.splice(..0, goes_on.then_some(place).into_iter().chain(places));
                return;
            }
            in_a_row = 0;
        }
    }

    /// Calls the members whose deadline has passed.
    fn enforce_deadlines(self: &Rc<Self>) {
        let now = self.on.now();
        let grace = self.budget.deadline();
        if grace != 0 && now >= grace {
            self.end_grace();
        }
        let closing = self.closing_timeout.get();
        if closing != 0 && now >= closing {
            self.closing_timeout.set(0);
            self.destroy();
            return;
        }
        for _ in 0..DUE {
            let due = self.deadlines.pop_due(now, &self.members.borrow());
            let Some(member) = due else { break };
            call("panic:deadline", member, |member| member.deadline_reached());
        }
        self.rearm();
    }

    /// Sets the timer to whatever comes first: a member's deadline, the end of `close`, or that of a grace.
    fn rearm(&self) {
        let own = [self.closing_timeout.get(), self.budget.deadline()];
        let own = own.into_iter().filter(|when| *when != 0);
        let next = own.chain(self.deadlines.next()).min();
        if let (Some(timer), Some(next)) = (self.timer.get(), next) {
            timer.arm(next.saturating_sub(self.on.now()));
        }
    }
}

/// Counts a delivery on the stack, also when it unwinds.
struct Depth<'a>(&'a Cell<u32>);

impl<'a> Depth<'a> {
    fn enter(depth: &'a Cell<u32>) -> Self {
        depth.set(depth.get() + 1);
        Self(depth)
    }
}

impl Drop for Depth<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// A message's payload: still in the receive buffer, or assembled in a buffer of its own.
pub(crate) enum MessagePayload<'a> {
    /// To be copied.
    Borrowed(&'a [u8]),
    /// To be handed over.
    Owned(Vec<u8>),
}

impl Owner for Context {
    fn closed(&self) {
        self.handle_closed();
    }

    // What a turn had in hand is lost, an end that was asked for included: somebody would wait for it.
    fn panicked(self: Rc<Self>) {
        self.destroy_queued.set(false);
        self.destroy();
    }
}

impl IdleOwner for Context {
    fn before_poll(self: Rc<Self>) {
        if !self.put_off.get() && !self.rest.is_on() {
            self.at_length(|| self.turn());
            self.slice.finish();
        }
    }
}

impl CheckOwner for Context {
    fn after_poll(self: Rc<Self>) {
        let is_resting = self.rest.is_on();
        if is_resting {
            // Deadlines wait, too: nothing was read.
            self.want_turn();
        } else {
            #[cfg(target_os = "linux")]
            self.serve_those_left();
            if self.timer_fired.replace(false) {
                self.enforce_deadlines();
                self.want_turn();
            }
        }
        // Not before: those who wait are in front of those who are read only now.
        self.allowance.set(ALLOWANCE);
        self.slice.finish();
        self.put_off.set(false);
        // If reading took long the others are not to wait for what came of it, too.
        if !is_resting && !self.rest.is_next() {
            self.at_length(|| self.turn());
            self.slice.finish();
        }
        self.rest.turn_is_over();
        // In a turn of the others nobody has had one.
        if !is_resting {
            self.round.turn_is_over();
        }
        if self.turn_wanted.get() {
            // The idle handle may have failed to start, and nothing else would wake the loop.
            self.want_turn();
        }
    }
}

impl WakeOwner for Context {
    fn woken(&self) {
        self.record(Record::new(Kind::WaitCancelled, 0, self.id, 0, 0));
    }
}

impl TimerOwner for Context {
    fn due(self: Rc<Self>) {
        // The loop runs timers before it polls. What a peer has sent in time may still wait in the
        // kernel, so deadlines are looked at after the poll.
        self.timer_fired.set(true);
        self.want_turn();
    }
}
