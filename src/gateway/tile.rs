//! Steps 7 and 8 of 9: the gateway tile: what goes next, and on which connection.

use std::sync::Arc;

use super::{
    Command,
    asked::{Asked, BATCH_MAX, CANCELS_MAX, Sent},
    budget::{Call, Limits},
    desk::{Desk, Manners},
    heartbeat,
    lane::{Flight, Lane},
    merge::Merger,
    reading::{DataApi, Reader},
    send::Requests,
};
use crate::{
    stage::{
        Control, Doorbell, Stage,
        counters::{Counters, add},
        endpoint::Endpoint,
        latency::{Latency, Sample},
        ring::{Rx, Tx},
    },
    sys::tsc::Clock,
    types::{
        Nanos, OrderHash, Stamp, Stamped, Universe,
        event::{Dependency, ReplyEvent},
    },
    wire::auth::L2Auth,
};

/// Commands taken from the ring in one turn.
const BATCH: usize = 64;
/// Longest wait for an answer. What was asked is unknown then.
const ANSWER_LIMIT_NS: u64 = 5_000_000_000;
/// An idle connection is used at least this often, so that neither side and nothing between forgets it.
const WARM_EVERY_NS: u64 = 4_000_000_000;
/// Longest wait for the last cancel-all when the run ends badly.
const LAST_CANCEL_NS: u64 = 3_000_000_000;

/// The hot tile is alive if it gave a sign within this.
const HOT_ALIVE_NS: u64 = 2_000_000_000;
/// A reading that has waited for this long goes before other questions.
const READING_WAITS_NS: u64 = 1_000_000_000;

/// An order that could not leave within this does not leave: its price was for another book.
const PLACE_WAITS_NS: u64 = 1_000_000_000;

/// The gateway's ends of its rings.
#[derive(Debug)]
pub struct GatewayEnds {
    /// From the hot tile.
    pub commands: Rx<Command>,
    /// To the hot tile.
    pub replies: Tx<Stamped>,
    /// Latency samples.
    pub samples: Tx<Sample>,
}

/// What the gateway is made from.
#[derive(Debug)]
pub struct GatewayConfig {
    /// The venue's REST host.
    pub endpoint: Endpoint,
    /// Connections kept warm; at least two, so that one is always left for cancels.
    pub connections: usize,
    /// Our credentials, prepared.
    pub auth: L2Auth,
    /// The key id: the owner of every order.
    pub api_key: String,
    /// Markets and account.
    pub universe: Arc<Universe>,
    /// Turns complete sets into collateral; without it every merge fails.
    pub merger: Option<Merger>,
    /// Beat the dead man's switch from the first order on.
    pub heartbeat: bool,
    /// How far below the venue's limits we stay.
    pub limits: Limits,
    /// An order answered later than this was held up for our sending too much, in nanoseconds.
    pub slow_ack_ns: u64,
    /// The Data API; without it, positions are not read.
    pub data: Option<Endpoint>,
}

/// The gateway tile.
pub struct GatewayTile {
    commands: Rx<Command>,
    endpoint: Endpoint,
    control: Arc<Control>,
    counters: Arc<Counters>,
    doorbell: Option<Doorbell>,
    clock: Clock,
    lanes: Vec<Lane>,
    requests: Requests,
    desk: Desk,
    use_heartbeat: bool,
    /// The engine was told that we are up, and that the dead man's switch is not fed.
    up: bool,
    unhealthy: bool,
    /// Winding down since.
    stopping: Option<Nanos>,
}

impl std::fmt::Debug for GatewayTile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GatewayTile").field("lanes", &self.lanes).finish_non_exhaustive()
    }
}

