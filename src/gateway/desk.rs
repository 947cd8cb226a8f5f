//! Steps 7 and 8 of 9: what waits to be sent, and what is told about what was.

use std::{collections::VecDeque, sync::Arc};

use super::{
    Command, Origin,
    asked::{Asked, Sent},
    heartbeat::Heartbeat,
    lane::{Ended, Flight, News},
    merge::{MergeEnd, Merger},
    recv,
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
        Cycles, Event, MarketIx, Nanos, OrderHash, Stamp, Stamped,
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

/// The gateway without its connections.
pub struct Desk {
    replies_out: Tx<Stamped>,
    samples_out: Tx<Sample>,
    counters: Arc<Counters>,
    pub(super) clock: Clock,
    parser: ReplyParser,
    pub(super) places: VecDeque<Place>,
    pub(super) cancels: VecDeque<Sent>,
    pub(super) lookups: VecDeque<OrderHash>,
    pub(super) payouts: VecDeque<MarketIx>,
    pub(super) cancel_all: Wanted,
    pub(super) collateral: Wanted,
    pub(super) balance_update: Wanted,
    pub(super) heartbeat: Heartbeat,
    pub(super) merger: Option<Merger>,
    /// Answers that did not fit the ring yet.
    replies: VecDeque<Stamped>,
    /// No order leaves any more.
    pub(super) closed: bool,
    samples_lost: u64,
}

impl Desk {
    pub(super) fn new(
        replies_out: Tx<Stamped>,
        samples_out: Tx<Sample>,
        counters: &Arc<Counters>,
        merger: Option<Merger>,
    ) -> Self {
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
            heartbeat: Heartbeat::default(),
            merger,
            replies: VecDeque::with_capacity(1_024),
            closed: false,
            samples_lost: 0,
        }
    }

    /// True if something waits to be sent that no timer brings.
    pub(super) fn has_work(&self) -> bool {
        !(self.places.is_empty() && self.cancels.is_empty() && self.lookups.is_empty() && self.payouts.is_empty())
            || [&self.cancel_all, &self.collateral, &self.balance_update].iter().any(|w| w.wanted && !w.in_flight)
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
                if self.closed || self.places.len() == PLACES_MAX {
                    self.reply(now, ReplyEvent::NeverSent { order: signed.approved().hash() });
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
            // Not read yet: an answer that is not whole is none.
            Command::Reconcile { round, .. } => {
                self.reply(now, ReplyEvent::Read(ReadEvent::Begin { round }));
                self.reply(now, ReplyEvent::Read(ReadEvent::End { round, complete: false }));
            }
            Command::Merge { market, qty } => {
                if !self.merger.as_mut().is_some_and(|merger| merger.begin(market, qty)) {
                    self.reply(now, ReplyEvent::MergeFailed { market, qty });
                }
            }
        }
    }

    /// Cancels everything; what has not left shall not leave any more.
    pub(super) fn take_cancel_all(&mut self, now: Stamp) {
        self.drop_places(now, 0);
        self.cancel_all.wanted = true;
    }

    /// Orders that have waited for longer than `older_ns` do not leave any more: the book that they were meant for is
    /// gone.
    pub(super) fn drop_places(&mut self, now: Stamp, older_ns: u64) {
        while let Some(place) = self.places.front()
            && (older_ns == 0 || self.clock.ns_between(place.popped, now.cycles) > older_ns)
        {
            let order = place.signed.approved().hash();
            self.places.pop_front();
            self.reply(now, ReplyEvent::NeverSent { order });
        }
    }

    fn take_cancel(&mut self, order: OrderHash, cause: Stamp, origin: Origin, now: Stamp) {
        if let Some(at) = self.places.iter().position(|p| p.signed.approved().hash() == order) {
            self.places.remove(at);
            self.reply(now, ReplyEvent::NeverSent { order });
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

    /// A request ended: what became of what it asked.
    fn ended(&mut self, flight: &Flight, ended: Ended<'_>) {
        let now = self.clock.now();
        let garbled = matches!(ended, Ended::Garbled(_));
        add(&self.counters.http_malformed, u64::from(garbled));
        let Self { parser, replies, .. } = self;
        let mut out = |reply| replies.push_back(Stamped { stamp: now, event: Event::Reply(reply) });
        match &flight.asked {
            Asked::Orders(sent) => {
                let answered = matches!(ended, Ended::Answered(_));
                recv::orders(parser, sent, ended, &mut out);
                if let (true, Some(left_at)) = (answered, flight.left_at) {
                    let ns = self.clock.ns_between(left_at, now.cycles);
                    self.sample(Latency::Ack, ns);
                }
            }
            Asked::Cancels(sent) => recv::cancels(parser, sent, ended, &mut out),
            Asked::CancelAll => {
                let clean = recv::cancel_all(parser, ended, &mut out);
                self.cancel_all.answered(clean, now);
            }
            // Without a clean answer the engine asks again on its timer.
            Asked::Lookup(order) => {
                if let Some(reply) = recv::lookup(*order, &ended) {
                    out(reply);
                }
            }
            Asked::Collateral => {
                let cash = recv::collateral(&ended);
                if let Some(cash) = cash {
                    out(ReplyEvent::Collateral { cash });
                }
                self.collateral.answered(cash.is_some(), now);
            }
            // The engine asks again until it knows.
            Asked::Payout(market) => {
                if let Some(facts) = recv::market(&ended) {
                    out(ReplyEvent::Market { market: *market, facts });
                }
            }
            Asked::Heartbeat => self.heartbeat.answered(recv::heartbeat(&ended), now),
            Asked::BalanceUpdate => {
                let clean = matches!(&ended, Ended::Answered(response) if response.status == 200);
                self.balance_update.answered(clean, now);
            }
            Asked::Warm | Asked::Relay => {}
        }
    }

    /// Goes on with the merge under way, if there is one.
    pub(super) fn turn_merger(&mut self) -> usize {
        let Some(merger) = &mut self.merger else { return 0 };
        let (worked, end) = merger.turn(&self.clock);
        if let Some(MergeEnd { market, qty, merged }) = end {
            let reply =
                if merged { ReplyEvent::Merged { market, qty } } else { ReplyEvent::MergeFailed { market, qty } };
            self.reply(self.clock.now(), reply);
            self.balance_update.wanted |= merged;
        }
        worked
    }

    /// Publishes what was counted here.
    pub(super) fn publish(&mut self) {
        add(&self.counters.samples_lost, std::mem::take(&mut self.samples_lost));
    }
}
