//! One fault as it is written down: its keys, the words that some of them take, and whether they can be.

use serde::{Deserialize, Serialize};

use super::catalogue::{Class, What, common};
use crate::types::{TickSize, event::Payout};

/// A channel by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// `/ws/market`.
    Market,
    /// `/ws/user`.
    User,
    /// `/ws/sports`.
    Sports,
}

impl Line {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Market => "market",
            Self::User => "user",
            Self::Sports => "sports",
        }
    }
}

/// `mode` of [`What::Mode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModeName {
    /// Everything goes.
    Normal,
    /// Post-only orders and cancels.
    PostOnly,
    /// Cancels.
    CancelOnly,
    /// Nothing.
    Disabled,
    /// 425.
    Restarting,
}

/// `kind` of [`What::Disconnect`], [`What::TradeFailed`] and [`What::WinnersFailed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Close frame 1000.
    Clean,
    /// Close frame 1011.
    Internal,
    /// End of the stream without a close frame.
    Abrupt,
    /// RST between frames.
    Reset,
    /// RST in the middle of a frame.
    MidFrame,
    /// A trade fails after MATCHED.
    Matched,
    /// A trade fails after MINED.
    Mined,
}

/// `payout` of [`What::Resolve`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayoutName {
    /// The first outcome.
    Yes,
    /// The second outcome.
    No,
    /// 50-50.
    Half,
}

impl From<PayoutName> for Payout {
    fn from(p: PayoutName) -> Self {
        match p {
            PayoutName::Yes => Self::Yes,
            PayoutName::No => Self::No,
            PayoutName::Half => Self::Half,
        }
    }
}

/// One fault. Every key but `what` may be left out; which may be there at all is told by [`TABLE`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What goes wrong.
    pub what: What,
    /// Its name for [`hits`](super::Faults::hits); made if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Method and path; a `*` at the end stands for any rest, `*` alone for everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// API key, owner's address or funder's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Slug or condition id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub market: Option<String>,
    /// Token id, decimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Which channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<Line>,
    /// Which socket of the channel, counted from 1 since the venue started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<u32>,
    /// `event_type` of the frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// `status` of the frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Strikes from the nth match on, counted from 1; with it, `count` is 1 unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nth: Option<u64>,
    /// Strikes at most so often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Strikes with this probability, drawn from the seed: 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Begins so many milliseconds of wall time after it was added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u64>,
    /// Ends so many milliseconds after it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    /// Milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    /// Milliseconds of the post-only window after a restart; 120 000 if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_only_ms: Option<u64>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<usize>,
    /// A number; what it counts is told by `what`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<i64>,
    /// A factor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// Status of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// Words of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// `Retry-After`, as it is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<String>,
    /// True: the request is carried out all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<bool>,
    /// Which kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// RETRYING is told before FAILED.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retrying: Option<bool>,
    /// Which mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<ModeName>,
    /// New tick.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tick: Option<String>,
    /// Who wins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payout: Option<PayoutName>,
    /// Without the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent: Option<bool>,
}

impl Fault {
    /// A fault of this kind with nothing said.
    pub const fn new(what: What) -> Self {
        Self {
            what,
            id: None,
            route: None,
            account: None,
            market: None,
            token: None,
            channel: None,
            connection: None,
            event: None,
            status: None,
            nth: None,
            count: None,
            probability: None,
            after_ms: None,
            for_ms: None,
            ms: None,
            post_only_ms: None,
            bytes: None,
            n: None,
            times: None,
            http_status: None,
            text: None,
            retry_after: None,
            accepted: None,
            kind: None,
            retrying: None,
            mode: None,
            tick: None,
            payout: None,
            silent: None,
        }
    }

    /// Checks it: every key belongs to its `what`, every value can be. The error is the key and what is wrong.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let row = self.what.row();
        let given = serde_json::to_value(self).unwrap_or_default();
        let has = |key: &str| given.get(key).is_some();
        for key in KEYS.iter().filter(|k| has(k)) {
            if ![common(row.class), row.needs, row.takes].iter().any(|known| known.contains(key)) {
                return Err((key, format!("is no key of `{}`", self.what.name())));
            }
        }
        if let Some(key) = row.needs.iter().find(|k| !has(k)) {
            return Err((key, format!("is missing: `{}` needs it", self.what.name())));
        }
        if self.probability.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
            return Err(("probability", "must lie from 0 to 1".into()));
        }
        if self.nth == Some(0) {
            return Err(("nth", "is counted from 1".into()));
        }
        if self.connection == Some(0) {
            return Err(("connection", "is counted from 1".into()));
        }
        if self.http_status.is_some_and(|s| !(200..=599).contains(&s)) {
            return Err(("http_status", "must lie from 200 to 599".into()));
        }
        if self.retry_after.as_ref().is_some_and(|t| !t.bytes().all(|b| (b' '..=b'~').contains(&b))) {
            return Err(("retry_after", "must be printable ASCII".into()));
        }
        if self.tick.as_ref().is_some_and(|t| TickSize::parse(t.as_bytes()).is_none()) {
            return Err(("tick", "is no tick size: 0.1, 0.01, 0.005, 0.0025, 0.001 or 0.0001".into()));
        }
        if self.route.as_ref().is_some_and(|r| r != "*" && !r.contains(" /")) {
            return Err(("route", "is a method and a path, such as \"POST /order\", or \"*\"".into()));
        }
        if matches!(self.what, What::CancelPartial | What::PageShort) && self.n.is_some_and(|n| n < 0) {
            return Err(("n", "must not be negative".into()));
        }
        let of_socket = |k| matches!(k, Kind::Clean | Kind::Internal | Kind::Abrupt | Kind::Reset | Kind::MidFrame);
        if self.kind.is_some_and(|k| of_socket(k) != (row.class == Class::Socket)) {
            return Err(("kind", format!("is none of `{}`", self.what.name())));
        }
        Ok(())
    }
}

/// Keys whose presence depends on `what`.
pub(super) const KEYS: &[&str] = &[
    "route",
    "account",
    "market",
    "token",
    "channel",
    "connection",
    "event",
    "status",
    "nth",
    "count",
    "probability",
    "after_ms",
    "for_ms",
    "ms",
    "post_only_ms",
    "bytes",
    "n",
    "times",
    "http_status",
    "text",
    "retry_after",
    "accepted",
    "kind",
    "retrying",
    "mode",
    "tick",
    "payout",
    "silent",
];
