//! Who signed this? Digests by a plain Keccak and key recovery: a second code path, so that a mistake of our signer
//! cannot confirm itself here. Nothing of `types::eip712` is used.
//!
//! Source: docs/PROTOCOL.md "EIP-712 order", "deposit wallet", "authentication"; tests/fixtures/vectors/orders.json.

use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use sha3::{Digest, Keccak256};

use crate::types::{
    Address, OrderHash, Side, TokenId,
    market::{Exchange, SignatureType},
};

/// A 32-byte word.
pub type Word = [u8; 32];

/// The order's type string, exactly as it is hashed and as a type 3 signature carries it.
pub const ORDER_TYPE: &str = "Order(uint256 salt,address maker,address signer,uint256 tokenId,uint256 makerAmount,\
uint256 takerAmount,uint8 side,uint8 signatureType,uint256 timestamp,bytes32 metadata,bytes32 builder)";
const DOMAIN_TYPE: &str = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
const TYPED_DATA_SIGN: &str = "TypedDataSign(Order contents,string name,string version,uint256 chainId,\
address verifyingContract,bytes32 salt)";
/// Bytes of a type 3 signature: sig, domain separator, contents, type string, its length.
const NESTED_LEN: usize = 65 + 32 + 32 + ORDER_TYPE.len() + 2;

/// Keccak-256 of the parts, one after the other.
pub fn keccak(parts: &[&[u8]]) -> Word {
    let mut h = Keccak256::new();
    parts.iter().for_each(|p| h.update(p));
    h.finalize().into()
}

/// An integer as a word.
pub fn uint(n: u64) -> Word {
    let mut w = [0; 32];
    w[24..].copy_from_slice(&n.to_be_bytes());
    w
}

/// An address as a word.
pub fn word(a: Address) -> Word {
    let mut w = [0; 32];
    w[12..].copy_from_slice(&a.0);
    w
}

/// The signed fields of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedFields {
    /// Makes equal orders different.
    pub salt: u64,
    /// Holds the funds.
    pub maker: Address,
    /// Signs.
    pub signer: Address,
    /// Which token.
    pub token: TokenId,
    /// Given.
    pub maker_amount: u64,
    /// Wanted.
    pub taker_amount: u64,
    /// Buy or sell.
    pub side: Side,
    /// How it is signed.
    pub signature_type: SignatureType,
    /// Unix milliseconds.
    pub timestamp: u64,
    /// Opaque.
    pub metadata: Word,
    /// Builder code.
    pub builder: Word,
}

impl SignedFields {
    /// EIP-712 hash of the struct.
    pub fn struct_hash(&self) -> Word {
        keccak(&[
            &keccak(&[ORDER_TYPE.as_bytes()]),
            &uint(self.salt),
            &word(self.maker),
            &word(self.signer),
            &self.token.0,
            &uint(self.maker_amount),
            &uint(self.taker_amount),
            &uint(self.side as u64),
            &uint(self.signature_type as u64),
            &uint(self.timestamp),
            &self.metadata,
            &self.builder,
        ])
    }

    /// The order's id under a domain, for every signature type.
    pub fn id(&self, domain: &Word) -> OrderHash {
        OrderHash(typed(domain, &self.struct_hash()))
    }
}

/// Domain separator of an exchange contract.
/// Source: docs/PROTOCOL.md "contracts", "choosing exchange, domain version and token ids".
pub fn exchange_domain(exchange: Exchange, chain_id: u64) -> Word {
    let (contract, version) = match (exchange, chain_id) {
        (Exchange::V2, _) => ("E111180000d2663C0091e4f400237545B87B996B", "2"),
        (Exchange::V2NegRisk, _) => ("e2222d279d744050d28e00520010520000310F59", "2"),
        (Exchange::V3, 80_002) => ("9fE6e61422AdB6F610d8597F9684b16912D50C3D", "3"),
        (Exchange::V3, _) => ("e3333700cA9d93003F00f0F71f8515005F6c00Aa", "3"),
    };
    let contract = Address::parse(contract.as_bytes()).unwrap_or_default();
    domain("Polymarket CTF Exchange", version, chain_id, contract)
}

