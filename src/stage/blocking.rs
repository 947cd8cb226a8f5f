//! A client that waits: for the calls before the first event and after the last one.
//!
//! The same connections and the same HTTP as the gateway's, with a thread that sleeps until they have something.

use std::{fmt, time::Duration};

use super::{
    buffer::Buffer,
    conn::{Close, Conn, State},
    duty::Bed,
    endpoint::Endpoint,
};
use crate::{
    sys::tsc::Clock,
    types::Nanos,
    wire::http::{BODY_MAX, HEAD_MAX, HttpError, Limits, parse_response, write_request},
};

/// Longest wait for one whole call.
pub const CALL_LIMIT: Duration = Duration::from_secs(10);

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// True if the body calls itself JSON.
    pub json: bool,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The connection was not made, or ended before the answer was whole.
    Conn(Close),
    /// What came is not an answer.
    Http(HttpError),
    /// It took longer than [`CALL_LIMIT`].
    TimedOut,
    /// The system has no file descriptor left.
    NoDescriptors,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conn(Close::Refused) => f.write_str("nobody listens there"),
            Self::Conn(Close::Tls) => f.write_str("TLS failed: the certificate is not trusted or not for this host"),
            Self::Conn(close) => write!(f, "the connection ended: {close:?}"),
            Self::Http(error) => error.fmt(f),
            Self::TimedOut => write!(f, "no answer within {} s", CALL_LIMIT.as_secs()),
            Self::NoDescriptors => f.write_str("the system has no file descriptor left"),
        }
    }
}

impl std::error::Error for CallError {}

/// A client of one host, over one connection that it keeps.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    clock: Clock,
    bed: Bed,
    conn: Option<Conn>,
    attempts: usize,
    inbox: Buffer,
    request: Vec<u8>,
}

impl Client {
    /// A client that connects at its first call.
    pub fn new(endpoint: Endpoint) -> Result<Self, CallError> {
        let bed = Bed::new().map_err(|_| CallError::NoDescriptors)?;
        let inbox = Buffer::new(64 << 10, HEAD_MAX + BODY_MAX);
        Ok(Self { endpoint, clock: Clock::new(), bed, conn: None, attempts: 0, inbox, request: Vec::new() })
    }

    /// Its clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The host, as the `Host` header has it.
    pub fn authority(&self) -> &str {
        &self.endpoint.authority
    }

    /// Asks and waits. `target`: path and query, after the endpoint's own path. `headers`: whole lines, each ended by
    /// CR LF.
    ///
    /// A `GET` over a kept connection that the peer closed meanwhile is asked once more over a new one; nothing else is
    /// ever repeated.
    pub fn call(
        &mut self,
        method: &str,
        target: &str,
        headers: &[u8],
        body: Option<&[u8]>,
    ) -> Result<Answer, CallError> {
        let kept = self.conn.is_some();
        let target = format!("{}{target}", self.endpoint.path);
        self.request.clear();
        write_request(&mut self.request, method, &target, &self.endpoint.authority, headers, body);
        match self.attempt() {
            Err(CallError::Conn(_)) if kept && method == "GET" => self.attempt(),
            outcome => outcome,
        }
    }

    fn attempt(&mut self) -> Result<Answer, CallError> {
        let until = self.clock.now().wall.plus(CALL_LIMIT.as_nanos() as u64);
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => self.open(until)?,
        };
        self.inbox.clear();
        conn.send(&self.request).map_err(CallError::Conn)?;
        loop {
            if conn.waits() {
                conn.flush().map_err(CallError::Conn)?;
            }
            let read = conn.read(&mut self.inbox, &self.clock);
            let closed = match read {
                Ok(None) => {
                    self.wait(until)?;
                    continue;
                }
                Ok(Some(_)) => false,
                Err(Close::Clean) => true,
                Err(close) => return Err(CallError::Conn(close)),
            };
            if closed && self.inbox.is_empty() {
                return Err(CallError::Conn(Close::Clean));
            }
            let answer = parse_response(self.inbox.filled_mut(), closed, Limits::default()).map_err(CallError::Http)?;
            if let Some(response) = answer {
                if response.keep_alive {
                    self.conn = Some(conn);
                }
                return Ok(Answer { status: response.status, json: response.json, body: response.body.to_vec() });
            }
        }
    }

    fn open(&mut self, until: Nanos) -> Result<Conn, CallError> {
        let doorbell = self.bed.doorbell().map_err(|_| CallError::NoDescriptors)?;
        let tries = self.endpoint.addrs.len().max(1);
        let mut last = Close::Refused;
        for _ in 0..tries {
            self.attempts += 1;
            let now = self.clock.now();
            let opened = Conn::open(&self.endpoint, self.attempts - 1, now, Some(&doorbell));
            let Ok(mut conn) = opened else { continue };
            loop {
                match conn.advance(self.clock.now()) {
                    State::Ready => return Ok(conn),
                    State::Closed(close) => {
                        last = close;
                        break;
                    }
                    _ => self.wait(until)?,
                }
            }
        }
        Err(CallError::Conn(last))
    }

    fn wait(&mut self, until: Nanos) -> Result<(), CallError> {
        if self.clock.now().wall >= until {
            return Err(CallError::TimedOut);
        }
        self.bed.sleep(Duration::from_millis(5));
        Ok(())
    }
}
