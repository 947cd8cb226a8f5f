//! The JSON shapes of the wire: books, markets, orders, trades, accounts.
//!
//! Source: docs/PROTOCOL.md "public reads", "account reads", "order events", "trade events"; fixtures in
//! tests/fixtures/samples.

use serde_json::{Value, json};

use super::{
    accounts::AccountIx,
    book::Shown,
    host::Host,
    notes::{MakerFill, OrderNote, Snapshot, Trade, TradeStatus},
    rules::Order,
    verify::checksummed,
};
use crate::types::{
    InstrumentIx, MarketIx, Nanos, OrderHash, Usdc,
    event::Payout,
    ids::Outcome,
    market::{Exchange, Rewards},
};

/// In which the captured pool is paid. Source: tests/fixtures/samples/rest/clob_market_2026-10-16.json.
const REWARD_ASSET: &str = "0x2791Bca1f2de4661ED88A30C99A7a9449Aa84174";

/// Milliseconds as the wire's text.
pub fn millis(t: Nanos) -> String {
    t.millis().to_string()
}

/// `2026-04-05T15:10:00Z`.
pub fn iso(t: Nanos) -> String {
    let (days, s) = (t.secs() / 86_400, t.secs() % 86_400);
    // Civil date from a day count: eras of 400 years that begin on 1 March.
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", s / 3_600, s / 60 % 60, s % 60)
}

/// Levels with the best last, as every capture has them.
fn levels(best_first: &[Shown]) -> Value {
    best_first.iter().rev().map(|(p, q)| json!({"price": p.to_string(), "size": q.to_string()})).collect()
}

/// An opaque token that changes with the book: forty hex digits.
/// Source: docs/PROTOCOL.md "integrity" (hash).
pub fn book_hash(s: &Snapshot) -> String {
    let mut text = format!("{} {}", s.instrument.0, s.changed.0);
    for (p, q) in s.bids.iter().chain(&s.asks) {
        text.push_str(&format!(" {p}:{q}"));
    }
    short_hash(&text)
}

/// Forty hex digits of a text.
pub fn short_hash(text: &str) -> String {
    let h = xxhash_rust::xxh3::xxh3_128(text.as_bytes());
    format!("{h:032x}{:08x}", (h >> 7) as u32)
}

/// A book as REST gives it; the market channel's `book` is the same with `event_type`.
pub fn book(host: &Host, s: &Snapshot) -> Value {
    let spec = &host.exchange.market(s.instrument.market()).spec;
    json!({
        "market": spec.condition.to_string(),
        "asset_id": host.token_of(s.instrument).to_string(),
        "timestamp": millis(s.changed),
        "hash": book_hash(s),
        "bids": levels(&s.bids),
        "asks": levels(&s.asks),
        "min_order_size": spec.min_size.to_string(),
        "tick_size": s.tick.as_str(),
        "neg_risk": neg_risk(spec.exchange),
        "last_trade_price": s.last.map_or("0.5".to_owned(), |p| p.to_string()),
    })
}

/// True for negative-risk markets.
pub fn neg_risk(exchange: Exchange) -> bool {
    exchange == Exchange::V2NegRisk
}

fn version(exchange: Exchange) -> &'static str {
    match exchange {
        Exchange::V2 | Exchange::V2NegRisk => "v1",
        Exchange::V3 => "v2",
    }
}

