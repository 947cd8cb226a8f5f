//! Steps 3 to 6 of 9: rings → sequence → engine → sign → rings. The only tile that calls the engine.
//!
//! Rings are looked at in this order: our own events (an order that was never sent), control, user, replies, market,
//! match. What we know of our orders comes before what the market says, so that no decision is made on a fill already
//! heard of.

use std::{
    collections::VecDeque,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use crate::{
    cold::{Latest, Slot, journal::Record},
    engine::{Action, Actions, Fate, Probe, Report, Step, sign::OrderSigner},
    gateway::{Command, Origin},
    stage::{
        Control, Stage,
        counters::{Counters, add},
        latency::{Latency, Sample},
        ring::{Rx, Tx},
    },
    strategies::Core,
    sys::tsc::Clock,
    topology::ORDERS_KEPT_FOR_CANCELS,
    types::{
        Cycles, Event, InstrumentIx, Nanos, Sequenced, Stamp, Stamped, Usdc,
        event::{CancelRefusal, ControlEvent, ReadEvent, RecoveredEvent, ReplyEvent},
    },
    wal::Wal,
};

/// Events taken from one ring in one turn.
const BATCH: usize = 64;
/// Time passes for the engine at least every 100 ms; housekeeping, every 10 ms, makes the tick before that is over.
const TICK_AFTER_NS: u64 = 90_000_000;
/// The engine's numbers are shown to the cold tile this often.
const SHOW_EVERY_NS: u64 = 200_000_000;
/// Events between two state hashes.
const HASH_EVERY: u64 = 65_536;
/// Snapshots owed to a full ring, at most: one for each instrument of a large universe.
const RESYNC_OWED_MAX: usize = 1_024;

/// The kinds of events, as the summary names them.
pub const EVENT_KINDS: [&str; 8] = ["start", "recovered", "tick", "market", "user", "reply", "match", "control"];

/// What others may know of the engine while it runs, and all of it once it ended.
#[derive(Debug, Default)]
pub struct HotStatus {
    /// Last event's place in the stream.
    pub seq: AtomicU64,
    /// True while new orders are admitted.
    pub admitting: AtomicBool,
    /// Set once, when the engine has heard its last event.
    pub outcome: OnceLock<Outcome>,
}

/// How a run ended.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What it did.
    pub report: Report,
    /// The last event's place in the stream.
    pub seq: u64,
    /// The state's hash after it.
    pub state_hash: u64,
    /// Events by kind, as [`EVENT_KINDS`].
    pub events: [u64; 8],
    /// True if nothing was left behind.
    pub clean: bool,
}

/// The hot tile's ends of its rings.
#[derive(Debug)]
pub struct HotEnds {
    /// From the operator.
    pub control: Rx<ControlEvent>,
    /// The user channel.
    pub user: Rx<Stamped>,
    /// The gateway's answers.
    pub replies: Rx<Stamped>,
    /// The market channel, one ring a feed tile.
    pub market: Vec<Rx<Stamped>>,
    /// Match feeds.
    pub matches: Rx<Stamped>,
    /// To the gateway.
    pub orders: Tx<Command>,
    /// To the feed tiles; the n-th has the markets whose index is n modulo their number.
    pub resync: Vec<Tx<InstrumentIx>>,
    /// To the journal.
    pub journal: Tx<Record>,
    /// Latency samples.
    pub samples: Tx<Sample>,
}

/// What the hot tile is made from.
#[derive(Debug)]
pub struct HotConfig {
    /// The engine before its first event.
    pub core: Core,
    /// Signs what risk approved.
    pub signer: OrderSigner,
    /// 21 random bits that begin the salt of every order of this run.
    pub run_tag: u32,
    /// Collateral at the venue before the first order.
    pub cash: Usdc,
    /// A match feed is configured.
    pub match_feed: bool,
    /// Decide and sign, send nothing.
    pub dry_run: bool,
    /// Where orders are written before they leave.
    pub wal: Wal,
    /// What earlier runs left.
    pub recovered: Vec<RecoveredEvent>,
    /// Where the engine's numbers are put for the cold tile.
    pub board: Slot<Latest>,
}

