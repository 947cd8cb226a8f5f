//! What a fault that struck does to a request, and what it does to a frame. Pure: the server carries it out.

use serde_json::{Value, json};

use super::{
    faults::{Fault, Kind, What},
    http::{Raw, Response},
    modes,
    rules::Refusal,
};
use crate::types::{Nanos, Price, Qty};

/// What becomes of the request itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Carried out.
    Now,
    /// Not carried out.
    Never,
    /// Carried out so many nanoseconds later.
    After(u64),
    /// Carried out, but only the first `n` cancels go through; the others get these words.
    Capped(usize, String),
    /// Carried out after the expected heartbeat id has been changed.
    Disturbed,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Say {
    /// What the venue says.
    Truth,
    /// Nothing, ever.
    Nothing,
    /// This instead.
    Instead(Response),
    /// The truth, changed.
    Edited(Edit),
}

/// A change of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// The legs of a batch in reverse.
    Reversed,
    /// Another `status` where an order was accepted.
    Status(String),
    /// A refusal that calls itself a success.
    Duplicated,
    /// The status stays 200 (or another), the body becomes this.
    Body(Option<u16>, Raw),
    /// Only the first entries of a page, and no more pages.
    Short(usize),
    /// The next cursor leads back to this page.
    Looped(String),
    /// The body ends after so many bytes.
    Torn(usize),
    /// The balance is off by so many millionths.
    BalanceBy(i64),
    /// An order that is not live is unknown.
    LiveOnly,
}

/// How the connection fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Stays.
    Open,
    /// Closed without a byte of an answer.
    Close,
    /// Reset after so many bytes of the answer.
    Reset(usize),
}

/// What to do about a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// With the request.
    pub act: Act,
    /// With the answer.
    pub say: Say,
    /// Before the answer, nanoseconds.
    pub delay_ns: u64,
    /// With the connection.
    pub end: End,
}

const HTML: &str = "<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head><body><h1>Sorry, \
you have been blocked</h1></body></html>";
/// Words of a cancel that never finds its order. Source: docs/PROTOCOL.md "cancel".
const CANNOT_BE_FOUND: &str = "the order can't be found - already canceled or matched";

