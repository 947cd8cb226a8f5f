//! Every fault by name: what it is about, where it applies, which parameters it needs and takes.

use serde::{Deserialize, Serialize};

/// What goes wrong. Each is described in docs/FAULTS.md.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    StallAfterAccept,
    StallBeforeAccept,
    DelayedAccept,
    Reset,
    Close,
    TooEarly,
    RateLimited,
    Error,
    Html,
    Empty,
    Garbled,
    Gzip,
    SuccessWithError,
    BatchReversed,
    OrderStatus,
    VersionMismatch,
    Unauthorized,
    BalanceStuck,
    Duplicated,
    CancelRefused,
    CancelPartial,
    Slow,
    HeartbeatRefused,
    PageShort,
    PageTorn,
    CursorLoop,
    ForgetFinished,
    BalanceWrong,
    Geoblock,
    ClosedOnly,
    Duplicate,
    HoldBack,
    Drop,
    Freeze,
    NoSnapshot,
    Pause,
    Lag,
    Lie,
    OneByte,
    Fragment,
    Disconnect,
    TradeFailed,
    WinnersFailed,
    TradeStuck,
    BalanceStale,
    DataStale,
    AcceptingStays,
    Mode,
    Restart,
    HeartbeatExpiry,
    TickSize,
    BookClear,
    StartMoved,
    Resolve,
}

/// What a fault is about, and so who asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A REST request: the first that strikes decides.
    Request,
    /// A frame to one socket: all that strike apply.
    Frame,
    /// Every socket that is there when it begins, or with `nth` the one whose frame is the nth.
    Socket,
    /// A trade at the moment of its match.
    Trade,
    /// A state that lasts as long as the fault.
    State,
    /// Done once, when it begins.
    Act,
}

/// One line of [`TABLE`].
pub struct Row {
    /// Which fault.
    pub what: What,
    /// What it is about.
    pub class: Class,
    /// Where it applies when it does not say: routes, or the channel's name.
    pub places: &'static [&'static str],
    /// Parameters that it must have.
    pub needs: &'static [&'static str],
    /// Parameters that it may have.
    pub takes: &'static [&'static str],
}

const POSTS: &[&str] = &["POST /order*"];
const CANCELS: &[&str] = &["DELETE /order*", "DELETE /cancel*"];
const PAGES: &[&str] = &["GET /data/orders", "GET /data/trades"];
const ACCEPTED: &[&str] = &["accepted"];
const BODY: &[&str] = &["http_status", "accepted"];

const fn row(
    what: What,
    class: Class,
    places: &'static [&'static str],
    needs: &'static [&'static str],
    takes: &'static [&'static str],
) -> Row {
    Row { what, class, places, needs, takes }
}

