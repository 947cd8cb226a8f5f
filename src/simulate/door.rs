//! What the engine asks for, carried out at the venue: the gateway's part, without requests and answers in between.
//!
//! No rate limits, no modes, no faults: the link does not fail. One reading of the account is one moment.

use crate::{
    engine::Approved,
    types::{
        InstrumentIx, MarketIx, Nanos, OrderHash, Qty,
        event::{AckStatus, CancelRefusal, MarketFacts, ReadEvent, RejectReason, ReplyEvent, UserEvent},
        ids::Outcome,
    },
    venue::{
        accounts::AccountIx,
        exchange::{Ack, Cancel},
        host::Host,
        rules::{NewOrder, Phase, Refusal},
    },
};

use super::hear;

/// Something on its way to the venue.
#[derive(Clone, Copy, Debug)]
pub enum Ask {
    /// An order.
    Place(Approved),
    /// A cancel of one.
    Cancel(OrderHash),
    /// A cancel of all.
    CancelAll,
    /// What became of one?
    Lookup(OrderHash),
    /// A market's page.
    Market(MarketIx),
    /// Collateral.
    Collateral,
    /// Everything that the venue knows of us: the round, and since when trades.
    Everything(u32, Nanos),
    /// Complete sets into collateral, on chain.
    Merge(MarketIx, Qty),
    /// A token's book, anew.
    Book(InstrumentIx),
}

/// What came back.
#[derive(Clone, Copy, Debug)]
pub enum Told {
    /// An answer.
    Reply(ReplyEvent),
    /// A trade, within a reading.
    Trade(UserEvent),
}

/// Who we are at the venue.
#[derive(Clone, Debug)]
pub struct Us {
    /// Whose funds.
    pub account: AccountIx,
    /// API key.
    pub key: std::sync::Arc<str>,
}

/// Carries out one question or wish and gives the answers, in order. Snapshots are the market channel's.
pub fn carry_out(host: &mut Host, us: &Us, ask: Ask, now: Nanos, tell: &mut impl FnMut(Told)) {
    let mut reply = |r| tell(Told::Reply(r));
    match ask {
        Ask::Place(approved) => reply(place(host, us, &approved, now)),
        Ask::Cancel(order) => reply(cancel(host, us, order, now)),
        Ask::CancelAll => {
            for order in host.exchange.open_orders(|o| o.new.owner == us.key) {
                reply(cancel(host, us, order, now));
            }
        }
        Ask::Lookup(order) => {
            let known = host.exchange.order(&order).filter(|o| o.new.owner == us.key);
            let live = known.is_some_and(|o| matches!(o.phase, Phase::Live | Phase::Delayed));
            reply(ReplyEvent::OrderStatus { order, live, matched: known.map(|o| o.matched) });
        }
        Ask::Market(market) => reply(ReplyEvent::Market { market, facts: facts(host, market) }),
        Ask::Collateral => reply(ReplyEvent::Collateral { cash: host.exchange.account(us.account).cash }),
        Ask::Everything(round, since) => everything(host, us, round, since, tell),
        Ask::Merge(market, qty) => reply(match host.exchange.merge(us.account, market, qty, now) {
            Ok(()) => ReplyEvent::Merged { market, qty },
            Err(_) => ReplyEvent::MergeFailed { market, qty },
        }),
        Ask::Book(_) => {}
    }
}

fn place(host: &mut Host, us: &Us, approved: &Approved, now: Nanos) -> ReplyEvent {
    let (intent, amounts, order) = (approved.intent(), approved.amounts(), approved.hash());
    let new = NewOrder {
        id: order,
        account: us.account,
        owner: us.key.clone(),
        tag: None,
        instrument: intent.instrument,
        side: intent.side,
        maker_amount: amounts.maker,
        taker_amount: amounts.taker,
        tif: intent.tif,
        post_only: intent.post_only,
    };
    match host.exchange.submit(new, now) {
        Ok(Ack::Live) => ReplyEvent::Accepted { order, status: AckStatus::Live },
        Ok(Ack::Delayed) => ReplyEvent::Accepted { order, status: AckStatus::Delayed },
        Ok(Ack::Matched { .. }) => ReplyEvent::Accepted { order, status: AckStatus::Matched },
        Err(refusal) => ReplyEvent::Rejected { order, reason: reason(&refusal) },
    }
}

