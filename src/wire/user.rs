//! Step 8 of 9: user-channel messages → what became of our orders.
//!
//! A message is applied whole or not at all. Source: docs/PROTOCOL.md "user channel";
//! tests/fixtures/samples/ws_user.

use super::{
    json::{Fields, Json, Reader, for_each_object},
    market::{ParseError, ParseErrorKind, is_keepalive, missing},
    tokens::TokenTable,
};
use crate::types::{
    Event, InstrumentIx, OrderHash, Price, Qty, Side, TradeKey, Universe, Usdc,
    event::{OrderChange, TradeStatus, UserEvent},
};

/// What a message was, by count. Nothing is dropped without being counted here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Order objects applied.
    pub orders: u32,
    /// Fills of ours given out.
    pub fills: u32,
    /// A keepalive answer.
    pub informative: u32,
    /// Objects of a kind that we do not know.
    pub unknown_kinds: u32,
    /// Fills of ours on a token that this run does not know: money moved that the engine cannot book.
    pub unknown_tokens: u32,
    /// Trades without any part of ours.
    pub not_ours: u32,
}

impl Parsed {
    /// True if part of the message was passed over.
    pub const fn ignored(&self) -> bool {
        self.unknown_kinds + self.unknown_tokens + self.not_ours > 0
    }
}

/// Reads user-channel messages and the trades that REST gives. Reuses its buffers: no allocation once warm.
#[derive(Debug)]
pub struct UserParser {
    reader: Reader,
    tokens: TokenTable,
    api_key: Box<[u8]>,
    events: Vec<UserEvent>,
    parsed: Parsed,
}

impl UserParser {
    /// A parser for one account. `api_key` tells our maker orders from the others in a trade.
    pub fn new(universe: &Universe, api_key: &str) -> Self {
        Self {
            reader: Reader::new(),
            tokens: TokenTable::new(universe),
            api_key: api_key.as_bytes().into(),
            events: Vec::with_capacity(64),
            parsed: Parsed::default(),
        }
    }

    /// Reads one text message, which is rewritten in place where it has escapes, and gives its events to `sink`.
    /// Errors: nothing was given to `sink`. Something happened that we cannot read: reconcile.
    pub fn parse(&mut self, message: &mut [u8], sink: &mut impl FnMut(Event)) -> Result<Parsed, ParseError> {
        if is_keepalive(message) {
            return Ok(Parsed { informative: 1, ..Parsed::default() });
        }
        let Self { reader, tokens, api_key, events, parsed } = self;
        events.clear();
        *parsed = Parsed::default();
        let mut scratch = Scratch { tokens, api_key, events, parsed };
        let read = reader
            .read(message, |json| for_each_object(json, |fields| scratch.object(fields)))
            .flatten()
            .unwrap_or(Err(ParseErrorKind::NotJson));
        match read {
            Ok(()) => {
                events.iter().for_each(|e| sink(Event::User(*e)));
                Ok(*parsed)
            }
            Err(kind) => Err(ParseError { kind, instrument: None }),
        }
    }
}

struct Scratch<'p> {
    tokens: &'p TokenTable,
    api_key: &'p [u8],
    events: &'p mut Vec<UserEvent>,
    parsed: &'p mut Parsed,
}

/// The fields of orders, trades and the maker orders within a trade.
#[derive(Default)]
struct Object<'a> {
    event_type: Option<Json<'a>>,
    kind: Option<Json<'a>>,
    id: Option<Json<'a>>,
    status: Option<Json<'a>>,
    owner: Option<Json<'a>>,
    asset: Option<Json<'a>>,
    side: Option<Json<'a>>,
    size: Option<Json<'a>>,
    price: Option<Json<'a>>,
    matched: Option<Json<'a>>,
    trader_side: Option<Json<'a>>,
    taker_order: Option<Json<'a>>,
    makers: Option<Json<'a>>,
}

impl<'a> Object<'a> {
    fn read(fields: Fields<'a>) -> Self {
        let mut o = Self::default();
        for (key, value) in fields {
            let slot = match key {
                "event_type" => &mut o.event_type,
                "type" => &mut o.kind,
                "id" | "order_id" => &mut o.id,
                "status" => &mut o.status,
                "owner" => &mut o.owner,
                "asset_id" | "token_id" => &mut o.asset,
                "side" => &mut o.side,
                "size" => &mut o.size,
                "price" => &mut o.price,
                "size_matched" | "matched_amount" => &mut o.matched,
                "trader_side" => &mut o.trader_side,
                "taker_order_id" => &mut o.taker_order,
                "maker_orders" => &mut o.makers,
                _ => continue,
            };
            *slot = Some(value);
        }
        o
    }
}

