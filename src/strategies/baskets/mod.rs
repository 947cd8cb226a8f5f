//! Step 4 of 9: baskets over the linked books of one match.
//!
//! The markets of a match are separate books whose payoffs are tied: A to win the series and B with 1.5 maps added pay
//! at least 1 together, whatever happens. A book update re-prices the baskets that its tokens are in, no others; one
//! whose worst payoff is above its cost, with takers' fees, the venue's hold and half payouts in, is taken whole. What
//! appears and is not taken is written down with the reason. Where none can be taken, a bid for one leg may rest.
//!
//! An immediate buy spends its whole amount, so every leg is sent at the best offer's own price and for no more than is
//! offered there: a better limit would buy more of one leg than of the others.
//! Source: docs/PROTOCOL.md "order types".

pub mod finder;
pub mod flight;
mod legs;
pub mod params;
pub mod price;
mod quoting;
pub mod records;
mod report;
pub mod seen;
mod tally;

pub use params::BasketsParams;
pub use report::Line;
pub use tally::Tally;

use self::{
    finder::{Basket, Finder, Known, LEGS_MAX},
    flight::{Flight, Stage},
    price::{Offer, Top, Weighed},
    quoting::Bid,
    records::Records,
    seen::{Reason, Seen},
};
use crate::{
    engine::{
        digest::StateHasher,
        refusal::Refusal,
        strategy::{NewFill, Play, Strategy, Together, Trust, View, Wish, Wishes},
    },
    types::{
        InstrumentIx, MarketIx, MatchIx, Nanos, OrderHash, Qty, Side, Team, TimeInForce, Universe, Usdc,
        event::{BookSide, MatchPhase},
        ids::Outcome,
        market::MarketKind,
        order::{Intent, Purpose, StrategyId},
    },
};

/// Millionths in one.
const PPM: i64 = 1_000_000;

/// The strategy.
#[derive(Debug)]
pub struct Baskets {
    params: BasketsParams,
    matches: Vec<Linked>,
    /// By market: its match in `matches`, and its place there.
    places: Vec<Option<(usize, u8)>>,
    /// Shares of each token that are held for baskets.
    apart: Vec<Qty>,
}

/// What is looked at on every update: sums over the legs are compared with these.
#[derive(Clone, Copy, Debug)]
struct Priced {
    tokens: [u8; LEGS_MAX],
    candidate: u16,
    pays_ppm: i32,
    /// The same less what half payouts cost.
    pays_net_ppm: i32,
}

/// One match.
#[derive(Debug)]
struct Linked {
    index: MatchIx,
    finder: Finder,
    /// By token; the last is the token that is none.
    tops: Box<[Top]>,
    hold_ppm: Box<[i32]>,
    /// Beside [`Finder::baskets`]. Never grows beyond the finder's candidates.
    priced: Vec<Priced>,
    seen: Seen,
    flight: Flight,
    /// The number of the last one.
    flights: u32,
    /// Those that are over, and their orders.
    records: Records,
    /// The next bid for a leg is not before this.
    quote_again: Nanos,
    /// What the flight that was just sent would leave, for the record.
    hoped: (i64, Usdc),
    tally: Tally,
    /// Who the first number of a score is about, if scores are about this match.
    scored: Option<Team>,
    /// Markets to look at again whether their prices change or not, by their place: a basket there is worth taking,
    /// and something other than its price is in the way.
    pending: u16,
    /// Markets that were paid out, by their place, and the score: what the baskets hold by.
    known: (u16, Option<[u8; 2]>),
}

/// What one update brought.
struct Found<'a> {
    /// The best basket that is to be taken.
    best: Option<(u16, Weighed<'a>)>,
    /// One that would be, but for our own quotes.
    blocked: Option<u16>,
    /// One is worth taking, or a bid for a leg of it.
    pending: bool,
    /// The best bid for a leg of one that cannot be taken.
    bid: Option<(u16, Bid)>,
    /// One could be taken if no bid for a leg rested.
    better: bool,
}

impl Baskets {
    /// The strategy before its first event. Everything it will ever need is allocated here.
    pub fn new(params: BasketsParams, universe: &Universe) -> Self {
        let mut places = vec![None; universe.markets.len()];
        let mut matches = Vec::new();
        for index in (0..universe.matches.len() as u16).map(MatchIx) {
            let Some(finder) = Finder::new(universe, index) else { continue };
            for (n, tied) in finder.markets().iter().enumerate() {
                places[tied.market.ix()] = Some((matches.len(), n as u8));
            }
            matches.push(Linked::new(index, finder, universe, &params));
        }
        Self { params, matches, places, apart: vec![Qty::ZERO; 2 * universe.markets.len()] }
    }

