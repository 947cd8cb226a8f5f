//! What the stream of records tells by itself: counts for metrics and the summary, and what is up.
//!
//! The cold tile reads every record on its way to the disk, so the hot tile need not count any of this.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

use crate::{
    cold::journal::Record,
    engine::Action,
    types::{
        Event, OrderHash, Side, TradeKey,
        event::{ControlEvent, Dependency, KillReason, MarketEvent, MatchEvent, ReplyEvent, TradeStatus, UserEvent},
        order::StrategyId,
    },
};

/// Orders and trades that are remembered, to label and count each fill once.
const REMEMBERED: usize = 65_536;
/// Kinds of events, in the order of [`Flow::events`].
pub use crate::hot::EVENT_KINDS;
/// Strategies, in the order of the second index of [`Flow::placed`] and [`Flow::filled`].
pub const STRATEGIES: [StrategyId; 3] = StrategyId::ALL;
/// Sides, in the order of the first index.
pub const SIDES: [Side; 2] = [Side::Buy, Side::Sell];

/// Counts over the records seen so far.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    /// Events by kind.
    pub events: [u64; 8],
    /// Actions.
    pub actions: u64,
    /// Records that did not reach us.
    pub lost: u64,
    /// Orders approved, by side and strategy.
    pub placed: [[u64; STRATEGIES.len()]; 2],
    /// Fills, by side and strategy.
    pub filled: [[u64; STRATEGIES.len()]; 2],
    /// Times that the kill switch was thrown, by reason, as [`KillReason::ALL`].
    pub kills: [u64; KillReason::ALL.len()],
    /// Times that a dependency's breaker opened, as [`Dependency::ALL`].
    pub breaker_trips: [u64; Dependency::ALL.len()],
    /// Which of them are open now.
    pub breakers_open: [bool; Dependency::ALL.len()],
    /// How far the market channel's messages are behind the venue's own time on them.
    pub market_lag: Lag,
    /// Where the match is, by its feed.
    pub state_of_match: Option<MatchEvent>,
    /// The user channel is connected.
    pub user_up: bool,
    /// A connection for orders is up.
    pub gateway_up: bool,
    /// The last state hash and the event that it belongs to.
    pub state_hash: Option<(u64, u64)>,
    /// How the engine finished, once it has: true if it left nothing behind.
    pub finished: Option<bool>,
    /// The kill switch is on, as of this event.
    kill: (bool, u64),
    orders: Recent<OrderHash, StrategyId>,
    trades: Recent<(TradeKey, OrderHash), ()>,
}

impl Flow {
    /// Takes one record into account.
    pub fn see(&mut self, record: &Record) {
        match record {
            Record::Event(event) => {
                if let Event::Market(MarketEvent::FrameEnd { venue_ms }) = event.event {
                    self.market_lag.see(venue_ms, event.stamp.wall.millis());
                }
                match event.event {
                    Event::Control(ControlEvent::Kill(reason)) => self.killed(Some(reason.as_str()), event.seq),
                    Event::Control(ControlEvent::ResetKill) => self.killed(None, event.seq),
                    _ => {}
                }
                self.event(&event.event);
            }
            Record::Action { action, .. } => self.action(action),
            Record::StateHash { seq, hash } => self.state_hash = Some((*seq, *hash)),
            Record::Gap { lost, .. } => self.lost += lost,
        }
    }

    /// The kill switch as of event `seq`, by its reason. The engine throws it by itself too, without one: then its
    /// numbers are the first to say so.
    pub fn killed(&mut self, reason: Option<&str>, seq: u64) {
        let (on, since) = self.kill;
        if seq < since {
            return;
        }
        self.kill = (reason.is_some(), seq);
        if !on && let Some(n) = KillReason::ALL.iter().position(|r| Some(r.as_str()) == reason) {
            self.kills[n] += 1;
        }
    }

    /// Events of every kind.
    pub fn events_total(&self) -> u64 {
        self.events.iter().sum()
    }

