//! Step 5 of 9: intent → approved. Nothing leaves the system that did not pass here.
//!
//! What can be lost is counted over every outcome of a match, with every order that is or may be open where it hurts
//! (`engine::exposure`): nothing that the venue does raises it, only an order that is approved here.

use serde::Serialize;

use super::{
    book::Book,
    breaker::{Breaker, Change, Rule},
    digest::StateHasher,
    exposure::{Exposure, Open},
    gate::{Closed, Gate, MarketClosed, MarketGate},
    groups::GroupLimits,
    guards::{Around, Guards},
    limits::Limits,
    orders::Orders,
    position::Ledger,
    refusal::Refusal,
    sizing::FULL_PPM,
    trading::TradingState,
};
use crate::types::{
    MarketIx, MarketSpec, Nanos, OrderHash, Price, Qty, Side, Stamp, TickSize, Universe, Usdc,
    amounts::Amounts,
    eip712::OrderDigest,
    event::{Dependency, KillReason},
    fees::Rounding,
    ids::Outcome,
    order::{Intent, Purpose, StrategyId},
};

/// Cancels of one market, of its last twenty, that were not carried out and open its breaker.
const CANCELS_TO_BREAK: u8 = 5;
/// Slow answers of one market's last twenty that open its breaker.
const SLOW_TO_BREAK: u8 = 5;

/// An order that passed every risk check, complete but for its signature.
///
/// Anyone may read it; nobody can make one outside this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Approved {
    intent: Intent,
    amounts: Amounts,
    salt: u64,
    timestamp_ms: u64,
    digest: OrderDigest,
    cause: Stamp,
}

impl Approved {
    /// What was wanted.
    pub const fn intent(&self) -> &Intent {
        &self.intent
    }

    /// The integer amounts that are signed.
    pub const fn amounts(&self) -> Amounts {
        self.amounts
    }

    /// The order's salt, below 2^53: run tag and sequence, so that our orders are recognisable after a crash.
    pub const fn salt(&self) -> u64 {
        self.salt
    }

    /// Creation time in Unix milliseconds, as signed.
    pub const fn timestamp_ms(&self) -> u64 {
        self.timestamp_ms
    }

    /// The struct hash and order id.
    pub const fn digest(&self) -> &OrderDigest {
        &self.digest
    }

    /// The order's id at the venue.
    pub const fn hash(&self) -> OrderHash {
        self.digest.order
    }

    /// Stamp of the bytes that caused the order.
    pub const fn cause(&self) -> Stamp {
        self.cause
    }
}

/// Proof that one intent passed every check. It can be turned into one [`Approved`] and nothing else.
#[derive(Debug)]
pub struct Passed {
    intent: Intent,
    amounts: Amounts,
}

impl Passed {
    /// The amounts to hash.
    pub fn amounts(&self) -> Amounts {
        self.amounts
    }

    /// Completes the order. `salt` is below 2^53; `cause` is the stamp of the bytes that led here.
    pub fn seal(self, salt: u64, timestamp_ms: u64, digest: OrderDigest, cause: Stamp) -> Approved {
        Approved { intent: self.intent, amounts: self.amounts, salt, timestamp_ms, digest, cause }
    }
}

/// What risk looks at beside the intent itself.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Every market, in index order.
    pub specs: &'a [MarketSpec],
    /// Its grid now.
    pub tick: TickSize,
    /// Both books of the market can be trusted.
    pub trusted: bool,
    /// What the market's state allows.
    pub state: TradingState,
    /// Mark of the intent's token in units of 0.0001.
    pub mark_units: u16,
    /// Working orders.
    pub orders: &'a Orders,
    /// Accounts.
    pub ledger: &'a Ledger,
    /// What can be lost.
    pub exposure: &'a Exposure,
    /// What the day lost for good, in matches that are over and beside the matches.
    pub lost_today: Usdc,
    /// What of the exposure is over and in `lost_today`.
    pub over: Usdc,
    /// The book of the intent's token.
    pub book: &'a Book,
    /// When the market's game starts, by the venue's last word.
    pub game_start: Option<Nanos>,
    /// Now.
    pub now: Nanos,
}

/// What a market's breakers watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Watched {
    /// Orders refused in a row.
    Rejects,
    /// Cancels that were not carried out.
    Cancels,
    /// Slow answers.
    Latency,
}

/// One market: its switches and its breakers.
#[derive(Debug)]
struct Switches {
    gate: MarketGate,
    not_ready_until: Nanos,
    breakers: [Breaker; 3],
    /// Times that one of them opened.
    trips: u64,
}

