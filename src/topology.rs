//! Who runs on which core, what connects them, and what a full ring means. The tables come first.

use std::fmt;

use serde::Serialize;

/// A tile: a part that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tile {
    /// Steps 1 and 2: sockets of the venue and of the match, parsed. There can be several, counted from 0.
    Feed(usize),
    /// Steps 3 to 6: the engine and the signer.
    Hot,
    /// Steps 7 and 8: connections for orders.
    Gateway,
    /// Step 9 and all that may block: journal, metrics, health, logs.
    Cold,
    /// The embedded venue, its feeds and its traders: a thread of its own, parked, only in the default run.
    Venue,
}

/// What follows when a ring is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The rest of the message is dropped, a gap is sent as soon as there is room, and the books are asked for anew.
    GapAndResync,
    /// The writer stops reading its socket until there is room. Nothing is lost.
    Backpressure,
    /// The order is refused before a byte of it left; the last slots are kept for cancels.
    RefuseOrder,
    /// The writer remembers what it wanted and asks again at its next turn.
    AskAgain,
    /// The item is lost and counted; something of the same kind follows.
    DropAndCount,
    /// The record is lost and counted, and no new order is admitted until the ring has room.
    StopOrders,
}

/// A ring between two tiles. Where there are several feed tiles, each has its own `market`, `resync` and `samples`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    /// Its name in the summary and in metrics.
    pub name: &'static str,
    /// Who writes.
    pub from: &'static str,
    /// Who reads.
    pub to: &'static str,
    /// Items that fit.
    pub depth: usize,
    /// What follows when it is full.
    pub when_full: WhenFull,
}

/// Every ring.
pub const RINGS: [Ring; 10] = [MARKET, USER, MATCHES, RESYNC, ORDERS, REPLIES, CONTROL, JOURNAL, SAMPLES, DEAD_LETTERS];

/// A burst of snapshots is some thousand levels; this holds several.
pub const MARKET: Ring = row("market", "feed", "hot", 16_384, WhenFull::GapAndResync);
/// What happened to our orders is never dropped.
pub const USER: Ring = row("user", "feed", "hot", 1_024, WhenFull::Backpressure);
/// Lifecycle messages, re-sent by their source every 20 s.
pub const MATCHES: Ring = row("matches", "feed", "hot", 256, WhenFull::DropAndCount);
/// Books to ask for anew.
pub const RESYNC: Ring = row("resync", "hot", "feed", 256, WhenFull::AskAgain);
/// Orders, cancels, look-ups and merges.
pub const ORDERS: Ring = row("orders", "hot", "gateway", 512, WhenFull::RefuseOrder);
/// Answers. The gateway keeps what does not fit and reads no further.
pub const REPLIES: Ring = row("replies", "gateway", "hot", 1_024, WhenFull::Backpressure);
/// From the operator and the admin interface; the asker is told to ask again.
pub const CONTROL: Ring = row("control", "cold", "hot", 64, WhenFull::AskAgain);
/// Everything the engine heard and asked for.
pub const JOURNAL: Ring = row("journal", "hot", "cold", 32_768, WhenFull::StopOrders);
/// Latency measurements. Each of the feed tiles, the hot tile and the gateway has one.
pub const SAMPLES: Ring = row("samples", "feed, hot, gateway", "cold", 16_384, WhenFull::DropAndCount);
/// Messages that could not be read. Each feed has one. What does not fit is counted; its book has its gap anyway.
pub const DEAD_LETTERS: Ring = row("dead_letters", "feed", "cold", 256, WhenFull::DropAndCount);

/// Slots of [`ORDERS`] that only cancels may use.
pub const ORDERS_KEPT_FOR_CANCELS: usize = 128;

/// More feed tiles than this have no work.
pub const FEED_TILES_MAX: usize = 8;

const fn row(name: &'static str, from: &'static str, to: &'static str, depth: usize, when_full: WhenFull) -> Ring {
    Ring { name, from, to, depth, when_full }
}

const _: () = assert!(ORDERS_KEPT_FOR_CANCELS < ORDERS.depth / 2);

/// What a thread does when its tiles have nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Idle {
    /// Polls on: the core is its own.
    Spin,
    /// Sleeps until a socket wakes it or a few milliseconds have passed.
    Block,
}

/// One thread: its core, what runs on it in turn, and how it idles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Thread {
    /// The core that it is pinned to.
    pub core: usize,
    /// What it runs, in turn.
    pub tiles: Vec<Tile>,
    /// What it does when there is nothing to do.
    pub idle: Idle,
}

/// Which threads there are. Two that spin never share a core.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The threads, hot path first.
    pub threads: Vec<Thread>,
    /// Cores that were offered and have no work.
    pub unused: Vec<usize>,
}

/// What a plan is made from.
#[derive(Clone, Debug, Default)]
pub struct Request<'a> {
    /// `--cores`, in order; `None` takes every allowed core.
    pub cores: Option<&'a [usize]>,
    /// Cores that this process runs on unless told otherwise: its affinity mask.
    pub allowed: &'a [usize],
    /// Cores that may be asked for: with isolated cores, more than the mask.
    pub usable: &'a [usize],
    /// `--share-cores`: a core may be named twice. Threads that share one do not spin.
    pub share_cores: bool,
    /// Feed tiles that would have work: one per market, at least one.
    pub feed_tiles: usize,
    /// True if the embedded venue runs in this process.
    pub venue: bool,
}

