//! Books of a recording: what a replayed market channel has said, so that a late subscriber and `GET /book` see it.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::notes::Snapshot;
use crate::types::{InstrumentIx, MarketIx, Nanos, Price, Qty, Side, TickSize, TokenId, ids::Outcome};

#[derive(Debug, Default)]
struct Shadow {
    bids: BTreeMap<Price, Qty>,
    asks: BTreeMap<Price, Qty>,
    tick: Option<TickSize>,
    last: Option<Price>,
    changed: Nanos,
}

/// Books by token.
#[derive(Debug, Default)]
pub struct Recorded {
    shadows: HashMap<InstrumentIx, Shadow>,
}

impl Recorded {
    /// Hears a recorded frame, one object or an array, and says which tokens it names.
    pub fn hear(&mut self, text: &str, tokens: &HashMap<TokenId, InstrumentIx>) -> Vec<InstrumentIx> {
        let frame: Value = serde_json::from_str(text).unwrap_or_default();
        let token = |v: &Value| tokens.get(&TokenId::parse(v["asset_id"].as_str()?.as_bytes())?).copied();
        let mut named = Vec::new();
        let all = match &frame {
            Value::Array(all) => all.as_slice(),
            one => std::slice::from_ref(one),
        };
        for event in all {
            let parts = event["price_changes"].as_array().map_or(std::slice::from_ref(event), Vec::as_slice);
            for (part, i) in parts.iter().filter_map(|p| Some((p, token(p)?))) {
                named.push(i);
                self.apply(i, event, part);
            }
        }
        named.sort_unstable();
        named.dedup();
        named
    }

    fn apply(&mut self, i: InstrumentIx, event: &Value, part: &Value) {
        let price = |v: &Value| v.as_str().and_then(|t| Price::parse(t.as_bytes()).ok());
        let qty = |v: &Value| v.as_str().and_then(|t| Qty::parse(t.as_bytes()));
        let shadow = self.shadows.entry(i).or_default();
        if let Some(ms) = event["timestamp"].as_str().and_then(|t| t.parse::<u64>().ok()) {
            shadow.changed = Nanos(ms.saturating_mul(1_000_000));
        }
        match event["event_type"].as_str() {
            Some("book") => {
                let levels = |side: &Value| {
                    let all = side.as_array().map_or(&[] as &[Value], Vec::as_slice);
                    all.iter().filter_map(|l| Some((price(&l["price"])?, qty(&l["size"])?))).collect()
                };
                shadow.bids = levels(&event["bids"]);
                shadow.asks = levels(&event["asks"]);
            }
            Some("price_change") => {
                if let (Some(p), Some(q), Some(side)) =
                    (price(&part["price"]), qty(&part["size"]), part["side"].as_str())
                {
                    let is_bid = Side::parse(side.as_bytes()) == Some(Side::Buy);
                    let levels = if is_bid { &mut shadow.bids } else { &mut shadow.asks };
                    if q.is_zero() {
                        levels.remove(&p)
                    } else {
                        levels.insert(p, q)
                    };
                }
            }
            Some("last_trade_price") => shadow.last = price(&event["price"]),
            Some("tick_size_change") => {
                shadow.tick = event["new_tick_size"].as_str().and_then(|t| TickSize::parse(t.as_bytes()));
            }
            _ => {}
        }
    }

    /// True once the recording has said something of this market: its channel is the recording's from then on, and what
    /// rests here beside it is not shown there.
    pub fn speaks_for(&self, market: MarketIx) -> bool {
        [Outcome::Yes, Outcome::No].iter().any(|o| self.shadows.contains_key(&market.instrument(*o)))
    }

    /// The recorded book in place of the exchange's own, where there is one.
    pub fn over(&self, own: Snapshot) -> Snapshot {
        let Some(s) = self.shadows.get(&own.instrument) else { return own };
        Snapshot {
            bids: s.bids.iter().rev().map(|(p, q)| (*p, *q)).collect(),
            asks: s.asks.iter().map(|(p, q)| (*p, *q)).collect(),
            tick: s.tick.unwrap_or(own.tick),
            last: s.last.or(own.last),
            changed: s.changed,
            ..own
        }
    }
}
