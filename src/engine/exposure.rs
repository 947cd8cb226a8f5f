//! The worst loss of each match, kept up as orders and fills come and go.
//!
//! For a match it is `E = −min over ω of [cash + Σ held·π(ω) + Σ min(0, s·(π(ω) − c) − fee)]`: ω runs over what the
//! match can still come to (`engine::lattice`), the last sum over every order that is or may be open, at its limit with
//! the worst fee, and over every fill that is not settled yet. Both count only where they hurt, so nothing that the
//! venue can do with them raises E: a fill, a part of one, a cancel, a failed or a confirmed settlement, a payout. Only
//! an order that we add can. E below zero is a gain that is locked.
//!
//! Where the rules can be read two ways, both readings are cases of their own. A market that the lattice does not know,
//! or the second of the same map, counts in its match at its own worst case: nothing is assumed about it.
//!
//! A merge needs no word here: a pair pays 1 in every case, and merged it is 1. Nor does a payout move anything but the
//! cases: what a market holds at its payout is cash.
//!
//! Money is in units of 10⁻¹⁰ pUSD, so all sums are exact; what is given out is rounded against us to the micro-pUSD. A
//! market's account has to stay within 7 200 000 pUSD either way (with 64 markets; all together then stay below half of
//! the 9.2e8 pUSD that 64 bits hold). Beyond that nothing wraps: every exposure is then [`UNMEASURED`], for good.

mod open;

pub use open::{Filled, Flow, Open, ROUNDING_MICRO};

use self::open::{ByPayoff, Fine, at, usdc};
use super::{
    MARKETS_MAX,
    digest::StateHasher,
    lattice::{Lattice, STATES_MAX, State},
};
use crate::types::{
    MarketIx, MatchIx, Universe, Usdc,
    event::Payout,
    market::{MarketKind, Team},
};

/// Groups that a match can be in: its tournament, its teams, one more.
pub const GROUPS_MAX: usize = 4;
/// The groups of one match.
pub type Groups = [Option<u16>; GROUPS_MAX];
/// The exposure of what cannot be measured: more than any limit.
pub const UNMEASURED: Usdc = Usdc(i64::MAX);

/// Cases are summed so many at a time.
const LANES: usize = 4;
/// Most cases of a match: its states, and once more those whose rules can be read two ways, which are the forfeits
/// (two for each of the 19 incomplete map sequences of a best of five).
const CASES_MAX: usize = (STATES_MAX + 2 * 19).next_multiple_of(LANES);
/// Markets of one match that are tied to each other, at most: two bits each name a case.
const TIED_MAX: usize = 64;

/// One market: what its account comes to, by what it pays.
#[derive(Debug)]
struct Market {
    joint: u16,
    kind: MarketKind,
    first: Team,
    /// In the cases of its match; otherwise it counts at its own worst.
    tied: bool,
    /// Cash, holdings, and what is open where it hurts, for each payoff of the first outcome.
    value: ByPayoff,
    /// Of that, what orders are.
    open: ByPayoff,
    /// What the purchases among these pay if all of them are filled.
    buys: Fine,
    payout: Option<Payout>,
    /// Its payoff in each case, in halves.
    pays: [u8; CASES_MAX],
}

impl Market {
    /// The least that it can come to by itself.
    fn least(&self) -> Fine {
        least_of(&self.value, self.payout)
    }
}

fn least_of(value: &ByPayoff, payout: Option<Payout>) -> Fine {
    match payout {
        Some(payout) => value[at(payout)],
        None => value[0].min(value[1]).min(value[2]),
    }
}

/// Markets that are measured as one: those of a match, or one that is in none.
#[derive(Debug)]
struct Joint {
    lattice: Option<Lattice>,
    markets: Vec<u16>,
    groups: Groups,
    /// Cases in use: a multiple of [`LANES`], the last ones repeating the first.
    cases: usize,
    /// What the tied markets come to together, by case.
    sums: [Fine; CASES_MAX],
    /// The least of the sums.
    least: Fine,
    /// What the others come to, each at its least.
    alone: Fine,
    contradicted: bool,
}

impl Joint {
    fn worst(&self) -> Fine {
        -(self.least + self.alone)
    }
}

/// What a payout told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing new.
    Known,
    /// What the match can come to is less than before, or the same.
    Agrees,
    /// No state of the match pays what its markets paid, or a market paid twice and differently. From now on each of
    /// its markets counts at its own worst; the exposure can be higher than before.
    Contradicts,
}

/// What one more order would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct After {
    /// Exposure of its market alone, as if nothing else of the match were held.
    pub market: Usdc,
    /// Exposure of its match, or of its market if that is in none.
    pub worst: Usdc,
    /// By how much the exposure above zero rises, there and in each group of it.
    pub rise: Usdc,
    /// Sum of the exposures above zero.
    pub total: Usdc,
}

