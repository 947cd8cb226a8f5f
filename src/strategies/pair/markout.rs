//! What our fills were worth a little later: how far the price moved against them, and what they brought or cost.
//!
//! Two questions, two statistics. How far from the reservation price must a quote stand? The mean adverse move of its
//! side, robust: one wild fill moves it by a bounded amount, and without fills it forgets. Does quoting here earn
//! money at all? An account a fill, net of spread and fees, with a bound on its mean.

use crate::{
    engine::digest::StateHasher,
    types::{MarketIx, Nanos, Qty, ids::Outcome},
};

/// Fills waiting for their markout.
const PENDING_MAX: usize = 256;
/// One observation's weight.
const ONE: i64 = 1 << 20;
/// What is assumed at first counts as this many fills.
const PRIOR: i64 = 4 * ONE;
/// A fill cannot move the mean as if it were worse than this many times the larger of two ticks and the mean itself.
const CLIP: i64 = 4;
/// Without fills, half of what was learnt is forgotten in this many markout times: ten minutes at thirty seconds.
const HALF_LIFE: u64 = 20;
/// Fills of one side that come this part of a markout time after each other are one event: they are not independent.
const BURST: u64 = 30;
/// The part of a markout time at which a fill is first looked at: five seconds of thirty.
const EARLY: u64 = 6;
/// One-sided 90 % of Student's t with seven degrees of freedom, in thousandths: a little too wide for more fills.
const BOUND_MILLI: i128 = 1_415;

/// A fill, or several of one moment, not measured yet.
#[derive(Clone, Copy, Debug)]
struct Pending {
    market: MarketIx,
    leg: Outcome,
    at: Nanos,
    qty: Qty,
    /// What a share of this leg cost, fees included, ppm.
    cost_ppm: i64,
    /// What it was worth then, ppm.
    fair_ppm: i64,
    taker: bool,
    early_done: bool,
}

/// `a / b` to the nearest; zero over zero is zero. `b` is not negative.
fn rounded(a: i64, b: i64) -> i64 {
    if b == 0 { 0 } else { (a + a.signum() * b / 2) / b }
}

/// The mean adverse move after fills of one side.
#[derive(Clone, Copy, Debug, Default)]
struct Adverse {
    sum: i64,
    weight: i64,
    forgotten_at: Nanos,
}

impl Adverse {
    fn mean_ppm(&self, prior_ppm: i64) -> i64 {
        rounded(prior_ppm * PRIOR + self.sum, PRIOR + self.weight)
    }

    fn add(&mut self, adverse_ppm: i64, tick_ppm: i64, prior_ppm: i64) {
        let clip = CLIP * self.mean_ppm(prior_ppm).abs().max(2 * tick_ppm);
        self.sum = self.sum * 15 / 16 + adverse_ppm.clamp(-clip, clip) * ONE;
        self.weight = self.weight * 15 / 16 + ONE;
    }

    /// Forgets with time, in steps of an eighth of the half-life.
    fn forget(&mut self, now: Nanos, half_life_ns: u64) {
        let step = (half_life_ns / 8).max(1);
        let steps = now.since(self.forgotten_at) / step;
        if steps > 400 {
            *self = Self { forgotten_at: now, ..Self::default() };
            return;
        }
        for _ in 0..steps {
            // 2^(−1/8)
            self.sum = self.sum * 917 / 1_000;
            self.weight = self.weight * 917 / 1_000;
        }
        self.forgotten_at = self.forgotten_at.plus(steps * step);
    }
}

/// What fills brought a share, in ppm: enough of it to bound its mean. The last thirty or so count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    sum: i64,
    squares: i128,
    weight: i64,
    /// Observations so far.
    pub fills: u32,
}

impl Account {
    /// One more observation.
    pub fn add(&mut self, net_ppm: i64) {
        self.sum = self.sum * 31 / 32 + net_ppm * ONE;
        self.squares = self.squares * 31 / 32 + i128::from(net_ppm) * i128::from(net_ppm) * i128::from(ONE);
        self.weight = self.weight * 31 / 32 + ONE;
        self.fills = self.fills.saturating_add(1);
    }

    /// Mean a share, ppm; zero without observations.
    pub fn mean_ppm(&self) -> i64 {
        rounded(self.sum, self.weight)
    }

    /// Upper 90 % bound of the mean, ppm. Without spread to judge by (fewer than two observations) there is none.
    pub fn upper_ppm(&self) -> Option<i64> {
        if self.fills < 2 {
            return None;
        }
        let (weight, mean) = (i128::from(self.weight), i128::from(self.sum) / i128::from(self.weight));
        let variance = (self.squares / weight - mean * mean).max(0);
        // Variance of the mean: over the observations that count, less the one that the mean itself took.
        let of_mean = variance * i128::from(ONE) / (weight - i128::from(ONE)).max(1);
        let error = u64::try_from(of_mean).unwrap_or(u64::MAX).isqrt();
        Some((mean + i128::from(error) * BOUND_MILLI / 1_000) as i64)
    }

    fn digest(&self, h: &mut StateHasher) {
        h.i64(self.sum);
        h.bytes(&self.squares.to_le_bytes());
        h.i64(self.weight);
        h.u64(u64::from(self.fills));
    }
}

