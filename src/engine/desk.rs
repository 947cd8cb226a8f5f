//! What the engine knows: books, orders, accounts, switches.

mod deadlines;
mod ending;
mod placing;

use super::{
    Action, Actions, MARKETS_MAX,
    book::{Book, Distrust},
    digest::StateHasher,
    exposure::{Exposure, Open},
    gate::{Closed, MarketClosed},
    limits::Limits,
    orders::Orders,
    position::{Ledger, Moved},
    reconcile::Reconciliation,
    report,
    risk::Risk,
    strategy::{Others, Play, Trust, View},
    timing::Watch,
    trading::{TradingFacts, TradingState},
};
use crate::types::{
    InstrumentIx, MarketIx, MarketSpec, Nanos, Qty, Universe, Usdc,
    eip712::OrderHasher,
    event::{ControlEvent, KillReason, MarketFacts, MatchEvent, MatchPhase, RejectReason},
    ids::Outcome,
    order::StrategyId,
};

/// A book that stays different from its mirror this long is resynchronised. The venue sends the two tokens' snapshots
/// one after the other, so a short difference is normal; nothing is decided on it meanwhile.
const MIRROR_GRACE_NS: u64 = 1_000_000_000;
/// The venue is asked about an order that is not in order, at most this often.
pub(super) const LOOKUP_NS: u64 = 1_000_000_000;
/// The word of a match feed is good for this long; it repeats itself every 20 s.
/// Source: docs/PROTOCOL.md "sports channel".
const GAME_STALE_NS: u64 = 75_000_000_000;

/// A set of markets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Markets(u64);

impl Markets {
    pub(super) fn add(&mut self, m: MarketIx) {
        self.0 |= 1 << m.0;
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn contains(self, m: MarketIx) -> bool {
        self.0 & 1 << m.0 != 0
    }

    pub(super) fn take(&mut self) -> Option<MarketIx> {
        let first = (self.0 != 0).then(|| MarketIx(self.0.trailing_zeros() as u16))?;
        self.0 &= self.0 - 1;
        Some(first)
    }
}

/// A book and what surrounds it.
#[derive(Debug)]
pub(super) struct Instrument {
    pub(super) book: Book,
    /// When the market channel last told of a price: by a trade, or by two sides that are not far apart.
    pub(super) priced_at: Option<Nanos>,
    /// Since when it has not been trusted, once it was.
    pub(super) untrusted_since: Option<Nanos>,
    pub(super) untrusted_ns: u64,
    /// Since when a snapshot has been waited for that nobody asked for: the first, or the one after a reconnect.
    waiting_since: Option<Nanos>,
    resync_at: Option<Nanos>,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Not yet.
    No,
    /// Nothing is left but the venue's count of our collateral, asked for then.
    Counting(Nanos),
    /// `Finished` was said.
    Done,
}

/// Everything that the engine knows, but for what its strategy remembers.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) universe: Universe,
    pub(super) hashers: Vec<OrderHasher>,
    pub(super) instruments: Vec<Instrument>,
    mirror_bad_since: Vec<Option<Nanos>>,
    pub(super) orders: Orders,
    pub(super) ledger: Ledger,
    pub(super) exposure: Exposure,
    /// What the day lost for good, and what of the exposure is that: [`Desk::measure_day`].
    lost_today: Usdc,
    over: Usdc,
    pub(super) risk: Risk,
    pub(super) reconciliation: Reconciliation,
    /// The venue's page of each market, once read, and when it is asked for next.
    pub(super) facts: Vec<Option<MarketFacts>>,
    facts_due: Vec<Nanos>,
    /// The start of the game that the book was last cleared for.
    cleared: Vec<Option<Nanos>>,
    /// How far our clock is ahead of the venue's.
    pub(super) clock_ahead_ms: i32,
    pub(super) user_down_since: Option<Nanos>,
    pub(super) gateway_down_since: Option<Nanos>,
    /// Times that the user stream or the gateway was lost, leaking.
    pub(super) cuts: u32,
    cuts_at: Nanos,
    /// When a late change of each market was read last, and whether a snapshot came since.
    late: Vec<(Nanos, bool)>,
    /// How fast we hear and cancel.
    pub(super) watch: Watch,
    /// When the slower deadlines are looked at next.
    slow_at: Nanos,
    /// Trades that have not been final for too long.
    pub(super) stuck: usize,
    /// What the match feed said last, and when.
    pub(super) game: Option<(MatchEvent, Nanos)>,
    /// When the feed first said that the match is over. It repeats itself.
    over_since: Option<Nanos>,
    /// A match feed is configured.
    pub(super) match_feed: bool,
    /// Markets whose payout the venue is asked for, and when next.
    payout_due: Vec<Option<Nanos>>,
    pub(super) now: Nanos,
    pub(super) run_tag: u32,
    next_salt: u32,
    /// Markets to decide on before the next event.
    pub(super) touched: Markets,
    /// Markets that the message being applied has changed.
    pub(super) fresh: Markets,
    /// Of these, the ones that it changed a level of.
    pub(super) changed: Markets,
    pub(super) stopping_since: Option<Nanos>,
    /// Since when nothing is left to do but to end.
    ending_since: Option<Nanos>,
    cancel_all_at: Option<Nanos>,
    ending: Ending,
    pub(super) counts: report::Orders,
    /// Refused by the venue, by reason.
    pub(super) rejected: [u64; RejectReason::ALL.len()],
    pub(super) messages: u64,
    pub(super) resyncs: u64,
}

