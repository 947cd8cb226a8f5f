//! Step 2 of 9: what was heard lately, found again by its bytes or by its content. Fixed size, no allocation.

use crate::types::{InstrumentIx, Nanos};

/// Messages remembered: at thirty a second and market, over a second of a hundred markets and minutes of one.
const LOG: usize = 4_096;
/// Buckets of each of the two indexes.
const BUCKETS: usize = 8_192;
/// Books that one message may change. A message names one market.
pub(super) const TOUCHES_MAX: usize = 4;

/// What kind of position in the stream a message has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// A whole book.
    Book,
    /// Changes of levels, or of the grid.
    Change,
    /// Trades, resolutions, and what needs no event: no book changes by it.
    #[default]
    Other,
}

/// Books that a message changes, each with its place in that book's stream.
pub(super) type Touches = heapless::Vec<(InstrumentIx, u32), TOUCHES_MAX>;

/// One message.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    /// Hash of its bytes.
    pub raw: u64,
    /// Digest of its events.
    pub content: u64,
    /// When its first copy was read.
    pub at: Nanos,
    /// The venue's time.
    pub venue_ms: u64,
    /// Lines that have given it, a bit each.
    pub seen: u8,
    /// What it is.
    pub kind: Kind,
    /// It also changes a book that was not listened to then.
    pub partial: bool,
    /// Which books it changed.
    pub touches: Touches,
    /// The entry before it in its bucket, by bytes and by content; set by the log.
    pub before_raw: u64,
    pub before_content: u64,
}

/// The last messages, in order.
#[derive(Debug)]
pub(super) struct Log {
    entries: Box<[Entry]>,
    /// Number of the newest entry of each bucket; entries are numbered from 1.
    raw: Box<[u64]>,
    content: Box<[u64]>,
    newest: u64,
}

impl Log {
    pub fn new() -> Self {
        Self {
            entries: vec![Entry::default(); LOG].into(),
            raw: vec![0; BUCKETS].into(),
            content: vec![0; BUCKETS].into(),
            newest: 0,
        }
    }

    /// Appends an entry; the oldest is forgotten.
    pub fn append(&mut self, mut entry: Entry) {
        self.newest += 1;
        let (raw, content) = (entry.raw as usize % BUCKETS, entry.content as usize % BUCKETS);
        entry.before_raw = std::mem::replace(&mut self.raw[raw], self.newest);
        entry.before_content = std::mem::replace(&mut self.content[content], self.newest);
        self.entries[self.newest as usize % LOG] = entry;
    }

    /// The entry of this number.
    pub fn get(&mut self, number: u64) -> &mut Entry {
        &mut self.entries[number as usize % LOG]
    }

    /// The oldest message with these bytes that the line has not given yet; else the newest that it has.
    #[inline]
    pub fn by_raw(&self, raw: u64, line: usize) -> Option<u64> {
        self.find(self.raw[raw as usize % BUCKETS], line, |e| (e.raw == raw, e.before_raw))
    }

    /// The same by content.
    pub fn by_content(&self, content: u64, line: usize) -> Option<u64> {
        self.find(self.content[content as usize % BUCKETS], line, |e| (e.content == content, e.before_content))
    }

    #[inline]
    fn find(&self, from: u64, line: usize, is: impl Fn(&Entry) -> (bool, u64)) -> Option<u64> {
        let (mut unseen, mut seen, mut at) = (None, None, from);
        // What was overwritten is older than any entry that is still there.
        while at != 0 && at + LOG as u64 > self.newest {
            let entry = &self.entries[at as usize % LOG];
            let (same, before) = is(entry);
            if same && entry.seen & (1 << line) == 0 {
                unseen = Some(at);
            } else if same {
                seen = seen.or(Some(at));
            }
            at = before;
        }
        unseen.or(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(raw: u64, seen: u8) -> Entry {
        Entry { raw, content: raw + 1, seen, ..Entry::default() }
    }

    #[test]
    fn equal_messages_are_found_oldest_unseen_first() {
        let mut log = Log::new();
        // 7 and 7 + BUCKETS share a bucket.
        for (raw, seen) in [(7, 0b01), (7, 0b01), (7 + BUCKETS as u64, 0b11), (7, 0b11)] {
            log.append(entry(raw, seen));
        }
        assert_eq!(log.by_raw(7, 1), Some(1));
        log.get(1).seen |= 0b10;
        assert_eq!(log.by_raw(7, 1), Some(2));
        log.get(2).seen |= 0b10;
        assert_eq!(log.by_raw(7, 1), Some(4), "all seen: the newest");
        assert_eq!((log.by_raw(8, 0), log.by_content(8, 2)), (None, Some(1)));
    }

    #[test]
    fn what_is_overwritten_is_not_found() {
        let mut log = Log::new();
        for n in 0..3 * LOG as u64 {
            log.append(entry(n, 1));
        }
        assert_eq!(log.by_raw(2 * LOG as u64 - 1, 0), None);
        assert_eq!(log.by_raw(2 * LOG as u64, 0), Some(2 * LOG as u64 + 1));
        assert_eq!(log.by_raw(5, 0), None);
    }
}
