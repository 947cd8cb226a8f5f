//! Step 8 of 9: answers → what became of what was asked. Pure: bytes in, events out.
//!
//! Of an order there are four outcomes: accepted, rejected, never sent, unknown. Accepted and rejected need a clean
//! answer; never sent needs that not one byte left; everything else is unknown and stays so until the venue is asked by
//! order id.

use super::{
    asked::{BATCH_MAX, Sent},
    lane::Ended,
};
use crate::{
    stage::conn::Left,
    types::{
        OrderHash, Usdc,
        event::{MarketFacts, OrderChange, RejectReason, ReplyEvent},
    },
    wire::{
        listing,
        reply::{OrderReply, ReplyParser},
        rest,
    },
};

/// What became of an order, without which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    /// The venue took it.
    Accepted,
    /// It refused it.
    Rejected(RejectReason),
    /// Not one byte left.
    NeverSent,
    /// Bytes left and no clean answer came.
    Unknown,
}

/// The outcome that an event tells, if it tells one.
pub const fn became(event: &ReplyEvent) -> Option<(OrderHash, Became)> {
    match *event {
        ReplyEvent::Accepted { order, .. } => Some((order, Became::Accepted)),
        ReplyEvent::Rejected { order, reason } => Some((order, Became::Rejected(reason))),
        ReplyEvent::NeverSent { order } => Some((order, Became::NeverSent)),
        ReplyEvent::Unknown { order } => Some((order, Became::Unknown)),
        _ => None,
    }
}

/// Gives what became of each of the orders placed by one request, once each.
pub fn orders(parser: &mut ReplyParser, sent: &[Sent], ended: Ended<'_>, out: &mut impl FnMut(ReplyEvent)) {
    let response = match ended {
        Ended::Answered(response) => response,
        Ended::Lost(Left::Nothing) => {
            return sent.iter().for_each(|s| out(ReplyEvent::NeverSent { order: s.order }));
        }
        Ended::Lost(_) | Ended::Garbled(_) => {
            return sent.iter().for_each(|s| out(ReplyEvent::Unknown { order: s.order }));
        }
    };
    let (status, json) = (response.status, response.json);
    if let [one] = sent {
        return out(outcome(one.order, parser.order(status, json, response.body)));
    }
    let mut legs: heapless::Vec<OrderReply, BATCH_MAX> = heapless::Vec::new();
    parser.orders(status, json, response.body, sent.len(), &mut |_, reply| {
        // As many legs as orders: it fits.
        let _ = legs.push(reply);
    });
    // A refused leg carries no id, so its place is all there is; that is good enough only while every accepted leg is
    // in its place.
    let in_place = legs.iter().zip(sent).all(|(leg, s)| match leg {
        OrderReply::Accepted { order, .. } => *order == s.order,
        _ => true,
    });
    for (n, s) in sent.iter().enumerate() {
        let by_id = legs.iter().find(|leg| matches!(leg, OrderReply::Accepted { order, .. } if *order == s.order));
        let reply = match (by_id, legs.get(n)) {
            (Some(accepted), _) => *accepted,
            (None, Some(OrderReply::Rejected(reason))) if in_place => OrderReply::Rejected(*reason),
            _ => OrderReply::Unknown,
        };
        out(outcome(s.order, reply));
    }
}

/// One order's outcome. An answer about another order says nothing about ours.
fn outcome(ours: OrderHash, reply: OrderReply) -> ReplyEvent {
    match reply {
        OrderReply::Accepted { order, status } if order == ours => ReplyEvent::Accepted { order, status },
        OrderReply::Rejected(reason) => ReplyEvent::Rejected { order: ours, reason },
        OrderReply::Accepted { .. } | OrderReply::Unknown => ReplyEvent::Unknown { order: ours },
    }
}

