//! The REST routes. One request in, one answer out; what a request changed is told by the host's channels.
//!
//! Source: docs/PROTOCOL.md "POST /order", "POST /orders", "errors", "other CLOB endpoints", "authentication",
//! "who sends the transaction".

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    accounts::AccountIx,
    auth::Credentials,
    exchange::{Ack, Cancel},
    host::Host,
    http::{Request, Response},
    intake,
    limits::Bucket,
    modes::Closed,
    positions,
    rules::{BATCH_MAX, Order, Refusal},
    verdict,
    verify::checksummed,
    views,
};
use crate::types::{
    Address, InstrumentIx, MarketIx, Nanos, OrderHash, Price, Side, TokenId, Usdc,
    market::{Exchange, SignatureType},
};

/// Entries of one page.
const PAGE: usize = 100;
/// Most books in one request.
const BOOKS_MAX: usize = 500;
/// Most orders in one cancel.
const CANCELS_MAX: usize = 1_000;
/// The cursor after the last page.
const END_CURSOR: &str = "LTE=";

/// Answers a request.
pub fn respond(host: &mut Host, r: &Request, now: Nanos) -> Response {
    let mut response = match route(host, r, now) {
        Ok(body) => Response::ok(body),
        Err(refused) => refused,
    };
    response.headers.append(&mut host.told);
    response
}

type Answer = Result<Value, Response>;

