//! The engine's numbers on their way to the cold tile: a small copy, published seldom, the latest one counts.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use crate::engine::report::{Brief, Detail};

/// What the hot tile publishes about the engine a few times a second, outside of the hot path.
/// Plain data of a fixed size: it is copied, never allocated.
#[derive(Clone, Debug, Default)]
pub struct Latest {
    /// The last event heard.
    pub seq: u64,
    /// The numbers that change all the time.
    pub brief: Brief,
    /// Holdings and open orders, one by one.
    pub detail: Detail,
}

/// A place for one value: writing replaces, reading takes, neither waits.
#[derive(Debug)]
pub struct Slot<T>(Arc<ArrayQueue<T>>);

impl<T> Slot<T> {
    /// An empty one.
    pub fn new() -> Self {
        Self(Arc::new(ArrayQueue::new(1)))
    }

    /// Puts a value in, in place of the one before.
    pub fn put(&self, value: T) {
        drop(self.0.force_push(value));
    }

    /// Takes the value out, if one was put since the last time.
    pub fn take(&self) -> Option<T> {
        self.0.pop()
    }
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_value_counts_and_is_taken_once() {
        let slot = Slot::new();
        let writer = slot.clone();
        assert_eq!(slot.take(), None);
        writer.put(1);
        writer.put(2);
        assert_eq!((slot.take(), slot.take()), (Some(2), None));
    }
}
