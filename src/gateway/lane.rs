//! Steps 7 and 8 of 9: one connection that carries one request at a time, and is opened again when it ends.

use super::asked::Asked;
use crate::{
    stage::{
        backoff::Backoff,
        buffer::Buffer,
        conn::{Close, Conn, Left, State},
        duty::Doorbell,
        endpoint::Endpoint,
    },
    sys::tsc::Clock,
    types::{Cycles, Nanos, Stamp},
    wire::http::{BODY_MAX, HEAD_MAX, HttpError, Limits, Response, parse_response},
};

/// A request under way.
#[derive(Clone, Debug)]
pub struct Flight {
    /// What was asked.
    pub asked: Asked,
    /// When the write of it began.
    pub begun: Cycles,
    /// When its last byte had left.
    pub left_at: Option<Cycles>,
    /// When it counts as unanswered.
    deadline: Nanos,
}

/// How a request ended.
#[derive(Debug)]
pub enum Ended<'a> {
    /// With a whole answer.
    Answered(Response<'a>),
    /// Without one; so much of the request had left.
    Lost(Left),
    /// With bytes that are no answer: the request had left.
    Garbled(HttpError),
}

/// What a lane tells its owner.
#[derive(Debug)]
pub enum News<'a> {
    /// It is ready for requests.
    Up,
    /// The last byte of its request left.
    Left(&'a Flight),
    /// Its request ended.
    Ended(&'a Flight, Ended<'a>),
}

/// A connection with at most one request in flight.
#[derive(Debug)]
pub struct Lane {
    conn: Option<Conn>,
    backoff: Backoff,
    attempts: usize,
    inbox: Buffer,
    flight: Option<Flight>,
    was_up: bool,
    /// When it was last used: the most recently used idle lane goes first, its caches and congestion window are warm.
    pub last_used: Nanos,
}

impl Lane {
    /// A lane that connects at its first turn. `seed` tells the lanes of a process apart.
    pub fn new(seed: u64) -> Self {
        Self {
            conn: None,
            backoff: Backoff::new(100, 5_000, seed),
            attempts: 0,
            inbox: Buffer::new(64 << 10, HEAD_MAX + BODY_MAX),
            flight: None,
            was_up: false,
            last_used: Nanos(0),
        }
    }