fn route(host: &mut Host, r: &Request, now: Nanos) -> Answer {
    let parts: Vec<&str> = r.path.trim_matches('/').split('/').collect();
    match (r.method.as_str(), parts.as_slice()) {
        ("GET", ["" | "ok"]) => Ok("OK".into()),
        ("GET", ["time"]) => Ok(now.secs().into()),
        ("GET", ["version"]) => Ok(json!({"version": 2})),
        ("GET", ["book"]) => {
            let i = token(host, r)?;
            Ok(views::book(host, &host.snapshot(i)))
        }
        ("POST", ["books"]) => books(host, r),
        ("GET", ["midpoint"]) => {
            let (bid, ask) = tops(host, token(host, r)?);
            let (bid, ask) = bid.zip(ask).ok_or_else(no_book)?;
            let mid = Usdc((i64::from(bid.units()) + i64::from(ask.units())) * 50);
            Ok(json!({"mid": mid.to_string()}))
        }
        ("GET", ["price"]) => {
            let (bid, ask) = tops(host, token(host, r)?);
            let side = r.param("side").and_then(|s| Side::parse(s.as_bytes()));
            let price = match side.ok_or_else(|| Response::error(400, "Invalid side"))? {
                Side::Buy => bid,
                Side::Sell => ask,
            };
            Ok(json!({"price": price.ok_or_else(no_book)?.to_string()}))
        }
        ("GET", ["spread"]) => {
            let (bid, ask) = tops(host, token(host, r)?);
            let (bid, ask) = bid.zip(ask).ok_or_else(no_book)?;
            let spread = Usdc((i64::from(ask.units()) - i64::from(bid.units())) * 100);
            Ok(json!({"spread": spread.to_string()}))
        }
        ("GET", ["last-trade-price"]) => {
            let i = token(host, r)?;
            let last = host.exchange.market(i.market()).last[i.outcome() as usize];
            Ok(last.map_or_else(
                || json!({"price": "0.5", "side": ""}),
                |(p, s)| json!({"price": p.to_string(), "side": s.as_str()}),
            ))
        }
        ("GET", ["tick-size"]) => {
            let i = token(host, r)?;
            Ok(json!({"minimum_tick_size": views::number(host.snapshot(i).tick.as_str())}))
        }
        ("GET", ["neg-risk"]) => {
            let i = token(host, r)?;
            let contract = host.exchange.market(i.market()).spec.exchange;
            Ok(json!({"neg_risk": contract == Exchange::V2NegRisk}))
        }
        ("GET", ["fee-rate"]) => token(host, r).map(|_| json!({"base_fee": 1000})),
        ("GET", ["markets"]) => {
            let all = (0..host.exchange.markets().len()).map(|m| views::market(host, MarketIx(m as u16))).collect();
            Ok(page(all, r))
        }
        ("GET", ["markets", id]) => Ok(views::market(host, condition(host, id)?)),
        ("GET", ["clob-markets", id]) => Ok(views::clob_market(host, condition(host, id)?)),
        ("GET", ["markets-by-token", id]) => {
            let i = host.token_text(id).ok_or_else(|| Response::error(404, "market not found"))?;
            let spec = &host.exchange.market(i.market()).spec;
            Ok(json!({
                "condition_id": spec.condition.to_string(),
                "primary_token_id": spec.tokens[0].to_string(),
                "secondary_token_id": spec.tokens[1].to_string(),
            }))
        }
        ("POST", ["auth", "api-key"]) => {
            let (owner, nonce) = l1(host, r, now)?;
            let made = host.keys.create(owner, nonce).map(key_view);
            made.ok_or_else(|| Response::error(400, "Could not create api key"))
        }
        ("GET", ["auth", "api-key" | "derive-api-key"]) => {
            let (owner, nonce) = l1(host, r, now)?;
            let known = host.keys.derive(owner, nonce).map(key_view);
            known.ok_or_else(|| Response::error(400, "Could not derive api key!"))
        }
        ("GET", ["auth", "api-keys"]) => {
            let who = l2(host, r, now)?;
            let keys: Vec<_> = host.keys.of(who.owner).iter().map(|c| c.key.to_string()).collect();
            Ok(json!({"apiKeys": keys}))
        }
        ("DELETE", ["auth", "api-key"]) => {
            let who = l2(host, r, now)?;
            host.keys.delete(&who.key);
            Ok("OK".into())
        }
        ("GET", ["auth", "ban-status", "closed-only"]) => l2(host, r, now).map(|_| json!({"closed_only": false})),
        ("POST", ["order"]) => {
            let who = l2(host, r, now)?;
            let sent = body(r)?;
            limited(host, &who, Bucket::Orders, 1, now)?;
            admitted(host, std::slice::from_ref(&sent), now)?;
            place(host, &sent, &who, now).map_err(|refusal| Response::error(400, refusal))
        }
        ("POST", ["orders"]) => {
            let who = l2(host, r, now)?;
            place_all(host, &body(r)?, &who, now)
        }
        ("DELETE", ["order"]) => {
            let who = l2(host, r, now)?;
            let sent = body(r)?;
            let id = sent["orderID"].as_str().ok_or_else(payload)?;
            cancels(host, &who, 1, now)?;
            Ok(cancel(host, [id.to_owned()], &who, now))
        }
        ("DELETE", ["orders"]) => {
            let who = l2(host, r, now)?;
            let sent = body(r)?;
            let ids = sent.as_array().ok_or_else(payload)?;
            if ids.len() > CANCELS_MAX {
                return Err(Response::error(400, format!("Too many orders in payload, max allowed: {CANCELS_MAX}")));
            }
            let ids: Option<Vec<_>> = ids.iter().map(|v| v.as_str().map(str::to_owned)).collect();
            let ids = ids.ok_or_else(payload)?;
            cancels(host, &who, ids.len(), now)?;
            Ok(cancel(host, ids, &who, now))
        }
        ("DELETE", ["cancel-all"]) => {
            let who = l2(host, r, now)?;
            cancel_where(host, &who, now, |_| true)
        }
        ("DELETE", ["cancel-market-orders"]) => {
            let who = l2(host, r, now)?;
            let sent = body(r)?;
            let text = |key: &str| sent[key].as_str().filter(|t| !t.is_empty());
            let market = text("market").map(|t| condition(host, t)).transpose()?;
            let asset = text("asset_id").map(|t| token_id(host, t)).transpose()?;
            if market.is_none() && asset.is_none() {
                return Err(payload());
            }
            cancel_where(host, &who, now, |o| {
                let i = o.new.instrument;
                market.is_none_or(|m| i.market() == m) && asset.is_none_or(|a| i == a)
            })
        }
        ("GET", ["data", "orders"]) => {
            let who = l2(host, r, now)?;
            let keep = filter(host, r)?;
            let id = r.param("id");
            let open = host.exchange.open_orders(|o| {
                o.new.owner == who.key && keep(o.new.instrument) && id.is_none_or(|id| o.new.id.to_string() == id)
            });
            let all =
                open.iter().filter_map(|id| host.exchange.order(id)).map(|o| views::open_order(host, o)).collect();
            Ok(page(all, r))
        }
        ("GET", ["data", "order", id]) => {
            let who = l2(host, r, now)?;
            let order = OrderHash::parse(id.as_bytes()).and_then(|id| host.exchange.order(&id));
            let own = order.filter(|o| o.new.owner == who.key);
            own.map(|o| views::open_order(host, o)).ok_or_else(|| Response::error(404, "order not found"))
        }
        ("GET", ["data", "trades"]) => {
            let who = l2(host, r, now)?;
            trades(host, r, &who)
        }
        ("GET", ["positions"]) => positions::v1(host, r).map_err(|(status, text)| Response::error(status, text)),
        ("GET", ["v2", "positions"]) => positions::v2(host, r).map_err(|(status, text)| Response::error(status, text)),
        ("GET", ["api", "geoblock"]) => Ok(verdict::geoblock(false)),
        ("GET", ["balance-allowance"]) => {
            let who = l2(host, r, now)?;
            balance(host, r, &who)
        }
        ("GET", ["balance-allowance", "update"]) => l2(host, r, now).map(|_| json!({})),
        ("POST", ["v1", "heartbeats"]) => {
            let who = l2(host, r, now)?;
            let sent = body(r)?;
            let id = sent["heartbeat_id"].as_str().unwrap_or_default();
            match host.heartbeats.beat(&who.key, id, now) {
                Ok(next) => Ok(json!({"heartbeat_id": next})),
                Err(expected) => {
                    Err(Response::json(400, json!({"error_msg": "Invalid Heartbeat ID", "heartbeat_id": expected})))
                }
            }
        }
        ("POST", ["heartbeats"]) => {
            let who = l2(host, r, now)?;
            host.heartbeats.beat_plain(&who.key, now);
            Ok(json!({"status": "ok"}))
        }
        ("GET", ["v1", "account", "transactions", "params"]) => {
            let (owner, wallet) = deposit_wallet(host, r)?;
            Ok(json!({"address": checksummed(owner), "nonce": host.relayer.nonce(wallet).to_string()}))
        }
        ("GET", ["v1", "account", "transactions", id]) => {
            host.relayer.view(id).ok_or_else(|| Response::error(404, "transaction not found"))
        }
        ("POST", ["submit"]) => {
            let sent = body(r)?;
            let chain_id = host.chain_id;
            let Host { relayer, funders, exchange, .. } = host;
            relayer.submit(&sent, funders, exchange, chain_id, now).map_err(|text| Response::error(400, text))
        }
        ("GET", ["embedded", "account"]) => {
            let address = r.param("address").and_then(|t| Address::parse(t.as_bytes()));
            let account = address.and_then(|a| host.funder(&a));
            account.map(|a| views::account(host, a)).ok_or_else(|| Response::error(404, "account not found"))
        }
        _ => Err(Response::error(404, "Not Found")),
    }
}

