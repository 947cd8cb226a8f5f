//! The store: appended, bounded, the oldest dropped; and the letters that are still being tried.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{ATTEMPTS, BYTES_MAX, LETTERS_MAX, Letter, Parsers, State, Update};
use crate::{
    stage::dead_letter::{DeadLetter, Reason, Source},
    types::{Nanos, Universe},
};

/// The file beside the journals.
pub const FILE: &str = "dead_letters.jsonl";
/// The one before it: the older half.
pub const OLDER_FILE: &str = "dead_letters.1.jsonl";
/// The first wait before a letter is read again; it doubles.
const FIRST_WAIT_NS: u64 = 200_000_000;
/// Letters that are being tried at a time; one more is dead at once.
const TRYING_MAX: usize = 256;
/// Letters that are read again in one turn.
const TRIES_PER_TURN: usize = 8;

/// Reasons, in the order of [`Counts::received`].
const REASONS: [Reason; 3] = [Reason::NotJson, Reason::Field(""), Reason::Value("")];

/// What happened to the letters of this run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Received, by reason as [`Counts::by_reason`] names them.
    received: [u64; REASONS.len()],
    /// Dead.
    pub dead: u64,
    /// Understood at a later try.
    pub understood: u64,
    /// Dropped as the oldest, of this run or an earlier one.
    pub dropped: u64,
    /// Could not be written down.
    pub lost: u64,
}

impl Counts {
    /// Received by reason (snake case).
    pub fn by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        REASONS.iter().map(|r| r.as_str()).zip(self.received)
    }

    /// Received in all.
    pub fn received(&self) -> u64 {
        self.received.iter().sum()
    }
}

/// One of the two files, by its content.
#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    letters: u64,
    bytes: u64,
}

/// Keeps letters and tries them again.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    run: String,
    file: Option<File>,
    now: Extent,
    older: Extent,
    letters_max: u64,
    bytes_max: u64,
    parsers: Parsers,
    trying: VecDeque<Trying>,
    counts: Counts,
}

#[derive(Debug)]
struct Trying {
    id: String,
    source: Source,
    message: Box<[u8]>,
    attempts: u8,
    due: Nanos,
}

impl Store {
    /// The store below `dir`, which exists, with the usual bounds. Nothing is made before the first letter comes.
    pub fn open(dir: &Path, run: &str, universe: &Universe) -> Self {
        Self::bounded(dir, run, universe, LETTERS_MAX, BYTES_MAX)
    }

