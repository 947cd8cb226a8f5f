//! EIP-712 digests of orders, for every exchange and signature type, and of the two other things a wallet key signs.
//!
//! Source: docs/PROTOCOL.md "EIP-712 order", "deposit wallet", "L1" and "relayer"; tests/fixtures/vectors.

use serde::{Deserialize, Serialize};

use super::{
    amounts::Amounts,
    ids::{Address, OrderHash, TokenId},
    keccak::{Keccak, keccak256},
    market::{Account, Exchange, SignatureType},
    order::Side,
};

/// One 32-byte word of an encoded struct.
type Word = [u8; 32];

/// The order's type string: hashed into every order, and carried in full by type 3 signatures.
pub const ORDER_TYPE: &[u8; 186] = b"Order(uint256 salt,address maker,address signer,uint256 tokenId,\
uint256 makerAmount,uint256 takerAmount,uint8 side,uint8 signatureType,uint256 timestamp,bytes32 metadata,\
bytes32 builder)";

/// The nested type of ERC-7739; the order's type string follows it directly.
const NESTED_TYPE: &[u8] = b"TypedDataSign(Order contents,string name,string version,uint256 chainId,\
address verifyingContract,bytes32 salt)";

const DOMAIN_TYPE: &[u8] = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
const AUTH_DOMAIN_TYPE: &[u8] = b"EIP712Domain(string name,string version,uint256 chainId)";
const AUTH_TYPE: &[u8] = b"ClobAuth(address address,string timestamp,uint256 nonce,string message)";
const AUTH_MESSAGE: &[u8] = b"This message attests that I control the given wallet";
const CALL_TYPE: &[u8] = b"Call(address target,uint256 value,bytes data)";
const BATCH_TYPE: &[u8] = b"Batch(address wallet,uint256 nonce,uint256 deadline,Call[] calls)\
Call(address target,uint256 value,bytes data)";

/// The domain name of every exchange contract.
const EXCHANGE_NAME: &[u8] = b"Polymarket CTF Exchange";
/// The domain name of a deposit wallet; its version is 1.
const WALLET_NAME: &[u8] = b"DepositWallet";

/// Salts are JSON numbers on the wire, so they stay below 2^53.
pub const SALT_LIMIT: u64 = 1 << 53;

/// Reads an address at compile time.
pub(crate) const fn address(text: &str) -> Address {
    const fn nibble(b: u8) -> u8 {
        match b {
            b'0'..=b'9' => b - b'0',
            b'a'..=b'f' => b - b'a' + 10,
            b'A'..=b'F' => b - b'A' + 10,
            _ => panic!("not a hex digit"),
        }
    }
    let text = text.as_bytes();
    assert!(text.len() == 42, "an address is 0x and 40 digits");
    let mut out = [0; 20];
    let mut i = 0;
    while i < 20 {
        out[i] = nibble(text[2 + 2 * i]) << 4 | nibble(text[3 + 2 * i]);
        i += 1;
    }
    Address(out)
}

impl Exchange {
    /// The contract that verifies this exchange's orders. Unknown chains get mainnet's.
    /// Source: docs/PROTOCOL.md "contracts".
    pub const fn contract(self, chain_id: u64) -> Address {
        match self {
            Self::V2 => address("0xE111180000d2663C0091e4f400237545B87B996B"),
            Self::V2NegRisk => address("0xe2222d279d744050d28e00520010520000310F59"),
            Self::V3 if chain_id == 80_002 => address("0x9fE6e61422AdB6F610d8597F9684b16912D50C3D"),
            Self::V3 => address("0xe3333700cA9d93003F00f0F71f8515005F6c00Aa"),
        }
    }