impl Switches {
    fn new(limits: &Limits, market: usize) -> Self {
        let rejects = limits.rejects_to_break.max(1);
        let rule = |failures: u8, of_last| Rule {
            failures,
            of_last,
            within_ns: 60_000_000_000,
            wait_ns: u64::from(limits.break_ms) * 1_000_000,
            wait_max_ns: u64::from(limits.break_ms).max(60_000) * 1_000_000,
            successes: 1,
        };
        let rules = [rule(rejects, u32::from(rejects)), rule(CANCELS_TO_BREAK, 20), rule(SLOW_TO_BREAK, 20)];
        let mut n = 3 * market as u64;
        Self {
            gate: MarketGate::default(),
            not_ready_until: Nanos::default(),
            breakers: rules.map(|rule| {
                n += 1;
                Breaker::new(rule, n)
            }),
            trips: 0,
        }
    }

    /// True while a breaker is open and would not even let a trial through.
    fn broken(&self, now: Nanos) -> bool {
        self.breakers.iter().any(|b| b.is_open() && !b.wants_trial(now))
    }
}

/// The gate: switches, limits, and what they depend on.
#[derive(Debug)]
pub struct Risk {
    guards: Guards,
    groups: GroupLimits,
    limits: Limits,
    kill: Option<KillReason>,
    gate: Gate,
    markets: Vec<Switches>,
    /// Open breakers of what orders depend on, by [`Dependency`].
    dependencies: u16,
    /// Errors in the last minute, leaking at the rate that is allowed; in thousandths.
    errors: u64,
    errors_at: Nanos,
    /// The last intent's number by market and strategy.
    epochs: Vec<[u32; StrategyId::ALL.len()]>,
    /// Token bucket in millionths of an order.
    bucket: u64,
    bucket_at: Nanos,
    refusals: [u64; Refusal::COUNT],
}

impl Risk {
    /// Closed until the streams report themselves.
    pub fn new(limits: Limits, universe: &Universe) -> Self {
        let markets = universe.markets.len();
        let bucket = u64::from(limits.orders_per_s) * 1_000_000;
        let mut gate = Gate::default();
        gate.set(Closed::UserStreamDown, true);
        gate.set(Closed::GatewayDown, true);
        Self {
            kill: None,
            gate,
            markets: (0..markets).map(|m| Switches::new(&limits, m)).collect(),
            dependencies: 0,
            errors: 0,
            errors_at: Nanos::default(),
            epochs: vec![[0; StrategyId::ALL.len()]; markets],
            guards: Guards::new(universe, &limits),
            groups: GroupLimits::of(universe, &limits),
            limits,
            bucket,
            bucket_at: Nanos::default(),
            refusals: [0; Refusal::COUNT],
        }
    }

    /// Trips the kill switch. The first reason stays.
    pub fn kill(&mut self, why: KillReason) {
        self.kill.get_or_insert(why);
        self.gate.set(Closed::KillSwitch, true);
    }

    /// Lifts the kill switch, and forgets the errors that were counted.
    pub fn reset_kill(&mut self) {
        self.kill = None;
        self.errors = 0;
        self.gate.set(Closed::KillSwitch, false);
    }

    /// Why the kill switch is on.
    pub fn killed(&self) -> Option<KillReason> {
        self.kill
    }

    /// A condition of the gate begins to hold, or ends.
    pub fn set(&mut self, condition: Closed, holds: bool) {
        debug_assert!(condition != Closed::KillSwitch, "it has its own methods: the reason goes with it");
        self.gate.set(condition, holds);
    }

    /// True while a condition of the gate holds.
    pub fn has(&self, condition: Closed) -> bool {
        self.gate.has(condition)
    }

    /// Every condition.
    pub fn gate(&self) -> Gate {
        self.gate
    }

    /// True after a stop was asked for.
    pub fn stopping(&self) -> bool {
        self.gate.has(Closed::Stopping)
    }

    /// A condition of one market begins to hold, or ends.
    pub fn set_market(&mut self, m: MarketIx, condition: MarketClosed, holds: bool) {
        if let Some(market) = self.markets.get_mut(m.ix()) {
            market.gate.set(condition, holds);
        }
    }

    /// The conditions of one market.
    pub fn market(&self, m: MarketIx) -> MarketGate {
        self.markets[m.ix()].gate
    }

    /// The venue said that a market is not ready: nothing is sent there until then.
    pub fn not_ready(&mut self, m: MarketIx, until: Nanos) {
        self.set_market(m, MarketClosed::NotReady, true);
        self.markets[m.ix()].not_ready_until = until;
    }

