//! Makers: they hear of events late, believe something near the truth, and quote both sides of it.
//!
//! A maker knows the event process but not the teams as well as it thinks: its log-odds carry a bias of its own and a
//! noise that drifts. It never sees an event before its source shows it, and then still has to react.

use super::{
    Books, Command, Filled, OrderTag, SimTime, Size, Trader,
    dice::{Dice, logit, sigmoid},
    fair::MARKETS,
    family::Making,
};
use crate::types::{
    Qty,
    event::Payout,
    ids::{InstrumentIx, MarketIx, Outcome},
    order::{Side, TimeInForce},
    price::Price,
    qty::Usdc,
};

/// Below this a maker that otherwise buys the other token sells what it owns first.
const LOW_CASH: Usdc = Usdc::dollars(25_000);
/// Seconds after which a resting quote is placed anew even if nothing moved: a quote that the venue dropped heals.
const MAX_AGE_S: f64 = 180.0;
/// How long a maker quotes wider after news, in seconds.
const WARY_S: f64 = 12.0;
/// How much wider.
const WARY: f64 = 1.6;

/// Where a maker's news comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A data feed: reaction with a median of 1.5 s.
    Feed,
    /// The broadcast: 6 s.
    Stream,
}

/// What a maker thinks of one market.
#[derive(Clone, Copy, Debug)]
pub struct Outlook {
    /// Fair price of the first outcome by what the maker knows, before its bias.
    pub fair: f64,
    /// The payout, if it is certain.
    pub certain: Option<Payout>,
    /// False for maps still to come: quoted thinly, by some.
    pub current: bool,
}

/// Bids and asks are those of the first outcome; an ask may be worked as a bid on the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Bid,
    Ask,
}

/// One wanted quote, in prices of the first outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Quote {
    way: Way,
    units: u16,
    qty: Qty,
}

#[derive(Clone, Copy, Debug)]
struct Resting {
    tag: OrderTag,
    quote: Quote,
    left: Qty,
}

/// A maker's business in one market.
#[derive(Clone, Debug, Default)]
struct Desk {
    resting: Vec<Resting>,
    wanted: Vec<Quote>,
    /// What the wanted quotes were made from, and when.
    reserve: f64,
    wary: bool,
    tick: u16,
    at: SimTime,
    /// True when a price had to give way to somebody else's: looked at again soon.
    clipped: bool,
    /// Shares of the first outcome minus shares of the second, in shares.
    net: f64,
    closed: bool,
}

/// One maker.
#[derive(Clone, Debug)]
pub struct Maker {
    trader: Trader,
    dice: Dice,
    kind: Making,
    /// Where its news comes from.
    pub source: Source,
    bias: f64,
    noise_sd: f64,
    noise: f64,
    half_spread: f64,
    levels: u16,
    size: f64,
    skew: f64,
    limit: f64,
    sells: bool,
    quotes_ahead: bool,
    /// The last moment of the story that it knows of.
    pub known: usize,
    wary_until: SimTime,
    desks: [Desk; MARKETS],
    next_tag: u64,
}

impl Maker {
    /// Draws a maker. Ranges and reasons: `docs/SCENARIOS.md` "makers".
    pub fn draw(trader: Trader, source: Source, kind: &Making, mut dice: Dice) -> Self {
        let noise_sd = dice.uniform(kind.noise.0, kind.noise.1);
        let (narrow, wide) = kind.half_spread[source as usize];
        Self {
            trader,
            source,
            kind: *kind,
            bias: dice.normal(kind.bias),
            noise_sd,
            noise: dice.normal(noise_sd),
            half_spread: dice.uniform(narrow, wide),
            levels: dice.whole(2, 3) as u16,
            size: dice.lognormal(kind.size.median, kind.size.sigma).clamp(kind.size.least, kind.size.most),
            skew: dice.uniform(0.00002, 0.00006),
            limit: dice.uniform(800.0, 2_000.0),
            sells: dice.chance(0.6),
            quotes_ahead: dice.chance(0.5),
            known: 0,
            wary_until: SimTime(0),
            desks: Default::default(),
            next_tag: 0,
            dice,
        }
    }

    /// From its source showing an event to its acting on it.
    pub fn reaction(&mut self) -> SimTime {
        let median = self.kind.reaction_s[self.source as usize];
        SimTime::from_secs_f64(self.dice.lognormal(median, self.kind.reaction_sigma))
    }

    /// From a fill or a cancel of its own to its next order: no event to be understood, so faster.
    pub fn routine(&mut self) -> SimTime {
        self.dice.span(0.15, 0.6)
    }

