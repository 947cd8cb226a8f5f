//! Step 6 of 9: approved → signed; alone sees the key.
//!
//! Signatures are RFC 6979 (deterministic nonces), low-s, with v 27 or 28.
//! Source: docs/PROTOCOL.md "EIP-712 order"; tests/fixtures/vectors/orders.json.

use core::fmt;

use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};
use zeroize::Zeroize;

use super::risk::Approved;
use crate::types::{
    Address,
    eip712::{OrderDigest, OrderFields, OrderHasher, WalletCall, clob_auth_digest, wallet_batch_digest},
    ids::parse_hex,
    keccak::keccak256,
};

/// A signed order: the only thing that the gateway sends.
#[derive(Clone, Copy)]
pub struct Signed {
    approved: Approved,
    signature: [u8; 65],
}

impl Signed {
    /// Joins an approved order with the 65-byte signature (r ‖ s ‖ v, v 27 or 28) over its signing digest.
    const fn join(approved: Approved, signature: [u8; 65]) -> Self {
        Self { approved, signature }
    }

    /// The order.
    pub const fn approved(&self) -> &Approved {
        &self.approved
    }

    /// r ‖ s ‖ v of the owner key. Type 3 wraps it further on the wire.
    pub const fn signature(&self) -> &[u8; 65] {
        &self.signature
    }
}

/// Why a text is not a private key. Says nothing about the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// Not 64 hex digits, with or without `0x`.
    NotHex,
    /// Zero, or not below the order of the curve.
    OutOfRange,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotHex => "a private key is 64 hex digits, with or without 0x",
            Self::OutOfRange => "the private key is outside the curve's range",
        })
    }
}

impl std::error::Error for KeyError {}

/// A private key. It is wiped when dropped, and nothing prints it.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl SecretKey {
    /// Reads hex text, with or without `0x`. The caller wipes the text.
    pub fn from_hex(text: &[u8]) -> Result<Self, KeyError> {
        let mut bytes = parse_hex::<32>(text).ok_or(KeyError::NotHex)?;
        let key = SigningKey::from_slice(&bytes);
        bytes.zeroize();
        key.map(Self).map_err(|_| KeyError::OutOfRange)
    }

    /// The key's address: the last 20 bytes of the hash of its public point.
    pub fn address(&self) -> Address {
        address_of(self.0.verifying_key())
    }

    fn sign(&self, digest: &[u8; 32]) -> [u8; 65] {
        let (signature, recovery) = self.0.sign_prehash_recoverable(digest);
        let mut out = [0; 65];
        out[..64].copy_from_slice(&signature.to_bytes());
        out[64] = 27 + u8::from(recovery.is_y_odd());
        out
    }
}

/// The last 20 bytes of the hash of a public point.
fn address_of(key: &VerifyingKey) -> Address {
    let point = key.to_sec1_point(false);
    let hash = keccak256(&point.as_bytes()[1..]);
    let mut out = [0; 20];
    out.copy_from_slice(&hash[12..]);
    Address(out)
}

/// Signs orders that risk approved, and nothing else.
#[derive(Debug)]
pub struct OrderSigner {
    key: SecretKey,
}

impl OrderSigner {
    /// A signer for the account whose owner is this key's address.
    pub const fn new(key: SecretKey) -> Self {
        Self { key }
    }

    /// The key's address.
    pub fn address(&self) -> Address {
        self.key.address()
    }

    /// Signs a digest and finds its own address in the signature, as the venue will. False: no order may be signed.
    pub fn verifies_itself(&self) -> bool {
        let digest = keccak256(b"polyloly-fast signs for itself");
        let signed = self.key.sign(&digest);
        let recovered = Signature::from_slice(&signed[..64]).ok().and_then(|signature| {
            let parity = RecoveryId::from_byte(signed[64].wrapping_sub(27))?;
            VerifyingKey::recover_from_prehash(&digest, &signature, parity).ok()
        });
        recovered.is_some_and(|point| address_of(&point) == self.key.address())
    }

    /// Signs an approved order. `hasher` is the one that made its digest. No allocation.
    pub fn sign(&self, approved: &Approved, hasher: &OrderHasher) -> Signed {
        Signed::join(*approved, self.key.sign(&hasher.signing_digest(approved.digest())))
    }
}

/// Signs the few other things that a wallet key is for. Cold path only: start-up, merges, the `sign` command.
#[derive(Debug)]
pub struct WalletSigner {
    key: SecretKey,
}

impl WalletSigner {
    /// A signer for this key.
    pub const fn new(key: SecretKey) -> Self {
        Self { key }
    }

    /// The key's address.
    pub fn address(&self) -> Address {
        self.key.address()
    }

    /// Proves possession of the key to the venue. `timestamp_s`: Unix seconds, the same as in the header.
    pub fn sign_clob_auth(&self, chain_id: u64, timestamp_s: u64, nonce: u64) -> [u8; 65] {
        self.key.sign(&clob_auth_digest(chain_id, &self.key.address(), timestamp_s, nonce))
    }

    /// Signs a deposit wallet's batch of calls for the relayer. `deadline_s`: Unix seconds.
    pub fn sign_wallet_batch(
        &self,
        chain_id: u64,
        wallet: &Address,
        nonce: u64,
        deadline_s: u64,
        calls: &[WalletCall],
    ) -> [u8; 65] {
        self.key.sign(&wallet_batch_digest(chain_id, wallet, nonce, deadline_s, calls))
    }

    /// Signs order fields that no risk check has seen, for the `sign` command and the golden vectors. What it returns
    /// is not a [`Signed`], so the gateway cannot send it.
    pub fn sign_order_fields(&self, fields: &OrderFields, hasher: &OrderHasher) -> (OrderDigest, [u8; 65]) {
        let digest = hasher.digest(fields);
        (digest, self.key.sign(&hasher.signing_digest(&digest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The public test key of the vectors.
    const KEY: &[u8] = b"0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

    #[test]
    fn the_key_gives_its_address() {
        let key = SecretKey::from_hex(KEY).unwrap();
        assert_eq!(key.address().to_string(), "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266");
    }

    #[test]
    fn no_text_shows_the_key() {
        let key = SecretKey::from_hex(KEY).unwrap();
        assert_eq!(format!("{key:?}"), "<secret>");
        assert_eq!(format!("{:?}", OrderSigner::new(key.clone())), "OrderSigner { key: <secret> }");
        assert_eq!(format!("{:?}", WalletSigner::new(key)), "WalletSigner { key: <secret> }");
        let error = SecretKey::from_hex(b"0xac0974bec39a17e3").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("ac09"));
    }

    #[test]
    fn bad_keys_are_refused() {
        let zero = [b'0'; 64];
        let above = [b'f'; 64];
        for (text, error) in [
            (&b""[..], KeyError::NotHex),
            (&KEY[..65], KeyError::NotHex),
            (&zero, KeyError::OutOfRange),
            (&above, KeyError::OutOfRange),
        ] {
            assert_eq!(SecretKey::from_hex(text).map(|_| ()), Err(error));
        }
    }

    #[test]
    fn signatures_are_low_s_and_deterministic() {
        let key = SecretKey::from_hex(KEY).unwrap();
        for i in 0..32_u8 {
            let signature = key.sign(&[i; 32]);
            assert_eq!(signature, key.sign(&[i; 32]));
            assert!(signature[32] < 0x80, "s above half the order");
            assert!(matches!(signature[64], 27 | 28));
        }
    }
}
