//! Step 8 of 9: what the end of a request means: for what it asked, for guards and budget, for the venue's mode.

use std::collections::VecDeque;

use super::{Desk, RESIDUE_MAX, RETRY_NS, Residue};
use crate::{
    gateway::{
        asked::{Asked, Sent},
        budget::{Call, Said},
        guards::CancelEnd,
        lane::{Ended, Flight},
        modes::mode_of,
        recv::{self, Became},
    },
    stage::{
        conn::Left,
        counters::{Counters, add},
        latency::Latency,
    },
    types::{
        Cycles, Event, Nanos, OrderHash, Stamp, Stamped,
        event::{CancelRefusal, Dependency, RejectReason, ReplyEvent, VenueMode},
    },
    wire::{limits::RateSaid, reply::OrderReply},
};

/// Times that an order left over by a cancel-all is cancelled by itself.
const RESIDUE_TRIES: u8 = 5;

impl Desk {
    /// A request ended: what became of what it asked.
    pub(super) fn ended(&mut self, flight: &Flight, ended: Ended<'_>) {
        let now = self.clock.now();
        add(&self.counters.http_malformed, u64::from(matches!(ended, Ended::Garbled(_))));
        match &flight.asked {
            Asked::Orders(sent) => self.orders_ended(sent, flight.left_at, ended, now),
            Asked::Cancels(sent) => self.cancels_ended(sent, ended, now),
            Asked::CancelAll => self.cancel_all_ended(ended, now),
            Asked::Door => {
                let facts = Facts::of(&ended);
                let clean = recv::cancel_all(&mut self.parser, ended, &mut |_| ());
                self.hear_limits(Call::Cancel, facts.said(false), now);
                self.hear_door(clean, facts.status, None, now);
            }
            // Without a clean answer the engine asks again on its timer.
            Asked::Lookup(order) => {
                let reply = recv::lookup(*order, &ended);
                self.hear_read(&ended, Call::Ledger, reply.is_some(), true, now);
                if let Some(reply) = reply {
                    let found = |(live, matched): (bool, bool)| live || matched;
                    if let ReplyEvent::OrderStatus { live, matched, .. } = reply {
                        self.guards.looked_up(order, found((live, matched.is_some())), now.wall);
                    }
                    self.reply(now, reply);
                }
            }
            Asked::Collateral => {
                let cash = recv::collateral(&ended);
                self.hear_read(&ended, Call::Balance, cash.is_some(), true, now);
                if let Some(cash) = cash {
                    self.reply(now, ReplyEvent::Collateral { cash });
                }
                self.collateral.answered(cash.is_some(), now);
            }
            Asked::Account => {
                let let_in = match Facts::of(&ended).status {
                    Some(200) => recv::collateral(&ended).map(|_| true),
                    Some(401 | 403) => Some(false),
                    _ => None,
                };
                self.guards.account(let_in, now.wall);
                // One answer is one trial; the breaker says when the next is made.
                self.account.answered(true, now);
            }
            // The engine asks again until it knows.
            Asked::Payout(market) => {
                let facts = recv::market(&ended);
                self.hear_read(&ended, Call::Other, facts.is_some(), false, now);
                if let Some(facts) = facts {
                    self.reply(now, ReplyEvent::Market { market: *market, facts });
                }
            }
            Asked::Heartbeat => self.heartbeat.answered(recv::heartbeat(&ended), now),
            Asked::BalanceUpdate => {
                let clean = matches!(&ended, Ended::Answered(response) if response.status == 200);
                self.hear_read(&ended, Call::BalanceUpdate, clean, true, now);
                self.balance_update.answered(clean, now);
            }
            Asked::Reading => {
                let clean = self.read(now, |reader, out| reader.hears(&ended, now.wall, out));
                self.hear_read(&ended, Call::Ledger, clean, true, now);
            }
            Asked::Time => {
                if let Some(ms) = self.venue_clock.hears(recv::time(&ended), now.wall) {
                    self.reply(now, ReplyEvent::ClockAhead { ms });
                }
            }
            Asked::Warm | Asked::Relay | Asked::Data => {}
        }
        self.tell_breakers(now);
    }