/// The verdict on a request that a fault of [`Class::Request`](super::faults::Class) struck.
pub fn on_request(f: &Fault, route: &str, body: &[u8], cursor: Option<&str>) -> Verdict {
    let ns = |ms: Option<u64>| ms.unwrap_or(0).saturating_mul(1_000_000);
    let truth = Verdict { act: Act::Now, say: Say::Truth, delay_ns: 0, end: End::Open };
    let when = |accepted: bool| if accepted { Act::Now } else { Act::Never };
    let accepted = when(f.accepted.unwrap_or(false));
    let says = |status: u16, text: &str| Verdict {
        act: accepted.clone(),
        say: Say::Instead(
            Response::error(status, f.text.as_deref().unwrap_or(text)).retry_after(f.retry_after.clone()),
        ),
        ..truth.clone()
    };
    let edited = |edit: Edit| Verdict { say: Say::Edited(edit), ..truth.clone() };
    let instead = |r: Response| Verdict { act: Act::Never, say: Say::Instead(r), ..truth.clone() };
    // Carried out or not, the body is not what it should be.
    let body_is = |mime: &'static str, bytes: &[u8]| {
        let (mime, status) = (mime.to_owned(), f.http_status);
        let raw = Raw { mime, body: bytes.to_vec() };
        match accepted {
            Act::Now => edited(Edit::Body(status, raw)),
            _ => instead(Response { raw: Some(raw), ..Response::error(status.unwrap_or(200), "") }),
        }
    };
    match f.what {
        What::StallAfterAccept => match f.ms {
            Some(_) => Verdict { delay_ns: ns(f.ms), ..truth },
            None => Verdict { say: Say::Nothing, ..truth },
        },
        What::StallBeforeAccept => Verdict { act: Act::Never, say: Say::Nothing, ..truth },
        What::DelayedAccept => Verdict { act: Act::After(ns(f.ms)), say: Say::Nothing, ..truth },
        What::Reset => {
            Verdict { act: when(f.accepted.unwrap_or(true)), end: End::Reset(f.bytes.unwrap_or(0)), ..truth }
        }
        What::Close => Verdict { act: when(f.accepted.unwrap_or(true)), end: End::Close, ..truth },
        What::TooEarly => says(425, modes::RESTARTING),
        What::RateLimited => says(429, "Too Many Requests"),
        What::Error => says(f.http_status.unwrap_or(500), "could not insert order"),
        What::Html => body_is("text/html; charset=UTF-8", HTML.as_bytes()),
        What::Empty => body_is("application/json", b""),
        What::Garbled => body_is("application/json", b"{\"success\":tru,\"orderID\":\"0x"),
        What::Gzip => {
            body_is("application/json", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab, 0x56, 0x2a, 0x2e, 0x4d, 0x4e])
        }
        What::SuccessWithError => instead(Response::ok(for_each_leg(body, &refused_success(f)))),
        What::BatchReversed => edited(Edit::Reversed),
        What::OrderStatus => edited(Edit::Status(f.text.clone().unwrap_or_default())),
        What::VersionMismatch => says(400, &Refusal::Version.to_string()),
        What::Unauthorized => says(401, super::auth::BAD_L2),
        What::BalanceStuck => says(400, &Refusal::Balance.to_string()),
        What::Duplicated => Verdict { act: accepted, say: Say::Edited(Edit::Duplicated), ..truth },
        What::CancelRefused => Verdict { act: Act::Capped(0, words(f)), ..truth },
        What::CancelPartial => {
            Verdict { act: Act::Capped(usize::try_from(f.n.unwrap_or(1)).unwrap_or(0), words(f)), ..truth }
        }
        What::Slow => Verdict { delay_ns: ns(f.ms), ..truth },
        What::HeartbeatRefused => Verdict { act: Act::Disturbed, ..truth },
        What::PageShort => edited(Edit::Short(usize::try_from(f.n.unwrap_or(1)).unwrap_or(0))),
        What::PageTorn => edited(Edit::Torn(f.bytes.unwrap_or(64))),
        What::CursorLoop => edited(Edit::Looped(cursor.unwrap_or("MA==").to_owned())),
        What::ForgetFinished => edited(Edit::LiveOnly),
        What::BalanceWrong => edited(Edit::BalanceBy(f.n.unwrap_or(0))),
        What::Geoblock if route.starts_with("GET") => instead(Response::ok(geoblock(true))),
        What::Geoblock => says(
            403,
            "Trading restricted in your region, please refer to available regions - https://docs.polymarket.com/api-reference/geoblock",
        ),
        What::ClosedOnly if route.starts_with("GET") => instead(Response::ok(json!({"closed_only": true}))),
        What::ClosedOnly => match buyer(body) {
            Some(who) => says(400, &format!("'{who}' address in closed only mode")),
            None => truth,
        },
        // Of another class; `on_request` of the faults never yields them.
        _ => truth,
    }
}

fn words(f: &Fault) -> String {
    f.text.clone().unwrap_or_else(|| CANNOT_BE_FOUND.into())
}

/// `GET /api/geoblock`. Source: docs/PROTOCOL.md "geoblock".
pub fn geoblock(blocked: bool) -> Value {
    let (country, region) = if blocked { ("US", "NY") } else { ("IE", "L") };
    json!({"blocked": blocked, "ip": "127.0.0.1", "country": country, "region": region})
}

fn refused_success(f: &Fault) -> Value {
    json!({
        "success": true, "errorMsg": f.text.as_deref().unwrap_or("not enough balance / allowance"), "orderID": "",
        "status": "", "makingAmount": "", "takingAmount": "", "transactionsHashes": [], "tradeIDs": [],
    })
}

