//! Step 2 of 9: market-channel messages → events.
//!
//! A message is applied whole or not at all: its events are collected first and given out only when all of it was
//! read. Source: docs/PROTOCOL.md "market channel"; tests/fixtures/samples/ws_market.

use super::{
    json::{Fields, Json, Reader, for_each_object},
    tokens::TokenTable,
};
use crate::types::{
    Event, InstrumentIx, Price, Qty, Side, Universe,
    event::{BookSide, MarketEvent, Payout},
    ids::Outcome,
    price::TickSize,
};

/// What a message was, by count. Nothing is dropped without being counted here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Objects whose events were given out.
    pub applied: u32,
    /// Objects understood that need no event: `new_market`, `best_bid_ask`, a keepalive answer.
    pub informative: u32,
    /// Objects of a kind that we do not know.
    pub unknown_kinds: u32,
    /// Objects, or entries of one, about tokens or markets that are not ours.
    pub not_ours: u32,
    /// `market_resolved` of ours without a winner that we can name: to be looked up.
    pub unclear: u32,
}

impl Parsed {
    /// True if part of the message was passed over.
    pub const fn ignored(&self) -> bool {
        self.unknown_kinds + self.not_ours + self.unclear > 0
    }
}

/// Why a message was not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// What was wrong.
    pub kind: ParseErrorKind,
    /// Whose book is therefore not to be trusted; `None` for all.
    pub instrument: Option<InstrumentIx>,
}

/// What was wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseErrorKind {
    /// Not JSON, or neither an object nor an array of objects.
    NotJson,
    /// A field that must be there is not, or has another type.
    Field(&'static str),
    /// A field's text is not what it should be.
    Value(&'static str),
}

impl core::fmt::Display for ParseError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.kind {
            ParseErrorKind::NotJson => f.write_str("not a JSON object or an array of objects"),
            ParseErrorKind::Field(name) => write!(f, "field {name} is missing or of another type"),
            ParseErrorKind::Value(name) => write!(f, "field {name} has an impossible value"),
        }
    }
}

impl std::error::Error for ParseError {}

/// An error in a field's presence or type.
pub(super) const fn missing(field: &'static str) -> ParseErrorKind {
    ParseErrorKind::Field(field)
}

/// Reads market-channel messages. Reuses its buffers: no allocation once warm.
#[derive(Debug)]
pub struct MarketParser {
    reader: Reader,
    tokens: TokenTable,
    scratch: Scratch,
}

/// What a message has led to so far.
#[derive(Debug)]
struct Scratch {
    events: Vec<MarketEvent>,
    tops: Vec<(InstrumentIx, Top)>,
    parsed: Parsed,
    /// Whose entry is being read, for errors.
    current: Option<InstrumentIx>,
}

/// Best bid and ask as a message states them.
type Top = (Option<Price>, Option<Price>);

impl MarketParser {
    /// A parser for the markets of a run.
    pub fn new(universe: &Universe) -> Self {
        let scratch = Scratch {
            // Two full ladders of the finest ordinary grid.
            events: Vec::with_capacity(4_096),
            tops: Vec::with_capacity(16),
            parsed: Parsed::default(),
            current: None,
        };
        Self { reader: Reader::new(), tokens: TokenTable::new(universe), scratch }
    }

    /// Reads one text message, which is rewritten in place where it has escapes, and gives its events to `sink`.
    /// A snapshot as REST gives it, without `event_type`, counts as `book`.
    /// Errors: nothing was given to `sink`; the book named, or every book, is to be marked by a `Gap`.
    pub fn parse(&mut self, message: &mut [u8], sink: &mut impl FnMut(Event)) -> Result<Parsed, ParseError> {
        let Self { reader, tokens, scratch } = self;
        if is_keepalive(message) {
            return Ok(Parsed { informative: 1, ..Parsed::default() });
        }
        scratch.events.clear();
        scratch.parsed = Parsed::default();
        scratch.current = None;
        let read = reader
            .read(message, |json| for_each_object(json, |fields| scratch.object(fields, tokens)))
            .flatten()
            .unwrap_or(Err(ParseErrorKind::NotJson));
        match read {
            Ok(()) => {
                scratch.events.iter().for_each(|e| sink(Event::Market(*e)));
                Ok(scratch.parsed)
            }
            Err(kind) => Err(ParseError { kind, instrument: scratch.current }),
        }
    }
}

