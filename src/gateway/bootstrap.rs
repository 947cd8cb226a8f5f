//! Before the first event and after the last: what is asked of the venue while nothing trades. Blocking.
//!
//! Source: docs/PROTOCOL.md "public reads", "authentication", "account reads".

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

use super::clock;
use crate::{
    engine::sign::WalletSigner,
    stage::{
        blocking::{Answer, Client},
        endpoint::Endpoint,
    },
    types::{
        Account, Address, ConditionId, Event, MarketSpec, Qty, TokenId, Universe, Usdc,
        event::{RecoveredEvent, TradeStatus, UserEvent},
        market::Exchange,
    },
    wire::{
        auth::{Credentials, L2Auth, l1_headers},
        listing::{clob_market, clob_market_compact},
        rest::{self, BalanceAllowance, Geoblock, OpenOrder, RestError},
        user::UserParser,
    },
};

/// Pages of open orders read at most: more than the venue lets one account have.
const PAGES_MAX: usize = 1_000;

/// Longest wait until the orders of earlier runs are gone.
const GONE_WITHIN: Duration = Duration::from_secs(15);
/// Longest wait until the trades of earlier runs are final.
const FINAL_WITHIN: Duration = Duration::from_secs(10);
/// Time between two questions of such a wait.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// Trades of so many seconds back are read: settlement takes minutes at worst.
const TRADES_BACK_S: u64 = 86_400;

/// What earlier runs left, by the venue's word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Collateral.
    pub cash: Usdc,
    /// Shares of both tokens of every market, in the universe's order.
    pub shares: Vec<[Qty; 2]>,
    /// Recent trades, [`RecoveredEvent::Trade`] each, so that none is booked twice. Whether `cash` and `shares` count
    /// those that are not final, the venue does not say: its view of the chain lags.
    pub trades: Vec<RecoveredEvent>,
}

/// Where the venue sees us. Asked of a host of its own, before anything else.
pub fn geoblock(endpoint: Endpoint) -> Result<Geoblock, BootError> {
    let step = format!("GET {} at {}", endpoint.path, endpoint.authority);
    let failed = |why: String| BootError { step: step.clone(), why };
    let mut client = Client::new(endpoint).map_err(|e| failed(e.to_string()))?;
    let answer = client.call("GET", "", b"", None).map_err(|e| failed(e.to_string()))?;
    if answer.status != 200 {
        return Err(failed(format!("status {}", answer.status)));
    }
    rest::geoblock(&answer.body).map_err(|e| failed(e.to_string()))
}

/// A step that did not succeed. The text says which, and what the venue or the system said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootError {
    /// What was asked, as `GET /time`.
    pub step: String,
    /// Why it failed.
    pub why: String,
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.why)
    }
}

impl std::error::Error for BootError {}

/// Asks the venue, one call after the other.
#[derive(Debug)]
pub struct Bootstrap {
    client: Client,
    chain_id: u64,
    account: Account,
}

impl Bootstrap {
    /// Calls to the REST host for one account. It connects at the first one.
    pub fn new(endpoint: Endpoint, chain_id: u64, account: Account) -> Result<Self, BootError> {
        let step = format!("connecting to {}", endpoint.authority);
        let client = Client::new(endpoint).map_err(|e| BootError { step, why: e.to_string() })?;
        Ok(Self { client, chain_id, account })
    }

    /// Milliseconds that our clock is ahead of the venue's; negative if behind. The venue says whole seconds: one
    /// answer that agrees with ours is enough, otherwise the offset is measured by several, within a second.
    pub fn clock_ahead_ms(&mut self) -> Result<i32, BootError> {
        let (venue_s, asked, answered) = self.venue_time()?;
        if (asked.secs()..=answered.secs()).contains(&venue_s) {
            return Ok(0);
        }
        let mut ahead = vec![clock::ahead_ms(venue_s, asked, answered)];
        while ahead.len() < clock::SAMPLES {
            thread::sleep(Duration::from_nanos(clock::SAMPLE_EVERY_NS));
            let (venue_s, asked, answered) = self.venue_time()?;
            ahead.push(clock::ahead_ms(venue_s, asked, answered));
        }
        Ok(clock::median(&mut ahead))
    }

    /// The venue's time, and ours before and after the question.
    fn venue_time(&mut self) -> Result<(u64, crate::types::Nanos, crate::types::Nanos), BootError> {
        let asked = self.client.clock().now().wall;
        let answer = self.ok("GET", "/time", b"", None)?;
        let answered = self.client.clock().now().wall;
        Ok((read("GET /time", rest::time(&answer.body))?, asked, answered))
    }

    /// The venue's order version.
    pub fn version(&mut self) -> Result<u64, BootError> {
        let answer = self.ok("GET", "/version", b"", None)?;
        read("GET /version", rest::version(&answer.body))
    }

