//! Steps 7 and 8 of 9: complete sets → collateral, through the relayer: nonce, signed batch, then asking until it is
//! final.
//!
//! Cold: a merge happens a few times an hour, so this may allocate. One at a time, as the relayer demands of a wallet.
//! Source: docs/PROTOCOL.md "relayer", "split, merge, redeem".

use std::{collections::VecDeque, sync::Arc};

use super::{
    asked::Asked,
    lane::{Ended, Lane, News},
};
use crate::{
    engine::sign::WalletSigner,
    stage::{duty::Doorbell, endpoint::Endpoint},
    sys::tsc::Clock,
    types::{MarketIx, Nanos, Qty, Stamp, Universe},
    wire::{
        http::write_request,
        relayer::{self, RelayAnswer, RelayError, RelayState},
    },
};

/// Merges that may wait for the one under way.
const WAITING_MAX: usize = 16;
/// Longest wait for one answer.
const ANSWER_LIMIT_NS: u64 = 10_000_000_000;
/// Time between two questions of the same merge.
const ASK_EVERY_NS: u64 = 500_000_000;
/// Tries before a merge that was never submitted counts as failed.
const TRIES_MAX: u32 = 20;

/// How a merge ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergeEnd {
    /// Of which market.
    pub market: MarketIx,
    /// How many.
    pub qty: Qty,
    /// True if they are collateral now; false if nothing happened.
    pub merged: bool,
}

/// Where the merge under way is.
#[derive(Clone, Debug)]
enum Step {
    /// Asks for the wallet's nonce.
    Nonce,
    /// Submits a batch, signed once per nonce: the same bytes again after an unclear answer cannot happen twice.
    Submit { nonce: u64, body: Vec<u8>, unclear: bool },
    /// Asks whether it is final.
    Poll { id: String },
}

#[derive(Debug)]
struct Job {
    market: MarketIx,
    qty: Qty,
    step: Step,
    asking: bool,
    tries: u32,
    not_before: Nanos,
}

/// Merges for a deposit wallet.
pub struct Merger {
    endpoint: Endpoint,
    /// Credentials, as whole header lines.
    headers: Vec<u8>,
    signer: WalletSigner,
    universe: Arc<Universe>,
    doorbell: Option<Doorbell>,
    lane: Lane,
    waiting: VecDeque<(MarketIx, Qty)>,
    job: Option<Job>,
}

/// Without the bytes: they can hold credentials.
impl std::fmt::Debug for Merger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Merger")
            .field("endpoint", &self.endpoint)
            .field("waiting", &self.waiting)
            .field("job", &self.job)
            .finish_non_exhaustive()
    }
}

impl Merger {
    /// Merges of a type 3 account through the relayer at `endpoint`. `headers`: the relayer's credentials as whole
    /// lines, each ended by CR LF; empty where it asks for none.
    pub fn new(endpoint: Endpoint, headers: Vec<u8>, signer: WalletSigner, universe: &Arc<Universe>) -> Self {
        Self {
            endpoint,
            headers,
            signer,
            universe: Arc::clone(universe),
            doorbell: None,
            lane: Lane::new(0x006d_6572_6765),
            waiting: VecDeque::with_capacity(WAITING_MAX),
            job: None,
        }
    }

    pub(super) fn attach(&mut self, doorbell: &Doorbell) {
        self.doorbell = doorbell.try_clone().ok();
    }

    /// Takes a merge; false if too many wait or there is no such market.
    pub(super) fn begin(&mut self, market: MarketIx, qty: Qty) -> bool {
        let room = self.waiting.len() < WAITING_MAX && market.ix() < self.universe.markets.len();
        if room {
            self.waiting.push_back((market, qty));
        }
        room
    }

    /// Goes on with the merge under way.
    pub(super) fn turn(&mut self, clock: &Clock) -> (usize, Option<MergeEnd>) {
        if self.job.is_none() {
            let Some((market, qty)) = self.waiting.pop_front() else { return (0, None) };
            self.job = Some(Job { market, qty, step: Step::Nonce, asking: false, tries: 0, not_before: Nanos(0) });
        }
        let Self { lane, endpoint, doorbell, job, signer, universe, .. } = self;
        let Some(under_way) = job else { return (0, None) };
        let mut end = None;
        let mut worked = lane.turn(endpoint, doorbell.as_ref(), clock, &mut |news| {
            if let News::Ended(_, ended) = news {
                end = under_way.heard(&ended, clock.now(), signer, universe);
            }
        });
        if let Some(merged) = end {
            let end = MergeEnd { market: under_way.market, qty: under_way.qty, merged };
            self.job = None;
            return (worked + 1, Some(end));
        }
        let now = clock.now();
        if !under_way.asking && now.wall >= under_way.not_before && lane.is_idle() {
            let request = request(&under_way.step, endpoint, &self.headers, signer);
            under_way.asking = true;
            lane.send(Asked::Relay, &request, clock, ANSWER_LIMIT_NS);
            worked += 1;
        }
        (worked, None)
    }
}