/// True for the text frames that keep a socket alive; they are not JSON.
pub(super) fn is_keepalive(message: &[u8]) -> bool {
    let text = message.trim_ascii();
    text.eq_ignore_ascii_case(b"PONG") || text.eq_ignore_ascii_case(b"PING")
}

/// The fields that any kind of message can have.
#[derive(Default)]
struct Object<'a> {
    kind: Option<Json<'a>>,
    market: Option<Json<'a>>,
    asset: Option<Json<'a>>,
    timestamp: Option<Json<'a>>,
    bids: Option<Json<'a>>,
    asks: Option<Json<'a>>,
    changes: Option<Json<'a>>,
    price: Option<Json<'a>>,
    size: Option<Json<'a>>,
    side: Option<Json<'a>>,
    best_bid: Option<Json<'a>>,
    best_ask: Option<Json<'a>>,
    tick: Option<Json<'a>>,
    new_tick: Option<Json<'a>>,
    winner: Option<Json<'a>>,
    winning_outcome: Option<Json<'a>>,
}

impl<'a> Object<'a> {
    fn read(fields: Fields<'a>) -> Self {
        let mut o = Self::default();
        for (key, value) in fields {
            let slot = match key {
                "event_type" => &mut o.kind,
                "market" => &mut o.market,
                "asset_id" | "token_id" => &mut o.asset,
                "timestamp" => &mut o.timestamp,
                "bids" => &mut o.bids,
                "asks" => &mut o.asks,
                "price_changes" => &mut o.changes,
                "price" => &mut o.price,
                "size" => &mut o.size,
                "side" => &mut o.side,
                "best_bid" => &mut o.best_bid,
                "best_ask" => &mut o.best_ask,
                "tick_size" => &mut o.tick,
                "new_tick_size" => &mut o.new_tick,
                "winning_asset_id" | "winning_token_id" => &mut o.winner,
                "winning_outcome" => &mut o.winning_outcome,
                _ => continue,
            };
            *slot = Some(value);
        }
        o
    }

    /// Unix milliseconds; 0 if the message has none.
    fn venue_ms(&self) -> Result<u64, ParseErrorKind> {
        match self.timestamp {
            Some(t) if !t.is_void() => t.u64().ok_or(ParseErrorKind::Value("timestamp")),
            _ => Ok(0),
        }
    }

    fn price(&self) -> Result<Price, ParseErrorKind> {
        Price::parse(text(self.price, "price")?).map_err(|_| ParseErrorKind::Value("price"))
    }

    fn qty(&self) -> Result<Qty, ParseErrorKind> {
        Qty::parse(text(self.size, "size")?).ok_or(ParseErrorKind::Value("size"))
    }

    fn side(&self) -> Result<Side, ParseErrorKind> {
        Side::parse(text(self.side, "side")?).ok_or(ParseErrorKind::Value("side"))
    }

    /// The message's own best prices; `None` if it states neither.
    /// An empty side is marked by 0, by 1 or by nothing; both forms of an empty ask were seen.
    fn top(&self) -> Result<Option<Top>, ParseErrorKind> {
        let best = |value: Option<Json<'_>>, field, empty: &[Price]| match value {
            None => Ok(None),
            Some(v) if v.is_void() => Ok(None),
            Some(v) => {
                let price = Price::parse(v.str().ok_or(missing(field))?).map_err(|_| ParseErrorKind::Value(field))?;
                Ok((!empty.contains(&price)).then_some(price))
            }
        };
        if self.best_bid.is_none() && self.best_ask.is_none() {
            return Ok(None);
        }
        let bid = best(self.best_bid, "best_bid", &[Price::ZERO])?;
        let ask = best(self.best_ask, "best_ask", &[Price::ZERO, Price::ONE])?;
        Ok(Some((bid, ask)))
    }
}

fn text<'a>(value: Option<Json<'a>>, field: &'static str) -> Result<&'a [u8], ParseErrorKind> {
    value.and_then(Json::str).ok_or(missing(field))
}

