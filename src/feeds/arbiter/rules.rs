//! Step 2 of 9: how long the arbiter waits for what, and how often it forgives.

/// A second snapshot on a line may come this long after the first: the one asked for, after one that was on its way.
pub(super) const SECOND_SNAPSHOT_NS: u64 = 2_000_000_000;
/// Requests for a snapshot that may stay unanswered before the line is opened anew.
pub(super) const REQUESTS_MAX: u8 = 3;
/// What went wrong longer ago than this is forgiven.
pub(super) const FORGIVEN_NS: u64 = 60_000_000_000;
/// Messages that a line may skip within that time.
pub(super) const LOSSES_MAX: u32 = 8;
/// A line that was opened anew for a snapshot that never came waits this long before it tries again.
pub(super) const HOPELESS_NS: u64 = 30_000_000_000;
/// Questions about one book that may contradict without an end before all lines are asked anew.
pub(super) const DOUBT_ANSWERS_MAX: u8 = 5;
/// A doubt without an answer ends by asking all lines anew.
pub(super) const DOUBT_NS: u64 = 3_000_000_000;
/// Lines that were asked after a doubt must agree; asked again after this.
pub(super) const AGREE_AGAIN_NS: u64 = 500_000_000;
/// After a gap, a book older than the one before it is not believed for this long.
pub(super) const OLDER_NS: u64 = 10_000_000_000;
/// Urgent questions come this often.
pub(super) const URGENT_NS: u64 = 200_000_000;

/// Deadlines, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// A line that has not brought what another has for this long is frozen or lags.
    pub freeze_after_ns: u64,
    /// A line that brings something unknown while it is behind may still be vouched for by another for this long.
    pub dispute_after_ns: u64,
    /// A snapshot that has not come by then is asked for again.
    pub snapshot_after_ns: u64,
    /// A book of which no line said anything for this long is looked up elsewhere; 0 for never.
    pub witness_after_ns: u64,
    /// Another witness's word counts when it has stood uncontradicted for this long: a change may be in flight.
    pub witness_grace_ns: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            freeze_after_ns: 1_000_000_000,
            dispute_after_ns: 100_000_000,
            snapshot_after_ns: 5_000_000_000,
            witness_after_ns: 2_000_000_000,
            witness_grace_ns: 500_000_000,
        }
    }
}
