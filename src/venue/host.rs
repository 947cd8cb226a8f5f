//! The venue without sockets: exchange, keys, heartbeats, relayer and the scenario that unfolds on it. Pure: time is
//! passed in.
//!
//! Wall time rules settlement, heartbeats and expiry. Scenario time is wall time since the beginning × speed and rules
//! the scenario and, through the exchange, the sports delay.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use serde_json::Value;

use super::{
    accounts::{Account, AccountIx},
    auth::Keys,
    exchange::Exchange,
    faults::{Facts, Fault, Kind, ModeName, What},
    heartbeat::Heartbeats,
    limits::Buckets,
    misbehave::Armed,
    modes::{Mode, POST_ONLY_AFTER_RESTART_MS},
    notes::{Fate, Note, Snapshot, Trade, TradeStatus},
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
        event::{BookSide, Payout},
        market::SignatureType,
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
    /// What is accepted.
    pub mode: Mode,
    /// Per-signer limits.
    pub buckets: Buckets,
    /// Headers that the answer under way gets.
    pub told: Vec<(&'static str, String)>,
    /// The first so many cancels of the request under way go through; the others get these words.
    pub cancel_cap: Option<(usize, String)>,
    /// Accounts as `/balance-allowance` shows them, where it lags.
    pub stale_balances: Option<Vec<Account>>,
    /// Accounts as the Data API shows them, where it lags.
    pub stale_data: Option<Vec<Account>>,
    /// Decided markets that say that they accept orders.
    pub pretend_open: BTreeSet<MarketIx>,
    /// The faults in force.
    pub armed: Arc<Armed>,
    /// Markets whose resolution is not told.
    silenced: BTreeSet<MarketIx>,
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
            mode: Mode::Normal,
            buckets: Buckets::default(),
            told: Vec::new(),
            cancel_cap: None,
            stale_balances: None,
            stale_data: None,
            pretend_open: BTreeSet::new(),
            armed: Arc::default(),
            silenced: BTreeSet::new(),
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
        if self.armed.any() {
            // Step by step, so that a trade's fate is known before its first status change, however late we are.
            while let Some(at) = self.exchange.next_timer().filter(|at| *at <= now) {
                self.exchange.advance(at);
                self.drain(now);
            }
        }
        self.exchange.advance(now);
        for key in self.heartbeats.scan(now) {
            self.cancel_key(&key, now);
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
                Note::Resolved(market, _) if self.silenced.contains(&market) => {}
                other => {
                    if let Note::Trade(trade) = &other
                        && trade.status == TradeStatus::Matched
                        && self.armed.any()
                    {
                        self.decide_fate(&trade.clone(), now);
                    }
                    self.out.push_back(Out::Note(other));
                }
            }
        }
    }

    /// Asks the faults about a trade that has just matched. Trades among the scenario's traders alone are left alone.
    fn decide_fate(&mut self, trade: &Trade, now: Nanos) {
        let owners = trade.makers.iter().map(|f| &f.owner).chain([&trade.owner]);
        let mut names: Vec<_> =
            owners.filter(|o| ***o != *super::TRADERS_KEY).flat_map(|o| self.names_of_key(o)).collect();
        if names.is_empty() {
            return;
        }
        names.extend(self.names_of_market(trade.instrument.market()));
        let facts = Facts { names: &names, ..Facts::default() };
        let Some(fault) = self.armed.lock().on_trade(&facts, now) else { return };
        let fails = |ahead| Fate::Fails {
            mined: fault.kind == Some(Kind::Mined),
            retrying: fault.retrying.unwrap_or(false),
            ahead,
        };
        let fate = match fault.what {
            What::TradeStuck => Fate::Stuck,
            What::WinnersFailed => {
                let wanted = fault.account.as_deref().unwrap_or_default().to_lowercase();
                let own = |(a, owner): (AccountIx, &Arc<str>)| {
                    let mut names = self.names_of_key(owner);
                    names.push(self.exchange.account(a).funder.to_string().to_lowercase());
                    names.contains(&wanted).then_some(a)
                };
                let parties = trade.makers.iter().map(|f| (f.account, &f.owner)).chain([(trade.account, &trade.owner)]);
                match parties.filter_map(own).next() {
                    Some(account) => fails(Some(account)),
                    None => return,
                }
            }
            _ => fails(None),
        };
        self.exchange.set_fate(trade.number, fate);
    }

    /// Every name by which a fault may mean an API key: itself, its owner, the owner's funders. In lower case.
    pub fn names_of_key(&self, key: &str) -> Vec<String> {
        let Some(owner) = self.keys.owner(key) else { return Vec::new() };
        let own = |a: &&AccountIx| self.exchange.account(**a).owner == owner;
        let funders = self.funders.values().filter(own).map(|a| self.exchange.account(*a).funder);
        let mut names: Vec<_> = funders.map(|f| f.to_string().to_lowercase()).collect();
        names.extend([key.to_lowercase(), owner.to_string().to_lowercase()]);
        names
    }

    /// The names of a market: slug and condition id.
    pub fn names_of_market(&self, m: MarketIx) -> [String; 2] {
        let spec = &self.exchange.market(m).spec;
        [spec.slug.to_lowercase(), spec.condition.to_string().to_lowercase()]
    }

    /// The markets that a fault means: the one that it names, or all.
    fn meant(&self, fault: &Fault) -> Vec<MarketIx> {
        let wanted = fault.market.as_ref().map(|m| m.to_lowercase());
        (0..self.exchange.markets().len())
            .map(|m| MarketIx(m as u16))
            .filter(|m| wanted.as_ref().is_none_or(|w| self.names_of_market(*m).contains(w)))
            .collect()
    }

    /// Carries out a fault that is done once, and says how much it touched.
    pub fn act(&mut self, fault: &Fault, now: Nanos) -> u64 {
        let after = |ms: Option<u64>| ms.map(|ms| now.plus(ms.saturating_mul(1_000_000)));
        let markets = self.meant(fault);
        match fault.what {
            What::Mode => {
                let until = after(fault.ms);
                self.mode = match fault.mode.unwrap_or(ModeName::Normal) {
                    ModeName::Normal => Mode::Normal,
                    ModeName::PostOnly => Mode::PostOnly(until),
                    ModeName::CancelOnly => Mode::CancelOnly(until),
                    ModeName::Disabled => Mode::Disabled(until),
                    // The end of a restart opens the post-only window; without an end there is none.
                    ModeName::Restarting => Mode::Restarting(until.map(|u| (u, u))),
                };
                return 1;
            }
            What::Restart => {
                let post_only = fault.post_only_ms.unwrap_or(POST_ONLY_AFTER_RESTART_MS).saturating_mul(1_000_000);
                self.mode = Mode::Restarting(after(fault.ms).map(|up| (up, up.plus(post_only))));
                return 1;
            }
            What::HeartbeatExpiry => {
                let wanted = fault.account.as_ref().map(|a| a.to_lowercase());
                let armed = self.heartbeats.armed().into_iter();
                let keys = armed.filter(|k| wanted.as_ref().is_none_or(|w| self.names_of_key(k).contains(w)));
                let keys: Vec<_> = keys.collect();
                keys.iter().for_each(|key| self.cancel_key(key, now));
                return keys.len() as u64;
            }
            What::TickSize => {
                let tick = fault.tick.as_deref().and_then(|t| TickSize::parse(t.as_bytes()));
                markets.iter().zip(tick.iter().cycle()).for_each(|(m, t)| self.exchange.set_tick(*m, *t));
            }
            What::BookClear => markets.iter().for_each(|m| self.exchange.clear_book(*m, now)),
            What::StartMoved => {
                let by = fault.n.unwrap_or(0).saturating_mul(1_000_000_000);
                for m in &markets {
                    let start = self.exchange.market(*m).spec.game_start.unwrap_or(now);
                    self.exchange.move_game_start(*m, Some(Nanos(start.0.saturating_add_signed(by))));
                }
            }
            What::Resolve => {
                for m in &markets {
                    if fault.silent.unwrap_or(false) {
                        self.silenced.insert(*m);
                    }
                    let payout = fault.payout.map_or(Payout::Half, Payout::from);
                    self.exchange.resolve(*m, payout, now);
                }
            }
            _ => {}
        }
        markets.len() as u64
    }

    /// Follows the faults that last: what lags, and what pretends.
    pub fn follow_states(&mut self, now: Nanos) {
        let armed = self.armed.clone();
        let faults = armed.lock();
        let all: Vec<_> = self.exchange.accounts().to_vec();
        let freeze = |kept: &mut Option<Vec<Account>>, what| match faults.lasts(what, &[], now) {
            true if kept.is_none() => *kept = Some(all.clone()),
            true => {}
            false => *kept = None,
        };
        freeze(&mut self.stale_balances, What::BalanceStale);
        freeze(&mut self.stale_data, What::DataStale);
        self.pretend_open = (0..self.exchange.markets().len())
            .map(|m| MarketIx(m as u16))
            .filter(|m| faults.lasts(What::AcceptingStays, &self.names_of_market(*m), now))
            .collect();
    }

    /// Everything that a cleared fault may have left behind.
    pub fn behave(&mut self) {
        self.mode = Mode::Normal;
        (self.stale_balances, self.stale_data) = (None, None);
        self.pretend_open.clear();
    }

    /// The mode now.
    pub fn mode(&self, now: Nanos) -> Mode {
        self.mode.at(now)
    }

    /// An account as `/balance-allowance` shows it.
    pub fn shown_balance(&self, a: AccountIx) -> &Account {
        self.stale_balances.as_ref().and_then(|s| s.get(a.ix())).unwrap_or_else(|| self.exchange.account(a))
    }

    /// An account as the Data API shows it.
    pub fn shown_data(&self, a: AccountIx) -> &Account {
        self.stale_data.as_ref().and_then(|s| s.get(a.ix())).unwrap_or_else(|| self.exchange.account(a))
    }

    /// True while a market says that it takes orders.
    pub fn accepts(&self, m: MarketIx) -> bool {
        self.exchange.market(m).resolved.is_none() || self.pretend_open.contains(&m)
    }

    fn cancel_key(&mut self, key: &str, now: Nanos) {
        for id in self.exchange.open_orders(|o| *o.new.owner == *key) {
            self.exchange.cancel(&id, key, now);
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

/// The id of a trader's order. Nothing of it is signed, so it need only be its own and look like any other: each word
/// is a bijection of the two (SplitMix64's finalizer), and a hash would be a fifth of a simulated match.
fn trader_order(trader: Trader, tag: OrderTag) -> OrderHash {
    let own = u64::from(trader.0) << 48 ^ tag.0;
    let mut id = [0; 32];
    for (n, word) in (1_u64..).zip(id.chunks_exact_mut(8)) {
        let mut z = own.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word.copy_from_slice(&(z ^ z >> 31).to_be_bytes());
    }
    OrderHash(id)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        scenario::{Filled, Setup},
        types::{MarketSpec, TimeInForce, fees::FeeSchedule, sample},
        venue::wallets,
    };

    struct Quiet;

    impl Scenario for Quiet {
        fn setup(&self) -> Setup {
            let market = MarketSpec { fee: FeeSchedule::FREE, hold_ms: 100, ..sample::market() };
            Setup { title: "test".into(), markets: vec![market], matches: Vec::new(), traders: Vec::new() }
        }

        fn next_at(&self) -> Option<SimTime> {
            None
        }

        fn step(&mut self, _: SimTime, _: &dyn Books, _: &mut Vec<Command>) {}

        fn filled(&mut self, _: SimTime, _: Filled) {}
    }

    #[test]
    fn a_trade_meets_its_fate_however_late_the_venue_looks() {
        let listed = wallets::development(Usdc::dollars(100));
        let mut host = Host::new(Box::new(Quiet), &listed, 137, 1, 1.0);
        host.armed = Arc::new(Armed::new(1, vec![Fault::new(What::TradeStuck)]).unwrap());
        let owner = host.keys.create(listed[0].owner, 0).map(|c| c.key.clone()).unwrap();
        let now = Nanos(1_790_000_000_000_000_000);
        let account = host.funder(&listed[0].funder).unwrap();
        for (n, instrument) in [InstrumentIx(0), InstrumentIx(1)].into_iter().enumerate() {
            let new = NewOrder {
                id: OrderHash([n as u8 + 1; 32]),
                account,
                owner: owner.clone(),
                tag: None,
                instrument,
                side: Side::Buy,
                maker_amount: 5_000_000,
                taker_amount: 10_000_000,
                tif: TimeInForce::Gtc,
                post_only: false,
            };
            host.exchange.submit(new, now).unwrap();
        }
        // The hold ends, the trade is made and its settlement is due, all before the venue looks again.
        host.advance(now.plus(60_000_000_000));
        let trades: Vec<_> = host.exchange.trades().map(|t| t.status).collect();
        assert_eq!(trades, [TradeStatus::Matched]);
    }
}
