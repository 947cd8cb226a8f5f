//! Steps 3 and 8 of 9: what each event changes in books, orders and accounts.

use super::{
    Actions,
    book::Distrust,
    desk::Desk,
    gate::Closed,
    orders::{Input, Order},
    position::Booked,
};
use crate::types::{
    InstrumentIx, MarketIx, OrderHash, Qty, Side,
    event::{
        CancelRefusal, KillReason, MarketEvent, OrderChange, Payout, RecoveredEvent, RejectReason, ReplyEvent,
        UserEvent, VenueMode,
    },
    order::OrderState,
};

/// Look-ups in a row that must miss before an order that should have ended is taken for gone.
const MISSES_TO_END: u8 = 2;
/// The same for an order of which nothing clean was ever heard.
const MISSES_TO_DISBELIEVE: u8 = 4;

/// An order without an expiry of its own, of which nothing clean was ever heard, is held for at least this long.
const ZOMBIE_S: u64 = 120;

/// A fill that was not known before.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewFill {
    pub(super) instrument: InstrumentIx,
    pub(super) side: Side,
    pub(super) qty: Qty,
}

impl Desk {
    pub(super) fn hear_market(&mut self, event: &MarketEvent, out: &mut Actions) {
        match *event {
            MarketEvent::Delta { instrument, side, price, qty } => {
                if let Some(it) = self.instruments.get_mut(instrument.ix()) {
                    it.book.delta(side, price, qty);
                    self.fresh.add(instrument.market());
                }
            }
            MarketEvent::Top { instrument, bid, ask } => {
                if let Some(it) = self.instruments.get_mut(instrument.ix()) {
                    it.book.check_top(bid, ask);
                    self.fresh.add(instrument.market());
                }
            }
            MarketEvent::SnapshotStart { instrument, tick, .. } => {
                if let Some(it) = self.instruments.get_mut(instrument.ix())
                    && it.book.distrust() != Some(Distrust::Resolved)
                {
                    it.book.snapshot_start(tick);
                }
            }
            MarketEvent::Level { instrument, side, price, qty } => {
                if let Some(it) = self.instruments.get_mut(instrument.ix()) {
                    it.book.snapshot_level(side, price, qty);
                }
            }
            MarketEvent::SnapshotEnd { instrument } => {
                if let Some(it) = self.instruments.get_mut(instrument.ix()) {
                    it.book.snapshot_end();
                    self.fresh.add(instrument.market());
                }
            }
            MarketEvent::FrameEnd { .. } => self.frame_end(out),
            MarketEvent::TickSizeChange { instrument, tick } => {
                if let Some(it) = self.instruments.get_mut(instrument.ix())
                    && it.book.tick() != tick
                    && it.book.distrust() != Some(Distrust::Resolved)
                {
                    it.book.tick_changed(tick);
                    self.fresh.add(instrument.market());
                }
            }
            MarketEvent::LastTrade { .. } => {}
            MarketEvent::Resolved { market, payout } => self.resolve(market, payout),
            MarketEvent::ResolvedUnclear { market } => self.want_payout(market),
            MarketEvent::Gap { instrument, reason } => {
                let all = 0..self.instruments.len();
                let which = instrument.map_or(all.clone(), |i| i.ix()..(i.ix() + 1).min(all.end));
                for i in which {
                    let it = &mut self.instruments[i];
                    // A book that never had a snapshot still waits for its first.
                    if !matches!(it.book.distrust(), Some(Distrust::NoSnapshot | Distrust::Resolved)) {
                        it.book.mark(Distrust::Gap(reason));
                        self.fresh.add(InstrumentIx(i as u16).market());
                    }
                }
                self.frame_end(out);
            }
        }
    }

    /// One message is whole: the markets it touched are decided on.
    fn frame_end(&mut self, out: &mut Actions) {
        self.messages += 1;
        let mut fresh = core::mem::take(&mut self.fresh);
        while let Some(m) = fresh.take() {
            for i in [InstrumentIx(m.0 * 2), InstrumentIx(m.0 * 2 + 1)] {
                self.watch_trust(i, out);
            }
            self.touched.add(m);
        }
    }

