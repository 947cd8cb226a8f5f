//! Where a run trades: the embedded venue that it starts itself, or the one of the configuration. After this they look
//! the same.

use std::{env, fs, sync::Arc};

use rustls::ClientConfig;
use zeroize::Zeroize;

use super::Refused;
#[cfg(feature = "embedded")]
use crate::wire::limits::Tier;
use crate::{
    config::{Config, Match, Mode},
    engine::{
        Report,
        sign::{SecretKey, WalletSigner},
    },
    gateway::{
        bootstrap::{self, BootError, Bootstrap, Recovered, is_pending},
        budget::Limits,
    },
    stage::endpoint::{Endpoint, Trust, tls_config},
    sys::lock::Lock,
    types::{Account, ConditionId, Universe, Usdc, market::SignatureType, ties::Tie},
    wire::auth::{Credentials, L2Auth},
};
#[cfg(feature = "embedded")]
use crate::{
    scenario,
    sys::cpu,
    types::{Address, MatchSpec},
    venue::{Begin, Venue, VenueHandle, VenueOptions, wallets},
};

/// Where the key is read from, outside of embedded mode.
const KEY_VARIABLE: &str = "POLYMARKET_PRIVATE_KEY";
/// A clock that differs from the venue's by more is refused: signatures carry our time. In milliseconds.
/// Source: docs/PROTOCOL.md "L2".
const CLOCK_OFF_MS: u32 = 1_000;
/// The order version that this build signs.
const ORDER_VERSION: u64 = 2;
/// What the embedded venue gives our account.
#[cfg(feature = "embedded")]
const EMBEDDED_DEPOSIT: Usdc = Usdc::dollars(10_000);

/// Hosts, account, credentials, markets.
pub(super) struct Place {
    /// For people.
    pub title: String,
    /// REST base, for people.
    pub rest: String,
    /// Orders and account reads.
    pub orders: Endpoint,
    /// Market channel.
    pub market: Endpoint,
    /// User channel.
    pub user: Endpoint,
    /// Sports channel, if there is one.
    pub sports: Option<Endpoint>,
    /// Relayer, if there is one.
    pub relayer: Option<Endpoint>,
    /// The account's key.
    pub key: SecretKey,
    /// API credentials.
    pub credentials: Credentials,
    /// Markets and account.
    pub universe: Arc<Universe>,
    /// What earlier runs left: the collateral before the first order, shares, trades not final.
    pub recovered: Recovered,
    /// Data API, if there is one.
    pub data: Option<Endpoint>,
    /// How far below the venue's limits we stay.
    pub limits: Limits,
    auth: L2Auth,
    bootstrap: Bootstrap,
    /// Held for as long as we write into the directory and trade with the wallet.
    _fences: Vec<Lock>,
    #[cfg(feature = "embedded")]
    venue: Option<VenueHandle>,
}

/// What is known before the venue has been asked anything.
struct Known {
    title: Option<String>,
    rest: String,
    ws: [String; 3],
    relayer: String,
    data: String,
    geoblock: String,
    limits: Limits,
    tls: Arc<ClientConfig>,
    key: SecretKey,
    account: Account,
    conditions: Vec<ConditionId>,
    ties: Vec<Tie>,
}

impl Place {
    /// Starts or reaches the venue and asks it everything that a run needs. `venue_core`: where an embedded venue runs.
    pub fn open(config: &Config, venue_core: Option<usize>) -> Result<Self, Refused> {
        match config.mode {
            #[cfg(feature = "embedded")]
            Mode::Embedded => {
                let (told, venue) = start_embedded(config, venue_core)?;
                let known = embedded(config, told, &venue)?;
                let fences = vec![directory_fence(config)?];
                Ok(Self { _fences: fences, ..Self::ask(known, config, Some(venue))? })
            }
            #[cfg(not(feature = "embedded"))]
            Mode::Embedded => {
                let _ = venue_core;
                Err(Refused::usage(
                    "this build has no embedded venue; build with `--features embedded`, or give --config",
                ))
            }
            Mode::Paper => Err(Refused::usage(
                "mode = paper: fills on paper against the real venue are not built yet; use embedded, or live with --dry-run",
            )),
            Mode::Live => {
                let known = configured(config)?;
                // Before the venue hears of us: the first thing that a start does is to cancel what rests.
                let fences = vec![directory_fence(config)?, wallet_fence(&known.account)?];
                #[cfg(feature = "embedded")]
                let place = Self::ask(known, config, None)?;
                #[cfg(not(feature = "embedded"))]
                let place = Self::ask(known, config)?;
                Ok(Self { _fences: fences, ..place })
            }
        }
    }

