//! The kinds of message that `decode` knows: how each is told from others, what reads it, and which fields that reads.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{one, universe_of};
use crate::{
    types::{
        Event, InstrumentIx, Price, Qty,
        event::{MarketEvent, MatchEvent, UserEvent},
    },
    wire::{
        listing::{self, Listing},
        market::MarketParser,
        reply::{OrderReply, ReplyParser, cancel_refusal},
        rest,
        sports::{Game, SportsParser},
        user::{UserParser, order_change},
    },
};

/// A kind of message: how it is told from others, what reads it, and which of its fields that reads.
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) is: fn(&Value) -> bool,
    pub(super) understand: fn(&Value) -> Result<Value, String>,
    pub(super) reads: &'static [&'static str],
}

fn has(v: &Value, keys: &[&str]) -> bool {
    keys.iter().all(|k| v.get(k).is_some())
}

fn event_type(v: &Value) -> &str {
    v["event_type"].as_str().unwrap_or("")
}

/// In the order of asking: the first that fits wins.
pub(super) const KINDS: &[Kind] = &[
    Kind {
        name: "market.book",
        is: |v| event_type(v) == "book" || (event_type(v).is_empty() && has(v, &["asset_id", "bids", "asks"])),
        understand: market,
        reads: &[
            "event_type",
            "asset_id",
            "token_id",
            "timestamp",
            "tick_size",
            "bids[].price",
            "bids[].size",
            "asks[].price",
            "asks[].size",
        ],
    },
    Kind {
        name: "market.price_change",
        is: |v| event_type(v) == "price_change",
        understand: market,
        reads: &[
            "event_type",
            "timestamp",
            "price_changes[].asset_id",
            "price_changes[].token_id",
            "price_changes[].price",
            "price_changes[].size",
            "price_changes[].side",
            "price_changes[].best_bid",
            "price_changes[].best_ask",
        ],
    },
    Kind {
        name: "market.last_trade_price",
        is: |v| event_type(v) == "last_trade_price",
        understand: market,
        reads: &["event_type", "asset_id", "token_id", "timestamp", "price", "size", "side"],
    },
    Kind {
        name: "market.tick_size_change",
        is: |v| event_type(v) == "tick_size_change",
        understand: market,
        reads: &["event_type", "asset_id", "token_id", "timestamp", "new_tick_size"],
    },
    Kind {
        name: "market.best_bid_ask",
        is: |v| event_type(v) == "best_bid_ask",
        understand: |v| market(v).and(Ok(copy(v, &["asset_id", "token_id", "best_bid", "best_ask"]))),
        reads: &["event_type", "asset_id", "token_id", "best_bid", "best_ask"],
    },
    Kind {
        name: "market.market_resolved",
        is: |v| event_type(v) == "market_resolved",
        understand: market,
        reads: &[
            "event_type",
            "market",
            "timestamp",
            "winning_asset_id",
            "winning_token_id",
            "winning_outcome",
            "assets_ids[]",
            "asset_ids[]",
            "token_ids[]",
        ],
    },
    Kind {
        name: "market.new_market",
        is: |v| event_type(v) == "new_market",
        understand: |v| market(v).and(Ok(copy(v, NEW_MARKET))),
        reads: NEW_MARKET,
    },
    Kind {
        name: "user.order",
        is: |v| {
            event_type(v) == "order"
                || (event_type(v).is_empty()
                    && ["PLACEMENT", "UPDATE", "CANCELLATION"].contains(&v["type"].as_str().unwrap_or("")))
        },
        understand: user_order,
        reads: &[
            "event_type",
            "type",
            "id",
            "status",
            "size_matched",
            "market",
            "asset_id",
            "side",
            "price",
            "original_size",
            "order_type",
            "expiration",
        ],
    },
    Kind {
        name: "user.trade",
        is: |v| event_type(v) == "trade" || (event_type(v).is_empty() && has(v, &["taker_order_id", "maker_orders"])),
        understand: user_trade,
        reads: &[
            "event_type",
            "type",
            "id",
            "status",
            "owner",
            "asset_id",
            "side",
            "size",
            "price",
            "trader_side",
            "taker_order_id",
            "maker_orders[].order_id",
            "maker_orders[].owner",
            "maker_orders[].asset_id",
            "maker_orders[].matched_amount",
            "maker_orders[].price",
            "maker_orders[].side",
        ],
    },
    Kind {
        name: "sports",
        is: |v| has(v, &["leagueAbbreviation", "score"]),
        understand: sports,
        reads: &["gameId", "leagueAbbreviation", "homeTeam", "awayTeam", "status", "score", "period", "live", "ended"],
    },
    Kind {
        name: "rest.order_reply",
        is: |v| has(v, &["success"]) || has(v, &["orderID"]),
        understand: order_reply,
        reads: &["success", "orderID", "errorMsg", "error", "status", "code"],
    },
    Kind {
        name: "rest.cancel_reply",
        is: |v| has(v, &["canceled"]) || has(v, &["not_canceled"]),
        understand: cancel_reply,
        reads: &["canceled[]", "not_canceled.*"],
    },
    Kind {
        name: "rest.open_orders",
        is: |v| {
            v["data"].is_array() && v["data"].as_array().is_some_and(|d| d.iter().all(|o| has(o, &["original_size"])))
        },
        understand: |v| list(v, "data", open_order),
        reads: &[
            "data[].id",
            "data[].status",
            "data[].market",
            "data[].asset_id",
            "data[].side",
            "data[].price",
            "data[].original_size",
            "data[].size_matched",
            "next_cursor",
        ],
    },
    Kind {
        name: "rest.trades",
        is: |v| v["data"].is_array(),
        understand: |v| list(v, "data", user_trade),
        reads: &[
            "data[].id",
            "data[].status",
            "data[].owner",
            "data[].asset_id",
            "data[].side",
            "data[].size",
            "data[].price",
            "data[].trader_side",
            "data[].taker_order_id",
            "data[].maker_orders[].order_id",
            "data[].maker_orders[].owner",
            "data[].maker_orders[].asset_id",
            "data[].maker_orders[].matched_amount",
            "data[].maker_orders[].price",
            "data[].maker_orders[].side",
            "next_cursor",
        ],
    },
    Kind {
        name: "rest.open_order",
        is: |v| has(v, &["original_size", "size_matched"]),
        understand: open_order,
        reads: &["id", "status", "market", "asset_id", "side", "price", "original_size", "size_matched"],
    },
    Kind {
        name: "rest.balance_allowance",
        is: |v| has(v, &["balance"]),
        understand: |v| {
            let b = rest::balance_allowance(&bytes(v)).map_err(|e| e.to_string())?;
            Ok(json!({"balance_micro": b.balance.to_string(), "allowance_micro": b.allowance.map(|a| a.to_string())}))
        },
        reads: &["balance", "allowance", "allowances.*"],
    },
    Kind {
        name: "rest.fee_rate",
        is: |v| has(v, &["base_fee"]),
        understand: |_| Ok(json!({"note": "a legacy field, not the rate: never used"})),
        reads: &[],
    },
    Kind {
        name: "rest.clob_market",
        is: |v| has(v, &["condition_id", "minimum_tick_size"]),
        understand: |v| listed(listing::clob_market(&bytes(v))),
        reads: &[
            "condition_id",
            "market_slug",
            "tokens[].token_id",
            "tokens[].outcome",
            "tokens[].winner",
            "minimum_tick_size",
            "minimum_order_size",
            "neg_risk",
            "is_50_50_outcome",
            "accepting_orders",
            "closed",
            "game_start_time",
            "seconds_delay",
            "version",
            "rewards.rates[].rewards_daily_rate",
            "rewards.min_size",
            "rewards.max_spread",
        ],
    },
    Kind {
        name: "rest.clob_market_compact",
        is: |v| has(v, &["c", "t", "mts"]),
        understand: |v| listed(listing::clob_market_compact(&bytes(v))),
        reads: &[
            "c",
            "t[].t",
            "t[].o",
            "mts",
            "mos",
            "nr",
            "fd.r",
            "fd.e",
            "fd.to",
            "ao",
            "cbos",
            "gst",
            "sd",
            "v",
            "r.rates[].rewards_daily_rate",
            "r.min_size",
            "r.max_spread",
        ],
    },
    Kind {
        name: "rest.credentials",
        is: |v| has(v, &["apiKey"]),
        // The rest is secret, and so is not shown.
        understand: |v| rest::credentials(&bytes(v)).map(|c| json!({"api_key": c.api_key})).map_err(|e| e.to_string()),
        reads: &["apiKey", "secret", "passphrase"],
    },
    Kind {
        name: "rest.heartbeat",
        is: |v| has(v, &["heartbeat_id"]),
        understand: |v| Ok(copy(v, &["heartbeat_id", "error_msg"])),
        reads: &["heartbeat_id", "error_msg"],
    },
    Kind { name: "rest.time", is: |v| v.is_u64(), understand: |v| Ok(json!({"unix_s": v})), reads: &[""] },
    Kind {
        name: "rest.error",
        is: |v| v["error"].is_string(),
        understand: |v| Ok(copy(v, &["error", "code", "retry_after_seconds"])),
        reads: &["error", "code", "retry_after_seconds"],
    },
    Kind {
        name: "gamma.market",
        is: |v| has(v, &["conditionId", "outcomes"]),
        understand: |v| listed(listing::gamma_market(&bytes(v))),
        reads: GAMMA_MARKET,
    },
    Kind {
        name: "gamma.event",
        is: |v| has(v, &["slug", "title"]) && (has(v, &["markets"]) || has(v, &["series"]) || has(v, &["tags"])),
        understand: |v| {
            let mut event = copy(v, GAMMA_EVENT);
            let markets = v["markets"].as_array().into_iter().flatten();
            event["markets"] = markets.map(|m| listed(listing::gamma_market(&bytes(m)))).collect::<Result<_, _>>()?;
            Ok(event)
        },
        reads: GAMMA_EVENT,
    },
    Kind {
        name: "gamma.page",
        is: |v| has(v, &["next_cursor"]) && (v["events"].is_array() || v["markets"].is_array()),
        understand: |v| {
            let items = v["events"].as_array().or(v["markets"].as_array()).into_iter().flatten();
            Ok(json!({"items": items.map(one).collect::<Value>(), "next_cursor": v["next_cursor"]}))
        },
        reads: &["events[].*", "markets[].*", "next_cursor"],
    },
    Kind {
        name: "gamma.sport",
        is: |v| has(v, &["sport", "series"]),
        understand: |v| Ok(copy(v, &["id", "sport", "name", "tags", "primaryTagId", "series", "ordering"])),
        reads: &["id", "sport", "name", "tags", "primaryTagId", "series", "ordering"],
    },
    Kind {
        name: "gamma.team",
        is: |v| has(v, &["name", "league", "abbreviation"]),
        understand: |v| Ok(copy(v, &["id", "name", "league", "abbreviation", "alias", "providerId"])),
        reads: &["id", "name", "league", "abbreviation", "alias", "providerId"],
    },
];

