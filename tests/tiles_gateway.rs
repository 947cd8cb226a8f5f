//! The gateway against scripted servers: every way an answer can come, and what it means for an order.
#![cfg(feature = "embedded")]

mod tiles_support;

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use polyloly_fast::{
    gateway::{
        Command, GatewayConfig, GatewayTile, Origin,
        asked::{Asked, Sent},
        budget::Limits,
        lane::{Ended, Lane, News},
        recv,
    },
    stage::{
        Control, Stage,
        conn::Left,
        counters::Counters,
        endpoint::{Endpoint, Trust, tls_config},
        ring::{Rx, Tx},
    },
    sys::tsc::Clock,
    types::{
        Account, Address, Cycles, Event, OrderHash, Qty, Stamp, Stamped, Universe, Usdc,
        event::{AckStatus, CancelRefusal, RejectReason, ReplyEvent},
        market::SignatureType,
    },
    wire::{
        auth::{Credentials, L2Auth},
        limits::Tier,
        reply::ReplyParser,
    },
    wiring::Wiring,
};
use tiles_support::{Identity, Stream, answer, listen, read_request, until};

const A: OrderHash = OrderHash([0xaa; 32]);
const B: OrderHash = OrderHash([0xbb; 32]);
const C: OrderHash = OrderHash([0xcc; 32]);

fn sent(orders: &[OrderHash]) -> heapless::Vec<Sent, 15> {
    orders.iter().map(|o| Sent { order: *o, origin: Origin::Venue, cause: Cycles(1) }).collect()
}

