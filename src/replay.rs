//! Journal → engine: the same actions or fail.
//!
//! Only the events are fed. Every action that the engine then asks for is encoded and compared with the recorded
//! bytes, and the state hash wherever one was recorded. Memory is bounded by one event and its actions.

use std::{
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::Instant,
};

use serde::Serialize;

use crate::{
    cold::journal::{Damage, End, Entry, Reader},
    engine::{Action, Actions},
    strategies::{self, Core, Params},
    types::Sequenced,
};

/// What a replay found.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Run that wrote the journal.
    pub run_id: String,
    /// Version of the program that wrote it.
    pub version: String,
    /// Events fed.
    pub events: u64,
    /// Actions recomputed and found the same.
    pub actions: u64,
    /// State hashes compared and found the same.
    pub checkpoints: u64,
    /// The engine's state hash after the last event, `0x` and 16 hex digits.
    pub state_hash: String,
    /// Events per second of this replay.
    pub events_per_second: u64,
    /// How the journal ends.
    pub end: String,
    /// True if it ends with its closing record.
    pub closed: bool,
    /// Parameters that differ from the recorded ones; empty unless others were given.
    pub changed: Vec<Changed>,
    /// The first difference, if there is one.
    pub difference: Option<String>,
}

impl Verdict {
    /// True if the engine did again exactly what the journal says, with the recorded parameters.
    pub fn same(&self) -> bool {
        self.difference.is_none() && self.changed.is_empty()
    }
}

/// A parameter that differs from the recorded one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// Its key, as in the configuration file.
    pub key: String,
    /// Recorded value.
    pub recorded: String,
    /// Value given now.
    pub given: String,
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: recorded {}, given {}", self.key, self.recorded, self.given)
    }
}

/// Replays the journal in `dir`, with other parameters if given, as a configuration says them. Stops at the first
/// difference.
///
/// Errors: the journal cannot be trusted from some byte on; what was read before it was the same.
pub fn replay(dir: &Path, params: Option<&Params>) -> Result<Verdict, Damage> {
    let mut reader = Reader::open(dir)?;
    let header = reader.header().clone();
    // What a configuration says is in the match's own time; the run compressed it, so a comparison does as well.
    let given = &params.map_or_else(|| header.params.clone(), |p| p.clone().compressed(header.speed));
    let mut verdict = Verdict {
        run_id: header.run_id.clone(),
        version: header.version.clone(),
        events: 0,
        actions: 0,
        checkpoints: 0,
        state_hash: String::new(),
        events_per_second: 0,
        end: String::new(),
        closed: false,
        changed: changed(&header.params, given),
        difference: None,
    };
    let begun = Instant::now();
    // A journal is input: whatever its events make the engine do ends in a sentence, never in a crash of ours.
    let mut at = 0;
    let run = catch_unwind(AssertUnwindSafe(|| {
        let mut twin = Twin::new(strategies::core(&header.universe, given).compressed(header.speed));
        let difference = loop {
            let entry = match reader.next() {
                Ok(Some(entry)) => entry,
                Ok(None) => break twin.settled().err(),
                Err(damage) => return Err(damage),
            };
            if let Entry::Event(event) = &entry {
                at = event.seq;
            }
            if let Err(difference) = twin.entry(entry) {
                break Some(difference);
            }
        };
        Ok((twin, difference))
    }));
    let (twin, mut difference) = match run {
        Ok(finished) => finished?,
        Err(_) => {
            verdict.difference = Some(format!("event {at}: the engine panicked on it"));
            return Ok(verdict);
        }
    };
    let hash = twin.engine.state_hash();
    if let Some(end) = reader.end() {
        verdict.end = end.to_string();
        if let End::Closed(closing) = end {
            verdict.closed = true;
            difference = difference.or_else(|| twin.agrees(closing.last_seq, closing.state_hash.unwrap_or(hash)).err());
        }
    }
    let nanos = begun.elapsed().as_nanos().max(1);
    Ok(Verdict {
        events: twin.events,
        actions: twin.actions,
        checkpoints: twin.checkpoints,
        state_hash: format!("{hash:#018x}"),
        events_per_second: (u128::from(twin.events) * 1_000_000_000 / nanos) as u64,
        difference,
        ..verdict
    })
}

/// The recomputing engine, and what it asked for that the journal has not confirmed yet.
struct Twin {
    engine: Core,
    last: u64,
    events: u64,
    actions: u64,
    checkpoints: u64,
    out: Actions,
    waiting: VecDeque<Action>,
    encoded: Vec<u8>,
}

impl Twin {
    fn new(engine: Core) -> Self {
        Self {
            engine,
            last: 0,
            events: 0,
            actions: 0,
            checkpoints: 0,
            out: Actions::new(),
            waiting: VecDeque::new(),
            encoded: Vec::new(),
        }
    }