    fn ask(
        known: Known,
        config: &Config,
        #[cfg(feature = "embedded")] venue: Option<VenueHandle>,
    ) -> Result<Self, Refused> {
        let Known { title, rest, ws, relayer, data, geoblock, limits, tls, key, account, conditions, ties } = known;
        // Real money: each step says that it was taken.
        let passed = |what: &str| {
            if config.mode == Mode::Live {
                super::say(&format!("start: {what}"));
            }
        };
        let resolve = |url: &str| Endpoint::resolve(url, &tls).map_err(Refused::preflight);
        let optional = |url: &str| if url.is_empty() { Ok(None) } else { resolve(url).map(Some) };
        match optional(&geoblock)? {
            Some(endpoint) => passed(&allowed_here(endpoint)?),
            None => passed("place not checked: venue.geoblock is empty"),
        }
        let orders = resolve(&rest)?;
        let mut boot = Bootstrap::new(orders.clone(), config.venue.chain_id, account).map_err(Refused::preflight)?;
        passed(&clock_agrees(&mut boot)?);
        let version = boot.version().map_err(Refused::preflight)?;
        if version != ORDER_VERSION {
            return Err(Refused::preflight(format!(
                "the venue takes order version {version}, this build signs {ORDER_VERSION}: do not trade with it; get a \
                 build that knows the new version"
            )));
        }
        passed(&format!("order version {version}"));
        let credentials = boot.credentials(&WalletSigner::new(key.clone())).map_err(|e| {
            Refused::preflight(format!(
                "the venue gives the key no API credentials ({e}); log in at the venue once with this wallet, then try again"
            ))
        })?;
        let auth = L2Auth::new(&account.owner, &credentials)
            .map_err(|_| Refused::preflight("the venue's API secret is not base64: ask the venue for a new API key"))?;
        passed(&format!("API key {}", credentials.api_key));
        if boot.closed_only(&auth).map_err(Refused::preflight)? {
            return Err(Refused::preflight(
                "the venue lets this account only reduce positions: sell or redeem them at the venue; this program opens new ones",
            ));
        }
        passed("account may trade");
        let mut universe = boot.universe(&conditions).map_err(Refused::preflight)?;
        universe.tie(&ties).map_err(Refused::preflight)?;
        config.engine.risk.unknown(&universe).map_err(|bad| {
            let each: Vec<_> = bad.iter().map(ToString::to_string).collect();
            Refused::preflight(each.join("; "))
        })?;
        passed(&format!("{} markets", universe.markets.len()));
        passed(&funded(&mut boot, &auth, &universe)?);
        let cleared = boot.clear_open_orders(&auth).map_err(|e| {
            Refused::preflight(format!(
                "open orders of earlier runs could not be cancelled ({e}); cancel them at the venue, so that each order is known"
            ))
        })?;
        passed(&match cleared {
            0 => "no open orders".to_owned(),
            n => format!("{n} open orders of earlier runs cancelled, and gone"),
        });
        let recovered = boot
            .recover(&auth, &credentials.api_key, &universe)
            .map_err(|e| Refused::preflight(format!("what the account holds could not be read: {e}")))?;
        passed(&held(&recovered));
        let title = title.unwrap_or_else(|| {
            universe.markets.first().map_or_else(|| "no market".into(), |m| m.outcomes.join(" vs "))
        });
        Ok(Self {
            title,
            market: resolve(&ws[0])?,
            user: resolve(&ws[1])?,
            sports: optional(&ws[2])?,
            relayer: optional(&relayer)?,
            rest,
            orders,
            key,
            credentials,
            universe: Arc::new(universe),
            recovered,
            data: optional(&data)?,
            limits,
            auth,
            bootstrap: boot,
            _fences: Vec::new(),
            #[cfg(feature = "embedded")]
            venue,
        })
    }

    /// The account's credentials, prepared.
    pub fn auth(&self) -> L2Auth {
        self.auth.clone()
    }

    /// An embedded match begins now.
    pub fn begin(&self) {
        #[cfg(feature = "embedded")]
        if let Some(venue) = &self.venue {
            venue.begin();
        }
    }

    /// True once an embedded scenario has nothing more to say.
    pub fn scenario_is_over(&self) -> bool {
        #[cfg(feature = "embedded")]
        if let Some(venue) = &self.venue {
            return venue.stats().finished.load(std::sync::atomic::Ordering::Relaxed);
        }
        false
    }

    /// Cancels everything of the account by a call of its own.
    pub fn cancel_all(&mut self) -> Result<(), BootError> {
        self.bootstrap.cancel_all(&self.auth)
    }