    fn event(&mut self, event: &Event) {
        let kind = match event {
            Event::Start { .. } => 0,
            Event::Recovered(_) => 1,
            Event::Tick => 2,
            Event::Market(_) => 3,
            Event::User(user) => {
                self.user(user);
                4
            }
            Event::Reply(reply) => {
                match reply {
                    ReplyEvent::GatewayUp => self.gateway_up = true,
                    ReplyEvent::GatewayDown => self.gateway_up = false,
                    ReplyEvent::Breaker { of, open } => {
                        let n = index(&Dependency::ALL, *of);
                        self.breaker_trips[n] += u64::from(*open && !self.breakers_open[n]);
                        self.breakers_open[n] = *open;
                    }
                    _ => {}
                }
                5
            }
            Event::Match(state) => {
                self.state_of_match = Some(*state);
                6
            }
            Event::Control(_) => 7,
        };
        self.events[kind] += 1;
    }

    fn user(&mut self, event: &UserEvent) {
        match *event {
            UserEvent::Up => self.user_up = true,
            UserEvent::Down => self.user_up = false,
            UserEvent::Trade { trade, order, side, status, .. }
                if status != TradeStatus::Failed && self.trades.insert((trade, order), ()) =>
            {
                let strategy = self.orders.get(&order).unwrap_or(StrategyId::Manual);
                self.filled[index(&SIDES, side)][index(&STRATEGIES, strategy)] += 1;
            }
            UserEvent::Trade { .. } | UserEvent::Order { .. } => {}
        }
    }

    fn action(&mut self, action: &Action) {
        self.actions += 1;
        match action {
            Action::Place(approved) => {
                let intent = approved.intent();
                self.placed[index(&SIDES, intent.side)][index(&STRATEGIES, intent.strategy)] += 1;
                self.orders.insert(approved.hash(), intent.strategy);
            }
            Action::Finished { clean } => self.finished = Some(*clean),
            _ => {}
        }
    }
}

/// Time between what the venue says on a message and our reading it, in milliseconds, the venue's unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Messages that said it.
    pub count: u64,
    /// Sum over them.
    pub sum_ms: u64,
    /// The longest.
    pub max_ms: u64,
}

impl Lag {
    /// A message of the venue's time `venue_ms`, zero if it did not say, was read at `read_ms`.
    fn see(&mut self, venue_ms: u64, read_ms: u64) {
        if venue_ms > 0 {
            // The two clocks differ a little; what seems to come from the future came at once.
            let lag = read_ms.saturating_sub(venue_ms);
            self.count += 1;
            self.sum_ms = self.sum_ms.saturating_add(lag);
            self.max_ms = self.max_ms.max(lag);
        }
    }
}

fn index<T: PartialEq>(all: &[T], one: T) -> usize {
    all.iter().position(|x| *x == one).unwrap_or(0)
}

/// The last [`REMEMBERED`] of something.
#[derive(Clone, Debug)]
struct Recent<K, V> {
    map: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { map: HashMap::new(), order: VecDeque::new() }
    }
}

