//! What happens later: holds that end, orders that expire, trades on their way to the chain, sets, and resolution.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use sha3::{Digest, Keccak256};

use super::{
    accounts::{Account, AccountIx},
    exchange::{CLOSED_MAX, Exchange},
    notes::{Fate, Note, Trade, TradeStatus},
    rules::{Order, Phase},
};
use crate::types::{
    InstrumentIx, MarketIx, Nanos, OrderHash, Qty, Side, TickSize, Usdc,
    event::{BookSide, Payout},
    ids::Outcome,
};

/// Something that is due at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// A delayed order meets the book.
    Release(OrderHash),
    /// A GTD order is stopped.
    Expire(OrderHash),
    /// A trade takes its next status.
    Settle(u64),
}

/// Why sets could not be merged or made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetError {
    /// More than is owned and settled.
    TooMany,
    /// The market is decided.
    Resolved,
}

/// One party's part of a trade.
struct Leg {
    account: AccountIx,
    outside: bool,
    i: InstrumentIx,
    side: Side,
    qty: Qty,
    cash: Usdc,
    fee: Usdc,
}

/// The parts of a trade: each maker's, and the taker's against it.
fn legs(t: &Trade) -> impl Iterator<Item = Leg> + '_ {
    let outside = |owner: &str| owner != super::TRADERS_KEY;
    t.makers.iter().flat_map(move |f| {
        // Opposite tokens of one set cost 1 together.
        let same = f.instrument == t.instrument;
        let maker_cash = if same { f.taker_cash } else { Usdc(f.qty.micro() as i64) - f.taker_cash };
        let maker = Leg {
            account: f.account,
            outside: outside(&f.owner),
            i: f.instrument,
            side: f.side,
            qty: f.qty,
            cash: maker_cash,
            fee: Usdc::ZERO,
        };
        let taker = Leg {
            account: t.account,
            outside: outside(&t.owner),
            i: t.instrument,
            side: t.side,
            qty: f.qty,
            cash: f.taker_cash,
            fee: f.fee,
        };
        [maker, taker]
    })
}

/// Shares of a token that an account bought in a trade that did not fail, and what it paid for them without fee.
pub(super) fn bought(t: &Trade, account: AccountIx, i: InstrumentIx) -> impl Iterator<Item = (Qty, Usdc)> + '_ {
    let counts = t.status != TradeStatus::Failed;
    let own = move |l: &Leg| counts && l.account == account && l.i == i && l.side == Side::Buy;
    legs(t).filter(own).map(|l| (l.qty, l.cash))
}

impl Exchange {
    /// When the next thing is due.
    pub fn next_timer(&self) -> Option<Nanos> {
        self.timers.peek().map(|Reverse((at, ..))| *at)
    }

    /// Does what is due at or before `now`, each thing at its own time. Call it before anything else at `now`.
    pub fn advance(&mut self, now: Nanos) {
        while let Some(Reverse((at, ..))) = self.timers.peek().copied()
            && at <= now
        {
            let Some(Reverse((_, _, timer))) = self.timers.pop() else { break };
            match timer {
                Timer::Release(id) => self.release(&id, at),
                Timer::Expire(id) => {
                    if self.orders.get(&id).is_some_and(|o| o.phase == Phase::Live) {
                        self.remove(&id, "CANCELED_EXPIRED_ORDER");
                        self.flush(at);
                    }
                }
                Timer::Settle(number) => self.settle(number, at),
            }
        }
    }

    pub(super) fn at(&mut self, when: Nanos, timer: Timer) {
        self.timer_seq += 1;
        self.timers.push(Reverse((when, self.timer_seq, timer)));
    }

    pub(super) fn next_trade(&mut self) -> u64 {
        self.trade_seq += 1;
        self.trade_seq
    }

    fn draw(&self, what: &str, number: u64) -> [u8; 32] {
        let mut h = Keccak256::new();
        h.update(what.as_bytes());
        h.update(self.seed.to_be_bytes());
        h.update(number.to_be_bytes());
        h.finalize().into()
    }

    pub(super) fn trade_hash(&self, number: u64) -> [u8; 32] {
        self.draw("transaction", number)
    }

    pub(super) fn trade_id(&self, number: u64) -> Arc<str> {
        super::auth::uuid(&self.draw("trade", number)).into()
    }

