//! Keccak-256, as Ethereum uses it: a small sponge whose state can be kept, so that constant prefixes are absorbed
//! once.

/// Bytes absorbed per permutation: 1600 − 2 × 256 bits.
const RATE: usize = 136;

/// A sponge that has absorbed some bytes. Clone it to finish one prefix with many endings.
#[derive(Clone)]
pub struct Keccak {
    state: [u64; 25],
    /// Bytes absorbed of the current block; below `RATE`.
    at: usize,
}

impl core::fmt::Debug for Keccak {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Keccak({} bytes into a block)", self.at)
    }
}

impl Default for Keccak {
    fn default() -> Self {
        Self::new()
    }
}

impl Keccak {
    /// Nothing absorbed yet.
    pub const fn new() -> Self {
        Self { state: [0; 25], at: 0 }
    }

    /// Absorbs more bytes. No allocation.
    pub fn update(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            // Whole lanes where both sides allow it; an EIP-712 message is all 32-byte words after two bytes.
            if self.at.is_multiple_of(8)
                && let Some((lane, rest)) = data.split_first_chunk::<8>()
            {
                self.state[self.at / 8] ^= u64::from_le_bytes(*lane);
                self.at += 8;
                data = rest;
            } else {
                self.state[self.at / 8] ^= u64::from(data[0]) << (8 * (self.at % 8));
                self.at += 1;
                data = &data[1..];
            }
            if self.at == RATE {
                self.permute();
            }
        }
    }

    /// Pads and gives the digest.
    pub fn finish(mut self) -> [u8; 32] {
        // The original Keccak padding, 0x01, not the 0x06 of SHA-3.
        self.state[self.at / 8] ^= 1 << (8 * (self.at % 8));
        self.state[(RATE - 1) / 8] ^= 0x80 << 56;
        self.permute();
        let mut out = [0; 32];
        for (bytes, lane) in out.chunks_exact_mut(8).zip(self.state) {
            bytes.copy_from_slice(&lane.to_le_bytes());
        }
        out
    }

    fn permute(&mut self) {
        keccak::Keccak::new().with_f1600(|f1600| f1600(&mut self.state));
        self.at = 0;
    }
}

/// Keccak-256 of some bytes. No allocation.
pub fn keccak256(data: &[u8]) -> [u8; 32] {
    let mut sponge = Keccak::new();
    sponge.update(data);
    sponge.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ids::parse_hex;

    #[test]
    fn known_answers() {
        for (data, digest) in [
            ("", "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"),
            ("abc", "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"),
            ("Polymarket CTF Exchange", "f30041e9aac4c4d3a1481d2941dfb0a844a72040e9bbc79a810d1ec5b5d6c7af"),
        ] {
            assert_eq!(Some(keccak256(data.as_bytes())), parse_hex(digest.as_bytes()), "{data}");
        }
    }

    #[test]
    fn any_split_gives_the_same_digest() {
        let data: Vec<u8> = (0..400_u32).map(|i| (i * 7) as u8).collect();
        let whole = keccak256(&data);
        for cut in 0..data.len() {
            let mut prefix = Keccak::new();
            prefix.update(&data[..cut]);
            let mut sponge = prefix.clone();
            sponge.update(&data[cut..]);
            assert_eq!(sponge.finish(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn lengths_around_a_block_differ() {
        let data = [0_u8; 2 * RATE + 2];
        let digests: Vec<_> = (0..data.len()).map(|n| keccak256(&data[..n])).collect();
        for (n, pair) in digests.windows(2).enumerate() {
            assert_ne!(pair[0], pair[1], "lengths {n} and {}", n + 1);
        }
    }

    #[cfg(feature = "embedded")]
    proptest::proptest! {
        /// The embedded venue hashes with another implementation; both must agree on every length.
        #[test]
        fn agrees_with_an_independent_implementation(data in proptest::collection::vec(0_u8.., 0..500)) {
            use sha3::Digest;
            proptest::prop_assert_eq!(&keccak256(&data)[..], &sha3::Keccak256::digest(&data)[..]);
        }
    }
}
