//! The scenario's people on a naive exchange: who earns, who pays, and whether prices follow the truth.
//!
//! The exchange below is the simplest that could work (linear search, virtual time) and shares no code with the venue.

#![cfg(feature = "embedded")]

use std::collections::VecDeque;

use polyloly_fast::{
    scenario::{
        Books, Command, Filled, OrderTag, Scenario, SimTime, Size, Trader,
        lol_bo3::{LolBo3, Role},
    },
    types::{
        InstrumentIx, MarketIx, Price, Qty, Side, TickSize, Usdc, event::Payout, fees::Rounding, ids::Outcome,
        order::TimeInForce,
    },
};

/// A resting order in prices of the first outcome.
#[derive(Clone, Copy)]
struct Order {
    trader: Trader,
    tag: OrderTag,
    instrument: InstrumentIx,
    side: Side,
    /// True if it is a bid for the first outcome.
    bid: bool,
    units: u16,
    left: u64,
}

struct Held {
    due: SimTime,
    trader: Trader,
    instrument: InstrumentIx,
    side: Side,
    price: Price,
    size: Size,
}

#[derive(Default)]
struct Counts {
    places: u64,
    cancels: u64,
    refused: u64,
    off_grid: u64,
    too_small: u64,
    oversold: u64,
    overspent: u64,
    crowd_trades: u64,
    fills: [u64; 2],
}

struct Exchange {
    books: Vec<Vec<Order>>,
    ticks: Vec<TickSize>,
    held: VecDeque<Held>,
    cash: Vec<i64>,
    fees: Vec<i64>,
    volume: Vec<i64>,
    /// Gain of every trade against the true fair price at its moment, fees included, in dollars. Prices being a
    /// martingale, its mean is that of the final profit, with far less chance in it.
    edge: Vec<f64>,
    fair: [f64; 4],
    shares: Vec<Vec<u64>>,
    open: Vec<bool>,
    counts: Counts,
}

fn in_first(instrument: InstrumentIx, side: Side, price: Price) -> (bool, u16) {
    match (instrument.outcome(), side) {
        (Outcome::Yes, side) => (side == Side::Buy, price.units()),
        (Outcome::No, side) => (side == Side::Sell, price.complement().units()),
    }
}

impl Exchange {
    fn new(scenario: &LolBo3) -> Self {
        let setup = scenario.setup();
        let n = setup.markets.len();
        Self {
            books: vec![Vec::new(); n],
            ticks: setup.markets.iter().map(|m| m.tick).collect(),
            held: VecDeque::new(),
            cash: setup.traders.iter().map(|c| c.micro()).collect(),
            fees: vec![0; setup.traders.len()],
            volume: vec![0; setup.traders.len()],
            edge: vec![0.0; setup.traders.len()],
            fair: [0.0; 4],
            shares: vec![vec![0; 2 * n]; setup.traders.len()],
            open: vec![true; n],
            counts: Counts::default(),
        }
    }

    /// Index of the best opposite order for a taker.
    fn best_against(&self, market: MarketIx, taker_bids: bool) -> Option<usize> {
        let against = self.books[market.ix()].iter().enumerate().filter(|(_, o)| o.bid != taker_bids);
        // First come, first served among equals: `min_by_key` gives the first of the smallest.
        against.min_by_key(|(_, o)| if taker_bids { o.units } else { u16::MAX - o.units }).map(|(i, _)| i)
    }

    fn pay(&mut self, trader: Trader, instrument: InstrumentIx, side: Side, price: Price, qty: u64) {
        let t = usize::from(trader.0);
        let cash = Qty(qty).notional_floor(price).micro();
        self.volume[t] += cash;
        let yes = self.fair[instrument.market().ix()];
        let fair = if instrument.outcome() == Outcome::Yes { yes } else { 1.0 - yes };
        let gain = (fair - f64::from(price.units()) / 1e4) * qty as f64 / 1e6;
        self.edge[t] += if side == Side::Buy { gain } else { -gain };
        match side {
            Side::Buy => {
                self.cash[t] -= cash;
                self.shares[t][instrument.ix()] += qty;
            }
            Side::Sell => {
                self.cash[t] += cash;
                self.shares[t][instrument.ix()] -= qty;
            }
        }
        if self.cash[t] < 0 {
            self.counts.overspent += 1;
        }
    }

