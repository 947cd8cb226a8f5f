//! The venue without sockets: exchange, keys, heartbeats, relayer and the scenario that unfolds on it. Pure: time is
//! passed in.
//!
//! Wall time rules settlement, heartbeats and expiry. Scenario time is wall time since the beginning × speed and rules
//! the scenario and, through the exchange, the sports delay.

use std::collections::{HashMap, VecDeque};

use serde_json::Value;

use super::{
    accounts::{Account, AccountIx},
    auth::Keys,
    exchange::Exchange,
    heartbeat::Heartbeats,
    notes::{Note, Snapshot},
    recorded::Recorded,
    relayer::Relayer,
    rules::NewOrder,
    verify::{keccak, uint},
    wallets::Listed,
};
use crate::{
    scenario::{Books, Command, OrderTag, Scenario, SimTime, Size, Trader},
    types::{
        Address, ConditionId, InstrumentIx, MarketIx, Nanos, OrderHash, Price, Qty, Side, TickSize, TokenId, Usdc,
        event::BookSide, market::SignatureType,
    },
};

/// Scenario steps in one turn; the rest waits for the next, so that sockets are served in between.
const STEPS_MAX: usize = 256;
/// Scenario time between repetitions of a live sports frame. Source: docs/PROTOCOL.md "sports channel".
const SPORTS_AGAIN: SimTime = SimTime(20_000_000_000);

/// Something for the channels, in order.
#[derive(Clone, Debug)]
pub enum Out {
    /// From the exchange.
    Note(Note),
    /// A frame of the sports channel.
    Sports(String),
    /// A recorded frame of the market channel, and the tokens that it names.
    Replay(String, Vec<InstrumentIx>),
}

struct Game {
    id: Value,
    frame: String,
    live: bool,
    again: SimTime,
}

/// The venue without sockets.
pub struct Host {
    /// The exchange.
    pub exchange: Exchange,
    /// API keys.
    pub keys: Keys,
    /// Dead-man switches.
    pub heartbeats: Heartbeats,
    /// Wallet transactions.
    pub relayer: Relayer,
    /// 137, or 80002.
    pub chain_id: u64,
    /// Account of each funder.
    pub funders: HashMap<Address, AccountIx>,
    tokens: HashMap<TokenId, InstrumentIx>,
    conditions: HashMap<ConditionId, MarketIx>,
    traders: Vec<AccountIx>,
    scenario: Box<dyn Scenario>,
    speed: f64,
    began: Option<Nanos>,
    finished: bool,
    games: Vec<Game>,
    recorded: Recorded,
    out: VecDeque<Out>,
    /// Trader orders that a rule refused.
    pub trader_refusals: u64,
}

impl Host {
    /// A venue of the scenario's markets and traders and of the listed accounts.
    pub fn new(scenario: Box<dyn Scenario>, listed: &[Listed], chain_id: u64, seed: u64, speed: f64) -> Self {
        let setup = scenario.setup();
        let tokens = (0..setup.markets.len() as u16)
            .flat_map(|m| [2 * m, 2 * m + 1])
            .map(|i| (setup.markets[usize::from(i / 2)].tokens[usize::from(i % 2)], InstrumentIx(i)))
            .collect();
        let conditions = setup.markets.iter().enumerate().map(|(m, s)| (s.condition, MarketIx(m as u16))).collect();
        let mut exchange = Exchange::new(setup.markets, seed, speed);
        let mut funders = HashMap::new();
        let traders = setup
            .traders
            .iter()
            .enumerate()
            .map(|(n, cash)| {
                let mut address = Address::default();
                address.0.copy_from_slice(&keccak(&[b"scenario trader", &uint(n as u64)])[12..]);
                exchange.open(|tokens| Account::new(address, address, SignatureType::Eoa, *cash, tokens))
            })
            .collect();
        for l in listed {
            let ix = exchange.open(|tokens| Account::new(l.funder, l.owner, l.signature_type, l.usdc, tokens));
            funders.insert(l.funder, ix);
        }
        Self {
            exchange,
            keys: Keys::default(),
            heartbeats: Heartbeats::default(),
            relayer: Relayer::default(),
            chain_id,
            funders,
            tokens,
            conditions,
            traders,
            scenario,
            speed,
            began: None,
            finished: false,
            games: Vec::new(),
            recorded: Recorded::default(),
            out: VecDeque::new(),
            trader_refusals: 0,
        }
    }

    /// The instrument of a token id.
    pub fn token(&self, id: &TokenId) -> Option<InstrumentIx> {
        self.tokens.get(id).copied()
    }