impl After {
    const UNMEASURED: Self = Self { market: UNMEASURED, worst: UNMEASURED, rise: UNMEASURED, total: UNMEASURED };
}

/// The exposure of everything. Allocates when it is made, never after.
#[derive(Debug)]
pub struct Exposure {
    markets: Vec<Market>,
    /// The matches in the universe's order, then each market that is in none.
    joints: Vec<Joint>,
    /// What all open purchases pay if they are filled.
    committed: Fine,
    /// Sum of the exposures above zero.
    total: Fine,
    groups: Vec<Fine>,
    /// A market's account stays within this either way.
    range: Fine,
    unmeasured: bool,
}

impl Exposure {
    /// Nothing held, nothing open. `groups`: those of each match, in the universe's order; none for what is missing.
    pub fn new(universe: &Universe, groups: &[Groups]) -> Self {
        let joint = |lattice, groups| Joint {
            lattice,
            markets: Vec::new(),
            groups,
            cases: 0,
            sums: [0; CASES_MAX],
            least: 0,
            alone: 0,
            contradicted: false,
        };
        let groups_of = |ix: usize| groups.get(ix).copied().unwrap_or_default();
        let matches = universe.matches.iter().enumerate();
        let mut joints: Vec<_> = matches.map(|(ix, m)| joint(Lattice::new(m.best_of), groups_of(ix))).collect();
        let mut markets: Vec<Market> = Vec::with_capacity(universe.markets.len());
        for (ix, spec) in universe.markets.iter().enumerate() {
            let place = spec.of_match.filter(|place| place.index.ix() < universe.matches.len());
            let at = place.map_or(joints.len(), |place| place.index.ix());
            if place.is_none() {
                joints.push(joint(None, Groups::default()));
            }
            let of = &mut joints[at];
            // Of two markets on one map each may be settled by another reading of the rules: one is tied, one is not.
            let twin =
                |m: &&u16| matches!(spec.kind, MarketKind::Map(_)) && markets[usize::from(**m)].kind == spec.kind;
            let fits = of.lattice.as_ref().is_some_and(|lattice| lattice.fits(spec.kind));
            let tied = fits && of.markets.len() < TIED_MAX && !of.markets.iter().any(|m| twin(&m));
            of.markets.push(ix as u16);
            markets.push(Market {
                joint: at as u16,
                kind: spec.kind,
                first: place.map_or(Team::First, |place| place.first),
                tied,
                value: [0; 3],
                open: [0; 3],
                buys: 0,
                payout: None,
                pays: [0; CASES_MAX],
            });
        }
        let names = joints.iter().flat_map(|j| j.groups).flatten().max().map_or(0, |g| usize::from(g) + 1);
        let range = Fine::MAX / (2 * markets.len().max(MARKETS_MAX) as Fine);
        let mut made =
            Self { markets, joints, committed: 0, total: 0, groups: vec![0; names], range, unmeasured: false };
        (0..made.joints.len()).for_each(|ix| made.list_cases(ix));
        made
    }

    /// What of a market's orders is or may be open now, all of it: at their limits, counted where they hurt.
    pub fn open(&mut self, m: MarketIx, orders: impl Iterator<Item = Open>) {
        let harm = |(sum, buys): (ByPayoff, Fine), o: Open| {
            let harm = o.at_limit().harm();
            ([0, 1, 2].map(|p| sum[p].saturating_add(harm[p])), buys.saturating_add(o.pays()))
        };
        let (now, buys) = orders.fold(([0; 3], 0), harm);
        let market = &mut self.markets[m.ix()];
        let before = core::mem::replace(&mut market.open, now);
        let no_more = core::mem::replace(&mut market.buys, buys);
        self.committed = self.committed.saturating_sub(no_more).saturating_add(buys);
        if now != before {
            self.shift(m, [0, 1, 2].map(|p| now[p].saturating_sub(before[p])));
        }
    }

    /// A part of an order was matched. Until the settlement is final it counts where it hurts.
    pub fn filled(&mut self, flow: &Flow) {
        self.shift(flow.instrument().market(), flow.harm());
    }

    /// A fill that was counted whole is not settled yet after all: one of an earlier run.
    pub fn doubted(&mut self, flow: &Flow) {
        self.shift(flow.instrument().market(), flow.help().map(|d| -d));
    }

    /// The settlement of a fill is final.
    pub fn confirmed(&mut self, flow: &Flow) {
        self.shift(flow.instrument().market(), flow.help());
    }

    /// The settlement of a fill failed for good: it never was.
    pub fn failed(&mut self, flow: &Flow) {
        self.shift(flow.instrument().market(), flow.harm().map(|d| -d));
    }