impl GatewayTile {
    /// A gateway that begins to connect at its first turn.
    pub fn new(config: GatewayConfig, ends: GatewayEnds, control: &Arc<Control>, counters: &Arc<Counters>) -> Self {
        let GatewayConfig { endpoint, connections, auth, api_key, universe, merger, heartbeat, .. } = config;
        let clock = Clock::new();
        let seed = clock.cycles().0;
        let reader = Reader::new(&universe, &api_key, config.data.map(DataApi::new));
        let manners = Manners { limits: config.limits, slow_ack_ns: config.slow_ack_ns, merger, reader, seed };
        Self {
            requests: Requests::new(&endpoint.authority, auth, &api_key, &universe),
            lanes: (0..connections.max(2) as u64).map(|n| Lane::new(seed.wrapping_add(n))).collect(),
            desk: Desk::new(ends.replies, ends.samples, counters, manners),
            commands: ends.commands,
            endpoint,
            control: Arc::clone(control),
            counters: Arc::clone(counters),
            doorbell: None,
            clock,
            use_heartbeat: heartbeat,
            up: false,
            unhealthy: false,
            stopping: None,
        }
    }

    /// The idle connection used last, if at least so many are idle.
    fn idle_lane(&self, at_least: usize) -> Option<usize> {
        let idle = || self.lanes.iter().enumerate().filter(|(_, lane)| lane.is_idle());
        if idle().count() < at_least {
            return None;
        }
        idle().max_by_key(|(_, lane)| lane.last_used).map(|(n, _)| n)
    }

    /// Sends what can be sent. This is the one place that decides what goes next: what takes risk away first, then the
    /// heartbeat if it is late, then orders, then questions. Each asks the budget first.
    fn dispatch(&mut self) -> usize {
        let mut sent = 0;
        while let Some(lane) = self.idle_lane(1) {
            let now = self.clock.now();
            let gone = self.send_cancel_all(lane, now)
                || self.send_cancels(lane, now)
                || self.send_heartbeat(lane, now, true)
                || self.send_orders(now)
                || self.send_heartbeat(lane, now, false)
                || self.try_door(now)
                || self.send_question(now);
            if !gone {
                break;
            }
            sent += 1;
        }
        add(&self.counters.http_requests, sent);
        sent as usize
    }

    fn send_cancel_all(&mut self, lane: usize, now: Stamp) -> bool {
        if !self.desk.cancel_all.is_due(now) || !self.desk.modes.may_try(now.wall) {
            return false;
        }
        // Let through whatever the buckets say.
        self.desk.budget.take(Call::CancelAll(0), now.wall);
        self.desk.sends_cancel_all(self.lanes.iter().filter_map(Lane::flight));
        fly(&mut self.lanes[lane], Asked::CancelAll, self.requests.cancel_all(now.wall.secs()), &self.clock);
        true
    }

    /// A venue that takes nothing is tried with a cancel of nothing, as long as no real one waits to be tried.
    fn try_door(&mut self, now: Stamp) -> bool {
        let desk = &mut self.desk;
        if !desk.modes.is_shut() || !desk.modes.may_try(now.wall) {
            return false;
        }
        let Some(lane) = self.idle_lane(2) else { return false };
        if !self.desk.budget.take(Call::Cancel, now.wall) {
            return false;
        }
        self.desk.modes.tries();
        fly(&mut self.lanes[lane], Asked::Door, self.requests.door(now.wall.secs()), &self.clock);
        true
    }

