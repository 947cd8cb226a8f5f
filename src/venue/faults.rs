//! Misbehaviour on command: what a fault is, where and when it strikes, and how one is read from a file. Pure.
//!
//! A fault is one flat record: `what`, where it applies, when it strikes, and its parameters; [`TABLE`] says which
//! parameters belong to which `what`. [`Faults`] decides, given what happens and the time; `verdict` says what follows;
//! `misbehave` carries it out. The catalogue for people is docs/FAULTS.md.

use serde::{Deserialize, Serialize};

use super::{limits::Limits, verify::keccak};
use crate::types::{Nanos, TickSize, event::Payout};

/// Faults in force at one time; more are refused, so that the list stays bounded.
pub const FAULTS_MAX: usize = 256;

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
const fn common(class: Class) -> &'static [&'static str] {
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
    const fn as_str(self) -> &'static str {
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
    /// Its name for [`hits`](Faults::hits); made if left out.
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
const KEYS: &[&str] = &[
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

/// A faults file.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// For probabilities; the venue's own seed if left out.
    pub seed: Option<u64>,
    /// Per-signer limits.
    pub limits: Limits,
    /// In order.
    pub faults: Vec<Fault>,
}

impl Plan {
    /// Reads a TOML file's text. The error names line and key.
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Read {
            seed: Option<u64>,
            #[serde(default)]
            limits: Limits,
            #[serde(default, rename = "fault")]
            faults: Vec<toml::Spanned<Fault>>,
        }
        let read: Read = toml::from_str(text).map_err(|e| {
            let at = e.span().map_or(0, |s| s.start);
            format!("line {}: {}{}", line_of(text, at), e.message(), named(text, at))
        })?;
        if read.faults.len() > FAULTS_MAX {
            return Err(format!("line 1: fault: {} faults, at most {FAULTS_MAX}", read.faults.len()));
        }
        let mut ids = std::collections::BTreeSet::new();
        for spanned in &read.faults {
            let fault = spanned.get_ref();
            let at = spanned.span().start;
            fault
                .check()
                .map_err(|(key, wrong)| format!("line {}: key `{key}` {wrong}", line_of_key(text, at, key)))?;
            if fault.id.as_ref().is_some_and(|id| !ids.insert(id.clone())) {
                return Err(format!("line {}: key `id` is used twice", line_of_key(text, at, "id")));
            }
        }
        Ok(Self {
            seed: read.seed,
            limits: read.limits,
            faults: read.faults.into_iter().map(|s| s.into_inner()).collect(),
        })
    }
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count()
}

/// The key on the line of an error, where the message does not say it.
fn named(text: &str, at: usize) -> String {
    let line = text.lines().nth(line_of(text, at) - 1).unwrap_or_default();
    line.split_once('=').map_or_else(String::new, |(key, _)| format!(" (key `{}`)", key.trim()))
}

/// The line where a table that begins at `at` sets a key, or where the table begins.
fn line_of_key(text: &str, at: usize, key: &str) -> usize {
    let first = line_of(text, at);
    let sets = |l: &str| l.split_once('=').is_some_and(|(k, _)| k.trim() == key);
    let body = text.lines().enumerate().skip(first - 1);
    let own = body.take_while(|(n, l)| *n < first || !l.trim_start().starts_with('['));
    own.filter(|(_, l)| sets(l)).map(|(n, _)| n + 1).next().unwrap_or(first)
}

/// Something that happens and that a fault may strike.
#[derive(Clone, Debug, Default)]
pub struct Facts<'a> {
    /// `POST /order`.
    pub route: &'a str,
    /// Which channel, and which socket of it.
    pub socket: Option<(Line, u32)>,
    /// `event_type`.
    pub event: &'a str,
    /// `status`.
    pub status: &'a str,
    /// Every name of the accounts, markets and tokens concerned, in lower case.
    pub names: &'a [String],
    /// The first frames after a subscription.
    pub snapshot: bool,
}

fn route_matches(pattern: &str, route: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(head) => route.starts_with(head),
        None => pattern == route,
    }
}

