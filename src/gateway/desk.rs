//! Steps 7 and 8 of 9: what waits to be sent, and what is told about what was. What answers mean is in `answers`.

mod answers;

use std::{collections::VecDeque, sync::Arc};

use super::{
    Command, Origin,
    asked::{Asked, Sent},
    budget::{Budget, Limits},
    clock::VenueClock,
    guards::Guards,
    heartbeat::Heartbeat,
    lane::{Flight, News},
    merge::{MergeEnd, Merger},
    modes::Modes,
    reading::Reader,
    recv::Became,
};
use crate::{
    engine::Signed,
    stage::{
        counters::{Counters, add},
        latency::{Latency, Sample},
        ring::Tx,
    },
    sys::tsc::Clock,
    types::{
        Cycles, Event, MarketIx, Nanos, OrderHash, Side, Stamp, Stamped,
        event::{ReadEvent, ReplyEvent},
    },
    wire::reply::ReplyParser,
};

/// Orders that may wait for a connection. More would be stale before they left.
const PLACES_MAX: usize = 64;
/// Cancels that may wait.
const CANCELS_MAX: usize = 512;
/// Look-ups that may wait; the engine asks again.
const LOOKUPS_MAX: usize = 64;
/// Time until something that must succeed is tried again.
const RETRY_NS: u64 = 500_000_000;
/// Orders left over that are remembered.
const RESIDUE_MAX: usize = 256;

/// An order that waits for a connection.
pub struct Place {
    /// The order.
    pub signed: Signed,
    /// What led to it.
    pub origin: Origin,
    /// When it was taken from the ring.
    pub popped: Cycles,
}

/// Something that is asked again until it is answered.
#[derive(Debug, Default)]
pub struct Wanted {
    /// It is to be asked.
    pub wanted: bool,
    /// It is being asked.
    pub in_flight: bool,
    not_before: Nanos,
}

impl Wanted {
    /// True if it is to be asked now.
    pub fn is_due(&self, now: Stamp) -> bool {
        self.wanted && !self.in_flight && now.wall >= self.not_before
    }

    /// It was answered: for good, if `clean`.
    pub fn answered(&mut self, clean: bool, now: Stamp) {
        self.in_flight = false;
        self.wanted &= !clean;
        self.not_before = now.wall.plus(RETRY_NS);
    }
}

/// An order that a cancel-all named and did not cancel.
#[derive(Clone, Copy, Debug)]
struct Residue {
    order: OrderHash,
    tries: u8,
    not_before: Nanos,
}

/// What a desk is made from.
pub(super) struct Manners {
    pub limits: Limits,
    pub slow_ack_ns: u64,
    pub merger: Option<Merger>,
    pub reader: Reader,
    pub seed: u64,
}

/// The gateway without its connections.
pub struct Desk {
    replies_out: Tx<Stamped>,
    samples_out: Tx<Sample>,
    pub(super) counters: Arc<Counters>,
    pub(super) clock: Clock,
    parser: ReplyParser,
    pub(super) places: VecDeque<Place>,
    pub(super) cancels: VecDeque<Sent>,
    pub(super) lookups: VecDeque<OrderHash>,
    pub(super) payouts: VecDeque<MarketIx>,
    pub(super) cancel_all: Wanted,
    pub(super) collateral: Wanted,
    pub(super) balance_update: Wanted,
    /// A private read that shows whether we are let in.
    pub(super) account: Wanted,
    pub(super) heartbeat: Heartbeat,
    pub(super) merger: Option<Merger>,
    pub(super) budget: Budget,
    pub(super) modes: Modes,
    pub(super) guards: Guards,
    pub(super) venue_clock: VenueClock,
    pub(super) reader: Reader,
    /// What a cancel-all left over.
    residue: VecDeque<Residue>,
    /// An order accepted after this long was held up for our sending too much.
    slow_ack_ns: u64,
    /// When everything was last asked to be cancelled, and whether an order sent before may still arrive after it.
    cancel_all_since: Cycles,
    pub(super) cancel_all_again: bool,
    /// Answers that did not fit the ring yet.
    replies: VecDeque<Stamped>,
    /// No order leaves any more.
    pub(super) closed: bool,
    /// No order leaves while the kill switch is on.
    pub(super) orders_off: bool,
    samples_lost: u64,
}

