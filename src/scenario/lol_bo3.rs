//! `lol-bo3`: a best of three of made-up teams, its four winner markets, and the people who trade them.
//!
//! The match is played out at once from the seed; what remains is who hears of it when. All that follows sits in one
//! queue in order of scenario time. What is drawn from which range, and why: `docs/SCENARIOS.md`.

use std::collections::BTreeMap;

use super::{
    Books, Command, Filled, OrderTag, Scenario, Setup, SimTime, Trader,
    dice::Dice,
    fair::{MARKETS, Pricer},
    family::Family,
    game::{MAPS, Rules, Series, Story, What},
    informed::Insider,
    makers::{Maker, Outlook, Source},
    noise::{Crowd, Mood},
    sports::{Fixture, REPEAT_S, Shown},
};
use crate::types::{
    MarketSpec, MatchSpec, Qty, TickSize, Usdc,
    event::Payout,
    fees::FeeSchedule,
    ids::{ConditionId, MarketIx, Outcome, TokenId},
    market::{Exchange, MarketKind},
};

/// Collateral of every trader. Deep pockets: what stops a maker is its inventory limit, never its cash.
const CASH: Usdc = Usdc::dollars(100_000);
/// Accounts of the crowd.
const CROWD: u16 = 8;
/// Above this, or below its complement, the venue refines a market's grid. In units of 0.0001.
/// Source: docs/PROTOCOL.md "prices and ticks".
const FINE_ABOVE: u16 = 9_600;

/// Made-up teams and their abbreviations.
const TEAMS: [(&str, &str); 16] = [
    ("Amber Wolves", "amw"),
    ("Brass Foxes", "bfx"),
    ("Cinder Owls", "cno"),
    ("Dune Ravens", "dnr"),
    ("Ember Cranes", "ebc"),
    ("Frost Badgers", "fbd"),
    ("Granite Herons", "grh"),
    ("Harbor Lynx", "hlx"),
    ("Indigo Stags", "ids"),
    ("Juniper Hounds", "jph"),
    ("Kelp Otters", "klo"),
    ("Lantern Moths", "ltm"),
    ("Marble Jackals", "mjk"),
    ("North Pikes", "npk"),
    ("Opal Vipers", "opv"),
    ("Quarry Bears", "qbr"),
];

/// Streams of the seed: one for each thing that must not depend on another.
mod stream {
    pub const MATCH: u64 = 0;
    pub const NAMES: u64 = 1;
    pub const CAST: u64 = 2;
    pub const SOURCES: u64 = 3;
    pub const CROWD: u64 = 4;
    pub const MAKERS: u64 = 100;
    pub const INSIDERS: u64 = 200;
}

/// What a trader of the scenario is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Quotes both sides.
    Maker,
    /// Trades for its own reasons.
    Noise,
    /// Hears early.
    Informed,
}

/// Something that will happen.
#[derive(Clone, Copy, Debug)]
enum Item {
    /// A maker's source and reaction have brought it a moment of the story.
    Learn { maker: usize, moment: usize },
    /// A maker looks at all its quotes.
    Glance { maker: usize },
    /// A maker looks at one market: it was filled there.
    Review { maker: usize, market: u16 },
    /// A maker's cancels have taken effect: it places what is missing.
    Place { maker: usize, market: u16 },
    /// A maker leaves the series book before it is cleared.
    Leave { maker: usize },
    /// A maker comes back.
    Return { maker: usize },
    /// Somebody of the crowd comes by.
    Crowd,
    /// An informed taker looks for stale quotes, knowing the story up to `moment`.
    Insider { who: usize, moment: usize, tries: u8 },
    /// The provider of the sports channel learns of a moment.
    Show { moment: usize },
    /// It repeats itself.
    Repeat,
    /// The venue clears the series book.
    Clear,
    /// A market is paid out.
    Resolve { market: u16, payout: Payout },
    /// The end.
    Finish,
}

/// The scenario.
pub struct LolBo3 {
    setup: Setup,
    story: Story,
    pricer: Pricer,
    fixture: Fixture,
    /// From an event to the makers' sources showing it.
    source_lag: SimTime,
    makers: Vec<Maker>,
    crowd: Crowd,
    insiders: Vec<Insider>,
    shown: Shown,
    refined: [bool; MARKETS],
    resolved: [bool; MARKETS],
    /// Makers' reviews that are queued already.
    reviewing: Vec<[bool; MARKETS]>,
    /// What will happen, in order of time and then of arrival.
    queue: BTreeMap<(SimTime, u64), Item>,
    queued: u64,
}

