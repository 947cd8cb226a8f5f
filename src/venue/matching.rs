//! Matching: a taker walks the opposite side of the ladder, and money and shares change hands maker by maker.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    book::{ladder_price, ladder_side},
    exchange::{Exchange, acceptable},
    notes::{MakerFill, Note, OrderEvent, Trade, TradeStatus},
    rules::{self, FAK_KILLED, FOK_KILLED, Order, Phase},
};
use crate::{
    scenario::Filled,
    types::{Nanos, OrderHash, Price, Qty, Side, TimeInForce, Usdc, event::BookSide},
};

impl Exchange {
    /// Matches a crossing order as a taker, then rests, completes or kills what is left. Returns its trade's id.
    pub(super) fn take(&mut self, id: &OrderHash, now: Nanos) -> Option<Arc<str>> {
        self.set_reserved(id, 0);
        let mut taker = self.orders.remove(id)?;
        let fills = self.sweep(&mut taker);
        let trade = (!fills.is_empty()).then(|| self.record(&mut taker, fills, now));
        let (done, tif, short) = (taker.is_done(), taker.new.tif, self.crosses(&taker));
        self.orders.insert(*id, taker);
        if done {
            self.close(id, Phase::Matched, OrderEvent::Update);
            return trade;
        }
        if trade.is_some() {
            self.set_phase(id, Phase::Live);
            self.note(id, OrderEvent::Update);
        }
        if short {
            // It still crosses and yet stopped: the account cannot pay.
            self.kill(id, "CANCELED_NOT_ENOUGH_BALANCE");
        } else if tif.is_immediate() {
            self.kill(id, "CANCELED");
        } else {
            self.rest(id);
        }
        trade
    }

    /// The hold of a delayed order is over: it meets the book of this moment.
    pub(super) fn release(&mut self, id: &OrderHash, now: Nanos) {
        let Some(order) = self.orders.get(id).filter(|o| o.phase == Phase::Delayed) else { return };
        let crosses = self.crosses(order);
        match order.new.tif {
            TimeInForce::Fok if !crosses || !self.fills_whole(order) => {
                self.kill(id, &format!("CANCELED_{FOK_KILLED}"));
            }
            TimeInForce::Fak if !crosses => {
                self.kill(id, &format!("CANCELED_{FAK_KILLED}"));
            }
            TimeInForce::Gtc | TimeInForce::Gtd { .. } if !crosses => {
                self.rest(id);
                self.note(id, OrderEvent::Update);
            }
            _ => {
                self.take(id, now);
            }
        }
        self.forget_if_closed(id);
        self.flush(now);
    }

    /// Walks the opposite side and moves shares and collateral, maker by maker.
    fn sweep(&mut self, taker: &mut Order) -> Vec<MakerFill> {
        let i = taker.new.instrument;
        let market = i.market();
        let opposite = ladder_side(i.outcome(), taker.new.side).other();
        let mut fills = Vec::new();
        while !taker.is_done() {
            let Some((ladder, maker_id)) = self.markets[market.ix()].book.front(opposite) else { break };
            let price = ladder_price(i.outcome(), ladder);
            if !acceptable(taker, price) {
                break;
            }
            let Some(maker) = self.orders.get(&maker_id) else {
                self.markets[market.ix()].book.reduce(opposite, ladder, Qty::ZERO, Some(maker_id));
                continue;
            };
            let before = maker.leaves();
            let qty = taker.leaves_at(price).min(before);
            let maker_cash = maker.resting_cash(qty);
            let same_token = maker.new.instrument == i;
            let taker_cash = if same_token { maker_cash } else { Usdc(qty.micro() as i64) - maker_cash };
            let fee = rules::taker_fee(&self.market(market).spec.fee, qty, price);
            let account = &mut self.accounts[taker.new.account.ix()];
            if taker.new.side == Side::Buy && account.free_cash() < taker_cash + fee {
                break;
            }
            match taker.new.side {
                Side::Buy => account.buy(i, qty, taker_cash),
                Side::Sell => account.sell(i, qty, taker_cash),
            }
            account.pay_fee(fee);
            self.fees += fee;
            taker.matched += qty;
            taker.cash += taker_cash;
            let fill = self.fill_maker(&maker_id, before, qty, maker_cash, (opposite, ladder));
            let sets = &mut self.markets[market.ix()].sets;
            match (taker.new.side, same_token) {
                (_, true) => {}
                (Side::Buy, false) => *sets += qty,
                (Side::Sell, false) => *sets -= qty,
            }
            fills.push(MakerFill { taker_cash, fee, ..fill });
        }
        fills
    }

