//! Step 8 of 9: the account's own reads: open orders, trades, balances, clock, credentials.
//!
//! Cold path: start-up and reconciliation. Source: docs/PROTOCOL.md "account reads"; tests/fixtures/samples/rest.

use core::fmt;

use serde::{Deserialize, Deserializer, de};
use zeroize::Zeroizing;

use super::{
    auth::Credentials,
    user::{UserParser, order_change},
};
use crate::types::{
    Address, ConditionId, Event, OrderHash, Price, Qty, Side, TokenId, Usdc, event::OrderChange, qty::parse_micro,
};

/// The cursor that means "no more pages".
const LAST_PAGE: &str = "LTE=";

/// A decimal or name that comes as text or as a number; numbers keep their shortest decimal text, which is what the
/// venue wrote for any number of up to fifteen digits. No float is ever computed with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(pub String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(d)? {
            serde_json::Value::String(s) => Ok(Self(s)),
            serde_json::Value::Number(n) => Ok(Self(n.to_string())),
            serde_json::Value::Null => Ok(Self::default()),
            other => Err(de::Error::custom(format_args!("expected text or a number, not {other}"))),
        }
    }
}

impl Text {
    /// Its bytes, for the exact parsers.
    pub fn bytes(&self) -> &[u8] {
        self.0.trim().as_bytes()
    }
}

/// Why an answer could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestError {
    /// Not the JSON expected; where.
    Shape(String),
    /// A field with an impossible value.
    Value {
        /// Which field.
        field: &'static str,
        /// What it was.
        value: String,
    },
    /// The sources contradict each other: do not trade this market.
    Contradiction(&'static str),
}

impl fmt::Display for RestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape(what) => write!(f, "unexpected answer: {what}"),
            Self::Value { field, value } => write!(f, "impossible {field}: {value:?}"),
            Self::Contradiction(what) => write!(f, "contradiction: {what}"),
        }
    }
}

impl std::error::Error for RestError {}

/// Reads JSON of a known shape.
pub(super) fn shape<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, RestError> {
    serde_json::from_slice(body).map_err(|e| RestError::Shape(e.to_string()))
}

/// Reads a field's text, or says which field was wrong.
pub(super) fn field<T>(
    name: &'static str,
    text: &Text,
    parse: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<T, RestError> {
    parse(text.bytes()).ok_or_else(|| RestError::Value { field: name, value: text.0.clone() })
}

/// As [`parse_micro`], with digits beyond the sixth decimal rounded down instead of refused. Allocates.
pub(super) fn floor_micro(text: &[u8]) -> Option<u64> {
    let (whole, fraction) = match text.iter().position(|b| *b == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &b""[..]),
    };
    if fraction.len() <= 6 {
        return parse_micro(text);
    }
    fraction.iter().all(u8::is_ascii_digit).then(|| parse_micro(&[whole, b".", &fraction[..6]].concat()))?
}

/// One of our orders as the venue has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenOrder {
    /// Its id.
    pub id: OrderHash,
    /// Its market.
    pub market: ConditionId,
    /// Its token.
    pub token: TokenId,
    /// Buy or sell.
    pub side: Side,
    /// Its limit.
    pub price: Price,
    /// As sent. Observed as decimal shares; one source says base units: compare with what was sent.
    pub original: Qty,
    /// Matched so far.
    pub matched: Qty,
    /// Whether it rests, and otherwise why not.
    pub status: OrderChange,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// Its rows.
    pub rows: Vec<T>,
    /// Asks for the next page; `None` on the last.
    pub next: Option<String>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
struct RawPage<T> {
    /// Null on an empty page, but never absent: an error text must not look like "no orders".
    #[serde(deserialize_with = "Option::deserialize")]
    data: Option<Vec<T>>,
    next_cursor: Option<String>,
    /// Rows of this page, by its own word.
    count: Option<u64>,
}

