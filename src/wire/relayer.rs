//! Step 7 of 9: merging complete sets into collateral through the relayer, as a deposit wallet's batch.
//!
//! Cold path: a merge happens a few times an hour, so everything here may allocate.
//! Source: docs/PROTOCOL.md "split, merge, redeem" and "relayer"; tests/fixtures/vectors/relayer.json.

use serde::Deserialize;
use serde_json::json;

use super::order::hex;
use crate::types::{
    Address, ConditionId, MarketSpec, Qty, TokenId,
    eip712::{WalletCall, address, checksummed},
    keccak::keccak256,
    market::Exchange,
};

/// pUSD, the collateral.
pub const COLLATERAL: Address = address("0xC011a7E12a19f7B1f670d46F03B03f3342E82DFB");
/// Splits, merges and redeems standard `v1` markets.
pub const ADAPTER: Address = address("0xAdA100Db00Ca00073811820692005400218FcE1f");
/// The same for negative-risk `v1` markets.
pub const NEG_RISK_ADAPTER: Address = address("0xadA2005600Dec949baf300f4C6120000bDB6eAab");
/// The same for `v2` markets.
pub const ROUTER: Address = address("0x12121212006e4CD160D18e3f00711DA5c3372600");
/// Every deposit wallet's batch is addressed to it.
pub const DEPOSIT_WALLET_FACTORY: Address = address("0x00000000000Fb5C9ADea0298D729A0CB3823Cc07");
/// Seconds that a batch stays valid.
pub const DEADLINE_S: u64 = 600;

/// A word of calldata that ends in these bytes.
fn right(bytes: &[u8]) -> [u8; 32] {
    let mut word = [0; 32];
    word[32 - bytes.len()..].copy_from_slice(bytes);
    word
}

fn selector(signature: &str) -> [u8; 4] {
    let [a, b, c, d, ..] = keccak256(signature.as_bytes());
    [a, b, c, d]
}

/// `mergePositions` of a `v1` adapter: `qty` of both outcomes become collateral.
pub fn merge_calldata(condition: &ConditionId, qty: Qty) -> Vec<u8> {
    let number = |n: u64| right(&n.to_be_bytes());
    let words = [
        right(&COLLATERAL.0),
        [0; 32],
        condition.0,
        // Where the array of outcomes begins, the amount, then the array: both outcomes of a binary market.
        number(5 * 32),
        number(qty.micro()),
        number(2),
        number(1),
        number(2),
    ];
    let selector = selector("mergePositions(address,bytes32,bytes32,uint256[],uint256)");
    [&selector[..], words.as_flattened()].concat()
}

/// `merge` of the `v2` router. A position id's first 31 bytes are its condition.
pub fn router_merge_calldata(condition: &[u8; 31], qty: Qty) -> Vec<u8> {
    let mut word = [0; 32];
    word[..31].copy_from_slice(condition);
    [&selector("merge(bytes31,uint256)")[..], &word, &right(&qty.micro().to_be_bytes())].concat()
}

/// The 31-byte condition id of a `v2` token.
pub fn v2_condition(token: &TokenId) -> [u8; 31] {
    let mut condition = [0; 31];
    condition.copy_from_slice(&token.0[..31]);
    condition
}

/// The call that merges `qty` complete sets of a market. Only sets whose tokens are on chain can be merged.
pub fn merge_call(market: &MarketSpec, qty: Qty) -> WalletCall {
    let (target, data) = match market.exchange {
        Exchange::V2 => (ADAPTER, merge_calldata(&market.condition, qty)),
        Exchange::V2NegRisk => (NEG_RISK_ADAPTER, merge_calldata(&market.condition, qty)),
        Exchange::V3 => (ROUTER, router_merge_calldata(&v2_condition(&market.tokens[0]), qty)),
    };
    WalletCall { target, value: 0, data }
}

fn hex_text(bytes: &[u8]) -> String {
    let mut out = b"0x".to_vec();
    hex(&mut out, bytes);
    String::from_utf8_lossy(&out).into_owned()
}

fn address_text(address: &Address) -> String {
    String::from_utf8_lossy(&checksummed(address)).into_owned()
}

