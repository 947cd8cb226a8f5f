//! Every captured message is read by the parser that would read it live, with nothing dropped unnoticed; and no
//! mutation of one makes a parser panic or speak before it knows.

mod market_support;

use std::{collections::BTreeMap, fs, path::PathBuf};

use polyloly_fast::{
    cli::decode::decode,
    types::{
        Account, Address, Event, MarketSpec, Price, Qty, TickSize, TokenId, Universe, Usdc,
        event::{AckStatus, CancelRefusal, MarketEvent, MatchPhase, OrderChange, Payout, TradeStatus, UserEvent},
        fees::FeeSchedule,
        ids::Outcome,
        market::{Exchange, MarketKind, Rewards, SignatureType},
    },
    wire::{
        listing,
        market::{self, MarketParser},
        reply::{OrderReply, ReplyParser},
        rest,
        sports::{Game, SportsParser},
        user::{self, UserParser},
    },
};
use proptest::prelude::*;
use serde_json::Value;

fn samples() -> BTreeMap<String, Vec<u8>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/samples");
    let mut out = BTreeMap::new();
    for folder in ["rest", "sports", "ws_market", "ws_user"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{folder}/{}", path.file_name().unwrap().to_str().unwrap());
            out.insert(name, fs::read(path).unwrap());
        }
    }
    out
}

fn sample(name: &str) -> Vec<u8> {
    samples().remove(name).unwrap_or_else(|| panic!("no sample {name}"))
}

fn spec(condition: &str, tokens: [&str; 2]) -> MarketSpec {
    MarketSpec {
        outcomes: ["Yes".into(), "No".into()],
        kind: MarketKind::Other,
        ..market_support::named(condition, tokens)
    }
}

/// The markets of the samples.
fn universe() -> Universe {
    let owner = Address([1; 20]);
    Universe {
        chain_id: 137,
        account: Account { owner, funder: owner, signature_type: SignatureType::Eoa },
        markets: vec![
            spec(
                "0x3c80445e6248383d45606d5c8cde91ffc86f8312fa366b68e62d18d8b5019322",
                ["8972205192826496295259358569016962048799702758213166878804825674073686454169", "1"],
            ),
            spec(
                "0x4371fe8460664458aa237af61008de0a0cb0ad58804d4df1e5cd7b1333a586d4",
                [
                    "105694063963642561785985168763406142319821152298139524319145565449846491783623",
                    "5781004917794962374548321262587065490067230986417139940687578557421851430412",
                ],
            ),
            spec(
                "0x311d0c4b6671ab54af4970c06fcf58662516f5168997bdda209ec3db5aa6b0c1",
                [
                    "76043073756653678226373981964075571318267289248134717369284518995922789326425",
                    "31690934263385727664202099278545688007799199447969475608906331829650099442770",
                ],
            ),
            spec(
                "0xdd22472e552920b8438158ea7238bfadfa4f736aa4cee91a6b86c39ead110917",
                [
                    "71321045679252212594626385532706912750332728571942532289631379312455583992563",
                    "52114319501245915516055106046884209969926127482827954674443846427813813222426",
                ],
            ),
            spec(
                "0x0000000000000000000000000000000000000000000000000000000000000001",
                [
                    "21742633143463906290569050155826241533067272736897614950488156847949938836455",
                    "48331043336612883890938759509493159234755048973500640148014422747788308965732",
                ],
            ),
            spec(
                "0x0f49db97f71c68b1e42a6d16e3de93d85dbf7d4148e3f018eb79e88554be9f75",
                [
                    "54533043819946592547517511176940999955633860128497669742211153063842200957669",
                    "87854174148074652060467921081181402357467303721471806610111179101805869578687",
                ],
            ),
        ],
        matches: Vec::new(),
    }
}

fn market_events(name: &str) -> (market::Parsed, Vec<MarketEvent>) {
    let mut events = Vec::new();
    let parsed = MarketParser::new(&universe()).parse(&mut sample(name), &mut |e| match e {
        Event::Market(e) => events.push(e),
        other => panic!("{other:?}"),
    });
    (parsed.unwrap_or_else(|e| panic!("{name}: {e}")), events)
}

fn price(text: &str) -> Price {
    Price::parse(text.as_bytes()).unwrap()
}

