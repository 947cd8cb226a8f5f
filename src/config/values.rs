//! Values of the configuration file that are not TOML's own: durations, core lists, optional texts.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A length of time, such as `500ms`, `90s`, `5m` or `2h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a length of time; write 500ms, 90s, 5m or 2h");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        number.checked_mul(millis).map(|ms| Self(Duration::from_millis(ms))).ok_or_else(wrong)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            0 => f.write_str("0s"),
            ms if ms % 3_600_000 == 0 => write!(f, "{}h", ms / 3_600_000),
            ms if ms % 60_000 == 0 => write!(f, "{}m", ms / 60_000),
            ms if ms % 1_000 == 0 => write!(f, "{}s", ms / 1_000),
            ms => write!(f, "{ms}ms"),
        }
    }
}

/// Cores by number, in the order given: `2,3,4,5` or `2-5`. Empty: not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cores(pub Vec<usize>);

impl FromStr for Cores {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |part: &str| format!("`{part}` is not a core number or a range; write 0,1 or 2-5");
        let mut cores = Vec::new();
        for part in text.split(',').map(str::trim).filter(|_| !text.trim().is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |t: &str| t.trim().parse::<u16>().map(usize::from).map_err(|_| wrong(part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(wrong(part));
            }
            cores.extend(first..=last);
        }
        Ok(Self(cores))
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(i, core)| write!(f, "{}{core}", if i == 0 { "" } else { "," }))
    }
}

macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

as_text!(Span, Cores);

/// `""` in the file is `None` here, so that every key can stand in `default.toml`.
pub mod optional {
    use serde::de::IntoDeserializer;

    use super::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes the value or `""`.
    pub fn serialize<T: Serialize, S: Serializer>(value: &Option<T>, s: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => value.serialize(s),
            None => s.serialize_str(""),
        }
    }

    /// Reads the value or `""`.
    pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(d: D) -> Result<Option<T>, D::Error> {
        let text = String::deserialize(d)?;
        if text.is_empty() { Ok(None) } else { T::deserialize(text.into_deserializer()).map(Some) }
    }
}

/// The wire's numbers 0 to 3.
pub mod signature_type {
    use super::{Deserialize, Deserializer, Error, Serializer};
    use crate::types::market::SignatureType;

    /// Writes the number.
    pub fn serialize<S: Serializer>(value: &SignatureType, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u8(*value as u8)
    }

    /// Reads the number.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<SignatureType, D::Error> {
        let number = i64::deserialize(d)?;
        let known = u8::try_from(number).ok().and_then(SignatureType::from_number);
        known.ok_or_else(|| {
            D::Error::custom("must be 0 (the key's own address), 1 (proxy), 2 (Safe) or 3 (deposit wallet)")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (text, ms) in [("500ms", 500), ("90s", 90_000), ("5m", 300_000), ("2h", 7_200_000), ("0s", 0)] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.0.as_millis(), ms);
            assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }
        for text in ["", "5", "s", "-1s", "1.5s", "1 s", "99999999999999999999h", "9999999999999999h", "5d"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn core_lists() {
        let table: [(&str, &[usize]); 5] =
            [("", &[]), ("0", &[0]), ("0,1", &[0, 1]), ("2-5", &[2, 3, 4, 5]), ("7, 1-2", &[7, 1, 2])];
        for (text, cores) in table {
            assert_eq!(text.parse::<Cores>().unwrap().0, cores, "{text}");
        }
        for text in ["a", "1,", ",", "5-2", "-1", "1-", "70000"] {
            assert!(text.parse::<Cores>().is_err(), "{text}");
        }
    }
}
