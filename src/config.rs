//! TOML → checked configuration. An unknown key, an impossible value or a contradiction is an error that says what
//! would be right. `config/default.toml` explains every key and is compiled in.
//!
//! Two stages: [`parse`] overlays the file on the defaults, key by key; [`check`] looks at the values together. Both
//! collect every problem before they give up.

mod check;
mod parse;
pub mod values;

use std::{fmt, net::SocketAddr, path::Path, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use check::is_development_address;
pub use parse::engine_key;
pub use values::{Cores, Span};

use crate::{
    gateway::budget::Limits,
    strategies::Params,
    types::{Address, ConditionId, MatchSpec, market::SignatureType, ties::Tie},
    wire::limits::Tier,
};

/// The file that explains every key. Reading it gives [`Config::default`].
pub const DEFAULT_TOML: &str = include_str!("../config/default.toml");

/// Everything that can be configured, checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where orders go.
    pub mode: Mode,
    /// `[run]`
    pub run: Run,
    /// `[topology]`
    pub topology: Topology,
    /// `[venue]`
    pub venue: Venue,
    /// `[account]`
    pub account: Account,
    /// `[markets]`
    pub markets: Markets,
    /// `[[matches]]`
    pub matches: Vec<Match>,
    /// `[feeds]`
    pub feeds: Feeds,
    /// `[gateway]`
    pub gateway: Gateway,
    /// `[journal]`
    pub journal: Journal,
    /// `[log]`
    pub log: Log,
    /// `[health]`
    pub health: Health,
    /// `[risk]` and `[strategy.*]`: what the engine itself goes by.
    #[serde(skip)]
    pub engine: Params,
}

/// Where orders go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// To an embedded venue on loopback, with paper money and a scenario.
    #[default]
    Embedded,
    /// Nowhere: real data, fills on paper.
    Paper,
    /// To the venue, with real money. Needs `--live` as well.
    Live,
}

impl Mode {
    /// As in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Paper => "paper",
            Self::Live => "live",
        }
    }
}

/// `[run]`: what unfolds, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Scenario name, or a file of recorded messages.
    pub scenario: String,
    /// Seed of the scenario.
    pub seed: u64,
    /// How many times faster than life the embedded match unfolds.
    pub speed: u32,
    /// Stop after this long; `None`: when everything is resolved.
    #[serde(with = "values::optional")]
    pub duration: Option<Span>,
    /// Decide and sign, but send nothing.
    pub dry_run: bool,
}

impl Default for Run {
    fn default() -> Self {
        Self { scenario: "lol-bo3".into(), seed: 1, speed: 200, duration: None, dry_run: false }
    }
}

/// `[topology]`: which cores.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// Cores to use, in order; empty: every core that this process may use.
    pub cores: Cores,
    /// Allow a core to be named twice.
    pub share_cores: bool,
}

/// `[venue]`: where the venue is, outside of embedded mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Venue {
    /// REST base.
    pub rest: String,
    /// Market channel.
    pub ws_market: String,
    /// User channel.
    pub ws_user: String,
    /// Sports channel; empty: not used.
    pub ws_sports: String,
    /// Relayer, which merges pairs for wallets.
    pub relayer: String,
    /// Data API, a second witness of our positions; empty: not asked.
    pub data: String,
    /// Says whether trading is allowed from here; empty: not asked.
    pub geoblock: String,
    /// Certificate authority to trust instead of the public ones, PEM.
    #[serde(with = "values::optional")]
    pub ca_file: Option<PathBuf>,
    /// Chain of the exchange contracts.
    pub chain_id: u64,
}

impl Default for Venue {
    /// Source: docs/PROTOCOL.md "hosts".
    fn default() -> Self {
        Self {
            rest: "https://clob.polymarket.com".into(),
            ws_market: "wss://ws-subscriptions-clob.polymarket.com/ws/market".into(),
            ws_user: "wss://ws-subscriptions-clob.polymarket.com/ws/user".into(),
            ws_sports: "wss://sports-api.polymarket.com/ws".into(),
            relayer: "https://relayer-v2.polymarket.com".into(),
            data: "https://data-api.polymarket.com/v2".into(),
            geoblock: "https://polymarket.com/api/geoblock".into(),
            ca_file: None,
            chain_id: 137,
        }
    }
}

