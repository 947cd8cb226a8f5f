//! Step 7 of 9, timed: a signed order to the bytes of its request, HMAC and HTTP head included.

pub mod common;

use common::{Bench, Row, pipeline::requests, plain, traffic::key, venue::Transcript};
use polyloly_fast::{
    engine::{Signed, sign::OrderSigner},
    types::{eip712::OrderHasher, market::Exchange},
};

fn main() {
    step(&mut Bench::full());
}

/// Every table of this step.
pub fn step(bench: &mut Bench) {
    let transcript = Transcript::record(bench.scale(10_000, 1_500));
    let universe = &transcript.universe;
    let hasher = OrderHasher::new(universe.chain_id, Exchange::V2, &universe.account);
    let signer = OrderSigner::new(key());
    let signed: Vec<Signed> = transcript.approved().iter().take(256).map(|a| signer.sign(a, &hasher)).collect();
    let now_s = |s: &Signed| s.approved().timestamp_ms() / 1_000;

    let mut out = requests(universe);
    for s in &signed {
        let wire = out.orders([s].into_iter(), now_s(s));
        let plain = plain::request(universe, s.approved(), s.signature(), now_s(s));
        assert_eq!(String::from_utf8_lossy(wire), String::from_utf8_lossy(&plain));
    }

    let what = format!("signed order to request of {} B", out.orders(signed[..1].iter(), 4_000_000_000).len());
    let mut n = 0;
    let signed = &signed;
    let ours = move || {
        n = (n + 1) % signed.len();
        out.orders(signed[n..=n].iter(), now_s(&signed[n])).len()
    };
    let mut n = 0;
    let theirs = move || {
        n = (n + 1) % signed.len();
        let s = &signed[n];
        plain::request(universe, s.approved(), s.signature(), now_s(s)).len()
    };
    let rows =
        vec![Row::new("polyloly-fast", 8, ours), Row::new("serde_json, format!, HMAC set up each time", 8, theirs)];
    bench.table("encode", &what, rows);

    let (mut out, mut n) = (requests(universe), 0);
    let cancel = move || {
        n = (n + 1) % signed.len();
        out.cancels(&[signed[n].approved().hash()], now_s(&signed[n])).len()
    };
    bench.table("encode", "cancel to request", vec![Row::new("polyloly-fast", 8, cancel)]);
}