    /// Cancels, except of orders whose own request is still under way: the venue might not know them yet and say so.
    fn send_cancels(&mut self, lane: usize, now: Stamp) -> bool {
        if self.desk.cancels.is_empty() || !self.desk.modes.may_try(now.wall) {
            return false;
        }
        let mut taken: heapless::Vec<Sent, CANCELS_MAX> = heapless::Vec::new();
        let mut hashes: heapless::Vec<OrderHash, CANCELS_MAX> = heapless::Vec::new();
        for _ in 0..self.desk.cancels.len() {
            let Some(cancel) = self.desk.cancels.pop_front() else { break };
            let placing = self.lanes.iter().filter_map(Lane::flight).any(|flight| flight.asked.places(&cancel.order));
            if placing || taken.is_full() {
                self.desk.cancels.push_back(cancel);
            } else {
                let _ = hashes.push(cancel.order);
                let _ = taken.push(cancel);
            }
        }
        if taken.is_empty() {
            return false;
        }
        let call = if taken.len() == 1 { Call::Cancel } else { Call::Cancels(taken.len() as u32) };
        if !self.desk.budget.take(call, now.wall) {
            taken.iter().rev().for_each(|cancel| self.desk.cancels.push_front(*cancel));
            return false;
        }
        self.desk.modes.tries();
        let request = self.requests.cancels(&hashes, now.wall.secs());
        if let Some(flight) = fly(&mut self.lanes[lane], Asked::Cancels(taken), request, &self.clock) {
            self.desk.has_left(flight);
        }
        true
    }

    /// One order, or as many as wait up to a batch. The last idle connection is kept for cancels. Whether orders may leave
    /// at all is looked at last, when there is nothing left to do but to write.
    fn send_orders(&mut self, now: Stamp) -> bool {
        if self.desk.places.is_empty() {
            return false;
        }
        let Some(lane) = self.idle_lane(2) else { return false };
        let Some(count) = self.orders_allowed(now) else { return false };
        let waiting = self.desk.places.range(..count);
        let request = self.requests.orders(waiting.map(|place| &place.signed), now.wall.secs());
        let encoded = self.clock.cycles();
        if self.control.orders_off() {
            self.desk.switch_off(now);
            return true;
        }
        let mut sent: heapless::Vec<Sent, BATCH_MAX> = heapless::Vec::new();
        for n in 0..count {
            let place = &self.desk.places[n];
            let approved = place.signed.approved();
            // A batch is at most as many as fit.
            let _ = sent.push(Sent { order: approved.hash(), origin: place.origin, cause: approved.cause().cycles });
            let ns = self.clock.ns_between(place.popped, encoded);
            self.desk.sample(Latency::Encode, ns);
        }
        self.desk.places.drain(..count);
        let flight = fly(&mut self.lanes[lane], Asked::Orders(sent), request, &self.clock);
        let written = self.clock.cycles();
        self.desk.sample(Latency::Send, self.clock.ns_between(encoded, written));
        if let Some(flight) = flight {
            self.desk.has_left(flight);
        }
        if self.use_heartbeat {
            self.desk.heartbeat.arm(now);
        }
        true
    }

    /// How many orders may leave together now; `None` if none may. They are paid for.
    fn orders_allowed(&mut self, now: Stamp) -> Option<usize> {
        let Desk { places, budget, guards, counters, .. } = &mut self.desk;
        let trying = guards.is_trying_orders();
        let most = if trying { 1 } else { budget.orders_max(now.wall).min(BATCH_MAX as u64) as usize };
        let count = places.len().min(most);
        let call = if count == 1 { Call::Order } else { Call::Orders(count as u32) };
        if count == 0 || !budget.take(call, now.wall) {
            add(&counters.orders_held_back, 1);
            return None;
        }
        (!trying || guards.admits_order(now.wall)).then_some(count)
    }

    /// A beat says that the whole of us is alive: not while the hot tile gives no sign, and not while cancels cannot be
    /// trusted, so that the venue cancels in our place.
    fn feeds_the_switch(&self, now: Stamp) -> bool {
        let beat = self.control.last_beat();
        let alive = beat.0 != 0 && self.clock.ns_between(beat, now.cycles) <= HOT_ALIVE_NS;
        alive && !self.desk.guards.is_open(Dependency::Cancels)
    }

