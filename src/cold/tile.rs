//! The cold tile: drains the journal's ring, samples and dead letters, answers HTTP, shows progress; closes the books.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::{
    admin::{self, Admin},
    alerts::{self, Alerts},
    dead_letters,
    flow::Flow,
    health::{self, Answer, Request, Server},
    journal::{Closing, JournalError, Record, Writer},
    logs,
    metrics::{self, Histograms, View},
    progress::{Glance, Progress},
    status::{Latest, Slot},
};
use crate::{
    config::Level,
    engine::{gate::Closed, report::Holding, strategy::Standing},
    stage::{
        Control, Doorbell, Stage, StageError,
        counters::Counters,
        dead_letter::DeadLetter,
        latency::{Latency, Sample},
        ring::{RingReading, RingStats, Rx},
    },
    sys::{disk, mem, tsc::Clock},
    types::{
        Cycles, Nanos, Stamp, Universe,
        event::{ControlEvent, Dependency},
        ids::Outcome as Side,
        market::MarketSpec,
    },
};

/// Records taken per turn.
const RECORDS: usize = 1_024;
/// Samples taken per ring and turn.
const SAMPLES: usize = 1_024;
/// Dead letters taken per ring and turn.
const LETTERS: usize = 16;
/// A hot tile without a sign of life for this long is not alive.
const ALIVE_NS: u64 = 1_000_000_000;
/// The journal's disk is looked at this often.
const DISK_EVERY_NS: u64 = 5_000_000_000;

/// What the cold tile is made of.
pub struct Parts {
    /// Version of the program.
    pub version: &'static str,
    /// Names the run.
    pub run_id: String,
    /// Everything the engine heard and asked for.
    pub records: Rx<Record>,
    /// Latency samples, one ring a tile.
    pub samples: Vec<Rx<Sample>>,
    /// The engine's numbers.
    pub status: Slot<Latest>,
    /// Counters of all tiles.
    pub counters: Arc<Counters>,
    /// Every ring of the run.
    pub rings: Vec<Arc<RingStats>>,
    /// Where records go; `None` writes nothing down.
    pub journal: Option<Writer>,
    /// Longest time between two syncs in nanoseconds; 0: only at rotation and at the end.
    pub sync_every_ns: u64,
    /// HTTP; `None` serves nothing.
    pub health: Option<Server>,
    /// The line on the terminal.
    pub progress: Progress,
    /// What the run is about: names for `/state`.
    pub universe: Arc<Universe>,
    /// What all tiles share: is a stop asked for, does the hot tile live.
    pub control: Arc<Control>,
    /// The thread's clock.
    pub clock: Clock,
    /// The operator's interface; `None`: there is none.
    pub admin: Option<Admin>,
    /// Messages that could not be read, of every feed.
    pub dead_letters: Vec<Rx<DeadLetter>>,
    /// Where they are kept; `None` drops them.
    pub store: Option<dead_letters::Store>,
    /// Free bytes on the journal's disk below which the run is not ready; 0: not looked at.
    pub disk_reserve: u64,
    /// Tells the engine something; false if it could not be taken and has to be told again.
    pub tell: Box<dyn FnMut(ControlEvent) -> bool + Send>,
    /// Where the result is put when all is done.
    pub outcome: Slot<Outcome>,
}

/// What is left of the cold tile when it has stopped.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What the records told.
    pub flow: Flow,
    /// Latencies.
    pub latency: Histograms,
    /// Counters of the shells.
    pub counters: Vec<(&'static str, u64)>,
    /// Rings by label.
    pub rings: BTreeMap<String, RingReading>,
    /// The engine's numbers as it showed them last.
    pub status: Option<Latest>,
    /// Messages that could not be read.
    pub letters: dead_letters::Counts,
    /// The journal's last record, if it could be written.
    pub closing: Option<Closing>,
    /// Why the journal stopped, if it did.
    pub failure: Option<String>,
}

