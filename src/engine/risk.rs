//! Step 5 of 9: intent → approved.

use serde::Serialize;

use crate::types::{OrderHash, Stamp, amounts::Amounts, eip712::OrderDigest, order::Intent};

/// An order that passed every risk check, complete but for its signature.
///
/// The fields are readable but the type cannot be made outside this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Approved {
    intent: Intent,
    amounts: Amounts,
    salt: u64,
    timestamp_ms: u64,
    digest: OrderDigest,
    cause: Stamp,
}

#[allow(dead_code)]
impl Approved {
    /// Seals an intent that passed. `salt` is below 2^53; `cause` is the stamp of the bytes that led here.
    const fn seal(
        intent: Intent,
        amounts: Amounts,
        salt: u64,
        timestamp_ms: u64,
        digest: OrderDigest,
        cause: Stamp,
    ) -> Self {
        Self { intent, amounts, salt, timestamp_ms, digest, cause }
    }

    /// What was wanted.
    pub const fn intent(&self) -> &Intent {
        &self.intent
    }

    /// The integer amounts that are signed.
    pub const fn amounts(&self) -> Amounts {
        self.amounts
    }

    /// The order's salt, below 2^53: run tag and sequence, so that our orders are recognisable after a crash.
    pub const fn salt(&self) -> u64 {
        self.salt
    }

    /// Creation time in Unix milliseconds, as signed.
    pub const fn timestamp_ms(&self) -> u64 {
        self.timestamp_ms
    }

    /// The struct hash and order id.
    pub const fn digest(&self) -> &OrderDigest {
        &self.digest
    }

    /// The order's id at the venue.
    pub const fn hash(&self) -> OrderHash {
        self.digest.order
    }

    /// Stamp of the bytes that caused the order.
    pub const fn cause(&self) -> Stamp {
        self.cause
    }
}
