//! The exact fair price of every market, by dynamic programming over the event process.
//!
//! The process has few states (two drafts × 36 × 36 scores), so the expected payout of each is a table and not an
//! estimate. By construction it is a martingale: today's price is the mean of tomorrow's, and the last one is the
//! payout.

use super::game::{Point, Race, Rules, Series, TARGET};
use crate::types::{event::Payout, ids::Outcome};

const SIDE: usize = TARGET as usize + 1;

/// Markets of a match, in the order of a price vector: the series, then maps 1 to 3.
pub const MARKETS: usize = 4;

/// Prices any state of a series under given rules.
#[derive(Clone, Debug)]
pub struct Pricer {
    /// P(first team wins the map) by draft and score.
    tables: [Vec<f64>; 2],
    /// The same before the draft.
    prior: f64,
}

impl Pricer {
    /// Builds the tables: 2 × 36 × 36 states, well under a millisecond.
    pub fn new(rules: &Rules) -> Self {
        let tables = [Outcome::Yes, Outcome::No].map(|draft| table(rules, draft));
        let prior = 0.5 * (tables[0][0] + tables[1][0]);
        Self { tables, prior }
    }

    /// Probability that the first team wins a map in this state.
    pub fn map(&self, race: &Race) -> f64 {
        self.tables[race.draft as usize][usize::from(race.points[0]) * SIDE + usize::from(race.points[1])]
    }

    /// Probability that the first team wins a map whose draft is still to come.
    pub fn prior(&self) -> f64 {
        self.prior
    }

    /// Fair price of the first outcome of each market: the expected payout, ½ for a map that is not played included.
    pub fn price(&self, series: &Series) -> [f64; MARKETS] {
        let win: [f64; 3] = std::array::from_fn(|map| match series.winners[map] {
            Some(Outcome::Yes) => 1.0,
            Some(Outcome::No) => 0.0,
            None if map == series.played() => series.race.map_or(self.prior, |race| self.map(&race)),
            None => self.prior,
        });
        let both = win[0] * win[1];
        let decider = win[0] * (1.0 - win[1]) + (1.0 - win[0]) * win[1];
        let third = decider * win[2];
        [both + third, win[0], win[1], third + (1.0 - decider) * 0.5]
    }

    /// What each market pays, where that is certain.
    pub fn certain(series: &Series) -> [Option<Payout>; MARKETS] {
        [series.series_payout(), series.map_payout(0), series.map_payout(1), series.map_payout(2)]
    }
}

/// P(first team wins the map) for every score, by going back from the finish.
fn table(rules: &Rules, draft: Outcome) -> Vec<f64> {
    let mut v = vec![0.0; SIDE * SIDE];
    let ix = |a: u8, b: u8| usize::from(a) * SIDE + usize::from(b);
    for b in 0..TARGET {
        v[ix(TARGET, b)] = 1.0;
    }
    for a in (0..TARGET).rev() {
        for b in (0..TARGET).rev() {
            let p = rules.next_point(&Race { draft, points: [a, b] });
            v[ix(a, b)] = Point::ALL
                .iter()
                .zip(Point::FREQUENCY)
                .map(|(point, frequency)| {
                    let ours = v[ix((a + point.weight()).min(TARGET), b)];
                    let theirs = v[ix(a, (b + point.weight()).min(TARGET))];
                    frequency * (p * ours + (1.0 - p) * theirs)
                })
                .sum();
        }
    }
    v
}

#[cfg(test)]
mod tests {
    use super::{
        super::{dice::Dice, game::Story},
        *,
    };

    fn told(seed: u64) -> (Pricer, Story) {
        let mut dice = Dice::new(seed, 0);
        let rules = Rules::draw(&mut dice);
        (Pricer::new(&rules), Story::play(&rules, &mut dice))
    }

    #[test]
    fn equal_teams_are_worth_a_half() {
        let pricer = Pricer::new(&Rules { strength: 0.0, snowball: 0.01, draft: 0.05, gap_s: 40.0 });
        for p in pricer.price(&Series::default()) {
            assert!((p - 0.5).abs() < 1e-12);
        }
        let ahead = Race { draft: Outcome::Yes, points: [20, 10] };
        let behind = Race { draft: Outcome::No, points: [10, 20] };
        assert!((pricer.map(&ahead) + pricer.map(&behind) - 1.0).abs() < 1e-12);
        assert!(pricer.map(&ahead) > 0.75);
    }

    #[test]
    fn the_last_price_is_the_payout() {
        for seed in 0..200 {
            let (pricer, story) = told(seed);
            let last = story.moments.last().expect("moments").series;
            for (p, payout) in pricer.price(&last).into_iter().zip(Pricer::certain(&last)) {
                let pays = match payout.expect("decided") {
                    Payout::Yes => 1.0,
                    Payout::No => 0.0,
                    Payout::Half => 0.5,
                };
                assert_eq!(p, pays, "seed {seed}");
            }
        }
    }

    /// The generator and the tables are two pieces of code; if either were wrong, increments would have a mean.
    #[test]
    fn the_price_is_a_martingale() {
        // Bets placed before each increment, knowing only the past: a martingale pays none of them.
        type Bet = fn(f64) -> f64;
        let bets: [(&str, Bet); 4] = [
            ("always", |_| 1.0),
            ("favourite", |p| if p > 0.5 { 1.0 } else { -1.0 }),
            ("late", |p| if !(0.2..=0.8).contains(&p) { (p - 0.5).signum() } else { 0.0 }),
            ("middle", |p| if (0.3..0.7).contains(&p) { (p - 0.5).signum() } else { 0.0 }),
        ];
        let (mut sum, mut square) = ([[0.0; MARKETS]; 4], [[0.0; MARKETS]; 4]);
        let n = 3_000;
        for seed in 0..n {
            let (pricer, story) = told(seed);
            let prices: Vec<_> = story.moments.iter().map(|m| pricer.price(&m.series)).collect();
            for (b, (_, bet)) in bets.iter().enumerate() {
                for m in 0..MARKETS {
                    let gain: f64 = prices.windows(2).map(|w| bet(w[0][m]) * (w[1][m] - w[0][m])).sum();
                    sum[b][m] += gain;
                    square[b][m] += gain * gain;
                }
            }
        }
        for (b, (name, _)) in bets.iter().enumerate() {
            for m in 0..MARKETS {
                let mean = sum[b][m] / n as f64;
                let error = libm::sqrt((square[b][m] / n as f64 - mean * mean) / n as f64);
                assert!(mean.abs() < 3.5 * error, "bet {name}, market {m}: mean gain {mean:.5}, error {error:.5}");
            }
        }
    }

    #[test]
    fn matches_are_uneven_but_open() {
        let mut priors: Vec<f64> = (0..500).map(|seed| told(seed).0.price(&Series::default())[0]).collect();
        priors.sort_by(f64::total_cmp);
        assert!(priors[25] > 0.05 && priors[25] < 0.35, "5 %: {}", priors[25]);
        assert!(priors[475] > 0.65 && priors[475] < 0.95, "95 %: {}", priors[475]);
        assert!((0.45..0.55).contains(&priors[250]), "median: {}", priors[250]);
    }
}
