//! A market as most tests need it: each test says only what is its own.

use super::{
    Account, Address, ConditionId, MarketSpec, Qty, TickSize, TokenId, Universe,
    fees::FeeSchedule,
    market::{Exchange, MarketKind, SignatureType},
};

/// A series without a hold, on cents, with the fee of esports.
pub(crate) fn market() -> MarketSpec {
    MarketSpec {
        condition: ConditionId([1; 32]),
        slug: "m".into(),
        tokens: [TokenId([1; 32]), TokenId([2; 32])],
        outcomes: ["A".into(), "B".into()],
        exchange: Exchange::V2,
        tick: TickSize::Cent,
        min_size: Qty::shares(5),
        fee: FeeSchedule { rate_ppm: 50_000 },
        rewards: None,
        hold_ms: 0,
        clear_on_start: false,
        game_start: None,
        kind: MarketKind::Series,
        of_match: None,
    }
}

/// These markets, traded from one plain account.
pub(crate) fn universe(markets: Vec<MarketSpec>) -> Universe {
    let owner = Address([1; 20]);
    let account = Account { owner, funder: owner, signature_type: SignatureType::Eoa };
    Universe { chain_id: 137, account, markets, matches: Vec::new() }
}
