//! Appends records. The first error of the disk is final: nothing is retried, and nothing is written after it.
//!
//! Records gather in a buffer and leave with one plain `write` per [`Writer::flush`]; from then on they survive the
//! death of the process. [`Writer::sync`] makes them survive the machine's.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    Record,
    format::{self, Closing, FRAME, HEAD, Header, Kind, SUM},
};

/// A buffer larger than this leaves without waiting for [`Writer::flush`].
const BUFFER: usize = 256 << 10;
/// The smallest segment: rotation for a handful of records would be all overhead.
const SEGMENT_MIN: u64 = 4 << 10;

/// Why the journal cannot go on. It never will again: a failed `fsync` says nothing about what is on the disk.
#[derive(Debug)]
pub struct JournalError {
    /// What was tried.
    pub doing: &'static str,
    /// On what.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "journal: cannot {} {}: {}", self.doing, self.path.display(), self.source)
    }
}

impl std::error::Error for JournalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Appends to a journal.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    file: File,
    segment: u32,
    segment_bytes: u64,
    /// Bytes of this segment, the buffered ones included.
    offset: u64,
    chain: u64,
    records: u64,
    bytes: u64,
    last_seq: u64,
    state: Option<(u64, u64)>,
    buffer: Vec<u8>,
    failed: bool,
}

impl Writer {
    /// Makes a journal and writes its first record. The directory must be absent or empty.
    ///
    /// `segment_bytes`: size to which each segment file is laid out; a clean close trims the last one.
    pub fn create(dir: &Path, header: &Header, segment_bytes: u64) -> Result<Self, JournalError> {
        let fail = |doing, path: &Path, source| JournalError { doing, path: path.to_owned(), source };
        fs::create_dir_all(dir).map_err(|e| fail("make the directory", dir, e))?;
        if fs::read_dir(dir).map_err(|e| fail("read", dir, e))?.next().is_some() {
            let e = io::Error::new(io::ErrorKind::DirectoryNotEmpty, "the directory is not empty");
            return Err(fail("begin in", dir, e));
        }
        let segment_bytes = segment_bytes.max(SEGMENT_MIN);
        let file = open_segment(dir, 0, segment_bytes)?;
        let mut writer = Self {
            dir: dir.to_owned(),
            file,
            segment: 0,
            segment_bytes,
            offset: 0,
            chain: 0,
            records: 0,
            bytes: 0,
            last_seq: 0,
            state: None,
            buffer: Vec::with_capacity(BUFFER + (64 << 10)),
            failed: false,
        };
        writer.put_head();
        writer.put(Kind::Header, header)?;
        writer.sync()?;
        Ok(writer)
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Records written, the header included.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Bytes written, the buffered ones included.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends one record to the buffer, which leaves by itself when it is large.
    pub fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        match record {
            Record::Event(event) => {
                self.last_seq = event.seq;
                self.put(Kind::Event, event)
            }
            Record::Action { seq, action } => self.put(Kind::Action, &(seq, action)),
            Record::StateHash { seq, hash } => {
                self.state = Some((*seq, *hash));
                self.put(Kind::StateHash, &(seq, hash))
            }
            Record::Gap { seq, lost } => self.put(Kind::Gap, &(seq, lost)),
        }
    }