    /// Until it looks at its quotes again with nothing having happened.
    pub fn glance(&mut self) -> SimTime {
        self.dice.span(8.0, 20.0)
    }

    /// Learns of a moment of the story. News may overtake older news; it never goes back. `news_at`: when, if the
    /// moment is one that moves prices.
    pub fn learn(&mut self, moment: usize, news_at: Option<SimTime>) {
        self.known = self.known.max(moment);
        if let Some(now) = news_at {
            self.wary_until = SimTime(now.0 + SimTime::from_secs_f64(WARY_S).0);
        }
    }

    /// Its opinion drifts a little: an autoregression that keeps its spread.
    pub fn drift(&mut self) {
        self.noise = 0.9 * self.noise + self.dice.normal(self.noise_sd * libm::sqrt(1.0 - 0.81));
    }

    /// Stops or resumes quoting a market.
    pub fn set_closed(&mut self, market: MarketIx, closed: bool) {
        self.desks[market.ix()].closed = closed;
    }

    /// Forgets what rested in a market: the venue cleared its book, or the market is over.
    pub fn cleared(&mut self, market: MarketIx) {
        let desk = &mut self.desks[market.ix()];
        desk.resting.clear();
        desk.wanted.clear();
    }

    /// Cancels every quote in a market.
    pub fn pull(&mut self, market: MarketIx, out: &mut Vec<Command>) {
        let trader = self.trader;
        let desk = &mut self.desks[market.ix()];
        out.extend(desk.resting.drain(..).map(|r| Command::Cancel { trader, tag: r.tag }));
        desk.wanted.clear();
    }

    /// Decides what to quote and cancels what no longer fits. True if there is something to place: a moment later, when
    /// the cancels have taken effect, by [`Self::place`].
    pub fn review(
        &mut self,
        now: SimTime,
        market: MarketIx,
        outlook: Outlook,
        books: &dyn Books,
        out: &mut Vec<Command>,
    ) -> bool {
        let tick = books.tick(market).units();
        let desk = &self.desks[market.ix()];
        let reserve = self.reserve(outlook, desk.net);
        let wary = now < self.wary_until && outlook.current;
        // A whole tick of opinion, two far from the action: less is no reason to go to the back of the queue.
        let patience = f64::from(tick) / 10_000.0 * if outlook.current { 1.0 } else { 2.0 };
        let aged = now.as_secs_f64() - desk.at.as_secs_f64() > MAX_AGE_S;
        let moved = (reserve - desk.reserve).abs() >= patience || wary != desk.wary || tick != desk.tick;
        if aged || moved || desk.clipped || desk.wanted.is_empty() {
            let idle = desk.closed || outlook.certain == Some(Payout::Half) || (!outlook.current && !self.quotes_ahead);
            let wanted = if idle { Vec::new() } else { self.ladder(reserve, wary, tick, desk.net, outlook) };
            if aged {
                self.pull(market, out);
            }
            let desk = &mut self.desks[market.ix()];
            (desk.wanted, desk.reserve, desk.wary, desk.tick, desk.at) = (wanted, reserve, wary, tick, now);
            desk.clipped = false;
        }
        let trader = self.trader;
        let Desk { resting, wanted, .. } = &mut self.desks[market.ix()];
        resting.retain(|r| {
            let fits = wanted.iter().any(|w| (w.way, w.units) == (r.quote.way, r.quote.units));
            let spent = r.left.micro() * 3 < r.quote.qty.micro();
            if !fits || spent {
                out.push(Command::Cancel { trader, tag: r.tag });
            }
            fits && !spent
        });
        wanted.iter().any(|w| !rests(resting, w))
    }

