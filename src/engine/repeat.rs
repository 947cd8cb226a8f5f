//! Step 5 of 9: a loop that runs away is noticed by what it does: the same again and again, or too much of anything.
//!
//! Three things are watched in each market. The same strategy being filled in one direction without a fill in the
//! other: it buys what it thinks it has not got. The same order being sent anew: it does not see its own. And more
//! orders than a market can need. A direction holds across the two tokens: buying NO is selling YES, so a maker who
//! is filled on both is no loop.
//!
//! Memory is constant: the last few times of each, no more than a rule has to look back.

use serde::{Deserialize, Serialize};

use super::{BadParam, BadParams, digest::StateHasher};
use crate::types::{
    InstrumentIx, MarketIx, Nanos, Price, Qty, Side,
    ids::Outcome,
    order::{Intent, StrategyId},
};

/// Most repetitions that a rule can allow.
pub const REPEATS_MAX: u8 = 31;
const TIMES: usize = REPEATS_MAX as usize + 1;
const STRATEGIES: usize = StrategyId::ALL.len();
/// A token of the order rate, so that parts of one can be earned.
const TOKEN: u64 = 1_000_000;

/// How much of the same is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RepeatLimits {
    /// Fills of one strategy in one direction of a market, without one in the other, that are allowed within the
    /// window. 0: off.
    pub fills: u8,
    /// That window, in milliseconds.
    pub fills_ms: u32,
    /// Orders of one strategy with the same token, side, price and size that are allowed within the window. 0: off.
    pub orders: u8,
    /// That window, in milliseconds.
    pub orders_ms: u32,
    /// Orders of all strategies in one market that are allowed within a minute; a burst may be one minute's worth.
    /// 0: off.
    pub orders_per_min: u32,
}

impl Default for RepeatLimits {
    fn default() -> Self {
        Self { fills: 24, fills_ms: 10_000, orders: 12, orders_ms: 10_000, orders_per_min: 600 }
    }
}

impl RepeatLimits {
    /// The same in a match that unfolds `speed` times as fast: as much is allowed in as much of the match's time.
    #[must_use]
    pub fn compressed(mut self, speed: u32) -> Self {
        let speed = speed.max(1);
        for ms in [&mut self.fills_ms, &mut self.orders_ms] {
            *ms = (*ms / speed).max(1);
        }
        self.orders_per_min = self.orders_per_min.saturating_mul(speed).min(ORDERS_PER_MIN_MAX);
        self
    }

    /// Every value that cannot be: key, value, what would be right.
    pub fn validate(&self) -> Result<(), Vec<BadParam>> {
        let mut bad = BadParams::new("risk.repeats");
        for (key, most) in [("fills", self.fills), ("orders", self.orders)] {
            bad.check(key, most, most <= REPEATS_MAX, "0 to 31; 0 is off");
        }
        for (key, ms) in [("fills_ms", self.fills_ms), ("orders_ms", self.orders_ms)] {
            bad.check(key, ms, (1..=3_600_000).contains(&ms), "1 to 3600000 ms, an hour");
        }
        let rate = self.orders_per_min;
        bad.check("orders_per_min", rate, rate <= ORDERS_PER_MIN_MAX, "at most 36000, the venue's best tier; 0 is off");
        bad.into_result()
    }
}

/// 600 a second. Source: docs/PROTOCOL.md "rate limits".
const ORDERS_PER_MIN_MAX: u32 = 36_000;

/// What ran away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Runaway {
    /// Filled in one direction over and over.
    Fills,
    /// The same order over and over.
    Orders,
    /// More orders than the market is given.
    Rate,
}

/// A rule: more than so many within so long is too much.
#[derive(Clone, Copy, Debug)]
struct Rule {
    most: usize,
    within_ns: u64,
}

impl Rule {
    fn new(most: u8, ms: u32) -> Self {
        Self { most: usize::from(most.min(REPEATS_MAX)), within_ns: u64::from(ms) * 1_000_000 }
    }
}

