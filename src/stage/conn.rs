//! A byte connection of a client: TCP, plain or under TLS, never blocking.
//!
//! It connects, shakes hands and is ready; it says when the bytes it gives were read, and how much of what it was given
//! has left. It never reconnects: whoever holds it decides that.

use std::{
    io::{self, ErrorKind, Read, Write},
    time::Duration,
};

use mio::net::TcpStream;
use rustls::ClientConnection;

use super::{buffer::Buffer, duty::Doorbell, endpoint::Endpoint};
use crate::{
    sys::{net, tsc::Clock},
    types::{Nanos, Stamp},
};

/// How long connecting and shaking hands may take together.
const OPEN_LIMIT_NS: u64 = 5_000_000_000;
/// How long sent bytes may stay unacknowledged.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);
/// Room asked of the buffer before each read: one TLS record.
const READ_ROOM: usize = 16 << 10;
/// Reads without plaintext in one call: TLS records that are not data, or parts of a large one.
const READS_PER_CALL: usize = 16;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// The peer said goodbye: `close_notify` under TLS, the end of the stream without.
    Clean,
    /// The stream ended in the middle of TLS: something may be missing.
    Truncated,
    /// Nobody listens, or the way there is closed.
    Refused,
    /// The system reported an error on an open connection.
    Broken(ErrorKind),
    /// The peer's TLS is wrong or not to be trusted.
    Tls,
    /// Connecting and shaking hands took too long.
    TimedOut,
    /// We closed it.
    Ours,
}

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The TCP connection is being made.
    Connecting,
    /// TLS is being agreed.
    Handshaking,
    /// Bytes flow.
    Ready,
    /// It is over.
    Closed(Close),
}

/// How much of the bytes last given to [`Conn::send`] has left this machine's process: the difference between an order
/// that was never sent and one that is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Not one byte.
    Nothing,
    /// Some.
    Part,
    /// All.
    All,
}

/// A connection.
pub struct Conn {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    state: State,
    deadline: Nanos,
    /// Plain bytes that the socket did not take yet. Under TLS, rustls holds them.
    waiting: Vec<u8>,
    /// Bytes that the socket took since the last `send` began.
    taken: usize,
    /// When the last read returned.
    read_at: Stamp,
}

/// Without the bytes: they can hold credentials.
impl std::fmt::Debug for Conn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conn")
            .field("state", &self.state)
            .field("deadline", &self.deadline)
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

impl Conn {
    /// Begins to connect, to the `attempt`-th address in turn. `doorbell`: the thread's, if it sleeps.
    pub fn open(endpoint: &Endpoint, attempt: usize, now: Stamp, doorbell: Option<&Doorbell>) -> Result<Self, Close> {
        let addr = endpoint.addrs.get(attempt % endpoint.addrs.len().max(1)).ok_or(Close::Refused)?;
        let mut socket = TcpStream::connect(*addr).map_err(|_| Close::Refused)?;
        if let Some(doorbell) = doorbell {
            doorbell.watch(&mut socket).map_err(|e| Close::Broken(e.kind()))?;
        }
        let tls = match &endpoint.tls {
            Some((config, name)) => {
                let mut tls =
                    ClientConnection::new(std::sync::Arc::clone(config), name.clone()).map_err(|_| Close::Tls)?;
                // A request is one write, and is bounded by whoever makes it.
                tls.set_buffer_limit(None);
                Some(Box::new(tls))
            }
            None => None,
        };
        let deadline = now.wall.plus(OPEN_LIMIT_NS);
        Ok(Self { socket, tls, state: State::Connecting, deadline, waiting: Vec::new(), taken: 0, read_at: now })
    }

    /// Where it is.
    #[inline]
    pub fn state(&self) -> State {
        self.state
    }

    /// True while bytes flow.
    #[inline]
    pub fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// Goes as far as it can towards being ready. Cheap, and safe at any time.
    pub fn advance(&mut self, now: Stamp) -> State {
        if self.state == State::Connecting {
            match self.connected() {
                Ok(true) => self.state = if self.tls.is_some() { State::Handshaking } else { State::Ready },
                Ok(false) => {}
                Err(_) => self.state = State::Closed(Close::Refused),
            }
        }
        if self.state == State::Handshaking
            && let Err(close) = self.handshake()
        {
            self.state = State::Closed(close);
        }
        if matches!(self.state, State::Connecting | State::Handshaking) && now.wall >= self.deadline {
            self.state = State::Closed(Close::TimedOut);
        }
        self.state
    }