const NEW_MARKET: &[&str] = &[
    "event_type",
    "market",
    "slug",
    "question",
    "assets_ids",
    "outcomes",
    "timestamp",
    "active",
    "sports_market_type",
    "group_item_title",
    "game_start_time",
    "order_price_min_tick_size",
    "fees_enabled",
    "fee_schedule",
];

const GAMMA_MARKET: &[&str] = &[
    "conditionId",
    "slug",
    "clobTokenIds",
    "positionIds[]",
    "outcomes",
    "outcomePrices",
    "negRisk",
    "orderPriceMinTickSize",
    "orderMinSize",
    "feesEnabled",
    "feeSchedule.rate",
    "feeSchedule.exponent",
    "feeSchedule.takerOnly",
    "clobRewards[].rewardsDailyRate",
    "rewardsMinSize",
    "rewardsMaxSpread",
    "secondsDelay",
    "clearBookOnStart",
    "gameStartTime",
    "sportsMarketType",
    "groupItemTitle",
    "acceptingOrders",
    "closed",
    "gameId",
    "version",
];

const GAMMA_EVENT: &[&str] = &[
    "id",
    "slug",
    "title",
    "gameId",
    "startTime",
    "live",
    "ended",
    "score",
    "period",
    "finishedTimestamp",
    "closed",
    "negRisk",
    "version",
    "parentEventId",
    "seriesSlug",
];