fn tick(value: Json<'_>, field: &'static str) -> Result<TickSize, ParseErrorKind> {
    TickSize::parse(value.str().ok_or(missing(field))?).ok_or(ParseErrorKind::Value(field))
}

impl Scratch {
    fn object(&mut self, fields: Fields<'_>, tokens: &TokenTable) -> Result<(), ParseErrorKind> {
        self.current = None;
        let o = Object::read(fields);
        let kind = match o.kind {
            Some(kind) => kind.str().ok_or(missing("event_type"))?,
            None if o.asset.is_some() && o.bids.is_some() && o.asks.is_some() => b"book",
            None => b"",
        };
        let applied = match kind {
            b"price_change" => self.price_change(&o, tokens)?,
            b"book" => self.book(&o, tokens)?,
            b"last_trade_price" => self.last_trade(&o, tokens)?,
            b"tick_size_change" => self.tick_size_change(&o, tokens)?,
            b"market_resolved" => self.market_resolved(&o, tokens)?,
            b"best_bid_ask" => {
                // Checked but not passed on: it may come before the price change that it belongs to, and every
                // price change states its own top.
                self.instrument(&o, tokens)?;
                o.top()?.ok_or(missing("best_bid"))?;
                self.parsed.informative += 1;
                false
            }
            b"new_market" => {
                // Broadcast for every new market of the venue; discovery reads it from elsewhere.
                text(o.market, "market")?;
                self.parsed.informative += 1;
                false
            }
            _ => {
                self.parsed.unknown_kinds += 1;
                false
            }
        };
        if applied {
            self.parsed.applied += 1;
            self.events.push(MarketEvent::FrameEnd { venue_ms: o.venue_ms()? });
        }
        Ok(())
    }

    /// Whose message it is; `None`, counted, if not ours.
    fn instrument(&mut self, o: &Object<'_>, tokens: &TokenTable) -> Result<Option<InstrumentIx>, ParseErrorKind> {
        self.current = tokens.instrument(text(o.asset, "asset_id")?);
        self.parsed.not_ours += u32::from(self.current.is_none());
        Ok(self.current)
    }

    fn book(&mut self, o: &Object<'_>, tokens: &TokenTable) -> Result<bool, ParseErrorKind> {
        let Some(instrument) = self.instrument(o, tokens)? else {
            return Ok(false);
        };
        let tick = match o.tick {
            Some(t) if !t.is_void() => Some(tick(t, "tick_size")?),
            _ => None,
        };
        self.events.push(MarketEvent::SnapshotStart { instrument, tick, venue_ms: o.venue_ms()? });
        for (levels, side, field) in [(o.bids, BookSide::Bid, "bids"), (o.asks, BookSide::Ask, "asks")] {
            for level in levels.and_then(Json::items).ok_or(missing(field))? {
                let level = Object::read(level.fields().ok_or(missing(field))?);
                let (price, qty) = (level.price()?, level.qty()?);
                if !qty.is_zero() {
                    self.events.push(MarketEvent::Level { instrument, side, price, qty });
                }
            }
        }
        self.events.push(MarketEvent::SnapshotEnd { instrument });
        Ok(true)
    }

    fn price_change(&mut self, o: &Object<'_>, tokens: &TokenTable) -> Result<bool, ParseErrorKind> {
        self.tops.clear();
        let before = self.events.len();
        for entry in o.changes.and_then(Json::items).ok_or(missing("price_changes"))? {
            let entry = Object::read(entry.fields().ok_or(missing("price_changes"))?);
            let Some(instrument) = self.instrument(&entry, tokens)? else {
                continue;
            };
            let side = match entry.side()? {
                Side::Buy => BookSide::Bid,
                Side::Sell => BookSide::Ask,
            };
            let (price, qty) = (entry.price()?, entry.qty()?);
            self.events.push(MarketEvent::Delta { instrument, side, price, qty });
            if let Some(top) = entry.top()? {
                match self.tops.iter_mut().find(|(i, _)| *i == instrument) {
                    Some((_, last)) => *last = top,
                    None => self.tops.push((instrument, top)),
                }
            }
        }
        for (instrument, (bid, ask)) in &self.tops {
            self.events.push(MarketEvent::Top { instrument: *instrument, bid: *bid, ask: *ask });
        }
        Ok(self.events.len() > before)
    }

