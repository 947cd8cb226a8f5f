//! Step 8 of 9: one circuit breaker for each kind of call that we depend on, fed with outcomes. Pure.
//!
//! What closes them: a trial of the kind that the breaker is about, where that risks nothing. Refused credentials and
//! balances are tried with a private read, unanswered orders with look-ups, cancels with a cancel-all of which nothing was
//! left over; throttling and refused contents can only be tried with an order, so one is let through at a time and the
//! engine is told that it may.
//!
//! While cancels cannot be trusted, the dead man's switch is not fed: the venue then cancels by itself.

use super::recv::Became;
use crate::{
    engine::breaker::{Breaker, Change, Rule, State},
    types::{
        Nanos, OrderHash,
        event::{Dependency, RejectReason, ReplyEvent},
    },
};

const SECOND_NS: u64 = 1_000_000_000;
/// Orders without an outcome that are remembered one by one; more are as bad as this many.
const UNRESOLVED_MAX: usize = 128;
/// Look-ups that must miss, and the time that must have passed, before an order without an outcome no longer holds its
/// breaker open. What may still arrive of it stays the engine's business.
const MISSES_TO_RELEASE: u8 = 4;
const RELEASE_AFTER_NS: u64 = 10 * SECOND_NS;

const fn rule(failures: u8, of_last: u32, within_s: u64, wait_s: u64, wait_max_s: u64) -> Rule {
    Rule {
        failures,
        of_last,
        within_ns: within_s * SECOND_NS,
        wait_ns: wait_s * SECOND_NS,
        wait_max_ns: wait_max_s * SECOND_NS,
        successes: 1,
    }
}

/// When each opens, for how long, and what closes it.
const RULES: [(Dependency, Rule); 8] = [
    // Two refusals of who we are: more prove nothing, and a key that is locked out is worse.
    (Dependency::OrdersAuth, rule(2, 8, 60, 5, 300)),
    (Dependency::OrdersBalance, rule(3, 10, 60, 30, 600)),
    (Dependency::OrdersThrottle, rule(3, 10, 10, 2, 60)),
    (Dependency::OrdersValidation, rule(20, 40, 1, 5, 300)),
    // One is enough to have it resolved before anything else.
    (Dependency::OrdersUnknown, rule(1, 1, 1, 1, 30)),
    (Dependency::Cancels, rule(2, 4, 60, 1, 10)),
    (Dependency::Reads, rule(5, 10, 30, 1, 30)),
    (Dependency::Relayer, rule(3, 5, 600, 10, 300)),
];

/// What became of a cancel request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelEnd {
    /// A clean answer, whatever it says of each order.
    Clean,
    /// Refused, or answered with something that is no answer.
    Failed,
    /// Bytes left and nothing came back.
    Unknown,
    /// Not one byte left.
    NotMade,
}

#[derive(Clone, Copy, Debug)]
struct Unresolved {
    order: OrderHash,
    since: Nanos,
    misses: u8,
}

/// The breakers.
#[derive(Debug)]
pub struct Guards {
    breakers: [Breaker; 8],
    /// What the engine was told last of each.
    told_open: [bool; 8],
    unresolved: heapless::Vec<Unresolved, UNRESOLVED_MAX>,
    changes: heapless::Deque<(Dependency, bool), 32>,
}

impl Guards {
    /// All closed.
    pub fn new(seed: u64) -> Self {
        debug_assert!(RULES.iter().zip(Dependency::ALL).all(|((of, _), d)| *of == d));
        let mut n = 0;
        let breakers = RULES.map(|(_, rule)| {
            n += 1;
            Breaker::new(rule, seed.wrapping_add(n))
        });
        Self { breakers, told_open: [false; 8], unresolved: heapless::Vec::new(), changes: heapless::Deque::new() }
    }

    fn of(&mut self, of: Dependency) -> &mut Breaker {
        &mut self.breakers[of as usize]
    }

    /// True unless it is closed.
    pub const fn is_open(&self, of: Dependency) -> bool {
        self.breakers[of as usize].is_open()
    }

    /// The next change that the engine has not been told.
    pub fn next_change(&mut self) -> Option<ReplyEvent> {
        self.changes.pop_front().map(|(of, open)| ReplyEvent::Breaker { of, open })
    }

    fn note(&mut self, of: Dependency, change: Option<Change>) {
        if let Some(change) = change {
            self.tell(of, change == Change::Opened);
        }
    }

    fn tell(&mut self, of: Dependency, open: bool) {
        if std::mem::replace(&mut self.told_open[of as usize], open) != open {
            // Read out after every outcome: it holds more changes than one can make.
            let _ = self.changes.push_back((of, open));
        }
    }

