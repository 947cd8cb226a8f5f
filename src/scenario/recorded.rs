//! Recorded: the market channel of another day, played again in its own rhythm.
//!
//! It places no orders. The venue passes each message on to its subscribers as it is; the markets are made from the ids
//! found in the messages. Two forms are read: JSON lines of market-channel messages, and the poller's capture of
//! [`capture`](super::capture). Both may be gzipped.

use std::{collections::HashMap, io::Read, path::Path};

use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use sha2::{Digest, Sha256};

use super::{Books, Command, Scenario, Setup, SimTime, capture, lol_bo3::is_v1};
use crate::types::{
    MarketSpec, Qty, TickSize,
    fees::FeeSchedule,
    ids::{ConditionId, TokenId},
    market::{Exchange, MarketKind},
    price::Price,
};

/// Recordings larger than this, unpacked, are refused: they would not fit in memory beside the rest.
const BYTES_MAX: u64 = 1 << 30;

/// Markets of one recording; an instrument's index has 16 bits.
const MARKETS_MAX: usize = 1 << 15;

/// Scenario time after the last message before the end.
const AFTER_LAST: SimTime = SimTime(1_000_000_000);

/// A recording ready to be played.
pub struct Recorded {
    setup: Setup,
    messages: Vec<(SimTime, String)>,
    next: usize,
    finished: bool,
    skipped: Skipped,
}

/// Lines, or frames of a capture, that could not be played.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// How many.
    pub count: u64,
    /// The first of them: its number from 1 and what was wrong with it, such as `line 17: not JSON: …`.
    pub first: Option<String>,
}

impl Skipped {
    pub(super) fn add(&mut self, what: &str, number: u64, why: &str) {
        self.count += 1;
        self.first.get_or_insert_with(|| format!("{what} {number}: {why}"));
    }
}

impl Recorded {
    /// Reads a recording. Errors: unreadable, not gzip, too large, or nothing in it that can be played; the text says
    /// what.
    pub fn open(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let file = std::fs::File::open(path).map_err(|e| format!("cannot open recording `{name}`: {e}"))?;
        let bytes = unpack(file).map_err(|e| format!("cannot read recording `{name}`: {e}"))?;
        let stem = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let stem = stem.split('.').next().unwrap_or("recording");
        Self::from_bytes(stem, &bytes).map_err(|e| format!("recording `{name}`: {e}"))
    }

    /// Reads a recording from memory. `name`: what its markets are called if the recording does not say.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self, String> {
        if let Some(capture) = capture::read(bytes) {
            let capture::Played { messages, slug, outcomes, skipped } = capture?;
            let mut markets = markets_of(&messages);
            for market in &mut markets {
                (market.slug, market.outcomes) = (Some(slug.clone()), Some(outcomes.clone()));
            }
            return Self::build(&slug, markets, messages, skipped);
        }
        let (mut messages, mut skipped) = (Vec::new(), Skipped::default());
        for (n, line) in (1..).zip(bytes.split(|b| *b == b'\n')) {
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match read_line(line) {
                Ok(found) => messages.extend(found),
                Err(why) => skipped.add("line", n, &why),
            }
        }
        Self::build(name, markets_of(&messages), messages, skipped)
    }

    fn build(name: &str, markets: Vec<Found>, messages: Vec<Message>, skipped: Skipped) -> Result<Self, String> {
        if markets.len() > MARKETS_MAX {
            return Err(format!("{} markets; at most {MARKETS_MAX} can be played at once", markets.len()));
        }
        if markets.is_empty() {
            let why = skipped.first.as_deref().unwrap_or("no message that shows a market");
            return Err(format!("nothing in it can be played; {why}"));
        }
        let mut title = format!("{name}, recorded: {} messages of {} market(s)", messages.len(), markets.len());
        if let Some(first) = &skipped.first {
            title += &format!("; {} left out, the first {first}", skipped.count);
        }
        let alone = markets.len() == 1;
        let slug = |n: usize| if alone { name.to_owned() } else { format!("{name}-{n}") };
        let markets = markets.into_iter().zip(1..).map(|(found, n)| found.into_spec(slug(n))).collect();
        let setup = Setup { title, markets, matches: Vec::new(), traders: Vec::new() };
        Ok(Self { setup, messages: timed(messages), next: 0, finished: false, skipped })
    }

    /// What could not be played.
    pub const fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    /// Messages to be played.
    pub const fn len(&self) -> usize {
        self.messages.len()
    }

    /// True if there is nothing to play; an opened recording always has something.
    pub const fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}

