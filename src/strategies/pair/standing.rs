//! Whether quoting a market makes sense, by what it brought: on, off for a while, or on trial.
//!
//! Nothing here knows what kind of match it is. A market is left alone when our fills there lost money beyond doubt,
//! or when what is known of the feed says that others are faster; it is tried again, small, after a time that doubles.

use super::markout::Account;
use crate::{
    engine::{
        digest::StateHasher,
        strategy::{Standing, Why},
    },
    types::Nanos,
};

/// The time off doubles up to this many times.
const DOUBLINGS_MAX: u32 = 5;

/// One market's standing, and how often it was off before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Post {
    standing: Standing,
    times_off: u32,
}

impl Default for Post {
    fn default() -> Self {
        Self { standing: Standing::Quoting, times_off: 0 }
    }
}

/// What it takes to go off, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Least number of measured fills.
    pub fills: u32,
    /// First time off.
    pub off_ns: u64,
}

impl Post {
    /// Where the market stands.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Judges a market; `too_slow_by_ms` if its feed is known to be. True: it changed, and its accounts begin anew.
    pub fn judge(&mut self, now: Nanos, [early, late]: [Account; 2], too_slow_by_ms: Option<u32>, rule: Rule) -> bool {
        let why = reason(&early, &late, too_slow_by_ms, rule.fills);
        match (self.standing, why) {
            (Standing::Quoting | Standing::Probing, Some(why)) => self.go_off(why, now, rule),
            (Standing::Off { until, .. }, _) if now >= until => match too_slow_by_ms {
                // Nothing has been quoted meanwhile: only what is known of the feed can have changed.
                Some(by_ms) => self.go_off(Why::TooSlow { by_ms }, now, rule),
                None => {
                    self.standing = Standing::Probing;
                    true
                }
            },
            (Standing::Probing, None) if late.fills >= rule.fills => {
                self.standing = Standing::Quoting;
                self.times_off = self.times_off.saturating_sub(1);
                false
            }
            _ => false,
        }
    }

    fn go_off(&mut self, why: Why, now: Nanos, rule: Rule) -> bool {
        let off_ns = rule.off_ns.saturating_mul(1 << self.times_off.min(DOUBLINGS_MAX));
        self.times_off = self.times_off.saturating_add(1);
        self.standing = Standing::Off { why, until: now.plus(off_ns) };
        true
    }

    /// All of it, into the state hash.
    pub fn digest(&self, h: &mut StateHasher) {
        h.debug(&self.standing);
        h.u64(u64::from(self.times_off));
    }
}