    /// The `version` of this exchange's EIP-712 domain.
    pub const fn domain_version(self) -> &'static str {
        match self {
            Self::V2 | Self::V2NegRisk => "2",
            Self::V3 => "3",
        }
    }
}

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
    /// The order's type hash and its eleven words; the account's three are filled in.
    order: [Word; 12],
    separator: Word,
    /// Absorbed: 0x1901 and the separator.
    domain: Keccak,
    /// Type 3 only: the nested type hash and its six words; `contents` is filled in per order.
    nested: Option<[Word; 7]>,
}

impl OrderHasher {
    /// Prepares the constant parts for the venue's own contracts.
    pub fn new(chain_id: u64, exchange: Exchange, account: &Account) -> Self {
        Self::with_contract(chain_id, exchange.contract(chain_id), exchange.domain_version(), account)
    }

    /// Prepares the constant parts for any contract and domain version.
    pub fn with_contract(chain_id: u64, contract: Address, domain_version: &str, account: &Account) -> Self {
        let separator = domain_separator(EXCHANGE_NAME, domain_version.as_bytes(), chain_id, &contract);
        let mut order = [[0; 32]; 12];
        order[0] = keccak256(ORDER_TYPE);
        order[2] = address_word(&account.funder);
        order[3] = address_word(&account.signer());
        order[8] = number_word(account.signature_type as u64);
        let nested = (account.signature_type == SignatureType::Poly1271).then(|| {
            [
                keccak256(&[NESTED_TYPE, ORDER_TYPE].concat()),
                [0; 32],
                keccak256(WALLET_NAME),
                keccak256(b"1"),
                number_word(chain_id),
                address_word(&account.funder),
                [0; 32],
            ]
        });
        Self { order, separator, domain: domain_prefix(&separator), nested }
    }

    /// Struct hash and order id. Four permutations, no allocation.
    pub fn digest(&self, fields: &OrderFields) -> OrderDigest {
        let mut words = self.order;
        words[1] = number_word(fields.salt);
        words[4] = fields.token.0;
        words[5] = number_word(fields.amounts.maker);
        words[6] = number_word(fields.amounts.taker);
        words[7] = number_word(match fields.side {
            Side::Buy => 0,
            Side::Sell => 1,
        });
        words[9] = number_word(fields.timestamp_ms);
        words[10] = fields.metadata;
        words[11] = fields.builder;
        let contents = keccak256(words.as_flattened());
        OrderDigest { contents, order: OrderHash(self.under_domain(&contents)) }
    }

    /// What the key signs: the order id itself, or for type 3 its ERC-7739 nesting. No allocation.
    pub fn signing_digest(&self, digest: &OrderDigest) -> [u8; 32] {
        match self.nested {
            None => digest.order.0,
            Some(mut words) => {
                words[1] = digest.contents;
                self.under_domain(&keccak256(words.as_flattened()))
            }
        }
    }

    /// The domain separator of the exchange; type 3 signatures carry it.
    pub fn domain_separator(&self) -> &[u8; 32] {
        &self.separator
    }

    fn under_domain(&self, struct_hash: &Word) -> Word {
        let mut sponge = self.domain.clone();
        sponge.update(struct_hash);
        sponge.finish()
    }
}

/// The digest that proves possession of a wallet key to the venue (`ClobAuth`), for creating or deriving API keys.
/// `timestamp_s`: Unix seconds, hashed as decimal text. No allocation.
/// Source: docs/PROTOCOL.md "L1"; tests/fixtures/vectors/l1_auth.json.
pub fn clob_auth_digest(chain_id: u64, owner: &Address, timestamp_s: u64, nonce: u64) -> [u8; 32] {
    let separator = keccak256(
        [keccak256(AUTH_DOMAIN_TYPE), keccak256(b"ClobAuthDomain"), keccak256(b"1"), number_word(chain_id)]
            .as_flattened(),
    );
    let mut text = [0; 20];
    let contents = [
        keccak256(AUTH_TYPE),
        address_word(owner),
        keccak256(decimal(timestamp_s, &mut text)),
        number_word(nonce),
        keccak256(AUTH_MESSAGE),
    ];
    finish(&separator, &keccak256(contents.as_flattened()))
}

