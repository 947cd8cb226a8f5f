//! Latency histograms, and the Prometheus text. No market, order, match or address is ever a label.

use std::fmt::{Display, Write};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{
    dead_letters,
    flow::{Flow, SIDES, STRATEGIES},
    status::Latest,
};
use crate::{
    stage::{
        latency::{Latency, Sample},
        ring::RingStats,
    },
    types::event::{Dependency, KillReason},
};

/// The longest latency that is told apart from longer ones.
const LONGEST_NS: u64 = 60_000_000_000;
/// Decimal digits that a histogram keeps.
const DIGITS: u8 = 3;

/// One histogram per stage, 1 ns to 60 s with three significant digits.
#[derive(Clone, Debug)]
pub struct Histograms(Vec<Histogram<u64>>);

/// What is reported of a histogram, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// Samples.
    pub count: u64,
    /// Median.
    pub p50_ns: u64,
    /// 90 of 100 are at most this.
    pub p90_ns: u64,
    /// 99 of 100 are at most this.
    pub p99_ns: u64,
    /// 999 of 1000 are at most this.
    pub p999_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

impl Default for Histograms {
    fn default() -> Self {
        let one = || Histogram::new_with_bounds(1, LONGEST_NS, DIGITS).expect("constant bounds are valid");
        Self(Latency::ALL.iter().map(|_| one()).collect())
    }
}

impl Histograms {
    /// Records a sample. Longer than 60 s counts as 60 s.
    pub fn record(&mut self, sample: Sample) {
        self.0[sample.what as usize].saturating_record(sample.ns);
    }

    /// What is known of one stage.
    pub fn quantiles(&self, what: Latency) -> Quantiles {
        let h = &self.0[what as usize];
        let at = |q| h.value_at_quantile(q).min(h.max());
        Quantiles {
            count: h.len(),
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            max_ns: h.max(),
        }
    }

    /// Every stage with what is known of it, in the order of the pipeline.
    pub fn all(&self) -> impl Iterator<Item = (Latency, Quantiles)> {
        Latency::ALL.into_iter().map(|what| (what, self.quantiles(what)))
    }

    /// Sum of all samples in nanoseconds, as exact as the buckets are.
    fn sum_ns(&self, what: Latency) -> u64 {
        self.0[what as usize].iter_recorded().map(|v| v.value_iterated_to().saturating_mul(v.count_at_value())).sum()
    }
}

/// Everything that `/metrics` shows.
#[derive(Debug)]
pub struct View<'a> {
    /// Version of the program.
    pub version: &'a str,
    /// What the records told.
    pub flow: &'a Flow,
    /// Latencies.
    pub latency: &'a Histograms,
    /// Counters of the shells.
    pub counters: &'a [(&'static str, u64)],
    /// Rings.
    pub rings: &'a [std::sync::Arc<RingStats>],
    /// The engine's numbers, once it has given any.
    pub status: Option<&'a Latest>,
    /// Messages that could not be read.
    pub letters: &'a dead_letters::Counts,
    /// Resident memory in bytes, where the system says.
    pub resident_bytes: Option<u64>,
}