impl LolBo3 {
    /// Draws a match and its traders, of the demonstration's cast.
    pub fn new(seed: u64) -> Self {
        Self::of(&Family::DEMONSTRATION, seed)
    }

    /// Draws a match and its traders, of a family.
    pub fn of(family: &Family, seed: u64) -> Self {
        let mut dice = Dice::new(seed, stream::MATCH);
        let rules = Rules::draw(&mut dice);
        let story = Story::play(&rules, &mut dice);

        let mut cast = Dice::new(seed, stream::CAST);
        let makers = cast.whole(family.makers.count.0, family.makers.count.1) as usize;
        let insiders = cast.whole(family.informed.count.0, family.informed.count.1) as usize;
        let source_lag = cast.span(family.source_s.0, family.source_s.1);
        let makers: Vec<Maker> = (0..makers)
            .map(|i| {
                // The first maker always has a feed; every other one with even odds.
                let source = if i == 0 || cast.chance(family.makers.feeds) { Source::Feed } else { Source::Stream };
                Maker::draw(Trader(i as u16), source, &family.makers, Dice::new(seed, stream::MAKERS + i as u64))
            })
            .collect();
        let first_noise = makers.len() as u16;
        let first_insider = first_noise + CROWD;
        let insiders: Vec<Insider> = (0..insiders)
            .map(|i| {
                let dice = Dice::new(seed, stream::INSIDERS + i as u64);
                Insider::draw(Trader(first_insider + i as u16), &family.informed, dice)
            })
            .collect();
        let crowd = Crowd::draw(Trader(first_noise), CROWD, &family.crowd, Dice::new(seed, stream::CROWD));
        let (mut setup, fixture) = names(&mut Dice::new(seed, stream::NAMES));
        setup.traders = vec![CASH; usize::from(first_insider) + insiders.len()];

        let mut this = Self {
            setup,
            pricer: Pricer::new(&rules),
            story,
            fixture,
            source_lag,
            reviewing: vec![[false; MARKETS]; makers.len()],
            makers,
            crowd,
            insiders,
            shown: Shown::default(),
            refined: [false; MARKETS],
            resolved: [false; MARKETS],
            queue: BTreeMap::new(),
            queued: 0,
        };
        this.schedule(&mut Dice::new(seed, stream::SOURCES));
        this
    }

    /// Exact fair price of the first outcome of each market (series, maps 1 to 3), given all that truly happened by
    /// `at`. For research and tests: nothing that trades may read it.
    pub fn fair_at(&self, at: SimTime) -> [f64; MARKETS] {
        self.pricer.price(&self.story.moments[self.story.index_at(at)].series)
    }

    /// The story. For research and tests, likewise.
    pub fn story(&self) -> &Story {
        &self.story
    }

    /// From an event to the makers' sources showing it.
    pub fn source_lag(&self) -> SimTime {
        self.source_lag
    }

    /// What a trader is.
    pub fn role(&self, trader: Trader) -> Role {
        match usize::from(trader.0) {
            t if t < self.makers.len() => Role::Maker,
            t if t < self.makers.len() + usize::from(CROWD) => Role::Noise,
            _ => Role::Informed,
        }
    }

    fn push(&mut self, at: SimTime, item: Item) {
        self.queued += 1;
        self.queue.insert((at, self.queued), item);
    }