    pub(super) fn hear_user(&mut self, event: &UserEvent) -> Option<NewFill> {
        match *event {
            UserEvent::Up => {
                self.risk.set(Closed::UserStreamDown, false);
                self.risk.set(Closed::NotReconciled, self.orders.any_unverified());
            }
            // What happens to our orders meanwhile is not replayed: each is asked after before anything new is placed.
            UserEvent::Down => {
                self.risk.set(Closed::UserStreamDown, true);
                self.orders.distrust_all();
                self.touch_all();
            }
            UserEvent::Order { order, change, .. } => {
                let input = match change {
                    OrderChange::Placed => Input::SeenLive,
                    OrderChange::Delayed => Input::SeenDelayed,
                    OrderChange::Cancelled | OrderChange::Invalid => Input::Gone,
                    // Fills come as trades; a word we do not know is looked up by the clock.
                    OrderChange::Matched | OrderChange::Unrecognised => return None,
                };
                self.order_input(&order, input);
            }
            UserEvent::Trade { trade, order, instrument, side, qty, notional, taker_curve, status } => {
                let spec = self.universe.markets.get(instrument.market().ix())?;
                // Somebody else's order, or one of an earlier run: reconciliation's business, not ours.
                if self.orders.get(&order).is_none() && !self.ledger.knows(&(trade, order)) {
                    return None;
                }
                let key = (trade, order);
                let fee = spec.fee;
                match self.ledger.trade(key, instrument, side, qty, notional, taker_curve, fee, status) {
                    Booked::New => {
                        self.orders.fill(&order, qty, self.now);
                        self.touched.add(instrument.market());
                        return Some(NewFill { instrument, side, qty });
                    }
                    Booked::Voided => self.orders.unfill(&order, qty),
                    Booked::Known | Booked::Contradiction => {}
                }
                self.touched.add(instrument.market());
            }
        }
        None
    }

    pub(super) fn hear_reply(&mut self, event: &ReplyEvent, out: &mut Actions) {
        match *event {
            ReplyEvent::Sent { order } => {
                self.orders.apply(&order, Input::Sent, self.now);
            }
            ReplyEvent::Accepted { order, status } => {
                self.counts.accepted += 1;
                if let Some(m) = self.order_input(&order, Input::Acked(status)) {
                    self.risk.accepted(m);
                }
            }
            ReplyEvent::Rejected { order, reason } => {
                self.counts.rejected += 1;
                self.rejected[reason as usize] += 1;
                let market = self.order_input(&order, Input::Rejected(reason));
                match (reason, market) {
                    // Normal outcomes of a moving market; the next event reprices.
                    (RejectReason::Crosses | RejectReason::NotFilled, _) => {}
                    // The whole account is refused: nothing that we send will do better.
                    (RejectReason::Version | RejectReason::Auth, _) => {
                        self.kill(KillReason::Rejects, out);
                    }
                    (_, Some(m)) => self.risk.rejected(m, self.now),
                    (_, None) => {}
                }
            }
            ReplyEvent::NeverSent { order } => {
                self.order_input(&order, Input::NeverSent);
            }
            ReplyEvent::Unknown { order } => {
                self.counts.unknown += 1;
                self.order_input(&order, Input::Unclear);
            }
            ReplyEvent::Cancelled { order } => {
                self.order_input(&order, Input::Gone);
            }
            ReplyEvent::CancelRefused { order, reason } => {
                self.order_input(&order, Input::CancelRefused(reason));
            }
            ReplyEvent::CancelUnknown { order } => {
                self.order_input(&order, Input::CancelRefused(CancelRefusal::Other));
            }
            ReplyEvent::OrderStatus { order, live, matched } => self.looked_up(&order, live, matched, out),
            ReplyEvent::Market { market, facts } => {
                if let Some(payout) = facts.payout {
                    self.resolve(market, payout);
                }
            }
            ReplyEvent::Mode { mode, .. } => self.hear_mode(mode),
            ReplyEvent::Heartbeat { healthy } => self.risk.set(Closed::HeartbeatUnhealthy, !healthy),
            ReplyEvent::ClockAhead { .. } | ReplyEvent::Breaker { .. } | ReplyEvent::Read(_) => {}
            ReplyEvent::Merged { market, qty } if market.ix() < self.universe.markets.len() => {
                self.ledger.merged(market, qty);
            }
            ReplyEvent::MergeFailed { market, qty } if market.ix() < self.universe.markets.len() => {
                self.ledger.merge_failed(market, qty, self.now);
            }
            ReplyEvent::Merged { .. } | ReplyEvent::MergeFailed { .. } => {}
            ReplyEvent::Collateral { cash } => self.count_collateral(cash, out),
            ReplyEvent::GatewayUp => {
                self.risk.set(Closed::GatewayDown, false);
                self.touch_all();
            }
            ReplyEvent::GatewayDown => {
                self.risk.set(Closed::GatewayDown, true);
                self.touch_all();
            }
        }
    }