/// The hot tile.
#[derive(Debug)]
pub struct HotTile {
    ends: HotEnds,
    control: Arc<Control>,
    counters: Arc<Counters>,
    status: Arc<HotStatus>,
    engine: Core,
    signer: OrderSigner,
    wal: Wal,
    board: Slot<Latest>,
    shown: Nanos,
    clock: Clock,
    actions: Actions,
    /// Events of our own making, to be heard next.
    own: VecDeque<Event>,
    /// Snapshots that did not fit their ring.
    resync_owed: Vec<InstrumentIx>,
    cancel_all_owed: bool,
    /// Collateral at the start: what a dry run still has at the end.
    cash: Usdc,
    journal: JournalState,
    dry_run: bool,
    seq: u64,
    last_tick: Nanos,
    last_heard: Nanos,
    heard_stop: bool,
    /// The kill switch is on, and the gateway was told.
    orders_off: bool,
    /// Something was handed to the gateway in this turn.
    handed: bool,
    done: bool,
    events: [u64; 8],
    samples_lost: u64,
}

/// Whether the journal keeps up.
#[derive(Debug, Default)]
struct JournalState {
    /// Records lost since it was last told so.
    lost: u64,
    /// The engine was told that it is down.
    down: bool,
}

impl HotTile {
    /// A tile before its first event, which it has ready: the start.
    pub fn new(
        config: HotConfig,
        ends: HotEnds,
        control: &Arc<Control>,
        counters: &Arc<Counters>,
        status: &Arc<HotStatus>,
    ) -> Self {
        let HotConfig { core, signer, run_tag, cash, match_feed, dry_run, wal, recovered, board } = config;
        let mut own = VecDeque::with_capacity(256 + recovered.len());
        own.push_back(Event::Start { run_tag, cash, match_feed });
        own.extend(recovered.into_iter().map(Event::Recovered));
        Self {
            ends,
            control: Arc::clone(control),
            counters: Arc::clone(counters),
            status: Arc::clone(status),
            engine: core,
            signer,
            wal,
            board,
            shown: Nanos(0),
            clock: Clock::new(),
            actions: Actions::new(),
            own,
            resync_owed: Vec::with_capacity(RESYNC_OWED_MAX),
            cancel_all_owed: false,
            cash,
            journal: JournalState::default(),
            dry_run,
            seq: 0,
            last_tick: Nanos(0),
            last_heard: Nanos(0),
            heard_stop: false,
            orders_off: false,
            handed: false,
            done: false,
            events: [0; 8],
            samples_lost: 0,
        }
    }

    /// Hears one event and does what the engine asks for.
    fn hear(&mut self, stamp: Stamp, event: Event) {
        self.seq += 1;
        let event = Sequenced { seq: self.seq, stamp, event };
        self.last_heard = stamp.wall;
        let (kind, origin) = kind_of(&event.event);
        self.events[kind] += 1;
        self.record(Record::Event(event));

        let mut marks =
            Marks { clock: &self.clock, last: self.clock.cycles(), spans: heapless::Vec::new(), hash: (0, 0) };
        self.actions.clear();
        self.engine.on(&event, &mut marks, &mut self.actions);
        let Marks { spans, hash: (hash_ns, hashes), .. } = marks;
        for (what, ns) in spans {
            self.sample(what, ns);
        }
        let killed = self.engine.killed();
        if killed.is_some() != self.orders_off {
            self.orders_off = killed.is_some();
            self.control.set_orders_off(self.orders_off);
            // It survives us: the next run begins with it.
            self.wal.set_killed(killed);
        }
        let wal = &mut self.wal;
        self.engine.tell_fates(|order, fate| match fate {
            Fate::Arrived => wal.arrived(order),
            Fate::Finished => wal.finish(order),
        });

        for n in 0..self.actions.len() {
            let action = self.actions[n];
            self.record(Record::Action { seq: self.seq, action });
            self.carry_out(&action, origin, hash_ns.checked_div(hashes).unwrap_or(0));
        }
        if self.seq.is_multiple_of(HASH_EVERY) && !self.done {
            let hash = self.engine.state_hash();
            self.record(Record::StateHash { seq: self.seq, hash });
        }
    }

