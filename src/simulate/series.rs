//! Many matches of a family, each played twice: by the strategy, and by the baseline on a venue of its own.

use super::{
    course::{self, Course, Terms},
    crew,
    link::Link,
};
use crate::{
    scenario::family::Family,
    strategies::{Params, both, touch::Touch},
    types::Qty,
};

/// What is to be played.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Matches of each family; the n-th has the seed `seed` + n.
    pub matches: usize,
    /// Seed of the first match.
    pub seed: u64,
    /// What the market's and the match's feed are late by, beyond their own delay, in nanoseconds.
    pub feed_delay_ns: u64,
    /// Threads.
    pub jobs: usize,
    /// The engine's parameters. None of them knows the family.
    pub params: Params,
    /// As a run plays it: so many times as fast as life, over a loopback. For comparing the two.
    pub like_run: Option<u32>,
}

/// One match, by both.
#[derive(Clone, Debug)]
pub struct Played {
    /// Its seed.
    pub seed: u64,
    /// The strategies of a run.
    pub ours: Course,
    /// The baseline.
    pub touch: Course,
}

impl Settings {
    /// The terms of one match.
    pub fn terms(&self, family: &Family, seed: u64) -> Terms {
        let speed = self.like_run.unwrap_or(1);
        let link = if self.like_run.is_some() { Link::loopback() } else { Link::draw(seed) };
        let limits = self.params.clone().compressed(speed).risk;
        Terms { family: *family, seed, speed, link: link.later(self.feed_delay_ns), limits }
    }

    /// Plays one match by both.
    pub fn play(&self, family: &Family, seed: u64) -> Played {
        let terms = self.terms(family, seed);
        let params = self.params.clone().compressed(terms.speed);
        let (size, merge) = [params.pair.quote_shares, params.pair.merge_shares].map(|n| Qty::shares(n.into())).into();
        Played {
            seed,
            ours: course::play(&terms, |universe| both(universe, &params)),
            touch: course::play(&terms, |_| Touch { size, merge }),
        }
    }

    /// Plays every match of a family. `progress` hears how many are done; false gives up.
    pub fn family(&self, family: &Family, progress: impl FnMut(usize) -> bool) -> Option<Vec<Played>> {
        crew::each(self.matches, self.jobs, |n| self.play(family, self.seed.wrapping_add(n as u64)), progress)
    }
}
