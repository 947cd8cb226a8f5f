//! A scripted venue: enough of the real one that orders turn over, and the same in every run.
//!
//! It reads the requests that the pipeline wrote, byte by byte as a server would, and checks each. It is a script, not
//! an exchange: prices wander within bounds, and strangers trade at the touch.

use std::collections::{BTreeMap, VecDeque};

use polyloly_fast::{
    engine::{Action, Actions, Approved},
    gateway::asked::Asked,
    strategies::{Params, core},
    types::{
        Event, InstrumentIx, MarketIx, Nanos, OrderHash, Price, Qty, Sequenced, Side, Stamp, TokenId, Universe, Usdc,
        amounts::Amounts,
        eip712::{OrderFields, OrderHasher},
        event::{BookSide, ReadEvent, ReplyEvent},
        ids::Outcome,
    },
};
use serde_json::Value;

use super::{
    pipeline::{Inbound, Leaving, OPENING, Pipeline, Source},
    traffic::{
        Ladder, OrderText, Rng, TICKS, answer, best_bid_ask, book, frame, last_trade, price, price_change, seen_from,
        universe,
    },
};

/// Others' levels on each side of a market.
const DEPTH: usize = 12;
/// Every so many requests the signature and the HMAC are checked too; the order id always is.
const CHECK_EVERY: u64 = 64;

/// Bytes on their way to the client.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Where they come from.
    pub source: Source,
    /// When they are read.
    pub stamp: Stamp,
    /// What is read: one whole frame or answer; empty for an event.
    pub bytes: Vec<u8>,
}

/// An order of the client that rests.
#[derive(Clone, Copy, Debug)]
struct Resting {
    order: OrderHash,
    outcome: Outcome,
    side: Side,
    price: Price,
    qty: Qty,
    matched: Qty,
}

impl Resting {
    fn left(&self) -> Qty {
        self.qty.saturating_sub(self.matched)
    }

    /// Where it shows in the first token's book.
    fn place(&self) -> (BookSide, usize) {
        let own = if self.side == Side::Buy { BookSide::Bid } else { BookSide::Ask };
        seen_from(self.outcome, own, usize::from(self.price.units() / 100))
    }
}

#[derive(Debug)]
struct Market {
    others: Ladder,
    center: usize,
    resting: Vec<Resting>,
}

impl Market {
    /// What everybody sees: the others' orders and the client's.
    fn shown(&self) -> Ladder {
        let mut all = self.others.clone();
        for o in &self.resting {
            let (side, tick) = o.place();
            all.side_mut(side)[tick] += o.left().micro();
        }
        all
    }
}

/// What the venue did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Orders that rest or traded.
    pub accepted: u64,
    /// Orders refused.
    pub refused: u64,
    /// Orders cancelled.
    pub cancelled: u64,
    /// Trades with the client.
    pub trades: u64,
    /// Trades that failed after all.
    pub failed: u64,
    /// Sets merged.
    pub merges: u64,
    /// Snapshots that the client asked for.
    pub resyncs: u64,
    /// Requests whose signature and HMAC were checked.
    pub checked: u64,
}

/// The venue.
#[derive(Debug)]
pub struct Venue {
    universe: Universe,
    hashers: Vec<OrderHasher>,
    markets: Vec<Market>,
    rng: Rng,
    now: Nanos,
    ticked: Nanos,
    /// To be read next, in order.
    ready: VecDeque<(Source, Vec<u8>)>,
    /// To be read at a later step.
    later: BTreeMap<(u64, u64), (Source, Vec<u8>)>,
    step: u64,
    ids: u64,
    requests: u64,
    counts: Counts,
}

