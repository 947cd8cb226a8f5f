//! Steps 7 and 8 of 9: the gateway tile: what goes next, and on which connection.

use std::sync::Arc;

use super::{
    Command,
    asked::{Asked, BATCH_MAX, CANCELS_MAX, Sent},
    desk::Desk,
    lane::{Flight, Lane},
    merge::Merger,
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
    types::{Nanos, OrderHash, Stamp, Stamped, Universe, event::ReplyEvent},
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
    /// The engine was told that we are up.
    up: bool,
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
        let GatewayConfig { endpoint, connections, auth, api_key, universe, merger, heartbeat } = config;
        let clock = Clock::new();
        let seed = clock.cycles().0;
        Self {
            requests: Requests::new(&endpoint.authority, auth, &api_key, &universe),
            lanes: (0..connections.max(2) as u64).map(|n| Lane::new(seed.wrapping_add(n))).collect(),
            desk: Desk::new(ends.replies, ends.samples, counters, merger),
            commands: ends.commands,
            endpoint,
            control: Arc::clone(control),
            counters: Arc::clone(counters),
            doorbell: None,
            clock,
            use_heartbeat: heartbeat,
            up: false,
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
    /// heartbeat if it is late, then orders, then questions. A rate budget has its place here.
    fn dispatch(&mut self) -> usize {
        let mut sent = 0;
        while let Some(lane) = self.idle_lane(1) {
            let now = self.clock.now();
            let gone = self.send_cancel_all(lane, now)
                || self.send_cancels(lane, now)
                || self.send_heartbeat(lane, now, true)
                || self.send_orders(now)
                || self.send_heartbeat(lane, now, false)
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
        if !self.desk.cancel_all.is_due(now) {
            return false;
        }
        self.desk.cancel_all.in_flight = true;
        fly(&mut self.lanes[lane], Asked::CancelAll, self.requests.cancel_all(now.wall.secs()), &self.clock);
        true
    }

    /// Cancels, except of orders whose own request is still under way: the venue might not know them yet and say so.
    fn send_cancels(&mut self, lane: usize, now: Stamp) -> bool {
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
        let request = self.requests.cancels(&hashes, now.wall.secs());
        if let Some(flight) = fly(&mut self.lanes[lane], Asked::Cancels(taken), request, &self.clock) {
            self.desk.has_left(flight);
        }
        true
    }

    /// One order, or as many as wait up to a batch. The last idle connection is kept for cancels.
    fn send_orders(&mut self, now: Stamp) -> bool {
        let count = self.desk.places.len().min(BATCH_MAX);
        if count == 0 {
            return false;
        }
        let Some(lane) = self.idle_lane(2) else { return false };
        let waiting = self.desk.places.range(..count);
        let request = self.requests.orders(waiting.map(|place| &place.signed), now.wall.secs());
        let encoded = self.clock.cycles();
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

    fn send_heartbeat(&mut self, lane: usize, now: Stamp, only_if_late: bool) -> bool {
        if !self.desk.heartbeat.is_due(now, only_if_late) {
            return false;
        }
        let request = self.requests.heartbeat(self.desk.heartbeat.send(now), now.wall.secs());
        fly(&mut self.lanes[lane], Asked::Heartbeat, request, &self.clock);
        true
    }

    /// Questions that can wait, and warmth. They too leave one connection for cancels.
    fn send_question(&mut self, now: Stamp) -> bool {
        let Some(lane) = self.idle_lane(2) else { return false };
        let now_s = now.wall.secs();
        let desk = &mut self.desk;
        let (asked, request) = if let Some(order) = desk.lookups.pop_front() {
            (Asked::Lookup(order), self.requests.lookup(&order, now_s))
        } else if desk.balance_update.is_due(now) {
            desk.balance_update.in_flight = true;
            (Asked::BalanceUpdate, self.requests.balance_update(now_s))
        } else if desk.collateral.is_due(now) && !desk.balance_update.wanted {
            desk.collateral.in_flight = true;
            (Asked::Collateral, self.requests.collateral(now_s))
        } else {
            return self.warm(now);
        };
        fly(&mut self.lanes[lane], asked, request, &self.clock);
        true
    }

    /// Uses a connection that was idle for too long.
    fn warm(&mut self, now: Stamp) -> bool {
        let cold = |lane: &&mut Lane| lane.is_idle() && now.wall.since(lane.last_used) >= WARM_EVERY_NS;
        let Some(lane) = self.lanes.iter_mut().find(cold) else { return false };
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
        let up = self.lanes.iter().any(Lane::is_up) && self.desk.heartbeat.is_healthy();
        if up != self.up {
            self.up = up;
            self.desk.reply(self.clock.now(), if up { ReplyEvent::GatewayUp } else { ReplyEvent::GatewayDown });
        }
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
    }

    fn poll(&mut self) -> usize {
        // Answers that do not fit the ring: nothing more is read and nothing new is sent until they do.
        if !self.desk.drain_replies() {
            return 0;
        }
        let taken = self.commands.backlog().min(BATCH);
        for _ in 0..taken {
            let Some(command) = self.commands.pop() else { break };
            self.desk.take(command);
        }
        let sent = if self.desk.has_work() { self.dispatch() } else { 0 };
        let heard = self.turn_lanes(false);
        let merged = self.desk.turn_merger();
        self.tell_up();
        self.desk.drain_replies();
        taken + sent + heard + merged
    }

    fn housekeep(&mut self, _now: Stamp) {
        self.clock.follow_system();
        self.desk.clock.follow_system();
        self.turn_lanes(true);
        self.dispatch();
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
        !self.desk.cancel_all.wanted || self.clock.now().wall.since(since) >= LAST_CANCEL_NS
    }
}
