//! The cold tile: drains the journal's ring and the samples, answers HTTP, shows progress; closes the books at the end.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::{
    flow::Flow,
    health::{self, Answer, Server},
    journal::{Closing, JournalError, Record, Writer},
    metrics::{self, Histograms, View},
    progress::{Glance, Progress},
    status::{Latest, Slot},
};
use crate::{
    stage::{
        Doorbell, Stage, StageError,
        counters::Counters,
        latency::{Latency, Sample},
        ring::{RingReading, RingStats, Rx},
    },
    sys::mem,
    types::{Nanos, Stamp, event::ControlEvent},
};

/// Records taken per turn.
const RECORDS: usize = 1_024;
/// Samples taken per ring and turn.
const SAMPLES: usize = 1_024;

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
        Self {
            parts,
            flow: Flow::default(),
            latency: Histograms::default(),
            status: None,
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

    fn publish_journal(&self) {
        if let Some(journal) = &self.parts.journal {
            use std::sync::atomic::Ordering::Relaxed;
            self.parts.counters.journal_records.store(journal.records(), Relaxed);
            self.parts.counters.journal_bytes.store(journal.bytes(), Relaxed);
        }
    }

    fn glance(&self) -> Glance {
        let status = self.status.unwrap_or_default();
        let q = self.latency.quantiles(Latency::TickToTrade);
        Glance {
            state_of_match: self.flow.state_of_match,
            open: status.brief.orders.open,
            fills: self.flow.filled.iter().flatten().sum(),
            equity: status.brief.pnl.equity_change,
            tick_to_trade_ns: (q.count > 0).then_some(q.p50_ns),
        }
    }

    fn serve(&mut self, now: Nanos) {
        if let Some(mut server) = self.parts.health.take() {
            server.serve(now, |path| self.answer(path));
            self.parts.health = Some(server);
        }
    }

    fn answer(&self, path: &str) -> Answer {
        match path {
            "/health/live" => Answer::json(200, &json!({ "live": true, "run": self.parts.run_id })),
            "/health/ready" => {
                let (ready, checks) = self.checks();
                Answer::json(if ready { 200 } else { 503 }, &json!({ "ready": ready, "checks": checks }))
            }
            "/metrics" => Answer::metrics(metrics::prometheus(&View {
                version: self.parts.version,
                flow: &self.flow,
                latency: &self.latency,
                counters: &self.parts.counters.read(),
                rings: &self.parts.rings,
                status: self.status.as_ref(),
                resident_bytes: mem::resident_bytes(),
            })),
            "/state" => Answer::json(200, &self.state()),
            _ => health::not_found(path),
        }
    }

    /// Ready means that new orders would be admitted now, and says which check says otherwise.
    fn checks(&self) -> (bool, Value) {
        let checks = [
            ("journal", !self.journal_was_on || self.parts.journal.is_some()),
            ("user_channel", self.flow.user_up),
            ("gateway", self.flow.gateway_up),
            ("engine_admitting", self.status.is_some_and(|s| s.brief.admitting)),
            ("kill_switch_off", self.status.is_none_or(|s| s.brief.kill_switch.is_none())),
            ("not_stopping", !self.stopping && self.flow.finished.is_none()),
        ];
        let ready = checks.iter().all(|(_, ok)| *ok);
        (ready, checks.iter().map(|(name, ok)| ((*name).to_owned(), Value::from(*ok))).collect())
    }

    fn state(&self) -> Value {
        let status = self.status.unwrap_or_default();
        let state = self
            .flow
            .state_of_match
            .map(|m| json!({ "phase": format!("{:?}", m.phase).to_lowercase(), "map": m.map, "score": m.score }));
        json!({
            "run": self.parts.run_id, "version": self.parts.version, "seq": status.seq, "admitting": status.brief.admitting,
            "kill_switch": status.brief.kill_switch, "match": state,
            "events": self.flow.events_total(), "actions": self.flow.actions,
            "orders": status.brief.orders, "books": status.brief.books,
            "fills": { "count": status.brief.fills.count, "failed": status.brief.fills.failed },
            "pnl": {
                "equity_change_usdc": status.brief.pnl.equity_change.to_string(),
                "realized_usdc": status.brief.pnl.realized.to_string(),
                "unrealized_usdc": status.brief.pnl.unrealized.to_string(),
                "fees_usdc": status.brief.pnl.fees.to_string(),
                "locked_usdc": status.brief.pnl.locked.to_string(),
            },
            "latency": self.latency.all().map(|(what, q)| (what.as_str().to_owned(), json!(q)))
                .collect::<serde_json::Map<_, _>>(),
            "journal": self.parts.journal.as_ref().map(|j| j.dir().display().to_string()),
        })
    }

    /// Everything is drained: closes the journal and hands over what is known.
    fn finish(&mut self) {
        self.parts.progress.finish();
        self.publish_journal();
        let clean = self.flow.finished == Some(true) && self.flow.lost == 0;
        let closing = self.parts.journal.take().map(|journal| journal.close(clean));
        let closing = closing.and_then(|closed| self.note(closed));
        self.parts.outcome.put(Outcome {
            flow: std::mem::take(&mut self.flow),
            latency: std::mem::take(&mut self.latency),
            counters: self.parts.counters.read(),
            rings: self.parts.rings.iter().map(|r| (r.label(), r.read())).collect(),
            closing,
            failure: self.failure.clone(),
        });
        self.stopped = true;
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
        let work = self.drain_records() + self.drain_samples();
        if self.stopping && work == 0 {
            self.finish();
        }
        work
    }

    fn housekeep(&mut self, now: Stamp) {
        if self.stopped {
            return;
        }
        if let Some(status) = self.parts.status.take() {
            self.status = Some(status);
        }
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

#[cfg(test)]
#[path = "tile_tests.rs"]
mod tests;
