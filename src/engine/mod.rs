//! The pure core: one sequenced stream of events in, actions out.
//!
//! `Engine::on` runs steps 3 to 6 up to the signature. It is the sole writer of its state, and reads nothing else:
//! time, randomness and everything learnt arrive as events, so a recorded stream replays to the same actions and hash.

pub mod action;
pub mod book;
pub mod digest;
pub mod report;
pub mod risk;
pub mod sign;

use serde::{Deserialize, Serialize};

pub use action::Action;
pub use report::Report;
pub use risk::Approved;
pub use sign::Signed;

use crate::types::{Sequenced, Universe};

/// Most actions that one event can lead to. The engine asserts it; the hot tile's buffer has this room.
pub const ACTIONS_MAX: usize = 64;

/// What one event led to.
pub type Actions = heapless::Vec<Action, ACTIONS_MAX>;

/// Everything that decides how the engine behaves, besides its events. Part of the journal's first record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {}

/// A step of the core whose end can be stamped. The engine has no clock: whoever calls it brings the [`Probe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The event is in the books.
    Book,
    /// Strategies have said what they want.
    Decide,
    /// Risk has answered and the orders are complete but for their hash.
    Risk,
    /// The orders' hashes are known. Belongs to signing.
    Hash,
}

/// Told at the end of each step, so that a shell can time it. Replay passes `()`.
pub trait Probe {
    /// `step` just ended.
    fn mark(&mut self, step: Step);
}

impl Probe for () {
    #[inline(always)]
    fn mark(&mut self, _step: Step) {}
}

/// The core.
#[derive(Debug)]
pub struct Engine {}

impl Engine {
    /// An engine before its first event. Everything it will ever need is allocated here.
    pub fn new(_universe: &Universe, _params: &Params) -> Self {
        Self {}
    }

    /// Hears one event; appends what is to be done to `out`, which the caller has cleared.
    pub fn on<P: Probe>(&mut self, _event: &Sequenced, _probe: &mut P, _out: &mut Actions) {}

    /// A hash over every book level, order, ledger entry, truth and breaker.
    pub fn state_hash(&self) -> u64 {
        0
    }

    /// True once every market is resolved or a stop is complete: `Action::Finished` was asked for.
    pub fn finished(&self) -> bool {
        false
    }

    /// True if new orders are admitted now (readiness).
    pub fn admitting(&self) -> bool {
        false
    }

    /// What happened so far, for people and for `--summary`. Allocates; never called on the hot path.
    pub fn report(&self) -> Report {
        Report::default()
    }
}