impl<K: Copy + Eq + Hash, V: Copy> Recent<K, V> {
    /// True if it was not there.
    fn insert(&mut self, key: K, value: V) -> bool {
        let new = self.map.insert(key, value).is_none();
        if new {
            self.order.push_back(key);
            if self.order.len() > REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.map.remove(&oldest);
            }
        }
        new
    }

    fn get(&self, key: &K) -> Option<V> {
        self.map.get(key).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{InstrumentIx, Qty, Sequenced, Stamp, Usdc, event::MatchPhase};

    fn see(flow: &mut Flow, event: Event) {
        flow.see(&Record::Event(Sequenced { seq: 1, stamp: Stamp::default(), event }));
    }

    fn trade(id: u128, order: u8, status: TradeStatus) -> Event {
        Event::User(UserEvent::Trade {
            trade: TradeKey(id),
            order: OrderHash([order; 32]),
            instrument: InstrumentIx(0),
            side: Side::Sell,
            qty: Qty::ONE,
            notional: Usdc(500_000),
            taker_curve: None,
            status,
        })
    }

    #[test]
    fn a_fill_counts_once_whatever_its_settlement_says() {
        let mut flow = Flow::default();
        for status in [TradeStatus::Matched, TradeStatus::Mined, TradeStatus::Confirmed] {
            see(&mut flow, trade(1, 1, status));
        }
        see(&mut flow, trade(1, 2, TradeStatus::Matched));
        see(&mut flow, trade(2, 2, TradeStatus::Failed));
        assert_eq!(flow.filled, [[0; 3], [0, 2, 0]]);
        assert_eq!(flow.events[4], 5);
    }

    #[test]
    fn what_is_up_follows_the_last_word() {
        let mut flow = Flow::default();
        see(&mut flow, Event::User(UserEvent::Up));
        see(&mut flow, Event::Reply(ReplyEvent::GatewayUp));
        assert!(flow.user_up && flow.gateway_up);
        see(&mut flow, Event::User(UserEvent::Down));
        see(&mut flow, Event::Reply(ReplyEvent::GatewayDown));
        assert!(!flow.user_up && !flow.gateway_up);
        let state = MatchEvent { phase: MatchPhase::Running, map: 2, score: [1, 0] };
        see(&mut flow, Event::Match(state));
        assert_eq!(flow.state_of_match, Some(state));
        see(&mut flow, Event::Control(ControlEvent::Kill(KillReason::Rejects)));
        assert_eq!(flow.kills[KillReason::Rejects as usize], 1);
        assert_eq!(flow.kills.iter().sum::<u64>(), 1);
    }

    #[test]
    fn the_kill_switch_is_counted_when_it_is_thrown_by_whom_ever() {
        let control =
            |seq, event| Record::Event(Sequenced { seq, stamp: Stamp::default(), event: Event::Control(event) });
        let mut flow = Flow::default();
        let count = |flow: &Flow, reason| flow.kills[reason as usize];
        flow.killed(None, 1);
        flow.killed(Some("rejects"), 5);
        flow.killed(Some("rejects"), 9);
        flow.see(&control(10, ControlEvent::Kill(KillReason::Manual)));
        assert_eq!((count(&flow, KillReason::Rejects), count(&flow, KillReason::Manual)), (1, 0), "it was on already");
        flow.see(&control(12, ControlEvent::ResetKill));
        flow.killed(Some("rejects"), 11);
        assert_eq!(count(&flow, KillReason::Rejects), 1, "older than the reset");
        flow.see(&control(13, ControlEvent::Kill(KillReason::Manual)));
        flow.killed(None, 12);
        flow.killed(Some("manual"), 14);
        assert_eq!((count(&flow, KillReason::Rejects), count(&flow, KillReason::Manual)), (1, 1));
    }

    #[test]
    fn breakers_are_counted_when_they_open() {
        let mut flow = Flow::default();
        let breaker = |of, open| Event::Reply(ReplyEvent::Breaker { of, open });
        for (open, trips) in [(true, 1), (true, 1), (false, 1), (true, 2)] {
            see(&mut flow, breaker(Dependency::Cancels, open));
            let n = Dependency::Cancels as usize;
            assert_eq!((flow.breaker_trips[n], flow.breakers_open[n]), (trips, open));
        }
        assert_eq!(flow.breaker_trips.iter().sum::<u64>(), 2);
    }

    #[test]
    fn the_market_s_lag_is_of_messages_that_say_when() {
        let mut flow = Flow::default();
        for (venue_ms, read_ms) in [(1_000, 1_040), (0, 9_000), (2_000, 1_999)] {
            let stamp = Stamp { wall: crate::types::Nanos(read_ms * 1_000_000), ..Stamp::default() };
            let event = Event::Market(MarketEvent::FrameEnd { venue_ms });
            flow.see(&Record::Event(Sequenced { seq: 1, stamp, event }));
        }
        assert_eq!(flow.market_lag, Lag { count: 2, sum_ms: 40, max_ms: 40 });
    }

    #[test]
    fn memory_is_bounded() {
        let mut recent = Recent::default();
        assert!((0..REMEMBERED + 10).all(|n| recent.insert(n, ())));
        assert_eq!((recent.map.len(), recent.order.len()), (REMEMBERED, REMEMBERED));
        assert!(recent.insert(0, ()) && !recent.insert(REMEMBERED, ()));
    }
}
