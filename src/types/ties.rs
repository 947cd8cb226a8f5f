//! Which markets belong to which match, and what each decides there.

use super::market::{InMatch, MarketKind, MatchSpec, Team, Universe};

/// What the configuration says of a match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tie {
    /// The match. `teams` may be empty: then the series market names them.
    pub spec: MatchSpec,
    /// Markets with a handicap: slug, the team that the first outcome is about, its line in half maps.
    pub handicaps: Vec<(String, String, i8)>,
}

impl Tie {
    /// A match without handicaps.
    pub const fn winners(spec: MatchSpec) -> Self {
        Self { spec, handicaps: Vec::new() }
    }
}

/// Why a match cannot be tied to its markets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Untied {
    /// No market of the run has this slug; those that there are.
    Unknown(String, String),
    /// A map that cannot be played.
    Map(String, u8, String, u8),
    /// A line that cannot be reached, or that can be met exactly.
    Line(String, i16, u8),
    /// A number of maps that no match is played over.
    BestOf(String, u8),
    /// A market's outcomes are not the teams.
    Team(String, String, [String; 2]),
    /// Nothing says who plays.
    NoTeams(String),
}

impl core::fmt::Display for Untied {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unknown(slug, known) => {
                write!(f, "matches: no market of this run is called `{slug}`; its markets are {known}")
            }
            Self::Map(market, map, slug, best_of) => write!(
                f,
                "matches: `{market}` is the market of map {map}, but `{slug}` is a best of {best_of}; correct best_of"
            ),
            Self::Line(market, line, best_of) => write!(
                f,
                "matches: `{market}` has a line of {line} half maps, which a best of {best_of} cannot decide; lines are \
                 odd halves within it"
            ),
            Self::BestOf(slug, best_of) => write!(f, "matches: best_of of `{slug}` is {best_of}; it must be 1, 3 or 5"),
            Self::Team(market, first, [a, b]) => write!(
                f,
                "matches: the first outcome of `{market}` is `{first}`, which is neither `{a}` nor `{b}`; name the teams \
                 as the market does"
            ),
            Self::NoTeams(slug) => {
                write!(f, "matches: nothing says who plays `{slug}`: none of its markets is the series; give `teams`")
            }
        }
    }
}

impl core::error::Error for Untied {}

impl Universe {
    /// Ties the markets of matches to each other. A market belongs to a match if its slug is the match's, or the
    /// match's and a dash and more. What is not a winner of the series, of a map, a total of maps or a handicap that is
    /// named stays out: it stands alone.
    /// Source: docs/PROTOCOL.md "slugs and market types".
    pub fn tie(&mut self, ties: &[Tie]) -> Result<(), Untied> {
        for tie in ties {
            self.tie_one(tie)?;
        }
        Ok(())
    }

    fn tie_one(&mut self, tie: &Tie) -> Result<(), Untied> {
        let mut spec = tie.spec.clone();
        let (slug, best_of) = (spec.slug.clone(), spec.best_of);
        if ![1, 3, 5].contains(&best_of) {
            return Err(Untied::BestOf(slug, best_of));
        }
        let own: Vec<usize> =
            (0..self.markets.len()).filter(|&m| suffix(&self.markets[m].slug, &slug).is_some()).collect();
        let named = tie.handicaps.iter().map(|(slug, ..)| slug);
        let mut missing = named.filter(|slug| !own.iter().any(|&m| self.markets[m].slug == **slug));
        if let Some(unknown) = own.is_empty().then_some(&slug).or_else(|| missing.next()) {
            let known: Vec<_> = self.markets.iter().map(|m| m.slug.as_str()).collect();
            return Err(Untied::Unknown(unknown.clone(), known.join(", ")));
        }
        if spec.teams.iter().any(String::is_empty) {
            let series = own.iter().map(|&m| &self.markets[m]).find(|m| m.slug == slug);
            spec.teams = series.ok_or_else(|| Untied::NoTeams(slug.clone()))?.outcomes.clone();
        }
        let index = super::MatchIx(self.matches.len() as u16);
        for m in own {
            let market = &mut self.markets[m];
            let handicap = tie.handicaps.iter().find(|(slug, ..)| *slug == market.slug);
            let Some(kind) = kind_of(&market.slug, &slug, market.kind, &market.outcomes, handicap.map(|h| h.2)) else {
                continue;
            };
            match kind {
                MarketKind::Map(n) if n == 0 || n > best_of => {
                    return Err(Untied::Map(market.slug.clone(), n, slug, best_of));
                }
                MarketKind::Handicap(line) if line % 2 == 0 || line.unsigned_abs() > best_of => {
                    return Err(Untied::Line(market.slug.clone(), line.into(), best_of));
                }
                MarketKind::Total(line) if line % 2 == 0 || line < best_of + 2 || line >= 2 * best_of => {
                    return Err(Untied::Line(market.slug.clone(), line.into(), best_of));
                }
                _ => {}
            }
            let about = handicap.map_or(&market.outcomes[0], |h| &h.1);
            let first = match (kind, spec.teams.iter().position(|t| same(t, about))) {
                (MarketKind::Total(_), _) | (_, Some(0)) => Team::First,
                (_, Some(_)) => Team::Second,
                (_, None) => {
                    return Err(Untied::Team(market.slug.clone(), about.clone(), spec.teams));
                }
            };
            market.kind = kind;
            market.of_match = Some(InMatch { index, first });
        }
        self.matches.push(spec);
        Ok(())
    }
}