    fn hear(&mut self, of: Dependency, good: bool, now: Nanos) {
        let breaker = self.of(of);
        let change =
            if breaker.state() == State::HalfOpen { breaker.tried(good, now) } else { breaker.heard(good, now) };
        self.note(of, change);
    }

    /// What became of an order.
    pub fn order(&mut self, order: &OrderHash, became: Became, now: Nanos) {
        use Dependency::{OrdersAuth, OrdersBalance, OrdersThrottle, OrdersUnknown, OrdersValidation};
        let fault = match became {
            Became::NeverSent => {
                // Were it the trial, another may be made.
                self.of(OrdersThrottle).trial_not_made();
                self.of(OrdersValidation).trial_not_made();
                return;
            }
            Became::Unknown => {
                self.not_resolved(order, now);
                return;
            }
            Became::Accepted => None,
            Became::Rejected(reason) => match reason {
                RejectReason::Auth | RejectReason::Forbidden | RejectReason::Version => Some(OrdersAuth),
                RejectReason::Balance => Some(OrdersBalance),
                RejectReason::RateLimited => Some(OrdersThrottle),
                RejectReason::TickSize
                | RejectReason::MinSize
                | RejectReason::Expiration
                | RejectReason::Other
                | RejectReason::MarketClosed => Some(OrdersValidation),
                // It is there: as unresolved as one that was not answered.
                RejectReason::Duplicate => return self.not_resolved(order, now),
                // The market moved, or the venue's mode did: no fault of anything.
                RejectReason::Crosses
                | RejectReason::NotFilled
                | RejectReason::PostOnlyMode
                | RejectReason::CancelOnly
                | RejectReason::Disabled
                | RejectReason::Restarting => None,
            },
        };
        for of in [OrdersBalance, OrdersThrottle, OrdersValidation] {
            self.hear(of, fault != Some(of), now);
        }
        // Half-open they wait for a read and for look-ups, not for an order that slipped through.
        if fault == Some(OrdersAuth) || self.of(OrdersAuth).state() == State::Closed {
            self.hear(OrdersAuth, fault != Some(OrdersAuth), now);
        }
        // No second try makes a wrong version right, or a place where trading is not allowed.
        if matches!(became, Became::Rejected(RejectReason::Forbidden | RejectReason::Version)) {
            let change = self.of(OrdersAuth).trip(now);
            self.note(OrdersAuth, change);
        }
        if self.of(OrdersUnknown).state() == State::Closed {
            self.hear(OrdersUnknown, true, now);
        }
        self.resolved(order, now);
    }

    fn not_resolved(&mut self, order: &OrderHash, now: Nanos) {
        if !self.unresolved.iter().any(|u| u.order == *order) {
            // One more than can be remembered changes nothing: the breaker is open.
            let _ = self.unresolved.push(Unresolved { order: *order, since: now, misses: 0 });
        }
        self.count_unresolved(now);
    }

    fn resolved(&mut self, order: &OrderHash, now: Nanos) {
        if let Some(at) = self.unresolved.iter().position(|u| u.order == *order) {
            self.unresolved.swap_remove(at);
            self.count_unresolved(now);
        }
    }

    fn count_unresolved(&mut self, now: Nanos) {
        let count = self.unresolved.len() as u32;
        let change = self.of(Dependency::OrdersUnknown).set_unresolved(count, now);
        self.note(Dependency::OrdersUnknown, change);
    }

    /// A clean answer to a look-up: found, or not there now.
    pub fn looked_up(&mut self, order: &OrderHash, found: bool, now: Nanos) {
        if let Some(it) = self.unresolved.iter_mut().find(|u| u.order == *order) {
            it.misses = it.misses.saturating_add(1);
            let given_up = it.misses >= MISSES_TO_RELEASE && now.since(it.since) >= RELEASE_AFTER_NS;
            if found || given_up {
                self.resolved(order, now);
            }
        }
        let breaker = self.of(Dependency::OrdersUnknown);
        if breaker.admits(now) {
            let change = breaker.tried(true, now);
            self.note(Dependency::OrdersUnknown, change);
        }
    }

    /// The venue named an order in an answer about cancels: it is known there, and what became of it too.
    pub fn seen(&mut self, order: &OrderHash, now: Nanos) {
        self.resolved(order, now);
    }

    /// Orders that wait to be resolved.
    pub fn unresolved(&self) -> usize {
        self.unresolved.len()
    }

    /// What became of a request to cancel. `all_of_it`: it was a cancel-all, and nothing was left over.
    pub fn cancel(&mut self, end: CancelEnd, all_of_it: bool, now: Nanos) {
        let breaker = self.of(Dependency::Cancels);
        let change = match end {
            CancelEnd::NotMade => {
                breaker.trial_not_made();
                None
            }
            CancelEnd::Unknown => breaker.trip(now),
            CancelEnd::Failed if breaker.state() == State::HalfOpen => breaker.tried(false, now),
            CancelEnd::Failed => breaker.heard(false, now),
            CancelEnd::Clean if all_of_it && breaker.state() == State::HalfOpen => breaker.tried(true, now),
            CancelEnd::Clean => breaker.heard(true, now),
        };
        self.note(Dependency::Cancels, change);
    }

