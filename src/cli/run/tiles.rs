//! Makes every tile of a run, wires them, and starts their threads.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use super::{Refused, logs_on_stderr, place::Place};
use crate::{
    cold::{
        self, ColdTile, Slot,
        admin::{Admin, Audit, TOKEN_VARIABLE, Token, TokenSource},
        dead_letters::Store,
        health::Server,
        journal::{Header, Writer},
        progress::{Progress, Style},
    },
    config::{Config, Feeds, Mode},
    engine::sign::{OrderSigner, WalletSigner},
    feeds::{
        FeedTile, Shared,
        arbiter::Rules,
        market::{MarketConfig, MarketFeed},
        socket::SocketConfig,
        sports::SportsFeed,
        user::UserFeed,
    },
    gateway::{GatewayConfig, GatewayTile, merge::Merger},
    hot::{self, HotConfig, HotStatus, HotTile},
    stage::{Control, Running, Stage, counters::Counters, endpoint::Endpoint, spawn},
    strategies::core,
    sys::tsc::Clock,
    topology::{Plan, Tile},
    types::{Nanos, Qty, event::RecoveredEvent, ids::Outcome, market::SignatureType},
    wal::Wal,
    wire::sports::Game,
    wiring::{FeedEnds, Wiring, instruments_of},
};

/// A run in progress.
pub(super) struct Session {
    /// Stop, end, failures.
    pub control: Arc<Control>,
    /// What the engine says of itself.
    pub status: Arc<HotStatus>,
    /// Where HTTP is served.
    pub health: Option<SocketAddr>,
    /// Where the operator's token is.
    pub token: TokenSource,
    /// Absolute path of the journal.
    pub journal: Option<PathBuf>,
    outcome: Slot<cold::Outcome>,
    running: Running,
}

