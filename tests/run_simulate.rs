//! The same seed through the sockets and in virtual time: `run` plays what `simulate` plays.
//!
//! A run's wall time is nobody's to repeat: at 200 times life a millisecond of a busy machine is a fifth of a second of
//! the match, and which of two orders is first differs from run to run. So a seed is played in virtual time over
//! several links, each as quick as a loopback may be, and a run has to be one more of these. What cannot depend on it
//! is equal to the last digit: teams, score, payouts, and our accounts against the venue's. The differences that there
//! are, and their reasons: docs/SCENARIOS.md "a run and simulate".

#![cfg(feature = "embedded")]

mod support;

use polyloly_fast::{
    scenario::{dice::Dice, family::Family},
    simulate::{
        Settings,
        course::{self, Course},
        link::Link,
    },
    strategies::{Params, both},
    types::Usdc,
};
use serde_json::Value;
use support::{Scratch, assert_clean, number, polyloly};

const SPEED: u32 = 200;
const SEED: u64 = 2;
const FAMILY: Family = Family::REALISTIC;
/// Links that a seed is played over.
const LINKS: u64 = 8;

/// What both tell, in the same units.
#[derive(Debug)]
struct Figures {
    orders: f64,
    fills: f64,
    traded: f64,
    equity: f64,
}

impl Figures {
    fn all(&self) -> [(&'static str, f64); 4] {
        [("orders", self.orders), ("fills", self.fills), ("traded", self.traded), ("equity", self.equity)]
    }

    fn of_run(s: &Value) -> Self {
        let dollars = |path: &str| {
            let text = s.pointer(path).and_then(Value::as_str).unwrap_or_else(|| panic!("no {path}: {s:#}"));
            Usdc::parse(text.as_bytes()).expect("money").micro() as f64 / 1e6
        };
        Self {
            orders: number(s, "/orders/sent") as f64,
            fills: number(s, "/fills/count") as f64,
            traded: dollars("/fills/notional_usdc"),
            equity: dollars("/pnl/equity_change_usdc"),
        }
    }

    fn of_course(c: &Course) -> Self {
        let dollars = |money: Usdc| money.micro() as f64 / 1e6;
        Self {
            orders: c.report.orders.sent as f64,
            fills: c.report.fills.count as f64,
            traded: dollars(c.report.fills.notional),
            equity: dollars(c.report.pnl.equity_change),
        }
    }
}

/// What several links made of one seed.
#[derive(Debug)]
struct Band(Vec<Figures>);

impl Band {
    /// The figures that are further out than all the links', by more than these differ among themselves.
    fn outside(&self, of: &Figures) -> Vec<&'static str> {
        let far = |(k, &(_, x)): (usize, &(&'static str, f64))| {
            let ours = || self.0.iter().map(|f| f.all()[k].1);
            let (low, high) = (ours().fold(f64::INFINITY, f64::min), ours().fold(f64::NEG_INFINITY, f64::max));
            x < low - (high - low) || x > high + (high - low)
        };
        of.all().iter().enumerate().filter(|at| far((at.0, at.1))).map(|(_, (what, _))| *what).collect()
    }
}

/// A match in virtual time over a link whose ways take 0.1 to 2 ms each.
fn in_virtual_time(params: &Params, seed: u64, n: u64) -> Course {
    let settings =
        Settings { matches: 1, seed, feed_delay_ns: 0, jobs: 1, params: params.clone(), like_run: Some(SPEED) };
    let mut dice = Dice::new(n, 77);
    let mut way = || (100_000.0 * libm::pow(20.0, dice.uniform(0.0, 1.0))) as u64;
    let ways = Link { market_ns: way(), user_ns: way(), order_ns: way(), answer_ns: way(), ..Link::loopback() };
    let terms = course::Terms { link: ways, ..settings.terms(&FAMILY, seed) };
    let params = params.clone().compressed(SPEED);
    course::play(&terms, |universe| both(universe, &params))
}

#[test]
fn a_run_is_one_more_of_what_simulate_plays() {
    let dir = Scratch::new("run-simulate");
    let (speed, seed, summary) = (SPEED.to_string(), SEED.to_string(), dir.path("summary.json"));
    let args = ["run", "--scenario", FAMILY.name, "--speed", &speed, "--seed", &seed, "--summary", &summary];
    polyloly(dir.dir(), &args).with(0);
    let run = dir.json("summary.json");
    assert_clean(&run);
    let courses: Vec<Course> = (0..LINKS).map(|n| in_virtual_time(&Params::default(), SEED, n)).collect();

    for c in &courses {
        assert_eq!(c.faults, Vec::<String>::new());
        // The same match, and the same end of it.
        for (m, theirs) in c.report.markets.iter().zip(run["positions"].as_array().expect("positions")) {
            assert_eq!(Some(m.slug.as_str()), theirs["market"].as_str(), "{theirs:#}");
            assert_eq!(m.payout, theirs["payout"].as_str(), "{theirs:#}");
        }
    }
    let band = Band(courses.iter().map(Figures::of_course).collect());
    let ran = Figures::of_run(&run);
    println!("run {ran:?}\n{band:#?}");
    assert_eq!(band.outside(&ran), Vec::<&str>::new(), "{ran:?} {band:#?}");

    // And the bounds tell one match from another, and a strategy from one that quotes half as much.
    let mut small = Params::default();
    small.pair.quote_shares /= 2;
    let other = Figures::of_course(&in_virtual_time(&small, SEED, 0));
    assert!(!band.outside(&other).is_empty(), "{other:?}");
    let other = Figures::of_course(&in_virtual_time(&Params::default(), SEED + 1, 0));
    assert!(!band.outside(&other).is_empty(), "{other:?}");
}
