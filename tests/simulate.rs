//! Whole matches in virtual time: the same digits from the same seed, the same books as the venue's, the same events
//! as the wire would bring.

#![cfg(feature = "embedded")]

use std::process::Command;

use polyloly_fast::{
    scenario::{Scenario, SimTime, family::Family, lol_bo3::LolBo3},
    simulate::{Chapter, Settings, course, door, hear, link::Link},
    strategies::Params,
    types::{
        Account, Address, Event, MarketIx, Nanos, OrderHash, Price, Qty, Side, TickSize, TimeInForce, Usdc,
        event::{BookSide, MarketEvent, UserEvent},
        ids::Outcome,
        market::SignatureType,
    },
    venue::{
        Listed,
        host::{Host, Out},
        rules::{NewOrder, Refusal},
        stream::{Audience, Channel, Reply, frames},
    },
    wire::{market::MarketParser, reply, user::UserParser},
};

const BEGAN: Nanos = Nanos(1_790_000_000_000_000_000);

fn settings() -> Settings {
    Settings { matches: 2, seed: 1, feed_delay_ns: 0, jobs: 1, params: Params::default(), like_run: None }
}

#[test]
fn the_same_seed_gives_the_same_digits_whatever_the_jobs() {
    let family = Family::NULL;
    let figures = |jobs| {
        let played = Settings { jobs, ..settings() }.family(&family, |_| true).expect("not given up");
        assert_eq!(played.iter().map(|p| p.seed).collect::<Vec<_>>(), [1, 2]);
        serde_json::to_string(&Chapter::of(&family, &played)).expect("figures")
    };
    assert_eq!(figures(1), figures(2));
}

#[test]
fn the_venue_counts_what_we_count_to_the_micro_dollar() {
    let runs = [(Family::NULL, None), (Family::REALISTIC, None), (Family::TOXIC, None), (Family::REALISTIC, Some(200))];
    for (family, like_run) in runs {
        let played = Settings { like_run, ..settings() }.play(&family, 3);
        for (who, c) in [("ours", &played.ours), ("touch", &played.touch)] {
            let name = format!("{} {who} {like_run:?}", family.name);
            assert_eq!(c.faults, Vec::<String>::new(), "{name}");
            assert_eq!(c.cash[0], c.cash[1], "{name}");
            assert_eq!(c.report.pnl.equity_change, c.money.equity, "{name}");
            assert!(c.money.fills > 5, "{name}: {} fills", c.money.fills);
            assert_eq!(c.report.reconciliation.impossible, 0, "{name}");
            // Each fill is rounded to the micro-pUSD.
            let most = 2 * c.money.fills as i64;
            assert!(c.money.rounding.micro().abs() <= most, "{name}: rounding {}", c.money.rounding);
            assert!((c.money.traded - c.report.fills.notional).micro().abs() <= most, "{name}: traded");
            // The venue rounds the fee of each match, we that of a trade, to ten micro-pUSD; `rounding` has the rest.
            let taken = 10 * c.report.fills.taker as i64;
            assert!((c.money.fees - c.report.pnl.fees).micro().abs() <= taken, "{name}: fees");
        }
        let touch = &played.touch;
        assert_eq!((touch.money.fees, touch.report.orders.immediate), (Usdc::ZERO, 0), "a quoter never takes");
    }
}

#[test]
fn a_later_feed_is_the_market_and_the_match_and_never_our_own_orders() {
    let (link, by) = (Link::draw(5), 2_000_000_000);
    let later = Link { market_ns: link.market_ns + by, match_ns: link.match_ns + by, ..link };
    assert_eq!(link.later(by), later);
    let money = |feed_delay_ns| Settings { feed_delay_ns, ..settings() }.play(&Family::REALISTIC, 5).ours.money;
    assert_ne!(money(0), money(by), "it matters");
}