impl Session {
    /// Opens the journal and the health server, makes the tiles and starts them.
    pub fn start(config: &Config, place: &Place, plan: &Plan, run_id: &str) -> Result<Self, Refused> {
        let control = Arc::new(Control::default());
        let counters = Arc::new(Counters::default());
        let status = Arc::new(HotStatus::default());
        let (board, outcome) = (Slot::new(), Slot::new());
        let clock = Clock::new();

        let header = Header {
            run_id: run_id.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            mode: config.mode.as_str().into(),
            seed: config.run.seed,
            speed: if config.mode == Mode::Embedded { config.run.speed } else { 1 },
            started: clock.now().wall,
            universe: (*place.universe).clone(),
            params: config.engine.clone(),
        };
        let dir = config.journal_dir(run_id);
        let writer = Writer::create(&dir, &header, config.journal.segment_mib << 20)
            .map_err(|e| Refused::failed(format!("{e}; journal.dir says where journals go")))?;
        let journal = std::path::absolute(writer.dir()).ok();
        let (wal, recovered) = write_ahead(config, place, clock.now().wall)?;
        let server = Server::listen(config.health.listen).map_err(Refused::failed)?;
        let health = Some(server.address());
        // Beside the journals, not in one: they outlive a run.
        let beside = &config.journal.dir;
        let given = std::env::var_os(TOKEN_VARIABLE);
        let given = given.as_ref().map(|t| t.as_encoded_bytes());
        let (token, source) = Token::find(given, beside).map_err(Refused::usage)?;
        let audit = Audit::open(beside, run_id).map_err(Refused::failed)?;

        let wiring = Wiring::new(plan.feed_tiles());
        let rings = wiring.stats.clone();
        let mut tiles: Vec<(Tile, Box<dyn Stage>)> = Vec::new();
        let feeds = wiring.feeds.len();
        for (n, ends) in wiring.feeds.into_iter().enumerate() {
            tiles.push((Tile::Feed(n), Box::new(feed_tile(place, &config.feeds, n, feeds, ends, &clock, &counters))));
        }
        let signer = OrderSigner::new(place.key.clone());
        if !signer.verifies_itself() {
            return Err(Refused::preflight(
                "a signature of this process does not verify against its own key: this build or this machine is broken; do not trade",
            ));
        }
        let hot = HotConfig {
            wal,
            recovered,
            core: core(&place.universe, &config.engine).compressed(header.speed),
            signer,
            run_tag: run_tag()?,
            cash: place.recovered.cash,
            match_feed: place.sports.is_some(),
            dry_run: config.run.dry_run,
            board: board.clone(),
        };
        tiles.push((Tile::Hot, Box::new(HotTile::new(hot, wiring.hot, &control, &counters, &status))));
        let gateway = GatewayConfig {
            endpoint: place.orders.clone(),
            connections: config.gateway.connections as usize,
            auth: place.auth(),
            api_key: place.credentials.api_key.clone(),
            universe: Arc::clone(&place.universe),
            merger: merger(place),
            heartbeat: true,
            limits: place.limits,
            slow_ack_ns: config.gateway.slow_ack_ms * 1_000_000,
            data: place.data.clone(),
        };
        tiles.push((Tile::Gateway, Box::new(GatewayTile::new(gateway, wiring.gateway, &control, &counters))));
        let mut to_engine = wiring.cold.control;
        let parts = cold::Parts {
            version: env!("CARGO_PKG_VERSION"),
            run_id: run_id.into(),
            records: wiring.cold.journal,
            samples: wiring.cold.samples,
            status: board,
            counters,
            rings,
            journal: Some(writer),
            sync_every_ns: config.journal.sync_ms * 1_000_000,
            health: Some(server),
            progress: Progress::new(Style::for_stderr(logs_on_stderr(config))),
            universe: Arc::clone(&place.universe),
            control: Arc::clone(&control),
            clock: clock.clone(),
            admin: Some(Admin::new(token, audit, &place.universe)),
            dead_letters: wiring.cold.dead_letters,
            store: Some(Store::open(beside, run_id, &place.universe)),
            disk_reserve: config.health.disk_reserve_mib << 20,
            tell: Box::new(move |event| to_engine.push(event).is_ok()),
            outcome: outcome.clone(),
        };
        tiles.push((Tile::Cold, Box::new(ColdTile::new(parts))));
        let running = spawn(plan, tiles, &control).map_err(Refused::failed)?;
        Ok(Self { control, status, health, token: source, journal, outcome, running })
    }

    /// True when every thread has ended.
    pub fn is_finished(&self) -> bool {
        self.running.is_finished()
    }

    /// Waits for every thread; returns what the engine and the cold tile have to say.
    pub fn join(self) -> (Option<hot::Outcome>, cold::Outcome) {
        self.running.join();
        (self.status.outcome.get().cloned(), self.outcome.take().unwrap_or_default())
    }
}

/// The write-ahead log, and what an earlier run left in it. It lies beside the journals, because it outlives a run; an
/// embedded venue knows nothing of earlier runs, so there each begins with an empty one.
fn write_ahead(config: &Config, place: &Place, now: Nanos) -> Result<(Wal, Vec<RecoveredEvent>), Refused> {
    let path = match config.mode {
        Mode::Embedded => {
            let path = config.journal.dir.join("orders-embedded.wal");
            // None is there in a directory of its own; one that cannot be removed is told by who opens it.
            let _ = std::fs::remove_file(&path);
            path
        }
        Mode::Paper | Mode::Live => config.journal.dir.join(format!("orders-{}.wal", place.universe.account.funder)),
    };
    let (wal, found) = Wal::open(&path, &place.universe, now).map_err(Refused::preflight)?;
    // Shares first, then orders, then what trades took of them.
    let held = place.universe.indices().zip(&place.recovered.shares).flat_map(|(m, shares)| {
        let both = [Outcome::Yes, Outcome::No].map(|o| m.instrument(o));
        both.into_iter().zip(*shares).filter(|(_, qty)| *qty > Qty::ZERO)
    });
    let mut recovered: Vec<_> = held.map(|(instrument, qty)| RecoveredEvent::Shares { instrument, qty }).collect();
    recovered.extend(found.orders);
    recovered.extend_from_slice(&place.recovered.trades);
    if found.elsewhere > 0 {
        tracing::warn!(
            event_type = "orders_elsewhere",
            "{} orders of markets that this run does not trade",
            found.elsewhere
        );
    }
    if found.torn > 0 {
        tracing::warn!(event_type = "wal_torn", "{} orders were being written when the last run died", found.torn);
    }
    recovered.extend(found.killed.map(RecoveredEvent::Killed));
    Ok((wal, recovered))
}

