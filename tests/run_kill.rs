//! Killed at fifty random moments, and started again: each run reads what the venue knows of it before its first order,
//! holds what the venue holds, and no order is doubled. A second instance does not start.
#![cfg(feature = "embedded")]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use polyloly_fast::{
    cold::journal::{Entry, Reader},
    engine::{Action, Actions},
    strategies,
    types::{
        Event, InstrumentIx, OrderHash, Qty,
        event::{ReadEvent, ReplyEvent},
        order::OrderState,
    },
};
use support::{Abroad, Running, Scratch, assert_clean};

const KILLS: usize = 50;

/// The journals of a directory, oldest first.
fn journals(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir.join("journal")) else { return Vec::new() };
    let mut all: Vec<_> = entries.map(|e| e.expect("an entry").path()).filter(|p| p.is_dir()).collect();
    all.sort();
    all
}

/// What a run's journal tells, read with an engine of its own that hears the same.
#[derive(Debug, Default)]
struct Story {
    placed: Vec<OrderHash>,
    /// Whole readings before the first order.
    readings_before: usize,
    /// The orders that the last of these readings listed as open.
    listed: Vec<OrderHash>,
    /// Where our shares and the venue's differed at the first order.
    differences: Vec<String>,
    /// Orders recovered from the write-ahead log.
    recovered: usize,
}

fn story(dir: &Path) -> Story {
    let mut story = Story::default();
    // A run that was killed before its first record has no story.
    let Ok(mut reader) = Reader::open(dir) else { return story };
    let (universe, params) = (reader.header().universe.clone(), reader.header().params.clone());
    let mut core = strategies::core(&universe, &params);
    let mut told: Vec<Option<Qty>> = vec![None; universe.markets.len() * 2];
    let (mut listed, mut out) = (Vec::new(), Actions::new());
    while let Ok(Some(entry)) = reader.next() {
        let Entry::Event(event) = entry else { continue };
        match event.event {
            Event::Recovered(polyloly_fast::types::event::RecoveredEvent::Order { .. }) => story.recovered += 1,
            Event::Reply(ReplyEvent::Read(read)) if story.placed.is_empty() => match read {
                ReadEvent::Begin { .. } => listed.clear(),
                ReadEvent::Order { order, .. } => listed.push(order),
                ReadEvent::Shares { instrument, qty } => told[instrument.ix()] = Some(qty),
                ReadEvent::End { complete: true, .. } => {
                    story.readings_before += 1;
                    story.listed = std::mem::take(&mut listed);
                }
                _ => {}
            },
            _ => {}
        }
        out.clear();
        core.on(&event, &mut (), &mut out);
        for action in &out {
            let Action::Place(approved) = action else { continue };
            if story.placed.is_empty() {
                for (i, told) in told.iter().enumerate() {
                    let instrument = InstrumentIx(i as u16);
                    // What a market paid is cash: nothing of it is held any more, whatever the reading before said.
                    if core.ledger().payout(instrument.market()).is_some() {
                        continue;
                    }
                    let (low, high) = core.ledger().expected(instrument);
                    if !told.is_some_and(|qty| qty + Qty::DUST >= low && qty <= high + Qty::DUST) {
                        story.differences.push(format!("token {i}: ours {low} to {high}, the venue's {told:?}"));
                    }
                }
            }
            story.placed.push(approved.hash());
        }
    }
    // No two working orders of one run want the same.
    let mut slots = BTreeSet::new();
    for order in core.working().filter(|o| o.state != OrderState::CancelPending && !o.intent.tif.is_immediate()) {
        let slot = (order.intent.instrument, order.intent.side, order.intent.strategy);
        assert!(slots.insert(slot), "two orders for {slot:?}");
    }
    story
}