/// A venue and an account on it.
/// The market's hold is a second, and the strategy's lead two: half a second of delay is made good by them, five are
/// not, and whoever runs it is told so.
#[test]
fn a_feed_that_is_too_slow_is_measured_and_said_to_be() {
    let played = |feed_delay_ns| Settings { feed_delay_ns, ..settings() }.play(&Family::REALISTIC, 5).ours;
    let too_slow =
        |c: &course::Course| c.report.remarks.iter().filter(|r| r.contains("too slow to quote here")).count();
    let (quick, slow) = (played(500_000_000), played(5_000_000_000));
    assert_eq!(too_slow(&quick), 0, "{:?}", quick.report.remarks);
    assert!(too_slow(&slow) > 0 && slow.off_ticks > 0, "{:?}", slow.report.remarks);
    // 5 s late, a little for the way, an eighth for the bin; less 3 s. And some hundredths for the cancel.
    let said = |by: &str| slow.report.remarks.iter().any(|r| r.contains(&format!("your feed is {by} s too slow")));
    assert!((20..=27).any(|t| said(&format!("{}.{}", t / 10, t % 10))), "{:?}", slow.report.remarks);
    assert!(slow.quoted[0] * 10 < quick.quoted[0], "{:?} {:?}", slow.quoted, quick.quoted);
}

fn venue(family: &Family, seed: u64) -> (Host, polyloly_fast::types::Universe, door::Us) {
    let scenario = LolBo3::of(family, seed);
    let setup = scenario.setup();
    let (owner, funder) = (Address([1; 20]), Address([2; 20]));
    let signature_type = SignatureType::Poly1271;
    let listed = Listed { private_key: None, owner, funder, signature_type, usdc: Usdc::dollars(100_000) };
    let mut host = Host::new(Box::new(scenario), &[listed], 137, seed, 1.0);
    let key = host.keys.create(owner, 0).map(|c| c.key.clone()).expect("a new key");
    let us = door::Us { account: host.funder(&funder).expect("listed"), key };
    host.begin(BEGAN);
    (host, course::universe(&setup, Account { owner, funder, signature_type }, None), us)
}

#[test]
fn what_is_heard_is_what_the_wire_would_have_said() {
    let (mut host, universe, us) = venue(&Family::DEMONSTRATION, 7);
    let (mut market, mut user) = (MarketParser::new(&universe), UserParser::new(&universe, &us.key));
    let (mut orders, mut told) = (0_u64, [0_u64; 3]);
    let mut mine = Vec::new();
    while !host.is_finished() {
        let now = host.next_due().expect("something more");
        host.advance(now);
        // Every now and then an order of ours: small bids at the touch, a taker, a cancel.
        orders += 1;
        if orders.is_multiple_of(40) {
            let i = hear::tokens(4).nth((orders / 40 % 8) as usize).expect("a token");
            let takes = orders.is_multiple_of(400);
            let best = host
                .exchange
                .market(i.market())
                .book
                .best_of(i.outcome(), if takes { BookSide::Ask } else { BookSide::Bid });
            let grid = |p: &Price| p.on_grid(TickSize::Cent);
            if let Some(price) = best.map(|(p, _)| p).filter(grid) {
                let mut id = OrderHash([9; 32]);
                id.0[..8].copy_from_slice(&orders.to_be_bytes());
                let cents = u64::from(price.units() / 100);
                let _ = host.exchange.submit(
                    NewOrder {
                        id,
                        account: us.account,
                        owner: us.key.clone(),
                        tag: None,
                        instrument: i,
                        side: Side::Buy,
                        maker_amount: cents * 10_000 * 20,
                        taker_amount: 20_000_000,
                        tif: if takes { TimeInForce::Fak } else { TimeInForce::Gtc },
                        post_only: false,
                    },
                    now,
                );
                mine.push(id);
                if mine.len() > 6 {
                    host.exchange.cancel(&mine.remove(0), &us.key, now);
                }
            }
        }
        for out in host.take_out(now) {
            let (mut wire, mut heard) = (Vec::new(), Vec::new());
            for frame in frames(&host, &out, now) {
                let mut text = frame.text.into_bytes();
                match frame.to {
                    Audience::Tokens { .. } => {
                        market.parse(&mut text, &mut |e| wire.push(e)).expect("a market frame");
                    }
                    Audience::Key(key, _) if key == us.key => {
                        user.parse(&mut text, &mut |e| wire.push(e)).expect("a user frame");
                    }
                    Audience::Key(..) | Audience::Sports => {}
                }
            }
            let Out::Note(note) = &out else { continue };
            hear::market(note, now, &mut |e| heard.push(Event::Market(e)));
            hear::user(note, &us.key, &mut |e| heard.push(Event::User(e)));
            assert_eq!(heard, wire, "{note:?}");
            for e in &heard {
                match e {
                    Event::User(UserEvent::Trade { taker_curve: Some(_), .. }) => told[0] += 1,
                    Event::User(UserEvent::Trade { .. }) => told[1] += 1,
                    Event::Market(MarketEvent::Resolved { .. } | MarketEvent::ResolvedUnclear { .. }) => told[2] += 1,
                    _ => {}
                }
            }
        }
    }
    assert!(told[0] > 20 && told[1] > 20 && told[2] == 4, "takers', makers' fills and resolutions: {told:?}");
}

