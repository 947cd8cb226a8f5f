//! The cold tile alone: rings in, journal, answers and outcome out.

use super::*;
use crate::{
    cold::{
        admin::{Audit, Token},
        dead_letters::Store,
        journal::{End, Header, Reader},
        progress::Style,
    },
    engine::{
        Action,
        gate::Gate,
        report::{Brief, OpenOrder},
        strategy::{Timing, Why},
    },
    stage::ring::{Tx, ring},
    strategies::Params,
    types::{
        ConditionId, Event, InstrumentIx, MarketIx, OrderHash, Price, Qty, Sequenced, TickSize, TokenId,
        event::{KillReason, ReplyEvent, UserEvent},
        order::OrderState,
        sample,
    },
};

struct Rig {
    tile: ColdTile,
    records: Tx<Record>,
    samples: Tx<Sample>,
    status: Slot<Latest>,
    outcome: Slot<Outcome>,
    told: Arc<crossbeam::queue::ArrayQueue<ControlEvent>>,
    control: Arc<Control>,
    letters: Tx<DeadLetter>,
    dir: std::path::PathBuf,
}

const TOKEN: &str = "a-token-of-a-test-only";

/// A market of its own for each number.
fn market(n: u8) -> MarketSpec {
    MarketSpec {
        condition: ConditionId([n; 32]),
        slug: format!("lol-{n}"),
        tokens: [TokenId([n; 32]), TokenId([n + 100; 32])],
        ..sample::market()
    }
}

