//! The embedded venue over real loopback sockets: REST, the three channels, TLS, and what it does with bad bytes.
//!
//! Every wait is for an event, bounded by a read timeout that only a failure reaches.
#![cfg(feature = "embedded")]

mod venue_support;

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
};

use polyloly_fast::{
    gateway::bootstrap::Bootstrap,
    scenario::{Command, OrderTag, SimTime, Size, Trader},
    stage::endpoint::{Endpoint, Trust, tls_config},
    types::{
        Account, Address, ConditionId, InstrumentIx, MarketIx, Price, Qty, Side, TickSize, TimeInForce, TokenId, Usdc,
        event::Payout,
        market::{Exchange, Rewards, SignatureType},
    },
    venue::{
        Begin, Conduct, Venue, VenueHandle, VenueOptions,
        verify::{Call, SignedFields, checksummed, domain, exchange_domain, keccak, typed, uint, word},
        wallets,
    },
};
use serde_json::{Value, json};
use tungstenite::Message;
use venue_support::{
    Client, PATIENCE, Script, condition, hex, listed, market_hello, open, rests, sign, token, unix_s, until, ws,
};

/// A venue whose trader offers 100 YES at 0.55 at once, as a buyer of NO, and then does what the test has scripted.
fn start(tls: bool, mut script: Vec<(SimTime, Command)>, begin: Begin) -> VenueHandle {
    script.insert(0, (SimTime(0), rests(1, 1, "0.45", 100)));
    open(tls, script, begin, Conduct::default())
}

/// Waits until the trader's first order rests: a socket that subscribes sees it in a snapshot or as a change.
fn rested(venue: &VenueHandle) {
    let mut m = ws(venue, "/ws/market", Some(market_hello()));
    until(&mut m, |v| v["asks"].as_array().is_some_and(|a| !a.is_empty()) || v["event_type"] == "price_change");
}

#[test]
fn public_reads() {
    let venue = start(false, vec![], Begin::AtOnce);
    rested(&venue);
    let mut c = Client::new(&venue, listed(SignatureType::Eoa));
    assert_eq!(c.get("/ok"), "OK");
    assert!(c.get("/time").as_u64().unwrap().abs_diff(unix_s()) <= 1);
    assert_eq!(c.get("/version"), json!({"version": 2}));
    let t = token(1);
    let book = c.get(&format!("/book?token_id={t}"));
    assert_eq!(book["asks"], json!([{"price": "0.55", "size": "100"}]));
    assert_eq!((&book["bids"], &book["min_order_size"], &book["tick_size"]), (&json!([]), &json!("5"), &json!("0.01")));
    assert_eq!(c.get(&format!("/price?token_id={t}&side=SELL")), json!({"price": "0.55"}));
    assert_eq!(c.get(&format!("/tick-size?token_id={t}")), json!({"minimum_tick_size": 0.01}));
    assert_eq!(c.get(&format!("/neg-risk?token_id={t}")), json!({"neg_risk": false}));
    assert_eq!(c.get(&format!("/last-trade-price?token_id={t}")), json!({"price": "0.5", "side": ""}));
    let condition = condition();
    let m = c.get(&format!("/clob-markets/{condition}"));
    assert_eq!((&m["fd"], &m["sd"], &m["v"]), (&json!({"r": 0.05, "e": 1, "to": true}), &json!(0), &json!("v1")));
    assert_eq!(c.get(&format!("/markets/{condition}"))["tokens"][1]["outcome"], "Beta Foxes");
    assert_eq!(c.get(&format!("/markets-by-token/{t}"))["condition_id"], condition);
    let page = c.get("/markets?next_cursor=MA%3D%3D");
    assert_eq!((page["data"].as_array().unwrap().len(), &page["next_cursor"]), (1, &json!("LTE=")));
    let cases = [
        ("GET", "/book?token_id=abc", "", 400, "Invalid token id"),
        ("GET", "/book?token_id=17", "", 404, "No orderbook exists for the requested token id"),
        ("GET", "/nowhere", "", 404, "Not Found"),
        ("GET", "/data/orders", "", 401, "Unauthorized/Invalid api key"),
        ("POST", "/auth/api-key", "", 401, "Invalid L1 Request headers"),
        ("POST", "/books", "{", 400, "Invalid order payload"),
    ];
    for (method, target, body, status, text) in cases {
        assert_eq!(c.raw(method, target, &[], body), (status, json!({"error": text})), "{target}");
    }
}

