//! The relayer, as far as a deposit wallet needs it: signed batches that split, merge or redeem sets.
//!
//! One transaction per wallet at a time. Safe and proxy wallets are refused.
//! Source: docs/PROTOCOL.md "split, merge, redeem", "who sends the transaction"; tests/fixtures/vectors/relayer.json.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{
    accounts::AccountIx,
    exchange::Exchange,
    settle::SetError,
    verify::{Call, batch_signer, hex_bytes, keccak},
};
use crate::types::{Address, ConditionId, MarketIx, Nanos, Qty, market::SignatureType};

/// When a transaction reaches each state, counted from its submission.
const EXECUTED_NS: u64 = 100_000_000;
const MINED_NS: u64 = 500_000_000;
const CONFIRMED_NS: u64 = 900_000_000;
/// Transactions that are remembered before the finished ones are dropped.
const KEPT_MAX: usize = 10_000;

/// What a call does here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Makes sets of collateral.
    Split(MarketIx, Qty),
    /// Makes collateral of sets.
    Merge(MarketIx, Qty),
    /// Approvals and redemptions: this venue needs no approval and pays out by itself.
    Nothing,
}

#[derive(Debug)]
struct Tx {
    wallet: AccountIx,
    effects: Vec<Effect>,
    state: &'static str,
    hash: String,
    error: Option<String>,
    sent: Nanos,
    due: Option<Nanos>,
}

/// Transactions and nonces.
#[derive(Debug, Default)]
pub struct Relayer {
    nonces: HashMap<AccountIx, u64>,
    txs: HashMap<String, Tx>,
    count: u64,
}

/// Reads a call. `None`: nothing that this venue can carry out.
pub fn decode(call: &Call, exchange: &Exchange) -> Option<Effect> {
    let selector = |signature: &str| -> [u8; 4] {
        let h = keccak(&[signature.as_bytes()]);
        [h[0], h[1], h[2], h[3]]
    };
    let (head, args) = call.data.split_first_chunk::<4>()?;
    let word = |n: usize| args.get(32 * n..32 * (n + 1));
    let amount = |n: usize| -> Option<Qty> {
        let (zeros, low) = word(n)?.split_last_chunk::<8>()?;
        zeros.iter().all(|b| *b == 0).then(|| Qty(u64::from_be_bytes(*low)))
    };
    let by_condition = |w: &[u8]| -> Option<MarketIx> {
        let id = ConditionId(w.try_into().ok()?);
        exchange.markets().iter().position(|m| m.spec.condition == id).map(|m| MarketIx(m as u16))
    };
    // A v2 condition id is the first 31 bytes of its position ids.
    let by_position = |w: &[u8]| -> Option<MarketIx> {
        exchange.markets().iter().position(|m| m.spec.tokens[0].0[..31] == w[..31]).map(|m| MarketIx(m as u16))
    };
    const SET: &str = "(address,bytes32,bytes32,uint256[],uint256)";
    match *head {
        s if s == selector(&format!("mergePositions{SET}")) => Some(Effect::Merge(by_condition(word(2)?)?, amount(4)?)),
        s if s == selector(&format!("splitPosition{SET}")) => Some(Effect::Split(by_condition(word(2)?)?, amount(4)?)),
        s if s == selector("merge(bytes31,uint256)") => Some(Effect::Merge(by_position(word(0)?)?, amount(1)?)),
        s if s == selector("split(bytes31,uint256)") => Some(Effect::Split(by_position(word(0)?)?, amount(1)?)),
        s if [
            selector("redeemPositions(address,bytes32,bytes32,uint256[])"),
            selector("redeem(bytes31,uint256,uint256)"),
            selector("approve(address,uint256)"),
            selector("setApprovalForAll(address,bool)"),
        ]
        .contains(&s) =>
        {
            Some(Effect::Nothing)
        }
        _ => None,
    }
}

impl Relayer {
    /// The next nonce of a wallet.
    pub fn nonce(&self, wallet: AccountIx) -> u64 {
        self.nonces.get(&wallet).copied().unwrap_or(0)
    }