    /// API credentials of the wallet key: created, or derived if they exist already.
    pub fn credentials(&mut self, signer: &WalletSigner) -> Result<Credentials, BootError> {
        const NONCE: u64 = 0;
        let timestamp_s = self.client.clock().now().wall.secs();
        let signature = signer.sign_clob_auth(self.chain_id, timestamp_s, NONCE);
        let mut headers = Vec::with_capacity(512);
        l1_headers(&mut headers, &signer.address(), &signature, timestamp_s, NONCE);
        let created = self.call("POST", "/auth/api-key", &headers, Some(b""))?;
        if created.status == 200 || created.status == 201 {
            return read("POST /auth/api-key", rest::credentials(&created.body));
        }
        let derived = self.ok("GET", "/auth/derive-api-key", &headers, None)?;
        read("GET /auth/derive-api-key", rest::credentials(&derived.body))
    }

    /// True if the venue lets this account only reduce positions.
    pub fn closed_only(&mut self, auth: &L2Auth) -> Result<bool, BootError> {
        let answer = self.private("GET", "/auth/ban-status/closed-only", auth)?;
        read("GET /auth/ban-status/closed-only", rest::closed_only(&answer.body))
    }

    /// The terms of each market, and with them the universe of a run.
    pub fn universe(&mut self, conditions: &[ConditionId]) -> Result<Universe, BootError> {
        let markets = conditions.iter().map(|c| self.market(c)).collect::<Result<_, _>>()?;
        Ok(Universe { chain_id: self.chain_id, account: self.account, markets, matches: Vec::new() })
    }

    /// One market's terms: trading terms from the compact object, names from the long one; they must agree.
    fn market(&mut self, condition: &ConditionId) -> Result<MarketSpec, BootError> {
        let compact = format!("/clob-markets/{condition}");
        let terms = self.ok("GET", &compact, b"", None)?;
        let terms = read(&format!("GET {compact}"), clob_market_compact(&terms.body))?;
        let long = format!("/markets/{condition}");
        let names = self.ok("GET", &long, b"", None)?;
        let names = read(&format!("GET {long}"), clob_market(&names.body))?;
        let both = terms.or(names).and_then(|listing| listing.spec());
        read(&format!("market {condition}"), both)
    }

    /// Our collateral, reserved or not.
    pub fn collateral(&mut self, auth: &L2Auth) -> Result<BalanceAllowance, BootError> {
        self.balance(auth, "COLLATERAL", None)
    }

    /// How much of our collateral an exchange contract may take; `None` if the venue does not say.
    pub fn allowance(&mut self, auth: &L2Auth, spender: &Address) -> Result<Option<u64>, BootError> {
        let target = self.balance_target("COLLATERAL", None);
        let answer = self.private("GET", &target, auth)?;
        read(&format!("GET {target}"), rest::allowance_of(&answer.body, spender))
    }

    /// Collateral as money: shorthand for the end of a run.
    pub fn cash(&mut self, auth: &L2Auth) -> Result<Usdc, BootError> {
        self.collateral(auth).map(|balance| balance.cash())
    }

    /// Our shares of both tokens of every market, in the universe's order.
    pub fn shares(&mut self, auth: &L2Auth, universe: &Universe) -> Result<Vec<[Qty; 2]>, BootError> {
        let mut all = Vec::with_capacity(universe.markets.len());
        for market in &universe.markets {
            let kind = if market.exchange == Exchange::V3 { "CONDITIONAL-V2" } else { "CONDITIONAL" };
            let mut shares = [Qty::ZERO; 2];
            for (share, token) in shares.iter_mut().zip(&market.tokens) {
                *share = Qty(self.balance(auth, kind, Some(token))?.balance);
            }
            all.push(shares);
        }
        Ok(all)
    }

    fn balance(&mut self, auth: &L2Auth, kind: &str, token: Option<&TokenId>) -> Result<BalanceAllowance, BootError> {
        let target = self.balance_target(kind, token);
        let answer = self.private("GET", &target, auth)?;
        read(&format!("GET {target}"), rest::balance_allowance(&answer.body))
    }

    fn balance_target(&self, kind: &str, token: Option<&TokenId>) -> String {
        let number = self.account.signature_type as u8;
        let token = token.map_or_else(String::new, |token| format!("&token_id={token}"));
        format!("/balance-allowance?asset_type={kind}&signature_type={number}{token}")
    }

    /// Cancels every open order of the account and waits until the venue shows none. Gives how many there were.
    /// Errors: some are still there after a while, or the venue says that it does not cancel them.
    pub fn clear_open_orders(&mut self, auth: &L2Auth) -> Result<usize, BootError> {
        let begun = Instant::now();
        let found = self.open_orders(auth)?.len();
        let mut left = found;
        while left > 0 {
            self.cancel_all(auth)?;
            left = self.open_orders(auth)?.len();
            if left > 0 && begun.elapsed() >= GONE_WITHIN {
                let why =
                    format!("{left} of {found} orders of earlier runs still rest {} s later", GONE_WITHIN.as_secs());
                return Err(BootError { step: "DELETE /cancel-all".into(), why });
            }
            if left > 0 {
                thread::sleep(ASK_AGAIN);
            }
        }
        Ok(found)
    }

