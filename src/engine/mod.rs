//! The pure core: one sequenced stream of events in, actions out.
//!
//! `Engine::on` runs steps 3 to 6 up to the signature. It is the sole writer of its state, and reads nothing else:
//! time, randomness and everything learnt arrive as events, so a recorded stream replays to the same actions and hash.

pub mod action;
pub mod book;
pub mod breaker;
mod desk;
mod detail;
pub mod digest;
pub mod exposure;
pub mod fat_finger;
pub mod gate;
pub mod groups;
pub mod guards;
mod hear;
pub mod hours;
pub mod lattice;
pub mod life;
pub mod limits;
pub mod orders;
mod params;
pub mod position;
mod reconcile;
pub mod refusal;
pub mod repeat;
pub mod report;
pub mod restricted;
pub mod risk;
pub mod sign;
pub mod sizing;
pub mod slippage;
pub mod strategy;
pub mod timing;
pub mod trading;
pub mod volatility;

pub use action::Action;
pub use params::{BadParam, BadParams};
pub use report::Report;
pub use risk::Approved;
pub use sign::Signed;

use self::{
    book::Book,
    desk::Desk,
    digest::StateHasher,
    exposure::Exposure,
    gate::{Closed, Gate, MarketGate},
    limits::Limits,
    orders::Order,
    position::{Booked, Ledger},
    refusal::Refusal,
    strategy::{Print, Standing, Strategy, Trust, Wish, Wishes},
};
use crate::types::{
    Event, InstrumentIx, MarketIx, OrderHash, Sequenced, Stamp, Universe,
    eip712::OrderHasher,
    event::{KillReason, MarketEvent},
    ids::Outcome,
};

/// Most actions that one event can lead to. The hot tile's buffer has this room; what does not fit is asked for again
/// at the next tick, because every need is read from state, not remembered.
pub const ACTIONS_MAX: usize = 64;
/// Most markets of one run.
pub const MARKETS_MAX: usize = 64;

/// What one event led to.
pub type Actions = heapless::Vec<Action, ACTIONS_MAX>;

/// A step of the core whose end can be stamped. The engine has no clock: whoever calls it brings the [`Probe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The event is in the books.
    Book,
    /// Strategies have said what they want.
    Decide,
    /// Risk has answered and the orders are complete but for their hash.
    Risk,
    /// The orders' hashes are known. Belongs to signing.
    Hash,
}

/// Told at the end of each step, so that a shell can time it. Replay passes `()`.
pub trait Probe {
    /// `step` just ended.
    fn mark(&mut self, step: Step);
}

impl Probe for () {
    #[inline(always)]
    fn mark(&mut self, _step: Step) {}
}

/// What an order came to that the write-ahead log is to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The venue has it: it cannot come late any more.
    Arrived,
    /// It is over.
    Finished,
}

/// The core: what it knows, and its strategy.
#[derive(Debug)]
pub struct Engine<S> {
    desk: Desk,
    strategy: S,
}

impl<S: Strategy> Engine<S> {
    /// An engine before its first event. Everything it will ever need is allocated here.
    ///
    /// Markets beyond [`MARKETS_MAX`] are refused at start; here they would never be traded.
    pub fn new(universe: &Universe, limits: Limits, strategy: S) -> Self {
        Self { desk: Desk::new(universe, limits), strategy }
    }

    /// The same for a match that unfolds `speed` times as fast: the mid after each fill is looked at as much sooner.
    #[must_use]
    pub fn compressed(mut self, speed: u32) -> Self {
        self.desk.ledger.look_after(position::HORIZONS_NS.map(|ns| (ns / u64::from(speed.max(1))).max(1)));
        self
    }