fn payload() -> Response {
    Response::error(400, Refusal::Payload)
}

fn no_book() -> Response {
    Response::error(404, "No orderbook exists for the requested token id")
}

fn body(r: &Request) -> Result<Value, Response> {
    serde_json::from_slice(&r.body).map_err(|_| payload())
}

fn l1(host: &Host, r: &Request, now: Nanos) -> Result<(Address, u64), Response> {
    host.keys.l1(r, host.chain_id, now).map_err(|text| Response::error(401, text))
}

fn l2(host: &Host, r: &Request, now: Nanos) -> Result<Credentials, Response> {
    host.keys.l2(r, &r.method, &r.path, &r.body, now).map_err(|text| Response::error(401, text))
}

fn key_view(c: &Credentials) -> Value {
    json!({"apiKey": &*c.key, "secret": c.secret, "passphrase": c.passphrase})
}

fn token_id(host: &Host, text: &str) -> Result<InstrumentIx, Response> {
    if TokenId::parse(text.as_bytes()).is_none() {
        return Err(Response::error(400, "Invalid token id"));
    }
    host.token_text(text).ok_or_else(no_book)
}

fn token(host: &Host, r: &Request) -> Result<InstrumentIx, Response> {
    token_id(host, r.param("token_id").unwrap_or_default())
}