impl Venue {
    /// A venue whose first words are the snapshots of every book.
    pub fn new(universe: &Universe, seed: u64) -> Self {
        let mut rng = Rng(seed);
        let market = |_| Market { others: Ladder::around(50, DEPTH, &mut rng), center: 50, resting: Vec::new() };
        let markets: Vec<_> = universe.indices().map(market).collect();
        let hashers = universe
            .markets
            .iter()
            .map(|m| OrderHasher::new(universe.chain_id, m.exchange, &universe.account))
            .collect();
        let mut venue = Self {
            universe: universe.clone(),
            hashers,
            markets,
            rng,
            // Later than any clock that runs this: the tile's own clock never overtakes the script's.
            now: Nanos(4_000_000_000_000_000_000),
            ticked: Nanos(0),
            ready: VecDeque::new(),
            later: BTreeMap::new(),
            step: 0,
            ids: 0,
            requests: 0,
            counts: Counts::default(),
        };
        universe.indices().for_each(|m| venue.snapshot(m));
        venue
    }

    /// The time now.
    pub fn stamp(&self) -> Stamp {
        Stamp { wall: self.now, ..Stamp::default() }
    }

    /// What was done so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What the client reads next.
    pub fn deliver(&mut self) -> Delivery {
        self.step += 1;
        self.now = self.now.plus(1_000_000 + self.rng.below(8_000_000));
        while let Some(due) = self.later.first_entry().filter(|e| e.key().0 <= self.step) {
            self.ready.push_back(due.remove());
        }
        if self.now.since(self.ticked) >= 90_000_000 {
            self.ticked = self.now;
            return Delivery { source: Source::Event(Event::Tick), stamp: self.stamp(), bytes: Vec::new() };
        }
        while self.ready.is_empty() {
            self.happen();
        }
        let (source, bytes) = self.ready.pop_front().expect("something happened");
        Delivery { source, stamp: self.stamp(), bytes }
    }

    /// Takes what the client sent.
    pub fn hear(&mut self, pipeline: &Pipeline) {
        for leaves in pipeline.leaving() {
            match leaves {
                Leaving::Request(asked, range) => self.request(asked, &pipeline.wire()[range.clone()]),
                Leaving::Merge(market, qty) => {
                    self.counts.merges += 1;
                    let merged = ReplyEvent::Merged { market: *market, qty: *qty };
                    self.after(60, Source::Event(Event::Reply(merged)), Vec::new());
                }
                Leaving::Lookup(order) => {
                    let live = self.markets.iter().flat_map(|m| &m.resting).any(|o| o.order == *order);
                    let status = ReplyEvent::OrderStatus { order: *order, live, matched: None };
                    self.after(3, Source::Event(Event::Reply(status)), Vec::new());
                }
                Leaving::Reconcile(round) => {
                    let open = self.markets.iter().enumerate().flat_map(|(m, market)| {
                        market.resting.iter().map(move |o| ReadEvent::Order {
                            order: o.order,
                            instrument: MarketIx(m as u16).instrument(o.outcome),
                            side: o.side,
                            matched: o.matched,
                        })
                    });
                    let reading: Vec<_> = core::iter::once(ReadEvent::Begin { round: *round })
                        .chain(open)
                        .chain([ReadEvent::End { round: *round, complete: true }])
                        .collect();
                    for read in reading {
                        self.after(1, Source::Event(Event::Reply(ReplyEvent::Read(read))), Vec::new());
                    }
                }
                Leaving::Resync(instrument) => {
                    self.counts.resyncs += 1;
                    // At once: a snapshot that changes have overtaken would be one more lie.
                    let text = self.book(*instrument);
                    self.say(Source::Market, &text);
                }
                Leaving::Unexpected => panic!("the engine gave up"),
            }
        }
    }