impl<T> RawPage<T> {
    /// The rows. Errors: there are not as many as the page says, so some were lost.
    fn rows(self) -> Result<(Vec<T>, Option<String>), RestError> {
        let rows = self.data.unwrap_or_default();
        if self.count.is_some_and(|count| count != rows.len() as u64) {
            return Err(RestError::Contradiction("the page has another number of rows than it says"));
        }
        Ok((rows, next_page(self.next_cursor)))
    }
}

fn next_page(cursor: Option<String>) -> Option<String> {
    cursor.filter(|c| !c.is_empty() && c != LAST_PAGE)
}

#[derive(Deserialize)]
struct RawOrder {
    id: Text,
    status: Text,
    market: Text,
    asset_id: Text,
    side: Text,
    price: Text,
    original_size: Text,
    size_matched: Text,
}

impl TryFrom<RawOrder> for OpenOrder {
    type Error = RestError;

    fn try_from(o: RawOrder) -> Result<Self, RestError> {
        Ok(Self {
            id: field("id", &o.id, OrderHash::parse)?,
            market: field("market", &o.market, ConditionId::parse)?,
            token: field("asset_id", &o.asset_id, TokenId::parse)?,
            side: field("side", &o.side, Side::parse)?,
            price: field("price", &o.price, |t| Price::parse(t).ok())?,
            original: field("original_size", &o.original_size, Qty::parse)?,
            matched: field("size_matched", &o.size_matched, |t| {
                if t.is_empty() { Some(Qty::ZERO) } else { Qty::parse(t) }
            })?,
            status: order_change(b"", o.status.bytes()),
        })
    }
}

/// A page of `GET /data/orders`.
pub fn open_orders(body: &[u8]) -> Result<Page<OpenOrder>, RestError> {
    let (rows, next) = shape::<RawPage<RawOrder>>(body)?.rows()?;
    let rows = rows.into_iter().map(OpenOrder::try_from).collect::<Result<_, _>>()?;
    Ok(Page { rows, next })
}

/// `GET /data/order/{id}`. `None`: not live; look at the trades before believing that nothing filled.
pub fn open_order(status: u16, body: &[u8]) -> Result<Option<OpenOrder>, RestError> {
    if status == 404 {
        return Ok(None);
    }
    shape::<Option<RawOrder>>(body)?.map(OpenOrder::try_from).transpose()
}

/// A page of `GET /data/trades`: our fills go to `sink` by the same rules as those of the user channel.
/// Gives the cursor of the next page. Errors: `sink` may have heard earlier rows of this page; it hears them again
/// when the page is read again, and fills are told apart by (trade, order).
pub fn trades(body: &[u8], parser: &mut UserParser, sink: &mut impl FnMut(Event)) -> Result<Option<String>, RestError> {
    let (rows, next) = shape::<RawPage<serde_json::Value>>(body)?.rows()?;
    for row in rows {
        let mut text = row.to_string().into_bytes();
        let parsed = parser.parse(&mut text, sink).map_err(|e| RestError::Shape(format!("trade: {e}")))?;
        if parsed.unknown_kinds > 0 {
            return Err(RestError::Shape(format!("not a trade: {row}")));
        }
    }
    Ok(next)
}

/// Appends a cursor to a query so that its letters arrive as they are. False for one that cannot be the venue's: those
/// are base64. Nothing was appended then.
pub fn push_cursor(query: &mut String, cursor: &str) -> bool {
    let base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/=-_".contains(&b);
    if cursor.is_empty() || cursor.len() > 256 || !cursor.bytes().all(base64) {
        return false;
    }
    for letter in cursor.chars() {
        match letter {
            '+' => query.push_str("%2B"),
            '/' => query.push_str("%2F"),
            '=' => query.push_str("%3D"),
            plain => query.push(plain),
        }
    }
    true
}

/// Shares of one token, by the Data API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Which token.
    pub token: TokenId,
    /// How many.
    pub shares: Qty,
}