    fn last_trade(&mut self, o: &Object<'_>, tokens: &TokenTable) -> Result<bool, ParseErrorKind> {
        let Some(instrument) = self.instrument(o, tokens)? else {
            return Ok(false);
        };
        let (side, price, qty) = (o.side()?, o.price()?, o.qty()?);
        self.events.push(MarketEvent::LastTrade { instrument, side, price, qty });
        Ok(true)
    }

    fn tick_size_change(&mut self, o: &Object<'_>, tokens: &TokenTable) -> Result<bool, ParseErrorKind> {
        let Some(instrument) = self.instrument(o, tokens)? else {
            return Ok(false);
        };
        let tick = tick(o.new_tick.ok_or(missing("new_tick_size"))?, "new_tick_size")?;
        self.events.push(MarketEvent::TickSizeChange { instrument, tick });
        Ok(true)
    }

    fn market_resolved(&mut self, o: &Object<'_>, tokens: &TokenTable) -> Result<bool, ParseErrorKind> {
        let Some(market) = tokens.market(text(o.market, "market")?) else {
            self.parsed.not_ours += 1;
            return Ok(false);
        };
        let payout = match o.winner.filter(|w| !w.is_void()) {
            Some(winner) => {
                let winner = tokens.instrument(winner.str().ok_or(missing("winning_asset_id"))?);
                match winner.filter(|w| w.market() == market).map(InstrumentIx::outcome) {
                    Some(Outcome::Yes) => Payout::Yes,
                    Some(Outcome::No) => Payout::No,
                    None => return Err(ParseErrorKind::Value("winning_asset_id")),
                }
            }
            // The form of a 50-50 resolution is unconfirmed: only words that say so count as one.
            None => match o.winning_outcome.and_then(Json::str).map(<[u8]>::trim_ascii) {
                Some(b"50-50" | b"50/50" | b"50 - 50" | b"Tie" | b"tie" | b"Draw" | b"draw") => Payout::Half,
                _ => {
                    self.parsed.unclear += 1;
                    self.events.push(MarketEvent::ResolvedUnclear { market });
                    return Ok(true);
                }
            },
        };
        self.events.push(MarketEvent::Resolved { market, payout });
        Ok(true)
    }
}

/// Appends the first frame of a market socket.
pub fn subscribe_first(out: &mut Vec<u8>, universe: &Universe, instruments: &[InstrumentIx]) {
    out.extend_from_slice(b"{\"assets_ids\":[");
    write_tokens(out, universe, instruments);
    out.extend_from_slice(b"],\"type\":\"market\",\"custom_feature_enabled\":true,\"initial_dump\":true}");
}

/// Appends a later subscription. A token already subscribed to gives no snapshot: unsubscribe first.
pub fn subscribe(out: &mut Vec<u8>, universe: &Universe, instruments: &[InstrumentIx]) {
    out.extend_from_slice(b"{\"operation\":\"subscribe\",\"assets_ids\":[");
    write_tokens(out, universe, instruments);
    out.extend_from_slice(b"],\"custom_feature_enabled\":true}");
}

/// Appends the end of a subscription.
pub fn unsubscribe(out: &mut Vec<u8>, universe: &Universe, instruments: &[InstrumentIx]) {
    out.extend_from_slice(b"{\"operation\":\"unsubscribe\",\"assets_ids\":[");
    write_tokens(out, universe, instruments);
    out.extend_from_slice(b"]}");
}