    fn match_held(&mut self, h: &Held, fills: &mut Vec<Filled>) {
        let market = h.instrument.market();
        let (bids, limit) = in_first(h.instrument, h.side, h.price);
        let (mut left, mut spend) = match h.size {
            Size::Shares(q) => (q.micro(), i64::MAX),
            Size::Spend(u) => (u64::MAX, u.micro()),
        };
        while let Some(ix) = self.open[market.ix()].then(|| self.best_against(market, bids)).flatten() {
            let rest = self.books[market.ix()][ix];
            if if bids { rest.units > limit } else { rest.units < limit } {
                break;
            }
            let of = |instrument: InstrumentIx| {
                let p = Price::from_units(rest.units).expect("a price");
                if instrument.outcome() == Outcome::Yes { p } else { p.complement() }
            };
            let affordable = (i128::from(spend) * 10_000 / i128::from(of(h.instrument).units())).min(1 << 60) as u64;
            let qty = rest.left.min(left).min(affordable) / 10_000 * 10_000;
            if qty == 0 {
                break;
            }
            left -= qty;
            if spend != i64::MAX {
                spend -= Qty(qty).notional_floor(of(h.instrument)).micro();
            }
            self.pay(h.trader, h.instrument, h.side, of(h.instrument), qty);
            self.pay(rest.trader, rest.instrument, rest.side, of(rest.instrument), qty);
            let schedule = polyloly_fast::types::fees::FeeSchedule { rate_ppm: 50_000, exponent: 1 };
            let fee = schedule.taker_fee(Qty(qty), of(h.instrument), Rounding::HalfEven).micro();
            self.cash[usize::from(h.trader.0)] -= fee;
            self.fees[usize::from(h.trader.0)] += fee;
            self.edge[usize::from(h.trader.0)] -= fee as f64 / 1e6;
            self.counts.fills[h.instrument.outcome() as usize] += 1;
            let done = rest.left == qty;
            fills.push(Filled {
                trader: rest.trader,
                tag: rest.tag,
                instrument: rest.instrument,
                side: rest.side,
                price: of(rest.instrument),
                qty: Qty(qty),
                done,
            });
            match done {
                true => drop(self.books[market.ix()].remove(ix)),
                false => self.books[market.ix()][ix].left -= qty,
            }
        }
    }

