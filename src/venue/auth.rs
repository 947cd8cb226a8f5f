//! API keys and the two authentications of a request: L1 by wallet signature, L2 by HMAC over the exact bytes.
//!
//! Keys are derived from address and nonce, so that the same wallet gets the same key in every run.
//! Source: docs/PROTOCOL.md "authentication"; tests/fixtures/vectors/l1_auth.json, l2_hmac.json.

use std::{collections::HashMap, fmt::Write as _, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::verify::{Word, hex_bytes, keccak, l1_signer, uint, word};
use crate::types::{Address, Nanos};

/// How far a request's timestamp may be from our clock. The real tolerance is unconfirmed.
const SKEW_S: u64 = 300;

/// Words for a refused L1 request.
pub const BAD_L1: &str = "Invalid L1 Request headers";
/// Words for a refused L2 request.
pub const BAD_L2: &str = "Unauthorized/Invalid api key";

/// Credentials as the wire gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The API key, a UUID.
    pub key: Arc<str>,
    /// HMAC key, url-safe base64.
    pub secret: String,
    /// Passphrase, hex.
    pub passphrase: String,
    /// Whose.
    pub owner: Address,
    /// Made with which nonce.
    pub nonce: u64,
}

/// Every API key in use.
#[derive(Debug, Default)]
pub struct Keys {
    by_key: HashMap<Arc<str>, Credentials>,
}

/// What the authentication of a request needs to see of it.
pub trait Headers {
    /// A header's value, by case-insensitive name.
    fn header(&self, name: &str) -> Option<&str>;
}

/// A UUID made of the first bytes of a hash.
pub fn uuid(h: &Word) -> String {
    let mut out = String::with_capacity(36);
    for (i, b) in h[..16].iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        let _ = write!(out, "{b:02x}");
    }
    out
}

impl Keys {
    fn derived(owner: Address, nonce: u64) -> Credentials {
        let part = |what: &[u8]| keccak(&[b"embedded venue api key", what, &word(owner), &uint(nonce)]);
        let passphrase = part(b"passphrase").iter().fold(String::new(), |mut s, b| {
            let _ = write!(s, "{b:02x}");
            s
        });
        Credentials {
            key: uuid(&part(b"key")).into(),
            secret: URL_SAFE.encode(part(b"secret")),
            passphrase,
            owner,
            nonce,
        }
    }

    /// Creates the key of an address and nonce; `None` if it exists.
    pub fn create(&mut self, owner: Address, nonce: u64) -> Option<&Credentials> {
        let made = Self::derived(owner, nonce);
        match self.by_key.entry(made.key.clone()) {
            std::collections::hash_map::Entry::Occupied(_) => None,
            std::collections::hash_map::Entry::Vacant(v) => Some(v.insert(made)),
        }
    }

    /// The existing key of an address and nonce.
    pub fn derive(&self, owner: Address, nonce: u64) -> Option<&Credentials> {
        self.by_key.get(&Self::derived(owner, nonce).key)
    }

    /// The keys of an address.
    pub fn of(&self, owner: Address) -> Vec<&Credentials> {
        let mut found: Vec<_> = self.by_key.values().filter(|c| c.owner == owner).collect();
        found.sort_by_key(|c| c.nonce);
        found
    }

    /// Whose key it is.
    pub fn owner(&self, key: &str) -> Option<Address> {
        self.by_key.get(key).map(|c| c.owner)
    }

    /// The credentials of a key.
    pub fn credentials(&self, key: &str) -> Option<&Credentials> {
        self.by_key.get(key)
    }

    /// A key as it is kept.
    pub fn known(&self, key: &str) -> Option<Arc<str>> {
        self.by_key.get(key).map(|c| c.key.clone())
    }

    /// Ends a key.
    pub fn delete(&mut self, key: &str) {
        self.by_key.remove(key);
    }

    /// Checks credentials given whole, as the user channel does.
    pub fn check(&self, key: &str, secret: &str, passphrase: &str) -> Option<&Credentials> {
        self.by_key.get(key).filter(|c| plain(&c.secret) == plain(secret) && c.passphrase == passphrase)
    }