    /// Hands what is buffered to the operating system: it survives SIGKILL from here on.
    pub fn flush(&mut self) -> Result<(), JournalError> {
        self.check()?;
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.buffer);
        self.buffer.clear();
        written.map_err(|e| self.fail("write", e))
    }

    /// Flushes, and waits until the disk has it: it survives a power cut from here on. Takes milliseconds.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.flush()?;
        self.file.sync_data().map_err(|e| self.fail("sync", e))
    }

    /// Writes the closing record, trims the last segment and syncs. `clean`: nothing was left behind.
    pub fn close(mut self, clean: bool) -> Result<Closing, JournalError> {
        let state_hash = self.state.and_then(|(seq, hash)| (seq == self.last_seq).then_some(hash));
        let closing = Closing { records: self.records, last_seq: self.last_seq, state_hash, clean };
        self.put(Kind::Closing, &closing)?;
        self.finish_segment()?;
        Ok(closing)
    }

    fn put_head(&mut self) {
        let (bytes, chain) = format::head(self.segment, self.records, self.chain);
        self.buffer.extend_from_slice(&bytes);
        self.chain = chain;
        self.offset = HEAD as u64;
        self.bytes += HEAD as u64;
    }

    fn put<T: Serialize>(&mut self, kind: Kind, value: &T) -> Result<(), JournalError> {
        self.check()?;
        let start = self.buffer.len();
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.extend_from_slice(&[0, 0, 0, 0, kind as u8]);
        self.buffer = postcard::to_extend(value, buffer)
            .map_err(|e| self.fail("encode a record for", io::Error::other(e.to_string())))?;
        let length = (self.buffer.len() - start - FRAME) as u32;
        self.buffer[start..start + 4].copy_from_slice(&length.to_le_bytes());
        let frame = (self.buffer.len() - start + SUM) as u64;
        let end_frame = (FRAME + SUM) as u64;
        if self.offset + frame + end_frame > self.segment_bytes && self.offset > HEAD as u64 && kind != Kind::Closing {
            // The record was encoded once already; it moves, unsealed, to the new segment.
            let unsealed = self.buffer.split_off(start);
            self.rotate()?;
            let start = self.buffer.len();
            self.buffer.extend_from_slice(&unsealed);
            return self.seal(start);
        }
        self.seal(start)
    }

    /// Adds the checksum of the unsealed record that begins at `start` of the buffer.
    fn seal(&mut self, start: usize) -> Result<(), JournalError> {
        self.chain = format::checksum(self.chain, [&self.buffer[start..], &[]]);
        self.buffer.extend_from_slice(&self.chain.to_le_bytes());
        let frame = (self.buffer.len() - start) as u64;
        self.offset += frame;
        self.bytes += frame;
        self.records += 1;
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    fn rotate(&mut self) -> Result<(), JournalError> {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0, 0, 0, 0, Kind::SegmentEnd as u8]);
        self.seal(start)?;
        self.finish_segment()?;
        self.segment += 1;
        self.file = open_segment(&self.dir, self.segment, self.segment_bytes).inspect_err(|_| self.failed = true)?;
        self.put_head();
        Ok(())
    }

    fn finish_segment(&mut self) -> Result<(), JournalError> {
        self.flush()?;
        self.file.set_len(self.offset).map_err(|e| self.fail("trim", e))?;
        self.file.sync_all().map_err(|e| self.fail("sync", e))
    }

    fn check(&self) -> Result<(), JournalError> {
        if !self.failed {
            return Ok(());
        }
        let source = io::Error::other("an earlier write failed, and nothing is written after that");
        Err(JournalError { doing: "write", path: format::segment_path(&self.dir, self.segment), source })
    }

    fn fail(&mut self, doing: &'static str, source: io::Error) -> JournalError {
        self.failed = true;
        JournalError { doing, path: format::segment_path(&self.dir, self.segment), source }
    }
}

/// Makes a segment file of its full size, and makes its name durable.
fn open_segment(dir: &Path, index: u32, size: u64) -> Result<File, JournalError> {
    let path = format::segment_path(dir, index);
    let made = OpenOptions::new().write(true).create_new(true).open(&path).and_then(|file| {
        file.set_len(size)?;
        File::open(dir)?.sync_all()?;
        Ok(file)
    });
    made.map_err(|source| JournalError { doing: "make", path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk that is full from the second write on, by the kernel's own device.
    #[test]
    fn the_first_error_is_final() {
        let dir = std::env::temp_dir();
        let mut writer = Writer {
            dir,
            file: OpenOptions::new().write(true).open("/dev/full").unwrap(),
            segment: 0,
            segment_bytes: 1 << 20,
            offset: HEAD as u64,
            chain: 0,
            records: 0,
            bytes: 0,
            last_seq: 0,
            state: None,
            buffer: Vec::new(),
            failed: false,
        };
        let record = Record::StateHash { seq: 1, hash: 2 };
        writer.append(&record).unwrap();
        let first = writer.flush().unwrap_err();
        assert_eq!(first.source.raw_os_error(), Some(28), "no space left: {first}");
        // The disk works again; the journal does not.
        writer.file = OpenOptions::new().write(true).open("/dev/null").unwrap();
        assert!(writer.append(&record).is_err());
        assert!(writer.flush().is_err());
        assert!(writer.sync().is_err());
        assert!(writer.close(true).is_err());
    }
}
