//! Step 4 of 9: baskets over the linked books of one match.
//!
//! The markets of a match are separate books whose payoffs are tied: A to win the series and B with 1.5 maps added pay
//! at least 1 together, whatever happens. A book update re-prices the baskets that its tokens are in, no others; one
//! whose worst payoff is above its cost, with takers' fees, the venue's hold and half payouts in, is taken whole. What
//! appears and is not taken is written down with the reason.
//!
//! An immediate buy spends its whole amount, so every leg is sent at the best offer's own price and for no more than is
//! offered there: a better limit would buy more of one leg than of the others.
//! Source: docs/PROTOCOL.md "order types".

pub mod finder;
pub mod flight;
mod legs;
pub mod params;
pub mod price;
pub mod records;
pub mod seen;

pub use params::BasketsParams;

use self::{
    finder::{Basket, Finder, Known, LEGS_MAX},
    flight::{Flight, Stage},
    price::{Offer, Top, Weighed},
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
        InstrumentIx, MarketIx, MatchIx, OrderHash, Qty, Side, Team, TimeInForce, Universe, Usdc,
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

/// What became of the baskets that were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sent.
    pub sent: u64,
    /// Of which all legs were filled alike, at once or later.
    pub level: u64,
    /// Of which none was filled, or everything was sold again.
    pub nothing: u64,
    /// Of which what is held is not level.
    pub uneven: u64,
    /// Shares of each leg of those that are level.
    pub shares: Qty,
    /// What those cost at most, and what they pay at least if the match completes.
    pub paid: Usdc,
    /// See `paid`.
    pub pays: Usdc,
}

impl Tally {
    /// A basket is over: what it came to.
    fn count(&mut self, flight: &mut Flight) {
        flight.counted = true;
        self.add(flight, 1);
    }

    /// It is not over after all, or not as it was.
    fn take_back(&mut self, flight: &mut Flight) {
        if core::mem::take(&mut flight.counted) {
            self.add(flight, -1);
        }
    }

    fn add(&mut self, flight: &Flight, times: i64) {
        let (least, most) = flight.range();
        let level = most > Qty::DUST && flight.level();
        let which = match () {
            () if level => &mut self.level,
            () if most > Qty::DUST => &mut self.uneven,
            () => &mut self.nothing,
        };
        *which = which.saturating_add_signed(times);
        if level {
            self.shares = Qty(self.shares.micro().saturating_add_signed(times * least.micro() as i64));
            self.paid += Usdc(times * flight.paid().micro());
            self.pays += Usdc(times * flight::pays(flight.worst, least).micro());
        }
    }
}

/// What one update brought.
struct Found<'a> {
    /// The best basket that is to be taken.
    best: Option<(u16, Weighed<'a>)>,
    /// One that would be, but for our own quotes.
    blocked: Option<u16>,
    /// One is worth taking.
    pending: bool,
}

/// Baskets that are told of at the end, the best first.
const REMARKS_MAX: usize = 5;

