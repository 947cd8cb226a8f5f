//! Step 7 of 9: what we may ask of the venue now, by token buckets below its limits. Pure: time is passed in.
//!
//! A call is made only if every bucket that it draws from has its cost: the signer's for orders or cancels, the endpoint's
//! two windows, and the one of all calls together, whose last part is kept for cancels. The venue's own words shrink a
//! bucket at once; nothing but time fills it.
//! Source: docs/PROTOCOL.md "rate limits".

use crate::{
    types::Nanos,
    wire::limits::{RateSaid, Tier},
};

/// A tenth of a second's worth is the smallest unit in which a rate of one a second is still exact: micro-tokens.
const MICRO: u64 = 1_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// Shortest and longest time for which the venue's `Retry-After` is honoured: 0 would be hammering, hours a mistake.
const RETRY_MIN_NS: u64 = SECOND_NS;
const RETRY_MAX_NS: u64 = 60 * SECOND_NS;
/// A signer's rate never sinks below this many percent, and comes back by so many percent a second.
const SQUEEZE_FLOOR: u64 = 10;
const RECOVERY_PER_S: u64 = 5;
/// It sinks at most this often.
const SQUEEZE_PAUSE_NS: u64 = SECOND_NS / 2;

/// What a call is, for the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `POST /order`.
    Order,
    /// `POST /orders` with so many orders.
    Orders(u32),
    /// `DELETE /order`.
    Cancel,
    /// `DELETE /orders` with so many ids.
    Cancels(u32),
    /// `DELETE /cancel-all` with so many orders open. It is made whatever the buckets say, and empties them.
    CancelAll(u32),
    /// `/data/orders`, `/data/trades`, `/data/order/…`.
    Ledger,
    /// `GET /balance-allowance`.
    Balance,
    /// `GET /balance-allowance/update`.
    BalanceUpdate,
    /// Anything else.
    Other,
}

impl Call {
    /// Every kind, one each.
    pub const KINDS: [Self; 9] = [
        Self::Order,
        Self::Orders(1),
        Self::Cancel,
        Self::Cancels(1),
        Self::CancelAll(0),
        Self::Ledger,
        Self::Balance,
        Self::BalanceUpdate,
        Self::Other,
    ];

    /// True if it takes risk away.
    pub const fn is_cancel(self) -> bool {
        matches!(self, Self::Cancel | Self::Cancels(_) | Self::CancelAll(_))
    }

    const fn places(self) -> bool {
        matches!(self, Self::Order | Self::Orders(_))
    }

    /// Tokens of the signer's bucket: a batch costs its number, cancel-all one more than it cancels.
    const fn cost(self) -> u64 {
        match self {
            Self::Orders(n) | Self::Cancels(n) => n as u64,
            Self::CancelAll(open) => 1 + open as u64,
            _ => 1,
        }
    }

    /// Which windows it counts in, with calls in ten seconds and in ten minutes; 0 if there is no such limit.
    const fn window(self) -> (usize, u64, u64) {
        match self {
            Self::Order => (0, 5_000, 120_000),
            Self::Orders(_) => (1, 2_000, 21_000),
            Self::Cancel => (2, 5_000, 120_000),
            Self::Cancels(_) => (3, 2_000, 15_000),
            Self::CancelAll(_) => (4, 250, 6_000),
            Self::Ledger => (5, 500, 0),
            Self::Balance => (6, 200, 0),
            Self::BalanceUpdate => (7, 50, 0),
            Self::Other => (8, 0, 0),
        }
    }
}

/// Calls of all kinds in ten seconds.
const ALL_CALLS: u64 = 9_000;
/// Rows of [`Call::window`].
const WINDOWS: usize = 9;

/// How far below the venue's limits we stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The signer's tier until the venue names one.
    pub tier: Tier,
    /// Share of every limit that is used, in percent.
    pub use_percent: u64,
    /// Share of a bucket that orders and reads leave to cancels, and cancels to cancel-all, in percent.
    pub reserve_percent: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { tier: Tier::Standard, use_percent: 90, reserve_percent: 25 }
    }
}

/// A token bucket.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// Micro-tokens at most.
    capacity: u64,
    /// Micro-tokens a second.
    rate: u64,
    /// Micro-tokens now.
    level: u64,
    at: Nanos,
    /// Nothing is taken before this.
    blocked: Nanos,
}

impl Bucket {
    /// A full one. `capacity`: tokens. `rate`: micro-tokens a second.
    pub const fn new(capacity: u64, rate: u64) -> Self {
        let capacity = capacity.saturating_mul(MICRO);
        Self { capacity, rate, level: capacity, at: Nanos(0), blocked: Nanos(0) }
    }

