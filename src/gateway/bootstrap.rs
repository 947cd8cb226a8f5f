//! Before the first event and after the last: what is asked of the venue while nothing trades. Blocking.
//!
//! Source: docs/PROTOCOL.md "public reads", "authentication", "account reads".

use std::fmt;

use crate::{
    engine::sign::WalletSigner,
    stage::{
        blocking::{Answer, Client},
        endpoint::Endpoint,
    },
    types::{Account, ConditionId, MarketSpec, Qty, TokenId, Universe, Usdc, market::Exchange},
    wire::{
        auth::{Credentials, L2Auth, l1_headers},
        listing::{clob_market, clob_market_compact},
        rest::{self, BalanceAllowance, OpenOrder, RestError},
    },
};

/// Pages of open orders read at most: more than the venue lets one account have.
const PAGES_MAX: usize = 1_000;

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

    /// Seconds that our clock is ahead of the venue's; negative if behind. The venue says whole seconds, so a clock
    /// that is right gives 0, or 1 across the boundary of a second.
    pub fn clock_ahead_s(&mut self) -> Result<i64, BootError> {
        let answer = self.ok("GET", "/time", b"", None)?;
        let venue = read("GET /time", rest::time(&answer.body))?;
        Ok(self.client.clock().now().wall.secs() as i64 - venue as i64)
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
        Ok(Universe { chain_id: self.chain_id, account: self.account, markets })
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
        let number = self.account.signature_type as u8;
        let token = token.map_or_else(String::new, |token| format!("&token_id={token}"));
        let target = format!("/balance-allowance?asset_type={kind}&signature_type={number}{token}");
        let answer = self.private("GET", &target, auth)?;
        read(&format!("GET {target}"), rest::balance_allowance(&answer.body))
    }

    /// Every open order of the account.
    pub fn open_orders(&mut self, auth: &L2Auth) -> Result<Vec<OpenOrder>, BootError> {
        let (mut all, mut cursor) = (Vec::new(), None::<String>);
        for _ in 0..PAGES_MAX {
            let query = cursor.map_or_else(String::new, |cursor| format!("?next_cursor={cursor}"));
            let answer = self.private("GET", &format!("/data/orders{query}"), auth)?;
            let page = read("GET /data/orders", rest::open_orders(&answer.body))?;
            all.extend(page.rows);
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(all),
            }
        }
        Err(BootError { step: "GET /data/orders".into(), why: format!("more than {PAGES_MAX} pages") })
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

fn read<T>(step: &str, outcome: Result<T, RestError>) -> Result<T, BootError> {
    outcome.map_err(|error| BootError { step: step.to_owned(), why: error.to_string() })
}