/// The last times of one thing, no more than its rule looks back.
#[derive(Clone, Debug, Default)]
struct Times(heapless::Deque<Nanos, TIMES>);

impl Times {
    /// Notes a time; true if there are more now than are allowed within the window.
    fn note(&mut self, now: Nanos, rule: Rule) -> bool {
        while self.0.len() > rule.most {
            self.0.pop_front();
        }
        // There is room: a rule allows one less than fits.
        let _ = self.0.push_back(now);
        self.0.len() > rule.most
    }

    /// True while the oldest of one too many is within the window.
    fn too_many(&self, now: Nanos, rule: Rule) -> bool {
        rule.most > 0
            && self.0.len() > rule.most
            && self.0.front().is_some_and(|oldest| now.since(*oldest) <= rule.within_ns)
    }

    fn digest(&self, h: &mut StateHasher) {
        h.u64(self.0.len() as u64);
        self.0.iter().for_each(|at| h.u64(at.0));
    }
}

/// The last direction in which a strategy was filled, and when.
#[derive(Clone, Debug, Default)]
struct Run {
    direction: Option<Side>,
    times: Times,
}

/// The last order of a strategy for one token and side, and when it was sent.
#[derive(Clone, Debug, Default)]
struct Same {
    last: Option<(Price, Qty)>,
    times: Times,
}

/// One market.
#[derive(Clone, Debug)]
struct Watched {
    fills: [Run; STRATEGIES],
    orders: [[Same; 4]; STRATEGIES],
    /// A list has once been longer than its rule allows within its window: only then are they looked at.
    long: bool,
    /// Orders that it may still send, in millionths.
    tokens: u64,
    earned_at: Nanos,
}

/// Watches every market. All of it is allocated at the start.
#[derive(Clone, Debug)]
pub struct Repeats {
    fills: Rule,
    orders: Rule,
    orders_per_min: u64,
    markets: Box<[Watched]>,
}

impl Repeats {
    /// Of so many markets, in which nothing happened yet.
    pub fn new(limits: &RepeatLimits, markets: usize) -> Self {
        let orders_per_min = u64::from(limits.orders_per_min);
        let watched = Watched {
            fills: Default::default(),
            orders: Default::default(),
            long: false,
            tokens: orders_per_min * TOKEN,
            earned_at: Nanos(0),
        };
        Self {
            fills: Rule::new(limits.fills, limits.fills_ms),
            orders: Rule::new(limits.orders, limits.orders_ms),
            orders_per_min,
            markets: vec![watched; markets].into_boxed_slice(),
        }
    }

    /// An order of a strategy was filled, in part or whole.
    pub fn note_fill(&mut self, instrument: InstrumentIx, side: Side, strategy: StrategyId, now: Nanos) {
        let Some(market) = self.markets.get_mut(instrument.market().ix()) else { return };
        let run = &mut market.fills[strategy as usize];
        let direction = match instrument.outcome() {
            Outcome::Yes => side,
            Outcome::No => side.other(),
        };
        if run.direction != Some(direction) {
            *run = Run { direction: Some(direction), times: Times::default() };
        }
        market.long |= run.times.note(now, self.fills);
    }

    /// An order was approved and leaves.
    pub fn note_order(&mut self, intent: &Intent, now: Nanos) {
        let tokens = self.tokens(intent.instrument.market(), now);
        let Some(market) = self.markets.get_mut(intent.instrument.market().ix()) else { return };
        market.tokens = tokens.saturating_sub(TOKEN);
        market.earned_at = market.earned_at.max(now);
        let slot = 2 * intent.instrument.outcome() as usize + intent.side as usize;
        let same = &mut market.orders[intent.strategy as usize][slot];
        let this = (intent.price, intent.qty);
        if same.last != Some(this) {
            same.last = Some(this);
            same.times.0.clear();
        }
        market.long |= same.times.note(now, self.orders);
    }

