//! What happens later: holds that end, orders that expire, trades on their way to the chain, sets, and resolution.

use std::{cmp::Reverse, sync::Arc};

use sha3::{Digest, Keccak256};

use super::{
    accounts::AccountIx,
    exchange::{CLOSED_MAX, Exchange},
    notes::{Note, Trade, TradeStatus},
    rules::Phase,
};
use crate::types::{MarketIx, Nanos, OrderHash, Qty, TickSize, Usdc, event::Payout, ids::Outcome};

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
        let Some(trade) = self.trades.get(&number) else { return };
        let mut next = Trade::clone(trade);
        next.updated_at = now;
        match trade.status {
            TradeStatus::Matched => {
                next.status = TradeStatus::Mined;
                self.land(&next);
                let wait = self.delay_ns("confirmed", number, 300, 700);
                self.at(now.plus(wait), Timer::Settle(number));
            }
            TradeStatus::Mined => next.status = TradeStatus::Confirmed,
            TradeStatus::Confirmed => return,
        }
        let next = Arc::new(next);
        self.notes.push(Note::Trade(next.clone()));
        // Nobody outside can ask for a trade among the scenario's own traders.
        let outside = |owner: &str| owner != super::TRADERS_KEY;
        if next.status == TradeStatus::Confirmed
            && !outside(&next.owner)
            && !next.makers.iter().any(|f| outside(&f.owner))
        {
            self.trades.remove(&number);
        } else {
            self.trades.insert(number, next);
        }
        let settled = |t: &Arc<Trade>| t.status == TradeStatus::Confirmed;
        if self.trades.len() > CLOSED_MAX && self.trades.first_key_value().is_some_and(|(_, t)| settled(t)) {
            self.trades.pop_first();
        }
    }

    /// A mined trade's shares can be merged.
    fn land(&mut self, trade: &Trade) {
        use crate::types::Side::Buy;
        let makers = trade.makers.iter().map(|f| (f.account, f.instrument, f.side, f.qty));
        for (account, i, side, qty) in makers.chain([(trade.account, trade.instrument, trade.side, trade.qty)]) {
            if side == Buy {
                let h = self.accounts[account.ix()].holding_mut(i);
                h.unsettled = h.unsettled.saturating_sub(qty);
            }
        }
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
            let mut sells = self.open_orders(|o| {
                o.new.account == account && o.new.instrument == i && o.new.side == crate::types::Side::Sell
            });
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