impl Fault {
    fn concerns(&self, f: &Facts<'_>) -> bool {
        let row = self.what.row();
        let named = |name: &Option<String>| name.as_ref().is_none_or(|n| f.names.contains(&n.to_lowercase()));
        let here = match (row.class, &self.route, f.socket) {
            (Class::Request, Some(own), _) => route_matches(own, f.route),
            (Class::Request, None, _) => row.places.iter().any(|p| route_matches(p, f.route)),
            (Class::Frame | Class::Socket, _, Some((line, n))) => {
                let right = self.channel.map_or_else(|| row.places.contains(&line.as_str()), |own| own == line);
                right && self.connection.is_none_or(|own| own == n)
            }
            (Class::Frame | Class::Socket, _, None) => false,
            (Class::Trade | Class::State | Class::Act, ..) => true,
        };
        here && named(&self.account)
            && named(&self.market)
            && named(&self.token)
            && self.event.as_ref().is_none_or(|e| e == f.event)
            && self.status.as_ref().is_none_or(|s| s == f.status)
            && (self.what != What::NoSnapshot || f.snapshot)
    }
}

/// A fault in force.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// As it was added.
    #[serde(flatten)]
    pub fault: Fault,
    /// Its id, given or made.
    #[serde(skip)]
    pub id: String,
    /// How often it could have struck.
    pub matched: u64,
    /// How often it has.
    pub hits: u64,
    /// When it was first looked at.
    #[serde(skip)]
    pub since: Option<Nanos>,
}

impl Entry {
    fn begins(&self) -> Option<Nanos> {
        self.since.map(|s| s.plus(ms(self.fault.after_ms.unwrap_or(0))))
    }

    fn ends(&self) -> Option<Nanos> {
        self.begins().zip(self.fault.for_ms).map(|(b, d)| b.plus(ms(d)))
    }

    /// When it ends, `None` if never.
    pub fn end(&self) -> Option<Nanos> {
        self.ends()
    }

    fn is_on(&self, now: Nanos) -> bool {
        self.begins().is_some_and(|b| now >= b) && self.ends().is_none_or(|e| now < e)
    }

    /// True if it strikes this match.
    fn strikes(&mut self, seed: u64) -> bool {
        self.matched += 1;
        let most = self.fault.count.unwrap_or(if self.fault.nth.is_some() { 1 } else { u64::MAX });
        let struck = self.matched >= self.fault.nth.unwrap_or(1)
            && self.hits < most
            && self.fault.probability.is_none_or(|p| draw(seed, &self.id, self.matched) < p);
        self.hits += u64::from(struck);
        struck
    }
}

fn ms(n: u64) -> u64 {
    n.saturating_mul(1_000_000)
}

/// A number from 0 to 1, the same for a seed, a fault and a match.
fn draw(seed: u64, id: &str, n: u64) -> f64 {
    let h = keccak(&[b"fault", &seed.to_be_bytes(), id.as_bytes(), &n.to_be_bytes()]);
    let top = u64::from_be_bytes([h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]]);
    (top >> 11) as f64 / (1_u64 << 53) as f64
}

/// Every fault in force, with its counters.
#[derive(Debug, Default)]
pub struct Faults {
    entries: Vec<Entry>,
    seed: u64,
    made: u64,
}

impl Faults {
    /// None, with a seed for probabilities.
    pub const fn new(seed: u64) -> Self {
        Self { entries: Vec::new(), seed, made: 0 }
    }

    /// Adds one and returns its id. The error is the key and what is wrong.
    pub fn add(&mut self, fault: Fault) -> Result<String, (&'static str, String)> {
        fault.check()?;
        if self.entries.len() >= FAULTS_MAX {
            return Err(("what", format!("cannot be added: {FAULTS_MAX} faults are in force")));
        }
        self.made += 1;
        let id = fault.id.clone().unwrap_or_else(|| format!("{}-{}", fault.what.name(), self.made));
        if self.entries.iter().any(|e| e.id == id) {
            return Err(("id", format!("`{id}` is in force already")));
        }
        self.entries.push(Entry {
            fault: Fault { id: Some(id.clone()), ..fault },
            id: id.clone(),
            matched: 0,
            hits: 0,
            since: None,
        });
        Ok(id)
    }

    /// Ends all, and says how many there were.
    pub fn clear(&mut self) -> usize {
        std::mem::take(&mut self.entries).len()
    }

    /// How often a fault has struck; `None` for an unknown one.
    pub fn hits(&self, id: &str) -> Option<u64> {
        self.entries.iter().find(|e| e.id == id).map(|e| e.hits)
    }

    /// All, in the order in which they were added.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Starts the clocks of what was added since the last look.
    pub fn look(&mut self, now: Nanos) {
        self.entries.iter_mut().filter(|e| e.since.is_none()).for_each(|e| e.since = Some(now));
    }

