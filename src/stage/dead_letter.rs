//! What came in and could not be read: a bounded copy on its way to whoever keeps it.
//!
//! A tile that cannot read a message says so with a gap and goes on; the message itself goes through a [`Tx`] if there
//! is one. Making a letter allocates, which is fine: it happens only where something is wrong already.

use super::ring::Tx;
use crate::types::{InstrumentIx, Stamp};

/// Bytes of a message that are kept.
pub const HEAD_MAX: usize = 4 << 10;

/// Where a message came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The market channel.
    Market,
    /// The user channel.
    User,
    /// The sports channel.
    Sports,
    /// An answer about a book, asked for as a second opinion.
    Witness,
}

impl Source {
    /// Snake-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Market => "market",
            Self::User => "user",
            Self::Sports => "sports",
            Self::Witness => "witness",
        }
    }
}

/// Why it could not be handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Not JSON, or neither an object nor an array of objects.
    NotJson,
    /// This field is missing or of another type.
    Field(&'static str),
    /// This field's text is not what it should be.
    Value(&'static str),
}

impl Reason {
    /// Snake-case name of the kind: a label of bounded cardinality.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::Field(_) => "field",
            Self::Value(_) => "value",
        }
    }
}

impl From<crate::wire::market::ParseErrorKind> for Reason {
    fn from(kind: crate::wire::market::ParseErrorKind) -> Self {
        use crate::wire::market::ParseErrorKind;
        match kind {
            ParseErrorKind::NotJson => Self::NotJson,
            ParseErrorKind::Field(name) => Self::Field(name),
            ParseErrorKind::Value(name) => Self::Value(name),
        }
    }
}

/// A message that could not be handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// When its bytes were read.
    pub stamp: Stamp,
    /// Where it came from.
    pub source: Source,
    /// Which of several sockets of that source, from 0.
    pub line: u8,
    /// Why it could not be handled.
    pub reason: Reason,
    /// Whose book suffered, if that could be told.
    pub instrument: Option<InstrumentIx>,
    /// XXH3 of the whole message as it came, 64 bits.
    pub digest: u64,
    /// Its whole length in bytes.
    pub len: u32,
    /// Its first bytes as they came, [`HEAD_MAX`] at most. Credentials are blanked out.
    pub head: Box<[u8]>,
}

/// A copy of the message under way, taken before it is parsed: the parser rewrites strings in place.
#[derive(Debug)]
pub struct Draft {
    to: Option<Tx<DeadLetter>>,
    head: Vec<u8>,
    digest: u64,
    len: u32,
    /// Letters that did not fit the ring.
    lost: u64,
}

impl Draft {
    /// A desk that posts to `to`; without, everything is free and nothing is kept.
    pub fn new(to: Option<Tx<DeadLetter>>) -> Self {
        let room = if to.is_some() { HEAD_MAX } else { 0 };
        Self { to, head: Vec::with_capacity(room), digest: 0, len: 0, lost: 0 }
    }

    /// Notes the message that is about to be parsed. `digest`: its XXH3, if it is known already. No allocation.
    #[inline]
    pub fn note(&mut self, message: &[u8], digest: Option<u64>) {
        if self.to.is_none() {
            return;
        }
        self.digest = digest.unwrap_or_else(|| xxhash_rust::xxh3::xxh3_64(message));
        self.len = u32::try_from(message.len()).unwrap_or(u32::MAX);
        self.head.clear();
        self.head.extend_from_slice(&message[..message.len().min(HEAD_MAX)]);
    }

    /// Blanks every occurrence of a word that is nobody's business.
    pub fn blank(&mut self, word: &[u8]) {
        if word.is_empty() {
            return;
        }
        let mut at = 0;
        while at + word.len() <= self.head.len() {
            if self.head[at..].starts_with(word) {
                self.head[at..at + word.len()].fill(b'*');
                at += word.len();
            } else {
                at += 1;
            }
        }
    }

    /// Posts the message that was noted last. Never blocks: without room it is lost and counted.
    pub fn post(&mut self, stamp: Stamp, source: Source, line: u8, reason: Reason, instrument: Option<InstrumentIx>) {
        let Some(to) = &mut self.to else { return };
        if to.free() == 0 {
            self.lost += 1;
            return;
        }
        let head = self.head.as_slice().into();
        let letter = DeadLetter { stamp, source, line, reason, instrument, digest: self.digest, len: self.len, head };
        self.lost += u64::from(to.push(letter).is_err());
    }

    /// Letters lost since this was asked last.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::ring::ring;

    #[test]
    fn a_letter_is_bounded_blanked_and_never_waits() {
        let (tx, mut rx) = ring("dead_letters", 0, 1);
        let mut draft = Draft::new(Some(tx));
        let mut message = br#"{"owner":"key-1","x":"key-1""#.to_vec();
        message.resize(HEAD_MAX + 100, b' ');
        draft.note(&message, None);
        draft.blank(b"key-1");
        for _ in 0..2 {
            draft.post(Stamp::default(), Source::User, 0, Reason::NotJson, None);
        }
        let letter = rx.pop().expect("a letter");
        assert!(letter.head.starts_with(br#"{"owner":"*****","x":"*****""#));
        assert_eq!((letter.head.len(), letter.len as usize), (HEAD_MAX, HEAD_MAX + 100));
        assert_eq!(letter.digest, xxhash_rust::xxh3::xxh3_64(&message));
        assert_eq!((rx.pop(), draft.take_lost(), draft.take_lost()), (None, 1, 0));
    }

    #[test]
    fn nobody_to_post_to_costs_nothing() {
        let mut draft = Draft::new(None);
        draft.note(b"{", None);
        draft.post(Stamp::default(), Source::Market, 0, Reason::NotJson, None);
        assert_eq!((draft.take_lost(), draft.head.capacity()), (0, 0));
    }
}
