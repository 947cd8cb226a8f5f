//! Step 8 of 9: what the venue says of a market's terms, from three sources, and the checks between them.
//!
//! Cold path: start-up and refresh. Source: docs/PROTOCOL.md "public reads", "market fields", "exchange, domain
//! version, token ids", "fees", "sports order rules"; tests/fixtures/samples/rest.

use serde::Deserialize;

use super::rest::{RestError, Text, field, floor_micro, shape};
use crate::types::{
    ConditionId, MarketSpec, Nanos, Qty, TokenId, Usdc,
    event::Payout,
    fees::FeeSchedule,
    market::{Exchange, MarketKind, Rewards},
    price::TickSize,
    qty::parse_micro,
};

/// A pool above so much a day, and an order above so many shares, is a mistake of the source. Captured pools pay tens
/// of dollars for orders of tens to hundreds of shares.
const DAILY_MAX: Usdc = Usdc::dollars(10_000_000);
const REWARDED_SIZE_MAX: Qty = Qty::shares(10_000_000);
/// Nothing is a whole pUSD away from a midpoint.
const REWARDED_SPREAD_UNITS_MAX: u16 = 9_999;

/// What one source says of a market. What it leaves out is `None`; a second source can fill it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Condition id.
    pub condition: ConditionId,
    /// Slug.
    pub slug: Option<String>,
    /// Token of each outcome.
    pub tokens: [TokenId; 2],
    /// Name of each outcome, trimmed.
    pub outcomes: [String; 2],
    /// Contract and domain version.
    pub exchange: Exchange,
    /// Price grid.
    pub tick: Option<TickSize>,
    /// Smallest resting order.
    pub min_size: Option<Qty>,
    /// Taker fee.
    pub fee: Option<FeeSchedule>,
    /// What makers are paid. Nothing, and a pool that could not be understood, are `None` alike.
    pub rewards: Option<Rewards>,
    /// Hold of marketable orders, in milliseconds.
    pub hold_ms: Option<u32>,
    /// True if the book is cleared at game start.
    pub clear_on_start: Option<bool>,
    /// Scheduled start. It moves: read it again.
    pub game_start: Option<Nanos>,
    /// What it decides.
    pub kind: Option<MarketKind>,
    /// True while orders are taken.
    pub accepting: Option<bool>,
    /// True once it is over; `active` says nothing.
    pub closed: Option<bool>,
    /// What it paid, once known.
    pub payout: Option<Payout>,
    /// The venue's id of the game, which joins it to the sports channel.
    pub game_id: Option<u64>,
}

impl Listing {
    /// What this source says, and where it says nothing, what `other` says.
    /// Errors: they contradict each other in what is signed.
    pub fn or(self, other: Self) -> Result<Self, RestError> {
        if self.condition != other.condition {
            return Err(RestError::Contradiction("two sources name different conditions"));
        }
        if self.tokens != other.tokens {
            return Err(RestError::Contradiction("two sources name different tokens"));
        }
        if self.exchange != other.exchange {
            return Err(RestError::Contradiction("two sources name different exchanges"));
        }
        Ok(Self {
            slug: self.slug.or(other.slug),
            tick: self.tick.or(other.tick),
            min_size: self.min_size.or(other.min_size),
            fee: self.fee.or(other.fee),
            rewards: self.rewards.or(other.rewards),
            hold_ms: self.hold_ms.or(other.hold_ms),
            clear_on_start: self.clear_on_start.or(other.clear_on_start),
            game_start: self.game_start.or(other.game_start),
            kind: self.kind.or(other.kind),
            accepting: self.accepting.or(other.accepting),
            closed: self.closed.or(other.closed),
            payout: self.payout.or(other.payout),
            game_id: self.game_id.or(other.game_id),
            ..self
        })
    }

    /// The market's terms for a run. Errors: something that decides money is still unknown.
    pub fn spec(self) -> Result<MarketSpec, RestError> {
        let unknown = |what| RestError::Shape(format!("no source says the {what} of market {}", self.condition));
        let slug = self.slug.unwrap_or_default();
        let kind = self.kind.or_else(|| map_number(&slug).map(MarketKind::Map)).unwrap_or(MarketKind::Other);
        Ok(MarketSpec {
            condition: self.condition,
            slug,
            tokens: self.tokens,
            outcomes: self.outcomes,
            exchange: self.exchange,
            tick: self.tick.ok_or_else(|| unknown("tick size"))?,
            min_size: self.min_size.ok_or_else(|| unknown("smallest order"))?,
            fee: self.fee.ok_or_else(|| unknown("fee"))?,
            rewards: self.rewards,
            hold_ms: self.hold_ms.unwrap_or(0),
            clear_on_start: self.clear_on_start.unwrap_or(false),
            game_start: self.game_start,
            kind,
            of_match: None,
        })
    }
}