    /// The maker's half of one match.
    fn fill_maker(
        &mut self,
        id: &OrderHash,
        before: Qty,
        qty: Qty,
        cash: Usdc,
        (side, ladder): (BookSide, Price),
    ) -> MakerFill {
        let maker = self.orders.get_mut(id).expect("the caller has just read it");
        maker.matched += qty;
        maker.cash += cash;
        maker.trades.push(self.trade_seq + 1);
        let (i, maker_side, done) = (maker.new.instrument, maker.new.side, maker.is_done());
        let after = if done { Qty::ZERO } else { maker.leaves() };
        let reserve = if done { 0 } else { maker.rest_reservation() };
        let fill = MakerFill {
            order: *id,
            owner: maker.new.owner.clone(),
            account: maker.new.account,
            instrument: i,
            side: maker_side,
            price: maker.price,
            qty,
            taker_cash: Usdc::ZERO,
            fee: Usdc::ZERO,
        };
        let told = maker.new.tag.map(|(trader, tag)| Filled {
            trader,
            tag,
            instrument: i,
            side: maker_side,
            price: maker.price,
            qty,
            done,
        });
        self.set_reserved(id, reserve);
        let account = &mut self.accounts[fill.account.ix()];
        match maker_side {
            Side::Buy => account.buy(i, qty, cash),
            Side::Sell => account.sell(i, qty, cash),
        }
        self.markets[i.market().ix()].book.reduce(side, ladder, before - after, done.then_some(*id));
        self.touch(i.market(), side, ladder);
        if done {
            self.set_phase(id, Phase::Matched);
        }
        self.notes.extend(told.map(Note::Filled));
        fill
    }

    /// Writes a trade down and tells everybody.
    fn record(&mut self, taker: &mut Order, makers: Vec<MakerFill>, now: Nanos) -> Arc<str> {
        let (i, side) = (taker.new.instrument, taker.new.side);
        let number = self.next_trade();
        taker.trades.push(number);
        let own_price = |f: &MakerFill| if f.instrument == i { f.price } else { f.price.complement() };
        let first = own_price(&makers[0]);
        let one_level = makers.iter().all(|f| own_price(f) == first);
        let qty = makers.iter().fold(Qty::ZERO, |sum, f| sum + f.qty);
        let trade = Arc::new(Trade {
            number,
            id: self.trade_id(number),
            taker_order: taker.new.id,
            owner: taker.new.owner.clone(),
            account: taker.new.account,
            instrument: i,
            side,
            price: if one_level { first } else { taker.price },
            qty,
            status: TradeStatus::Matched,
            matched_at: now,
            updated_at: now,
            hash: self.trade_hash(number),
            landed: false,
            makers,
        });
        let mut levels: Vec<(Price, Qty)> = Vec::new();
        let mut tokens = BTreeSet::from([i]);
        for f in &trade.makers {
            tokens.insert(f.instrument);
            match levels.last_mut() {
                Some((p, q)) if *p == own_price(f) => *q += f.qty,
                _ => levels.push((own_price(f), f.qty)),
            }
            self.markets[i.market().ix()].last[f.instrument.outcome() as usize] = Some((f.price, f.side.other()));
        }
        for &(price, qty) in &levels {
            self.notes.push(Note::LastTrade { instrument: i, price, qty, side, hash: trade.hash });
            self.markets[i.market().ix()].last[i.outcome() as usize] = Some((price, side));
        }
        if let Some((trader, tag)) = taker.new.tag {
            let done = taker.is_done() || taker.new.tif.is_immediate();
            let told = levels.iter().enumerate().map(|(n, &(price, qty))| Filled {
                trader,
                tag,
                instrument: i,
                side,
                price,
                qty,
                done: done && n + 1 == levels.len(),
            });
            self.notes.extend(told.map(Note::Filled));
        }
        self.notes.push(Note::Trade(trade.clone()));
        for id in trade.makers.iter().map(|f| f.order).collect::<BTreeSet<_>>() {
            self.note(&id, OrderEvent::Update);
            self.forget_if_closed(&id);
        }
        self.again.extend(tokens);
        let id = trade.id.clone();
        self.trades.insert(number, trade);
        self.settle_later(number, now);
        id
    }
}