fn accepted(order: OrderHash) -> String {
    answer(200, &format!(r#"{{"success":true,"errorMsg":"","orderID":"{order}","status":"live"}}"#))
}

fn endpoint(addr: SocketAddr, identity: Option<&Identity>) -> Endpoint {
    let (scheme, trust) = identity.map_or(("http", Trust::Public), |i| ("https", Trust::Pem(i.pem.as_bytes())));
    let tls = tls_config(trust).expect("trust");
    let mut endpoint = Endpoint::resolve(&format!("{scheme}://localhost:{}", addr.port()), &tls).expect("an endpoint");
    endpoint.addrs.retain(SocketAddr::is_ipv4);
    endpoint
}

/// Places orders by one request to a server that answers with `bytes` and then closes, and says what became of them.
fn place(orders: &[OrderHash], bytes: &str, piecewise: bool, identity: Option<&Arc<Identity>>) -> Vec<ReplyEvent> {
    let (bytes, serve_as) = (bytes.to_owned(), identity.cloned());
    let addr = listen(move |_, socket| {
        let mut stream: Box<dyn Stream> = match &serve_as {
            Some(identity) => Box::new(identity.accept(socket)),
            None => Box::new(socket),
        };
        if read_request(stream.as_mut()).is_none() {
            return;
        }
        let step = if piecewise { 1 } else { bytes.len().max(1) };
        for piece in bytes.as_bytes().chunks(step) {
            stream.write_all(piece).expect("answer");
            stream.flush().expect("answer");
        }
        // Under TLS this is a cut: no goodbye.
    });
    let (endpoint, clock) = (endpoint(addr, identity.map(AsRef::as_ref)), Clock::new());
    let (mut lane, mut parser) = (Lane::new(1), ReplyParser::new());
    until("a connection", || {
        lane.turn(&endpoint, None, &clock, &mut |_| {});
        lane.is_idle().then_some(())
    });
    let mut request = Vec::new();
    polyloly_fast::wire::http::write_request(&mut request, "POST", "/order", "localhost", b"", Some(b"{}"));
    assert!(lane.send(Asked::Orders(sent(orders)), &request, &clock, 5_000_000_000).is_some(), "all of it left");
    let mut became = Vec::new();
    until("an end", || {
        lane.turn(&endpoint, None, &clock, &mut |news| {
            if let News::Ended(flight, ended) = news {
                assert!(flight.left_at.is_some());
                recv::orders(&mut parser, &sent(orders), ended, &mut |reply| became.push(reply));
            }
        });
        (!became.is_empty()).then_some(())
    });
    became
}

#[test]
fn an_order_is_accepted_or_rejected_only_by_a_clean_answer_that_names_it() {
    let good = accepted(A);
    let yes = ReplyEvent::Accepted { order: A, status: AckStatus::Live };
    let unknown = ReplyEvent::Unknown { order: A };
    let rejected = |reason| ReplyEvent::Rejected { order: A, reason };
    let chunked = {
        let body = good.split("\r\n\r\n").nth(1).expect("a body");
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
             Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        )
    };
    let error = |status, text: &str| answer(status, &format!(r#"{{"error":"{text}"}}"#));
    let table: Vec<(&str, String, ReplyEvent)> = vec![
        ("accepted", good.clone(), yes),
        ("accepted, in chunks", chunked.clone(), yes),
        ("refused", error(400, "invalid post-only order: order crosses book"), rejected(RejectReason::Crosses)),
        ("rate limited", error(429, "Too Many Requests"), rejected(RejectReason::RateLimited)),
        (
            "success with an error text is a refusal",
            answer(200, r#"{"success":true,"errorMsg":"not enough balance / allowance","orderID":"","status":""}"#),
            rejected(RejectReason::Balance),
        ),
        ("another order's answer", accepted(B), unknown),
        ("closed without an answer", String::new(), unknown),
        ("cut in the head", good[..20].to_owned(), unknown),
        ("cut in the body", good[..good.len() - 1].to_owned(), unknown),
        ("cut in a chunk", chunked[..chunked.len() - 9].to_owned(), unknown),
        (
            "a proxy's page",
            "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>".into(),
            unknown,
        ),
        ("a server's error", error(500, "could not insert order"), unknown),
        ("no HTTP", "SSH-2.0-OpenSSH_9.6\r\n\r\n".into(), unknown),
        ("no JSON", answer(200, "OK"), unknown),
        ("an empty body", answer(200, ""), unknown),
    ];
    let identity = Arc::new(Identity::new());
    for (what, bytes, expected) in table {
        for (piecewise, tls) in [(false, None), (true, None), (false, Some(&identity))] {
            assert_eq!(
                place(&[A], &bytes, piecewise, tls),
                [expected],
                "{what}, piecewise {piecewise}, TLS {}",
                tls.is_some()
            );
        }
    }
}

#[test]
fn a_batch_is_matched_by_id_and_a_refused_leg_by_place_only_while_the_order_is_proven() {
    let leg = |order| format!(r#"{{"success":true,"errorMsg":"","orderID":"{order}","status":"live"}}"#);
    let refused = r#"{"success":true,"errorMsg":"order crosses book","orderID":"","status":""}"#;
    let batch = |legs: [&str; 3]| answer(200, &format!("[{}]", legs.join(",")));
    let yes = |order| ReplyEvent::Accepted { order, status: AckStatus::Live };
    let no = |order| ReplyEvent::Rejected { order, reason: RejectReason::Crosses };
    let unknown = |order| ReplyEvent::Unknown { order };
    let (a, b, c) = (leg(A), leg(B), leg(C));
    for (bytes, expected) in [
        (batch([&a, &b, &c]), [yes(A), yes(B), yes(C)]),
        (batch([&a, refused, &c]), [yes(A), no(B), yes(C)]),
        // Answered in another order: what is named is known, what is not is not.
        (batch([&c, &a, &b]), [yes(A), yes(B), yes(C)]),
        (batch([&c, refused, &a]), [yes(A), unknown(B), yes(C)]),
        (batch([&a, &a, &c]), [yes(A), unknown(B), yes(C)]),
        (answer(200, &format!("[{a},{b}]")), [unknown(A), unknown(B), unknown(C)]),
        (
            answer(400, r#"{"error":"Invalid API key"}"#),
            [A, B, C].map(|order| ReplyEvent::Rejected { order, reason: RejectReason::Auth }),
        ),
    ] {
        assert_eq!(place(&[A, B, C], &bytes, false, None), expected, "{bytes}");
    }
}

#[test]
fn an_order_of_which_no_byte_left_was_never_sent() {
    let mut became = Vec::new();
    let mut hear = |left| {
        recv::orders(&mut ReplyParser::new(), &sent(&[A]), Ended::Lost(left), &mut |reply| became.push(reply));
    };
    hear(Left::Nothing);
    hear(Left::Part);
    hear(Left::All);
    assert_eq!(
        became,
        [ReplyEvent::NeverSent { order: A }, ReplyEvent::Unknown { order: A }, ReplyEvent::Unknown { order: A }]
    );
}

/// A venue that answers by path and remembers what it was asked.
type Asks = Arc<Mutex<Vec<(String, String)>>>;

fn venue(answers: &[(&'static str, String)]) -> (SocketAddr, Asks) {
    let answers: HashMap<&'static str, String> = answers.iter().cloned().collect();
    let asks: Asks = Arc::default();
    let seen = Arc::clone(&asks);
    let addr = listen(move |_, mut socket| {
        while let Some((head, body)) = read_request(&mut socket) {
            let line = head.lines().next().unwrap_or("").trim_end_matches(" HTTP/1.1").to_owned();
            let said = answers.get(line.as_str()).cloned().unwrap_or_else(|| answer(200, "\"OK\""));
            seen.lock().expect("unpoisoned").push((line, body));
            if socket.write_all(said.as_bytes()).is_err() {
                return;
            }
        }
    });
    (addr, asks)
}

struct Rig {
    tile: GatewayTile,
    commands: Tx<Command>,
    replies: Rx<Stamped>,
    control: Arc<Control>,
}

fn rig(addr: SocketAddr) -> Rig {
    let owner = Address([1; 20]);
    let account = Account { owner, funder: owner, signature_type: SignatureType::Eoa };
    let universe = Arc::new(Universe { chain_id: 137, account, markets: vec![], matches: Vec::new() });
    let credentials = Credentials {
        api_key: "key".into(),
        secret: "c2VjcmV0".to_owned().into(),
        passphrase: "phrase".to_owned().into(),
    };
    let config = GatewayConfig {
        endpoint: endpoint(addr, None),
        connections: 3,
        auth: L2Auth::new(&owner, &credentials).expect("base64"),
        api_key: credentials.api_key.clone(),
        universe,
        merger: None,
        heartbeat: true,
        limits: Limits { tier: Tier::Elite, ..Limits::default() },
        slow_ack_ns: 1_000_000_000,
        data: None,
    };
    let wiring = Wiring::new(1);
    let control = Arc::new(Control::default());
    let tile = GatewayTile::new(config, wiring.gateway, &control, &Arc::new(Counters::default()));
    Rig { tile, commands: wiring.hot.orders, replies: wiring.hot.replies, control }
}

impl Rig {
    fn next(&mut self) -> ReplyEvent {
        until("a reply", || {
            self.tile.poll();
            self.tile.housekeep(Stamp::default());
            self.replies.pop().map(|reply| match reply.event {
                Event::Reply(reply) => reply,
                other => panic!("not a reply: {other:?}"),
            })
        })
    }

    fn ask(&mut self, command: Command) {
        assert!(self.commands.push(command).is_ok());
    }
}

fn cancel(order: OrderHash) -> Command {
    Command::Cancel { order, cause: Stamp::default(), origin: Origin::Venue }
}

#[test]
fn cancels_and_questions_are_answered_by_what_the_venue_names() {
    let (addr, asks) = venue(&[
        (
            "DELETE /orders",
            answer(200, &format!(r#"{{"canceled":["{A}"],"not_canceled":{{"{B}":"Order already matched"}}}}"#)),
        ),
        ("DELETE /cancel-all", answer(200, &format!(r#"{{"canceled":["{C}"],"not_canceled":{{}}}}"#))),
        (
            "GET /balance-allowance?asset_type=COLLATERAL&signature_type=0",
            answer(200, r#"{"balance":"1500000","allowances":{}}"#),
        ),
    ]);
    let mut rig = rig(addr);
    assert_eq!(rig.next(), ReplyEvent::GatewayUp);
    for order in [A, B, C] {
        rig.ask(cancel(order));
    }
    let mut said = [rig.next(), rig.next(), rig.next()];
    said.sort_by_key(|reply| format!("{reply:?}"));
    assert_eq!(
        said,
        [
            ReplyEvent::CancelRefused { order: B, reason: CancelRefusal::Matched },
            // Not named: we do not know.
            ReplyEvent::CancelUnknown { order: C },
            ReplyEvent::Cancelled { order: A },
        ]
    );
    rig.ask(Command::CancelAll);
    assert_eq!(rig.next(), ReplyEvent::Cancelled { order: C });
    rig.ask(Command::ReadCollateral);
    assert_eq!(rig.next(), ReplyEvent::Collateral { cash: Usdc(1_500_000) });
    let asked: Vec<String> = asks.lock().expect("unpoisoned").iter().map(|(line, _)| line.clone()).collect();
    assert!(asked.contains(&"DELETE /orders".to_owned()), "{asked:?}");
}

#[test]
fn a_look_up_says_live_or_not_live_and_nothing_when_it_is_not_clean() {
    let order = |status: &str| {
        format!(
            r#"{{"id":"{A}","status":"{status}","market":"{A}","asset_id":"1","side":"BUY","price":"0.5",
            "original_size":"10","size_matched":"2.5"}}"#
        )
    };
    let look_up = |said: String| {
        let (addr, _) = venue(&[(Box::leak(format!("GET /data/order/{A}").into_boxed_str()), said)]);
        let mut rig = rig(addr);
        assert_eq!(rig.next(), ReplyEvent::GatewayUp);
        rig.ask(Command::Lookup { order: A });
        rig.next()
    };
    let matched = Some(Qty(2_500_000));
    assert_eq!(look_up(answer(200, &order("LIVE"))), ReplyEvent::OrderStatus { order: A, live: true, matched });
    assert_eq!(look_up(answer(200, &order("CANCELED"))), ReplyEvent::OrderStatus { order: A, live: false, matched });
    let gone = ReplyEvent::OrderStatus { order: A, live: false, matched: None };
    assert_eq!(look_up(answer(200, "null")), gone);
    assert_eq!(look_up(answer(404, r#"{"error":"not found"}"#)), gone);
    assert_eq!(recv::lookup(A, &Ended::Lost(Left::All)), None);
}

#[test]
fn a_run_that_ends_badly_cancels_everything_last() {
    let (addr, asks) = venue(&[("DELETE /cancel-all", answer(200, r#"{"canceled":[],"not_canceled":{}}"#))]);
    let mut rig = rig(addr);
    assert_eq!(rig.next(), ReplyEvent::GatewayUp);
    rig.control.fail("hot panicked: a test".into());
    rig.tile.stop();
    assert!(!rig.tile.stopped());
    until("the last cancel", || {
        rig.tile.poll();
        rig.tile.stopped().then_some(())
    });
    assert!(asks.lock().expect("unpoisoned").iter().any(|(line, _)| line == "DELETE /cancel-all"));
}

#[test]
fn a_venue_that_goes_is_down_and_one_that_comes_back_is_up() {
    let addr = listen(|n, mut socket| {
        // The first three connections are cut, the later ones stay.
        if n >= 3 {
            let _ = socket.read(&mut [0]);
        }
    });
    let mut rig = rig(addr);
    let mut said = vec![rig.next()];
    while said.last() != Some(&ReplyEvent::GatewayDown) {
        said.push(rig.next());
    }
    while said.last() != Some(&ReplyEvent::GatewayUp) {
        said.push(rig.next());
    }
    assert_eq!(said[0], ReplyEvent::GatewayUp);
}