fn condition(host: &Host, text: &str) -> Result<MarketIx, Response> {
    host.condition_text(text).ok_or_else(|| Response::error(404, "market not found"))
}

fn tops(host: &Host, i: InstrumentIx) -> (Option<Price>, Option<Price>) {
    let s = host.snapshot(i);
    (s.bids.first().map(|l| l.0), s.asks.first().map(|l| l.0))
}

fn books(host: &Host, r: &Request) -> Answer {
    let sent = body(r)?;
    let asked = sent.as_array().ok_or_else(payload)?;
    if asked.len() > BOOKS_MAX {
        return Err(Response::error(400, "Payload exceeds the limit"));
    }
    let known = asked.iter().filter_map(|a| host.token_text(a["token_id"].as_str()?));
    Ok(known.map(|i| views::book(host, &host.snapshot(i))).collect())
}

/// One page of a list, with the cursor of the next.
fn page(all: Vec<Value>, r: &Request) -> Value {
    let cursor = r.param("next_cursor").and_then(|c| STANDARD.decode(c).ok());
    let cursor = cursor.and_then(|c| String::from_utf8(c).ok());
    let total = all.len();
    // "-1" stands after the end; what is no number stands at the beginning.
    let from = cursor.map_or(0, |c| if c == "-1" { total } else { c.parse().unwrap_or(0) });
    let data: Vec<Value> = all.into_iter().skip(from).take(PAGE).collect();
    let next = from.saturating_add(data.len());
    let next_cursor = if next >= total { END_CURSOR.to_owned() } else { STANDARD.encode(next.to_string()) };
    json!({"limit": PAGE, "count": data.len(), "next_cursor": next_cursor, "data": data})
}

/// The `market` and `asset_id` parameters as a test.
fn filter(host: &Host, r: &Request) -> Result<impl Fn(InstrumentIx) -> bool + use<>, Response> {
    let market = r.param("market").map(|t| condition(host, t)).transpose()?;
    let asset = r.param("asset_id").map(|t| token_id(host, t)).transpose()?;
    Ok(move |i: InstrumentIx| market.is_none_or(|m| i.market() == m) && asset.is_none_or(|a| a == i))
}

fn place(host: &mut Host, sent: &Value, who: &Credentials, now: Nanos) -> Result<Value, Refusal> {
    let new = intake::order(host, sent, who)?;
    let (id, side) = (new.id, new.side);
    let ack = host.exchange.submit(new, now)?;
    let (status, making, taking, trades) = match ack {
        Ack::Live => ("live", String::new(), String::new(), Vec::new()),
        Ack::Delayed => ("delayed", String::new(), String::new(), Vec::new()),
        Ack::Matched { qty, cash, trade } => {
            let (cash, qty) = (cash.to_string(), qty.to_string());
            let (making, taking) = if side == Side::Buy { (cash, qty) } else { (qty, cash) };
            ("matched", making, taking, vec![trade.to_string()])
        }
    };
    Ok(json!({
        "success": true, "errorMsg": "", "orderID": id.to_string(), "status": status,
        "makingAmount": making, "takingAmount": taking, "transactionsHashes": [], "tradeIDs": trades,
    }))
}

