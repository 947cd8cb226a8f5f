//! Frames of the venue's sports channel, as its provider would send them: late, coarse, repeated.
//!
//! Source: docs/PROTOCOL.md "Sports WS"; tests/fixtures/samples/sports/esports_lol_2026-07-25.json.

use serde::Serialize;

use super::{
    SimTime,
    game::{MAPS, Series},
};

/// Seconds between frames when nothing changed.
pub const REPEAT_S: f64 = 20.0;

/// Who plays, as the provider names them. Its home team need not be the venue's first outcome.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// The provider's id of the match.
    pub game_id: u64,
    /// Names of the first and of the second outcome.
    pub teams: [String; 2],
    /// True if the first outcome is the home team.
    pub first_is_home: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Frame<'a> {
    game_id: u64,
    league_abbreviation: &'a str,
    home_team: &'a str,
    away_team: &'a str,
    status: &'a str,
    score: String,
    period: String,
    live: bool,
    ended: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_timestamp: Option<String>,
}

/// Where the provider says that the series is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// True from the first map's start on.
    pub begun: bool,
    /// Maps won by the first and by the second outcome.
    pub score: [u8; 2],
    /// True once the series is decided.
    pub ended: bool,
}

impl Shown {
    /// What the provider can tell of a state. Between maps the series stays live.
    pub fn of(series: &Series) -> Self {
        Self { begun: series.live || series.played() > 0, score: series.score(), ended: series.winner().is_some() }
    }
}

impl Fixture {
    /// One frame, complete JSON text. `now` dates the end if the series is over.
    pub fn frame(&self, shown: Shown, now: SimTime) -> String {
        let (home, away) = if self.first_is_home { (0, 1) } else { (1, 0) };
        let played = usize::from(shown.score[0] + shown.score[1]);
        let map = if shown.ended { played } else { (played + 1).min(MAPS) };
        let frame = Frame {
            game_id: self.game_id,
            league_abbreviation: "lol",
            home_team: &self.teams[home],
            away_team: &self.teams[away],
            status: match (shown.begun, shown.ended) {
                (_, true) => "finished",
                (true, false) => "running",
                (false, false) => "not_started",
            },
            score: format!("000-000|{}-{}|Bo3", shown.score[home], shown.score[away]),
            period: format!("{map}/{MAPS}"),
            live: shown.begun && !shown.ended,
            ended: shown.ended,
            finished_timestamp: shown.ended.then(|| time_of_day(now)),
        };
        // A struct of strings, numbers and flags has nothing that could fail to serialise.
        serde_json::to_string(&frame).unwrap_or_default()
    }
}

/// Scenario time on the match's own day: it begins at 15:00.
fn time_of_day(now: SimTime) -> String {
    let (s, ns) = (now.0 / 1_000_000_000, now.0 % 1_000_000_000);
    format!("2026-11-23T{:02}:{:02}:{:02}.{ns:09}Z", (15 + s / 3600) % 24, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(first_is_home: bool) -> Fixture {
        Fixture { game_id: 7, teams: ["Alpha".into(), "Beta".into()], first_is_home }
    }

    #[test]
    fn frames_have_the_captured_form() {
        let captured: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/fixtures/samples/sports/esports_lol_2026-07-25.json"))
                .expect("fixture");
        let shown = Shown { begun: true, score: [0, 0], ended: false };
        let ours: serde_json::Value = serde_json::from_str(&fixture(true).frame(shown, SimTime(0))).expect("JSON");
        let keys = |v: &serde_json::Value| v.as_object().expect("object").keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&ours), keys(&captured));
        assert_eq!(ours["status"], captured["status"]);
        assert_eq!(ours["score"], "000-000|0-0|Bo3");
    }

    #[test]
    fn home_and_period_follow_the_provider() {
        let rows = [
            (Shown::default(), "not_started", "000-000|0-0|Bo3", "1/3", false, false),
            (Shown { begun: true, score: [1, 0], ended: false }, "running", "000-000|0-1|Bo3", "2/3", true, false),
            (Shown { begun: true, score: [2, 0], ended: true }, "finished", "000-000|0-2|Bo3", "2/3", false, true),
            (Shown { begun: true, score: [1, 2], ended: true }, "finished", "000-000|2-1|Bo3", "3/3", false, true),
        ];
        for (shown, status, score, period, live, ended) in rows {
            let v: serde_json::Value = serde_json::from_str(&fixture(false).frame(shown, SimTime(0))).expect("JSON");
            assert_eq!(v["homeTeam"], "Beta");
            assert_eq!((&v["status"], &v["score"], &v["period"]), (&status.into(), &score.into(), &period.into()));
            assert_eq!((&v["live"], &v["ended"]), (&live.into(), &ended.into()));
        }
    }
}