    /// True while something in a market looks like a loop that runs away.
    pub fn runaway(&self, m: MarketIx, now: Nanos) -> bool {
        self.why(m, now).is_some()
    }

    /// What it is, if anything. It passes by itself once what was too much is longer ago than its window, so that a
    /// market whose orders are refused meanwhile comes back. Constant time.
    pub fn why(&self, m: MarketIx, now: Nanos) -> Option<Runaway> {
        let market = self.markets.get(m.ix())?;
        if market.long && market.fills.iter().any(|run| run.times.too_many(now, self.fills)) {
            return Some(Runaway::Fills);
        }
        if market.long && market.orders.iter().flatten().any(|same| same.times.too_many(now, self.orders)) {
            return Some(Runaway::Orders);
        }
        (self.orders_per_min > 0 && self.tokens(m, now) < TOKEN).then_some(Runaway::Rate)
    }

    /// What a market may still send, in millionths of an order.
    fn tokens(&self, m: MarketIx, now: Nanos) -> u64 {
        let Some(market) = self.markets.get(m.ix()) else { return 0 };
        // A minute has 60·10⁹ ns, an order 10⁶ millionths.
        let full = self.orders_per_min * TOKEN;
        // What does not fit has been earned long ago.
        let earned = now.since(market.earned_at).checked_mul(self.orders_per_min).map_or(full, |n| n / 60_000);
        full.min(market.tokens.saturating_add(earned))
    }