    /// When something begins or ends next.
    pub fn next_due(&self, now: Nanos) -> Option<Nanos> {
        self.entries.iter().flat_map(|e| [e.begins(), e.ends()]).flatten().filter(|at| *at > now).min()
    }

    /// What happens at once: acts whose time has come, each once.
    pub fn acts(&mut self, now: Nanos) -> Vec<Fault> {
        self.look(now);
        let mut due = Vec::new();
        for e in &mut self.entries {
            let at_once = match e.fault.what.row().class {
                Class::Act => true,
                Class::Socket => e.fault.nth.is_none() && e.fault.for_ms.is_none(),
                _ => false,
            };
            if at_once && e.matched == 0 && e.begins().is_some_and(|b| now >= b) {
                e.matched = 1;
                due.push(e.fault.clone());
                // A socket's hits are counted as sockets are cut.
                e.hits += u64::from(e.fault.what.row().class == Class::Act);
            }
        }
        due
    }

    /// Counts what an act hit.
    pub fn count(&mut self, id: &str, hits: u64) {
        self.entries.iter_mut().filter(|e| e.id == id).for_each(|e| e.hits += hits);
    }

    /// The first fault of a request that strikes.
    pub fn on_request(&mut self, facts: &Facts<'_>, now: Nanos) -> Option<Fault> {
        self.struck(Class::Request, facts, now).next()
    }

    /// The faults that strike a frame to one socket, each with its end.
    pub fn on_frame(&mut self, facts: &Facts<'_>, now: Nanos) -> Vec<(Fault, Option<Nanos>)> {
        self.look(now);
        let seed = self.seed;
        let all = self.entries.iter_mut().filter(|e| {
            let class = e.fault.what.row().class;
            let by_frame = class == Class::Frame
                || (class == Class::Socket && (e.fault.nth.is_some() || e.fault.for_ms.is_some()));
            by_frame && e.is_on(now) && e.fault.concerns(facts)
        });
        all.filter_map(|e| e.strikes(seed).then(|| (e.fault.clone(), e.ends()))).collect()
    }

    /// The fault that decides about a trade.
    pub fn on_trade(&mut self, facts: &Facts<'_>, now: Nanos) -> Option<Fault> {
        self.struck(Class::Trade, facts, now).next()
    }

    /// True while a state of this kind lasts for any of these names.
    pub fn lasts(&self, what: What, names: &[String], now: Nanos) -> bool {
        let facts = Facts { names, ..Facts::default() };
        self.entries.iter().any(|e| e.fault.what == what && e.is_on(now) && e.fault.concerns(&facts))
    }