/// The Prometheus text format, version 0.0.4.
pub fn prometheus(view: &View<'_>) -> String {
    let mut p = Page(String::with_capacity(16 << 10));
    p.family("build_info", "gauge", "Always 1; the version is the label.");
    p.line("build_info", &[("version", &view.version)], 1);
    for (name, help, table) in [
        ("orders_placed_total", "Orders approved by risk and given to the signer.", &view.flow.placed),
        ("orders_filled_total", "Fills, each trade of an order once.", &view.flow.filled),
    ] {
        p.family(name, "counter", help);
        for (side, row) in SIDES.iter().zip(table) {
            for (strategy, n) in STRATEGIES.iter().zip(row) {
                let side = side.as_str().to_lowercase();
                p.line(name, &[("side", &side), ("strategy", &strategy.as_str())], n);
            }
        }
    }
    for (name, what, help) in [
        ("order_latency_seconds", Latency::Ack, "Order written to its answer read."),
        (
            "tick_to_trade_seconds",
            Latency::TickToTrade,
            "Bytes of the causing tick read to the order's last byte written.",
        ),
    ] {
        p.family(name, "summary", help);
        p.summary(name, &[], view.latency, what);
    }
    let name = "stage_latency_seconds";
    p.family(name, "summary", "Time spent in each stage of the pipeline.");
    for what in Latency::ALL {
        p.summary(name, &[("stage", &what.as_str())], view.latency, what);
    }
    p.family("events_total", "counter", "Events that the engine heard.");
    for (kind, n) in super::flow::EVENT_KINDS.iter().zip(view.flow.events) {
        p.line("events_total", &[("kind", kind)], n);
    }
    p.family("kill_switch_triggers_total", "counter", "Times that the kill switch was thrown.");
    for (reason, n) in KillReason::ALL.map(KillReason::as_str).iter().zip(view.flow.kills) {
        p.line("kill_switch_triggers_total", &[("reason", reason)], n);
    }
    let name = "circuit_breaker_trips_total";
    p.family(name, "counter", "Times that a breaker opened: of a dependency, or of a market.");
    for (of, n) in Dependency::ALL.iter().zip(view.flow.breaker_trips) {
        p.line(name, &[("scope", &"dependency"), ("reason", &of.as_str())], n);
    }
    let of_markets = view.status.map_or(0, |s| s.brief.reconciliation.breaker_trips);
    p.line(name, &[("scope", &"market"), ("reason", &"rejects")], of_markets);
    p.family("circuit_breaker_open", "gauge", "1 while the breaker of a dependency is open.");
    for (of, open) in Dependency::ALL.iter().zip(view.flow.breakers_open) {
        p.line("circuit_breaker_open", &[("dependency", &of.as_str())], u8::from(open));
    }
    let name = "dead_letters_total";
    p.family(name, "counter", "Messages that could not be read, by the code of the reason.");
    view.letters.by_reason().for_each(|(reason, n)| p.line(name, &[("reason", &reason)], n));
    for (name, help, n) in [
        ("dead_letters_understood_total", "Dead letters that a later try understood.", view.letters.understood),
        ("dead_letters_dropped_total", "Dead letters dropped as the oldest.", view.letters.dropped),
        ("dead_letters_lost_total", "Dead letters that could not be written down.", view.letters.lost),
    ] {
        p.family(name, "counter", help);
        p.line(name, &[], n);
    }
    let (name, lag) = ("event_lag_seconds", view.flow.market_lag);
    p.family(name, "summary", "From the venue's own time on a message to its reading here.");
    p.line(&format!("{name}_sum"), &[("source", &"market")], seconds(lag.sum_ms.saturating_mul(1_000_000)));
    p.line(&format!("{name}_count"), &[("source", &"market")], lag.count);
    p.family("event_lag_max_seconds", "gauge", "The longest such time.");
    p.line("event_lag_max_seconds", &[("source", &"market")], seconds(lag.max_ms.saturating_mul(1_000_000)));
    p.family("ring_depth", "gauge", "Items that fit into a ring.");
    view.rings.iter().for_each(|r| p.line("ring_depth", &[("ring", &r.label())], r.depth));
    p.family("ring_high_water", "gauge", "Most items that a ring's reader found waiting.");
    view.rings.iter().for_each(|r| p.line("ring_high_water", &[("ring", &r.label())], r.read().high_water));
    p.family("ring_overflows_total", "counter", "Items that did not fit into a ring.");
    view.rings.iter().for_each(|r| p.line("ring_overflows_total", &[("ring", &r.label())], r.read().overflows));
    p.family("ws_reconnects_total", "counter", "WebSocket connections made after the first.");
    for (name, n) in view.counters {
        if let Some(feed) = name.strip_suffix("_reconnects") {
            p.line("ws_reconnects_total", &[("feed", &feed)], n);
        }
    }
    for (name, n) in view.counters.iter().filter(|(name, _)| !name.ends_with("_reconnects")) {
        let help = format!("Count of {}, over all tiles.", name.replace('_', " "));
        let name = format!("{name}_total");
        p.family(&name, "counter", &help);
        p.line(&name, &[], n);
    }
    if let Some(status) = view.status {
        p.family("admitting", "gauge", "1 while new orders are admitted.");
        p.line("admitting", &[], u8::from(status.brief.admitting));
        let name = "reconcile_mismatch_total";
        p.family(name, "counter", "Times that the venue's word of our orders or holdings contradicted ours.");
        p.line(name, &[], status.brief.reconciliation.mismatches);
        p.family("exposure_usdc", "gauge", "Worst loss over every outcome, with everything open counted against us.");
        p.line("exposure_usdc", &[("scope", &"total")], status.brief.exposure[0]);
        p.line("exposure_usdc", &[("scope", &"worst_market")], status.brief.exposure[1]);
        p.family("gate_closed", "gauge", "1 while a condition holds under which no order, or only some, may leave.");
        for (condition, holds) in status.brief.gate.each() {
            p.line("gate_closed", &[("condition", &condition)], u8::from(holds));
        }
        p.family("orders_open", "gauge", "Orders open now.");
        p.line("orders_open", &[], status.brief.orders.open);
        p.family("orders_unresolved", "gauge", "Orders whose fate is unknown now.");
        p.line("orders_unresolved", &[], status.brief.orders.unresolved);
        for (name, help, value) in [
            ("pnl_realized_usdc", "Booked by sales, merges and payouts, before fees.", status.brief.pnl.realized),
            ("pnl_unrealized_usdc", "Of positions still open, sold into the book.", status.brief.pnl.unrealized),
            ("daily_pnl_usdc", "Equity change of this UTC day.", status.brief.pnl.day_change),
            ("fees_usdc", "Fees paid as taker.", status.brief.pnl.fees),
        ] {
            p.family(name, "gauge", help);
            p.line(name, &[], value);
        }
    }
    if let Some(bytes) = view.resident_bytes {
        p.family("resident_bytes", "gauge", "Memory held by the process.");
        p.line("resident_bytes", &[], bytes);
    }
    p.0
}

