//! Finds our dense index for a token id's decimal text without hashing or converting its 77 digits.

use crate::types::{ConditionId, InstrumentIx, MarketIx, Universe};

/// The run's tokens and markets, sorted by the beginning of their wire text. A binary search of a few tens of entries
/// and one compare of the whole text.
#[derive(Debug)]
pub struct TokenTable {
    tokens: Vec<(u128, Box<[u8]>, InstrumentIx)>,
    markets: Vec<(ConditionId, MarketIx)>,
}

/// The first sixteen bytes, as many as there are.
fn key(text: &[u8]) -> u128 {
    let mut head = [0; 16];
    let n = text.len().min(16);
    head[..n].copy_from_slice(&text[..n]);
    u128::from_be_bytes(head)
}

impl TokenTable {
    /// Every token and market of a run.
    pub fn new(universe: &Universe) -> Self {
        use crate::types::ids::Outcome;
        let mut tokens: Vec<_> = universe
            .indices()
            .flat_map(|m| [m.instrument(Outcome::Yes), m.instrument(Outcome::No)])
            .map(|i| {
                let text = universe.token(i).to_string().into_bytes().into_boxed_slice();
                (key(&text), text, i)
            })
            .collect();
        tokens.sort_unstable();
        let mut markets: Vec<_> = universe.indices().map(|m| (universe.market(m).condition, m)).collect();
        markets.sort_unstable();
        Self { tokens, markets }
    }

    /// The token with this decimal text.
    #[inline]
    pub fn instrument(&self, text: &[u8]) -> Option<InstrumentIx> {
        let key = key(text);
        let from = self.tokens.partition_point(|t| t.0 < key);
        self.tokens[from..].iter().take_while(|t| t.0 == key).find(|t| *t.1 == *text).map(|t| t.2)
    }

    /// The market with this condition id's hex text.
    pub fn market(&self, text: &[u8]) -> Option<MarketIx> {
        let condition = ConditionId::parse(text)?;
        let at = self.markets.binary_search_by(|m| m.0.cmp(&condition)).ok()?;
        Some(self.markets[at].1)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::types::{MarketSpec, TokenId, fees::FeeSchedule, market::MarketKind, sample};

    /// A universe of markets with the given tokens, for tests.
    pub(crate) fn universe(markets: &[(&str, [&str; 2])]) -> Universe {
        let market = |(condition, tokens): &(&str, [&str; 2])| MarketSpec {
            condition: ConditionId::parse(condition.as_bytes()).unwrap_or_default(),
            tokens: tokens.map(|t| TokenId::parse(t.as_bytes()).unwrap()),
            fee: FeeSchedule::FREE,
            kind: MarketKind::Other,
            ..sample::market()
        };
        sample::universe(markets.iter().map(market).collect())
    }

    #[test]
    fn tokens_with_a_common_beginning_are_told_apart() {
        let a = "1056940630939626411111111111111111111111";
        let b = "1056940630939626422222222222222222222222";
        let table = TokenTable::new(&universe(&[("", [a, b]), ("", ["7", "10569406309396264"])]));
        assert_eq!(table.instrument(a.as_bytes()), Some(InstrumentIx(0)));
        assert_eq!(table.instrument(b.as_bytes()), Some(InstrumentIx(1)));
        assert_eq!(table.instrument(b"7"), Some(InstrumentIx(2)));
        assert_eq!(table.instrument(b"10569406309396264"), Some(InstrumentIx(3)));
        for unknown in [&b""[..], b"8", b"70", b"1056940630939626", &a.as_bytes()[..39]] {
            assert_eq!(table.instrument(unknown), None);
        }
    }
}