/// The body of `POST /submit` for a deposit wallet's batch. `signature` is that of
/// `WalletSigner::sign_wallet_batch` over the same nonce, deadline and calls.
pub fn submit_wallet_batch(
    owner: &Address,
    wallet: &Address,
    nonce: u64,
    deadline_s: u64,
    calls: &[WalletCall],
    signature: &[u8; 65],
) -> Vec<u8> {
    let calls: Vec<_> = calls
        .iter()
        .map(|c| json!({"target": address_text(&c.target), "value": c.value.to_string(), "data": hex_text(&c.data)}))
        .collect();
    let body = json!({
        "type": "WALLET",
        "from": address_text(owner),
        "to": address_text(&DEPOSIT_WALLET_FACTORY),
        "nonce": nonce.to_string(),
        "signature": hex_text(signature),
        "metadata": "",
        "depositWalletParams": {
            "depositWallet": address_text(wallet),
            "deadline": deadline_s.to_string(),
            "calls": calls,
        },
    });
    body.to_string().into_bytes()
}

/// How far a submitted transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayState {
    /// Taken, sent, or in a block.
    Pending,
    /// Final: it happened.
    Confirmed,
    /// Final: it did not happen.
    Failed,
}

/// What the relayer answered to a submit or a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayAnswer {
    /// Names the transaction in later polls.
    pub id: String,
    /// How far it is.
    pub state: RelayState,
}

/// Why there is no answer to go on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayError {
    /// The wallet has an action under way, or the limit is reached: try again later.
    Busy,
    /// Sign again with this nonce.
    Nonce(u64),
    /// Refused; the relayer's words.
    Refused(String),
    /// No clean answer: it may have happened. Compare balances.
    Unknown,
}

/// Reads the nonce of `GET /v1/account/transactions/params`.
pub fn nonce(body: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Answer {
        nonce: super::rest::Text,
    }
    serde_json::from_slice::<Answer>(body).ok()?.nonce.0.parse().ok()
}

/// Reads the answer to `POST /submit` or to a poll.
pub fn answer(status: u16, body: &[u8]) -> Result<RelayAnswer, RelayError> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(alias = "transactionID", alias = "transaction_id")]
        id: Option<String>,
        state: Option<String>,
        #[serde(alias = "message", alias = "error_msg")]
        error: Option<String>,
    }
    let answer: Answer = serde_json::from_slice(body).map_err(|_| RelayError::Unknown)?;
    match (status, answer) {
        (200..300, Answer { id: Some(id), state: Some(state), .. }) => {
            let state = match state.as_str() {
                "STATE_CONFIRMED" => RelayState::Confirmed,
                "STATE_FAILED" | "STATE_INVALID" => RelayState::Failed,
                _ => RelayState::Pending,
            };
            Ok(RelayAnswer { id, state })
        }
        (429, _) => Err(RelayError::Busy),
        (400..500, Answer { error: Some(text), .. }) => Err(refused(text)),
        _ => Err(RelayError::Unknown),
    }
}

fn refused(text: String) -> RelayError {
    let lower = text.to_ascii_lowercase();
    if lower.contains("wallet busy") || lower.contains("in-flight action") {
        return RelayError::Busy;
    }
    let expected = lower
        .split_once("does not match on-chain nonce ")
        .and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
    expected.map_or(RelayError::Refused(text), RelayError::Nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let ok = |state| Ok(RelayAnswer { id: "7".into(), state });
        for (status, body, expected) in [
            (200, r#"{"transactionID":"7","state":"STATE_NEW","transactionHash":""}"#, ok(RelayState::Pending)),
            (200, r#"{"transaction_id":"7","state":"STATE_CONFIRMED"}"#, ok(RelayState::Confirmed)),
            (200, r#"{"transaction_id":"7","state":"STATE_INVALID","error_msg":"x"}"#, ok(RelayState::Failed)),
            (200, r#"{"transactionID":"7"}"#, Err(RelayError::Unknown)),
            (400, r#"{"error":"wallet busy: 1 active action"}"#, Err(RelayError::Busy)),
            (400, r#"{"error":"batch nonce 3 does not match on-chain nonce 12."}"#, Err(RelayError::Nonce(12))),
            (400, r#"{"error":"bad"}"#, Err(RelayError::Refused("bad".into()))),
            (429, r#"{"error":"slow"}"#, Err(RelayError::Busy)),
            (502, "<html>", Err(RelayError::Unknown)),
        ] {
            assert_eq!(answer(status, body.as_bytes()), expected, "{status} {body}");
        }
        assert_eq!(nonce(br#"{"address":"0x0","nonce":"12"}"#), Some(12));
        assert_eq!(nonce(b"{}"), None);
    }
}