    fn struck(&mut self, class: Class, facts: &Facts<'_>, now: Nanos) -> impl Iterator<Item = Fault> {
        self.look(now);
        let seed = self.seed;
        self.entries
            .iter_mut()
            .filter(move |e| e.fault.what.row().class == class && e.is_on(now) && e.fault.concerns(facts))
            .filter_map(move |e| e.strikes(seed).then(|| e.fault.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Nanos {
        Nanos(seconds * 1_000_000_000)
    }

    fn post() -> Facts<'static> {
        Facts { route: "POST /order", ..Facts::default() }
    }

    fn pattern(fault: Fault, seed: u64, n: usize) -> Vec<bool> {
        let mut all = Faults::new(seed);
        all.add(fault).unwrap();
        (0..n).map(|_| all.on_request(&post(), s(1)).is_some()).collect()
    }

    #[test]
    fn every_fault_has_one_row_and_a_name_in_the_catalogue() {
        let catalogue = include_str!("../../docs/FAULTS.md");
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

    #[test]
    fn when_a_fault_strikes() {
        let slow = Fault { ms: Some(5), ..Fault::new(What::Slow) };
        for (fault, wanted) in [
            (slow.clone(), [true, true, true, true]),
            (Fault { nth: Some(3), ..slow.clone() }, [false, false, true, false]),
            (Fault { count: Some(2), ..slow.clone() }, [true, true, false, false]),
            (Fault { nth: Some(2), count: Some(2), ..slow.clone() }, [false, true, true, false]),
            (Fault { probability: Some(0.0), ..slow.clone() }, [false; 4]),
            (Fault { probability: Some(1.0), ..slow.clone() }, [true; 4]),
            (Fault { route: Some("POST /orders".into()), ..slow.clone() }, [false; 4]),
            (Fault { route: Some("POST /o*".into()), ..slow.clone() }, [true; 4]),
            (Fault { account: Some("0xAB".into()), ..slow.clone() }, [false; 4]),
        ] {
            assert_eq!(pattern(fault.clone(), 1, 4), wanted, "{fault:?}");
        }
        let half = Fault { probability: Some(0.5), ..slow };
        let of = |seed| pattern(half.clone(), seed, 1_000);
        assert_eq!(of(7), of(7), "a seed repeats itself");
        assert_ne!(of(7), of(8));
        let hits = of(7).iter().filter(|h| **h).count();
        assert!((400..600).contains(&hits), "{hits}");
    }

    #[test]
    fn a_window_begins_and_ends_and_an_act_is_done_once() {
        let mut all = Faults::new(1);
        let id = all
            .add(Fault { ms: Some(1), after_ms: Some(1_000), for_ms: Some(2_000), ..Fault::new(What::Slow) })
            .unwrap();
        all.look(s(10));
        assert_eq!(all.next_due(s(10)), Some(s(11)));
        let struck: Vec<_> = (10..15).map(|t| all.on_request(&post(), s(t)).is_some()).collect();
        assert_eq!(struck, [false, true, true, false, false]);
        assert_eq!(all.hits(&id), Some(2));
        let act = all.add(Fault { after_ms: Some(1_000), ..Fault::new(What::BookClear) }).unwrap();
        let due: Vec<_> = (20..24).map(|t| all.acts(s(t)).len()).collect();
        assert_eq!((due, all.hits(&act)), (vec![0, 1, 0, 0], Some(1)));
        assert_eq!(all.clear(), 2);
        assert_eq!(all.hits(&act), None);
    }

    #[test]
    fn sockets_are_told_apart() {
        let mut all = Faults::new(1);
        let freeze = Fault { connection: Some(2), token: Some("17".into()), ..Fault::new(What::Freeze) };
        all.add(freeze).unwrap();
        let mut frozen = |line, n, names: &[&str]| {
            let names: Vec<_> = names.iter().map(|n| (*n).to_owned()).collect();
            !all.on_frame(&Facts { socket: Some((line, n)), names: &names, ..Facts::default() }, s(1)).is_empty()
        };
        assert!(frozen(Line::Market, 2, &["17", "18"]));
        assert!(
            !frozen(Line::Market, 1, &["17"]) && !frozen(Line::User, 2, &["17"]) && !frozen(Line::Market, 2, &["18"])
        );
    }

    #[test]
    fn a_file_is_read_and_a_bad_one_is_refused_by_line_and_key() {
        let good = "seed = 3\n[limits]\ntier = \"standard\"\nenforce = true\n\n[[fault]]\nwhat = \"stall_after_accept\"\n\
                    route = \"POST /order\"\nnth = 2\nms = 500\n";
        let plan = Plan::parse(good).unwrap();
        assert_eq!((plan.seed, plan.faults.len(), plan.faults[0].ms), (Some(3), 1, Some(500)));
        for (text, line, word) in [
            ("[[fault]]\nwhat = \"stal\"\n", 2, "stal"),
            ("[[fault]]\nwhat = \"slow\"\n\n", 1, "`ms`"),
            ("\n[[fault]]\nwhat = \"slow\"\nms = 3\ntick = \"0.01\"\n", 5, "`tick`"),
            (
                "[[fault]]\nwhat = \"slow\"\nms = 3\n[[fault]]\nwhat = \"slow\"\nms = 1\nprobability = 2.0\n",
                7,
                "`probability`",
            ),
            ("[[fault]]\nwhat = \"slow\"\nms = -3\n", 3, "ms"),
            ("[[fault]]\nwhat = \"slow\"\nmz = 3\n", 3, "mz"),
            ("seeds = 1\n", 1, "seeds"),
            ("[limits]\ntier = \"tin\"\n", 2, "tin"),
            ("[[fault]]\nwhat = \"tick_size\"\ntick = \"0.03\"\n", 3, "`tick`"),
            ("[[fault]]\nwhat = \"disconnect\"\nkind = \"mined\"\n", 3, "`kind`"),
            ("[[fault]]\nwhat = \"html\"\nhttp_status = 99\n", 3, "`http_status`"),
            ("[[fault]]\nid = \"a\"\nwhat = \"close\"\n[[fault]]\nid = \"a\"\nwhat = \"close\"\n", 5, "`id`"),
            ("[[fault]\n", 1, ""),
        ] {
            let said = Plan::parse(text).unwrap_err();
            assert!(said.starts_with(&format!("line {line}:")) && said.contains(word), "{text:?}: {said}");
        }
    }
}
