//! The event process: a best of three, played out point by point from a seed.
//!
//! A map is a race of decisive points (kills, towers, dragons, barons) to [`TARGET`]. Points arrive as a Poisson
//! process whose rate tells nothing about who wins; who scores depends on the teams' strength, on the draft and on the
//! lead. So the state of the race is all that anybody could know, and [`Pricer`](super::fair::Pricer) prices it
//! exactly.

use super::{
    SimTime,
    dice::{Dice, sigmoid},
};
use crate::types::{event::Payout, ids::Outcome};

/// Points that win a map.
pub const TARGET: u8 = 36;

/// Maps of the series.
pub const MAPS: usize = 3;

/// What a decisive point came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// A kill that matters.
    Kill,
    /// A tower.
    Tower,
    /// A dragon.
    Dragon,
    /// Baron Nashor.
    Baron,
}

impl Point {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Kill, Self::Tower, Self::Dragon, Self::Baron];
    /// How often each kind comes, in the order of [`Self::ALL`].
    pub const FREQUENCY: [f64; 4] = [0.60, 0.20, 0.13, 0.07];

    /// What it counts in the race.
    pub const fn weight(self) -> u8 {
        match self {
            Self::Kill => 1,
            Self::Tower | Self::Dragon => 2,
            Self::Baron => 5,
        }
    }
}

/// The teams and the pace of one match, drawn once.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Log-odds that the first team scores the next point, all else equal.
    pub strength: f64,
    /// Log-odds for the leader per point of lead: the snowball.
    pub snowball: f64,
    /// Log-odds for the team that won the draft.
    pub draft: f64,
    /// Mean seconds between points.
    pub gap_s: f64,
}

impl Rules {
    /// Draws a match. Ranges and reasons: `docs/SCENARIOS.md` "the match".
    pub fn draw(dice: &mut Dice) -> Self {
        Self {
            strength: dice.normal(0.10).clamp(-0.25, 0.25),
            snowball: dice.uniform(0.005, 0.015),
            draft: dice.uniform(0.02, 0.08),
            gap_s: dice.uniform(40.0, 50.0),
        }
    }

    /// Probability that the first team scores the next point of a map.
    pub fn next_point(&self, map: &Race) -> f64 {
        let draft = if map.draft == Outcome::Yes { self.draft } else { -self.draft };
        let lead = f64::from(map.points[0]) - f64::from(map.points[1]);
        sigmoid(self.strength + draft + self.snowball * lead)
    }
}

/// A map whose draft is known, being played or about to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Race {
    /// Whom the draft favours.
    pub draft: Outcome,
    /// Points of the first and of the second team.
    pub points: [u8; 2],
}

/// All that can be known about the series at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// Winners of the maps played, in order.
    pub winners: [Option<Outcome>; MAPS],
    /// The next map or the one being played, once its draft is over.
    pub race: Option<Race>,
    /// True while a map is on, pauses included.
    pub live: bool,
    /// True in a pause.
    pub paused: bool,
}

impl Series {
    /// Maps won by the first and by the second team.
    pub fn score(&self) -> [u8; 2] {
        let won = |team| self.winners.iter().filter(|w| **w == Some(team)).count() as u8;
        [won(Outcome::Yes), won(Outcome::No)]
    }

    /// Maps played to their end.
    pub fn played(&self) -> usize {
        self.winners.iter().flatten().count()
    }

    /// The winner of the series, once there is one.
    pub fn winner(&self) -> Option<Outcome> {
        match self.score() {
            [2, _] => Some(Outcome::Yes),
            [_, 2] => Some(Outcome::No),
            _ => None,
        }
    }

    /// What a map (from 0) pays, once that is certain: a map that will not be played pays ½.
    pub fn map_payout(&self, map: usize) -> Option<Payout> {
        match self.winners[map] {
            Some(winner) => Some(payout(winner)),
            None => self.winner().map(|_| Payout::Half),
        }
    }

    /// What the series pays, once that is certain.
    pub fn series_payout(&self) -> Option<Payout> {
        self.winner().map(payout)
    }
}

/// What a market pays when this outcome won.
fn payout(winner: Outcome) -> Payout {
    match winner {
        Outcome::Yes => Payout::Yes,
        Outcome::No => Payout::No,
    }
}

/// What happened at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The story begins.
    Opening,
    /// The draft of the next map is over.
    Draft,
    /// A map begins.
    MapStart,
    /// A team scored.
    Scored(Outcome, Point),
    /// Play stops.
    Pause,
    /// Play goes on.
    Resume,
    /// The last point of a map fell.
    MapEnd(Outcome),
}

/// One moment of the story and the state after it.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// When it truly happens. Every source shows it later.
    pub at: SimTime,
    /// What happens.
    pub what: What,
    /// The series after it.
    pub series: Series,
}

/// A match, told to its end.
#[derive(Clone, Debug)]
pub struct Story {
    /// The scheduled start, when the venue clears the series book. The first map begins then or up to two minutes
    /// later.
    pub scheduled: SimTime,
    /// Everything that happens, in order of time. The first is [`What::Opening`] at zero.
    pub moments: Vec<Moment>,
}

impl Story {
    /// Plays a match.
    pub fn play(rules: &Rules, dice: &mut Dice) -> Self {
        let scheduled = dice.span(120.0, 300.0);
        let opening = Moment { at: SimTime(0), what: What::Opening, series: Series::default() };
        let mut telling = Telling { now_s: 0.0, series: Series::default(), moments: vec![opening] };
        let mut start_s = scheduled.as_secs_f64() + dice.uniform(0.0, 120.0);
        while telling.series.winner().is_none() {
            telling.map(start_s, rules, dice);
            start_s = telling.now_s + dice.uniform(300.0, 480.0);
        }
        Self { scheduled, moments: telling.moments }
    }

