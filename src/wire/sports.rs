//! Step 2 of 9: sports-channel frames → where the match is. Lifecycle only: the channel is tens of seconds late.
//!
//! Source: docs/PROTOCOL.md "sports channel"; tests/fixtures/samples/sports.

use super::{
    json::{Fields, Json, Reader, for_each_object},
    market::{ParseError, ParseErrorKind},
};
use crate::types::{
    Event,
    event::{MatchEvent, MatchPhase},
};

/// The match that a run follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Game {
    /// The venue's game id (Gamma `event.gameId`), if known.
    pub id: Option<u64>,
    /// Team of the first outcome, team of the second.
    pub teams: [String; 2],
}

/// What a message was, by count. Nothing is dropped without being counted here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Frames about our game, given out.
    pub applied: u32,
    /// Frames about other games.
    pub other_games: u32,
    /// Frames about our game whose teams are not ours: the score could be the wrong way round.
    pub unknown_teams: u32,
    /// The peer sent a text `ping`: answer with a text `pong`.
    pub ping: bool,
    /// A text `pong`.
    pub pong: bool,
}

/// Reads sports-channel frames.
#[derive(Debug)]
pub struct SportsParser {
    reader: Reader,
    game: Game,
}

impl SportsParser {
    /// A parser that follows one match.
    pub fn new(game: Game) -> Self {
        Self { reader: Reader::new(), game }
    }

    /// Reads one text message and gives what it says of our match to `sink`.
    pub fn parse(&mut self, message: &mut [u8], sink: &mut impl FnMut(Event)) -> Result<Parsed, ParseError> {
        let mut parsed = Parsed::default();
        let text = message.trim_ascii();
        if text.eq_ignore_ascii_case(b"ping") || text.eq_ignore_ascii_case(b"pong") {
            parsed.ping = text.eq_ignore_ascii_case(b"ping");
            parsed.pong = !parsed.ping;
            return Ok(parsed);
        }
        let (game, mut found) = (&self.game, None);
        let each = |fields: Fields<'_>| {
            let frame = Frame::read(fields);
            match frame.orientation(game) {
                Orientation::Other => parsed.other_games += 1,
                Orientation::Unknown => parsed.unknown_teams += 1,
                Orientation::Known { swapped } => {
                    found = Some(frame.event(swapped));
                    parsed.applied += 1;
                }
            }
            Ok(())
        };
        let read = self.reader.read(message, |json| for_each_object(json, each)).flatten();
        match read {
            Some(Ok(())) => {
                if let Some(event) = found {
                    sink(Event::Match(event));
                }
                Ok(parsed)
            }
            Some(Err(kind)) => Err(ParseError { kind, instrument: None }),
            None => Err(ParseError { kind: ParseErrorKind::NotJson, instrument: None }),
        }
    }
}

enum Orientation {
    Other,
    Unknown,
    Known { swapped: bool },
}

#[derive(Default)]
struct Frame<'a> {
    game: Option<Json<'a>>,
    home: &'a [u8],
    away: &'a [u8],
    status: &'a [u8],
    score: &'a [u8],
    period: &'a [u8],
    live: bool,
    ended: bool,
}

/// Compares names by their letters and digits: stray spaces and case differ between sources.
fn same_team(a: &[u8], b: &[u8]) -> bool {
    let key = |name: &[u8]| -> Vec<u8> {
        name.iter().filter(|c| !c.is_ascii_whitespace()).map(u8::to_ascii_lowercase).collect()
    };
    !a.trim_ascii().is_empty() && key(a) == key(b)
}

/// Reads a small number between separators.
fn small(text: &[u8]) -> Option<u8> {
    core::str::from_utf8(text.trim_ascii()).ok()?.parse().ok()
}

impl<'a> Frame<'a> {
    fn read(fields: Fields<'a>) -> Self {
        let mut frame = Self::default();
        for (key, value) in fields {
            let slot = match key {
                "homeTeam" => &mut frame.home,
                "awayTeam" => &mut frame.away,
                "status" => &mut frame.status,
                "score" => &mut frame.score,
                "period" => &mut frame.period,
                "gameId" => {
                    frame.game = Some(value);
                    continue;
                }
                "live" => {
                    frame.live = value.bool().unwrap_or(false);
                    continue;
                }
                "ended" => {
                    frame.ended = value.bool().unwrap_or(false);
                    continue;
                }
                _ => continue,
            };
            *slot = value.str().unwrap_or(b"");
        }
        frame
    }