    /// Queues everything that does not depend on trading.
    fn schedule(&mut self, dice: &mut Dice) {
        let moments: Vec<(SimTime, What, Series)> =
            self.story.moments.iter().map(|m| (m.at, m.what, m.series)).collect();
        let mut last_shown = SimTime(0);
        for (moment, &(at, what, series)) in moments.iter().enumerate().skip(1) {
            let source = plus(at, self.source_lag);
            for maker in 0..self.makers.len() {
                let heard = plus(source, self.makers[maker].reaction());
                self.push(heard, Item::Learn { maker, moment });
            }
            if matches!(what, What::Draft | What::Scored(..) | What::MapEnd(_)) {
                for who in 0..self.insiders.len() {
                    if let Some(lead) = self.insiders[who].lead() {
                        // Nobody knows before it happens, however quick the sources are.
                        let heard = SimTime(source.0.saturating_sub(lead.0).max(at.0));
                        self.push(heard, Item::Insider { who, moment, tries: 3 });
                    }
                }
            }
            let late = SimTime::from_secs_f64(dice.lognormal(45.0, 0.25).clamp(20.0, 75.0));
            if Shown::of(&series) != Shown::of(&moments[moment - 1].2) {
                last_shown = plus(at, late).max(last_shown);
                self.push(last_shown, Item::Show { moment });
            }
        }

        let mut paid = SimTime(0);
        let last = moments.last().map_or(Series::default(), |m| m.2);
        let ends = moments.iter().filter(|m| matches!(m.1, What::MapEnd(_)));
        for (map, &(at, ..)) in ends.enumerate() {
            paid = plus(plus(at, self.source_lag), dice.span(60.0, 150.0));
            self.resolve_at(paid, map + 1, last.map_payout(map));
        }
        paid = plus(paid, dice.span(5.0, 30.0));
        self.resolve_at(paid, 0, last.series_payout());
        for map in last.played()..MAPS {
            paid = plus(paid, dice.span(2.0, 10.0));
            self.resolve_at(paid, map + 1, last.map_payout(map));
        }
        self.push(plus(paid, SimTime::from_secs_f64(15.0)), Item::Finish);

        self.push(self.story.scheduled, Item::Clear);
        for maker in 0..self.makers.len() {
            self.push(dice.span(0.5, 5.0), Item::Glance { maker });
            let leave = SimTime(self.story.scheduled.0 - dice.span(3.0, 10.0).0);
            self.push(leave, Item::Leave { maker });
            self.push(plus(self.story.scheduled, dice.span(2.0, 8.0)), Item::Return { maker });
        }
        self.push(SimTime::from_secs_f64(1.0), Item::Repeat);
        self.push(SimTime::from_secs_f64(10.0), Item::Crowd);
    }

    fn resolve_at(&mut self, at: SimTime, market: usize, payout: Option<Payout>) {
        if let Some(payout) = payout {
            self.push(at, Item::Resolve { market: market as u16, payout });
        }
    }

    /// What the world can know at `now`: the story as the makers' sources show it.
    fn public(&self, now: SimTime) -> &Series {
        let at = SimTime(now.0.saturating_sub(self.source_lag.0));
        &self.story.moments[self.story.index_at(at)].series
    }

    fn handle(&mut self, now: SimTime, item: Item, books: &dyn Books, out: &mut Vec<Command>) {
        match item {
            Item::Learn { maker, moment } => {
                let news = !matches!(self.story.moments[moment].what, What::Pause | What::Resume | What::MapStart);
                self.makers[maker].learn(moment, news.then_some(now));
                self.review_all(now, maker, books, out);
            }
            Item::Glance { maker } => {
                self.makers[maker].drift();
                self.review_all(now, maker, books, out);
                let next = plus(now, self.makers[maker].glance());
                self.push(next, Item::Glance { maker });
            }
            Item::Review { maker, market } => {
                self.reviewing[maker][usize::from(market)] = false;
                self.review(now, maker, MarketIx(market), books, out);
            }
            Item::Place { maker, market } => self.makers[maker].place(MarketIx(market), books, out),
            Item::Leave { maker } => {
                self.makers[maker].pull(MarketIx(0), out);
                self.makers[maker].set_closed(MarketIx(0), true);
            }
            Item::Return { maker } => {
                self.makers[maker].set_closed(MarketIx(0), false);
                self.review(now, maker, MarketIx(0), books, out);
            }
            Item::Crowd => self.crowd(now, books, out),
            Item::Insider { who, moment, tries } => self.insider(now, who, moment, tries, books, out),
            Item::Show { moment } => {
                self.shown = Shown::of(&self.story.moments[moment].series);
                out.push(Command::Sports(self.fixture.frame(self.shown, now)));
            }
            Item::Repeat => {
                // The end is told once.
                if !self.shown.ended {
                    out.push(Command::Sports(self.fixture.frame(self.shown, now)));
                    self.push(plus(now, SimTime::from_secs_f64(REPEAT_S)), Item::Repeat);
                }
            }
            Item::Clear => {
                let series = MarketIx(0);
                self.makers.iter_mut().for_each(|m| m.cleared(series));
                out.push(Command::ClearBook(series));
            }
            Item::Resolve { market, payout } => {
                self.resolved[usize::from(market)] = true;
                for maker in &mut self.makers {
                    maker.pull(MarketIx(market), out);
                    maker.set_closed(MarketIx(market), true);
                }
                out.push(Command::Resolve(MarketIx(market), payout));
            }
            Item::Finish => {
                self.queue.clear();
                out.push(Command::Finished);
            }
        }
    }

