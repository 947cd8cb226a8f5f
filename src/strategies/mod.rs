//! Step 4 of 9: the strategies, one file each, and the core that runs them.

pub mod baskets;
mod both;
pub mod pair;
#[cfg(test)]
mod tests;
pub mod touch;

use serde::{Deserialize, Serialize};

pub use baskets::{Baskets, BasketsParams};
pub use both::Both;
pub use pair::{Pair, PairParams};

use crate::{
    engine::{BadParam, Engine, limits::Limits},
    types::Universe,
};

/// The engine with every strategy that this build has.
pub type Core = Engine<Both>;

/// Everything that decides how the core behaves, besides its events. Part of the journal's first record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Limits.
    pub risk: Limits,
    /// Pair arbitrage.
    pub pair: PairParams,
    /// Baskets over the linked books of one match.
    pub baskets: BasketsParams,
}

impl Params {
    /// The same in a match that unfolds `speed` times as fast.
    #[must_use]
    pub fn compressed(self, speed: u32) -> Self {
        Self {
            risk: self.risk.compressed(speed),
            pair: self.pair.compressed(speed),
            baskets: self.baskets.compressed(speed),
        }
    }

    /// Every value that cannot be.
    pub fn validate(&self) -> Result<(), Vec<BadParam>> {
        let sections = [self.risk.validate(), self.pair.validate(), self.baskets.validate()];
        let bad: Vec<_> = sections.into_iter().filter_map(Result::err).flatten().collect();
        if bad.is_empty() { Ok(()) } else { Err(bad) }
    }
}

/// The strategies before their first event.
pub fn both(universe: &Universe, params: &Params) -> Both {
    let pair = Pair::new(params.pair.clone(), universe.markets.len());
    Both { pair, baskets: Baskets::new(params.baskets.clone(), universe) }
}

/// A core before its first event. Everything it will ever need is allocated here.
pub fn core(universe: &Universe, params: &Params) -> Core {
    Engine::new(universe, params.risk.clone(), both(universe, params))
}
