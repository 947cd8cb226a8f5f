//! Steps 1 and 2 of 9: the market channel: its socket, its messages, and what follows when some are lost.
//!
//! The channel has no sequence numbers, so whatever is lost is answered by a gap and a fresh snapshot.
//! Source: docs/PROTOCOL.md "market channel", "integrity".

use std::sync::Arc;

use super::{
    Shared, parsed_since,
    socket::{Cause, Change, Socket, SocketConfig},
};
use crate::{
    stage::{
        counters::add,
        ring::{Rx, Tx},
    },
    types::{
        Event, InstrumentIx, Nanos, Stamp, Stamped, Universe,
        event::{GapReason, MarketEvent},
    },
    wire::market::{self, MarketParser},
};

/// Snapshots are asked for at most this often: a book that cannot be read must not become a flood of requests.
const RESYNC_EVERY_NS: u64 = 200_000_000;

/// The market channel for some instruments.
#[derive(Debug)]
pub struct MarketFeed {
    pub(super) socket: Socket,
    /// Books that the engine does not trust.
    resync: Rx<InstrumentIx>,
    events: Tx<Stamped>,
    parser: MarketParser,
    universe: Arc<Universe>,
    instruments: Vec<InstrumentIx>,
    /// Books to ask for anew.
    wanted: Vec<InstrumentIx>,
    last_resync: Nanos,
    /// A gap that did not fit the ring. Until it does, messages are dropped: they would apply to nothing.
    owed: Option<GapReason>,
    /// Text under construction.
    text: Vec<u8>,
    counts: Counts,
}

/// Counted here, published in housekeeping.
#[derive(Debug, Default)]
struct Counts {
    messages: u64,
    malformed: u64,
    ignored: u64,
    reconnects: u64,
}

impl MarketFeed {
    /// The channel for `instruments` of the universe. `resync`: instruments that need a fresh snapshot.
    pub fn new(
        config: SocketConfig,
        universe: &Arc<Universe>,
        instruments: Vec<InstrumentIx>,
        events: Tx<Stamped>,
        resync: Rx<InstrumentIx>,
        seed: u64,
    ) -> Self {
        Self {
            socket: Socket::new(config, seed),
            resync,
            events,
            parser: MarketParser::new(universe),
            universe: Arc::clone(universe),
            wanted: Vec::with_capacity(instruments.len()),
            instruments,
            last_resync: Nanos(0),
            owed: None,
            text: Vec::with_capacity(16 << 10),
            counts: Counts::default(),
        }
    }

    pub(super) fn poll(&mut self, shared: &mut Shared) -> usize {
        self.resync.backlog();
        while let Some(instrument) = self.resync.pop() {
            want(&mut self.wanted, instrument);
        }
        self.pay_gap(shared);
        let Self { socket, events, parser, owed, wanted, instruments, counts, .. } = self;
        let Shared { clock, samples, counters } = shared;
        let turn = socket.turn(clock, &mut |text, stamp| {
            counts.messages += 1;
            if owed.is_some() {
                return true;
            }
            let before = clock.cycles();
            let mut full = false;
            let parsed = parser.parse(text, &mut |event| full = full || events.push(Stamped { stamp, event }).is_err());
            parsed_since(before, clock, samples, counters);
            match parsed {
                Ok(parsed) => counts.ignored += u64::from(parsed.ignored()),
                Err(error) => {
                    counts.malformed += 1;
                    let gap = MarketEvent::Gap { instrument: error.instrument, reason: GapReason::Malformed };
                    full = events.push(Stamped { stamp, event: Event::Market(gap) }).is_err();
                    match error.instrument {
                        Some(instrument) => want(wanted, instrument),
                        None => instruments.iter().for_each(|i| want(wanted, *i)),
                    }
                }
            }
            if full {
                *owed = Some(GapReason::Overflow);
            }
            true
        });
        match turn.change {
            Some(change) => self.changed(change, shared),
            None => self.ask_again(shared),
        }
        turn.work
    }

    fn changed(&mut self, change: Change, shared: &mut Shared) {
        match change {
            Change::Opened => {
                self.counts.reconnects += u64::from(self.socket.opened() > 1);
                self.wanted.clear();
                self.text.clear();
                market::subscribe_first(&mut self.text, &self.universe, &self.instruments);
                self.socket.send_text(&self.text);
            }
            Change::Closed(cause) => {
                let reason = if cause == Cause::Silent || cause == Cause::Stale {
                    GapReason::Silent
                } else {
                    GapReason::Disconnected
                };
                self.owed = Some(reason);
                self.pay_gap(shared);
            }
            Change::Failed(_) => {}
        }
    }

    /// Sends the gap that is owed, once there is room, and asks for every book if the socket still stands.
    fn pay_gap(&mut self, shared: &Shared) {
        let Some(reason) = self.owed else { return };
        // Asked before pushing, so that waiting is not counted as one overflow a turn.
        if self.events.free() < self.instruments.len() {
            return;
        }
        // One for each of our books: those of other feed tiles lost nothing.
        let stamp = shared.clock.now();
        let Self { wanted, instruments, events, .. } = self;
        for &instrument in instruments.iter() {
            let gap = MarketEvent::Gap { instrument: Some(instrument), reason };
            if events.push(Stamped { stamp, event: Event::Market(gap) }).is_err() {
                return;
            }
            if reason == GapReason::Overflow {
                want(wanted, instrument);
            }
        }
        self.owed = None;
    }

    /// Asks for the books that are wanted: a subscription alone gives no snapshot of what is subscribed to already.
    fn ask_again(&mut self, shared: &Shared) {
        if self.wanted.is_empty() || !self.socket.is_open() {
            return;
        }
        let now = shared.clock.now();
        if now.wall.since(self.last_resync) < RESYNC_EVERY_NS {
            return;
        }
        self.last_resync = now.wall;
        for write in [market::unsubscribe, market::subscribe] {
            self.text.clear();
            write(&mut self.text, &self.universe, &self.wanted);
            self.socket.send_text(&self.text);
        }
        self.wanted.clear();
    }

    pub(super) fn housekeep(&mut self, now: Stamp, shared: &Shared) {
        if let Some(Change::Closed(_)) = self.socket.housekeep(now) {
            self.owed = Some(GapReason::Silent);
            self.pay_gap(shared);
        }
        let counts = std::mem::take(&mut self.counts);
        add(&shared.counters.market_messages, counts.messages);
        add(&shared.counters.market_malformed, counts.malformed);
        add(&shared.counters.market_ignored, counts.ignored);
        add(&shared.counters.market_reconnects, counts.reconnects);
    }
}

fn want(wanted: &mut Vec<InstrumentIx>, instrument: InstrumentIx) {
    if !wanted.contains(&instrument) {
        wanted.push(instrument);
    }
}