/// Every fault, with what it needs and takes.
pub const TABLE: &[Row] = &[
    row(What::StallAfterAccept, Class::Request, POSTS, &[], &["ms"]),
    row(What::StallBeforeAccept, Class::Request, POSTS, &[], &[]),
    row(What::DelayedAccept, Class::Request, POSTS, &["ms"], &[]),
    row(What::Reset, Class::Request, POSTS, &[], &["bytes", "accepted"]),
    row(What::Close, Class::Request, POSTS, &[], ACCEPTED),
    row(What::TooEarly, Class::Request, &["POST /order*", "DELETE /order*", "DELETE /cancel*"], &[], &["text"]),
    row(What::RateLimited, Class::Request, POSTS, &[], &["retry_after", "text"]),
    row(What::Error, Class::Request, POSTS, &["http_status"], &["text", "retry_after", "accepted"]),
    row(What::Html, Class::Request, POSTS, &[], BODY),
    row(What::Empty, Class::Request, POSTS, &[], BODY),
    row(What::Garbled, Class::Request, POSTS, &[], BODY),
    row(What::Gzip, Class::Request, POSTS, &[], BODY),
    row(What::SuccessWithError, Class::Request, POSTS, &[], &["text"]),
    row(What::BatchReversed, Class::Request, &["POST /orders"], &[], &[]),
    row(What::OrderStatus, Class::Request, POSTS, &["text"], &[]),
    row(What::VersionMismatch, Class::Request, POSTS, &[], &[]),
    row(What::Unauthorized, Class::Request, POSTS, &[], &[]),
    row(What::BalanceStuck, Class::Request, POSTS, &[], &[]),
    row(What::Duplicated, Class::Request, POSTS, &[], ACCEPTED),
    row(What::CancelRefused, Class::Request, CANCELS, &[], &["text"]),
    row(What::CancelPartial, Class::Request, &["DELETE /cancel*", "DELETE /orders"], &[], &["n", "text"]),
    row(What::Slow, Class::Request, &["*"], &["ms"], &[]),
    row(What::HeartbeatRefused, Class::Request, &["POST /v1/heartbeats"], &[], &[]),
    row(What::PageShort, Class::Request, PAGES, &[], &["n"]),
    row(What::PageTorn, Class::Request, PAGES, &[], &["bytes"]),
    row(What::CursorLoop, Class::Request, PAGES, &[], &[]),
    row(What::ForgetFinished, Class::Request, &["GET /data/order/*"], &[], &[]),
    row(What::BalanceWrong, Class::Request, &["GET /balance-allowance"], &["n"], &[]),
    row(What::Geoblock, Class::Request, &["GET /api/geoblock", "POST /order*"], &[], &["text"]),
    row(What::ClosedOnly, Class::Request, &["GET /auth/ban-status/closed-only", "POST /order*"], &[], &[]),
    row(What::Duplicate, Class::Frame, &["user"], &[], &["ms"]),
    row(What::HoldBack, Class::Frame, &["user"], &[], &["n", "ms"]),
    row(What::Drop, Class::Frame, &["user"], &[], &[]),
    row(What::Freeze, Class::Frame, &["market"], &[], &[]),
    row(What::NoSnapshot, Class::Frame, &["market"], &[], &[]),
    row(What::Pause, Class::Frame, &["market"], &["for_ms"], &[]),
    row(What::Lag, Class::Frame, &["market"], &["ms"], &[]),
    row(What::Lie, Class::Frame, &["market"], &[], &["n", "times"]),
    row(What::OneByte, Class::Frame, &["market"], &[], &[]),
    row(What::Fragment, Class::Frame, &["market"], &[], &["n"]),
    row(What::Disconnect, Class::Socket, &["market"], &["kind"], &[]),
    row(What::TradeFailed, Class::Trade, &[], &[], &["kind", "retrying"]),
    row(What::WinnersFailed, Class::Trade, &[], &["account"], &["kind", "retrying"]),
    row(What::TradeStuck, Class::Trade, &[], &[], &[]),
    row(What::BalanceStale, Class::State, &[], &[], &[]),
    row(What::DataStale, Class::State, &[], &[], &[]),
    row(What::AcceptingStays, Class::State, &[], &[], &[]),
    row(What::Mode, Class::Act, &[], &["mode"], &["ms"]),
    row(What::Restart, Class::Act, &[], &["ms"], &["post_only_ms"]),
    row(What::HeartbeatExpiry, Class::Act, &[], &[], &["account"]),
    row(What::TickSize, Class::Act, &[], &["tick"], &["market"]),
    row(What::BookClear, Class::Act, &[], &[], &["market"]),
    row(What::StartMoved, Class::Act, &[], &["n"], &["market"]),
    row(What::Resolve, Class::Act, &[], &["payout"], &["market", "silent"]),
];

/// Where and when, by class: the keys that every fault of it may have.
pub(super) const fn common(class: Class) -> &'static [&'static str] {
    match class {
        Class::Request => &["route", "account", "nth", "count", "probability", "after_ms", "for_ms"],
        Class::Frame | Class::Socket => &[
            "channel",
            "connection",
            "account",
            "market",
            "token",
            "event",
            "status",
            "nth",
            "count",
            "probability",
            "after_ms",
            "for_ms",
        ],
        Class::Trade => &["account", "market", "nth", "count", "probability", "after_ms", "for_ms"],
        Class::State => &["market", "after_ms", "for_ms"],
        Class::Act => &["after_ms"],
    }
}

impl What {
    /// Its line of the table.
    pub fn row(self) -> &'static Row {
        // The test below holds the table to one line for each.
        TABLE.iter().find(|r| r.what == self).unwrap_or(&TABLE[0])
    }

    /// Its name in files and in docs/FAULTS.md.
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::record::KEYS, *};

    #[test]
    fn every_fault_has_one_row_and_a_name_in_the_catalogue() {
        let catalogue = include_str!("../../../docs/FAULTS.md");
        for r in TABLE {
            assert_eq!(TABLE.iter().filter(|o| o.what == r.what).count(), 1, "{:?}", r.what);
            assert!(catalogue.contains(&format!("| `{}` |", r.what.name())), "{:?} is not in docs/FAULTS.md", r.what);
            for key in r.needs.iter().chain(r.takes).chain(common(r.class)) {
                assert!(KEYS.contains(key), "{key}");
            }
        }
        let last = What::Resolve as usize;
        assert_eq!(TABLE.len(), last + 1, "a row for each");
    }
}
