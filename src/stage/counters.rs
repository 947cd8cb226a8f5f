//! Every counter of the shells, declared once. Tiles count locally and publish in `housekeep`.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counters shared by all tiles of a run. Relaxed: they are read for people, never for decisions.
        #[derive(Debug, Default)]
        pub struct Counters { $($(#[$doc])* pub $name: AtomicU64),* }

        impl Counters {
            /// Every counter with its name, in the order of declaration.
            pub fn read(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.load(Ordering::Relaxed))),*]
            }
        }
    };
}

counters! {
    /// Market-channel messages read.
    market_messages,
    /// Market-channel messages that could not be parsed; each marks its book.
    market_malformed,
    /// Market-channel messages of a kind or token that we do not know.
    market_ignored,
    /// Market socket connections made after the first.
    market_reconnects,
    /// Market sockets replaced by fresh ones before they broke.
    market_replaced,
    /// Market messages given to the engine.
    market_forwarded,
    /// Market messages that were copies of what another socket had brought.
    market_duplicates,
    /// Market messages older than what was given to the engine, and therefore dropped.
    market_stale,
    /// Changes of books that had no snapshot yet, and were dropped.
    market_before_snapshot,
    /// Messages that one market socket skipped and another brought.
    feed_losses,
    /// Times that two market sockets contradicted each other about a book.
    feed_disputes,
    /// Market sockets taken out because they lied, lost too much or fell behind.
    feed_quarantined,
    /// Times that one market socket was frozen on a book while another was not.
    feed_line_freezes,
    /// Times that every market socket was frozen on a book.
    feed_freezes,
    /// Gaps in the stream of a book.
    feed_gaps,
    /// Book-time in nanoseconds without a usable stream, since each book's first snapshot.
    feed_gap_ns,
    /// The longest of these, in nanoseconds.
    feed_longest_gap_ns,
    /// Book-time in nanoseconds from the last word before every socket froze until the stream went on.
    feed_frozen_ns,
    /// The most that the first market socket was behind another, in nanoseconds.
    feed_lag_ns_0,
    /// The same of the second.
    feed_lag_ns_1,
    /// The same of the third.
    feed_lag_ns_2,
    /// The same of the fourth, which is there while one is replaced.
    feed_lag_ns_3,
    /// Questions about silent or doubtful books, asked over REST.
    witness_requests,
    /// Books compared with an answer.
    witness_answers,
    /// Answers that differed from the book.
    witness_mismatches,
    /// Answers that nobody can believe: older than the book, or the placeholder of a market that is not known.
    witness_ghosts,
    /// Dead letters that did not fit their ring.
    dead_letters_lost,
    /// User-channel messages read.
    user_messages,
    /// User-channel messages that could not be parsed.
    user_malformed,
    /// User-channel messages of a kind that we do not know.
    user_ignored,
    /// User socket connections made after the first.
    user_reconnects,
    /// Sports-channel messages read.
    sports_messages,
    /// Sports-channel messages that could not be parsed.
    sports_malformed,
    /// Sports socket connections made after the first.
    sports_reconnects,
    /// Orders handed to the gateway's ring.
    orders_handed,
    /// Orders refused because the gateway's ring was full.
    orders_refused_ring_full,
    /// Orders whose last byte left.
    orders_written,
    /// HTTP requests sent.
    http_requests,
    /// HTTP answers that could not be understood.
    http_malformed,
    /// Connections for orders made.
    gateway_connects,
    /// Orders that were approved and not written because the kill switch was on.
    orders_withheld,
    /// Times that orders waited because a limit of the venue's was near.
    orders_held_back,
    /// Answers by which the venue showed that we ask too much: refusals, warnings, delays.
    throttle_signals,
    /// Requests to cancel that were refused or not answered.
    cancels_failed,
    /// Orders that a cancel-all left over and that could not be cancelled one by one either.
    cancel_residue,
    /// Breakers opened.
    breaker_trips,
    /// Readings of the venue's account of us that were not whole.
    readings_incomplete,
    /// Records that did not fit the journal's ring.
    journal_lost,
    /// Records written.
    journal_records,
    /// Bytes written.
    journal_bytes,
    /// Latency samples that did not fit their ring.
    samples_lost,
}

/// Adds `n` to a counter.
#[inline]
pub fn add(counter: &AtomicU64, n: u64) {
    if n != 0 {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}