#[test]
fn market_samples() {
    // File, objects applied, objects that need no event, events.
    for (name, applied, informative, count) in [
        ("ws_market/book_2026-09-30_a.json", 1, 0, 6 + 3),
        ("ws_market/price_change_2026-09-30_a.json", 1, 0, 2 + 2 + 1),
        ("ws_market/last_trade_price_2026-09-30_buy.json", 1, 0, 2),
        ("ws_market/best_bid_ask_2026-09-30.json", 0, 1, 0),
        ("ws_market/new_market_2026-09-30_a.json", 0, 1, 0),
        ("ws_market/market_resolved.json", 1, 0, 2),
        ("ws_market/tick_size_change.json", 1, 0, 2),
        ("rest/clob_book_2026-10-16_trimmed.json", 1, 0, 20 + 3),
    ] {
        let (parsed, events) = market_events(name);
        let expected = market::Parsed { applied, informative, ..market::Parsed::default() };
        assert_eq!((parsed, events.len()), (expected, count), "{name}");
    }
    let (_, events) = market_events("ws_market/price_change_2026-09-30_a.json");
    let top = |e: &&MarketEvent| matches!(e, MarketEvent::Top { bid, .. } if *bid == Some(price("0.84")));
    assert_eq!(events.iter().filter(top).count(), 1);
    let (_, events) = market_events("ws_market/market_resolved.json");
    assert!(matches!(events[0], MarketEvent::Resolved { payout: Payout::Yes, .. }));
    let (_, events) = market_events("ws_market/last_trade_price_2026-09-30_buy.json");
    assert!(matches!(events[0], MarketEvent::LastTrade { qty: Qty(9_615_385), .. }));
}

#[test]
fn every_level_of_a_full_book_arrives() {
    let bytes = sample("ws_market/book_full_depth_2024.json");
    let book: Value = serde_json::from_slice(&bytes).unwrap();
    let mut universe = universe();
    universe.markets[0].tokens[0] = TokenId::parse(book["asset_id"].as_str().unwrap().as_bytes()).unwrap();
    let mut levels = Vec::new();
    let mut parser = MarketParser::new(&universe);
    parser
        .parse(&mut bytes.clone(), &mut |e| {
            if let Event::Market(MarketEvent::Level { price, qty, .. }) = e {
                levels.push((price, qty));
            }
        })
        .unwrap();
    let sides = ["bids", "asks"].map(|side| book[side].as_array().unwrap().clone());
    let expected: Vec<_> = sides
        .iter()
        .flatten()
        .map(|l| (price(l["price"].as_str().unwrap()), Qty::parse(l["size"].as_str().unwrap().as_bytes()).unwrap()))
        .collect();
    assert!(expected.len() > 60);
    assert_eq!(levels, expected);
}

fn user_events(api_key: &str, message: &mut [u8]) -> (user::Parsed, Vec<UserEvent>) {
    let mut events = Vec::new();
    let parsed = UserParser::new(&universe(), api_key).parse(message, &mut |e| match e {
        Event::User(e) => events.push(e),
        other => panic!("{other:?}"),
    });
    (parsed.unwrap(), events)
}

#[test]
fn order_samples() {
    // Some ids were redacted or invented by the public sources: they get a whole one, the rest stays as captured.
    for (name, expected, matched) in [
        ("ws_user/order_placement.json", OrderChange::Placed, Some(Qty::ZERO)),
        ("ws_user/order_update_matched.json", OrderChange::Matched, Some(Qty::shares(100))),
        ("ws_user/order_fok_killed.json", OrderChange::Cancelled, None),
        ("ws_user/order_venue_cancel_invalid.json", OrderChange::Invalid, Some(Qty::ZERO)),
    ] {
        let mut message: Value = serde_json::from_slice(&sample(name)).unwrap();
        message["id"] = format!("0x{:064x}", 7).into();
        let (parsed, events) = user_events("nobody", &mut message.to_string().into_bytes());
        assert_eq!(parsed, user::Parsed { orders: 1, ..user::Parsed::default() }, "{name}");
        let [UserEvent::Order { change, matched: m, .. }] = events[..] else { panic!("{name}: {events:?}") };
        assert_eq!((change, m), (expected, matched), "{name}");
    }
}

