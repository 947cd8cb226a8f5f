//! The circuit breaker of one dependency or market: closed, open, half-open. Pure: time is passed in.
//!
//! Closed → open when enough of the last outcomes failed; open → half-open once a deadline with jitter has passed; half-open
//! lets one trial through at a time; enough good ones close it, any failure opens it again for twice as long, up to a
//! bound. It never closes while an order of its dependency is unresolved.

use crate::types::Nanos;

/// Most failures that a rule can ask for.
pub const FAILURES_MAX: usize = 32;

/// When a breaker opens, for how long, and what closes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// So many failures open it, 1 to [`FAILURES_MAX`].
    pub failures: u8,
    /// Counted among so many last outcomes; not less than `failures`.
    pub of_last: u32,
    /// No two of them farther apart, in nanoseconds.
    pub within_ns: u64,
    /// First wait before a trial, in nanoseconds; up to a quarter more by chance.
    pub wait_ns: u64,
    /// Longest wait, chance not counted.
    pub wait_max_ns: u64,
    /// Good trials in a row that close it, at least 1.
    pub successes: u8,
}

/// Where a breaker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Calls are made.
    Closed,
    /// None is.
    Open,
    /// One at a time, to see.
    HalfOpen,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It opened, from whatever it was.
    Opened,
    /// It closed.
    Closed,
}

/// A breaker.
#[derive(Clone, Debug)]
pub struct Breaker {
    rule: Rule,
    state: State,
    /// The last failures while closed: which outcome each was, and when.
    failed: heapless::Deque<(u64, Nanos), FAILURES_MAX>,
    /// Outcomes heard while closed.
    outcomes: u64,
    /// Open until then.
    until: Nanos,
    /// The last wait.
    wait_ns: u64,
    closed_at: Nanos,
    trial_out: bool,
    good_trials: u8,
    unresolved: u32,
    random: u64,
}

impl Breaker {
    /// A closed one. `seed` tells breakers apart, so that their trials do not come all at once.
    pub fn new(rule: Rule, seed: u64) -> Self {
        debug_assert!((1..=FAILURES_MAX).contains(&usize::from(rule.failures)) && rule.successes > 0);
        Self {
            rule,
            state: State::Closed,
            failed: heapless::Deque::new(),
            outcomes: 0,
            until: Nanos(0),
            wait_ns: 0,
            closed_at: Nanos(0),
            trial_out: false,
            good_trials: 0,
            unresolved: 0,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    /// Where it is.
    pub const fn state(&self) -> State {
        self.state
    }

    /// True unless it is closed.
    pub const fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed)
    }

    /// True if a trial would be let through now.
    pub fn wants_trial(&self, now: Nanos) -> bool {
        match self.state {
            State::Closed => false,
            State::Open => now >= self.until,
            State::HalfOpen => !self.trial_out && self.good_trials < self.rule.successes,
        }
    }

    /// Asks for leave to make a call. Closed: always. Otherwise only as the one trial that may be under way, whose outcome
    /// belongs into [`Self::tried`].
    pub fn admits(&mut self, now: Nanos) -> bool {
        if self.state == State::Closed {
            return true;
        }
        let wanted = self.wants_trial(now);
        if wanted {
            if self.state == State::Open {
                (self.state, self.good_trials) = (State::HalfOpen, 0);
            }
            self.trial_out = true;
        }
        wanted
    }

    /// The outcome of a call that was no trial. Late answers of calls made before it opened do not close it.
    pub fn heard(&mut self, good: bool, now: Nanos) -> Option<Change> {
        match self.state {
            State::Closed => {
                self.outcomes += 1;
                (!good && self.is_too_much(now)).then(|| self.open(now))
            }
            State::HalfOpen if !good => Some(self.open(now)),
            State::Open | State::HalfOpen => None,
        }
    }

    /// The outcome of the trial.
    pub fn tried(&mut self, good: bool, now: Nanos) -> Option<Change> {
        if self.state != State::HalfOpen || !self.trial_out {
            return self.heard(good, now);
        }
        self.trial_out = false;
        if !good {
            return Some(self.open(now));
        }
        self.good_trials += 1;
        self.close_if_it_may(now)
    }

    /// The trial was never made: another may be.
    pub fn trial_not_made(&mut self) {
        self.trial_out = false;
    }