/// Writes down, measures, answers.
pub struct ColdTile {
    parts: Parts,
    flow: Flow,
    latency: Histograms,
    status: Option<Latest>,
    alerts: Alerts,
    /// When it was made: a hot tile that never beat is measured from here.
    born: Cycles,
    /// The journal's disk has room, as far as is known, and when it is looked at next.
    disk: (bool, Nanos),
    failure: Option<String>,
    journal_was_on: bool,
    down_told: bool,
    next_sync: Nanos,
    stopping: bool,
    stopped: bool,
}

impl ColdTile {
    /// A tile that has done nothing yet.
    pub fn new(parts: Parts) -> Self {
        let journal_was_on = parts.journal.is_some();
        let born = parts.clock.cycles();
        Self {
            parts,
            flow: Flow::default(),
            latency: Histograms::default(),
            status: None,
            alerts: Alerts::default(),
            born,
            disk: (true, Nanos(0)),
            failure: None,
            journal_was_on,
            down_told: false,
            next_sync: Nanos(0),
            stopping: false,
            stopped: false,
        }
    }

    fn drain_records(&mut self) -> usize {
        let waiting = self.parts.records.backlog().min(RECORDS);
        let mut written = Ok(());
        for _ in 0..waiting {
            let Some(record) = self.parts.records.pop() else { break };
            self.flow.see(&record);
            alerts::log(self.alerts.see(&record));
            if let (Ok(()), Some(journal)) = (&written, self.parts.journal.as_mut()) {
                written = journal.append(&record);
            }
        }
        if let (true, Ok(()), Some(journal)) = (waiting > 0, &written, self.parts.journal.as_mut()) {
            written = journal.flush();
        }
        self.note(written);
        waiting
    }

    fn drain_samples(&mut self) -> usize {
        let mut taken = 0;
        for ring in &mut self.parts.samples {
            let waiting = ring.backlog().min(SAMPLES);
            for sample in std::iter::from_fn(|| ring.pop()).take(waiting) {
                self.latency.record(sample);
            }
            taken += waiting;
        }
        taken
    }

    fn drain_letters(&mut self) -> usize {
        let Self { parts, .. } = self;
        let mut taken = 0;
        for ring in &mut parts.dead_letters {
            for letter in std::iter::from_fn(|| ring.pop()).take(LETTERS) {
                taken += 1;
                if let Some(store) = parts.store.as_mut() {
                    let now = letter.stamp.wall;
                    store.receive(letter, now);
                }
            }
        }
        taken
    }