    /// One request, of one order or several; its answer comes a little later.
    fn request(&mut self, asked: &Asked, request: &[u8]) {
        let (method, count, mut ids) = match asked {
            Asked::Orders(sent) => ("POST", sent.len(), sent.iter().map(|s| s.order).collect::<VecDeque<_>>()),
            Asked::Cancels(sent) => ("DELETE", sent.len(), sent.iter().map(|s| s.order).collect()),
            other => panic!("not a request of the hot path: {other:?}"),
        };
        let path = if count == 1 { "/order" } else { "/orders" };
        let json: Value = serde_json::from_slice(&self.check(method, path, request)).expect("a body is JSON");
        let mut next = || ids.pop_front().expect("as many as were sent");
        let (status, body) = match (asked, &json) {
            (Asked::Orders(_), Value::Array(orders)) => {
                assert_eq!(orders.len(), count);
                let legs: Vec<String> = orders.iter().map(|o| self.order(next(), o).1).collect();
                ("200 OK", format!("[{}]", legs.join(",")))
            }
            (Asked::Orders(_), order) => self.order(next(), order),
            (_, Value::Array(orders)) => {
                let named: Vec<_> = orders.iter().map(|id| id.as_str().expect("an id").to_owned()).collect();
                assert_eq!(named.len(), count);
                ("200 OK", self.cancel(&named))
            }
            (_, one) => ("200 OK", self.cancel(&[one["orderID"].as_str().expect("an id").to_owned()])),
        };
        // The user channel is sometimes faster than the answer.
        let steps = 1 + self.rng.below(2);
        self.after(steps, Source::Answer(asked.clone()), answer(status, &body));
    }

    fn say(&mut self, source: Source, text: &str) {
        self.ready.push_back((source, frame(text)));
    }

    fn after(&mut self, steps: u64, source: Source, bytes: Vec<u8>) {
        self.ids += 1;
        self.later.insert((self.step + steps, self.ids), (source, bytes));
    }

    fn ms(&self) -> u64 {
        self.now.millis()
    }

    fn book(&mut self, i: InstrumentIx) -> String {
        let shown = self.markets[i.market().ix()].shown();
        book(self.universe.market(i.market()), i.outcome(), &shown, self.now.millis(), &mut self.rng)
    }

    /// Both books of a market in one frame.
    fn snapshot(&mut self, m: MarketIx) {
        let books = [Outcome::Yes, Outcome::No].map(|o| self.book(m.instrument(o)));
        self.say(Source::Market, &format!("[{}]", books.join(",")));
    }

    /// Tells everybody the new totals of some levels.
    fn changed(&mut self, m: MarketIx, levels: &[(BookSide, usize)]) {
        let shown = self.markets[m.ix()].shown();
        let ms = self.ms();
        let text = price_change(self.universe.market(m), &shown, levels, ms, &mut self.rng);
        self.say(Source::Market, &text);
    }

    /// Something happens in some market.
    fn happen(&mut self) {
        let m = MarketIx(self.rng.below(self.markets.len() as u64) as u16);
        match self.rng.below(1_000) {
            0..600 => self.resize(m),
            600..700 => self.wander(m),
            700..950 => self.stranger_trades(m),
            950..980 => {
                let text = best_bid_ask(self.universe.market(m), &self.markets[m.ix()].shown(), self.ms());
                self.say(Source::Market, &text);
            }
            980..990 => self.snapshot(m),
            990..998 => self.say(Source::Market, "PONG"),
            _ => self.lie(m),
        }
    }

    /// Another maker changes its size at one level.
    fn resize(&mut self, m: MarketIx) {
        let (side, k) = (self.any_side(), 1 + self.rng.below(DEPTH as u64) as usize);
        let market = &mut self.markets[m.ix()];
        let tick = if side == BookSide::Bid { market.center - k } else { market.center + k };
        market.others.side_mut(side)[tick] = self.rng.size().micro();
        self.changed(m, &[(side, tick)]);
    }

    /// The others' prices move by a tick; what of the client's they pass is taken first.
    fn wander(&mut self, m: MarketIx) {
        let center = self.markets[m.ix()].center;
        // The farther from the middle, the surer the way back.
        let up = self.rng.below(40) + 30 >= center as u64;
        let (to, passed) = if up { (center + 1, BookSide::Ask) } else { (center - 1, BookSide::Bid) };
        let bid_after = |tick: usize| if up { tick < to } else { tick > to };
        loop {
            let hit = self.markets[m.ix()].resting.iter().position(|o| {
                let (side, tick) = o.place();
                side == passed && bid_after(tick)
            });
            let Some(at) = hit else { break };
            let all = self.markets[m.ix()].resting[at].left();
            self.fill(m, at, all);
        }
        let size = self.rng.size().micro();
        let far = self.rng.size().micro();
        let market = &mut self.markets[m.ix()];
        market.center = to;
        let mut levels = Vec::new();
        let mut set = |side: BookSide, tick: usize, qty: u64| {
            market.others.side_mut(side)[tick] = qty;
            levels.push((side, tick));
        };
        if up {
            set(BookSide::Bid, to - 1, size);
            set(BookSide::Ask, to, 0);
            set(BookSide::Bid, to - 1 - DEPTH, 0);
            set(BookSide::Ask, to + DEPTH, far);
        } else {
            set(BookSide::Ask, to + 1, size);
            set(BookSide::Bid, to, 0);
            set(BookSide::Ask, to + 1 + DEPTH, 0);
            set(BookSide::Bid, to - DEPTH, far);
        }
        self.changed(m, &levels);
    }

