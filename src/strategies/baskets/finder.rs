//! Which tokens of a match, bought together, cannot pay less than some sum however it is played out.
//!
//! A basket is two or three tokens, each of another market, as many shares of each. Every combination is weighed once,
//! at construction: for each number of halves, the set of states in which it pays less. What a basket is worth then
//! follows from what the match can still come to by a few bit operations, so that a basket that only holds after some
//! maps ("at one map each, series and deciding map are the same") needs no list of its own.
//!
//! The bound: with at most [`TIED_MAX`] markets of one match, 480 pairs and 4 480 triples.

use crate::{
    engine::lattice::{End, Lattice, Maps, States},
    types::{
        InstrumentIx, MarketIx, Team, Universe,
        event::Payout,
        ids::{MatchIx, Outcome},
        market::MarketKind,
    },
};

/// Markets of one match that are looked at; further ones stand alone.
pub const TIED_MAX: usize = 16;
/// Tokens of one basket.
pub const LEGS_MAX: usize = 3;
/// The most that a basket can pay, in halves.
const HALVES_MAX: usize = 2 * LEGS_MAX;
/// Least that is worth a basket: one pUSD, in halves.
const LEAST: u8 = 2;

/// By n: the states in which something pays less than n + 1 halves, read the worse way.
type Below<const N: usize> = [States; N];

/// The least that is paid in a set of states, in halves.
fn least<const N: usize>(below: &Below<N>, among: States) -> u8 {
    below.iter().take_while(|states| states.and(among).is_empty()).count() as u8
}

/// One market of the match.
#[derive(Clone, Copy, Debug)]
pub struct Tied {
    /// Which.
    pub market: MarketIx,
    /// What it decides.
    pub kind: MarketKind,
    /// The team that its first outcome is about.
    pub first: Team,
}

/// Tokens that may make a basket, in the order of the match's markets. Two-legged ones end in the token that is none.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    tokens: [u8; LEGS_MAX],
    below: Below<HALVES_MAX>,
}

/// A basket that holds in every state that the match can still come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Basket {
    /// Which combination it is: the same number for the whole run.
    pub candidate: u16,
    /// Its tokens, by their numbers in [`Finder::token`]; [`Finder::none`] fills up.
    pub tokens: [u8; LEGS_MAX],
    /// What one share of each pays at least if the match completes, in halves.
    pub worst: u8,
    /// What it pays at least however the match ends, abandoned and forfeited included, in halves.
    pub worst_of_all: u8,
    /// It pays the same in every state that completes.
    pub exact: bool,
}

impl Basket {
    /// By how much an incomplete match may fall short of the worst complete one, in halves.
    pub const fn short(&self) -> u8 {
        self.worst - self.worst_of_all
    }
}

/// What is known of a match beyond its rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// What markets paid, by their place in the match.
    pub payouts: heapless::Vec<Option<Payout>, TIED_MAX>,
    /// Maps won by the first and by the second team, where that is certain.
    pub score: Option<[u8; 2]>,
}

/// Every combination of one match's tokens, and those that hold now.
#[derive(Debug)]
pub struct Finder {
    lattice: Lattice,
    markets: heapless::Vec<Tied, TIED_MAX>,
    complete: States,
    singles: Box<[Below<2>]>,
    pairs: Box<[Below<4>]>,
    candidates: Box<[Candidate]>,
    possible: States,
    /// Those that hold, in the order of the candidates. Never grows beyond them.
    baskets: Vec<Basket>,
    /// Numbers in `baskets`, token by token; those of token t begin at `starts[t]`.
    of: Vec<u16>,
    starts: [u16; 2 * TIED_MAX + 1],
}