#[test]
fn a_subscription_brings_the_snapshots_that_are_heard() {
    let (mut host, universe, _) = venue(&Family::REALISTIC, 4);
    while host.next_due().is_some_and(|at| at < BEGAN.plus(60_000_000_000)) {
        let now = host.next_due().expect("due");
        host.advance(now);
        host.take_out(now);
    }
    let tokens: Vec<String> = hear::tokens(4).map(|i| format!("\"{}\"", host.token_of(i))).collect();
    let subscribe = format!("{{\"type\":\"market\",\"assets_ids\":[{}]}}", tokens.join(","));
    let mut channel = Channel::of_path("/ws/market").expect("the market channel");
    let Reply::Send(texts) = channel.on_text(&subscribe, &host) else { panic!("closed") };
    let (mut wire, mut heard) = (Vec::new(), Vec::new());
    let mut parser = MarketParser::new(&universe);
    for text in texts {
        parser.parse(&mut text.into_bytes(), &mut |e| wire.push(e)).expect("a book");
    }
    for i in hear::tokens(4) {
        hear::snapshot(&host.snapshot(i), &mut |e| heard.push(Event::Market(e)));
    }
    assert_eq!(heard, wire);
    assert!(heard.len() > 30, "books with levels");
}

#[test]
fn refusals_are_read_as_their_words_are() {
    let id = OrderHash([1; 32]);
    for refusal in [
        Refusal::Payload,
        Refusal::Owner,
        Refusal::Signer,
        Refusal::Signature,
        Refusal::Version,
        Refusal::NoBook("1".into()),
        Refusal::Tick(id, "0.515".into(), TickSize::Cent),
        Refusal::Size(id, Qty::shares(4), Qty::shares(5)),
        Refusal::Amount(Usdc(500_000)),
        Refusal::Duplicate(id),
        Refusal::Crosses,
        Refusal::PostOnlyKind,
        Refusal::Balance,
        Refusal::Expiration,
        Refusal::Fok,
        Refusal::Fak,
    ] {
        let words = reply::refusal(400, b"", refusal.to_string().as_bytes());
        assert_eq!(Some(door::reason(&refusal)), words, "{refusal}");
    }
}

#[test]
fn every_family_plays_the_same_matches() {
    for seed in 0..20 {
        let told = |f: &Family| {
            let story = LolBo3::of(f, seed);
            story.story().moments.iter().map(|m| (m.at, m.what)).collect::<Vec<_>>()
        };
        let demonstration = LolBo3::new(seed).story().moments.iter().map(|m| (m.at, m.what)).collect::<Vec<_>>();
        for family in Family::NAMED {
            assert_eq!(told(&family), demonstration, "{} {seed}", family.name);
        }
    }
}