    fn send_heartbeat(&mut self, lane: usize, now: Stamp, only_if_late: bool) -> bool {
        if !self.desk.heartbeat.is_due(now, only_if_late) || !self.feeds_the_switch(now) {
            return false;
        }
        let request = self.requests.heartbeat(self.desk.heartbeat.send(now), now.wall.secs());
        self.lanes[lane].send(Asked::Heartbeat, request, &self.clock, heartbeat::ANSWER_NS);
        true
    }

    /// Questions that can wait, and warmth. They too leave one connection for cancels.
    fn send_question(&mut self, now: Stamp) -> bool {
        let Some(lane) = self.idle_lane(2) else { return false };
        let now_s = now.wall.secs();
        let desk = &mut self.desk;
        // The clock is not a read of ours: it is asked whatever became of those.
        if desk.venue_clock.is_due(now.wall) && desk.budget.take(Call::Other, now.wall) {
            desk.venue_clock.asks(now.wall);
            fly(&mut self.lanes[lane], Asked::Time, self.requests.time(), &self.clock);
            return true;
        }
        if desk.account.is_due(now) && desk.budget.take(Call::Balance, now.wall) {
            desk.account.in_flight = true;
            fly(&mut self.lanes[lane], Asked::Account, self.requests.collateral(now_s), &self.clock);
            return true;
        }
        if !desk.has_question(now) {
            return self.warm(now);
        }
        if !desk.guards.admits_read(now.wall) {
            return false;
        }
        let late = desk.reader.begun().is_some_and(|begun| now.wall.since(begun) >= READING_WAITS_NS);
        let reading = |desk: &mut Desk, requests: &mut Requests| {
            let (target, balance) = desk.reader.question()?;
            if !desk.budget.take(if balance { Call::Balance } else { Call::Ledger }, now.wall) {
                return None;
            }
            requests.question(target, now_s);
            desk.reader.asks();
            Some(Asked::Reading)
        };
        let requests = &mut self.requests;
        let mut asked = if late { reading(desk, requests) } else { None };
        if asked.is_none() {
            asked = if !desk.lookups.is_empty() && desk.budget.take(Call::Ledger, now.wall) {
                desk.lookups.pop_front().map(|order| {
                    requests.lookup(&order, now_s);
                    Asked::Lookup(order)
                })
            } else if !desk.payouts.is_empty() && desk.budget.take(Call::Other, now.wall) {
                desk.payouts.pop_front().map(|market| {
                    requests.market(market);
                    Asked::Payout(market)
                })
            } else if desk.balance_update.is_due(now) && desk.budget.take(Call::BalanceUpdate, now.wall) {
                desk.balance_update.in_flight = true;
                requests.balance_update(now_s);
                Some(Asked::BalanceUpdate)
            } else if desk.collateral.is_due(now)
                && !desk.balance_update.wanted
                && desk.budget.take(Call::Balance, now.wall)
            {
                desk.collateral.in_flight = true;
                requests.collateral(now_s);
                Some(Asked::Collateral)
            } else if !late {
                reading(desk, requests)
            } else {
                None
            };
        }
        let Some(asked) = asked else {
            // The budget has nothing for it now.
            desk.guards.read_not_made();
            return false;
        };
        fly(&mut self.lanes[lane], asked, self.requests.written(), &self.clock);
        true
    }

    /// Uses a connection that was idle for too long.
    fn warm(&mut self, now: Stamp) -> bool {
        let cold = |lane: &&mut Lane| lane.is_idle() && now.wall.since(lane.last_used) >= WARM_EVERY_NS;
        let Some(lane) = self.lanes.iter_mut().find(cold) else { return false };
        if !self.desk.budget.take(Call::Other, now.wall) {
            return false;
        }
        fly(lane, Asked::Warm, self.requests.warm(), &self.clock);
        true
    }

    /// Gives each connection its turn; those that are idle only if asked to: they have nothing to tell but that they
    /// ended.
    fn turn_lanes(&mut self, idle_too: bool) -> usize {
        let Self { lanes, endpoint, doorbell, clock, desk, .. } = self;
        lanes
            .iter_mut()
            .filter(|lane| idle_too || !lane.is_idle())
            .map(|lane| lane.turn(endpoint, doorbell.as_ref(), clock, &mut |news| desk.hear(news)))
            .sum()
    }