    /// The same with other bounds, on letters and on bytes.
    pub fn bounded(dir: &Path, run: &str, universe: &Universe, letters_max: u64, bytes_max: u64) -> Self {
        Self {
            now: extent(&dir.join(FILE), bytes_max),
            older: extent(&dir.join(OLDER_FILE), bytes_max),
            dir: dir.into(),
            run: run.into(),
            file: None,
            letters_max,
            bytes_max,
            parsers: Parsers::new(universe),
            trying: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Letters that are kept: those of earlier runs too.
    pub fn kept(&self) -> u64 {
        self.now.letters + self.older.letters
    }

    /// Keeps a letter, and tries it again later if all of it is there.
    pub fn receive(&mut self, letter: DeadLetter, now: Nanos) {
        if let Some(n) = REASONS.iter().position(|r| r.as_str() == letter.reason.as_str()) {
            self.counts.received[n] += 1;
        }
        let mut kept = Letter::new(&letter, &self.run);
        let worth_a_try = letter.head.len() == letter.len as usize && letter.source != Source::Witness;
        if worth_a_try && self.trying.len() < TRYING_MAX {
            let due = now.plus(FIRST_WAIT_NS);
            let (id, source) = (kept.id.clone(), letter.source);
            self.trying.push_back(Trying { id, source, message: letter.head, attempts: 0, due });
        } else {
            kept.state = State::Dead;
            self.counts.dead += 1;
        }
        if self.append(&kept) {
            self.now.letters += 1;
        }
    }

    /// Tries again what is due. Bounded; returns how many were tried.
    pub fn turn(&mut self, now: Nanos) -> usize {
        self.try_again(now, TRIES_PER_TURN)
    }

    fn try_again(&mut self, now: Nanos, most: usize) -> usize {
        let mut tried = 0;
        for _ in 0..self.trying.len() {
            if tried == most {
                break;
            }
            let Some(mut letter) = self.trying.pop_front() else { break };
            if now < letter.due {
                self.trying.push_back(letter);
                continue;
            }
            tried += 1;
            letter.attempts += 1;
            let understood = self.parsers.read(letter.source, &letter.message).understood;
            if understood || letter.attempts >= ATTEMPTS {
                self.settle(letter, understood);
            } else {
                letter.due = now.plus(FIRST_WAIT_NS << letter.attempts);
                self.trying.push_back(letter);
            }
        }
        tried
    }

    /// The run ends: what is still being tried is tried once more and settled.
    pub fn finish(&mut self) {
        while let Some(mut letter) = self.trying.pop_front() {
            letter.attempts += 1;
            let understood = self.parsers.read(letter.source, &letter.message).understood;
            self.settle(letter, understood);
        }
    }

    fn settle(&mut self, letter: Trying, understood: bool) {
        let state = if understood { State::Understood } else { State::Dead };
        *(if understood { &mut self.counts.understood } else { &mut self.counts.dead }) += 1;
        self.append(&Update { id: letter.id, state, attempts: letter.attempts });
    }

    /// The older half is dropped and this one becomes it.
    fn rotate(&mut self) {
        self.file = None;
        match fs::rename(self.dir.join(FILE), self.dir.join(OLDER_FILE)) {
            Ok(()) => {
                self.counts.dropped += self.older.letters;
                self.older = std::mem::take(&mut self.now);
            }
            Err(e) => tracing::error!(event_type = "dead_letters_failed", "dead letters cannot be rotated: {e}"),
        }
    }

    /// One line, written at once. What cannot be written, or would pass the bounds, is lost and counted.
    fn append(&mut self, line: &impl Serialize) -> bool {
        let Ok(mut text) = serde_json::to_vec(line) else { return false };
        text.push(b'\n');
        let fits =
            |now: Extent| now.letters < self.letters_max / 2 && now.bytes + text.len() as u64 <= self.bytes_max / 2;
        let (as_it_is, empty) = (fits(self.now), fits(Extent::default()));
        if !as_it_is && empty {
            self.rotate();
        }
        let written = if empty && (as_it_is || self.now.bytes == 0) {
            self.writer().and_then(|file| file.write_all(&text))
        } else {
            Err(std::io::Error::other("there is no room"))
        };
        if let Err(e) = &written {
            self.file = None;
            self.counts.lost += 1;
            tracing::error!(event_type = "dead_letters_failed", "a dead letter cannot be written down: {e}");
        } else {
            self.now.bytes += text.len() as u64;
        }
        written.is_ok()
    }

    fn writer(&mut self) -> std::io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let path = self.dir.join(FILE);
                let mut file = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)?;
                end_the_last_line(&mut file)?;
                file
            }
        };
        Ok(self.file.insert(file))
    }
}

/// Whoever wrote last may have been killed in the middle of a line; ours begins on a new one.
fn end_the_last_line(file: &mut File) -> std::io::Result<()> {
    use std::io::{Seek, SeekFrom};
    let mut last = [b'\n'];
    if file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    if last == *b"\n" { Ok(()) } else { file.write_all(b"\n") }
}

/// What is in a file: letters counted as far as the bound goes.
fn extent(path: &Path, bytes_max: u64) -> Extent {
    let Ok(file) = File::open(path) else { return Extent::default() };
    let bytes = file.metadata().map_or(0, |m| m.len());
    let mut lines = BufReader::new(file.take(bytes_max));
    let (mut letters, mut line) = (0, Vec::new());
    while {
        line.clear();
        lines.read_until(b'\n', &mut line).unwrap_or(0) > 0
    } {
        // Updates name neither; a line of any other kind counts, so that the bound holds for it too.
        letters += u64::from(serde_json::from_slice::<Update>(&line).is_err());
    }
    Extent { letters, bytes }
}
