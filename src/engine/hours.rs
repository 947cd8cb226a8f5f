//! Step 5 of 9: rules of the clock, all in UTC: buffers around open and close, peak hours, weekends.
//!
//! Time is integer arithmetic on the Unix clock, which has no leap seconds: a day is 86 400 s, and day 0 was a
//! Thursday. So no calendar is needed, and no time zone can be got wrong.

use core::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::{
    BadParam, BadParams,
    sizing::{FULL_PPM, combined_ppm, is_size},
};
use crate::types::Nanos;

/// Most peak windows.
pub const PEAK_MAX: usize = 8;

const DAY_S: u64 = 86_400;
const DAY_MS: u32 = 86_400_000;
const DAY_MINUTES: u16 = 1_440;
/// Day 0 was a Thursday, the fourth after a Sunday.
const DAY_0: u64 = 4;

/// A stretch of every UTC day, written `18:00-22:00`: its first minute is in it, its last is not. A day ends at
/// 24:00.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minutes {
    /// First minute of the day, 0 to 1439.
    pub from: u16,
    /// First minute after it, 1 to 1440.
    pub to: u16,
}

impl Minutes {
    /// True if it stands within one day. What begins in the evening and ends in the morning does not.
    pub const fn within_a_day(self) -> bool {
        self.from < self.to && self.to <= DAY_MINUTES
    }

    const fn contains(self, minute: u16) -> bool {
        self.from <= minute && minute < self.to
    }

    const fn overlaps(self, other: Self) -> bool {
        self.from < other.to && other.from < self.to
    }
}

impl FromStr for Minutes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let minute = |text: &[u8]| match text {
            [h1 @ b'0'..=b'2', h2 @ b'0'..=b'9', b':', m1 @ b'0'..=b'5', m2 @ b'0'..=b'9'] => {
                let two = |a: &u8, b: &u8| u16::from(a - b'0') * 10 + u16::from(b - b'0');
                Some(two(h1, h2) * 60 + two(m1, m2)).filter(|minute| *minute <= DAY_MINUTES)
            }
            _ => None,
        };
        let ends = text.split_once('-').and_then(|(a, b)| Some((minute(a.as_bytes())?, minute(b.as_bytes())?)));
        let (from, to) = ends.ok_or_else(|| format!("`{text}` is not a window of UTC hours; write 18:00-22:00"))?;
        Ok(Self { from, to })
    }
}

impl fmt::Display for Minutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [from, to] = [self.from, self.to].map(|minute| (minute / 60, minute % 60));
        write!(f, "{:02}:{:02}-{:02}:{:02}", from.0, from.1, to.0, to.1)
    }
}

/// For people its text, otherwise the two numbers.
impl Serialize for Minutes {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { (self.from, self.to).serialize(s) }
    }
}

impl<'de> Deserialize<'de> for Minutes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            String::deserialize(d)?.parse().map_err(D::Error::custom)
        } else {
            <(u16, u16)>::deserialize(d).map(|(from, to)| Self { from, to })
        }
    }
}

/// Peak hours, and how large an order may be in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// When, every day.
    pub utc: Minutes,
    /// Share of an order's size, in parts per million.
    pub size_ppm: u32,
}

/// When orders are smaller, and when there are none. The defaults change nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hours {
    /// No order for so long after the game's start, when live trading opens, in milliseconds.
    pub open_buffer_ms: u32,
    /// No order for so long before the game's start, when trading ahead of it closes, nor before the market's end and
    /// ever after, in milliseconds.
    pub close_buffer_ms: u32,
    /// Hours with a size of their own, such as `{ utc = "18:00-22:00", size_ppm = 500000 }`.
    pub peak: Vec<Window>,
    /// Share of an order's size on Saturdays and Sundays, in parts per million.
    pub weekend_ppm: u32,
}

impl Default for Hours {
    fn default() -> Self {
        Self { open_buffer_ms: 0, close_buffer_ms: 0, peak: Vec::new(), weekend_ppm: FULL_PPM }
    }
}

/// Why the clock lets no order out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeRule {
    /// The game starts soon.
    BeforeStart,
    /// The game started a moment ago.
    AfterOpen,
    /// The market ends soon, or has ended.
    BeforeClose,
}