    /// Clears what has a time of its own.
    pub fn tick(&mut self, now: Nanos) {
        for market in &mut self.markets {
            if market.gate.has(MarketClosed::NotReady) && now >= market.not_ready_until {
                market.gate.set(MarketClosed::NotReady, false);
            }
        }
    }

    /// True while a market is halted by hand, by a mismatch, or by its breaker.
    pub fn halted(&self, m: MarketIx, now: Nanos) -> bool {
        let market = &self.markets[m.ix()];
        market.gate.has(MarketClosed::Halted) || market.gate.has(MarketClosed::Mismatch) || market.broken(now)
    }

    /// What a market's breakers heard: an order refused or taken, a cancel refused or done, an answer slow or quick.
    pub fn watch(&mut self, m: MarketIx, what: Watched, good: bool, now: Nanos) {
        let Some(market) = self.markets.get_mut(m.ix()) else { return };
        if market.breakers[what as usize].tried(good, now) == Some(Change::Opened) {
            market.trips += 1;
        }
    }

    /// An order that may have been a breaker's trial told nothing: another may be tried.
    pub fn trial_lost(&mut self, m: MarketIx) {
        if let Some(market) = self.markets.get_mut(m.ix()) {
            market.breakers.iter_mut().for_each(Breaker::trial_not_made);
        }
    }

    /// An order was answered after so long.
    pub fn answered(&mut self, m: MarketIx, took_ns: u64, now: Nanos) {
        self.watch(m, Watched::Latency, took_ns < u64::from(self.limits.slow_answer_ms) * 1_000_000, now);
    }

    /// The breaker of something that orders depend on opened or closed.
    pub fn set_dependency(&mut self, of: Dependency, open: bool) {
        let bit = 1 << of as u16;
        self.dependencies = if open { self.dependencies | bit } else { self.dependencies & !bit };
        // Reads and merges can wait; a throttled venue is given less, not nothing.
        let harmless = [Dependency::Reads, Dependency::Relayer, Dependency::OrdersThrottle];
        let harmless = harmless.iter().fold(0, |bits, d| bits | 1 << *d as u16);
        self.gate.set(Closed::BreakerOpen, self.dependencies & !harmless != 0);
    }

    /// Something went wrong: too much of it within a minute trips the kill switch. True if it did.
    pub fn error(&mut self, now: Nanos) -> bool {
        let allowed = u64::from(self.limits.errors_per_min) * 1_000;
        let leaked = u128::from(now.since(self.errors_at)) * u128::from(allowed) / 60_000_000_000;
        self.errors = self.errors.saturating_sub(u64::try_from(leaked).unwrap_or(u64::MAX)) + 1_000;
        self.errors_at = now;
        self.errors > allowed
    }

    /// Times that breakers of markets opened.
    pub fn trips(&self) -> u64 {
        self.markets.iter().map(|m| m.trips).sum()
    }