impl Scenario for Recorded {
    fn setup(&self) -> Setup {
        self.setup.clone()
    }

    fn next_at(&self) -> Option<SimTime> {
        match self.messages.get(self.next) {
            Some((at, _)) => Some(*at),
            None if self.finished => None,
            None => self.messages.last().map(|(at, _)| SimTime(at.0.saturating_add(AFTER_LAST.0))),
        }
    }

    fn step(&mut self, now: SimTime, _books: &dyn Books, out: &mut Vec<Command>) {
        while let Some((at, text)) = self.messages.get_mut(self.next) {
            if *at > now {
                return;
            }
            out.push(Command::Replay(std::mem::take(text)));
            self.next += 1;
        }
        if !self.finished && self.next_at().is_none_or(|end| end <= now) {
            self.finished = true;
            out.push(Command::Finished);
        }
    }
}

/// A message of the market channel and when it came, in Unix milliseconds.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// When.
    pub at_ms: u64,
    /// True if `at_ms` is when it was received and not what it says of itself.
    pub received: bool,
    /// The message, read.
    pub body: Value,
    /// The message, as it came.
    pub raw: String,
}

impl Message {
    fn text(&self, key: &str) -> Option<&str> {
        self.body.get(key).and_then(Value::as_str)
    }

    fn is_book(&self) -> bool {
        self.text("event_type") == Some("book")
    }
}

/// Reads a file to its end, through gzip if it begins like gzip.
fn unpack(mut file: impl Read) -> Result<Vec<u8>, String> {
    let mut head = Vec::new();
    file.by_ref().take(2).read_to_end(&mut head).map_err(|e| e.to_string())?;
    let zipped = head == [0x1f, 0x8b];
    let whole = std::io::Cursor::new(head).chain(file);
    let mut bytes = Vec::new();
    let read = if zipped { gunzip(whole, &mut bytes)? } else { whole.take(BYTES_MAX + 1).read_to_end(&mut bytes) };
    read.map_err(|e| e.to_string())?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(format!("larger than {BYTES_MAX} bytes unpacked"));
    }
    Ok(bytes)
}

#[cfg(feature = "tools")]
fn gunzip(zipped: impl Read, bytes: &mut Vec<u8>) -> Result<std::io::Result<usize>, String> {
    Ok(flate2::read::MultiGzDecoder::new(zipped).take(BYTES_MAX + 1).read_to_end(bytes))
}

#[cfg(not(feature = "tools"))]
fn gunzip(_zipped: impl Read, _bytes: &mut Vec<u8>) -> Result<std::io::Result<usize>, String> {
    Err("gzipped, and this build has no gzip: build with feature `tools`, or unpack it first".to_owned())
}

/// A message with a time of its own around it.
#[derive(Deserialize)]
struct Wrapped<'a> {
    t: Value,
    #[serde(borrow)]
    message: &'a RawValue,
}

