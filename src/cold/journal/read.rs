//! Reads a journal back: the valid prefix, and where and why it ends. Memory is bounded by one record.

use std::{
    fmt,
    fs::{self, File},
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use super::format::{self, Closing, FORMAT, FRAME, HEAD, Header, Kind, MAGIC, PAYLOAD_MAX, SUM};
use crate::types::Sequenced;

/// Bytes read at once.
const READ: usize = 64 << 10;

/// One record, read back.
#[derive(Debug)]
pub enum Entry<'r> {
    /// The engine heard this.
    Event(Sequenced),
    /// The engine asked for something because of event `seq`.
    Action {
        /// The event's place in the stream.
        seq: u64,
        /// The action's encoding, to compare byte for byte.
        bytes: &'r [u8],
    },
    /// The state hash after event `seq`.
    StateHash {
        /// The event's place in the stream.
        seq: u64,
        /// The hash.
        hash: u64,
    },
    /// Records are missing here.
    Gap {
        /// The last event written.
        seq: u64,
        /// How many records are missing.
        lost: u64,
    },
}

/// How a journal ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With its closing record, and nothing after it.
    Closed(Closing),
    /// Without one: the run was killed, or the end is missing. What was read before is whole.
    Unclean {
        /// How it shows.
        why: Unclean,
        /// Segment of the first byte that is not part of a record.
        segment: u32,
        /// Its place in the segment.
        offset: u64,
    },
}

/// How it shows that a run was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unclean {
    /// Only the zeros of the preallocated tail follow, or nothing.
    NoClosing,
    /// The last record is incomplete, and nothing but zeros follows it.
    TornRecord,
    /// The next segment is missing or has no whole head.
    NoNextSegment,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(c) if c.clean => f.write_str("closed cleanly"),
            Self::Closed(_) => f.write_str("closed, but the run left something behind"),
            Self::Unclean { why, segment, offset } => {
                let why = match why {
                    Unclean::NoClosing => "no closing record",
                    Unclean::TornRecord => "an incomplete last record",
                    Unclean::NoNextSegment => "no next segment",
                };
                write!(f, "cut off ({why} at byte {offset} of {})", format::segment_name(*segment))
            }
        }
    }
}

/// What is wrong with a journal's bytes.
#[derive(Debug)]
pub enum Flaw {
    /// The system refused a read.
    Io(io::Error),
    /// No segment 0 there.
    NotAJournal,
    /// A file that does not belong there.
    Stray(String),
    /// Written by a newer program, in this format.
    Newer(u32),
    /// A segment's head is damaged, or belongs elsewhere.
    Head,
    /// A checksum does not match: something here or before was changed.
    Checksum,
    /// A record of a kind, length or content that no writer makes.
    Record,
    /// Bytes after the end.
    Trailing,
    /// The journal ends here, although another segment follows.
    Early,
}

/// A journal that cannot be trusted from some byte on.
#[derive(Debug)]
pub struct Damage {
    /// The journal.
    pub dir: PathBuf,
    /// In which segment.
    pub segment: u32,
    /// From which of its bytes on.
    pub offset: u64,
    /// What is wrong.
    pub flaw: Flaw,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = format!("{} byte {}", format::segment_name(self.segment), self.offset);
        let dir = self.dir.display();
        match &self.flaw {
            Flaw::Io(e) => write!(f, "{dir}: cannot read {place}: {e}"),
            Flaw::NotAJournal => write!(f, "{dir}: not a journal: it has no {}", format::segment_name(0)),
            Flaw::Stray(name) => write!(f, "{dir}: damaged: the file {name} does not belong to this journal"),
            Flaw::Newer(v) => {
                write!(f, "{dir}: journal format {v} is newer than this program reads ({FORMAT}); use a newer program")
            }
            Flaw::Head => write!(f, "{dir}: damaged: the head of {} is not right", format::segment_name(self.segment)),
            Flaw::Checksum => write!(f, "{dir}: damaged: the checksum at {place} does not match its record"),
            Flaw::Record => write!(f, "{dir}: damaged: no such record can be at {place}"),
            Flaw::Early => write!(f, "{dir}: damaged: it ends at {place}, although another segment follows"),
            Flaw::Trailing => write!(f, "{dir}: damaged: there are bytes after the end, at {place}"),
        }
    }
}

impl std::error::Error for Damage {}

/// Reads a journal from its first record to its last.
#[derive(Debug)]
pub struct Reader {
    header: Header,
    cursor: Cursor,
}