/// A decimal text as the JSON number that some fields are.
pub fn number(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

/// `0.05` of 50 000 parts per million.
fn rate(ppm: u32) -> Value {
    number(&Usdc(i64::from(ppm)).to_string())
}

/// `GET /markets/{condition}`.
pub fn market(host: &Host, ix: MarketIx) -> Value {
    let m = host.exchange.market(ix);
    let winner =
        |o: Outcome| matches!((m.resolved, o), (Some(Payout::Yes), Outcome::Yes) | (Some(Payout::No), Outcome::No));
    let token = |o: Outcome| {
        let price = match (m.resolved, m.last[o as usize]) {
            (Some(Payout::Half), _) => "0.5".to_owned(),
            (Some(_), _) => u8::from(winner(o)).to_string(),
            (None, Some((p, _))) => p.to_string(),
            (None, None) => "0.5".to_owned(),
        };
        json!({
            "token_id": m.spec.tokens[o as usize].to_string(), "outcome": m.spec.outcomes[o as usize],
            "price": number(&price), "winner": winner(o),
        })
    };
    let open = host.accepts(ix);
    let mut page = json!({
        "enable_order_book": true, "active": true, "closed": !open, "archived": false, "accepting_orders": open,
        "minimum_order_size": number(&m.spec.min_size.to_string()),
        "minimum_tick_size": number(m.tick.as_str()),
        "condition_id": m.spec.condition.to_string(),
        "question": m.spec.slug, "market_slug": m.spec.slug, "description": "",
        "game_start_time": m.spec.game_start.map(iso),
        "seconds_delay": seconds(m.spec.hold_ms),
        "maker_base_fee": 1000, "taker_base_fee": 1000,
        "neg_risk": neg_risk(m.spec.exchange),
        "is_50_50_outcome": m.resolved == Some(Payout::Half),
        "tokens": [token(Outcome::Yes), token(Outcome::No)],
        "tags": ["Sports", "Esports"],
        "version": version(m.spec.exchange),
    });
    if let Some(pool) = &m.spec.rewards {
        page["rewards"] = rewards(pool);
    }
    page
}

/// What makers are paid: dollars a day, shares, cents. A market that pays nothing has no such key.
fn rewards(pool: &Rewards) -> Value {
    let cents = Usdc(i64::from(pool.max_spread_units) * 10_000);
    json!({
        "rates": [{"asset_address": REWARD_ASSET, "rewards_daily_rate": number(&pool.daily.to_string())}],
        "min_size": number(&pool.min_size.to_string()),
        "max_spread": number(&cents.to_string()),
    })
}

fn seconds(ms: u32) -> Value {
    number(&Usdc(i64::from(ms) * 1_000).to_string())
}

/// `GET /clob-markets/{condition}`: absent keys mean false or zero.
pub fn clob_market(host: &Host, ix: MarketIx) -> Value {
    let m = host.exchange.market(ix);
    let token = |o: Outcome| json!({"t": m.spec.tokens[o as usize].to_string(), "o": m.spec.outcomes[o as usize]});
    json!({
        "c": m.spec.condition.to_string(),
        "t": [token(Outcome::Yes), token(Outcome::No)],
        "mts": number(m.tick.as_str()),
        "mos": number(&m.spec.min_size.to_string()),
        "nr": neg_risk(m.spec.exchange),
        "fd": {"r": rate(m.spec.fee.rate_ppm), "e": 1, "to": true},
        "mbf": 1000, "tbf": 1000,
        "ao": host.accepts(ix),
        "cbos": m.spec.clear_on_start,
        "gst": m.spec.game_start.map(iso),
        "sd": seconds(m.spec.hold_ms),
        "v": version(m.spec.exchange),
    })
}

fn trade_ids(host: &Host, numbers: &[u64]) -> Value {
    numbers.iter().filter_map(|n| host.exchange.trade(*n)).map(|t| &*t.id).collect()
}

fn outcome(host: &Host, i: InstrumentIx) -> &str {
    &host.exchange.market(i.market()).spec.outcomes[i.outcome() as usize]
}

fn condition(host: &Host, i: InstrumentIx) -> String {
    host.exchange.market(i.market()).spec.condition.to_string()
}

fn holder(host: &Host, a: AccountIx) -> String {
    checksummed(host.exchange.account(a).funder)
}

/// An open order as REST gives it.
pub fn open_order(host: &Host, o: &Order) -> Value {
    json!({
        "id": o.new.id.to_string(), "status": o.phase.as_str(), "owner": &*o.new.owner,
        "maker_address": holder(host, o.new.account),
        "market": condition(host, o.new.instrument), "asset_id": host.token_of(o.new.instrument).to_string(),
        "side": o.new.side.as_str(), "original_size": o.size().to_string(), "size_matched": o.matched.to_string(),
        "price": o.price.to_string(), "outcome": outcome(host, o.new.instrument),
        "expiration": o.new.tif.expiration_s().to_string(), "order_type": o.new.tif.as_str(),
        "associate_trades": trade_ids(host, &o.trades), "created_at": o.created.secs(),
    })
}

/// An `order` event of the user channel.
pub fn order_event(host: &Host, n: &OrderNote, now: Nanos) -> Value {
    json!({
        "event_type": "order", "type": n.event.as_str(), "id": n.new.id.to_string(),
        "owner": &*n.new.owner, "order_owner": &*n.new.owner,
        "maker_address": holder(host, n.new.account),
        "market": condition(host, n.new.instrument), "asset_id": host.token_of(n.new.instrument).to_string(),
        "side": n.new.side.as_str(), "price": n.price.to_string(),
        "original_size": n.size.to_string(), "size_matched": n.matched.to_string(),
        "outcome": outcome(host, n.new.instrument), "associate_trades": trade_ids(host, &n.trades),
        "order_type": n.new.tif.as_str(), "expiration": n.new.tif.expiration_s().to_string(),
        "status": n.phase.as_str(), "created_at": n.created.secs().to_string(), "timestamp": millis(now),
    })
}

fn maker_order(host: &Host, f: &MakerFill) -> Value {
    json!({
        "order_id": f.order.to_string(), "owner": &*f.owner, "maker_address": holder(host, f.account),
        "matched_amount": f.qty.to_string(), "price": f.price.to_string(), "fee_rate_bps": "0",
        "asset_id": host.token_of(f.instrument).to_string(), "outcome": outcome(host, f.instrument),
        "outcome_index": f.instrument.outcome() as u8, "side": f.side.as_str(),
    })
}

/// A trade as one of its parties sees it: the top level describes the taker.
pub fn trade(host: &Host, t: &Trade, party: &str) -> Value {
    let hash = if t.landed { OrderHash(t.hash).to_string() } else { String::new() };
    let mut v = json!({
        "id": &*t.id, "taker_order_id": t.taker_order.to_string(),
        "market": condition(host, t.instrument), "asset_id": host.token_of(t.instrument).to_string(),
        "side": t.side.as_str(), "size": t.qty.to_string(), "price": t.price.to_string(), "fee_rate_bps": "0",
        "status": t.status.as_str(), "match_time": t.matched_at.secs().to_string(),
        "last_update": t.updated_at.secs().to_string(), "outcome": outcome(host, t.instrument), "bucket_index": 0,
        "owner": &*t.owner, "maker_address": holder(host, t.account), "transaction_hash": hash,
        "trader_side": if *t.owner == *party { "TAKER" } else { "MAKER" },
        "maker_orders": t.makers.iter().map(|f| maker_order(host, f)).collect::<Vec<_>>(),
    });
    if t.status == TradeStatus::Failed {
        v["err_msg"] = "execution reverted".into();
    }
    v
}

/// A `trade` event of the user channel.
pub fn trade_event(host: &Host, t: &Trade, party: &str, now: Nanos) -> Value {
    let mut v = trade(host, t, party);
    v["event_type"] = "trade".into();
    v["type"] = "TRADE".into();
    v["trade_owner"] = party.into();
    v["timestamp"] = millis(now).into();
    v
}

/// The venue's own account of a funder, in decimal pUSD and shares: what a client's equity is compared with.
pub fn account(host: &Host, a: AccountIx) -> Value {
    let acc = host.exchange.account(a);
    let shares: serde_json::Map<String, Value> = (0..host.exchange.markets().len() as u16 * 2)
        .map(InstrumentIx)
        .filter(|i| !acc.holding(*i).balance.is_zero())
        .map(|i| (host.token_of(i).to_string(), acc.holding(i).balance.to_string().into()))
        .collect();
    json!({
        "funder": checksummed(acc.funder), "owner": checksummed(acc.owner),
        "signature_type": acc.signature_type as u8,
        "deposits": acc.deposits.to_string(), "cash": acc.cash.to_string(), "reserved": acc.reserved.to_string(),
        "spent": acc.spent.to_string(), "received": acc.received.to_string(), "fees": acc.fees.to_string(),
        "merged": acc.merged.to_string(), "split": acc.split.to_string(), "payouts": acc.payouts.to_string(),
        "shares": shares,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (s, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_775_401_800, "2026-04-05T15:10:00Z"),
        ] {
            assert_eq!(iso(Nanos(s * 1_000_000_000)), text);
        }
    }
}