/// One market's statistics.
#[derive(Clone, Copy, Debug, Default)]
struct OfMarket {
    adverse: [Adverse; 2],
    /// Early and late: what fills brought after a sixth of the markout time, and after the whole.
    accounts: [Account; 2],
}

/// The statistics of every market.
#[derive(Debug)]
pub struct Markouts {
    prior_ppm: i64,
    markout_ns: u64,
    markets: Vec<OfMarket>,
    pending: heapless::Deque<Pending, PENDING_MAX>,
}

/// A fill as the statistics see it.
#[derive(Clone, Copy, Debug)]
pub struct Filled {
    /// Where.
    pub market: MarketIx,
    /// What grew: a purchase of it, or a sale of its opposite.
    pub leg: Outcome,
    /// Shares.
    pub qty: Qty,
    /// What a share of the leg cost, fees included, ppm.
    pub cost_ppm: i64,
    /// What a share of the leg was worth at that moment, ppm.
    pub fair_ppm: i64,
    /// We were the taker: then what it costs at once is no sign of who is faster.
    pub taker: bool,
}

impl Markouts {
    /// Nothing measured yet.
    pub fn new(prior_ppm: i64, markout_ms: u32, markets: usize) -> Self {
        let markout_ns = u64::from(markout_ms) * 1_000_000;
        Self { prior_ppm, markout_ns, markets: vec![OfMarket::default(); markets], pending: heapless::Deque::new() }
    }

    /// One of our orders was filled.
    pub fn filled(&mut self, fill: &Filled, now: Nanos) {
        let burst = self.markout_ns / BURST;
        let key = (fill.market, fill.leg, fill.taker);
        let same = |p: &&mut Pending| (p.market, p.leg, p.taker) == key && now.since(p.at) <= burst;
        if let Some(p) = self.pending.iter_mut().rev().find(same) {
            let (old, new) = (i128::from(p.qty.micro()), i128::from(fill.qty.micro()));
            let mix = |a: i64, b: i64| ((i128::from(a) * old + i128::from(b) * new) / (old + new).max(1)) as i64;
            p.cost_ppm = mix(p.cost_ppm, fill.cost_ppm);
            p.fair_ppm = mix(p.fair_ppm, fill.fair_ppm);
            p.qty += fill.qty;
            return;
        }
        if self.pending.is_full() {
            self.pending.pop_front();
        }
        let &Filled { market, leg, qty, cost_ppm, fair_ppm, taker } = fill;
        let early_done = taker;
        // There is room: it was made above.
        let _ = self.pending.push_back(Pending { market, leg, at: now, qty, cost_ppm, fair_ppm, taker, early_done });
    }

    /// Measures what is due in a market whose fair prices (of both legs, ppm) are known now.
    pub fn learn(&mut self, market: MarketIx, now: Nanos, fair_ppm: [i64; 2], tick_ppm: i64) {
        let Some(of) = self.markets.get_mut(market.ix()) else { return };
        of.adverse.iter_mut().for_each(|a| a.forget(now, self.markout_ns * HALF_LIFE));
        for _ in 0..self.pending.len() {
            let Some(mut p) = self.pending.pop_front() else { break };
            let age = now.since(p.at);
            let fair = fair_ppm[p.leg as usize];
            if p.market == market && !p.early_done && age >= self.markout_ns / EARLY {
                p.early_done = true;
                of.accounts[0].add(fair - p.cost_ppm);
            }
            if p.market != market || age < self.markout_ns {
                let _ = self.pending.push_back(p);
            } else if age < 2 * self.markout_ns {
                of.accounts[1].add(fair - p.cost_ppm);
                of.adverse[p.leg as usize].add(p.fair_ppm - fair, tick_ppm, self.prior_ppm);
            }
            // One that could not be measured for so long would measure something else: it is dropped.
        }
    }

    /// Expected adverse move after a fill of one leg, ppm; zero or more, in whole units of 0.0001: less is noise, and
    /// a quote that is floored on its grid would pay a tick for it.
    pub fn adverse_ppm(&self, market: MarketIx, leg: Outcome) -> i64 {
        let prior = self.prior_ppm;
        let mean = self.markets.get(market.ix()).map_or(prior, |m| m.adverse[leg as usize].mean_ppm(prior)).max(0);
        mean - mean % 100
    }

    /// The two accounts: early and late.
    pub fn accounts(&self, market: MarketIx) -> [Account; 2] {
        self.markets.get(market.ix()).map_or_else(Default::default, |m| m.accounts)
    }

    /// Begins both accounts anew; fills of before do not count in the new ones.
    pub fn begin_anew(&mut self, market: MarketIx) {
        if let Some(m) = self.markets.get_mut(market.ix()) {
            m.accounts = Default::default();
        }
        self.pending.retain(|p| p.market != market);
    }

    /// All of it, into the state hash.
    pub fn digest(&self, h: &mut StateHasher) {
        for m in &self.markets {
            for a in &m.adverse {
                h.i64(a.sum);
                h.i64(a.weight);
                h.u64(a.forgotten_at.0);
            }
            m.accounts.iter().for_each(|a| a.digest(h));
        }
        for p in &self.pending {
            h.u64(u64::from(p.market.0) << 8 | u64::from(p.taker) << 2 | (p.leg as u64) << 1 | u64::from(p.early_done));
            h.u64(p.at.0);
            h.u64(p.qty.micro());
            h.i64(p.cost_ppm);
            h.i64(p.fair_ppm);
        }
    }
}