    /// A time between `low` and `high` milliseconds, the same in every run of a seed.
    fn delay_ns(&self, what: &str, number: u64, low: u64, high: u64) -> u64 {
        let d = self.draw(what, number);
        let r = u64::from_be_bytes([d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]]);
        (low + r % (high - low)) * 1_000_000
    }

    /// MINED after 0.5 to 1.2 s, CONFIRMED 0.3 to 0.7 s later; the real venue's median is about 2 s.
    /// Source: docs/PROTOCOL.md "integrity" (settlement), "trade events" (statuses).
    pub(super) fn settle_later(&mut self, number: u64, now: Nanos) {
        let wait = self.delay_ns("mined", number, 500, 1_200);
        self.at(now.plus(wait), Timer::Settle(number));
    }

    fn settle(&mut self, number: u64, now: Nanos) {
        let Some(trade) = self.trades.get(&number).cloned() else { return };
        let Some(status) = self.next_status(&trade, now) else { return };
        let mut next = Trade::clone(&trade);
        (next.updated_at, next.status) = (now, status);
        match status {
            TradeStatus::Mined => {
                if !std::mem::replace(&mut next.landed, true) {
                    self.land(&next);
                }
                let wait = self.delay_ns("confirmed", number, 300, 700);
                self.at(now.plus(wait), Timer::Settle(number));
            }
            TradeStatus::Retrying => {
                let wait = self.delay_ns("retried", number, 300, 700);
                self.at(now.plus(wait), Timer::Settle(number));
            }
            TradeStatus::Matched | TradeStatus::Confirmed | TradeStatus::Failed => {
                self.fates.remove(&number);
            }
        }
        let final_now = matches!(status, TradeStatus::Confirmed | TradeStatus::Failed);
        let next = Arc::new(next);
        self.notes.push(Note::Trade(next.clone()));
        // Nobody outside can ask for a trade among the scenario's own traders.
        let outside = |owner: &str| owner != super::TRADERS_KEY;
        if final_now && !outside(&next.owner) && !next.makers.iter().any(|f| outside(&f.owner)) {
            self.trades.remove(&number);
        } else {
            self.trades.insert(number, next);
        }
        let settled = |t: &Arc<Trade>| matches!(t.status, TradeStatus::Confirmed | TradeStatus::Failed);
        if self.trades.len() > CLOSED_MAX
            && let Some(oldest) = self.trades.iter().find(|(_, t)| settled(t)).map(|(n, _)| *n)
        {
            self.trades.remove(&oldest);
        }
    }

    /// Says what is to become of a trade other than to settle. To be said before its first status change.
    pub fn set_fate(&mut self, number: u64, fate: Fate) {
        self.fates.insert(number, fate);
    }

    /// The status that follows; a failure has been undone when this returns. `None`: nothing ever follows.
    fn next_status(&mut self, trade: &Trade, now: Nanos) -> Option<TradeStatus> {
        use TradeStatus::{Confirmed, Failed, Matched, Mined, Retrying};
        let fate = self.fates.get(&trade.number).copied();
        let onward = if trade.status == Mined { Confirmed } else { Mined };
        match (trade.status, fate) {
            (Confirmed | Failed, _) | (Matched, Some(Fate::Stuck)) => None,
            (Matched | Mined, Some(Fate::Fails { mined, retrying, ahead })) if mined == (trade.status == Mined) => {
                if ahead.is_some_and(|a| !self.is_ahead(a, trade)) {
                    self.fates.remove(&trade.number);
                    return Some(onward);
                }
                Some(if retrying { Retrying } else { self.failed_or(onward, trade, now) })
            }
            (Retrying, Some(Fate::Fails { .. })) => Some(self.failed_or(Mined, trade, now)),
            (Matched | Retrying | Mined, _) => Some(onward),
        }
    }

    fn failed_or(&mut self, onward: TradeStatus, trade: &Trade, now: Nanos) -> TradeStatus {
        if self.void(trade, now) {
            return TradeStatus::Failed;
        }
        self.fates.remove(&trade.number);
        self.fates_refused += 1;
        onward
    }

    /// True if the account's part of a trade is worth more now than it cost.
    fn is_ahead(&self, account: AccountIx, trade: &Trade) -> bool {
        let gain: i128 = legs(trade)
            .filter(|l| l.account == account)
            .filter_map(|l| {
                let mark = i128::from(self.mark(l.i)?);
                let value = i128::from(l.qty.micro()) * mark / 10_000;
                let cost = i128::from(l.cash.micro());
                Some(if l.side == Side::Buy { value - cost } else { cost - value })
            })
            .sum();
        gain > 0
    }

    /// What a token is worth in units of 0.0001: the middle of its book, or its last trade.
    pub fn mark(&self, i: InstrumentIx) -> Option<u32> {
        let m = self.market(i.market());
        let best = |side| m.book.best_of(i.outcome(), side).map(|(p, _)| u32::from(p.units()));
        let middle = best(BookSide::Bid).zip(best(BookSide::Ask)).map(|(bid, ask)| (bid + ask) / 2);
        middle.or(m.last[i.outcome() as usize].map(|(p, _)| u32::from(p.units())))
    }

    /// Undoes a trade: every share, every micro-pUSD and every fee goes back where it was. False, and nothing is
    /// changed, if an account from outside has parted with what it would have to give back, or the market is decided.
    /// What a scenario trader has parted with is lent to it as a deposit.
    fn void(&mut self, trade: &Trade, now: Nanos) -> bool {
        let market = trade.instrument.market();
        if self.market(market).resolved.is_some() {
            return false;
        }
        let mut cash: BTreeMap<AccountIx, i64> = BTreeMap::new();
        let mut shares: BTreeMap<(AccountIx, InstrumentIx), i64> = BTreeMap::new();
        let mut outside: BTreeMap<AccountIx, bool> = BTreeMap::new();
        for l in legs(trade) {
            let sign = if l.side == Side::Buy { 1 } else { -1 };
            *cash.entry(l.account).or_default() -= sign * l.cash.micro() + l.fee.micro();
            *shares.entry((l.account, l.i)).or_default() += sign * l.qty.micro() as i64;
            *outside.entry(l.account).or_default() |= l.outside;
        }
        let lacks_cash = |a: &AccountIx, n: i64| (n - self.account(*a).cash.micro()).max(0);
        let lacks_shares =
            |a: &AccountIx, i: InstrumentIx, n: i64| (n - self.account(*a).holding(i).balance.micro() as i64).max(0);
        let is_outside = |a: &AccountIx| outside.get(a).copied().unwrap_or(true);
        let short = cash.iter().any(|(a, n)| is_outside(a) && lacks_cash(a, *n) > 0)
            || shares.iter().any(|((a, i), n)| is_outside(a) && lacks_shares(a, *i, *n) > 0);
        if short {
            return false;
        }
        let lent: Vec<_> = cash.iter().map(|(a, n)| (*a, None, lacks_cash(a, *n))).collect();
        let lent_shares: Vec<_> = shares.iter().map(|((a, i), n)| (*a, Some(*i), lacks_shares(a, *i, *n))).collect();
        for (a, i, n) in lent.into_iter().chain(lent_shares).filter(|(.., n)| *n > 0) {
            self.accounts[a.ix()].deposit(Usdc(n));
            if i.is_some() {
                let lent = self.split(a, market, Qty(n.unsigned_abs()));
                debug_assert_eq!(lent, Ok(()));
            }
        }
        for ((a, i), n) in &shares {
            self.free_up(*a, now, |a, o| {
                *n > 0 && o.new.side == Side::Sell && o.new.instrument == *i && {
                    a.holding(*i).free().micro() < n.unsigned_abs()
                }
            });
        }
        for (a, n) in &cash {
            self.free_up(*a, now, |a, o| *n > 0 && o.new.side == Side::Buy && a.free_cash().micro() < *n);
        }
        // What comes back comes first, so that nothing is short in between.
        let (sales, purchases): (Vec<_>, Vec<_>) = legs(trade).partition(|l| l.side == Side::Sell);
        for l in sales.into_iter().chain(purchases) {
            let account = &mut self.accounts[l.account.ix()];
            match l.side {
                Side::Sell => account.unsell(l.i, l.qty, l.cash),
                Side::Buy => account.unbuy(l.i, l.qty, l.cash, trade.landed),
            }
            account.refund_fee(l.fee);
            self.fees -= l.fee;
        }
        for f in trade.makers.iter().filter(|f| f.instrument != trade.instrument) {
            let sets = &mut self.markets[market.ix()].sets;
            match trade.side {
                Side::Buy => *sets -= f.qty,
                Side::Sell => *sets += f.qty,
            }
        }
        self.flush(now);
        true
    }

    /// Ends open orders of an account, newest first, while one is found that `covers` what is wanted.
    fn free_up(&mut self, account: AccountIx, now: Nanos, covers: impl Fn(&Account, &Order) -> bool) {
        let mut own = self.open_orders(|o| o.new.account == account);
        while let Some(newest) = own.pop() {
            if self.orders.get(&newest).is_some_and(|o| covers(self.account(account), o)) {
                self.remove(&newest, "CANCELED_NOT_ENOUGH_BALANCE");
            }
        }
        self.flush(now);
    }

    /// A mined trade's shares can be merged.
    fn land(&mut self, trade: &Trade) {
        let makers = trade.makers.iter().map(|f| (f.account, f.instrument, f.side, f.qty));
        for (account, i, side, qty) in makers.chain([(trade.account, trade.instrument, trade.side, trade.qty)]) {
            if side == Side::Buy {
                let h = self.accounts[account.ix()].holding_mut(i);
                h.unsettled = h.unsettled.saturating_sub(qty);
            }
        }
    }

    /// Moves the scheduled start of a market.
    pub fn move_game_start(&mut self, market: MarketIx, start: Option<Nanos>) {
        self.markets[market.ix()].spec.game_start = start;
    }

    /// Sets the scheduled start of every market.
    pub fn set_game_start(&mut self, start: Option<Nanos>) {
        self.markets.iter_mut().for_each(|m| m.spec.game_start = start);
    }

    /// Changes the grid. Orders off a coarser grid keep resting.
    pub fn set_tick(&mut self, market: MarketIx, tick: TickSize) {
        let old = std::mem::replace(&mut self.markets[market.ix()].tick, tick);
        if old != tick {
            self.notes.push(Note::Tick { market, old, new: tick });
        }
    }

    /// Clears a book at game start: everything that rests is cancelled.
    /// Source: docs/PROTOCOL.md "sports order rules" (book clear).
    pub fn clear_book(&mut self, market: MarketIx, now: Nanos) {
        let resting: Vec<_> = self.markets[market.ix()].book.orders().collect();
        for id in resting {
            self.remove(&id, "CANCELED");
        }
        self.flush(now);
    }

    /// Decides a market: open orders are cancelled, every share is paid, the locked collateral is released.
    pub fn resolve(&mut self, market: MarketIx, payout: Payout, now: Nanos) {
        if self.markets[market.ix()].resolved.is_some() {
            return;
        }
        for id in self.open_orders(|o| o.new.instrument.market() == market) {
            self.remove(&id, "CANCELED_MARKET_RESOLVED");
        }
        self.flush(now);
        let m = &mut self.markets[market.ix()];
        m.resolved = Some(payout);
        let mut locked = Usdc(m.sets.micro() as i64);
        for account in &mut self.accounts {
            for outcome in [Outcome::Yes, Outcome::No] {
                let held = std::mem::take(account.holding_mut(market.instrument(outcome))).balance.micro() as i64;
                let paid = match (payout, outcome) {
                    (Payout::Yes, Outcome::Yes) | (Payout::No, Outcome::No) => Usdc(held),
                    (Payout::Half, _) => Usdc(held / 2),
                    _ => Usdc::ZERO,
                };
                account.cash += paid;
                account.payouts += paid;
                locked -= paid;
            }
        }
        self.dust += locked;
        self.notes.push(Note::Resolved(market, payout));
    }

    /// Turns complete sets into collateral. Only settled shares can be merged; resting sells that lose their cover
    /// are cancelled, newest first. Source: docs/PROTOCOL.md "split, merge, redeem".
    pub fn merge(&mut self, account: AccountIx, market: MarketIx, qty: Qty, now: Nanos) -> Result<(), SetError> {
        if self.markets[market.ix()].resolved.is_some() {
            return Err(SetError::Resolved);
        }
        let tokens = [Outcome::Yes, Outcome::No].map(|o| market.instrument(o));
        let a = self.account(account);
        if qty.is_zero() || tokens.iter().any(|i| a.holding(*i).settled() < qty) {
            return Err(SetError::TooMany);
        }
        for i in tokens {
            let covered = self.account(account).holding(i).free() >= qty;
            let own = |o: &Order| o.new.account == account && o.new.instrument == i && o.new.side == Side::Sell;
            let mut sells = if covered { Vec::new() } else { self.open_orders(own) };
            while self.account(account).holding(i).free() < qty
                && let Some(newest) = sells.pop()
            {
                self.remove(&newest, "CANCELED_NOT_ENOUGH_BALANCE");
            }
            self.accounts[account.ix()].holding_mut(i).balance -= qty;
        }
        let cash = Usdc(qty.micro() as i64);
        let a = &mut self.accounts[account.ix()];
        a.cash += cash;
        a.merged += cash;
        self.markets[market.ix()].sets -= qty;
        self.flush(now);
        Ok(())
    }

    /// Turns collateral into complete sets.
    pub fn split(&mut self, account: AccountIx, market: MarketIx, qty: Qty) -> Result<(), SetError> {
        if self.markets[market.ix()].resolved.is_some() {
            return Err(SetError::Resolved);
        }
        let cash = Usdc(i64::try_from(qty.micro()).unwrap_or(i64::MAX));
        let a = &mut self.accounts[account.ix()];
        if qty.is_zero() || a.free_cash() < cash {
            return Err(SetError::TooMany);
        }
        a.cash -= cash;
        a.split += cash;
        for outcome in [Outcome::Yes, Outcome::No] {
            a.holding_mut(market.instrument(outcome)).balance += qty;
        }
        self.markets[market.ix()].sets += qty;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        scenario::{OrderTag, Trader},
        types::{Address, MarketSpec, TimeInForce, market::SignatureType, sample},
        venue::{TRADERS_KEY, rules::NewOrder},
    };

    const START: u64 = 1_790_000_000_000_000_000;

    fn exchange() -> Exchange {
        let spec = MarketSpec { clear_on_start: true, ..sample::market() };
        let mut x = Exchange::new(vec![spec], 3, 1.0);
        for n in 1..=4 {
            let a = Address([n; 20]);
            x.open(|tokens| Account::new(a, a, SignatureType::Eoa, Usdc::dollars(500), tokens));
        }
        x
    }

    /// Accounts 0 and 1 are scenario traders, 2 and 3 are from outside.
    fn order(n: u64, account: u32, token: u16, side: Side, cents: u64, shares: u64, tif: TimeInForce) -> NewOrder {
        let (cash, qty) = (cents * shares * 10_000, shares * 1_000_000);
        let mut id = [0; 32];
        id[..8].copy_from_slice(&n.to_be_bytes());
        NewOrder {
            id: OrderHash(id),
            account: AccountIx(account),
            owner: if account < 2 { TRADERS_KEY.into() } else { format!("key {account}").into() },
            tag: (account < 2).then_some((Trader(account as u16), OrderTag(n))),
            instrument: InstrumentIx(token),
            side,
            maker_amount: if side == Side::Buy { cash } else { qty },
            taker_amount: if side == Side::Buy { qty } else { cash },
            tif,
            post_only: false,
        }
    }

    /// A generator for tests: enough to be arbitrary, the same in every run.
    struct Dice(u64);

    impl Dice {
        fn up_to(&mut self, n: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % n
        }
    }

    #[test]
    fn o14_whatever_fails_every_sum_stays_true() {
        let (mut failed, mut refused, mut confirmed, mut lent) = (0, 0, 0, 0);
        for seed in 0..60 {
            let (mut x, mut dice) = (exchange(), Dice(seed));
            let mut now = Nanos(START);
            for n in 0..250 {
                now = now.plus(dice.up_to(400) * 1_000_000);
                x.advance(now);
                let account = dice.up_to(4) as u32;
                match dice.up_to(12) {
                    0 => drop(x.split(AccountIx(account), MarketIx(0), Qty::shares(5 + dice.up_to(20)))),
                    1 => drop(x.merge(AccountIx(account), MarketIx(0), Qty::shares(1 + dice.up_to(20)), now)),
                    _ => {
                        let (token, side) = (dice.up_to(2) as u16, [Side::Buy, Side::Sell][dice.up_to(2) as usize]);
                        let tif = [TimeInForce::Gtc, TimeInForce::Fak][dice.up_to(2) as usize];
                        let (cents, shares) = (30 + dice.up_to(41), 5 + dice.up_to(40));
                        drop(x.submit(order(n, account, token, side, cents, shares, tif), now));
                    }
                }
                for note in x.take_notes() {
                    let Note::Trade(t) = note else { continue };
                    match t.status {
                        TradeStatus::Matched => {
                            let ahead = (dice.up_to(4) == 0).then_some(t.account);
                            let fate = Fate::Fails { mined: dice.up_to(2) == 0, retrying: dice.up_to(2) == 0, ahead };
                            match dice.up_to(5) {
                                0 => x.set_fate(t.number, Fate::Stuck),
                                1..=3 => x.set_fate(t.number, fate),
                                _ => {}
                            }
                        }
                        TradeStatus::Failed => failed += 1,
                        TradeStatus::Confirmed => confirmed += 1,
                        TradeStatus::Mined | TradeStatus::Retrying => {}
                    }
                }
                assert_eq!(x.audit(), Ok(()), "seed {seed}, step {n}");
            }
            refused += x.fates_refused;
            lent += x.accounts.iter().filter(|a| a.deposits > Usdc::dollars(500)).count();
            x.resolve(MarketIx(0), Payout::Half, now);
            x.advance(now.plus(10_000_000_000));
            assert_eq!(x.audit(), Ok(()), "seed {seed}, decided");
        }
        assert!(failed > 500 && refused > 5 && confirmed > 500 && lent > 5, "{failed} {refused} {confirmed} {lent}");
    }

    #[test]
    fn o14_each_kind_of_match_is_undone_exactly() {
        // What account 3 does against account 2's resting order: swap, mint, and, both owning a set, merge.
        for (maker, taker) in [
            ((0, Side::Sell, 60), (0, Side::Buy, 60)),
            ((0, Side::Buy, 40), (0, Side::Sell, 40)),
            ((1, Side::Buy, 40), (0, Side::Buy, 60)),
            ((1, Side::Sell, 40), (0, Side::Sell, 60)),
        ] {
            for (mined, retrying) in [(false, false), (false, true), (true, false), (true, true)] {
                let mut x = exchange();
                let now = Nanos(START);
                for a in [2, 3] {
                    x.split(AccountIx(a), MarketIx(0), Qty::shares(20)).unwrap();
                }
                let state = |x: &Exchange| {
                    let of = |a: &Account| {
                        (a.cash, a.fees, a.spent, a.received, [0, 1].map(|i| *a.holding(InstrumentIx(i))))
                    };
                    (x.accounts.iter().map(of).collect::<Vec<_>>(), x.fees, x.markets[0].sets)
                };
                let before = state(&x);
                x.submit(order(1, 2, maker.0, maker.1, maker.2, 10, TimeInForce::Gtc), now).unwrap();
                x.submit(order(2, 3, taker.0, taker.1, taker.2, 10, TimeInForce::Fak), now).unwrap();
                assert_ne!(state(&x), before);
                x.set_fate(1, Fate::Fails { mined, retrying, ahead: None });
                x.advance(now.plus(10_000_000_000));
                assert_eq!(x.trade(1).map(|t| t.status), Some(TradeStatus::Failed), "{maker:?}");
                assert_eq!((state(&x), x.audit()), (before, Ok(())), "{maker:?} {mined} {retrying}");
            }
        }
    }

    #[test]
    fn o14_a_trade_that_cannot_be_undone_lands_once() {
        let mut x = exchange();
        let now = Nanos(START);
        x.split(AccountIx(2), MarketIx(0), Qty::shares(40)).unwrap();
        for (n, fate) in [(1, Fate::Fails { mined: true, retrying: true, ahead: None }), (2, Fate::Stuck)] {
            x.submit(order(2 * n, 2, 0, Side::Sell, 50, 10, TimeInForce::Gtc), now).unwrap();
            x.submit(order(2 * n + 1, 3, 0, Side::Buy, 50, 10, TimeInForce::Fak), now).unwrap();
            x.set_fate(n, fate);
        }
        // Of twenty shares fifteen go on, so that the first ten cannot be given back.
        x.submit(order(6, 2, 0, Side::Buy, 40, 15, TimeInForce::Gtc), now).unwrap();
        x.submit(order(7, 3, 0, Side::Sell, 40, 15, TimeInForce::Fak), now).unwrap();
        x.advance(now.plus(20_000_000_000));
        let status = |n| x.trade(n).map(|t| t.status);
        assert_eq!((status(1), status(2)), (Some(TradeStatus::Confirmed), Some(TradeStatus::Matched)));
        assert_eq!(x.account(AccountIx(3)).holding(InstrumentIx(0)).unsettled, Qty::shares(10), "the stuck ten");
        assert_eq!((x.fates_refused, x.audit()), (1, Ok(())));
    }
}