#[test]
fn trade_samples() {
    // File, whose eyes, fills as (outcome, shares, cash, as taker).
    for (name, api_key, status, expected) in [
        (
            "ws_user/trade_2.json",
            "3e2c94ca-8124-c4c1-c7ea-be1ea21b71fe",
            TradeStatus::Matched,
            vec![(Outcome::Yes, "5", "2.6", true)],
        ),
        (
            "ws_user/trade_4.json",
            "a93a3d32-74fa-dd2b-4b67-98bfa6fc5cb5",
            TradeStatus::Confirmed,
            vec![(Outcome::Yes, "5", "2", false), (Outcome::Yes, "5", "1.5", false)],
        ),
        (
            "ws_user/trade_1.json",
            "78132bc3-22af-6aa2-79ae-11929f821cae",
            TradeStatus::Mined,
            vec![(Outcome::No, "10", "4.82", false)],
        ),
        (
            "rest/clob_trade.json",
            "3e2c94ca-8124-c4c1-c7ea-be1ea21b71fe",
            TradeStatus::Confirmed,
            vec![(Outcome::Yes, "5", "2.445", true)],
        ),
    ] {
        let (parsed, events) = user_events(api_key, &mut sample(name));
        assert_eq!(parsed.fills as usize, expected.len(), "{name}");
        assert!(!parsed.ignored(), "{name}");
        for (event, (outcome, shares, cash, taker)) in events.iter().zip(expected) {
            let UserEvent::Trade { instrument, qty, notional, taker_curve, status: s, .. } = event else {
                panic!("{name}: {event:?}")
            };
            assert_eq!(instrument.outcome(), outcome, "{name}");
            assert_eq!(
                (*qty, *notional),
                (Qty::parse(shares.as_bytes()).unwrap(), Usdc::parse(cash.as_bytes()).unwrap())
            );
            assert_eq!((taker_curve.is_some(), *s), (taker, status), "{name}");
        }
    }
}

#[test]
fn sports_samples() {
    for (name, expected) in [
        ("sports/cs2_2026-09-30_a.json", Some((MatchPhase::Running, 2, [1, 0]))),
        ("sports/dota2_2026-09-30.json", Some((MatchPhase::Running, 1, [0, 0]))),
        ("sports/esports_lol_2026-07-25.json", Some((MatchPhase::Running, 1, [0, 0]))),
        ("sports/finished_numeric_2026-10-01.json", Some((MatchPhase::Finished, 0, [0, 0]))),
        ("sports/soccer_2026-07-25.json", Some((MatchPhase::Running, 0, [0, 0]))),
        // No game id and no teams: it can be nobody's match, and must not fail.
        ("sports/cricket_2026-07-25.json", None),
    ] {
        let frame: Value = serde_json::from_slice(&sample(name)).unwrap();
        let team = |key: &str| frame[key].as_str().unwrap_or("").to_owned();
        let game = Game { id: frame["gameId"].as_u64(), teams: [team("homeTeam"), team("awayTeam")] };
        let mut heard = None;
        let parsed = SportsParser::new(game)
            .parse(&mut sample(name), &mut |e| {
                if let Event::Match(e) = e {
                    heard = Some((e.phase, e.map, e.score));
                }
            })
            .unwrap();
        assert_eq!(heard, expected, "{name}");
        assert_eq!(parsed.applied + parsed.other_games, 1, "{name}");
    }
}

#[test]
fn answer_samples() {
    let mut reply = ReplyParser::new();
    // The sample's id is two digits too long, and an id that is none is not a clean answer.
    let ok = String::from_utf8(sample("rest/http_order_response_ok.json")).unwrap();
    assert_eq!(reply.order(200, true, &mut ok.clone().into_bytes()), OrderReply::Unknown);
    let whole = ok.replace("abcdef12\"", "abcdef\"");
    assert!(matches!(
        reply.order(200, true, &mut whole.into_bytes()),
        OrderReply::Accepted { status: AckStatus::Unmatched, .. }
    ));
    let mut told = Vec::new();
    assert!(reply.cancel(200, true, &mut sample("rest/http_batch_cancel_response.json"), &mut |order, refusal| {
        told.push((order.0[0], refusal));
    }));
    assert_eq!(told, [(0x11, None), (0x22, None), (0x33, Some(CancelRefusal::Gone))]);

    let page = rest::open_orders(&sample("rest/http_open_orders_page.json")).unwrap();
    assert_eq!((page.rows.len(), page.next), (2, None));
    assert_eq!((page.rows[1].original, page.rows[1].matched), (Qty::shares(150), Qty::shares(50)));
    let one = String::from_utf8(sample("rest/http_open_order.json")).unwrap().replace("abcdef12\"", "abcdef\"");
    let one = rest::open_order(200, one.as_bytes()).unwrap().unwrap();
    assert_eq!((one.price, one.status), (price("0.5"), OrderChange::Placed));
    let balance = rest::balance_allowance(&sample("rest/http_balance_allowance_collateral.json")).unwrap();
    assert_eq!(balance.cash(), Usdc::dollars(1_000));
}

