//! Step 8 of 9: what the venue answered to an order or a cancel.
//!
//! Success is a parsed answer with `success`, no error text and an order id, and nothing less: `success: true` with an
//! error text is a refusal, and whatever is not a clean answer (5xx, HTML, nothing, half of it) is *unknown*.
//! Source: docs/PROTOCOL.md "POST /order", "POST /orders", "errors", "cancel".

use super::json::{Json, Reader};
use crate::types::{
    OrderHash,
    event::{AckStatus, CancelRefusal, RejectReason},
};

/// What the venue did with one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderReply {
    /// It took it.
    Accepted {
        /// The id by its answer: compare it with ours.
        order: OrderHash,
        /// What it did with it.
        status: AckStatus,
    },
    /// It refused it.
    Rejected(RejectReason),
    /// No clean answer: look the order up by its id, and never send it again with another salt before.
    Unknown,
}

/// Reads answers. Reuses its buffers: no allocation once warm.
#[derive(Debug, Default)]
pub struct ReplyParser {
    reader: Reader,
    retry_after_s: Option<u64>,
}

impl ReplyParser {
    /// A parser with room for ordinary answers.
    pub fn new() -> Self {
        Self::default()
    }

    /// The answer to `POST /order`. `json`: the answer says that it is JSON (`http::Response::json`).
    pub fn order(&mut self, status: u16, json: bool, body: &mut [u8]) -> OrderReply {
        self.retry_after_s = None;
        if !json {
            return OrderReply::Unknown;
        }
        let read = self.reader.read(body, |value| (one(status, value), retry_after(value)));
        let (reply, retry_after_s) = read.unwrap_or((OrderReply::Unknown, None));
        self.retry_after_s = retry_after_s;
        reply
    }

    /// `retry_after_seconds` of the last answer to an order, or to anything else that was read as one.
    pub fn retry_after_s(&self) -> Option<u64> {
        self.retry_after_s
    }

    /// The answer to `POST /orders`, leg by leg: `sink` hears each of the `count` legs once, in order. An error for the
    /// batch is every leg's; an answer with another number of legs is nobody's.
    pub fn orders(
        &mut self,
        status: u16,
        json: bool,
        body: &mut [u8],
        count: usize,
        sink: &mut impl FnMut(usize, OrderReply),
    ) {
        let mut retry_after_s = None;
        let read = |value: Json<'_>| {
            retry_after_s = retry_after(value);
            if let Some(legs) = value.items() {
                if legs.clone().count() == count {
                    legs.enumerate().for_each(|(leg, value)| sink(leg, one(status, value)));
                    return None;
                }
                return Some(OrderReply::Unknown);
            }
            match one(status, value) {
                // One acceptance cannot answer several orders.
                OrderReply::Accepted { .. } => Some(OrderReply::Unknown),
                reply => Some(reply),
            }
        };
        let same = if json {
            self.reader.read(body, read).unwrap_or(Some(OrderReply::Unknown))
        } else {
            Some(OrderReply::Unknown)
        };
        self.retry_after_s = retry_after_s;
        if let Some(reply) = same {
            (0..count).for_each(|leg| sink(leg, reply));
        }
    }

    /// The answer to a cancel of any kind. `sink` hears every order that the answer names: `None` if it is cancelled,
    /// why not otherwise. False: no clean answer, nothing was given out, ask again.
    pub fn cancel(
        &mut self,
        status: u16,
        json: bool,
        body: &mut [u8],
        sink: &mut impl FnMut(OrderHash, Option<CancelRefusal>),
    ) -> bool {
        if status != 200 || !json {
            return false;
        }
        let read = |value: Json<'_>| {
            let canceled = value.get("canceled").filter(|v| !v.is_void());
            let refused = value.get("not_canceled").filter(|v| !v.is_void());
            if canceled.is_none() && refused.is_none() {
                return None;
            }
            let id = |text| OrderHash::parse(text);
            let canceled = match canceled {
                Some(list) => Some(list.items()?),
                None => None,
            };
            let refused = match refused {
                Some(map) => Some(map.fields()?),
                None => None,
            };
            // All of it is understood before any of it is given out.
            for item in canceled.clone().into_iter().flatten() {
                id(item.str()?)?;
            }
            for (key, _) in refused.clone().into_iter().flatten() {
                id(key.as_bytes())?;
            }
            canceled.into_iter().flatten().filter_map(|v| id(v.str()?)).for_each(|order| sink(order, None));
            for (key, reason) in refused.into_iter().flatten() {
                if let Some(order) = id(key.as_bytes()) {
                    sink(order, Some(cancel_refusal(reason.str().unwrap_or(b""))));
                }
            }
            Some(())
        };
        self.reader.read(body, read).flatten().is_some()
    }
}