#[test]
fn every_signature_type_trades_and_hears_of_it() {
    let venue = start(false, vec![], Begin::AtOnce);
    rested(&venue);
    for (n, kind) in
        [SignatureType::Eoa, SignatureType::PolyProxy, SignatureType::PolyGnosisSafe, SignatureType::Poly1271]
            .into_iter()
            .enumerate()
    {
        let salt = n as u64 + 1;
        let mut c = Client::authenticated(&venue, kind);
        let mut user = c.user(&venue);

        let resting = c.order(0, Side::Buy, 40, 10, "GTC", salt);
        let placed = c.placed(&resting);
        assert_eq!((&placed["status"], &placed["success"]), (&json!("live"), &json!(true)), "{kind:?}");
        let id = placed["orderID"].as_str().unwrap().to_owned();
        let told = until(&mut user, |v| v["id"] == id.as_str());
        assert_eq!(
            (&told["type"], &told["status"], &told["size_matched"]),
            (&json!("PLACEMENT"), &json!("LIVE"), &json!("0"))
        );
        let (status, again) = c.private("POST", "/order", &resting.to_string());
        assert_eq!((status, again), (400, json!({"error": format!("order {id} is invalid. Duplicated.")})));
        let open = c.private("GET", "/data/orders?next_cursor=MA==", "").1;
        assert_eq!((open["data"][0]["id"].as_str(), &open["next_cursor"]), (Some(id.as_str()), &json!("LTE=")));

        let taken = c.placed(&c.order(0, Side::Buy, 55, 10, "FOK", salt + 100));
        assert_eq!(
            (&taken["status"], &taken["makingAmount"], &taken["takingAmount"]),
            (&json!("matched"), &json!("5.5"), &json!("10"))
        );
        let trade = taken["tradeIDs"][0].as_str().unwrap().to_owned();
        for status in ["MATCHED", "MINED", "CONFIRMED"] {
            let t = until(&mut user, |v| v["event_type"] == "trade" && v["id"] == trade.as_str());
            assert_eq!((&t["status"], &t["trader_side"]), (&json!(status), &json!("TAKER")));
            assert_eq!(t["transaction_hash"] == "", status == "MATCHED");
            assert_eq!(t["maker_orders"][0]["price"], "0.45");
            assert_eq!(
                (&t["maker_orders"][0]["asset_id"], &t["maker_orders"][0]["side"]),
                (&json!(token(2)), &json!("BUY"))
            );
        }
        let trades = c.private("GET", &format!("/data/trades?id={trade}"), "").1;
        assert_eq!(trades["data"][0]["status"], "CONFIRMED");
        let target = format!("/balance-allowance?asset_type=COLLATERAL&signature_type={}", kind as u8);
        // 5.5 and a fee of 10 × 0.05 × 0.55 × 0.45.
        assert_eq!(c.private("GET", &target, "").1["balance"], "9994376250");
        let account = c.get(&format!("/embedded/account?address={}", checksummed(c.who.funder)));
        assert_eq!(
            (&account["cash"], &account["fees"], &account["reserved"]),
            (&json!("9994.37625"), &json!("0.12375"), &json!("4"))
        );

        let canceled = c.private("DELETE", "/order", &json!({"orderID": id}).to_string()).1;
        assert_eq!(canceled, json!({"canceled": [id], "not_canceled": {}}));
        let told = until(&mut user, |v| v["type"] == "CANCELLATION");
        assert_eq!((&told["id"], &told["status"]), (&json!(id), &json!("CANCELED")));
        let again = c.private("DELETE", "/orders", &json!([id]).to_string()).1;
        assert_eq!(again["not_canceled"][&id], "Order not found or already canceled");
    }
}