impl Desk {
    pub(super) fn new(
        replies_out: Tx<Stamped>,
        samples_out: Tx<Sample>,
        counters: &Arc<Counters>,
        manners: Manners,
    ) -> Self {
        let Manners { limits, slow_ack_ns, merger, reader, seed } = manners;
        Self {
            replies_out,
            samples_out,
            counters: Arc::clone(counters),
            clock: Clock::new(),
            parser: ReplyParser::new(),
            places: VecDeque::with_capacity(PLACES_MAX),
            cancels: VecDeque::with_capacity(CANCELS_MAX),
            lookups: VecDeque::with_capacity(LOOKUPS_MAX),
            payouts: VecDeque::with_capacity(LOOKUPS_MAX),
            cancel_all: Wanted::default(),
            collateral: Wanted::default(),
            balance_update: Wanted::default(),
            account: Wanted::default(),
            heartbeat: Heartbeat::default(),
            merger,
            budget: Budget::new(limits),
            modes: Modes::default(),
            guards: Guards::new(seed),
            venue_clock: VenueClock::default(),
            reader,
            residue: VecDeque::with_capacity(RESIDUE_MAX),
            slow_ack_ns,
            cancel_all_since: Cycles(0),
            cancel_all_again: false,
            replies: VecDeque::with_capacity(1_024),
            closed: false,
            orders_off: false,
            samples_lost: 0,
        }
    }

    /// True if something waits to be sent that no timer brings.
    pub(super) fn has_work(&self) -> bool {
        !(self.places.is_empty() && self.cancels.is_empty() && self.lookups.is_empty() && self.payouts.is_empty())
            || [&self.cancel_all, &self.collateral, &self.balance_update].iter().any(|w| w.wanted && !w.in_flight)
    }

    /// True if there is a question for the venue that may be asked now.
    pub(super) fn has_question(&mut self, now: Stamp) -> bool {
        !(self.lookups.is_empty() && self.payouts.is_empty())
            || self.balance_update.is_due(now)
            || (self.collateral.is_due(now) && !self.balance_update.wanted)
            || self.reader.question().is_some()
    }

    pub(super) fn reply(&mut self, stamp: Stamp, reply: ReplyEvent) {
        self.replies.push_back(Stamped { stamp, event: Event::Reply(reply) });
    }

    /// Moves answers into the ring. True when none waits any more.
    pub(super) fn drain_replies(&mut self) -> bool {
        while let Some(reply) = self.replies.front() {
            // Asked first, so that waiting is not counted as an overflow each turn.
            if self.replies_out.free() == 0 || self.replies_out.push(*reply).is_err() {
                return false;
            }
            self.replies.pop_front();
        }
        true
    }

    pub(super) fn sample(&mut self, what: Latency, ns: u64) {
        if self.samples_out.push(Sample { what, ns }).is_err() {
            self.samples_lost += 1;
        }
    }

    /// Takes one command.
    pub(super) fn take(&mut self, command: Command) {
        let now = self.clock.now();
        match command {
            Command::Place { signed, origin } => {
                let full = self.places.len() == PLACES_MAX;
                if self.closed || self.orders_off || full || self.is_refused(&signed) {
                    add(&self.counters.orders_withheld, u64::from(self.orders_off));
                    self.never_sent(signed.approved().hash(), now);
                } else {
                    self.places.push_back(Place { signed, origin, popped: now.cycles });
                }
            }
            Command::Cancel { order, cause, origin } => self.take_cancel(order, cause, origin, now),
            Command::CancelAll => self.take_cancel_all(now),
            Command::Lookup { order } => {
                if self.lookups.len() < LOOKUPS_MAX && !self.lookups.contains(&order) {
                    self.lookups.push_back(order);
                }
            }
            // The venue answers from a cached view of the chain: it is made to look again, and asked after that.
            // Source: docs/PROTOCOL.md "account reads".
            Command::ReadCollateral => {
                self.balance_update.wanted = true;
                self.collateral.wanted = true;
            }
            Command::AskMarket { market } => {
                if self.payouts.len() < LOOKUPS_MAX && !self.payouts.contains(&market) {
                    self.payouts.push_back(market);
                }
            }
            Command::Reconcile { round, trades_since } => {
                self.read(now, |reader, out| reader.begin(round, trades_since, now.wall, out));
            }
            Command::Merge { market, qty } => {
                let admitted = self.guards.admits_merge(now.wall);
                if !(admitted && self.merger.as_mut().is_some_and(|merger| merger.begin(market, qty))) {
                    if admitted {
                        self.guards.merge_not_made();
                    }
                    self.reply(now, ReplyEvent::MergeFailed { market, qty });
                }
            }
        }
    }