fn retry_after(value: Json<'_>) -> Option<u64> {
    value.get("retry_after_seconds").and_then(Json::u64)
}

/// One order's answer.
fn one(status: u16, value: Json<'_>) -> OrderReply {
    let text = |key| value.get(key).filter(|v| !v.is_void()).and_then(Json::str);
    let error = text("errorMsg").or_else(|| text("error")).or_else(|| text("error_msg"));
    if let Some(error) = error {
        return refusal(status, text("code").unwrap_or(b""), error).map_or(OrderReply::Unknown, OrderReply::Rejected);
    }
    let order = text("orderID").and_then(OrderHash::parse);
    match (status, value.get("success").and_then(Json::bool), order) {
        (200 | 201, Some(true), Some(order)) => {
            let status = match text("status").unwrap_or(b"") {
                b"live" => AckStatus::Live,
                b"matched" => AckStatus::Matched,
                b"delayed" => AckStatus::Delayed,
                // `unmatched`, none, or one we do not know: it is there, and is looked up.
                _ => AckStatus::Unmatched,
            };
            OrderReply::Accepted { order, status }
        }
        _ => OrderReply::Unknown,
    }
}

/// Texts by which the venue refuses, lower case, first match wins. `None`: the outcome is unknown all the same.
/// Source: docs/PROTOCOL.md "errors".
const REFUSALS: &[(&str, Option<RejectReason>)] = &[
    ("post_only_mode", Some(RejectReason::PostOnlyMode)),
    ("post-only mode", Some(RejectReason::PostOnlyMode)),
    ("order crosses book", Some(RejectReason::Crosses)),
    ("crosses the book", Some(RejectReason::Crosses)),
    ("order match delayed", None),
    ("could not insert", None),
    ("timed out", None),
    ("internal server error", None),
    ("couldn't be fully filled", Some(RejectReason::NotFilled)),
    ("no orders found to match", Some(RejectReason::NotFilled)),
    ("fok orders are", Some(RejectReason::NotFilled)),
    ("minimum tick size", Some(RejectReason::TickSize)),
    ("lower than the minimum", Some(RejectReason::MinSize)),
    ("min size", Some(RejectReason::MinSize)),
    ("not enough balance", Some(RejectReason::Balance)),
    ("balance is not enough", Some(RejectReason::Balance)),
    ("allowance is not enough", Some(RejectReason::Balance)),
    ("duplicated", Some(RejectReason::Duplicate)),
    ("already exists", Some(RejectReason::Duplicate)),
    ("not yet ready", Some(RejectReason::MarketClosed)),
    ("orderbook", Some(RejectReason::MarketClosed)),
    ("order_version_mismatch", Some(RejectReason::Version)),
    ("cancel-only", Some(RejectReason::CancelOnly)),
    ("currently disabled", Some(RejectReason::Disabled)),
    ("invalid expiration", Some(RejectReason::Expiration)),
    ("banned", Some(RejectReason::Forbidden)),
    ("closed only mode", Some(RejectReason::Forbidden)),
    ("too many requests", Some(RejectReason::RateLimited)),
    ("rate limit", Some(RejectReason::RateLimited)),
    ("api key", Some(RejectReason::Auth)),
    ("unauthorized", Some(RejectReason::Auth)),
    ("request headers", Some(RejectReason::Auth)),
    ("signature", Some(RejectReason::Auth)),
];

/// Why the venue refused; `None` if its answer leaves open what became of the order.
pub fn refusal(status: u16, code: &[u8], text: &[u8]) -> Option<RejectReason> {
    let said = REFUSALS.iter().find(|(t, _)| contains(code, t) || contains(text, t)).map(|(_, reason)| *reason);
    match status {
        // Of the 5xx only the announced modes are refusals; the rest may have been submitted.
        500.. => {
            let modes = |r: &RejectReason| {
                matches!(r, RejectReason::PostOnlyMode | RejectReason::CancelOnly | RejectReason::Disabled)
            };
            said.flatten().filter(|r| status == 503 && modes(r))
        }
        401 => Some(RejectReason::Auth),
        403 => Some(RejectReason::Forbidden),
        425 => Some(RejectReason::Restarting),
        429 => Some(RejectReason::RateLimited),
        // A server that gave up waiting says this unasked, even on a connection where an order has just left.
        408 | 499 => None,
        200..500 => said.unwrap_or(Some(RejectReason::Other)),
        _ => None,
    }
}

/// Why a cancel did nothing, by the venue's words.
pub fn cancel_refusal(text: &[u8]) -> CancelRefusal {
    if contains(text, "delayed") || contains(text, "pending") {
        CancelRefusal::Delayed
    } else if contains(text, "already canceled") || contains(text, "not found") {
        CancelRefusal::Gone
    } else if contains(text, "matched") {
        CancelRefusal::Matched
    } else {
        CancelRefusal::Other
    }
}

