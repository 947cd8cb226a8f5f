//! What the engine knows: books, orders, accounts, switches; and the deadlines over them.

use super::{
    Action, Actions, MARKETS_MAX, Probe, Step,
    book::{Book, Distrust},
    digest::StateHasher,
    exposure::{Exposure, Open},
    gate::{Closed, MarketClosed},
    life::Input,
    limits::Limits,
    orders::{self, Orders},
    position::{Ledger, Moved},
    reconcile::Reconciliation,
    refusal::Refusal,
    report,
    risk::{self, Facts, Risk},
    strategy::{Others, Play, TOGETHER_MAX, Timing, Together, Trust, View},
    trading::{TradingFacts, TradingState},
};
use crate::types::{
    InstrumentIx, MarketIx, MarketSpec, Nanos, OrderHash, Qty, Stamp, Universe, Usdc,
    eip712::{OrderFields, OrderHasher},
    event::{ControlEvent, GapReason, KillReason, MarketFacts, MatchEvent, MatchPhase, RejectReason},
    ids::Outcome,
    order::{Intent, OrderState, StrategyId},
};

/// A book that stays different from its mirror this long is resynchronised. The venue sends the two tokens' snapshots
/// one after the other, so a short difference is normal; nothing is decided on it meanwhile.
const MIRROR_GRACE_NS: u64 = 1_000_000_000;
/// A subscription brings a snapshot by itself; one that has not come by then is asked for.
const SNAPSHOT_WAIT_NS: u64 = 10_000_000_000;
/// A snapshot that was asked for is asked for again after this.
const RESYNC_RETRY_NS: u64 = 2_000_000_000;
/// The venue is asked about an order that is not in order, at most this often.
pub(super) const LOOKUP_NS: u64 = 1_000_000_000;
/// A stop that is not complete by then ends unclean.
const STOP_NS: u64 = 5_000_000_000;
/// The same after every market is paid out: merges on their way may still take a while.
const RESOLVED_NS: u64 = 15_000_000_000;
/// A market's page is read this often.
const FACTS_NS: u64 = 60_000_000_000;
/// Without a late change for so long, a snapshot is believed again.
const LATE_NS: u64 = 2_000_000_000;
/// Deadlines that need not be looked at with every tick are, this often.
const SLOW_NS: u64 = 1_000_000_000;
/// Losses of the user stream or of the gateway that are too many, each forgotten after a while.
const CUTS_MAX: u32 = 30;
const CUT_FORGOTTEN_NS: u64 = 20_000_000_000;
/// The word of a match feed is good for this long; it repeats itself every 20 s.
/// Source: docs/PROTOCOL.md "sports channel".
const GAME_STALE_NS: u64 = 75_000_000_000;
/// Payouts that nobody told of are asked for this long after the match, and then again.
const PAYOUT_LATE_NS: u64 = 60_000_000_000;
const PAYOUT_RETRY_NS: u64 = 2_000_000_000;
/// The venue's collateral may differ from ours by this per fill; the difference is rounding's. More is an error.
const ROUNDING_MICRO_PER_FILL: u64 = 20;

/// A set of markets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Markets(u64);