    fn carry_out(&mut self, now: SimTime, command: Command, gone: &mut Vec<(Trader, OrderTag)>) {
        match command {
            Command::Place { trader, tag, instrument, side, price, size, tif, post_only } => {
                self.counts.places += 1;
                let market = instrument.market().ix();
                if !price.on_grid(self.ticks[market]) {
                    self.counts.off_grid += 1;
                }
                if !self.open[market] {
                    self.counts.refused += 1;
                    return gone.push((trader, tag));
                }
                if let (Side::Sell, Size::Shares(qty)) = (side, size)
                    && qty > self.shares(trader, instrument)
                {
                    self.counts.oversold += 1;
                    return gone.push((trader, tag));
                }
                if tif == TimeInForce::Fak {
                    let dollars = match size {
                        Size::Shares(q) if side == Side::Buy => q.notional_floor(price),
                        Size::Shares(_) => Usdc::dollars(1),
                        Size::Spend(u) => u,
                    };
                    self.counts.too_small += u64::from(dollars < Usdc::dollars(1));
                    let due = SimTime(now.0 + 1_000_000_000);
                    return self.held.push_back(Held { due, trader, instrument, side, price, size });
                }
                let (bid, units) = in_first(instrument, side, price);
                let crosses = self.best_against(instrument.market(), bid).is_some_and(|ix| {
                    let other = self.books[market][ix].units;
                    if bid { other <= units } else { other >= units }
                });
                assert!(post_only, "makers only make");
                let Size::Shares(qty) = size else { panic!("a resting order by spend") };
                self.counts.too_small += u64::from(qty < Qty::shares(5));
                if crosses {
                    self.counts.refused += 1;
                    return gone.push((trader, tag));
                }
                self.books[market].push(Order { trader, tag, instrument, side, bid, units, left: qty.micro() });
            }
            Command::Cancel { trader, tag } => {
                self.counts.cancels += 1;
                self.books.iter_mut().for_each(|b| b.retain(|o| (o.trader, o.tag) != (trader, tag)));
            }
            Command::ClearBook(m) => self.books[m.ix()].clear(),
            Command::TickSize(m, tick) => {
                assert!(tick.units() < self.ticks[m.ix()].units(), "a grid only becomes finer");
                self.ticks[m.ix()] = tick;
            }
            Command::Resolve(m, payout) => {
                assert!(self.open[m.ix()], "a market is paid out once");
                self.open[m.ix()] = false;
                self.books[m.ix()].clear();
                for (cash, shares) in self.cash.iter_mut().zip(&mut self.shares) {
                    for outcome in [Outcome::Yes, Outcome::No] {
                        let held = std::mem::take(&mut shares[m.instrument(outcome).ix()]);
                        *cash += payout.of(outcome, Qty(held)).micro();
                    }
                }
            }
            Command::Sports(_) | Command::Finished => {}
            Command::Replay(_) => panic!("a live scenario replays nothing"),
        }
    }
}

impl Books for Exchange {
    fn best_bid(&self, instrument: InstrumentIx) -> Option<(Price, Qty)> {
        let yes = instrument.outcome() == Outcome::Yes;
        let ix = self.best_against(instrument.market(), !yes)?;
        let best = self.books[instrument.market().ix()][ix];
        let p = Price::from_units(best.units)?;
        Some((if yes { p } else { p.complement() }, Qty(best.left)))
    }
    fn best_ask(&self, instrument: InstrumentIx) -> Option<(Price, Qty)> {
        self.best_bid(instrument.mirror()).map(|(p, q)| (p.complement(), q))
    }
    fn tick(&self, market: MarketIx) -> TickSize {
        self.ticks[market.ix()]
    }
    fn shares(&self, trader: Trader, instrument: InstrumentIx) -> Qty {
        let resting = self.books[instrument.market().ix()].iter();
        let sold = resting.filter(|o| (o.trader, o.instrument, o.side) == (trader, instrument, Side::Sell));
        let held = self.held.iter().filter(|h| (h.trader, h.instrument, h.side) == (trader, instrument, Side::Sell));
        let held = held.map(|h| if let Size::Shares(q) = h.size { q.micro() } else { 0 }).sum::<u64>();
        let reserved = sold.map(|o| o.left).sum::<u64>() + held;
        Qty(self.shares[usize::from(trader.0)][instrument.ix()]).saturating_sub(Qty(reserved))
    }
    fn cash(&self, trader: Trader) -> Usdc {
        Usdc(self.cash[usize::from(trader.0)])
    }
}

/// What one match came to. Money here is statistics of a test, in dollars.
#[derive(Default, Clone)]
struct Outcomes {
    profit: [f64; 3],
    edge: [f64; 3],
    volume: [f64; 3],
    spread_paid: f64,
    seconds: f64,
    commands: f64,
    errors: Vec<f64>,
    spreads: Vec<f64>,
    live_samples: usize,
    two_sided: usize,
    counts: [u64; 7],
    fills: [u64; 2],
    log: Vec<String>,
}

/// How the exchange treats the scenario.
#[derive(Default)]
struct Treatment {
    keep_log: bool,
    /// Commands are asked for only at multiples of this many milliseconds: a busy machine at a high speed.
    grain_ms: u64,
    /// Every n-th resting order is lost without a word.
    lose_every: u64,
}