/// Looks for `needle`, in lower case, in text of any case.
fn contains(text: &[u8], needle: &str) -> bool {
    text.windows(needle.len()).any(|w| w.eq_ignore_ascii_case(needle.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0x1234567890abcdef1234567890abcdef1234567890abcdef1234567890abcdef";

    fn order(status: u16, body: &str) -> OrderReply {
        ReplyParser::new().order(status, true, &mut body.as_bytes().to_vec())
    }

    fn accepted(status: AckStatus) -> OrderReply {
        OrderReply::Accepted { order: OrderHash::parse(ID.as_bytes()).unwrap(), status }
    }

    #[test]
    fn only_a_clean_success_is_one() {
        use AckStatus::{Delayed, Live, Matched, Unmatched};
        let id = ID;
        for (body, reply) in [
            (format!(r#"{{"success":true,"errorMsg":"","orderID":"{id}","status":"live"}}"#), accepted(Live)),
            (format!(r#"{{"success":true,"errorMsg":null,"orderID":"{id}","status":"matched"}}"#), accepted(Matched)),
            (format!(r#"{{"success":true,"orderID":"{id}","status":"delayed"}}"#), accepted(Delayed)),
            (format!(r#"{{"success":true,"orderID":"{id}","status":"unmatched"}}"#), accepted(Unmatched)),
            (format!(r#"{{"success":true,"orderID":"{id}"}}"#), accepted(Unmatched)),
            (
                format!(r#"{{"success":true,"orderID":"{id}","status":"live","errorMsg":"strange"}}"#),
                OrderReply::Rejected(RejectReason::Other),
            ),
            (
                r#"{"success":true,"orderID":"","errorMsg":"not enough balance / allowance"}"#.into(),
                OrderReply::Rejected(RejectReason::Balance),
            ),
            (r#"{"success":true,"orderID":"","errorMsg":""}"#.into(), OrderReply::Unknown),
            (r#"{"success":false,"orderID":"","errorMsg":""}"#.into(), OrderReply::Unknown),
            (format!(r#"{{"success":"true","orderID":"{id}"}}"#), OrderReply::Unknown),
            (format!(r#"{{"success":true,"orderID":"{}"}}"#, &id[..60]), OrderReply::Unknown),
            (format!(r#"{{"success":true,"orderID":"{id}""#), OrderReply::Unknown),
            ("[]".into(), OrderReply::Unknown),
            ("null".into(), OrderReply::Unknown),
            (String::new(), OrderReply::Unknown),
        ] {
            assert_eq!(order(200, &body), reply, "{body}");
        }
        assert_eq!(order(500, &format!(r#"{{"success":true,"orderID":"{id}"}}"#)), OrderReply::Unknown);
        let html = &mut b"<html>429</html>".to_vec();
        for status in [200, 403, 429, 503] {
            assert_eq!(ReplyParser::new().order(status, false, html), OrderReply::Unknown, "HTML with {status}");
        }
    }

    #[test]
    fn refusals_by_status_and_text() {
        use RejectReason::*;
        for (status, text, reason) in [
            (400, "Invalid order payload", Some(Other)),
            (400, "the order owner has to be the owner of the API KEY", Some(Auth)),
            (400, "the order signer address has to be the address of the API KEY", Some(Auth)),
            (400, "'0x12' address banned", Some(Forbidden)),
            (400, "'0x12' address in closed only mode", Some(Forbidden)),
            (400, "order 0x1 is invalid. Price (0.515) breaks minimum tick size rule: 0.01", Some(TickSize)),
            (400, "order 0x1 is invalid. Size (4) lower than the minimum: 5", Some(MinSize)),
            (400, "invalid amount for a marketable BUY order ($0.5), min size: $1", Some(MinSize)),
            (400, "order 0x1 is invalid. Duplicated.", Some(Duplicate)),
            (400, "order 0x1 already exists", Some(Duplicate)),
            (400, "invalid post-only order: order crosses book", Some(Crosses)),
            (400, "order 0x1 crosses the book", Some(Crosses)),
            (400, "not enough balance / allowance", Some(Balance)),
            (400, "invalid expiration", Some(Expiration)),
            (408, "Request Timeout", None),
            (400, "order_version_mismatch", Some(Version)),
            (400, "order couldn't be fully filled. FOK orders are fully filled or killed.", Some(NotFilled)),
            (
                400,
                "no orders found to match with FAK order. FAK orders are partially filled or killed if no match is found.",
                Some(NotFilled),
            ),
            (400, "order match delayed due to market conditions", None),
            (400, "the market is not yet ready to process new orders", Some(MarketClosed)),
            (400, "the orderbook 123 does not exist", Some(MarketClosed)),
            (401, "Unauthorized/Invalid api key", Some(Auth)),
            (403, "Trading restricted in your region", Some(Forbidden)),
            (425, "Too Early", Some(Restarting)),
            (429, "Rate limit exceeded for tokenId", Some(RateLimited)),
            (500, "could not insert order", None),
            (500, "order timed out", None),
            (500, "there are no matching orders", None),
            (500, "FOK orders are filled or killed", None),
            (500, "Internal server error", None),
            (502, "not enough balance", None),
            (503, "Trading is currently disabled. Check polymarket.com for updates", Some(Disabled)),
            (
                503,
                "Trading is currently cancel-only. New orders are not accepted, but cancels are allowed.",
                Some(CancelOnly),
            ),
            (503, "post-only mode: only post-only orders and cancels are allowed", Some(PostOnlyMode)),
            (503, "upstream", None),
        ] {
            let expected = reason.map_or(OrderReply::Unknown, OrderReply::Rejected);
            assert_eq!(order(status, &format!(r#"{{"error":"{text}"}}"#)), expected, "{status} {text}");
        }
        let coded = r#"{"error":"wait","code":"post_only_mode","retry_after_seconds":3}"#;
        assert_eq!(order(503, coded), OrderReply::Rejected(PostOnlyMode));
        let mut parser = ReplyParser::new();
        parser.order(503, true, &mut coded.as_bytes().to_vec());
        assert_eq!(parser.retry_after_s(), Some(3));
        parser.orders(503, true, &mut b"{}".to_vec(), 2, &mut |_, _| ());
        assert_eq!(parser.retry_after_s(), None);
    }

    #[test]
    fn a_batch_is_answered_leg_by_leg_or_not_at_all() {
        let orders = |status, body: &str, count| {
            let mut replies = Vec::new();
            ReplyParser::new().orders(status, true, &mut body.as_bytes().to_vec(), count, &mut |leg, reply| {
                assert_eq!(leg, replies.len());
                replies.push(reply);
            });
            replies
        };
        let good = format!(r#"{{"success":true,"errorMsg":"","orderID":"{ID}","status":"live"}}"#);
        let bad = r#"{"success":true,"errorMsg":"order 0x1 crosses the book","orderID":""}"#;
        let rejected = OrderReply::Rejected(RejectReason::Crosses);
        assert_eq!(orders(200, &format!("[{good},{bad}]"), 2), [accepted(AckStatus::Live), rejected]);
        assert_eq!(orders(200, &format!("[{good}]"), 2), [OrderReply::Unknown; 2]);
        assert_eq!(orders(200, &good, 2), [OrderReply::Unknown; 2]);
        assert_eq!(orders(400, r#"{"error":"Too many orders in payload: 16, max allowed: 15"}"#, 2).len(), 2);
        assert_eq!(orders(500, "", 3), [OrderReply::Unknown; 3]);
    }

    #[test]
    fn cancels_name_each_order_once() {
        let other = ID.replace("12", "34");
        let cancel = |status, body: &str| {
            let mut told = Vec::new();
            let mut sink = |order: OrderHash, refusal| told.push((order.to_string(), refusal));
            let clean = ReplyParser::new().cancel(status, true, &mut body.as_bytes().to_vec(), &mut sink);
            (clean, told)
        };
        let body = format!(r#"{{"canceled":["{ID}"],"not_canceled":{{"{other}":"Order already matched"}}}}"#);
        let told = vec![(ID.to_owned(), None), (other, Some(CancelRefusal::Matched))];
        assert_eq!(cancel(200, &body), (true, told));
        assert_eq!(cancel(200, r#"{"canceled":[],"not_canceled":{}}"#), (true, vec![]));
        assert_eq!(cancel(200, &format!(r#"{{"canceled":["{ID}","0x7"]}}"#)), (false, vec![]));
        assert_eq!(cancel(200, "{}"), (false, vec![]));
        assert_eq!(cancel(503, &body), (false, vec![]));
    }

    #[test]
    fn why_a_cancel_did_nothing() {
        for (text, refusal) in [
            ("Order not found or already canceled", CancelRefusal::Gone),
            ("already canceled or matched", CancelRefusal::Gone),
            ("Order already matched", CancelRefusal::Matched),
            ("cannot cancel because the order is in delayed status", CancelRefusal::Delayed),
            ("order is PENDING", CancelRefusal::Delayed),
            ("", CancelRefusal::Other),
        ] {
            assert_eq!(cancel_refusal(text.as_bytes()), refusal, "{text}");
        }
    }
}