    /// The journal's first error is its last: it is dropped, and the engine is told to stop placing orders.
    fn note<T>(&mut self, result: Result<T, JournalError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                tracing::error!(event_type = "journal_down", "{error}");
                self.parts.journal = None;
                self.failure = Some(error.to_string());
                None
            }
        }
    }

    /// The engine has shown its numbers.
    fn show(&mut self, status: Latest, now: Nanos) {
        self.flow.killed(status.brief.kill_switch, status.seq);
        alerts::log(self.alerts.look(&status, now));
        self.status = Some(status);
    }

    fn publish_journal(&self) {
        if let Some(journal) = &self.parts.journal {
            use std::sync::atomic::Ordering::Relaxed;
            self.parts.counters.journal_records.store(journal.records(), Relaxed);
            self.parts.counters.journal_bytes.store(journal.bytes(), Relaxed);
        }
    }

    fn glance(&self) -> Glance {
        let brief = self.status.as_ref().map(|s| s.brief).unwrap_or_default();
        let q = self.latency.quantiles(Latency::TickToTrade);
        Glance {
            state_of_match: self.flow.state_of_match,
            open: brief.orders.open,
            fills: self.flow.filled.iter().flatten().sum(),
            equity: brief.pnl.equity_change,
            tick_to_trade_ns: (q.count > 0).then_some(q.p50_ns),
        }
    }

    fn serve(&mut self, now: Nanos) {
        if let Some(mut server) = self.parts.health.take() {
            server.serve(now, |request| self.answer(request, now));
            self.parts.health = Some(server);
        }
    }

    fn answer(&mut self, request: &Request<'_>, now: Nanos) -> Answer {
        if Admin::owns(request.path) {
            return match self.parts.admin.take() {
                Some(mut admin) => {
                    let answer = admin.call(request, now, self);
                    self.parts.admin = Some(admin);
                    answer
                }
                None => health::not_found(request.path),
            };
        }
        if request.method != "GET" {
            return Answer::problem(405, "only GET and HEAD are answered here; POST is for /admin/");
        }
        match request.path {
            "/health/live" => {
                let silent_ns = self.hot_silent_ns();
                let live = silent_ns < ALIVE_NS;
                let body = json!({
                    "live": live, "run": self.parts.run_id, "hot_tile_silent_ms": silent_ns / 1_000_000,
                });
                Answer::json(if live { 200 } else { 503 }, &body)
            }
            "/health/ready" => {
                let (ready, checks) = self.checks();
                let brief = self.status.as_ref().map(|s| s.brief).unwrap_or_default();
                let closed: serde_json::Map<String, Value> =
                    brief.gate.each().map(|(name, holds)| (name.to_owned(), holds.into())).collect();
                let markets: serde_json::Map<String, Value> =
                    self.markets().map(|(spec, held)| (spec.slug.clone(), json!(held.state))).collect();
                let body = json!({ "ready": ready, "checks": checks, "closed": closed, "markets": markets });
                Answer::json(if ready { 200 } else { 503 }, &body)
            }
            "/metrics" => Answer::metrics(metrics::prometheus(&View {
                version: self.parts.version,
                flow: &self.flow,
                latency: &self.latency,
                counters: &self.parts.counters.read(),
                rings: &self.parts.rings,
                status: self.status.as_ref(),
                letters: &self.letters(),
                resident_bytes: mem::resident_bytes(),
            })),
            "/state" => Answer::json(200, &self.state()),
            path => health::not_found(path),
        }
    }

    fn letters(&self) -> dead_letters::Counts {
        self.parts.store.as_ref().map(dead_letters::Store::counts).unwrap_or_default()
    }

    /// How long the hot tile has given no sign of life. Once the run is over it need not.
    fn hot_silent_ns(&self) -> u64 {
        if self.parts.control.is_over() {
            return 0;
        }
        let beat = self.parts.control.last_beat().max(self.born);
        self.parts.clock.ns_between(beat, self.parts.clock.cycles())
    }

    /// Every market with what is held in it, once the engine has shown it.
    fn markets(&self) -> impl Iterator<Item = (&MarketSpec, &Holding)> {
        let held = self.status.iter().flat_map(|s| &s.detail.markets);
        self.parts.universe.markets.iter().zip(held)
    }

    /// Ready means that new orders would be admitted now, and says which check says otherwise. It turns false before
    /// the first cancel of a stop or of the kill switch is sent: both are known here before the engine hears of them,
    /// or at once.
    fn checks(&self) -> (bool, Value) {
        let (control, brief) = (&self.parts.control, self.status.as_ref().map(|s| s.brief));
        let checks = [
            ("hot_tile", self.hot_silent_ns() < ALIVE_NS),
            ("journal", !self.journal_was_on || self.parts.journal.is_some()),
            ("disk", self.disk.0),
            ("user_channel", self.flow.user_up),
            ("gateway", self.flow.gateway_up),
            ("breakers_closed", !self.flow.breakers_open.contains(&true)),
            ("engine_admitting", brief.is_some_and(|b| b.admitting)),
            ("kill_switch_off", !control.orders_off() && brief.is_none_or(|b| b.kill_switch.is_none())),
            ("not_stopping", !self.stopping && !control.stop_requested() && self.flow.finished.is_none()),
        ];
        let ready = checks.iter().all(|(_, ok)| *ok);
        (ready, checks.iter().map(|(name, ok)| ((*name).to_owned(), Value::from(*ok))).collect())
    }

    fn state(&self) -> Value {
        let none = Latest::default();
        let Latest { seq, brief, detail } = self.status.as_ref().unwrap_or(&none);
        let state = self
            .flow
            .state_of_match
            .map(|m| json!({ "phase": format!("{:?}", m.phase).to_lowercase(), "map": m.map, "score": m.score }));
        let universe = &self.parts.universe;
        let positions = self.markets().map(|(spec, held)| {
            let tokens = [Side::Yes, Side::No].map(|o| {
                let n = o as usize;
                json!({
                    "token_id": spec.tokens[n].to_string(), "outcome": spec.outcomes[n],
                    "shares": held.position[n].to_string(), "settled": held.settled[n].to_string(),
                })
            });
            json!({
                "market": spec.slug, "condition_id": spec.condition.to_string(), "state": held.state,
                "open_orders": held.open, "tokens": tokens, "left_alone": held.standing.and_then(left_alone),
            })
        });
        let open = detail.orders.iter().map(|o| {
            let spec = universe.market(o.instrument.market());
            json!({
                "id": o.order.to_string(), "market": spec.slug, "condition_id": spec.condition.to_string(),
                "token_id": universe.token(o.instrument).to_string(), "side": o.side.as_str(),
                "price": o.price.to_string(), "size": o.qty.to_string(), "filled": o.filled.to_string(),
                "state": o.state.as_str(),
            })
        });
        json!({
            "run": self.parts.run_id, "version": self.parts.version, "seq": seq, "admitting": brief.admitting,
            "kill_switch": brief.kill_switch, "match": state,
            "events": self.flow.events_total(), "actions": self.flow.actions,
            "orders": brief.orders, "books": brief.books,
            "fills": { "count": brief.fills.count, "failed": brief.fills.failed },
            "cash_usdc": detail.cash.to_string(),
            "positions": positions.collect::<Vec<_>>(),
            "open_orders": open.collect::<Vec<_>>(), "open_orders_not_shown": detail.orders_more,
            "pnl": {
                "equity_change_usdc": brief.pnl.equity_change.to_string(),
                "realized_usdc": brief.pnl.realized.to_string(),
                "unrealized_usdc": brief.pnl.unrealized.to_string(),
                "unrealized_mid_usdc": brief.pnl.unrealized_mid.to_string(),
                "rebates_usdc": (brief.pnl.rebates + brief.pnl.rewards).to_string(),
                "rounding_usdc": brief.pnl.rounding.to_string(),
                "day_change_usdc": brief.pnl.day_change.to_string(),
                "fees_usdc": brief.pnl.fees.to_string(),
                "locked_usdc": brief.pnl.locked.to_string(),
            },
            "exposure": {
                "total_usdc": brief.exposure[0].to_string(),
                "worst_market_usdc": brief.exposure[1].to_string(),
            },
            "timing": brief.timing,
            "reconcile_mismatches": brief.reconciliation.mismatches,
            "dead_letters": { "received": self.letters().received(), "dead": self.letters().dead },
            "latency": self.latency.all().map(|(what, q)| (what.as_str().to_owned(), json!(q)))
                .collect::<serde_json::Map<_, _>>(),
            "journal": self.parts.journal.as_ref().map(|j| j.dir().display().to_string()),
        })
    }

    fn look_at_the_disk(&mut self, now: Nanos) {
        let reserve = self.parts.disk_reserve;
        if reserve == 0 || now < self.disk.1 {
            return;
        }
        let free = self.parts.journal.as_ref().and_then(|j| disk::free_bytes(j.dir()));
        self.disk = (free.is_none_or(|free| free >= reserve), now.plus(DISK_EVERY_NS));
        if let (false, Some(free)) = (self.disk.0, free) {
            alerts::log(self.alerts.disk_low(free >> 20, now));
        }
    }

    /// Everything is drained: closes the journal and hands over what is known.
    fn finish(&mut self) {
        self.parts.progress.finish();
        self.publish_journal();
        // What the hot tile showed last, at its end.
        if let Some(status) = self.parts.status.take() {
            self.show(status, self.parts.clock.now().wall);
        }
        if let Some(store) = self.parts.store.as_mut() {
            store.finish();
        }
        let clean = self.flow.finished == Some(true) && self.flow.lost == 0;
        let closing = self.parts.journal.take().map(|journal| journal.close(clean));
        let closing = closing.and_then(|closed| self.note(closed));
        self.parts.outcome.put(Outcome {
            flow: std::mem::take(&mut self.flow),
            latency: std::mem::take(&mut self.latency),
            counters: self.parts.counters.read(),
            rings: self.parts.rings.iter().map(|r| (r.label(), r.read())).collect(),
            status: self.status.take(),
            letters: self.letters(),
            closing,
            failure: self.failure.clone(),
        });
        self.stopped = true;
    }
}