    /// One that never lets more than `calls` through in any `seconds`: a fifth of them at once, the rest spread.
    const fn window(calls: u64, seconds: u64) -> Self {
        let burst = calls / 5;
        Self::new(burst, (calls - burst) * MICRO / seconds)
    }

    /// Whole tokens now.
    pub const fn tokens(&self) -> u64 {
        self.level / MICRO
    }

    /// Time passes. A clock that goes back fills nothing.
    pub fn refill(&mut self, now: Nanos) {
        let elapsed = now.since(self.at);
        self.at = self.at.max(now);
        // Tokens come in whole micro-tokens; what is less stays for the next time.
        let gained = u128::from(elapsed) * u128::from(self.rate) / u128::from(SECOND_NS);
        let gained = u64::try_from(gained).unwrap_or(u64::MAX);
        if gained == 0 && elapsed > 0 && self.rate > 0 && self.level < self.capacity {
            self.at = Nanos(self.at.0 - elapsed);
        }
        self.level = self.level.saturating_add(gained).min(self.capacity);
    }

    /// True if `cost` tokens can be taken and `reserve` percent of the capacity stays.
    pub const fn has(&self, cost: u64, reserve: u64, now: Nanos) -> bool {
        let keep = self.capacity / 100 * reserve;
        now.0 >= self.blocked.0 && self.level >= cost.saturating_mul(MICRO).saturating_add(keep)
    }

    /// Takes `cost` tokens, or as many as there are.
    pub const fn take(&mut self, cost: u64) {
        self.level = self.level.saturating_sub(cost.saturating_mul(MICRO));
    }

    /// The venue says that so many are left: never more than we thought.
    pub fn at_most(&mut self, tokens: u64) {
        self.level = self.level.min(tokens.saturating_mul(MICRO));
    }

    fn resize(&mut self, capacity: u64, rate: u64) {
        self.capacity = capacity.saturating_mul(MICRO);
        self.rate = rate;
        self.level = self.level.min(self.capacity);
    }
}

/// What an answer says of the limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// What its head says.
    pub head: RateSaid,
    /// The status was 429.
    pub refused: bool,
    /// `Retry-After`, seconds.
    pub retry_after_s: Option<u64>,
    /// It was answered later than usual: the venue delays what exceeds a window instead of refusing it.
    pub slow: bool,
}

impl Said {
    /// True if the venue showed in any way that it is too much.
    pub const fn too_much(&self) -> bool {
        self.refused || self.slow || self.head.warning
    }
}

/// One signer's bucket: rates shrink when the venue shows that it is too much, and recover with time.
#[derive(Clone, Copy, Debug)]
struct Signer {
    bucket: Bucket,
    /// (a second, burst) at full speed, in whole tokens.
    full: (u64, u64),
    percent: u64,
    squeezed_at: Nanos,
}

impl Signer {
    fn new(full: (u64, u64)) -> Self {
        Self { bucket: Bucket::new(full.1, full.0 * MICRO), full, percent: 100, squeezed_at: Nanos(0) }
    }

    fn refill(&mut self, now: Nanos) {
        let seconds = now.since(self.squeezed_at) / SECOND_NS;
        if self.percent < 100 && seconds > 0 {
            self.percent = (self.percent + seconds.saturating_mul(RECOVERY_PER_S)).min(100);
            self.squeezed_at = now;
            self.resize();
        }
        self.bucket.refill(now);
    }

    /// Answers that come together are one signal.
    fn squeeze(&mut self, now: Nanos) {
        if now.since(self.squeezed_at) < SQUEEZE_PAUSE_NS {
            return;
        }
        self.percent = (self.percent / 2).max(SQUEEZE_FLOOR);
        self.squeezed_at = now;
        self.resize();
    }

    /// A batch above the burst would never pass, so the burst stays as it is.
    fn resize(&mut self) {
        self.bucket.resize(self.full.1, self.full.0 * MICRO * self.percent / 100);
    }
}

/// Everything that limits us.
#[derive(Clone, Debug)]
pub struct Budget {
    limits: Limits,
    orders: Signer,
    cancels: Signer,
    all: Bucket,
    short: [Bucket; WINDOWS],
    long: [Bucket; WINDOWS],
}