/// True if a token id alone says that it belongs to a `v2` market: bits 40 to 103 are zero.
pub fn is_v2_token(token: &TokenId) -> bool {
    token.0[19..27] == [0; 8]
}

/// Which exchange a market trades on. The market's `version` decides and its token ids must agree; without a version,
/// only ids that say `v1` are believed.
pub fn exchange(version: Option<&str>, neg_risk: bool, tokens: &[TokenId; 2]) -> Result<Exchange, RestError> {
    let v2 = match version {
        None | Some("") | Some("v1") => false,
        Some("v2") => true,
        Some(other) => return Err(RestError::Value { field: "version", value: other.to_owned() }),
    };
    if tokens.iter().any(|t| is_v2_token(t) != v2) {
        return Err(RestError::Contradiction("the market's version and its token ids disagree"));
    }
    Ok(match (v2, neg_risk) {
        (true, _) => Exchange::V3,
        (false, true) => Exchange::V2NegRisk,
        (false, false) => Exchange::V2,
    })
}

/// The compact object of `GET /clob-markets/{cid}`: the best single source of trading terms.
/// Absent keys mean false or zero.
pub fn clob_market_compact(body: &[u8]) -> Result<Listing, RestError> {
    #[derive(Deserialize)]
    struct Token {
        t: Text,
        #[serde(default)]
        o: Text,
    }
    #[derive(Deserialize)]
    struct Fee {
        r: Text,
        e: Text,
        to: Option<bool>,
    }
    #[derive(Deserialize)]
    struct Raw {
        c: Text,
        t: Vec<Token>,
        mts: Text,
        mos: Text,
        #[serde(default)]
        nr: bool,
        fd: Option<Fee>,
        ao: Option<bool>,
        cbos: Option<bool>,
        gst: Option<Text>,
        sd: Option<Text>,
        v: Option<String>,
    }
    let raw: Raw = shape(body)?;
    let (tokens, outcomes) = pair(raw.t.into_iter().map(|t| (t.t, t.o)).collect())?;
    Ok(Listing {
        condition: field("c", &raw.c, ConditionId::parse)?,
        slug: None,
        exchange: exchange(raw.v.as_deref(), raw.nr, &tokens)?,
        tokens,
        outcomes,
        tick: Some(field("mts", &raw.mts, TickSize::parse)?),
        min_size: Some(field("mos", &raw.mos, Qty::parse)?),
        fee: raw.fd.map(|fd| fee_schedule(&fd.r, &fd.e, fd.to)).transpose()?,
        rewards: clob_rewards(body),
        hold_ms: Some(hold_ms("sd", raw.sd.as_ref())?),
        clear_on_start: Some(raw.cbos.unwrap_or(false)),
        game_start: time_field("gst", raw.gst.as_ref())?,
        kind: None,
        accepting: Some(raw.ao.unwrap_or(false)),
        closed: None,
        payout: None,
        game_id: None,
    })
}