/// One call that a deposit wallet makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalletCall {
    /// The contract called.
    pub target: Address,
    /// Native coin sent along, in wei; ours is always 0.
    pub value: u64,
    /// Function selector and encoded arguments.
    pub data: Vec<u8>,
}

/// The digest of a deposit wallet's batch of calls. `deadline_s`: Unix seconds. Cold path: allocates.
/// Source: docs/PROTOCOL.md "relayer"; tests/fixtures/vectors/relayer.json, kind WALLET.
pub fn wallet_batch_digest(
    chain_id: u64,
    wallet: &Address,
    nonce: u64,
    deadline_s: u64,
    calls: &[WalletCall],
) -> [u8; 32] {
    let call_type = keccak256(CALL_TYPE);
    let hashes: Vec<Word> = calls
        .iter()
        .map(|c| {
            let words = [call_type, address_word(&c.target), number_word(c.value), keccak256(&c.data)];
            keccak256(words.as_flattened())
        })
        .collect();
    let contents = [
        keccak256(BATCH_TYPE),
        address_word(wallet),
        number_word(nonce),
        number_word(deadline_s),
        keccak256(hashes.as_flattened()),
    ];
    finish(&domain_separator(WALLET_NAME, b"1", chain_id, wallet), &keccak256(contents.as_flattened()))
}

/// The hash of a domain with all four fields.
fn domain_separator(name: &[u8], version: &[u8], chain_id: u64, contract: &Address) -> Word {
    let words =
        [keccak256(DOMAIN_TYPE), keccak256(name), keccak256(version), number_word(chain_id), address_word(contract)];
    keccak256(words.as_flattened())
}

/// A sponge that has absorbed 0x1901 and a domain separator.
fn domain_prefix(separator: &Word) -> Keccak {
    let mut sponge = Keccak::new();
    sponge.update(&[0x19, 0x01]);
    sponge.update(separator);
    sponge
}

fn finish(separator: &Word, struct_hash: &Word) -> Word {
    let mut sponge = domain_prefix(separator);
    sponge.update(struct_hash);
    sponge.finish()
}

fn number_word(n: u64) -> Word {
    let mut word = [0; 32];
    word[24..].copy_from_slice(&n.to_be_bytes());
    word
}

fn address_word(a: &Address) -> Word {
    let mut word = [0; 32];
    word[12..].copy_from_slice(&a.0);
    word
}

/// Writes a number as decimal text into `buf` and returns it. No allocation.
pub fn decimal(mut n: u64, buf: &mut [u8; 20]) -> &[u8] {
    let mut at = buf.len();
    loop {
        at -= 1;
        buf[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return &buf[at..];
        }
    }
}

/// Writes lower-case hex of `bytes` into `out`, which is twice as long. No allocation.
pub fn hex_into(bytes: &[u8], out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, b) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(b >> 4)];
        pair[1] = DIGITS[usize::from(b & 15)];
    }
}

