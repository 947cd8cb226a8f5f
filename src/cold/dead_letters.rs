//! Dead letters: messages that could not be read are kept, tried again a few times, listed, and can be read once more.
//!
//! Reading one again says what it would have been, in words. Nothing here can reach the engine or the order path: this
//! module names none of it, and `tests/tidy.rs` holds it to that.

mod reading;
mod store;

pub use reading::{Parsers, Reading};
pub use store::{Counts, FILE, OLDER_FILE, Store};

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader, ErrorKind, Read},
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::logs::rfc3339;
use crate::stage::dead_letter::{DeadLetter, Reason, Source};

/// Letters that are kept; the oldest half gives way to new ones.
pub const LETTERS_MAX: u64 = 10_000;
/// Bytes that they may take on the disk.
pub const BYTES_MAX: u64 = 64 << 20;
/// Times that a letter is read again before it counts as dead.
pub const ATTEMPTS: u8 = 3;

/// What has become of a letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is being tried again.
    #[default]
    New,
    /// It was tried as often as it is worth, or cannot be.
    Dead,
    /// A later try understood it. It was not applied: what it said is long since replaced by a snapshot.
    Understood,
}

impl State {
    /// Snake-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Dead => "dead",
            Self::Understood => "understood",
        }
    }
}

/// A letter as it is kept: one JSON object a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Short name, of what it is made of.
    pub id: String,
    /// When it was read from its socket, RFC 3339.
    pub received_at: String,
    /// The run that read it.
    pub run: String,
    /// `market`, `user`, `sports`, `witness`.
    pub source: String,
    /// Which of several sockets of that source, from 0.
    pub line: u8,
    /// Code of the reason: `not_json`, `field`, `value`.
    pub reason: String,
    /// The field, where the reason is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Index of the token whose book suffered, where that could be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instrument: Option<u16>,
    /// XXH3-64 of the whole message as it came, hex.
    pub xxh3: String,
    /// Its whole length in bytes.
    pub length: u32,
    /// The message, or its first 4 KiB, if that is text. Credentials are blanked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// The same in base64, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
    /// Version of the parser that could not read it.
    pub parser_version: String,
    /// What has become of it.
    #[serde(default)]
    pub state: State,
    /// Times that it was read again.
    #[serde(default)]
    pub attempts: u8,
}

impl Letter {
    /// A letter as it is kept, before it was tried again.
    pub fn new(letter: &DeadLetter, run: &str) -> Self {
        let DeadLetter { stamp, source, line, reason, instrument, digest, len, head } = letter;
        let mut named = Sha256::new();
        named.update(source.as_str());
        for part in [stamp.wall.0, *digest, u64::from(*len), u64::from(*line)] {
            named.update(part.to_le_bytes());
        }
        let id = named.finalize().iter().take(6).map(|b| format!("{b:02x}")).collect();
        let text = std::str::from_utf8(head).ok();
        Self {
            id,
            received_at: rfc3339(stamp.wall.0),
            run: run.into(),
            source: source.as_str().into(),
            line: *line,
            reason: reason.as_str().into(),
            field: match reason {
                Reason::Field(name) | Reason::Value(name) => Some((*name).into()),
                Reason::NotJson => None,
            },
            instrument: instrument.map(|i| i.0),
            xxh3: format!("{digest:016x}"),
            length: *len,
            payload: text.map(str::to_owned),
            payload_base64: text.is_none().then(|| STANDARD.encode(head)),
            parser_version: env!("CARGO_PKG_VERSION").into(),
            state: State::New,
            attempts: 0,
        }
    }

    /// Where it came from; `None` for a source that this version does not know.
    pub fn source(&self) -> Option<Source> {
        [Source::Market, Source::User, Source::Sports, Source::Witness].into_iter().find(|s| s.as_str() == self.source)
    }

    /// The message, as far as it was kept.
    pub fn bytes(&self) -> Vec<u8> {
        match (&self.payload, &self.payload_base64) {
            (Some(text), _) => text.as_bytes().to_vec(),
            (None, Some(text)) => STANDARD.decode(text).unwrap_or_default(),
            (None, None) => Vec::new(),
        }
    }

    /// True if the whole message was kept, and is still what came.
    pub fn is_whole(&self) -> bool {
        self.bytes().len() == self.length as usize
    }
}

/// What became of a letter that stands on an earlier line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    id: String,
    state: State,
    attempts: u8,
}

/// What is kept in a directory.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Oldest first.
    pub letters: Vec<Letter>,
    /// Lines that are no letters: cut off by a kill, or written by somebody else.
    pub unreadable: u64,
}

impl Kept {
    /// Reads what is kept below `dir`, as far as the bounds of the store go. It changes nothing.
    pub fn read(dir: &Path) -> std::io::Result<Self> {
        let (mut kept, mut places) = (Self::default(), HashMap::new());
        for name in [OLDER_FILE, FILE] {
            let file = match File::open(dir.join(name)) {
                Ok(file) => file,
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            };
            let mut lines = BufReader::new(file).take(BYTES_MAX);
            let mut line = Vec::new();
            while {
                line.clear();
                lines.read_until(b'\n', &mut line)? > 0
            } {
                kept.line(&line, &mut places);
            }
        }
        Ok(kept)
    }

    fn line(&mut self, line: &[u8], places: &mut HashMap<String, usize>) {
        if let Ok(update) = serde_json::from_slice::<Update>(line) {
            // Its letter may have been dropped as one of the oldest.
            if let Some(letter) = places.get(&update.id).and_then(|&n| self.letters.get_mut(n)) {
                (letter.state, letter.attempts) = (update.state, update.attempts);
            }
        } else if let Ok(letter) = serde_json::from_slice::<Letter>(line) {
            places.insert(letter.id.clone(), self.letters.len());
            self.letters.push(letter);
        } else {
            self.unreadable += 1;
        }
    }

    /// The letter whose id begins so, if there is exactly one.
    pub fn find(&self, begins: &str) -> Result<&Letter, String> {
        let mut found = self.letters.iter().filter(|l| !begins.is_empty() && l.id.starts_with(begins));
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => Err(format!("no letter's id begins with {begins:?}; `list` shows them")),
            (Some(_), Some(_)) => Err(format!("more than one letter's id begins with {begins:?}; give more of it")),
        }
    }
}