    /// Shares and cash that are ours without a fill: of an earlier run, or by the venue's word.
    pub fn hold(&mut self, flow: &Flow) {
        self.shift(flow.instrument().market(), flow.gains());
    }

    /// A market was paid out: its match came to one of the cases in which it pays that.
    pub fn resolved(&mut self, m: MarketIx, payout: Payout) -> Told {
        let market = &mut self.markets[m.ix()];
        let before = market.payout.replace(payout);
        if before == Some(payout) {
            return Told::Known;
        }
        let ix = usize::from(market.joint);
        let joint = &mut self.joints[ix];
        let (counted, was_contradicted) = (joint.worst(), joint.contradicted);
        joint.contradicted |= before.is_some();
        self.list_cases(ix);
        self.count(ix, counted);
        let contradicted = before.is_some() || self.joints[ix].contradicted && !was_contradicted;
        if contradicted { Told::Contradicts } else { Told::Agrees }
    }

    /// The exposure of a match. Below zero: what is gained at least.
    pub fn of_match(&self, m: MatchIx) -> Usdc {
        self.of_joint(m.ix())
    }

    /// The exposure of a market's match, or of the market itself if it is in none.
    pub fn of_market(&self, m: MarketIx) -> Usdc {
        self.of_joint(usize::from(self.markets[m.ix()].joint))
    }

    fn of_joint(&self, ix: usize) -> Usdc {
        if self.unmeasured { UNMEASURED } else { usdc(self.joints[ix].worst()) }
    }

    /// Collateral that everything pays which is or may be open, at its limits, with the worst fees.
    pub fn committed(&self) -> Usdc {
        usdc(self.committed)
    }

    /// Sum of the exposures above zero.
    pub fn total(&self) -> Usdc {
        if self.unmeasured { UNMEASURED } else { usdc(self.total) }
    }

    /// What is over: the exposures of the matches whose every market was paid, which cannot change any more. Their sum,
    /// gains against losses, and what of [`Exposure::total`] they are.
    pub fn over(&self) -> (Usdc, Usdc) {
        let paid = |joint: &&Joint| joint.markets.iter().all(|m| self.markets[usize::from(*m)].payout.is_some());
        let each = self.joints.iter().filter(paid).map(Joint::worst);
        let (sum, above) = each.fold((0, 0), |(sum, above), worst| (sum + worst, above + worst.max(0)));
        if self.unmeasured { (UNMEASURED, Usdc::ZERO) } else { (usdc(sum), usdc(above)) }
    }

    /// The same over the matches of a group; nothing for one without matches.
    pub fn group(&self, group: u16) -> Usdc {
        let sum = self.groups.get(usize::from(group)).copied().unwrap_or(0);
        if self.unmeasured { UNMEASURED } else { usdc(sum) }
    }

    /// The groups that a market counts in.
    pub fn groups_of(&self, m: MarketIx) -> impl Iterator<Item = u16> + use<> {
        self.joints[usize::from(self.markets[m.ix()].joint)].groups.into_iter().flatten()
    }

    /// True if a match's payouts fit no state of it.
    pub fn contradicted(&self, m: MatchIx) -> bool {
        self.joints[m.ix()].contradicted
    }

    /// What one more order would do. Tens of nanoseconds, changes nothing.
    #[inline]
    pub fn after(&self, open: &Open) -> After {
        let market = &self.markets[open.instrument().market().ix()];
        let joint = &self.joints[usize::from(market.joint)];
        let harm = open.at_limit().harm();
        let Some(value) = self.within_range(&market.value, &harm).filter(|_| !self.unmeasured) else {
            return After::UNMEASURED;
        };
        let worst = if market.tied {
            -(least(&joint.sums[..joint.cases], &market.pays[..joint.cases], harm) + joint.alone)
        } else {
            joint.worst() + market.least() - least_of(&value, market.payout)
        };
        let rise = worst.max(0) - joint.worst().max(0);
        let market = -least_of(&value, market.payout);
        After { market: usdc(market), worst: usdc(worst), rise: usdc(rise), total: usdc(self.total + rise) }
    }

    /// Everything that decides, into the state hash.
    pub fn digest(&self, h: &mut StateHasher) {
        for market in &self.markets {
            market.value.iter().for_each(|v| h.i64(*v));
            h.u64(market.payout.map_or(3, |payout| at(payout) as u64));
        }
        self.joints.iter().for_each(|joint| h.u64(u64::from(joint.contradicted)));
        h.u64(u64::from(self.unmeasured));
    }

    fn within_range(&self, value: &ByPayoff, by: &ByPayoff) -> Option<ByPayoff> {
        let new = [0, 1, 2].map(|p| value[p].saturating_add(by[p]));
        let fine = |v: &Fine| (-self.range..=self.range).contains(v);
        (new.iter().all(fine) && by.iter().all(fine)).then_some(new)
    }