/// `[account]`: who trades. The key itself comes from the environment, never from a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// How orders are signed.
    #[serde(with = "values::signature_type")]
    pub signature_type: SignatureType,
    /// Wallet that holds the funds; `None` for the key's own address.
    #[serde(with = "values::optional")]
    pub funder: Option<Address>,
}

impl Default for Account {
    fn default() -> Self {
        Self { signature_type: SignatureType::Poly1271, funder: None }
    }
}

/// `[markets]`: what is traded, outside of embedded mode.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Markets {
    /// Condition ids.
    pub conditions: Vec<ConditionId>,
}

/// `[[matches]]`: markets whose payoffs are tied to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Slug of the venue's event.
    pub slug: String,
    /// Most maps that can be played: 1, 3 or 5.
    pub best_of: i64,
    /// Its two teams; empty: the outcomes of its series market.
    #[serde(default)]
    pub teams: Vec<String>,
    /// Its tournament, for the groups of `[risk]`; empty: none.
    #[serde(default)]
    pub tournament: String,
    /// Markets that decide the series with maps added.
    #[serde(default)]
    pub handicaps: Vec<Handicap>,
}

/// A market with a handicap. The venue's page does not say which outcome has it, so a person does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handicap {
    /// Slug of the market.
    pub market: String,
    /// The team that its first outcome is about.
    pub team: String,
    /// Maps added to that team's, as `"-1.5"`.
    pub line: String,
}

impl Handicap {
    /// The line in half maps, if it is one.
    pub fn half_maps(&self) -> Option<i8> {
        let (sign, digits) = match self.line.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, self.line.strip_prefix('+').unwrap_or(&self.line)),
        };
        let whole: i8 = digits.strip_suffix(".5")?.parse().ok().filter(|whole| (0..=4).contains(whole))?;
        Some(sign * (2 * whole + 1))
    }
}

impl Match {
    /// What ties its markets. A line that is none was refused with the configuration.
    pub fn tie(&self) -> Tie {
        let team = |n: usize| self.teams.get(n).cloned().unwrap_or_default();
        Tie {
            spec: MatchSpec {
                slug: self.slug.clone(),
                best_of: u8::try_from(self.best_of).unwrap_or(0),
                teams: [team(0), team(1)],
                tournament: self.tournament.clone(),
            },
            handicaps: self
                .handicaps
                .iter()
                .filter_map(|h| Some((h.market.clone(), h.team.clone(), h.half_maps()?)))
                .collect(),
        }
    }
}

/// `[feeds]`: how market data comes in, and when it is not believed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feeds {
    /// Market sockets with the same subscription.
    pub sockets: u32,
    /// Between two `PING`s, in seconds.
    pub ping_every_s: u64,
    /// Without any frame a socket is dead, in seconds.
    pub stale_after_s: u64,
    /// Without any data a market socket is opened anew, in seconds; 0: never.
    pub silent_after_s: u64,
    /// A socket without what another has brought is frozen, in milliseconds.
    pub freeze_after_ms: u64,
    /// Sockets that contradict each other are not believed, in milliseconds.
    pub dispute_after_ms: u64,
    /// A snapshot that does not come is asked for again, in milliseconds.
    pub snapshot_after_ms: u64,
    /// A silent book is looked up, in milliseconds; 0: never.
    pub witness_after_ms: u64,
    /// The look-up counts when it stands, in milliseconds.
    pub witness_grace_ms: u64,
    /// Sockets are replaced, in seconds; 0: never.
    pub reconnect_every_s: u64,
}

impl Default for Feeds {
    fn default() -> Self {
        Self {
            sockets: 2,
            ping_every_s: 10,
            stale_after_s: 30,
            silent_after_s: 30,
            freeze_after_ms: 1_000,
            dispute_after_ms: 100,
            snapshot_after_ms: 5_000,
            witness_after_ms: 2_000,
            witness_grace_ms: 500,
            reconnect_every_s: 600,
        }
    }
}

/// `[gateway]`: how orders leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// Warm connections.
    pub connections: u32,
    /// The account's volume tier, until the venue names it.
    pub tier: Tier,
    /// Share of every limit of the venue's that is used, in percent.
    pub budget_percent: u32,
    /// Share of a budget that is left to cancels, in percent.
    pub reserve_percent: u32,
    /// An order answered later than this was held up for our sending too much, in milliseconds.
    pub slow_ack_ms: u64,
}