/// A label and its value.
type Label<'a> = (&'a str, &'a dyn Display);

struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP polyloly_{name} {help}\n# TYPE polyloly_{name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[Label<'_>], value: impl Display) {
        let _ = write!(self.0, "polyloly_{name}");
        for (i, (key, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{key}=\"{text}\"", if i == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn summary(&mut self, name: &str, labels: &[Label<'_>], latency: &Histograms, what: Latency) {
        let q = latency.quantiles(what);
        for (quantile, ns) in [("0.5", q.p50_ns), ("0.9", q.p90_ns), ("0.99", q.p99_ns), ("0.999", q.p999_ns)] {
            if q.count > 0 {
                let labels: Vec<Label<'_>> = labels.iter().copied().chain([("quantile", &quantile as _)]).collect();
                self.line(name, &labels, seconds(ns));
            }
        }
        self.line(&format!("{name}_sum"), labels, seconds(latency.sum_ns(what)));
        self.line(&format!("{name}_count"), labels, q.count);
    }
}

fn seconds(ns: u64) -> String {
    format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::stage::ring::ring;

    #[test]
    fn quantiles_have_three_digits_and_the_longest_is_bounded() {
        let mut h = Histograms::default();
        (1..=1_000).for_each(|n| h.record(Sample { what: Latency::Sign, ns: n * 1_000 }));
        let q = h.quantiles(Latency::Sign);
        assert_eq!(q.count, 1_000);
        for (got, exact) in [(q.p50_ns, 500_000), (q.p90_ns, 900_000), (q.p99_ns, 990_000), (q.p999_ns, 999_000)] {
            assert!(got.abs_diff(exact) <= exact / 1_000, "{got} for {exact}");
        }
        h.record(Sample { what: Latency::Ack, ns: u64::MAX });
        assert!(h.quantiles(Latency::Ack).max_ns.abs_diff(LONGEST_NS) < LONGEST_NS / 500);
        assert_eq!(h.quantiles(Latency::Book), Quantiles::default());
    }

    #[test]
    fn stages_are_indexed_in_their_own_order() {
        assert!(Latency::ALL.iter().enumerate().all(|(n, what)| *what as usize == n));
    }

    #[test]
    fn the_page_is_well_formed() {
        let (tx, _rx) = ring::<u8>("market", 1, 8);
        let mut latency = Histograms::default();
        latency.record(Sample { what: Latency::TickToTrade, ns: 41_500 });
        let page = prometheus(&View {
            version: "0.1.0",
            flow: &Flow::default(),
            latency: &latency,
            counters: &[("market_messages", 7), ("user_reconnects", 2)],
            rings: &[tx.stats().clone()],
            status: Some(&Latest::default()),
            letters: &dead_letters::Counts::default(),
            resident_bytes: Some(1),
        });
        for line in [
            "polyloly_build_info{version=\"0.1.0\"} 1",
            "polyloly_orders_placed_total{side=\"buy\",strategy=\"pair\"} 0",
            "polyloly_stage_latency_seconds_count{stage=\"tick_to_trade\"} 1",
            "polyloly_ring_depth{ring=\"market.1\"} 8",
            "polyloly_ws_reconnects_total{feed=\"user\"} 2",
            "polyloly_market_messages_total 7",
            "polyloly_pnl_realized_usdc 0",
            "polyloly_circuit_breaker_trips_total{scope=\"dependency\",reason=\"orders_auth\"} 0",
            "polyloly_circuit_breaker_trips_total{scope=\"market\",reason=\"rejects\"} 0",
            "polyloly_kill_switch_triggers_total{reason=\"manual\"} 0",
            "polyloly_reconcile_mismatch_total 0",
            "polyloly_dead_letters_total{reason=\"not_json\"} 0",
            "polyloly_exposure_usdc{scope=\"total\"} 0",
            "polyloly_daily_pnl_usdc 0",
            "polyloly_event_lag_seconds_count{source=\"market\"} 0",
            "polyloly_gate_closed{condition=\"kill_switch\"} 0",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is missing from\n{page}");
        }
        assert!(page.contains("polyloly_tick_to_trade_seconds{quantile=\"0.5\"} 0.0000415"), "{page}");
        let mut declared = HashSet::new();
        let mut current = String::new();
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                current = rest.split(' ').next().unwrap().to_owned();
                assert!(declared.insert(current.clone()), "{current} is declared twice");
            } else if !line.starts_with('#') {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert!(name.starts_with(&current), "{line} stands under {current}");
                assert!(value.parse::<f64>().is_ok(), "{line}");
                for forbidden in ["order=", "market=", "match=", "address="] {
                    assert!(!name.contains(&format!("{{{forbidden}")) && !name.contains(&format!(",{forbidden}")));
                }
            }
        }
    }
}