/// Domain separator with all four fields.
pub fn domain(name: &str, version: &str, chain_id: u64, contract: Address) -> Word {
    keccak(&[
        &keccak(&[DOMAIN_TYPE.as_bytes()]),
        &keccak(&[name.as_bytes()]),
        &keccak(&[version.as_bytes()]),
        &uint(chain_id),
        &word(contract),
    ])
}

/// The digest that EIP-712 signs.
pub fn typed(domain: &Word, struct_hash: &Word) -> Word {
    keccak(&[b"\x19\x01", domain, struct_hash])
}

/// Recovers the address that made a 65-byte signature (r, s, v with v 27 or 28, low s). `None`: not a signature.
pub fn recover(digest: &Word, signature: &[u8]) -> Option<Address> {
    let (rs, v) = signature.split_at_checked(64)?;
    let [v @ (27 | 28)] = *v else { return None };
    let rs = Signature::from_slice(rs).ok()?;
    if rs.normalize_s() != rs {
        return None;
    }
    let key = VerifyingKey::recover_from_prehash(digest, &rs, RecoveryId::from_byte(v - 27)?).ok()?;
    Some(address_of(&key))
}

/// The address of a public key.
pub fn address_of(key: &VerifyingKey) -> Address {
    let point = key.to_sec1_point(false);
    let hash = keccak(&[&point.as_bytes()[1..]]);
    let mut address = Address::default();
    address.0.copy_from_slice(&hash[12..]);
    address
}

/// Recovers who signed an order: the owner's key for every type. Type 3 signatures must carry this order's domain,
/// contents and type string.
pub fn order_signer(order: &SignedFields, chain_id: u64, domain: &Word, signature: &[u8]) -> Option<Address> {
    let contents = order.struct_hash();
    if order.signature_type != SignatureType::Poly1271 {
        return recover(&typed(domain, &contents), signature);
    }
    if signature.len() != NESTED_LEN {
        return None;
    }
    let (sig, rest) = signature.split_at(65);
    let length = (ORDER_TYPE.len() as u16).to_be_bytes();
    let carried = [domain.as_slice(), &contents, ORDER_TYPE.as_bytes(), &length].concat();
    if rest != carried {
        return None;
    }
    let nested = keccak(&[
        &keccak(&[TYPED_DATA_SIGN.as_bytes(), ORDER_TYPE.as_bytes()]),
        &contents,
        &keccak(&[b"DepositWallet"]),
        &keccak(&[b"1"]),
        &uint(chain_id),
        &word(order.maker),
        &[0; 32],
    ]);
    recover(&typed(domain, &nested), sig)
}

/// Recovers who signed an L1 authentication. Source: docs/PROTOCOL.md "L1 (wallet signature)".
pub fn l1_signer(address: Address, timestamp: &str, nonce: u64, chain_id: u64, signature: &[u8]) -> Option<Address> {
    let domain = keccak(&[
        &keccak(&[b"EIP712Domain(string name,string version,uint256 chainId)"]),
        &keccak(&[b"ClobAuthDomain"]),
        &keccak(&[b"1"]),
        &uint(chain_id),
    ]);
    let message = keccak(&[
        &keccak(&[b"ClobAuth(address address,string timestamp,uint256 nonce,string message)"]),
        &word(address),
        &keccak(&[timestamp.as_bytes()]),
        &uint(nonce),
        &keccak(&[b"This message attests that I control the given wallet"]),
    ]);
    recover(&typed(&domain, &message), signature)
}

/// One call of a deposit wallet's batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which contract.
    pub target: Address,
    /// Native coin sent along.
    pub value: u64,
    /// Function and arguments.
    pub data: Vec<u8>,
}

