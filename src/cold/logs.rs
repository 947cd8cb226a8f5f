//! Logs: one JSON object a line, to one schema. Never used on the hot thread.
//!
//! A line is put together by whoever logs and handed to a parked writer thread through a bounded queue. When the queue
//! is full the line is dropped and counted; the next one that fits says how many were.

use std::{
    fmt::Debug,
    fs::OpenOptions,
    io::{self, Write},
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value, json};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt};

use crate::config;

/// Lines that wait for the writer.
const QUEUE: usize = 8_192;
/// Fields that have a place of their own in the schema; all others go under `fields`.
const KNOWN: [&str; 7] = ["market", "match", "order", "intent", "latency_ns", "pnl_usdc", "message"];

enum Item {
    Line(String),
    End,
}

/// Keeps the writer alive; writes what is left when dropped.
#[derive(Debug)]
pub struct Guard {
    queue: SyncSender<Item>,
    writer: Option<JoinHandle<()>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.queue.send(Item::End);
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// The level of the process's logs, once they are installed: a place in [`LEVELS`].
static LEVEL: OnceLock<Arc<AtomicU8>> = OnceLock::new();
/// From the least to the most severe, in the order of [`config::Level`].
const LEVELS: [Level; 5] = [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];

/// Changes the level of the process's logs while it runs. False if nothing was installed.
pub fn set_level(level: config::Level) -> bool {
    let Some(current) = LEVEL.get() else { return false };
    current.store(level as u8, Ordering::Relaxed);
    // Each place that logs remembers whether anybody listens; this makes all of them ask again.
    tracing::callsite::rebuild_interest_cache();
    true
}

/// Sends the process's logs to a file or to standard error from here on. Once a process.
///
/// Errors: the file cannot be opened, or logs go somewhere already.
pub fn install(level: config::Level, file: Option<&Path>, run_id: &str) -> Result<Guard, String> {
    let out: Box<dyn Write + Send> = match file {
        None => Box::new(io::stderr()),
        Some(path) => {
            let opened = OpenOptions::new().create(true).append(true).open(path);
            Box::new(opened.map_err(|e| format!("log file {}: {e}", path.display()))?)
        }
    };
    let (queue, lines) = sync_channel(QUEUE);
    let writer = std::thread::Builder::new().name("logs".into()).spawn(move || write_all(&lines, out));
    let writer = writer.map_err(|e| format!("log thread: {e}"))?;
    let guard = Guard { queue: queue.clone(), writer: Some(writer) };
    let level = Arc::new(AtomicU8::new(level as u8));
    let layer = JsonLayer { level: Arc::clone(&level), run_id: run_id.to_owned(), queue, dropped: AtomicU64::new(0) };
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))
        .map_err(|_| "logs are installed already".to_owned())?;
    // Set once: the default above is set once.
    let _ = LEVEL.set(level);
    Ok(guard)
}

fn write_all(lines: &Receiver<Item>, mut out: impl Write) {
    while let Ok(Item::Line(line)) = lines.recv() {
        // A log that cannot be written has nowhere to say so.
        let _ = out.write_all(line.as_bytes());
    }
    let _ = out.flush();
}

struct JsonLayer {
    level: Arc<AtomicU8>,
    run_id: String,
    queue: SyncSender<Item>,
    dropped: AtomicU64,
}

impl JsonLayer {
    fn level(&self) -> Level {
        LEVELS.get(usize::from(self.level.load(Ordering::Relaxed))).copied().unwrap_or(Level::WARN)
    }
}

impl<S: Subscriber> Layer<S> for JsonLayer {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= self.level()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level().into())
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        let mut line = line(event, now, &self.run_id, dropped);
        line.push('\n');
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Item::Line(line)) {
            self.dropped.fetch_add(dropped + 1, Ordering::Relaxed);
        }
    }
}