    /// The instrument of a token id in decimal text.
    pub fn token_text(&self, text: &str) -> Option<InstrumentIx> {
        self.token(&TokenId::parse(text.as_bytes())?)
    }

    /// The market of a condition id in hex text.
    pub fn condition_text(&self, text: &str) -> Option<MarketIx> {
        self.conditions.get(&ConditionId::parse(text.as_bytes())?).copied()
    }

    /// The account of a funder.
    pub fn funder(&self, address: &Address) -> Option<AccountIx> {
        self.funders.get(address).copied()
    }

    /// The token id of an instrument.
    pub fn token_of(&self, i: InstrumentIx) -> TokenId {
        self.exchange.market(i.market()).spec.tokens[i.outcome() as usize]
    }

    /// A token's book: the recorded one where a recording speaks for the market.
    pub fn snapshot(&self, i: InstrumentIx) -> Snapshot {
        let own = self.exchange.snapshot(i);
        self.recorded.over(own)
    }

    /// The scenario's clock starts, once.
    pub fn begin(&mut self, now: Nanos) {
        if self.began.is_none() {
            self.began = Some(now);
            self.schedule(now);
        }
    }

    /// Gives the markets their scheduled start as it is if the scenario begins at `base`.
    pub fn schedule(&mut self, base: Nanos) {
        let start = self.scenario.game_start().map(|at| base.plus((at.0 as f64 / self.speed) as u64));
        if start.is_some() {
            self.exchange.set_game_start(start);
        }
    }

    /// True when the scenario has nothing more to say.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Scenario time of a wall time.
    pub fn sim(&self, now: Nanos) -> Option<SimTime> {
        self.began.map(|b| SimTime((now.since(b) as f64 * self.speed) as u64))
    }

    fn wall(&self, at: SimTime) -> Option<Nanos> {
        self.began.map(|b| b.plus((at.0 as f64 / self.speed).ceil() as u64))
    }

