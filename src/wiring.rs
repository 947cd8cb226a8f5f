//! Makes the rings of `topology::RINGS` and hands each tile its ends.

use std::sync::Arc;

use crate::{
    cold::journal::Record,
    gateway::GatewayEnds,
    hot::HotEnds,
    stage::{
        dead_letter::DeadLetter,
        latency::Sample,
        ring::{RingStats, Rx, Tx, ring},
    },
    topology::{CONTROL, DEAD_LETTERS, JOURNAL, MARKET, MATCHES, ORDERS, REPLIES, RESYNC, Ring, SAMPLES, USER},
    types::{InstrumentIx, Stamped, event::ControlEvent},
};

/// One feed tile's ends. The user and match rings belong to the last feed tile: it has the fewest markets.
#[derive(Debug)]
pub struct FeedEnds {
    /// Market events to the hot tile.
    pub market: Tx<Stamped>,
    /// Books that need a fresh snapshot.
    pub resync: Rx<InstrumentIx>,
    /// Latency samples.
    pub samples: Tx<Sample>,
    /// User events to the hot tile.
    pub user: Option<Tx<Stamped>>,
    /// Match events to the hot tile.
    pub matches: Option<Tx<Stamped>>,
    /// Messages that could not be read.
    pub dead_letters: DeadLetterEnds,
}

/// Where a feed tile's feeds put what they cannot read: a ring each.
#[derive(Debug)]
pub struct DeadLetterEnds {
    /// Of the market channel.
    pub market: Tx<DeadLetter>,
    /// Of the user channel, where the tile has it.
    pub user: Option<Tx<DeadLetter>>,
    /// Of match feeds, where the tile has them.
    pub matches: Option<Tx<DeadLetter>>,
}

/// The cold tile's ends.
#[derive(Debug)]
pub struct ColdEnds {
    /// What to write down.
    pub journal: Rx<Record>,
    /// Latency samples, of every tile that measures.
    pub samples: Vec<Rx<Sample>>,
    /// Messages that could not be read, of every feed.
    pub dead_letters: Vec<Rx<DeadLetter>>,
    /// To the engine, for the operator.
    pub control: Tx<ControlEvent>,
}

/// All ends of all rings.
#[derive(Debug)]
pub struct Wiring {
    /// By feed tile.
    pub feeds: Vec<FeedEnds>,
    /// The hot tile's.
    pub hot: HotEnds,
    /// The gateway's.
    pub gateway: GatewayEnds,
    /// The cold tile's.
    pub cold: ColdEnds,
    /// The numbers of every ring, for the summary and for metrics.
    pub stats: Vec<Arc<RingStats>>,
}

impl Wiring {
    /// Rings for so many feed tiles, at least one. All memory of all rings is allocated here.
    pub fn new(feed_tiles: usize) -> Self {
        let mut stats = Vec::new();
        let feed_tiles = feed_tiles.max(1);
        let (user_tx, user) = make(USER, 0, &mut stats);
        let (matches_tx, matches) = make(MATCHES, 0, &mut stats);
        let (mut user_tx, mut matches_tx) = (Some(user_tx), Some(matches_tx));
        let mut dead_letters = Vec::new();
        let (mut feeds, mut market, mut resync, mut samples) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for n in 0..feed_tiles {
            let (market_tx, market_rx) = make(MARKET, n, &mut stats);
            let (resync_tx, resync_rx) = make(RESYNC, n, &mut stats);
            let (samples_tx, samples_rx) = make(SAMPLES, n + 2, &mut stats);
            let last = n + 1 == feed_tiles;
            let mut letters = |index| {
                let (tx, rx) = make(DEAD_LETTERS, index, &mut stats);
                dead_letters.push(rx);
                tx
            };
            let letters = DeadLetterEnds {
                market: letters(n),
                user: last.then(|| letters(feed_tiles)),
                matches: last.then(|| letters(feed_tiles + 1)),
            };
            feeds.push(FeedEnds {
                market: market_tx,
                resync: resync_rx,
                samples: samples_tx,
                user: if last { user_tx.take() } else { None },
                matches: if last { matches_tx.take() } else { None },
                dead_letters: letters,
            });
            market.push(market_rx);
            resync.push(resync_tx);
            samples.push(samples_rx);
        }
        let (orders_tx, orders) = make(ORDERS, 0, &mut stats);
        let (replies_tx, replies) = make(REPLIES, 0, &mut stats);
        let (control_tx, control) = make(CONTROL, 0, &mut stats);
        let (journal_tx, journal) = make(JOURNAL, 0, &mut stats);
        let (hot_samples, rx) = make(SAMPLES, 0, &mut stats);
        samples.push(rx);
        let (gateway_samples, rx) = make(SAMPLES, 1, &mut stats);
        samples.push(rx);
        Self {
            feeds,
            hot: HotEnds {
                control,
                user,
                replies,
                market,
                matches,
                orders: orders_tx,
                resync,
                journal: journal_tx,
                samples: hot_samples,
            },
            gateway: GatewayEnds { commands: orders, replies: replies_tx, samples: gateway_samples },
            cold: ColdEnds { journal, samples, dead_letters, control: control_tx },
            stats,
        }
    }
}

/// Which instruments the n-th of `feeds` feed tiles has: those of every `feeds`-th market, so that the engine's
/// requests for a snapshot find their way by a remainder.
pub fn instruments_of(feed: usize, feeds: usize, markets: usize) -> Vec<InstrumentIx> {
    let mine = (0..markets).filter(|m| m % feeds.max(1) == feed);
    mine.flat_map(|m| [InstrumentIx(m as u16 * 2), InstrumentIx(m as u16 * 2 + 1)]).collect()
}

fn make<T>(row: Ring, index: usize, stats: &mut Vec<Arc<RingStats>>) -> (Tx<T>, Rx<T>) {
    let (tx, rx) = ring(row.name, index, row.depth);
    stats.push(Arc::clone(tx.stats()));
    (tx, rx)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::RINGS;

    #[test]
    fn every_ring_of_the_table_is_made_and_no_other() {
        let wiring = Wiring::new(2);
        for row in RINGS {
            let made: Vec<_> = wiring.stats.iter().filter(|s| s.name == row.name).collect();
            let expected = match row.name {
                "market" | "resync" => 2,
                "samples" | "dead_letters" => 4,
                _ => 1,
            };
            assert_eq!(made.len(), expected, "{}", row.name);
            assert!(made.iter().all(|s| s.depth == row.depth), "{}", row.name);
        }
        assert!(wiring.stats.iter().all(|s| RINGS.iter().any(|r| r.name == s.name)));
        assert!(wiring.feeds[0].user.is_none() && wiring.feeds[1].user.is_some());
    }

    #[test]
    fn every_instrument_has_one_feed_and_both_tokens_of_a_market_the_same() {
        for feeds in 1..5 {
            let mut all: Vec<_> = (0..feeds).flat_map(|n| instruments_of(n, feeds, 7)).collect();
            all.sort_unstable();
            assert_eq!(all, (0..14).map(InstrumentIx).collect::<Vec<_>>());
        }
        assert_eq!(instruments_of(1, 2, 3), [InstrumentIx(2), InstrumentIx(3)]);
    }
}