/// Independent legs; a refused one says `success: true` with an empty id, as the real venue has been seen to.
fn place_all(host: &mut Host, sent: &Value, who: &Credentials, now: Nanos) -> Answer {
    let legs = sent.as_array().ok_or_else(payload)?;
    if legs.len() > BATCH_MAX {
        let text = format!("Too many orders in payload: {}, max allowed: {BATCH_MAX}", legs.len());
        return Err(Response::error(400, text));
    }
    if legs.is_empty() {
        return Err(payload());
    }
    limited(host, who, Bucket::Orders, legs.len() as u64, now)?;
    admitted(host, legs, now)?;
    let mut answers = Vec::with_capacity(legs.len());
    for leg in legs {
        answers.push(place(host, leg, who, now).unwrap_or_else(|refusal| {
            json!({
                "success": true, "errorMsg": refusal.to_string(), "orderID": "", "status": "",
                "makingAmount": "", "takingAmount": "", "transactionsHashes": [], "tradeIDs": [],
            })
        }));
    }
    Ok(Value::Array(answers))
}

/// Takes a request's cost from its signer's bucket, and tells the state of it in headers.
/// Source: docs/PROTOCOL.md "rate limits".
fn limited(host: &mut Host, who: &Credentials, bucket: Bucket, cost: u64, now: Nanos) -> Result<(), Response> {
    let taken = host.buckets.take(who.owner, bucket, cost, now);
    let limits = host.buckets.limits;
    host.told.extend([
        ("Poly-RateLimit-Remaining", taken.remaining.to_string()),
        ("Poly-RateLimit-Reset", taken.reset_s.to_string()),
        ("Poly-RateLimit-Tier", limits.tier.row().0.to_owned()),
    ]);
    if taken.allowed {
        return Ok(());
    }
    if !limits.enforce {
        host.told.push(("Poly-RateLimit-Warning", "true".into()));
        return Ok(());
    }
    Err(Response::error(429, "Too Many Requests").retry_after(Some(taken.retry_after_s.to_string())))
}

fn closed(c: Closed) -> Response {
    Response::json(c.status, c.body).retry_after(c.retry_after_s.map(|s| s.to_string()))
}

/// The venue's mode on the orders of one request. One that is not allowed refuses them all: what the real venue does
/// with a mixed batch is not documented.
fn admitted(host: &Host, legs: &[Value], now: Nanos) -> Result<(), Response> {
    let post_only = |leg: &Value| leg["postOnly"].as_bool().unwrap_or(false);
    legs.iter().try_for_each(|leg| host.mode.order(post_only(leg), now)).map_err(closed)
}

/// Limits and mode on a cancel.
fn cancels(host: &mut Host, who: &Credentials, cost: usize, now: Nanos) -> Result<(), Response> {
    limited(host, who, Bucket::Cancels, cost as u64, now)?;
    host.mode.cancel(now).map_err(closed)
}

fn cancel(host: &mut Host, ids: impl IntoIterator<Item = String>, who: &Credentials, now: Nanos) -> Value {
    let (mut canceled, mut not_canceled) = (Vec::new(), serde_json::Map::new());
    for (n, text) in ids.into_iter().enumerate() {
        if let Some((_, words)) = host.cancel_cap.as_ref().filter(|(most, _)| n >= *most) {
            not_canceled.insert(text, words.as_str().into());
            continue;
        }
        let outcome =
            OrderHash::parse(text.as_bytes()).map_or(Cancel::Gone, |id| host.exchange.cancel(&id, &who.key, now));
        match outcome {
            Cancel::Canceled => canceled.push(text),
            other => {
                not_canceled.insert(text, other.reason().into());
            }
        }
    }
    json!({"canceled": canceled, "not_canceled": not_canceled})
}