    /// When something is due next.
    pub fn next_due(&self) -> Option<Nanos> {
        let again = self.games.iter().filter(|g| g.live).map(|g| g.again).min();
        let sim = [self.scenario.next_at().filter(|_| !self.finished), again].into_iter().flatten().min();
        [
            self.exchange.next_timer(),
            self.heartbeats.next_scan(),
            self.relayer.next_due(),
            sim.and_then(|at| self.wall(at)),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does everything that is due. Call it before anything else at `now`.
    pub fn advance(&mut self, now: Nanos) {
        self.exchange.advance(now);
        for key in self.heartbeats.scan(now) {
            for id in self.exchange.open_orders(|o| o.new.owner == key) {
                self.exchange.cancel(&id, &key, now);
            }
        }
        self.relayer.advance(&mut self.exchange, now);
        self.drain(now);
        let Some(sim) = self.sim(now) else { return };
        for _ in 0..STEPS_MAX {
            let Some(at) = self.scenario.next_at().filter(|at| *at <= sim && !self.finished) else { break };
            let mut commands = Vec::new();
            let books = View { exchange: &self.exchange, traders: &self.traders };
            self.scenario.step(at, &books, &mut commands);
            for command in commands {
                self.carry_out(command, at, now);
                self.drain(now);
            }
        }
        let mut repeated = Vec::new();
        for game in self.games.iter_mut().filter(|g| g.live && g.again <= sim) {
            game.again = SimTime(sim.0 + SPORTS_AGAIN.0);
            repeated.push(Out::Sports(game.frame.clone()));
        }
        self.out.extend(repeated);
    }

    /// What the channels have not heard yet.
    pub fn take_out(&mut self, now: Nanos) -> VecDeque<Out> {
        self.drain(now);
        std::mem::take(&mut self.out)
    }

    fn drain(&mut self, now: Nanos) {
        let at = self.sim(now).unwrap_or_default();
        for note in self.exchange.take_notes() {
            match note {
                Note::Filled(fill) => self.scenario.filled(at, fill),
                Note::Gone((trader, tag)) => self.scenario.gone(at, trader, tag),
                // Two books of one token on one channel would contradict each other at every message.
                Note::Levels { market, .. } if self.recorded.speaks_for(market) => {}
                Note::Book(Snapshot { instrument, .. }) | Note::LastTrade { instrument, .. }
                    if self.recorded.speaks_for(instrument.market()) => {}
                other => self.out.push_back(Out::Note(other)),
            }
        }
    }

    fn carry_out(&mut self, command: Command, at: SimTime, now: Nanos) {
        match command {
            Command::Place { trader, tag, instrument, side, price, size, tif, post_only } => {
                let tick = self.tick(instrument);
                let (Some(&account), Some(tick)) = (self.traders.get(usize::from(trader.0)), tick) else {
                    self.trader_refusals += 1;
                    return;
                };
                let (maker_amount, taker_amount) = amounts(side, price, size, tick);
                let new = NewOrder {
                    id: trader_order(trader, tag),
                    account,
                    owner: super::TRADERS_KEY.into(),
                    tag: Some((trader, tag)),
                    instrument,
                    side,
                    maker_amount,
                    taker_amount,
                    tif,
                    post_only,
                };
                if self.exchange.submit(new, now).is_err() {
                    self.trader_refusals += 1;
                    self.scenario.gone(at, trader, tag);
                }
            }
            Command::Cancel { trader, tag } => {
                self.exchange.cancel(&trader_order(trader, tag), super::TRADERS_KEY, now);
            }
            Command::ClearBook(m) => self.exchange.clear_book(m, now),
            Command::TickSize(m, tick) => self.exchange.set_tick(m, tick),
            Command::Resolve(m, payout) => self.exchange.resolve(m, payout, now),
            Command::Sports(frame) => self.sports(frame, at),
            Command::Replay(text) => {
                let tokens = self.recorded.hear(&text, &self.tokens);
                self.out.push_back(Out::Replay(text, tokens));
            }
            Command::Finished => self.finished = true,
        }
    }

    fn tick(&self, i: InstrumentIx) -> Option<TickSize> {
        self.exchange.markets().get(i.market().ix()).map(|m| m.tick)
    }

    fn sports(&mut self, frame: String, at: SimTime) {
        let told: Value = serde_json::from_str(&frame).unwrap_or_default();
        let game = Game {
            id: told["gameId"].clone(),
            live: told["live"].as_bool().unwrap_or(false) && !told["ended"].as_bool().unwrap_or(false),
            again: SimTime(at.0 + SPORTS_AGAIN.0),
            frame: frame.clone(),
        };
        match self.games.iter_mut().find(|g| g.id == game.id) {
            Some(known) => *known = game,
            None => self.games.push(game),
        }
        self.out.push_back(Out::Sports(frame));
    }
}

fn trader_order(trader: Trader, tag: OrderTag) -> OrderHash {
    OrderHash(keccak(&[b"trader order", &uint(u64::from(trader.0)), &uint(tag.0)]))
}

/// The two amounts that a trader's order would be signed with.
fn amounts(side: Side, price: Price, size: Size, tick: TickSize) -> (u64, u64) {
    let p = u64::from(price.units().max(1));
    match (side, size) {
        (Side::Buy, Size::Spend(spend)) => {
            let cash = spend.micro().max(0) as u64 / 10_000 * 10_000;
            let step = 10_u64.pow(6 - tick.amount_decimals());
            (cash, (u128::from(cash) * 10_000 / u128::from(p)) as u64 / step * step)
        }
        (side, size) => {
            let shares = match size {
                Size::Shares(q) => q,
                Size::Spend(spend) => Qty((i128::from(spend.micro().max(0)) * 10_000 / i128::from(p)) as u64),
            };
            let shares = shares.micro() / 10_000 * 10_000;
            let cash = shares / 10_000 * p;
            if side == Side::Buy { (cash, shares) } else { (shares, cash) }
        }
    }
}

struct View<'a> {
    exchange: &'a Exchange,
    traders: &'a [AccountIx],
}

impl View<'_> {
    fn best(&self, i: InstrumentIx, side: BookSide) -> Option<(Price, Qty)> {
        self.exchange.markets().get(i.market().ix())?.book.best_of(i.outcome(), side)
    }

    fn account(&self, trader: Trader) -> Option<&Account> {
        self.traders.get(usize::from(trader.0)).map(|a| self.exchange.account(*a))
    }
}

impl Books for View<'_> {
    fn best_bid(&self, i: InstrumentIx) -> Option<(Price, Qty)> {
        self.best(i, BookSide::Bid)
    }

    fn best_ask(&self, i: InstrumentIx) -> Option<(Price, Qty)> {
        self.best(i, BookSide::Ask)
    }

    fn tick(&self, m: MarketIx) -> TickSize {
        self.exchange.market(m).tick
    }

    fn shares(&self, trader: Trader, i: InstrumentIx) -> Qty {
        self.account(trader).map_or(Qty::ZERO, |a| a.holding(i).free())
    }

    fn cash(&self, trader: Trader) -> Usdc {
        self.account(trader).map_or(Usdc::ZERO, Account::free_cash)
    }
}