impl TimeRule {
    /// Snake-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BeforeStart => "before_start",
            Self::AfterOpen => "after_open",
            Self::BeforeClose => "before_close",
        }
    }
}

impl Hours {
    /// Every value that cannot be: key, value, what would be right.
    pub fn validate(&self) -> Result<(), Vec<BadParam>> {
        let mut bad = BadParams::new("risk.hours");
        for (key, ms) in [("open_buffer_ms", self.open_buffer_ms), ("close_buffer_ms", self.close_buffer_ms)] {
            bad.check(key, ms, ms <= DAY_MS, "at most 86400000 ms, a day");
        }
        let sizes = "1 to 1000000 parts per million; 1000000 changes nothing";
        bad.check("weekend_ppm", self.weekend_ppm, is_size(self.weekend_ppm), sizes);
        bad.check(
            "peak",
            format_args!("{} windows", self.peak.len()),
            self.peak.len() <= PEAK_MAX,
            "at most 8 windows",
        );
        for (n, window) in self.peak.iter().enumerate() {
            let key = |field| format!("peak[{n}].{field}");
            bad.check(&key("size_ppm"), window.size_ppm, is_size(window.size_ppm), sizes);
            let utc = window.utc;
            let advice = "within one UTC day; write one over midnight as two, such as 22:00-24:00 and 00:00-02:00";
            bad.check(&key("utc"), utc, utc.within_a_day(), advice);
            let twice = self.peak.iter().take(n).any(|earlier| utc.overlaps(earlier.utc));
            bad.check(&key("utc"), utc, !twice, "apart from every window before it; they overlap");
        }
        bad.into_result()
    }

    /// Share of an order's size now, in parts per million: that of the peak hours times that of the weekend.
    /// At most [`PEAK_MAX`] comparisons.
    pub fn size_ppm(&self, now: Nanos) -> u32 {
        let minute = (now.secs() % DAY_S / 60) as u16;
        let peak = self.peak.iter().find(|window| window.utc.contains(minute)).map_or(FULL_PPM, |w| w.size_ppm);
        combined_ppm([peak, if is_weekend(now) { self.weekend_ppm } else { FULL_PPM }])
    }

    /// Why no order leaves now, if none may. `game_start` and `ends` are what the venue says last: both move.
    pub fn closed(&self, now: Nanos, game_start: Option<Nanos>, ends: Option<Nanos>) -> Option<TimeRule> {
        let [open_ns, close_ns] = [self.open_buffer_ms, self.close_buffer_ms].map(|ms| u64::from(ms) * 1_000_000);
        let starts = |start: Nanos| {
            if now < start {
                (start.since(now) <= close_ns).then_some(TimeRule::BeforeStart)
            } else {
                (now.since(start) < open_ns).then_some(TimeRule::AfterOpen)
            }
        };
        let closes = |end: Nanos| (close_ns > 0 && end.since(now) <= close_ns).then_some(TimeRule::BeforeClose);
        game_start.and_then(starts).or_else(|| ends.and_then(closes))
    }
}