    fn carry_out(&mut self, action: &Action, origin: Origin, hash_ns: u64) {
        match *action {
            Action::Place(approved) => {
                let before = self.clock.cycles();
                let hasher = self.engine.hasher(approved.intent().instrument.market());
                let signed = self.signer.sign(&approved, hasher);
                let ns = hash_ns + self.clock.ns_between(before, self.clock.cycles());
                self.sample(Latency::Sign, ns);
                let order = approved.hash();
                let token = self.engine.universe().token(approved.intent().instrument);
                // Known to whoever comes after us before its first byte leaves; what does not fit there does not leave.
                if self.dry_run || !self.wal.register(&approved, &token, self.last_heard) {
                    self.own.push_back(Event::Reply(ReplyEvent::NeverSent { order }));
                    return;
                }
                match self.ends.orders.push_keeping(Command::Place { signed, origin }, ORDERS_KEPT_FOR_CANCELS) {
                    Ok(()) => {
                        self.handed = true;
                        add(&self.counters.orders_handed, 1);
                    }
                    Err(_) => {
                        add(&self.counters.orders_refused_ring_full, 1);
                        self.own.push_back(Event::Reply(ReplyEvent::NeverSent { order }));
                    }
                }
            }
            Action::Cancel { order, cause, .. } => {
                self.handed = true;
                let full = ReplyEvent::CancelUnknown { order };
                let dry = ReplyEvent::CancelRefused { order, reason: CancelRefusal::Gone };
                self.ask(Command::Cancel { order, cause, origin }, Some(full), Some(dry));
            }
            Action::CancelAll => {
                self.cancel_all_owed = !self.dry_run && self.ends.orders.push(Command::CancelAll).is_err();
            }
            // A look-up that does not fit is asked again by the engine, whose order stays unresolved.
            Action::Lookup { order } => {
                let dry = ReplyEvent::OrderStatus { order, live: false, matched: None };
                self.ask(Command::Lookup { order }, None, Some(dry));
            }
            // Asked again by the engine on its timer. A dry run reads it too: it is public, and says what was paid.
            Action::AskMarket { market } => drop(self.ends.orders.push(Command::AskMarket { market })),
            // One that does not fit is asked for again; in a dry run there is nothing to be reconciled.
            Action::Reconcile { round, .. } if self.dry_run => {
                for read in [ReadEvent::Begin { round }, ReadEvent::End { round, complete: true }] {
                    self.own.push_back(Event::Reply(ReplyEvent::Read(read)));
                }
            }
            Action::Reconcile { round, trades_since } => {
                self.ask(Command::Reconcile { round, trades_since }, None, None);
            }
            Action::Merge { market, qty } => {
                let failed = ReplyEvent::MergeFailed { market, qty };
                self.ask(Command::Merge { market, qty }, Some(failed), Some(failed));
            }
            Action::ReadCollateral => {
                self.ask(Command::ReadCollateral, None, Some(ReplyEvent::Collateral { cash: self.cash }));
            }
            Action::Resync { instrument } => self.resync(instrument),
            Action::Finished { clean } => self.finish(clean),
        }
    }

    /// Hands a command to the gateway. `full` answers in its place when the ring is full, `dry` in a dry run.
    fn ask(&mut self, command: Command, full: Option<ReplyEvent>, dry: Option<ReplyEvent>) {
        let answer = if self.dry_run {
            dry
        } else if self.ends.orders.push(command).is_err() {
            full
        } else {
            None
        };
        self.own.extend(answer.map(Event::Reply));
    }

    fn resync(&mut self, instrument: InstrumentIx) {
        let feeds = self.ends.resync.len();
        let feed = instrument.market().ix() % feeds.max(1);
        let Some(ring) = self.ends.resync.get_mut(feed) else { return };
        if ring.push(instrument).is_err()
            && self.resync_owed.len() < RESYNC_OWED_MAX
            && !self.resync_owed.contains(&instrument)
        {
            self.resync_owed.push(instrument);
        }
    }

    /// The engine heard its last event: the last record, then the end for everybody.
    fn finish(&mut self, clean: bool) {
        if self.done {
            return;
        }
        self.done = true;
        let state_hash = self.engine.state_hash();
        self.tell_gap();
        self.record(Record::StateHash { seq: self.seq, hash: state_hash });
        let report = self.engine.report();
        let outcome = Outcome { report, seq: self.seq, state_hash, events: self.events, clean };
        // Set once: `done` guards it.
        let _ = self.status.outcome.set(outcome);
        self.publish(self.clock.now().wall);
        self.control.end(clean);
    }

    fn record(&mut self, record: Record) {
        // While records are owed their gap, none may slip in before it.
        if self.journal.lost > 0 || self.ends.journal.push(record).is_err() {
            self.journal.lost += 1;
            add(&self.counters.journal_lost, 1);
            if !self.journal.down {
                self.journal.down = true;
                self.own.push_back(Event::Control(ControlEvent::JournalDown));
            }
        }
    }

    /// Says in the journal what is missing from it, as soon as there is room.
    fn tell_gap(&mut self) {
        if self.journal.lost > 0 && self.ends.journal.free() > 0 {
            let gap = Record::Gap { seq: self.seq, lost: self.journal.lost };
            if self.ends.journal.push(gap).is_ok() {
                self.journal.lost = 0;
            }
        }
    }

    fn sample(&mut self, what: Latency, ns: u64) {
        if self.ends.samples.push(Sample { what, ns }).is_err() {
            self.samples_lost += 1;
        }
    }