#[test]
fn market_terms_samples() {
    let clob = listing::clob_market(&sample("rest/clob_market_2026-10-16.json")).unwrap();
    assert_eq!((clob.exchange, clob.tick, clob.hold_ms), (Exchange::V2NegRisk, Some(TickSize::Mill), Some(0)));
    let pool = Rewards { daily: Usdc::dollars(29), min_size: Qty::shares(50), max_spread_units: 550 };
    assert_eq!(clob.rewards, Some(pool));
    // The same market by Gamma: the two sources agree.
    let list: Vec<Value> = serde_json::from_slice(&sample("rest/gamma_markets_2026-10-16.json")).unwrap();
    let gamma = listing::gamma_market(list[0].to_string().as_bytes()).unwrap();
    assert_eq!(gamma.rewards, Some(pool));
    let both = clob.or(gamma).unwrap();
    assert_eq!(both.min_size, Some(Qty::shares(5)));

    let map = listing::gamma_market(&sample("rest/gamma_market_cs2_map_2026-09-15.json")).unwrap();
    assert_eq!(map.kind, Some(MarketKind::Map(1)));
    assert_eq!(map.fee, Some(FeeSchedule { rate_ppm: 50_000 }));
    assert_eq!(map.outcomes, ["FORZE Reload", "UPGRADE"]);
    assert_eq!(map.game_start.map(|t| t.secs()), Some(1_789_486_200));
    let series = listing::gamma_market(&sample("rest/gamma_market_sports_market_money_line.json")).unwrap();
    assert_eq!((series.kind, series.payout), (Some(MarketKind::Series), Some(Payout::Yes)));
    assert_eq!((series.hold_ms, series.clear_on_start), (Some(3_000), Some(true)));
    // It names a size and a spread, and no rate: nothing is paid.
    assert_eq!((map.rewards, series.rewards), (None, None));
}

#[test]
fn decode_names_every_sample_and_every_field_it_ignores() {
    for (name, bytes) in samples() {
        let answers = decode(&bytes);
        assert!(!answers.is_empty(), "{name}");
        let message: Value = serde_json::from_slice(&bytes).unwrap();
        let first = message.as_array().map_or(&message, |items| &items[0]);
        for answer in &answers {
            assert_eq!(answer.get("error"), None, "{name}");
            assert_ne!(answer["kind"], "unknown", "{name}");
            let ignored = answer["ignored"].as_array().unwrap();
            // An ignored path begins with a field of the message: nothing is invented.
            for path in ignored {
                let key = path.as_str().unwrap().split(['.', '[']).next().unwrap();
                assert!(first.get(key).is_some(), "{name}: {path}");
            }
        }
    }
    let book = &decode(&sample("ws_market/book_2026-09-30_a.json"))[0];
    assert_eq!(book["ignored"], serde_json::json!(["hash", "last_trade_price", "market"]));
    let unknown = &decode(br#"{"event_type":"surprise","a":{"b":[1]}}"#)[0];
    assert_eq!(unknown["ignored"], serde_json::json!(["a.b[]", "event_type"]));
    assert!(decode(b"{")[0].get("error").is_some());
}

/// Replaces, removes or inserts bytes.
fn mutate(bytes: &mut Vec<u8>, changes: &[(prop::sample::Index, u8, u8)]) {
    for (at, how, with) in changes {
        let at = at.index(bytes.len().max(1));
        match how % 4 {
            0 if at < bytes.len() => bytes[at] = *with,
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.insert(at, *with),
            _ => bytes.truncate(at.max(1)),
        }
    }
}

fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8, u8)>> {
    // Mostly bytes that mean something in JSON.
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"\"{}[]:,0189.-\\ntu".to_vec())];
    proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), byte), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn mutated_messages_never_panic_and_errors_are_silent(which: prop::sample::Index, changes in changes()) {
        let samples = samples();
        let mut bytes = samples.values().nth(which.index(samples.len())).unwrap().clone();
        mutate(&mut bytes, &changes);
        let universe = universe();
        let mut heard = 0;
        if MarketParser::new(&universe).parse(&mut bytes.clone(), &mut |_| heard += 1).is_err() {
            prop_assert_eq!(heard, 0);
        }
        let mut heard = 0;
        let key = "a93a3d32-74fa-dd2b-4b67-98bfa6fc5cb5";
        if UserParser::new(&universe, key).parse(&mut bytes.clone(), &mut |_| heard += 1).is_err() {
            prop_assert_eq!(heard, 0);
        }
        let game = Game { id: Some(1_716_599), teams: ["Morrow Esports".into(), "Banda LFO".into()] };
        let _ = SportsParser::new(game).parse(&mut bytes.clone(), &mut |_| ());
        let mut reply = ReplyParser::new();
        reply.order(200, true, &mut bytes.clone());
        reply.orders(200, true, &mut bytes.clone(), 2, &mut |_, _| ());
        reply.cancel(200, true, &mut bytes.clone(), &mut |_, _| ());
        let _ = rest::open_orders(&bytes);
        let _ = rest::balance_allowance(&bytes);
        let _ = listing::clob_market(&bytes);
        let _ = listing::gamma_market(&bytes);
        prop_assert!(!decode(&bytes).is_empty() || bytes.trim_ascii() == b"[]");
    }
}