fn bytes(v: &Value) -> Vec<u8> {
    v.to_string().into_bytes()
}

/// The named fields that are there, as they are.
fn copy(v: &Value, fields: &[&str]) -> Value {
    let named = fields.iter().filter_map(|f| Some(((*f).to_owned(), v.get(f)?.clone())));
    Value::Object(named.collect::<Map<_, _>>())
}

/// Applies `each` to the rows of a page.
fn list(v: &Value, rows: &str, each: fn(&Value) -> Result<Value, String>) -> Result<Value, String> {
    let rows: Vec<Value> = v[rows].as_array().into_iter().flatten().map(each).collect::<Result<_, _>>()?;
    Ok(json!({"rows": rows, "next_cursor": v["next_cursor"]}))
}

fn top(price: &Option<Price>) -> Value {
    price.map_or(Value::Null, |p| p.to_string().into())
}

fn market(v: &Value) -> Result<Value, String> {
    let universe = universe_of([v]);
    let name = |i: &InstrumentIx| universe.token(*i).to_string();
    let mut events = Vec::new();
    let mut sink = |e: Event| {
        let Event::Market(e) = e else { return };
        events.push(match &e {
            MarketEvent::SnapshotStart { instrument, tick, venue_ms } => {
                json!({"snapshot": name(instrument), "tick": tick.map(|t| t.as_str()), "venue_ms": venue_ms})
            }
            MarketEvent::Level { side, price, qty, .. } => {
                json!({"level": format!("{side:?}"), "price": price.to_string(), "qty": qty.to_string()})
            }
            MarketEvent::SnapshotEnd { instrument } => json!({"snapshot_end": name(instrument)}),
            MarketEvent::Delta { instrument, side, price, qty } => {
                json!({"delta": name(instrument), "side": format!("{side:?}"), "price": price.to_string(), "qty": qty.to_string()})
            }
            MarketEvent::Top { instrument, bid, ask } => {
                json!({"top": name(instrument), "bid": top(bid), "ask": top(ask)})
            }
            MarketEvent::FrameEnd { venue_ms } => json!({"frame_end": {"venue_ms": venue_ms}}),
            MarketEvent::TickSizeChange { instrument, tick } => {
                json!({"tick_size_change": name(instrument), "tick": tick.as_str()})
            }
            MarketEvent::LastTrade { instrument, side, price, qty } => {
                json!({"last_trade": name(instrument), "side": side.as_str(), "price": price.to_string(), "qty": qty.to_string()})
            }
            MarketEvent::Resolved { market, payout } => {
                json!({"resolved": universe.market(*market).condition.to_string(), "payout": format!("{payout:?}")})
            }
            MarketEvent::ResolvedUnclear { market } => json!({"resolved": market.0, "payout": "not said"}),
            MarketEvent::Gap { .. } => json!({"gap": true}),
        });
    };
    let parsed = MarketParser::new(&universe).parse(&mut bytes(v), &mut sink).map_err(|e| e.to_string())?;
    Ok(json!({"events": events, "unclear": parsed.unclear}))
}