    /// Tells the engine when orders can leave and when they cannot.
    fn tell_up(&mut self) {
        // One connection is kept for cancels: orders need a second.
        let up = self.lanes.iter().filter(|lane| lane.is_up()).count() >= 2;
        let now = self.clock.now();
        self.desk.drop_places(now, if up { PLACE_WAITS_NS } else { 0 });
        if up != self.up {
            self.up = up;
            self.desk.reply(now, if up { ReplyEvent::GatewayUp } else { ReplyEvent::GatewayDown });
        }
    }

    /// Tells the engine when the venue may be about to cancel everything.
    fn tell_heartbeat(&mut self, now: Stamp) {
        let beat = &self.desk.heartbeat;
        let unhealthy = beat.is_armed() && !(beat.is_healthy(now) && self.feeds_the_switch(now));
        if unhealthy != self.unhealthy {
            self.unhealthy = unhealthy;
            self.desk.reply(now, ReplyEvent::Heartbeat { healthy: !unhealthy });
        }
    }

    /// Looks whether the kill switch is on. What waits does not leave, what is half written is cut off.
    fn look_at_switch(&mut self) {
        let off = self.control.orders_off();
        if off && !self.desk.orders_off {
            let Self { lanes, clock, desk, .. } = self;
            lanes.iter_mut().for_each(|lane| lane.withhold_orders(clock, &mut |news| desk.hear(news)));
            let now = self.clock.now();
            self.desk.switch_off(now);
        }
        self.desk.orders_off = off;
    }
}

/// Sends a request on an idle lane.
fn fly<'l>(lane: &'l mut Lane, asked: Asked, request: &[u8], clock: &Clock) -> Option<&'l Flight> {
    lane.send(asked, request, clock, ANSWER_LIMIT_NS)
}

impl Stage for GatewayTile {
    fn name(&self) -> &'static str {
        "gateway"
    }

    fn attach(&mut self, doorbell: &Doorbell) {
        self.doorbell = doorbell.try_clone().ok();
        if let Some(merger) = &mut self.desk.merger {
            merger.attach(doorbell);
        }
        self.desk.reader.attach(doorbell);
    }

    fn poll(&mut self) -> usize {
        // Answers that do not fit the ring: nothing more is read and nothing new is sent until they do.
        if !self.desk.drain_replies() {
            return 0;
        }
        self.look_at_switch();
        let taken = self.commands.backlog().min(BATCH);
        for _ in 0..taken {
            let Some(command) = self.commands.pop() else { break };
            self.desk.take(command);
        }
        let sent = if self.desk.has_work() { self.dispatch() } else { 0 };
        let heard = self.turn_lanes(false);
        let merged = self.desk.turn_merger() + self.desk.turn_reader();
        self.tell_up();
        self.desk.drain_replies();
        taken + sent + heard + merged
    }

    fn housekeep(&mut self, _now: Stamp) {
        self.clock.follow_system();
        self.desk.clock.follow_system();
        self.turn_lanes(true);
        let now = self.clock.now();
        self.desk.tick(now);
        self.dispatch();
        self.tell_heartbeat(now);
        self.desk.publish();
    }

    /// A run that did not end cleanly may have left orders at the venue: the last thing said is to cancel them all.
    fn stop(&mut self) {
        let now = self.clock.now();
        self.stopping = Some(now.wall);
        self.desk.closed = true;
        if !self.control.is_clean() {
            self.desk.take_cancel_all(now);
        }
    }

    fn stopped(&self) -> bool {
        let Some(since) = self.stopping else { return false };
        self.desk.has_cancelled() || self.clock.now().wall.since(since) >= LAST_CANCEL_NS
    }
}
