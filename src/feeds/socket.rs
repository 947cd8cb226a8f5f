//! Step 1 of 9: a WebSocket that comes back: connects, upgrades, keeps alive, notices silence, and starts again.
//!
//! Frames are decoded in the receive buffer by `wire::ws`; the handshake's key pieces are tungstenite's.

use tungstenite::handshake::{client::generate_key, derive_accept_key};

use crate::{
    stage::{
        backoff::Backoff,
        buffer::Buffer,
        conn::{Close, Conn, State},
        duty::Doorbell,
        endpoint::Endpoint,
    },
    sys::tsc::Clock,
    types::{Nanos, Stamp},
    wire::ws::{self, Decoded, Decoder, MESSAGE_MAX, Message, Opcode, WsError},
};

/// Messages given out in one turn, so that one socket cannot starve the thread's other work.
const MESSAGES_PER_TURN: usize = 64;
/// Longest wait for the answer to the upgrade request.
const UPGRADE_LIMIT_NS: u64 = 5_000_000_000;
/// A socket that stood for this long may come back at once when it ends.
const PROVEN_NS: u64 = 10_000_000_000;
/// Largest head of the answer to the upgrade request.
const HEAD_MAX: usize = 16 << 10;

/// What a feed wants of its socket.
#[derive(Clone, Debug)]
pub struct SocketConfig {
    /// Where; the path is the WebSocket's.
    pub endpoint: Endpoint,
    /// A text frame `PING` is sent this often, in nanoseconds; 0 for never.
    /// Source: docs/PROTOCOL.md "market channel, subscribe": every 10 s.
    pub ping_every_ns: u64,
    /// Without any frame for this long, in nanoseconds, the socket counts as dead.
    /// Source: docs/PROTOCOL.md "market channel, subscribe": 30 s.
    pub stale_after_ns: u64,
    /// Without any data for this long, in nanoseconds, the socket counts as frozen, however well it answers pings; 0
    /// for never. Source: docs/PROTOCOL.md "integrity", silent freeze.
    pub silent_after_ns: u64,
}

/// Why a socket closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The connection ended, or was never made.
    Conn(Close),
    /// The upgrade was answered with this status instead of 101.
    Refused(u16),
    /// The upgrade was answered with something else than a WebSocket.
    BadUpgrade,
    /// The peer broke the protocol.
    Protocol(WsError),
    /// The peer said goodbye, with this code.
    Goodbye(Option<u16>),
    /// No frame, or no answer to the upgrade, for too long.
    Stale,
    /// Frames, but no data, for too long.
    Silent,
    /// We closed it.
    Ours,
}

/// What changed in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is open: subscribe now.
    Opened,
    /// It was open and is not any more. It comes back by itself.
    Closed(Cause),
    /// An attempt to open it failed. It tries again by itself.
    Failed(Cause),
}

/// What a turn did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// Messages and steps; 0 if nothing happened.
    pub work: usize,
    /// Opened or closed.
    pub change: Option<Change>,
}

#[derive(Debug)]
enum Phase {
    /// Waits for its backoff.
    Waiting,
    /// TCP and TLS.
    Opening(Conn),
    /// The upgrade request was sent; the key that the answer must carry, and until when.
    Upgrading(Conn, String, Nanos),
    Open(Conn),
}

/// A WebSocket client.
pub struct Socket {
    config: SocketConfig,
    doorbell: Option<Doorbell>,
    phase: Phase,
    decoder: Decoder,
    inbox: Buffer,
    outbox: Vec<u8>,
    backoff: Backoff,
    attempts: usize,
    opened: u64,
    /// When it was opened last.
    opened_at: Nanos,
    /// When the last read returned.
    read_at: Stamp,
    last_ping: Nanos,
    last_frame: Nanos,
    last_data: Nanos,
    /// A `PONG` came since it was opened.
    ponged: bool,
    mask: u64,
}

/// Without the bytes: they can hold credentials.
impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket")
            .field("config", &self.config)
            .field("phase", &self.phase)
            .field("attempts", &self.attempts)
            .field("opened", &self.opened)
            .finish_non_exhaustive()
    }
}