/// A page of `GET /positions?user=`: a list, or one under `data`. Sizes are decimals; what is finer than a micro-share
/// is rounded down.
pub fn positions(body: &[u8]) -> Result<Vec<Position>, RestError> {
    #[derive(Deserialize)]
    struct Raw {
        asset: Text,
        size: Text,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        List(Vec<Raw>),
        Page { data: Vec<Raw> },
    }
    let (Either::List(rows) | Either::Page { data: rows }) = shape(body)?;
    let shares = |text: &[u8]| floor_micro(text).map(Qty);
    let position = |raw: Raw| {
        Ok(Position { token: field("asset", &raw.asset, TokenId::parse)?, shares: field("size", &raw.size, shares)? })
    };
    rows.into_iter().map(position).collect()
}

/// `GET /api/geoblock`: where the venue sees us, and whether it lets us trade from there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Geoblock {
    /// True if it does not.
    pub blocked: bool,
    /// Country code.
    #[serde(default)]
    pub country: String,
    /// Region within it.
    #[serde(default)]
    pub region: String,
}

/// The answer to `GET /api/geoblock`.
pub fn geoblock(body: &[u8]) -> Result<Geoblock, RestError> {
    shape(body)
}

/// Balance and allowance of one asset, in micro-units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BalanceAllowance {
    /// What the account has, by the venue's cached view of the chain.
    pub balance: u64,
    /// The least that any listed spender may take; `None` if the answer lists none. Unlimited is `u64::MAX`.
    pub allowance: Option<u64>,
}

/// `GET /balance-allowance`, in both of its shapes.
pub fn balance_allowance(body: &[u8]) -> Result<BalanceAllowance, RestError> {
    #[derive(Deserialize)]
    struct Raw {
        balance: Text,
        allowance: Option<Text>,
        allowances: Option<std::collections::BTreeMap<String, Text>>,
    }
    let raw: Raw = shape(body)?;
    let mut allowance = raw.allowance.as_ref().map(|a| field("allowance", a, units)).transpose()?;
    for one in raw.allowances.iter().flatten().map(|(_, a)| field("allowances", a, units)) {
        allowance = Some(allowance.unwrap_or(u64::MAX).min(one?));
    }
    Ok(BalanceAllowance { balance: field("balance", &raw.balance, units)?, allowance })
}

/// How much one spender may take, by an answer to `GET /balance-allowance`; `None` if it does not say.
/// Source: docs/PROTOCOL.md "account reads", "approvals".
pub fn allowance_of(body: &[u8], spender: &Address) -> Result<Option<u64>, RestError> {
    #[derive(Deserialize)]
    struct Raw {
        allowance: Option<Text>,
        allowances: Option<std::collections::BTreeMap<String, Text>>,
    }
    let raw: Raw = shape(body)?;
    let listed = raw.allowances.unwrap_or_default();
    let named = |name: &str| Address::parse(name.as_bytes()).is_some_and(|a| a == *spender);
    match listed.iter().find(|(name, _)| named(name)) {
        Some((_, text)) => field("allowances", text, units).map(Some),
        None => raw.allowance.as_ref().map(|text| field("allowance", text, units)).transpose(),
    }
}

/// A 256-bit count of base units; more than we can count is as good as unlimited.
fn units(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits.then(|| core::str::from_utf8(text).ok().and_then(|t| t.parse().ok()).unwrap_or(u64::MAX))
}

impl BalanceAllowance {
    /// The balance as money.
    pub fn cash(&self) -> Usdc {
        Usdc(i64::try_from(self.balance).unwrap_or(i64::MAX))
    }
}

/// `GET /time`: Unix seconds.
pub fn time(body: &[u8]) -> Result<u64, RestError> {
    let text: Text = shape(body)?;
    field("time", &text, |t| core::str::from_utf8(t).ok()?.parse().ok())
}

/// `GET /version`.
pub fn version(body: &[u8]) -> Result<u64, RestError> {
    #[derive(Deserialize)]
    struct Raw {
        version: u64,
    }
    Ok(shape::<Raw>(body)?.version)
}

