//! How long things take between us and the venue, in virtual time.

use crate::scenario::dice::Dice;

const MS: u64 = 1_000_000;
/// The stream of a match's seed that its delays are drawn from; the scenario's own are below 1,000.
const STREAM: u64 = 5_000;
/// Time passes for the engine this often. In a run it is 100 ms of wall time, which at the default run's speed of 200
/// is 20 s of the match; here it is one second of it. Everything else is decided at the message that causes it.
const TICK_NS: u64 = 1_000 * MS;

/// Delays of one match: constant within it, so that each channel keeps its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// From a change at the venue to the engine, by the market channel, in nanoseconds.
    pub market_ns: u64,
    /// The same by the user channel.
    pub user_ns: u64,
    /// From the engine to the venue having acted on a request.
    pub order_ns: u64,
    /// From there to the engine knowing the answer.
    pub answer_ns: u64,
    /// From a frame of the match feed to the engine.
    pub match_ns: u64,
    /// Between two ticks of the engine.
    pub tick_ns: u64,
}

impl Link {
    /// A server near the venue's, on the public network: one draw a match. Source: docs/SCENARIOS.md "simulate".
    pub fn draw(seed: u64) -> Self {
        let mut dice = Dice::new(seed, STREAM);
        let mut ms = |lo, hi| dice.span(lo / 1e3, hi / 1e3).0;
        Self {
            market_ns: ms(8.0, 30.0),
            user_ns: ms(8.0, 30.0),
            order_ns: ms(15.0, 50.0),
            answer_ns: ms(8.0, 30.0),
            match_ns: ms(8.0, 30.0),
            tick_ns: TICK_NS,
        }
    }

    /// The loopback of a run on one machine.
    pub const fn loopback() -> Self {
        Self {
            market_ns: MS / 5,
            user_ns: MS / 5,
            order_ns: MS / 5,
            answer_ns: MS / 5,
            match_ns: MS / 5,
            tick_ns: 100 * MS,
        }
    }

    /// The market and the match are heard of later by this; our own orders are not.
    #[must_use]
    pub const fn later(mut self, feed_delay_ns: u64) -> Self {
        self.market_ns += feed_delay_ns;
        self.match_ns += feed_delay_ns;
        self
    }
}
