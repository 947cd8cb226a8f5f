//! Step 5 of 9: guards of time, size and habit, beside the limits of what can be lost.

use super::{
    book::Book,
    digest::StateHasher,
    fat_finger::{TypicalSize, fat_finger},
    hours::Hours,
    limits::Limits,
    refusal::Refusal,
    repeat::Repeats,
    restricted::RestrictedMarkets,
    sizing::{CoolDown, FULL_PPM, HighWater, SizingParams, combined_ppm},
    slippage::{SlippageLimits, Wanted, guard},
    volatility::Volatility,
};
use crate::types::{
    MarketIx, MarketSpec, Nanos, Side, Universe, Usdc,
    event::BookSide,
    ids::InstrumentIx,
    order::{Intent, Purpose, StrategyId},
};

/// What the guards look at beside the intent itself.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// The intent's market.
    pub spec: &'a MarketSpec,
    /// The book of the intent's token.
    pub book: &'a Book,
    /// When the market's game starts, by the venue's last word.
    pub game_start: Option<Nanos>,
    /// Now.
    pub now: Nanos,
}

/// One guard of each kind, and what they remember.
#[derive(Debug)]
pub struct Guards {
    hours: Hours,
    sizing: SizingParams,
    slippage: SlippageLimits,
    fat_finger: super::fat_finger::FatFingerLimits,
    restricted: RestrictedMarkets,
    volatility: Vec<Volatility>,
    typical: TypicalSize,
    repeats: Repeats,
    high: HighWater,
    drawdown: Usdc,
    cool_down: CoolDown,
}

impl Guards {
    /// Guards that have seen nothing. Everything they will ever need is allocated here.
    pub fn new(universe: &Universe, limits: &Limits) -> Self {
        let markets = universe.markets.len();
        Self {
            hours: limits.hours.clone(),
            sizing: limits.sizing.clone(),
            slippage: limits.slippage,
            fat_finger: limits.fat_finger,
            // Names that no market has were refused at start.
            restricted: limits.restricted.resolve(&universe.markets).unwrap_or_default(),
            volatility: vec![Volatility::new(&limits.sizing); markets],
            typical: TypicalSize::default(),
            repeats: Repeats::new(&limits.repeats, markets),
            high: HighWater::default(),
            drawdown: Usdc::ZERO,
            cool_down: CoolDown::new(&limits.sizing),
        }
    }

    /// A market's mid moved, in half-units of the first outcome.
    #[inline]
    pub fn moved(&mut self, m: MarketIx, half_units: u32, now: Nanos) {
        if let Some(volatility) = self.volatility.get_mut(m.ix()) {
            volatility.observe(half_units, now);
        }
    }

    /// Equity changed by so much since the start.
    pub fn earned(&mut self, equity_change: Usdc) {
        self.drawdown = self.high.drawdown(equity_change);
    }

    /// The kill switch was reset: size comes back slowly.
    pub fn reset(&mut self, now: Nanos) {
        self.cool_down.reset(now);
    }

    /// An order of ours was filled.
    pub fn filled(&mut self, instrument: InstrumentIx, side: Side, strategy: StrategyId, now: Nanos) {
        self.repeats.note_fill(instrument, side, strategy, now);
    }

    /// An intent was approved.
    pub fn approved(&mut self, intent: &Intent, now: Nanos) {
        self.typical.note(intent.qty, intent.price);
        self.repeats.note_order(intent, now);
    }

    /// How much of its size a new quote in a market may have now, in parts per million: less where its price moves
    /// fast, in a drawdown, after a kill, at certain hours.
    #[inline]
    pub fn size_ppm(&self, m: MarketIx, now: Nanos) -> u32 {
        let of_market = self.volatility.get(m.ix()).map_or(FULL_PPM, |v| v.scale_ppm(now));
        let drawdown = self.sizing.drawdown_ppm(self.drawdown);
        combined_ppm([of_market, drawdown, self.cool_down.ppm(now), self.hours.size_ppm(now)])
    }

    /// Why an intent is refused, if it is. Orders that make a position smaller are let through at any hour; one that
    /// loops, slips or is far too large is not.
    pub fn check(&self, intent: &Intent, around: &Around<'_>) -> Result<(), Refusal> {
        let m = intent.instrument.market();
        let reduces = matches!(intent.purpose, Purpose::Complete | Purpose::Unwind);
        if self.restricted.contains(m) && !reduces {
            return Err(Refusal::Restricted);
        }
        if !reduces && self.hours.closed(around.now, around.game_start, None).is_some() {
            return Err(Refusal::Hours);
        }
        if self.repeats.runaway(m, around.now) {
            return Err(Refusal::Runaway);
        }
        let joins = if intent.side == Side::Buy { BookSide::Bid } else { BookSide::Ask };
        let side = if intent.post_only { joins } else { joins.other() };
        let touch = around.book.best(side).map(|level| level.qty);
        if fat_finger(intent.qty, intent.price, touch, &self.typical, &self.fat_finger).is_some() {
            return Err(Refusal::FatFinger);
        }
        let slips =
            |wanted: Wanted| !guard(around.book, &wanted, around.spec.fee, around.spec.min_size, &self.slippage).within;
        if Wanted::of(intent).is_some_and(slips) {
            return Err(Refusal::Slippage);
        }
        Ok(())
    }

    /// Everything that decides, into the state hash.
    pub fn digest(&self, h: &mut StateHasher) {
        self.volatility.iter().for_each(|v| v.digest(h));
        self.typical.digest(h);
        self.repeats.digest(h);
        self.high.digest(h);
        h.i64(self.drawdown.0);
        self.cool_down.digest(h);
    }
}