    /// What earlier runs left us with. Waits a while for their trades to become final.
    /// `api_key`: tells our own orders within trades.
    pub fn recover(&mut self, auth: &L2Auth, api_key: &str, universe: &Universe) -> Result<Recovered, BootError> {
        let begun = Instant::now();
        let mut before = self.recent_trades(auth, api_key, universe)?;
        loop {
            let late = begun.elapsed() >= FINAL_WITHIN;
            if !before.iter().any(is_pending) || late {
                let (shares, cash) = (self.shares(auth, universe)?, self.cash(auth)?);
                let trades = self.recent_trades(auth, api_key, universe)?;
                // Nothing happened between: the balances are those after exactly these trades.
                if trades == before || late {
                    return Ok(Recovered { cash, shares, trades });
                }
                before = trades;
            } else {
                thread::sleep(ASK_AGAIN);
                before = self.recent_trades(auth, api_key, universe)?;
            }
        }
    }

    /// Trades of ours of the last while.
    fn recent_trades(
        &mut self,
        auth: &L2Auth,
        api_key: &str,
        universe: &Universe,
    ) -> Result<Vec<RecoveredEvent>, BootError> {
        let mut parser = UserParser::new(universe, api_key);
        let mut recent = Vec::new();
        let after = self.client.clock().now().wall.secs().saturating_sub(TRADES_BACK_S);
        self.pages(auth, "/data/trades", &format!("after={after}"), |body| {
            rest::trades(body, &mut parser, &mut |event| {
                if let Event::User(UserEvent::Trade { trade, order, instrument, side, qty, notional, status, .. }) =
                    event
                {
                    recent.push(RecoveredEvent::Trade { trade, order, instrument, side, qty, notional, status });
                }
            })
        })?;
        Ok(recent)
    }

    /// Reads every page of a list. `page` takes one and gives the cursor of the next.
    fn pages(
        &mut self,
        auth: &L2Auth,
        path: &str,
        query: &str,
        mut page: impl FnMut(&[u8]) -> Result<Option<String>, RestError>,
    ) -> Result<(), BootError> {
        let failed = |why: &str| BootError { step: format!("GET {path}"), why: why.into() };
        let mut seen: Vec<String> = Vec::new();
        for _ in 0..PAGES_MAX {
            let mut target = format!("{path}?{query}");
            if let Some(cursor) = seen.last() {
                target.push_str("&next_cursor=");
                if !rest::push_cursor(&mut target, cursor) {
                    return Err(failed("a cursor that is none"));
                }
            }
            let bare = target.trim_end_matches('?').len();
            target.truncate(bare);
            let answer = self.private("GET", &target.replace("?&", "?"), auth)?;
            match read(&format!("GET {path}"), page(&answer.body))? {
                Some(next) if seen.contains(&next) => return Err(failed("its cursors go in a circle")),
                Some(next) => seen.push(next),
                None => return Ok(()),
            }
        }
        Err(failed(&format!("more than {PAGES_MAX} pages")))
    }

    /// Every open order of the account.
    pub fn open_orders(&mut self, auth: &L2Auth) -> Result<Vec<OpenOrder>, BootError> {
        let mut all = Vec::new();
        self.pages(auth, "/data/orders", "", |body| {
            let page = rest::open_orders(body)?;
            all.extend(page.rows);
            Ok(page.next)
        })?;
        Ok(all)
    }

    /// Cancels everything of the account: the last resort, when the gateway itself failed.
    pub fn cancel_all(&mut self, auth: &L2Auth) -> Result<(), BootError> {
        self.private("DELETE", "/cancel-all", auth).map(drop)
    }

    fn private(&mut self, method: &str, target: &str, auth: &L2Auth) -> Result<Answer, BootError> {
        let path = target.split('?').next().unwrap_or(target);
        let mut headers = Vec::with_capacity(512);
        auth.headers(&mut headers, self.client.clock().now().wall.secs(), method, path, b"");
        self.ok(method, target, &headers, None)
    }

    /// A call whose answer must be a success.
    fn ok(&mut self, method: &str, target: &str, headers: &[u8], body: Option<&[u8]>) -> Result<Answer, BootError> {
        let answer = self.call(method, target, headers, body)?;
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        // The beginning of what it said; whole pages of HTML help nobody.
        let said: String = String::from_utf8_lossy(&answer.body).chars().take(200).collect();
        Err(BootError { step: format!("{method} {target}"), why: format!("status {}: {said}", answer.status) })
    }

    fn call(&mut self, method: &str, target: &str, headers: &[u8], body: Option<&[u8]>) -> Result<Answer, BootError> {
        self.client.call(method, target, headers, body).map_err(|error| BootError {
            step: format!("{method} {} at {}", target, self.client.authority()),
            why: error.to_string(),
        })
    }
}

/// True for a trade whose end is still to come.
pub fn is_pending(trade: &RecoveredEvent) -> bool {
    let RecoveredEvent::Trade { status, .. } = trade else { return false };
    !matches!(status, TradeStatus::Confirmed | TradeStatus::Failed)
}

fn read<T>(step: &str, outcome: Result<T, RestError>) -> Result<T, BootError> {
    outcome.map_err(|error| BootError { step: step.to_owned(), why: error.to_string() })
}