/// The answer for an order, or one for each of a batch.
fn for_each_leg(body: &[u8], one: &Value) -> Value {
    match serde_json::from_slice::<Value>(body) {
        Ok(Value::Array(legs)) => Value::Array(legs.iter().map(|_| one.clone()).collect()),
        _ => one.clone(),
    }
}

/// The maker of the first order of a request that buys.
fn buyer(body: &[u8]) -> Option<String> {
    let sent: Value = serde_json::from_slice(body).ok()?;
    let legs = sent.as_array().map_or(std::slice::from_ref(&sent), Vec::as_slice);
    let buys = legs.iter().find(|l| l["order"]["side"] == "BUY")?;
    buys["order"]["maker"].as_str().map(str::to_owned)
}

/// Changes an answer. `id` is the order's, where one was sent and can be read.
pub fn edited(mut r: Response, edit: &Edit, id: Option<&str>) -> Response {
    match edit {
        Edit::Reversed => {
            if let Some(legs) = r.body.as_array_mut() {
                legs.reverse();
            }
        }
        Edit::Status(word) => {
            let legs = match &mut r.body {
                Value::Array(legs) => legs.as_mut_slice(),
                one => std::slice::from_mut(one),
            };
            for leg in legs.iter_mut().filter(|l| l["orderID"].as_str().is_some_and(|id| !id.is_empty())) {
                leg["status"] = word.as_str().into();
            }
        }
        Edit::Duplicated => {
            return Response::error(400, format!("order {} is invalid. Duplicated.", id.unwrap_or("0x")));
        }
        Edit::Body(status, raw) => {
            r.status = status.unwrap_or(r.status);
            r.raw = Some(raw.clone());
        }
        Edit::Short(n) => {
            if let Some(data) = r.body["data"].as_array_mut() {
                data.truncate(*n);
                let left = data.len();
                r.body["count"] = left.into();
                r.body["next_cursor"] = "LTE=".into();
            }
        }
        Edit::Looped(cursor) => {
            if r.body["next_cursor"].is_string() {
                r.body["next_cursor"] = cursor.as_str().into();
            }
        }
        Edit::Torn(bytes) => {
            let mut body = r.body.to_string().into_bytes();
            body.truncate(*bytes);
            r.raw = Some(Raw { mime: "application/json".into(), body });
        }
        Edit::BalanceBy(n) => {
            if let Some(balance) = r.body["balance"].as_str().and_then(|b| b.parse::<i128>().ok()) {
                r.body["balance"] = (balance + i128::from(*n)).max(0).to_string().into();
            }
        }
        Edit::LiveOnly => {
            if r.status == 200 && !matches!(r.body["status"].as_str(), Some("LIVE" | "DELAYED")) {
                return Response::error(404, "order not found");
            }
        }
    }
    r
}

/// How a socket is cut.
pub type Cut = Kind;

/// What becomes of a frame on its way to one socket.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Passage {
    /// Not told.
    pub drop: bool,
    /// Told again so many nanoseconds later.
    pub again: Option<u64>,
    /// Told no sooner.
    pub not_before: Option<Nanos>,
    /// Told after so many later frames, or after so many nanoseconds.
    pub hold: Option<(u32, u64)>,
    /// Prices shifted by so many units of 0.0001, sizes multiplied.
    pub lie: Option<(i64, u64)>,
    /// In so many pieces.
    pub pieces: Option<usize>,
    /// One byte a segment.
    pub one_byte: bool,
    /// Instead of the frame the socket is cut.
    pub cut: Option<Cut>,
}

/// How long a held-back frame waits for others at most, where the fault does not say.
const HELD_MS: u64 = 1_000;

