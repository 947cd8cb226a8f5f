//! Families: who knows what, when, and how much he trades. Nothing here is about anybody outside the scenario.
//!
//! A family changes ranges, never rules: every match of every family is drawn from the same streams of its seed, so the
//! same seed is the same match in all of them, seen and traded by other people. Measured against the recorded
//! market, and why each number: `docs/SCENARIOS.md` "families".

/// From and to, uniform.
pub type Range = (f64, f64);

/// A log-normal size in shares or dollars, cut at both ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Amount {
    /// Median.
    pub median: f64,
    /// Standard deviation of the logarithm.
    pub sigma: f64,
    /// Smallest.
    pub least: f64,
    /// Largest.
    pub most: f64,
}

/// People who quote.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Making {
    /// How many, both ends included.
    pub count: (u32, u32),
    /// Of all but the first, the share that has a data feed; the others watch the broadcast.
    pub feeds: f64,
    /// Median seconds from a source showing an event to acting on it: with a feed, with the broadcast.
    pub reaction_s: [f64; 2],
    /// Standard deviation of its logarithm.
    pub reaction_sigma: f64,
    /// Half-spread at even odds, in pUSD: with a feed, with the broadcast.
    pub half_spread: [Range; 2],
    /// Size of the best level, in shares.
    pub size: Amount,
    /// Standard deviation of the bias of an opinion, log-odds.
    pub bias: f64,
    /// Standard deviation of its drifting noise, log-odds.
    pub noise: Range,
}

/// People who take because they know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Informed {
    /// How many, both ends included.
    pub count: (u32, u32),
    /// Probability of being early on an event.
    pub attention: Range,
    /// How long before the makers' sources they learn of it, though never before it happens: weight, and seconds from
    /// and to.
    pub leads: [(f64, f64, f64); 3],
    /// What they want at one price, in shares.
    pub shares: Amount,
}

/// People who trade for their own reasons.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// Visits a second while a map is on.
    pub rate: Range,
    /// Median spending, in dollars.
    pub dollars: Range,
}

/// One family of matches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Family {
    /// The scenario's name.
    pub name: &'static str,
    /// Seconds from an event to the makers' sources showing it.
    pub source_s: Range,
    /// Makers.
    pub makers: Making,
    /// Informed takers.
    pub informed: Informed,
    /// The crowd.
    pub crowd: Noise,
}

impl Family {
    /// The demonstration's cast: dense books, a busy crowd. What the default run and `venue` play.
    pub const DEMONSTRATION: Self = Self {
        name: "lol-bo3",
        source_s: (32.0, 40.0),
        makers: Making {
            count: (3, 6),
            feeds: 0.5,
            reaction_s: [1.5, 6.0],
            reaction_sigma: 0.7,
            half_spread: [(0.008, 0.015), (0.012, 0.025)],
            size: Amount { median: 70.0, sigma: 0.5, least: 20.0, most: 250.0 },
            bias: 0.04,
            noise: (0.02, 0.05),
        },
        informed: Informed {
            count: (1, 3),
            attention: (0.5, 0.9),
            leads: [(0.50, 0.2, 1.0), (0.35, 1.0, 3.0), (0.15, 5.0, 30.0)],
            shares: Amount { median: 150.0, sigma: 0.8, least: 20.0, most: 2_000.0 },
        },
        crowd: Noise { rate: (0.3, 1.0), dollars: (15.0, 25.0) },
    };

    /// The market is ahead of every feed that we could have: makers' sources show an event within seconds; makers are
    /// many, act at once, agree with each other and leave a tick between them; and what little others know before them
    /// is what the touch is paid for.
    pub const NULL: Self = Self {
        name: "lol-bo3-null",
        source_s: (3.0, 5.0),
        makers: Making {
            count: (12, 14),
            reaction_s: [0.3, 0.6],
            half_spread: [(0.003, 0.006), (0.003, 0.006)],
            bias: 0.01,
            noise: (0.005, 0.01),
            ..Self::DEMONSTRATION.makers
        },
        informed: Informed { attention: (0.13, 0.23), ..Self::DEMONSTRATION.informed },
        ..Self::DEMONSTRATION
    };

    /// The recorded market's spread, sizes and speed.
    pub const REALISTIC: Self = Self {
        name: "lol-bo3-realistic",
        makers: Making {
            count: (2, 4),
            half_spread: [(0.012, 0.022), (0.018, 0.03)],
            size: Amount { median: 55.0, sigma: 1.0, least: 5.0, most: 400.0 },
            ..Self::DEMONSTRATION.makers
        },
        ..Self::DEMONSTRATION
    };

    /// The realistic market, with more people who know, earlier, and want more, and few others.
    pub const TOXIC: Self = Self {
        name: "lol-bo3-toxic",
        informed: Informed {
            count: (6, 8),
            attention: (0.9, 1.0),
            leads: [(0.3, 0.2, 1.0), (0.4, 1.0, 5.0), (0.3, 5.0, 30.0)],
            shares: Amount { median: 400.0, sigma: 0.8, least: 50.0, most: 4_000.0 },
        },
        crowd: Noise { rate: (0.05, 0.2), ..Self::DEMONSTRATION.crowd },
        ..Self::REALISTIC
    };

    /// The families of `simulate`, in the order of its tables.
    pub const ALL: [Self; 3] = [Self::NULL, Self::REALISTIC, Self::TOXIC];

    /// Every one that a scenario can be opened by.
    pub const NAMED: [Self; 4] = [Self::DEMONSTRATION, Self::NULL, Self::REALISTIC, Self::TOXIC];

    /// The last part of its name: `null`.
    pub fn short(&self) -> &'static str {
        self.name.strip_prefix("lol-bo3-").unwrap_or(self.name)
    }

    /// A family by its scenario's name.
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::NAMED.iter().find(|f| f.name == name)
    }
}