    /// The venue said which orders it takes.
    fn hear_mode(&mut self, mode: VenueMode) {
        for (condition, when) in [
            (Closed::VenueRestarting, VenueMode::Restarting),
            (Closed::VenueDisabled, VenueMode::Disabled),
            (Closed::VenueCancelOnly, VenueMode::CancelOnly),
            (Closed::VenuePostOnly, VenueMode::PostOnly),
        ] {
            self.risk.set(condition, mode == when);
        }
        self.touch_all();
    }

    /// What earlier runs left.
    pub(super) fn hear_recovered(&mut self, event: &RecoveredEvent) {
        if let RecoveredEvent::Killed(why) = event {
            self.risk.kill(*why);
        }
    }

    /// A look-up says only whether an order rests now. What should have ended and is not there has ended, after more
    /// than one such answer; what may still be on its way is disbelieved more slowly.
    fn looked_up(&mut self, order: &OrderHash, live: bool, matched: Option<Qty>, out: &mut Actions) {
        let Some(&Order { state, created, intent, filled, unverified, .. }) = self.orders.get(order) else { return };
        if unverified && (live || matched.is_some()) {
            self.orders.verified(order);
            // A fill that the stream told nobody of: the position is not what we think. Stop, and let a person look.
            if matched.is_some_and(|m| m > filled + Qty::DUST) {
                self.kill(KillReason::Accounts, out);
            }
            self.risk.set(Closed::NotReconciled, self.orders.any_unverified());
            self.touch_all();
        }
        if live {
            match state {
                // The cancel did not do it: it may be asked for again.
                OrderState::CancelPending => {
                    self.order_input(order, Input::CancelRefused(CancelRefusal::Other));
                }
                _ => {
                    self.order_input(order, Input::SeenLive);
                }
            }
            return;
        }
        // Bytes of an order whose fate is unknown may still arrive; after its own expiry the venue takes them no more.
        let (enough, not_before_s) = match (state, intent.tif.expiration_s()) {
            (OrderState::Unknown | OrderState::Created | OrderState::Sent, 0) => {
                (MISSES_TO_DISBELIEVE, created.secs() + ZOMBIE_S)
            }
            (OrderState::Unknown | OrderState::Created | OrderState::Sent, expires_s) => {
                (MISSES_TO_DISBELIEVE, expires_s)
            }
            _ => (MISSES_TO_END, 0),
        };
        if self.orders.note_miss(order) >= enough && self.now.secs() >= not_before_s {
            match state {
                OrderState::Unknown | OrderState::Created | OrderState::Sent => {
                    self.order_input(order, Input::NeverArrived);
                }
                // It rested, the stream was down, and the venue knows it no more: whether it filled, nobody says.
                _ if unverified => self.kill(KillReason::Accounts, out),
                _ => {
                    self.order_input(order, Input::Gone);
                }
            }
        }
    }

    fn resolve(&mut self, market: MarketIx, payout: Payout) {
        if market.ix() < self.universe.markets.len() {
            self.ledger.resolve(market, payout);
            for i in [InstrumentIx(market.0 * 2), InstrumentIx(market.0 * 2 + 1)] {
                self.instruments[i.ix()].book.mark(Distrust::Resolved);
            }
        }
    }

    /// Applies an input to an order of ours, counts its end, and has its market decided on again.
    fn order_input(&mut self, order: &OrderHash, input: Input) -> Option<MarketIx> {
        let market = self.orders.get(order)?.intent.instrument.market();
        let (before, after) = self.orders.apply(order, input, self.now)?;
        if before != after {
            self.counts.canceled += u64::from(after == OrderState::Cancelled);
            // What was refused on this book would be refused on it again: the next message or tick decides.
            if !matches!(input, Input::Rejected(_) | Input::NeverSent) {
                self.touched.add(market);
            }
        }
        Some(market)
    }
}