    /// Lets the reader tell something.
    pub(super) fn read<T>(&mut self, now: Stamp, tell: impl FnOnce(&mut Reader, &mut dyn FnMut(Event)) -> T) -> T {
        let Self { reader, replies, counters, .. } = self;
        tell(reader, &mut |event| {
            let whole = !matches!(event, Event::Reply(ReplyEvent::Read(ReadEvent::End { complete: false, .. })));
            add(&counters.readings_incomplete, u64::from(!whole));
            replies.push_back(Stamped { stamp: now, event });
        })
    }

    /// True if the venue, or an open breaker, would refuse this order: then it does not leave.
    fn is_refused(&self, signed: &Signed) -> bool {
        let intent = signed.approved().intent();
        !self.modes.takes(intent.post_only) || self.guards.blocks(intent.side == Side::Buy)
    }

    fn never_sent(&mut self, order: OrderHash, now: Stamp) {
        self.guards.order(&order, Became::NeverSent, now.wall);
        self.reply(now, ReplyEvent::NeverSent { order });
    }

    /// Takes out of the queue what the venue would refuse.
    pub(super) fn drop_refused(&mut self, now: Stamp) {
        let all_taken = self.modes.takes(false) && !self.guards.blocks(true);
        if all_taken || self.places.is_empty() {
            return;
        }
        for _ in 0..self.places.len() {
            let Some(place) = self.places.pop_front() else { return };
            if self.is_refused(&place.signed) {
                self.never_sent(place.signed.approved().hash(), now);
            } else {
                self.places.push_back(place);
            }
        }
    }

    /// The kill switch was found on: what has not left does not, and everything is cancelled, whoever else asks for it.
    pub(super) fn switch_off(&mut self, now: Stamp) {
        self.orders_off = true;
        add(&self.counters.orders_withheld, self.places.len() as u64);
        self.take_cancel_all(now);
    }

    /// Cancels everything; what has not left shall not leave any more.
    pub(super) fn take_cancel_all(&mut self, now: Stamp) {
        self.drop_places(now, 0);
        self.cancel_all.wanted = true;
        self.cancel_all_since = self.clock.cycles();
    }

