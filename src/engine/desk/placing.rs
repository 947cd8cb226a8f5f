//! Step 5 of 9: from what a strategy wishes to what leaves: orders through risk, cancels, merges.

use super::Desk;
use crate::{
    engine::{
        Action, Actions, Probe, Step,
        life::Input,
        orders,
        refusal::Refusal,
        risk::{self, Facts},
        strategy::{TOGETHER_MAX, Together, Trust},
    },
    types::{
        MarketIx, OrderHash, Qty, Stamp,
        eip712::OrderFields,
        ids::Outcome,
        order::{Intent, OrderState},
    },
};

impl Desk {
    pub(in crate::engine) fn merge(&mut self, market: MarketIx, qty: Qty, out: &mut Actions) {
        if !self.risk.stopping()
            && self.ledger.may_merge(market, self.now)
            && out.push(Action::Merge { market, qty }).is_ok()
        {
            self.ledger.merge_asked(market, qty);
        }
    }

    pub(in crate::engine) fn cancel(&mut self, order: OrderHash, cause: Stamp, out: &mut Actions) {
        let Some(o) = self.orders.get(&order) else { return };
        let instrument = o.intent.instrument;
        if o.cancellable(self.now) && out.push(Action::Cancel { order, instrument, cause }).is_ok() {
            self.orders.apply(&order, Input::CancelAsked, self.now);
        }
    }

    /// Places all of these, each by the trust of its own market, or none: what was approved before one was refused
    /// never leaves. Gives their ids, or why not.
    pub(in crate::engine) fn place_together<P: Probe>(
        &mut self,
        intents: &Together,
        cause: Stamp,
        probe: &mut P,
        out: &mut Actions,
    ) -> Result<heapless::Vec<OrderHash, TOGETHER_MAX>, Refusal> {
        let before = out.len();
        let mut placed = heapless::Vec::new();
        for intent in intents.iter() {
            let trust = self.trust_of(intent.instrument.market());
            match self.place(intent, trust, cause, probe, out) {
                Ok(order) => drop(placed.push(order)),
                Err(why) => {
                    out.truncate(before);
                    placed.iter().for_each(|order| self.never_left(order));
                    return Err(why);
                }
            }
        }
        Ok(placed)
    }

    /// An order that was approved is not sent after all.
    pub(super) fn never_left(&mut self, order: &OrderHash) {
        self.orders.apply(order, Input::NeverSent, self.now);
        let Some(o) = self.orders.get(order) else { return };
        self.counts.sent -= 1;
        self.counts.immediate -= u64::from(o.intent.tif.is_immediate());
        self.risk.trial_lost(o.intent.instrument.market());
    }

    /// Has risk look at an intent, and if it passes has the order sent. Gives its id, or why not.
    pub(in crate::engine) fn place<P: Probe>(
        &mut self,
        intent: &Intent,
        trust: Trust,
        cause: Stamp,
        probe: &mut P,
        out: &mut Actions,
    ) -> Result<OrderHash, Refusal> {
        self.counts.intents += 1;
        let m = intent.instrument.market();
        // One whose fate is unknown has a refusal of its own.
        let same = |o: &orders::Order| {
            let i = &o.intent;
            o.state != OrderState::Unknown
                && (i.instrument, i.side, i.price, i.purpose)
                    == (intent.instrument, intent.side, intent.price, intent.purpose)
        };
        if self.orders.working(m).any(same) {
            self.counts.deduplicated += 1;
            self.risk.count(Refusal::Duplicate);
            return Err(Refusal::Duplicate);
        }
        let mark = self.instruments[m.instrument(Outcome::Yes).ix()].book.mid_half_units();
        let facts = Facts {
            specs: &self.universe.markets,
            tick: self.instruments[intent.instrument.ix()].book.tick(),
            // A book without two sides has no price that a limit could be held against.
            trusted: trust == Trust::Good && mark.is_some(),
            state: self.trading_state(m),
            mark_units: risk::mark_units(intent.instrument.outcome(), mark.unwrap_or(10_000)),
            orders: &self.orders,
            ledger: &self.ledger,
            exposure: &self.exposure,
            lost_today: self.lost_today,
            over: self.over,
            book: &self.instruments[intent.instrument.ix()].book,
            game_start: self.game_start(m),
            now: self.now,
        };
        let verdict = self.risk.check(intent, &facts);
        probe.mark(Step::Risk);
        let passed = verdict?;
        if out.is_full() {
            return Err(Refusal::RateLimit);
        }
        let salt = u64::from(self.run_tag) << 32 | u64::from(self.next_salt);
        self.next_salt = self.next_salt.wrapping_add(1);
        let timestamp_ms = self.now.millis();
        let digest = self.hashers[m.ix()].digest(&OrderFields {
            salt,
            token: self.universe.token(intent.instrument),
            amounts: passed.amounts(),
            side: intent.side,
            timestamp_ms,
            metadata: [0; 32],
            builder: [0; 32],
        });
        probe.mark(Step::Hash);
        let approved = passed.seal(salt, timestamp_ms, digest, cause);
        // Known before it is sent: the user stream may be faster than the answer.
        if !self.orders.register(&approved, self.now) {
            return Err(Refusal::TooManyWorking);
        }
        self.measure();
        self.counts.sent += 1;
        self.counts.immediate += u64::from(intent.tif.is_immediate());
        let _ = out.push(Action::Place(approved));
        Ok(approved.hash())
    }
}
