//! Where a run trades: the embedded venue that it starts itself, or the one of the configuration. After this they look
//! the same.

use std::{env, fs, sync::Arc};

use rustls::ClientConfig;
use zeroize::Zeroize;

use super::Refused;
use crate::{
    config::{Config, Mode},
    engine::{
        Report,
        sign::{SecretKey, WalletSigner},
    },
    gateway::bootstrap::{BootError, Bootstrap},
    stage::endpoint::{Endpoint, Trust, tls_config},
    types::{Account, ConditionId, Universe, Usdc, market::SignatureType},
    wire::auth::{Credentials, L2Auth},
};
#[cfg(feature = "embedded")]
use crate::{
    scenario,
    sys::cpu,
    types::Address,
    venue::{Begin, Venue, VenueHandle, VenueOptions, wallets},
};

/// Where the key is read from, outside of embedded mode.
const KEY_VARIABLE: &str = "POLYMARKET_PRIVATE_KEY";
/// A clock that differs from the venue's by more is refused: signatures carry our time.
/// Source: docs/PROTOCOL.md "L2 auth".
const CLOCK_OFF_S: i64 = 2;
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
    /// Collateral before the first order.
    pub cash: Usdc,
    auth: L2Auth,
    bootstrap: Bootstrap,
    #[cfg(feature = "embedded")]
    venue: Option<VenueHandle>,
}

/// What is known before the venue has been asked anything.
struct Known {
    title: Option<String>,
    rest: String,
    ws: [String; 3],
    relayer: String,
    tls: Arc<ClientConfig>,
    key: SecretKey,
    account: Account,
    conditions: Vec<ConditionId>,
}

impl Place {
    /// Starts or reaches the venue and asks it everything that a run needs. `venue_core`: where an embedded venue runs.
    pub fn open(config: &Config, venue_core: Option<usize>) -> Result<Self, Refused> {
        match config.mode {
            #[cfg(feature = "embedded")]
            Mode::Embedded => {
                let (told, venue) = start_embedded(config, venue_core)?;
                let known = embedded(config, told, &venue)?;
                Self::ask(known, config, Some(venue))
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
                #[cfg(feature = "embedded")]
                return Self::ask(known, config, None);
                #[cfg(not(feature = "embedded"))]
                Self::ask(known, config)
            }
        }
    }

    fn ask(
        known: Known,
        config: &Config,
        #[cfg(feature = "embedded")] venue: Option<VenueHandle>,
    ) -> Result<Self, Refused> {
        let Known { title, rest, ws, relayer, tls, key, account, conditions } = known;
        let resolve = |url: &str| Endpoint::resolve(url, &tls).map_err(Refused::preflight);
        let orders = resolve(&rest)?;
        let mut boot = Bootstrap::new(orders.clone(), config.venue.chain_id, account).map_err(Refused::preflight)?;
        let ahead = boot.clock_ahead_s().map_err(Refused::preflight)?;
        if ahead.abs() > CLOCK_OFF_S {
            return Err(Refused::preflight(format!(
                "our clock is {ahead} s ahead of the venue's; set it right (NTP) before trading"
            )));
        }
        let version = boot.version().map_err(Refused::preflight)?;
        if version != ORDER_VERSION {
            return Err(Refused::preflight(format!(
                "the venue takes order version {version}, this build signs {ORDER_VERSION}: do not trade with it"
            )));
        }
        let credentials = boot.credentials(&WalletSigner::new(key.clone())).map_err(Refused::preflight)?;
        let auth = L2Auth::new(&account.owner, &credentials)
            .map_err(|_| Refused::preflight("the venue's API secret is not base64"))?;
        if boot.closed_only(&auth).map_err(Refused::preflight)? {
            return Err(Refused::preflight("the venue lets this account only reduce positions"));
        }
        let universe = boot.universe(&conditions).map_err(Refused::preflight)?;
        let open = boot.open_orders(&auth).map_err(Refused::preflight)?.len();
        if open > 0 {
            return Err(Refused::preflight(format!(
                "the account has {open} open orders from before; cancel them first, so that each order is known"
            )));
        }
        let cash = boot.cash(&auth).map_err(Refused::preflight)?;
        let title = title.unwrap_or_else(|| {
            universe.markets.first().map_or_else(|| "no market".into(), |m| m.outcomes.join(" vs "))
        });
        let optional = |url: &str| if url.is_empty() { Ok(None) } else { resolve(url).map(Some) };
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
            cash,
            auth,
            bootstrap: boot,
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

#[cfg(feature = "embedded")]
fn start_embedded(config: &Config, core: Option<usize>) -> Result<((String, bool), VenueHandle), Refused> {
    let scenario = scenario::open(&config.run.scenario, config.run.seed).map_err(Refused::usage)?;
    let (title, has_match) = (scenario.setup().title, scenario.game_start().is_some());
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
    Ok(((title, has_match), venue))
}

/// The embedded venue's addresses and one of its accounts.
#[cfg(feature = "embedded")]
fn embedded(config: &Config, (title, has_match): (String, bool), venue: &VenueHandle) -> Result<Known, Refused> {
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
        title: Some(title),
        rest: ready.rest.clone(),
        ws: [
            ready.ws_market.clone(),
            ready.ws_user.clone(),
            if has_match { ready.ws_sports.clone() } else { String::new() },
        ],
        relayer: ready.rest.clone(),
        tls,
        key,
        account,
        conditions: ready.markets.iter().filter_map(|m| ConditionId::parse(m.condition_id.as_bytes())).collect(),
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
        tls,
        key,
        account: Account { owner, funder, signature_type },
        conditions: config.markets.conditions.clone(),
    })
}