fn play(seed: u64, treatment: &Treatment) -> Outcomes {
    let mut scenario = LolBo3::new(seed);
    let mut exchange = Exchange::new(&scenario);
    let before = exchange.cash.clone();
    let mut result = Outcomes::default();
    let (mut now, mut finished, mut sample, mut placed) = (SimTime(0), false, 30.0, 0);
    let (mut out, mut fills, mut gone) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(next) = scenario.next_at() {
        assert!(!finished, "seed {seed}: something after the end");
        let next = SimTime(next.0.next_multiple_of((treatment.grain_ms * 1_000_000).max(1)));
        let due = exchange.held.front().map(|h| h.due);
        if let Some(due) = due.filter(|d| *d <= next) {
            now = due;
            let h = exchange.held.pop_front().expect("a held order");
            exchange.fair = scenario.fair_at(now);
            exchange.match_held(&h, &mut fills);
            exchange.counts.crowd_trades += u64::from(scenario.role(h.trader) == Role::Noise);
            fills.drain(..).for_each(|f| scenario.filled(now, f));
            continue;
        }
        assert!(next >= now, "seed {seed}: time goes back");
        now = next;
        scenario.step(now, &exchange, &mut out);
        for command in out.drain(..) {
            finished |= matches!(command, Command::Finished);
            if treatment.keep_log {
                result.log.push(format!("{} {command:?}", now.0));
            }
            if let Command::Place { tif: TimeInForce::Gtc, .. } = command {
                placed += 1;
                if treatment.lose_every > 0 && placed % treatment.lose_every == 0 {
                    continue;
                }
            }
            exchange.carry_out(now, command, &mut gone);
        }
        gone.drain(..).for_each(|(trader, tag)| scenario.gone(now, trader, tag));

        // Every ten seconds: where is the series, and the map at hand, against what makers could know?
        if now.as_secs_f64() >= sample {
            sample = now.as_secs_f64() + 10.0;
            let at = SimTime(now.0.saturating_sub(scenario.source_lag().0));
            let fair = scenario.fair_at(at);
            let series = scenario.story().moments[scenario.story().index_at(at)].series;
            for m in [0, series.played() + 1] {
                if !series.live || m > 3 || !(0.05..=0.95).contains(&fair[m]) {
                    continue;
                }
                result.live_samples += 1;
                let yes = MarketIx(m as u16).instrument(Outcome::Yes);
                if let (Some((bid, _)), Some((ask, _))) = (exchange.best_bid(yes), exchange.best_ask(yes)) {
                    assert!(bid < ask, "seed {seed}: crossed at {now:?}");
                    result.two_sided += 1;
                    let (b, a) = (f64::from(bid.units()) / 1e4, f64::from(ask.units()) / 1e4);
                    result.errors.push((a + b) / 2.0 - fair[m]);
                    result.spreads.push(a - b);
                }
            }
        }
    }
    assert!(finished, "seed {seed}: no end");
    assert!(exchange.open.iter().all(|o| !o), "seed {seed}: a market was not paid out");
    assert!(exchange.shares.iter().flatten().all(|s| *s == 0));
    for (t, cash) in exchange.cash.iter().enumerate() {
        let role = scenario.role(Trader(t as u16)) as usize;
        result.profit[role] += (cash - before[t]) as f64 / 1e6;
        result.edge[role] += exchange.edge[t];
        result.volume[role] += exchange.volume[t] as f64 / 1e6;
        result.spread_paid += exchange.fees[t] as f64 / 1e6;
    }
    let c = &exchange.counts;
    result.seconds = now.as_secs_f64();
    result.commands = (c.places + c.cancels) as f64;
    result.counts = [c.refused, c.off_grid, c.too_small, c.oversold, c.overspent, c.crowd_trades, c.places];
    result.fills = c.fills;
    result
}