/// Where a reader is.
#[derive(Debug)]
struct Cursor {
    dir: PathBuf,
    file: BufReader<File>,
    segment: u32,
    /// Start of the next record in this segment.
    offset: u64,
    chain: u64,
    records: u64,
    payload: Vec<u8>,
    end: Option<End>,
}

/// What a read of a fixed number of bytes gave.
enum Filled {
    All,
    Some,
    None,
}

impl Reader {
    /// Opens a journal and reads its header.
    pub fn open(dir: &Path) -> Result<Self, Damage> {
        let damage = |offset, flaw| Damage { dir: dir.to_owned(), segment: 0, offset, flaw };
        let file = File::open(format::segment_path(dir, 0)).map_err(|e| {
            damage(0, if e.kind() == io::ErrorKind::NotFound { Flaw::NotAJournal } else { Flaw::Io(e) })
        })?;
        check_files(dir).map_err(|flaw| damage(0, flaw))?;
        let mut cursor = Cursor {
            dir: dir.to_owned(),
            file: BufReader::with_capacity(READ, file),
            segment: 0,
            offset: 0,
            chain: 0,
            records: 0,
            payload: Vec::new(),
            end: None,
        };
        if !cursor.head()? {
            return Err(damage(0, Flaw::Head));
        }
        match cursor.frame()? {
            Some(Kind::Header) => Ok(Self { header: cursor.decode()?, cursor }),
            _ => Err(damage(HEAD as u64, Flaw::Record)),
        }
    }

    /// The first record.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next record; `None` at the end, which [`Self::end`] then describes.
    #[allow(clippy::should_implement_trait, reason = "entries borrow the reader's buffer")]
    pub fn next(&mut self) -> Result<Option<Entry<'_>>, Damage> {
        self.cursor.next()
    }

    /// How the journal ends; `None` until [`Self::next`] has said that it does.
    pub fn end(&self) -> Option<&End> {
        self.cursor.end.as_ref()
    }
}