    /// A stranger takes the touch, or sweeps up to an order of the client's.
    fn stranger_trades(&mut self, m: MarketIx) {
        let side = self.any_side();
        let (bid, ask) = self.markets[m.ix()].shown().top();
        let Some(touch) = (if side == BookSide::Bid { bid } else { ask }) else { return };
        let ours = self.markets[m.ix()].resting.iter().position(|o| o.place().0 == side);
        let mut tick = touch;
        if let Some(at) = ours
            && self.rng.below(2) == 0
        {
            tick = self.markets[m.ix()].resting[at].place().1;
            let better = tick.min(touch)..tick.max(touch) + 1;
            let swept: Vec<_> = better.filter(|t| *t != tick).map(|t| (side, t)).collect();
            swept.iter().for_each(|&(_, t)| self.markets[m.ix()].others.side_mut(side)[t] = 0);
            if !swept.is_empty() {
                self.changed(m, &swept);
            }
            let part = Qty::shares(5 + self.rng.below(46)).min(self.markets[m.ix()].resting[at].left());
            self.fill(m, at, part);
        } else {
            let level = &mut self.markets[m.ix()].others.side_mut(side)[tick];
            *level -= *level / 3 / 10_000 * 10_000;
            self.changed(m, &[(side, tick)]);
        }
        let taker = if side == BookSide::Bid { Side::Sell } else { Side::Buy };
        let (ms, qty) = (self.ms(), self.rng.size());
        let text = last_trade(self.universe.market(m), Outcome::Yes, taker, price(tick), qty, ms, &mut self.rng);
        self.say(Source::Market, &text);
    }

    /// A message whose top does not fit its levels: the client must ask for a snapshot.
    fn lie(&mut self, m: MarketIx) {
        let market = &self.markets[m.ix()];
        let mut other = market.shown();
        let far = market.center + 3;
        other.asks[..far].fill(0);
        other.asks[far] = 5_000_000;
        let ms = self.ms();
        let text = price_change(self.universe.market(m), &other, &[(BookSide::Ask, far)], ms, &mut self.rng);
        self.say(Source::Market, &text);
    }

    fn any_side(&mut self) -> BookSide {
        if self.rng.below(2) == 0 { BookSide::Bid } else { BookSide::Ask }
    }

    /// A stranger takes part of a resting order.
    fn fill(&mut self, m: MarketIx, at: usize, qty: Qty) {
        let order = &mut self.markets[m.ix()].resting[at];
        order.matched += qty;
        let order = *order;
        if order.left().is_zero() {
            self.markets[m.ix()].resting.remove(at);
        }
        let ms = self.ms();
        let update = self.text(m, &order).event("UPDATE", "LIVE", ms);
        // The two come in either order.
        if self.rng.below(2) == 0 {
            self.say(Source::User, &update);
            self.trade(m, &order, qty, false);
        } else {
            self.trade(m, &order, qty, false);
            self.say(Source::User, &update);
        }
        self.changed(m, &[order.place()]);
    }