    fn entry(&mut self, entry: Entry<'_>) -> Result<(), String> {
        match entry {
            Entry::Event(event) => self.event(&event),
            Entry::Action { seq, bytes } => self.action(seq, bytes),
            Entry::StateHash { seq, hash } => {
                self.settled()?;
                self.agrees(seq, hash)?;
                self.checkpoints += 1;
                Ok(())
            }
            Entry::Gap { seq, lost } => {
                Err(format!("after event {seq}: {lost} records are missing; the run could not write them"))
            }
        }
    }

    fn event(&mut self, event: &Sequenced) -> Result<(), String> {
        self.settled()?;
        if event.seq != self.last + 1 {
            return Err(format!("event {} follows event {}: events are missing", event.seq, self.last));
        }
        self.last = event.seq;
        self.out.clear();
        self.engine.on(event, &mut (), &mut self.out);
        self.events += 1;
        self.waiting.extend(&self.out);
        Ok(())
    }

    fn action(&mut self, seq: u64, bytes: &[u8]) -> Result<(), String> {
        if seq != self.last {
            return Err(format!("event {}: the action recorded next belongs to event {seq}", self.last));
        }
        let Some(action) = self.waiting.pop_front() else {
            return Err(format!("event {seq}: recorded {}, recomputed nothing", kind(bytes)));
        };
        self.encoded.clear();
        let encoded = postcard::to_extend(&action, std::mem::take(&mut self.encoded));
        self.encoded = encoded.map_err(|e| format!("event {seq}: {e}"))?;
        if self.encoded != bytes {
            return Err(format!("event {seq}: a different action: recorded {}, recomputed {action:?}", kind(bytes)));
        }
        self.actions += 1;
        Ok(())
    }

    /// Every recomputed action was recorded too.
    fn settled(&self) -> Result<(), String> {
        match self.waiting.front() {
            Some(action) => Err(format!("event {}: recomputed {action:?}, recorded nothing", self.last)),
            None => Ok(()),
        }
    }

    fn agrees(&self, seq: u64, hash: u64) -> Result<(), String> {
        let ours = self.engine.state_hash();
        if seq != self.last {
            Err(format!("event {}: the state hash recorded next belongs to event {seq}", self.last))
        } else if hash != ours {
            Err(format!("event {seq}: state hash recorded {hash:#018x}, recomputed {ours:#018x}"))
        } else {
            Ok(())
        }
    }
}

/// Name of a recorded action, by its encoding's first byte: the variants of `engine::Action` in order.
fn kind(bytes: &[u8]) -> &'static str {
    const KINDS: [&str; 10] = [
        "Place",
        "Cancel",
        "CancelAll",
        "Lookup",
        "AskMarket",
        "Merge",
        "ReadCollateral",
        "Reconcile",
        "Resync",
        "Finished",
    ];
    bytes.first().and_then(|b| KINDS.get(usize::from(*b))).copied().unwrap_or("an unknown action")
}

/// Every key whose value differs between two sets of parameters.
fn changed(recorded: &Params, given: &Params) -> Vec<Changed> {
    let value = |p: &Params| serde_json::to_value(p).unwrap_or_default();
    let mut out = Vec::new();
    compare("", &value(recorded), &value(given), &mut out);
    out
}

fn compare(path: &str, recorded: &serde_json::Value, given: &serde_json::Value, out: &mut Vec<Changed>) {
    match (recorded, given) {
        (serde_json::Value::Object(a), serde_json::Value::Object(b)) => {
            for (key, x) in a {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(&path, x, b.get(key).unwrap_or(&serde_json::Value::Null), out);
            }
        }
        (a, b) if a != b => {
            out.push(Changed { key: crate::config::engine_key(path), recorded: a.to_string(), given: b.to_string() })
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changed_parameters_are_named_by_their_key() {
        let (a, b) = (json!({"risk": {"x": 1, "y": "2"}, "z": 3}), json!({"risk": {"x": 1, "y": "5"}, "z": 3}));
        let mut out = Vec::new();
        compare("", &a, &b, &mut out);
        assert_eq!(out, [Changed { key: "risk.y".into(), recorded: "\"2\"".into(), given: "\"5\"".into() }]);
        out.clear();
        compare("", &a, &a, &mut out);
        assert!(out.is_empty());
    }

    #[test]
    fn recorded_actions_have_names() {
        use crate::{
            engine::Action,
            types::{InstrumentIx, MarketIx, OrderHash, Qty, Stamp},
        };
        let order = OrderHash([0; 32]);
        let table = [
            (Action::Cancel { order, instrument: InstrumentIx(0), cause: Stamp::default() }, "Cancel"),
            (Action::CancelAll, "CancelAll"),
            (Action::Lookup { order }, "Lookup"),
            (Action::Merge { market: MarketIx(0), qty: Qty::ONE }, "Merge"),
            (Action::ReadCollateral, "ReadCollateral"),
            (Action::Resync { instrument: InstrumentIx(0) }, "Resync"),
            (Action::Finished { clean: true }, "Finished"),
        ];
        for (action, name) in table {
            assert_eq!(kind(&postcard::to_allocvec(&action).unwrap()), name);
        }
    }
}