/// True on a Saturday or Sunday, UTC.
pub const fn is_weekend(now: Nanos) -> bool {
    matches!((now.secs() / DAY_S + DAY_0) % 7, 0 | 6)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY_NS: u64 = DAY_S * 1_000_000_000;
    const MS: u64 = 1_000_000;
    /// Monday 2026-11-23, by its day number.
    const MONDAY: u64 = 20_780;

    fn window(text: &str, size_ppm: u32) -> Window {
        Window { utc: text.parse().unwrap(), size_ppm }
    }

    fn at(day: u64, hour: u64, minute: u64) -> Nanos {
        Nanos(day * DAY_NS + (hour * 60 + minute) * 60_000_000_000)
    }

    /// Day number of a date, by the Gregorian rules alone: every year and month counted.
    fn day_of(year: u64, month: u64, day: u64) -> u64 {
        let leap = |y: u64| u64::from(y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400)));
        let months = [31, 28 + leap(year), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let years: u64 = (1970..year).map(|y| 365 + leap(y)).sum();
        years + months[..month as usize - 1].iter().sum::<u64>() + day - 1
    }

    #[test]
    fn weekends_begin_and_end_at_midnight_utc() {
        let saturday = MONDAY + 5;
        for (ns, weekend, what) in [
            (saturday * DAY_NS - 1, false, "Friday 23:59:59.999999999"),
            (saturday * DAY_NS, true, "Saturday 00:00"),
            ((saturday + 1) * DAY_NS - 1, true, "Saturday 23:59:59.999999999"),
            ((saturday + 1) * DAY_NS, true, "Sunday 00:00"),
            ((saturday + 2) * DAY_NS - 1, true, "Sunday 23:59:59.999999999"),
            ((saturday + 2) * DAY_NS, false, "Monday 00:00"),
        ] {
            assert_eq!(is_weekend(Nanos(ns)), weekend, "{what}");
        }
    }

    #[test]
    fn the_calendar_agrees_on_days_that_people_get_wrong() {
        for ((year, month, day), weekend, what) in [
            ((1970, 1, 1), false, "day 0, a Thursday"),
            ((1970, 1, 3), true, "the first Saturday"),
            ((1970, 1, 5), false, "the first Monday"),
            ((2000, 2, 29), false, "a Tuesday, and a leap day of a century"),
            ((2020, 2, 29), true, "a leap day on a Saturday"),
            ((2020, 3, 1), true, "the Sunday after it"),
            ((2020, 3, 2), false, "the Monday after that"),
            ((2024, 2, 29), false, "a leap day on a Thursday"),
            ((2100, 2, 28), true, "a Sunday, with no leap day after it"),
            ((2100, 3, 1), false, "the Monday after it"),
            ((2026, 11, 23), false, "a Monday"),
            ((2026, 11, 29), true, "a Sunday"),
        ] {
            assert_eq!(is_weekend(at(day_of(year, month, day), 12, 0)), weekend, "{year}-{month}-{day}: {what}");
        }
        assert_eq!(day_of(2026, 11, 23), MONDAY);
        assert!(!is_weekend(Nanos(0)));
    }

    #[test]
    fn sizes_follow_the_hour_and_the_day() {
        let peak = vec![window("00:00-02:00", 200_000), window("18:00-22:00", 500_000), window("22:00-24:00", 200_000)];
        let hours = Hours { peak, weekend_ppm: 300_000, ..Hours::default() };
        hours.validate().unwrap();
        let minute = 60_000_000_000;
        for (now, ppm, what) in [
            (at(MONDAY, 0, 0), 200_000, "from midnight"),
            (Nanos(at(MONDAY, 2, 0).0 - 1), 200_000, "to the last nanosecond"),
            (at(MONDAY, 2, 0), 1_000_000, "and not a nanosecond longer"),
            (Nanos(at(MONDAY, 18, 0).0 - 1), 1_000_000, "before the peak"),
            (at(MONDAY, 18, 0), 500_000, "from its first minute"),
            (Nanos(at(MONDAY, 22, 0).0 - 1), 500_000, "to the next window"),
            (at(MONDAY, 22, 0), 200_000, "which begins where it ends"),
            (Nanos(at(MONDAY + 1, 0, 0).0 - minute), 200_000, "up to midnight"),
            (at(MONDAY + 5, 12, 0), 300_000, "a Saturday"),
            (at(MONDAY + 5, 18, 30), 150_000, "its peak"),
            (at(MONDAY + 6, 23, 59), 60_000, "a Sunday night"),
        ] {
            assert_eq!(hours.size_ppm(now), ppm, "{what}");
        }
    }

    #[test]
    fn the_defaults_change_nothing() {
        let hours = Hours::default();
        hours.validate().unwrap();
        let start = at(MONDAY, 12, 0);
        for now in [Nanos(0), Nanos(start.0 - 1), start, start.plus(1), at(MONDAY + 5, 20, 0), Nanos(u64::MAX)] {
            assert_eq!(hours.size_ppm(now), FULL_PPM);
            assert_eq!(hours.closed(now, Some(start), Some(start.plus(5))), None);
        }
    }

    #[test]
    fn no_order_around_open_and_close() {
        let hours = Hours { open_buffer_ms: 20, close_buffer_ms: 50, ..Hours::default() };
        let (start, end) = (at(MONDAY, 12, 0), at(MONDAY, 15, 0));
        for (now, rule, what) in [
            (start.0 - 50 * MS - 1, None, "long before"),
            (start.0 - 50 * MS, Some(TimeRule::BeforeStart), "the buffer before the start"),
            (start.0 - 1, Some(TimeRule::BeforeStart), "to its last nanosecond"),
            (start.0, Some(TimeRule::AfterOpen), "the start itself"),
            (start.0 + 20 * MS - 1, Some(TimeRule::AfterOpen), "the buffer after it"),
            (start.0 + 20 * MS, None, "the game"),
            (end.0 - 50 * MS - 1, None, "to the end's buffer"),
            (end.0 - 50 * MS, Some(TimeRule::BeforeClose), "before the end"),
            (end.0, Some(TimeRule::BeforeClose), "the end"),
            (end.0 + DAY_NS, Some(TimeRule::BeforeClose), "what has ended does not open again"),
        ] {
            assert_eq!(hours.closed(Nanos(now), Some(start), Some(end)), rule, "{what}");
        }
        assert_eq!(hours.closed(start, None, None), None, "no time is known: no rule");
        assert_eq!(hours.closed(start, None, Some(start)), Some(TimeRule::BeforeClose));
        let open_only = Hours { close_buffer_ms: 0, ..hours };
        assert_eq!(open_only.closed(Nanos(start.0 - 1), Some(start), Some(start)), None);
    }

    #[test]
    fn windows_read_as_they_are_written_and_nothing_else_does() {
        for text in ["00:00-24:00", "18:00-22:30", "22:00-02:00", "23:59-24:00"] {
            assert_eq!(text.parse::<Minutes>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "18:00",
            "18:00-",
            "18-22",
            "18:00 - 22:00",
            "24:01-24:02",
            "25:00-26:00",
            "18:60-19:00",
            "1:00-2:00",
            "18:00-22:00-23:00",
            "+8:00-22:00",
            "18.00-22.00",
            "18:00–22:00",
        ] {
            assert!(text.parse::<Minutes>().unwrap_err().contains("write 18:00-22:00"), "{text}");
        }
    }

    #[test]
    fn hours_survive_their_text_and_their_bytes() {
        let text = "open_buffer_ms = 5\npeak = [{ utc = \"18:00-22:00\", size_ppm = 500000 }]";
        let hours: Hours = toml::from_str(text).unwrap();
        let peak = vec![window("18:00-22:00", 500_000)];
        assert_eq!(hours, Hours { open_buffer_ms: 5, peak, ..Hours::default() });
        let json = serde_json::to_string(&hours).unwrap();
        assert!(json.contains("18:00-22:00"), "{json}");
        assert_eq!(serde_json::from_str::<Hours>(&json).unwrap(), hours);
        let bytes = postcard::to_allocvec(&hours).unwrap();
        assert_eq!(postcard::from_bytes::<Hours>(&bytes).unwrap(), hours);
        for wrong in ["peek = []", "peak = [{ utc = \"6pm\", size_ppm = 1 }]", "peak = [{ utc = \"18:00-22:00\" }]"] {
            assert!(toml::from_str::<Hours>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_is_named_with_its_key() {
        let with = |windows: &[(&str, u32)]| Hours {
            peak: windows.iter().map(|(text, ppm)| window(text, *ppm)).collect(),
            ..Hours::default()
        };
        // No text says so, but a file of numbers can.
        let late = Window { utc: Minutes { from: 1_380, to: 1_441 }, size_ppm: 1 };
        let beyond = Hours { peak: vec![late], ..Hours::default() };
        let many: Vec<(String, u32)> = (0..9).map(|h| (format!("{h:02}:00-{h:02}:30"), 1)).collect();
        let many: Vec<(&str, u32)> = many.iter().map(|(text, ppm)| (text.as_str(), *ppm)).collect();
        for (hours, says) in [
            (with(&[("22:00-02:00", 1)]), "risk.hours.peak[0].utc = 22:00-02:00: must be within one UTC day"),
            (with(&[("22:00-02:00", 1)]), "as two, such as 22:00-24:00 and 00:00-02:00"),
            (with(&[("08:00-08:00", 1)]), "risk.hours.peak[0].utc = 08:00-08:00: must be within one UTC day"),
            (beyond, "risk.hours.peak[0].utc = 23:00-24:01: must be within one UTC day"),
            (with(&[("08:00-10:00", 1), ("09:59-11:00", 1)]), "risk.hours.peak[1].utc = 09:59-11:00: must be apart"),
            (with(&[("08:00-10:00", 1), ("08:00-10:00", 1)]), "risk.hours.peak[1].utc = 08:00-10:00: must be apart"),
            (with(&[("08:00-10:00", 0)]), "risk.hours.peak[0].size_ppm = 0: must be 1 to 1000000"),
            (with(&[("08:00-10:00", 1_000_001)]), "risk.hours.peak[0].size_ppm = 1000001: must be 1 to 1000000"),
            (with(&many), "risk.hours.peak = 9 windows: must be at most 8"),
            (Hours { weekend_ppm: 0, ..Hours::default() }, "risk.hours.weekend_ppm = 0: must be 1 to 1000000"),
            (Hours { weekend_ppm: 1_000_001, ..Hours::default() }, "risk.hours.weekend_ppm = 1000001: must be"),
            (Hours { open_buffer_ms: DAY_MS + 1, ..Hours::default() }, "risk.hours.open_buffer_ms = 86400001: must"),
            (Hours { close_buffer_ms: DAY_MS + 1, ..Hours::default() }, "risk.hours.close_buffer_ms = 86400001: must"),
        ] {
            let bad: Vec<String> = hours.validate().unwrap_err().iter().map(ToString::to_string).collect();
            assert!(bad.len() == 1 && bad[0].contains(says), "{bad:?} should say {says}");
        }
        assert_eq!(with(&[("08:00-10:00", 1), ("10:00-12:00", 1)]).validate(), Ok(()), "touching is not overlapping");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

        /// Two days of seven, whatever the year; the day of the week by Zeller's congruence on the date.
        #[test]
        fn weekends_agree_with_the_calendar(
            year in 1970_u64..2200, month in 1_u64..13, day in 1_u64..29, within in 0..DAY_NS,
        ) {
            let (y, m) = if month < 3 { (year - 1, month + 12) } else { (year, month) };
            // 0 is Saturday, 1 is Sunday.
            let zeller = (day + 13 * (m + 1) / 5 + y % 100 + y % 100 / 4 + y / 400 + 5 * (y / 100)) % 7;
            prop_assert_eq!(is_weekend(Nanos(day_of(year, month, day) * DAY_NS + within)), zeller < 2);
        }

        /// An order's size changes at the ends of windows alone, and is that of the one window the time is in.
        #[test]
        fn a_size_is_that_of_its_window(
            cuts in prop::collection::btree_set(0_u16..=1_440, 2..16), day in 0_u64..50_000, minute in 0_u16..1_440,
        ) {
            let cuts: Vec<u16> = cuts.into_iter().collect();
            let peak: Vec<Window> = cuts.chunks_exact(2).zip(1..)
                .map(|(ends, n)| Window { utc: Minutes { from: ends[0], to: ends[1] }, size_ppm: n * 1_000 })
                .collect();
            let hours = Hours { peak, weekend_ppm: 500_000, ..Hours::default() };
            prop_assert_eq!(hours.validate(), Ok(()));
            let now = Nanos(day * DAY_NS + u64::from(minute) * 60_000_000_000 + 59_999_999_999);
            // Inside a window an odd number of cuts lies at or before the minute.
            let before = cuts.iter().filter(|cut| **cut <= minute).count();
            let inside = before % 2 == 1 && before < cuts.len();
            let size = if inside { (before as u32 / 2 + 1) * 1_000 } else { FULL_PPM };
            prop_assert_eq!(hours.size_ppm(now), if is_weekend(now) { size / 2 } else { size });
        }
    }
}
