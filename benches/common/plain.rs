//! The ordinary ways to do the same work: what the steps are checked against, and what they are compared with.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE};
use hmac::{Hmac, KeyInit, Mac};
use polyloly_fast::{
    engine::Approved,
    types::{Universe, eip712::checksummed, event::BookSide},
};
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, de::Error};

use super::{pipeline::HOST, traffic::credentials};

/// A `price_change`, typed.
#[derive(Debug, Deserialize)]
pub struct PriceChange<'a> {
    /// Condition id.
    pub market: &'a str,
    /// Entries of both tokens.
    #[serde(borrow)]
    pub price_changes: Vec<Change<'a>>,
    /// Unix milliseconds.
    pub timestamp: &'a str,
    /// `price_change`.
    pub event_type: &'a str,
}

/// One entry.
#[derive(Debug, Deserialize)]
pub struct Change<'a> {
    /// Token id.
    pub asset_id: &'a str,
    /// Where.
    #[serde(deserialize_with = "decimal")]
    pub price: Decimal,
    /// The new total.
    #[serde(deserialize_with = "decimal")]
    pub size: Decimal,
    /// `BUY` or `SELL`.
    pub side: &'a str,
    /// Opaque.
    pub hash: &'a str,
    /// Top after the change.
    #[serde(deserialize_with = "decimal")]
    pub best_bid: Decimal,
    /// Top after the change.
    #[serde(deserialize_with = "decimal")]
    pub best_ask: Decimal,
}

/// A `book`, typed.
#[derive(Debug, Deserialize)]
pub struct Snapshot<'a> {
    /// Condition id.
    pub market: &'a str,
    /// Token id.
    pub asset_id: &'a str,
    /// Unix milliseconds.
    pub timestamp: &'a str,
    /// Buyers.
    pub bids: Vec<Level>,
    /// Sellers.
    pub asks: Vec<Level>,
}

/// One level.
#[derive(Debug, Deserialize)]
pub struct Level {
    /// Where.
    #[serde(deserialize_with = "decimal")]
    pub price: Decimal,
    /// How much.
    #[serde(deserialize_with = "decimal")]
    pub size: Decimal,
}

fn decimal<'de, D: Deserializer<'de>>(text: D) -> Result<Decimal, D::Error> {
    <&str>::deserialize(text)?.parse().map_err(D::Error::custom)
}

/// A book of ordered maps, as most clients keep it.
#[derive(Clone, Debug, Default)]
pub struct MapBook {
    bids: BTreeMap<Decimal, Decimal>,
    asks: BTreeMap<Decimal, Decimal>,
}

impl MapBook {
    fn side(&mut self, side: BookSide) -> &mut BTreeMap<Decimal, Decimal> {
        match side {
            BookSide::Bid => &mut self.bids,
            BookSide::Ask => &mut self.asks,
        }
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
    }

    /// Sets one level; zero removes it.
    pub fn set(&mut self, side: BookSide, price: Decimal, size: Decimal) {
        let levels = self.side(side);
        if size.is_zero() {
            levels.remove(&price);
        } else {
            levels.insert(price, size);
        }
    }

    /// Best prices.
    pub fn top(&self) -> (Option<Decimal>, Option<Decimal>) {
        (self.bids.last_key_value().map(|l| *l.0), self.asks.first_key_value().map(|l| *l.0))
    }

    /// What buying `size` costs; `None` if there is not that much.
    pub fn cost(&self, size: Decimal) -> Option<Decimal> {
        let (mut left, mut cash) = (size, Decimal::ZERO);
        for (price, there) in &self.asks {
            let part = left.min(*there);
            cash += part * price;
            left -= part;
            if left.is_zero() {
                return Some(cash);
            }
        }
        None
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    order: Order<'a>,
    owner: &'a str,
    order_type: &'a str,
    defer_exec: bool,
    post_only: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Order<'a> {
    salt: u64,
    maker: &'a str,
    signer: &'a str,
    token_id: String,
    maker_amount: String,
    taker_amount: String,
    side: &'a str,
    expiration: String,
    signature_type: u8,
    timestamp: String,
    metadata: String,
    builder: String,
    signature: String,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::from("0x"), |mut out, b| {
        use std::fmt::Write;
        write!(out, "{b:02x}").expect("text");
        out
    })
}