/// The answer to `POST /auth/api-key` and `GET /auth/derive-api-key`.
/// Its parts go into header lines and JSON as they are, so anything but plain characters is refused.
pub fn credentials(body: &[u8]) -> Result<Credentials, RestError> {
    #[derive(Deserialize)]
    struct Raw {
        #[serde(rename = "apiKey")]
        api_key: String,
        secret: String,
        passphrase: String,
    }
    // The parser's own error could quote the body.
    let raw: Raw = serde_json::from_slice(body).map_err(|_| RestError::Shape("no API credentials".into()))?;
    let Raw { api_key, secret, passphrase } = raw;
    let (secret, passphrase) = (Zeroizing::new(secret), Zeroizing::new(passphrase));
    let plain = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'));
    if !(plain(&api_key) && plain(&secret) && plain(&passphrase)) {
        return Err(RestError::Shape("API credentials with characters that they cannot have".into()));
    }
    Ok(Credentials { api_key, secret, passphrase })
}

/// The answer to `POST /v1/heartbeats`, accepted (200) or refused (400): the id to send next, at once if refused.
pub fn heartbeat(body: &[u8]) -> Result<String, RestError> {
    #[derive(Deserialize)]
    struct Raw {
        heartbeat_id: String,
    }
    Ok(shape::<Raw>(body)?.heartbeat_id)
}

/// `GET /auth/ban-status/closed-only`.
pub fn closed_only(body: &[u8]) -> Result<bool, RestError> {
    #[derive(Deserialize)]
    struct Raw {
        closed_only: bool,
    }
    Ok(shape::<Raw>(body)?.closed_only)
}

#[cfg(test)]
mod tests {
    use super::{super::tokens::tests::universe, *};