impl Socket {
    /// A socket that begins to connect at its first turn. `seed` tells the sockets of a process apart.
    pub fn new(config: SocketConfig, seed: u64) -> Self {
        Self {
            config,
            doorbell: None,
            phase: Phase::Waiting,
            decoder: Decoder::default(),
            inbox: Buffer::new(256 << 10, MESSAGE_MAX + (64 << 10)),
            outbox: Vec::with_capacity(16 << 10),
            backoff: Backoff::new(100, 10_000, seed),
            attempts: 0,
            opened: 0,
            opened_at: Nanos(0),
            read_at: Stamp::default(),
            last_ping: Nanos(0),
            last_frame: Nanos(0),
            last_data: Nanos(0),
            ponged: false,
            mask: seed | 1,
        }
    }

    /// The thread's doorbell, if it sleeps.
    pub fn attach(&mut self, doorbell: &Doorbell) {
        self.doorbell = doorbell.try_clone().ok();
    }

    /// Times that it was opened.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// True while open.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// True once a `PONG` came, and with it proof that what we sent before its `PING` was read.
    pub fn ponged(&self) -> bool {
        self.is_open() && self.ponged
    }

    /// Does what can be done now. `on_text` gets each text message, which it may rewrite, with the stamp of the bytes
    /// that completed it, and says whether it wants another one in this turn. `PONG` is not given out.
    pub fn turn(&mut self, clock: &Clock, on_text: &mut impl FnMut(&mut [u8], Stamp) -> bool) -> Turn {
        match &mut self.phase {
            Phase::Waiting => self.connect(clock),
            Phase::Opening(_) => self.upgrade(clock),
            Phase::Upgrading(..) => self.upgraded(clock),
            Phase::Open(_) => self.receive(clock, on_text),
        }
    }

    fn connect(&mut self, clock: &Clock) -> Turn {
        let now = clock.now();
        if !self.backoff.is_due(now) {
            return Turn::default();
        }
        self.attempts += 1;
        match Conn::open(&self.config.endpoint, self.attempts - 1, now, self.doorbell.as_ref()) {
            Ok(conn) => {
                self.inbox.clear();
                self.decoder = Decoder::default();
                self.phase = Phase::Opening(conn);
                Turn { work: 1, change: None }
            }
            Err(close) => self.end(Cause::Conn(close), now),
        }
    }

