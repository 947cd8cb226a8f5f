//! Step 7 of 9: the headers that authenticate a request.
//!
//! Source: docs/PROTOCOL.md "L1" and "L2"; tests/fixtures/vectors/l1_auth.json and l2_hmac.json.

use base64::{
    Engine,
    engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD_INDIFFERENT},
};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use super::order::{hex, push_address};
use crate::types::{Address, eip712::decimal};

/// API credentials as the venue gives them.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// UUID text; also the `owner` of orders.
    pub api_key: String,
    /// Base64 text.
    pub secret: Zeroizing<String>,
    /// Hex text.
    pub passphrase: Zeroizing<String>,
}

impl core::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Credentials(api key {}, <secret>)", self.api_key)
    }
}

/// The secret is not base64. Says nothing about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretNotBase64;

impl core::fmt::Display for SecretNotBase64 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the API secret is not base64")
    }
}

impl std::error::Error for SecretNotBase64 {}

/// Signs private calls. The key schedule is prepared once; a signature allocates nothing.
#[derive(Clone)]
pub struct L2Auth {
    mac: Hmac<Sha256>,
    /// `POLY_ADDRESS`, `POLY_API_KEY` and `POLY_PASSPHRASE`, as header lines.
    constant: Zeroizing<Vec<u8>>,
}

impl core::fmt::Debug for L2Auth {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("L2Auth(<secret>)")
    }
}

impl L2Auth {
    /// `owner`: address of the signing key, for every signature type.
    /// The secret may be in either base64 alphabet, padded or not.
    pub fn new(owner: &Address, credentials: &Credentials) -> Result<Self, SecretNotBase64> {
        let mut text = credentials.secret.trim().as_bytes().to_vec();
        for b in &mut text {
            *b = match *b {
                b'+' => b'-',
                b'/' => b'_',
                other => other,
            };
        }
        let key = URL_SAFE_NO_PAD_INDIFFERENT.decode(&text);
        text.zeroize();
        let key = Zeroizing::new(key.map_err(|_| SecretNotBase64)?);
        let mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| SecretNotBase64)?;
        let mut constant = Zeroizing::new(b"POLY_ADDRESS: ".to_vec());
        push_address(&mut constant, owner);
        for part in
            ["\r\nPOLY_API_KEY: ", &credentials.api_key, "\r\nPOLY_PASSPHRASE: ", &credentials.passphrase, "\r\n"]
        {
            constant.extend_from_slice(part.as_bytes());
        }
        Ok(Self { mac, constant })
    }

    /// The signature of one call. `timestamp_s`: Unix seconds, as in the header. `method` in upper case. `path`
    /// without its query. `body`: the exact bytes sent; empty if there are none.
    pub fn sign(&self, timestamp_s: u64, method: &str, path: &str, body: &[u8]) -> [u8; 44] {
        let mut mac = self.mac.clone();
        mac.update(decimal(timestamp_s, &mut [0; 20]));
        mac.update(method.as_bytes());
        mac.update(path.as_bytes());
        mac.update(body);
        let mut out = [0; 44];
        // 32 bytes are 44 characters of base64: this cannot fail.
        let written = URL_SAFE.encode_slice(mac.finalize().into_bytes(), &mut out);
        debug_assert_eq!(written, Ok(44));
        out
    }

    /// Appends the five headers of a private call, each line ended. Arguments as for [`L2Auth::sign`].
    pub fn headers(&self, out: &mut Vec<u8>, timestamp_s: u64, method: &str, path: &str, body: &[u8]) {
        let signature = self.sign(timestamp_s, method, path, body);
        out.extend_from_slice(&self.constant);
        out.extend_from_slice(b"POLY_SIGNATURE: ");
        out.extend_from_slice(&signature);
        out.extend_from_slice(b"\r\nPOLY_TIMESTAMP: ");
        out.extend_from_slice(decimal(timestamp_s, &mut [0; 20]));
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends the four headers that create or derive an API key, each line ended. `signature` is that of
/// `WalletSigner::sign_clob_auth` for the same time and nonce.
pub fn l1_headers(out: &mut Vec<u8>, owner: &Address, signature: &[u8; 65], timestamp_s: u64, nonce: u64) {
    out.extend_from_slice(b"POLY_ADDRESS: ");
    push_address(out, owner);
    out.extend_from_slice(b"\r\nPOLY_SIGNATURE: 0x");
    hex(out, signature);
    out.extend_from_slice(b"\r\nPOLY_TIMESTAMP: ");
    out.extend_from_slice(decimal(timestamp_s, &mut [0; 20]));
    out.extend_from_slice(b"\r\nPOLY_NONCE: ");
    out.extend_from_slice(decimal(nonce, &mut [0; 20]));
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(secret: &str) -> Credentials {
        Credentials {
            api_key: "00000000-0000-0000-0000-000000000001".into(),
            secret: Zeroizing::new(secret.into()),
            passphrase: Zeroizing::new("phrase".into()),
        }
    }

    #[test]
    fn every_spelling_of_a_secret_is_the_same_secret() {
        let sign =
            |secret| L2Auth::new(&Address([1; 20]), &credentials(secret)).unwrap().sign(1, "GET", "/data/orders", b"");
        let expected = sign("-gD0IkWaWOUa6ONwzyW9n6tCl9oP9Qgdxl1-Y1NncIg=");
        assert_eq!(sign("+gD0IkWaWOUa6ONwzyW9n6tCl9oP9Qgdxl1+Y1NncIg="), expected);
        assert_eq!(sign("-gD0IkWaWOUa6ONwzyW9n6tCl9oP9Qgdxl1-Y1NncIg"), expected);
        assert_ne!(sign("-gD0IkWaWOUa6ONwzyW9n6tCl9oP9Qgdxl1-Y1NncIk="), expected);
    }

    #[test]
    fn nothing_shows_the_secret() {
        let credentials = credentials("c2VjcmV0");
        let auth = L2Auth::new(&Address([1; 20]), &credentials).unwrap();
        for text in [format!("{credentials:?}"), format!("{auth:?}")] {
            assert!(!text.contains("c2VjcmV0") && !text.contains("phrase"), "{text}");
        }
        assert!(L2Auth::new(&Address([1; 20]), &self::credentials("not base64!")).is_err());
    }

    #[test]
    fn the_headers_of_a_private_call() {
        let owner = Address::parse(b"0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266").unwrap();
        let auth = L2Auth::new(&owner, &credentials("-gD0IkWaWOUa6ONwzyW9n6tCl9oP9Qgdxl1-Y1NncIg=")).unwrap();
        let mut out = Vec::new();
        auth.headers(&mut out, 1_780_504_143, "GET", "/data/orders", b"");
        assert_eq!(
            String::from_utf8_lossy(&out),
            "POLY_ADDRESS: 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266\r\n\
             POLY_API_KEY: 00000000-0000-0000-0000-000000000001\r\n\
             POLY_PASSPHRASE: phrase\r\n\
             POLY_SIGNATURE: HBHA_diI97XBtwPm3eCkfRoPQsSvvWIJvtKjLHIpk2k=\r\n\
             POLY_TIMESTAMP: 1780504143\r\n"
        );
    }
}