/// A field's text; empty for a missing field, null and `""` alike.
fn lenient(value: Option<Json<'_>>) -> &[u8] {
    value.and_then(Json::str).unwrap_or(b"")
}

fn strict<'a>(value: Option<Json<'a>>, field: &'static str) -> Result<&'a [u8], ParseErrorKind> {
    value.and_then(Json::str).ok_or(missing(field))
}

fn hash(value: Option<Json<'_>>, field: &'static str) -> Result<OrderHash, ParseErrorKind> {
    OrderHash::parse(strict(value, field)?).ok_or(ParseErrorKind::Value(field))
}

fn price(value: Option<Json<'_>>) -> Result<Price, ParseErrorKind> {
    Price::parse(strict(value, "price")?).map_err(|_| ParseErrorKind::Value("price"))
}

fn qty(value: Option<Json<'_>>, field: &'static str) -> Result<Qty, ParseErrorKind> {
    Qty::parse(strict(value, field)?).ok_or(ParseErrorKind::Value(field))
}

/// How an order changed, by its message's `type` and `status`. A `CANCELED` status may carry a reason or free text.
/// Source: docs/PROTOCOL.md "user channel".
pub fn order_change(kind: &[u8], status: &[u8]) -> OrderChange {
    let status = status.strip_prefix(b"ORDER_STATUS_").unwrap_or(status);
    match (kind, status) {
        (_, b"INVALID") => OrderChange::Invalid,
        (_, s) if s.starts_with(b"CANCEL") && s.windows(7).any(|w| w == b"EXPIRED") => OrderChange::Expired,
        (b"CANCELLATION", _) => OrderChange::Cancelled,
        (_, s) if s.starts_with(b"CANCEL") => OrderChange::Cancelled,
        (_, b"DELAYED") => OrderChange::Delayed,
        (_, b"MATCHED") | (b"UPDATE", b"LIVE" | b"") => OrderChange::Matched,
        (_, b"LIVE") | (b"PLACEMENT", b"") => OrderChange::Placed,
        // Sources disagree on UNMATCHED: looked up, like every status we do not know.
        _ => OrderChange::Unrecognised,
    }
}

/// How far a trade is, by its status text with or without prefix.
pub fn trade_status(status: &[u8]) -> Option<TradeStatus> {
    Some(match status.strip_prefix(b"TRADE_STATUS_").unwrap_or(status) {
        b"MATCHED" | b"MATCHED_NOT_BROADCASTED" => TradeStatus::Matched,
        b"MINED" => TradeStatus::Mined,
        b"CONFIRMED" => TradeStatus::Confirmed,
        b"RETRYING" => TradeStatus::Retrying,
        b"FAILED" => TradeStatus::Failed,
        _ => return None,
    })
}