    /// Places the wanted quotes that do not rest, giving way to anybody whose price they would cross.
    pub fn place(&mut self, market: MarketIx, books: &dyn Books, out: &mut Vec<Command>) {
        let desk = &mut self.desks[market.ix()];
        if desk.closed {
            return;
        }
        let yes = market.instrument(Outcome::Yes);
        let tick = desk.tick.max(1);
        let ceiling = books.best_ask(yes).map_or(Price::UNITS - tick, |(p, _)| p.units().saturating_sub(tick));
        let floor = books.best_bid(yes).map_or(tick, |(p, _)| p.units() + tick);
        let top = |way| desk.wanted.iter().filter(move |w| w.way == way).map(|w| w.units);
        let down = top(Way::Bid).max().map_or(0, |bid| bid.saturating_sub(ceiling));
        let up = top(Way::Ask).min().map_or(0, |ask| floor.saturating_sub(ask));
        // A whole number of ticks, so that the ladder stays on the grid when the other side's price is finer.
        let (down, up) = (down.next_multiple_of(tick), up.next_multiple_of(tick));
        desk.clipped = down > 0 || up > 0;
        for quote in &mut desk.wanted {
            quote.units = match quote.way {
                Way::Bid => quote.units.saturating_sub(down),
                Way::Ask => quote.units.saturating_add(up),
            };
        }
        desk.wanted.retain(|w| w.units >= tick && w.units <= Price::UNITS - tick);

        let recycles = self.sells || books.cash(self.trader) < LOW_CASH;
        let mut owned = [Outcome::Yes, Outcome::No].map(|o| books.shares(self.trader, market.instrument(o)));
        for quote in desk.wanted.clone() {
            if rests(&desk.resting, &quote) {
                continue;
            }
            // An ask is a sale of the first outcome or a purchase of the second; a maker that recycles sells first.
            let (buys, sells) = match quote.way {
                Way::Bid => (Outcome::Yes, Outcome::No),
                Way::Ask => (Outcome::No, Outcome::Yes),
            };
            let sale = recycles && owned[sells as usize] >= quote.qty;
            let (outcome, side) = if sale { (sells, Side::Sell) } else { (buys, Side::Buy) };
            if sale {
                owned[sells as usize] -= quote.qty;
            }
            let Some(price) = Price::from_units(quote.units) else { continue };
            let price = if outcome == Outcome::Yes { price } else { price.complement() };
            let tag = OrderTag(self.next_tag);
            self.next_tag += 1;
            desk.resting.push(Resting { tag, quote, left: quote.qty });
            out.push(Command::Place {
                trader: self.trader,
                tag,
                instrument: market.instrument(outcome),
                side,
                price,
                size: Size::Shares(quote.qty),
                tif: TimeInForce::Gtc,
                post_only: true,
            });
        }
    }

    /// One of its orders was filled.
    pub fn filled(&mut self, fill: &Filled) {
        let desk = &mut self.desks[fill.instrument.market().ix()];
        desk.net += signed_shares(fill.instrument, fill.side, fill.qty);
        if let Some(ix) = desk.resting.iter().position(|r| r.tag == fill.tag) {
            let resting = &mut desk.resting[ix];
            resting.left = resting.left.saturating_sub(fill.qty);
            if fill.done || resting.left.is_zero() {
                desk.resting.swap_remove(ix);
            }
        }
    }

    /// One of its orders does not rest any more: refused, or cancelled by the venue.
    pub fn gone(&mut self, tag: OrderTag) {
        for desk in &mut self.desks {
            desk.resting.retain(|r| r.tag != tag);
        }
    }

    /// The price that it quotes around: what it believes, leaning against what it holds. What is certain is worth what
    /// it pays, whatever is held, less a sliver for the wait.
    fn reserve(&self, outlook: Outlook, net: f64) -> f64 {
        match outlook.certain {
            Some(Payout::Yes) => 0.9985,
            Some(Payout::No) => 0.0015,
            Some(Payout::Half) => 0.5,
            None => sigmoid(logit(outlook.fair.clamp(0.001, 0.999)) + self.bias + self.noise) - self.skew * net,
        }
    }

    /// The quotes around a reservation price.
    fn ladder(&self, reserve: f64, wary: bool, tick: u16, net: f64, outlook: Outlook) -> Vec<Quote> {
        let t = f64::from(tick) / 10_000.0;
        let p = reserve.clamp(0.0, 1.0);
        // The spread follows the size of the moves that news can make, which shrinks towards the extremes.
        let width = self.half_spread * libm::sqrt(4.0 * p * (1.0 - p)) * if wary { WARY } else { 1.0 };
        let (half, levels) = match (outlook.certain, outlook.current) {
            (Some(_), _) => (t, 1),
            (None, true) => (width.max(t * 0.5), self.levels),
            (None, false) => (2.0 * width.max(t), 1),
        };
        let bid = libm::floor((reserve - half) / t) as i32;
        let ask = libm::ceil((reserve + half) / t) as i32;
        let room = i32::from(Price::UNITS / tick);
        // On the fine grid a level a tick away is no level at all.
        let step = if tick < 100 && outlook.certain.is_none() { 3 } else { 1 };
        let mut quotes = Vec::with_capacity(2 * usize::from(levels));
        for level in 0..i32::from(levels) {
            let shares = self.size * (1.0 + 0.5 * f64::from(level));
            let qty = Qty::shares(shares as u64).max(Qty::shares(5));
            for (way, ticks) in [(Way::Bid, bid - level * step), (Way::Ask, ask + level * step)] {
                let full = match way {
                    Way::Bid => net > self.limit,
                    Way::Ask => net < -self.limit,
                };
                if !full && ticks >= 1 && ticks < room {
                    quotes.push(Quote { way, units: ticks as u16 * tick, qty });
                }
            }
        }
        quotes
    }
}