    /// How many orders of the dependency have no known outcome. One opens it, none lets it close again.
    pub fn set_unresolved(&mut self, count: u32, now: Nanos) -> Option<Change> {
        self.unresolved = count;
        match self.state {
            State::Closed if count > 0 => Some(self.open(now)),
            State::HalfOpen => self.close_if_it_may(now),
            _ => None,
        }
    }

    /// Opens it, whatever was counted: for a failure that needs no second one.
    pub fn trip(&mut self, now: Nanos) -> Option<Change> {
        (self.state != State::Open).then(|| self.open(now))
    }

    fn is_too_much(&mut self, now: Nanos) -> bool {
        let wanted = usize::from(self.rule.failures);
        while self.failed.len() >= wanted.min(FAILURES_MAX) {
            self.failed.pop_front();
        }
        // There is room: one was taken out if need be.
        let _ = self.failed.push_back((self.outcomes, now));
        self.failed.len() == wanted
            && self.failed.front().is_some_and(|(n, at)| {
                self.outcomes - n < u64::from(self.rule.of_last) && now.since(*at) <= self.rule.within_ns
            })
    }

    fn open(&mut self, now: Nanos) -> Change {
        // One that opens again soon after it closed was not well yet.
        let again = self.state == State::HalfOpen || (self.wait_ns > 0 && now.since(self.closed_at) < self.wait_ns);
        let doubled = if again { self.wait_ns.saturating_mul(2) } else { 0 };
        self.wait_ns = doubled.max(self.rule.wait_ns).min(self.rule.wait_max_ns);
        // xorshift64: nobody predicts or needs more than this.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.until = now.plus(self.wait_ns + self.random % (self.wait_ns / 4 + 1));
        self.state = State::Open;
        (self.trial_out, self.good_trials) = (false, 0);
        self.failed.clear();
        Change::Opened
    }

