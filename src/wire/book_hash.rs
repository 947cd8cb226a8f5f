//! The hash of a book snapshot as the official clients compute it: SHA-1 over compact JSON with keys in a fixed order.
//!
//! Unconfirmed against live data, so a difference proves nothing; equal hashes of two snapshots do mean equal books.
//! Source: docs/PROTOCOL.md "integrity"; tests/fixtures/vectors/book_hash.json.

use core::fmt::Write;

use serde::Deserialize;
use sha1::{Digest, Sha1};

/// One level, as the wire writes it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Level {
    /// Price text.
    pub price: String,
    /// Size text.
    pub size: String,
}

/// A book as REST gives it; the texts are hashed as received.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct BookSummary {
    /// Condition id.
    pub market: String,
    /// Token id.
    pub asset_id: String,
    /// Unix milliseconds.
    pub timestamp: String,
    /// In the order received.
    pub bids: Vec<Level>,
    /// In the order received.
    pub asks: Vec<Level>,
    /// Only REST says it.
    pub min_order_size: String,
    /// The grid.
    pub tick_size: String,
    /// Only REST says it.
    pub neg_risk: bool,
    /// Empty if never traded.
    pub last_trade_price: String,
}

/// A string as compact JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl BookSummary {
    /// The text that is hashed; its own hash field is empty.
    pub fn preimage(&self) -> String {
        let levels = |levels: &[Level]| {
            let mut out = String::from("[");
            for (n, level) in levels.iter().enumerate() {
                let comma = if n == 0 { "" } else { "," };
                let (price, size) = (quoted(&level.price), quoted(&level.size));
                // Writing to a string cannot fail.
                let _ = write!(out, "{comma}{{\"price\":{price},\"size\":{size}}}");
            }
            out + "]"
        };
        format!(
            "{{\"market\":{},\"asset_id\":{},\"timestamp\":{},\"hash\":\"\",\"bids\":{},\"asks\":{},\
             \"min_order_size\":{},\"tick_size\":{},\"neg_risk\":{},\"last_trade_price\":{}}}",
            quoted(&self.market),
            quoted(&self.asset_id),
            quoted(&self.timestamp),
            levels(&self.bids),
            levels(&self.asks),
            quoted(&self.min_order_size),
            quoted(&self.tick_size),
            self.neg_risk,
            quoted(&self.last_trade_price),
        )
    }

    /// SHA-1 of the preimage.
    pub fn hash(&self) -> [u8; 20] {
        Sha1::digest(self.preimage().as_bytes()).into()
    }
}