    fn upgrade(&mut self, clock: &Clock) -> Turn {
        let now = clock.now();
        let Phase::Opening(conn) = &mut self.phase else { return Turn::default() };
        match conn.advance(now) {
            State::Connecting | State::Handshaking => return Turn::default(),
            State::Closed(close) => return self.end(Cause::Conn(close), now),
            State::Ready => {}
        }
        let key = generate_key();
        let Endpoint { authority, path, .. } = &self.config.endpoint;
        let path = if path.is_empty() { "/" } else { path };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: polyloly-fast\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        );
        if let Err(close) = conn.send(request.as_bytes()) {
            return self.end(Cause::Conn(close), now);
        }
        let accept = derive_accept_key(key.as_bytes());
        if let Phase::Opening(conn) = std::mem::replace(&mut self.phase, Phase::Waiting) {
            self.phase = Phase::Upgrading(conn, accept, now.wall.plus(UPGRADE_LIMIT_NS));
        }
        Turn { work: 1, change: None }
    }

    fn upgraded(&mut self, clock: &Clock) -> Turn {
        let Phase::Upgrading(conn, accept, deadline) = &mut self.phase else { return Turn::default() };
        // What came before the end of the stream may be the reason for it.
        let read = conn.flush().and_then(|_| conn.read(&mut self.inbox, clock));
        let (deadline, head) = (*deadline, upgrade_answer(self.inbox.filled(), accept));
        let now = clock.now();
        match (head, read) {
            (Ok(Some(head)), _) => {
                self.inbox.consume(head);
                if let Phase::Upgrading(conn, ..) = std::mem::replace(&mut self.phase, Phase::Waiting) {
                    self.phase = Phase::Open(conn);
                }
                self.opened += 1;
                self.ponged = false;
                self.opened_at = now.wall;
                (self.last_ping, self.last_frame, self.last_data) = (now.wall, now.wall, now.wall);
                Turn { work: 1, change: Some(Change::Opened) }
            }
            (Err(cause), _) => self.end(cause, now),
            (Ok(None), Err(close)) => self.end(Cause::Conn(close), now),
            (Ok(None), Ok(None)) if now.wall >= deadline => self.end(Cause::Stale, now),
            (Ok(None), Ok(bytes)) => Turn { work: usize::from(bytes.is_some()), change: None },
        }
    }

    fn receive(&mut self, clock: &Clock, on_text: &mut impl FnMut(&mut [u8], Stamp) -> bool) -> Turn {
        let Phase::Open(conn) = &mut self.phase else { return Turn::default() };
        if conn.waits()
            && let Err(close) = conn.flush()
        {
            return self.end(Cause::Conn(close), clock.now());
        }
        let (stamp, ended) = match conn.read(&mut self.inbox, clock) {
            Ok(None) if self.inbox.is_empty() => return Turn::default(),
            Ok(stamp) => (stamp, None),
            Err(close) => (None, Some(Cause::Conn(close))),
        };
        let arrived = stamp.is_some();
        // What is left over from the last turn was read then.
        self.read_at = stamp.unwrap_or(self.read_at);
        let stamp = self.read_at;
        let mut messages = 0;
        // The handler has enough for this turn.
        let mut enough = false;
        let mut ended_by_frame = None;
        while messages < MESSAGES_PER_TURN && !self.inbox.is_empty() {
            let (used, wanted_more) = match self.decoder.decode(self.inbox.filled_mut()) {
                Ok(Decoded::NeedMore(_)) => break,
                Ok(Decoded::Fragment(used)) => (used, true),
                Ok(Decoded::Message(used, message)) => {
                    messages += 1;
                    self.last_frame = stamp.wall;
                    let wants_more = match message {
                        Message::Text(text) if text.eq_ignore_ascii_case(b"PONG") => {
                            self.ponged = true;
                            true
                        }
                        Message::Text(text) => {
                            self.last_data = stamp.wall;
                            on_text(text, stamp)
                        }
                        Message::Ping(payload) => {
                            ws::encode(&mut self.outbox, Opcode::Pong, payload, next_mask(&mut self.mask));
                            true
                        }
                        Message::Binary(_) | Message::Pong(_) => true,
                        Message::Close(code) => {
                            ended_by_frame = Some(Cause::Goodbye(code));
                            false
                        }
                    };
                    (used, wants_more)
                }
                Err(error) => {
                    ws::encode_close(&mut self.outbox, error.close_code(), next_mask(&mut self.mask));
                    ended_by_frame = Some(Cause::Protocol(error));
                    break;
                }
            };
            self.inbox.consume(used);
            if !wanted_more {
                enough = true;
                break;
            }
        }
        self.push_out();
        // Messages that were whole before the stream ended are given out first, over several turns if need be.
        let more = (enough || messages == MESSAGES_PER_TURN) && !self.inbox.is_empty();
        match ended_by_frame.or(if more { None } else { ended }) {
            Some(cause) => self.end(cause, clock.now()),
            None => Turn { work: messages + usize::from(arrived), change: None },
        }
    }

    /// Sends a text message; ignored unless open.
    pub fn send_text(&mut self, text: &[u8]) {
        ws::encode(&mut self.outbox, Opcode::Text, text, next_mask(&mut self.mask));
        self.push_out();
    }

    fn push_out(&mut self) {
        if self.outbox.is_empty() {
            return;
        }
        if let Phase::Open(conn) = &mut self.phase {
            // A failed write shows at the next read.
            let _ = conn.send(&self.outbox);
        }
        self.outbox.clear();
    }

    /// Pings, and looks for silence. About every 10 ms.
    pub fn housekeep(&mut self, now: Stamp) -> Option<Change> {
        if !self.is_open() {
            return None;
        }
        let config = &self.config;
        let past = |since: Nanos, limit: u64| limit != 0 && now.wall.since(since) >= limit;
        if past(self.last_frame, config.stale_after_ns) {
            return self.end(Cause::Stale, now).change;
        }
        if past(self.last_data, config.silent_after_ns) {
            return self.end(Cause::Silent, now).change;
        }
        if past(self.last_ping, config.ping_every_ns) {
            self.last_ping = now.wall;
            self.send_text(b"PING");
        }
        None
    }

    /// Closes and, after its backoff, comes back.
    pub fn restart(&mut self, now: Stamp) -> Option<Change> {
        self.end(Cause::Ours, now).change
    }

    /// Closes with a goodbye, for the end of the run.
    pub fn close(&mut self) {
        if let Phase::Open(conn) = &mut self.phase {
            ws::encode_close(&mut self.outbox, 1000, next_mask(&mut self.mask));
            let _ = conn.send(&self.outbox);
            self.outbox.clear();
            conn.close();
        }
        self.phase = Phase::Waiting;
    }

    fn end(&mut self, cause: Cause, now: Stamp) -> Turn {
        let was_open = self.is_open();
        if let Phase::Opening(conn) | Phase::Upgrading(conn, ..) | Phase::Open(conn) = &mut self.phase {
            conn.close();
        }
        self.phase = Phase::Waiting;
        self.outbox.clear();
        // One that is cut as soon as it is open has not succeeded: else it would come back without end.
        if was_open && now.wall.since(self.opened_at) >= PROVEN_NS {
            self.backoff.succeeded();
        }
        self.backoff.failed(now);
        Turn { work: 1, change: Some(if was_open { Change::Closed(cause) } else { Change::Failed(cause) }) }
    }
}

