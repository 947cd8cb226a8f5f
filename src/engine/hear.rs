//! Steps 3 and 8 of 9: what each event changes in books, orders and accounts.

use super::{
    Action, Actions,
    book::Distrust,
    desk::{Desk, LOOKUP_NS},
    exposure::{Open, Told},
    gate::{Closed, MarketClosed},
    life::Input,
    orders::{Order, Overfill},
    position::{Booked, Fill, NewTrade},
    risk::Watched,
    strategy::NewFill,
};
use crate::types::{
    InstrumentIx, MarketIx, OrderHash, Qty, Stamp, Usdc,
    event::{
        CancelRefusal, GapReason, KillReason, MarketEvent, MarketFacts, Payout, RecoveredEvent, RejectReason,
        ReplyEvent, UserEvent, VenueMode,
    },
    fees::Rounding,
    ids::Outcome,
    order::OrderState,
};

/// Look-ups in a row that must miss before an order that should have ended is taken for gone.
const MISSES_TO_END: u8 = 2;
/// The same for an order of which nothing clean was ever heard.
const MISSES_TO_DISBELIEVE: u8 = 4;

/// A snapshot with so much between its best prices, in units of 0.0001, says nothing of the price.
const GHOST_UNITS: u16 = 9_000;
/// One that comes so soon after a price was known is not believed.
const GHOST_NS: u64 = 30_000_000_000;

/// A market that said it is not ready is left alone this long.
const NOT_READY_NS: u64 = 5_000_000_000;
/// A clock that is off by more than this places nothing: signatures carry its time.
const CLOCK_OFF_MS: u32 = 1_000;

/// An order without an expiry of its own, of which nothing clean was ever heard, is held for at least this long.
const ZOMBIE_S: u64 = 120;