impl Budget {
    /// Full buckets.
    pub fn new(limits: Limits) -> Self {
        let part = |n: u64| n * limits.use_percent / 100;
        let unlimited = || Bucket::new(u64::MAX / MICRO, 0);
        let bucket = |n: u64, seconds| if n == 0 { unlimited() } else { Bucket::window(part(n), seconds) };
        let mut short = [unlimited(); WINDOWS];
        let mut long = short;
        for call in Call::KINDS {
            let (n, in_10_s, in_600_s) = call.window();
            (short[n], long[n]) = (bucket(in_10_s, 10), bucket(in_600_s, 600));
        }
        let [orders, cancels] = limits.tier.rates().map(|(rate, burst)| Signer::new((part(rate), part(burst))));
        Self { limits, orders, cancels, all: Bucket::window(part(ALL_CALLS), 10), short, long }
    }

    /// The tier that is gone by.
    pub const fn tier(&self) -> Tier {
        self.limits.tier
    }

    /// Share of the tier's order rate that is used now, in percent; less than 100 after the venue showed that it was too
    /// much.
    pub const fn percent(&self) -> u64 {
        self.orders.percent
    }

    /// Most orders that a batch may have now: a part of a batch is never taken.
    pub fn orders_max(&mut self, now: Nanos) -> u64 {
        self.orders.refill(now);
        if now < self.orders.bucket.blocked { 0 } else { self.orders.bucket.tokens() }
    }

    /// Takes what a call costs, of all of its buckets or of none. Cancel-all is always let through.
    pub fn take(&mut self, call: Call, now: Nanos) -> bool {
        self.orders.refill(now);
        self.cancels.refill(now);
        self.all.refill(now);
        let (n, ..) = call.window();
        self.short[n].refill(now);
        self.long[n].refill(now);
        let all_of_it = matches!(call, Call::CancelAll(_));
        let reserve = self.limits.reserve_percent;
        let signer = if call.places() {
            Some((&mut self.orders.bucket, 0))
        } else if call.is_cancel() {
            Some((&mut self.cancels.bucket, if all_of_it { 0 } else { reserve }))
        } else {
            None
        };
        let kept = if call.is_cancel() { 0 } else { reserve };
        let enough = signer.as_ref().is_none_or(|(bucket, kept)| bucket.has(call.cost(), *kept, now))
            && self.short[n].has(1, 0, now)
            && self.long[n].has(1, 0, now)
            && self.all.has(1, kept, now);
        if !enough && !all_of_it {
            return false;
        }
        if let Some((bucket, _)) = signer {
            bucket.take(call.cost());
        }
        for bucket in [&mut self.short[n], &mut self.long[n], &mut self.all] {
            bucket.take(1);
        }
        true
    }

    /// Hears what an answer to a call says. Buckets only shrink by it.
    pub fn hear(&mut self, call: Call, said: &Said, now: Nanos) {
        if let Some(tier) = said.head.tier.filter(|tier| *tier != self.limits.tier) {
            self.limits.tier = tier;
            let part = |n: u64| n * self.limits.use_percent / 100;
            for (signer, (rate, burst)) in [&mut self.orders, &mut self.cancels].into_iter().zip(tier.rates()) {
                signer.refill(now);
                signer.full = (part(rate), part(burst));
                signer.resize();
            }
        }
        let signer = if call.is_cancel() {
            &mut self.cancels
        } else if call.places() {
            &mut self.orders
        } else {
            if said.refused {
                let (n, ..) = call.window();
                self.short[n].blocked = now.plus(retry_ns(said.retry_after_s));
            }
            return;
        };
        signer.refill(now);
        if let Some(remaining) = said.head.remaining {
            signer.bucket.at_most(remaining);
            if remaining == 0
                && let Some(reset) = said.head.reset_s
            {
                // Ten digits are a time of day, fewer a wait.
                let wait_s = if reset >= SECOND_NS { reset.saturating_sub(now.secs()) } else { reset };
                let wait_ns = wait_s.saturating_mul(SECOND_NS).min(RETRY_MAX_NS);
                signer.bucket.blocked = signer.bucket.blocked.max(now.plus(wait_ns));
            }
        }
        if said.refused {
            signer.bucket.blocked = signer.bucket.blocked.max(now.plus(retry_ns(said.retry_after_s)));
            signer.bucket.at_most(0);
        }
        if said.too_much() {
            signer.squeeze(now);
        }
    }
}