    /// Hears one event; appends what is to be done to `out`, which the caller has cleared.
    pub fn on<P: Probe>(&mut self, event: &Sequenced, probe: &mut P, out: &mut Actions) {
        let desk = &mut self.desk;
        // Tiles stamp on their own: their clocks may differ by a little, ours only goes forward.
        desk.now = desk.now.max(event.stamp.wall);
        desk.ledger.turn(desk.now);
        match &event.event {
            Event::Market(e) => {
                desk.hear_market(e, out);
                if let &MarketEvent::LastTrade { instrument, side: taker, price, qty } = e {
                    self.strategy.traded(desk.now, &Print { instrument, taker, price, qty });
                }
            }
            Event::User(e) => {
                if let Some((fill, booked)) = desk.hear_user(e) {
                    let market = fill.instrument.market();
                    let trust = desk.check_mirror(market);
                    let view = desk.view(market, trust);
                    match booked {
                        Booked::Voided => self.strategy.failed(&view, &fill),
                        _ => self.strategy.filled(&view, &fill),
                    }
                }
            }
            Event::Reply(e) => desk.hear_reply(e, out),
            Event::Tick => desk.tick(out),
            Event::Start { run_tag, cash, match_feed } => {
                desk.match_feed = *match_feed;
                desk.risk.set(Closed::NotReconciled, true);
                desk.reconciliation.begin(desk.now);
                desk.run_tag = *run_tag & 0x1f_ffff;
                desk.ledger.open(*cash);
            }
            Event::Recovered(e) => desk.hear_recovered(e),
            Event::Match(e) => desk.hear_match(*e),
            Event::Control(e) => desk.hear_control(*e, out),
        }
        desk.measure();
        probe.mark(Step::Book);
        while let Some(market) = self.desk.touched.take() {
            // In the middle of a message its market is in no state to be decided on; the message's end does it.
            if !self.desk.fresh.contains(market) {
                self.decide(market, event.stamp, probe, out);
            }
        }
        // Where it is too dear to look at every event, the next tick does, and throws the kill switch.
        debug_assert!(self.desk.ledger.balanced(), "the accounts do not add up: {:?}", self.desk.ledger.totals());
    }

    /// Asks the strategy about one market and carries its wishes to risk.
    fn decide<P: Probe>(&mut self, m: MarketIx, cause: Stamp, probe: &mut P, out: &mut Actions) {
        let desk = &mut self.desk;
        let trust = desk.check_mirror(m);
        if trust == Trust::Good
            && let Some(mid) = desk.instruments[m.instrument(Outcome::Yes).ix()].book.mid_half_units()
        {
            desk.ledger.mark(m, mid);
            desk.risk.guards().moved(m, mid, desk.now);
        }
        if desk.ledger.payout(m).is_some() {
            return;
        }
        let mut wishes = Wishes::new();
        self.strategy.decide(&desk.view(m, trust), &mut wishes);
        probe.mark(Step::Decide);
        for wish in wishes {
            match wish {
                Wish::Cancel(order) => desk.cancel(order, cause, out),
                // Why it was refused is counted; the strategy sees that nothing works.
                Wish::Place(intent) => {
                    let of = intent.instrument.market();
                    let trust = if of == m { trust } else { desk.trust_of(of) };
                    let _ = desk.place(&intent, trust, cause, probe, out);
                }
                Wish::Together(intents) => {
                    let placed = desk.place_together(&intents, cause, probe, out);
                    for (n, intent) in intents.iter().enumerate() {
                        let verdict = placed.as_ref().map_err(|why| *why);
                        let verdict = verdict.and_then(|ids| ids.get(n).copied().ok_or(Refusal::Duplicate));
                        self.strategy.answered(intent, verdict);
                    }
                }
                Wish::Merge(qty) => desk.merge(m, qty, out),
            }
        }
    }

    /// The strategy, for what it has to report.
    pub fn strategy(&self) -> &S {
        &self.strategy
    }

    /// The prepared hasher of a market, for the signer.
    pub fn hasher(&self, m: MarketIx) -> &OrderHasher {
        &self.desk.hashers[m.ix()]
    }