    /// Shares of a market's tokens that are held for baskets.
    pub fn apart(&self, view: &View<'_>) -> [Qty; 2] {
        // A trade that failed took some of them back.
        [Outcome::Yes, Outcome::No].map(|o| {
            let i = view.market.instrument(o);
            self.apart.get(i.ix()).map_or(Qty::ZERO, |held| (*held).min(view.ledger.qty(i)))
        })
    }

    /// True while a market belongs to a basket that is on its way: others keep out of it.
    pub fn claims(&self, m: MarketIx) -> bool {
        let Some(Some((at, _))) = self.places.get(m.ix()) else { return false };
        let flight = &self.matches[*at].flight;
        // A bid that rests claims only where it stands, until something of it is filled.
        let rests = flight.stage == Stage::Quoting && flight.range().1.is_zero();
        let claimed = if rests { 1 } else { LEGS_MAX };
        flight.active() && flight.legs.iter().take(claimed).any(|l| l.instrument.market() == m)
    }

    /// True if a fill is of an order of ours.
    pub fn owns(&self, view: &View<'_>, fill: &NewFill) -> bool {
        view.orders.get(&fill.order).is_some_and(|o| o.intent.strategy == StrategyId::Baskets)
    }

    /// Shares of a token that are held for baskets, as their trades were told of.
    pub fn kept(&self, instrument: InstrumentIx) -> Qty {
        self.apart.get(instrument.ix()).copied().unwrap_or_default()
    }

    /// A trade of an order of ours came, or failed.
    fn told(&mut self, view: &View<'_>, fill: &NewFill, void: bool) {
        let Some(&Some((at, _))) = self.places.get(fill.instrument.market().ix()) else { return };
        let ours = self.owns(view, fill) || self.matches[at].records.order(&fill.order).is_some();
        if !ours {
            return;
        }
        if let Some(held) = self.apart.get_mut(fill.instrument.ix()) {
            let more = (fill.side == Side::Buy) != void;
            *held = if more { *held + fill.qty } else { held.saturating_sub(fill.qty) };
        }
        self.matches[at].told(view, fill, void, &self.params);
    }

    /// What became of the baskets that were sent, match by match.
    pub fn tallies(&self) -> impl Iterator<Item = (MatchIx, &Tally)> {
        self.matches.iter().map(|m| (m.index, &m.tally))
    }

    /// Where the basket of a match is that is on its way.
    pub fn stage(&self, of: MatchIx) -> Option<Stage> {
        self.flight(of).map(|f| f.stage)
    }

    /// The basket of a match that is on its way.
    pub fn flight(&self, of: MatchIx) -> Option<&Flight> {
        self.matches.iter().find(|m| m.index == of).map(|m| &m.flight)
    }

    /// The combinations of a match's tokens, and those that hold now.
    pub fn finder(&self, of: MatchIx) -> Option<&Finder> {
        self.matches.iter().find(|m| m.index == of).map(|m| &m.finder)
    }
}

impl Strategy for Baskets {
    fn decide(&mut self, view: &View<'_>, out: &mut Wishes) {
        let Self { params, matches, places, .. } = self;
        let Some(&Some((at, place))) = places.get(view.market.ix()) else { return };
        if !params.enabled {
            return;
        }
        let linked = &mut matches[at];
        linked.fly_again(view);
        if linked.flight.active() {
            linked.fly(view, params, out);
            linked.tend(view, params, out);
        }
        linked.watch(view, params, place, out);
    }

    fn filled(&mut self, view: &View<'_>, fill: &NewFill) {
        self.told(view, fill, false);
    }

    fn failed(&mut self, view: &View<'_>, fill: &NewFill) {
        self.told(view, fill, true);
    }

    fn answered(&mut self, intent: &Intent, verdict: Result<OrderHash, Refusal>) {
        if intent.strategy == StrategyId::Baskets
            && let Some(Some((at, _))) = self.places.get(intent.instrument.market().ix())
        {
            self.matches[*at].answered(intent, verdict, &self.params);
        }
    }