fn rig(name: &str) -> Rig {
    let dir = std::env::temp_dir().join(format!("polyloly-cold-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    let universe = sample::universe(vec![market(1), market(2)]);
    let header = Header {
        run_id: "r1".into(),
        version: "0.1.0".into(),
        mode: "embedded".into(),
        seed: 1,
        speed: 200,
        started: Nanos(1),
        universe: universe.clone(),
        params: Params::default(),
    };
    let (records, records_rx) = ring("journal", 0, 4_096);
    let (samples, samples_rx) = ring("samples", 0, 64);
    let (letters, letters_rx) = ring("dead_letters", 0, 64);
    let control = Arc::new(Control::default());
    let (status, outcome) = (Slot::new(), Slot::new());
    let told = Arc::new(crossbeam::queue::ArrayQueue::new(4));
    let tell = Arc::clone(&told);
    let journal = Writer::create(&dir.join("r1"), &header, 1 << 20).unwrap();
    let admin = Admin::new(Token::new(TOKEN.as_bytes()).unwrap(), Audit::open(&dir, "r1").unwrap(), &universe);
    let tile = ColdTile::new(Parts {
        version: "0.1.0",
        run_id: "r1".into(),
        rings: vec![Arc::clone(records.stats())],
        records: records_rx,
        samples: vec![samples_rx],
        status: status.clone(),
        counters: Arc::default(),
        journal: Some(journal),
        sync_every_ns: 1,
        health: None,
        progress: Progress::new(Style::Off),
        control: Arc::clone(&control),
        clock: Clock::new(),
        admin: Some(admin),
        dead_letters: vec![letters_rx],
        store: Some(Store::open(&dir, "r1", &universe)),
        disk_reserve: 1,
        universe: Arc::new(universe),
        tell: Box::new(move |event| tell.push(event).is_ok()),
        outcome: outcome.clone(),
    });
    Rig { tile, records, samples, status, outcome, told, control, letters, dir }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Rig {
    fn event(&mut self, seq: u64, event: Event) {
        let event = Sequenced { seq, stamp: Stamp::default(), event };
        self.records.push(Record::Event(event)).unwrap();
    }

    fn ask(&mut self, method: &str, path: &str, headers: [Option<&str>; 2], body: &str) -> Answer {
        self.control.beat(self.tile.parts.clock.cycles());
        let [authorization, request_id] = headers.map(|h| h.map(str::as_bytes));
        let peer = ([127, 0, 0, 1], 1).into();
        let request = Request { method, path, authorization, request_id, body: body.as_bytes(), peer };
        self.tile.answer(&request, Nanos(7_000_000_000))
    }

    fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, [None, None], "")
    }

    fn post(&mut self, action: &str, id: &str, body: &str) -> (u16, String) {
        let bearer = format!("Bearer {TOKEN}");
        let answer = self.ask("POST", &format!("/admin/{action}"), [Some(&bearer), Some(id)], body);
        (answer.status, answer.body)
    }

    fn json(&mut self, path: &str) -> Value {
        serde_json::from_str(&self.get(path).body).unwrap()
    }

    /// Everything is as it should be for orders, but for what `change` does.
    fn in_order(&mut self, change: impl FnOnce(&mut Brief)) {
        self.event(1, Event::User(UserEvent::Up));
        self.event(2, Event::Reply(ReplyEvent::GatewayUp));
        self.tile.poll();
        let mut brief = Brief { admitting: true, ..Brief::default() };
        change(&mut brief);
        self.status.put(Latest { seq: 41, brief, ..Latest::default() });
        self.keep_house(1);
    }

    fn keep_house(&mut self, wall: u64) {
        self.tile.housekeep(Stamp { wall: Nanos(wall), ..Stamp::default() });
    }
}

#[test]
fn everything_in_the_rings_is_in_the_journal_when_it_has_stopped() {
    let mut rig = rig("drain");
    (1..=3_000).for_each(|seq| rig.event(seq, Event::Tick));
    rig.records.push(Record::Action { seq: 3_000, action: Action::Finished { clean: true } }).unwrap();
    rig.records.push(Record::StateHash { seq: 3_000, hash: 9 }).unwrap();
    rig.samples.push(Sample { what: Latency::Book, ns: 77 }).unwrap();
    rig.tile.stop();
    let mut turns = 0;
    while !rig.tile.stopped() {
        rig.tile.poll();
        turns += 1;
        assert!(turns < 10, "it never stops");
    }
    assert!(turns > 2, "a turn is bounded");
    let outcome = rig.outcome.take().unwrap();
    let closing = outcome.closing.unwrap();
    assert_eq!((closing.last_seq, closing.state_hash, closing.clean), (3_000, Some(9), true));
    assert_eq!(outcome.flow.events_total(), 3_000);
    assert_eq!(outcome.latency.quantiles(Latency::Book).count, 1);
    assert!(outcome.rings["journal"].high_water >= 3_002);
    let mut reader = Reader::open(&rig.dir.join("r1")).unwrap();
    while reader.next().unwrap().is_some() {}
    assert_eq!(*reader.end().unwrap(), End::Closed(closing));
    assert_eq!(rig.tile.poll(), 0, "nothing happens after the end");
}

#[test]
fn what_was_polled_survives_without_a_stop() {
    let mut rig = rig("crash");
    (1..=10).for_each(|seq| rig.event(seq, Event::Tick));
    rig.tile.poll();
    let mut reader = Reader::open(&rig.dir.join("r1")).unwrap();
    let mut events = 0;
    while reader.next().unwrap().is_some() {
        events += 1;
    }
    assert_eq!(events, 10);
}

#[test]
fn the_journals_first_error_stops_orders_once() {
    let mut rig = rig("down");
    let path = rig.dir.clone();
    let source = std::io::Error::other("no space");
    rig.tile.note::<()>(Err(JournalError { doing: "write", path, source }));
    rig.keep_house(1);
    rig.keep_house(2);
    assert_eq!(rig.told.pop(), Some(ControlEvent::JournalDown));
    assert_eq!(rig.told.pop(), None);
    rig.event(1, Event::Tick);
    rig.tile.poll();
    let (ready, checks) = rig.tile.checks();
    assert!(!ready && checks["journal"] == false);
    rig.tile.stop();
    while !rig.tile.stopped() {
        rig.tile.poll();
    }
    let outcome = rig.outcome.take().unwrap();
    assert!(outcome.failure.unwrap().contains("no space") && outcome.closing.is_none());
    assert_eq!(outcome.flow.events_total(), 1, "records are still counted");
}

#[test]
fn readiness_names_what_is_missing() {
    let mut rig = rig("ready");
    assert_eq!(rig.get("/health/ready").status, 503);
    rig.event(1, Event::User(UserEvent::Up));
    rig.event(2, Event::Reply(ReplyEvent::GatewayUp));
    rig.tile.poll();
    assert_eq!(rig.get("/health/ready").status, 503, "the engine has not shown itself");
    rig.in_order(|_| {});
    assert_eq!(rig.get("/health/ready").status, 200);
    type Break = fn(&mut Rig);
    let table: [(&str, Break); 6] = [
        ("user_channel", |rig| rig.event(3, Event::User(UserEvent::Down))),
        ("gateway", |rig| rig.event(3, Event::Reply(ReplyEvent::GatewayDown))),
        ("breakers_closed", |rig| {
            rig.event(3, Event::Reply(ReplyEvent::Breaker { of: Dependency::Cancels, open: true }));
        }),
        // Both are known here before the engine has heard of them, so before the first cancel leaves.
        ("not_stopping", |rig| rig.control.request_stop()),
        ("kill_switch_off", |rig| rig.control.set_orders_off(true)),
        ("disk", |rig| {
            rig.tile.parts.disk_reserve = u64::MAX;
            rig.tile.disk.1 = Nanos(0);
        }),
    ];
    for (check, spoil) in table {
        let mut rig = self::rig("ready-one");
        rig.in_order(|_| {});
        spoil(&mut rig);
        rig.tile.poll();
        rig.keep_house(2);
        let answer = rig.get("/health/ready");
        let said: Value = serde_json::from_str(&answer.body).unwrap();
        let no: Vec<_> = said["checks"].as_object().unwrap().iter().filter(|(_, ok)| **ok == false).collect();
        assert!(answer.status == 503 && no.len() == 1 && no[0].0 == check, "{check}: {said}");
    }
}

#[test]
fn every_condition_of_the_gate_is_shown_and_closes_readiness() {
    for condition in Closed::ALL {
        let mut rig = rig("gate");
        let mut gate = Gate::default();
        gate.set(condition, true);
        rig.in_order(|b| (b.gate, b.admitting) = (gate, gate.refuses(true).is_none()));
        let answer = rig.get("/health/ready");
        let said: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(said["closed"][condition.as_str()], true, "{said}");
        assert_eq!(said["closed"].as_object().unwrap().values().filter(|v| **v == true).count(), 1);
        // Post-only orders leave in such a window, and quotes are post-only.
        let open = condition == Closed::VenuePostOnly;
        assert_eq!(answer.status, if open { 200 } else { 503 }, "{said}");
    }
}

#[test]
fn a_hot_tile_that_gives_no_sign_of_life_is_not_alive() {
    let mut rig = rig("live");
    assert_eq!(rig.get("/health/live").status, 200);
    // A clock in which more than a second has passed since then.
    let since = Cycles(rig.tile.parts.clock.cycles().0);
    rig.tile.born = Cycles(0);
    let silent = |rig: &Rig| rig.tile.parts.clock.ns_between(rig.control.last_beat(), since);
    rig.control.beat(Cycles(1));
    assert!(silent(&rig) > ALIVE_NS, "this machine has been up for more than a second");
    let request = Request {
        method: "GET",
        path: "/health/live",
        authorization: None,
        request_id: None,
        body: b"",
        peer: ([127, 0, 0, 1], 1).into(),
    };
    let answer = rig.tile.answer(&request, Nanos(1));
    assert!(answer.status == 503 && answer.body.contains("\"live\":false"), "{}", answer.body);
    rig.control.end(true);
    assert_eq!(rig.tile.answer(&request, Nanos(1)).status, 200, "after its end it need not");
}

#[test]
fn the_state_lists_orders_and_positions_one_by_one() {
    let mut rig = rig("state");
    let mut latest = Latest { seq: 9, ..Latest::default() };
    latest.detail.cash = crate::types::Usdc(1_500_000);
    latest.detail.orders_more = 3;
    let held = Holding {
        state: crate::engine::trading::TradingState::BuildingPair,
        position: [Qty::shares(7), Qty(500_000)],
        settled: [Qty::shares(6), Qty::ZERO],
        open: 1,
        standing: None,
    };
    let off = Standing::Off { why: Why::TooSlow { by_ms: 700 }, until: Nanos(5) };
    for standing in [Some(off), Some(Standing::Probing)] {
        latest.detail.markets.push(Holding { standing, ..held }).unwrap();
    }
    latest.brief.timing = Timing { feed_lag_p90_ms: Some(2_700), cancel_path_p90_ms: None };
    let order = OpenOrder {
        order: OrderHash([0xab; 32]),
        instrument: InstrumentIx(3),
        side: crate::types::Side::Sell,
        price: Price::floor_to(4_200, TickSize::Cent).unwrap(),
        qty: Qty::shares(10),
        filled: Qty::shares(2),
        state: OrderState::CancelPending,
    };
    assert!(latest.detail.orders.push(order).is_ok());
    rig.status.put(latest);
    rig.keep_house(1);
    let state = rig.json("/state");
    let open = &state["open_orders"][0];
    for (key, value) in [
        ("id", format!("0x{}", "ab".repeat(32))),
        ("market", "lol-2".into()),
        ("token_id", TokenId([102; 32]).to_string()),
        ("side", "SELL".into()),
        ("price", "0.42".into()),
        ("size", "10".into()),
        ("filled", "2".into()),
        ("state", "cancel_pending".into()),
    ] {
        assert_eq!(open[key], value, "{open}");
    }
    let first = &state["positions"][0];
    assert_eq!((&first["market"], &first["state"]), (&json!("lol-1"), &json!("building_pair")));
    assert_eq!(
        first["tokens"][0],
        json!({"token_id": TokenId([1; 32]).to_string(), "outcome": "A", "shares": "7", "settled": "6"})
    );
    assert_eq!(first["left_alone"], "your feed is 0.7 s too slow to quote here");
    assert!(state["positions"][1]["left_alone"].is_null());
    assert_eq!(state["timing"], json!({"feed_lag_p90_ms": 2_700, "cancel_path_p90_ms": null}));
    assert_eq!((&state["cash_usdc"], &state["open_orders_not_shown"]), (&json!("1.5"), &json!(3)));
    let ready = rig.json("/health/ready");
    assert_eq!(ready["markets"], json!({"lol-1": "building_pair", "lol-2": "building_pair"}));
}

#[test]
fn the_operator_s_orders_reach_the_engine() {
    use ControlEvent as C;
    let table: [(&str, &str, &[C]); 7] = [
        ("halt", "", &[C::Halt(MarketIx(0)), C::Halt(MarketIx(1))]),
        ("halt", r#"{"market":"lol-2","reason":"a pause"}"#, &[C::Halt(MarketIx(1))]),
        (
            "resume",
            r#"{"market":"0x0202020202020202020202020202020202020202020202020202020202020202"}"#,
            &[C::Resume(MarketIx(1))],
        ),
        ("resume", "{}", &[C::Resume(MarketIx(0)), C::Resume(MarketIx(1))]),
        ("kill", "", &[C::Kill(KillReason::Manual)]),
        ("cancel-all", "", &[C::CancelAll]),
        ("reset-kill-switch", r#"{"reason":"looked at it"}"#, &[C::ResetKill]),
    ];
    let mut rig = rig("orders");
    rig.in_order(|b| b.kill_switch = Some("manual"));
    for (n, (action, body, events)) in table.into_iter().enumerate() {
        let (status, said) = rig.post(action, &format!("id-{n}"), body);
        assert!(status == 200 && said.contains("\"accepted\":true") && said.contains("\"seq\":41"), "{action}: {said}");
        let told: Vec<_> = std::iter::from_fn(|| rig.told.pop()).collect();
        assert_eq!(told, events, "{action}");
    }
}

#[test]
fn a_control_ring_that_is_full_is_said_to_be() {
    let mut rig = rig("full");
    rig.in_order(|_| {});
    // Four fit.
    for n in 0..4 {
        assert_eq!(rig.post("cancel-all", &format!("a{n}"), "").0, 200);
    }
    let (status, said) = rig.post("halt", "b", "");
    assert!(status == 503 && said.contains("0 of 2") && said.contains("ask again"), "{said}");
    rig.told.pop();
    let (status, said) = rig.post("halt", "c", "");
    assert!(status == 503 && said.contains("1 of 2"), "{said}");
    while rig.told.pop().is_some() {}
    assert_eq!(rig.post("halt", "d", "").0, 200);
}

#[test]
fn letters_are_kept_counted_and_tried_again() {
    use crate::stage::dead_letter::{Reason, Source};
    let mut rig = rig("letters");
    let letter = |text: &[u8], wall| DeadLetter {
        stamp: Stamp { wall: Nanos(wall), ..Stamp::default() },
        source: Source::Market,
        line: 0,
        reason: Reason::NotJson,
        instrument: None,
        digest: 1,
        len: text.len() as u32,
        head: text.into(),
    };
    rig.letters.push(letter(b"{", 1)).unwrap();
    rig.letters.push(letter(b"[]", 2)).unwrap();
    rig.tile.poll();
    (1..=20).for_each(|n| rig.keep_house(n * 1_000_000_000));
    let state = rig.json("/state");
    assert_eq!(state["dead_letters"], json!({"received": 2, "dead": 1}), "{state}");
    assert!(rig.get("/metrics").body.contains("polyloly_dead_letters_total{reason=\"not_json\"} 2\n"));
    let kept = dead_letters::Kept::read(&rig.dir).unwrap();
    let states: Vec<_> = kept.letters.iter().map(|l| (l.state.as_str(), l.attempts)).collect();
    assert_eq!(states, [("dead", 3), ("understood", 1)]);
    rig.tile.stop();
    while !rig.tile.stopped() {
        rig.tile.poll();
    }
    let letters = rig.outcome.take().unwrap().letters;
    assert_eq!((letters.received(), letters.dead, letters.understood), (2, 1, 1));
}

#[test]
fn every_page_is_there() {
    let mut rig = rig("pages");
    for (path, status) in [
        ("/health/live", 200),
        ("/metrics", 200),
        ("/state", 200),
        ("/", 404),
        ("/admin/halt", 401),
        ("/administer", 404),
    ] {
        assert_eq!(rig.get(path).status, status, "{path}");
    }
    assert_eq!(rig.ask("POST", "/state", [None, None], "").status, 405);
}