    fn review_all(&mut self, now: SimTime, maker: usize, books: &dyn Books, out: &mut Vec<Command>) {
        for market in 0..MARKETS {
            self.review(now, maker, MarketIx(market as u16), books, out);
        }
    }

    fn review(&mut self, now: SimTime, maker: usize, market: MarketIx, books: &dyn Books, out: &mut Vec<Command>) {
        if self.resolved[market.ix()] {
            return;
        }
        let series = &self.story.moments[self.makers[maker].known].series;
        let certain = Pricer::certain(series)[market.ix()];
        let outlook = Outlook {
            fair: self.pricer.price(series)[market.ix()],
            certain,
            current: market.ix() <= series.played() + 1,
        };
        if self.makers[maker].review(now, market, outlook, books, out) {
            // Counted from now, not from when the step was due: the cancels must have taken effect.
            let at = plus(now, self.makers[maker].routine());
            self.push(at, Item::Place { maker, market: market.0 });
        }
    }

    fn crowd(&mut self, now: SimTime, books: &dyn Books, out: &mut Vec<Command>) {
        let series = *self.public(now);
        if series.winner().is_some() {
            return;
        }
        let mood = if series.live && !series.paused { Mood::Live } else { Mood::Quiet };
        // The series and the map at hand draw nearly everybody.
        let mut interest = [0.45, 0.025, 0.025, 0.025];
        interest[series.played() + 1] = 0.5;
        for (weight, certain) in interest.iter_mut().zip(Pricer::certain(&series)) {
            if certain.is_some() {
                *weight = 0.0;
            }
        }
        self.crowd.trade(mood, interest, books, out);
        let next = plus(now, self.crowd.pause());
        self.push(next, Item::Crowd);
    }

    fn insider(
        &mut self,
        now: SimTime,
        who: usize,
        moment: usize,
        tries: u8,
        books: &dyn Books,
        out: &mut Vec<Command>,
    ) {
        // It sees what its own sources brought or what all the world sees, whichever is later.
        let public = self.story.index_at(SimTime(now.0.saturating_sub(self.source_lag.0)));
        let fair = self.pricer.price(&self.story.moments[moment.max(public)].series);
        let open = self.resolved.map(|r| !r);
        let found = self.insiders[who].act(fair, open, books, out);
        if found && tries > 1 {
            let at = plus(now, self.insiders[who].again());
            self.push(at, Item::Insider { who, moment, tries: tries - 1 });
        }
    }

    /// The venue refines a grid once the price leaves the middle, and never coarsens it again.
    fn refine(&mut self, books: &dyn Books, out: &mut Vec<Command>) {
        for m in 0..MARKETS {
            let market = MarketIx(m as u16);
            if self.refined[m] || self.resolved[m] {
                continue;
            }
            let yes = market.instrument(Outcome::Yes);
            let (bid, ask) = (books.best_bid(yes), books.best_ask(yes));
            let (bid, ask) = (bid.map(|b| b.0.units()), ask.map(|a| a.0.units()));
            let beyond = match (bid, ask) {
                (Some(bid), Some(ask)) => u16::midpoint(bid, ask).abs_diff(5_000) > FINE_ABOVE - 5_000,
                (Some(bid), None) => bid > FINE_ABOVE,
                (None, Some(ask)) => ask < 10_000 - FINE_ABOVE,
                (None, None) => false,
            };
            if beyond {
                self.refined[m] = true;
                out.push(Command::TickSize(market, TickSize::Mill));
            }
        }
    }

    /// The maker behind a trader; others are not told of their fills, they look at what they own.
    fn maker(&mut self, trader: Trader) -> Option<&mut Maker> {
        self.makers.get_mut(usize::from(trader.0))
    }
}

impl Scenario for LolBo3 {
    fn setup(&self) -> Setup {
        self.setup.clone()
    }

