//! What a match can come to, and what every token of it pays then.
//!
//! The states of a match are its complete map sequences, and for every incomplete one three ways to end there: it is
//! abandoned (cancelled, or not finished within a week), or forfeited to either team. That makes 5 states for a best of
//! one, 21 for a best of three, 77 for a best of five. A token pays 0, ½ or 1 in each, and where the venue's rules can
//! be read two ways, both readings stand: whoever measures a loss takes the worse.
//! Source: docs/PROTOCOL.md "resolution".

#[cfg(test)]
mod tests;

use core::fmt;

use crate::types::{
    event::Payout,
    market::{MarketKind, Team},
};

/// Most states of a match: those of a best of five.
pub const STATES_MAX: usize = 77;

/// How many states a match has, by the most maps that can be played.
pub const COUNTS: [(u8, usize); 3] = [(1, 5), (3, 21), (5, STATES_MAX)];

/// Maps that were played, in order, and who won each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Maps {
    played: u8,
    /// Bit n − 1: the second team won map n.
    second: u8,
}

impl Maps {
    /// None yet.
    pub const NONE: Self = Self { played: 0, second: 0 };
    /// Most that are kept: more than any match has.
    pub const MAX: u8 = 8;

    /// These and one more. Beyond [`Maps::MAX`] nothing is added.
    #[must_use]
    pub const fn and(self, winner: Team) -> Self {
        if self.played >= Self::MAX {
            return self;
        }
        Self { played: self.played + 1, second: self.second | (winner as u8) << self.played }
    }

    /// How many.
    pub const fn played(self) -> u8 {
        self.played
    }

    /// Who won map `n`, counted from 1; `None` if it was not played.
    pub const fn winner(self, n: u8) -> Option<Team> {
        if n == 0 || n > self.played {
            None
        } else if self.second >> (n - 1) & 1 == 0 {
            Some(Team::First)
        } else {
            Some(Team::Second)
        }
    }

    /// How many a team won.
    pub const fn won(self, team: Team) -> u8 {
        let second = self.second.count_ones() as u8;
        match team {
            Team::First => self.played - second,
            Team::Second => second,
        }
    }

    /// True if these began with those.
    pub const fn began_with(self, those: Self) -> bool {
        self.played >= those.played && (self.second ^ those.second) as u16 & ((1 << those.played) - 1) == 0
    }
}

/// How a match ended after the maps that were played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// One team has the maps that it needed.
    Complete,
    /// Cancelled, or not finished within a week.
    Abandoned,
    /// Begun, and given to this team before it was over. A forfeit before the start pays what an abandoned match
    /// without maps pays.
    Forfeit(Team),
}

/// One thing that a match can come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The maps that were played.
    pub prefix: Maps,
    /// How it ended then.
    pub end: End,
}

impl fmt::Display for State {
    /// The winner of each map as A or B, and how it ended: `ABA`, `AB abandoned`, `A forfeit to B`, `nil abandoned`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = |team| if team == Team::First { "A" } else { "B" };
        if self.prefix.played == 0 {
            f.write_str("nil")?;
        }
        (1..=self.prefix.played)
            .filter_map(|n| self.prefix.winner(n))
            .try_for_each(|team| f.write_str(letter(team)))?;
        match self.end {
            End::Complete => Ok(()),
            End::Abandoned => f.write_str(" abandoned"),
            End::Forfeit(to) => write!(f, " forfeit to {}", letter(to)),
        }
    }
}

/// What the token of a market's first outcome pays, in halves of a pUSD: 0, 1 or 2. The second's pays two minus it, so
/// a pair always pays exactly 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pays {
    /// The rules leave no doubt.
    Sure(u8),
    /// They can be read two ways.
    Either(u8, u8),
}

impl Pays {
    /// One half each.
    pub const HALF: Self = Self::Sure(1);

    const fn won_by_first(won: bool) -> Self {
        Self::Sure(if won { 2 } else { 0 })
    }

    /// Halves under one of the two readings: `second` false or true. Where there is no doubt both are the same.
    pub const fn read(self, second: bool) -> u8 {
        match self {
            Self::Sure(halves) => halves,
            Self::Either(a, b) => {
                if second {
                    b
                } else {
                    a
                }
            }
        }
    }

    /// True if a market may have paid this.
    pub const fn allows(self, payout: Payout) -> bool {
        let halves = halves(payout);
        self.read(false) == halves || self.read(true) == halves
    }
}

/// What the first outcome's token pays, in halves.
pub const fn halves(payout: Payout) -> u8 {
    match payout {
        Payout::Yes => 2,
        Payout::Half => 1,
        Payout::No => 0,
    }
}

/// The payout of so many halves to the first outcome.
const fn payout(halves: u8) -> Payout {
    match halves {
        0 => Payout::No,
        1 => Payout::Half,
        _ => Payout::Yes,
    }
}

/// A set of states of one lattice: bit n is the state at index n.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct States(pub u128);

impl States {
    /// No state.
    pub const NONE: Self = Self(0);

    /// How many.
    pub const fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    /// True for the empty set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// True if the state at an index is in it.
    pub const fn has(self, index: usize) -> bool {
        index < 128 && self.0 >> index & 1 == 1
    }

    /// With the state at an index, which is below 128.
    #[must_use]
    pub const fn with(self, index: usize) -> Self {
        Self(self.0 | 1 << index)
    }