    fn orders_ended(&mut self, sent: &[Sent], left_at: Option<Cycles>, ended: Ended<'_>, now: Stamp) {
        let facts = Facts::of(&ended);
        let mut slow = false;
        if let (Some(_), Some(left_at)) = (facts.status, left_at) {
            let ns = self.clock.ns_between(left_at, now.cycles);
            slow = ns >= self.slow_ack_ns;
            self.sample(Latency::Ack, ns);
        }
        let call = if sent.len() == 1 { Call::Order } else { Call::Orders(sent.len() as u32) };
        self.hear_limits(call, facts.said(slow), now);
        let Self { parser, replies, guards, .. } = self;
        let mut mode = None;
        let mut taken = false;
        recv::orders(parser, sent, ended, &mut |reply| {
            if let Some((order, became)) = recv::became(&reply) {
                guards.order(&order, became, now.wall);
                taken |= became == Became::Accepted;
                if let Became::Rejected(reason) = became {
                    mode = mode.or(mode_of(reason));
                }
            }
            replies.push_back(Stamped { stamp: now, event: Event::Reply(reply) });
        });
        let mode = mode.or((facts.status == Some(425)).then_some(VenueMode::Restarting));
        let told = if let Some(mode) = mode {
            let retry_after_s = self.parser.retry_after_s().or(facts.retry_after_s);
            self.modes.refused(mode, retry_after_s, now.wall)
        } else if taken && self.modes.is_shut() {
            self.modes.opened(now.wall)
        } else {
            None
        };
        self.tell_mode(told, now);
    }

    fn cancels_ended(&mut self, sent: &[Sent], mut ended: Ended<'_>, now: Stamp) {
        let facts = Facts::of(&ended);
        let refused = self.why_refused(&mut ended);
        let how = facts.cancel_end();
        let Self { parser, replies, guards, residue, counters, .. } = self;
        let mut clean = false;
        recv::cancels(parser, sent, ended, &mut |reply| {
            let (order, gone, told) = match reply {
                ReplyEvent::Cancelled { order } => (order, true, true),
                ReplyEvent::CancelRefused { order, reason: CancelRefusal::Gone } => (order, true, false),
                ReplyEvent::CancelRefused { order, reason: CancelRefusal::Matched } => (order, true, true),
                ReplyEvent::CancelRefused { order, .. } => (order, false, true),
                ReplyEvent::CancelUnknown { order } => (order, false, false),
                _ => return,
            };
            clean |= !matches!(reply, ReplyEvent::CancelUnknown { .. });
            // That it is not there proves nothing of one that may be on its way.
            if told {
                guards.seen(&order, now.wall);
            }
            leave_over(residue, order, gone, now.wall, counters);
            replies.push_back(Stamped { stamp: now, event: Event::Reply(reply) });
        });
        let end = if clean { CancelEnd::Clean } else { how };
        let call = if sent.len() == 1 { Call::Cancel } else { Call::Cancels(sent.len() as u32) };
        self.hear_limits(call, facts.said(false), now);
        self.hear_cancel_end(end, false, now);
        self.hear_door(clean, facts.status, refused, now);
    }

    fn cancel_all_ended(&mut self, mut ended: Ended<'_>, now: Stamp) {
        let facts = Facts::of(&ended);
        let refused = self.why_refused(&mut ended);
        let how = facts.cancel_end();
        let Self { parser, replies, guards, residue, .. } = self;
        let mut left_over = false;
        let clean = recv::cancel_all(parser, ended, &mut |reply| {
            match reply {
                ReplyEvent::Cancelled { order } => guards.seen(&order, now.wall),
                ReplyEvent::CancelRefused { reason: CancelRefusal::Gone | CancelRefusal::Matched, .. } => {}
                // Each by itself, until it is gone or was tried often enough.
                ReplyEvent::CancelRefused { order, .. } => {
                    left_over = true;
                    if residue.len() < RESIDUE_MAX && !residue.iter().any(|r| r.order == order) {
                        residue.push_back(Residue { order, tries: 0, not_before: now.wall });
                    }
                }
                _ => {}
            }
            replies.push_back(Stamped { stamp: now, event: Event::Reply(reply) });
        });
        self.cancel_all.answered(clean, now);
        // An order that was on its way when it left may have come after it.
        if clean && std::mem::take(&mut self.cancel_all_again) {
            self.cancel_all.wanted = true;
        }
        let trial = self.guards.is_open(Dependency::Cancels);
        let end = match clean {
            true if left_over && trial => CancelEnd::Failed,
            true => CancelEnd::Clean,
            false => how,
        };
        self.hear_limits(Call::CancelAll(0), facts.said(false), now);
        self.hear_cancel_end(end, !left_over, now);
        self.hear_door(clean, facts.status, refused, now);
    }