/// One basket that appeared, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The match.
    pub of: MatchIx,
    /// Its tokens.
    pub tokens: Vec<InstrumentIx>,
    /// What was seen of it.
    pub row: seen::Row,
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
        flight.active() && flight.legs.iter().any(|l| l.instrument.market() == m)
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

    /// Every basket that appeared, the best first. Allocates; never called on the hot path.
    pub fn report(&self) -> Vec<Line> {
        let line = |m: &Linked, row: &seen::Row| {
            let tokens = m.finder.tokens_of(row.candidate).collect();
            Line { of: m.index, tokens, row: *row }
        };
        let mut lines: Vec<_> = self.matches.iter().flat_map(|m| m.seen.rows().iter().map(|r| line(m, r))).collect();
        lines.sort_by_key(|l| core::cmp::Reverse(l.row.best_ppm));
        lines
    }

    /// Appearances that found no row.
    pub fn unrecorded(&self) -> u64 {
        self.matches.iter().map(|m| m.seen.lost()).sum()
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
        let name = |i: &InstrumentIx| {
            let spec = universe.market(i.market());
            format!("{} of {}", spec.outcomes[i.outcome() as usize], spec.slug)
        };
        let said = |line: &Line| {
            let legs: Vec<_> = line.tokens.iter().map(name).collect();
            let reasons = Reason::ALL.iter().map(|r| (r.as_str(), line.row.not_taken[*r as usize]));
            let reasons: Vec<_> = reasons.filter(|(_, n)| *n > 0).map(|(r, n)| format!("{r} {n}")).collect();
            let not = if reasons.is_empty() { String::new() } else { format!(", not taken: {}", reasons.join(", ")) };
            let (taken, best, ppm) = (line.row.taken, line.row.best, line.row.best_ppm);
            format!("basket {}: taken {taken}{not}; at best {best} pUSD, {ppm} ppm a share", legs.join(" + "))
        };
        let lines = self.report();
        if lines.is_empty() {
            let watched: usize = self.matches.iter().map(|m| m.finder.candidates()).sum();
            let none = (watched > 0).then(|| format!("no basket appeared; {watched} combinations were watched"));
            return none.into_iter().collect();
        }
        lines.iter().take(REMARKS_MAX).map(said).collect()
    }

    fn digest(&self, h: &mut StateHasher) {
        for m in &self.matches {
            h.debug(&(&m.tops, &m.flight, m.hoped, &m.tally, m.pending, m.known, m.finder.possible()));
            h.debug(&(m.seen.rows(), m.seen.lost(), m.flights));
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
        let mut found = Found { best: None, blocked: None, pending: false };
        for (token, outcome) in [(2 * place, Outcome::Yes), (2 * place + 1, Outcome::No)] {
            let (fee, hold) = (view.spec.fee, self.hold_ppm[usize::from(place)]);
            let offer = view.best_of_others(view.market.instrument(outcome), BookSide::Ask);
            let top = offer.map_or(Top::NONE, |l| Top::of(l.price, l.qty, fee, hold));
            let before = core::mem::replace(&mut self.tops[usize::from(token)], top);
            if again || top.price_ppm != before.price_ppm {
                self.screen(view, params, token, &mut found);
            }
        }
        self.pending |= u16::from(found.pending) << place;
        match found {
            Found { best: Some((candidate, weighed)), .. } => self.take(view, candidate, &weighed, out),
            Found { blocked: Some(candidate), .. } => self.clear_the_way(view, candidate, out),
            _ => {}
        }
    }

    /// Compares the cost of every basket that a token is in with what it pays; keeps the best that is to be taken.
    #[inline]
    fn screen<'a>(&mut self, view: &View<'a>, params: &BasketsParams, token: u8, found: &mut Found<'a>) {
        let (near, enough) = (-(params.near_ppm as i32), params.min_edge_ppm.max(1) as i32);
        for &n in self.finder.of(token) {
            let Some(b) = self.priced.get(usize::from(n)) else { continue };
            let legs = b.tokens.map(|t| &self.tops[usize::from(t)]);
            let gross = b.pays_ppm - legs.iter().map(|t| t.price_ppm).sum::<i32>();
            let edge = b.pays_net_ppm - legs.iter().map(|t| t.all_in_ppm).sum::<i32>();
            if gross <= 0 && edge <= near {
                self.seen.gone(b.candidate);
                continue;
            }
            let qty = price::size(legs.iter().map(|t| t.qty), params);
            let worth = |ppm: i64| Usdc(ppm.saturating_mul(qty.micro() as i64).div_euclid(PPM));
            if edge < enough {
                let fees = legs.iter().map(|t| t.fee_ppm).sum();
                let why = price::reason(gross, fees, edge, b.pays_ppm - b.pays_net_ppm);
                self.seen.not_taken(b.candidate, why, edge.into(), worth(edge.into()), view.now);
                continue;
            }
            found.pending = true;
            let Some(basket) = self.finder.baskets().get(usize::from(n)) else { continue };
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