    fn connected(&mut self) -> io::Result<bool> {
        if let Some(error) = self.socket.take_error()? {
            return Err(error);
        }
        match self.socket.peer_addr() {
            Ok(_) => {
                self.socket.set_nodelay(true)?;
                net::limit_silence(&self.socket, SILENCE_LIMIT)?;
                Ok(true)
            }
            Err(e) if matches!(e.kind(), ErrorKind::NotConnected | ErrorKind::WouldBlock) => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn handshake(&mut self) -> Result<(), Close> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        loop {
            while tls.wants_write() {
                match tls.write_tls(&mut self.socket) {
                    Ok(_) => {}
                    Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                    Err(e) => return Err(Close::Broken(e.kind())),
                }
            }
            if !tls.is_handshaking() {
                self.state = State::Ready;
                return Ok(());
            }
            match tls.read_tls(&mut self.socket) {
                Ok(0) => return Err(Close::Truncated),
                Ok(_) => {
                    if tls.process_new_packets().is_err() {
                        // The alert tells the peer why; whether it arrives is not ours to ensure.
                        let _ = tls.write_tls(&mut self.socket);
                        return Err(Close::Tls);
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(Close::Broken(e.kind())),
            }
        }
    }

    /// Reads what is there into `buffer`. `Some`: bytes came, and this is when the read that brought them returned.
    /// `None`: nothing now. Errors: it is over; bytes read before it ended are in the buffer.
    pub fn read(&mut self, buffer: &mut Buffer, clock: &Clock) -> Result<Option<Stamp>, Close> {
        if let State::Closed(close) = self.state {
            return Err(close);
        }
        if self.state != State::Ready {
            return Ok(None);
        }
        let outcome = match &mut self.tls {
            None => read_plain(&mut self.socket, buffer, clock, &mut self.read_at),
            Some(tls) => read_tls(tls, &mut self.socket, buffer, clock, &mut self.read_at),
        };
        if let Err(close) = outcome {
            self.state = State::Closed(close);
        }
        outcome
    }

    /// Gives bytes to the socket, as many as it takes now; the rest waits for [`Self::flush`]. After an error,
    /// [`Self::left`] says whether any of them left.
    pub fn send(&mut self, bytes: &[u8]) -> Result<Left, Close> {
        self.taken = 0;
        match self.state {
            State::Ready => {}
            State::Closed(close) => return Err(close),
            _ => return Ok(Left::Nothing),
        }
        match &mut self.tls {
            None if self.waiting.is_empty() => {
                let written = write_some(&mut self.socket, bytes);
                if let Ok(n) = written {
                    self.taken = n;
                    self.waiting.extend_from_slice(&bytes[n..]);
                }
                self.settle(written.map(drop))
            }
            None => {
                self.waiting.extend_from_slice(bytes);
                self.flush()
            }
            Some(tls) => {
                // Without a limit rustls takes all of it.
                let taken = tls.writer().write_all(bytes).map_err(|e| Close::Broken(e.kind()));
                match taken {
                    Ok(()) => self.flush(),
                    Err(close) => self.settle(Err(close)),
                }
            }
        }
    }

    /// Gives the socket what it did not take before.
    pub fn flush(&mut self) -> Result<Left, Close> {
        if let State::Closed(close) = self.state {
            return Err(close);
        }
        let outcome = match &mut self.tls {
            None => write_some(&mut self.socket, &self.waiting).map(|n| {
                self.taken += n;
                self.waiting.drain(..n);
            }),
            Some(tls) => loop {
                if !tls.wants_write() {
                    break Ok(());
                }
                match tls.write_tls(&mut self.socket) {
                    Ok(n) => self.taken += n,
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break Ok(()),
                    Err(e) => break Err(Close::Broken(e.kind())),
                }
            },
        };
        self.settle(outcome)
    }

    fn settle(&mut self, outcome: Result<(), Close>) -> Result<Left, Close> {
        match outcome {
            Ok(()) => Ok(self.left()),
            Err(close) => {
                self.state = State::Closed(close);
                Err(close)
            }
        }
    }

    /// How much of the last `send` has left. Never says less than did: bytes of TLS's own count as ours.
    pub fn left(&self) -> Left {
        let waits = self.waits();
        match (self.taken, waits) {
            (0, _) => Left::Nothing,
            (_, true) => Left::Part,
            (_, false) => Left::All,
        }
    }

    /// True while bytes wait for the socket.
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Says goodbye, as far as that goes without waiting, and is closed. Bytes that still wait never leave: what
    /// [`Self::left`] said before stays true.
    pub fn close(&mut self) {
        if self.state == State::Ready && !self.waits() {
            if let Some(tls) = &mut self.tls {
                tls.send_close_notify();
            }
            let _ = self.flush();
        }
        if !matches!(self.state, State::Closed(_)) {
            self.state = State::Closed(Close::Ours);
        }
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

fn write_some(socket: &mut TcpStream, bytes: &[u8]) -> Result<usize, Close> {
    let mut sent = 0;
    while sent < bytes.len() {
        match socket.write(&bytes[sent..]) {
            Ok(n) => sent += n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => break,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            // Bytes that left before the error left: say so, and let the next call find the error.
            Err(_) if sent > 0 => break,
            Err(e) => return Err(Close::Broken(e.kind())),
        }
    }
    Ok(sent)
}

fn read_plain(
    socket: &mut TcpStream,
    buffer: &mut Buffer,
    clock: &Clock,
    read_at: &mut Stamp,
) -> Result<Option<Stamp>, Close> {
    let spare = buffer.spare(READ_ROOM);
    if spare.is_empty() {
        return Ok(None);
    }
    match socket.read(spare) {
        Ok(0) => Err(Close::Clean),
        Ok(n) => {
            *read_at = clock.now();
            buffer.commit(n);
            Ok(Some(*read_at))
        }
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        Err(e) => Err(Close::Broken(e.kind())),
    }
}

fn read_tls(
    tls: &mut ClientConnection,
    socket: &mut TcpStream,
    buffer: &mut Buffer,
    clock: &Clock,
    read_at: &mut Stamp,
) -> Result<Option<Stamp>, Close> {
    for _ in 0..READS_PER_CALL {
        // Plaintext first: rustls takes nothing more from the socket while it holds much of it.
        let spare = buffer.spare(READ_ROOM);
        if spare.is_empty() {
            return Ok(None);
        }
        match tls.reader().read(spare) {
            Ok(0) => return Err(Close::Clean),
            Ok(n) => {
                buffer.commit(n);
                return Ok(Some(*read_at));
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Err(Close::Truncated),
            Err(e) => return Err(Close::Broken(e.kind())),
        }
        match tls.read_tls(socket) {
            // The end of the stream: the reader says above whether it was announced.
            Ok(_) => *read_at = clock.now(),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(None),
            Err(e) => return Err(Close::Broken(e.kind())),
        }
        if tls.process_new_packets().is_err() {
            let _ = tls.write_tls(socket);
            return Err(Close::Tls);
        }
    }
    Ok(None)
}
