//! What the venue tells, as the engine hears it: the news of a host as events, without the JSON between them.
//!
//! Each function gives what `venue::stream` would write and `wire` would read of it, in that order; `tests/simulate.rs`
//! holds them against both, message by message.

use crate::{
    types::{
        InstrumentIx, Nanos, Price, Qty, Side, TradeKey, Usdc,
        event::{BookSide, MarketEvent, Payout, TradeStatus, UserEvent},
        ids::Outcome,
    },
    venue::{
        book::{Shown, ladder_price},
        notes::{self, Note, Snapshot, Trade},
    },
    wire::user::order_change,
};

/// What a note tells the subscribers of the market channel. Nothing, for notes that are not theirs.
pub fn market(note: &Note, now: Nanos, tell: &mut impl FnMut(MarketEvent)) {
    let venue_ms = now.millis();
    match note {
        Note::Levels { market, changes, tops, .. } => {
            for &(side, ladder, qty) in changes {
                for outcome in [Outcome::Yes, Outcome::No] {
                    let side = if outcome == Outcome::Yes { side } else { side.other() };
                    let (instrument, price) = (market.instrument(outcome), ladder_price(outcome, ladder));
                    tell(MarketEvent::Delta { instrument, side, price, qty });
                }
            }
            for outcome in [Outcome::Yes, Outcome::No] {
                let [bid, ask] = best(outcome, tops);
                tell(MarketEvent::Top { instrument: market.instrument(outcome), bid, ask });
            }
            tell(MarketEvent::FrameEnd { venue_ms });
        }
        Note::LastTrade { instrument, price, qty, side, .. } => {
            tell(MarketEvent::LastTrade { instrument: *instrument, side: *side, price: *price, qty: *qty });
            tell(MarketEvent::FrameEnd { venue_ms });
        }
        Note::Book(s) => snapshot(s, tell),
        Note::Tick { market, new, .. } => {
            for outcome in [Outcome::Yes, Outcome::No] {
                tell(MarketEvent::TickSizeChange { instrument: market.instrument(outcome), tick: *new });
                tell(MarketEvent::FrameEnd { venue_ms });
            }
        }
        Note::Resolved(market, payout) => {
            let market = *market;
            tell(match payout {
                // No winner is named: the venue is to be asked.
                Payout::Half => MarketEvent::ResolvedUnclear { market },
                payout => MarketEvent::Resolved { market, payout: *payout },
            });
            tell(MarketEvent::FrameEnd { venue_ms });
        }
        Note::Order(_) | Note::Trade(_) | Note::Filled(_) | Note::Gone(_) => {}
    }
}

/// A token's whole book.
pub fn snapshot(s: &Snapshot, tell: &mut impl FnMut(MarketEvent)) {
    let (instrument, venue_ms) = (s.instrument, s.changed.millis());
    tell(MarketEvent::SnapshotStart { instrument, tick: Some(s.tick), venue_ms });
    for (levels, side) in [(&s.bids, BookSide::Bid), (&s.asks, BookSide::Ask)] {
        // The best last, as the venue writes them.
        for &(price, qty) in levels.iter().rev().filter(|(_, qty)| !qty.is_zero()) {
            tell(MarketEvent::Level { instrument, side, price, qty });
        }
    }
    tell(MarketEvent::SnapshotEnd { instrument });
    tell(MarketEvent::FrameEnd { venue_ms });
}

/// What a note tells the user channel of one API key.
pub fn user(note: &Note, key: &str, tell: &mut impl FnMut(UserEvent)) {
    match note {
        Note::Order(n) if *n.new.owner == *key => {
            let change = order_change(n.event.as_str().as_bytes(), n.phase.as_str().as_bytes());
            tell(UserEvent::Order { order: n.new.id, change, matched: Some(n.matched) });
        }
        Note::Trade(t) => trade(t, key, tell),
        _ => {}
    }
}

/// The fills of one API key in a trade: one for each order of its own.
pub fn trade(t: &Trade, key: &str, tell: &mut impl FnMut(UserEvent)) {
    let (id, status) = (TradeKey::of(t.id.as_bytes()), status(t.status));
    let taker = *t.owner == *key;
    let mut fills: heapless::Vec<UserEvent, FILLS_MAX> = heapless::Vec::new();
    let (mut notional, mut curve) = (Usdc::ZERO, 0);
    for f in &t.makers {
        let price = if f.instrument == t.instrument { f.price } else { f.price.complement() };
        notional += cash(t.side, f.qty, price);
        curve += price.curve(f.qty);
        if *f.owner != *key {
            continue;
        }
        let of_same = |e: &&mut UserEvent| matches!(e, UserEvent::Trade { order, .. } if *order == f.order);
        if let Some(UserEvent::Trade { qty, notional, .. }) = fills.iter_mut().find(of_same) {
            *qty += f.qty;
            *notional += cash(f.side, f.qty, f.price);
            continue;
        }
        // One account has fewer orders in a market than there is room for.
        let _ = fills.push(UserEvent::Trade {
            trade: id,
            order: f.order,
            instrument: f.instrument,
            side: f.side,
            qty: f.qty,
            notional: cash(f.side, f.qty, f.price),
            taker_curve: None,
            status,
        });
    }
    fills.into_iter().for_each(&mut *tell);
    if taker {
        tell(UserEvent::Trade {
            trade: id,
            order: t.taker_order,
            instrument: t.instrument,
            side: t.side,
            qty: t.qty,
            notional,
            taker_curve: Some(curve),
            status,
        });
    }
}

/// Most orders of one account within one trade.
const FILLS_MAX: usize = 32;

fn status(of: notes::TradeStatus) -> TradeStatus {
    match of {
        notes::TradeStatus::Matched => TradeStatus::Matched,
        notes::TradeStatus::Mined => TradeStatus::Mined,
        notes::TradeStatus::Retrying => TradeStatus::Retrying,
        notes::TradeStatus::Confirmed => TradeStatus::Confirmed,
        notes::TradeStatus::Failed => TradeStatus::Failed,
    }
}

/// A token's best prices out of those of the YES ladder. A best price of 0 or 1 marks an empty side on the wire.
fn best(outcome: Outcome, tops: &[Option<Shown>; 2]) -> [Option<Price>; 2] {
    let [bid, ask] = tops.map(|t| t.map(|(p, _)| ladder_price(outcome, p)));
    match outcome {
        Outcome::Yes => [bid, ask],
        Outcome::No => [ask, bid],
    }
}

/// Cash of one match, rounded to the micro-pUSD against us.
fn cash(side: Side, qty: Qty, price: Price) -> Usdc {
    match side {
        Side::Buy => qty.notional_ceil(price),
        Side::Sell => qty.notional_floor(price),
    }
}

/// The tokens of a number of markets, in the venue's order.
pub fn tokens(markets: usize) -> impl Iterator<Item = InstrumentIx> {
    (0..2 * markets as u16).map(InstrumentIx)
}