/// What follows the match's slug in a market's, without the dash; empty if nothing does.
fn suffix<'a>(market: &'a str, slug: &str) -> Option<&'a str> {
    let rest = market.strip_prefix(slug)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('-') }
}

fn kind_of(
    market: &str,
    slug: &str,
    told: MarketKind,
    outcomes: &[String; 2],
    handicap: Option<i8>,
) -> Option<MarketKind> {
    if let Some(line) = handicap {
        return Some(MarketKind::Handicap(line));
    }
    let rest = suffix(market, slug)?;
    let map = rest.strip_prefix("game").and_then(|n| n.parse().ok()).map(MarketKind::Map);
    let total = rest.strip_prefix("total-games-").and_then(|line| {
        let (whole, half) = line.split_once("pt")?;
        let whole: u8 = whole.parse().ok()?;
        (half == "5" && same(&outcomes[0], "over"))
            .then(|| MarketKind::Total(whole.saturating_mul(2).saturating_add(1)))
    });
    match told {
        MarketKind::Series | MarketKind::Map(_) => Some(told),
        _ if rest.is_empty() => Some(MarketKind::Series),
        _ => map.or(total),
    }
}

fn same(a: &str, b: &str) -> bool {
    a.trim().eq_ignore_ascii_case(b.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{MarketSpec, sample};

    const SLUG: &str = "lol-aaa-bbb-2026-11-23";

    fn universe(markets: &[(&str, [&str; 2])]) -> Universe {
        let spec = |(slug, outcomes): &(&str, [&str; 2])| MarketSpec {
            slug: format!("{SLUG}{slug}"),
            outcomes: outcomes.map(str::to_owned),
            kind: MarketKind::Other,
            ..sample::market()
        };
        sample::universe(markets.iter().map(spec).collect())
    }

    fn best_of(n: u8) -> Tie {
        let spec = MatchSpec { slug: SLUG.into(), best_of: n, teams: Default::default(), tournament: String::new() };
        Tie::winners(spec)
    }

    #[test]
    fn markets_are_tied_by_their_slugs_and_outcomes() {
        let mut u = universe(&[
            ("", ["Aardvarks", "Badgers"]),
            ("-game1", [" badgers ", "Aardvarks"]),
            ("-game3", ["Aardvarks", "Badgers"]),
            ("-map-handicap-away-1pt5", ["Badgers", "Aardvarks"]),
            ("-total-games-2pt5", ["Over", "Under"]),
            ("-first-blood-game1", ["Aardvarks", "Badgers"]),
            ("x", ["Aardvarks", "Badgers"]),
        ]);
        let handicaps = vec![(format!("{SLUG}-map-handicap-away-1pt5"), "Badgers".into(), 3)];
        u.tie(&[Tie { handicaps, ..best_of(3) }]).unwrap();
        let of: Vec<_> = u.markets.iter().map(|m| m.of_match.map(|p| (m.kind, p.first))).collect();
        assert_eq!(
            of,
            [
                Some((MarketKind::Series, Team::First)),
                Some((MarketKind::Map(1), Team::Second)),
                Some((MarketKind::Map(3), Team::First)),
                Some((MarketKind::Handicap(3), Team::Second)),
                Some((MarketKind::Total(5), Team::First)),
                None,
                None,
            ]
        );
        assert_eq!(u.matches[0].teams, ["Aardvarks", "Badgers"]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let both = [("", ["Aardvarks", "Badgers"]), ("-game3", ["Aardvarks", "Badgers"])];
        for (markets, tie, why) in [
            (&both[..], best_of(1), "map 3, but"),
            (&both[..], best_of(2), "must be 1, 3 or 5"),
            (&both[1..], best_of(3), "nothing says who plays"),
            (&[][..], best_of(3), "no market of this run is called"),
            (
                &both[..],
                Tie { handicaps: vec![(format!("{SLUG}-game7"), "Badgers".into(), 3)], ..best_of(3) },
                "no market of this run is called",
            ),
            (
                &both[..],
                Tie { handicaps: vec![(format!("{SLUG}-game3"), "Badgers".into(), 5)], ..best_of(3) },
                "which a best of 3 cannot decide",
            ),
            (
                &both[..],
                Tie { handicaps: vec![(format!("{SLUG}-game3"), "Cranes".into(), 3)], ..best_of(3) },
                "neither `Aardvarks` nor `Badgers`",
            ),
            (
                &[("", ["Aardvarks", "Badgers"]), ("-game1", ["Yes", "No"])][..],
                best_of(3),
                "is `Yes`, which is neither",
            ),
            (
                &[("", ["Aardvarks", "Badgers"]), ("-total-games-4pt5", ["Over", "Under"])][..],
                best_of(3),
                "line of 9 half maps",
            ),
        ] {
            let refused = universe(markets).tie(&[tie]).unwrap_err().to_string();
            assert!(refused.contains(why), "{refused} should say {why}");
        }
    }
}