impl Cursor {
    fn next(&mut self) -> Result<Option<Entry<'_>>, Damage> {
        loop {
            let Some(kind) = self.frame()? else { return Ok(None) };
            match kind {
                Kind::Event => return Ok(Some(Entry::Event(self.decode()?))),
                Kind::StateHash => {
                    let (seq, hash) = self.decode()?;
                    return Ok(Some(Entry::StateHash { seq, hash }));
                }
                Kind::Gap => {
                    let (seq, lost) = self.decode()?;
                    return Ok(Some(Entry::Gap { seq, lost }));
                }
                Kind::Action => {
                    let Ok((seq, bytes)) = postcard::take_from_bytes::<u64>(&self.payload) else {
                        return Err(self.damage(Flaw::Record));
                    };
                    return Ok(Some(Entry::Action { seq, bytes }));
                }
                Kind::SegmentEnd => {
                    if !self.at_eof()? {
                        return Err(self.damage(Flaw::Trailing));
                    }
                    if !self.next_segment()? {
                        return Ok(None);
                    }
                }
                Kind::Closing => {
                    let closing: Closing = self.decode()?;
                    if closing.records + 1 != self.records {
                        return Err(self.damage(Flaw::Record));
                    }
                    if !self.at_eof()? {
                        return Err(self.damage(Flaw::Trailing));
                    }
                    self.nothing_after()?;
                    self.end = Some(End::Closed(closing));
                    return Ok(None);
                }
                Kind::Header => return Err(self.damage(Flaw::Record)),
            }
        }
    }

    /// Reads a segment's head. False if the file ends within it.
    fn head(&mut self) -> Result<bool, Damage> {
        let mut bytes = [0; HEAD];
        if !matches!(self.fill(&mut bytes)?, Filled::All) || bytes == [0; HEAD] {
            return Ok(false);
        }
        let (expected, chain) = format::head(self.segment, self.records, self.chain);
        if bytes != expected {
            let version = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
            let sum = format::checksum(self.chain, [&bytes[..HEAD - SUM], &[]]);
            let newer = bytes[..8] == MAGIC && version > FORMAT && bytes[HEAD - SUM..] == sum.to_le_bytes();
            return Err(self.damage(if newer { Flaw::Newer(version) } else { Flaw::Head }));
        }
        self.chain = chain;
        self.offset = HEAD as u64;
        Ok(true)
    }

    /// Reads one record into `payload` and checks it. `None` where the journal is cut off.
    fn frame(&mut self) -> Result<Option<Kind>, Damage> {
        if self.end.is_some() {
            return Ok(None);
        }
        let mut frame = [0; FRAME];
        match self.fill(&mut frame)? {
            Filled::All if frame != [0; FRAME] => {}
            Filled::None => return self.cut(Unclean::NoClosing),
            Filled::Some if frame.iter().any(|b| *b != 0) => return self.cut(Unclean::TornRecord),
            Filled::All | Filled::Some => {
                return if self.only_zeros()? {
                    self.cut(Unclean::NoClosing)
                } else {
                    Err(self.damage(Flaw::Trailing))
                };
            }
        }
        let length = u32::from_le_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
        if length > PAYLOAD_MAX {
            return Err(self.damage(Flaw::Record));
        }
        let mut payload = std::mem::take(&mut self.payload);
        payload.clear();
        payload.resize(length, 0);
        let mut sum = [0; SUM];
        let whole = matches!(self.fill(&mut payload)?, Filled::All) && matches!(self.fill(&mut sum)?, Filled::All);
        self.payload = payload;
        if !whole {
            return self.cut(Unclean::TornRecord);
        }
        let expected = format::checksum(self.chain, [&frame, &self.payload]);
        if sum != expected.to_le_bytes() {
            // Damage in the middle is damage; at the very end it is also what a power cut leaves.
            return if self.only_zeros()? { self.cut(Unclean::TornRecord) } else { Err(self.damage(Flaw::Checksum)) };
        }
        let Some(kind) = Kind::from_byte(frame[4]) else { return Err(self.damage(Flaw::Record)) };
        self.chain = expected;
        self.offset += (FRAME + length + SUM) as u64;
        self.records += 1;
        Ok(Some(kind))
    }

    fn cut(&mut self, why: Unclean) -> Result<Option<Kind>, Damage> {
        self.nothing_after()?;
        self.end = Some(End::Unclean { why, segment: self.segment, offset: self.offset });
        Ok(None)
    }

    /// Goes to the segment after this one. False if the run was cut off between the two.
    fn next_segment(&mut self) -> Result<bool, Damage> {
        let (last, offset) = (self.segment, self.offset);
        self.segment += 1;
        self.offset = 0;
        let opened = match File::open(format::segment_path(&self.dir, self.segment)) {
            Ok(file) => {
                self.file = BufReader::with_capacity(READ, file);
                self.head()?
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => false,
            Err(e) => return Err(self.damage(Flaw::Io(e))),
        };
        if !opened {
            if !self.only_zeros()? {
                return Err(self.damage(Flaw::Head));
            }
            self.nothing_after()?;
            self.end = Some(End::Unclean { why: Unclean::NoNextSegment, segment: last, offset });
        }
        Ok(opened)
    }

    /// A later segment cannot exist where the journal ends in this one.
    fn nothing_after(&self) -> Result<(), Damage> {
        match fs::exists(format::segment_path(&self.dir, self.segment + 1)) {
            Ok(false) => Ok(()),
            Ok(true) => Err(self.damage(Flaw::Early)),
            Err(e) => Err(self.damage(Flaw::Io(e))),
        }
    }

    fn decode<T: serde::de::DeserializeOwned>(&self) -> Result<T, Damage> {
        match postcard::take_from_bytes(&self.payload) {
            Ok((value, [])) => Ok(value),
            _ => Err(self.damage(Flaw::Record)),
        }
    }

    fn damage(&self, flaw: Flaw) -> Damage {
        Damage { dir: self.dir.clone(), segment: self.segment, offset: self.offset, flaw }
    }

    fn fill(&mut self, mut rest: &mut [u8]) -> Result<Filled, Damage> {
        let wanted = rest.len();
        while !rest.is_empty() {
            match self.file.read(rest) {
                Ok(0) => break,
                Ok(n) => rest = &mut rest[n..],
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.damage(Flaw::Io(e))),
            }
        }
        Ok(if rest.is_empty() {
            Filled::All
        } else if rest.len() == wanted {
            Filled::None
        } else {
            Filled::Some
        })
    }

    fn at_eof(&mut self) -> Result<bool, Damage> {
        Ok(matches!(self.fill(&mut [0])?, Filled::None))
    }

    fn only_zeros(&mut self) -> Result<bool, Damage> {
        let mut block = [0; 4096];
        loop {
            match self.file.read(&mut block) {
                Ok(0) => return Ok(true),
                Ok(n) if block[..n].iter().all(|b| *b == 0) => {}
                Ok(_) => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.damage(Flaw::Io(e))),
            }
        }
    }
}

/// Every file of the directory must be a segment, with none missing in between.
fn check_files(dir: &Path) -> Result<(), Flaw> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(Flaw::Io)? {
        names.push(entry.map_err(Flaw::Io)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    match (0..).zip(names).find(|(index, name)| format::segment_name(*index) != *name) {
        Some((_, stray)) => Err(Flaw::Stray(stray)),
        None => Ok(()),
    }
}
