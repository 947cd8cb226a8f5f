//! Steps 3 to 5 of 9, timed: `engine.on` with the real strategy and risk, over the events of a recorded run.
//!
//! One iteration is all events of one message. Those that lead to an order include its hash, without the signature.

pub mod common;

use common::{
    Bench, Row,
    stage::Decisions,
    venue::{Effect, Transcript},
};
use polyloly_fast::types::{
    Event,
    event::{MarketEvent, UserEvent},
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
}