/// Recovers who signed a deposit wallet's batch. Source: docs/PROTOCOL.md "who sends the transaction" (WALLET).
pub fn batch_signer(
    wallet: Address,
    nonce: u64,
    deadline: u64,
    calls: &[Call],
    chain_id: u64,
    signature: &[u8],
) -> Option<Address> {
    const CALL_TYPE: &str = "Call(address target,uint256 value,bytes data)";
    const BATCH_TYPE: &str = "Batch(address wallet,uint256 nonce,uint256 deadline,Call[] calls)";
    let call_type = keccak(&[CALL_TYPE.as_bytes()]);
    let hashed: Vec<u8> = calls
        .iter()
        .flat_map(|c| keccak(&[&call_type, &word(c.target), &uint(c.value), &keccak(&[&c.data])]))
        .collect();
    let batch = keccak(&[
        &keccak(&[BATCH_TYPE.as_bytes(), CALL_TYPE.as_bytes()]),
        &word(wallet),
        &uint(nonce),
        &uint(deadline),
        &keccak(&[&hashed]),
    ]);
    recover(&typed(&domain("DepositWallet", "1", chain_id, wallet), &batch), signature)
}

/// Reads hex of any length, with or without `0x`.
pub fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let nibble = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    digits.chunks_exact(2).map(|p| Some(nibble(p[0])? << 4 | nibble(p[1])?)).collect()
}

