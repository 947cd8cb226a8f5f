//! All tiles against the embedded venue, over TLS, for every layout that this machine can have.
#![cfg(feature = "embedded")]

use std::sync::{Arc, Mutex};

use polyloly_fast::{
    cold::{journal::Record, status::Slot},
    engine::sign::{OrderSigner, SecretKey, WalletSigner},
    feeds::{FeedTile, Shared, market::MarketFeed, socket::SocketConfig, sports::SportsFeed, user::UserFeed},
    gateway::{GatewayConfig, GatewayTile, bootstrap::Bootstrap, budget::Limits, merge::Merger},
    hot::{HotConfig, HotStatus, HotTile, Outcome},
    scenario,
    stage::{
        self, Control, Stage,
        counters::Counters,
        endpoint::{Endpoint, Trust, tls_config},
        latency::{Latency, Sample},
        ring::Rx,
    },
    strategies::{self, Params},
    sys::{cpu, tsc::Clock},
    topology::{Plan, Request, Tile},
    types::{Account, Address, ConditionId, Usdc, market::SignatureType},
    venue::{
        server::{Begin, Venue, VenueOptions},
        wallets,
    },
    wire::{auth::L2Auth, limits::Tier, sports::Game},
    wiring::{ColdEnds, Wiring, instruments_of},
};

/// Takes what the others leave, as the cold tile does, and keeps what the test asks about.
struct Sink {
    ends: ColdEnds,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    records: Vec<u64>,
    gaps: u64,
    samples: Vec<Sample>,
}

impl Stage for Sink {
    fn name(&self) -> &'static str {
        "sink"
    }

    fn poll(&mut self) -> usize {
        let mut seen = self.seen.lock().expect("unpoisoned");
        let mut worked = 0;
        while let Some(record) = self.ends.journal.pop() {
            match record {
                Record::Event(event) => seen.records.push(event.seq),
                Record::Gap { lost, .. } => seen.gaps += lost,
                Record::Action { .. } | Record::StateHash { .. } => {}
            }
            worked += 1;
        }
        for ring in &mut self.ends.samples {
            seen.samples.extend(std::iter::from_fn(|| Rx::pop(ring)));
        }
        worked
    }
}

struct Ran {
    outcome: Outcome,
    seen: Seen,
    counters: Arc<Counters>,
    control: Arc<Control>,
    cash: [Usdc; 2],
}

fn run(cores: &[usize], dry_run: bool) -> Ran {
    let last = cores[cores.len() - 1];
    let venue = Venue::start(VenueOptions {
        listen: "127.0.0.1:0".parse().expect("an address"),
        tls: true,
        speed: 200.0,
        scenario: scenario::open("lol-bo3", 1).expect("known"),
        seed: 1,
        chain_id: 137,
        accounts: wallets::development(Usdc::dollars(10_000)),
        on_thread: Some(Box::new(move || {
            cpu::pin_current_thread(last);
        })),
        begin: Begin::OnSignal,
    })
    .expect("a venue");
    let ready = &venue.ready;
    let account = ready.accounts.iter().find(|a| a.signature_type == 3).expect("a deposit wallet");
    let key = SecretKey::from_hex(account.private_key.as_ref().expect("a development key").as_bytes()).expect("a key");
    let address = |text: &str| Address::parse(text.as_bytes()).expect("an address");
    let who =
        Account { owner: key.address(), funder: address(&account.funder), signature_type: SignatureType::Poly1271 };
    let tls = tls_config(Trust::Pem(ready.ca.as_bytes())).expect("trust");
    let at = |url: &str| {
        let mut endpoint = Endpoint::resolve(url, &tls).expect("an endpoint");
        endpoint.addrs.retain(std::net::SocketAddr::is_ipv4);
        endpoint
    };
    let rest = at(&ready.rest);

    let mut boot = Bootstrap::new(rest.clone(), 137, who).expect("a client");
    assert!(boot.clock_ahead_ms().expect("time").abs() <= 200);
    boot.version().expect("version");
    let credentials = boot.credentials(&WalletSigner::new(key.clone())).expect("credentials");
    assert_eq!(boot.credentials(&WalletSigner::new(key.clone())).expect("derived"), credentials);
    let auth = L2Auth::new(&who.owner, &credentials).expect("base64");
    assert!(!boot.closed_only(&auth).expect("an answer"));
    let conditions: Vec<_> =
        ready.markets.iter().map(|m| ConditionId::parse(m.condition_id.as_bytes()).expect("hex")).collect();
    let universe = Arc::new(boot.universe(&conditions).expect("a universe"));
    let before = boot.cash(&auth).expect("a balance");

    let mut allowed = cpu::allowed();
    allowed.extend(cores);
    let request = Request {
        cores: Some(cores),
        allowed: &allowed,
        usable: &allowed,
        share_cores: true,
        feed_tiles: universe.markets.len(),
        venue: true,
    };
    let plan = Plan::new(&request).expect("a plan");
    let feeds = plan.feed_tiles();
    let wiring = Wiring::new(feeds);
    let (control, counters, status) =
        (Arc::new(Control::default()), Arc::new(Counters::default()), Arc::new(HotStatus::default()));
    let socket = |url: &str| SocketConfig {
        endpoint: at(url),
        ping_every_ns: 10_000_000_000,
        stale_after_ns: 30_000_000_000,
        silent_after_ns: 0,
    };
    let mut tiles: Vec<(Tile, Box<dyn Stage>)> = Vec::new();
    for (n, ends) in wiring.feeds.into_iter().enumerate() {
        let mine = instruments_of(n, feeds, universe.markets.len());
        let market = MarketFeed::new(socket(&ready.ws_market), &universe, mine, ends.market, ends.resync, n as u64 + 1);
        let user = ends.user.map(|tx| UserFeed::new(socket(&ready.ws_user), &universe, credentials.clone(), tx, 101));
        let game = Game { id: None, teams: universe.markets[0].outcomes.clone() };
        let sports = ends.matches.map(|tx| SportsFeed::new(socket(&ready.ws_sports), game, tx, 102));
        let shared = Shared { clock: Clock::new(), samples: ends.samples, counters: Arc::clone(&counters) };
        tiles.push((Tile::Feed(n), Box::new(FeedTile { market: Some(market), user, sports, shared })));
    }
    let hot = HotConfig {
        wal: polyloly_fast::wal::Wal::in_memory().unwrap(),
        recovered: Vec::new(),
        core: strategies::core(&universe, &Params::default()),
        signer: OrderSigner::new(key.clone()),
        run_tag: 1,
        cash: before,
        match_feed: true,
        dry_run,
        board: Slot::new(),
    };
    tiles.push((Tile::Hot, Box::new(HotTile::new(hot, wiring.hot, &control, &counters, &status))));
    let gateway = GatewayConfig {
        endpoint: rest.clone(),
        connections: 4,
        auth: auth.clone(),
        api_key: credentials.api_key.clone(),
        universe: Arc::clone(&universe),
        merger: Some(Merger::new(rest, vec![], WalletSigner::new(key), &universe)),
        heartbeat: true,
        limits: Limits { tier: Tier::Elite, ..Limits::default() },
        slow_ack_ns: 1_000_000_000,
        data: None,
    };
    tiles.push((Tile::Gateway, Box::new(GatewayTile::new(gateway, wiring.gateway, &control, &counters))));
    let seen = Arc::new(Mutex::new(Seen::default()));
    tiles.push((Tile::Cold, Box::new(Sink { ends: wiring.cold, seen: Arc::clone(&seen) })));

    venue.begin();
    stage::run(&plan, tiles, &control).expect("threads");
    let after = boot.cash(&auth).expect("a balance");
    assert!(boot.open_orders(&auth).expect("a list").is_empty(), "nothing is left at the venue");
    let outcome = status.outcome.get().expect("the engine ended").clone();
    let seen = std::mem::take(&mut *seen.lock().expect("unpoisoned"));
    Ran { outcome, seen, counters, control, cash: [before, after] }
}