    /// The last moment at or before a time, as an index.
    pub fn index_at(&self, at: SimTime) -> usize {
        self.moments.partition_point(|m| m.at <= at).saturating_sub(1)
    }

    /// When the last map ends.
    pub fn end(&self) -> SimTime {
        self.moments.last().map_or(SimTime(0), |m| m.at)
    }
}

/// A story being told.
struct Telling {
    now_s: f64,
    series: Series,
    moments: Vec<Moment>,
}

impl Telling {
    fn tell(&mut self, at_s: f64, what: What) {
        self.now_s = at_s;
        self.moments.push(Moment { at: SimTime::from_secs_f64(at_s), what, series: self.series });
    }

    /// Plays the next map, whose first second is `start_s`.
    fn map(&mut self, start_s: f64, rules: &Rules, dice: &mut Dice) {
        let draft = if dice.chance(0.5) { Outcome::Yes } else { Outcome::No };
        let mut race = Race { draft, points: [0, 0] };
        self.series.race = Some(race);
        self.tell((start_s - dice.uniform(45.0, 90.0)).max(self.now_s), What::Draft);
        self.series.live = true;
        self.tell(start_s, What::MapStart);

        // Minions meet and levels are gained before anything decisive happens.
        let mut at_s = start_s + 150.0;
        let mut pause_before = if dice.chance(0.3) { dice.whole(1, 30) } else { 0 };
        loop {
            at_s += dice.exponential(rules.gap_s);
            pause_before = match pause_before {
                0 => 0,
                1 => {
                    at_s = self.pause(at_s, dice);
                    0
                }
                n => n - 1,
            };
            let team = if dice.chance(rules.next_point(&race)) { Outcome::Yes } else { Outcome::No };
            let point = Point::ALL[dice.pick(&Point::FREQUENCY)];
            let points = &mut race.points[team as usize];
            *points = (*points + point.weight()).min(TARGET);
            if *points == TARGET {
                let played = self.series.played();
                self.series.winners[played] = Some(team);
                self.series.race = None;
                self.series.live = false;
                self.tell(at_s, What::MapEnd(team));
                return;
            }
            self.series.race = Some(race);
            self.tell(at_s, What::Scored(team, point));
        }
    }

    /// Stops play at `at_s` and returns when the point that it delayed falls.
    fn pause(&mut self, at_s: f64, dice: &mut Dice) -> f64 {
        let length_s = dice.lognormal(120.0, 0.6).clamp(30.0, 480.0);
        self.series.paused = true;
        self.tell(at_s, What::Pause);
        self.series.paused = false;
        self.tell(at_s + length_s, What::Resume);
        at_s + length_s + dice.uniform(5.0, 30.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stories(n: u64) -> impl Iterator<Item = (u64, Story)> {
        (0..n).map(|seed| {
            let mut dice = Dice::new(seed, 0);
            let rules = Rules::draw(&mut dice);
            (seed, Story::play(&rules, &mut dice))
        })
    }

    #[test]
    fn a_story_is_a_best_of_three_in_order_of_time() {
        for (seed, story) in stories(300) {
            assert!(story.moments.is_sorted_by_key(|m| m.at), "seed {seed}");
            let last = story.moments.last().expect("moments").series;
            assert!(last.winner().is_some(), "seed {seed}");
            assert_eq!(last.played(), usize::from(last.score()[0] + last.score()[1]), "seed {seed}");
            let starts = story.moments.iter().filter(|m| m.what == What::MapStart).count();
            assert_eq!(starts, last.played(), "seed {seed}");
            assert!(story.moments.iter().filter(|m| m.what == What::MapStart).all(|m| m.at >= story.scheduled));
            for m in &story.moments {
                assert!(m.series.race.is_none_or(|r| r.points.iter().all(|p| *p < TARGET)), "seed {seed}");
            }
        }
    }

    #[test]
    fn durations_are_those_of_real_matches() {
        let (mut maps, mut matches) = (Vec::new(), Vec::new());
        for (_, story) in stories(400) {
            let mut start = 0.0;
            for m in &story.moments {
                match m.what {
                    What::MapStart => start = m.at.as_secs_f64() / 60.0,
                    What::MapEnd(_) => maps.push(m.at.as_secs_f64() / 60.0 - start),
                    _ => {}
                }
            }
            matches.push(story.end().as_secs_f64() / 60.0);
        }
        let at = |v: &mut Vec<f64>, q: f64| {
            v.sort_by(f64::total_cmp);
            v[(q * (v.len() - 1) as f64) as usize]
        };
        assert!((27.0..36.0).contains(&at(&mut maps, 0.5)), "median map {}", at(&mut maps, 0.5));
        assert!(at(&mut maps, 0.05) > 20.0 && at(&mut maps, 0.95) < 46.0, "maps {:?}", (maps[0], maps.last()));
        assert!((70.0..120.0).contains(&at(&mut matches, 0.5)), "median match {}", at(&mut matches, 0.5));
    }

    #[test]
    fn a_map_that_is_not_played_pays_half() {
        let series = Series { winners: [Some(Outcome::No), Some(Outcome::No), None], ..Series::default() };
        assert_eq!(series.series_payout(), Some(Payout::No));
        assert_eq!([0, 1, 2].map(|m| series.map_payout(m)), [Some(Payout::No), Some(Payout::No), Some(Payout::Half)]);
        assert_eq!(Series::default().map_payout(2), None);
    }
}
