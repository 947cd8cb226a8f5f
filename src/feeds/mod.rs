//! Steps 1 and 2: sockets that bring market and match data, one file a feed.

pub mod arbiter;
pub mod market;
pub mod objects;
pub mod socket;
pub mod sports;
pub mod user;
pub mod witness;

use std::sync::Arc;

use crate::{
    stage::{
        Doorbell, Stage,
        counters::{Counters, add},
        latency::{Latency, Sample},
        ring::Tx,
    },
    sys::tsc::Clock,
    types::{Cycles, Stamp},
};
use market::MarketFeed;
use sports::SportsFeed;
use user::UserFeed;

/// A feed tile: the sockets of one feed thread, each with its own ring to the hot tile.
#[derive(Debug)]
pub struct FeedTile {
    /// The public market channel, for this tile's share of the instruments.
    pub market: Option<MarketFeed>,
    /// Our orders and trades.
    pub user: Option<UserFeed>,
    /// Where the match is.
    pub sports: Option<SportsFeed>,
    /// What every feed of the tile shares.
    pub shared: Shared,
}

/// What the feeds of a tile share.
#[derive(Debug)]
pub struct Shared {
    /// The thread's clock.
    pub clock: Clock,
    /// Latency samples.
    pub samples: Tx<Sample>,
    /// The run's counters.
    pub counters: Arc<Counters>,
}

/// Records how long parsing took.
fn parsed_since(from: Cycles, clock: &Clock, samples: &mut Tx<Sample>, counters: &Counters) {
    let ns = clock.ns_between(from, clock.cycles());
    if samples.push(Sample { what: Latency::Parse, ns }).is_err() {
        add(&counters.samples_lost, 1);
    }
}

impl Stage for FeedTile {
    fn name(&self) -> &'static str {
        "feed"
    }

    fn attach(&mut self, doorbell: &Doorbell) {
        if let Some(feed) = &mut self.market {
            feed.attach(doorbell);
        }
        if let Some(feed) = &mut self.user {
            feed.socket.attach(doorbell);
        }
        if let Some(feed) = &mut self.sports {
            feed.socket.attach(doorbell);
        }
    }

    fn poll(&mut self) -> usize {
        // Our own orders first: a fill changes what every price means.
        let user = self.user.as_mut().map_or(0, |feed| feed.poll(&mut self.shared));
        let market = self.market.as_mut().map_or(0, |feed| feed.poll(&mut self.shared));
        let sports = self.sports.as_mut().map_or(0, |feed| feed.poll(&mut self.shared));
        user + market + sports
    }

    fn housekeep(&mut self, now: Stamp) {
        self.shared.clock.follow_system();
        if let Some(feed) = &mut self.market {
            feed.housekeep(now, &mut self.shared);
        }
        if let Some(feed) = &mut self.user {
            feed.housekeep(now, &self.shared);
        }
        if let Some(feed) = &mut self.sports {
            feed.housekeep(now, &self.shared);
        }
    }

    fn stop(&mut self) {
        if let Some(feed) = &mut self.market {
            feed.close();
        }
        if let Some(feed) = &mut self.user {
            feed.socket.close();
        }
        if let Some(feed) = &mut self.sports {
            feed.socket.close();
        }
        (self.market, self.user, self.sports) = (None, None, None);
    }
}