fn write_tokens(out: &mut Vec<u8>, universe: &Universe, instruments: &[InstrumentIx]) {
    for (n, instrument) in instruments.iter().enumerate() {
        out.extend_from_slice(if n == 0 { b"\"" } else { b",\"" });
        out.extend_from_slice(universe.token(*instrument).decimal(&mut [0; 78]).as_bytes());
        out.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tokens::tests::universe, *};
    use crate::types::MarketIx;

    const CONDITION: &str = "0x3c80445e6248383d45606d5c8cde91ffc86f8312fa366b68e62d18d8b5019322";
    const YES: InstrumentIx = InstrumentIx(0);
    const NO: InstrumentIx = InstrumentIx(1);

    fn parser() -> MarketParser {
        MarketParser::new(&universe(&[(CONDITION, ["111", "222"])]))
    }

    fn parse(message: &str) -> (Result<Parsed, ParseError>, Vec<MarketEvent>) {
        let mut events = Vec::new();
        let parsed = parser().parse(&mut message.as_bytes().to_vec(), &mut |e| match e {
            Event::Market(e) => events.push(e),
            other => panic!("not a market event: {other:?}"),
        });
        (parsed, events)
    }

    fn price(text: &str) -> Price {
        Price::parse(text.as_bytes()).unwrap()
    }

    fn qty(text: &str) -> Qty {
        Qty::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_price_change_becomes_deltas_then_one_top_per_token_then_the_end() {
        let (parsed, events) = parse(
            r#"{"event_type":"price_change","market":"0x1","timestamp":"17","price_changes":[
            {"asset_id":"111","price":"0.03","size":"19.11","side":"BUY","best_bid":"0.12","best_ask":"0.16"},
            {"asset_id":"222","price":"0.97","size":"0","side":"sell","best_bid":"0.0","best_ask":"1"},
            {"asset_id":"333","price":"what","size":"1","side":"BUY"},
            {"token_id":"111","price":"0.02","size":"1","side":"BUY","best_bid":"0.13","best_ask":""}]}"#,
        );
        assert_eq!(parsed, Ok(Parsed { applied: 1, not_ours: 1, ..Parsed::default() }));
        let (bid, ask) = (BookSide::Bid, BookSide::Ask);
        assert_eq!(
            events,
            [
                MarketEvent::Delta { instrument: YES, side: bid, price: price("0.03"), qty: qty("19.11") },
                MarketEvent::Delta { instrument: NO, side: ask, price: price("0.97"), qty: Qty::ZERO },
                MarketEvent::Delta { instrument: YES, side: bid, price: price("0.02"), qty: qty("1") },
                MarketEvent::Top { instrument: YES, bid: Some(price("0.13")), ask: None },
                MarketEvent::Top { instrument: NO, bid: None, ask: None },
                MarketEvent::FrameEnd { venue_ms: 17 },
            ]
        );
    }

    #[test]
    fn a_snapshot_is_framed_and_keeps_its_grid() {
        let (parsed, events) = parse(
            r#"[{"event_type":"book","asset_id":"222","timestamp":"5","tick_size":"0.001",
            "bids":[{"price":".1","size":"2"},{"price":"0.2","size":"0"}],"asks":[]}]"#,
        );
        assert_eq!(parsed, Ok(Parsed { applied: 1, ..Parsed::default() }));
        assert_eq!(
            events,
            [
                MarketEvent::SnapshotStart { instrument: NO, tick: Some(TickSize::Mill), venue_ms: 5 },
                MarketEvent::Level { instrument: NO, side: BookSide::Bid, price: price("0.1"), qty: qty("2") },
                MarketEvent::SnapshotEnd { instrument: NO },
                MarketEvent::FrameEnd { venue_ms: 5 },
            ]
        );
    }

    #[test]
    fn resolutions_by_winner() {
        let resolved = |rest: &str| {
            parse(&format!(r#"{{"event_type":"market_resolved","market":"{CONDITION}","timestamp":"1"{rest}}}"#))
        };
        for (rest, payout) in [
            (r#","winning_asset_id":"111","winning_outcome":"Yes""#, Payout::Yes),
            (r#","winning_token_id":"222""#, Payout::No),
            (r#","winning_asset_id":"","winning_outcome":"50-50""#, Payout::Half),
        ] {
            let (parsed, events) = resolved(rest);
            assert_eq!(parsed, Ok(Parsed { applied: 1, ..Parsed::default() }), "{rest}");
            assert_eq!(events[0], MarketEvent::Resolved { market: MarketIx(0), payout }, "{rest}");
        }
        let (parsed, events) = resolved(r#","winning_asset_id":null"#);
        assert_eq!(parsed, Ok(Parsed { applied: 1, unclear: 1, ..Parsed::default() }));
        assert_eq!(events[0], MarketEvent::ResolvedUnclear { market: MarketIx(0) });
        let (parsed, events) = resolved(r#","winning_asset_id":"333""#);
        assert_eq!(parsed.unwrap_err().kind, ParseErrorKind::Value("winning_asset_id"));
        assert!(events.is_empty());
    }

    #[test]
    fn what_is_passed_over_is_counted() {
        for (message, parsed) in [
            ("PONG", Parsed { informative: 1, ..Parsed::default() }),
            ("[]", Parsed::default()),
            ("{}", Parsed { unknown_kinds: 1, ..Parsed::default() }),
            (r#"{"event_type":"surprise","asset_id":"111"}"#, Parsed { unknown_kinds: 1, ..Parsed::default() }),
            (
                r#"{"event_type":"best_bid_ask","asset_id":"111","best_bid":"0.5","best_ask":"0.6"}"#,
                Parsed { informative: 1, ..Parsed::default() },
            ),
            (r#"{"event_type":"new_market","market":"0x9"}"#, Parsed { informative: 1, ..Parsed::default() }),
            (
                r#"{"event_type":"book","asset_id":"9","bids":[],"asks":[]}"#,
                Parsed { not_ours: 1, ..Parsed::default() },
            ),
        ] {
            assert_eq!(parse(message), (Ok(parsed), vec![]), "{message}");
        }
    }

    #[test]
    fn a_bad_message_gives_no_event_and_names_its_book() {
        let good = r#"{"event_type":"last_trade_price","asset_id":"111","price":"0.5","size":"1","side":"BUY"}"#;
        let book = |levels: &str| {
            format!(r#"{{"event_type":"book","asset_id":"222","timestamp":"1","bids":[{levels}],"asks":[]}}"#)
        };
        use ParseErrorKind::{Field, NotJson, Value};
        for (message, kind, instrument) in [
            (String::new(), NotJson, None),
            ("7".into(), NotJson, None),
            ("[7]".into(), NotJson, None),
            (book(r#"{"price":"0.5","size":"1"}"#)[..60].into(), NotJson, None),
            (book(r#"{"price":"0.5","size":"1"},{"price":"x","size":"1"}"#), Value("price"), Some(NO)),
            (book(r#"{"price":"0.00001","size":"1"}"#), Value("price"), Some(NO)),
            (book(r#"{"price":"0.5","size":"-1"}"#), Value("size"), Some(NO)),
            (book(r#"{"price":0.5,"size":"1"}"#), Field("price"), Some(NO)),
            (book(r#"{"size":"1"}"#), Field("price"), Some(NO)),
            (book("3"), Field("bids"), Some(NO)),
            (r#"{"event_type":"book","asset_id":"111","bids":[]}"#.into(), Field("asks"), Some(YES)),
            (r#"{"event_type":"book","bids":[],"asks":[]}"#.into(), Field("asset_id"), None),
            (format!("[{good},{}]", book(r#"{"price":"0.5"}"#)), Field("size"), Some(NO)),
            (
                r#"{"event_type":"tick_size_change","asset_id":"111","new_tick_size":"0.002"}"#.into(),
                Value("new_tick_size"),
                Some(YES),
            ),
            (good.replace("BUY", "HOLD"), Value("side"), Some(YES)),
            (good.replace("}", r#","timestamp":"soon"}"#), Value("timestamp"), Some(YES)),
        ] {
            assert_eq!(parse(&message), (Err(ParseError { kind, instrument }), vec![]), "{message}");
        }
    }

    #[test]
    fn subscriptions_are_the_documented_frames() {
        let universe = universe(&[(CONDITION, ["111", "222"])]);
        let text = |write: fn(&mut Vec<u8>, &Universe, &[InstrumentIx]), i: &[InstrumentIx]| {
            let mut out = Vec::new();
            write(&mut out, &universe, i);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            text(subscribe_first, &[YES, NO]),
            r#"{"assets_ids":["111","222"],"type":"market","custom_feature_enabled":true,"initial_dump":true}"#
        );
        assert_eq!(
            text(subscribe, &[NO]),
            r#"{"operation":"subscribe","assets_ids":["222"],"custom_feature_enabled":true}"#
        );
        assert_eq!(text(unsubscribe, &[NO]), r#"{"operation":"unsubscribe","assets_ids":["222"]}"#);
    }
}
