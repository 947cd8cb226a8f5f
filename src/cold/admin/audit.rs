//! What the operator asked for and what came of it: one JSON object a line, appended, kept over runs.
//!
//! It is also the memory of request ids: an id that an authenticated call has used is refused, by a later run too.

use std::{
    collections::{HashSet, VecDeque},
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{cold::logs::rfc3339, types::Nanos};

/// The file beside the journals.
pub const AUDIT_FILE: &str = "audit.jsonl";
/// Request ids that are remembered.
const IDS_MAX: usize = 10_000;
/// How far back a start reads: far more than the remembered ids need.
const READ_BACK: u64 = 64 << 20;
/// Calls without a token that are written one by one, within a minute; more are counted and told by the next record, so
/// that nobody without a token can fill the disk.
const STRANGERS_PER_MINUTE: u32 = 60;

/// One call.
#[derive(Clone, Debug)]
pub(super) struct Entry<'a> {
    pub at: Nanos,
    pub peer: SocketAddr,
    /// `None` for a path that does not exist.
    pub action: Option<&'static str>,
    pub request_id: Option<&'a str>,
    pub authenticated: bool,
    pub reason: Option<String>,
    /// The market or the level that was named.
    pub about: Option<String>,
    /// HTTP status of the answer; 0: asked for, and not answered yet.
    pub status: u16,
    /// Why it was refused.
    pub why: Option<String>,
}

impl Default for Entry<'_> {
    fn default() -> Self {
        Self {
            at: Nanos(0),
            peer: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
            action: None,
            request_id: None,
            authenticated: false,
            reason: None,
            about: None,
            status: 0,
            why: None,
        }
    }
}

impl Entry<'_> {
    fn line(&self, run: &str, untold: u64) -> String {
        let outcome = match self.status {
            0 => "asked",
            200 => "accepted",
            _ => "refused",
        };
        let mut object = json!({
            "ts": rfc3339(self.at.0), "run": run, "action": self.action.unwrap_or("other"), "outcome": outcome,
            "request_id": self.request_id, "authenticated": self.authenticated, "peer": self.peer.to_string(),
        });
        for (name, value) in [("about", &self.about), ("reason", &self.reason), ("why", &self.why)] {
            if let Some(text) = value {
                object[name] = text.as_str().into();
            }
        }
        if self.status > 0 {
            object["status"] = self.status.into();
        }
        if untold > 0 {
            object["calls_without_token_not_written"] = untold.into();
        }
        format!("{object}\n")
    }
}

/// The audit file, and the ids in it.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    file: File,
    run: String,
    used: HashSet<String>,
    order: VecDeque<String>,
    /// Start of the minute in which strangers are counted, and how many were written.
    minute: (Nanos, u32),
    untold: u64,
}

impl Audit {
    /// Opens or makes the file below `dir`, readable by its owner alone, and remembers the ids in it.
    /// Errors say what could not be done.
    pub fn open(dir: &Path, run: &str) -> Result<Self, String> {
        let path = dir.join(AUDIT_FILE);
        let failed = |e: std::io::Error| format!("audit: {}: {e}", path.display());
        std::fs::create_dir_all(dir).map_err(failed)?;
        let opened = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(&path);
        let mut file = opened.map_err(failed)?;
        let lines = tail(&mut file).map_err(failed)?;
        let mut audit = Self {
            file,
            path: path.clone(),
            run: run.into(),
            used: HashSet::new(),
            order: VecDeque::new(),
            minute: (Nanos(0), 0),
            untold: 0,
        };
        lines.ids.into_iter().for_each(|id| audit.remember(id));
        if lines.cut {
            // Whoever wrote last was killed in the middle of a line; ours begins on a new one.
            audit.file.write_all(b"\n").map_err(failed)?;
        }
        Ok(audit)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// True if no authenticated call has used this id, as far back as is remembered.
    pub fn is_fresh(&self, id: &str) -> bool {
        !self.used.contains(id)
    }

    /// Appends and flushes; remembers the id of an authenticated call, whatever came of it. False if it was one call
    /// too many without a token, and only counted.
    pub(super) fn write(&mut self, entry: &Entry<'_>) -> Result<bool, String> {
        if let (true, Some(id)) = (entry.authenticated, entry.request_id) {
            self.remember(id.to_owned());
        }
        if !entry.authenticated && !self.may_write_stranger(entry.at) {
            self.untold += 1;
            return Ok(false);
        }
        let line = entry.line(&self.run, self.untold);
        // One write: two processes that share the file do not mix their lines.
        let mut written = self.file.write_all(line.as_bytes());
        if entry.authenticated {
            // A power cut must not make an id fresh again. Strangers do not get to make the disk work.
            written = written.and_then(|()| self.file.sync_data());
        }
        written.map_err(|e| format!("audit: {}: {e}", self.path.display()))?;
        self.untold = 0;
        Ok(true)
    }

    fn may_write_stranger(&mut self, now: Nanos) -> bool {
        if now.since(self.minute.0) >= 60_000_000_000 {
            self.minute = (now, 0);
        }
        self.minute.1 = self.minute.1.saturating_add(1);
        self.minute.1 <= STRANGERS_PER_MINUTE
    }

    pub(super) fn remember(&mut self, id: String) {
        if self.used.insert(id.clone()) {
            self.order.push_back(id);
            if self.order.len() > IDS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.used.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
impl Audit {
    /// From here on nothing can be written.
    pub(super) fn break_file(&mut self) {
        self.file = File::open(&self.path).expect("it is there");
    }
}

struct Tail {
    ids: Vec<String>,
    /// The last line has no end.
    cut: bool,
}

/// The ids of authenticated calls, oldest first. Lines that are not whole or not ours are passed over.
fn tail(file: &mut File) -> std::io::Result<Tail> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(READ_BACK)))?;
    let (mut ids, mut cut, mut line) = (Vec::new(), false, Vec::new());
    let mut lines = BufReader::new(&mut *file).take(READ_BACK);
    while {
        line.clear();
        lines.read_until(b'\n', &mut line)? > 0
    } {
        cut = line.last() != Some(&b'\n');
        let Ok(record) = serde_json::from_slice::<Value>(&line) else { continue };
        if record["authenticated"] == true
            && let Some(id) = record["request_id"].as_str()
        {
            ids.push(id.to_owned());
        }
    }
    Ok(Tail { ids, cut })
}