    /// True if a request can be sent now.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.flight.is_none() && self.is_up()
    }

    /// True while bytes flow.
    #[inline]
    pub fn is_up(&self) -> bool {
        self.conn.as_ref().is_some_and(Conn::is_ready)
    }

    /// What is under way.
    pub fn flight(&self) -> Option<&Flight> {
        self.flight.as_ref()
    }

    /// Sends a request on an idle lane. What becomes of it is news of a later turn, save that its last byte left:
    /// that is returned, if it did at once.
    pub fn send(&mut self, asked: Asked, request: &[u8], clock: &Clock, answer_within_ns: u64) -> Option<&Flight> {
        let now = clock.now();
        self.last_used = now.wall;
        let deadline = now.wall.plus(answer_within_ns);
        let flight = self.flight.insert(Flight { asked, begun: now.cycles, left_at: None, deadline });
        let conn = self.conn.as_mut()?;
        if conn.send(request) == Ok(Left::All) {
            flight.left_at = Some(clock.cycles());
            return Some(flight);
        }
        None
    }

    /// Orders of which bytes still wait here are not let go: the connection is closed, and what had left of them decides
    /// what became of them.
    pub fn withhold_orders(&mut self, clock: &Clock, hear: &mut impl FnMut(News<'_>)) {
        let waits = |flight: &Flight| matches!(flight.asked, Asked::Orders(_)) && flight.left_at.is_none();
        if self.flight.as_ref().is_some_and(waits) {
            self.end(clock.now(), None, hear);
        }
    }

    /// Connects, writes on, reads.
    pub fn turn(
        &mut self,
        endpoint: &Endpoint,
        doorbell: Option<&Doorbell>,
        clock: &Clock,
        hear: &mut impl FnMut(News<'_>),
    ) -> usize {
        let Some(conn) = &mut self.conn else { return self.open(endpoint, doorbell, clock) };
        match conn.state() {
            State::Ready => {}
            State::Connecting | State::Handshaking => {
                let now = clock.now();
                match conn.advance(now) {
                    State::Ready => {
                        self.was_up = true;
                        self.last_used = now.wall;
                        hear(News::Up);
                        return 1;
                    }
                    State::Closed(_) => return self.end(clock.now(), None, hear),
                    _ => return 0,
                }
            }
            // A write found it broken.
            State::Closed(_) => return self.end(clock.now(), None, hear),
        }
        if conn.waits() {
            match conn.flush() {
                Ok(Left::All) => {
                    if let Some(flight) = self.flight.as_mut().filter(|f| f.left_at.is_none()) {
                        flight.left_at = Some(clock.cycles());
                        hear(News::Left(flight));
                    }
                }
                Ok(_) => {}
                Err(_) => return self.end(clock.now(), None, hear),
            }
        }
        let closed = match conn.read(&mut self.inbox, clock) {
            Ok(Some(_)) => false,
            Ok(None) => {
                return match &self.flight {
                    Some(flight) if clock.now().wall >= flight.deadline => self.end(clock.now(), None, hear),
                    _ => 0,
                };
            }
            Err(Close::Clean) => true,
            Err(_) => return self.end(clock.now(), None, hear),
        };
        self.answer(closed, clock, hear)
    }

    /// Looks for an answer in what was received.
    fn answer(&mut self, closed: bool, clock: &Clock, hear: &mut impl FnMut(News<'_>)) -> usize {
        // A peer that goes between requests, or speaks unasked, is left.
        if self.flight.is_none() || (closed && self.inbox.is_empty()) {
            return self.end(clock.now(), None, hear);
        }
        let (used, keep) = match parse_response(self.inbox.filled_mut(), closed, Limits::default()) {
            Ok(None) => return 1,
            Ok(Some(response)) => {
                // An answer before the whole request left is a refusal to read it; the connection is of no more use.
                let keep = response.keep_alive && self.flight.as_ref().is_some_and(|f| f.left_at.is_some());
                let used = response.used;
                if let Some(flight) = self.flight.take() {
                    hear(News::Ended(&flight, Ended::Answered(response)));
                }
                (used, keep)
            }
            Err(error) => return self.end(clock.now(), Some(error), hear),
        };
        self.inbox.consume(used);
        // More than the answer: the next one could be matched to the wrong request.
        if !keep || !self.inbox.is_empty() {
            self.end(clock.now(), None, hear);
        } else {
            self.last_used = clock.now().wall;
            self.backoff.succeeded();
        }
        1
    }

    fn open(&mut self, endpoint: &Endpoint, doorbell: Option<&Doorbell>, clock: &Clock) -> usize {
        let now = clock.now();
        if !self.backoff.is_due(now) {
            return 0;
        }
        self.attempts += 1;
        self.inbox.clear();
        match Conn::open(endpoint, self.attempts - 1, now, doorbell) {
            Ok(conn) => self.conn = Some(conn),
            Err(_) => self.backoff.failed(now),
        }
        1
    }

    /// The connection is over, and with it what was under way.
    fn end(&mut self, now: Stamp, garbled: Option<HttpError>, hear: &mut impl FnMut(News<'_>)) -> usize {
        let Some(mut conn) = self.conn.take() else { return 0 };
        let left = conn.left();
        conn.close();
        self.inbox.clear();
        // One that was up comes back at once; one that never was, or falls again, waits.
        if !std::mem::take(&mut self.was_up) || garbled.is_some() {
            self.backoff.failed(now);
        } else {
            self.backoff.failed_softly(now);
        }
        if let Some(flight) = self.flight.take() {
            let ended = garbled.map_or(Ended::Lost(left), Ended::Garbled);
            hear(News::Ended(&flight, ended));
        }
        1
    }
}