/// An address in mixed case (EIP-55), as every client sends it.
pub fn checksummed(address: &Address) -> [u8; 42] {
    let mut out = [0; 42];
    out[..2].copy_from_slice(b"0x");
    hex_into(&address.0, &mut out[2..]);
    let hash = keccak256(&out[2..]);
    for (i, digit) in out[2..].iter_mut().enumerate() {
        let nibble = hash[i / 2] >> if i % 2 == 0 { 4 } else { 0 } & 15;
        if nibble >= 8 {
            digit.make_ascii_uppercase();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ids::parse_hex;

    fn account(signature_type: SignatureType) -> Account {
        Account { owner: Address([1; 20]), funder: Address([2; 20]), signature_type }
    }

    #[test]
    fn type_hashes_are_the_documented_ones() {
        for (text, hash) in [
            (&ORDER_TYPE[..], "bb86318a2138f5fa8ae32fbe8e659f8fcf13cc6ae4014a707893055433818589"),
            (DOMAIN_TYPE, "8b73c3c69bb8fe3d512ecc4cf759cc79239f7b179b0ffacaa9a75d522b39400f"),
            (&[NESTED_TYPE, ORDER_TYPE].concat(), "6ba028565cb324c2aa02bb714b9816d0bddd557a2f33bb36cf13272a4256bd42"),
            (WALLET_NAME, "d682b529a17cda19aa275f3a050608f9e9401fadd1b0d233d81519972295828b"),
            (b"1", "c89efdaa54c0f20c7adf612882df0950f5a951637e0307cdcb4c672f298b8bc6"),
            (b"2", "ad7c5bef027816a800da1736444fb58a807ef4c9603b7848673f7e3a68eb14a5"),
            (b"3", "2a80e1ef1d7842f27f2e6be0972bb708b9a135c38860dbe73c27c3486c34f4de"),
            (AUTH_TYPE, "52578c5c725a28a84fedc8c22aa47947822942f35b4dc350db028e45320e035c"),
            (AUTH_DOMAIN_TYPE, "c2f8787176b8ac6bf7215b4adcc1e069bf4ab82d9ab1df05a57a91d425935b6e"),
            (AUTH_MESSAGE, "474924bb27022542020023b4a52fb834ca5e3dd70b9a4d7e7fe9ca13228cbda3"),
        ] {
            assert_eq!(Some(keccak256(text)), parse_hex(hash.as_bytes()), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn domain_separators_are_the_documented_ones() {
        for (chain, exchange, hash) in [
            (137, Exchange::V2, "3264e159346253e26a64e00b69032db0e7d32f94628de3e6eecb50304d7af3d2"),
            (137, Exchange::V2NegRisk, "9b858f53327b0bd13af8ec14cfb35234fb9eb7b0504d1a4e61f433840d30e81a"),
            (137, Exchange::V3, "466c63910185bbd55e8679264200c4e0abdcbb0c6264eb3d41d13326022e095b"),
            (80_002, Exchange::V2, "a440cbd865bc0c6243d7a8df9a8bf48a8827b0a4abbb61c30e96d305423af148"),
            (80_002, Exchange::V2NegRisk, "1468e39841f0a0e05d3762b235cb7acecabf8cd7b6d3a672965a5d415bf9378e"),
        ] {
            let hasher = OrderHasher::new(chain, exchange, &account(SignatureType::Eoa));
            assert_eq!(Some(*hasher.domain_separator()), parse_hex(hash.as_bytes()), "{chain} {exchange:?}");
        }
    }

    #[test]
    fn only_type_3_signs_something_other_than_the_id() {
        let fields = OrderFields {
            salt: 1,
            token: TokenId([3; 32]),
            amounts: Amounts { maker: 1, taker: 2 },
            side: Side::Sell,
            timestamp_ms: 5,
            metadata: [0; 32],
            builder: [0; 32],
        };
        for n in 0..4 {
            let kind = SignatureType::from_number(n).unwrap();
            let hasher = OrderHasher::new(137, Exchange::V2, &account(kind));
            let digest = hasher.digest(&fields);
            assert_eq!(hasher.signing_digest(&digest) == digest.order.0, n != 3, "type {n}");
        }
    }

    #[test]
    fn addresses_are_checksummed() {
        // The examples of EIP-55.
        for text in [
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
            "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
            "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
        ] {
            assert_eq!(&checksummed(&Address::parse(text.as_bytes()).unwrap()), text.as_bytes());
        }
    }

    #[test]
    fn decimals_round_trip() {
        for n in [0, 9, 10, 1_784_728_366_741, u64::MAX] {
            assert_eq!(decimal(n, &mut [0; 20]), n.to_string().as_bytes());
        }
    }
}