/// How long the venue's `Retry-After` is honoured.
pub fn retry_ns(seconds: Option<u64>) -> u64 {
    seconds.unwrap_or(1).saturating_mul(SECOND_NS).clamp(RETRY_MIN_NS, RETRY_MAX_NS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Nanos {
        Nanos(1_790_000_000 * SECOND_NS + ms * 1_000_000)
    }

    fn limits(use_percent: u64, reserve_percent: u64) -> Limits {
        Limits { tier: Tier::Standard, use_percent, reserve_percent }
    }

    /// How many of these calls go through at once.
    fn passes(budget: &mut Budget, call: Call, now: Nanos) -> u64 {
        (0..100_000).take_while(|_| budget.take(call, now)).count() as u64
    }

    #[test]
    fn orders_and_cancels_have_their_own_bursts_and_rates() {
        let mut budget = Budget::new(limits(100, 25));
        assert_eq!(passes(&mut budget, Call::Order, at(0)), 60);
        assert_eq!(passes(&mut budget, Call::Order, at(500)), 20, "forty a second");
        assert_eq!(passes(&mut budget, Call::Cancels(15), at(500)), 6, "a quarter of 120 is kept for cancel-all");
        assert!(budget.take(Call::CancelAll(1_000), at(500)), "cancel-all always leaves");
        assert_eq!(passes(&mut budget, Call::Cancel, at(600)), 0, "and empties the bucket");
        assert!(!budget.take(Call::Orders(61), at(60_000)) && budget.take(Call::Orders(60), at(60_000)));
        let mut ours = Budget::new(limits(50, 25));
        assert_eq!(passes(&mut ours, Call::Order, at(0)), 30, "half of everything");
    }

    #[test]
    fn endpoints_have_windows_of_their_own_and_reads_leave_room_for_cancels() {
        for (call, in_10_s) in [(Call::Ledger, 500), (Call::Balance, 200), (Call::BalanceUpdate, 50)] {
            let mut budget = Budget::new(limits(100, 25));
            let sent: u64 = (0..=10_000).step_by(100).map(|ms| passes(&mut budget, call, at(ms))).sum();
            assert!(sent <= in_10_s && sent >= in_10_s * 9 / 10, "{call:?}: {sent} in ten seconds");
        }
        let mut budget = Budget::new(limits(100, 25));
        assert_eq!(passes(&mut budget, Call::Other, at(0)), 1_350, "three quarters of a burst of 1800");
        assert!(budget.take(Call::Cancel, at(0)), "the rest is for cancels");
    }

    #[test]
    fn what_the_venue_says_shrinks_and_only_time_fills() {
        let mut budget = Budget::new(limits(100, 25));
        let left = |remaining, reset_s| {
            let head = RateSaid { remaining: Some(remaining), reset_s, ..RateSaid::default() };
            Said { head, ..Said::default() }
        };
        budget.hear(Call::Order, &left(3, None), at(0));
        budget.hear(Call::Order, &left(50, None), at(0));
        assert_eq!(passes(&mut budget, Call::Order, at(0)), 3);
        budget.hear(Call::Order, &left(0, Some(2)), at(1_000));
        assert_eq!((passes(&mut budget, Call::Order, at(2_900)), budget.orders_max(at(2_900))), (0, 0));
        assert_eq!(passes(&mut budget, Call::Order, at(3_000)), 60);
        budget.hear(Call::Order, &left(0, Some(at(5_000).secs())), at(4_000));
        assert_eq!(passes(&mut budget, Call::Order, at(4_900)), 0);
        assert!(budget.take(Call::Cancel, at(4_900)), "cancels have another bucket");
    }

    #[test]
    fn a_refusal_waits_as_told_within_bounds_and_halves_the_rate() {
        for (told, waits_ms) in [(None, 1_000), (Some(0), 1_000), (Some(7), 7_000), (Some(u64::MAX), 60_000)] {
            let mut budget = Budget::new(limits(100, 25));
            let refused = Said { refused: true, retry_after_s: told, ..Said::default() };
            budget.hear(Call::Order, &refused, at(0));
            assert_eq!(passes(&mut budget, Call::Order, at(waits_ms - 1)), 0, "{told:?}");
            assert!(budget.take(Call::Order, at(waits_ms)), "{told:?}");
        }
        let mut budget = Budget::new(limits(100, 25));
        let warned = Said { head: RateSaid { warning: true, ..RateSaid::default() }, ..Said::default() };
        for (ms, signal) in [(0, warned), (500, Said { slow: true, ..Said::default() })] {
            let before = budget.percent();
            budget.hear(Call::Order, &signal, at(ms));
            budget.hear(Call::Order, &signal, at(ms + 1));
            assert_eq!(budget.percent(), before / 2, "once for what comes together");
        }
        passes(&mut budget, Call::Order, at(501));
        assert_eq!(passes(&mut budget, Call::Order, at(1_001)), 5, "a quarter of forty a second");
        budget.orders_max(at(20_500));
        assert_eq!(budget.percent(), 100, "it comes back");
    }

    #[test]
    fn the_tier_that_the_venue_names_replaces_ours_and_fills_nothing() {
        let mut budget = Budget::new(limits(100, 25));
        passes(&mut budget, Call::Order, at(0));
        let head = RateSaid { tier: Tier::parse(b"ELITE"), ..RateSaid::default() };
        let named = Said { head, ..Said::default() };
        budget.hear(Call::Order, &named, at(0));
        assert_eq!((budget.tier(), passes(&mut budget, Call::Order, at(0))), (Tier::Elite, 0));
        assert_eq!(passes(&mut budget, Call::Order, at(1_000)), 600);
    }

    #[derive(Clone, Copy, Debug)]
    enum Do {
        Wait(u64),
        Back(u64),
        Take(u64, u64),
        AtMost(u64),
    }

    fn anything() -> impl Strategy<Value = Do> {
        prop_oneof![
            (0_u64..3_000_000_000).prop_map(Do::Wait),
            (0_u64..3_000_000_000).prop_map(Do::Back),
            (0_u64..40, 0_u64..100).prop_map(|(cost, reserve)| Do::Take(cost, reserve)),
            (0_u64..200).prop_map(Do::AtMost),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

        #[test]
        fn a_bucket_keeps_its_bounds(
            steps in proptest::collection::vec(anything(), 1..80), capacity in 1_u64..100, rate in 1_u64..2_000,
        ) {
            let mut bucket = Bucket::new(capacity, rate * MICRO / 10);
            let mut now = 1_790_000_000 * SECOND_NS;
            bucket.refill(Nanos(now));
            // What may have been taken at most: the burst and what came in since.
            let (begun, mut taken, mut latest) = (now, 0_u64, now);
            for step in steps {
                let before = bucket.level;
                match step {
                    Do::Wait(ns) => {
                        now += ns;
                        bucket.refill(Nanos(now));
                        prop_assert!(bucket.level >= before, "time takes nothing away");
                    }
                    Do::Back(ns) => {
                        now -= ns.min(now - begun);
                        bucket.refill(Nanos(now));
                        prop_assert!(bucket.level >= before);
                    }
                    Do::Take(cost, reserve) => {
                        if bucket.has(cost, reserve, Nanos(now)) {
                            bucket.take(cost);
                            taken += cost;
                            prop_assert!(bucket.level >= bucket.capacity / 100 * reserve, "the reserve was touched");
                        }
                        prop_assert!(bucket.level <= before);
                    }
                    Do::AtMost(tokens) => {
                        bucket.at_most(tokens);
                        prop_assert!(bucket.level <= before && bucket.level <= tokens * MICRO, "words fill nothing");
                    }
                }
                latest = latest.max(now);
                prop_assert!(bucket.level <= bucket.capacity, "above its capacity");
                let came = u128::from(latest - begun) * u128::from(rate * MICRO / 10) / u128::from(SECOND_NS);
                prop_assert!(u128::from(taken * MICRO) <= u128::from(capacity * MICRO) + came, "more than its rate");
            }
        }

        #[test]
        fn orders_and_reads_never_touch_what_cancels_need(
            calls in proptest::collection::vec((0_usize..9, 1_u32..16, 0_u64..200), 1..200), reserve in 0_u64..60,
        ) {
            let mut budget = Budget::new(limits(100, reserve));
            let mut ms = 0;
            for (kind, n, wait) in calls {
                ms += wait;
                let call = match Call::KINDS[kind] {
                    Call::Orders(_) => Call::Orders(n),
                    Call::Cancels(_) => Call::Cancels(n),
                    Call::CancelAll(_) => Call::CancelAll(n),
                    other => other,
                };
                let let_through = budget.take(call, at(ms));
                if let_through && !call.is_cancel() {
                    prop_assert!(budget.all.level >= budget.all.capacity / 100 * reserve, "{call:?} took the reserve");
                }
                if let_through && matches!(call, Call::Cancel | Call::Cancels(_)) {
                    let bucket = budget.cancels.bucket;
                    prop_assert!(bucket.level >= bucket.capacity / 100 * reserve, "cancel-all has nothing left");
                }
                prop_assert!(let_through || !matches!(call, Call::CancelAll(_)));
            }
        }
    }
}