#[test]
fn p01_killed_at_fifty_random_moments_and_started_again() {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).expect("randomness");
    let mut random = u64::from_le_bytes(seed) | 1;
    println!("moments from seed {random:#x}");
    let dir = Scratch::new("kill");
    let abroad = Abroad::start(&dir, &["--speed", "25"]);
    let config = abroad.configure(&dir, 2, [None; 4]);
    let first = abroad.trade(&dir, &config, &[]);
    abroad.shows_open_orders();
    first.signal("KILL");
    drop(first);

    let (mut seen, mut known) = (BTreeSet::new(), BTreeSet::new());
    let (mut traded, mut left, mut recovered) = (0, 0, 0);
    for kill in 0..KILLS {
        // What the dead run left resting, by the venue's word.
        let resting: BTreeSet<_> = abroad.account().1.into_iter().map(|o| o.id).collect();
        left += resting.len();
        let run = abroad.trade(&dir, &config, &[]);
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // A moment between the first instruction and well into trading; of every second run, after its first order.
        if kill % 2 == 1 {
            run.orders_open(1);
        }
        thread::sleep(Duration::from_millis(random % 2_000));
        run.signal("KILL");
        drop(run);
        // A run that died before it had a journal has no story.
        let Some(journal) = journals(dir.dir()).pop().filter(|j| known.insert(j.clone())) else { continue };
        let story = story(&journal);
        recovered += story.recovered;
        for order in &story.placed {
            assert!(seen.insert(*order), "kill {kill}: {order} was sent by two runs");
        }
        if story.placed.is_empty() {
            continue;
        }
        traded += 1;
        assert!(story.readings_before > 0, "kill {kill}: an order before the venue's account was read");
        assert!(story.listed.iter().all(|o| !resting.contains(o)), "kill {kill}: an old order rests beside new ones");
        assert!(story.differences.is_empty(), "kill {kill}: {:?}", story.differences);
    }
    println!("{traded} of {KILLS} runs traded, {left} orders were left resting, {recovered} were in the log");
    assert!(traded >= KILLS / 2, "too few runs came as far as an order: {traded}");
    assert!(left >= 10 && recovered >= 10, "too few orders were open when their run died: {left}, {recovered}");

    // The last run ends by itself, with the venue's account to the micro-dollar.
    let run = abroad.trade(&dir, &config, &[]);
    run.orders_open(1);
    run.signal("INT");
    let code = run.end().code;
    let summary = dir.json("summary.json");
    // An order that was written ahead and never left is unresolved until its expiry; a stop before that says so.
    match support::number(&summary, "/orders/unresolved") {
        0 => {
            assert_eq!(code, 130);
            assert_clean(&summary);
        }
        _ => {
            assert_eq!(code, 1);
            assert_eq!(summary["pnl"]["equity_change_usdc"], summary["pnl"]["venue_equity_change_usdc"], "{summary:#}");
        }
    }
    assert!(abroad.account().1.is_empty(), "nothing is left at the venue");
}

#[test]
fn p15_a_second_instance_on_the_same_wallet_or_directory_refuses_to_start() {
    let dir = Scratch::new("second-instance");
    let abroad = Abroad::start(&dir, &["--speed", "25"]);
    let config = abroad.configure(&dir, 1, [None; 4]);
    let run = abroad.trade(&dir, &config, &[]);
    abroad.shows_open_orders();
    let before: BTreeSet<_> = abroad.account().1.into_iter().map(|o| o.id).collect();
    // The same directory, and then the same wallet from another one.
    abroad.trade(&dir, &config, &[]).end().with(3).saying(&["is held by process", "one instance a journal directory"]);
    let other = Scratch::new("second-wallet");
    let args = ["run", "--config", &config, "--live", "--cores", "0"];
    let second = Running::start(other.dir(), &args, &[("POLYMARKET_PRIVATE_KEY", &abroad.key)]);
    second.end().with(3).saying(&["another instance trades with this wallet"]);
    // And neither cancelled what the first has: some of it may have been repriced, but not all was swept away.
    run.orders_open(1);
    assert!(!before.is_empty());
    run.signal("INT");
    run.end().with(130);
}
