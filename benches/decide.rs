//! Steps 3 to 5 of 9, timed: `engine.on` with the real strategy and risk, over the events of a recorded run.
//!
//! One iteration is all events of one message. Those that lead to an order include its hash, without the signature.

pub mod common;

use common::{
    Bench, Row,
    stage::Decisions,
    venue::{Effect, Transcript},
};
use polyloly_fast::{
    engine::{
        gate::{Closed, Gate},
        life::{self, Input},
    },
    types::{
        Event, Nanos,
        event::{MarketEvent, UserEvent},
        order::OrderState,
    },
    wal::Wal,
};
use quanta::Clock;

fn main() {
    step(&mut Bench::full());
}

/// Whether a message with these events and this effect is timed.
type Wanted = fn(&[Event], Effect) -> bool;

fn is_change(events: &[Event]) -> bool {
    matches!(events.first(), Some(Event::Market(MarketEvent::Delta { .. })))
}

fn is_fill(events: &[Event]) -> bool {
    matches!(events.first(), Some(Event::User(UserEvent::Trade { .. })))
}

/// Every table of this step.
pub fn step(bench: &mut Bench) {
    let transcript = Transcript::record(bench.scale(30_000, 1_500));
    // Once through: every delivery's actions are compared with those of the recording.
    let mut once = Decisions::new(&transcript);
    once.time(&Clock::new(), transcript.deliveries.len() as u64, |_, _| true);
    let report = once.core().report();
    assert!(report.orders.sent > 10 && report.orders.accepted > 10, "{report:?}");

    let table: [(&str, Wanted); 5] = [
        ("price_change, nothing to do", |events, led_to| is_change(events) && led_to == Effect::Nothing),
        ("price_change, a quote pulled", |events, led_to| is_change(events) && matches!(led_to, Effect::Cancels(_))),
        ("one order decided, hash included", |_, led_to| led_to == Effect::Orders(1)),
        ("two orders decided, hashes included", |_, led_to| led_to == Effect::Orders(2)),
        ("fill or its settlement heard", |events, _| is_fill(events)),
    ];
    for (what, wanted) in table {
        let mut decisions = Decisions::new(&transcript);
        let row = Row::staged("polyloly-fast", 1, move |clock, n| decisions.time(clock, n, wanted));
        bench.table("decide", what, vec![row]);
    }
    // On the hot thread too, once every 65 536 events.
    let row = Row::new("polyloly-fast", 1, || once.core().state_hash());
    bench.table("decide", "state hash of the whole engine", vec![row]);
    guards(bench, &transcript);
}

/// What the guards cost an order: the gate, its life, the log that it is written to before it leaves.
fn guards(bench: &mut Bench, transcript: &Transcript) {
    let gates: Vec<Gate> = (0..64_u32)
        .map(|n| {
            let mut gate = Gate::default();
            Closed::ALL.into_iter().enumerate().for_each(|(bit, c)| gate.set(c, n & 1 << (bit % 6) != 0 && bit < 6));
            gate
        })
        .collect();
    let mut n = 0;
    let gate = || {
        n = (n + 1) % gates.len();
        gates[n].refuses(n % 2 == 0)
    };
    bench.table("guard", "admission gate", vec![Row::new("polyloly-fast", 256, gate)]);

    let steps: Vec<_> = OrderState::ALL.iter().flat_map(|s| Input::ALL.map(|i| (*s, i))).collect();
    let mut n = 0;
    let life = || {
        n = (n + 97) % steps.len();
        life::then(steps[n].0, steps[n].1)
    };
    bench.table("guard", "one step of an order's life", vec![Row::new("polyloly-fast", 256, life)]);

    let approved = transcript.approved();
    let universe = &transcript.universe;
    let mut wal = Wal::in_memory().expect("memory");
    let mut n = 0;
    let write_ahead = || {
        n = (n + 1) % approved.len();
        let order = &approved[n];
        let token = universe.token(order.intent().instrument);
        let there = wal.register(order, &token, Nanos(1));
        wal.finish(&order.hash());
        there
    };
    bench.table("guard", "an order written ahead, and forgotten", vec![Row::new("polyloly-fast", 64, write_ahead)]);
}