    /// Changes one market's account, and what follows from it.
    fn shift(&mut self, m: MarketIx, by: ByPayoff) {
        let Some(value) = self.within_range(&self.markets[m.ix()].value, &by) else {
            self.unmeasured = true;
            return;
        };
        let market = &mut self.markets[m.ix()];
        let before = market.least();
        market.value = value;
        let ix = usize::from(market.joint);
        let joint = &mut self.joints[ix];
        let counted = joint.worst();
        if market.tied {
            joint.least = move_sums(&mut joint.sums[..joint.cases], &market.pays[..joint.cases], by);
        } else {
            joint.alone += market.least() - before;
        }
        self.count(ix, counted);
    }

    /// Brings total and groups up to date after a change from `counted`.
    fn count(&mut self, ix: usize, counted: Fine) {
        let joint = &self.joints[ix];
        let rise = joint.worst().max(0) - counted.max(0);
        self.total += rise;
        for group in joint.groups.into_iter().flatten() {
            self.groups[usize::from(group)] += rise;
        }
    }

    /// Lists the cases that a match can still come to, and sums them up anew. States in which all its markets pay the
    /// same are one case: a forfeited map that counts as won is also the forfeit of the map after it. If none is left
    /// the match is contradicted, and its markets are not tied any more.
    fn list_cases(&mut self, ix: usize) {
        let joint = &mut self.joints[ix];
        let mut names = [0_u128; CASES_MAX];
        let mut cases = 0;
        if let Some(lattice) = joint.lattice.as_ref().filter(|_| !joint.contradicted) {
            for (state, second) in lattice.states().iter().flat_map(|state| [(state, false), (state, true)]) {
                let name = name_of(lattice, *state, second, &joint.markets, &self.markets);
                if let Some(name) = name.filter(|name| !names[..cases].contains(name)) {
                    names[cases] = name;
                    cases += 1;
                }
            }
        }
        joint.contradicted |= cases == 0 && joint.lattice.is_some();
        // Repeated until full lanes are there: a case twice changes no minimum.
        joint.cases = cases.next_multiple_of(LANES);
        let first = names[0];
        names[cases..joint.cases].fill(first);
        joint.sums = [0; CASES_MAX];
        joint.alone = 0;
        for (n, m) in joint.markets.iter().enumerate() {
            let market = &mut self.markets[usize::from(*m)];
            market.tied &= cases > 0;
            if market.tied {
                let each = market.pays.iter_mut().zip(&mut joint.sums).zip(&names[..joint.cases]);
                each.for_each(|((pays, sum), name)| {
                    *pays = (name >> (2 * n)) as u8 & 3;
                    *sum += market.value[usize::from(*pays)];
                });
            } else {
                joint.alone += market.least();
            }
        }
        joint.least = joint.sums[..joint.cases].iter().copied().min().unwrap_or(0);
    }
}

/// The name of a case: what each tied market of a match pays in it, two bits each. `None` if one of them has paid
/// something else.
fn name_of(lattice: &Lattice, state: State, second: bool, of: &[u16], markets: &[Market]) -> Option<u128> {
    let mut name = 0;
    for (n, market) in of.iter().map(|m| &markets[usize::from(*m)]).enumerate().filter(|(_, market)| market.tied) {
        let pays = lattice.payoff(state, market.kind, market.first)?.read(second);
        if market.payout.is_some_and(|payout| at(payout) != usize::from(pays)) {
            return None;
        }
        name |= u128::from(pays) << (2 * n);
    }
    Some(name)
}

/// The least sum when one market's account changes by so much.
#[inline]
fn least(sums: &[Fine], pays: &[u8], by: ByPayoff) -> Fine {
    let by = [by[0], by[1], by[2], 0];
    let mut least = [Fine::MAX; LANES];
    let (sums, _) = sums.as_chunks::<LANES>();
    let (pays, _) = pays.as_chunks::<LANES>();
    for (sums, pays) in sums.iter().zip(pays) {
        for lane in 0..LANES {
            least[lane] = least[lane].min(sums[lane] + by[usize::from(pays[lane] & 3)]);
        }
    }
    least.into_iter().min().unwrap_or(0)
}

/// Changes the sums by one market's account, and gives the least.
fn move_sums(sums: &mut [Fine], pays: &[u8], by: ByPayoff) -> Fine {
    let by = [by[0], by[1], by[2], 0];
    let mut least = [Fine::MAX; LANES];
    let (sums, _) = sums.as_chunks_mut::<LANES>();
    let (pays, _) = pays.as_chunks::<LANES>();
    for (sums, pays) in sums.iter_mut().zip(pays) {
        for lane in 0..LANES {
            sums[lane] += by[usize::from(pays[lane] & 3)];
            least[lane] = least[lane].min(sums[lane]);
        }
    }
    least.into_iter().min().unwrap_or(0)
}