impl Finder {
    /// All combinations of a match's tokens; nothing is known of it yet. `None` if the match has no lattice, or fewer
    /// than two markets.
    pub fn new(universe: &Universe, index: MatchIx) -> Option<Self> {
        let lattice = Lattice::new(universe.matches.get(index.ix())?.best_of)?;
        let tied = |m: MarketIx| {
            let spec = universe.market(m);
            let place = spec.of_match.filter(|place| place.index == index)?;
            lattice.fits(spec.kind).then_some(Tied { market: m, kind: spec.kind, first: place.first })
        };
        let markets: heapless::Vec<Tied, TIED_MAX> = universe.indices().filter_map(tied).take(TIED_MAX).collect();
        if markets.len() < 2 {
            return None;
        }
        Some(Self::over(lattice, markets))
    }

    /// The same over a lattice and markets that fit it.
    pub fn over(lattice: Lattice, markets: heapless::Vec<Tied, TIED_MAX>) -> Self {
        let tokens = 2 * markets.len();
        let halves = |token: usize, state: usize, second: bool| -> u8 {
            let Tied { kind, first, .. } = markets[token / 2];
            let pays = lattice.states().get(state).and_then(|s| lattice.payoff(*s, kind, first));
            let yes = pays.map_or(0, |p| p.read(second));
            if token.is_multiple_of(2) { yes } else { 2 - yes }
        };
        let worst = |chosen: &[usize], state: usize| -> u8 {
            let read = |second| chosen.iter().map(|t| halves(*t, state, second)).sum::<u8>();
            read(false).min(read(true))
        };
        let states = lattice.states().len();
        let singles = (0..tokens).map(|a| below(states, |s| worst(&[a], s))).collect();
        let mut pairs = vec![[States::NONE; 4]; tokens * tokens].into_boxed_slice();
        let mut candidates = Vec::new();
        let none = tokens as u8;
        for a in 0..tokens {
            for b in (a + 2 - a % 2)..tokens {
                pairs[a * tokens + b] = below(states, |s| worst(&[a, b], s));
                let below_both = below(states, |s| worst(&[a, b], s));
                candidates.push(Candidate { tokens: [a as u8, b as u8, none], below: below_both });
            }
        }
        for a in 0..tokens {
            for b in (a + 2 - a % 2)..tokens {
                for c in (b + 2 - b % 2)..tokens {
                    let below_all = below(states, |s| worst(&[a, b, c], s));
                    candidates.push(Candidate { tokens: [a as u8, b as u8, c as u8], below: below_all });
                }
            }
        }
        let ends = lattice.states().iter().enumerate().filter(|(_, s)| s.end == End::Complete);
        let complete = ends.fold(States::NONE, |set, (n, _)| set.with(n));
        let mut finder = Self {
            complete,
            singles,
            pairs,
            baskets: Vec::with_capacity(candidates.len()),
            of: Vec::with_capacity(LEGS_MAX * candidates.len()),
            candidates: candidates.into_boxed_slice(),
            possible: States::NONE,
            starts: [0; 2 * TIED_MAX + 1],
            markets,
            lattice,
        };
        finder.suppose(finder.lattice.all());
        finder
    }

    /// The match's markets; tokens 2n and 2n + 1 are those of market n.
    pub fn markets(&self) -> &[Tied] {
        &self.markets
    }

    /// The instrument of a token; `None` for the token that is none.
    #[inline]
    pub fn token(&self, token: u8) -> Option<InstrumentIx> {
        let outcome = if token.is_multiple_of(2) { Outcome::Yes } else { Outcome::No };
        Some(self.markets.get(usize::from(token / 2))?.market.instrument(outcome))
    }

    /// The number that stands for no token.
    pub fn none(&self) -> u8 {
        2 * self.markets.len() as u8
    }

    /// Combinations that there are.
    pub fn candidates(&self) -> usize {
        self.candidates.len()
    }