/// An address in the mixed case of EIP-55, which is what clients send and people compare.
pub fn checksummed(address: Address) -> String {
    let lower = address.to_string();
    let digits = &lower[2..];
    let hash = keccak(&[digits.as_bytes()]);
    let upper = |i: usize| (hash[i / 2] >> (4 * (1 - i % 2))) & 0xf >= 8;
    let mixed = digits.chars().enumerate().map(|(i, c)| if upper(i) { c.to_ascii_uppercase() } else { c });
    "0x".chars().chain(mixed).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn vectors(name: &str) -> Value {
        let path = format!("{}/tests/fixtures/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    fn text<'v>(v: &'v Value, key: &str) -> &'v str {
        v[key].as_str().unwrap_or_else(|| panic!("{key} in {v}"))
    }

    fn fields(o: &Value) -> SignedFields {
        SignedFields {
            salt: o["salt"].as_u64().unwrap(),
            maker: Address::parse(text(o, "maker").as_bytes()).unwrap(),
            signer: Address::parse(text(o, "signer").as_bytes()).unwrap(),
            token: TokenId::parse(text(o, "tokenId").as_bytes()).unwrap(),
            maker_amount: text(o, "makerAmount").parse().unwrap(),
            taker_amount: text(o, "takerAmount").parse().unwrap(),
            side: if o["side"] == 0 { Side::Buy } else { Side::Sell },
            signature_type: SignatureType::from_number(o["signatureType"].as_u64().unwrap() as u8).unwrap(),
            timestamp: o["timestamp"].as_u64().unwrap(),
            metadata: hex_bytes(text(o, "metadata")).unwrap().try_into().unwrap(),
            builder: hex_bytes(text(o, "builder")).unwrap().try_into().unwrap(),
        }
    }

    fn exchange_of(v: &Value) -> Exchange {
        match (v["input"]["exchangeVersion"].as_u64(), v["input"]["negRisk"].as_bool()) {
            (Some(3), _) => Exchange::V3,
            (_, Some(true)) => Exchange::V2NegRisk,
            _ => Exchange::V2,
        }
    }

    #[test]
    fn every_order_vector_is_recovered_and_no_bent_one() {
        let all = vectors("orders");
        let rows = all["vectors"].as_array().unwrap();
        assert_eq!(rows.len(), 114);
        let owner = Address::parse(text(&all["meta"], "address").as_bytes()).unwrap();
        for v in rows {
            let order = fields(&v["order"]);
            let chain = v["input"]["chainId"].as_u64().unwrap();
            let domain = exchange_domain(exchange_of(v), chain);
            let signature = hex_bytes(text(v, "signature")).unwrap();
            assert_eq!(hex_bytes(text(v, "domainSeparator")).unwrap(), domain, "{}", v["id"]);
            assert_eq!(hex_bytes(text(v, "structHash")).unwrap(), order.struct_hash(), "{}", v["id"]);
            assert_eq!(order.id(&domain).to_string(), text(v, "orderId"), "{}", v["id"]);
            assert_eq!(order_signer(&order, chain, &domain, &signature), Some(owner), "{}", v["id"]);
            let dearer = SignedFields { maker_amount: order.maker_amount + 1, ..order.clone() };
            assert_ne!(order_signer(&dearer, chain, &domain, &signature), Some(owner), "{}", v["id"]);
            let cut = &signature[..signature.len() - 1];
            assert_eq!(order_signer(&order, chain, &domain, cut), None, "{}", v["id"]);
        }
    }

    #[test]
    fn every_l1_vector_is_recovered() {
        let all = vectors("l1_auth");
        for v in all["vectors"].as_array().unwrap() {
            let address = Address::parse(text(v, "address").as_bytes()).unwrap();
            let signature = hex_bytes(text(v, "signature")).unwrap();
            let (nonce, chain) = (v["nonce"].as_u64().unwrap(), v["chainId"].as_u64().unwrap());
            assert_eq!(l1_signer(address, text(v, "timestamp"), nonce, chain, &signature), Some(address));
            assert_ne!(l1_signer(address, text(v, "timestamp"), nonce + 1, chain, &signature), Some(address));
        }
    }

    #[test]
    fn every_wallet_batch_vector_is_recovered() {
        let all = vectors("relayer");
        let owner = Address::parse(text(&all["meta"], "owner").as_bytes()).unwrap();
        let mut seen = 0;
        for t in all["transactions"].as_array().unwrap().iter().filter(|t| t["kind"] == "WALLET") {
            let calls: Vec<_> = t["calls"]
                .as_array()
                .unwrap()
                .iter()
                .map(|c| Call {
                    target: Address::parse(text(c, "to").as_bytes()).unwrap(),
                    value: text(c, "value").parse().unwrap(),
                    data: hex_bytes(text(c, "data")).unwrap(),
                })
                .collect();
            let wallet = Address::parse(text(t, "wallet").as_bytes()).unwrap();
            let (nonce, deadline) = (text(t, "nonce").parse().unwrap(), text(t, "deadline").parse().unwrap());
            let signature = hex_bytes(text(t, "signature")).unwrap();
            let chain = t["chainId"].as_u64().unwrap();
            assert_eq!(batch_signer(wallet, nonce, deadline, &calls, chain, &signature), Some(owner), "{}", t["id"]);
            seen += 1;
        }
        assert!(seen > 0);
    }

    #[test]
    fn a_high_s_twin_is_refused() {
        // n − s with the other parity recovers the same key; the exchange contract refuses it, and so do we.
        let all = vectors("orders");
        let v = &all["vectors"][0];
        let digest: Word = hex_bytes(text(v, "signedDigest")).unwrap().try_into().unwrap();
        let mut signature = hex_bytes(text(v, "signature")).unwrap();
        const N: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
        let n = hex_bytes(N).unwrap();
        let mut borrow = 0_i16;
        for i in (0..32).rev() {
            let d = i16::from(n[i]) - i16::from(signature[32 + i]) - borrow;
            borrow = i16::from(d < 0);
            signature[32 + i] = (d & 0xff) as u8;
        }
        signature[64] = 55 - signature[64];
        assert_eq!(recover(&digest, &signature), None);
    }

    #[test]
    fn addresses_are_shown_in_mixed_case() {
        let a = Address::parse(b"f39fd6e51aad88f6f4ce6ab8827279cfffb92266").unwrap();
        assert_eq!(checksummed(a), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
    }
}