impl Desk {
    pub(super) fn hear_market(&mut self, event: &MarketEvent, out: &mut Actions) {
        match *event {
            MarketEvent::Delta { instrument, side, price, qty } => {
                if let Some(it) = self.instruments.get_mut(instrument.ix()) {
                    it.book.delta(side, price, qty);
                    self.fresh.add(instrument.market());
                    self.changed.add(instrument.market());
                }
            }
            MarketEvent::Top { instrument, bid, ask } => {
                if let Some(it) = self.instruments.get_mut(instrument.ix()) {
                    it.book.check_top(bid, ask);
                    if let (Some(bid), Some(ask)) = (bid, ask)
                        && ask.units().saturating_sub(bid.units()) < GHOST_UNITS
                    {
                        it.priced_at = Some(self.now);
                    }
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
                    match it.book.spread_units().filter(|_| it.book.trusted()) {
                        Some(spread) if spread < GHOST_UNITS => it.priced_at = Some(self.now),
                        // The venue has been seen to serve 0.01 / 0.99 for a market that traded elsewhere.
                        Some(_) if it.priced_at.is_some_and(|at| self.now.since(at) < GHOST_NS) => {
                            it.book.mark(Distrust::Ghost);
                        }
                        _ => {}
                    }
                    self.fresh.add(instrument.market());
                    self.note_snapshot(instrument.market());
                }
            }
            MarketEvent::FrameEnd { venue_ms } => {
                self.watch_lateness(venue_ms, out);
                self.frame_end(out);
            }
            MarketEvent::TickSizeChange { instrument, tick } => {
                if let Some(it) = self.instruments.get_mut(instrument.ix())
                    && it.book.tick() != tick
                    && it.book.distrust() != Some(Distrust::Resolved)
                {
                    it.book.tick_changed(tick);
                    self.fresh.add(instrument.market());
                }
            }
            MarketEvent::LastTrade { instrument, .. } => {
                if let Some(it) = self.instruments.get_mut(instrument.ix()) {
                    it.priced_at = Some(self.now);
                }
            }
            MarketEvent::Resolved { market, payout } => self.told_resolved(market, payout),
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
                // The market channel was cut: what it missed of our own orders the user channel told, or nobody did.
                if reason == GapReason::Disconnected {
                    self.reconciliation.want(self.now);
                }
                self.frame_end(out);
            }
        }
    }

    /// Changes that were made long before we read them move the books, and lead to no order.
    fn watch_lateness(&mut self, venue_ms: u64, out: &mut Actions) {
        let mut changed = core::mem::take(&mut self.changed);
        if venue_ms == 0 {
            return;
        }
        let ours = self.now.millis() as i64 - i64::from(self.clock_ahead_ms);
        let late_ms = ours.saturating_sub(i64::try_from(venue_ms).unwrap_or(i64::MAX));
        if !changed.is_empty() {
            self.watch.heard(late_ms);
        }
        let late = late_ms > i64::from(self.risk.limits().late_ms);
        while let Some(m) = changed.take() {
            let was = self.risk.market(m).has(MarketClosed::Late);
            if late && !was {
                // Should nothing follow it, a snapshot tells what there is now.
                for i in [InstrumentIx(m.0 * 2), InstrumentIx(m.0 * 2 + 1)] {
                    let _ = out.push(Action::Resync { instrument: i });
                }
            }
            self.risk.set_market(m, MarketClosed::Late, late);
            if late {
                self.note_late(m);
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

    /// A fill of ours that the strategy is to be told of, and whether it came or is void.
    pub(super) fn hear_user(&mut self, event: &UserEvent) -> Option<(NewFill, Booked)> {
        match *event {
            UserEvent::Up => {
                self.risk.set(Closed::UserStreamDown, false);
                self.user_down_since = None;
                // What happened meanwhile is not replayed: it is read.
                self.risk.set(Closed::NotReconciled, true);
                self.reconciliation.want(self.now);
                self.touch_all();
            }
            // What happens to our orders meanwhile is not replayed: each is asked after before anything new is placed.
            UserEvent::Down => {
                self.risk.set(Closed::UserStreamDown, true);
                self.user_down_since.get_or_insert(self.now);
                self.cuts += 1;
                self.orders.distrust_all();
                self.touch_all();
            }
            UserEvent::Order { order, change, matched } => {
                if let Some(matched) = matched {
                    self.orders.told(&order, matched, self.now);
                }
                if let Some(input) = Input::seen(change) {
                    self.order_input(&order, input);
                }
            }
            UserEvent::Trade { trade, order, instrument, side, qty, notional, taker_curve, status } => {
                let m = instrument.market();
                let fee = self.universe.markets.get(m.ix())?.fee;
                let key = (trade, order);
                // An order of somebody else with our wallet, or of a run long ago: what it did to our shares is read.
                if self.orders.get(&order).is_none() && !self.ledger.knows(&key) {
                    self.reconciliation.stranger_s_trade(self.now);
                    return None;
                }
                let known = self.orders.get(&order);
                let strategy = known.map(|o| o.intent.strategy);
                let limit = known.map(|o| Open::of(&o.intent, o.leaves(), fee));
                let curve = taker_curve;
                let told = NewTrade { instrument, side, qty, notional, curve, fees: fee, status, strategy, limit };
                let booked = self.ledger.trade(key, &told, self.now);
                self.touched.add(m);
                // One that failed before we heard of it used up the order's size all the same.
                if matches!(booked, Booked::New | Booked::NeverWas)
                    && self.orders.fill(&order, qty, self.now) == Err(Overfill)
                {
                    self.mismatch(m);
                }
                if self.orders.get(&order).is_some_and(Order::is_complete) {
                    self.order_input(&order, Input::Gone);
                }
                if let (Booked::New, Some(strategy)) = (booked, strategy) {
                    self.risk.guards().filled(instrument, side, strategy, self.now);
                }
                if matches!(booked, Booked::New | Booked::Voided) {
                    let fee = taker_curve.map_or(Usdc::ZERO, |c| fee.fee_on_curve(c, Rounding::HalfEven));
                    let taker = taker_curve.is_some();
                    return Some((NewFill { order, instrument, side, qty, notional, fee, taker }, booked));
                }
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
                let sent = self.orders.get(&order).map(|o| o.changed);
                if let Some(m) = self.order_input(&order, Input::acked(status)) {
                    self.risk.watch(m, Watched::Rejects, true, self.now);
                    if let Some(sent) = sent {
                        self.risk.answered(m, self.now.since(sent), self.now);
                    }
                }
            }
            ReplyEvent::Rejected { order, reason } => {
                self.counts.rejected += 1;
                self.rejected[reason as usize] += 1;
                let market = self.order_input(&order, Input::rejected(reason));
                let killed = reason == RejectReason::NotFilled && self.found_nothing(&order);
                self.counts.immediate_killed += u64::from(killed);
                self.refused(order, reason, market, out);
            }
            ReplyEvent::NeverSent { order } => {
                if let Some(m) = self.order_input(&order, Input::NeverSent) {
                    self.risk.trial_lost(m);
                }
            }
            ReplyEvent::Unknown { order } => {
                self.counts.unknown += 1;
                if let Some(m) = self.order_input(&order, Input::Unclear) {
                    self.risk.trial_lost(m);
                }
                self.pursue(&order, out);
                self.error(out);
            }
            ReplyEvent::Cancelled { order } => {
                if let Some(&Order { state: OrderState::CancelPending, changed, .. }) = self.orders.get(&order) {
                    self.watch.cancelled(changed, self.now);
                }
                if let Some(m) = self.order_input(&order, Input::Gone) {
                    self.risk.watch(m, Watched::Cancels, true, self.now);
                }
            }
            ReplyEvent::CancelRefused { order, reason } => {
                // That it matched, or is held, is no failure of the cancel's.
                if let (Some(m), CancelRefusal::Other) =
                    (self.order_input(&order, Input::cancel_refused(reason)), reason)
                {
                    self.risk.watch(m, Watched::Cancels, false, self.now);
                    self.error(out);
                }
            }
            ReplyEvent::CancelUnknown { order } => {
                if let Some(m) = self.order_input(&order, Input::CancelRefusedOther) {
                    self.risk.watch(m, Watched::Cancels, false, self.now);
                    self.error(out);
                }
            }
            ReplyEvent::OrderStatus { order, live, matched } => self.looked_up(&order, live, matched),
            ReplyEvent::Market { market, facts } => self.hear_facts(market, &facts),
            ReplyEvent::Mode { mode, .. } => self.hear_mode(mode),
            ReplyEvent::Heartbeat { healthy } => {
                self.risk.set(Closed::HeartbeatUnhealthy, !healthy);
                // The venue may have cancelled everything, or not: each order is asked after.
                if !healthy {
                    self.orders.distrust_all();
                } else {
                    self.reconciliation.want(self.now);
                }
                self.touch_all();
            }
            ReplyEvent::ClockAhead { ms } => {
                self.clock_ahead_ms = ms;
                self.risk.set(Closed::ClockOff, ms.unsigned_abs() > CLOCK_OFF_MS);
                self.touch_all();
            }
            ReplyEvent::Breaker { of, open } => {
                self.risk.set_dependency(of, open);
                self.touch_all();
            }
            ReplyEvent::Read(event) => self.hear_read(&event, out),
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
                self.gateway_down_since = None;
                self.touch_all();
            }
            ReplyEvent::GatewayDown => {
                self.risk.set(Closed::GatewayDown, true);
                self.gateway_down_since.get_or_insert(self.now);
                self.cuts += 1;
                self.touch_all();
            }
        }
    }

    /// The venue refused an order: what that says about what comes next.
    fn refused(&mut self, order: OrderHash, reason: RejectReason, market: Option<MarketIx>, out: &mut Actions) {
        use RejectReason as R;
        let Some(m) = market else { return };
        match reason {
            // Normal outcomes of a moving market; the next event reprices.
            R::Crosses | R::NotFilled => {
                self.risk.watch(m, Watched::Rejects, true, self.now);
                return;
            }
            // The venue has it already: what it says of it is asked for.
            R::Duplicate => self.pursue(&order, out),
            // The whole account is refused: nothing that we send will do better.
            R::Version | R::Forbidden => self.kill(KillReason::Rejects, out),
            R::Auth => self.kill(KillReason::Signature, out),
            // The venue's mode comes with the answer and closes the gate by itself.
            R::PostOnlyMode | R::CancelOnly | R::Disabled | R::Restarting | R::RateLimited => {
                self.risk.trial_lost(m);
                return;
            }
            // The market's own page tells what changed.
            R::MarketClosed => {
                self.risk.not_ready(m, self.now.plus(NOT_READY_NS));
                self.ask_market(m);
            }
            R::TickSize | R::Expiration => self.ask_market(m),
            // Both say that they know the balance: it is read again.
            R::Balance => self.reconciliation.want_soon(self.now),
            R::MinSize | R::Other => {}
        }
        self.risk.watch(m, Watched::Rejects, false, self.now);
        self.error(out);
    }

    /// An order whose fate is unknown: it is cancelled by its id at once, and asked after. Its exposure is held until
    /// the venue itself says what became of it.
    fn pursue(&mut self, order: &OrderHash, out: &mut Actions) {
        let Some(&Order { state: OrderState::Unknown, intent, .. }) = self.orders.get(order) else { return };
        self.cancel(*order, Stamp::default(), out);
        if out.push(Action::Lookup { order: *order }).is_ok() {
            self.orders.note_lookup(order, self.now.plus(LOOKUP_NS));
        }
        self.touched.add(intent.instrument.market());
    }

    /// Counts an error of whatever kind; too many trip the kill switch.
    fn error(&mut self, out: &mut Actions) {
        if self.risk.error(self.now) {
            self.kill(KillReason::Errors, out);
        }
    }

    /// The venue's page of a market: everything that can change while it trades.
    fn hear_facts(&mut self, m: MarketIx, facts: &MarketFacts) {
        let Some(known) = self.facts.get_mut(m.ix()) else { return };
        *known = Some(*facts);
        self.risk.set_market(m, MarketClosed::Over, facts.closed);
        self.risk.set_market(m, MarketClosed::NotAccepting, !facts.accepting);
        if let Some(tick) = facts.tick {
            for i in [InstrumentIx(m.0 * 2), InstrumentIx(m.0 * 2 + 1)] {
                let book = &mut self.instruments[i.ix()].book;
                if book.tick() != tick && book.distrust().is_none() {
                    book.tick_changed(tick);
                }
            }
        }
        if let Some(payout) = facts.payout {
            self.resolve(m, payout);
        }
        self.touched.add(m);
    }

    /// The venue said which orders it takes.
    fn hear_mode(&mut self, mode: VenueMode) {
        let restarted = self.risk.has(Closed::VenueRestarting) && mode != VenueMode::Restarting;
        for (condition, when) in [
            (Closed::VenueRestarting, VenueMode::Restarting),
            (Closed::VenueDisabled, VenueMode::Disabled),
            (Closed::VenueCancelOnly, VenueMode::CancelOnly),
            (Closed::VenuePostOnly, VenueMode::PostOnly),
        ] {
            self.risk.set(condition, mode == when);
        }
        // Whether resting orders survive a restart is not documented: they are read.
        if restarted {
            self.orders.distrust_all();
            self.risk.set(Closed::NotReconciled, true);
            self.reconciliation.want(self.now);
        }
        self.touch_all();
    }

    /// What earlier runs left.
    pub(super) fn hear_recovered(&mut self, event: &RecoveredEvent) {
        let known = |i: InstrumentIx| i.market().ix() < self.universe.markets.len();
        match *event {
            RecoveredEvent::Killed(why) => self.risk.kill(why),
            RecoveredEvent::Shares { instrument, qty } if known(instrument) => {
                self.ledger.recover_shares(instrument, qty);
            }
            RecoveredEvent::Trade { trade, order, instrument, side, qty, notional, status } if known(instrument) => {
                let fill = Fill { instrument, side, qty, notional, fee: Usdc::ZERO, status };
                // What it took of the order's size is taken, whatever became of it.
                if self.ledger.recover_trade((trade, order), fill, self.now) {
                    let _ = self.orders.fill(&order, qty, self.now);
                }
            }
            RecoveredEvent::Order { order, intent, created, arrived } if known(intent.instrument) => {
                let kept = self.orders.recover(order, intent, created, arrived, self.now);
                // More than can be watched at once: what it may still fill is unknown, so nothing is added to it.
                if !kept && self.orders.get(&order).is_none() {
                    self.risk.set_market(intent.instrument.market(), MarketClosed::Halted, true);
                }
            }
            RecoveredEvent::Shares { .. } | RecoveredEvent::Trade { .. } | RecoveredEvent::Order { .. } => {}
        }
    }

    /// A look-up says only whether an order rests now. What should have ended and is not there has ended, after more
    /// than one such answer; what may still be on its way is disbelieved more slowly.
    fn looked_up(&mut self, order: &OrderHash, live: bool, matched: Option<Qty>) {
        let Some(&Order { state, created, intent, filled, unverified, .. }) = self.orders.get(order) else { return };
        if let Some(matched) = matched {
            self.orders.told(order, matched, self.now);
            // A fill that no stream told of: the trades are read.
            if unverified && matched > filled + Qty::DUST {
                self.reconciliation.want(self.now);
            }
        }
        if unverified && (live || matched.is_some()) {
            self.orders.verified(order);
            self.all_verified();
        }
        if live {
            match state {
                // The cancel did not do it: it may be asked for again.
                OrderState::CancelPending => {
                    self.order_input(order, Input::CancelRefusedOther);
                }
                _ => {
                    self.order_input(order, Input::SeenLive);
                }
            }
            return;
        }
        // The venue shows it, finished: it is over once the trades that it tells of are here.
        if matched.is_some_and(|m| m <= filled + Qty::DUST) {
            self.order_input(order, Input::Gone);
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
                // It rested, and the venue knows it no more. What it filled meanwhile is among the trades, which are
                // read.
                _ => {
                    if unverified {
                        self.orders.verified(order);
                        self.reconciliation.want(self.now);
                        self.risk.set(Closed::NotReconciled, true);
                    }
                    self.order_input(order, Input::Gone);
                }
            }
        }
    }

    /// A market socket says that a market is decided: nothing is placed there any more. It is paid when the market's
    /// page says the same, because one socket may lie.
    fn told_resolved(&mut self, market: MarketIx, payout: Payout) {
        if market.ix() >= self.universe.markets.len() {
            return;
        }
        self.mark_resolved(market);
        if self.ledger.payout(market).is_some() {
            // Said again; other than before is a dispute, and an error of the accounts.
            self.ledger.resolve(market, payout);
        } else {
            self.want_payout(market);
        }
    }

    /// The market's page says what it paid.
    fn resolve(&mut self, market: MarketIx, payout: Payout) {
        if market.ix() < self.universe.markets.len() {
            self.ledger.resolve(market, payout);
            self.mark_resolved(market);
            // Payouts that no outcome of the match explains: its markets do not make up for each other any more.
            if self.exposure.resolved(market, payout) == Told::Contradicts {
                self.mismatch(market);
            }
        }
    }

    fn mark_resolved(&mut self, market: MarketIx) {
        for outcome in [Outcome::Yes, Outcome::No] {
            self.instruments[market.instrument(outcome).ix()].book.mark(Distrust::Resolved);
        }
    }

    /// The gate opens when the venue has said what became of every order, and everything else was read.
    pub(super) fn all_verified(&mut self) {
        if !self.orders.any_unverified() && self.reconciliation.is_done() {
            self.risk.set(Closed::NotReconciled, false);
        }
        self.touch_all();
    }

    /// True for an immediate order without a fill.
    fn found_nothing(&self, order: &OrderHash) -> bool {
        self.orders.get(order).is_some_and(|o| o.intent.tif.is_immediate() && o.filled.is_zero())
    }

    /// Applies an input to an order of ours, counts its end, and has its market decided on again.
    pub(super) fn order_input(&mut self, order: &OrderHash, input: Input) -> Option<MarketIx> {
        let market = self.orders.get(order)?.intent.instrument.market();
        let (before, after) = self.orders.apply(order, input, self.now)?;
        if before != after {
            let canceled = matches!(after, OrderState::Cancelled | OrderState::Expired);
            self.counts.canceled += u64::from(canceled);
            self.counts.immediate_killed += u64::from(canceled && self.found_nothing(order));
            // What was refused on this book would be refused on it again: the next message or tick decides.
            if !matches!(input, Input::Rejected | Input::NeverSent) {
                self.touched.add(market);
            }
        }
        Some(market)
    }
}