/// A socket of a channel that is kept alive by `PING`s, or one that is not.
fn socket(endpoint: &Endpoint, feeds: &Feeds, pings: bool) -> SocketConfig {
    SocketConfig {
        endpoint: endpoint.clone(),
        ping_every_ns: if pings { feeds.ping_every_s * 1_000_000_000 } else { 0 },
        stale_after_ns: feeds.stale_after_s * 1_000_000_000,
        silent_after_ns: 0,
    }
}

fn market_config(place: &Place, feeds: &Feeds) -> MarketConfig {
    let silent_after_ns = feeds.silent_after_s * 1_000_000_000;
    MarketConfig {
        socket: SocketConfig { silent_after_ns, ..socket(&place.market, feeds, true) },
        sockets: feeds.sockets as usize,
        rules: Rules {
            freeze_after_ns: feeds.freeze_after_ms * 1_000_000,
            dispute_after_ns: feeds.dispute_after_ms * 1_000_000,
            snapshot_after_ns: feeds.snapshot_after_ms * 1_000_000,
            witness_after_ns: feeds.witness_after_ms * 1_000_000,
            witness_grace_ns: feeds.witness_grace_ms * 1_000_000,
        },
        reconnect_every_ns: feeds.reconnect_every_s * 1_000_000_000,
        witness: (feeds.witness_after_ms > 0).then(|| place.orders.clone()),
    }
}

fn feed_tile(
    place: &Place,
    config: &Feeds,
    n: usize,
    feeds: usize,
    ends: FeedEnds,
    clock: &Clock,
    counters: &Arc<Counters>,
) -> FeedTile {
    let FeedEnds { market, resync, samples, user, matches, dead_letters } = ends;
    let seed = clock.cycles().0.wrapping_add(n as u64);
    let universe = &place.universe;
    let mine = instruments_of(n, feeds, universe.markets.len());
    let user = user.map(|events| {
        let socket = socket(&place.user, config, true);
        let feed = UserFeed::new(socket, universe, place.credentials.clone(), events, seed ^ 1);
        match dead_letters.user {
            Some(to) => feed.with_dead_letters(to),
            None => feed,
        }
    });
    let sports = matches.zip(place.sports.as_ref()).and_then(|(events, endpoint)| {
        let teams = universe.markets.first()?.outcomes.clone();
        Some(SportsFeed::new(socket(endpoint, config, false), Game { id: None, teams }, events, seed ^ 2))
    });
    FeedTile {
        market: Some(
            MarketFeed::new(market_config(place, config), universe, mine, market, resync, seed)
                .with_dead_letters(dead_letters.market),
        ),
        user,
        sports,
        shared: Shared { clock: clock.clone(), samples, counters: Arc::clone(counters) },
    }
}

/// Without a relayer pairs stay until they pay out. Only deposit wallets can merge through it in this version.
fn merger(place: &Place) -> Option<Merger> {
    let wallet = place.universe.account.signature_type == SignatureType::Poly1271;
    let relayer = place.relayer.clone().filter(|_| wallet)?;
    Some(Merger::new(relayer, Vec::new(), WalletSigner::new(place.key.clone()), &place.universe))
}

/// 21 random bits.
fn run_tag() -> Result<u32, Refused> {
    getrandom::u32().map(|v| v & 0x1f_ffff).map_err(|e| Refused::failed(format!("no randomness: {e}")))
}