    /// True if a cancel-all is to be made now, as the trial of cancels.
    pub fn tries_cancels(&mut self, now: Nanos) -> bool {
        let breaker = self.of(Dependency::Cancels);
        breaker.wants_trial(now) && breaker.admits(now)
    }

    /// True if a question may be asked now.
    pub fn admits_read(&mut self, now: Nanos) -> bool {
        self.of(Dependency::Reads).admits(now)
    }

    /// A question that was admitted is not asked after all.
    pub fn read_not_made(&mut self) {
        self.of(Dependency::Reads).trial_not_made();
    }

    /// What became of a question.
    pub fn read(&mut self, good: bool, now: Nanos) {
        self.hear(Dependency::Reads, good, now);
    }

    /// A private read is to be made now, as the trial of credentials or balances.
    pub fn tries_account(&mut self, now: Nanos) -> bool {
        let of = |of: Dependency| &self.breakers[of as usize];
        let wanted = of(Dependency::OrdersAuth).wants_trial(now) || of(Dependency::OrdersBalance).wants_trial(now);
        for of in [Dependency::OrdersAuth, Dependency::OrdersBalance] {
            if self.of(of).wants_trial(now) {
                self.of(of).admits(now);
            }
        }
        wanted
    }

    /// What became of a private read: `None` if nobody answered it, otherwise whether we were let in.
    pub fn account(&mut self, let_in: Option<bool>, now: Nanos) {
        for of in [Dependency::OrdersAuth, Dependency::OrdersBalance] {
            let breaker = self.of(of);
            let change = match (breaker.state(), let_in) {
                (State::HalfOpen, Some(good)) => breaker.tried(good, now),
                (State::HalfOpen, None) => breaker.tried(false, now),
                (_, Some(false)) if of == Dependency::OrdersAuth => breaker.heard(false, now),
                _ => None,
            };
            self.note(of, change);
        }
    }

    /// True if a merge may be begun.
    pub fn admits_merge(&mut self, now: Nanos) -> bool {
        self.of(Dependency::Relayer).admits(now)
    }

    /// A merge that was admitted is not begun after all.
    pub fn merge_not_made(&mut self) {
        self.of(Dependency::Relayer).trial_not_made();
    }

    /// What became of a merge.
    pub fn merge(&mut self, good: bool, now: Nanos) {
        self.hear(Dependency::Relayer, good, now);
    }

    /// True if an order may not leave because of what is open.
    pub fn blocks(&self, buys: bool) -> bool {
        let open = |of| self.is_open(of);
        open(Dependency::OrdersAuth)
            || open(Dependency::Cancels)
            || (buys && open(Dependency::OrdersBalance))
            || [Dependency::OrdersThrottle, Dependency::OrdersValidation]
                .into_iter()
                .any(|of| self.told_open[of as usize])
    }

    /// True if orders leave one by one: the next is a trial.
    pub fn is_trying_orders(&self) -> bool {
        self.is_open(Dependency::OrdersThrottle) || self.is_open(Dependency::OrdersValidation)
    }

    /// Asks for leave to send one order as a trial. False while another is under way.
    pub fn admits_order(&mut self, now: Nanos) -> bool {
        let open = [Dependency::OrdersThrottle, Dependency::OrdersValidation].map(|of| (of, self.is_open(of)));
        if open.iter().any(|(of, open)| *open && !self.breakers[*of as usize].wants_trial(now)) {
            return false;
        }
        open.into_iter().filter(|(_, open)| *open).all(|(of, _)| self.of(of).admits(now))
    }