    fn game_start(&self) -> Option<SimTime> {
        Some(self.story.scheduled)
    }

    fn next_at(&self) -> Option<SimTime> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    fn step(&mut self, now: SimTime, books: &dyn Books, out: &mut Vec<Command>) {
        self.refine(books, out);
        while let Some(due) = self.queue.first_entry() {
            if due.key().0 > now {
                break;
            }
            let item = due.remove();
            self.handle(now, item, books, out);
        }
    }

    fn filled(&mut self, now: SimTime, fill: Filled) {
        let maker = usize::from(fill.trader.0);
        let market = fill.instrument.market();
        let Some(own) = self.maker(fill.trader) else { return };
        own.filled(&fill);
        let soon = plus(now, own.routine());
        if !self.resolved[market.ix()] && !std::mem::replace(&mut self.reviewing[maker][market.ix()], true) {
            self.push(soon, Item::Review { maker, market: market.0 });
        }
    }

    fn gone(&mut self, _now: SimTime, trader: Trader, tag: OrderTag) {
        if let Some(maker) = self.maker(trader) {
            maker.gone(tag);
        }
    }
}

fn plus(at: SimTime, span: SimTime) -> SimTime {
    SimTime(at.0 + span.0)
}

/// Draws the teams and names the markets.
fn names(dice: &mut Dice) -> (Setup, Fixture) {
    let last = TEAMS.len() as u32 - 1;
    let first = dice.whole(0, last);
    let second = (first + dice.whole(1, last)) % (last + 1);
    let ((team_a, short_a), (team_b, short_b)) = (TEAMS[first as usize], TEAMS[second as usize]);
    let event = format!("lol-{short_a}-{short_b}-2026-11-23");
    let kinds = [MarketKind::Series, MarketKind::Map(1), MarketKind::Map(2), MarketKind::Map(3)];
    let markets = kinds
        .map(|kind| MarketSpec {
            condition: ConditionId(dice.name256()),
            slug: match kind {
                MarketKind::Map(n) => format!("{event}-game{n}"),
                _ => event.clone(),
            },
            tokens: [token(dice), token(dice)],
            outcomes: [team_a.to_owned(), team_b.to_owned()],
            exchange: Exchange::V2,
            tick: TickSize::Cent,
            min_size: Qty::shares(5),
            fee: FeeSchedule { rate_ppm: 50_000 },
            rewards: None,
            hold_ms: 1_000,
            clear_on_start: kind == MarketKind::Series,
            game_start: None,
            kind,
            of_match: None,
        })
        .to_vec();
    let fixture = Fixture {
        game_id: u64::from(dice.whole(1_700_000, 1_799_999)),
        teams: [team_a.to_owned(), team_b.to_owned()],
        first_is_home: dice.chance(0.5),
    };
    let game = MatchSpec {
        slug: event,
        best_of: MAPS as u8,
        teams: [team_a.to_owned(), team_b.to_owned()],
        tournament: "made-up-cup".into(),
    };
    let title = format!("{team_a} vs {team_b}, best of three");
    (Setup { title, markets, matches: vec![game], traders: Vec::new() }, fixture)
}

/// A token id that nobody takes for a `v2` position id.
/// Source: docs/PROTOCOL.md "exchange, domain version, token ids".
pub(super) fn is_v1(token: &TokenId) -> bool {
    // The test is worded by bit numbers; both ways of counting are satisfied.
    token.0[5..13].iter().any(|b| *b != 0) && token.0[19..27].iter().any(|b| *b != 0)
}

fn token(dice: &mut Dice) -> TokenId {
    loop {
        let token = TokenId(dice.name256());
        if is_v1(&token) {
            return token;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_hears_of_an_event_before_it_happens() {
        for family in Family::NAMED {
            let mut heard = 0;
            for seed in 0..20 {
                let scenario = LolBo3::of(&family, seed);
                for (&(at, _), item) in &scenario.queue {
                    if let Item::Insider { moment, .. } | Item::Learn { moment, .. } = *item {
                        heard += usize::from(matches!(item, Item::Insider { .. }));
                        assert!(at >= scenario.story.moments[moment].at, "{} {seed}: moment {moment}", family.name);
                    }
                }
            }
            assert!(heard > 100, "{}: {heard}", family.name);
        }
    }
}