/// Adds up what the faults that struck do to a frame.
pub fn on_frame(struck: &[(Fault, Option<Nanos>)], now: Nanos) -> Passage {
    let mut p = Passage::default();
    for (f, end) in struck {
        let ms = |or: u64| f.ms.unwrap_or(or).saturating_mul(1_000_000);
        match f.what {
            What::Drop | What::Freeze | What::NoSnapshot => p.drop = true,
            What::Duplicate => p.again = Some(ms(0)),
            What::HoldBack => {
                p.hold = Some((u32::try_from(f.n.unwrap_or(1)).unwrap_or(1), ms(HELD_MS)));
            }
            What::Pause => p.not_before = p.not_before.max(*end),
            What::Lag => p.not_before = p.not_before.max(Some(now.plus(ms(0)))),
            What::Lie => p.lie = Some((f.n.unwrap_or(0), f.times.unwrap_or(3))),
            What::OneByte => p.one_byte = true,
            What::Fragment => p.pieces = Some(usize::try_from(f.n.unwrap_or(3)).unwrap_or(1).max(1)),
            What::Disconnect => p.cut = f.kind,
            _ => {}
        }
    }
    p
}

/// A market channel frame that says something else: levels and best prices moved, sizes multiplied.
pub fn lied(text: &str, shift: i64, times: u64) -> String {
    fn alter(v: &mut Value, shift: i64, times: u64) {
        match v {
            Value::Array(all) => all.iter_mut().for_each(|v| alter(v, shift, times)),
            Value::Object(fields) => {
                for (key, value) in fields.iter_mut() {
                    match (key.as_str(), value.as_str()) {
                        ("price" | "best_bid" | "best_ask", Some(text)) => {
                            let Ok(p) = Price::parse(text.as_bytes()) else { continue };
                            let inside = p > Price::ZERO && p < Price::ONE;
                            let moved = i64::from(p.units()).saturating_add(shift).clamp(1, 9_999);
                            if inside && let Some(p) = u16::try_from(moved).ok().and_then(Price::from_units) {
                                *value = p.to_string().into();
                            }
                        }
                        ("size", Some(text)) => {
                            if let Some(q) = Qty::parse(text.as_bytes()) {
                                *value = Qty(q.micro().saturating_mul(times)).to_string().into();
                            }
                        }
                        _ => alter(value, shift, times),
                    }
                }
            }
            _ => {}
        }
    }
    let Ok(mut v) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
    alter(&mut v, shift, times);
    v.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_fault_changes_something() {
        use super::super::faults::{Class, TABLE};
        let truth = Verdict { act: Act::Now, say: Say::Truth, delay_ns: 0, end: End::Open };
        let buy = br#"[{"order":{"side":"BUY","maker":"0xab"}}]"#;
        for row in TABLE.iter().filter(|r| r.class == Class::Request) {
            let fault = Fault { ms: Some(1), n: Some(1), text: Some("x".into()), ..Fault::new(row.what) };
            assert_ne!(on_request(&fault, row.places[0], buy, None), truth, "{:?}", row.what);
        }
        for row in TABLE.iter().filter(|r| r.class == Class::Frame) {
            let fault = Fault { ms: Some(1), ..Fault::new(row.what) };
            let passage = on_frame(&[(fault, Some(Nanos(5)))], Nanos(1));
            assert_ne!(passage, Passage::default(), "{:?}", row.what);
        }
    }

    #[test]
    fn a_lie_moves_prices_and_sizes_and_nothing_else() {
        let text = r#"{"event_type":"price_change","timestamp":"17","price_changes":[{"asset_id":"9","best_ask":"1","best_bid":"0.45","price":"0.45","side":"BUY","size":"10"}]}"#;
        let wanted = text.replace("0.45", "0.46").replace("\"10\"", "\"30\"");
        let same =
            |a: &str, b: &str| serde_json::from_str::<Value>(a).unwrap() == serde_json::from_str::<Value>(b).unwrap();
        assert!(same(&lied(text, 100, 3), &wanted), "{}", lied(text, 100, 3));
        assert!(same(&lied(text, 0, 1), text));
    }

    #[test]
    fn closed_only_lets_sells_through() {
        let f = Fault::new(What::ClosedOnly);
        let of = |side: &str| {
            let body = json!({"order": {"side": side, "maker": "0xAb"}}).to_string();
            on_request(&f, "POST /order", body.as_bytes(), None).act
        };
        assert_eq!((of("BUY"), of("SELL")), (Act::Never, Act::Now));
    }
}