/// The request that places an order, by serde and `format!`.
pub fn request(universe: &Universe, approved: &Approved, signature: &[u8; 65], now_s: u64) -> Vec<u8> {
    let intent = approved.intent();
    let address = checksummed(&universe.account.owner);
    let address = std::str::from_utf8(&address).expect("text");
    let credentials = credentials();
    let payload = Payload {
        order: Order {
            salt: approved.salt(),
            maker: address,
            signer: address,
            token_id: universe.token(intent.instrument).to_string(),
            maker_amount: approved.amounts().maker.to_string(),
            taker_amount: approved.amounts().taker.to_string(),
            side: intent.side.as_str(),
            expiration: intent.tif.expiration_s().to_string(),
            signature_type: universe.account.signature_type as u8,
            timestamp: approved.timestamp_ms().to_string(),
            metadata: hex(&[0; 32]),
            builder: hex(&[0; 32]),
            signature: hex(signature),
        },
        owner: &credentials.api_key,
        order_type: intent.tif.as_str(),
        defer_exec: false,
        post_only: intent.post_only,
    };
    let body = serde_json::to_string(&payload).expect("JSON");
    let signature = hmac(format!("{now_s}POST/order{body}").as_bytes());
    format!(
        "POST /order HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: polyloly-fast\r\nAccept: application/json\r\n\
         POLY_ADDRESS: {address}\r\nPOLY_API_KEY: {}\r\nPOLY_PASSPHRASE: {}\r\nPOLY_SIGNATURE: {signature}\r\n\
         POLY_TIMESTAMP: {now_s}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        credentials.api_key,
        *credentials.passphrase,
        body.len()
    )
    .into_bytes()
}

/// The HMAC of a private call, its key set up each time.
pub fn hmac(message: &[u8]) -> String {
    let secret = URL_SAFE.decode(credentials().secret.as_bytes()).expect("base64");
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&secret).expect("any length");
    mac.update(message);
    URL_SAFE.encode(mac.finalize().into_bytes())
}

/// Struct hash and id of an order, from its type string on, by a hash crate.
#[cfg(feature = "embedded")]
pub fn order_id(universe: &Universe, approved: &Approved) -> [u8; 32] {
    use polyloly_fast::types::eip712::ORDER_TYPE;
    use sha3::{Digest, Keccak256};
    let number = |n: u64| {
        let mut word = [0; 32];
        word[24..].copy_from_slice(&n.to_be_bytes());
        word
    };
    let address = |a: &[u8; 20]| {
        let mut word = [0; 32];
        word[12..].copy_from_slice(a);
        word
    };
    let hash = |bytes: &[u8]| -> [u8; 32] { Keccak256::digest(bytes).into() };
    let spec = universe.market(approved.intent().instrument.market());
    let domain = [
        hash(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
        hash(b"Polymarket CTF Exchange"),
        hash(spec.exchange.domain_version().as_bytes()),
        number(universe.chain_id),
        address(&spec.exchange.contract(universe.chain_id).0),
    ];
    let owner = address(&universe.account.owner.0);
    let order = [
        hash(ORDER_TYPE),
        number(approved.salt()),
        owner,
        owner,
        universe.token(approved.intent().instrument).0,
        number(approved.amounts().maker),
        number(approved.amounts().taker),
        number(approved.intent().side as u64),
        number(universe.account.signature_type as u64),
        number(approved.timestamp_ms()),
        [0; 32],
        [0; 32],
    ];
    let mut all = Keccak256::new();
    all.update([0x19, 0x01]);
    all.update(hash(domain.as_flattened()));
    all.update(hash(order.as_flattened()));
    all.finalize().into()
}