/// Why an order was refused, as its words are read.
pub fn reason(refusal: &Refusal) -> RejectReason {
    match refusal {
        Refusal::Payload | Refusal::PostOnlyKind => RejectReason::Other,
        Refusal::Owner | Refusal::Signer | Refusal::Signature => RejectReason::Auth,
        Refusal::Version => RejectReason::Version,
        Refusal::NoBook(_) => RejectReason::MarketClosed,
        Refusal::Tick(..) => RejectReason::TickSize,
        Refusal::Size(..) | Refusal::Amount(_) => RejectReason::MinSize,
        Refusal::Duplicate(_) => RejectReason::Duplicate,
        Refusal::Crosses => RejectReason::Crosses,
        Refusal::Balance => RejectReason::Balance,
        Refusal::Expiration => RejectReason::Expiration,
        Refusal::Fok | Refusal::Fak => RejectReason::NotFilled,
    }
}

fn cancel(host: &mut Host, us: &Us, order: OrderHash, now: Nanos) -> ReplyEvent {
    match host.exchange.cancel(&order, &us.key, now) {
        Cancel::Canceled => ReplyEvent::Cancelled { order },
        Cancel::Gone => ReplyEvent::CancelRefused { order, reason: CancelRefusal::Gone },
        Cancel::Matched => ReplyEvent::CancelRefused { order, reason: CancelRefusal::Matched },
        Cancel::Delayed => ReplyEvent::CancelRefused { order, reason: CancelRefusal::Delayed },
    }
}

/// A market's page. The start of a game is told in whole seconds.
fn facts(host: &Host, m: MarketIx) -> MarketFacts {
    let market = host.exchange.market(m);
    let closed = !host.accepts(m);
    MarketFacts {
        accepting: !closed,
        closed,
        game_start: market.spec.game_start.map(|at| Nanos(at.secs() * 1_000_000_000)),
        hold_ms: market.spec.hold_ms,
        tick: Some(market.tick),
        payout: market.resolved.filter(|_| closed),
    }
}

/// Everything between a begin, which the asker said, and an end: orders, trades, collateral, shares, positions.
fn everything(host: &Host, us: &Us, round: u32, since: Nanos, tell: &mut impl FnMut(Told)) {
    let read = |event| Told::Reply(ReplyEvent::Read(event));
    for id in host.exchange.open_orders(|o| o.new.owner == us.key) {
        if let Some(o) = host.exchange.order(&id) {
            let (instrument, side, matched) = (o.new.instrument, o.new.side, o.matched);
            tell(read(ReadEvent::Order { order: id, instrument, side, matched }));
        }
    }
    for t in host.exchange.trades().rev().take_while(|t| t.matched_at.secs() >= since.secs()) {
        hear::trade(t, &us.key, &mut |event| tell(Told::Trade(event)));
    }
    let account = host.exchange.account(us.account);
    tell(read(ReadEvent::Cash { cash: account.cash }));
    for instrument in hear::tokens(host.exchange.markets().len()) {
        tell(read(ReadEvent::Shares { instrument, qty: account.holding(instrument).balance }));
    }
    for instrument in hear::tokens(host.exchange.markets().len()) {
        tell(read(ReadEvent::Position { instrument, qty: account.holding(instrument).balance }));
    }
    tell(read(ReadEvent::End { round, complete: true }));
}

/// Shares of both outcomes of every market, by the venue's account.
pub fn shares(host: &Host, us: &Us) -> Vec<[Qty; 2]> {
    let account = host.exchange.account(us.account);
    let of = |m: usize| [Outcome::Yes, Outcome::No].map(|o| account.holding(MarketIx(m as u16).instrument(o)).balance);
    (0..host.exchange.markets().len()).map(of).collect()
}
