//! What the venue can do to the gateway, row by row of the fault catalogue, against a scripted venue on loopback:
//! nothing is sent twice, nothing leaves when it may not, and everything that is said is believed for what it is.
#![cfg(feature = "embedded")]

mod tiles_support;

use std::{
    collections::HashSet,
    io::{Read, Write},
    net::SocketAddr,
    sync::{Arc, Mutex, atomic::Ordering},
    time::{Duration, Instant},
};

use polyloly_fast::{
    engine::{
        Signed,
        book::Book,
        exposure::Exposure,
        gate::Closed,
        limits,
        orders::Orders,
        position::Ledger,
        risk::{Facts, Risk},
        sign::{OrderSigner, SecretKey},
        trading::TradingState,
    },
    gateway::{Command, GatewayConfig, GatewayTile, Origin, budget::Limits},
    stage::{
        Control, Stage,
        buffer::Buffer,
        conn::{Conn, Left, State},
        counters::Counters,
        endpoint::{Endpoint, Trust, tls_config},
        ring::{Rx, Tx},
    },
    sys::tsc::Clock,
    types::{
        Account, Event, InstrumentIx, MarketIx, MarketSpec, Nanos, OrderHash, Price, Qty, Side, Stamp, Stamped,
        TickSize, TokenId, Universe, Usdc,
        eip712::{OrderFields, OrderHasher},
        event::{
            AckStatus, BookSide, CancelRefusal, Dependency, ReadEvent, RejectReason, ReplyEvent, TradeStatus,
            UserEvent, VenueMode,
        },
        market::{Exchange, SignatureType},
        order::{Intent, Purpose, TimeInForce},
    },
    wire::{
        auth::{Credentials, L2Auth},
        limits::Tier,
    },
    wiring::Wiring,
};
use tiles_support::{answer, listen, market_support, read_request, until};

const A: OrderHash = OrderHash([0xaa; 32]);
const B: OrderHash = OrderHash([0xbb; 32]);

/// One request as the venue got it, in the order of arrival.
#[derive(Clone, Debug)]
struct Ask {
    /// `POST /order`
    line: String,
    head: String,
    body: String,
}

/// What the venue does with a request.
enum Say {
    /// Answers with these bytes.
    This(String),
    /// Says nothing, ever.
    Nothing,
    /// Cuts the connection.
    Cut,
}

fn ok(body: &str) -> Say {
    Say::This(answer(200, body))
}

