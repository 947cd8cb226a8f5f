//! Step 5 of 9: markets in which nothing is traded although they were chosen: their rules leave the outcome open.
//!
//! Written as a list of condition ids and slugs. A name that no market has is a mistake, and a dangerous one: the
//! market that was meant would be traded.

use serde::{Deserialize, Serialize};

use super::{BadParam, BadParams, MARKETS_MAX};
use crate::types::{ConditionId, MarketIx, MarketSpec};

const SECTION: &str = "risk";
const _: () = assert!(MARKETS_MAX <= u64::BITS as usize, "a bit for every market");

/// The list, as written: `["0x…", "cs2-faze-ill-2026-04-05-game3"]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Restricted(pub Vec<String>);

/// The markets that it means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestrictedMarkets(u64);

impl RestrictedMarkets {
    /// True if nothing is traded there.
    #[inline]
    pub const fn contains(self, m: MarketIx) -> bool {
        m.ix() < MARKETS_MAX && self.0 >> m.ix() & 1 == 1
    }
}

fn is_hex(name: &str) -> bool {
    name.starts_with("0x") || name.starts_with("0X")
}

fn condition(name: &str) -> Option<ConditionId> {
    name.get(2..).filter(|digits| digits.len() == 64).and_then(|digits| ConditionId::parse(digits.as_bytes()))
}

impl Restricted {
    /// Every name that cannot be one, before any market is known: key, value, what would be right.
    pub fn validate(&self) -> Result<(), Vec<BadParam>> {
        let mut bad = BadParams::new(SECTION);
        for (n, name) in self.0.iter().enumerate() {
            let key = format!("restricted[{n}]");
            let shown = format_args!("\"{name}\"");
            let text = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control());
            bad.check(&key, shown, text, "a condition id or a slug, without blanks");
            bad.check(&key, shown, !is_hex(name) || condition(name).is_some(), "a condition id: 0x and 64 hex digits");
            let again = self.0.iter().take(n).any(|earlier| earlier == name);
            bad.check(&key, shown, !again, "named once");
        }
        bad.into_result()
    }

    /// Finds the markets. Every name that none of them has is told: a slug is compared exactly, a condition id by
    /// value.
    pub fn resolve(&self, markets: &[MarketSpec]) -> Result<RestrictedMarkets, Vec<BadParam>> {
        let mut bad = BadParams::new(SECTION);
        let mut found = 0;
        for (n, name) in self.0.iter().enumerate() {
            let id = if is_hex(name) { condition(name) } else { None };
            let meant = |spec: &MarketSpec| id.map_or(spec.slug == *name, |id| spec.condition == id);
            let bits = (0..).zip(markets.iter().take(MARKETS_MAX)).filter(|(_, spec)| meant(spec));
            let bits = bits.fold(0_u64, |bits, (m, _): (u32, _)| bits | 1 << m);
            let right = "the condition id or slug of a market of this run; `markets.conditions` names them";
            bad.check(&format!("restricted[{n}]"), format_args!("\"{name}\""), bits != 0, right);
            found |= bits;
        }
        bad.into_result().map(|()| RestrictedMarkets(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::sample;

    fn market(n: u8, slug: &str) -> MarketSpec {
        MarketSpec { condition: ConditionId([n; 32]), slug: slug.into(), ..sample::market() }
    }

    fn markets() -> [MarketSpec; 3] {
        [market(0x1a, "cs2-faze-ill"), market(0x2b, "cs2-faze-ill-game1"), market(0x3c, "cs2-faze-ill-game2")]
    }

    fn list(names: &[&str]) -> Restricted {
        Restricted(names.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_market_is_named_by_its_condition_or_its_slug() {
        let id = format!("0x{}", "2b".repeat(32));
        let upper = format!("0X{}", "2B".repeat(32));
        for (names, meant) in [
            (vec![], [false, false, false]),
            (vec!["cs2-faze-ill"], [true, false, false]),
            (vec!["cs2-faze-ill-game2"], [false, false, true]),
            (vec![id.as_str()], [false, true, false]),
            (vec![upper.as_str(), "cs2-faze-ill"], [true, true, false]),
        ] {
            assert_eq!(list(&names).validate(), Ok(()));
            let found = list(&names).resolve(&markets()).unwrap();
            assert_eq!([0, 1, 2].map(|m| found.contains(MarketIx(m))), meant, "{names:?}");
            assert!(!found.contains(MarketIx(64)) && !found.contains(MarketIx(u16::MAX)));
        }
    }

    #[test]
    fn every_market_of_a_full_run_has_its_own_bit() {
        let full: Vec<MarketSpec> = (0..64).map(|n| market(n, &format!("m{n}"))).collect();
        for m in 0..64 {
            let found = list(&[&format!("m{m}")]).resolve(&full).unwrap();
            assert!((0..64).all(|other| found.contains(MarketIx(other)) == (other == m)), "m{m}");
        }
    }

    #[test]
    fn a_name_that_no_market_has_is_refused_with_its_key() {
        let unknown = format!("0x{}", "77".repeat(32));
        let bad = list(&["cs2-faze-ill", "cs2-faze-il", "CS2-faze-ill-game1", &unknown]).resolve(&markets());
        let bad: Vec<String> = bad.unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(bad.len(), 3, "{bad:?}");
        for (n, name) in [(1, "cs2-faze-il"), (2, "CS2-faze-ill-game1"), (3, unknown.as_str())] {
            let says = format!("risk.restricted[{n}] = \"{name}\": must be the condition id or slug of a market");
            assert!(bad[n - 1].starts_with(&says), "{bad:?} should say {says}");
        }
    }

    #[test]
    fn what_cannot_be_a_name_is_refused_before_any_market_is_known() {
        let twice = format!("0x0x{}", "2b".repeat(32));
        for (name, says) in [
            ("", "must be a condition id or a slug, without blanks"),
            ("cs2 faze", "without blanks"),
            ("cs2\n", "without blanks"),
            ("0x12", "must be a condition id: 0x and 64 hex digits"),
            (twice.as_str(), "must be a condition id: 0x and 64 hex digits"),
        ] {
            let bad: Vec<String> =
                list(&["fine", name]).validate().unwrap_err().iter().map(ToString::to_string).collect();
            let named = bad.len() == 1 && bad[0].starts_with("risk.restricted[1] = ");
            assert!(named && bad[0].contains(says), "{bad:?} should say {says}");
            assert!(list(&[name]).resolve(&markets()).is_err(), "{name:?} is no market either");
        }
        let bad = list(&["a", "b", "a"]).validate().unwrap_err();
        assert_eq!(bad[0].to_string(), "risk.restricted[2] = \"a\": must be named once");
    }

    #[test]
    fn it_reads_as_a_plain_list() {
        #[derive(Deserialize)]
        struct Section {
            restricted: Restricted,
        }
        let section: Section = toml::from_str("restricted = [\"a\", \"b\"]").unwrap();
        assert_eq!(section.restricted, list(&["a", "b"]));
        assert!(toml::from_str::<Section>("restricted = \"a\"").is_err());
    }
}