    /// What is fixed about this run.
    pub fn universe(&self) -> &Universe {
        &self.desk.universe
    }

    /// A hash over every book level, order, ledger entry, truth and breaker.
    pub fn state_hash(&self) -> u64 {
        let mut h = StateHasher::default();
        self.desk.digest(&mut h);
        self.strategy.digest(&mut h);
        h.finish()
    }

    /// True once `Action::Finished` was asked for.
    pub fn finished(&self) -> bool {
        self.desk.finished()
    }

    /// Why new orders are not admitted now, if they are not (readiness).
    pub fn closed(&self) -> Option<Refusal> {
        self.desk.risk.closed()
    }

    /// Why the kill switch is on, if it is.
    #[inline]
    pub fn killed(&self) -> Option<KillReason> {
        self.desk.risk.killed()
    }

    /// Tells of each order that the venue showed since the last call, and of each that finished: what the next run
    /// needs to know of them.
    #[inline]
    pub fn tell_fates(&mut self, mut tell: impl FnMut(&OrderHash, Fate)) {
        let orders = &mut self.desk.orders;
        if !(orders.just_arrived().is_empty() && orders.just_finished().is_empty()) {
            orders.just_arrived().iter().for_each(|order| tell(order, Fate::Arrived));
            orders.just_finished().iter().for_each(|order| tell(order, Fate::Finished));
            orders.forget_finished();
        }
    }

    /// An order that is remembered, finished or not.
    pub fn order(&self, hash: &OrderHash) -> Option<&Order> {
        self.desk.orders.get(hash)
    }

    /// The accounts.
    pub fn ledger(&self) -> &Ledger {
        &self.desk.ledger
    }

    /// What can be lost.
    pub fn exposure(&self) -> &Exposure {
        &self.desk.exposure
    }

    /// Every condition of the gate.
    pub fn gate(&self) -> Gate {
        self.desk.risk.gate()
    }

    /// Every condition of one market's gate.
    pub fn market_gate(&self, m: MarketIx) -> MarketGate {
        self.desk.risk.market(m)
    }

    /// Where the strategy stands in one market, if it has a word for it.
    pub fn standing(&self, m: MarketIx) -> Option<Standing> {
        self.strategy.standing(m)
    }

    /// Every order that works now.
    pub fn working(&self) -> impl Iterator<Item = &Order> {
        self.desk.orders.all_working()
    }

    /// One token's book.
    pub fn book(&self, i: InstrumentIx) -> &Book {
        &self.desk.instruments[i.ix()].book
    }

    /// The few numbers that change all the time. No allocation; some microseconds.
    pub fn brief(&self) -> report::Brief {
        self.desk.brief()
    }

    /// What happened so far, for people and for `--summary`. Allocates; never called on the hot path.
    pub fn report(&self) -> Report {
        Report { remarks: self.strategy.remarks(&self.desk.universe), ..self.desk.report() }
    }
}

/// Ways to change one thing without an event, for the test that every part of the state is in the hash.
#[cfg(test)]
impl<S: Strategy> Engine<S> {
    pub(crate) fn flip_level(&mut self, i: InstrumentIx) {
        use crate::types::{Price, Qty, event::BookSide};
        self.desk.instruments[i.ix()].book.delta(
            BookSide::Bid,
            Price::floor_to(100, crate::types::TickSize::Cent).unwrap(),
            Qty::ONE,
        );
    }

    pub(crate) fn flip_order(&mut self, order: &OrderHash) {
        let _ = self.desk.orders.fill(order, crate::types::Qty(1), self.desk.now);
    }

    pub(crate) fn flip_ledger(&mut self) {
        let cash = self.desk.ledger.cash();
        self.desk.ledger.reconcile_cash(cash + crate::types::Usdc(1));
    }

    pub(crate) fn flip_breaker(&mut self, m: MarketIx) {
        self.desk.risk.watch(m, risk::Watched::Rejects, false, self.desk.now);
    }
}