impl admin::Engine for ColdTile {
    fn tell(&mut self, event: ControlEvent) -> bool {
        (self.parts.tell)(event)
    }

    fn seq(&self) -> u64 {
        self.status.as_ref().map_or(0, |s| s.seq)
    }

    fn kill_switch(&self) -> Option<&'static str> {
        self.status.as_ref().and_then(|s| s.brief.kill_switch)
    }

    fn troubles(&self) -> Vec<String> {
        let (_, checks) = self.checks();
        let own = ["engine_admitting", "kill_switch_off", "breakers_closed"];
        let failed = checks.as_object().into_iter().flatten().filter(|(name, ok)| {
            // These follow from the switch itself, or are told below by name.
            **ok == Value::Bool(false) && !own.contains(&name.as_str())
        });
        let gate = self.status.as_ref().map(|s| s.brief.gate).unwrap_or_default();
        let closed = gate.each().filter(|(name, holds)| *holds && *name != Closed::KillSwitch.as_str());
        let open = Dependency::ALL.iter().zip(self.flow.breakers_open).filter(|(_, open)| *open);
        failed
            .map(|(name, _)| format!("check {name} says no"))
            .chain(closed.map(|(name, _)| name.to_owned()))
            .chain(open.map(|(of, _)| format!("the breaker of {} is open", of.as_str())))
            .collect()
    }

    fn set_log_level(&mut self, level: Level) -> bool {
        logs::set_level(level)
    }
}