impl Default for Gateway {
    fn default() -> Self {
        let Limits { tier, use_percent, reserve_percent } = Limits::default();
        let (budget_percent, reserve_percent) = (use_percent as u32, reserve_percent as u32);
        Self { connections: 4, tier, budget_percent, reserve_percent, slow_ack_ms: 1_000 }
    }
}

impl Gateway {
    /// How far below the venue's limits we stay.
    pub fn limits(&self) -> Limits {
        let (use_percent, reserve_percent) = (self.budget_percent.into(), self.reserve_percent.into());
        Limits { tier: self.tier, use_percent, reserve_percent }
    }
}

/// `[journal]`: what is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// Directory that holds one directory a run.
    pub dir: PathBuf,
    /// Size of a segment, in MiB.
    pub segment_mib: u64,
    /// Longest time between two syncs to the disk, in milliseconds; 0: only at rotation and at the end.
    pub sync_ms: u64,
}

impl Default for Journal {
    fn default() -> Self {
        Self { dir: "journal".into(), segment_mib: 64, sync_ms: 1_000 }
    }
}

/// `[log]`: JSON lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Least severe level that is written.
    pub level: Level,
    /// File to append to; `None`: standard error.
    #[serde(with = "values::optional")]
    pub file: Option<PathBuf>,
}

/// How severe a log line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the usual five")]
pub enum Level {
    Trace,
    Debug,
    Info,
    #[default]
    Warn,
    Error,
}

impl Level {
    /// Every level, the least severe first.
    pub const ALL: [Self; 5] = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error];

    /// As in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// Reads it as in the file.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == text)
    }
}

/// `[health]`: HTTP of a running instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Address to listen on; port 0 takes a free one, which is printed.
    pub listen: SocketAddr,
    /// Free space on the journal's disk below which the instance is not ready, in MiB.
    pub disk_reserve_mib: u64,
}

impl Default for Health {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 0)), disk_reserve_mib: 256 }
    }
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, &file),
            Err(e) => Err(Problems { file, list: vec![Problem::whole(format!("cannot be read: {e}"))] }),
        }
    }

    /// Reads and checks a text; `file` names it in what is said.
    pub fn parse(text: &str, file: &str) -> Result<Self, Problems> {
        let (config, mut list) = parse::parse(text);
        list.extend(check::values(&config));
        if list.is_empty() { Ok(config) } else { Err(Problems { file: file.into(), list }) }
    }

    /// Checks the configuration against the flags of `run`. `live_flag`: `--live` was given.
    pub fn check_flags(&self, live_flag: bool) -> Result<(), Problems> {
        let list = check::flags(self, live_flag);
        if list.is_empty() { Ok(()) } else { Err(Problems { file: "configuration".into(), list }) }
    }

    /// Checks again after command-line flags have replaced values.
    pub fn check(&self) -> Result<(), Problems> {
        let list = check::values(self);
        if list.is_empty() { Ok(()) } else { Err(Problems { file: "configuration".into(), list }) }
    }

    /// Refuses real money under a key that everybody knows. `owner`: address of the signing key.
    pub fn check_key(&self, owner: &Address) -> Result<(), Problems> {
        if self.mode != Mode::Live || !is_development_address(owner) {
            return Ok(());
        }
        let why = "the key belongs to a well-known development account: whoever funds it is robbed within seconds";
        Err(Problems { file: "environment".into(), list: vec![Problem::new("account", owner.to_string(), why)] })
    }

    /// Where the journal of one run goes.
    pub fn journal_dir(&self, run_id: &str) -> PathBuf {
        self.journal.dir.join(run_id)
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Dotted key; empty for the file as a whole.
    pub key: String,
    /// The offending value as written; empty if there is none to show.
    pub value: String,
    /// What is wrong and what would be right.
    pub why: String,
}

impl Problem {
    fn new(key: impl Into<String>, value: impl Into<String>, why: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into(), why: why.into() }
    }

    fn whole(why: impl Into<String>) -> Self {
        Self::new("", "", why)
    }
}

/// Everything that is wrong with one configuration. Exit code 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file, or whatever else the values came from.
    pub file: String,
    /// In the order found.
    pub list: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.list.iter().enumerate() {
            let newline = if i == 0 { "" } else { "\n" };
            write!(f, "{newline}{}: ", self.file)?;
            match (problem.key.as_str(), problem.value.as_str()) {
                ("", _) => write!(f, "{}", problem.why)?,
                (key, "") => write!(f, "{key}: {}", problem.why)?,
                (key, value) => write!(f, "{key} = {value}: {}", problem.why)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