    /// Our equity by the venue's own account of us: its collateral, and its shares at our marks. `None`, and a failure
    /// noted, if its shares are not ours.
    pub fn venue_equity(&mut self, report: &Report, failures: &mut Vec<String>) -> Option<Usdc> {
        let asked = self.bootstrap.cash(&self.auth).and_then(|cash| {
            let shares = self.bootstrap.shares(&self.auth, &self.universe)?;
            Ok((cash, shares))
        });
        let (cash, shares) = match asked {
            Ok(both) => both,
            Err(e) => {
                failures.push(format!("the venue's account of us could not be read: {e}"));
                return None;
            }
        };
        for (market, theirs) in report.markets.iter().zip(&shares) {
            if market.position != *theirs {
                let [yes, no] = market.position;
                failures.push(format!(
                    "{}: we count {yes} and {no} shares, the venue {} and {}",
                    market.slug, theirs[0], theirs[1]
                ));
                return None;
            }
        }
        Some(cash + report.markets.iter().map(|m| m.value).sum())
    }

    /// Stops an embedded venue.
    pub fn close(&mut self) {
        #[cfg(feature = "embedded")]
        drop(self.venue.take());
    }
}

/// One instance a journal directory: two would write over each other, and trade with one wallet.
fn directory_fence(config: &Config) -> Result<Lock, Refused> {
    let dir = &config.journal.dir;
    fs::create_dir_all(dir)
        .map_err(|e| Refused::failed(format!("{}: {e}; journal.dir says where journals go", dir.display())))?;
    Lock::take(&dir.join("lock"))
        .map_err(|e| Refused::preflight(format!("{e}: one instance a journal directory; journal.dir names another")))
}

/// One instance a wallet on this machine, whatever directory it runs in: two would cancel and double each other's
/// orders.
fn wallet_fence(account: &Account) -> Result<Lock, Refused> {
    let dir = env::var_os("XDG_RUNTIME_DIR").map_or_else(env::temp_dir, Into::into);
    Lock::take(&dir.join(format!("polyloly-fast-{}.lock", account.funder)))
        .map_err(|e| Refused::preflight(format!("{e}: another instance trades with this wallet; stop it first")))
}

/// Refuses to trade from where the venue does not allow it. There is no way around, and none is offered.
fn allowed_here(endpoint: Endpoint) -> Result<String, Refused> {
    let place = bootstrap::geoblock(endpoint).map_err(|e| {
        Refused::preflight(format!(
            "whether trading is allowed from here could not be asked ({e}); check the network and venue.geoblock"
        ))
    })?;
    let here = [&place.country, &place.region].map(String::as_str).join(" ");
    if place.blocked {
        return Err(Refused::preflight(format!(
            "the venue does not allow trading from here ({}): run this where it does",
            here.trim()
        )));
    }
    Ok(format!("trading is allowed from here ({})", here.trim()))
}

fn clock_agrees(boot: &mut Bootstrap) -> Result<String, Refused> {
    let ahead = boot.clock_ahead_ms().map_err(Refused::preflight)?;
    if ahead.unsigned_abs() > CLOCK_OFF_MS {
        return Err(Refused::preflight(format!(
            "our clock is {} s ahead of the venue's; set it right (NTP) before trading",
            f64::from(ahead) / 1_000.0
        )));
    }
    Ok(format!("clock {ahead} ms ahead of the venue's"))
}

/// There is collateral, and every exchange that we trade on may take it.
fn funded(boot: &mut Bootstrap, auth: &L2Auth, universe: &Universe) -> Result<String, Refused> {
    let cash = boot.cash(auth).map_err(Refused::preflight)?;
    let (funder, kind) = (universe.account.funder, universe.account.signature_type as u8);
    if cash <= Usdc::ZERO {
        return Err(Refused::preflight(format!(
            "the account has no collateral: the wallet {funder} (signature type {kind}) holds 0 pUSD; deposit some, or put right \
             account.signature_type and account.funder"
        )));
    }
    for market in &universe.markets {
        let spender = market.exchange.contract(universe.chain_id);
        if boot.allowance(auth, &spender).map_err(Refused::preflight)? == Some(0) {
            return Err(Refused::preflight(format!(
                "the exchange {spender} may not take the collateral of {funder} (signature type {kind}): approve it for pUSD, \
                 then have the venue look again; without it every buy of {} is refused",
                market.slug
            )));
        }
    }
    Ok(format!("{cash} pUSD, and the exchanges may take it"))
}

fn held(recovered: &Recovered) -> String {
    let held = recovered.shares.iter().flatten().filter(|qty| **qty > crate::types::Qty::ZERO).count();
    match (held, recovered.trades.iter().filter(|t| is_pending(t)).count()) {
        (0, 0) => "nothing held from earlier runs".into(),
        (held, 0) => format!("shares of {held} tokens held from earlier runs"),
        (held, n) => format!("shares of {held} tokens held from earlier runs, {n} trades not final yet"),
    }
}

