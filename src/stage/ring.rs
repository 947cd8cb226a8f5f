//! Single-producer single-consumer rings with a stated answer when full.
//!
//! The ring is `rtrb`'s; here it gets a name and two numbers that people look at. What a full ring means is decided by
//! whoever holds the [`Tx`]: the item comes back as a value. `topology::RINGS` states each answer.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Serialize;

/// What happened in one ring.
#[derive(Debug)]
pub struct RingStats {
    /// Its name in the topology.
    pub name: &'static str,
    /// Which of several of that name, from 0.
    pub index: usize,
    /// Items that fit.
    pub depth: usize,
    high_water: AtomicU64,
    overflows: AtomicU64,
}

/// A reading of [`RingStats`], as the summary shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RingReading {
    /// Items that fit.
    pub depth: u64,
    /// Most items that its reader ever found waiting.
    pub high_water: u64,
    /// Items that did not fit.
    pub overflows: u64,
}

impl RingStats {
    /// The numbers now.
    pub fn read(&self) -> RingReading {
        RingReading {
            depth: self.depth as u64,
            high_water: self.high_water.load(Ordering::Relaxed),
            overflows: self.overflows.load(Ordering::Relaxed),
        }
    }

    /// `market`, or `market.1` for the second of several.
    pub fn label(&self) -> String {
        if self.index == 0 { self.name.to_owned() } else { format!("{}.{}", self.name, self.index) }
    }
}

/// The item that did not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full<T>(pub T);

/// The writing end.
pub struct Tx<T> {
    ring: rtrb::Producer<T>,
    stats: Arc<RingStats>,
}

/// The reading end.
pub struct Rx<T> {
    ring: rtrb::Consumer<T>,
    stats: Arc<RingStats>,
    high_water: usize,
}

impl<T> fmt::Debug for Tx<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tx({})", self.stats.label())
    }
}

impl<T> fmt::Debug for Rx<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rx({})", self.stats.label())
    }
}

/// Makes a ring that holds `depth` items.
pub fn ring<T>(name: &'static str, index: usize, depth: usize) -> (Tx<T>, Rx<T>) {
    let (tx, rx) = rtrb::RingBuffer::new(depth);
    let stats = Arc::new(RingStats { name, index, depth, high_water: AtomicU64::new(0), overflows: AtomicU64::new(0) });
    (Tx { ring: tx, stats: Arc::clone(&stats) }, Rx { ring: rx, stats, high_water: 0 })
}

impl<T> Tx<T> {
    /// Appends an item, or gives it back and counts an overflow.
    #[inline]
    pub fn push(&mut self, item: T) -> Result<(), Full<T>> {
        self.ring.push(item).map_err(|rtrb::PushError::Full(item)| self.overflowed(item))
    }

    /// Appends an item if more than `reserve` slots are free: the last ones are kept for what matters more.
    #[inline]
    pub fn push_keeping(&mut self, item: T, reserve: usize) -> Result<(), Full<T>> {
        if self.ring.slots() <= reserve { Err(self.overflowed(item)) } else { self.push(item) }
    }

    #[cold]
    fn overflowed(&mut self, item: T) -> Full<T> {
        self.stats.overflows.fetch_add(1, Ordering::Relaxed);
        Full(item)
    }

    /// Free slots. Exact or an underestimate.
    #[inline]
    pub fn free(&self) -> usize {
        self.ring.slots()
    }

    /// The ring's numbers.
    pub fn stats(&self) -> &Arc<RingStats> {
        &self.stats
    }
}

impl<T> Rx<T> {
    /// Takes the oldest item.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        self.ring.pop().ok()
    }

    /// Items waiting now; remembers the most it ever saw. Called once per batch, so that the high-water mark costs the
    /// writer nothing.
    #[inline]
    pub fn backlog(&mut self) -> usize {
        let n = self.ring.slots();
        if n > self.high_water {
            self.high_water = n;
            self.stats.high_water.store(n as u64, Ordering::Relaxed);
        }
        n
    }

    /// True when the writer is gone and nothing is left.
    pub fn is_finished(&self) -> bool {
        self.ring.is_abandoned() && self.ring.is_empty()
    }

    /// The ring's numbers.
    pub fn stats(&self) -> &Arc<RingStats> {
        &self.stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_gives_the_item_back_and_counts_it() {
        let (mut tx, mut rx) = ring("test", 0, 2);
        assert_eq!(tx.push('a'), Ok(()));
        assert_eq!(tx.push('b'), Ok(()));
        assert_eq!(tx.push('c'), Err(Full('c')));
        assert_eq!(rx.backlog(), 2);
        assert_eq!(rx.pop(), Some('a'));
        assert_eq!(tx.push('c'), Ok(()));
        assert_eq!((rx.pop(), rx.pop(), rx.pop()), (Some('b'), Some('c'), None));
        assert_eq!(tx.stats().read(), RingReading { depth: 2, high_water: 2, overflows: 1 });
    }

    #[test]
    fn reserved_slots_are_refused_to_orders_and_given_to_cancels() {
        let (mut tx, _rx) = ring("test", 0, 4);
        assert_eq!(tx.push_keeping("order", 2), Ok(()));
        assert_eq!(tx.push_keeping("order", 2), Ok(()));
        assert_eq!(tx.push_keeping("order", 2), Err(Full("order")));
        assert_eq!(tx.push("cancel"), Ok(()));
        assert_eq!(tx.push("cancel"), Ok(()));
        assert_eq!(tx.push("cancel"), Err(Full("cancel")));
    }

    #[test]
    fn the_reader_knows_when_nothing_can_come() {
        let (mut tx, mut rx) = ring("test", 1, 2);
        tx.push(1).expect("room");
        assert_eq!(rx.stats().label(), "test.1");
        drop(tx);
        assert!(!rx.is_finished());
        assert_eq!(rx.pop(), Some(1));
        assert!(rx.is_finished());
    }
}