/// True if a wanted quote rests already.
fn rests(resting: &[Resting], wanted: &Quote) -> bool {
    resting.iter().any(|r| (r.quote.way, r.quote.units) == (wanted.way, wanted.units))
}

/// What a fill adds to shares of the first outcome minus shares of the second. Statistics of belief, not an account.
fn signed_shares(instrument: InstrumentIx, side: Side, qty: Qty) -> f64 {
    let shares = qty.micro() as f64 / 1e6;
    match (instrument.outcome(), side) {
        (Outcome::Yes, Side::Buy) | (Outcome::No, Side::Sell) => shares,
        _ => -shares,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::family::Family, *};

    const NOW: Outlook = Outlook { fair: 0.5, certain: None, current: true };

    #[test]
    fn reactions_have_the_stated_medians_and_spread() {
        for (source, median) in [(Source::Feed, 1.5), (Source::Stream, 6.0)] {
            let mut maker = Maker::draw(Trader(0), source, &Family::DEMONSTRATION.makers, Dice::new(1, 1));
            let mut s: Vec<f64> = (0..20_000).map(|_| maker.reaction().as_secs_f64()).collect();
            s.sort_by(f64::total_cmp);
            let (low, mid, high) = (s[3_174], s[10_000], s[16_826]);
            assert!((mid / median - 1.0).abs() < 0.03, "{source:?}: median {mid}");
            // One standard deviation of the logarithm on either side.
            let sigma = libm::log(high / low) / 2.0;
            assert!((sigma - 0.7).abs() < 0.02, "{source:?}: sigma {sigma}");
        }
    }

    #[test]
    fn a_ladder_never_crosses_itself_and_stays_on_the_grid() {
        for seed in 0..50 {
            let maker = Maker::draw(Trader(0), Source::Feed, &Family::DEMONSTRATION.makers, Dice::new(seed, 100));
            for tick in [100, 10] {
                for reserve in (-5..=105).map(|cents| f64::from(cents) / 100.0) {
                    let ladder = maker.ladder(reserve, false, tick, 0.0, NOW);
                    let of = |way| ladder.iter().filter(move |q| q.way == way).map(|q| q.units);
                    assert!(ladder.iter().all(|q| q.units % tick == 0 && q.units >= tick && q.units <= 10_000 - tick));
                    assert!(ladder.iter().all(|q| q.qty >= Qty::shares(5)));
                    if let (Some(bid), Some(ask)) = (of(Way::Bid).max(), of(Way::Ask).min()) {
                        assert!(bid < ask, "seed {seed}, reserve {reserve}: {bid} and {ask}");
                        let centre = f64::from(bid + ask) / 20_000.0;
                        assert!((centre - reserve).abs() <= f64::from(tick) / 10_000.0, "nobody quotes off his belief");
                    }
                }
            }
        }
    }

    #[test]
    fn quotes_lean_against_inventory_and_stop_at_the_limit() {
        let maker = Maker::draw(Trader(0), Source::Feed, &Family::DEMONSTRATION.makers, Dice::new(1, 100));
        let sides = |net: f64| {
            let ladder = maker.ladder(0.5, false, 100, net, NOW);
            [Way::Bid, Way::Ask].map(|way| ladder.iter().filter(|q| q.way == way).count())
        };
        assert!(maker.reserve(NOW, 100.0) < maker.reserve(NOW, 0.0));
        assert!(maker.reserve(NOW, -100.0) > maker.reserve(NOW, 0.0));
        assert_eq!(sides(0.0), [usize::from(maker.levels); 2]);
        assert_eq!(sides(5_000.0), [0, usize::from(maker.levels)]);
        assert_eq!(sides(-5_000.0), [usize::from(maker.levels), 0]);
    }

    #[test]
    fn what_is_certain_is_quoted_only_on_the_safe_side() {
        let maker = Maker::draw(Trader(0), Source::Feed, &Family::DEMONSTRATION.makers, Dice::new(1, 100));
        for (payout, way) in [(Payout::Yes, Way::Bid), (Payout::No, Way::Ask)] {
            for (tick, net) in [(100, 0.0), (10, 0.0), (100, 700.0), (10, -700.0)] {
                let outlook = Outlook { certain: Some(payout), ..NOW };
                let ladder = maker.ladder(maker.reserve(outlook, net), false, tick, net, outlook);
                assert!(ladder.iter().all(|q| q.way == way) && ladder.len() == 1, "{payout:?}, {net}: {ladder:?}");
            }
        }
    }
}