#[test]
fn orders_that_are_not_what_they_seem() {
    let venue = start(false, vec![], Begin::AtOnce);
    let mut c = Client::authenticated(&venue, SignatureType::Eoa);
    let good = c.order(0, Side::Buy, 40, 10, "GTC", 1);
    let mut bent = |change: &dyn Fn(&mut Value)| {
        let mut v = good.clone();
        change(&mut v);
        let (status, answer) = c.private("POST", "/order", &v.to_string());
        assert_eq!(status, 400, "{answer}");
        answer["error"].as_str().unwrap().to_owned()
    };
    assert_eq!(bent(&|v| v["order"]["makerAmount"] = "4100000".into()), "invalid signature");
    assert_eq!(bent(&|v| v["order"]["salt"] = "1".into()), "Invalid order payload", "a salt is a number");
    assert_eq!(bent(&|v| v["order"]["salt"] = (1_u64 << 53).into()), "Invalid order payload", "below 2^53");
    assert_eq!(bent(&|v| v["orderType"] = "IOC".into()), "Invalid order payload");
    assert_eq!(bent(&|v| v["owner"] = "someone".into()), "the order owner has to be the owner of the API KEY");
    assert_eq!(
        bent(&|v| v["order"]["signer"] = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8".into()),
        "the order signer address has to be the address of the API KEY"
    );
    assert_eq!(bent(&|v| v["order"]["expiration"] = "99999999999".into()), "invalid expiration", "a GTC has none");
    assert_eq!(bent(&|v| v["order"]["tokenId"] = "5".into()), "the orderbook 5 does not exist");
    // Signed for the other exchange: the client has to look up the version again.
    let fields = SignedFields {
        salt: 1,
        maker: c.who.owner,
        signer: c.who.owner,
        token: TokenId([0x11; 32]),
        maker_amount: 4_000_000,
        taker_amount: 10_000_000,
        side: Side::Buy,
        signature_type: SignatureType::Eoa,
        timestamp: 1_790_000_000_000,
        metadata: [0; 32],
        builder: [0; 32],
    };
    let v3 = sign(&c.who.private_key.unwrap(), &typed(&exchange_domain(Exchange::V3, 137), &fields.struct_hash()));
    let mut v = good.clone();
    v["order"]["signature"] = hex(&v3).into();
    assert_eq!(c.private("POST", "/order", &v.to_string()).1, json!({"error": "order_version_mismatch"}));

    let legs: Vec<Value> = (0..16).map(|n| c.order(0, Side::Buy, 40, 10, "GTC", 50 + n)).collect();
    let (status, answer) = c.private("POST", "/orders", &Value::from(legs.clone()).to_string());
    assert_eq!((status, answer), (400, json!({"error": "Too many orders in payload: 16, max allowed: 15"})));
    let small = c.order(0, Side::Buy, 40, 4, "GTC", 90);
    let (_, answer) = c.private("POST", "/orders", &json!([legs[0], small, legs[1]]).to_string());
    let statuses: Vec<_> = answer.as_array().unwrap().iter().map(|a| a["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["live", "", "live"], "legs are independent");
    assert_eq!((&answer[1]["success"], &answer[1]["orderID"]), (&json!(true), &json!("")));
    assert!(answer[1]["errorMsg"].as_str().unwrap().ends_with("Size (4) lower than the minimum: 5"));
    let condition = condition();
    let body = json!({"market": condition, "asset_id": token(2)}).to_string();
    assert_eq!(c.private("DELETE", "/cancel-market-orders", &body).1["canceled"], json!([]));
    assert_eq!(c.private("DELETE", "/cancel-all", "").1["canceled"].as_array().unwrap().len(), 2);
}

#[test]
fn heartbeats_over_the_wire() {
    let venue = start(false, vec![], Begin::AtOnce);
    let mut c = Client::authenticated(&venue, SignatureType::Eoa);
    let first = c.private("POST", "/v1/heartbeats", r#"{"heartbeat_id":""}"#);
    let id = first.1["heartbeat_id"].as_str().unwrap().to_owned();
    assert_eq!(first.0, 200);
    let wrong = c.private("POST", "/v1/heartbeats", r#"{"heartbeat_id":"x"}"#);
    assert_eq!(wrong, (400, json!({"error_msg": "Invalid Heartbeat ID", "heartbeat_id": id})));
    let next = c.private("POST", "/v1/heartbeats", &json!({"heartbeat_id": id}).to_string());
    assert_eq!(next.0, 200);
}

/// The market channel: snapshot, change with both tokens and the tops after it, trade, snapshot again; resolution.
#[test]
fn the_market_channel() {
    let taker = Command::Place {
        trader: Trader(0),
        tag: OrderTag(2),
        instrument: InstrumentIx(0),
        side: Side::Buy,
        price: Price::parse(b"0.55").unwrap(),
        size: Size::Shares(Qty::shares(30)),
        tif: TimeInForce::Fak,
        post_only: false,
    };
    let script = vec![
        (SimTime(1), Command::TickSize(MarketIx(0), TickSize::Mill)),
        (SimTime(2), taker),
        (SimTime(3), Command::Sports(r#"{"gameId":1,"status":"running","live":true,"ended":false}"#.into())),
        (SimTime(4), Command::Resolve(MarketIx(0), Payout::No)),
        (SimTime(5), Command::Finished),
    ];
    let venue = start(false, script, Begin::OnSignal);
    let mut plain = ws(&venue, "/ws/market", Some(json!({"assets_ids": [token(1)], "type": "market"})));
    let mut m = ws(&venue, "/ws/market", Some(market_hello()));
    let mut sports = ws(&venue, "/ws/sports", None);
    let mut next = move || match m.read().unwrap() {
        Message::Text(text) => serde_json::from_str::<Value>(&text).unwrap(),
        other => panic!("{other:?}"),
    };
    for n in [1, 2] {
        let book = next();
        assert_eq!((&book["event_type"], &book["asset_id"]), (&json!("book"), &json!(token(n))));
        assert_eq!((&book["bids"], &book["asks"]), (&json!([]), &json!([])));
    }
    for socket in [&mut plain, &mut sports] {
        socket.send(Message::text("PING")).unwrap();
        while socket.read().unwrap() != Message::text("PONG") {}
    }
    venue.begin();
    let change = next();
    assert_eq!(change["event_type"], "price_change");
    let part = |n: usize, key: &str| change["price_changes"][n][key].as_str().unwrap().to_owned();
    let of = |n| ["asset_id", "price", "size", "side", "best_bid", "best_ask"].map(|k| part(n, k));
    assert_eq!(of(0), [&token(1), "0.55", "100", "SELL", "0", "0.55"].map(str::to_owned));
    assert_eq!(of(1), [&token(2), "0.45", "100", "BUY", "0.45", "1"].map(str::to_owned));
    assert_eq!(part(0, "hash").len(), 40);
    assert_eq!([next(), next()].map(|v| v["event_type"].clone()), ["best_bid_ask", "best_bid_ask"]);
    let tick = next();
    assert_eq!((&tick["event_type"], &tick["new_tick_size"]), (&json!("tick_size_change"), &json!("0.001")));
    next();
    let change = next();
    assert_eq!((&change["event_type"], &change["price_changes"][0]["size"]), (&json!("price_change"), &json!("70")));
    next();
    next();
    let trade = next();
    let shown = ["event_type", "asset_id", "price", "size", "side"].map(|k| trade[k].as_str().unwrap().to_owned());
    assert_eq!(shown, ["last_trade_price", &token(1), "0.55", "30", "BUY"].map(str::to_owned));
    let again = next();
    assert_eq!((&again["event_type"], &again["asks"]), (&json!("book"), &json!([{"price": "0.55", "size": "70"}])));
    let resolved = loop {
        let v = next();
        if v["event_type"] == "market_resolved" {
            break v;
        }
    };
    assert_eq!((&resolved["winning_asset_id"], &resolved["winning_outcome"]), (&json!(token(2)), &json!("Beta Foxes")));
    let frame = until(&mut sports, |_| true);
    assert_eq!((&frame["gameId"], frame.get("event_type")), (&json!(1), None));
    // Without the custom features there is no best_bid_ask; the frame of a change names both tokens all the same.
    let first = until(&mut plain, |v| v["event_type"] != "book");
    let second = until(&mut plain, |_| true);
    assert_eq!(first["price_changes"].as_array().unwrap().len(), 2);
    assert_eq!(second["event_type"], "tick_size_change");
}

#[test]
fn subscriptions_come_and_go_and_bad_credentials_are_shut_out() {
    let venue = start(false, vec![], Begin::AtOnce);
    rested(&venue);
    let mut m = ws(&venue, "/ws/market", Some(json!({"assets_ids": [token(1)], "type": "market"})));
    until(&mut m, |v| v["event_type"] == "book" && v["asset_id"] == token(1));
    let mut say = |v: Value| m.send(Message::text(v.to_string())).unwrap();
    say(json!({"operation": "subscribe", "assets_ids": [token(1), token(2)]}));
    say(json!({"operation": "unsubscribe", "assets_ids": [token(1)]}));
    say(json!({"operation": "subscribe", "assets_ids": [token(1)]}));
    m.send(Message::text("not json")).unwrap();
    m.send(Message::text("PING")).unwrap();
    let mut heard = Vec::new();
    loop {
        match m.read().unwrap() {
            Message::Text(t) if t.as_str() == "PONG" => break,
            Message::Text(t) => heard.push(serde_json::from_str::<Value>(&t).unwrap()["asset_id"].clone()),
            _ => {}
        }
    }
    assert_eq!(heard, [token(2), token(1)], "a book only for what is new");

    let hello = json!({"type": "user", "auth": {"apiKey": "a", "secret": "b", "passphrase": "c"}});
    let mut user = ws(&venue, "/ws/user", Some(hello));
    assert!(matches!(user.read(), Ok(Message::Close(_)) | Err(_)), "closed");
}

#[test]
fn tls_with_an_authority_of_its_own() {
    let venue = start(true, vec![], Begin::AtOnce);
    assert!(venue.ready.rest.starts_with("https://") && venue.ready.ws_user.starts_with("wss://"));
    let mut roots = rustls::RootCertStore::empty();
    let pem = venue.ready.ca.as_bytes();
    for cert in <rustls_pki_types::CertificateDer<'_> as rustls_pki_types::pem::PemObject>::pem_slice_iter(pem) {
        roots.add(cert.unwrap()).unwrap();
    }
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    for name in ["127.0.0.1", "localhost"] {
        let name = rustls_pki_types::ServerName::try_from(name).unwrap();
        let session = rustls::ClientConnection::new(Arc::new(config.clone()), name).unwrap();
        let stream = TcpStream::connect(venue.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut tls = rustls::StreamOwned::new(session, stream);
        tls.write_all(b"GET /ok HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        tls.read_to_string(&mut text).expect("an orderly end");
        assert!(text.starts_with("HTTP/1.1 200 OK") && text.ends_with("\"OK\""), "{text}");
    }
}

#[test]
fn bad_bytes_are_answered_and_the_venue_goes_on() {
    let venue = start(false, vec![], Begin::AtOnce);
    let huge = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &vec![b'a'; 20_000]].concat();
    for bytes in
        [b"\x00\xff\xfe garbage \r\n\r\n".as_slice(), b"POST /order HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n", &huge]
    {
        let mut s = TcpStream::connect(venue.address).unwrap();
        s.set_read_timeout(Some(PATIENCE)).unwrap();
        s.write_all(bytes).unwrap();
        let mut head = [0; 12];
        s.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 400");
    }
    // Cut in the middle of a request and of a frame.
    TcpStream::connect(venue.address).unwrap().write_all(b"POST /order HTTP/1.1\r\nContent-Le").unwrap();
    let mut half = ws(&venue, "/ws/market", None);
    half.get_mut().write_all(&[0x81, 0xfe, 0x01]).unwrap();
    drop(half);
    // Pipelined requests are answered in order.
    let mut c = Client::new(&venue, listed(SignatureType::Eoa));
    c.stream.write_all(b"GET /ok HTTP/1.1\r\n\r\nGET /version HTTP/1.1\r\n\r\n").unwrap();
    for body in [json!("OK"), json!({"version": 2})] {
        let answer = c.answer();
        assert_eq!((answer.status, answer.json()), (200, body));
    }
}

/// From the venue's own page to the terms that a run begins with.
#[test]
fn a_market_that_pays_makers_says_so() {
    let pool = Rewards { daily: Usdc::parse(b"29.5").unwrap(), min_size: Qty::shares(50), max_spread_units: 550 };
    let venue = Venue::start(VenueOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls: true,
        speed: 1.0,
        scenario: Script::paying(pool),
        seed: 7,
        chain_id: 137,
        accounts: wallets::development(Usdc::dollars(10_000)),
        on_thread: None,
        begin: Begin::AtOnce,
    })
    .unwrap();
    let rest = Endpoint::resolve(&venue.ready.rest, &tls_config(Trust::Pem(venue.ready.ca.as_bytes())).unwrap());
    let owner = Address([1; 20]);
    let account = Account { owner, funder: owner, signature_type: SignatureType::Eoa };
    let mut boot = Bootstrap::new(rest.unwrap(), 137, account).unwrap();
    let condition = ConditionId::parse(condition().as_bytes()).unwrap();
    assert_eq!(boot.universe(&[condition]).unwrap().markets[0].rewards, Some(pool));

    let plain = start(false, vec![], Begin::AtOnce);
    let page = Client::new(&plain, listed(SignatureType::Eoa)).get(&format!("/markets/{condition}"));
    assert_eq!((page.get("rewards"), &page["minimum_order_size"]), (None, &json!(5)));
}

/// A recording speaks for its market: its frames go out as they are, and a late subscriber gets the book they make.
#[test]
fn a_recording_is_played_and_remembered() {
    let book = json!({"event_type": "book", "asset_id": token(1), "market": "0x01", "timestamp": "1790000000000",
        "bids": [{"price": "0.40", "size": "10"}], "asks": [{"price": "0.60", "size": "20"}], "hash": "h"});
    let change = json!({"event_type": "price_change", "market": "0x01", "timestamp": "1790000000001", "price_changes": [
        {"asset_id": token(1), "price": "0.41", "size": "7", "side": "BUY", "best_bid": "0.41", "best_ask": "0.60"},
        {"asset_id": token(1), "price": "0.60", "size": "0", "side": "SELL", "best_bid": "0.41", "best_ask": "1"}]});
    let script = vec![
        (SimTime(1), Command::Replay(json!([book]).to_string())),
        (SimTime(2), Command::Replay(change.to_string())),
    ];
    let venue = start(false, script, Begin::OnSignal);
    let mut early = ws(&venue, "/ws/market", Some(market_hello()));
    until(&mut early, |v| v["asset_id"] == token(2));
    venue.begin();
    assert_eq!(until(&mut early, Value::is_array), json!([book]));
    assert_eq!(until(&mut early, |v| v["timestamp"] == "1790000000001"), change);
    let mut late = ws(&venue, "/ws/market", Some(market_hello()));
    let dump = until(&mut late, |v| v["asset_id"] == token(1));
    assert_eq!(dump["bids"], json!([{"price": "0.4", "size": "10"}, {"price": "0.41", "size": "7"}]));
    assert_eq!((&dump["asks"], &dump["timestamp"]), (&json!([]), &json!("1790000000001")));
}

#[test]
fn a_reader_that_does_not_read_is_cut_and_counted() {
    let flips =
        |n: u64| Command::TickSize(MarketIx(0), if n.is_multiple_of(2) { TickSize::Mill } else { TickSize::Cent });
    let script = (0..60_000).map(|n| (SimTime(n), flips(n))).collect();
    let venue = start(false, script, Begin::OnSignal);
    let mut asleep = ws(&venue, "/ws/market", Some(market_hello()));
    until(&mut asleep, |v| v["asset_id"] == token(2));
    let mut c = Client::new(&venue, listed(SignatureType::Eoa));
    venue.begin();
    let begun = std::time::Instant::now();
    while venue.stats().slow_cut.load(std::sync::atomic::Ordering::Relaxed) == 0 {
        assert_eq!(c.get("/ok"), "OK", "the others are served meanwhile");
        assert!(begun.elapsed() < PATIENCE, "not cut");
    }
}

#[test]
fn a_port_in_use_is_said_so() {
    let venue = start(false, vec![], Begin::AtOnce);
    let again = Venue::start(VenueOptions {
        listen: venue.address,
        tls: false,
        speed: 1.0,
        scenario: Script::new(vec![]),
        seed: 1,
        chain_id: 137,
        accounts: vec![],
        on_thread: None,
        begin: Begin::AtOnce,
    });
    let text = again.err().unwrap().to_string();
    assert!(text.contains(&format!("{} is in use", venue.address)), "{text}");
    venue.join().unwrap();
}

/// A deposit wallet buys a pair, waits for the chain, merges it through the relayer.
#[test]
fn a_deposit_wallet_merges_a_pair() {
    let venue = start(false, vec![], Begin::AtOnce);
    rested(&venue);
    let mut c = Client::authenticated(&venue, SignatureType::Poly1271);
    let mut user = c.user(&venue);
    c.place(&c.order(0, Side::Buy, 55, 10, "FOK", 1));
    until(&mut user, |v| v["status"] == "MINED");
    // NO against its own resting YES bid: minted with itself.
    c.place(&c.order(0, Side::Buy, 50, 10, "GTC", 2));
    c.place(&c.order(1, Side::Buy, 50, 10, "FOK", 3));
    until(&mut user, |v| v["status"] == "MINED");

    let owner = checksummed(c.who.owner);
    let params = c.get(&format!("/v1/account/transactions/params?address={owner}&type=WALLET"));
    assert_eq!(params["nonce"], "0");
    let mut data = keccak(&[b"mergePositions(address,bytes32,bytes32,uint256[],uint256)"])[..4].to_vec();
    let (zero, condition) = ([0; 32], [0xc1; 32]);
    for w in [&zero, &zero, &condition, &uint(160), &uint(10_000_000), &uint(2), &uint(1), &uint(2)] {
        data.extend_from_slice(w);
    }
    let target = Address::parse(b"AdA100Db00Ca00073811820692005400218FcE1f").unwrap();
    let (wallet, deadline) = (c.who.funder, unix_s() + 600);
    let submit = |nonce: u64, data: &[u8]| {
        let call = Call { target, value: 0, data: data.to_vec() };
        let call_type: &[u8] = b"Call(address target,uint256 value,bytes data)";
        let hashed = keccak(&[&keccak(&[call_type]), &word(call.target), &uint(0), &keccak(&[&call.data])]);
        let batch = keccak(&[
            &keccak(&[b"Batch(address wallet,uint256 nonce,uint256 deadline,Call[] calls)", call_type]),
            &word(wallet),
            &uint(nonce),
            &uint(deadline),
            &keccak(&[&hashed]),
        ]);
        let digest = typed(&domain("DepositWallet", "1", 137, wallet), &batch);
        let signature = sign(&listed(SignatureType::Poly1271).private_key.unwrap(), &digest);
        json!({
            "type": "WALLET", "from": owner, "to": "0x00000000000Fb5C9ADea0298D729A0CB3823Cc07",
            "nonce": nonce.to_string(), "signature": hex(&signature), "metadata": "",
            "depositWalletParams": {"depositWallet": checksummed(wallet), "deadline": deadline.to_string(),
                "calls": [{"target": checksummed(target), "value": "0", "data": hex(data)}]},
        })
    };
    let (status, answer) = c.raw("POST", "/submit", &[], &submit(5, &data).to_string());
    assert_eq!((status, answer), (400, json!({"error": "batch nonce 5 does not match on-chain nonce 0"})));
    let (status, sent) = c.raw("POST", "/submit", &[], &submit(0, &data).to_string());
    assert_eq!((status, &sent["state"]), (200, &json!("STATE_NEW")));
    let busy = c.raw("POST", "/submit", &[], &submit(0, &data).to_string());
    assert!(busy.1["error"].as_str().unwrap().contains("active action"));
    let mut states = vec!["STATE_NEW".to_owned()];
    let begun = std::time::Instant::now();
    while states.last().is_some_and(|s| s != "STATE_CONFIRMED" && s != "STATE_FAILED") {
        let id = sent["transactionID"].as_str().unwrap();
        let state = c.get(&format!("/v1/account/transactions/{id}"))["state"].as_str().unwrap().to_owned();
        assert!(begun.elapsed() < PATIENCE, "{states:?}");
        if states.last() != Some(&state) {
            states.push(state);
        }
    }
    assert_eq!(states, ["STATE_NEW", "STATE_EXECUTED", "STATE_MINED", "STATE_CONFIRMED"]);
    let account = c.get(&format!("/embedded/account?address={}", checksummed(wallet)));
    assert_eq!((&account["merged"], &account["shares"]), (&json!("10"), &json!({token(1): "10"})));
}