/// The object of `GET /markets/{cid}`. It does not say the fee: `taker_base_fee` is not the rate.
pub fn clob_market(body: &[u8]) -> Result<Listing, RestError> {
    #[derive(Deserialize)]
    struct Token {
        token_id: Text,
        #[serde(default)]
        outcome: Text,
        #[serde(default)]
        winner: bool,
    }
    #[derive(Deserialize)]
    struct Raw {
        condition_id: Text,
        market_slug: Option<String>,
        tokens: Vec<Token>,
        minimum_tick_size: Text,
        minimum_order_size: Text,
        #[serde(default)]
        neg_risk: bool,
        #[serde(default)]
        is_50_50_outcome: bool,
        accepting_orders: Option<bool>,
        closed: Option<bool>,
        game_start_time: Option<Text>,
        seconds_delay: Option<Text>,
        version: Option<String>,
    }
    let raw: Raw = shape(body)?;
    let payout = match (raw.is_50_50_outcome, raw.tokens.iter().position(|t| t.winner)) {
        (true, _) => Some(Payout::Half),
        (false, Some(0)) => Some(Payout::Yes),
        (false, Some(_)) => Some(Payout::No),
        (false, None) => None,
    };
    let (tokens, outcomes) = pair(raw.tokens.into_iter().map(|t| (t.token_id, t.outcome)).collect())?;
    Ok(Listing {
        condition: field("condition_id", &raw.condition_id, ConditionId::parse)?,
        slug: raw.market_slug,
        exchange: exchange(raw.version.as_deref(), raw.neg_risk, &tokens)?,
        tokens,
        outcomes,
        tick: Some(field("minimum_tick_size", &raw.minimum_tick_size, TickSize::parse)?),
        min_size: Some(field("minimum_order_size", &raw.minimum_order_size, Qty::parse)?),
        fee: None,
        rewards: clob_rewards(body),
        hold_ms: Some(hold_ms("seconds_delay", raw.seconds_delay.as_ref())?),
        clear_on_start: None,
        game_start: time_field("game_start_time", raw.game_start_time.as_ref())?,
        kind: None,
        accepting: raw.accepting_orders,
        closed: raw.closed,
        payout,
        game_id: None,
    })
}