    /// A trade and how its settlement goes on.
    fn trade(&mut self, m: MarketIx, order: &Resting, qty: Qty, taker: bool) {
        self.counts.trades += 1;
        self.ids += 1;
        let (id, ms) = (self.ids, self.ms());
        let fails = self.rng.below(200) == 0;
        self.counts.failed += u64::from(fails);
        let text = self.text(m, order);
        let at = |status| frame(&text.trade(id, qty, taker, status, ms));
        let last = if fails { "FAILED" } else { "CONFIRMED" };
        let [matched, mined, last] = ["MATCHED", "MINED", last].map(at);
        self.ready.push_back((Source::User, matched));
        self.after(20, Source::User, mined);
        self.after(40, Source::User, last);
    }

    fn text(&self, m: MarketIx, o: &Resting) -> OrderText<'_> {
        let spec = self.universe.market(m);
        let Resting { order, outcome, side, price, qty, matched } = *o;
        OrderText { spec, outcome, order, side, price, qty, matched }
    }

    /// One order; gives its answer.
    fn order(&mut self, id: OrderHash, json: &Value) -> (&'static str, String) {
        let text = |key: &str| json["order"][key].as_str().expect("a string").to_owned();
        let number = |key: &str| text(key).parse::<u64>().expect("a number");
        let token = TokenId::parse(text("tokenId").as_bytes()).expect("a token id");
        let instrument = self.universe.instrument_of(&token).expect("a token of ours");
        let side = Side::parse(text("side").as_bytes()).expect("a side");
        let amounts = Amounts { maker: number("makerAmount"), taker: number("takerAmount") };
        let fields = OrderFields {
            salt: json["order"]["salt"].as_u64().expect("a number"),
            token,
            amounts,
            side,
            timestamp_ms: number("timestamp"),
            metadata: [0; 32],
            builder: [0; 32],
        };
        let m = instrument.market();
        let digest = self.hashers[m.ix()].digest(&fields);
        assert_eq!(digest.order, id, "what is on the wire is not what was decided");
        if self.requests.is_multiple_of(CHECK_EVERY) {
            check_signature(&self.universe, &digest.order, &text("signature"));
        }
        let (cash, qty) = match side {
            Side::Buy => (amounts.maker, Qty(amounts.taker)),
            Side::Sell => (amounts.taker, Qty(amounts.maker)),
        };
        let price = Price::from_units((u128::from(cash) * 10_000 / u128::from(qty.micro())) as u16).expect("a price");
        let resting = Resting { order: id, outcome: instrument.outcome(), side, price, qty, matched: Qty::ZERO };
        match json["orderType"].as_str() {
            Some("GTD") => self.rest(m, resting),
            Some("FAK") => self.take(m, resting),
            other => panic!("order type {other:?}"),
        }
    }

    /// A post-only order rests, or is refused because it would match.
    fn rest(&mut self, m: MarketIx, order: Resting) -> (&'static str, String) {
        // Sometimes the market moves while the request is under way.
        if self.rng.below(50) == 0 {
            self.wander(m);
        }
        let (side, tick) = order.place();
        let (bid, ask) = self.markets[m.ix()].shown().top();
        let crosses = match side {
            BookSide::Bid => ask.is_some_and(|ask| tick >= ask),
            BookSide::Ask => bid.is_some_and(|bid| tick <= bid),
        };
        if crosses {
            self.counts.refused += 1;
            return refused("invalid post-only order: order crosses book");
        }
        self.counts.accepted += 1;
        self.markets[m.ix()].resting.push(order);
        let ms = self.ms();
        let placement = self.text(m, &order).event("PLACEMENT", "LIVE", ms);
        self.after(1, Source::User, frame(&placement));
        self.changed(m, &[(side, tick)]);
        accepted(&order.order, "live")
    }

    /// An immediate order takes what others offer within its limit.
    fn take(&mut self, m: MarketIx, mut order: Resting) -> (&'static str, String) {
        let (side, limit) = order.place();
        let levels: Vec<usize> = match side {
            BookSide::Bid => (0..=limit).collect(),
            BookSide::Ask => (limit..TICKS).rev().collect(),
        };
        let mut touched = Vec::new();
        for tick in levels {
            let level = &mut self.markets[m.ix()].others.side_mut(side.other())[tick];
            let part = Qty((*level).min(order.left().micro())).floor_to_cents();
            if !part.is_zero() {
                *level -= part.micro();
                order.matched += part;
                touched.push((side.other(), tick));
            }
        }
        if touched.is_empty() {
            self.counts.refused += 1;
            return refused(
                "no orders found to match with FAK order. FAK orders are partially filled or killed if no match is found.",
            );
        }
        self.counts.accepted += 1;
        self.trade(m, &order, order.matched, true);
        if !order.left().is_zero() {
            let ms = self.ms();
            let dead = self.text(m, &order).event("CANCELLATION", "CANCELED", ms);
            self.after(3, Source::User, frame(&dead));
        }
        self.changed(m, &touched);
        accepted(&order.order, "matched")
    }

    /// Cancels; gives the answer.
    fn cancel(&mut self, ids: &[String]) -> String {
        let (mut cancelled, mut not) = (Vec::new(), Vec::new());
        for text in ids {
            let id = OrderHash::parse(text.as_bytes()).expect("an id");
            let found = self.universe.indices().find_map(|m| {
                let at = self.markets[m.ix()].resting.iter().position(|o| o.order == id)?;
                Some((m, at))
            });
            let Some((m, at)) = found else {
                not.push(format!("\"{text}\":\"Order already matched\""));
                continue;
            };
            self.counts.cancelled += 1;
            cancelled.push(format!("\"{text}\""));
            let order = self.markets[m.ix()].resting.remove(at);
            let ms = self.ms();
            let gone = self.text(m, &order).event("CANCELLATION", "CANCELED", ms);
            self.after(2, Source::User, frame(&gone));
            self.changed(m, &[order.place()]);
        }
        format!("{{\"canceled\":[{}],\"not_canceled\":{{{}}}}}", cancelled.join(","), not.join(","))
    }

    /// Reads a request as a server would; returns its body.
    fn check(&mut self, method: &str, path: &str, request: &[u8]) -> Vec<u8> {
        self.requests += 1;
        let mut headers = [httparse::EMPTY_HEADER; 24];
        let mut head = httparse::Request::new(&mut headers);
        let len = match head.parse(request) {
            Ok(httparse::Status::Complete(len)) => len,
            other => panic!("not a request: {other:?}"),
        };
        assert_eq!((head.method, head.path), (Some(method), Some(path)));
        let value = |name: &str| {
            let header = head.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).expect("a header");
            std::str::from_utf8(header.value).expect("text")
        };
        let body = &request[len..];
        assert_eq!(value("content-length").parse(), Ok(body.len()));
        if self.requests.is_multiple_of(CHECK_EVERY) {
            self.counts.checked += 1;
            let text = std::str::from_utf8(body).expect("text");
            let message = format!("{}{method}{path}{text}", value("POLY_TIMESTAMP"));
            assert_eq!(value("POLY_SIGNATURE"), super::plain::hmac(message.as_bytes()), "HMAC");
        }
        body.to_vec()
    }
}