    fn remarks(&self, universe: &Universe) -> Vec<String> {
        self.sentences(universe)
    }

    fn digest(&self, h: &mut StateHasher) {
        for m in &self.matches {
            h.debug(&(&m.tops, &m.flight, m.hoped, &m.tally, m.pending, m.known, m.finder.possible()));
            h.debug(&(m.seen.rows(), m.seen.lost(), m.flights, m.quote_again));
            m.records.digest(h);
        }
        self.apart.iter().for_each(|qty| h.u64(qty.micro()));
    }
}

impl Linked {
    fn new(index: MatchIx, finder: Finder, universe: &Universe, params: &BasketsParams) -> Self {
        let none = usize::from(finder.none());
        let mut tops = vec![Top::NONE; none + 1].into_boxed_slice();
        tops[none] = Top::FREE;
        // A feed follows one match, and names its teams as the run's first market does.
        let named = universe.markets.first().filter(|first| {
            universe.matches.len() == 1 && matches!(first.kind, MarketKind::Series | MarketKind::Map(_))
        });
        let mut linked = Self {
            index,
            tops,
            hold_ppm: finder.markets().iter().map(|t| price::hold_ppm(universe.market(t.market), params)).collect(),
            priced: Vec::with_capacity(finder.candidates()),
            seen: Seen::new(finder.candidates()),
            flight: Flight::default(),
            flights: 0,
            records: Records::default(),
            quote_again: Nanos::default(),
            hoped: (0, Usdc::ZERO),
            tally: Tally::default(),
            scored: named.and_then(|first| first.of_match).filter(|place| place.index == index).map(|p| p.first),
            pending: 0,
            known: (0, None),
            finder,
        };
        linked.price(params);
        linked
    }

    /// What the baskets that hold pay, beside them.
    fn price(&mut self, params: &BasketsParams) {
        self.priced.clear();
        self.priced.extend(self.finder.baskets().iter().map(|b| {
            let (pays_ppm, pays_net_ppm) = price::pays_ppm(b, params);
            Priced { tokens: b.tokens, candidate: b.candidate, pays_ppm, pays_net_ppm }
        }));
    }

    /// What the match can still come to, by what was paid out and by the score where that is certain: the feed says as
    /// many maps as it says were won before this one. True if it changed.
    fn learn(&mut self, view: &View<'_>) -> bool {
        let score = match (view.play, self.scored) {
            (Play::Known(game), Some(first))
                if game.phase == MatchPhase::Running
                    && u16::from(game.score[0]) + u16::from(game.score[1]) + 1 == u16::from(game.map) =>
            {
                Some(if first == Team::First { game.score } else { [game.score[1], game.score[0]] })
            }
            _ => None,
        };
        let markets = self.finder.markets();
        let paid =
            |bits, (n, tied): (usize, &finder::Tied)| bits | u16::from(view.ledger.payout(tied.market).is_some()) << n;
        let known = (markets.iter().enumerate().fold(0, paid), score);
        if known == self.known {
            return false;
        }
        self.known = known;
        let payouts = markets.iter().map(|tied| view.ledger.payout(tied.market)).collect();
        let possible = self.finder.consistent(&Known { payouts, score });
        let changed = possible != self.finder.possible();
        if changed {
            self.finder.suppose(possible);
        }
        changed
    }

    /// Takes up the two best offers of a market, and re-prices the baskets that its tokens are in.
    fn watch(&mut self, view: &View<'_>, params: &BasketsParams, place: u8, out: &mut Wishes) {
        if self.learn(view) {
            self.price(params);
            self.pending = u16::MAX;
        }
        if view.trust == Trust::Settling {
            return;
        }
        let again = self.pending & 1 << place != 0;
        self.pending &= !(1 << place);
        let mut found = Found { best: None, blocked: None, pending: false, bid: None, better: false };
        let moved = [(2 * place, Outcome::Yes), (2 * place + 1, Outcome::No)].map(|(token, outcome)| {
            let (fee, hold) = (view.spec.fee, self.hold_ppm[usize::from(place)]);
            let offer = view.best_of_others(view.market.instrument(outcome), BookSide::Ask);
            let top = &mut self.tops[usize::from(token)];
            let before = *top;
            *top = offer.map_or(Top::NONE, |l| Top::of(l.price, l.qty, fee, hold, view.now));
            if top.price_ppm == before.price_ppm {
                top.since = before.since;
            }
            top.price_ppm != before.price_ppm
        });
        for (token, moved, twin) in [(2 * place, moved[0], moved[1]), (2 * place + 1, moved[1], moved[0])] {
            // One token's offers are the other's bids.
            if again || moved || params.quote && twin {
                self.screen(view, params, token, &mut found);
            }
        }
        self.pending |= u16::from(found.pending) << place;
        match found {
            Found { best: Some((candidate, weighed)), .. } => self.take(view, candidate, &weighed, out),
            Found { blocked: Some(candidate), .. } => self.clear_the_way(view, candidate, out),
            Found { better: true, .. } => self.pull(view, out),
            Found { bid: Some((candidate, bid)), .. } => self.rest(view, candidate, &bid, out),
            _ => {}
        }
    }