/// One Gamma market. Its lists are JSON within strings; `positionIds` is a real list.
pub fn gamma_market(body: &[u8]) -> Result<Listing, RestError> {
    #[derive(Deserialize)]
    struct Fee {
        rate: Text,
        exponent: Text,
        #[serde(rename = "takerOnly")]
        taker_only: Option<bool>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Raw {
        condition_id: Text,
        slug: Option<String>,
        clob_token_ids: Option<String>,
        position_ids: Option<Vec<Text>>,
        outcomes: String,
        outcome_prices: Option<String>,
        #[serde(default)]
        neg_risk: bool,
        order_price_min_tick_size: Option<Text>,
        order_min_size: Option<Text>,
        fees_enabled: Option<bool>,
        fee_schedule: Option<Fee>,
        seconds_delay: Option<Text>,
        clear_book_on_start: Option<bool>,
        game_start_time: Option<Text>,
        sports_market_type: Option<String>,
        group_item_title: Option<String>,
        accepting_orders: Option<bool>,
        closed: Option<bool>,
        game_id: Option<Text>,
        version: Option<String>,
    }
    let raw: Raw = shape(body)?;
    let ids = match (raw.version.as_deref(), raw.position_ids, &raw.clob_token_ids) {
        (Some("v2"), Some(ids), _) => ids,
        (_, _, Some(text)) => shape::<Vec<Text>>(text.as_bytes())?,
        _ => return Err(RestError::Shape("no token ids".into())),
    };
    let names: Vec<Text> = shape(raw.outcomes.as_bytes())?;
    if ids.len() != names.len() {
        return Err(RestError::Contradiction("outcomes and token ids differ in number"));
    }
    let (tokens, outcomes) = pair(ids.into_iter().zip(names).collect())?;
    // Only a closed market's prices are its payout.
    let prices: Vec<Text> = raw.outcome_prices.as_deref().map_or(Ok(Vec::new()), |p| shape(p.as_bytes()))?;
    let prices: Vec<_> = prices.iter().map(|p| parse_micro(p.bytes())).collect();
    let payout = match (raw.closed, prices.as_slice()) {
        (Some(true), [Some(1_000_000), Some(0)]) => Some(Payout::Yes),
        (Some(true), [Some(0), Some(1_000_000)]) => Some(Payout::No),
        (Some(true), [Some(500_000), Some(500_000)]) => Some(Payout::Half),
        _ => None,
    };
    let fee = match (raw.fees_enabled, raw.fee_schedule) {
        (Some(true), Some(fee)) => Some(fee_schedule(&fee.rate, &fee.exponent, fee.taker_only)?),
        (Some(false), _) => Some(FeeSchedule::FREE),
        _ => None,
    };
    let map = || raw.slug.as_deref().and_then(map_number).or_else(|| title_map(raw.group_item_title.as_deref()?));
    let kind = match raw.sports_market_type.as_deref() {
        Some("moneyline") => Some(MarketKind::Series),
        Some("child_moneyline") => Some(map().map_or(MarketKind::Other, MarketKind::Map)),
        Some(_) => Some(MarketKind::Other),
        None => None,
    };
    let number = |t: &[u8]| core::str::from_utf8(t).ok()?.parse().ok();
    Ok(Listing {
        condition: field("conditionId", &raw.condition_id, ConditionId::parse)?,
        exchange: exchange(raw.version.as_deref(), raw.neg_risk, &tokens)?,
        tokens,
        outcomes,
        tick: optional("orderPriceMinTickSize", raw.order_price_min_tick_size.as_ref(), TickSize::parse)?,
        min_size: optional("orderMinSize", raw.order_min_size.as_ref(), Qty::parse)?,
        fee,
        rewards: gamma_rewards(body),
        hold_ms: raw.seconds_delay.as_ref().map(|s| hold_ms("secondsDelay", Some(s))).transpose()?,
        clear_on_start: raw.clear_book_on_start,
        game_start: time_field("gameStartTime", raw.game_start_time.as_ref())?,
        kind,
        accepting: raw.accepting_orders,
        closed: raw.closed,
        payout,
        game_id: optional("gameId", raw.game_id.as_ref(), number)?,
        slug: raw.slug,
    })
}

/// The two tokens and outcome names of a binary market, in the venue's order.
fn pair(rows: Vec<(Text, Text)>) -> Result<([TokenId; 2], [String; 2]), RestError> {
    let [a, b]: [_; 2] = rows.try_into().map_err(|_| RestError::Shape("not two outcomes".into()))?;
    let tokens = [field("token id", &a.0, TokenId::parse)?, field("token id", &b.0, TokenId::parse)?];
    Ok((tokens, [a.1.0.trim().to_owned(), b.1.0.trim().to_owned()]))
}

/// A field that may be absent, null or empty.
fn optional<T>(
    name: &'static str,
    text: Option<&Text>,
    parse: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<Option<T>, RestError> {
    text.filter(|t| !t.bytes().is_empty()).map(|t| field(name, t, parse)).transpose()
}

/// Rate as decimal → parts per million, exactly. Only takers may be charged: anything else we cannot account for.
fn fee_schedule(rate: &Text, exponent: &Text, taker_only: Option<bool>) -> Result<FeeSchedule, RestError> {
    if taker_only == Some(false) {
        return Err(RestError::Contradiction("makers are charged too"));
    }
    let rate_ppm = field("fee rate", rate, |t| parse_micro(t).filter(|r| *r <= 1_000_000).map(|r| r as u32))?;
    // A fee of nothing is nothing on every curve.
    field("fee exponent", exponent, |t| parse_micro(t).filter(|e| *e == 1_000_000 || rate_ppm == 0))?;
    Ok(FeeSchedule { rate_ppm })
}

/// What makers are paid, by a page of the CLOB: `rewards` of the long object. `r` of the compact one, whose form is
/// unconfirmed, is read as the same. The page is read once more for it, so that nothing in there spoils other terms.
fn clob_rewards(page: &[u8]) -> Option<Rewards> {
    #[derive(Deserialize)]
    struct Rate {
        rewards_daily_rate: Text,
    }
    #[derive(Deserialize)]
    struct Pool {
        rates: Vec<Rate>,
        min_size: Text,
        max_spread: Text,
    }
    #[derive(Deserialize)]
    struct Page {
        #[serde(alias = "r")]
        rewards: Pool,
    }
    let Page { rewards: pool } = shape(page).ok()?;
    rewards(pool.rates.iter().map(|r| &r.rewards_daily_rate), &pool.min_size, &pool.max_spread)
}

/// The same by Gamma. Its rates have a first and a last day; neither is looked at.
fn gamma_rewards(page: &[u8]) -> Option<Rewards> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Rate {
        rewards_daily_rate: Text,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Page {
        clob_rewards: Vec<Rate>,
        rewards_min_size: Text,
        rewards_max_spread: Text,
    }
    let page: Page = shape(page).ok()?;
    rewards(page.clob_rewards.iter().map(|r| &r.rewards_daily_rate), &page.rewards_min_size, &page.rewards_max_spread)
}

/// A pool from its rates in dollars a day, its smallest order in shares and its widest distance in cents. `None` if it
/// pays nothing; and if any of its numbers is missing, zero, negative, no number, or beyond reason. Such a market
/// trades as if it paid nothing, and nothing else of it is refused: rewards decide no order.
fn rewards<'a>(rates: impl Iterator<Item = &'a Text>, min_size: &Text, max_spread: &Text) -> Option<Rewards> {
    let micro = |text: &Text| floor_micro(text.bytes());
    let mut daily = 0_u64;
    for rate in rates {
        daily = daily.checked_add(micro(rate)?)?;
    }
    let min_size = Qty(micro(min_size)?);
    // A unit of 0.0001 is the hundredth part of a cent.
    let max_spread_units = u16::try_from(micro(max_spread)? / 10_000).ok()?;
    let daily = Usdc(i64::try_from(daily).ok()?);
    let reasonable = (Usdc(1)..=DAILY_MAX).contains(&daily)
        && (Qty(1)..=REWARDED_SIZE_MAX).contains(&min_size)
        && (1..=REWARDED_SPREAD_UNITS_MAX).contains(&max_spread_units);
    reasonable.then_some(Rewards { daily, min_size, max_spread_units })
}

/// Seconds as a decimal, number or text → milliseconds, rounded up. Absent or null is none.
fn hold_ms(name: &'static str, seconds: Option<&Text>) -> Result<u32, RestError> {
    let ms = optional(name, seconds, |t| u32::try_from(parse_micro(t)?.div_ceil(1_000)).ok())?;
    Ok(ms.unwrap_or(0))
}

fn time_field(name: &'static str, text: Option<&Text>) -> Result<Option<Nanos>, RestError> {
    optional(name, text, parse_time)
}

/// The map's number in a slug such as `…-game3`.
fn map_number(slug: &str) -> Option<u8> {
    slug.rsplit_once("-game")?.1.parse().ok().filter(|n| *n > 0)
}

/// The map's number in a title such as `Map 1 Winner` or `Game 3 Winner`.
fn title_map(title: &str) -> Option<u8> {
    let mut words = title.split_whitespace();
    matches!(words.next()?, "Map" | "Game").then_some(())?;
    words.next()?.parse().ok().filter(|n| *n > 0)
}

/// Reads `2026-09-15T21:30:00Z`, `2026-10-01T06:23:23.907Z` and the venue's `2026-04-05 15:10:00+00`.
/// Other zones than UTC are refused. Days by Howard Hinnant's civil calendar.
pub fn parse_time(text: &[u8]) -> Option<Nanos> {
    let number = |at: core::ops::Range<usize>| -> Option<u64> {
        let digits = text.get(at)?;
        digits.iter().all(u8::is_ascii_digit).then(|| digits.iter().fold(0, |n, d| n * 10 + u64::from(d - b'0')))
    };
    let byte = |at: usize| text.get(at).copied();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let separators = [byte(4)?, byte(7)?, byte(13)?, byte(16)?] == *b"--::" && matches!(byte(10)?, b'T' | b' ');
    let range = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61;
    if !separators || !range || year < 1970 {
        return None;
    }
    let (mut rest, mut nanos) = (&text[19..], 0);
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 || digits > 9 {
            return None;
        }
        nanos = number(20..20 + digits)? * 10_u64.pow(9 - digits as u32);
        rest = &fraction[digits..];
    }
    if !matches!(rest, b"" | b"Z" | b"+00" | b"+00:00" | b"+0000") {
        return None;
    }
    // Years begin in March, so that the leap day is the last.
    let y = year - u64::from(month <= 2);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let (era, year_of_era) = (y / 400, y % 400);
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    Some(Nanos((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000_000 + nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONDITION: &str = "0xdc024ed8fb0ba5bbfd79ac6fc08a8c583e29034da43e663ace05d7dd8c1e17a9";
    const V1: [&str; 2] = [
        "2045264127813449378467820057626190155888520958184349779170291761772722787494",
        "1802174699299608821692283385063543476680957896999298561160128776327503253345",
    ];

    fn token(text: &str) -> TokenId {
        TokenId::parse(text.as_bytes()).unwrap()
    }

    /// A token as a `v2` market has it: module, 16 bytes of condition, zeros, outcome.
    fn v2(outcome: u8) -> TokenId {
        let mut id = [0; 32];
        id[..17].fill(7);
        id[31] = outcome;
        TokenId(id)
    }

    #[test]
    fn version_and_token_ids_must_agree() {
        let (one, two) = (V1.map(token), [v2(0), v2(1)]);
        for (version, neg_risk, tokens, expected) in [
            (Some("v1"), false, one, Ok(Exchange::V2)),
            (Some("v1"), true, one, Ok(Exchange::V2NegRisk)),
            (Some("v2"), false, two, Ok(Exchange::V3)),
            (Some("v2"), true, two, Ok(Exchange::V3)),
            (None, false, one, Ok(Exchange::V2)),
            (None, false, two, Err(())),
            (Some("v1"), false, two, Err(())),
            (Some("v2"), false, one, Err(())),
            (Some("v2"), false, [two[0], one[1]], Err(())),
            (Some("v3"), false, one, Err(())),
        ] {
            assert_eq!(exchange(version, neg_risk, &tokens).map_err(|_| ()), expected, "{version:?} {neg_risk}");
        }
    }

    fn compact(rest: &str) -> Result<Listing, RestError> {
        let [a, b] = V1;
        clob_market_compact(
            format!(
                r#"{{"c":"{CONDITION}","t":[{{"t":"{a}","o":" One "}},{{"t":"{b}","o":"Two"}}],"mts":0.01,"mos":5{rest}}}"#
            )
            .as_bytes(),
        )
    }

    #[test]
    fn the_compact_object() {
        let market = compact(
            r#","fd":{"r":0.05,"e":1,"to":true},"sd":"0.25","cbos":true,"gst":"2026-09-15T15:30:00Z","v":"v1""#,
        );
        let market = market.unwrap();
        assert_eq!(market.outcomes, ["One", "Two"]);
        assert_eq!(market.fee, Some(FeeSchedule { rate_ppm: 50_000 }));
        assert_eq!((market.tick, market.min_size), (Some(TickSize::Cent), Some(Qty::shares(5))));
        assert_eq!((market.hold_ms, market.clear_on_start), (Some(250), Some(true)));
        assert_eq!(market.game_start, Some(Nanos(1_789_486_200_000_000_000)));
        let spec = market.spec().unwrap();
        assert_eq!((spec.exchange, spec.kind, spec.hold_ms), (Exchange::V2, MarketKind::Other, 250));
    }

    #[test]
    fn holds_are_decimals_numbers_text_or_nothing() {
        for (sd, ms) in [
            ("", 0),
            (r#","sd":null"#, 0),
            (r#","sd":"""#, 0),
            (r#","sd":3"#, 3_000),
            (r#","sd":"1""#, 1_000),
            (r#","sd":0.25"#, 250),
            (r#","sd":"0.0001""#, 1),
        ] {
            assert_eq!(compact(sd).unwrap().hold_ms, Some(ms), "{sd}");
        }
        for sd in [r#","sd":-1"#, r#","sd":"soon""#, r#","sd":true"#] {
            assert!(compact(sd).is_err(), "{sd}");
        }
    }

    #[test]
    fn fees_are_exact_and_only_of_known_kinds() {
        for (fd, rate_ppm) in [
            (r#"{"r":0.07,"e":1,"to":true}"#, 70_000),
            (r#"{"r":"0.0333","e":"1","to":true}"#, 33_300),
            (r#"{"r":0,"e":0}"#, 0),
        ] {
            let fee = compact(&format!(r#","fd":{fd}"#)).unwrap().fee;
            assert_eq!(fee, Some(FeeSchedule { rate_ppm }), "{fd}");
        }
        for fd in [
            r#"{"r":0.05,"e":2}"#,
            r#"{"r":0.05,"e":0}"#,
            r#"{"r":0.05,"e":0.5}"#,
            r#"{"r":5,"e":1}"#,
            r#"{"r":-0.05,"e":1}"#,
            r#"{"r":0.05,"e":1,"to":false}"#,
            r#"{"e":1}"#,
        ] {
            assert!(compact(&format!(r#","fd":{fd}"#)).is_err(), "{fd}");
        }
        let unknown = compact("").unwrap();
        assert_eq!(unknown.fee, None);
        assert!(unknown.spec().is_err(), "an unknown fee is not a free one");
    }

    /// A pool as (micro-pUSD a day, shares, units).
    fn told(rewards: Option<Rewards>) -> Option<(i64, u64, u16)> {
        rewards.map(|r| (r.daily.micro(), r.min_size.micro() / 1_000_000, r.max_spread_units))
    }

    /// The long object with one more key.
    fn long(rest: &str) -> Result<Listing, RestError> {
        let [a, b] = V1;
        clob_market(
            format!(
                r#"{{"condition_id":"{CONDITION}","tokens":[{{"token_id":"{a}"}},{{"token_id":"{b}"}}],
                "minimum_tick_size":0.01,"minimum_order_size":5{rest}}}"#
            )
            .as_bytes(),
        )
    }

    /// A Gamma market with more keys.
    fn gamma(rest: &str) -> Result<Listing, RestError> {
        let [a, b] = V1;
        gamma_market(
            format!(
                r#"{{"conditionId":"{CONDITION}","clobTokenIds":"[\"{a}\",\"{b}\"]","outcomes":"[\"One\",\"Two\"]"{rest}}}"#
            )
            .as_bytes(),
        )
    }

    #[test]
    fn rewards_are_exact_from_each_source() {
        let rate = |text: &str| format!(r#"{{"asset_address":"0x27","rewards_daily_rate":{text}}}"#);
        for (rates, min_size, max_spread, expected) in [
            (rate("29"), "50", "5.5", Some((29_000_000, 50, 550))),
            (rate("\"0.5\""), "\"50\"", "\"3\"", Some((500_000, 50, 300))),
            (rate("1.25") + "," + &rate("2.5"), "200", "3.5", Some((3_750_000, 200, 350))),
            // Finer than we count: down.
            (rate("3.3333333333333335"), "20", "4.50999", Some((3_333_333, 20, 450))),
            (rate("0") + "," + &rate("7"), "20", "99.99", Some((7_000_000, 20, 9_999))),
            (rate("10000000"), "10000000", "0.01", Some((10_000_000_000_000, 10_000_000, 1))),
            (rate("0"), "20", "4.5", None),
            (String::new(), "20", "4.5", None),
        ] {
            let pool = format!(r#"{{"rates":[{rates}],"min_size":{min_size},"max_spread":{max_spread}}}"#);
            assert_eq!(told(long(&format!(r#","rewards":{pool}"#)).unwrap().rewards), expected, "{pool}");
            assert_eq!(told(compact(&format!(r#","r":{pool}"#)).unwrap().rewards), expected, "{pool}");
            let rates = rates.replace("rewards_daily_rate", "rewardsDailyRate");
            let keys =
                format!(r#","clobRewards":[{rates}],"rewardsMinSize":{min_size},"rewardsMaxSpread":{max_spread}"#);
            assert_eq!(told(gamma(&keys).unwrap().rewards), expected, "{keys}");
        }
    }

    #[test]
    fn rewards_that_make_no_sense_are_none_and_spoil_nothing() {
        let pool = |rates: &[&str], size: &str, spread: &str| {
            let rates: Vec<_> = rates.iter().map(|r| format!(r#"{{"rewards_daily_rate":{r}}}"#)).collect();
            format!(r#"{{"rates":[{}],"min_size":{size},"max_spread":{spread}}}"#, rates.join(","))
        };
        let deep = "[".repeat(500) + &"]".repeat(500);
        let mut pools: Vec<String> =
            ["null", "{}", "[]", "0", "true", "\"much\"", r#"{"rates":null,"min_size":0,"max_spread":0}"#, &deep]
                .map(str::to_owned)
                .to_vec();
        for bad in ["-1", "-0.5", "true", "null", "{}", "[1]", "\"lots\"", "\"\"", "1e999", "1e30", "100000000"] {
            pools.extend([pool(&["29", bad], "50", "5.5"), pool(&["29"], bad, "5.5"), pool(&["29"], "50", bad)]);
        }
        pools.extend([pool(&["29"], "0", "5.5"), pool(&["29"], "50", "0")]);
        pools.extend([pool(&["29"], "50", "0.009"), pool(&["29"], "50", "100")]);
        // Beyond what an integer holds: they would come out as 5 pUSD and as 5.5 cents.
        let half = "\"9223372036854.775807\"";
        pools.extend([pool(&[half, half, "5.000002"], "50", "5.5"), pool(&["29"], "50", "660.86")]);
        for pool in pools {
            let market = long(&format!(r#","rewards":{pool}"#)).unwrap();
            assert_eq!((market.rewards, market.min_size), (None, Some(Qty::shares(5))), "{pool}");
            let market = compact(&format!(r#","r":{pool}"#)).unwrap();
            assert_eq!((market.rewards, market.min_size), (None, Some(Qty::shares(5))), "{pool}");
        }
        // Twice the same key, and a half of what is needed.
        assert_eq!(long(r#","rewards":{},"rewards":{}"#).unwrap().rewards, None);
        for keys in [
            r#","rewardsMinSize":50,"rewardsMaxSpread":5.5"#,
            r#","clobRewards":[],"rewardsMinSize":50,"rewardsMaxSpread":5.5"#,
            r#","clobRewards":null,"rewardsMinSize":50,"rewardsMaxSpread":5.5"#,
            r#","clobRewards":[{"rewardsDailyRate":29}],"rewardsMinSize":-50,"rewardsMaxSpread":5.5"#,
            r#","clobRewards":[{"rewardsDailyRate":29}],"rewardsMinSize":50"#,
            r#","clobRewards":{"rewardsDailyRate":29},"rewardsMinSize":50,"rewardsMaxSpread":5.5"#,
        ] {
            assert_eq!(gamma(keys).unwrap().rewards, None, "{keys}");
        }
    }

    #[test]
    fn rewards_are_merged_and_reach_the_run() {
        let pool =
            |rate: u64| format!(r#"{{"rates":[{{"rewards_daily_rate":{rate}}}],"min_size":50,"max_spread":5.5}}"#);
        let (none, fee) = ("{}".to_owned(), r#","fd":{"r":0.05,"e":1,"to":true}"#);
        for (r, rewards, expected) in [
            (&none, pool(29), Some(29_000_000)),
            (&pool(7), none.clone(), Some(7_000_000)),
            // Which of two is right decides no order: the first is taken.
            (&pool(7), pool(29), Some(7_000_000)),
            (&none, none.clone(), None),
        ] {
            let both =
                compact(&format!(r#"{fee},"r":{r}"#)).unwrap().or(long(&format!(r#","rewards":{rewards}"#)).unwrap());
            let daily = both.unwrap().spec().unwrap().rewards.map(|r| r.daily.micro());
            assert_eq!(daily, expected, "{r} {rewards}");
        }
    }

    #[test]
    fn sources_fill_each_other_in_unless_they_disagree() {
        let [a, b] = V1;
        let gamma = format!(
            r#"{{"conditionId":"{CONDITION}","slug":"cs2-a-b-2026-09-15-game2","clobTokenIds":"[\"{a}\",\"{b}\"]",
            "outcomes":"[\"One\",\"Two\"]","outcomePrices":"[\"0.5\",\"0.5\"]","closed":false,"feesEnabled":true,
            "feeSchedule":{{"rate":0.05,"exponent":1,"takerOnly":true}},"sportsMarketType":"child_moneyline","gameId":"17"}}"#
        );
        let other = gamma_market(gamma.as_bytes()).unwrap();
        assert_eq!((other.kind, other.game_id, other.payout), (Some(MarketKind::Map(2)), Some(17), None));
        let market = compact("").unwrap().or(other.clone()).unwrap();
        let spec = market.clone().spec().unwrap();
        assert_eq!((spec.kind, spec.fee.rate_ppm), (MarketKind::Map(2), 50_000));
        let swapped = Listing { tokens: [other.tokens[1], other.tokens[0]], ..other };
        assert!(market.or(swapped).is_err());
        let paid = gamma.replace("false", "true");
        assert_eq!(gamma_market(paid.as_bytes()).unwrap().payout, Some(Payout::Half));
    }

    #[test]
    fn times() {
        for (text, ns) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-04-05 15:10:00+00", Some(1_775_401_800_000_000_000)),
            ("2024-02-29T23:59:59Z", Some(1_709_251_199_000_000_000)),
            ("2026-10-01T06:23:23.907040294Z", Some(1_790_835_803_907_040_294)),
            ("2100-03-01T00:00:00Z", Some(4_107_542_400_000_000_000)),
            ("2026-04-05 15:10:00+02", None),
            ("2026-13-05 15:10:00+00", None),
            ("2026-04-05", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(parse_time(text.as_bytes()), ns.map(Nanos), "{text}");
        }
    }
}