#[cfg(feature = "embedded")]
fn start_embedded(config: &Config, core: Option<usize>) -> Result<(Told, VenueHandle), Refused> {
    let scenario = scenario::open(&config.run.scenario, config.run.seed).map_err(Refused::usage)?;
    let setup = scenario.setup();
    let told = Told { title: setup.title, has_feed: scenario.game_start().is_some(), matches: setup.matches };
    let pin = move || {
        if let Some(core) = core {
            cpu::pin_current_thread(core);
        }
    };
    let venue = Venue::start(VenueOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        tls: true,
        speed: f64::from(config.run.speed),
        scenario,
        seed: config.run.seed,
        chain_id: config.venue.chain_id,
        accounts: wallets::development(EMBEDDED_DEPOSIT),
        on_thread: Some(Box::new(pin)),
        begin: Begin::OnSignal,
    })
    .map_err(Refused::failed)?;
    Ok((told, venue))
}

/// What a scenario says of itself.
#[cfg(feature = "embedded")]
struct Told {
    title: String,
    has_feed: bool,
    matches: Vec<MatchSpec>,
}

/// The embedded venue's addresses and one of its accounts.
#[cfg(feature = "embedded")]
fn embedded(config: &Config, told: Told, venue: &VenueHandle) -> Result<Known, Refused> {
    let ready = &venue.ready;
    let wanted = config.account.signature_type;
    let listed = ready.accounts.iter().find(|a| a.signature_type == wanted as u8 && a.private_key.is_some());
    let listed = listed.ok_or_else(|| Refused::usage("the embedded venue lists no account of this signature type"))?;
    let key = listed.private_key.as_deref().map_or(Err(()), |k| SecretKey::from_hex(k.as_bytes()).map_err(drop));
    let key = key.map_err(|()| Refused::failed("the embedded venue's development key cannot be read"))?;
    let funder = Address::parse(listed.funder.as_bytes())
        .ok_or_else(|| Refused::failed("the embedded venue's account has no readable address"))?;
    let account = Account { owner: key.address(), funder, signature_type: wanted };
    let tls = tls_config(Trust::Pem(ready.ca.as_bytes())).map_err(Refused::failed)?;
    Ok(Known {
        title: Some(told.title),
        rest: ready.rest.clone(),
        ws: [
            ready.ws_market.clone(),
            ready.ws_user.clone(),
            if told.has_feed { ready.ws_sports.clone() } else { String::new() },
        ],
        relayer: ready.rest.clone(),
        data: ready.rest.clone(),
        // It is on this machine.
        geoblock: String::new(),
        // The embedded venue has room for everybody.
        limits: Limits { tier: Tier::Elite, ..config.gateway.limits() },
        tls,
        key,
        account,
        conditions: ready.markets.iter().filter_map(|m| ConditionId::parse(m.condition_id.as_bytes())).collect(),
        ties: told.matches.into_iter().map(Tie::winners).collect(),
    })
}

/// The configuration's addresses and the environment's key.
fn configured(config: &Config) -> Result<Known, Refused> {
    let mut text = env::var(KEY_VARIABLE)
        .map_err(|_| Refused::usage(format!("live: put the account's private key into {KEY_VARIABLE}")))?;
    let key = SecretKey::from_hex(text.trim().as_bytes());
    text.zeroize();
    let key = key.map_err(|e| Refused::usage(format!("{KEY_VARIABLE}: {e}")))?;
    let owner = key.address();
    config.check_key(&owner).map_err(Refused::usage)?;
    let signature_type = config.account.signature_type;
    let funder = match (config.account.funder, signature_type) {
        (Some(funder), _) => funder,
        (None, SignatureType::Eoa) => owner,
        (None, _) => return Err(Refused::usage("account.funder: a wallet account needs the wallet's address")),
    };
    let v = &config.venue;
    let ca = match &v.ca_file {
        Some(file) => {
            Some(fs::read(file).map_err(|e| Refused::usage(format!("venue.ca_file = {}: {e}", file.display())))?)
        }
        None => None,
    };
    let tls = tls_config(ca.as_deref().map_or(Trust::Public, Trust::Pem)).map_err(Refused::usage)?;
    Ok(Known {
        title: None,
        rest: v.rest.clone(),
        ws: [v.ws_market.clone(), v.ws_user.clone(), v.ws_sports.clone()],
        relayer: v.relayer.clone(),
        data: v.data.clone(),
        geoblock: v.geoblock.clone(),
        limits: config.gateway.limits(),
        tls,
        key,
        account: Account { owner, funder, signature_type },
        conditions: config.markets.conditions.clone(),
        ties: config.matches.iter().map(Match::tie).collect(),
    })
}