/// Reads one line: a message, an array of messages, or `{"t":…,"message":…}` around either.
fn read_line(line: &[u8]) -> Result<Vec<Message>, String> {
    let raw: &RawValue = serde_json::from_slice(line).map_err(|e| format!("not JSON: {e}"))?;
    // An array of two would be read as the two fields.
    let wrapped = raw.get().starts_with('{').then(|| serde_json::from_str::<Wrapped<'_>>(raw.get()));
    let (outer, raw) = match wrapped {
        Some(Ok(Wrapped { t, message })) => (Some(time_ms(&t).ok_or_else(|| format!("`t` is no time: {t}"))?), message),
        _ => (None, raw),
    };
    match serde_json::from_str::<Vec<&RawValue>>(raw.get()) {
        Ok(several) => several.into_iter().map(|one| read_message(outer, one)).collect(),
        Err(_) => Ok(vec![read_message(outer, raw)?]),
    }
}

fn read_message(outer: Option<u64>, raw: &RawValue) -> Result<Message, String> {
    let body: Value = serde_json::from_str(raw.get()).map_err(|e| format!("not JSON: {e}"))?;
    if body.get("event_type").and_then(Value::as_str).is_none() {
        return Err("no market-channel message: it has no `event_type`".to_owned());
    }
    let own = body.get("timestamp").and_then(time_ms);
    let at_ms = outer.or(own).ok_or("a message without a time")?;
    Ok(Message { at_ms, received: outer.is_some(), body, raw: raw.get().to_owned() })
}

/// A time in Unix milliseconds from a number, from digits in a string, or from ISO 8601 in UTC.
pub(super) fn time_ms(value: &Value) -> Option<u64> {
    let ms = match value {
        Value::Number(n) => n.as_u64().or_else(|| n.as_f64().filter(|f| *f >= 0.0).map(|f| f as u64)),
        Value::String(s) => s.parse().ok().or_else(|| iso_ms(s)),
        _ => None,
    };
    // Beyond the year 5000 it is another unit, and playing it would never end.
    ms.filter(|ms| *ms < 100_000_000_000_000)
}

/// `2026-02-06 06:16:24Z`, with `T` or a space, with or without a fraction, with or without `Z` or `+00:00`.
fn iso_ms(text: &str) -> Option<u64> {
    let text = text.trim().trim_end_matches('Z');
    let text = text.strip_suffix("+00:00").or_else(|| text.strip_suffix("+00")).unwrap_or(text);
    let (date, time) = text.split_once(['T', ' '])?;
    let mut ymd = date.splitn(3, '-').map(str::parse::<u64>);
    let (y, m, d) = (ymd.next()?.ok()?, ymd.next()?.ok()?, ymd.next()?.ok()?);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut hms = clock.splitn(3, ':').map(str::parse::<u64>);
    let (h, min, s) = (hms.next()?.ok()?, hms.next()?.ok()?, hms.next()?.ok()?);
    if !(1970..10_000).contains(&y) || !(1..=12).contains(&m) || !(1..=31).contains(&d) || h > 23 || min > 59 || s > 60
    {
        return None;
    }
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let millis = fraction.bytes().chain(*b"000").take(3).fold(0, |ms, b| ms * 10 + u64::from(b - b'0'));
    // Days since 1970 by counting years from March, so that the leap day is a year's last.
    let (year, month) = if m > 2 { (y, m - 3) } else { (y - 1, m + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + d - 1 - 719_468;
    Some((((days * 24 + h) * 60 + min) * 60 + s) * 1000 + millis)
}

/// Puts messages on scenario time: zero is the first, and time never goes back.
///
/// A snapshot tells the time of its book's last change, which may be hours ago; one without a time of receipt is
/// therefore played with whatever came next to it.
/// Source: docs/PROTOCOL.md "market channel".
fn timed(messages: Vec<Message>) -> Vec<(SimTime, String)> {
    let says_now = |m: &&Message| m.received || !m.is_book();
    let start = messages.iter().find(says_now).or(messages.first()).map_or(0, |m| m.at_ms);
    let mut now = start;
    let everything_is_books = !messages.iter().any(|m| says_now(&m));
    messages
        .into_iter()
        .map(|m| {
            if everything_is_books || m.received || !m.is_book() {
                now = now.max(m.at_ms);
            }
            (SimTime((now - start).saturating_mul(1_000_000)), m.raw)
        })
        .collect()
}

/// One market as far as a recording shows it.
#[derive(Default)]
struct Found {
    condition: ConditionId,
    tokens: Vec<TokenId>,
    slug: Option<String>,
    outcomes: Option<[String; 2]>,
    tick: Option<TickSize>,
    /// The finest grid that its prices need, in units of 0.0001.
    finest: Option<u16>,
}

/// The markets of a recording, in order of appearance.
fn markets_of(messages: &[Message]) -> Vec<Found> {
    let condition = |m: &Message| m.text("market").and_then(|c| ConditionId::parse(c.as_bytes()));
    let (mut found, mut index) = (Vec::new(), HashMap::new());
    for message in messages {
        // These are announced to everybody: they do not show that their market was recorded.
        if matches!(message.text("event_type"), Some("new_market" | "market_resolved")) {
            continue;
        }
        let Some(condition) = condition(message) else { continue };
        let at = *index.entry(condition).or_insert_with(|| {
            found.push(Found { condition, ..Found::default() });
            found.len() - 1
        });
        found[at].learn(&message.body);
    }
    for message in messages {
        if let Some(at) = condition(message).and_then(|c| index.get(&c)) {
            found[*at].name(&message.body);
        }
    }
    found.retain(|f| !f.tokens.is_empty());
    found
}

impl Found {
    /// Takes tokens and grid from a message.
    fn learn(&mut self, body: &Value) {
        let changes = body.get("price_changes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for part in std::iter::once(body).chain(changes) {
            let text = |key| part.get(key).and_then(Value::as_str);
            if let Some(token) = text("asset_id").and_then(|t| TokenId::parse(t.as_bytes()))
                && !self.tokens.contains(&token)
                && self.tokens.len() < 2
            {
                self.tokens.push(token);
            }
            let tick = text("tick_size").or_else(|| text("old_tick_size"));
            self.tick = self.tick.or_else(|| tick.and_then(|t| TickSize::parse(t.as_bytes())));
            let levels =
                ["bids", "asks"].into_iter().filter_map(|side| part.get(side).and_then(Value::as_array)).flatten();
            for price in std::iter::once(part).chain(levels).filter_map(|l| l.get("price").and_then(Value::as_str)) {
                if let Ok(price) = Price::parse(price.as_bytes()) {
                    let grid =
                        [TickSize::Cent, TickSize::Mill].into_iter().find(|t| price.units().is_multiple_of(t.units()));
                    let units = grid.map_or(1, TickSize::units);
                    self.finest = Some(self.finest.map_or(units, |f| f.min(units)));
                }
            }
        }
    }

    /// Takes what only announcements tell: the order of the tokens, and names.
    fn name(&mut self, body: &Value) {
        let strings = |key: &str| -> Option<Vec<String>> {
            body.get(key)?.as_array()?.iter().map(|v| v.as_str().map(str::to_owned)).collect()
        };
        if let Some(tokens) = strings("assets_ids")
            .and_then(|ids| ids.iter().map(|t| TokenId::parse(t.as_bytes())).collect::<Option<Vec<_>>>())
            && tokens.len() == 2
            && self.tokens.iter().all(|t| tokens.contains(t))
        {
            self.tokens = tokens;
        }
        if let Some(outcomes) = strings("outcomes").and_then(|o| <[String; 2]>::try_from(o).ok()) {
            self.outcomes = Some(outcomes);
        }
        if let Some(slug) = body.get("slug").and_then(Value::as_str) {
            self.slug = Some(slug.to_owned());
        }
    }

    fn into_spec(self, slug: String) -> MarketSpec {
        let first = self.tokens.first().copied().unwrap_or_default();
        let second = self.tokens.get(1).copied().unwrap_or_else(|| TokenId(derived("mirror", &first.0)));
        let finest = match self.finest {
            Some(1) => TickSize::TenthMill,
            Some(10) => TickSize::Mill,
            _ => TickSize::Cent,
        };
        MarketSpec {
            condition: self.condition,
            slug: self.slug.unwrap_or(slug),
            tokens: [first, second],
            outcomes: self.outcomes.unwrap_or_else(|| ["Yes".to_owned(), "No".to_owned()]),
            exchange: Exchange::V2,
            tick: self.tick.unwrap_or(finest),
            min_size: Qty::shares(5),
            fee: FeeSchedule { rate_ppm: 50_000 },
            rewards: None,
            hold_ms: 1_000,
            clear_on_start: false,
            game_start: None,
            kind: MarketKind::Other,
            of_match: None,
        }
    }
}

/// 32 bytes that follow from a name, and that read as a `v1` token id.
pub(super) fn derived(what: &str, of: &[u8]) -> [u8; 32] {
    let mut bytes = of.to_vec();
    loop {
        let mut hasher = Sha256::new();
        hasher.update(what.as_bytes());
        hasher.update(&bytes);
        let hash: [u8; 32] = hasher.finalize().into();
        if is_v1(&TokenId(hash)) {
            return hash;
        }
        // Comes to pass once in 2^64.
        bytes.extend_from_slice(&hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_form_that_recorders_write() {
        let rows = [
            ("1790779105520", Some(1_790_779_105_520)),
            ("\"1790779105520\"", Some(1_790_779_105_520)),
            ("1790779105520.75", Some(1_790_779_105_520)),
            ("\"2026-02-06 06:16:24Z\"", Some(1_770_358_584_000)),
            ("\"2026-02-06T06:16:24.5Z\"", Some(1_770_358_584_500)),
            ("\"2026-02-06T06:16:24.123456+00:00\"", Some(1_770_358_584_123)),
            ("\"1970-01-01T00:00:00Z\"", Some(0)),
            ("\"2024-02-29T00:00:00Z\"", Some(1_709_164_800_000)),
            ("\"2026-13-06 06:16:24Z\"", None),
            ("\"2026-02-06 06:16:24 EST\"", None),
            ("\"yesterday\"", None),
            ("-5", None),
            // Nanoseconds: a recorder's mistake, or another unit.
            ("1790779105520000000", None),
            ("null", None),
        ];
        for (text, want) in rows {
            let value: Value = serde_json::from_str(text).expect("JSON");
            assert_eq!(time_ms(&value), want, "{text}");
        }
    }
}
