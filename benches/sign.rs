//! Step 6 of 9, timed: an order's hash, and its RFC 6979 signature.

pub mod common;

use common::{
    Bench, Row,
    traffic::key,
    venue::{Transcript, check_signature},
};
use polyloly_fast::{
    engine::{Approved, sign::OrderSigner},
    types::{
        Universe,
        eip712::{OrderFields, OrderHasher},
        ids::OrderHash,
        market::Exchange,
    },
};

fn main() {
    step(&mut Bench::full());
}

fn fields(universe: &Universe, approved: &Approved) -> OrderFields {
    OrderFields {
        salt: approved.salt(),
        token: universe.token(approved.intent().instrument),
        amounts: approved.amounts(),
        side: approved.intent().side,
        timestamp_ms: approved.timestamp_ms(),
        metadata: [0; 32],
        builder: [0; 32],
    }
}

/// Every table of this step.
pub fn step(bench: &mut Bench) {
    let transcript = Transcript::record(bench.scale(10_000, 1_500));
    let universe = &transcript.universe;
    let approved = transcript.approved();
    let hasher = OrderHasher::new(universe.chain_id, Exchange::V2, &universe.account);
    let signer = OrderSigner::new(key());
    for a in approved.iter().take(64) {
        assert_eq!(hasher.digest(&fields(universe, a)), *a.digest());
        #[cfg(feature = "embedded")]
        assert_eq!(common::plain::order_id(universe, a), a.hash().0);
        let signed = signer.sign(a, &hasher);
        let text: String = signed.signature().iter().map(|b| format!("{b:02x}")).collect();
        check_signature(universe, &OrderHash(hasher.signing_digest(a.digest())), &text);
    }

    let all: Vec<_> = approved.iter().map(|a| fields(universe, a)).collect();
    let (digests, mut n) = (hasher.clone(), 0);
    let ours = move || {
        n = (n + 1) % all.len();
        digests.digest(&all[n])
    };
    #[cfg_attr(not(feature = "embedded"), allow(unused_mut, reason = "the peer is a crate of the embedded venue"))]
    let mut rows = vec![Row::new("polyloly-fast", 8, ours)];
    #[cfg(feature = "embedded")]
    {
        let (approved, mut n) = (approved.clone(), 0);
        rows.push(Row::new("sha3, from the type strings on", 8, move || {
            n = (n + 1) % approved.len();
            common::plain::order_id(universe, &approved[n])
        }));
    }
    bench.table("sign", "order fields to struct hash and order id", rows);

    let mut n = 0;
    let sign = move || {
        n = (n + 1) % approved.len();
        signer.sign(&approved[n], &hasher)
    };
    bench.table("sign", "digest to signature, RFC 6979", vec![Row::new("polyloly-fast", 1, sign)]);
}