    fn close_if_it_may(&mut self, now: Nanos) -> Option<Change> {
        if self.good_trials < self.rule.successes || self.unresolved > 0 {
            return None;
        }
        (self.state, self.closed_at) = (State::Closed, now);
        (self.outcomes, self.good_trials) = (0, 0);
        Some(Change::Closed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;
    const RULE: Rule = Rule {
        failures: 3,
        of_last: 5,
        within_ns: 1_000 * MS,
        wait_ns: 100 * MS,
        wait_max_ns: 1_000 * MS,
        successes: 2,
    };

    fn at(ms: u64) -> Nanos {
        Nanos(1_000_000 * MS + ms * MS)
    }

    #[test]
    fn it_opens_on_enough_failures_among_the_last_outcomes_within_a_time() {
        // Outcomes one by one: milliseconds, and whether each was good. The last one opens it, or does not.
        for (outcomes, opens) in [
            (&[(0, false), (1, false), (2, false)][..], true),
            (&[(0, false), (1, false)], false),
            (&[(0, false), (1, true), (2, false), (3, true), (4, false)], true),
            (&[(0, false), (1, true), (2, true), (3, false), (4, true), (5, false)], false),
            (&[(0, false), (1, false), (1_000, false)], true),
            (&[(0, false), (1, false), (1_001, false)], false),
        ] {
            let mut breaker = Breaker::new(RULE, 1);
            let changes: Vec<_> = outcomes.iter().map(|(ms, good)| breaker.heard(*good, at(*ms))).collect();
            assert_eq!(changes.last(), Some(&opens.then_some(Change::Opened)), "{outcomes:?}");
            assert!(changes[..changes.len() - 1].iter().all(Option::is_none), "{outcomes:?}");
        }
    }

    #[test]
    fn one_trial_at_a_time_and_a_doubled_wait_after_a_bad_one() {
        let mut breaker = Breaker::new(RULE, 1);
        assert!(breaker.admits(at(0)));
        assert_eq!(breaker.trip(at(0)), Some(Change::Opened));
        assert!(!breaker.admits(at(99)) && breaker.admits(at(126)) && !breaker.admits(at(126)));
        assert_eq!(breaker.heard(true, at(127)), None, "a late answer of another call is no trial");
        assert_eq!(breaker.tried(true, at(130)), None);
        assert!(breaker.admits(at(130)));
        assert_eq!(breaker.tried(false, at(131)), Some(Change::Opened));
        assert!(!breaker.admits(at(330)) && breaker.admits(at(131 + 251)));
        breaker.trial_not_made();
        for n in 0..2 {
            assert!(breaker.admits(at(400)));
            assert_eq!(breaker.tried(true, at(400)), (n == 1).then_some(Change::Closed));
        }
        assert!(!breaker.is_open());
        assert_eq!(breaker.trip(at(500)), Some(Change::Opened), "not well yet: it waits for twice as long again");
        assert!(!breaker.admits(at(899)));
    }

    #[test]
    fn it_does_not_close_while_an_order_is_unresolved() {
        let mut breaker = Breaker::new(Rule { successes: 1, ..RULE }, 1);
        assert_eq!(breaker.set_unresolved(2, at(0)), Some(Change::Opened));
        assert!(breaker.admits(at(200)));
        assert_eq!(breaker.tried(true, at(200)), None);
        assert!(!breaker.admits(at(9_000)), "it has seen enough, and waits");
        assert_eq!(breaker.set_unresolved(1, at(300)), None);
        assert_eq!(breaker.set_unresolved(0, at(400)), Some(Change::Closed));
    }

    #[derive(Clone, Copy, Debug)]
    enum Do {
        Wait(u64),
        Ask,
        Hear(bool),
        Try(bool),
        NotMade,
        Unresolved(u32),
        Trip,
    }

    fn anything() -> impl Strategy<Value = Do> {
        prop_oneof![
            (0_u64..400).prop_map(Do::Wait),
            Just(Do::Ask),
            any::<bool>().prop_map(Do::Hear),
            any::<bool>().prop_map(Do::Try),
            Just(Do::NotMade),
            (0_u32..3).prop_map(Do::Unresolved),
            Just(Do::Trip),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

        #[test]
        fn no_history_breaks_the_automaton(
            steps in proptest::collection::vec(anything(), 1..60), failures in 1_u8..6, successes in 1_u8..4, seed: u64,
        ) {
            let rule = Rule { failures, of_last: 8, successes, ..RULE };
            let mut breaker = Breaker::new(rule, seed);
            let (mut ms, mut unresolved, mut out, mut trials) = (0, 0, 0_u32, 0_u8);
            let mut opened_at = None;
            for step in steps {
                let before = breaker.state();
                let change = match step {
                    Do::Wait(by) => { ms += by; None }
                    Do::Ask => {
                        if breaker.admits(at(ms)) && before != State::Closed {
                            if before == State::Open {
                                prop_assert!(ms - opened_at.unwrap_or(0) >= 100, "a trial before the wait was over");
                                trials = 0;
                            }
                            out += 1;
                            trials += 1;
                            prop_assert!(out == 1, "two trials at once");
                            prop_assert!(trials <= successes, "more trials than can be needed");
                        }
                        None
                    }
                    Do::Hear(good) => breaker.heard(good, at(ms)),
                    // Only a trial that was let through has an outcome.
                    Do::Try(good) if out == 1 => { out = 0; breaker.tried(good, at(ms)) }
                    Do::NotMade if out == 1 => { out = 0; trials -= 1; breaker.trial_not_made(); None }
                    Do::Try(_) | Do::NotMade => None,
                    Do::Unresolved(n) => { unresolved = n; breaker.set_unresolved(n, at(ms)) }
                    Do::Trip => breaker.trip(at(ms)),
                };
                match change {
                    Some(Change::Opened) => {
                        prop_assert_eq!(breaker.state(), State::Open);
                        (opened_at, out) = (Some(ms), 0);
                        prop_assert!(!breaker.wants_trial(at(ms + 99)), "no wait at all");
                        prop_assert!(breaker.wants_trial(at(ms + 1_251)), "the wait is bounded");
                    }
                    Some(Change::Closed) => {
                        prop_assert_eq!(before, State::HalfOpen, "only trials close it");
                        prop_assert_eq!(trials, successes);
                    }
                    None => {}
                }
                prop_assert!(unresolved == 0 || breaker.is_open(), "closed with an unresolved order");
                prop_assert!(before != State::Open || breaker.state() != State::Closed, "it closed without a trial");
            }
        }
    }
}