    /// The states that are in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// Every state of a match, in an order that never changes: map sequences from short to long, at each map the first
/// team's win before the second's; an incomplete sequence stands as abandoned, forfeited to the first team, forfeited
/// to the second.
#[derive(Clone, Debug)]
pub struct Lattice {
    best_of: u8,
    states: heapless::Vec<State, STATES_MAX>,
}

impl Lattice {
    /// The lattice of a best of 1, 3 or 5; `None` for anything else.
    pub fn new(best_of: u8) -> Option<Self> {
        let (_, count) = COUNTS.into_iter().find(|(n, _)| *n == best_of)?;
        let mut lattice = Self { best_of, states: heapless::Vec::new() };
        for played in 0..=best_of {
            // The winners of the maps as a number, the first map its highest digit.
            for winners in 0..1_u8 << played {
                let digit = |n: u8| if winners >> (played - n) & 1 == 0 { Team::First } else { Team::Second };
                lattice.add((1..=played).map(digit));
            }
        }
        debug_assert_eq!(lattice.states.len(), count);
        Some(lattice)
    }

    /// Adds the states of one map sequence, unless it went on after the match was over.
    fn add(&mut self, winners: impl Iterator<Item = Team>) {
        let mut prefix = Maps::NONE;
        for winner in winners {
            if self.winner(prefix).is_some() {
                return;
            }
            prefix = prefix.and(winner);
        }
        let ends: &[End] = match self.winner(prefix) {
            Some(_) => &[End::Complete],
            None => &[End::Abandoned, End::Forfeit(Team::First), End::Forfeit(Team::Second)],
        };
        // There is room for every count of the table.
        self.states.extend(ends.iter().map(|&end| State { prefix, end }));
    }

    /// Most maps that can be played.
    pub const fn best_of(&self) -> u8 {
        self.best_of
    }

    /// Maps that win the match.
    pub const fn needed(&self) -> u8 {
        self.best_of / 2 + 1
    }

    /// Every state, in the order of the lattice.
    pub fn states(&self) -> &[State] {
        &self.states
    }

    /// All states as a set.
    pub fn all(&self) -> States {
        self.those(|_| true)
    }

    fn those(&self, wanted: impl Fn(State) -> bool) -> States {
        let chosen = self.states.iter().enumerate().filter(|(_, state)| wanted(**state));
        chosen.fold(States::NONE, |set, (index, _)| set.with(index))
    }

    /// Who has the maps that win the match, if anybody.
    pub fn winner(&self, maps: Maps) -> Option<Team> {
        [Team::First, Team::Second].into_iter().find(|&team| maps.won(team) >= self.needed())
    }

    /// True if a market of this kind can belong to the match: the map can be played, the line can go either way.
    pub const fn fits(&self, kind: MarketKind) -> bool {
        match kind {
            MarketKind::Series => true,
            MarketKind::Map(n) => n >= 1 && n <= self.best_of,
            // Differences of maps are whole numbers up to those that win; a line of whole maps could tie.
            MarketKind::Handicap(line) => line % 2 != 0 && line.unsigned_abs() < 2 * self.needed(),
            MarketKind::Total(line) => line % 2 != 0 && line > 2 * self.needed() && line < 2 * self.best_of,
            MarketKind::Other => false,
        }
    }

    /// What the token of a market's first outcome pays in a state of this lattice. `first`: the team that outcome is
    /// about; without meaning for totals. `None` for a market that does not fit.
    pub fn payoff(&self, state: State, kind: MarketKind, first: Team) -> Option<Pays> {
        if !self.fits(kind) {
            return None;
        }
        let State { prefix, end } = state;
        let won_by = |winner: Team| Pays::won_by_first(winner == first);
        if let MarketKind::Map(n) = kind {
            // A map that was played keeps its winner whatever follows; one that was never played is half each.
            return Some(match (prefix.winner(n), end) {
                (Some(winner), _) => won_by(winner),
                // Begun, the forfeit decides it; not begun, it was never played. Nobody can tell beforehand which.
                (None, End::Forfeit(to)) if n == prefix.played() + 1 => Pays::Either(won_by(to).read(false), 1),
                (None, _) => Pays::HALF,
            });
        }
        let awarded = match end {
            End::Abandoned => return Some(Pays::HALF),
            End::Complete => 0,
            End::Forfeit(to) => self.needed() - prefix.won(to),
        };
        let score = |team: Team| prefix.won(team) + if end == End::Forfeit(team) { awarded } else { 0 };
        let (mine, other) = (score(first), score(first.other()));
        Some(Pays::won_by_first(match kind {
            MarketKind::Handicap(line) => 2 * (i16::from(mine) - i16::from(other)) + i16::from(line) > 0,
            MarketKind::Total(line) => 2 * (mine + other) > line,
            _ => mine > other,
        }))
    }

    /// The states in which a market may pay this. A market that does not fit says nothing: all of them.
    pub fn consistent_with(&self, kind: MarketKind, first: Team, payout: Payout) -> States {
        self.those(|state| self.payoff(state, kind, first).is_none_or(|pays| pays.allows(payout)))
    }

    /// The states that a match can still come to after these maps.
    pub fn reachable_from(&self, prefix: Maps) -> States {
        self.those(|state| state.prefix.began_with(prefix))
    }

    /// What a market pays, if it pays the same in every state of a set, however the rules are read. `None` as well for
    /// an empty set and a market that does not fit.
    pub fn decided(&self, kind: MarketKind, first: Team, among: States) -> Option<Payout> {
        let mut one = None;
        for (_, state) in self.states.iter().enumerate().filter(|(index, _)| among.has(*index)) {
            match (self.payoff(*state, kind, first)?, one) {
                (Pays::Sure(halves), None) => one = Some(halves),
                (Pays::Sure(halves), Some(known)) if halves == known => {}
                _ => return None,
            }
        }
        one.map(payout)
    }
}