fn user_order(v: &Value) -> Result<Value, String> {
    let text = |key: &str| v[key].as_str().unwrap_or("");
    // Public captures have their ids redacted; the running program refuses those.
    let mut order =
        copy(v, &["id", "market", "asset_id", "side", "price", "original_size", "order_type", "expiration"]);
    order["change"] = format!("{:?}", order_change(text("type").as_bytes(), text("status").as_bytes())).into();
    order["matched"] = match text("size_matched") {
        "" => Value::Null,
        t => Qty::parse(t.as_bytes()).ok_or_else(|| format!("size_matched {t:?}"))?.to_string().into(),
    };
    Ok(order)
}

fn user_trade(v: &Value) -> Result<Value, String> {
    let universe = universe_of([v]);
    // Whose trade it is stands in the message: the taker's, or any maker's in turn.
    let makers = v["maker_orders"].as_array().into_iter().flatten();
    let owners: BTreeSet<&str> = match v["trader_side"].as_str() {
        Some("MAKER") => makers.filter_map(|m| m["owner"].as_str()).collect(),
        _ => v["owner"].as_str().into_iter().collect(),
    };
    let mut fills = Vec::new();
    for owner in &owners {
        let mut sink = |e: Event| {
            if let Event::User(UserEvent::Trade {
                order, instrument, side, qty, notional, taker_curve, status, ..
            }) = e
            {
                fills.push(json!({
                    "owner": owner, "order": order.to_string(), "token": universe.token(instrument).to_string(),
                    "side": side.as_str(), "qty": qty.to_string(), "notional": notional.to_string(), "taker": taker_curve.is_some(),
                    "status": format!("{status:?}"),
                }));
            }
        };
        UserParser::new(&universe, owner).parse(&mut bytes(v), &mut sink).map_err(|e| e.to_string())?;
    }
    Ok(json!({"id": v["id"], "fills": fills}))
}

