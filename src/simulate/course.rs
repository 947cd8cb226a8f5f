//! One match and one strategy: the venue, the engine, and the time between them.
//!
//! Time jumps from one thing that is due to the next: at the venue, on its way to it, on its way back, a tick. At one
//! time the venue goes first; then the engine hears as the hot tile reads its rings: user channel, answers, market,
//! match; a tick comes last.

use std::collections::VecDeque;

use super::{
    account::{Book, Money},
    door::{self, Ask, Told, Us},
    hear,
    link::Link,
};
use crate::{
    engine::{
        Action, Actions, Engine, Report,
        limits::Limits,
        strategy::{Standing, Strategy},
    },
    scenario::{Setup, SimTime, family::Family, lol_bo3::LolBo3},
    types::{
        Account, Address, Event, MarketIx, MarketSpec, Nanos, Sequenced, Stamp, Universe, Usdc,
        event::{ControlEvent, MarketEvent, ReadEvent, ReplyEvent, UserEvent},
        ids::{MatchIx, Outcome},
        market::{InMatch, MarketKind, MatchSpec, SignatureType, Team},
    },
    venue::{
        Listed,
        host::{Host, Out},
        notes::{Note, Trade, TradeStatus},
    },
    wire::sports::{Game, SportsParser},
};

/// When every match begins.
const BEGAN: Nanos = Nanos(1_790_000_000_000_000_000);
/// Polygon. Source: docs/PROTOCOL.md "hosts".
const CHAIN_ID: u64 = 137;
/// What the account begins with, as in a run.
const DEPOSIT: Usdc = Usdc::dollars(10_000);
/// A merge is on chain after this, and known to be after that: two questions, a signature, and asking until it is
/// final.
const MERGE_MINED_NS: u64 = 500_000_000;
const MERGE_TOLD_NS: u64 = 600_000_000;
/// Finished orders that the venue remembers. The engine asks after none for longer than these last; every reading of
/// the account goes through them.
const KEPT: usize = 1_000;
/// An engine that has not ended so long after the scenario did is stopped; after as long again it is left.
const STOP_AFTER_NS: u64 = 60_000_000_000;

/// How a match is played.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Whose match.
    pub family: Family,
    /// Which match.
    pub seed: u64,
    /// How many times as fast as life it unfolds: 1, but for comparing with a run.
    pub speed: u32,
    /// Delays.
    pub link: Link,
    /// Limits.
    pub limits: Limits,
}

/// What a match came to.
#[derive(Clone, Debug)]
pub struct Course {
    /// Its money, by the venue's books.
    pub money: Money,
    /// What each fill gained against the exact fair price at its moment, fees in, in dollars: statistics. Its mean is
    /// that of the equity, with less chance in it.
    pub at_fair: f64,
    /// The engine's own account of it.
    pub report: Report,
    /// The engine's collateral at the end, and the venue's count of ours.
    pub cash: [Usdc; 2],
    /// It ended by itself with nothing left behind, and the venue's books are whole.
    pub faults: Vec<String>,
    /// Events that the engine heard.
    pub events: u64,
    /// Virtual time until the engine's end, in nanoseconds.
    pub lasted_ns: u64,
    /// Ticks at which an order of ours stood at the venue, and all ticks.
    pub quoted: [u64; 2],
    /// Markets, tick by tick, that the strategy had left alone because its own fills said so.
    pub off_ticks: u64,
}

/// The universe of a scenario, as a run reads it from the venue, and with the match that ties its markets.
pub fn universe(setup: &Setup, account: Account, game_start: Option<Nanos>) -> Universe {
    let series = setup.markets.iter().find(|m| m.kind == MarketKind::Series).or(setup.markets.first());
    let matches = series.map(|s| MatchSpec {
        slug: s.slug.clone(),
        best_of: 3,
        teams: s.outcomes.clone(),
        tournament: String::new(),
    });
    let in_match = InMatch { index: MatchIx(0), first: Team::First };
    let markets =
        setup.markets.iter().map(|m| MarketSpec { game_start, of_match: Some(in_match), ..m.clone() }).collect();
    Universe { chain_id: CHAIN_ID, account, markets, matches: matches.into_iter().collect() }
}

/// Who trades: a deposit wallet, as in a run. Nothing is signed, so that any addresses will do.
fn account() -> (Account, Listed) {
    let (owner, funder) = (Address([0x51; 20]), Address([0x52; 20]));
    let signature_type = SignatureType::Poly1271;
    (
        Account { owner, funder, signature_type },
        Listed { private_key: None, owner, funder, signature_type, usdc: DEPOSIT },
    )
}