impl Markets {
    pub(super) fn add(&mut self, m: MarketIx) {
        self.0 |= 1 << m.0;
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

    /// Deadlines: what should have happened by now and did not.
    pub(super) fn tick(&mut self, out: &mut Actions) {
        self.orders.forget_old(self.now);
        self.risk.tick(self.now);
        self.measure();
        self.measure_day();
        self.risk.guards().earned(self.ledger.equity_change());
        self.risk.watch_loss(-self.ledger.day_loss());
        self.watch_connections(out);
        for m in self.universe.indices() {
            self.watch_game_start(m);
            self.watch_late(m);
        }
        if self.now >= self.slow_at {
            self.slow_at = self.now.plus(SLOW_NS);
            self.watch_slowly(out);
        }
        if self.risk.killed().is_some() || self.stopping_since.is_some() {
            if self.orders.open() > 0 {
                self.cancel_everything(out);
            }
        } else if self.ledger.anomalies() > 0 || !self.ledger.balanced() {
            self.kill(KillReason::Accounts, out);
        }
        // An order may have ended by the stream's own word before the look-up's answer came.
        self.all_verified();
        self.ask_reconciliation(out);
        self.look_up_stragglers(out);
        for m in self.universe.indices() {
            self.check_mirror(m);
        }
        self.resync_untrusted(out);
        self.ask_payouts(out);
        self.ask_facts(out);
        self.touch_all();
        self.try_to_end(out);
    }

    /// Connections that stay away, or come and go, trip the kill switch: somebody is to look.
    fn watch_connections(&mut self, out: &mut Actions) {
        let limit = u64::from(self.risk.limits().down_s) * 1_000_000_000;
        let away = [self.user_down_since, self.gateway_down_since];
        if self.now.since(self.cuts_at) >= CUT_FORGOTTEN_NS {
            self.cuts = self.cuts.saturating_sub(1);
            self.cuts_at = self.now;
        }
        let gone = away.into_iter().flatten().any(|since| self.now.since(since) >= limit);
        if gone || self.cuts > CUTS_MAX {
            self.kill(KillReason::Connections, out);
        }
    }

    /// About the start of its game a market's book is cleared by the venue: nothing is placed, and what rested is taken
    /// for gone only when the venue says so. Starts move, so the last one read counts.
    fn watch_game_start(&mut self, m: MarketIx) {
        let spec = self.universe.market(m);
        let Some(start) = self.game_start(m).filter(|_| spec.clear_on_start) else {
            return self.risk.set_market(m, MarketClosed::BookClearing, false);
        };
        let window = u64::from(self.risk.limits().clear_ms) * 1_000_000;
        let near = self.now.plus(window) >= start && self.now.since(start) < window;
        self.risk.set_market(m, MarketClosed::BookClearing, near);
        if self.now >= start && self.now.since(start) < window && self.cleared[m.ix()] != Some(start) {
            self.cleared[m.ix()] = Some(start);
            self.orders.distrust_market(m);
            self.reconciliation.want(self.now);
        }
    }

    /// A late change of a market was read.
    pub(super) fn note_late(&mut self, m: MarketIx) {
        self.late[m.ix()] = (self.now, false);
    }

    /// A snapshot of a market came. If nothing late was read for a while it is what there is now; amid late changes it
    /// is as late as they are.
    pub(super) fn note_snapshot(&mut self, m: MarketIx) {
        self.late[m.ix()].1 = true;
        self.watch_late(m);
    }

    fn watch_late(&mut self, m: MarketIx) {
        let (at, snapshot) = self.late[m.ix()];
        if snapshot && self.now.since(at) >= LATE_NS {
            self.risk.set_market(m, MarketClosed::Late, false);
        }
    }

    /// What is looked at once a second.
    fn watch_slowly(&mut self, out: &mut Actions) {
        self.stuck = self.ledger.stuck(self.now);
        if self.stuck > 0 || self.orders.any_lacks_trades(self.now) {
            self.reconciliation.want_soon(self.now);
        }
        if self.ledger.failures_follow_a_pattern() {
            self.kill(KillReason::FailedWinners, out);
        }
    }

    /// A market's page is to be asked for now.
    pub(super) fn ask_market(&mut self, m: MarketIx) {
        if let Some(due) = self.facts_due.get_mut(m.ix()) {
            *due = (*due).min(self.now);
        }
    }

    /// Asks for the page of each market now and then: what it takes, and when its game starts, moves.
    fn ask_facts(&mut self, out: &mut Actions) {
        if self.risk.has(Closed::GatewayDown) {
            return;
        }
        for m in self.universe.indices() {
            if self.now >= self.facts_due[m.ix()]
                && self.ledger.payout(m).is_none()
                && out.push(Action::AskMarket { market: m }).is_ok()
            {
                self.facts_due[m.ix()] = self.now.plus(FACTS_NS);
                break;
            }
        }
    }

    /// Asks the venue about orders that have been in a passing state for too long.
    fn look_up_stragglers(&mut self, out: &mut Actions) {
        let now = self.now;
        let mut due: heapless::Vec<OrderHash, 16> = heapless::Vec::new();
        for o in self.orders.all_working() {
            let patience = match o.state {
                _ if o.unverified && !self.risk.has(Closed::UserStreamDown) => 0,
                OrderState::Unknown => 0,
                OrderState::CancelPending => 2_000_000_000,
                OrderState::Created | OrderState::Sent => 3_000_000_000,
                OrderState::Delayed => 5_000_000_000,
                // An immediate order does not rest: its end is fills, a cancellation, or this question.
                OrderState::Live | OrderState::PartiallyFilled if o.intent.tif.is_immediate() => 2_000_000_000,
                // A market that paid out has no resting orders; the word of it may have been lost.
                OrderState::Live | OrderState::PartiallyFilled
                    if self.ledger.payout(o.intent.instrument.market()).is_some() =>
                {
                    1_000_000_000
                }
                _ => continue,
            };
            if now.since(o.changed) >= patience && now >= o.next_lookup && due.push(o.hash).is_err() {
                break;
            }
        }
        for order in due {
            if out.push(Action::Lookup { order }).is_ok() {
                self.orders.note_lookup(&order, now.plus(LOOKUP_NS));
            }
            // "Not there" proved nothing: it is cancelled again, in case it came late.
            if self.orders.get(&order).is_some_and(|o| o.state == OrderState::Unknown) {
                self.cancel(order, Stamp::default(), out);
            }
        }
    }

    /// Ends the run when nothing is left to do: every market is paid out or a stop is complete, and the venue has
    /// counted our collateral.
    fn try_to_end(&mut self, out: &mut Actions) {
        let resolved =
            !self.universe.markets.is_empty() && self.universe.indices().all(|m| self.ledger.payout(m).is_some());
        if !resolved && self.stopping_since.is_none() {
            return;
        }
        let merging = self.universe.indices().any(|m| self.ledger.merging(m));
        let idle = self.orders.open() == 0 && !merging;
        let since = *self.ending_since.get_or_insert(self.stopping_since.unwrap_or(self.now));
        let late = self.now.since(since) >= if resolved { RESOLVED_NS } else { STOP_NS };
        // Nothing of ours rests in a market that paid; if the venue says it does, it is told again.
        if resolved && self.orders.open() > 0 && self.now.since(since) >= LOOKUP_NS {
            self.cancel_everything(out);
        }
        match self.ending {
            Ending::No if idle && out.push(Action::ReadCollateral).is_ok() => {
                self.ending = Ending::Counting(self.now);
            }
            Ending::No if late => self.finish(false, out),
            Ending::Counting(asked) if self.now.since(asked) >= STOP_NS => self.finish(false, out),
            _ => {}
        }
    }

    /// Says that the run is over; if there is no room to say it, the next tick does.
    fn finish(&mut self, clean: bool, out: &mut Actions) {
        if self.ending != Ending::Done && out.push(Action::Finished { clean }).is_ok() {
            self.ending = Ending::Done;
        }
    }

    /// Takes over the venue's count of our collateral, if it differs by no more than rounding can explain.
    pub(super) fn count_collateral(&mut self, cash: Usdc, out: &mut Actions) {
        if !matches!(self.ending, Ending::Counting(_)) {
            return;
        }
        let explained = self.explains(cash);
        if explained {
            self.ledger.reconcile_cash(cash);
        } else {
            self.risk.kill(KillReason::Accounts);
        }
        self.finish(explained && self.ledger.anomalies() == 0 && self.orders.unresolved() == 0, out);
    }

    /// True if the venue's count of our collateral differs from ours by no more than rounding can.
    pub(super) fn explains(&self, cash: Usdc) -> bool {
        let allowed = (self.ledger.fills().count + 1) * ROUNDING_MICRO_PER_FILL;
        (cash - self.ledger.cash()).0.unsigned_abs() <= allowed
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

    /// The venue is to be asked what a market pays.
    pub(super) fn want_payout(&mut self, m: MarketIx) {
        if let Some(due) = self.payout_due.get_mut(m.ix()) {
            due.get_or_insert(self.now);
        }
    }

    /// Asks for payouts: of markets whose resolution could not be read, and, some time after the match, of all that
    /// said nothing, because the word of it may have been lost.
    fn ask_payouts(&mut self, out: &mut Actions) {
        for m in self.universe.indices() {
            if self.ledger.payout(m).is_some() {
                self.payout_due[m.ix()] = None;
                continue;
            }
            if self.over_since.is_some_and(|at| self.now.since(at) >= PAYOUT_LATE_NS) {
                self.want_payout(m);
            }
            if self.payout_due[m.ix()].is_some_and(|due| self.now >= due)
                && out.push(Action::AskMarket { market: m }).is_ok()
            {
                self.payout_due[m.ix()] = Some(self.now.plus(PAYOUT_RETRY_NS));
            }
        }
    }

    /// Keeps the meter of untrusted time and asks for snapshots that are needed.
    fn resync_untrusted(&mut self, out: &mut Actions) {
        for i in 0..self.instruments.len() as u16 {
            self.watch_trust(InstrumentIx(i), out);
        }
    }

    pub(super) fn watch_trust(&mut self, i: InstrumentIx, out: &mut Actions) {
        let now = self.now;
        let it = &mut self.instruments[i.ix()];
        match it.book.distrust() {
            None => {
                if let Some(since) = it.untrusted_since.take() {
                    it.untrusted_ns += now.since(since);
                }
                it.resync_at = None;
                it.waiting_since = None;
            }
            // In the middle of a message, and after the end, there is nothing to complain about.
            Some(Distrust::SnapshotPartial | Distrust::Resolved) => {}
            Some(why) => {
                // The feed subscribes by itself, at first and when its socket is back.
                let comes_by_itself = matches!(why, Distrust::NoSnapshot | Distrust::Gap(GapReason::Disconnected));
                if why != Distrust::NoSnapshot {
                    it.untrusted_since.get_or_insert(now);
                }
                let waited = now.since(*it.waiting_since.get_or_insert(now));
                if comes_by_itself && waited < SNAPSHOT_WAIT_NS {
                    return;
                }
                let due = it.resync_at.is_none_or(|at| now.since(at) >= RESYNC_RETRY_NS);
                if due && out.push(Action::Resync { instrument: i }).is_ok() {
                    it.resync_at = Some(now);
                    self.resyncs += 1;
                }
            }
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
            timing: Timing::default(),
            apart: [Qty::ZERO; 2],
            others: self,
        }
    }

    /// When a market's game starts, by its page if it was read.
    fn game_start(&self, m: MarketIx) -> Option<Nanos> {
        self.facts[m.ix()].map_or(self.universe.market(m).game_start, |f| f.game_start)
    }

    pub(super) fn merge(&mut self, market: MarketIx, qty: Qty, out: &mut Actions) {
        if !self.risk.stopping()
            && self.ledger.may_merge(market, self.now)
            && out.push(Action::Merge { market, qty }).is_ok()
        {
            self.ledger.merge_asked(market, qty);
        }
    }

    pub(super) fn cancel(&mut self, order: OrderHash, cause: Stamp, out: &mut Actions) {
        let Some(o) = self.orders.get(&order) else { return };
        let instrument = o.intent.instrument;
        if o.cancellable(self.now) && out.push(Action::Cancel { order, instrument, cause }).is_ok() {
            self.orders.apply(&order, Input::CancelAsked, self.now);
        }
    }

    /// Places all of these, each by the trust of its own market, or none: what was approved before one was refused
    /// never leaves. Gives their ids, or why not.
    pub(super) fn place_together<P: Probe>(
        &mut self,
        intents: &Together,
        cause: Stamp,
        probe: &mut P,
        out: &mut Actions,
    ) -> Result<heapless::Vec<OrderHash, TOGETHER_MAX>, Refusal> {
        let before = out.len();
        let mut placed = heapless::Vec::new();
        for intent in intents.iter() {
            let trust = self.trust_of(intent.instrument.market());
            match self.place(intent, trust, cause, probe, out) {
                Ok(order) => drop(placed.push(order)),
                Err(why) => {
                    out.truncate(before);
                    placed.iter().for_each(|order| self.never_left(order));
                    return Err(why);
                }
            }
        }
        Ok(placed)
    }

    /// An order that was approved is not sent after all.
    fn never_left(&mut self, order: &OrderHash) {
        self.orders.apply(order, Input::NeverSent, self.now);
        let Some(o) = self.orders.get(order) else { return };
        self.counts.sent -= 1;
        self.counts.immediate -= u64::from(o.intent.tif.is_immediate());
        self.risk.trial_lost(o.intent.instrument.market());
    }

    /// Has risk look at an intent, and if it passes has the order sent. Gives its id, or why not.
    pub(super) fn place<P: Probe>(
        &mut self,
        intent: &Intent,
        trust: Trust,
        cause: Stamp,
        probe: &mut P,
        out: &mut Actions,
    ) -> Result<OrderHash, Refusal> {
        self.counts.intents += 1;
        let m = intent.instrument.market();
        // One whose fate is unknown has a refusal of its own.
        let same = |o: &orders::Order| {
            let i = &o.intent;
            o.state != OrderState::Unknown
                && (i.instrument, i.side, i.price, i.purpose)
                    == (intent.instrument, intent.side, intent.price, intent.purpose)
        };
        if self.orders.working(m).any(same) {
            self.counts.deduplicated += 1;
            self.risk.count(Refusal::Duplicate);
            return Err(Refusal::Duplicate);
        }
        let mark = self.instruments[m.instrument(Outcome::Yes).ix()].book.mid_half_units();
        let facts = Facts {
            specs: &self.universe.markets,
            tick: self.instruments[intent.instrument.ix()].book.tick(),
            // A book without two sides has no price that a limit could be held against.
            trusted: trust == Trust::Good && mark.is_some(),
            state: self.trading_state(m),
            mark_units: risk::mark_units(intent.instrument.outcome(), mark.unwrap_or(10_000)),
            orders: &self.orders,
            ledger: &self.ledger,
            exposure: &self.exposure,
            lost_today: self.lost_today,
            over: self.over,
            book: &self.instruments[intent.instrument.ix()].book,
            game_start: self.game_start(m),
            now: self.now,
        };
        let verdict = self.risk.check(intent, &facts);
        probe.mark(Step::Risk);
        let passed = verdict?;
        if out.is_full() {
            return Err(Refusal::RateLimit);
        }
        let salt = u64::from(self.run_tag) << 32 | u64::from(self.next_salt);
        self.next_salt = self.next_salt.wrapping_add(1);
        let timestamp_ms = self.now.millis();
        let digest = self.hashers[m.ix()].digest(&OrderFields {
            salt,
            token: self.universe.token(intent.instrument),
            amounts: passed.amounts(),
            side: intent.side,
            timestamp_ms,
            metadata: [0; 32],
            builder: [0; 32],
        });
        probe.mark(Step::Hash);
        let approved = passed.seal(salt, timestamp_ms, digest, cause);
        // Known before it is sent: the user stream may be faster than the answer.
        if !self.orders.register(&approved, self.now) {
            return Err(Refusal::TooManyWorking);
        }
        self.measure();
        self.counts.sent += 1;
        self.counts.immediate += u64::from(intent.tif.is_immediate());
        let _ = out.push(Action::Place(approved));
        Ok(approved.hash())
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
        h.debug(&(&self.payout_due, self.stopping_since, self.ending_since, self.cancel_all_at, self.ending));
    }

    /// True once `Action::Finished` was asked for.
    pub(super) fn finished(&self) -> bool {
        self.ending == Ending::Done
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