    /// The number that the next intent of a strategy in a market has to have, at least.
    pub fn next_epoch(&self, m: MarketIx, strategy: StrategyId) -> u32 {
        self.epochs[m.ix()][strategy as usize] + 1
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Trips the kill switch if the loss since start passed its limit.
    pub fn watch_loss(&mut self, equity_change: Usdc) {
        if equity_change < -self.limits.daily_loss_usdc {
            self.kill(KillReason::DailyLoss);
        }
    }

    /// Why no order at all is admitted now.
    pub fn closed(&self) -> Option<Refusal> {
        self.gate.refuses(true)
    }

    /// Checks one intent. A refusal is counted. Tens of nanoseconds, no allocation.
    pub fn check(&mut self, intent: &Intent, facts: &Facts<'_>) -> Result<Passed, Refusal> {
        let verdict = self.judge(intent, facts);
        let market = intent.instrument.market().ix();
        match &verdict {
            Ok(_) => {
                self.bucket -= 1_000_000;
                self.guards.approved(intent, facts.now);
                self.epochs[market][intent.strategy as usize] = intent.epoch;
                // It may be the one trial of a breaker that is half open.
                for breaker in &mut self.markets[market].breakers {
                    breaker.admits(facts.now);
                }
            }
            Err(why) => self.refusals[why.index()] += 1,
        }
        verdict
    }

    fn judge(&mut self, intent: &Intent, f: &Facts<'_>) -> Result<Passed, Refusal> {
        let market = intent.instrument.market();
        let spec = &f.specs[market.ix()];
        let refuse_if = |bad: bool, why: Refusal| if bad { Err(why) } else { Ok(()) };
        if let Some(why) = self.gate.refuses(intent.post_only) {
            return Err(why);
        }
        let switches = &self.markets[market.ix()];
        if let Some(why) = switches.gate.refuses() {
            return Err(why);
        }
        refuse_if(switches.broken(f.now), Refusal::MarketBreaker)?;
        // One key, one order: whoever comes second with the same number is refused, whatever it says.
        refuse_if(intent.epoch < self.next_epoch(market, intent.strategy), Refusal::Duplicate)?;
        refuse_if(f.orders.unresolved_twin(intent), Refusal::Unresolved)?;
        let expires_s = intent.tif.expiration_s();
        let too_near = expires_s != 0 && expires_s < f.now.secs() + u64::from(self.limits.expiry_s);
        refuse_if(too_near, Refusal::Expiration)?;
        refuse_if(!f.trusted, Refusal::BookUntrusted)?;
        refuse_if(!f.state.allows(intent.purpose), Refusal::State)?;
        refuse_if(!intent.price.on_grid(f.tick), Refusal::OffGrid)?;
        let qty = intent.qty.floor_to_cents();
        refuse_if(qty < spec.min_size, Refusal::TooSmall)?;
        let cost = worst_cost(intent, qty, spec);
        refuse_if(cost > self.limits.order_usdc, Refusal::OrderLimit)?;
        let (price, mark, collar) = (intent.price.units(), f.mark_units, self.limits.collar_units);
        let astray = match intent.side {
            Side::Buy => price > mark.saturating_add(collar),
            Side::Sell => price < mark.saturating_sub(collar),
        };
        refuse_if(astray, Refusal::Collar)?;
        refuse_if(crosses_own(intent, f.orders), Refusal::SelfTrade)?;
        if intent.side == Side::Sell {
            let offered = f
                .orders
                .working(market)
                .filter(|o| o.intent.instrument == intent.instrument && o.intent.side == Side::Sell)
                .fold(Qty::ZERO, |sum, o| sum + o.leaves());
            refuse_if(f.ledger.settled(intent.instrument) < offered + qty, Refusal::NotHeld)?;
        }
        let working = f.orders.working(market).count();
        let full = working >= usize::from(self.limits.working_per_market) || !f.orders.room(market);
        refuse_if(full, Refusal::TooManyWorking)?;
        self.refill(f.now);
        refuse_if(self.bucket < 1_000_000, Refusal::RateLimit)?;
        let around = Around { spec, book: f.book, game_start: f.game_start, now: f.now };
        self.guards.check(intent, &around)?;
        if intent.purpose == Purpose::Quote {
            let ppm = self.guards.size_ppm(market, f.now);
            // The whole of it was looked at above.
            let allowed = || i128::from(self.limits.order_usdc.0) * i128::from(ppm) / i128::from(FULL_PPM);
            refuse_if(ppm < FULL_PPM && i128::from(cost.0) > allowed(), Refusal::Size)?;
        }
        let after = f.exposure.after(&Open::of(intent, qty, spec.fee));
        refuse_if(after.market > self.limits.market_usdc, Refusal::MarketLimit)?;
        refuse_if(after.worst > self.limits.match_usdc, Refusal::MatchLimit)?;
        for group in f.exposure.groups_of(market) {
            let limit = self.groups.limits.get(usize::from(group)).copied().unwrap_or(Usdc::ZERO);
            let then = f.exposure.group(group).0.saturating_add(after.rise.0);
            refuse_if(then > limit.0, Refusal::GroupLimit)?;
        }
        refuse_if(after.total > self.limits.total_usdc, Refusal::TotalLimit)?;
        // What is lost already and what can still be lost, together, before each order.
        let day = after.total.0.saturating_sub(f.over.0).saturating_add(f.lost_today.0.max(0));
        refuse_if(day > self.limits.daily_loss_usdc.0, Refusal::DayLimit)?;
        if intent.side == Side::Buy {
            let left = f.ledger.cash() - f.exposure.committed() - cost;
            refuse_if(left < Usdc::ZERO, Refusal::Cash)?;
            let completing = (intent.purpose == Purpose::Complete).then_some(market);
            refuse_if(left < self.reserve(f.ledger, f.specs.len(), completing), Refusal::Reserve)?;
        }
        Ok(Passed { intent: *intent, amounts: crate::types::amounts::limit(intent.side, intent.price, qty) })
    }

    /// Collateral that completing what is unpaired takes at the mark, without the market that is being completed.
    fn reserve(&self, ledger: &Ledger, markets: usize, but: Option<MarketIx>) -> Usdc {
        let all = (0..markets as u16).map(MarketIx).filter(|m| Some(*m) != but);
        let cost: Usdc = all.map(|m| ledger.completion_cost(m)).sum();
        // More than fits is more than there is.
        let percent = i64::from(self.limits.completion_percent);
        cost.0.checked_mul(percent).map_or(Usdc(i64::MAX), |all| Usdc(all / 100))
    }

    /// The guards of time, size and habit.
    pub fn guards(&mut self) -> &mut Guards {
        &mut self.guards
    }

    /// How much of its size a new quote in a market may have now, in parts per million.
    pub fn size_ppm(&self, m: MarketIx, now: Nanos) -> u32 {
        self.guards.size_ppm(m, now)
    }

    /// The groups of each match, for the exposure.
    pub fn groups(&self) -> &GroupLimits {
        &self.groups
    }

    /// New orders that the rate limit leaves now.
    pub fn budget(&self, now: Nanos) -> u32 {
        (self.tokens(now) / 1_000_000) as u32
    }

    fn tokens(&self, now: Nanos) -> u64 {
        let full = u64::from(self.limits.orders_per_s) * 1_000_000;
        let earned = u128::from(now.since(self.bucket_at)) * u128::from(self.limits.orders_per_s) / 1_000;
        full.min(self.bucket.saturating_add(u64::try_from(earned).unwrap_or(full)))
    }

    fn refill(&mut self, now: Nanos) {
        self.bucket = self.tokens(now);
        self.bucket_at = self.bucket_at.max(now);
    }

    /// Refusals by name, most first.
    pub fn refusals(&self) -> Vec<(&'static str, u64)> {
        let mut all: Vec<_> = Refusal::all().map(|r| (r.as_str(), self.refusals[r.index()])).collect();
        all.retain(|(_, n)| *n > 0);
        all.sort_by_key(|(_, n)| core::cmp::Reverse(*n));
        all
    }

    /// Counts a refusal made elsewhere.
    pub fn count(&mut self, why: Refusal) {
        self.refusals[why.index()] += 1;
    }

    /// Every switch, breaker and counter that decides, into the state hash.
    pub(super) fn digest(&self, h: &mut StateHasher) {
        h.debug(&self.kill);
        self.guards.digest(h);
        h.u64(u64::from(self.gate.bits()));
        h.u64(self.bucket);
        h.u64(self.bucket_at.0);
        h.u64(u64::from(self.dependencies));
        h.u64(self.errors);
        h.u64(self.errors_at.0);
        for (market, epochs) in self.markets.iter().zip(&self.epochs) {
            h.u64(u64::from(market.gate.bits()));
            h.u64(market.not_ready_until.0);
            h.u64(market.trips);
            h.debug(&market.breakers);
            epochs.iter().for_each(|e| h.u64(u64::from(*e)));
        }
    }
}

/// What an order costs at worst: for a buy its cash and the taker fee (post-only orders pay none), for a sell nothing.
fn worst_cost(intent: &Intent, qty: Qty, spec: &MarketSpec) -> Usdc {
    match intent.side {
        Side::Buy => qty.notional_ceil(intent.price) + worst_fee(intent, qty, spec),
        Side::Sell => Usdc::ZERO,
    }
}

fn worst_fee(intent: &Intent, qty: Qty, spec: &MarketSpec) -> Usdc {
    if intent.post_only { Usdc::ZERO } else { spec.fee.taker_fee(qty, intent.price, Rounding::Up) }
}

/// A new order must not meet one of ours, on either token: buying YES at p meets our bid for NO at 1 − p or more.
fn crosses_own(intent: &Intent, orders: &Orders) -> bool {
    let as_yes = |i: &Intent| match i.instrument.outcome() {
        Outcome::Yes => (i.side, i.price),
        Outcome::No => (i.side.other(), i.price.complement()),
    };
    let (side, price) = as_yes(intent);
    orders.working(intent.instrument.market()).any(|o| {
        let (own_side, own_price) = as_yes(&o.intent);
        match (side, own_side) {
            (Side::Buy, Side::Sell) => price >= own_price,
            (Side::Sell, Side::Buy) => price <= own_price,
            _ => false,
        }
    })
}

/// The mark of one token in units of 0.0001, from the first outcome's mark in half-units.
pub fn mark_units(outcome: Outcome, half_units: u32) -> u16 {
    let yes = (half_units / 2) as u16;
    match outcome {
        Outcome::Yes => yes,
        Outcome::No => Price::UNITS - yes,
    }
}