    /// L1: who asks, and with which nonce.
    pub fn l1(&self, request: &impl Headers, chain_id: u64, now: Nanos) -> Result<(Address, u64), &'static str> {
        let read = || {
            let address = Address::parse(request.header("POLY_ADDRESS")?.as_bytes())?;
            let timestamp = request.header("POLY_TIMESTAMP")?;
            let nonce = request.header("POLY_NONCE").unwrap_or("0").parse().ok()?;
            let signature = hex_bytes(request.header("POLY_SIGNATURE")?)?;
            let signer = l1_signer(address, timestamp, nonce, chain_id, &signature)?;
            (signer == address && is_fresh(timestamp, now)).then_some((address, nonce))
        };
        read().ok_or(BAD_L1)
    }

    /// L2: whose key it is. `path` is without query string; `body` is exactly what was sent.
    pub fn l2(
        &self,
        request: &impl Headers,
        method: &str,
        path: &str,
        body: &[u8],
        now: Nanos,
    ) -> Result<Credentials, &'static str> {
        let read = || {
            let known = self.by_key.get(request.header("POLY_API_KEY")?)?;
            let address = Address::parse(request.header("POLY_ADDRESS")?.as_bytes())?;
            let timestamp = request.header("POLY_TIMESTAMP")?;
            let same = known.passphrase == request.header("POLY_PASSPHRASE")? && known.owner == address;
            let signature = hmac_of(&known.secret, timestamp, method, path, body)?;
            let signed = plain(&signature) == plain(request.header("POLY_SIGNATURE")?);
            (same && signed && is_fresh(timestamp, now)).then(|| known.clone())
        };
        read().ok_or(BAD_L2)
    }
}

fn is_fresh(timestamp: &str, now: Nanos) -> bool {
    timestamp.parse::<u64>().is_ok_and(|t| t.abs_diff(now.secs()) <= SKEW_S)
}

/// Base64 in the url-safe alphabet without padding, whichever way it was written.
fn plain(base64: &str) -> String {
    base64.trim_end_matches('=').replace('+', "-").replace('/', "_")
}

/// The signature that L2 wants. `None` if the secret is not base64.
pub fn hmac_of(secret: &str, timestamp: &str, method: &str, path: &str, body: &[u8]) -> Option<String> {
    let mut padded = plain(secret);
    while !padded.len().is_multiple_of(4) {
        padded.push('=');
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(&URL_SAFE.decode(padded).ok()?).ok()?;
    for part in [timestamp.as_bytes(), method.as_bytes(), path.as_bytes(), body] {
        mac.update(part);
    }
    Some(URL_SAFE.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sent(Vec<(&'static str, String)>);

    impl Headers for Sent {
        fn header(&self, name: &str) -> Option<&str> {
            self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
        }
    }

    #[test]
    fn every_l2_vector_is_reproduced() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/vectors/l2_hmac.json");
        let all: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let rows = all["vectors"].as_array().unwrap();
        assert!(rows.len() >= 14);
        for v in rows {
            let text = |k: &str| v[k].as_str().unwrap();
            let body = v["body"].as_str().unwrap_or_default();
            let made = hmac_of(text("secret"), text("timestamp"), text("method"), text("requestPath"), body.as_bytes());
            assert_eq!(made.as_deref(), Some(text("signature")), "{}", v["id"]);
        }
    }

    #[test]
    fn a_private_call_needs_the_exact_bytes_the_right_path_and_the_hour() {
        let owner = Address([7; 20]);
        let mut keys = Keys::default();
        let c = keys.create(owner, 0).unwrap().clone();
        assert!(keys.create(owner, 0).is_none(), "a second creation is refused");
        assert_eq!(keys.derive(owner, 0), Some(&c));
        let now = Nanos(1_790_000_000_000_000_000);
        let sent = |timestamp: &str, key: &str| {
            Sent(vec![
                ("poly_address", owner.to_string()),
                ("POLY_API_KEY", key.to_owned()),
                ("POLY_PASSPHRASE", c.passphrase.clone()),
                ("POLY_TIMESTAMP", timestamp.to_owned()),
                ("POLY_SIGNATURE", hmac_of(&c.secret, timestamp, "POST", "/order", b"{}").unwrap()),
            ])
        };
        let good = sent("1790000000", &c.key);
        assert_eq!(keys.l2(&good, "POST", "/order", b"{}", now), Ok(c.clone()));
        let refused: [(&str, Sent, &str, &str, &[u8]); 5] = [
            ("another body", sent("1790000000", &c.key), "POST", "/order", b"{ }"),
            ("another path", sent("1790000000", &c.key), "POST", "/orders", b"{}"),
            ("another method", sent("1790000000", &c.key), "DELETE", "/order", b"{}"),
            ("an old timestamp", sent("1789999000", &c.key), "POST", "/order", b"{}"),
            ("an unknown key", sent("1790000000", "nobody"), "POST", "/order", b"{}"),
        ];
        for (what, request, method, path, body) in refused {
            assert_eq!(keys.l2(&request, method, path, body, now), Err(BAD_L2), "{what}");
        }
    }
}