fn accepted(order: &OrderHash, status: &str) -> (&'static str, String) {
    let body = format!(
        "{{\"success\":true,\"errorMsg\":\"\",\"orderID\":\"{order}\",\"status\":\"{status}\",\"makingAmount\":\"\",\
         \"takingAmount\":\"\",\"transactionsHashes\":[],\"tradeIDs\":[]}}"
    );
    ("200 OK", body)
}

/// A refusal, which is also how a refused leg of a batch looks.
fn refused(why: &str) -> (&'static str, String) {
    ("400 Bad Request", format!("{{\"success\":true,\"orderID\":\"\",\"errorMsg\":\"{why}\"}}"))
}

/// The signature's key is the account's owner, by recovery.
pub fn check_signature(universe: &Universe, digest: &OrderHash, text: &str) {
    use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
    let bytes: [u8; 65] = polyloly_fast::types::ids::parse_hex(text.as_bytes()).expect("65 bytes");
    let signature = Signature::from_slice(&bytes[..64]).expect("r and s");
    let id = RecoveryId::from_byte(bytes[64] - 27).expect("27 or 28");
    let key = VerifyingKey::recover_from_prehash(&digest.0, &signature, id).expect("a key");
    let point = key.to_sec1_point(false);
    let hash = polyloly_fast::types::keccak::keccak256(&point.as_bytes()[1..]);
    assert_eq!(hash[12..], universe.account.owner.0, "signed by another key");
}