    /// A cancel-all leaves now. `orders_before`: an order is under way that was sent before it was asked for, and could
    /// arrive after it.
    pub(super) fn sends_cancel_all<'l>(&mut self, mut under_way: impl Iterator<Item = &'l Flight>) {
        self.cancel_all.in_flight = true;
        let since = self.cancel_all_since;
        self.cancel_all_again = under_way.any(|f| matches!(f.asked, Asked::Orders(_)) && f.begun <= since);
        self.modes.tries();
    }

    /// True when nothing that was to be cancelled waits to be.
    pub(super) fn has_cancelled(&self) -> bool {
        !self.cancel_all.wanted && self.residue.is_empty()
    }

    /// Orders that have waited for longer than `older_ns` do not leave any more: the book that they were meant for is
    /// gone.
    pub(super) fn drop_places(&mut self, now: Stamp, older_ns: u64) {
        while let Some(place) = self.places.front()
            && (older_ns == 0 || self.clock.ns_between(place.popped, now.cycles) > older_ns)
        {
            let order = place.signed.approved().hash();
            self.places.pop_front();
            self.never_sent(order, now);
        }
    }

    fn take_cancel(&mut self, order: OrderHash, cause: Stamp, origin: Origin, now: Stamp) {
        if let Some(at) = self.places.iter().position(|p| p.signed.approved().hash() == order) {
            self.places.remove(at);
            self.never_sent(order, now);
        } else if self.cancels.len() == CANCELS_MAX {
            self.reply(now, ReplyEvent::CancelUnknown { order });
        } else if !self.cancels.iter().any(|c| c.order == order) {
            self.cancels.push_back(Sent { order, origin, cause: cause.cycles });
        }
    }

    /// The last byte of a request left: the end of tick to trade.
    pub(super) fn has_left(&mut self, flight: &Flight) {
        let Some(left_at) = flight.left_at else { return };
        let stamp = self.clock.now();
        let (sent, cancel): (&[Sent], bool) = match &flight.asked {
            Asked::Orders(sent) => (sent, false),
            Asked::Cancels(sent) => (sent, true),
            _ => return,
        };
        for one in sent {
            let what = match (one.origin, cancel) {
                (Origin::Clock, _) => None,
                (_, true) => Some(Latency::TickToCancel),
                (Origin::Venue, false) => Some(Latency::TickToTrade),
                (Origin::Match, false) => Some(Latency::EventToOrder),
            };
            if let Some(what) = what {
                let ns = self.clock.ns_between(one.cause, left_at);
                self.sample(what, ns);
            }
            if !cancel {
                self.reply(stamp, ReplyEvent::Sent { order: one.order });
            }
        }
        if !cancel {
            add(&self.counters.orders_written, sent.len() as u64);
        }
    }

    /// Hears what a connection has to tell.
    pub(super) fn hear(&mut self, news: News<'_>) {
        match news {
            News::Up => add(&self.counters.gateway_connects, 1),
            News::Left(flight) => self.has_left(flight),
            News::Ended(flight, ended) => self.ended(flight, ended),
        }
    }

    fn tell_mode(&mut self, told: Option<ReplyEvent>, now: Stamp) {
        if let Some(event) = told {
            self.reply(now, event);
            self.drop_refused(now);
        }
    }

    /// Tells the engine which breakers opened or closed.
    fn tell_breakers(&mut self, now: Stamp) {
        while let Some(change) = self.guards.next_change() {
            add(&self.counters.breaker_trips, u64::from(matches!(change, ReplyEvent::Breaker { open: true, .. })));
            self.reply(now, change);
            self.drop_refused(now);
        }
    }

    /// Time passes: modes that end, trials that are due, orders left over.
    pub(super) fn tick(&mut self, now: Stamp) {
        let told = self.modes.tick(now.wall);
        self.tell_mode(told, now);
        self.guards.tick(now.wall);
        // Whatever rests while cancels cannot be trusted is to go, and that it went is the proof that they can.
        if self.guards.tries_cancels(now.wall) && !self.cancel_all.wanted {
            self.take_cancel_all(now);
        }
        self.account.wanted |= self.guards.tries_account(now.wall);
        for n in 0..self.residue.len() {
            let Residue { order, not_before, .. } = self.residue[n];
            if now.wall >= not_before {
                self.residue[n].not_before = now.wall.plus(RETRY_NS);
                self.take_cancel(order, Stamp::default(), Origin::Clock, now);
            }
        }
        self.tell_breakers(now);
    }

    /// Goes on with the merge under way, if there is one.
    pub(super) fn turn_merger(&mut self) -> usize {
        let Some(merger) = &mut self.merger else { return 0 };
        let (worked, end) = merger.turn(&self.clock);
        if let Some(MergeEnd { market, qty, merged }) = end {
            let reply =
                if merged { ReplyEvent::Merged { market, qty } } else { ReplyEvent::MergeFailed { market, qty } };
            let now = self.clock.now();
            self.guards.merge(merged, now.wall);
            self.reply(now, reply);
            self.balance_update.wanted |= merged;
            self.tell_breakers(now);
        }
        worked
    }

    /// Goes on with the reading under way, if there is one.
    pub(super) fn turn_reader(&mut self) -> usize {
        if !self.reader.is_busy() {
            return 0;
        }
        let clock = self.clock.clone();
        self.read(clock.now(), |reader, out| reader.turn(&clock, out))
    }

    /// Publishes what was counted here.
    pub(super) fn publish(&mut self) {
        add(&self.counters.samples_lost, std::mem::take(&mut self.samples_lost));
    }
}
