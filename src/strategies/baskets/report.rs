//! Baskets that appeared, for people. Everything here allocates and is never called on the hot path.

use super::{
    Baskets, Linked,
    seen::{self, Reason},
};
use crate::types::{InstrumentIx, MatchIx, Universe};

/// Baskets that are told of at the end, the best first.
const REMARKS_MAX: usize = 5;

/// One basket that appeared, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The match.
    pub of: MatchIx,
    /// Its tokens.
    pub tokens: Vec<InstrumentIx>,
    /// What was seen of it.
    pub row: seen::Row,
}

impl Baskets {
    /// Every basket that appeared, the best first. Allocates; never called on the hot path.
    pub fn report(&self) -> Vec<Line> {
        let line = |m: &Linked, row: &seen::Row| {
            let tokens = m.finder.tokens_of(row.candidate).collect();
            Line { of: m.index, tokens, row: *row }
        };
        let mut lines: Vec<_> = self.matches.iter().flat_map(|m| m.seen.rows().iter().map(|r| line(m, r))).collect();
        lines.sort_by_key(|l| core::cmp::Reverse(l.row.best_ppm));
        lines
    }

    /// Appearances that found no row.
    pub fn unrecorded(&self) -> u64 {
        self.matches.iter().map(|m| m.seen.lost()).sum()
    }

    /// What there is to say of the match's baskets, a sentence each.
    pub(super) fn sentences(&self, universe: &Universe) -> Vec<String> {
        let name = |i: &InstrumentIx| {
            let spec = universe.market(i.market());
            format!("{} of {}", spec.outcomes[i.outcome() as usize], spec.slug)
        };
        let said = |line: &Line| {
            let legs: Vec<_> = line.tokens.iter().map(name).collect();
            let reasons = Reason::ALL.iter().map(|r| (r.as_str(), line.row.not_taken[*r as usize]));
            let reasons: Vec<_> = reasons.filter(|(_, n)| *n > 0).map(|(r, n)| format!("{r} {n}")).collect();
            let not = if reasons.is_empty() { String::new() } else { format!(", not taken: {}", reasons.join(", ")) };
            let (taken, best, ppm) = (line.row.taken, line.row.best, line.row.best_ppm);
            let quoted = match line.row.quoted {
                0 => String::new(),
                n => format!(", bid for {n}"),
            };
            format!("basket {}: taken {taken}{quoted}{not}; at best {best} pUSD, {ppm} ppm a share", legs.join(" + "))
        };
        let lines = self.report();
        if lines.is_empty() {
            let watched: usize = self.matches.iter().map(|m| m.finder.candidates()).sum();
            let none = (watched > 0).then(|| format!("no basket appeared; {watched} combinations were watched"));
            return none.into_iter().collect();
        }
        lines.iter().take(REMARKS_MAX).map(said).collect()
    }
}