impl Scratch<'_> {
    fn object(&mut self, fields: Fields<'_>) -> Result<(), ParseErrorKind> {
        let o = Object::read(fields);
        match (lenient(o.event_type), lenient(o.kind)) {
            (b"order", _) | (b"", b"PLACEMENT" | b"UPDATE" | b"CANCELLATION") => self.order(&o),
            (b"trade", _) | (b"", b"TRADE") => self.trade(&o),
            // A trade as REST gives it.
            (b"", b"") if o.makers.is_some() && o.taker_order.is_some() => self.trade(&o),
            _ => {
                self.parsed.unknown_kinds += 1;
                Ok(())
            }
        }
    }

    fn order(&mut self, o: &Object<'_>) -> Result<(), ParseErrorKind> {
        let matched = match lenient(o.matched) {
            b"" => None,
            text => Some(Qty::parse(text).ok_or(ParseErrorKind::Value("size_matched"))?),
        };
        let change = order_change(lenient(o.kind), lenient(o.status));
        self.events.push(UserEvent::Order { order: hash(o.id, "id")?, change, matched });
        self.parsed.orders += 1;
        Ok(())
    }

    /// Our fills of one trade, by the three rules of the reference: as taker from the top level, as maker from every
    /// entry of ours, one fill per (trade, order).
    fn trade(&mut self, o: &Object<'_>) -> Result<(), ParseErrorKind> {
        let trade = TradeKey::of(strict(o.id, "id")?);
        let status = trade_status(strict(o.status, "status")?).ok_or(ParseErrorKind::Value("status"))?;
        let asset = strict(o.asset, "asset_id")?;
        let side = Side::parse(strict(o.side, "side")?).ok_or(ParseErrorKind::Value("side"))?;
        let makers = o.makers.and_then(Json::items).ok_or(missing("maker_orders"))?;
        let taker = lenient(o.trader_side).eq_ignore_ascii_case(b"TAKER") || lenient(o.owner) == self.api_key;
        let first = self.events.len();
        let passed_over = self.parsed.unknown_tokens;
        let (mut matched, mut notional, mut curve) = (Qty::ZERO, Usdc::ZERO, 0);
        for entry in makers {
            let m = Object::read(entry.fields().ok_or(missing("maker_orders"))?);
            let ours = lenient(m.owner) == self.api_key;
            if !ours && !taker {
                continue;
            }
            let (qty, price) = (qty(m.matched, "matched_amount")?, price(m.price)?);
            // A maker on the other token met us by a mint or a merge.
            let same = strict(m.asset, "asset_id")? == asset;
            matched += qty;
            notional += cash(side, qty, if same { price } else { price.complement() });
            curve += price.curve(qty);
            if ours {
                let maker_side = match lenient(m.side) {
                    b"" if same => side.other(),
                    b"" => side,
                    text => Side::parse(text).ok_or(ParseErrorKind::Value("side"))?,
                };
                let order = hash(m.id, "order_id")?;
                match self.tokens.instrument(strict(m.asset, "asset_id")?) {
                    Some(instrument) => {
                        let notional = cash(maker_side, qty, price);
                        let fill = Fill { order, instrument, side: maker_side, qty, notional, taker_curve: None };
                        self.fill(first, trade, status, fill);
                    }
                    None => self.parsed.unknown_tokens += 1,
                }
            }
        }
        if taker {
            let qty = qty(o.size, "size")?;
            // The top level's price is the limit or an average; the makers' own prices are exact if they are all here.
            let (notional, curve) = if matched == qty {
                (notional, curve)
            } else {
                let price = price(o.price)?;
                (cash(side, qty, price), price.curve(qty))
            };
            let order = hash(o.taker_order, "taker_order_id")?;
            match self.tokens.instrument(asset) {
                Some(instrument) => {
                    let fill = Fill { order, instrument, side, qty, notional, taker_curve: Some(curve) };
                    self.fill(first, trade, status, fill);
                }
                None => self.parsed.unknown_tokens += 1,
            }
        }
        let fills = (self.events.len() - first) as u32;
        self.parsed.fills += fills;
        self.parsed.not_ours += u32::from(fills == 0 && self.parsed.unknown_tokens == passed_over);
        Ok(())
    }

    /// Adds a fill, or adds it to the fill of the same order in this trade, whose events begin at `first`.
    fn fill(&mut self, first: usize, trade: TradeKey, status: TradeStatus, fill: Fill) {
        for event in &mut self.events[first..] {
            if let UserEvent::Trade { order, qty, notional, taker_curve, .. } = event
                && *order == fill.order
                && taker_curve.is_some() == fill.taker_curve.is_some()
            {
                *qty += fill.qty;
                *notional += fill.notional;
                *taker_curve = taker_curve.zip(fill.taker_curve).map(|(a, b)| a + b);
                return;
            }
        }
        let Fill { order, instrument, side, qty, notional, taker_curve } = fill;
        self.events.push(UserEvent::Trade { trade, order, instrument, side, qty, notional, taker_curve, status });
    }
}

/// Cash of one match, rounded to the micro-pUSD against us; what the venue rounds otherwise, its count of our
/// collateral shows.
fn cash(side: Side, qty: Qty, price: Price) -> Usdc {
    match side {
        Side::Buy => qty.notional_ceil(price),
        Side::Sell => qty.notional_floor(price),
    }
}

struct Fill {
    order: OrderHash,
    instrument: InstrumentIx,
    side: Side,
    qty: Qty,
    notional: Usdc,
    taker_curve: Option<u128>,
}