/// Plays a match with a strategy.
pub fn play<S: Strategy>(terms: &Terms, strategy: impl FnOnce(&Universe) -> S) -> Course {
    let scenario = Box::new(LolBo3::of(&terms.family, terms.seed));
    let (account, listed) = account();
    let setup = crate::scenario::Scenario::setup(&*scenario);
    let mut host = Host::new(scenario, &[listed], CHAIN_ID, terms.seed, f64::from(terms.speed));
    let key = host.keys.create(account.owner, 0).map(|c| c.key.clone()).unwrap_or_default();
    let us = Us { account: host.funder(&account.funder).unwrap_or(crate::venue::accounts::AccountIx(0)), key };
    host.exchange.keep_closed = KEPT;
    host.begin(BEGAN);
    let start = host.exchange.markets().first().and_then(|m| m.spec.game_start);
    let universe = universe(&setup, account, start.map(|at| Nanos(at.secs() * 1_000_000_000)));
    let teams = universe.markets.first().map_or_else(Default::default, |m| m.outcomes.clone());
    let engine = Engine::new(&universe, terms.limits.clone(), strategy(&universe));
    let mut table = Table {
        truth: LolBo3::of(&terms.family, terms.seed),
        speed: terms.speed,
        host,
        us,
        engine,
        link: terms.link,
        now: BEGAN,
        seq: 0,
        actions: Some(Box::default()),
        own: VecDeque::new(),
        to_venue: VecDeque::new(),
        merges: VecDeque::new(),
        user: VecDeque::new(),
        replies: VecDeque::new(),
        merged: VecDeque::new(),
        market: VecDeque::new(),
        matches: VecDeque::new(),
        sports: SportsParser::new(Game { id: None, teams }),
        book: Book::new(universe.markets.len(), terms.speed),
        at_fair: 0.0,
        next_tick: BEGAN,
        merge_free: BEGAN,
        done: None,
        quoted: [0; 2],
        off_ticks: 0,
        faults: Vec::new(),
    };
    table.run();
    table.finish()
}

type Due<T> = VecDeque<(Nanos, T)>;

struct Table<S> {
    /// The same match once more, which nobody trades: what was true when.
    truth: LolBo3,
    speed: u32,
    host: Host,
    us: Us,
    engine: Engine<S>,
    link: Link,
    now: Nanos,
    seq: u64,
    /// Some kilobytes, used again and again: lent to the engine for each event.
    actions: Option<Box<Actions>>,
    /// Heard at once: what the gateway says by itself.
    own: VecDeque<Event>,
    to_venue: Due<Ask>,
    merges: Due<Ask>,
    user: Due<UserEvent>,
    replies: Due<Told>,
    merged: Due<Told>,
    market: Due<MarketEvent>,
    matches: Due<Event>,
    sports: SportsParser,
    book: Book,
    at_fair: f64,
    next_tick: Nanos,
    /// The wallet's last merge is final: one at a time.
    merge_free: Nanos,
    /// The engine ended: whether nothing was left behind.
    done: Option<bool>,
    quoted: [u64; 2],
    off_ticks: u64,
    faults: Vec<String>,
}

impl<S: Strategy> Table<S> {
    fn run(&mut self) {
        self.hear(Event::Start { run_tag: 1, cash: DEPOSIT, match_feed: true });
        self.hear(Event::User(UserEvent::Up));
        self.hear(Event::Reply(ReplyEvent::GatewayUp));
        for i in hear::tokens(self.host.exchange.markets().len()) {
            self.to_venue.push_back((self.now.plus(self.link.order_ns), Ask::Book(i)));
        }
        let (mut over_since, mut stopped) = (None, false);
        while self.done.is_none() {
            let Some(next) = self.next() else { break };
            self.now = self.now.max(next);
            self.book.pass(self.now);
            self.venue();
            self.deliver();
            if self.now >= self.next_tick {
                self.next_tick = self.now.plus(self.link.tick_ns);
                self.hear(Event::Tick);
                self.settle_own();
                self.quoted[0] += u64::from(self.engine.working().any(|o| o.state.is_resting()));
                self.quoted[1] += 1;
                let markets = (0..self.engine.universe().markets.len() as u16).map(MarketIx);
                let off = markets.filter(|m| matches!(self.engine.standing(*m), Some(Standing::Off { .. }))).count();
                self.off_ticks += off as u64;
            }
            if self.host.is_finished() {
                let since = *over_since.get_or_insert(self.now);
                let overdue = self.now.since(since) >= STOP_AFTER_NS;
                if overdue && !stopped {
                    (stopped, over_since) = (true, Some(self.now));
                    self.faults.push("the engine did not end by itself".into());
                    self.hear(Event::Control(ControlEvent::Stop));
                } else if overdue {
                    break;
                }
            }
        }
    }

