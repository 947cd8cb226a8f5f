//! Steps 1 to 7 of 9, timed: a frame's plaintext in, the signed requests' plaintext out, through the
//! tiles' own code and rings, in turn on one thread.
//!
//! The traffic is a recorded run against the scripted venue: books move, quotes rest, fill, are pulled.

pub mod common;

use common::{
    Bench, Row,
    stage::Replay,
    venue::{Effect, Transcript},
};

fn main() {
    step(&mut Bench::full());
}

/// Whether a message with this effect is timed.
type Wanted = fn(Effect) -> bool;

/// Every table of this step.
pub fn step(bench: &mut Bench) {
    let transcript = Transcript::record(bench.scale(30_000, 1_500));
    // The same bytes in, the same bytes out: signatures are deterministic.
    let (mut one, mut two) = (transcript.pipeline(), transcript.pipeline());
    let mut orders = 0;
    for (delivery, led_to) in transcript.deliveries.iter().zip(&transcript.led_to).take(2_000) {
        for pipeline in [&mut one, &mut two] {
            pipeline.take_in(&delivery.source, delivery.stamp, &mut delivery.bytes.clone());
            pipeline.written(delivery.stamp);
        }
        assert_eq!(Effect::of(one.leaving()), *led_to);
        assert_eq!(one.wire(), two.wire());
        orders += if let Effect::Orders(n) = led_to { *n } else { 0 };
    }
    assert!(orders > 10, "{orders} orders");

    let table: [(&str, Wanted); 4] = [
        ("one order", |led_to| led_to == Effect::Orders(1)),
        ("two orders", |led_to| led_to == Effect::Orders(2)),
        ("cancels", |led_to| matches!(led_to, Effect::Cancels(_))),
        ("nothing to send", |led_to| led_to == Effect::Nothing),
    ];
    for (what, wanted) in table {
        let mut replay = Replay::new(&transcript);
        let row = Row::staged("polyloly-fast", 1, move |clock, n| replay.time(clock, n, wanted));
        bench.table("wire_to_wire", what, vec![row]);
    }
}
