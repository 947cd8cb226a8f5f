//! Steps 1 and 2 of 9: a second opinion on books that no socket says anything about: `POST /books` over a connection of
//! its own.
//!
//! A quiet book and a frozen socket look the same from the socket. The answer is compared by the arbiter; here it is
//! asked for, one request at a time and far below the venue's limit.
//! Source: docs/PROTOCOL.md "public reads", "integrity".

use std::sync::Arc;

use crate::{
    stage::{
        backoff::Backoff,
        buffer::Buffer,
        conn::{Conn, State},
        duty::Doorbell,
        endpoint::Endpoint,
    },
    sys::tsc::Clock,
    types::{InstrumentIx, Nanos, Stamp, Universe},
    wire::http::{BODY_MAX, HEAD_MAX, Limits, parse_response, write_request},
};

/// Books in one request.
pub const BOOKS_MAX: usize = 32;
/// Least time between two requests: 40 in ten seconds, where 500 are allowed.
/// Source: docs/PROTOCOL.md "rate limits".
const REQUEST_EVERY_NS: u64 = 250_000_000;
/// An answer that has not come by then is given up, and the connection with it.
const ANSWER_LIMIT_NS: u64 = 2_000_000_000;

/// The connection, and what is asked on it.
#[derive(Debug)]
pub struct Witness {
    endpoint: Endpoint,
    universe: Arc<Universe>,
    doorbell: Option<Doorbell>,
    conn: Option<Conn>,
    backoff: Backoff,
    attempts: usize,
    inbox: Buffer,
    /// When the request under way was sent; `None` if none is.
    asked: Option<Nanos>,
    last: Nanos,
    text: Vec<u8>,
    body: Vec<u8>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Testimony<'a> {
    /// When it was asked for.
    pub asked: Nanos,
    /// When its bytes were read.
    pub stamp: Stamp,
    /// An array of books.
    pub body: &'a mut [u8],
}

impl Witness {
    /// A witness at a REST base.
    pub fn new(endpoint: Endpoint, universe: &Arc<Universe>, seed: u64) -> Self {
        Self {
            endpoint,
            universe: Arc::clone(universe),
            doorbell: None,
            conn: None,
            backoff: Backoff::new(250, 10_000, seed),
            attempts: 0,
            inbox: Buffer::new(64 << 10, HEAD_MAX + BODY_MAX),
            asked: None,
            last: Nanos(0),
            text: Vec::with_capacity(8 << 10),
            body: Vec::with_capacity(8 << 10),
        }
    }

    pub(super) fn attach(&mut self, doorbell: &Doorbell) {
        self.doorbell = doorbell.try_clone().ok();
    }

    /// True if a question could be asked now.
    pub(super) fn is_free(&self, now: Nanos) -> bool {
        self.asked.is_none()
            && now.since(self.last) >= REQUEST_EVERY_NS
            && self.conn.as_ref().is_some_and(Conn::is_ready)
    }

    /// Asks for books. Whatever is not answered is asked again by whoever needs it.
    pub(super) fn ask(&mut self, books: &[InstrumentIx], now: Nanos) {
        self.body.clear();
        for (n, instrument) in books.iter().take(BOOKS_MAX).enumerate() {
            self.body.extend_from_slice(if n == 0 { b"[{\"token_id\":\"" } else { b",{\"token_id\":\"" });
            self.body.extend_from_slice(self.universe.token(*instrument).decimal(&mut [0; 78]).as_bytes());
            self.body.extend_from_slice(b"\"}");
        }
        self.body.push(b']');
        self.text.clear();
        let target = format!("{}/books", self.endpoint.path);
        write_request(&mut self.text, "POST", &target, &self.endpoint.authority, b"", Some(&self.body));
        (self.asked, self.last) = (Some(now), now);
        if let Some(conn) = &mut self.conn {
            // A failed write shows at the next turn.
            let _ = conn.send(&self.text);
        }
    }

    /// Connects, writes on, reads. `hear` gets each answer that is a list of books.
    pub(super) fn turn(&mut self, clock: &Clock, hear: &mut impl FnMut(Testimony<'_>)) -> usize {
        let Some(conn) = &mut self.conn else { return self.open(clock) };
        match conn.state() {
            State::Ready => {}
            State::Connecting | State::Handshaking => {
                return match conn.advance(clock.now()) {
                    State::Ready => 1,
                    State::Closed(_) => self.end(clock.now()),
                    _ => 0,
                };
            }
            State::Closed(_) => return self.end(clock.now()),
        }
        if conn.waits() && conn.flush().is_err() {
            return self.end(clock.now());
        }
        let (stamp, closed) = match conn.read(&mut self.inbox, clock) {
            Ok(None) => {
                let late = self.asked.is_some_and(|at| clock.now().wall.since(at) >= ANSWER_LIMIT_NS);
                return if late { self.end(clock.now()) } else { 0 };
            }
            Ok(Some(stamp)) => (stamp, false),
            Err(_) => (clock.now(), true),
        };
        let Some(asked) = self.asked else { return self.end(clock.now()) };
        let (used, keep) = match parse_response(self.inbox.filled_mut(), closed, Limits::default()) {
            Ok(None) if !closed => return 1,
            Ok(Some(answer)) => {
                if answer.status == 200 && answer.json {
                    hear(Testimony { asked, stamp, body: answer.body });
                }
                (answer.used, answer.keep_alive && answer.status == 200)
            }
            _ => return self.end(clock.now()),
        };
        self.inbox.consume(used);
        self.asked = None;
        if keep && self.inbox.is_empty() {
            self.backoff.succeeded();
            1
        } else {
            self.end(clock.now())
        }
    }

    fn open(&mut self, clock: &Clock) -> usize {
        let now = clock.now();
        if !self.backoff.is_due(now) {
            return 0;
        }
        self.attempts += 1;
        self.inbox.clear();
        match Conn::open(&self.endpoint, self.attempts - 1, now, self.doorbell.as_ref()) {
            Ok(conn) => self.conn = Some(conn),
            Err(_) => self.backoff.failed(now),
        }
        1
    }

    fn end(&mut self, now: Stamp) -> usize {
        self.asked = None;
        if let Some(mut conn) = self.conn.take() {
            conn.close();
            self.backoff.failed(now);
        }
        self.inbox.clear();
        1
    }

    pub(super) fn close(&mut self) {
        if let Some(conn) = &mut self.conn {
            conn.close();
        }
        self.conn = None;
    }
}
