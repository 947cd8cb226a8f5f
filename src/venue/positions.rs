//! The Data API's positions: what a funder holds on chain, in the older and the newer shape.
//!
//! Only shares of mined trades are shown: this is a view of the chain, and so behind the exchange's own.
//! Source: docs/PROTOCOL.md "positions".

use serde_json::{Value, json};

use super::{accounts::AccountIx, host::Host, http::Request, verify::checksummed, views::number};
use crate::types::{Address, InstrumentIx, Qty, Usdc};

/// Entries of a page where the request does not say.
const PAGE: usize = 100;
/// Most entries of a page.
const PAGE_MAX: usize = 500;

/// Why positions cannot be told: status and words.
pub type Refused = (u16, String);

/// One holding as both shapes need it.
struct Held {
    i: InstrumentIx,
    size: Qty,
    avg: Usdc,
    current: Usdc,
    mergeable: bool,
}

/// `GET /positions?user=`: an array.
pub fn v1(host: &Host, r: &Request) -> Result<Value, Refused> {
    let account = user(host, r)?.ok_or((400, "required query param 'user' not provided".to_owned()))?;
    let least = r.param("sizeThreshold").map_or(Some(Qty::shares(1)), |t| Qty::parse(t.as_bytes()));
    let least = least.ok_or((400, "invalid sizeThreshold".to_owned()))?;
    let Some((funder, account)) = account else { return Ok(json!([])) };
    let all = held(host, account, r)?.into_iter().filter(|h| h.size >= least).map(|h| {
        let spec = &host.exchange.market(h.i.market()).spec;
        let (own, other) = (h.i.outcome() as usize, 1 - h.i.outcome() as usize);
        json!({
            "proxyWallet": checksummed(funder), "asset": spec.tokens[own].to_string(),
            "conditionId": spec.condition.to_string(), "size": number(&h.size.to_string()),
            "avgPrice": number(&h.avg.to_string()), "curPrice": number(&h.current.to_string()),
            "initialValue": value(h.size, h.avg), "currentValue": value(h.size, h.current),
            "redeemable": false, "mergeable": h.mergeable, "title": spec.slug, "slug": spec.slug,
            "outcome": spec.outcomes[own], "outcomeIndex": own,
            "oppositeOutcome": spec.outcomes[other], "oppositeAsset": spec.tokens[other].to_string(),
            "negativeRisk": super::views::neg_risk(spec.exchange),
        })
    });
    let (limit, offset) = page(r)?;
    Ok(all.skip(offset).take(limit).collect())
}

/// `GET /v2/positions?user=`: `data` and `pagination`.
pub fn v2(host: &Host, r: &Request) -> Result<Value, Refused> {
    let missing = || (400, "required query param 'user' or 'condition' not provided".to_owned());
    let account = user(host, r)?.ok_or_else(missing)?;
    let status = r.param("status").unwrap_or("OPEN");
    let (limit, offset) = page(r)?;
    let mut all = Vec::new();
    // Decided markets have paid out by themselves here, so nothing is ever redeemable or closed.
    if let Some((funder, account)) = account.filter(|_| matches!(status, "OPEN" | "MERGEABLE")) {
        for h in held(host, account, r)?.into_iter().filter(|h| status == "OPEN" || h.mergeable) {
            let spec = &host.exchange.market(h.i.market()).spec;
            let (own, other) = (h.i.outcome() as usize, 1 - h.i.outcome() as usize);
            all.push(json!({
                "proxy_wallet": checksummed(funder).to_lowercase(), "token_id": spec.tokens[own].to_string(),
                "condition_id": spec.condition.to_string(), "current_size": number(&h.size.to_string()),
                "avg_price": number(&h.avg.to_string()), "entry_cost_usdc": value(h.size, h.avg),
                "current_price": number(&h.current.to_string()), "current_value": value(h.size, h.current),
                "status": status, "redeemable": false, "mergeable": h.mergeable,
                "negative_risk": super::views::neg_risk(spec.exchange), "archived": false,
                "title": spec.slug, "slug": spec.slug, "outcome": spec.outcomes[own], "outcome_index": own,
                "opposite_outcome": spec.outcomes[other], "opposite_token_id": spec.tokens[other].to_string(),
            }));
        }
    }
    let more = all.len() > offset + limit;
    let next = if more { json!((offset + limit).to_string()) } else { Value::Null };
    let data: Vec<_> = all.into_iter().skip(offset).take(limit).collect();
    Ok(json!({
        "data": data,
        "pagination": {"limit": limit, "offset": offset, "has_more": more, "next_cursor": next},
    }))
}

type Found = Option<(Address, AccountIx)>;

/// The wallet asked for: `None` if none was, `Some(None)` if it is nobody's here.
fn user(host: &Host, r: &Request) -> Result<Option<Found>, Refused> {
    let Some(text) = r.param("user") else { return Ok(None) };
    let address = Address::parse(text.as_bytes()).ok_or_else(|| (400, format!("invalid user: {text}")))?;
    Ok(Some(host.funder(&address).map(|a| (address, a))))
}

fn page(r: &Request) -> Result<(usize, usize), Refused> {
    let number = |name: &str, or: usize| match r.param(name) {
        None => Ok(or),
        Some(text) => text.parse::<usize>().map_err(|_| (400, format!("invalid {name}"))),
    };
    let offset = if r.param("cursor").is_some() { "cursor" } else { "offset" };
    Ok((number("limit", PAGE)?.min(PAGE_MAX), number(offset, 0)?))
}

fn held(host: &Host, a: AccountIx, r: &Request) -> Result<Vec<Held>, Refused> {
    let named = ["market", "condition"].iter().find_map(|k| r.param(k));
    let only: Option<Vec<_>> = named
        .map(|text| {
            let one = |id: &str| host.condition_text(id).ok_or_else(|| (400, format!("invalid condition id: {id}")));
            text.split(',').map(one).collect()
        })
        .transpose()?;
    let account = host.shown_data(a);
    let of = |i: InstrumentIx| account.holding(i).settled();
    let all = (0..host.exchange.markets().len() as u16 * 2).map(InstrumentIx);
    Ok(all
        .filter(|i| only.as_ref().is_none_or(|o| o.contains(&i.market())) && !of(*i).is_zero())
        .map(|i| Held {
            i,
            size: of(i),
            avg: average(host, a, i),
            current: Usdc(i64::from(host.exchange.mark(i).unwrap_or(5_000)) * 100),
            mergeable: !of(InstrumentIx(i.0 ^ 1)).is_zero(),
        })
        .collect())
}

/// What an account paid for a share of a token on average, from the trades that are remembered; ½ for split sets.
fn average(host: &Host, a: AccountIx, i: InstrumentIx) -> Usdc {
    let (mut cash, mut qty) = (0_i128, 0_i128);
    for leg in host.exchange.trades().flat_map(|t| super::settle::bought(t, a, i)) {
        cash += i128::from(leg.1.micro());
        qty += i128::from(leg.0.micro());
    }
    if qty == 0 { Usdc(500_000) } else { Usdc((cash * 1_000_000 / qty) as i64) }
}

fn value(size: Qty, price: Usdc) -> Value {
    let micro = i128::from(size.micro()) * i128::from(price.micro()) / 1_000_000;
    number(&Usdc(i64::try_from(micro).unwrap_or(i64::MAX)).to_string())
}