impl Desk {
    /// A desk before its first event. Everything it will ever need is allocated here.
    ///
    /// Markets beyond [`MARKETS_MAX`] are refused by the configuration; here they are never traded.
    pub(super) fn new(universe: &Universe, limits: Limits) -> Self {
        let mut universe = universe.clone();
        universe.markets.truncate(MARKETS_MAX);
        let markets = universe.markets.len();
        let risk = Risk::new(limits, &universe);
        let hashers = universe
            .markets
            .iter()
            .map(|m| OrderHasher::new(universe.chain_id, m.exchange, &universe.account))
            .collect();
        let instruments = universe
            .markets
            .iter()
            .flat_map(|m| [m.tick, m.tick])
            .map(|tick| Instrument {
                book: Book::new(tick),
                priced_at: None,
                untrusted_since: None,
                untrusted_ns: 0,
                waiting_since: None,
                resync_at: None,
            })
            .collect();
        Self {
            hashers,
            instruments,
            mirror_bad_since: vec![None; markets],
            orders: Orders::new(markets),
            ledger: Ledger::new(markets),
            exposure: Exposure::new(&universe, &risk.groups().of),
            lost_today: Usdc::ZERO,
            over: Usdc::ZERO,
            risk,
            reconciliation: Reconciliation::new(markets),
            facts: vec![None; markets],
            facts_due: vec![Nanos::default(); markets],
            cleared: vec![None; markets],
            clock_ahead_ms: 0,
            user_down_since: None,
            gateway_down_since: None,
            cuts: 0,
            cuts_at: Nanos::default(),
            late: vec![(Nanos::default(), false); markets],
            watch: Watch::default(),
            slow_at: Nanos::default(),
            stuck: 0,
            game: None,
            over_since: None,
            match_feed: false,
            payout_due: vec![None; markets],
            now: Nanos::default(),
            run_tag: 0,
            next_salt: 0,
            touched: Markets::default(),
            fresh: Markets::default(),
            changed: Markets::default(),
            stopping_since: None,
            ending_since: None,
            cancel_all_at: None,
            ending: Ending::No,
            counts: report::Orders::default(),
            rejected: [0; RejectReason::ALL.len()],
            messages: 0,
            resyncs: 0,
            universe,
        }
    }

    pub(super) fn hear_control(&mut self, event: ControlEvent, out: &mut Actions) {
        match event {
            ControlEvent::Stop => {
                self.risk.set(Closed::Stopping, true);
                self.stopping_since.get_or_insert(self.now);
                self.cancel_everything(out);
            }
            ControlEvent::Kill(why) => self.kill(why, out),
            // A market that does not exist cannot be halted: the admin interface says so before it gets here.
            ControlEvent::Halt(m) => self.risk.set_market(m, MarketClosed::Halted, true),
            ControlEvent::Resume(m) => self.risk.set_market(m, MarketClosed::Halted, false),
            ControlEvent::JournalDown => self.risk.set(Closed::JournalDown, true),
            ControlEvent::JournalUp => self.risk.set(Closed::JournalDown, false),
            ControlEvent::ResetKill => self.reset_kill(),
            ControlEvent::CancelAll => self.cancel_everything(out),
        }
        self.touch_all();
    }

