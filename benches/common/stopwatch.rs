//! Times routines two ways: single iterations into an HDR histogram for the tail, and Criterion's estimate.
//!
//! Rows that are compared run in turn, in short rounds on one thread, so that a neighbour's noise hits all of them.
//! A routine of nanoseconds is timed in batches, so that two clock reads do not dominate it; its percentiles are then
//! those of a batch's mean. The loop is closed and nothing arrives on its own: there is no queue whose waiting could be
//! left out, and none that is measured. Waiting belongs to the runs over sockets.

use std::{hint::black_box, time::Duration};

use criterion::Criterion;
use hdrhistogram::Histogram;
use quanta::Clock;

/// Rounds in which the rows of a table take turns.
const ROUNDS: u64 = 25;
/// Time given to one row's histogram.
const BUDGET_NS: u64 = 800_000_000;
/// The same for a row that sets its stage: most of its time passes between the iterations that are timed.
const STAGED_BUDGET_NS: u64 = 5 * BUDGET_NS;
/// Samples that a row may have at most: enough for a steady p99.9.
const SAMPLES_MAX: u64 = 200_000;

/// Runs so many iterations; gives the nanoseconds they took, without what only sets the stage.
type Timed<'a> = Box<dyn FnMut(&Clock, u64) -> u64 + 'a>;

/// One routine to be timed.
pub struct Row<'a> {
    name: &'static str,
    batch: u64,
    budget_ns: u64,
    run: Timed<'a>,
}

impl<'a> Row<'a> {
    /// A routine that can simply be called again. `batch`: iterations to one reading of the clock.
    pub fn new<R>(name: &'static str, batch: u64, mut routine: impl FnMut() -> R + 'a) -> Self {
        let run = move |clock: &Clock, n| {
            let begin = clock.raw();
            for _ in 0..n {
                black_box(routine());
            }
            clock.delta_as_nanos(begin, clock.raw())
        };
        Self { name, batch, budget_ns: BUDGET_NS, run: Box::new(run) }
    }

    /// A routine that needs its stage set between iterations, and reads the clock itself.
    pub fn staged(name: &'static str, batch: u64, run: impl FnMut(&Clock, u64) -> u64 + 'a) -> Self {
        Self { name, batch, budget_ns: STAGED_BUDGET_NS, run: Box::new(run) }
    }
}

/// Where routines are sent to be timed.
pub enum Bench {
    /// Each once or twice: they must run, their answers must hold.
    Smoke,
    /// All of it, for people.
    Full(Box<Criterion>, Clock),
}

impl Bench {
    /// A stopwatch for `cargo bench`.
    pub fn full() -> Self {
        let criterion = Criterion::default()
            .sample_size(20)
            .warm_up_time(Duration::from_millis(200))
            .measurement_time(Duration::from_millis(500))
            .without_plots()
            .configure_from_args();
        Self::Full(Box::new(criterion), Clock::new())
    }

    /// How many of something to prepare: few for a smoke test.
    pub fn scale(&self, full: usize, smoke: usize) -> usize {
        if matches!(self, Self::Smoke) { smoke } else { full }
    }

    /// Times the rows of one table. The first is ours, the others are what it is compared with.
    pub fn table(&mut self, step: &str, what: &str, mut rows: Vec<Row<'_>>) {
        let (criterion, clock) = match self {
            Self::Smoke => {
                let clock = Clock::new();
                for row in &mut rows {
                    (row.run)(&clock, 2);
                }
                return;
            }
            Self::Full(criterion, clock) => (criterion, clock),
        };
        print_table(step, what, &mut rows, clock);
        let mut group = criterion.benchmark_group(format!("{step}/{what}").replace(' ', "_"));
        for row in &mut rows {
            let run = &mut row.run;
            group.bench_function(row.name, |b| b.iter_custom(|n| Duration::from_nanos(run(clock, n))));
        }
        group.finish();
    }
}

fn print_table(step: &str, what: &str, rows: &mut [Row<'_>], clock: &Clock) {
    let mut histograms = Vec::new();
    for row in rows.iter_mut() {
        // Warm, and learn what one sample costs, the setting of its stage included.
        let cost = |row: &mut Row<'_>| {
            let begin = clock.raw();
            (row.run)(clock, row.batch);
            clock.delta_as_nanos(begin, clock.raw())
        };
        let cost = (0..50).map(|_| cost(row)).sum::<u64>().max(50) / 50;
        let samples = (row.budget_ns / cost / ROUNDS).clamp(1, SAMPLES_MAX / ROUNDS);
        // Tenths of nanoseconds up to a second, to three digits.
        let histogram = Histogram::<u64>::new_with_bounds(1, 10_000_000_000, 3).expect("sound bounds");
        histograms.push((samples, histogram));
    }
    for _ in 0..ROUNDS {
        for (row, (samples, histogram)) in rows.iter_mut().zip(&mut histograms) {
            for _ in 0..*samples {
                let ns = (row.run)(clock, row.batch);
                histogram.saturating_record(ns * 10 / row.batch);
            }
        }
    }
    println!("\n{step}: {what}");
    println!(
        "  {:<42} {:>6} {:>8} {:>11} {:>11} {:>11} {:>11} {:>7}",
        "", "batch", "samples", "p50", "p99", "p99.9", "max", "ratio"
    );
    let ours = histograms[0].1.value_at_quantile(0.5);
    for (row, (_, histogram)) in rows.iter().zip(&histograms) {
        // A percentile that no sample lies beyond is the maximum under another name.
        let beyond = |q: f64| histogram.len() as f64 * (1.0 - q) >= 1.0;
        let at = |q: f64| if beyond(q) { time(histogram.value_at_quantile(q)) } else { "-".into() };
        let p50 = histogram.value_at_quantile(0.5);
        println!(
            "  {:<42} {:>6} {:>8} {:>11} {:>11} {:>11} {:>11} {:>7.1}",
            row.name,
            row.batch,
            histogram.len(),
            time(p50),
            at(0.99),
            at(0.999),
            time(histogram.max()),
            p50 as f64 / ours.max(1) as f64,
        );
    }
}

/// Tenths of nanoseconds, for people.
fn time(tenths: u64) -> String {
    match tenths {
        0..10_000 => format!("{:.1} ns", tenths as f64 / 10.0),
        10_000..10_000_000 => format!("{:.2} µs", tenths as f64 / 1e4),
        _ => format!("{:.2} ms", tenths as f64 / 1e7),
    }
}