impl Stage for ColdTile {
    fn name(&self) -> &'static str {
        "cold"
    }

    fn attach(&mut self, doorbell: &Doorbell) {
        if let Some(server) = self.parts.health.as_mut()
            && let Err(e) = doorbell.watch(server.listener())
        {
            // It is polled all the same, only later.
            tracing::warn!(event_type = "health_not_watched", "{e}");
        }
    }

    fn start(&mut self) -> Result<(), StageError> {
        Ok(())
    }

    fn poll(&mut self) -> usize {
        if self.stopped {
            return 0;
        }
        let work = self.drain_records() + self.drain_samples() + self.drain_letters();
        if self.stopping && work == 0 {
            self.finish();
        }
        work
    }

    fn housekeep(&mut self, now: Stamp) {
        if self.stopped {
            return;
        }
        self.parts.clock.follow_system();
        if let Some(status) = self.parts.status.take() {
            self.show(status, now.wall);
        }
        if let Some(store) = self.parts.store.as_mut() {
            store.turn(now.wall);
            alerts::log(self.alerts.letters(&store.counts(), now.wall));
        }
        self.look_at_the_disk(now.wall);
        if self.parts.sync_every_ns > 0 && now.wall >= self.next_sync {
            self.next_sync = now.wall.plus(self.parts.sync_every_ns);
            if let Some(journal) = self.parts.journal.as_mut() {
                let synced = journal.sync();
                self.note(synced);
            }
        }
        if self.failure.is_some() && !self.down_told {
            self.down_told = (self.parts.tell)(ControlEvent::JournalDown);
        }
        self.publish_journal();
        self.serve(now.wall);
        if self.parts.progress.due(now.wall) {
            let glance = self.glance();
            self.parts.progress.show(now.wall, glance);
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
    }

    fn stopped(&self) -> bool {
        self.stopped
    }
}

/// Why a market is left alone, in words, if it is.
fn left_alone(standing: Standing) -> Option<String> {
    match standing {
        Standing::Off { why, .. } => Some(why.to_string()),
        Standing::Quoting | Standing::Probing => None,
    }
}

#[cfg(test)]
#[path = "tile_tests.rs"]
mod tests;