/// One line, without its end.
fn line(event: &Event<'_>, unix_ns: u64, run_id: &str, dropped: u64) -> String {
    let mut fields = Fields(Map::new());
    event.record(&mut fields);
    let mut fields = fields.0;
    let meta = event.metadata();
    let component = fields.remove("component").unwrap_or_else(|| {
        let target = meta.target();
        json!(target.strip_prefix("polyloly_fast::").unwrap_or(target).replace("::", "."))
    });
    let mut object = Map::new();
    object.insert("ts".into(), rfc3339(unix_ns).into());
    object.insert("level".into(), meta.level().as_str().to_lowercase().into());
    object.insert("component".into(), component);
    object.insert("event_type".into(), fields.remove("event_type").unwrap_or_else(|| "log".into()));
    object.insert("run".into(), run_id.into());
    for name in KNOWN {
        if let Some(value) = fields.remove(name) {
            object.insert(name.into(), value);
        }
    }
    if dropped > 0 {
        fields.insert("lines_dropped_before".into(), dropped.into());
    }
    if !fields.is_empty() {
        object.insert("fields".into(), fields.into());
    }
    Value::Object(object).to_string()
}

struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().into(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().into(), value.into());
    }
}

/// Unix nanoseconds as RFC 3339 in UTC, with nanoseconds. The date is Howard Hinnant's `civil_from_days`.
pub fn rfc3339(unix_ns: u64) -> String {
    let (secs, ns) = (unix_ns / 1_000_000_000, unix_ns % 1_000_000_000);
    let (days, of_day) = (secs / 86_400, secs % 86_400);
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ns:09}Z")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn times() {
        let table = [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_400_000_000_001, "2000-02-29T00:00:00.000000001Z"),
            (1_735_689_599_999_999_999, "2024-12-31T23:59:59.999999999Z"),
            (1_795_392_000_000_000_000, "2026-11-23T00:00:00.000000000Z"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000000Z"),
        ];
        for (ns, text) in table {
            assert_eq!(rfc3339(ns), text);
        }
    }

    fn layer(level: config::Level, queue: SyncSender<Item>) -> JsonLayer {
        let level = Arc::new(AtomicU8::new(level as u8));
        JsonLayer { level, run_id: "r1".into(), queue, dropped: AtomicU64::new(0) }
    }

    fn logged(depth: usize, level: config::Level, log: impl FnOnce()) -> Vec<Value> {
        let (queue, lines) = sync_channel(depth);
        let layer = layer(level, queue);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        lines
            .try_iter()
            .map(|item| match item {
                Item::Line(line) => serde_json::from_str(line.strip_suffix('\n').unwrap()).unwrap(),
                Item::End => panic!("nobody ended it"),
            })
            .collect()
    }

    #[test]
    fn levels_are_in_the_order_of_the_configuration() {
        use config::Level::{Debug, Error, Info, Trace, Warn};
        for (ours, theirs) in [Trace, Debug, Info, Warn, Error].into_iter().zip(LEVELS) {
            assert_eq!(format!("{ours:?}").to_uppercase(), theirs.as_str());
            let (queue, _lines) = sync_channel(1);
            assert_eq!(layer(ours, queue).level(), theirs);
        }
    }

    #[test]
    fn lines_follow_the_schema() {
        let lines = logged(8, config::Level::Info, || {
            tracing::info!(
                component = "gateway",
                event_type = "order_rejected",
                order = "0xab",
                market = "lol-x",
                latency_ns = 5,
                reason = "Balance",
                "the venue said \"no\""
            );
            tracing::debug!("not at this level");
            tracing::warn!(answer = 42_u64, sure = true);
        });
        assert_eq!(lines.len(), 2);
        let first = &lines[0];
        for (key, value) in [
            ("level", json!("info")),
            ("component", json!("gateway")),
            ("event_type", json!("order_rejected")),
            ("run", json!("r1")),
            ("order", json!("0xab")),
            ("market", json!("lol-x")),
            ("latency_ns", json!(5)),
            ("message", json!("the venue said \"no\"")),
            ("fields", json!({"reason": "Balance"})),
        ] {
            assert_eq!(first[key], value, "{key}");
        }
        assert!(first["ts"].as_str().unwrap().ends_with('Z'));
        assert_eq!(lines[1]["component"], "cold.logs.tests");
        assert_eq!(lines[1]["fields"], json!({"answer": 42, "sure": true}));
    }

    #[test]
    fn a_full_queue_drops_lines_and_says_so() {
        let (queue, lines) = sync_channel(1);
        let layer = layer(config::Level::Info, queue);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            (0..4).for_each(|n| tracing::info!(n));
            assert!(matches!(lines.try_recv(), Ok(Item::Line(_))));
            tracing::info!("again");
        });
        let Ok(Item::Line(line)) = lines.try_recv() else { panic!("no line") };
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["fields"]["lines_dropped_before"], 3);
    }
}
