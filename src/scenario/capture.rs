//! A poller's capture: the best levels of one token every few seconds, as one JSON document.
//!
//! `{"meta":{"slug","outcomes",…},"frames":[{"ts","bids":[{"price","size"}…],"asks":[…]}…]}`. Each frame becomes two
//! `book` messages of the market channel: the token that was polled, and its mirror, whose bids are the other's asks at
//! 1 − p.
//! Source: docs/PROTOCOL.md "market channel" for the form of `book`.

use serde::Deserialize;
use serde_json::{Number, Value, json};

use super::recorded::{Message, Skipped, derived, time_ms};
use crate::types::{
    Price, Qty, TickSize,
    ids::{ConditionId, TokenId},
};

#[derive(Deserialize)]
struct Capture {
    meta: Meta,
    frames: Vec<Value>,
}

#[derive(Deserialize)]
struct Meta {
    slug: String,
    outcomes: [String; 2],
}

#[derive(Deserialize)]
struct Frame {
    ts: Value,
    bids: Vec<Level>,
    asks: Vec<Level>,
}

/// Numbers go from text to text to integer: no arithmetic is done on a float here.
#[derive(Deserialize)]
struct Level {
    price: Number,
    size: Number,
}

/// A level as integers.
#[derive(Clone, Copy)]
struct Rung(Price, Qty);

/// A frame read: Unix milliseconds, bids, asks.
type Snapshot = (u64, Vec<Rung>, Vec<Rung>);

/// A capture as messages of the market channel.
pub(super) struct Played {
    pub messages: Vec<Message>,
    pub slug: String,
    pub outcomes: [String; 2],
    pub skipped: Skipped,
}

/// Reads a capture; `None` if the document is something else, an error if it is a capture of an unknown form.
pub(super) fn read(bytes: &[u8]) -> Option<Result<Played, String>> {
    let document: Value = serde_json::from_slice(bytes).ok()?;
    if document.get("meta").is_none() || document.get("frames").is_none() {
        return None;
    }
    let capture = Capture::deserialize(document).map_err(|e| format!("a capture of an unknown form: {e}"));
    Some(capture.map(Capture::play))
}

impl Capture {
    fn play(self) -> Played {
        let Self { meta: Meta { slug, outcomes }, frames } = self;
        let (mut snapshots, mut skipped) = (Vec::new(), Skipped::default());
        for (n, frame) in (1..).zip(frames) {
            match snapshot(frame) {
                Ok(snapshot) => snapshots.push(snapshot),
                Err(why) => skipped.add("frame", n, &why),
            }
        }
        let condition = ConditionId(derived("condition", slug.as_bytes())).to_string();
        let tokens = ["first token", "second token"].map(|what| TokenId(derived(what, slug.as_bytes())).to_string());
        let tick = grid(&snapshots);
        let mut messages = Vec::with_capacity(2 * snapshots.len());
        for (at_ms, bids, asks) in snapshots {
            let mirrored = (mirror(&asks), mirror(&bids));
            for (token, (bids, asks)) in tokens.iter().zip([(bids, asks), mirrored]) {
                let body = book(&condition, token, tick, at_ms, bids, asks);
                messages.push(Message { at_ms, received: true, raw: body.to_string(), body });
            }
        }
        Played { messages, slug, outcomes, skipped }
    }
}

/// Reads one frame.
fn snapshot(frame: Value) -> Result<Snapshot, String> {
    let frame = Frame::deserialize(frame).map_err(|e| e.to_string())?;
    let at_ms = time_ms(&frame.ts).ok_or_else(|| format!("`ts` is no time: {}", frame.ts))?;
    let read = |levels: &[Level]| levels.iter().map(Level::read).collect::<Option<Vec<Rung>>>();
    match (read(&frame.bids), read(&frame.asks)) {
        (Some(bids), Some(asks)) => Ok((at_ms, bids, asks)),
        _ => Err("a level that is no price and size".to_owned()),
    }
}

/// The coarsest usual grid that every price is on.
fn grid(snapshots: &[Snapshot]) -> TickSize {
    let levels = || snapshots.iter().flat_map(|(_, bids, asks)| bids.iter().chain(asks));
    let fits = |tick: &TickSize| levels().all(|l| l.0.units().is_multiple_of(tick.units()));
    [TickSize::Cent, TickSize::Mill].into_iter().find(fits).unwrap_or(TickSize::TenthMill)
}

impl Level {
    fn read(&self) -> Option<Rung> {
        let price = Price::parse(self.price.to_string().as_bytes()).ok()?;
        Some(Rung(price, Qty::parse(self.size.to_string().as_bytes())?))
    }
}

/// The same orders seen from the other token.
fn mirror(levels: &[Rung]) -> Vec<Rung> {
    levels.iter().map(|Rung(price, qty)| Rung(price.complement(), *qty)).collect()
}

/// A snapshot in the form of the wire: bids ascend, asks descend, numbers are strings.
fn book(condition: &str, token: &str, tick: TickSize, at_ms: u64, mut bids: Vec<Rung>, mut asks: Vec<Rung>) -> Value {
    bids.sort_by_key(|l| l.0);
    asks.sort_by_key(|l| std::cmp::Reverse(l.0));
    let wire = |levels: &[Rung]| -> Vec<Value> {
        levels.iter().map(|Rung(p, q)| json!({"price": p.to_string(), "size": q.to_string()})).collect()
    };
    let (bids, asks) = (wire(&bids), wire(&asks));
    // Clients use the hash as an opaque token only, so any that follows from the content will do.
    let content = json!([token, at_ms, bids, asks]).to_string();
    let hash: String = derived("hash", content.as_bytes())[..20].iter().map(|b| format!("{b:02x}")).collect();
    json!({
        "event_type": "book", "market": condition, "asset_id": token, "timestamp": at_ms.to_string(),
        "hash": hash, "bids": bids, "asks": asks, "tick_size": tick.as_str(),
    })
}