/// The next question of a merge.
fn request(step: &Step, endpoint: &Endpoint, headers: &[u8], signer: &WalletSigner) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 << 10);
    let (prefix, host) = (&endpoint.path, &endpoint.authority);
    match step {
        Step::Nonce => {
            let owner = crate::types::eip712::checksummed(&signer.address());
            let owner = String::from_utf8_lossy(&owner);
            let target = format!("{prefix}/v1/account/transactions/params?address={owner}&type=WALLET");
            write_request(&mut out, "GET", &target, host, headers, None);
        }
        Step::Submit { body, .. } => {
            write_request(&mut out, "POST", &format!("{prefix}/submit"), host, headers, Some(body));
        }
        Step::Poll { id } => {
            write_request(&mut out, "GET", &format!("{prefix}/v1/account/transactions/{id}"), host, headers, None);
        }
    }
    out
}

impl Job {
    /// Takes an answer in. `Some`: it is over, and whether it happened.
    fn heard(&mut self, ended: &Ended<'_>, now: Stamp, signer: &WalletSigner, universe: &Universe) -> Option<bool> {
        self.asking = false;
        self.not_before = now.wall.plus(ASK_EVERY_NS);
        let answer = match ended {
            Ended::Answered(response) if response.json => Some((response.status, &*response.body)),
            _ => None,
        };
        match &mut self.step {
            Step::Nonce => {
                if let Some((200, body)) = answer
                    && let Some(nonce) = relayer::nonce(body)
                {
                    self.sign(nonce, now, signer, universe);
                    return None;
                }
                self.give_up()
            }
            Step::Submit { nonce, unclear, .. } => {
                let said = answer.map_or(Err(RelayError::Unknown), |(status, body)| relayer::answer(status, body));
                match said {
                    Ok(RelayAnswer { state: RelayState::Confirmed, .. }) => Some(true),
                    Ok(RelayAnswer { state: RelayState::Failed, .. }) => Some(false),
                    Ok(RelayAnswer { id, .. }) if is_plain(&id) => {
                        self.step = Step::Poll { id };
                        None
                    }
                    // An id that is not one cannot be asked for. The nonce tells when it happened.
                    Ok(_) | Err(RelayError::Unknown) => {
                        *unclear = true;
                        None
                    }
                    Err(RelayError::Busy) if *unclear => None,
                    Err(RelayError::Busy) => self.give_up(),
                    // Only we use this wallet's nonces: one that moved on after an unclear answer was ours.
                    Err(RelayError::Nonce(next)) if *unclear && next > *nonce => Some(true),
                    Err(RelayError::Nonce(next)) => {
                        self.sign(next, now, signer, universe);
                        self.give_up()
                    }
                    Err(RelayError::Refused(_)) => Some(false),
                }
            }
            Step::Poll { .. } => match answer.map(|(status, body)| relayer::answer(status, body)) {
                Some(Ok(RelayAnswer { state: RelayState::Confirmed, .. })) => Some(true),
                Some(Ok(RelayAnswer { state: RelayState::Failed, .. })) => Some(false),
                // Not final, or not understood: asked until it is.
                _ => None,
            },
        }
    }

    fn sign(&mut self, nonce: u64, now: Stamp, signer: &WalletSigner, universe: &Universe) {
        let wallet = universe.account.funder;
        let calls = [relayer::merge_call(universe.market(self.market), self.qty)];
        let deadline_s = now.wall.secs() + relayer::DEADLINE_S;
        let signature = signer.sign_wallet_batch(universe.chain_id, &wallet, nonce, deadline_s, &calls);
        let body = relayer::submit_wallet_batch(&signer.address(), &wallet, nonce, deadline_s, &calls, &signature);
        self.step = Step::Submit { nonce, body, unclear: false };
        self.not_before = now.wall;
    }

    /// Counts a try in vain, of something that certainly did not happen; `Some(false)` when there were enough.
    fn give_up(&mut self) -> Option<bool> {
        self.tries += 1;
        (self.tries >= TRIES_MAX).then_some(false)
    }
}

/// True for an id that can stand in a path.
fn is_plain(id: &str) -> bool {
    !id.is_empty() && id.len() <= 128 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}
