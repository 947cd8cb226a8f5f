//! The dead-man switch: an API key arms it by its first heartbeat; then ten silent seconds cancel its orders.
//!
//! Source: docs/PROTOCOL.md "heartbeat".

use std::{collections::HashMap, sync::Arc};

use super::verify::keccak;
use crate::types::Nanos;

/// Silence after which a key's orders are cancelled.
const SILENCE_NS: u64 = 10_000_000_000;
/// How often the venue looks.
const SCAN_NS: u64 = 5_000_000_000;

#[derive(Debug)]
struct Chain {
    expected: String,
    last: Nanos,
    count: u64,
}

/// Every armed key.
#[derive(Debug, Default)]
pub struct Heartbeats {
    chains: HashMap<Arc<str>, Chain>,
    next_scan: Option<Nanos>,
}

impl Heartbeats {
    /// A heartbeat: the id to send next, or the id that was expected. A wrong one does not extend the deadline.
    pub fn beat(&mut self, key: &Arc<str>, id: &str, now: Nanos) -> Result<String, String> {
        let count = match self.chains.get(key) {
            Some(chain) if chain.expected != id => return Err(chain.expected.clone()),
            Some(chain) => chain.count + 1,
            None if !id.is_empty() => return Err(String::new()),
            None => 1,
        };
        let next = super::auth::uuid(&keccak(&[key.as_bytes(), &count.to_be_bytes()]));
        self.chains.insert(key.clone(), Chain { expected: next.clone(), last: now, count });
        self.next_scan.get_or_insert(now.plus(SCAN_NS));
        Ok(next)
    }

    /// The old heartbeat without an id: it counts, and the next id is the empty one.
    pub fn beat_plain(&mut self, key: &Arc<str>, now: Nanos) {
        let count = self.chains.get(key).map_or(0, |c| c.count) + 1;
        self.chains.insert(key.clone(), Chain { expected: String::new(), last: now, count });
        self.next_scan.get_or_insert(now.plus(SCAN_NS));
    }

    /// Another process with the same key has sent a heartbeat: the id that is expected is one that nobody here knows.
    pub fn disturb(&mut self, key: &Arc<str>, now: Nanos) {
        let count = self.chains.get(key).map_or(0, |c| c.count) + 1;
        let expected = super::auth::uuid(&keccak(&[b"another process", key.as_bytes(), &count.to_be_bytes()]));
        let last = self.chains.get(key).map_or(now, |c| c.last);
        self.chains.insert(key.clone(), Chain { expected, last, count });
        self.next_scan.get_or_insert(now.plus(SCAN_NS));
    }

    /// Every key that is armed.
    pub fn armed(&self) -> Vec<Arc<str>> {
        self.chains.keys().cloned().collect()
    }

    /// When to look next.
    pub fn next_scan(&self) -> Option<Nanos> {
        self.next_scan
    }

    /// The keys that have been silent too long. There is no disarming: they are named again at every look.
    pub fn scan(&mut self, now: Nanos) -> Vec<Arc<str>> {
        let Some(due) = self.next_scan.filter(|due| *due <= now) else { return Vec::new() };
        self.next_scan = Some(due.plus(SCAN_NS).max(now.plus(1)));
        let silent = |c: &Chain| now.since(c.last) >= SILENCE_NS;
        self.chains.iter().filter(|(_, c)| silent(c)).map(|(k, _)| k.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Nanos {
        Nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn armed_by_the_first_kept_by_the_expected_id_expired_by_silence() {
        let (mut h, key) = (Heartbeats::default(), Arc::<str>::from("key"));
        assert_eq!(h.scan(s(100)), Vec::<Arc<str>>::new(), "not armed");
        assert_eq!(h.beat(&key, "guess", s(100)), Err(String::new()), "the first id is the empty one");
        let one = h.beat(&key, "", s(100)).unwrap();
        assert_eq!(h.beat(&key, "", s(101)), Err(one.clone()), "a wrong id is told the expected one");
        let two = h.beat(&key, &one, s(104)).unwrap();
        assert_ne!(one, two);
        assert!(h.scan(s(105)).is_empty());
        assert_eq!(h.beat(&key, "wrong", s(113)), Err(two.clone()), "and does not extend the deadline");
        assert!(h.scan(s(110)).is_empty(), "six seconds of silence");
        assert_eq!(h.scan(s(115)), std::slice::from_ref(&key));
        assert_eq!(h.beat(&key, &two, s(116)).map(|_| ()), Ok(()), "the chain goes on");
        assert!(h.scan(s(120)).is_empty());
    }

    #[test]
    fn the_old_form_counts_and_resets_the_id() {
        let (mut h, key) = (Heartbeats::default(), Arc::<str>::from("key"));
        h.beat(&key, "", s(0)).unwrap();
        h.beat_plain(&key, s(8));
        assert!(h.scan(s(5)).is_empty());
        assert!(h.scan(s(10)).is_empty());
        assert!(h.beat(&key, "", s(11)).is_ok());
    }
}