fn refuse(status: u16, text: &str) -> Say {
    Say::This(answer(status, &format!(r#"{{"error":"{text}"}}"#)))
}

type Asks = Arc<Mutex<Vec<Ask>>>;

/// A venue that does as it is told; what it is not told about it answers well.
fn venue(script: impl Fn(&Ask, usize) -> Option<Say> + Send + Sync + 'static) -> (SocketAddr, Asks) {
    let asks: Asks = Arc::default();
    let seen = Arc::clone(&asks);
    let addr = listen(move |_, mut socket| {
        while let Some((head, body)) = read_request(&mut socket) {
            let line = head.lines().next().unwrap_or("").trim_end_matches(" HTTP/1.1").to_owned();
            let ask = Ask { line, head, body };
            // Which of its kind it is, from 0.
            let nth = {
                let mut seen = seen.lock().expect("unpoisoned");
                let nth = seen.iter().filter(|a| a.line == ask.line).count();
                seen.push(ask.clone());
                nth
            };
            match script(&ask, nth).unwrap_or_else(|| well(&ask)) {
                Say::This(bytes) => {
                    if socket.write_all(bytes.as_bytes()).is_err() {
                        return;
                    }
                }
                Say::Nothing => {
                    let _ = socket.read(&mut [0]);
                    return;
                }
                Say::Cut => return,
            }
        }
    });
    (addr, asks)
}

/// The order id that our account would have: computed again from the body.
fn ids(body: &str) -> Vec<OrderHash> {
    let body: serde_json::Value = serde_json::from_str(body).expect("a JSON body");
    let legs = body.as_array().cloned().unwrap_or_else(|| vec![body]);
    let number = |v: &serde_json::Value| v.as_str().expect("text").parse::<u64>().expect("a number");
    legs.iter()
        .map(|leg| {
            let o = &leg["order"];
            let fields = OrderFields {
                salt: o["salt"].as_u64().expect("a number"),
                token: TokenId::parse(o["tokenId"].as_str().expect("text").as_bytes()).expect("a token"),
                amounts: polyloly_fast::types::amounts::Amounts {
                    maker: number(&o["makerAmount"]),
                    taker: number(&o["takerAmount"]),
                },
                side: Side::parse(o["side"].as_str().expect("text").as_bytes()).expect("a side"),
                timestamp_ms: number(&o["timestamp"]),
                metadata: [0; 32],
                builder: [0; 32],
            };
            hasher().digest(&fields).order
        })
        .collect()
}

fn accepted(order: &OrderHash) -> String {
    format!(r#"{{"success":true,"errorMsg":"","orderID":"{order}","status":"live"}}"#)
}

/// What a venue without faults answers.
fn well(ask: &Ask) -> Say {
    match ask.line.as_str() {
        "POST /order" => ok(&accepted(&ids(&ask.body)[0])),
        "POST /orders" => ok(&format!("[{}]", ids(&ask.body).iter().map(accepted).collect::<Vec<_>>().join(","))),
        "DELETE /order" => {
            let id: serde_json::Value = serde_json::from_str(&ask.body).expect("JSON");
            ok(&format!(r#"{{"canceled":[{}],"not_canceled":{{}}}}"#, id["orderID"]))
        }
        "DELETE /orders" => ok(&format!(r#"{{"canceled":{},"not_canceled":{{}}}}"#, ask.body)),
        "DELETE /cancel-all" => ok(r#"{"canceled":[],"not_canceled":{}}"#),
        "POST /v1/heartbeats" => ok(r#"{"heartbeat_id":"next"}"#),
        line if line.contains("/positions?") => ok("[]"),
        line if line.starts_with("GET /balance-allowance") => ok(r#"{"balance":"1500000","allowances":{}}"#),
        line if line.starts_with("GET /data/order/") => Say::This(answer(404, r#"{"error":"not found"}"#)),
        line if line.starts_with("GET /data/") => ok(r#"{"data":[],"next_cursor":"LTE=","limit":100,"count":0}"#),
        _ => ok("\"OK\""),
    }
}

fn count(asks: &Asks, begins: &str) -> usize {
    asks.lock().expect("unpoisoned").iter().filter(|a| a.line.starts_with(begins)).count()
}

fn key() -> SecretKey {
    // Hardhat's first: everybody knows it.
    SecretKey::from_hex(b"ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80").expect("a key")
}

fn account() -> Account {
    let owner = key().address();
    Account { owner, funder: owner, signature_type: SignatureType::Eoa }
}

fn hasher() -> OrderHasher {
    OrderHasher::new(137, Exchange::V2, &account())
}

fn universe() -> Universe {
    let token = |n: u8| {
        let mut id = [n; 32];
        // A token of the older kind has some of these bits.
        id[19] = 1;
        TokenId(id)
    };
    let market = MarketSpec { tokens: [token(1), token(2)], ..market_support::market() };
    market_support::universe(account().owner, vec![market])
}

/// Approves and signs orders.
struct Desk {
    risk: Risk,
    orders: Orders,
    ledger: Ledger,
    exposure: Exposure,
    book: Book,
    universe: Universe,
    clock: Clock,
    salt: u64,
}

impl Desk {
    fn new() -> Self {
        let limits = limits::Limits { orders_per_s: 600, ..limits::Limits::default() };
        let universe = universe();
        let mut risk = Risk::new(limits, &universe);
        [Closed::UserStreamDown, Closed::GatewayDown].into_iter().for_each(|condition| risk.set(condition, false));
        let mut ledger = Ledger::new(1);
        ledger.open(Usdc::dollars(100_000));
        let mut book = Book::new(TickSize::Cent);
        book.snapshot_start(None);
        for (side, units) in [(BookSide::Bid, 4_700), (BookSide::Ask, 4_800)] {
            book.snapshot_level(side, Price::from_units(units).expect("a price"), Qty::shares(1_000));
        }
        book.snapshot_end();
        let exposure = Exposure::new(&universe, &[]);
        Self { risk, orders: Orders::new(1), ledger, exposure, book, universe, clock: Clock::new(), salt: 0 }
    }

    fn order(&mut self, post_only: bool) -> Signed {
        self.salt += 1;
        let now = self.clock.now();
        let intent = Intent {
            instrument: InstrumentIx(0),
            side: Side::Buy,
            price: Price::from_units(4_800).expect("a price"),
            qty: Qty::shares(10),
            tif: if post_only { TimeInForce::Gtc } else { TimeInForce::Fak },
            post_only,
            strategy: polyloly_fast::types::order::StrategyId::Pair,
            purpose: Purpose::Quote,
            epoch: self.salt as u32,
        };
        let facts = Facts {
            specs: &self.universe.markets,
            tick: TickSize::Cent,
            trusted: true,
            state: TradingState::Idle,
            mark_units: 5_000,
            orders: &self.orders,
            ledger: &self.ledger,
            exposure: &self.exposure,
            lost_today: Usdc::ZERO,
            over: Usdc::ZERO,
            book: &self.book,
            game_start: None,
            now: now.wall,
        };
        // The rate of tests is their own.
        let far = Facts { now: Nanos(now.wall.0 + self.salt * 1_000_000_000), ..facts };
        let passed = self.risk.check(&intent, &far).expect("an order within every limit");
        let fields = OrderFields {
            salt: self.salt,
            token: self.universe.token(intent.instrument),
            amounts: passed.amounts(),
            side: intent.side,
            timestamp_ms: now.wall.millis(),
            metadata: [0; 32],
            builder: [0; 32],
        };
        let approved = passed.seal(self.salt, now.wall.millis(), hasher().digest(&fields), now);
        OrderSigner::new(key()).sign(&approved, &hasher())
    }
}

struct Rig {
    tile: GatewayTile,
    commands: Tx<Command>,
    replies: Rx<Stamped>,
    control: Arc<Control>,
    counters: Arc<Counters>,
    clock: Clock,
    desk: Desk,
    hot_is_alive: bool,
}

fn rig(addr: SocketAddr) -> Rig {
    rig_with(addr, Limits { tier: Tier::Elite, ..Limits::default() }, false)
}

fn rig_with(addr: SocketAddr, limits: Limits, data: bool) -> Rig {
    let tls = tls_config(Trust::Public).expect("compiled in");
    let mut endpoint = Endpoint::resolve(&format!("http://localhost:{}", addr.port()), &tls).expect("an endpoint");
    endpoint.addrs.retain(SocketAddr::is_ipv4);
    let config = GatewayConfig {
        data: data.then(|| endpoint.with_path("/v2")),
        endpoint,
        connections: 3,
        auth: auth(),
        api_key: "key".into(),
        universe: Arc::new(universe()),
        merger: None,
        heartbeat: true,
        limits,
        slow_ack_ns: 5_000_000_000,
    };
    let wiring = Wiring::new(1);
    let (control, counters) = (Arc::new(Control::default()), Arc::new(Counters::default()));
    let tile = GatewayTile::new(config, wiring.gateway, &control, &counters);
    let (commands, replies) = (wiring.hot.orders, wiring.hot.replies);
    let mut rig =
        Rig { tile, commands, replies, control, counters, clock: Clock::new(), desk: Desk::new(), hot_is_alive: true };
    assert_eq!(rig.next(), ReplyEvent::GatewayUp);
    rig
}

fn auth() -> L2Auth {
    let credentials = Credentials {
        api_key: "key".into(),
        secret: "c2VjcmV0".to_owned().into(),
        passphrase: "phrase".to_owned().into(),
    };
    L2Auth::new(&account().owner, &credentials).expect("base64")
}

impl Rig {
    fn turn(&mut self) {
        if self.hot_is_alive {
            self.control.beat(self.clock.cycles());
        }
        self.tile.poll();
        self.tile.housekeep(Stamp::default());
    }

    fn event(&mut self) -> Event {
        until("an event", || {
            self.turn();
            self.replies.pop().map(|reply| reply.event)
        })
    }

    /// The next answer. That bytes left is no answer.
    fn next(&mut self) -> ReplyEvent {
        loop {
            match self.event() {
                Event::Reply(ReplyEvent::Sent { .. }) => {}
                Event::Reply(reply) => return reply,
                other => panic!("not a reply: {other:?}"),
            }
        }
    }

    /// Turns until this is said; gives what was said before.
    #[track_caller]
    fn hear(&mut self, wanted: ReplyEvent) -> Vec<ReplyEvent> {
        let mut before = Vec::new();
        loop {
            let reply = self.next();
            if reply == wanted {
                return before;
            }
            before.push(reply);
            assert!(before.len() < 1_000, "{wanted:?} is not among {before:?}");
        }
    }

    /// Turns for so long; gives what was said.
    fn pass(&mut self, ms: u64) -> Vec<ReplyEvent> {
        let begun = Instant::now();
        let mut said = Vec::new();
        while begun.elapsed() < Duration::from_millis(ms) {
            self.turn();
            while let Some(Stamped { event: Event::Reply(reply), .. }) = self.replies.pop() {
                said.push(reply);
            }
        }
        said
    }

    fn ask(&mut self, command: Command) {
        assert!(self.commands.push(command).is_ok());
    }

    fn place(&mut self) -> OrderHash {
        self.place_one(true)
    }

    fn place_one(&mut self, post_only: bool) -> OrderHash {
        let signed = self.desk.order(post_only);
        let order = signed.approved().hash();
        self.ask(Command::Place { signed, origin: Origin::Venue });
        order
    }

    fn cancel(&mut self, order: OrderHash) {
        self.ask(Command::Cancel { order, cause: Stamp::default(), origin: Origin::Venue });
    }

    fn counted(&self, name: &str) -> u64 {
        self.counters.read().into_iter().find(|(n, _)| *n == name).expect("a counter").1
    }
}

fn yes(order: OrderHash) -> ReplyEvent {
    ReplyEvent::Accepted { order, status: AckStatus::Live }
}

fn no(order: OrderHash, reason: RejectReason) -> ReplyEvent {
    ReplyEvent::Rejected { order, reason }
}

fn breaker(of: Dependency, open: bool) -> ReplyEvent {
    ReplyEvent::Breaker { of, open }
}

fn mode(mode: VenueMode, for_ms: u32) -> ReplyEvent {
    ReplyEvent::Mode { mode, for_ms }
}

// ---- The kill switch ----

#[test]
fn kill_switch_under_load_lets_no_order_leave_and_cancel_all_is_next_on_the_wire() {
    for (orders, turns) in [(1, 0), (7, 1), (40, 2), (60, 3), (60, 20)] {
        let (addr, asks) = venue(|_, _| None);
        let mut rig = rig(addr);
        let all: Vec<OrderHash> = (0..orders).map(|_| rig.place()).collect();
        (0..turns).for_each(|_| rig.turn());
        let (mut sent, mut never) = (HashSet::new(), HashSet::new());
        let mut note = |event: Event| match event {
            Event::Reply(ReplyEvent::Sent { order }) => drop(sent.insert(order)),
            Event::Reply(ReplyEvent::NeverSent { order }) => drop(never.insert(order)),
            _ => {}
        };
        let warm = count(&asks, "GET /ok") + count(&asks, "GET /time");
        let switched = rig.clock.now().wall;
        rig.control.set_orders_off(true);
        // More come on behind it.
        let late: Vec<OrderHash> = (0..5).map(|_| rig.place()).collect();
        let mut after = Vec::new();
        // What had left is told a turn later: its stamp says when it did.
        let mut told = |rig: &mut Rig| {
            while let Some(Stamped { stamp, event }) = rig.replies.pop() {
                if stamp.wall < switched { note(event) } else { after.push(event) }
            }
        };
        until("cancel-all", || {
            rig.turn();
            told(&mut rig);
            (count(&asks, "DELETE /cancel-all") > 0).then_some(())
        });
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(50) {
            rig.turn();
            told(&mut rig);
        }
        let sends = |event: &Event| matches!(event, Event::Reply(ReplyEvent::Sent { .. }));
        assert!(!after.iter().any(sends), "{after:?}");
        let asked = asks.lock().expect("unpoisoned").clone();
        let arrived: HashSet<OrderHash> =
            asked.iter().filter(|a| a.line.starts_with("POST /order")).flat_map(|a| ids(&a.body)).collect();
        assert!(arrived.is_subset(&sent), "{orders} orders, {turns} turns: one left after the switch");
        assert!(late.iter().all(|order| !arrived.contains(order)));
        assert!(
            all.iter().filter(|order| !sent.contains(order)).count() + 5 == rig.counted("orders_withheld") as usize
        );
        // Of what was asked after the switch, nothing came before cancel-all.
        let first = asked.iter().position(|a| a.line == "DELETE /cancel-all").expect("it came");
        let before = asked[..first].iter().filter(|a| !a.line.starts_with("POST /order")).count();
        assert!(before <= warm + 3, "{asked:?}");
    }
}

#[test]
fn the_switch_is_looked_at_again_when_the_bytes_are_ready() {
    let (addr, asks) = venue(|ask, _| {
        (ask.line == "POST /order").then(|| {
            std::thread::sleep(Duration::from_millis(200));
            well(ask)
        })
    });
    let mut rig = rig(addr);
    // Both connections that orders may use are busy.
    rig.place();
    rig.turn();
    rig.place();
    until("two orders at the venue", || {
        rig.turn();
        (count(&asks, "POST /order") == 2).then_some(())
    });
    // The answers are here, and not looked at: the third order waits, and the connections are free once they are heard.
    std::thread::sleep(Duration::from_secs(1));
    let waits = rig.place();
    rig.tile.poll();
    rig.control.set_orders_off(true);
    // Housekeeping sends as well, and does not look before the order is ready.
    rig.tile.housekeep(Stamp::default());
    rig.hear(ReplyEvent::NeverSent { order: waits });
    until("cancel-all", || {
        rig.turn();
        (count(&asks, "DELETE /cancel-all") > 0).then_some(())
    });
    assert_eq!(count(&asks, "POST /order"), 2);
}

#[test]
fn an_order_on_its_way_when_all_is_cancelled_is_cancelled_by_another_cancel_all() {
    let (addr, asks) = venue(|ask, nth| {
        (ask.line == "POST /order" && nth == 0).then(|| {
            std::thread::sleep(Duration::from_millis(400));
            well(ask)
        })
    });
    let mut rig = rig(addr);
    let order = rig.place();
    until("the order at the venue", || {
        rig.turn();
        (count(&asks, "POST /order") == 1).then_some(())
    });
    rig.control.set_orders_off(true);
    rig.hear(yes(order));
    until("another cancel-all", || {
        rig.turn();
        (count(&asks, "DELETE /cancel-all") == 2).then_some(())
    });
    rig.pass(700);
    assert_eq!(count(&asks, "DELETE /cancel-all"), 2, "and no third");
}

// ---- Transport ----

#[test]
fn t20_keep_alive_closed_as_we_write_is_unknown_if_a_byte_left_and_never_sent_if_none() {
    // The venue takes the request and closes: bytes left.
    let (addr, asks) = venue(|ask, nth| (ask.line == "POST /order" && nth == 0).then_some(Say::Cut));
    let mut rig = rig(addr);
    let order = rig.place();
    let before = rig.hear(ReplyEvent::Unknown { order });
    assert!(before.is_empty(), "{before:?}");
    assert_eq!(rig.next(), breaker(Dependency::OrdersUnknown, true));
    rig.pass(300);
    assert_eq!(count(&asks, "POST /order"), 1, "never sent again by itself");
    // The connection is gone before a byte could leave: the system says so, and no venue ever saw it.
    let addr = listen(|_, socket| drop(socket));
    let (mut conn, clock) = ready(addr);
    let mut inbox = Buffer::new(1 << 10, 1 << 10);
    until("the end", || conn.read(&mut inbox, &clock).is_err().then_some(()));
    assert!(conn.send(b"POST").is_err());
    assert_eq!(conn.left(), Left::Nothing);
}

fn ready(addr: SocketAddr) -> (Conn, Clock) {
    let tls = tls_config(Trust::Public).expect("compiled in");
    let endpoint = Endpoint::resolve(&format!("http://{addr}"), &tls).expect("an endpoint");
    let clock = Clock::new();
    let mut conn = Conn::open(&endpoint, 0, clock.now(), None).expect("loopback");
    until("a connection", || (conn.advance(clock.now()) == State::Ready).then_some(()));
    (conn, clock)
}

#[test]
fn t20_what_had_not_left_when_a_connection_is_closed_never_leaves() {
    let (gate, opened) = std::sync::mpsc::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel::<usize>();
    let hands = Mutex::new(Some((opened, tell)));
    let addr = listen(move |_, mut socket| {
        let Some((opened, tell)) = hands.lock().expect("unpoisoned").take() else { return };
        let mut block = vec![0; 1 << 16];
        opened.recv().expect("the word");
        // Everything that the socket holds now makes room for more.
        socket.set_read_timeout(Some(Duration::from_millis(300))).expect("an option");
        let mut total = 0;
        while let Ok(n) = socket.read(&mut block) {
            if n == 0 {
                break;
            }
            total += n;
        }
        tell.send(total).expect("a listener");
        socket.set_read_timeout(None).expect("an option");
        let mut rest = 0;
        while let Ok(n) = socket.read(&mut block) {
            if n == 0 {
                break;
            }
            rest += n;
        }
        tell.send(rest).expect("a listener");
    });
    let (mut conn, _) = ready(addr);
    let request = vec![b'x'; 32 << 20];
    assert_eq!(conn.send(&request), Ok(Left::Part), "more than a socket holds");
    gate.send(()).expect("a venue");
    let before = told.recv_timeout(Duration::from_secs(30)).expect("what had left");
    assert!(before < request.len());
    conn.close();
    assert_eq!(told.recv_timeout(Duration::from_secs(30)), Ok(0), "bytes left while it was closed");
}

// ---- Orders ----

#[test]
fn o03_success_with_an_error_text_is_a_refusal() {
    let said = r#"{"success":true,"errorMsg":"not enough balance / allowance","orderID":"","status":""}"#;
    let (addr, _) = venue(move |ask, _| (ask.line == "POST /order").then(|| ok(said)));
    let mut rig = rig(addr);
    let order = rig.place();
    assert_eq!(rig.next(), no(order, RejectReason::Balance));
}

/// Places one order, which is answered so. Gives its outcome and how often it was sent, some time later.
fn outcome(bytes: impl Fn(&OrderHash) -> String + Send + Sync + 'static) -> (ReplyEvent, usize) {
    let (addr, asks) = venue(move |ask, _| (ask.line == "POST /order").then(|| Say::This(bytes(&ids(&ask.body)[0]))));
    let mut rig = rig(addr);
    rig.place();
    let said = rig.next();
    rig.pass(100);
    (said, count(&asks, "POST /order"))
}

#[test]
fn o04_what_is_not_a_clean_answer_leaves_the_order_unknown_and_is_not_sent_again() {
    let typed = |status: u16, kind: &str, body: &str| {
        let length = body.len();
        format!(
            "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nRetry-After: 0\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    let html = "<html><title>Attention Required! | Cloudflare</title></html>";
    type Bytes = Box<dyn Fn(&OrderHash) -> String + Send + Sync>;
    let table: Vec<(&str, Bytes)> = vec![
        ("200 with HTML", Box::new(move |_| typed(200, "text/html", html))),
        ("403 with HTML", Box::new(move |_| typed(403, "text/html; charset=UTF-8", html))),
        ("429 with HTML", Box::new(move |_| typed(429, "text/html", html))),
        ("503 with HTML", Box::new(move |_| typed(503, "text/html", html))),
        ("empty", Box::new(move |_| typed(200, "application/json", ""))),
        (
            "compressed though not asked for",
            Box::new(|id| answer(200, &accepted(id)).replacen("\r\n", "\r\nContent-Encoding: gzip\r\n", 1)),
        ),
        (
            "half of it",
            Box::new(|id| {
                let whole = answer(200, &accepted(id));
                whole.replace("content-length", "connection: close\r\ncontent-length")[..whole.len() - 4].to_owned()
            }),
        ),
        ("a server that gave up waiting", Box::new(|_| answer(408, r#"{"error":"Request Timeout"}"#))),
    ];
    for (what, bytes) in table {
        let cut = what == "half of it";
        let (said, sent) = if cut { half(bytes) } else { outcome(bytes) };
        assert!(matches!(said, ReplyEvent::Unknown { .. }), "{what}: {said:?}");
        assert_eq!(sent, 1, "{what}");
    }
}

/// As [`outcome`], of an answer that is cut.
fn half(bytes: impl Fn(&OrderHash) -> String + Send + Sync + 'static) -> (ReplyEvent, usize) {
    let sent = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&sent);
    let addr = listen(move |_, mut socket| {
        while let Some((head, body)) = read_request(&mut socket) {
            if head.starts_with("POST /order") {
                *seen.lock().expect("unpoisoned") += 1;
                let _ = socket.write_all(bytes(&ids(&body)[0]).as_bytes());
                return;
            }
            let _ = socket.write_all(answer(200, "\"OK\"").as_bytes());
        }
    });
    let mut rig = rig(addr);
    rig.place();
    let said = rig.next();
    rig.pass(100);
    let sent = *sent.lock().expect("unpoisoned");
    (said, sent)
}

#[test]
fn story_01_an_order_whose_answer_never_comes_is_unknown_and_was_sent_once() {
    let (addr, asks) = venue(|ask, _| (ask.line == "POST /order").then_some(Say::Nothing));
    let mut rig = rig(addr);
    let order = rig.place();
    rig.hear(ReplyEvent::Unknown { order });
    rig.hear(breaker(Dependency::OrdersUnknown, true));
    // It may be there: it can be cancelled and asked after by its id.
    rig.cancel(order);
    rig.hear(ReplyEvent::Cancelled { order });
    rig.ask(Command::Lookup { order });
    rig.hear(ReplyEvent::OrderStatus { order, live: false, matched: None });
    assert_eq!(count(&asks, "POST /order"), 1);
}

#[test]
fn story_29_a_servers_error_is_unknown_and_never_a_refusal() {
    for text in ["could not run the execution", "could not insert order", "order timed out", "not enough balance"] {
        let (said, sent) = outcome(move |_| answer(500, &format!(r#"{{"error":"{text}"}}"#)));
        assert!(matches!(said, ReplyEvent::Unknown { .. }), "{text}: {said:?}");
        assert_eq!(sent, 1, "{text}");
    }
}

#[test]
fn o05_a_restart_is_waited_out_by_a_door_that_is_tried_and_ends_in_post_only() {
    let shut = |n| move |_: &Ask, nth: usize| (nth < n).then(|| refuse(425, "Too Early"));
    let (addr, asks) = venue(move |ask, nth| match ask.line.as_str() {
        "POST /order" => shut(1)(ask, nth),
        "DELETE /order" => shut(1)(ask, nth),
        _ => None,
    });
    let mut rig = rig(addr);
    let first = rig.place();
    assert_eq!(rig.next(), no(first, RejectReason::Restarting));
    assert_eq!(rig.next(), mode(VenueMode::Restarting, 0));
    let second = rig.place();
    assert_eq!(rig.next(), ReplyEvent::NeverSent { order: second });
    // The door: refused after a second, open two later. Then only what post-only mode takes.
    let said = rig.hear(mode(VenueMode::PostOnly, 120_000));
    assert!(said.is_empty(), "{said:?}");
    assert_eq!((count(&asks, "POST /order"), count(&asks, "DELETE /order")), (1, 2), "it was not hammered");
    let (taker, maker) = (rig.place_one(false), rig.place_one(true));
    assert_eq!(rig.next(), ReplyEvent::NeverSent { order: taker });
    assert_eq!(rig.next(), yes(maker));
    assert_eq!(count(&asks, "POST /order"), 2);
}

#[test]
fn story_28_a_restart_refuses_cancels_too_and_they_are_tried_until_they_pass() {
    let (addr, asks) = venue(|ask, nth| match ask.line.as_str() {
        "DELETE /order" => (nth < 2).then(|| refuse(425, "Too Early")),
        "POST /order" if nth == 0 => Some(Say::This(answer(
            503,
            r#"{"error":"post-only mode: only post-only orders and cancels are allowed","code":"post_only_mode","retry_after_seconds":2}"#,
        ))),
        _ => None,
    });
    let mut rig = rig(addr);
    rig.cancel(A);
    assert_eq!(rig.next(), ReplyEvent::CancelUnknown { order: A });
    assert_eq!(rig.next(), mode(VenueMode::Restarting, 0));
    // The engine asks again each time that it hears of no clean answer.
    let begun = Instant::now();
    let mut said = Vec::new();
    rig.cancel(A);
    while !said.contains(&ReplyEvent::Cancelled { order: A }) {
        let reply = rig.next();
        if reply == (ReplyEvent::CancelUnknown { order: A }) {
            rig.cancel(A);
        }
        said.push(reply);
    }
    assert!(begun.elapsed() >= Duration::from_secs(3) && count(&asks, "DELETE /order") == 3, "hot retries");
    if !said.contains(&mode(VenueMode::PostOnly, 120_000)) {
        said.extend(rig.hear(mode(VenueMode::PostOnly, 120_000)));
    }
    // Were cancels in doubt meanwhile, they are not after everything was cancelled.
    rig.pass(1_500);
    // Then the venue's own word about the window, which is over when it says.
    let order = rig.place();
    rig.hear(no(order, RejectReason::PostOnlyMode));
    assert_eq!(rig.next(), mode(VenueMode::PostOnly, 2_000));
    rig.hear(mode(VenueMode::Normal, 0));
    let order = rig.place_one(false);
    rig.hear(yes(order));
}

#[test]
fn o06_a_venue_that_takes_nothing_is_asked_to_cancel_at_a_low_rate_and_that_it_does_not_is_said() {
    let text = "Trading is currently disabled. Check polymarket.com for updates";
    let open = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let door = Arc::clone(&open);
    let (addr, asks) = venue(move |ask, _| {
        let shut = !door.load(Ordering::Relaxed);
        (shut && (ask.line.starts_with("POST /order") || ask.line.starts_with("DELETE"))).then(|| refuse(503, text))
    });
    let mut rig = rig(addr);
    let order = rig.place();
    assert_eq!(rig.next(), no(order, RejectReason::Disabled));
    assert_eq!(rig.next(), mode(VenueMode::Disabled, 0));
    let begun = Instant::now();
    rig.ask(Command::CancelAll);
    rig.hear(breaker(Dependency::Cancels, true));
    assert!(begun.elapsed() >= Duration::from_secs(2), "hot retries");
    assert!(count(&asks, "DELETE") <= 3);
    assert!(rig.counted("cancels_failed") >= 2);
    open.store(true, Ordering::Relaxed);
    let said = rig.hear(breaker(Dependency::Cancels, false));
    assert!(said.contains(&mode(VenueMode::Normal, 0)), "{said:?}");
}

#[test]
fn o06_a_venue_that_only_cancels_gets_cancels_and_no_orders() {
    let text = "Trading is currently cancel-only. New orders are not accepted, but cancels are allowed.";
    let (addr, asks) = venue(move |ask, _| (ask.line == "POST /order").then(|| refuse(503, text)));
    let mut rig = rig(addr);
    let order = rig.place();
    assert_eq!(rig.next(), no(order, RejectReason::CancelOnly));
    assert_eq!(rig.next(), mode(VenueMode::CancelOnly, 15_000));
    rig.cancel(A);
    assert_eq!(rig.next(), ReplyEvent::Cancelled { order: A });
    let order = rig.place();
    assert_eq!(rig.next(), ReplyEvent::NeverSent { order });
    assert_eq!(count(&asks, "POST /order"), 1);
}

#[test]
fn o07_a_refusal_for_rate_is_waited_out_and_cancels_have_a_budget_of_their_own() {
    for (retry, waits_ms) in [("2", 1_500), ("0", 500), ("99999999999", 1_500)] {
        let (addr, asks) = venue(move |ask, nth| {
            (ask.line == "POST /order" && nth == 0).then(|| {
                let body = r#"{"error":"Too Many Requests"}"#;
                Say::This(answer(429, body).replacen("\r\n", &format!("\r\nRetry-After: {retry}\r\n"), 1))
            })
        });
        let mut rig = rig(addr);
        let order = rig.place();
        assert_eq!(rig.next(), no(order, RejectReason::RateLimited));
        let waits = rig.place();
        rig.cancel(A);
        assert_eq!(rig.next(), ReplyEvent::Cancelled { order: A });
        let said = rig.pass(waits_ms);
        assert_eq!(count(&asks, "POST /order"), 1, "Retry-After: {retry}");
        // What waited for too long is not sent at all: its price was for another book.
        if waits_ms > 1_000 {
            assert!(said.contains(&ReplyEvent::NeverSent { order: waits }), "{said:?}");
        }
        assert!(rig.counted("throttle_signals") >= 1 && rig.counted("orders_held_back") >= 1);
    }
}

#[test]
fn o07_orders_stay_below_the_tier_and_below_what_the_venue_says_is_left() {
    let (addr, asks) = venue(|_, _| None);
    let mut rig = rig_with(addr, Limits { tier: Tier::Standard, ..Limits::default() }, false);
    let begun = Instant::now();
    (0..60).for_each(|_| {
        rig.place();
    });
    let posted = |asks: &Asks| -> usize {
        let asks = asks.lock().expect("unpoisoned");
        asks.iter().filter(|a| a.line.starts_with("POST /order")).map(|a| ids(&a.body).len()).sum()
    };
    // Nine tenths of the lowest tier: a burst of 54, then 36 a second. Where this thread was kept waiting so long that
    // all sixty were due before the burst was over, none had to be held back.
    let mut waited = false;
    while posted(&asks) < 60 {
        rig.turn();
        // Counted before the time is taken: what comes between is on the safe side.
        let sent = posted(&asks);
        waited |= sent < 60 && begun.elapsed() >= Duration::from_millis(160) && rig.counted("orders_held_back") == 0;
        let most = 54 + 36 * begun.elapsed().as_millis() as usize / 1_000;
        assert!(sent <= most, "{sent} orders, {most} allowed");
    }
    assert!(begun.elapsed() >= Duration::from_millis(160) && (rig.counted("orders_held_back") >= 1 || waited));

    let (addr, asks) = venue(|ask, _| {
        let Say::This(bytes) = well(ask) else { return None };
        let said = "\r\nPoly-RateLimit-Remaining: 0\r\nPoly-RateLimit-Reset: 30\r\nPoly-RateLimit-Tier: gold\r\n";
        (ask.line == "POST /order").then(|| Say::This(bytes.replacen("\r\n", said, 1)))
    });
    let mut rig = self::rig(addr);
    let order = rig.place();
    assert_eq!(rig.next(), yes(order));
    let order = rig.place();
    assert_eq!(rig.next(), ReplyEvent::NeverSent { order });
    assert_eq!(count(&asks, "POST /order"), 1);
}

#[test]
fn o10_a_cancel_that_is_refused_for_ever_is_sent_once_for_each_time_that_it_is_asked_for() {
    let body = format!(r#"{{"canceled":[],"not_canceled":{{"{A}":"can't be found - already canceled or matched"}}}}"#);
    let (addr, asks) = venue(move |ask, _| (ask.line == "DELETE /order").then(|| ok(&body)));
    let mut rig = rig(addr);
    for _ in 0..3 {
        rig.cancel(A);
        assert_eq!(rig.next(), ReplyEvent::CancelRefused { order: A, reason: CancelRefusal::Gone });
    }
    assert!(rig.pass(300).is_empty());
    assert_eq!(count(&asks, "DELETE /order"), 3, "no spin");
}

#[test]
fn o11_what_a_cancel_all_leaves_over_is_cancelled_one_by_one_until_it_is_gone_or_said_to_stay() {
    for (gone_after, tries, residue) in [(2, 3, 0), (usize::MAX, 5, 1)] {
        let why = "cannot cancel because the order is in delayed status";
        let refused = format!(r#"{{"canceled":["{B}"],"not_canceled":{{"{A}":"{why}"}}}}"#);
        let again = format!(r#"{{"canceled":[],"not_canceled":{{"{A}":"{why}"}}}}"#);
        let (addr, asks) = venue(move |ask, nth| match ask.line.as_str() {
            "DELETE /cancel-all" => Some(ok(&refused)),
            "DELETE /order" if nth < gone_after => Some(ok(&again)),
            _ => None,
        });
        let mut rig = rig(addr);
        rig.ask(Command::CancelAll);
        assert_eq!(rig.next(), ReplyEvent::Cancelled { order: B });
        for _ in 0..tries.min(gone_after.saturating_add(1)) {
            assert_eq!(rig.next(), ReplyEvent::CancelRefused { order: A, reason: CancelRefusal::Delayed });
        }
        let end = rig.next();
        if residue == 0 {
            assert_eq!(end, ReplyEvent::Cancelled { order: A });
        } else {
            assert_eq!(end, ReplyEvent::CancelRefused { order: A, reason: CancelRefusal::Delayed });
        }
        rig.pass(900);
        assert_eq!((count(&asks, "DELETE /order"), rig.counted("cancel_residue")), (tries, residue));
    }
}

#[test]
fn o12_the_legs_of_a_batch_are_told_apart_by_their_ids() {
    let (addr, _) = venue(|ask, _| {
        (ask.line == "POST /orders").then(|| {
            let mut legs: Vec<String> = ids(&ask.body).iter().map(accepted).collect();
            legs[1] = r#"{"success":true,"errorMsg":"order crosses book","orderID":"","status":""}"#.into();
            legs.swap(0, 2);
            ok(&format!("[{}]", legs.join(",")))
        })
    });
    let mut rig = rig(addr);
    let orders = [rig.place(), rig.place(), rig.place()];
    let said = [rig.next(), rig.next(), rig.next()];
    // The middle one is not named, and the others are not in their places: whose refusal it is, nobody says.
    assert_eq!(said, [yes(orders[0]), ReplyEvent::Unknown { order: orders[1] }, yes(orders[2])]);
}

#[test]
fn o17_the_signature_covers_exactly_the_bytes_that_are_sent() {
    let (addr, asks) = venue(|_, _| None);
    let mut rig = rig(addr);
    rig.place();
    rig.pass(50);
    (0..3).for_each(|_| {
        rig.place();
    });
    rig.cancel(A);
    rig.pass(50);
    rig.cancel(A);
    rig.cancel(B);
    rig.ask(Command::CancelAll);
    rig.ask(Command::ReadCollateral);
    rig.ask(Command::Lookup { order: A });
    rig.ask(Command::Reconcile { round: 1, trades_since: Nanos(1_790_000_000_000_000_000) });
    rig.pass(500);
    let asked = asks.lock().expect("unpoisoned").clone();
    let header = |ask: &Ask, name: &str| {
        let line = ask.head.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned));
        line.unwrap_or_default()
    };
    let mut kinds = HashSet::new();
    for ask in asked.iter().filter(|a| !header(a, "POLY_SIGNATURE").is_empty()) {
        let (method, target) = ask.line.split_once(' ').expect("a request line");
        let path = target.split('?').next().expect("a path");
        let time: u64 = header(ask, "POLY_TIMESTAMP").parse().expect("seconds");
        let right = auth().sign(time, method, path, ask.body.as_bytes());
        assert_eq!(header(ask, "POLY_SIGNATURE").as_bytes(), right, "{}", ask.line);
        assert!(rig.clock.now().wall.secs() - time <= 5, "story 30: our own clock, without tricks");
        kinds.insert(path.split('/').take(3).collect::<Vec<_>>().join("/"));
    }
    for kind in [
        "/order",
        "/orders",
        "/cancel-all",
        "/balance-allowance",
        "/data/order",
        "/data/orders",
        "/data/trades",
        "/v1/heartbeats",
    ] {
        assert!(kinds.contains(kind), "{kind} is not among {kinds:?}");
    }
}

#[test]
fn o18_a_revoked_key_stops_orders_after_two_refusals_and_is_never_derived_again() {
    let revoked = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let state = Arc::clone(&revoked);
    let (addr, asks) = venue(move |ask, _| {
        let private = ask.head.contains("POLY_API_KEY");
        (private && state.load(Ordering::Relaxed)).then(|| refuse(401, "Unauthorized/Invalid api key"))
    });
    let mut rig = rig(addr);
    for n in 0..2 {
        let order = rig.place();
        assert_eq!(rig.next(), no(order, RejectReason::Auth));
        if n == 1 {
            assert_eq!(rig.next(), breaker(Dependency::OrdersAuth, true));
        }
    }
    let order = rig.place();
    rig.hear(ReplyEvent::NeverSent { order });
    assert_eq!(count(&asks, "POST /order"), 2);
    revoked.store(false, Ordering::Relaxed);
    // A read shows that we are let in again; no order was risked for it, and no signature of the wallet's.
    rig.hear(breaker(Dependency::OrdersAuth, false));
    assert_eq!((count(&asks, "POST /order"), count(&asks, "POST /auth"), count(&asks, "GET /auth")), (2, 0, 0));
    let order = rig.place();
    rig.hear(yes(order));
}

#[test]
fn o19_beats_refused_twice_close_the_gate_and_one_that_is_taken_opens_it() {
    let (addr, asks) = venue(|ask, nth| {
        (ask.line == "POST /v1/heartbeats" && nth < 3)
            .then(|| Say::This(answer(400, r#"{"error_msg":"Invalid Heartbeat ID","heartbeat_id":"other"}"#)))
    });
    let mut rig = rig(addr);
    assert_eq!(count(&asks, "POST /v1/heartbeats"), 0, "not armed before the first order");
    rig.place();
    rig.hear(ReplyEvent::Heartbeat { healthy: false });
    rig.hear(ReplyEvent::Heartbeat { healthy: true });
    let asks = asks.lock().expect("unpoisoned");
    let bodies: Vec<&str> = asks.iter().filter(|a| a.line.ends_with("heartbeats")).map(|a| a.body.as_str()).collect();
    assert_eq!(bodies[0], r#"{"heartbeat_id":""}"#);
    assert!(bodies[1..].iter().all(|b| *b == r#"{"heartbeat_id":"other"}"#), "{bodies:?}");
}

#[test]
fn o19_a_hot_tile_without_a_sign_of_life_is_not_beaten_for() {
    let (addr, asks) = venue(|_, _| None);
    let mut rig = rig(addr);
    let order = rig.place();
    assert_eq!(rig.next(), yes(order));
    until("a beat", || {
        rig.turn();
        (count(&asks, "POST /v1/heartbeats") == 1).then_some(())
    });
    rig.hot_is_alive = false;
    rig.hear(ReplyEvent::Heartbeat { healthy: false });
    rig.pass(3_000);
    assert_eq!(count(&asks, "POST /v1/heartbeats"), 1);
    rig.hot_is_alive = true;
    rig.hear(ReplyEvent::Heartbeat { healthy: true });
    until("the next beat", || {
        rig.turn();
        (count(&asks, "POST /v1/heartbeats") == 2).then_some(())
    });
}

#[test]
fn o19_an_unanswered_cancel_stops_the_beats_so_that_the_venue_cancels() {
    let (addr, asks) = venue(|ask, nth| match ask.line.as_str() {
        "DELETE /order" => Some(Say::Cut),
        // What is left over can be cancelled neither: it is not flat.
        "DELETE /cancel-all" if nth < 2 => Some(refuse(500, "Internal server error")),
        _ => None,
    });
    let mut rig = rig(addr);
    let order = rig.place();
    assert_eq!(rig.next(), yes(order));
    rig.pass(100);
    rig.cancel(order);
    let said = rig.hear(ReplyEvent::Heartbeat { healthy: false });
    assert!(said.contains(&ReplyEvent::CancelUnknown { order }), "{said:?}");
    assert!(said.contains(&breaker(Dependency::Cancels, true)), "{said:?}");
    let beats = count(&asks, "POST /v1/heartbeats");
    let refused = rig.place();
    rig.hear(ReplyEvent::NeverSent { order: refused });
    // Only a cancel-all of which nothing is left over says that cancels work.
    rig.hear(breaker(Dependency::Cancels, false));
    assert!(count(&asks, "DELETE /cancel-all") >= 3);
    assert_eq!(count(&asks, "POST /v1/heartbeats"), beats);
    let order = rig.place();
    rig.hear(yes(order));
}

#[test]
fn story_08_balance_refused_again_and_again_stops_buys_until_the_account_was_read() {
    let (addr, asks) =
        venue(|ask, nth| (ask.line == "POST /order" && nth < 3).then(|| refuse(400, "not enough balance / allowance")));
    let mut rig = rig(addr);
    for _ in 0..3 {
        let order = rig.place();
        assert_eq!(rig.next(), no(order, RejectReason::Balance));
    }
    assert_eq!(rig.next(), breaker(Dependency::OrdersBalance, true));
    let order = rig.place();
    rig.hear(ReplyEvent::NeverSent { order });
    assert_eq!(count(&asks, "POST /order"), 3);
}

#[test]
fn story_23_the_ratio_of_the_amounts_as_written_is_the_price_exactly() {
    let ticks = [
        TickSize::Tenth,
        TickSize::Cent,
        TickSize::HalfCent,
        TickSize::QuarterCent,
        TickSize::Mill,
        TickSize::TenthMill,
    ];
    for tick in ticks {
        for units in (1..10_000_u16).filter(|units| Price::from_units(*units).is_some_and(|p| p.on_grid(tick))) {
            for (side, hundredths) in [(Side::Buy, 500), (Side::Sell, 123_457), (Side::Buy, 99_999_999_u64)] {
                let price = Price::from_units(units).expect("on the grid");
                let amounts = polyloly_fast::types::amounts::limit(side, price, Qty(hundredths * 10_000));
                let (cash, shares) = match side {
                    Side::Buy => (amounts.maker, amounts.taker),
                    Side::Sell => (amounts.taker, amounts.maker),
                };
                assert_eq!(u128::from(cash) * 10_000, u128::from(shares) * u128::from(units), "{side:?} at {units}");
            }
        }
    }
}

#[test]
fn story_27_a_version_that_moved_is_told_once_and_never_tried_again() {
    let (addr, asks) = venue(|ask, _| (ask.line == "POST /order").then(|| refuse(400, "order_version_mismatch")));
    let mut rig = rig(addr);
    let order = rig.place();
    assert_eq!(rig.next(), no(order, RejectReason::Version));
    assert_eq!(rig.next(), breaker(Dependency::OrdersAuth, true));
    let order = rig.place();
    rig.hear(ReplyEvent::NeverSent { order });
    rig.pass(200);
    assert_eq!(count(&asks, "POST /order"), 1);
}

#[test]
fn story_30_the_clocks_offset_is_measured_and_told() {
    for ahead_s in [0_i64, 5, -7] {
        let (addr, _) = venue(move |ask, _| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
            (ask.line == "GET /time").then(|| ok(&format!("{}", now.as_secs() as i64 - ahead_s)))
        });
        let mut rig = rig(addr);
        let ms = loop {
            if let ReplyEvent::ClockAhead { ms } = rig.next() {
                break ms;
            }
        };
        assert!((i64::from(ms) - ahead_s * 1_000).abs() <= 400, "{ms} ms instead of {ahead_s} s");
    }
}

#[test]
fn a_question_that_fails_again_and_again_is_asked_less_often() {
    let (addr, asks) = venue(|ask, _| ask.line.starts_with("GET /data/order/").then(|| refuse(500, "x")));
    let mut rig = rig(addr);
    let mut said = Vec::new();
    while !said.contains(&breaker(Dependency::Reads, true)) {
        rig.ask(Command::Lookup { order: A });
        said.extend(rig.pass(20));
        assert!(count(&asks, "GET /data/order/") <= 6, "{said:?}");
    }
    let asked = count(&asks, "GET /data/order/");
    for _ in 0..20 {
        rig.ask(Command::Lookup { order: A });
        rig.pass(20);
    }
    assert!(count(&asks, "GET /data/order/") <= asked + 1, "hardly one of twenty");
}

// ---- Readings ----

fn order_row(id: &OrderHash, token: &str, matched: &str) -> String {
    format!(
        r#"{{"id":"{id}","status":"LIVE","market":"{id}","asset_id":"{token}","side":"SELL","price":"0.5",
        "original_size":"10","size_matched":"{matched}"}}"#
    )
}

fn page(rows: &[String], next: &str) -> Say {
    ok(&format!(r#"{{"data":[{}],"next_cursor":"{next}","limit":100,"count":{}}}"#, rows.join(","), rows.len()))
}

fn token_text(n: usize) -> String {
    universe().markets[0].tokens[n].to_string()
}

/// Reads everything from a venue of this script. Gives what was heard, from the begin to the end.
fn read(data: bool, script: impl Fn(&Ask, usize) -> Option<Say> + Send + Sync + 'static) -> (Vec<Event>, Asks) {
    let (addr, asks) = venue(script);
    let mut rig = rig_with(addr, Limits { tier: Tier::Elite, ..Limits::default() }, data);
    rig.ask(Command::Reconcile { round: 7, trades_since: Nanos(1_790_000_000_000_000_000) });
    let mut heard = vec![rig.event()];
    assert_eq!(heard, [Event::Reply(ReplyEvent::Read(ReadEvent::Begin { round: 7 }))]);
    while !matches!(heard.last(), Some(Event::Reply(ReplyEvent::Read(ReadEvent::End { .. })))) {
        heard.push(rig.event());
    }
    (heard, asks)
}

fn is_complete(heard: &[Event]) -> bool {
    match heard.last() {
        Some(Event::Reply(ReplyEvent::Read(ReadEvent::End { round: 7, complete }))) => *complete,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reading_tells_every_page_of_everything_between_its_begin_and_its_end() {
    let (yes, no) = (token_text(0), token_text(1));
    let trade = format!(
        r#"{{"id":"t","status":"MINED","taker_order_id":"{A}","asset_id":"{yes}","side":"BUY","size":"5","price":"0.5",
        "owner":"key","trader_side":"TAKER","maker_orders":[]}}"#
    );
    let held = no.clone();
    let (heard, asks) = read(true, move |ask, _| match ask.line.as_str() {
        "GET /data/orders" => Some(page(&[order_row(&A, &yes, "2.5")], "MTAw+/=")),
        "GET /data/orders?next_cursor=MTAw%2B%2F%3D" => Some(page(&[order_row(&B, "999", "0")], "LTE=")),
        "GET /data/trades?after=1790000000" => Some(page(std::slice::from_ref(&trade), "LTE=")),
        line if line.contains("COLLATERAL") => Some(ok(r#"{"balance":"7000000","allowances":{}}"#)),
        line if line.contains(&yes) => Some(ok(r#"{"balance":"5000000","allowances":{}}"#)),
        line if line.contains(&no) => Some(ok(r#"{"balance":"0","allowances":{}}"#)),
        line if line.starts_with("GET /v2/positions?user=0x") => {
            Some(ok(&format!(r#"[{{"asset":"{held}","size":1.25}}]"#)))
        }
        _ => None,
    });
    let read = |event| Event::Reply(ReplyEvent::Read(event));
    let (yes, no) = (MarketIx(0).instrument(0.into_outcome()), MarketIx(0).instrument(1.into_outcome()));
    assert_eq!(
        heard[1],
        read(ReadEvent::Order { order: A, instrument: yes, side: Side::Sell, matched: Qty(2_500_000) })
    );
    assert_eq!(heard[2], read(ReadEvent::ForeignOrder { order: B }));
    assert!(
        matches!(heard[3], Event::User(UserEvent::Trade { order: A, status: TradeStatus::Mined, .. })),
        "{:?}",
        heard[3]
    );
    assert_eq!(
        heard[4..],
        [
            read(ReadEvent::Cash { cash: Usdc(7_000_000) }),
            read(ReadEvent::Shares { instrument: yes, qty: Qty(5_000_000) }),
            read(ReadEvent::Shares { instrument: no, qty: Qty(0) }),
            read(ReadEvent::Position { instrument: yes, qty: Qty(0) }),
            read(ReadEvent::Position { instrument: no, qty: Qty(1_250_000) }),
            read(ReadEvent::End { round: 7, complete: true }),
        ]
    );
    assert_eq!(count(&asks, "GET /data/orders"), 2);
}

/// Shorthand of this file.
trait IntoOutcome {
    fn into_outcome(self) -> polyloly_fast::types::ids::Outcome;
}

impl IntoOutcome for u8 {
    fn into_outcome(self) -> polyloly_fast::types::ids::Outcome {
        use polyloly_fast::types::ids::Outcome;
        if self == 0 { Outcome::Yes } else { Outcome::No }
    }
}

#[test]
fn a_reading_without_a_data_api_says_no_positions_and_is_complete() {
    for data in [false, true] {
        let (heard, _) = read(data, |ask, _| ask.line.contains("positions").then(|| refuse(404, "Not Found")));
        assert!(is_complete(&heard));
        let said = heard.iter().any(|e| matches!(e, Event::Reply(ReplyEvent::Read(ReadEvent::Position { .. }))));
        assert!(!said, "{heard:?}");
    }
}

#[test]
fn a_reading_is_not_complete_when_anything_is_missing() {
    let row = order_row(&A, &token_text(0), "0");
    let cut = format!(r#"{{"data":[{row}],"next_cursor":"LTE=","limit":100,"count":2}}"#);
    type Script = Box<dyn Fn(&Ask, usize) -> Option<Say> + Send + Sync>;
    let table: Vec<(&str, Script)> = vec![
        (
            "a page with fewer rows than it says",
            Box::new(move |ask, _| ask.line.starts_with("GET /data/orders").then(|| ok(&cut))),
        ),
        ("cursors in a circle", Box::new(|ask, _| ask.line.starts_with("GET /data/trades").then(|| page(&[], "QQ==")))),
        (
            "a cursor that is none",
            Box::new(|ask, _| ask.line.starts_with("GET /data/orders").then(|| page(&[], "x&market=1"))),
        ),
        ("an error that stays", Box::new(|ask, _| ask.line.contains("COLLATERAL").then(|| refuse(500, "x")))),
        ("no JSON", Box::new(|ask, _| ask.line.contains("CONDITIONAL").then(|| ok("{}")))),
        (
            "rows that are no orders",
            Box::new(|ask, _| ask.line.starts_with("GET /data/orders").then(|| page(&["{}".into()], "LTE="))),
        ),
        ("positions that cannot be read", Box::new(|ask, _| ask.line.contains("positions").then(|| ok("{}")))),
    ];
    for (what, script) in table {
        let (heard, asks) = read(true, script);
        assert!(!is_complete(&heard), "{what}");
        assert!(asks.lock().expect("unpoisoned").len() < 60, "{what}");
    }
}

#[test]
fn a_reading_that_is_cut_once_goes_on() {
    let (heard, _) = read(false, |ask, nth| (ask.line.starts_with("GET /data/trades") && nth == 0).then_some(Say::Cut));
    assert!(is_complete(&heard), "{heard:?}");
}

#[test]
fn orders_and_cancels_go_before_a_reading() {
    let rows: Vec<String> = (0..100).map(|_| order_row(&A, "999", "0")).collect();
    let (addr, asks) = venue(move |ask, _| {
        ask.line.starts_with("GET /data/orders").then(|| {
            std::thread::sleep(Duration::from_millis(20));
            let n: usize = ask.line.rsplit_once('Q').map_or(0, |(_, n)| n.parse().expect("a number"));
            page(&rows, &if n < 29 { format!("Q{}", n + 1) } else { "LTE=".into() })
        })
    });
    let mut rig = rig(addr);
    rig.ask(Command::Reconcile { round: 1, trades_since: Nanos(0) });
    until("the reading to begin", || {
        rig.turn();
        (count(&asks, "GET /data/orders") > 0).then_some(())
    });
    let order = rig.place();
    rig.cancel(A);
    let mut said = Vec::new();
    until("order and cancel", || {
        said.extend(rig.pass(1));
        (said.contains(&yes(order)) && said.contains(&ReplyEvent::Cancelled { order: A })).then_some(())
    });
    let ends = |reply: &ReplyEvent| matches!(reply, ReplyEvent::Read(ReadEvent::End { .. }));
    assert!(!said.iter().any(ends), "the order waited for the reading");
    // Far more rows than the ring holds arrive, in order and none lost.
    until("its end", || {
        said.extend(rig.pass(1));
        said.iter().any(ends).then_some(())
    });
    let foreign = said.iter().filter(|r| matches!(r, ReplyEvent::Read(ReadEvent::ForeignOrder { .. }))).count();
    assert!(foreign > 1_024 && foreign % 100 == 0, "{foreign} rows");
}
