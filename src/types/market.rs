//! What is fixed about a run before the first event: its markets and its account.

use serde::{Deserialize, Serialize};

use super::{
    fees::FeeSchedule,
    ids::{Address, ConditionId, InstrumentIx, MarketIx, MatchIx, Outcome, TokenId},
    price::TickSize,
    qty::{Qty, Usdc},
    time::Nanos,
};

/// Which exchange contract a market trades on. Chosen per market, never globally.
/// Source: docs/PROTOCOL.md "exchange, domain version, token ids".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Exchange {
    /// Exchange V2, standard markets; domain version 2.
    V2,
    /// Exchange V2, negative-risk markets; domain version 2.
    V2NegRisk,
    /// Exchange V3, every `v2` market; domain version 3.
    V3,
}

/// How an account signs. The numbers are the wire's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignatureType {
    /// 0: the key's own address holds the funds.
    Eoa = 0,
    /// 1: a proxy wallet holds them.
    PolyProxy = 1,
    /// 2: a Safe holds them.
    PolyGnosisSafe = 2,
    /// 3: a deposit wallet holds them and checks the signature itself (ERC-1271 with ERC-7739 nesting).
    Poly1271 = 3,
}

impl SignatureType {
    /// The type of a wire number.
    pub const fn from_number(n: u8) -> Option<Self> {
        match n {
            0 => Some(Self::Eoa),
            1 => Some(Self::PolyProxy),
            2 => Some(Self::PolyGnosisSafe),
            3 => Some(Self::Poly1271),
            _ => None,
        }
    }
}

/// Who trades.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Address of the signing key.
    pub owner: Address,
    /// Address that holds the funds: the owner for type 0, a wallet otherwise.
    pub funder: Address,
    /// How it signs.
    pub signature_type: SignatureType,
}

impl Account {
    /// The `signer` field of its orders: the deposit wallet itself for type 3, the key's address otherwise.
    pub const fn signer(&self) -> Address {
        match self.signature_type {
            SignatureType::Poly1271 => self.funder,
            _ => self.owner,
        }
    }
}

/// What a market decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MarketKind {
    /// The winner of the series (`moneyline`).
    Series,
    /// The winner of one map, counted from 1 (`child_moneyline`).
    Map(u8),
    /// The winner of the series with maps added (`map_handicap`): the first outcome wins if its team's maps minus the
    /// other's plus the line are above zero. The line is in half maps, always odd: −3 is a handicap of −1.5.
    Handicap(i8),
    /// How many maps are played (`totals`): the first outcome is "over". The line is in half maps, always odd: 5 is
    /// 2.5.
    Total(u8),
    /// Anything whose payoff we do not model: it stands alone at its worst case.
    Other,
}

/// One of a match's two teams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Team {
    /// The first that the match names.
    First = 0,
    /// The second.
    Second = 1,
}

impl Team {
    /// The opponent.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// A market's place in a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InMatch {
    /// Which match.
    pub index: MatchIx,
    /// The team that the market's first outcome is about. The venue orders outcomes per market, not per match.
    /// Without meaning for totals: [`Team::First`].
    pub first: Team,
}

/// A match whose markets' payoffs are tied to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchSpec {
    /// Names it, for people and for the groups of the configuration: the slug of the venue's event.
    pub slug: String,
    /// Most maps that can be played: 1, 3 or 5.
    pub best_of: u8,
    /// Its two teams.
    pub teams: [String; 2],
    /// The tournament, where the venue says it; empty otherwise.
    pub tournament: String,
}

/// What the venue pays makers of a market, each day out of the market's pool, for orders that rest near the midpoint.
/// A maker's part depends on the orders of all others, so no amount follows from this: only what was paid is booked.
/// Source: docs/PROTOCOL.md "liquidity rewards"; tests/fixtures/samples/rest/clob_market_2026-10-16.json.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewards {
    /// The pool of one day: the sum of its rates. In whatever dollar asset each of them is paid, it counts as pUSD.
    pub daily: Usdc,
    /// Smallest order that counts.
    pub min_size: Qty,
    /// An order counts that is nearer to the midpoint than this, in units of 0.0001: 550 are the venue's 5.5 cents.
    pub max_spread_units: u16,
}

/// One binary market, as read from the venue at start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketSpec {
    /// Condition id.
    pub condition: ConditionId,
    /// Slug, for people.
    pub slug: String,
    /// Token of each outcome, in the venue's order.
    pub tokens: [TokenId; 2],
    /// Name of each outcome: team names in esports.
    pub outcomes: [String; 2],
    /// Contract and domain version.
    pub exchange: Exchange,
    /// Price grid at start; it can change.
    pub tick: TickSize,
    /// Smallest resting order.
    pub min_size: Qty,
    /// Taker fee.
    pub fee: FeeSchedule,
    /// What makers are paid, where they are.
    pub rewards: Option<Rewards>,
    /// How long marketable orders are held, in milliseconds of the venue's time.
    pub hold_ms: u32,
    /// True if the book is cleared at game start.
    pub clear_on_start: bool,
    /// Scheduled start, if any.
    pub game_start: Option<Nanos>,
    /// What it decides.
    pub kind: MarketKind,
    /// Its place in a match. `None`: it stands alone, at its worst case.
    pub of_match: Option<InMatch>,
}

/// Everything fixed about a run: written into the journal's first record, so that a replay needs nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Universe {
    /// Chain id: 137, or 80002 for the test net.
    pub chain_id: u64,
    /// Who trades.
    pub account: Account,
    /// The markets; a [`MarketIx`] indexes here.
    pub markets: Vec<MarketSpec>,
    /// The matches that they belong to; a [`MatchIx`] indexes here.
    pub matches: Vec<MatchSpec>,
}

impl Universe {
    /// The market at an index.
    #[inline]
    pub fn market(&self, m: MarketIx) -> &MarketSpec {
        &self.markets[m.ix()]
    }

    /// The token id of an instrument.
    #[inline]
    pub fn token(&self, i: InstrumentIx) -> TokenId {
        self.markets[i.market().ix()].tokens[i.outcome() as usize]
    }

    /// Finds a token. For start-up and parsing tables only: it compares every token.
    pub fn instrument_of(&self, token: &TokenId) -> Option<InstrumentIx> {
        self.markets.iter().enumerate().find_map(|(m, spec)| {
            let outcome = match spec.tokens.iter().position(|t| t == token)? {
                0 => Outcome::Yes,
                _ => Outcome::No,
            };
            Some(MarketIx(m as u16).instrument(outcome))
        })
    }

    /// Finds a market by condition id. For start-up and parsing tables only.
    pub fn market_of(&self, condition: &ConditionId) -> Option<MarketIx> {
        self.markets.iter().position(|m| m.condition == *condition).map(|m| MarketIx(m as u16))
    }

    /// Every market index.
    pub fn indices(&self) -> impl Iterator<Item = MarketIx> + use<> {
        (0..self.markets.len() as u16).map(MarketIx)
    }
}