    /// `POST /submit`: the answer, or the text of a 400.
    pub fn submit(
        &mut self,
        body: &Value,
        wallets: &HashMap<Address, AccountIx>,
        exchange: &Exchange,
        chain_id: u64,
        now: Nanos,
    ) -> Result<Value, String> {
        let text = |v: &Value, key: &str| v.get(key).and_then(Value::as_str).map(str::to_owned);
        let address = |t: String| Address::parse(t.as_bytes());
        if text(body, "type").as_deref() != Some("WALLET") {
            return Err("only WALLET transactions are relayed here".into());
        }
        let read = || {
            let params = body.get("depositWalletParams")?;
            let calls: Option<Vec<Call>> = params
                .get("calls")?
                .as_array()?
                .iter()
                .map(|c| {
                    Some(Call {
                        target: address(text(c, "target")?)?,
                        value: text(c, "value")?.parse().ok()?,
                        data: hex_bytes(&text(c, "data")?)?,
                    })
                })
                .collect();
            Some((
                address(text(body, "from")?)?,
                address(text(params, "depositWallet")?)?,
                text(body, "nonce")?.parse::<u64>().ok()?,
                text(params, "deadline")?.parse::<u64>().ok()?,
                calls?,
                hex_bytes(&text(body, "signature")?)?,
            ))
        };
        let (from, funder, nonce, deadline, calls, signature) = read().ok_or("invalid request body")?;
        let wallet = *wallets.get(&funder).ok_or("deposit wallet is not deployed")?;
        let account = exchange.account(wallet);
        if account.signature_type != SignatureType::Poly1271 || account.owner != from {
            return Err("deposit wallet does not belong to the sender".into());
        }
        if batch_signer(funder, nonce, deadline, &calls, chain_id, &signature) != Some(from) {
            return Err("invalid signature".into());
        }
        if deadline < now.secs() {
            return Err("deadline has passed".into());
        }
        let expected = self.nonce(wallet);
        if nonce != expected {
            return Err(format!("batch nonce {nonce} does not match on-chain nonce {expected}"));
        }
        if self.txs.values().any(|t| t.wallet == wallet && t.due.is_some()) {
            return Err("wallet busy: it has an active action".into());
        }
        let effects: Option<Vec<Effect>> = calls.iter().map(|c| decode(c, exchange)).collect();
        self.count += 1;
        let hash = keccak(&[b"relayed", &self.count.to_be_bytes(), &funder.0]);
        let id = super::auth::uuid(&hash);
        let error = effects.is_none().then(|| "execution reverted".to_owned());
        let tx = Tx {
            wallet,
            effects: effects.unwrap_or_default(),
            state: "STATE_NEW",
            hash: crate::types::OrderHash(hash).to_string(),
            error,
            sent: now,
            due: Some(now.plus(EXECUTED_NS)),
        };
        if self.txs.len() >= KEPT_MAX {
            self.txs.retain(|_, t| t.due.is_some());
        }
        self.txs.insert(id.clone(), tx);
        Ok(json!({"transactionID": id, "state": "STATE_NEW", "transactionHash": ""}))
    }

    /// Where a transaction is.
    pub fn view(&self, id: &str) -> Option<Value> {
        let t = self.txs.get(id)?;
        let hash = if t.state == "STATE_NEW" { "" } else { t.hash.as_str() };
        let error = if t.state == "STATE_FAILED" { t.error.as_deref().unwrap_or_default() } else { "" };
        Some(json!({"transaction_id": id, "state": t.state, "transaction_hash": hash, "error_msg": error}))
    }

    /// When the next transaction moves.
    pub fn next_due(&self) -> Option<Nanos> {
        self.txs.values().filter_map(|t| t.due).min()
    }

    /// Moves every transaction that is due by one state.
    pub fn advance(&mut self, exchange: &mut Exchange, now: Nanos) {
        for t in self.txs.values_mut().filter(|t| t.due.is_some_and(|due| due <= now)) {
            (t.state, t.due) = match t.state {
                "STATE_NEW" => ("STATE_EXECUTED", Some(t.sent.plus(MINED_NS))),
                "STATE_EXECUTED" => {
                    *self.nonces.entry(t.wallet).or_default() += 1;
                    if t.error.is_none() {
                        t.error = carry_out(&t.effects, t.wallet, exchange, now).err();
                    }
                    match t.error {
                        None => ("STATE_MINED", Some(t.sent.plus(CONFIRMED_NS))),
                        Some(_) => ("STATE_FAILED", None),
                    }
                }
                _ => ("STATE_CONFIRMED", None),
            };
        }
    }
}

/// All or nothing, as a batch on chain is: what was done is undone if a later call fails.
fn carry_out(effects: &[Effect], wallet: AccountIx, exchange: &mut Exchange, now: Nanos) -> Result<(), String> {
    let said = |e: SetError| match e {
        SetError::TooMany => "execution reverted: insufficient balance".to_owned(),
        SetError::Resolved => "execution reverted: market is resolved".to_owned(),
    };
    let mut run = |e: Effect| match e {
        Effect::Split(m, q) => exchange.split(wallet, m, q).map_err(said),
        Effect::Merge(m, q) => exchange.merge(wallet, m, q, now).map_err(said),
        Effect::Nothing => Ok(()),
    };
    for (n, effect) in effects.iter().enumerate() {
        if let Err(text) = run(*effect) {
            for done in effects[..n].iter().rev() {
                let inverse = match *done {
                    Effect::Split(m, q) => Effect::Merge(m, q),
                    Effect::Merge(m, q) => Effect::Split(m, q),
                    Effect::Nothing => Effect::Nothing,
                };
                run(inverse)?;
            }
            return Err(text);
        }
    }
    Ok(())
}