    /// When the next thing happens.
    fn next(&self) -> Option<Nanos> {
        fn first<T>(due: &Due<T>) -> Option<Nanos> {
            due.front().map(|(at, _)| *at)
        }
        [
            self.host.next_due(),
            first(&self.to_venue),
            first(&self.merges),
            first(&self.user),
            first(&self.replies),
            first(&self.merged),
            first(&self.market),
            first(&self.matches),
            Some(self.next_tick),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The venue's turn: what is due there, then what has arrived, each with what it tells.
    fn venue(&mut self) {
        let now = self.now;
        let asked = |due: &Due<Ask>| due.front().is_some_and(|(at, _)| *at <= now);
        if !asked(&self.to_venue) && !asked(&self.merges) && self.host.next_due().is_none_or(|at| at > now) {
            return;
        }
        self.host.advance(now);
        self.publish();
        while let Some((_, ask)) = self.to_venue.pop_front_if(|(at, _)| *at <= now) {
            if let Ask::Book(i) = ask {
                let (at, market) = (now.plus(self.link.market_ns), &mut self.market);
                hear::snapshot(&self.host.snapshot(i), &mut |e| market.push_back((at, e)));
                continue;
            }
            let (at, replies) = (now.plus(self.link.answer_ns), &mut self.replies);
            door::carry_out(&mut self.host, &self.us, ask, now, &mut |told| replies.push_back((at, told)));
            self.publish();
        }
        while let Some((_, ask)) = self.merges.pop_front_if(|(at, _)| *at <= now) {
            let (at, merged) = (now.plus(MERGE_TOLD_NS), &mut self.merged);
            door::carry_out(&mut self.host, &self.us, ask, now, &mut |told| merged.push_back((at, told)));
            self.publish();
        }
    }

    /// Sends what the venue has told on its way, and writes down what it says of us.
    fn publish(&mut self) {
        let now = self.now;
        for out in self.host.take_out(now) {
            let note = match out {
                Out::Note(note) => note,
                Out::Sports(frame) => {
                    let (at, matches) = (now.plus(self.link.match_ns), &mut self.matches);
                    // A frame of the scenario's own can be read.
                    let _ = self.sports.parse(&mut frame.into_bytes(), &mut |e| matches.push_back((at, e)));
                    continue;
                }
                Out::Replay(..) => continue,
            };
            match &note {
                Note::Levels { market, tops: [bid, ask], .. } => {
                    self.book.moved(*market, bid.map(|b| b.0), ask.map(|a| a.0));
                }
                Note::Resolved(market, payout) => self.book.paid(*market, *payout),
                Note::Trade(t) if t.status == TradeStatus::Matched => self.note_trade(t),
                _ => {}
            }
            let (at, user) = (now.plus(self.link.user_ns), &mut self.user);
            hear::user(&note, &self.us.key, &mut |e| user.push_back((at, e)));
            let (at, market) = (now.plus(self.link.market_ns), &mut self.market);
            hear::market(&note, now, &mut |e| market.push_back((at, e)));
        }
    }

    fn note_trade(&mut self, t: &Trade) {
        let ours = |key: &str| *key == *self.us.key;
        if !ours(&t.owner) && !t.makers.iter().any(|f| ours(&f.owner)) {
            return;
        }
        let at = SimTime((t.matched_at.since(BEGAN) as f64 * f64::from(self.speed)) as u64);
        let fair = self.truth.fair_at(at);
        for f in &t.makers {
            // Opposite tokens of one set cost 1 together.
            let same = f.instrument == t.instrument;
            let maker_cash = if same { f.taker_cash } else { Usdc(f.qty.micro() as i64) - f.taker_cash };
            let maker = ours(&f.owner).then_some((f.instrument, f.side, maker_cash, Usdc::ZERO));
            let taker = ours(&t.owner).then_some((t.instrument, t.side, f.taker_cash, f.fee));
            for (i, side, cash, fee) in maker.into_iter().chain(taker) {
                self.book.traded(t.matched_at, i, side, f.qty, cash, fee);
                let yes = fair[i.market().ix()];
                let worth = if i.outcome() == Outcome::Yes { yes } else { 1.0 - yes } * f.qty.micro() as f64;
                let gain = worth - cash.micro() as f64;
                let gain = if side == crate::types::Side::Buy { gain } else { -gain };
                self.at_fair += (gain - fee.micro() as f64) / 1e6;
            }
        }
    }

    /// The engine hears what has arrived.
    fn deliver(&mut self) {
        let now = self.now;
        while let Some((_, e)) = self.user.pop_front_if(|(at, _)| *at <= now) {
            self.hear(Event::User(e));
            self.settle_own();
        }
        while let Some((_, told)) = self.replies.pop_front_if(|(at, _)| *at <= now) {
            self.answer(told);
        }
        while let Some((_, told)) = self.merged.pop_front_if(|(at, _)| *at <= now) {
            self.answer(told);
        }
        while let Some((_, e)) = self.market.pop_front_if(|(at, _)| *at <= now) {
            self.hear(Event::Market(e));
            self.settle_own();
        }
        while let Some((_, e)) = self.matches.pop_front_if(|(at, _)| *at <= now) {
            self.hear(e);
            self.settle_own();
        }
    }

    fn answer(&mut self, told: Told) {
        self.hear(match told {
            Told::Reply(reply) => Event::Reply(reply),
            Told::Trade(trade) => Event::User(trade),
        });
        self.settle_own();
    }

    fn settle_own(&mut self) {
        while let Some(e) = self.own.pop_front() {
            self.hear(e);
        }
    }

    /// The engine hears one event; what it asks for is on its way.
    fn hear(&mut self, event: Event) {
        if self.done.is_some() {
            return;
        }
        self.seq += 1;
        let stamp = Stamp { wall: self.now, ..Stamp::default() };
        let mut actions = self.actions.take().unwrap_or_default();
        actions.clear();
        self.engine.on(&Sequenced { seq: self.seq, stamp, event }, &mut (), &mut actions);
        for action in actions.iter() {
            self.take(action);
        }
        self.actions = Some(actions);
        self.engine.tell_fates(|_, _| ());
    }

    fn take(&mut self, action: &Action) {
        let ask = match *action {
            Action::Place(approved) => {
                self.own.push_back(Event::Reply(ReplyEvent::Sent { order: approved.hash() }));
                Ask::Place(approved)
            }
            Action::Cancel { order, .. } => Ask::Cancel(order),
            Action::CancelAll => Ask::CancelAll,
            Action::Lookup { order } => Ask::Lookup(order),
            Action::AskMarket { market } => Ask::Market(market),
            Action::ReadCollateral => Ask::Collateral,
            Action::Reconcile { round, trades_since } => {
                self.own.push_back(Event::Reply(ReplyEvent::Read(ReadEvent::Begin { round })));
                Ask::Everything(round, trades_since)
            }
            Action::Merge { market, qty } => {
                let mined = self.now.max(self.merge_free).plus(MERGE_MINED_NS);
                self.merge_free = mined.plus(MERGE_TOLD_NS);
                self.merges.push_back((mined, Ask::Merge(market, qty)));
                return;
            }
            Action::Resync { instrument } => Ask::Book(instrument),
            Action::Finished { clean } => {
                self.done = Some(clean);
                return;
            }
        };
        self.to_venue.push_back((self.now.plus(self.link.order_ns), ask));
    }

    fn finish(mut self) -> Course {
        let report = self.engine.report();
        let theirs = self.host.exchange.account(self.us.account);
        let (deposits, cash) = (theirs.deposits, theirs.cash);
        if self.done != Some(true) {
            self.faults.push("something was left behind".into());
        }
        if let Err(why) = self.host.exchange.audit() {
            self.faults.push(why);
        }
        if cash != self.engine.ledger().cash() {
            self.faults.push(format!("we count {} pUSD, the venue {cash}", self.engine.ledger().cash()));
        }
        for (market, theirs) in report.markets.iter().zip(door::shares(&self.host, &self.us)) {
            // What a decided market paid is not held any more, by us as by the venue.
            if market.payout.is_none() && market.position != theirs {
                self.faults
                    .push(format!("{}: we count {:?} shares, the venue {theirs:?}", market.slug, market.position));
            }
        }
        Course {
            money: self.book.close(cash - deposits),
            at_fair: self.at_fair,
            cash: [self.engine.ledger().cash(), cash],
            report,
            faults: self.faults,
            events: self.seq,
            lasted_ns: self.now.since(BEGAN),
            quoted: self.quoted,
            off_ticks: self.off_ticks,
        }
    }
}