fn sports(v: &Value) -> Result<Value, String> {
    let team = |key: &str| v[key].as_str().unwrap_or("").to_owned();
    let mut event: Option<MatchEvent> = None;
    let mut sink = |e: Event| {
        if let Event::Match(e) = e {
            event = Some(e);
        }
    };
    let game = Game { id: v["gameId"].as_u64(), teams: [team("homeTeam"), team("awayTeam")] };
    SportsParser::new(game).parse(&mut bytes(v), &mut sink).map_err(|e| e.to_string())?;
    let mut understood =
        copy(v, &["gameId", "leagueAbbreviation", "homeTeam", "awayTeam", "score", "period", "status"]);
    // Without teams or id a frame cannot be joined to a match.
    understood["match"] = event
        .map_or(Value::Null, |e| json!({"phase": format!("{:?}", e.phase), "map": e.map, "maps_home_away": e.score}));
    Ok(understood)
}

fn order_reply(v: &Value) -> Result<Value, String> {
    let reply = ReplyParser::new().order(200, true, &mut bytes(v));
    let mut understood = copy(v, &["orderID", "status"]);
    understood["outcome"] = match reply {
        OrderReply::Accepted { status, .. } => format!("accepted, {status:?}"),
        OrderReply::Rejected(reason) => format!("rejected, {reason:?}"),
        OrderReply::Unknown => "unknown: to be looked up".into(),
    }
    .into();
    Ok(understood)
}

fn cancel_reply(v: &Value) -> Result<Value, String> {
    let refused = v["not_canceled"].as_object().into_iter().flatten();
    let refused: Map<_, _> = refused
        .map(|(id, why)| (id.clone(), format!("{:?}", cancel_refusal(why.as_str().unwrap_or("").as_bytes())).into()))
        .collect();
    let clean = ReplyParser::new().cancel(200, true, &mut bytes(v), &mut |_, _| ());
    Ok(json!({"canceled": v["canceled"], "not_canceled": refused, "clean": clean}))
}

fn open_order(v: &Value) -> Result<Value, String> {
    let text = |key: &str| v[key].as_str().unwrap_or("");
    let mut order = copy(v, &["id", "market", "asset_id", "side"]);
    order["status"] = format!("{:?}", order_change(b"", text("status").as_bytes())).into();
    for key in ["price", "original_size", "size_matched"] {
        let number = Qty::parse(text(key).as_bytes()).ok_or_else(|| format!("{key} {}", v[key]))?;
        order[key] = number.to_string().into();
    }
    Ok(order)
}

fn listed(listing: Result<Listing, rest::RestError>) -> Result<Value, String> {
    let l = listing.map_err(|e| e.to_string())?;
    Ok(json!({
        "condition_id": l.condition.to_string(),
        "slug": l.slug,
        "tokens": l.tokens.map(|t| t.to_string()),
        "outcomes": l.outcomes,
        "exchange": format!("{:?}", l.exchange),
        "tick_size": l.tick.map(|t| t.as_str()),
        "min_size": l.min_size.map(|q| q.to_string()),
        "fee": l.fee.map(|f| json!({"rate_ppm": f.rate_ppm, "exponent": 1})),
        "rewards": l.rewards.map(|r| json!({
            "daily_usdc": r.daily.to_string(), "min_size": r.min_size.to_string(),
            "max_spread_units": r.max_spread_units,
        })),
        "hold_ms": l.hold_ms,
        "clear_on_start": l.clear_on_start,
        "game_start_unix_s": l.game_start.map(|t| t.secs()),
        "kind": l.kind.map(|k| format!("{k:?}")),
        "accepting": l.accepting,
        "closed": l.closed,
        "payout": l.payout.map(|p| format!("{p:?}")),
        "game_id": l.game_id,
    }))
}