/// Appends the first frame of a user socket, for every market of the account.
/// It holds the secret: never log it.
pub fn subscribe(out: &mut Vec<u8>, api_key: &str, secret: &str, passphrase: &str) {
    for part in
        ["{\"type\":\"user\",\"auth\":{\"apiKey\":\"", api_key, "\",\"secret\":\"", secret, "\",\"passphrase\":\""]
    {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(passphrase.as_bytes());
    out.extend_from_slice(b"\"},\"markets\":[]}");
}

#[cfg(test)]
mod tests {
    use super::{super::tokens::tests::universe, *};

    const ME: &str = "a93a3d32-74fa-dd2b-4b67-98bfa6fc5cb5";
    const A: &str = "0x00000000000000000000000000000000000000000000000000000000000000aa";
    const B: &str = "0x00000000000000000000000000000000000000000000000000000000000000bb";
    const T: &str = "0x00000000000000000000000000000000000000000000000000000000000000cc";

    fn parse(message: &str) -> (Result<Parsed, ParseError>, Vec<UserEvent>) {
        let mut events = Vec::new();
        let mut parser = UserParser::new(&universe(&[("", ["111", "222"])]), ME);
        let parsed = parser.parse(&mut message.as_bytes().to_vec(), &mut |e| match e {
            Event::User(e) => events.push(e),
            other => panic!("not a user event: {other:?}"),
        });
        (parsed, events)
    }

    #[test]
    fn how_an_order_changed() {
        use OrderChange::{Cancelled, Delayed, Expired, Invalid, Matched, Placed, Unrecognised};
        for (kind, status, change) in [
            ("PLACEMENT", "LIVE", Placed),
            ("PLACEMENT", "", Placed),
            ("PLACEMENT", "ORDER_STATUS_LIVE", Placed),
            ("PLACEMENT", "MATCHED", Matched),
            ("PLACEMENT", "DELAYED", Delayed),
            ("PLACEMENT", "UNMATCHED", Unrecognised),
            ("UPDATE", "LIVE", Matched),
            ("UPDATE", "MATCHED", Matched),
            ("UPDATE", "", Matched),
            ("UPDATE", "CANCELED_EXPIRED_ORDER", Expired),
            ("CANCELLATION", "CANCELED", Cancelled),
            ("CANCELLATION", "CANCELED_order couldn't be fully filled.", Cancelled),
            ("CANCELLATION", "", Cancelled),
            ("CANCELLATION", "INVALID", Invalid),
            ("", "LIVE", Placed),
            ("", "", Unrecognised),
            ("NOVELTY", "NOVEL", Unrecognised),
        ] {
            assert_eq!(order_change(kind.as_bytes(), status.as_bytes()), change, "{kind} {status}");
        }
    }

    #[test]
    fn an_order_message_may_have_voids() {
        let (parsed, events) = parse(&format!(
            r#"{{"event_type":null,"type":"UPDATE","id":"{A}","status":null,"size_matched":"","created_at":""}}"#
        ));
        assert_eq!(parsed, Ok(Parsed { orders: 1, ..Parsed::default() }));
        let order = OrderHash::parse(A.as_bytes()).unwrap();
        assert_eq!(events, [UserEvent::Order { order, change: OrderChange::Matched, matched: None }]);
    }

    /// (order, token, side, shares, cash, taker) of each fill in a trade.
    fn fills(trade: &str) -> Vec<(u8, u16, Side, String, String, bool)> {
        let (parsed, events) = parse(trade);
        assert_eq!(parsed.map(|p| p.fills as usize), Ok(events.len()), "{trade}");
        let fill = |e| match e {
            UserEvent::Trade { order, instrument, side, qty, notional, taker_curve, .. } => {
                (order.0[31], instrument.0, side, qty.to_string(), notional.to_string(), taker_curve.is_some())
            }
            other => panic!("not a trade: {other:?}"),
        };
        events.into_iter().map(fill).collect()
    }

    fn trade(rest: &str, makers: &str) -> String {
        format!(
            r#"{{"event_type":"trade","id":"t1","status":"TRADE_STATUS_MATCHED","taker_order_id":"{T}",
            "asset_id":"111","side":"BUY","size":"10","price":"0.51"{rest},"maker_orders":[{makers}]}}"#
        )
    }

    fn maker(order: &str, owner: &str, asset: &str, matched: &str, price: &str, side: &str) -> String {
        format!(
            r#"{{"order_id":"{order}","owner":"{owner}","asset_id":"{asset}","matched_amount":"{matched}",
            "price":"{price}"{side}}}"#
        )
    }

    #[test]
    fn a_taker_pays_what_its_makers_asked() {
        let makers = [maker(A, "x", "222", "4", "0.49", ""), maker(B, "y", "111", "6", "0.5", "")].join(",");
        for rest in [r#","trader_side":"TAKER""#.to_owned(), format!(r#","owner":"{ME}""#)] {
            let expected = (0xcc, 0, Side::Buy, "10".into(), "5.04".into(), true);
            assert_eq!(fills(&trade(&rest, &makers)), [expected], "{rest}");
        }
        // Not every maker is shown: the top level's price is all there is.
        let some = maker(A, "x", "111", "4", "0.49", "");
        let expected = (0xcc, 0, Side::Buy, "10".into(), "5.1".into(), true);
        assert_eq!(fills(&trade(r#","trader_side":"TAKER""#, &some)), [expected]);
    }

    #[test]
    fn a_maker_is_booked_on_its_own_token_price_and_side() {
        let rest = r#","trader_side":"MAKER","owner":"x""#;
        for (asset, side, expected) in [
            ("222", "", (0xaa, 1, Side::Buy, "10".into(), "4.9".into(), false)),
            ("111", "", (0xaa, 0, Side::Sell, "10".into(), "4.9".into(), false)),
            ("111", r#","side":"BUY""#, (0xaa, 0, Side::Buy, "10".into(), "4.9".into(), false)),
            ("222", r#","side":null"#, (0xaa, 1, Side::Buy, "10".into(), "4.9".into(), false)),
        ] {
            let entry = maker(A, ME, asset, "10", "0.49", side);
            assert_eq!(fills(&trade(rest, &entry)), [expected], "{asset} {side}");
        }
    }

    #[test]
    fn entries_of_one_order_are_summed_and_orders_kept_apart() {
        let makers = [
            maker(A, ME, "111", "1.5", "0.333", ""),
            maker("0x1", "stranger", "111", "5", "0.4", ""),
            maker(B, ME, "111", "2", "0.3", ""),
            maker(A, ME, "111", "0.000001", "0.5", ""),
        ];
        let expected = [
            (0xaa, 0, Side::Sell, "1.500001".into(), "0.4995".into(), false),
            (0xbb, 0, Side::Sell, "2".into(), "0.6".into(), false),
        ];
        assert_eq!(fills(&trade(r#","trader_side":"MAKER""#, &makers.join(","))), expected);
    }

    #[test]
    fn what_is_passed_over_is_counted() {
        let foreign = trade("", &maker(A, "x", "111", "10", "0.5", ""));
        let unknown = trade("", &maker(A, ME, "999", "10", "0.5", ""));
        for (message, parsed) in [
            ("PONG", Parsed { informative: 1, ..Parsed::default() }),
            (r#"{"event_type":"notice"}"#, Parsed { unknown_kinds: 1, ..Parsed::default() }),
            (&foreign, Parsed { not_ours: 1, ..Parsed::default() }),
            (&unknown, Parsed { unknown_tokens: 1, ..Parsed::default() }),
        ] {
            assert_eq!(parse(message), (Ok(parsed), vec![]), "{message}");
        }
    }

    #[test]
    fn a_bad_message_gives_no_event() {
        let good = trade("", &maker(A, ME, "111", "10", "0.5", ""));
        for (from, to, kind) in [
            ("MATCHED", "HAPPENED", ParseErrorKind::Value("status")),
            (r#""asset_id":"111","side""#, r#""side""#, ParseErrorKind::Field("asset_id")),
            (A, "0x78xx", ParseErrorKind::Value("order_id")),
            ("\"0.5\"", "\"1.5\"", ParseErrorKind::Value("price")),
            ("\"10\",\n            \"price\":\"0.5\"", "\"10\"", ParseErrorKind::Field("price")),
            ("\"id\":\"t1\",", "", ParseErrorKind::Field("id")),
            ("}", "", ParseErrorKind::NotJson),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            assert_eq!(parse(&bad), (Err(ParseError { kind, instrument: None }), vec![]), "{from}");
        }
    }

    #[test]
    fn the_subscription_is_the_documented_frame() {
        let mut out = Vec::new();
        subscribe(&mut out, "k", "s", "p");
        let expected = r#"{"type":"user","auth":{"apiKey":"k","secret":"s","passphrase":"p"},"markets":[]}"#;
        assert_eq!(out, expected.as_bytes());
    }
}