    /// Compares the cost of every basket that a token is in with what it pays; keeps the best that is to be taken.
    #[inline]
    fn screen<'a>(&mut self, view: &View<'a>, params: &BasketsParams, token: u8, found: &mut Found<'a>) {
        let (near, enough) = (-(params.near_ppm as i32), params.min_edge_ppm.max(1) as i32);
        let quotes = params.quote && !self.flight.active();
        for &n in self.finder.of(token) {
            let Some(b) = self.priced.get(usize::from(n)) else { continue };
            let legs = b.tokens.map(|t| &self.tops[usize::from(t)]);
            let gross = b.pays_ppm - legs.iter().map(|t| t.price_ppm).sum::<i32>();
            let edge = b.pays_net_ppm - legs.iter().map(|t| t.all_in_ppm).sum::<i32>();
            let quotable = quotes && edge < enough && self.may_quote(b, edge, params);
            if gross <= 0 && edge <= near && !quotable {
                self.seen.gone(b.candidate);
                continue;
            }
            let qty = price::size(legs.iter().map(|t| t.qty), params);
            let worth = |ppm: i64| Usdc(ppm.saturating_mul(qty.micro() as i64).div_euclid(PPM));
            let basket = self.finder.baskets().get(usize::from(n));
            let bid = basket.filter(|_| quotable).map(|basket| self.bid(view, basket, params));
            found.pending |= bid.is_some();
            if let Some(Err(why)) = bid.filter(|bid| *bid != Err(Reason::MinEdge)) {
                self.seen.not_taken(b.candidate, why, edge.into(), worth(edge.into()), view.now);
                continue;
            }
            if edge < enough {
                if let Some(Ok(bid)) = bid
                    && found.bid.is_none_or(|(_, other)| bid.beats(&other))
                {
                    found.bid = Some((b.candidate, bid));
                }
                let fees = legs.iter().map(|t| t.fee_ppm).sum();
                let why = price::reason(gross, fees, edge, b.pays_ppm - b.pays_net_ppm);
                self.seen.not_taken(b.candidate, why, edge.into(), worth(edge.into()), view.now);
                continue;
            }
            found.pending = true;
            let newest = legs.iter().map(|t| t.since).max().unwrap_or(view.now);
            if view.now.since(newest) < u64::from(params.stood_ms) * 1_000_000 {
                self.seen.not_taken(b.candidate, Reason::Young, edge.into(), worth(edge.into()), view.now);
                continue;
            }
            let Some(basket) = basket else { continue };
            match weigh(view, &self.finder, &self.flight, params, basket) {
                Ok(this) => match &found.best {
                    Some((_, other)) if other.edge >= this.edge => {
                        self.seen.not_taken(b.candidate, Reason::Busy, this.edge_ppm(), this.edge, view.now);
                    }
                    _ => {
                        if let Some((second, other)) = found.best.replace((b.candidate, this)) {
                            self.seen.not_taken(second, Reason::Busy, other.edge_ppm(), other.edge, view.now);
                        }
                    }
                },
                Err((why, ppm)) => {
                    let ppm = if ppm == i64::MIN { edge.into() } else { ppm };
                    if why == Reason::OwnQuote && !self.flight.active() {
                        found.blocked = Some(b.candidate);
                    }
                    found.better |= why == Reason::Busy && self.flight.stage == Stage::Quoting;
                    self.seen.not_taken(b.candidate, why, ppm, worth(ppm), view.now);
                }
            }
        }
    }

    /// Sends every leg of a basket at once.
    fn take(&mut self, view: &View<'_>, candidate: u16, found: &Weighed<'_>, out: &mut Wishes) {
        let basket = self.finder.baskets().iter().find(|b| b.candidate == candidate);
        let Some(worst) = basket.map(|b| b.worst) else { return };
        let intents = found.legs.iter().fold(Together::NONE, |orders, leg| {
            orders.and(leg_intent(view, leg.instrument, Side::Buy, leg.price, found.qty))
        });
        if out.push(Wish::Together(intents)).is_err() {
            return;
        }
        self.hoped = (found.edge_ppm(), found.edge);
        self.flights += 1;
        self.flight = Flight {
            n: self.flights,
            stage: Stage::Sent,
            candidate,
            worst,
            wanted: found.qty,
            legs: found.legs.iter().map(|l| flight::Leg::new(l.instrument, l.token)).collect(),
            tries: 0,
            since: view.now,
            ..Flight::default()
        };
    }

    /// A basket that only our own quotes are in the way of: they are pulled, and it is taken when they are gone, if it
    /// is still there.
    fn clear_the_way(&mut self, view: &View<'_>, candidate: u16, out: &mut Wishes) {
        let Some(basket) = self.finder.baskets().iter().find(|b| b.candidate == candidate) else { return };
        let Some(offers) = offers(view, &self.finder, basket) else { return };
        for offer in &offers {
            for order in legs::in_the_way(view, offer.instrument, Side::Buy, offer.price) {
                if order.cancellable(view.now) && order.intent.strategy == StrategyId::Pair {
                    // What does not fit is pulled by its own strategy, which keeps out of these markets now.
                    let _ = out.push(Wish::Cancel(order.hash));
                }
            }
        }
        self.flight = Flight {
            stage: Stage::Clearing,
            candidate,
            worst: basket.worst,
            legs: offers.iter().map(|l| flight::Leg::new(l.instrument, l.token)).collect(),
            since: view.now,
            ..Flight::default()
        };
    }
}