fn check(ran: &Ran) {
    let Ran { outcome, seen, counters, control, cash } = ran;
    let change = cash[1].micro() - cash[0].micro();
    let report = format!("{outcome:#?}\n{:?}\n{:?}\nvenue's change {change}", counters.read(), control.failures());
    for what in Latency::ALL {
        let mut ns: Vec<u64> = seen.samples.iter().filter(|s| s.what == what).map(|s| s.ns).collect();
        ns.sort_unstable();
        let at = |q: usize| ns.get(ns.len() * q / 1000).copied().unwrap_or(0);
        println!("{:<15} n {:>6}  p50 {:>8} ns  p99 {:>9} ns", what.as_str(), ns.len(), at(500), at(990));
    }
    println!("{report}");
    assert!(control.is_clean(), "{report}");
    assert_eq!(seen.gaps, 0);
    assert!(seen.records.iter().copied().eq(1..=outcome.seq), "every event is recorded once, in order");
}

#[test]
fn a_match_is_traded_on_one_thread_that_sleeps() {
    let ran = run(&[0], false);
    check(&ran);
    assert!(ran.outcome.report.orders.accepted > 0 && ran.outcome.report.fills.count > 0);
    let change = ran.cash[1].micro() - ran.cash[0].micro();
    assert_eq!(change, ran.outcome.report.pnl.equity_change.micro(), "our account and the venue's agree");
}

#[test]
fn a_match_is_traded_on_two_cores() {
    if cpu::allowed().len() < 2 {
        eprintln!("SKIPPED: needs two cores");
        return;
    }
    let ran = run(&cpu::allowed()[..2], false);
    check(&ran);
    assert!(ran.outcome.report.orders.accepted > 0 && ran.outcome.report.fills.count > 0);
}

#[test]
fn a_match_is_traded_on_four_threads() {
    let cores = [cpu::allowed()[0]; 4];
    let ran = run(&cores, false);
    check(&ran);
    assert!(ran.outcome.report.orders.accepted > 0);
}

#[test]
fn a_dry_run_decides_and_signs_and_sends_nothing() {
    let ran = run(&[0], true);
    check(&ran);
    assert_eq!(ran.cash[0], ran.cash[1]);
    assert!(ran.seen.samples.iter().any(|s| s.what == Latency::Sign));
    assert!(ran.seen.samples.iter().all(|s| s.what != Latency::Send));
}
