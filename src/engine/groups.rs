//! Step 5 of 9: matches that may go wrong together, and what may be lost over each group of them.
//!
//! Matches of one tournament are one group, matches of one team another; a person can name more. A group's loss is the
//! sum of its matches' worst losses, as if none could make up for another.

use serde::{Deserialize, Serialize};

use super::{BadParam, BadParams, exposure::Groups, limits::Limits};
use crate::types::{Universe, Usdc};

/// Matches that a person ties together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedGroup {
    /// For people.
    pub name: String,
    /// Slugs of its matches.
    pub matches: Vec<String>,
    /// Largest sum of their worst losses.
    pub limit_usdc: Usdc,
}

/// Which groups each match is in, and what each group may lose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupLimits {
    /// Of each match, in the universe's order: its tournament, its teams, the group that a person named.
    pub of: Vec<Groups>,
    /// What each group may lose.
    pub limits: Vec<Usdc>,
}

impl GroupLimits {
    /// The groups of a run. Names of matches that are not in it are left out: [`GroupLimits::unknown`] tells of them.
    pub fn of(universe: &Universe, limits: &Limits) -> Self {
        let mut names: Vec<String> = Vec::new();
        let mut all = Self::default();
        for spec in &universe.matches {
            let [first, second] = &spec.teams;
            let own = limits.groups.iter().find(|g| g.matches.contains(&spec.slug));
            let keys = [
                (!spec.tournament.is_empty()).then(|| (format!("tournament {}", spec.tournament), limits.group_usdc)),
                (!first.is_empty()).then(|| (format!("team {first}"), limits.group_usdc)),
                (!second.is_empty()).then(|| (format!("team {second}"), limits.group_usdc)),
                own.map(|g| (format!("named {}", g.name), g.limit_usdc)),
            ];
            all.of.push(keys.map(|key| {
                let (name, limit) = key?;
                let at = names.iter().position(|n| *n == name).unwrap_or_else(|| {
                    names.push(name);
                    all.limits.push(limit);
                    names.len() - 1
                });
                u16::try_from(at).ok()
            }));
        }
        all
    }

    /// Names in groups that no match of the run has: key, value, what would be right.
    pub fn unknown(universe: &Universe, limits: &Limits) -> Result<(), Vec<BadParam>> {
        let mut bad = BadParams::new("risk");
        for (n, group) in limits.groups.iter().enumerate() {
            for slug in &group.matches {
                let known = universe.matches.iter().any(|m| m.slug == *slug);
                let right = "the slug of a match of this run; `[[matches]]` names them";
                bad.check(&format!("groups[{n}].matches"), format_args!("\"{slug}\""), known, right);
            }
        }
        bad.into_result()
    }

    /// Every group that cannot be, before any match is known.
    pub(super) fn validate(limits: &Limits, bad: &mut BadParams) {
        for (n, group) in limits.groups.iter().enumerate() {
            let key = |field: &str| format!("groups[{n}].{field}");
            let shown = format!("\"{}\"", group.name);
            let once = limits.groups.iter().take(n).all(|other| other.name != group.name);
            bad.check(&key("name"), &shown, once && !group.name.is_empty(), "a name, each once");
            bad.check(&key("matches"), "[]", !group.matches.is_empty(), "the slug of at least one match");
            let twice =
                limits.groups.iter().take(n).any(|other| other.matches.iter().any(|m| group.matches.contains(m)));
            bad.check(&key("matches"), &shown, !twice, "matches that are in no other group of `risk.groups`");
            let limit = group.limit_usdc;
            let fits = limit > Usdc::ZERO && limit <= limits.total_usdc;
            bad.check(&key("limit_usdc"), limit, fits, "more than 0 pUSD, and at most risk.total_usdc");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{MatchSpec, sample};

    fn universe() -> Universe {
        let of = |slug: &str, teams: [&str; 2], tournament: &str| MatchSpec {
            slug: slug.into(),
            best_of: 3,
            teams: teams.map(str::to_owned),
            tournament: tournament.into(),
        };
        let matches = vec![of("a-b", ["A", "B"], "cup"), of("c-a", ["C", "A"], "cup"), of("d-e", ["D", "E"], "")];
        Universe { matches, ..sample::universe(Vec::new()) }
    }

    fn named(name: &str, matches: &[&str], dollars: i64) -> NamedGroup {
        let matches = matches.iter().map(|m| (*m).to_owned()).collect();
        NamedGroup { name: name.into(), matches, limit_usdc: Usdc::dollars(dollars) }
    }

    #[test]
    fn a_match_counts_with_its_tournament_its_teams_and_the_group_that_names_it() {
        let limits = Limits { groups: vec![named("late", &["c-a", "d-e"], 100)], ..Limits::default() };
        let groups = GroupLimits::of(&universe(), &limits);
        // cup, A, B, C, late, D, E.
        assert_eq!(
            groups.of,
            [
                [Some(0), Some(1), Some(2), None],
                [Some(0), Some(3), Some(1), Some(4)],
                [None, Some(5), Some(6), Some(4)],
            ]
        );
        let each: Vec<_> = groups.limits.iter().map(|l| *l == Usdc::dollars(100)).collect();
        assert_eq!(each, [false, false, false, false, true, false, false]);
    }

    #[test]
    fn groups_that_cannot_be_are_named() {
        let table = [
            (vec![named("", &["a-b"], 10)], "risk.groups[0].name"),
            (vec![named("x", &[], 10)], "risk.groups[0].matches"),
            (vec![named("x", &["a-b"], 10), named("x", &["c-a"], 10)], "risk.groups[1].name"),
            (vec![named("x", &["a-b"], 10), named("y", &["a-b"], 10)], "risk.groups[1].matches"),
            (vec![named("x", &["a-b"], 0)], "risk.groups[0].limit_usdc"),
            (vec![named("x", &["a-b"], -5)], "risk.groups[0].limit_usdc"),
            (vec![named("x", &["a-b"], 1_000_000)], "risk.groups[0].limit_usdc"),
        ];
        for (groups, key) in table {
            let bad = Limits { groups, ..Limits::default() }.validate().unwrap_err();
            assert_eq!(bad[0].key, key, "{bad:?}");
        }
        let limits = Limits { groups: vec![named("x", &["a-b", "z-z"], 10)], ..Limits::default() };
        let bad = GroupLimits::unknown(&universe(), &limits).unwrap_err();
        assert_eq!((bad[0].key.as_str(), bad[0].value.as_str()), ("risk.groups[0].matches", "\"z-z\""));
    }
}