    /// A person has looked. What was counted up to now does not trip the switch again at its next look; a loss of the
    /// day and an error of the accounts do, because they are still there.
    fn reset_kill(&mut self) {
        self.risk.reset_kill();
        self.risk.guards().reset(self.now);
        self.ledger.forgive_failures();
        self.cuts = 0;
    }

    pub(super) fn kill(&mut self, why: KillReason, out: &mut Actions) {
        if self.risk.killed().is_none() {
            self.risk.kill(why);
            self.cancel_everything(out);
            self.touch_all();
        }
    }

    /// Cancels all at the venue, at most once a second: by one call for everything, which reaches what we forgot too.
    fn cancel_everything(&mut self, out: &mut Actions) {
        let due = self.cancel_all_at.is_none_or(|at| self.now.since(at) >= LOOKUP_NS);
        if due && out.push(Action::CancelAll).is_ok() {
            self.cancel_all_at = Some(self.now);
        }
    }

    pub(super) fn touch_all(&mut self) {
        self.universe.indices().for_each(|m| self.touched.add(m));
    }

    /// Brings the exposure up to date with what the event changed. Nothing is approved on an older one.
    #[inline]
    pub(super) fn measure(&mut self) {
        for moved in self.ledger.take_moved() {
            match moved {
                Moved::Filled(flow) => self.exposure.filled(&flow),
                Moved::Confirmed(flow) => self.exposure.confirmed(&flow),
                Moved::Failed(flow) => self.exposure.failed(&flow),
                Moved::Held(flow) => self.exposure.hold(&flow),
                Moved::Doubted(flow) => self.exposure.doubted(&flow),
            }
        }
        let mut markets = Markets(self.orders.take_moved());
        while let Some(m) = markets.take() {
            let fee = self.universe.market(m).fee;
            let open = self.orders.working(m).map(|o| Open::of(&o.intent, o.leaves(), fee));
            self.exposure.open(m, open);
        }
    }

    /// What this UTC day has lost for good: since its start, in matches that are over, and by rounding.
    ///
    /// Worst is `equity at the day's start − (start − Σ E + rounding + income)`, with Σ E over what is over and what is
    /// not; the second part is risk's to add.
    fn measure_day(&mut self) {
        let (sum, above) = self.exposure.over();
        let before_today = self.ledger.equity_change() - self.ledger.today().equity_change;
        self.over = above;
        self.lost_today = Usdc(before_today.0.saturating_add(sum.0)) - self.ledger.account_line();
    }

    /// Compares the two books of a market; a lasting difference spoils both.
    pub(super) fn check_mirror(&mut self, m: MarketIx) -> Trust {
        let [yes, no] = [Outcome::Yes, Outcome::No].map(|o| m.instrument(o).ix());
        if !(self.instruments[yes].book.trusted() && self.instruments[no].book.trusted()) {
            self.mirror_bad_since[m.ix()] = None;
            return Trust::Bad;
        }
        if self.instruments[yes].book.mirrors_top(&self.instruments[no].book) {
            self.mirror_bad_since[m.ix()] = None;
            return Trust::Good;
        }
        let since = *self.mirror_bad_since[m.ix()].get_or_insert(self.now);
        if self.now.since(since) >= MIRROR_GRACE_NS {
            self.mirror_bad_since[m.ix()] = None;
            self.instruments[yes].book.mark(Distrust::MirrorMismatch);
            self.instruments[no].book.mark(Distrust::MirrorMismatch);
            return Trust::Bad;
        }
        Trust::Settling
    }

    /// The same without remembering anything; a market that a message is in the middle of changing is settling.
    pub(super) fn trust_of(&self, m: MarketIx) -> Trust {
        let [yes, no] = [Outcome::Yes, Outcome::No].map(|o| &self.instruments[m.instrument(o).ix()].book);
        if !(yes.trusted() && no.trusted()) {
            Trust::Bad
        } else if yes.mirrors_top(no) && !self.fresh.contains(m) {
            Trust::Good
        } else {
            Trust::Settling
        }
    }