/// Why there is no plan. A usage error: exit code 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// No core was named.
    NoCores,
    /// A core was named twice without `--share-cores`.
    Twice(usize),
    /// A core does not exist, or this process may not use it; the list says which it may.
    NoSuchCore(usize, Vec<usize>),
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCores => f.write_str("--cores names no core; give at least one, such as --cores 0"),
            Self::Twice(core) => {
                write!(f, "core {core} is named twice; name each core once, or add --share-cores to let threads share")
            }
            Self::NoSuchCore(core, allowed) => {
                write!(f, "core {core} does not exist or may not be used here; there are {}", list(allowed))
            }
        }
    }
}

impl std::error::Error for PlanError {}

impl Plan {
    /// Deals the tiles to the cores.
    ///
    /// Four cores or more: feed, hot and gateway alone on a core each, everything that does not spin on the last; cores
    /// beyond four get more feed tiles. Three: feed and hot run to completion on the first. Two: feed, hot and gateway
    /// run to completion on the first, which measures fastest there. One: all in turn on one thread that blocks when
    /// idle.
    pub fn new(request: &Request<'_>) -> Result<Self, PlanError> {
        let cores = request.cores.unwrap_or(request.allowed);
        let Some((&last, rest)) = cores.split_last() else { return Err(PlanError::NoCores) };
        for (i, &core) in cores.iter().enumerate() {
            if !request.usable.contains(&core) && !request.allowed.contains(&core) {
                let known = if request.usable.is_empty() { request.allowed } else { request.usable };
                return Err(PlanError::NoSuchCore(core, known.to_vec()));
            }
            if cores[..i].contains(&core) && !request.share_cores {
                return Err(PlanError::Twice(core));
            }
        }

        let mut unused = Vec::new();
        // Core and tiles of each thread of the hot path, then of the rest.
        let mut groups: Vec<(usize, Vec<Tile>)> = match *rest {
            [] => vec![],
            [a] => vec![(a, vec![Tile::Feed(0), Tile::Hot, Tile::Gateway])],
            [a, b] => vec![(a, vec![Tile::Feed(0), Tile::Hot]), (b, vec![Tile::Gateway])],
            [ref feeds @ .., hot, gateway] => {
                let tiles = request.feed_tiles.clamp(1, FEED_TILES_MAX).min(feeds.len());
                unused = feeds[tiles..].to_vec();
                let feeds = feeds[..tiles].iter().enumerate().map(|(n, &core)| (core, vec![Tile::Feed(n)]));
                feeds.chain([(hot, vec![Tile::Hot]), (gateway, vec![Tile::Gateway])]).collect()
            }
        };
        groups.push(match rest {
            [] => (last, vec![Tile::Feed(0), Tile::Hot, Tile::Gateway, Tile::Cold]),
            _ => (last, vec![Tile::Cold]),
        });

        let shared = |core: usize| groups.iter().filter(|(c, _)| *c == core).count() > 1;
        let mut threads: Vec<Thread> = groups
            .iter()
            .map(|(core, tiles)| Thread {
                core: *core,
                tiles: tiles.clone(),
                idle: if tiles.contains(&Tile::Cold) || shared(*core) { Idle::Block } else { Idle::Spin },
            })
            .collect();
        if request.venue {
            threads.push(Thread { core: last, tiles: vec![Tile::Venue], idle: Idle::Block });
        }
        Ok(Self { threads, unused })
    }

    /// The cores that have work, each once, hot path first.
    pub fn cores(&self) -> Vec<usize> {
        let mut cores: Vec<usize> = Vec::new();
        for thread in &self.threads {
            if !cores.contains(&thread.core) {
                cores.push(thread.core);
            }
        }
        cores
    }

    /// How many feed tiles it has.
    pub fn feed_tiles(&self) -> usize {
        self.threads.iter().flat_map(|t| &t.tiles).filter(|t| matches!(t, Tile::Feed(_))).count()
    }

    /// The core of a tile.
    pub fn core_of(&self, tile: Tile) -> Option<usize> {
        self.threads.iter().find(|t| t.tiles.contains(&tile)).map(|t| t.core)
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Feed(0) => f.write_str("feed"),
            Self::Feed(n) => write!(f, "feed.{n}"),
            Self::Hot => f.write_str("hot"),
            Self::Gateway => f.write_str("gateway"),
            Self::Cold => f.write_str("cold"),
            Self::Venue => f.write_str("venue"),
        }
    }
}

impl Serialize for Tile {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl fmt::Display for Plan {
    /// A small map for people: one line a thread.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, thread) in self.threads.iter().enumerate() {
            let tiles: Vec<String> = thread.tiles.iter().map(Tile::to_string).collect();
            let idle = match thread.idle {
                Idle::Spin => "spins",
                Idle::Block => "sleeps when idle",
            };
            let line_end = if i == 0 { "" } else { "\n" };
            write!(f, "{line_end}core {:>3}  {:<28} {idle}", thread.core, tiles.join(" → "))?;
        }
        if !self.unused.is_empty() {
            write!(f, "\nno work for {}", list(&self.unused))?;
        }
        Ok(())
    }
}

fn list(cores: &[usize]) -> String {
    let cores: Vec<String> = cores.iter().map(usize::to_string).collect();
    cores.join(", ")
}