/// Limits that a long run never meets: benches measure what trading costs, not what it earns.
pub fn params() -> Params {
    let mut params = Params::default();
    params.risk.market_usdc = Usdc::dollars(100_000);
    params.risk.match_usdc = Usdc::dollars(100_000);
    params.risk.group_usdc = Usdc::dollars(500_000);
    params.risk.total_usdc = Usdc::dollars(500_000);
    params.risk.daily_loss_usdc = Usdc::dollars(500_000);
    params.risk.orders_per_s = 600;
    // Carrying is so dear that legs are completed as taker as well.
    params.pair.skew_units = 2_000;
    params
}

/// A run of the pipeline against the venue, recorded.
#[derive(Debug)]
pub struct Transcript {
    /// Whose.
    pub universe: Universe,
    /// When the run began.
    pub begin: Stamp,
    /// What was read.
    pub deliveries: Vec<Delivery>,
    /// What each delivery led to.
    pub led_to: Vec<Effect>,
}

/// What a delivery led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// No request.
    Nothing,
    /// So many orders, perhaps cancels too.
    Orders(usize),
    /// Cancels only.
    Cancels(usize),
}

impl Effect {
    /// Of what a pipeline has to send.
    pub fn of(leaving: &[Leaving]) -> Self {
        let (mut orders, mut cancels) = (0, 0);
        for leaves in leaving {
            match leaves {
                Leaving::Request(Asked::Orders(sent), _) => orders += sent.len(),
                Leaving::Request(Asked::Cancels(sent), _) => cancels += sent.len(),
                _ => {}
            }
        }
        Self::counted(orders, cancels)
    }

    /// Of so many orders and cancels.
    pub fn counted(orders: usize, cancels: usize) -> Self {
        match (orders, cancels) {
            (0, 0) => Self::Nothing,
            (0, n) => Self::Cancels(n),
            (n, _) => Self::Orders(n),
        }
    }
}

impl Transcript {
    /// Records `deliveries` of a run in four markets.
    pub fn record(deliveries: usize) -> Self {
        let universe = universe(4);
        let mut venue = Venue::new(&universe, 1);
        let begin = venue.stamp();
        let mut pipeline = Pipeline::new(&universe, &params(), begin);
        let (mut all, mut led_to) = (Vec::with_capacity(deliveries), Vec::with_capacity(deliveries));
        for _ in 0..deliveries {
            let delivery = venue.deliver();
            pipeline.take_in(&delivery.source, delivery.stamp, &mut delivery.bytes.clone());
            pipeline.written(delivery.stamp);
            venue.hear(&pipeline);
            led_to.push(Effect::of(pipeline.leaving()));
            all.push(delivery);
        }
        Self { universe, begin, deliveries: all, led_to }
    }

    /// A pipeline at the beginning of the run: the same deliveries lead to the same bytes again.
    pub fn pipeline(&self) -> Pipeline {
        Pipeline::new(&self.universe, &params(), self.begin)
    }

    /// Every order of the run, as risk approved it.
    pub fn approved(&self) -> Vec<Approved> {
        let mut core = core(&self.universe, &params());
        let (mut inbound, mut actions, mut all) = (Inbound::new(&self.universe), Actions::new(), Vec::new());
        let mut hear = |stamp, event| {
            actions.clear();
            core.on(&Sequenced { seq: 0, stamp, event }, &mut (), &mut actions);
            for action in &actions {
                if let Action::Place(approved) = action {
                    all.push(*approved);
                }
            }
        };
        OPENING.into_iter().for_each(|event| hear(self.begin, event));
        for d in &self.deliveries {
            inbound.read(&d.source, &mut d.bytes.clone(), &mut |event| hear(d.stamp, event));
        }
        all
    }
}