    /// Why a call was refused, by the words that refuse orders. The body is read once more by nobody.
    fn why_refused(&mut self, ended: &mut Ended<'_>) -> Option<RejectReason> {
        let Ended::Answered(response) = ended else { return None };
        if response.status == 200 {
            return None;
        }
        match self.parser.order(response.status, response.json, response.body) {
            OrderReply::Rejected(reason) => Some(reason),
            _ => None,
        }
    }

    fn hear_cancel_end(&mut self, end: CancelEnd, all_of_it: bool, now: Stamp) {
        let failed = matches!(end, CancelEnd::Failed | CancelEnd::Unknown);
        add(&self.counters.cancels_failed, u64::from(failed));
        self.guards.cancel(end, all_of_it, now.wall);
    }

    /// What an answer to a cancel says of the venue's mode.
    fn hear_door(&mut self, clean: bool, status: Option<u16>, refused: Option<RejectReason>, now: Stamp) {
        let mode = refused.and_then(mode_of).or((status == Some(425)).then_some(VenueMode::Restarting));
        let told = match mode {
            _ if clean => self.modes.opened(now.wall),
            // The others take cancels: a refusal of one in their name is none.
            Some(mode @ (VenueMode::Disabled | VenueMode::Restarting)) => {
                self.modes.refused(mode, self.parser.retry_after_s(), now.wall)
            }
            _ => {
                self.modes.unclear(now.wall);
                None
            }
        };
        self.tell_mode(told, now);
    }

    fn hear_limits(&mut self, call: Call, said: Said, now: Stamp) {
        add(&self.counters.throttle_signals, u64::from(said.too_much()));
        self.budget.hear(call, &said, now.wall);
    }

    /// The end of a question. `private`: it carried our credentials.
    fn hear_read(&mut self, ended: &Ended<'_>, call: Call, clean: bool, private: bool, now: Stamp) {
        let facts = Facts::of(ended);
        self.hear_limits(call, facts.said(false), now);
        // Without a byte sent, or refused for who we are, it says nothing of the venue's reads.
        let not_made = matches!(ended, Ended::Lost(Left::Nothing));
        let refused = private && matches!(facts.status, Some(401 | 403));
        if not_made || refused {
            self.guards.read_not_made();
        } else {
            self.guards.read(clean, now.wall);
        }
        if refused {
            self.guards.account(Some(false), now.wall);
        }
    }
}

/// An order left over was cancelled, or tried once more.
fn leave_over(residue: &mut VecDeque<Residue>, order: OrderHash, gone: bool, now: Nanos, counters: &Counters) {
    let Some(at) = residue.iter().position(|r| r.order == order) else { return };
    residue[at].tries += 1;
    residue[at].not_before = now.plus(RETRY_NS);
    let given_up = !gone && residue[at].tries >= RESIDUE_TRIES;
    add(&counters.cancel_residue, u64::from(given_up));
    if gone || given_up {
        residue.remove(at);
    }
}

/// What an answer's head says, or how far the request came without one.
struct Facts {
    status: Option<u16>,
    /// What left of it, if it was lost.
    lost: Option<Left>,
    rate: RateSaid,
    retry_after_s: Option<u64>,
}

impl Facts {
    fn of(ended: &Ended<'_>) -> Self {
        let nothing = Self { status: None, lost: None, rate: Default::default(), retry_after_s: None };
        match ended {
            Ended::Answered(r) => {
                Self { status: Some(r.status), rate: r.rate, retry_after_s: r.retry_after_s, ..nothing }
            }
            Ended::Lost(left) => Self { lost: Some(*left), ..nothing },
            Ended::Garbled(_) => nothing,
        }
    }

    fn said(&self, slow: bool) -> Said {
        let refused = self.status == Some(429);
        Said { head: self.rate, refused, retry_after_s: self.retry_after_s, slow }
    }

    /// What became of a cancel whose answer was not clean.
    fn cancel_end(&self) -> CancelEnd {
        match (self.status, self.lost) {
            (Some(_), _) => CancelEnd::Failed,
            (None, Some(Left::Nothing)) => CancelEnd::NotMade,
            (None, _) => CancelEnd::Unknown,
        }
    }
}