/// Medians of spread in cents and of the larger and smaller touch in shares, and how far the price of a map at hand
/// goes in a minute, in cents: every five seconds of live play, as the recording was made.
fn measure(family: &Family, seeds: std::ops::Range<u64>) -> [f64; 4] {
    let (mut spreads, mut larger, mut smaller, mut path, mut seconds) = (vec![], vec![], vec![], 0.0, 0.0);
    for seed in seeds {
        let truth = LolBo3::of(family, seed);
        let (mut host, ..) = venue(family, seed);
        let (mut s, mut last) = (0, None);
        while !host.is_finished() {
            s += 5;
            let until = BEGAN.plus(s * 1_000_000_000);
            while let Some(now) = host.next_due().filter(|at| *at <= until) {
                host.advance(now);
                host.take_out(now);
            }
            let shown = SimTime((s * 1_000_000_000).saturating_sub(truth.source_lag().0));
            let series = truth.story().moments[truth.story().index_at(shown)].series;
            let map = series.played() + 1;
            let tops = |m: usize| {
                let book = &host.exchange.market(MarketIx(m as u16)).book;
                let [bid, ask] = [BookSide::Bid, BookSide::Ask].map(|side| book.best_of(Outcome::Yes, side));
                bid.zip(ask)
            };
            let live = series.live && !series.paused && map <= 3;
            let now = tops(map.min(3)).filter(|_| live).map(|(bid, ask)| (map, bid.0.units() + ask.0.units()));
            if let (Some((map, now)), Some((before_map, before))) = (now, last)
                && map == before_map
            {
                path += f64::from(u16::abs_diff(now, before)) / 200.0;
                seconds += 5.0;
            }
            last = now;
            if let (true, Some((bid, ask))) = (live, tops(0))
                && (1_000..9_000).contains(&bid.0.units())
            {
                spreads.push(f64::from(ask.0.units() - bid.0.units()) / 100.0);
                larger.push(bid.1.max(ask.1).micro() as f64 / 1e6);
                smaller.push(bid.1.min(ask.1).micro() as f64 / 1e6);
            }
        }
    }
    let median = |mut v: Vec<f64>| {
        v.sort_by(f64::total_cmp);
        v[v.len() / 2]
    };
    [median(spreads), median(larger), median(smaller), path / seconds * 60.0]
}

#[test]
fn the_realistic_market_looks_like_the_recorded_one() {
    let [spread, larger, smaller, path] = measure(&Family::REALISTIC, 0..6);
    println!("spread {spread}, touch {larger} and {smaller}, {path:.1} cents a minute");
    // Recorded: 4 cents, 108 and 30 shares, 4.4 cents a minute in the series, which is 9 in the map that drives it.
    assert!((3.0..=5.0).contains(&spread), "spread {spread}");
    assert!((80.0..=140.0).contains(&larger) && (20.0..=55.0).contains(&smaller), "touch {larger} and {smaller}");
    assert!((7.0..=11.0).contains(&path), "{path} cents a minute");
}

/// Exit code, standard output, standard error.
fn outcome(args: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_polyloly-fast")).arg("simulate").args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

#[test]
fn wrong_flags_are_told_and_end_with_2() {
    for (args, said) in [
        (&["--matches", "0"][..], "--matches"),
        (&["--matches", "many"], "--matches"),
        (&["--family", "lol-bo3"], "one of null, realistic, toxic"),
        (&["--feed-delay", "2"], "write 500ms, 90s, 5m or 2h; or all"),
        (&["--feed-delay", "11m"], "at most 10m"),
        (&["--jobs", "0"], "--jobs"),
        (&["--like-run", "0"], "--like-run"),
        (&["--config", "/nowhere/at/all.toml"], "/nowhere/at/all.toml"),
    ] {
        let (code, stdout, stderr) = outcome(args);
        assert!(code == 2 && stdout.is_empty() && stderr.contains(said), "{args:?}: {code} {stderr}");
    }
}

#[test]
fn one_match_prints_its_table_and_nothing_on_a_stderr_that_is_no_terminal() {
    let (code, stdout, stderr) = outcome(&["--matches", "1", "--family", "null", "--jobs", "1"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    for part in ["null · 1 matches", "equity, 95 % interval", "moved within 300 s", "rebates", "verdict: no edge here"]
    {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
    assert!(stdout.lines().all(|l| l.chars().count() <= 100), "{stdout}");
}
