//! The cold tile alone: rings in, journal, answers and outcome out.

use super::*;
use crate::{
    cold::{
        journal::{End, Header, Reader},
        progress::Style,
    },
    engine::{Action, report::Brief},
    stage::ring::{Tx, ring},
    strategies::Params,
    types::{
        Account, Address, Event, Sequenced, Universe,
        event::{ReplyEvent, UserEvent},
        market::SignatureType,
    },
};

struct Rig {
    tile: ColdTile,
    records: Tx<Record>,
    samples: Tx<Sample>,
    status: Slot<Latest>,
    outcome: Slot<Outcome>,
    told: Arc<crossbeam::queue::ArrayQueue<ControlEvent>>,
    dir: std::path::PathBuf,
}

fn rig(name: &str) -> Rig {
    let dir = std::env::temp_dir().join(format!("polyloly-cold-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    let account = Account { owner: Address([1; 20]), funder: Address([1; 20]), signature_type: SignatureType::Eoa };
    let header = Header {
        run_id: "r1".into(),
        version: "0.1.0".into(),
        mode: "embedded".into(),
        seed: 1,
        speed: 200,
        started: Nanos(1),
        universe: Universe { chain_id: 137, account, markets: Vec::new() },
        params: Params::default(),
    };
    let (records, records_rx) = ring("journal", 0, 4_096);
    let (samples, samples_rx) = ring("samples", 0, 64);
    let (status, outcome) = (Slot::new(), Slot::new());
    let told = Arc::new(crossbeam::queue::ArrayQueue::new(4));
    let tell = Arc::clone(&told);
    let tile = ColdTile::new(Parts {
        version: "0.1.0",
        run_id: "r1".into(),
        rings: vec![Arc::clone(records.stats())],
        records: records_rx,
        samples: vec![samples_rx],
        status: status.clone(),
        counters: Arc::default(),
        journal: Some(Writer::create(&dir, &header, 1 << 20).unwrap()),
        sync_every_ns: 1,
        health: None,
        progress: Progress::new(Style::Off),
        tell: Box::new(move |event| tell.push(event).is_ok()),
        outcome: outcome.clone(),
    });
    Rig { tile, records, samples, status, outcome, told, dir }
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
    let mut reader = Reader::open(&rig.dir).unwrap();
    while reader.next().unwrap().is_some() {}
    assert_eq!(*reader.end().unwrap(), End::Closed(closing));
    assert_eq!(rig.tile.poll(), 0, "nothing happens after the end");
}

#[test]
fn what_was_polled_survives_without_a_stop() {
    let mut rig = rig("crash");
    (1..=10).for_each(|seq| rig.event(seq, Event::Tick));
    rig.tile.poll();
    let mut reader = Reader::open(&rig.dir).unwrap();
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
    let answer = |rig: &Rig| rig.tile.answer("/health/ready");
    assert_eq!(answer(&rig).status, 503);
    rig.event(1, Event::User(UserEvent::Up));
    rig.event(2, Event::Reply(ReplyEvent::GatewayUp));
    rig.tile.poll();
    assert_eq!(answer(&rig).status, 503);
    rig.status.put(Latest { brief: Brief { admitting: true, ..Brief::default() }, ..Latest::default() });
    rig.keep_house(1);
    assert_eq!(answer(&rig), Answer { status: 200, ..answer(&rig) });
    rig.event(3, Event::User(UserEvent::Down));
    rig.tile.poll();
    let answer = answer(&rig);
    assert!(answer.status == 503 && answer.body.contains("\"user_channel\":false"), "{}", answer.body);
}

#[test]
fn every_page_is_there() {
    let rig = rig("pages");
    for (path, status) in [("/health/live", 200), ("/metrics", 200), ("/state", 200), ("/", 404), ("/admin/halt", 404)]
    {
        assert_eq!(rig.tile.answer(path).status, status, "{path}");
    }
}