/// Gives what became of each cancel of one request, once each.
pub fn cancels(parser: &mut ReplyParser, sent: &[Sent], ended: Ended<'_>, out: &mut impl FnMut(ReplyEvent)) {
    let mut told = [false; super::asked::CANCELS_MAX];
    if let Ended::Answered(response) = ended {
        parser.cancel(response.status, response.json, response.body, &mut |order, refusal| {
            let Some(n) = sent.iter().position(|s| s.order == order) else { return };
            // An order named twice is heard once.
            if !std::mem::replace(&mut told[n], true) {
                out(refusal
                    .map_or(ReplyEvent::Cancelled { order }, |reason| ReplyEvent::CancelRefused { order, reason }));
            }
        });
    }
    for (s, _) in sent.iter().zip(told).filter(|(_, told)| !told) {
        out(ReplyEvent::CancelUnknown { order: s.order });
    }
}

/// Gives every order that a cancel-all names: cancelled, or why not. False: no clean answer, ask again.
pub fn cancel_all(parser: &mut ReplyParser, ended: Ended<'_>, out: &mut impl FnMut(ReplyEvent)) -> bool {
    let Ended::Answered(response) = ended else { return false };
    parser.cancel(response.status, response.json, response.body, &mut |order, refusal| {
        out(refusal.map_or(ReplyEvent::Cancelled { order }, |reason| ReplyEvent::CancelRefused { order, reason }));
    })
}

/// The answer to a look-up; `None` if it was not clean: the engine asks again.
/// Source: docs/PROTOCOL.md "account reads": 404 or null is "not live", no more.
pub fn lookup(order: OrderHash, ended: &Ended<'_>) -> Option<ReplyEvent> {
    let Ended::Answered(response) = ended else { return None };
    // A proxy's page is no word about the order.
    if !response.json {
        return None;
    }
    match rest::open_order(response.status, response.body).ok()? {
        None => Some(ReplyEvent::OrderStatus { order, live: false, matched: None }),
        Some(shown) if shown.id != order => None,
        Some(shown) => {
            // A held order is there too: it can still match.
            // A word that we do not know is neither.
            if shown.status == OrderChange::Unrecognised {
                return None;
            }
            let live = matches!(shown.status, OrderChange::Placed | OrderChange::Delayed);
            Some(ReplyEvent::OrderStatus { order, live, matched: Some(shown.matched) })
        }
    }
}

/// What a market's page says; `None` if the answer was not clean.
pub fn market(ended: &Ended<'_>) -> Option<MarketFacts> {
    match ended {
        Ended::Answered(response) if response.status == 200 => {
            let listing = listing::clob_market(response.body).ok()?;
            let closed = listing.closed == Some(true);
            Some(MarketFacts {
                accepting: listing.accepting != Some(false),
                closed,
                game_start: listing.game_start,
                hold_ms: listing.hold_ms.unwrap_or(0),
                tick: listing.tick,
                payout: listing.payout.filter(|_| closed),
            })
        }
        _ => None,
    }
}

/// Our collateral; `None` if the answer was not clean.
pub fn collateral(ended: &Ended<'_>) -> Option<Usdc> {
    match ended {
        Ended::Answered(response) if response.status == 200 => {
            rest::balance_allowance(response.body).ok().map(|balance| balance.cash())
        }
        _ => None,
    }
}

/// The venue's time in Unix seconds; `None` if the answer was not clean.
pub fn time(ended: &Ended<'_>) -> Option<u64> {
    match ended {
        Ended::Answered(response) if response.status == 200 => rest::time(response.body).ok(),
        _ => None,
    }
}

/// The heartbeat's answer: the id to send next, and whether the beat was taken.
/// Source: docs/PROTOCOL.md "heartbeat": a wrong id is answered by the right one and does not extend the deadline.
pub fn heartbeat(ended: &Ended<'_>) -> Option<(String, bool)> {
    match ended {
        Ended::Answered(response) if matches!(response.status, 200 | 400) => {
            rest::heartbeat(response.body).ok().map(|id| (id, response.status == 200))
        }
        _ => None,
    }
}
