//! `polyloly-fast sign`: order fields → digests and signature.

use std::{
    io::{BufRead, Write},
    process::ExitCode,
};

use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroize;

use super::exit;
use crate::{
    engine::sign::{SecretKey, WalletSigner},
    types::{
        Account, Address, Side, TokenId,
        amounts::Amounts,
        eip712::{OrderFields, OrderHasher, SALT_LIMIT},
        ids::parse_hex,
        market::SignatureType,
    },
    wire::{order::nested_signature, rest::Text},
};

/// The environment variable that holds the wallet key.
const KEY_VARIABLE: &str = "POLYMARKET_PRIVATE_KEY";

/// Reads one JSON object a line on stdin, prints its digests and signature or an error a line.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Use the offline/online signing path (not available yet)
    #[arg(long)]
    pool: bool,
}

/// The fields of an order, with the names of `orders.json`. Numbers may be text.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawOrder {
    salt: Text,
    maker: Text,
    signer: Text,
    token_id: Text,
    maker_amount: Text,
    taker_amount: Text,
    side: Text,
    signature_type: Text,
    timestamp: Text,
    #[serde(default)]
    metadata: Option<Text>,
    #[serde(default)]
    builder: Option<Text>,
}

/// One line.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    order: RawOrder,
    chain_id: Text,
    verifying_contract: Text,
    domain_version: Text,
}

/// What signing a line gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedLine {
    /// Hash of the fields.
    pub struct_hash: [u8; 32],
    /// The exchange's domain.
    pub domain_separator: [u8; 32],
    /// The order's id.
    pub order_id: [u8; 32],
    /// What the key signed.
    pub signed_digest: [u8; 32],
    /// 65 bytes, or 317 for type 3.
    pub signature: Vec<u8>,
}

fn parse<T>(name: &str, text: &Text, parse: impl FnOnce(&[u8]) -> Option<T>) -> Result<T, String> {
    parse(text.bytes()).ok_or_else(|| format!("{name} {:?} is not possible", text.0))
}

fn number(text: &[u8]) -> Option<u64> {
    text.iter().all(u8::is_ascii_digit).then_some(())?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Zero unless given.
fn word(name: &str, text: Option<&Text>) -> Result<[u8; 32], String> {
    text.filter(|t| !t.0.is_empty()).map_or(Ok([0; 32]), |t| parse(name, t, parse_hex))
}

impl RawOrder {
    /// The account that the order belongs to.
    pub fn account(&self) -> Result<Account, String> {
        let signature_type = parse("signatureType", &self.signature_type, |t| {
            SignatureType::from_number(u8::try_from(number(t)?).ok()?)
        })?;
        let (maker, signer) =
            (parse("maker", &self.maker, Address::parse)?, parse("signer", &self.signer, Address::parse)?);
        // Type 3 names the wallet twice; types 1 and 2 the wallet and the key; type 0 the key twice.
        if maker != signer && matches!(signature_type, SignatureType::Poly1271 | SignatureType::Eoa) {
            return Err(format!("maker and signer must be equal for signatureType {}", signature_type as u8));
        }
        Ok(Account { owner: signer, funder: maker, signature_type })
    }

    /// The rest of its fields.
    pub fn fields(&self) -> Result<OrderFields, String> {
        Ok(OrderFields {
            salt: parse("salt", &self.salt, |t| number(t).filter(|s| *s < SALT_LIMIT))?,
            token: parse("tokenId", &self.token_id, TokenId::parse)?,
            amounts: Amounts {
                maker: parse("makerAmount", &self.maker_amount, number)?,
                taker: parse("takerAmount", &self.taker_amount, number)?,
            },
            side: parse("side", &self.side, |t| match t {
                b"0" => Some(Side::Buy),
                b"1" => Some(Side::Sell),
                text => Side::parse(text),
            })?,
            timestamp_ms: parse("timestamp", &self.timestamp, number)?,
            metadata: word("metadata", self.metadata.as_ref())?,
            builder: word("builder", self.builder.as_ref())?,
        })
    }
}

impl Line {
    /// Signs it. Errors: the text says which field is wrong.
    pub fn sign(&self, signer: &WalletSigner) -> Result<SignedLine, String> {
        let (account, fields) = (self.order.account()?, self.order.fields()?);
        let contract = parse("verifyingContract", &self.verifying_contract, Address::parse)?;
        let chain_id = parse("chainId", &self.chain_id, number)?;
        let hasher = OrderHasher::with_contract(chain_id, contract, &self.domain_version.0, &account);
        let (digest, signature) = signer.sign_order_fields(&fields, &hasher);
        let separator = *hasher.domain_separator();
        Ok(SignedLine {
            struct_hash: digest.contents,
            domain_separator: separator,
            order_id: digest.order.0,
            signed_digest: hasher.signing_digest(&digest),
            signature: match account.signature_type {
                SignatureType::Poly1271 => nested_signature(&signature, &separator, &digest.contents).to_vec(),
                _ => signature.to_vec(),
            },
        })
    }
}

/// `0x` and lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold("0x".to_owned(), |mut text, b| {
        let _ = write!(text, "{b:02x}");
        text
    })
}

/// Runs the command. Exit 1 if any line was an error, 2 without a usable key, 0 otherwise.
pub fn run(args: Args) -> ExitCode {
    if args.pool {
        eprintln!("--pool: the offline/online signing path is not part of this version; leave the flag out");
        return ExitCode::from(exit::USAGE);
    }
    let Ok(mut text) = std::env::var(KEY_VARIABLE) else {
        eprintln!("{KEY_VARIABLE} is not set: it holds the private key as 64 hex digits");
        return ExitCode::from(exit::USAGE);
    };
    let key = SecretKey::from_hex(text.trim().as_bytes());
    text.zeroize();
    let signer = match key {
        Ok(key) => WalletSigner::new(key),
        Err(error) => {
            eprintln!("{KEY_VARIABLE}: {error}");
            return ExitCode::from(exit::USAGE);
        }
    };
    let (mut out, mut failed) = (std::io::stdout().lock(), false);
    for line in std::io::stdin().lock().split(b'\n') {
        let answer = match line {
            Ok(line) if line.trim_ascii().is_empty() => continue,
            Ok(line) => serde_json::from_slice::<Line>(&line).map_err(|e| e.to_string()).and_then(|l| l.sign(&signer)),
            Err(e) => Err(e.to_string()),
        };
        failed |= answer.is_err();
        let answer = match answer {
            Ok(s) => json!({
                "structHash": hex(&s.struct_hash),
                "domainSeparator": hex(&s.domain_separator),
                "orderId": hex(&s.order_id),
                "signedDigest": hex(&s.signed_digest),
                "signature": hex(&s.signature),
            }),
            Err(error) => json!({ "error": error }),
        };
        if writeln!(out, "{answer}").is_err() {
            return ExitCode::from(exit::FAILED);
        }
    }
    ExitCode::from(if failed { exit::FAILED } else { exit::DONE })
}