    pub(super) fn closed_at(&self, m: MarketIx) -> bool {
        self.risk.closed().is_some() || self.risk.market(m).pulls()
    }

    fn match_is_over(&self) -> bool {
        self.over_since.is_some()
    }

    /// A match feed spoke. Back to play after the end is a correction, and believed.
    pub(super) fn hear_match(&mut self, game: MatchEvent) {
        self.game = Some((game, self.now));
        if game.phase == MatchPhase::Finished {
            self.over_since.get_or_insert(self.now);
        } else {
            self.over_since = None;
        }
        self.touch_all();
    }

    /// What is known of the match. A feed that has been silent for too long knows nothing.
    fn play(&self) -> Play {
        match self.game {
            Some((game, at)) if self.now.since(at) < GAME_STALE_NS => Play::Known(game),
            None if !self.match_feed => Play::NoFeed,
            _ => Play::Unknown,
        }
    }

    pub(super) fn trading_state(&self, m: MarketIx) -> TradingState {
        let net = self.ledger.net(m);
        TradingState::of(&TradingFacts {
            resolved: self.ledger.payout(m).is_some(),
            halted: self.risk.killed().is_some() || self.risk.halted(m, self.now),
            over: self.stopping_since.is_some() || self.match_is_over(),
            holding: [Outcome::Yes, Outcome::No].iter().any(|&o| self.ledger.qty(m.instrument(o)) > Qty::DUST),
            balanced: net.unsigned_abs() <= Qty::DUST.micro(),
            working: self.orders.working(m).next().is_some(),
        })
    }

    pub(super) fn view(&self, m: MarketIx, trust: Trust) -> View<'_> {
        View {
            now: self.now,
            market: m,
            spec: self.universe.market(m),
            books: [Outcome::Yes, Outcome::No].map(|o| &self.instruments[m.instrument(o).ix()].book),
            trust,
            closed: self.closed_at(m),
            epochs: StrategyId::ALL.map(|s| self.risk.next_epoch(m, s)),
            budget: self.risk.budget(self.now),
            size_ppm: self.risk.size_ppm(m, self.now),
            state: self.trading_state(m),
            orders: &self.orders,
            ledger: &self.ledger,
            play: self.play(),
            game_start: self.game_start(m),
            timing: self.watch.timing(),
            apart: [Qty::ZERO; 2],
            others: self,
        }
    }

    /// When a market's game starts, by its page if it was read.
    fn game_start(&self, m: MarketIx) -> Option<Nanos> {
        self.facts[m.ix()].map_or(self.universe.market(m).game_start, |f| f.game_start)
    }

    /// All of it, into the state hash.
    pub(super) fn digest(&self, h: &mut StateHasher) {
        for i in &self.instruments {
            i.book.digest(h);
            h.debug(&(i.priced_at, i.untrusted_since, i.waiting_since, i.resync_at));
        }
        h.debug(&self.mirror_bad_since);
        self.orders.digest(h);
        self.ledger.digest(h);
        self.exposure.digest(h);
        h.debug(&(self.lost_today, self.over));
        self.risk.digest(h);
        h.debug(&(self.game, self.over_since, self.match_feed, self.now, self.run_tag, self.next_salt));
        self.reconciliation.digest(h);
        h.debug(&(&self.facts, &self.facts_due, &self.cleared, self.clock_ahead_ms));
        h.debug(&(self.user_down_since, self.gateway_down_since, self.cuts, self.cuts_at, self.slow_at, self.stuck));
        h.debug(&self.late);
        self.watch.digest(h);
        h.debug(&(&self.payout_due, self.stopping_since, self.ending_since, self.cancel_all_at, self.ending));
    }
}

impl Others for Desk {
    fn spec(&self, m: MarketIx) -> &MarketSpec {
        self.universe.market(m)
    }

    fn book_of(&self, i: InstrumentIx) -> &Book {
        &self.instruments[i.ix()].book
    }

    fn trust(&self, m: MarketIx) -> Trust {
        self.trust_of(m)
    }

    fn closed(&self, m: MarketIx) -> bool {
        self.closed_at(m)
    }

    fn state(&self, m: MarketIx) -> TradingState {
        self.trading_state(m)
    }

    fn next_epoch(&self, m: MarketIx, strategy: StrategyId) -> u32 {
        self.risk.next_epoch(m, strategy)
    }
}