/// The best offers of others for a basket's legs; `None` if one has none.
fn offers<'a>(view: &View<'a>, finder: &Finder, basket: &Basket) -> Option<heapless::Vec<Offer<'a>, LEGS_MAX>> {
    let mut offers = heapless::Vec::new();
    for token in basket.tokens.into_iter().filter(|t| *t != finder.none()) {
        let instrument = finder.token(token)?;
        let spec = view.spec_of(instrument.market());
        let level = view.best_of_others_at(instrument, BookSide::Ask)?;
        let _ = offers.push(Offer { instrument, token, price: level.price, qty: level.qty, spec });
    }
    Some(offers)
}

/// Looks at everything that decides whether a basket is taken now, anew.
fn weigh<'a>(
    view: &View<'a>,
    finder: &Finder,
    flight: &Flight,
    params: &BasketsParams,
    basket: &Basket,
) -> Result<Weighed<'a>, (Reason, i64)> {
    let no = |why| Err((why, i64::MIN));
    let Some(offers) = offers(view, finder, basket) else { return no(Reason::Size) };
    if !offers.iter().all(|l| view.trust_of(l.instrument.market()) == Trust::Good) {
        return no(Reason::Untrusted);
    }
    if !offers.iter().all(|l| legs::open(view, l.instrument.market())) {
        return no(Reason::Closed);
    }
    let weighed = price::weigh(basket, offers, params)?;
    let clearing = flight.stage == Stage::Clearing && flight.candidate == basket.candidate;
    let busy = flight.active() && !clearing || view.now < flight.again;
    let edge = weighed.edge_ppm();
    if busy || (view.budget as usize) < weighed.legs.len() {
        return Err((Reason::Busy, edge));
    }
    let own = |l: &Offer<'_>| legs::in_the_way(view, l.instrument, Side::Buy, l.price).next().is_some();
    if weighed.legs.iter().any(own) {
        return Err((Reason::OwnQuote, edge));
    }
    Ok(weighed)
}

/// An order of a leg: it takes what is there, and does not rest.
fn leg_intent(view: &View<'_>, instrument: InstrumentIx, side: Side, price: crate::types::Price, qty: Qty) -> Intent {
    Intent {
        instrument,
        side,
        price,
        qty,
        tif: TimeInForce::Fak,
        post_only: false,
        strategy: StrategyId::Baskets,
        purpose: Purpose::Leg,
        epoch: view.next_epoch(instrument.market(), StrategyId::Baskets),
    }
}