fn mean_and_error(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let n = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / n;
    let variance = values.map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

#[test]
fn the_same_seed_is_the_same_match_and_the_same_trading() {
    let log = |seed| play(seed, &Treatment { keep_log: true, ..Treatment::default() }).log;
    assert_eq!(log(3), log(3));
    assert_ne!(log(3), log(4));
}

/// The match must not depend on what anybody trades, or a product could move its own result.
#[test]
fn the_same_seed_is_the_same_match_whatever_is_traded() {
    let results = |treatment| -> Vec<String> {
        let log = play(7, &treatment).log;
        log.into_iter().filter(|l| l.contains("Resolve") || l.contains("Sports") || l.contains("ClearBook")).collect()
    };
    let calm = results(Treatment { keep_log: true, ..Treatment::default() });
    assert!(calm.len() > 100);
    assert_eq!(calm, results(Treatment { keep_log: true, lose_every: 3, ..Treatment::default() }));
}

#[test]
fn books_stand_up_to_a_slow_machine_and_to_lost_orders() {
    let rows = [
        ("a second late", Treatment { grain_ms: 1_000, ..Treatment::default() }, 0.95),
        ("one order in ten lost", Treatment { lose_every: 10, ..Treatment::default() }, 0.90),
    ];
    for (what, treatment, least) in rows {
        let matches: Vec<Outcomes> = (0..6).map(|seed| play(seed, &treatment)).collect();
        let sum = |f: fn(&Outcomes) -> usize| matches.iter().map(f).sum::<usize>() as f64;
        let two_sided = sum(|m| m.two_sided) / sum(|m| m.live_samples);
        let [refused, off_grid, too_small, oversold, overspent, _, places] =
            matches.iter().fold([0; 7], |sum, m| std::array::from_fn(|i| sum[i] + m.counts[i]));
        println!("{what}: two-sided {two_sided:.3}, {refused} of {places} refused");
        assert!(two_sided > least, "{what}: both sides stand in {two_sided:.3} of the samples");
        assert!(refused * 20 < places, "{what}: {refused} of {places} refused");
        assert_eq!([off_grid, too_small, overspent], [0; 3], "{what}");
        // Two visits of one account within a grain may both sell what it has; the second is refused, here as anywhere.
        assert!(oversold * 1_000 < places, "{what}: {oversold} of {places} oversold");
    }
}

#[test]
fn an_honest_economy() {
    let matches: Vec<Outcomes> = (0..60).map(|seed| play(seed, &Treatment::default())).collect();
    let total = |f: fn(&Outcomes) -> f64| mean_and_error(matches.iter().map(f));
    let counts = matches.iter().fold([0; 7], |sum, m| std::array::from_fn(|i| sum[i] + m.counts[i]));
    let profit: [_; 3] = [total(|m| m.profit[0]), total(|m| m.profit[1]), total(|m| m.profit[2])];
    let edge: [_; 3] = [total(|m| m.edge[0]), total(|m| m.edge[1]), total(|m| m.edge[2])];
    let volume: [_; 3] = [total(|m| m.volume[0]).0, total(|m| m.volume[1]).0, total(|m| m.volume[2]).0];
    let errors = || matches.iter().flat_map(|m| m.errors.iter().copied());
    let bias = errors().sum::<f64>() / errors().count() as f64;
    let rms = (errors().map(|e| e * e).sum::<f64>() / errors().count() as f64).sqrt();
    let (spread, _) = mean_and_error(matches.iter().flat_map(|m| m.spreads.iter().copied()));
    let rates: Vec<f64> = matches.iter().map(|m| m.commands / m.seconds).collect();
    let rate = rates.iter().sum::<f64>() / rates.len() as f64;
    let two_sided = matches.iter().map(|m| m.two_sided).sum::<usize>() as f64
        / matches.iter().map(|m| m.live_samples).sum::<usize>() as f64;
    for (name, i) in [("makers", 0), ("crowd", 1), ("informed", 2)] {
        let ((edge, wobble), (profit, error)) = (edge[i], profit[i]);
        println!(
            "{name:9} {edge:+6.0} ± {wobble:3.0} $ against fair, {profit:+6.0} ± {error:4.0} $ paid out, on {:7.0} $",
            volume[i]
        );
    }
    println!("fees {:.0} $, mid − fair: mean {bias:+.4}, rms {rms:.4}, spread {spread:.4}", total(|m| m.spread_paid).0);
    println!("commands a second: mean {rate:.1}, most {:.1}", rates.iter().copied().fold(0.0, f64::max));
    println!("two-sided {:.1} % of live samples, minutes {:.0}", two_sided * 100.0, total(|m| m.seconds / 60.0).0);
    println!("refused, off grid, too small, oversold, overspent, crowd trades, places: {counts:?}");

    let [refused, off_grid, too_small, oversold, overspent, _, places] = counts;
    assert_eq!([off_grid, too_small, oversold, overspent], [0; 4], "orders that the venue would refuse");
    assert!(refused * 20 < places, "{refused} of {places} refused");

    // The informed earn, the crowd pays about the spread and the fee, and the makers live between the two.
    for i in 0..3 {
        let gap = (edge[i].0 - profit[i].0).abs();
        assert!(gap < 3.5 * profit[i].1, "role {i}: trades say {:?}, payouts say {:?}", edge[i], profit[i]);
    }
    assert!(edge[2].0 > 3.0 * edge[2].1, "informed: {:?}", edge[2]);
    assert!(edge[1].0 < -3.0 * edge[1].1, "crowd: {:?}", edge[1]);
    let crowd_cost = -edge[1].0 / volume[1];
    assert!((0.02..0.08).contains(&crowd_cost), "the crowd pays {crowd_cost:.4} of its volume");
    let maker_margin = edge[0].0 / volume[0];
    assert!(maker_margin.abs() < 0.01, "makers keep {maker_margin:.4} of their volume");

    // The price follows the truth, on average and closely.
    assert!(bias.abs() < 0.01, "mid − fair has mean {bias:.4}");
    assert!(rms < 0.05, "mid − fair has rms {rms:.4}");
    assert!(two_sided > 0.9, "both sides stand in {two_sided:.2} of the samples");

    // It fits on two cores, two hundred times as fast.
    assert!(rate < 15.0, "{rate:.1} commands a second");
    assert!(matches.iter().all(|m| m.fills.iter().all(|f| *f > 50)), "both tokens trade");
}

#[test]
fn unplayed_maps_pay_half_and_every_market_is_paid_after_it_is_decided() {
    let mut swept = 0;
    for seed in 0..40 {
        let mut scenario = LolBo3::new(seed);
        let exchange = Exchange::new(&scenario);
        let (mut paid, mut out) = (Vec::new(), Vec::new());
        while let Some(now) = scenario.next_at() {
            scenario.step(now, &exchange, &mut out);
            paid.extend(out.drain(..).filter_map(|c| match c {
                Command::Resolve(m, payout) => Some((now, m, payout)),
                _ => None,
            }));
        }
        for (now, market, payout) in &paid {
            let fair = scenario.fair_at(*now)[market.ix()];
            let pays = match payout {
                Payout::Yes => 1.0,
                Payout::No => 0.0,
                Payout::Half => 0.5,
            };
            assert_eq!(fair, pays, "seed {seed}, {market:?}");
        }
        let mut markets: Vec<u16> = paid.iter().map(|p| p.1.0).collect();
        markets.sort_unstable();
        assert_eq!(markets, [0, 1, 2, 3], "seed {seed}");
        let third = paid.iter().find(|p| p.1 == MarketIx(3)).map(|p| p.2);
        let played = scenario.story().moments.last().map(|m| m.series.played());
        assert_eq!(third == Some(Payout::Half), played == Some(2), "seed {seed}");
        swept += usize::from(played == Some(2));
    }
    assert!((8..32).contains(&swept), "{swept} of 40 series end 2–0");
}