    /// The tokens of a combination.
    pub fn tokens_of(&self, candidate: u16) -> impl Iterator<Item = InstrumentIx> + '_ {
        let tokens = self.candidates.get(usize::from(candidate)).map_or([self.none(); LEGS_MAX], |c| c.tokens);
        tokens.into_iter().filter_map(|t| self.token(t))
    }

    /// The rules of the match.
    pub fn lattice(&self) -> &Lattice {
        &self.lattice
    }

    /// The states that the match can come to, as far as is known.
    pub fn possible(&self) -> States {
        self.possible
    }

    /// Every basket that holds.
    #[inline]
    pub fn baskets(&self) -> &[Basket] {
        &self.baskets
    }

    /// Numbers in [`Finder::baskets`] of those that one token is in.
    #[inline]
    pub fn of(&self, token: u8) -> &[u16] {
        let at = |n: usize| self.starts.get(n).map_or(0, |at| usize::from(*at));
        self.of.get(at(usize::from(token))..at(usize::from(token) + 1)).unwrap_or_default()
    }

    /// The states that agree with what is known. Contradictions leave none, and nothing holds.
    pub fn consistent(&self, known: &Known) -> States {
        let mut states = self.lattice.all();
        for (tied, payout) in self.markets.iter().zip(&known.payouts) {
            if let Some(payout) = payout {
                states = states.and(self.lattice.consistent_with(tied.kind, tied.first, *payout));
            }
        }
        let Some([first, second]) = known.score else { return states };
        let with_score = |played: Maps| {
            let began = (1..=first.saturating_add(second)).filter_map(|n| played.winner(n)).fold(Maps::NONE, Maps::and);
            [began.won(Team::First), began.won(Team::Second)] == [first, second]
        };
        let those = self.lattice.states().iter().enumerate().filter(|(_, s)| with_score(s.prefix));
        states.and(those.fold(States::NONE, |set, (n, _)| set.with(n)))
    }

    /// Finds anew what holds if the match can come to these states. No allocation; some ten microseconds.
    pub fn suppose(&mut self, possible: States) {
        self.possible = possible;
        self.baskets.clear();
        let tokens = 2 * self.markets.len();
        let complete = possible.and(self.complete);
        if !complete.is_empty() {
            for (n, candidate) in self.candidates.iter().enumerate() {
                let worst = least(&candidate.below, complete);
                if worst >= LEAST && !self.is_made_of_less(&candidate.tokens, worst, complete) {
                    let more = candidate.below.get(usize::from(worst)).map_or(States::NONE, |below| *below);
                    self.baskets.push(Basket {
                        candidate: n as u16,
                        tokens: candidate.tokens,
                        worst,
                        worst_of_all: least(&candidate.below, possible).min(worst),
                        exact: more.and(complete) == complete,
                    });
                }
            }
        }
        self.of.clear();
        for token in 0..tokens {
            let with = |b: &Basket| b.tokens.iter().any(|t| usize::from(*t) == token);
            self.of.extend((0..).zip(&self.baskets).filter(|(_, b)| with(b)).map(|(n, _)| n));
            self.starts[token + 1] = self.of.len() as u16;
        }
    }

    /// True if its parts, each by itself, pay as much at least: then it is those, and nothing of its own. A basket
    /// with a dominating subset is made of that and of tokens that add nothing.
    fn is_made_of_less(&self, tokens: &[u8; LEGS_MAX], worst: u8, among: States) -> bool {
        let [a, b, c] = tokens.map(usize::from);
        let width = 2 * self.markets.len();
        let single = |t: usize| self.singles.get(t).map_or(0, |below| least(below, among));
        let pair = |t: usize, u: usize| self.pairs.get(t * width + u).map_or(0, |below| least(below, among));
        if c >= width {
            return single(a) + single(b) >= worst;
        }
        pair(a, b) + single(c) >= worst || pair(a, c) + single(b) >= worst || pair(b, c) + single(a) >= worst
    }
}

/// For each number of halves the states in which less is paid.
fn below<const N: usize>(states: usize, pays: impl Fn(usize) -> u8) -> Below<N> {
    core::array::from_fn(|halves| {
        (0..states).filter(|s| usize::from(pays(*s)) <= halves).fold(States::NONE, States::with)
    })
}