/// xorshift64. RFC 6455 masks against caches that take frames for requests; TLS already hides them.
fn next_mask(state: &mut u64) -> [u8; 4] {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state as u32).to_le_bytes()
}

/// Length of the head of an answer that agrees to the upgrade; `None` while it is not whole.
fn upgrade_answer(bytes: &[u8], accept: &str) -> Result<Option<usize>, Cause> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_MAX => return Ok(None),
        _ => return Err(Cause::BadUpgrade),
    };
    match response.code {
        Some(101) => {}
        Some(code) => return Err(Cause::Refused(code)),
        None => return Err(Cause::BadUpgrade),
    }
    let value = |name: &str| response.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value);
    let says = |name: &str, want: &str| value(name).is_some_and(|v| v.eq_ignore_ascii_case(want.as_bytes()));
    // We offer no extension; one that is on all the same would garble every frame.
    let agreed = says("upgrade", "websocket")
        && says("connection", "upgrade")
        && value("sec-websocket-accept").is_some_and(|v| v == accept.as_bytes())
        && value("sec-websocket-extensions").is_none();
    if agreed { Ok(Some(length)) } else { Err(Cause::BadUpgrade) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_true_agreement_opens_a_socket() {
        let good = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n\
                    Sec-WebSocket-Accept: abc=\r\n\r\n";
        assert_eq!(upgrade_answer(good.as_bytes(), "abc="), Ok(Some(good.len())));
        for cut in 0..good.len() {
            assert_eq!(upgrade_answer(&good.as_bytes()[..cut], "abc="), Ok(None), "cut at {cut}");
        }
        assert_eq!(upgrade_answer(good.as_bytes(), "abd="), Err(Cause::BadUpgrade));
        let extended = good.replace("abc=\r\n", "abc=\r\nSec-WebSocket-Extensions: permessage-deflate\r\n");
        assert_eq!(upgrade_answer(extended.as_bytes(), "abc="), Err(Cause::BadUpgrade));
        assert_eq!(upgrade_answer(b"HTTP/1.1 403 Forbidden\r\n\r\n", ""), Err(Cause::Refused(403)));
        assert_eq!(upgrade_answer(b"<html>nginx</html>", ""), Err(Cause::BadUpgrade));
        assert_eq!(upgrade_answer(&vec![b'H'; HEAD_MAX], ""), Err(Cause::BadUpgrade));
    }
}
