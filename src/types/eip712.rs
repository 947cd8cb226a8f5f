//! EIP-712 digests of orders, for every exchange and signature type.

use serde::{Deserialize, Serialize};

use super::{
    amounts::Amounts,
    ids::{Address, OrderHash, TokenId},
    market::{Account, Exchange},
    order::Side,
};

/// The struct hash of an order and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderDigest {
    /// `structHash`: the hash of the order's fields alone.
    pub contents: [u8; 32],
    /// The order's id: the EIP-712 digest under its exchange's domain, for every signature type.
    pub order: OrderHash,
}

/// The fields of an order that differ from order to order of one account on one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderFields {
    /// Below 2^53.
    pub salt: u64,
    /// The token traded.
    pub token: TokenId,
    /// What is given and wanted.
    pub amounts: Amounts,
    /// Buy or sell.
    pub side: Side,
    /// Creation time, Unix milliseconds.
    pub timestamp_ms: u64,
    /// Zero unless given.
    pub metadata: [u8; 32],
    /// Builder code; zero without one.
    pub builder: [u8; 32],
}

/// Everything about an order's hash that is fixed for one account on one exchange contract.
#[derive(Clone, Debug)]
pub struct OrderHasher {
    _todo: (),
}

impl OrderHasher {
    /// Prepares the constant parts for the venue's own contracts.
    pub fn new(_chain_id: u64, _exchange: Exchange, _account: &Account) -> Self {
        Self { _todo: () }
    }

    /// Struct hash and order id. No allocation.
    pub fn digest(&self, _fields: &OrderFields) -> OrderDigest {
        OrderDigest { contents: [0; 32], order: OrderHash([0; 32]) }
    }

    /// What the key signs: the order id itself, or for type 3 its ERC-7739 nesting. No allocation.
    pub fn signing_digest(&self, digest: &OrderDigest) -> [u8; 32] {
        digest.order.0
    }

    /// The domain separator of the exchange; type 3 signatures carry it.
    pub fn domain_separator(&self) -> &[u8; 32] {
        &[0; 32]
    }
}

/// An address in mixed case (EIP-55), as every client sends it.
pub fn checksummed(_address: &Address) -> [u8; 42] {
    [b'0'; 42]
}