    /// Time passes: where only an order can be the trial, the engine hears that it may make one.
    pub fn tick(&mut self, now: Nanos) {
        for of in [Dependency::OrdersThrottle, Dependency::OrdersValidation] {
            if self.told_open[of as usize] && self.of(of).wants_trial(now) {
                self.tell(of, false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: OrderHash = OrderHash([0xaa; 32]);

    fn at(s: u64) -> Nanos {
        Nanos((1_790_000_000 + s) * SECOND_NS)
    }

    fn told(guards: &mut Guards) -> Vec<(Dependency, bool)> {
        std::iter::from_fn(|| guards.next_change())
            .map(|event| match event {
                ReplyEvent::Breaker { of, open } => (of, open),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn each_kind_of_refusal_opens_its_own_breaker_at_its_own_count() {
        use RejectReason::*;
        for (reason, count, of) in [
            (Auth, 2, Dependency::OrdersAuth),
            (Forbidden, 1, Dependency::OrdersAuth),
            (Version, 1, Dependency::OrdersAuth),
            (Balance, 3, Dependency::OrdersBalance),
            (RateLimited, 3, Dependency::OrdersThrottle),
            (Other, 20, Dependency::OrdersValidation),
            (TickSize, 20, Dependency::OrdersValidation),
            (Duplicate, 1, Dependency::OrdersUnknown),
        ] {
            let mut guards = Guards::new(1);
            for n in 1..=count {
                assert!(told(&mut guards).is_empty(), "{reason:?} after {n}");
                guards.order(&A, Became::Rejected(reason), at(0));
            }
            assert_eq!(told(&mut guards), [(of, true)], "{reason:?}");
        }
        let mut guards = Guards::new(1);
        for reason in [Crosses, NotFilled, PostOnlyMode, Restarting] {
            (0..50).for_each(|_| guards.order(&A, Became::Rejected(reason), at(0)));
        }
        assert!(told(&mut guards).is_empty());
    }

    #[test]
    fn an_unanswered_order_is_resolved_before_its_breaker_closes() {
        let mut guards = Guards::new(1);
        guards.order(&A, Became::Unknown, at(0));
        assert_eq!(told(&mut guards), [(Dependency::OrdersUnknown, true)]);
        assert!(!guards.blocks(true), "resolving goes first; it does not stop the rest");
        for s in [2, 4, 6] {
            guards.looked_up(&A, false, at(s));
        }
        assert_eq!((told(&mut guards), guards.unresolved()), (vec![], 1), "not there says little");
        guards.looked_up(&A, true, at(8));
        assert_eq!((told(&mut guards), guards.unresolved()), (vec![(Dependency::OrdersUnknown, false)], 0));
    }

    #[test]
    fn cancels_open_at_two_failures_or_one_unknown_and_close_when_all_is_cancelled() {
        for outcomes in [&[CancelEnd::Failed, CancelEnd::Failed][..], &[CancelEnd::Unknown]] {
            let mut guards = Guards::new(1);
            outcomes.iter().for_each(|end| guards.cancel(*end, false, at(0)));
            assert_eq!(told(&mut guards), [(Dependency::Cancels, true)]);
            assert!(guards.blocks(false) && !guards.tries_cancels(at(0)));
            guards.cancel(CancelEnd::Clean, false, at(1));
            assert!(guards.tries_cancels(at(2)) && !guards.tries_cancels(at(2)), "one at a time");
            guards.cancel(CancelEnd::Clean, false, at(2));
            assert!(guards.is_open(Dependency::Cancels), "some other cancel proves nothing");
            guards.cancel(CancelEnd::Clean, true, at(2));
            assert_eq!(told(&mut guards), [(Dependency::Cancels, false)]);
        }
        let mut guards = Guards::new(1);
        guards.cancel(CancelEnd::Failed, false, at(0));
        guards.cancel(CancelEnd::NotMade, false, at(0));
        assert!(told(&mut guards).is_empty());
    }

    #[test]
    fn a_throttle_is_tried_with_one_order_at_a_time() {
        let mut guards = Guards::new(1);
        (0..3).for_each(|_| guards.order(&A, Became::Rejected(RejectReason::RateLimited), at(0)));
        assert_eq!(told(&mut guards), [(Dependency::OrdersThrottle, true)]);
        guards.tick(at(1));
        assert!(guards.blocks(true) && told(&mut guards).is_empty());
        guards.tick(at(3));
        assert_eq!(told(&mut guards), [(Dependency::OrdersThrottle, false)]);
        assert!(!guards.blocks(true) && guards.is_trying_orders());
        assert!(guards.admits_order(at(3)) && !guards.admits_order(at(3)));
        guards.order(&A, Became::Rejected(RejectReason::RateLimited), at(3));
        assert_eq!(told(&mut guards), [(Dependency::OrdersThrottle, true)]);
        guards.tick(at(9));
        assert!(guards.admits_order(at(9)));
        guards.order(&A, Became::Accepted, at(9));
        assert!(!guards.is_trying_orders());
    }

    #[test]
    fn credentials_are_tried_with_a_read_and_never_with_an_order() {
        let mut guards = Guards::new(1);
        (0..2).for_each(|_| guards.order(&A, Became::Rejected(RejectReason::Auth), at(0)));
        guards.order(&A, Became::Accepted, at(0));
        assert!(guards.blocks(false) && !guards.tries_account(at(1)));
        assert!(guards.tries_account(at(7)) && !guards.tries_account(at(7)));
        guards.account(Some(false), at(7));
        assert!(!guards.tries_account(at(16)) && guards.tries_account(at(21)));
        guards.account(Some(true), at(21));
        assert_eq!(told(&mut guards), [(Dependency::OrdersAuth, true), (Dependency::OrdersAuth, false)]);
    }
}