    /// Tries again what did not fit a ring.
    fn pay_debts(&mut self) {
        if self.journal.down {
            self.tell_gap();
            // Half empty again: it keeps up.
            let free = self.ends.journal.free();
            if self.journal.lost == 0 && free * 2 >= self.ends.journal.stats().depth {
                self.journal.down = false;
                self.own.push_back(Event::Control(ControlEvent::JournalUp));
            }
        }
        if self.cancel_all_owed {
            self.cancel_all_owed = self.ends.orders.push(Command::CancelAll).is_err();
        }
        // What fits no more is owed again; nothing is allocated for it.
        for _ in 0..self.resync_owed.len() {
            let instrument = self.resync_owed.swap_remove(0);
            self.resync(instrument);
        }
    }

    fn publish(&mut self, now: Nanos) {
        if self.done || now.since(self.shown) >= SHOW_EVERY_NS {
            self.shown = now;
            self.board.put(Latest { seq: self.seq, brief: self.engine.brief(), detail: self.engine.detail() });
        }
        self.status.seq.store(self.seq, Ordering::Relaxed);
        self.status.admitting.store(!self.done && self.engine.closed().is_none(), Ordering::Relaxed);
    }
}

impl Stage for HotTile {
    fn name(&self) -> &'static str {
        "hot"
    }

    fn poll(&mut self) -> usize {
        self.handed = false;
        let mut worked = 0;
        // What is put in by these very events waits for the next turn, so a turn is bounded.
        for _ in 0..self.own.len() {
            let Some(event) = self.own.pop_front() else { break };
            if self.done {
                return worked;
            }
            self.hear(self.clock.now(), event);
            worked += 1;
        }
        if self.control.stop_requested() && !self.heard_stop {
            self.heard_stop = true;
            self.hear(self.clock.now(), Event::Control(ControlEvent::Stop));
            worked += 1;
        }
        while !self.done
            && let Some(event) = self.ends.control.pop()
        {
            self.hear(self.clock.now(), Event::Control(event));
            worked += 1;
        }
        macro_rules! drain {
            ($ring:expr) => {
                for _ in 0..$ring.backlog().min(BATCH) {
                    // What was handed over leaves before anything else is heard: on a shared thread the gateway is
                    // next.
                    if self.done || self.handed {
                        return worked;
                    }
                    let Some(Stamped { stamp, event }) = $ring.pop() else { break };
                    self.hear(stamp, event);
                    worked += 1;
                }
            };
        }
        drain!(self.ends.user);
        drain!(self.ends.replies);
        for n in 0..self.ends.market.len() {
            drain!(self.ends.market[n]);
        }
        drain!(self.ends.matches);
        worked
    }

    fn housekeep(&mut self, now: Stamp) {
        if self.done {
            return;
        }
        self.control.beat(now.cycles);
        self.clock.follow_system();
        self.pay_debts();
        if self.seq > 0 && now.wall.since(self.last_tick) >= TICK_AFTER_NS {
            self.last_tick = now.wall;
            self.hear(now, Event::Tick);
        }
        add(&self.counters.samples_lost, std::mem::take(&mut self.samples_lost));
        self.publish(now.wall);
    }

    /// Called before the engine finished only when another tile failed: then the run ends where it is.
    fn stop(&mut self) {
        self.finish(false);
    }
}

/// Which of [`EVENT_KINDS`], and what an order caused by it counts as.
const fn kind_of(event: &Event) -> (usize, Origin) {
    match event {
        Event::Start { .. } => (0, Origin::Clock),
        Event::Recovered(_) => (1, Origin::Clock),
        Event::Tick => (2, Origin::Clock),
        Event::Market(_) => (3, Origin::Venue),
        Event::User(_) => (4, Origin::Venue),
        Event::Reply(_) => (5, Origin::Venue),
        Event::Match(_) => (6, Origin::Match),
        Event::Control(_) => (7, Origin::Clock),
    }
}

/// Times the engine's steps.
struct Marks<'a> {
    clock: &'a Clock,
    last: Cycles,
    spans: heapless::Vec<(Latency, u64), 16>,
    /// Sum of the hashing times in nanoseconds, and how many.
    hash: (u64, u64),
}

impl Probe for Marks<'_> {
    #[inline]
    fn mark(&mut self, step: Step) {
        let now = self.clock.cycles();
        let ns = self.clock.ns_between(self.last, now);
        self.last = now;
        let what = match step {
            Step::Book => Latency::Book,
            Step::Decide => Latency::Decide,
            Step::Risk => Latency::Risk,
            Step::Hash => {
                self.hash = (self.hash.0 + ns, self.hash.1 + 1);
                return;
            }
        };
        // An event with more steps than this is timed in its first ones.
        let _ = self.spans.push((what, ns));
    }
}