    #[test]
    fn balances_come_in_two_shapes() {
        for (body, balance, allowance) in [
            (r#"{"balance":"1000000000","allowance":"999999999000000"}"#, 1_000_000_000, Some(999_999_999_000_000)),
            (r#"{"balance":"5","allowances":{"0x1":"7","0x2":"6"}}"#, 5, Some(6)),
            (r#"{"balance":5,"allowances":{}}"#, 5, None),
            (r#"{"balance":"0","allowance":"115792089237316195423570985008687907853"}"#, 0, Some(u64::MAX)),
        ] {
            assert_eq!(balance_allowance(body.as_bytes()), Ok(BalanceAllowance { balance, allowance }), "{body}");
        }
        let spender = Address([0x11; 20]);
        for (body, allowance) in [
            (
                format!(r#"{{"allowances":{{"{spender}":"7","0x0000000000000000000000000000000000000002":"0"}}}}"#),
                Some(7),
            ),
            (r#"{"allowances":{}}"#.into(), None),
            (r#"{"allowance":"9"}"#.into(), Some(9)),
        ] {
            assert_eq!(allowance_of(body.as_bytes(), &spender), Ok(allowance), "{body}");
        }
        for body in ["{}", r#"{"balance":"1.5"}"#, r#"{"balance":""}"#, "null", "<html>"] {
            assert!(balance_allowance(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn small_answers() {
        assert_eq!(time(b"1795400600"), Ok(1_795_400_600));
        assert_eq!(time(b"\"1795400600\""), Ok(1_795_400_600));
        assert!(time(b"1.5").is_err());
        assert_eq!(version(br#"{"version":2}"#), Ok(2));
        assert_eq!(heartbeat(br#"{"error_msg":"Invalid Heartbeat ID","heartbeat_id":"x"}"#).as_deref(), Ok("x"));
        assert_eq!(closed_only(br#"{"closed_only":false}"#), Ok(false));
        let c = credentials(br#"{"apiKey":"k","secret":"s","passphrase":"p"}"#).unwrap();
        assert_eq!((c.api_key.as_str(), c.secret.as_str(), c.passphrase.as_str()), ("k", "s", "p"));
        for bad in [r#"{"apiKey":"k","secret":"s"}"#, r#"{"apiKey":"k\r\nX: y","secret":"s","passphrase":"p"}"#] {
            let error = credentials(bad.as_bytes()).unwrap_err().to_string();
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn pages_end_at_the_last_cursor() {
        let row = r#"{"id":"0x00000000000000000000000000000000000000000000000000000000000000aa","status":"ORDER_STATUS_LIVE",
            "market":"0x00000000000000000000000000000000000000000000000000000000000000bb","asset_id":"111","side":"BUY",
            "price":"0.5","original_size":"100.0000","size_matched":"","expiration":null,"created_at":1}"#;
        for (cursor, next) in [("\"LTE=\"", None), ("null", None), ("\"\"", None), ("\"MTAw\"", Some("MTAw"))] {
            let page = open_orders(format!(r#"{{"data":[{row}],"next_cursor":{cursor}}}"#).as_bytes()).unwrap();
            assert_eq!((page.rows.len(), page.next.as_deref()), (1, next), "{cursor}");
            assert_eq!((page.rows[0].status, page.rows[0].matched), (OrderChange::Placed, Qty::ZERO));
        }
        assert!(open_orders(format!(r#"{{"data":[{row}],"count":2}}"#).as_bytes()).is_err(), "a row is missing");
        assert_eq!(open_orders(br#"{"data":null}"#).unwrap().rows, []);
        assert_eq!(open_order(404, b"not found"), Ok(None));
        assert_eq!(open_order(200, b"null"), Ok(None));
        assert!(open_order(200, row.as_bytes()).unwrap().is_some());
        assert!(open_order(200, row.replace("0.5", "5").as_bytes()).is_err());
        assert!(open_orders(br#"{"error":"internal"}"#).is_err());
    }

    #[test]
    fn cursors_are_base64_and_arrive_as_they_are() {
        for (cursor, sent) in [("MTAw", Some("MTAw")), ("a+/=", Some("a%2B%2F%3D")), ("", None), ("a&b=c", None)] {
            let mut query = String::from("?next_cursor=");
            let taken = push_cursor(&mut query, cursor);
            assert_eq!((taken, query.strip_prefix("?next_cursor=")), (sent.is_some(), Some(sent.unwrap_or(""))));
        }
    }

    #[test]
    fn positions_and_the_place() {
        let row = r#"{"proxyWallet":"0x1","asset":"111","conditionId":"0x2","size":12.3456789,"avgPrice":0.5}"#;
        let all = positions(format!(r#"[{row},{{"asset":"222","size":"5"}}]"#).as_bytes()).unwrap();
        let micro: Vec<u64> = all.iter().map(|p| p.shares.micro()).collect();
        assert_eq!(micro, [12_345_678, 5_000_000]);
        assert_eq!(positions(format!(r#"{{"data":[{row}]}}"#).as_bytes()).unwrap().len(), 1);
        assert_eq!(positions(b"[]"), Ok(vec![]));
        for bad in [r#"{"error":"x"}"#, r#"[{"asset":"111"}]"#, r#"[{"asset":"111","size":-1}]"#, "null"] {
            assert!(positions(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(geoblock(br#"{"blocked":true,"ip":"1.2.3.4","country":"US","region":"NY"}"#).unwrap().blocked);
        assert!(geoblock(b"{}").is_err() && geoblock(br#"{"blocked":"no"}"#).is_err());
    }

    #[test]
    fn trades_follow_the_rules_of_the_user_channel() {
        let row = r#"{"id":"t","status":"CONFIRMED","taker_order_id":"0x00000000000000000000000000000000000000000000000000000000000000cc",
            "asset_id":"111","side":"BUY","size":"5","price":"0.5","owner":"me","trader_side":"TAKER","maker_orders":[]}"#;
        let mut parser = UserParser::new(&universe(&[("", ["111", "222"])]), "me");
        let mut heard = 0;
        let page = format!(r#"{{"data":[{row},{row}],"next_cursor":"x"}}"#);
        let next = trades(page.as_bytes(), &mut parser, &mut |_| heard += 1);
        assert_eq!((next, heard), (Ok(Some("x".into())), 2));
        assert!(trades(br#"{"data":[{}]}"#, &mut parser, &mut |_| ()).is_err());
    }
}