fn cancel_where(host: &mut Host, who: &Credentials, now: Nanos, keep: impl Fn(&Order) -> bool) -> Answer {
    let ids = host.exchange.open_orders(|o| o.new.owner == who.key && keep(o));
    cancels(host, who, 1 + ids.len(), now)?;
    Ok(cancel(host, ids.iter().map(OrderHash::to_string), who, now))
}

fn trades(host: &Host, r: &Request, who: &Credentials) -> Answer {
    let keep = filter(host, r)?;
    let second = |name: &str| r.param(name).and_then(|t| t.parse::<u64>().ok());
    let (after, before, id) = (second("after"), second("before"), r.param("id"));
    let maker = r.param("maker_address").and_then(|t| Address::parse(t.as_bytes()));
    let is_maker = |a: AccountIx| maker.is_none_or(|m| host.exchange.account(a).funder == m);
    let all = host
        .exchange
        .trades()
        .rev()
        .filter(|t| t.owner == who.key || t.makers.iter().any(|f| f.owner == who.key))
        .filter(|t| id.is_none_or(|id| *t.id == *id))
        .filter(|t| after.is_none_or(|s| t.matched_at.secs() >= s) && before.is_none_or(|s| t.matched_at.secs() <= s))
        .filter(|t| is_maker(t.account) || t.makers.iter().any(|f| is_maker(f.account)))
        .filter(|t| keep(t.instrument) || t.makers.iter().any(|f| f.owner == who.key && keep(f.instrument)))
        .map(|t| views::trade(host, t, &who.key))
        .collect();
    Ok(page(all, r))
}

fn balance(host: &Host, r: &Request, who: &Credentials) -> Answer {
    let number = r.param("signature_type").and_then(|t| t.parse().ok()).unwrap_or(0);
    let wanted = SignatureType::from_number(number).ok_or_else(|| Response::error(400, "Invalid signature type"))?;
    let account = host
        .funders
        .values()
        .map(|a| host.shown_balance(*a))
        .find(|a| a.owner == who.owner && a.signature_type == wanted);
    let amount = match r.param("asset_type") {
        Some("COLLATERAL") => account.map_or(0, |a| a.cash.micro().unsigned_abs()),
        Some("CONDITIONAL" | "CONDITIONAL-V2") => {
            let i = token(host, r)?;
            account.map_or(0, |a| a.holding(i).balance.micro())
        }
        _ => return Err(Response::error(400, "Invalid asset type")),
    };
    const UNLIMITED: &str = "115792089237316195423570985008687907853269984665640564039457584007913129639935";
    Ok(json!({
        "balance": amount.to_string(),
        "allowances": {
            "0xE111180000d2663C0091e4f400237545B87B996B": UNLIMITED,
            "0xe2222d279d744050d28e00520010520000310F59": UNLIMITED,
            "0xe3333700cA9d93003F00f0F71f8515005F6c00Aa": UNLIMITED,
        },
    }))
}

/// The deposit wallet of `address`, which names its owner.
fn deposit_wallet(host: &Host, r: &Request) -> Result<(Address, AccountIx), Response> {
    if r.param("type") != Some("WALLET") {
        return Err(Response::error(400, "only WALLET transactions are relayed here"));
    }
    let owner = r.param("address").and_then(|t| Address::parse(t.as_bytes()));
    let found = owner.and_then(|owner| {
        let of_owner = |a: &&AccountIx| {
            let a = host.exchange.account(**a);
            a.owner == owner && a.signature_type == SignatureType::Poly1271
        };
        host.funders.values().find(of_owner).map(|ix| (owner, *ix))
    });
    found.ok_or_else(|| Response::error(404, "deposit wallet is not deployed"))
}
