//! A market as most tests need it: each test says only what is its own.
#![allow(dead_code, reason = "each test binary uses its part")]

use polyloly_fast::types::{
    Account, Address, ConditionId, MarketSpec, Qty, TickSize, TokenId, Universe,
    fees::FeeSchedule,
    market::{Exchange, MarketKind, SignatureType},
};

/// A series on cents, with the fee and the hold of esports.
pub fn market() -> MarketSpec {
    MarketSpec {
        condition: ConditionId([7; 32]),
        slug: "lol-aw-bf-2026-11-23".into(),
        tokens: [TokenId([1; 32]), TokenId([2; 32])],
        outcomes: ["Alpha Wolves".into(), "Beta Foxes".into()],
        exchange: Exchange::V2,
        tick: TickSize::Cent,
        min_size: Qty::shares(5),
        fee: FeeSchedule { rate_ppm: 50_000 },
        rewards: None,
        hold_ms: 1_000,
        clear_on_start: true,
        game_start: None,
        kind: MarketKind::Series,
        of_match: None,
    }
}

/// The market of these ids, as messages write them: condition in hex, tokens in decimal. No fee, no hold.
pub fn named(condition: &str, tokens: [&str; 2]) -> MarketSpec {
    MarketSpec {
        condition: ConditionId::parse(condition.as_bytes()).expect("hex"),
        tokens: tokens.map(|t| TokenId::parse(t.as_bytes()).expect("decimal")),
        fee: FeeSchedule::FREE,
        hold_ms: 0,
        clear_on_start: false,
        ..market()
    }
}

/// These markets, traded by a wallet for itself.
pub fn universe(owner: Address, markets: Vec<MarketSpec>) -> Universe {
    let account = Account { owner, funder: owner, signature_type: SignatureType::Eoa };
    Universe { chain_id: 137, account, markets, matches: Vec::new() }
}