/// Why a market should be left alone, if it should.
fn reason(early: &Account, late: &Account, too_slow_by_ms: Option<u32>, fills: u32) -> Option<Why> {
    if let Some(by_ms) = too_slow_by_ms {
        return Some(Why::TooSlow { by_ms });
    }
    let loses = |a: &Account| a.fills >= fills && a.upper_ppm().is_some_and(|upper| upper < 0);
    let loss = |a: &Account| (a.mean_ppm().unsigned_abs().min(u64::from(u32::MAX)) as u32, a.fills);
    if loses(early) {
        let (loss_ppm, fills) = loss(early);
        return Some(Why::FeedBehind { loss_ppm, fills });
    }
    if loses(late) {
        let (loss_ppm, fills) = loss(late);
        return Some(Why::RunOver { loss_ppm, fills });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::strategy::Timing;

    const RULE: Rule = Rule { fills: 8, off_ns: 1_000 };

    fn account(net: &[i64]) -> Account {
        let mut a = Account::default();
        net.iter().for_each(|&n| a.add(n));
        a
    }

    /// Net per share of each fill in ppm (10 000 is a cent), and whether that is beyond doubt.
    #[test]
    fn a_loss_beyond_doubt_and_no_other_means_off() {
        let table: [(&str, &[i64], bool); 7] = [
            ("every fill loses a cent", &[-10_000; 8], true),
            ("too few of them to say", &[-10_000; 7], false),
            (
                "a cent lost, give or take half",
                &[-15_000, -5_000, -15_000, -5_000, -15_000, -5_000, -15_000, -5_000],
                true,
            ),
            (
                "a cent lost on average, of four",
                &[-50_000, 30_000, -50_000, 30_000, -50_000, 30_000, -50_000, 30_000],
                false,
            ),
            ("seven small gains, one disaster", &[5_000, 5_000, 5_000, 5_000, 5_000, 5_000, 5_000, -90_000], false),
            ("nothing gained, nothing lost", &[0; 8], false),
            ("every fill gains", &[10_000; 8], false),
        ];
        for (what, net, off) in table {
            let good = account(&[10_000; 8]);
            for (accounts, behind) in [([good, account(net)], false), ([account(net), good], true)] {
                let mut post = Post::default();
                assert_eq!(post.judge(Nanos(5), accounts, None, RULE), off, "{what}");
                match post.standing() {
                    Standing::Off { why: Why::FeedBehind { .. }, .. } => assert!(off && behind, "{what}"),
                    Standing::Off { why: Why::RunOver { .. }, .. } => assert!(off && !behind, "{what}"),
                    _ => assert!(!off, "{what}"),
                }
            }
        }
    }

    #[test]
    fn the_bound_is_the_mean_plus_its_error() {
        // Mean −10 000; deviation 10 000 over √(n − 1) with the last fills counting a little more than the first.
        let upper = account(&[-20_000, 0, -20_000, 0, -20_000, 0, -20_000, 0, -20_000, 0]).upper_ppm().unwrap();
        assert!((-5_300..-4_700).contains(&upper), "{upper}: −10 000 + 1.415 × 10 000 / √9 = −5 283, weighted");
    }

    #[test]
    fn time_off_doubles_and_a_good_trial_makes_good_again() {
        let bad = [account(&[10_000; 8]), account(&[-10_000; 8])];
        let good = [account(&[10_000; 8]); 2];
        let mut post = Post::default();
        let mut now = Nanos(0);
        for wait in [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 32_000] {
            assert!(post.judge(now, bad, None, RULE));
            let Standing::Off { until, why } = post.standing() else { panic!("{post:?}") };
            assert_eq!((until, why), (now.plus(wait), Why::RunOver { loss_ppm: 10_000, fills: 8 }));
            assert!(!post.judge(Nanos(until.0 - 1), [Account::default(); 2], None, RULE), "not before its time");
            assert!(post.judge(until, [Account::default(); 2], None, RULE));
            assert_eq!(post.standing(), Standing::Probing);
            now = until;
        }
        assert!(!post.judge(now, [account(&[10_000; 7]); 2], None, RULE));
        assert_eq!(post.standing(), Standing::Probing, "a trial of eight fills is not over after seven");
        post.judge(now, good, None, RULE);
        assert_eq!(post.standing(), Standing::Quoting);
    }

    /// p90 of the feed's lag, of our cancels, and the lead that the informed have, with a hold of 1 s.
    #[test]
    fn a_feed_that_is_too_slow_is_said_to_be_and_by_how_much() {
        let known = |lag, cancel| Timing { feed_lag_p90_ms: Some(lag), cancel_path_p90_ms: Some(cancel) };
        let table = [
            (known(2_000, 100), Some(700)),
            (known(1_300, 100), None),
            (known(1_301, 100), Some(1)),
            (Timing { feed_lag_p90_ms: None, ..known(9_000, 9_000) }, None),
            (Timing { cancel_path_p90_ms: None, ..known(2_000, 9_000) }, Some(600)),
        ];
        for (timing, by) in table {
            assert_eq!(timing.too_slow_by_ms(400, 1_000), by, "{timing:?}");
            let mut post = Post::default();
            post.judge(Nanos(0), [Account::default(); 2], timing.too_slow_by_ms(400, 1_000), RULE);
            assert_eq!(matches!(post.standing(), Standing::Off { why: Why::TooSlow { .. }, .. }), by.is_some());
        }
        assert_eq!(Why::TooSlow { by_ms: 700 }.to_string(), "your feed is 0.7 s too slow to quote here");
    }
}