    fn orientation(&self, game: &Game) -> Orientation {
        let [first, second] = game.teams.each_ref().map(|t| t.as_bytes());
        let by_id = match (self.game.and_then(Json::u64), game.id) {
            (Some(theirs), Some(ours)) if theirs != ours => return Orientation::Other,
            (Some(_), Some(_)) => true,
            _ => false,
        };
        let straight = (same_team(self.home, first), same_team(self.away, second));
        let swapped = (same_team(self.home, second), same_team(self.away, first));
        // With the id, one name is enough to tell which side is which; without it, both must be right.
        match (by_id, straight, swapped) {
            (_, (true, true), _) | (true, (true, _) | (_, true), (false, false)) => {
                Orientation::Known { swapped: false }
            }
            (_, _, (true, true)) | (true, (false, false), (true, _) | (_, true)) => {
                Orientation::Known { swapped: true }
            }
            (true, ..) => Orientation::Unknown,
            (false, ..) => Orientation::Other,
        }
    }

    fn event(&self, swapped: bool) -> MatchEvent {
        let is = |s: &str| self.status.eq_ignore_ascii_case(s.as_bytes());
        let phase = if self.ended || is("finished") || is("final") {
            MatchPhase::Finished
        } else if is("break") || is("paused") {
            MatchPhase::Paused
        } else if self.live {
            MatchPhase::Running
        } else {
            MatchPhase::NotStarted
        };
        // `<score of this map>|<maps won>|<format>`, and `2/3` for the second map of three.
        let maps = self.score.split(|b| *b == b'|').nth(1).and_then(|maps| {
            let (home, away) = maps.split_at(maps.iter().position(|b| *b == b'-')?);
            Some([small(home)?, small(&away[1..])?])
        });
        let mut score = maps.unwrap_or([0, 0]);
        if swapped {
            score.reverse();
        }
        let map = self.period.split(|b| *b == b'/').next().and_then(small).unwrap_or(0);
        MatchEvent { phase, map, score }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: &str = r#"{"gameId":1716599,"leagueAbbreviation":"cs2","homeTeam":"Morrow Esports",
        "awayTeam":"Banda LFO","status":"running","score":"000-000|1-0|Bo3","period":"2/3","live":true,"ended":false}"#;

    fn parse(id: Option<u64>, teams: [&str; 2], message: &str) -> (Parsed, Option<MatchEvent>) {
        let mut parser = SportsParser::new(Game { id, teams: teams.map(str::to_owned) });
        let mut event = None;
        let parsed = parser.parse(&mut message.as_bytes().to_vec(), &mut |e| match e {
            Event::Match(e) => event = Some(e),
            other => panic!("not a match event: {other:?}"),
        });
        (parsed.unwrap(), event)
    }

    #[test]
    fn a_game_is_found_by_id_or_by_both_names_and_turned_to_our_order() {
        let running = |score| Some(MatchEvent { phase: MatchPhase::Running, map: 2, score });
        for (id, teams, event) in [
            (Some(1_716_599), ["Morrow Esports", "Banda LFO"], running([1, 0])),
            (Some(1_716_599), [" banda lfo ", "MORROW ESPORTS"], running([0, 1])),
            (Some(1_716_599), ["Morrow Esports", "Banda"], running([1, 0])),
            (Some(1_716_599), ["BandaLFO", "Morrow"], running([0, 1])),
            (None, ["Banda LFO", "Morrow Esports"], running([0, 1])),
            (None, ["Banda LFO", "Morrow"], None),
            (Some(1), ["Morrow Esports", "Banda LFO"], None),
        ] {
            let (parsed, got) = parse(id, teams, FRAME);
            assert_eq!(got, event, "{id:?} {teams:?}");
            assert_eq!((parsed.applied, parsed.other_games), if event.is_some() { (1, 0) } else { (0, 1) });
        }
        let (parsed, event) = parse(Some(1_716_599), ["x", "y"], FRAME);
        assert_eq!((parsed.unknown_teams, event), (1, None));
    }

    #[test]
    fn phases() {
        let teams = ["Morrow Esports", "Banda LFO"];
        for (from, to, phase) in [
            ("\"live\":true", "\"live\":false", MatchPhase::NotStarted),
            ("\"ended\":false", "\"ended\":true", MatchPhase::Finished),
            ("running", "Finished", MatchPhase::Finished),
            ("running", "Break", MatchPhase::Paused),
            ("running", "InProgress", MatchPhase::Running),
        ] {
            assert_eq!(parse(None, teams, &FRAME.replace(from, to)).1.map(|e| e.phase), Some(phase), "{to}");
        }
    }

    #[test]
    fn keepalives_and_garbage() {
        assert!(parse(None, ["a", "b"], "ping").0.ping);
        assert!(parse(None, ["a", "b"], "PONG").0.pong);
        assert!(
            SportsParser::new(Game { id: None, teams: Default::default() })
                .parse(&mut b"what".to_vec(), &mut |_| ())
                .is_err()
        );
    }
}
