//! Who has money here: well-known development keys, and the wallets that stand for them.
//!
//! Source: docs/PROTOCOL.md "who sends the transaction" (addresses); tests/fixtures/vectors/relayer.json.

use k256::ecdsa::SigningKey;

use super::verify::{Word, address_of, hex_bytes, keccak, word};
use crate::types::{Address, Usdc, market::SignatureType};

/// An account that the venue lists when it is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Key, where it is a well-known one.
    pub private_key: Option<Word>,
    /// Address of the key.
    pub owner: Address,
    /// Address that holds the funds.
    pub funder: Address,
    /// How it signs.
    pub signature_type: SignatureType,
    /// First deposit.
    pub usdc: Usdc,
}

/// The first test keys of hardhat and anvil, known to everybody: never for real money.
const DEVELOPMENT_KEYS: [&str; 8] = [
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
    "47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
    "8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
    "92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e",
    "4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356",
];

/// CREATE2: the address of a contract made by `factory`.
fn create2(factory: &str, salt: Word, init_code_hash: &str) -> Address {
    let factory = Address::parse(factory.as_bytes()).unwrap_or_default();
    let init = hex_bytes(init_code_hash).unwrap_or_default();
    tail(keccak(&[&[0xff], &factory.0, &salt, &init]))
}

fn tail(hash: Word) -> Address {
    let mut a = Address::default();
    a.0.copy_from_slice(&hash[12..]);
    a
}

/// The Safe of an owner.
pub fn safe_of(owner: Address) -> Address {
    create2(
        "aacFeEa03eb1561C4e67d661e40682Bd20E3541b",
        keccak(&[&word(owner)]),
        "2bce2127ff07fb632d16c8347c4ebf501f4841168bed00d9e6ef715ddb6fcecf",
    )
}

/// The proxy wallet of an owner.
pub fn proxy_of(owner: Address) -> Address {
    create2(
        "aB45c5A4B0c941a2F231C04C3f49182e1A254052",
        keccak(&[&owner.0]),
        "d21df8dc65880a8606f09fe0ce3df9b8869287ab0b058be05aa9e8af6330a00b",
    )
}

/// A deposit wallet for an owner. Real ones exist in two derivations and are taken from configuration; this one is
/// ours alone.
pub fn deposit_wallet_of(owner: Address) -> Address {
    tail(keccak(&[b"embedded venue deposit wallet", &word(owner)]))
}

/// The address of a private key.
pub fn address_of_key(key: &Word) -> Option<Address> {
    SigningKey::from_slice(key).ok().map(|k| address_of(k.verifying_key()))
}

/// An account of an address that signs for itself.
pub fn funded(owner: Address, usdc: Usdc) -> Listed {
    Listed { private_key: None, owner, funder: owner, signature_type: SignatureType::Eoa, usdc }
}

/// The accounts of the development keys, one signature type after the other: 0, 1, 2, 3 and again.
pub fn development(usdc: Usdc) -> Vec<Listed> {
    let types = [SignatureType::Eoa, SignatureType::PolyProxy, SignatureType::PolyGnosisSafe, SignatureType::Poly1271];
    DEVELOPMENT_KEYS
        .iter()
        .zip(types.into_iter().cycle())
        .filter_map(|(text, signature_type)| {
            let key: Word = hex_bytes(text)?.try_into().ok()?;
            let owner = address_of_key(&key)?;
            let funder = match signature_type {
                SignatureType::Eoa => owner,
                SignatureType::PolyProxy => proxy_of(owner),
                SignatureType::PolyGnosisSafe => safe_of(owner),
                SignatureType::Poly1271 => deposit_wallet_of(owner),
            };
            Some(Listed { private_key: Some(key), owner, funder, signature_type, usdc })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wallets_are_where_the_factories_put_them() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/vectors/relayer.json");
        let all: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let rows = all["derivedWallets"].as_array().unwrap();
        assert_eq!(rows.len(), 4);
        for v in rows {
            let address = |k: &str| Address::parse(v[k].as_str().unwrap().as_bytes()).unwrap();
            assert_eq!(safe_of(address("owner")), address("safe"));
            assert_eq!(proxy_of(address("owner")), address("proxy"));
        }
    }

    #[test]
    fn the_development_accounts_are_the_well_known_ones_of_every_type() {
        let all = development(Usdc::dollars(1));
        let owners = ["f39fd6e51aad88f6f4ce6ab8827279cfffb92266", "70997970c51812dc3a010c7d01b50e0d17dc79c8"];
        assert_eq!(all.len(), 8);
        for (listed, owner) in all.iter().zip(owners) {
            assert_eq!(Some(listed.owner), Address::parse(owner.as_bytes()));
        }
        let types: Vec<_> = all.iter().map(|l| l.signature_type as u8).collect();
        assert_eq!(types, [0, 1, 2, 3, 0, 1, 2, 3]);
    }
}