    /// Everything that is remembered, into the state hash.
    pub fn digest(&self, h: &mut StateHasher) {
        for market in &self.markets {
            h.u64(market.tokens);
            h.u64(market.earned_at.0);
            for run in &market.fills {
                h.debug(&run.direction);
                run.times.digest(h);
            }
            for same in market.orders.iter().flatten() {
                h.u64(same.last.map_or(u64::MAX, |(price, _)| u64::from(price.units())));
                h.u64(same.last.map_or(u64::MAX, |(_, qty)| qty.micro()));
                same.times.digest(h);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::{TimeInForce, order::Purpose};

    const MS: u64 = 1_000_000;
    const M: MarketIx = MarketIx(1);
    const LIMITS: RepeatLimits =
        RepeatLimits { fills: 3, fills_ms: 1_000, orders: 2, orders_ms: 500, orders_per_min: 60 };

    fn at(ms: u64) -> Nanos {
        Nanos(1_800_000_000_000 * MS + ms * MS)
    }

    fn yes() -> InstrumentIx {
        M.instrument(Outcome::Yes)
    }

    fn no() -> InstrumentIx {
        M.instrument(Outcome::No)
    }

    fn order(instrument: InstrumentIx, side: Side, units: u16, shares: u64, strategy: StrategyId) -> Intent {
        Intent {
            instrument,
            side,
            price: Price::from_units(units).unwrap(),
            qty: Qty::shares(shares),
            tif: TimeInForce::Gtc,
            post_only: true,
            strategy,
            purpose: Purpose::Quote,
            epoch: 1,
        }
    }

    fn bid() -> Intent {
        order(yes(), Side::Buy, 5_000, 50, StrategyId::Pair)
    }

    #[test]
    fn fills_in_one_direction_over_and_over_are_a_loop() {
        use Side::{Buy, Sell};
        let fills = |list: &[(u64, InstrumentIx, Side)]| {
            let mut repeats = Repeats::new(&LIMITS, 2);
            list.iter().for_each(|(ms, i, side)| repeats.note_fill(*i, *side, StrategyId::Pair, at(*ms)));
            repeats.why(M, at(list.last().unwrap().0))
        };
        let loops = Some(Runaway::Fills);
        for (list, why, what) in [
            (&[(0, yes(), Buy), (1, yes(), Buy), (2, yes(), Buy)][..], None, "as often as is allowed"),
            (&[(0, yes(), Buy), (1, yes(), Buy), (2, yes(), Buy), (3, yes(), Buy)], loops, "once more"),
            (&[(0, yes(), Buy), (1, no(), Sell), (2, yes(), Buy), (3, no(), Sell)], loops, "selling NO is buying YES"),
            (
                &[(0, yes(), Sell), (1, no(), Buy), (2, yes(), Sell), (3, no(), Buy)],
                loops,
                "and buying it, selling YES",
            ),
            (&[(0, yes(), Buy), (1, yes(), Buy), (2, no(), Buy), (3, yes(), Buy)], None, "a pair: both were bought"),
            (&[(0, yes(), Buy), (1, yes(), Buy), (2, yes(), Sell), (3, yes(), Buy)], None, "sold in between"),
            (
                &[(0, yes(), Buy), (1, yes(), Buy), (2, yes(), Buy), (1_000, yes(), Buy)],
                loops,
                "just within the window",
            ),
            (&[(0, yes(), Buy), (1, yes(), Buy), (2, yes(), Buy), (1_001, yes(), Buy)], None, "just outside"),
        ] {
            assert_eq!(fills(list), why, "{what}");
        }
    }

    #[test]
    fn the_same_order_over_and_over_is_a_loop() {
        let orders = |list: &[(u64, Intent)]| {
            let mut repeats = Repeats::new(&LIMITS, 2);
            list.iter().for_each(|(ms, intent)| repeats.note_order(intent, at(*ms)));
            repeats.why(M, at(list.last().unwrap().0))
        };
        let b = bid();
        let cheaper = Intent { price: Price::from_units(4_900).unwrap(), ..b };
        let larger = Intent { qty: Qty::shares(51), ..b };
        let by_hand = Intent { strategy: StrategyId::Manual, ..b };
        let (ask, on_no) = (Intent { side: Side::Sell, ..b }, Intent { instrument: no(), ..b });
        let loops = Some(Runaway::Orders);
        for (list, why, what) in [
            (&[(0, b), (1, b)][..], None, "as often as is allowed"),
            (&[(0, b), (1, b), (2, b)], loops, "once more"),
            (&[(0, b), (1, Intent { epoch: 2, ..b }), (2, Intent { epoch: 3, ..b })], loops, "by another number"),
            (&[(0, b), (1, b), (2, cheaper)], None, "another price"),
            (&[(0, b), (1, b), (2, larger)], None, "another size"),
            (&[(0, b), (1, b), (2, by_hand)], None, "another strategy"),
            (&[(0, b), (1, b), (2, ask)], None, "the other side"),
            (&[(0, b), (1, b), (2, on_no)], None, "the other token"),
            (&[(0, b), (1, ask), (2, b), (3, on_no), (4, b)], loops, "the rest does not hide it"),
            (&[(0, b), (1, b), (500, b)], loops, "just within the window"),
            (&[(0, b), (1, b), (501, b)], None, "just outside"),
        ] {
            assert_eq!(orders(list), why, "{what}");
        }
    }

    #[test]
    fn a_market_has_its_own_order_rate() {
        let limits = RepeatLimits { orders: 0, ..LIMITS };
        let mut repeats = Repeats::new(&limits, 2);
        for n in 0..60 {
            assert!(!repeats.runaway(M, at(0)), "order {n} of a minute's sixty");
            repeats.note_order(&bid(), at(0));
        }
        assert_eq!(repeats.why(M, at(0)), Some(Runaway::Rate));
        assert_eq!(repeats.why(MarketIx(0), at(0)), None, "the other market is none the poorer");
        assert!(repeats.runaway(M, at(999)) && !repeats.runaway(M, at(1_000)), "one a second comes back");
        repeats.note_order(&bid(), at(1_000));
        assert!(repeats.runaway(M, at(1_999)) && !repeats.runaway(M, at(2_000)));
        repeats.note_order(&bid(), at(3_600_000));
        let left = (1..100).take_while(|_| {
            repeats.note_order(&bid(), at(3_600_000));
            !repeats.runaway(M, at(3_600_000))
        });
        assert_eq!(left.count(), 58, "an hour does not save up more than a minute's worth");
    }

    #[test]
    fn it_passes_by_itself() {
        let mut repeats = Repeats::new(&LIMITS, 2);
        (0..5).for_each(|n| repeats.note_fill(yes(), Side::Buy, StrategyId::Pair, at(10 * n)));
        // The last four are one too many; the first of them was at 10 ms.
        assert!(repeats.runaway(M, at(1_010)) && !repeats.runaway(M, at(1_011)));
        assert!(!repeats.runaway(MarketIx(0), at(40)), "another market");
        assert!(!repeats.runaway(MarketIx(9), at(40)), "no market");
        repeats.note_fill(MarketIx(9).instrument(Outcome::Yes), Side::Buy, StrategyId::Pair, at(0));
        repeats.note_order(&Intent { instrument: MarketIx(9).instrument(Outcome::Yes), ..bid() }, at(0));
    }

    #[test]
    fn what_is_off_notices_nothing() {
        let off = RepeatLimits { fills: 0, orders: 0, orders_per_min: 0, ..LIMITS };
        assert_eq!(off.validate(), Ok(()));
        let mut repeats = Repeats::new(&off, 2);
        for _ in 0..1_000 {
            repeats.note_fill(yes(), Side::Buy, StrategyId::Pair, at(0));
            repeats.note_order(&bid(), at(0));
        }
        assert_eq!(repeats.why(M, at(0)), None);
    }

    #[test]
    fn a_faster_match_may_do_as_much_in_as_much_of_its_time() {
        let fast = LIMITS.compressed(100);
        assert_eq!((fast.fills, fast.fills_ms, fast.orders_ms, fast.orders_per_min), (3, 10, 5, 6_000));
        assert_eq!(RepeatLimits::default().compressed(1_000).validate(), Ok(()));
        assert_eq!(LIMITS.compressed(0), LIMITS);
    }

    #[test]
    fn what_cannot_be_is_named_with_its_key() {
        assert_eq!(RepeatLimits::default().validate(), Ok(()));
        for (limits, says) in [
            (RepeatLimits { fills: 32, ..LIMITS }, "risk.repeats.fills = 32: must be 0 to 31"),
            (RepeatLimits { orders: 32, ..LIMITS }, "risk.repeats.orders = 32: must be 0 to 31"),
            (RepeatLimits { fills_ms: 0, ..LIMITS }, "risk.repeats.fills_ms = 0: must be 1 to 3600000 ms"),
            (RepeatLimits { orders_ms: 3_600_001, ..LIMITS }, "risk.repeats.orders_ms = 3600001: must be 1 to"),
            (RepeatLimits { orders_per_min: 36_001, ..LIMITS }, "risk.repeats.orders_per_min = 36001: must be at most"),
        ] {
            let bad = limits.validate().unwrap_err();
            assert!(bad.len() == 1 && bad[0].to_string().starts_with(says), "{bad:?} should say {says}");
        }
    }

    #[test]
    fn what_is_remembered_is_in_the_hash() {
        let hash = |repeats: &Repeats| {
            let mut h = StateHasher::default();
            repeats.digest(&mut h);
            h.finish()
        };
        let new = || Repeats::new(&LIMITS, 2);
        let changed = |change: &dyn Fn(&mut Watched)| {
            let mut repeats = new();
            change(&mut repeats.markets[1]);
            hash(&repeats)
        };
        let (fills, orders) = (Rule::new(3, 1_000), Rule::new(2, 500));
        let mut hashes = vec![
            hash(&new()),
            changed(&|m| m.tokens -= 1),
            changed(&|m| m.earned_at = at(0)),
            changed(&|m| m.fills[0].direction = Some(Side::Buy)),
            changed(&|m| m.fills[0].direction = Some(Side::Sell)),
            changed(&|m| m.fills[1].direction = Some(Side::Sell)),
            changed(&|m| _ = m.fills[0].times.note(at(0), fills)),
            changed(&|m| _ = m.fills[0].times.note(at(1), fills)),
            changed(&|m| m.orders[0][3].last = Some((Price::ONE, Qty::ONE))),
            changed(&|m| m.orders[0][3].last = Some((Price::ONE, Qty(1)))),
            changed(&|m| m.orders[0][3].last = Some((Price::ZERO, Qty::ONE))),
            changed(&|m| _ = m.orders[0][3].times.note(at(0), orders)),
            changed(&|m| _ = m.orders[1][0].times.note(at(0), orders)),
        ];
        let all = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), all);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

        /// The few times that are kept say the same as the whole history.
        #[test]
        fn agrees_with_the_whole_history(
            steps in prop::collection::vec(
                (0_u64..120, any::<bool>(), 0_u8..2, any::<bool>(), 0_u8..2, 0_u8..2), 1..80,
            ),
            fills in 0_u8..=5, orders in 0_u8..=5, fills_ms in 1_u32..600, orders_ms in 1_u32..600,
            per_min in 0_u32..200, later in 0_u64..600,
        ) {
            let limits = RepeatLimits { fills, fills_ms, orders, orders_ms, orders_per_min: per_min };
            let mut repeats = Repeats::new(&limits, 2);
            let (mut ms, mut filled, mut sent) = (0, Vec::new(), Vec::new());
            // A bucket in millionths that is full of one minute's worth.
            let full = i128::from(per_min) * 1_000_000;
            let mut bucket = full;
            let mut last = 0;
            for (wait, is_fill, strategy, buy, outcome, price) in steps {
                ms += wait;
                let strategy = StrategyId::ALL[usize::from(strategy)];
                let side = if buy { Side::Buy } else { Side::Sell };
                let instrument = if outcome == 0 { yes() } else { no() };
                if is_fill {
                    repeats.note_fill(instrument, side, strategy, at(ms));
                    filled.push((ms, strategy, buy == (outcome == 0)));
                } else {
                    let intent = order(instrument, side, 5_000 + u16::from(price), 5, strategy);
                    repeats.note_order(&intent, at(ms));
                    sent.push((ms, intent));
                    let earned = if last == 0 && sent.len() == 1 { full } else {
                        i128::from(ms - last) * i128::from(per_min) * 1_000_000 / 60_000
                    };
                    bucket = (full.min(bucket + earned) - 1_000_000).max(0);
                    last = ms;
                }
            }
            let now = ms + later;
            let looping_fills = fills > 0 && StrategyId::ALL.iter().any(|of| {
                let mine: Vec<_> = filled.iter().filter(|(_, s, _)| s == of).collect();
                let Some((_, _, direction)) = mine.last() else { return false };
                let run = mine.iter().rev().take_while(|(_, _, d)| d == direction);
                run.filter(|(ms, ..)| now - ms <= u64::from(fills_ms)).count() > usize::from(fills)
            });
            let key = |i: &Intent| (i.strategy, i.instrument, i.side);
            let looping_orders = orders > 0 && sent.iter().any(|(_, one)| {
                let here: Vec<_> = sent.iter().filter(|(_, i)| key(i) == key(one)).collect();
                let Some((_, newest)) = here.last() else { return false };
                let run = here.iter().rev().take_while(|(_, i)| (i.price, i.qty) == (newest.price, newest.qty));
                run.filter(|(ms, _)| now - ms <= u64::from(orders_ms)).count() > usize::from(orders)
            });
            let earned = i128::from(now - last) * i128::from(per_min) * 1_000_000 / 60_000;
            let too_fast = per_min > 0 && !sent.is_empty() && full.min(bucket + earned) < 1_000_000;
            let expected = if looping_fills {
                Some(Runaway::Fills)
            } else if looping_orders {
                Some(Runaway::Orders)
            } else {
                too_fast.then_some(Runaway::Rate)
            };
            prop_assert_eq!(repeats.why(M, at(now)), expected);
            prop_assert_eq!(repeats.why(MarketIx(0), at(now)), None);
        }
    }
}
