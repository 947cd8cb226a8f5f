//! Step 7 of 9: commands → request bytes, into buffers that are reused.
//!
//! Source: docs/PROTOCOL.md "POST /order", "POST /orders", "cancel", "heartbeat", "account reads".

use std::fmt::Write;

use super::asked::BATCH_MAX;
use crate::{
    engine::Signed,
    types::{MarketIx, OrderHash, Universe, eip712::OrderHasher},
    wire::{
        auth::L2Auth,
        http::write_request,
        order::{self, Order, OrderEncoder},
    },
};

/// Path of one order.
const ORDER: &str = "/order";
/// Path of several orders.
const ORDERS: &str = "/orders";

/// Builds every request of the gateway. No allocation once warm.
pub struct Requests {
    host: String,
    auth: L2Auth,
    encoder: OrderEncoder,
    /// Paths of the markets' pages.
    markets: Vec<String>,
    /// Query of our collateral, fixed by the account.
    collateral: String,
    /// Query that makes the venue look at the chain again.
    balance_update: String,
    target: String,
    body: Vec<u8>,
    headers: Vec<u8>,
    request: Vec<u8>,
}

/// Without the bytes: they can hold credentials.
impl std::fmt::Debug for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Requests").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Requests {
    /// Requests of one account to one host. `api_key` becomes the orders' owner.
    pub fn new(host: &str, auth: L2Auth, api_key: &str, universe: &Universe) -> Self {
        let separators: Vec<[u8; 32]> = universe
            .markets
            .iter()
            .map(|m| *OrderHasher::new(universe.chain_id, m.exchange, &universe.account).domain_separator())
            .collect();
        let query = format!("asset_type=COLLATERAL&signature_type={}", universe.account.signature_type as u8);
        Self {
            host: host.to_owned(),
            auth,
            encoder: OrderEncoder::new(universe, api_key, &separators),
            markets: universe.markets.iter().map(|m| format!("/markets/{}", m.condition)).collect(),
            collateral: format!("/balance-allowance?{query}"),
            balance_update: format!("/balance-allowance/update?{query}"),
            target: String::with_capacity(256),
            body: Vec::with_capacity(64 << 10),
            headers: Vec::with_capacity(1 << 10),
            request: Vec::with_capacity(64 << 10),
        }
    }

    /// One order, or a batch of at most [`BATCH_MAX`]. `now_s`: Unix seconds.
    pub fn orders<'a>(&mut self, orders: impl ExactSizeIterator<Item = &'a Signed>, now_s: u64) -> &[u8] {
        self.body.clear();
        let count = orders.len();
        debug_assert!((1..=BATCH_MAX).contains(&count));
        let mut orders = orders.map(|signed| (signed.approved().intent().instrument, wire_order(signed)));
        if count == 1 {
            if let Some((instrument, order)) = orders.next() {
                self.encoder.order(&mut self.body, instrument, &order);
            }
            self.private("POST", ORDER, ORDER.len(), true, now_s)
        } else {
            self.encoder.batch(&mut self.body, orders);
            self.private("POST", ORDERS, ORDERS.len(), true, now_s)
        }
    }

    /// Cancels one order or several.
    pub fn cancels(&mut self, orders: &[OrderHash], now_s: u64) -> &[u8] {
        self.body.clear();
        if let [one] = orders {
            order::cancel(&mut self.body, one);
            self.private("DELETE", ORDER, ORDER.len(), true, now_s)
        } else {
            order::cancel_many(&mut self.body, orders);
            self.private("DELETE", ORDERS, ORDERS.len(), true, now_s)
        }
    }

    /// Cancels an order that cannot exist.
    pub fn door(&mut self, now_s: u64) -> &[u8] {
        self.cancels(&[OrderHash([0; 32])], now_s)
    }

    /// A private question.
    pub fn question(&mut self, target: &str, now_s: u64) -> &[u8] {
        self.private("GET", target, path_len(target), false, now_s)
    }

    /// Asks for the venue's time.
    pub fn time(&mut self) -> &[u8] {
        self.request.clear();
        write_request(&mut self.request, "GET", "/time", &self.host, b"", None);
        &self.request
    }

    /// Cancels everything of the account.
    pub fn cancel_all(&mut self, now_s: u64) -> &[u8] {
        const PATH: &str = "/cancel-all";
        self.private("DELETE", PATH, PATH.len(), false, now_s)
    }

    /// Asks for one order.
    pub fn lookup(&mut self, order: &OrderHash, now_s: u64) -> &[u8] {
        let mut target = std::mem::take(&mut self.target);
        target.clear();
        // Writing into a string cannot fail.
        let _ = write!(target, "/data/order/{order}");
        self.private("GET", &target, target.len(), false, now_s);
        self.target = target;
        &self.request
    }

    /// Asks for the page of a market.
    pub fn market(&mut self, market: MarketIx) -> &[u8] {
        self.request.clear();
        let target = self.markets.get(market.ix()).map_or("/markets", String::as_str);
        write_request(&mut self.request, "GET", target, &self.host, b"", None);
        &self.request
    }

    /// Asks for our collateral.
    pub fn collateral(&mut self, now_s: u64) -> &[u8] {
        let target = std::mem::take(&mut self.collateral);
        self.private("GET", &target, path_len(&target), false, now_s);
        self.collateral = target;
        &self.request
    }

    /// Makes the venue look at the chain again: after a merge its view lags.
    pub fn balance_update(&mut self, now_s: u64) -> &[u8] {
        let target = std::mem::take(&mut self.balance_update);
        self.private("GET", &target, path_len(&target), false, now_s);
        self.balance_update = target;
        &self.request
    }

    /// Says that we are alive. `id`: what the last answer gave.
    pub fn heartbeat(&mut self, id: &str, now_s: u64) -> &[u8] {
        const PATH: &str = "/v1/heartbeats";
        self.body.clear();
        order::heartbeat(&mut self.body, id);
        self.private("POST", PATH, PATH.len(), true, now_s)
    }

    /// Keeps a connection warm: the cheapest question there is.
    pub fn warm(&mut self) -> &[u8] {
        self.request.clear();
        write_request(&mut self.request, "GET", "/ok", &self.host, b"", None);
        &self.request
    }

    /// The request that was written last.
    pub fn written(&self) -> &[u8] {
        &self.request
    }

    /// A request with our credentials. The signature covers the path, `target[..path]`, without the query.
    fn private(&mut self, method: &str, target: &str, path: usize, with_body: bool, now_s: u64) -> &[u8] {
        let body: Option<&[u8]> = if with_body { Some(&self.body) } else { None };
        self.headers.clear();
        self.auth.headers(&mut self.headers, now_s, method, &target[..path], body.unwrap_or(b""));
        self.request.clear();
        write_request(&mut self.request, method, target, &self.host, &self.headers, body);
        &self.request
    }
}

fn path_len(target: &str) -> usize {
    target.find('?').unwrap_or(target.len())
}

fn wire_order(signed: &Signed) -> Order<'_> {
    let approved = signed.approved();
    let intent = approved.intent();
    Order {
        salt: approved.salt(),
        amounts: approved.amounts(),
        side: intent.side,
        tif: intent.tif,
        post_only: intent.post_only,
        timestamp_ms: approved.timestamp_ms(),
        contents: &approved.digest().contents,
        signature: signed.signature(),
    }
}
