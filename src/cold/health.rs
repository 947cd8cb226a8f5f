//! A small HTTP/1.1 server inside the cold tile: who asks gets one answer and the connection is closed.
//!
//! It is open to whoever reaches the port, so everything is bounded: connections, heads, bodies, the time that each may
//! take, and the answers that are made in one turn. A slow client costs its own connection and nothing else.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
};

use mio::net::{TcpListener, TcpStream};

use crate::types::Nanos;

/// Connections at a time; more wait in the kernel.
const CONNECTIONS_MAX: usize = 16;
/// The longest request head.
const HEAD_MAX: usize = 8 << 10;
/// The longest request body.
pub const BODY_MAX: usize = 4 << 10;
/// A connection that takes longer is closed.
const DEADLINE_NS: u64 = 5_000_000_000;
/// Where all places are taken, the oldest connection gives way to a new one after this: slow clients must not keep the
/// operator out.
const GIVES_WAY_NS: u64 = 1_000_000_000;
/// Answers that are made in one turn: on one core the tile shares its thread with the hot tile.
const ANSWERS_PER_TURN: usize = 2;
/// What is read and thrown away of a request that was refused before it was whole.
const DRAIN_MAX: usize = 256 << 10;

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// `GET`, `POST`, … `HEAD` is told as `GET`.
    pub method: &'a str,
    /// Path without its query.
    pub path: &'a str,
    /// Header `Authorization`.
    pub authorization: Option<&'a [u8]>,
    /// Header `X-Request-Id`.
    pub request_id: Option<&'a [u8]>,
    /// Body.
    pub body: &'a [u8],
    /// Who asks.
    pub peer: SocketAddr,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Content type.
    pub kind: &'static str,
    /// Body.
    pub body: String,
}

impl Answer {
    /// JSON.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self { status, kind: "application/json", body: format!("{body}\n") }
    }

    /// Plain text in the Prometheus format.
    pub fn metrics(body: String) -> Self {
        Self { status: 200, kind: "text/plain; version=0.0.4", body }
    }

    /// JSON that says what is wrong.
    pub fn problem(status: u16, what: &str) -> Self {
        Self::json(status, &serde_json::json!({ "error": what }))
    }
}

/// Listens, reads requests, writes answers; never blocks.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    open: Vec<Connection>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    since: Nanos,
    request: Vec<u8>,
    answer: Vec<u8>,
    written: usize,
    /// How much of a refused request may still be thrown away.
    draining: Option<usize>,
}

impl Server {
    /// Listens. Port 0 takes a free one. Errors say what to do.
    pub fn listen(address: SocketAddr) -> Result<Self, String> {
        let listener = TcpListener::bind(address).map_err(|e| match e.kind() {
            ErrorKind::AddrInUse => {
                format!(
                    "health: {address} is in use by another program; set health.listen to a free port, or to port 0"
                )
            }
            _ => format!("health: cannot listen on {address}: {e}"),
        })?;
        let address = listener.local_addr().map_err(|e| format!("health: {e}"))?;
        Ok(Self { listener, address, open: Vec::with_capacity(CONNECTIONS_MAX) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The socket, to be watched where the thread sleeps when idle.
    pub fn listener(&mut self) -> &mut TcpListener {
        &mut self.listener
    }

    /// Accepts, reads and writes what can be without waiting. `answer` is given each request that is whole.
    /// Returns how many connections were answered and closed.
    pub fn serve(&mut self, now: Nanos, mut answer: impl FnMut(&Request<'_>) -> Answer) -> usize {
        // No more than there are places: whoever connects in a loop does not keep the tile here.
        for _ in 0..CONNECTIONS_MAX {
            let full = self.open.len() >= CONNECTIONS_MAX;
            let oldest = (0..self.open.len()).min_by_key(|&n| self.open[n].since).filter(|_| full);
            if oldest.is_some_and(|n| now.since(self.open[n].since) < GIVES_WAY_NS) {
                break;
            }
            let Ok((stream, peer)) = self.listener.accept() else { break };
            if let Some(n) = oldest {
                self.open.swap_remove(n);
            }
            self.open.push(Connection::new(stream, peer, now));
        }
        let (mut done, mut budget) = (0, ANSWERS_PER_TURN);
        self.open.retain_mut(|connection| match connection.turn(&mut budget, &mut answer) {
            Ok(Progress::Waiting) => now.since(connection.since) < DEADLINE_NS,
            Ok(Progress::Done) => {
                done += 1;
                false
            }
            Err(_) => false,
        });
        done
    }
}

enum Progress {
    Waiting,
    Done,
}

impl Connection {
    fn new(stream: TcpStream, peer: SocketAddr, since: Nanos) -> Self {
        Self { stream, peer, since, request: Vec::new(), answer: Vec::new(), written: 0, draining: None }
    }

    fn turn(&mut self, budget: &mut usize, answer: &mut impl FnMut(&Request<'_>) -> Answer) -> io::Result<Progress> {
        if let Some(left) = self.draining.filter(|_| self.written > 0 && self.written == self.answer.len()) {
            return self.drain(left);
        }
        if self.answer.is_empty() {
            let more = self.read()?;
            let whole = match read(&self.request, self.peer) {
                Reading::Partial if more => return Ok(Progress::Waiting),
                // The client has said all that it will ever say.
                Reading::Partial => return Err(ErrorKind::UnexpectedEof.into()),
                whole => whole,
            };
            if *budget == 0 {
                return Ok(Progress::Waiting);
            }
            *budget -= 1;
            self.answer = match whole {
                Reading::Whole(request, body) => encode(&answer(&request), body),
                Reading::Refused(refusal) => {
                    // What is unread would make the system cut the connection, and the answer with it.
                    self.draining = Some(DRAIN_MAX);
                    encode(&refusal, true)
                }
                Reading::Partial => return Ok(Progress::Waiting),
            };
        }
        while self.written < self.answer.len() {
            match self.stream.write(&self.answer[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => self.written += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(Progress::Waiting),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
        Ok(if self.draining.is_some() { Progress::Waiting } else { Progress::Done })
    }

    /// Reads what is there, up to the longest request. False once the client has closed its side.
    fn read(&mut self) -> io::Result<bool> {
        let mut block = [0; 2_048];
        while self.request.len() <= HEAD_MAX + BODY_MAX {
            match self.stream.read(&mut block) {
                Ok(0) => return Ok(false),
                Ok(n) => self.request.extend_from_slice(&block[..n]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }

    /// Throws away the rest of a refused request until the client closes, or it was enough.
    fn drain(&mut self, left: usize) -> io::Result<Progress> {
        let (mut block, mut left) = ([0; 4_096], left);
        while left > 0 {
            match self.stream.read(&mut block) {
                Ok(0) => return Ok(Progress::Done),
                Ok(n) => left = left.saturating_sub(n),
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.draining = Some(left);
                    return Ok(Progress::Waiting);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(Progress::Done)
    }
}

/// What some bytes are.
#[derive(Debug)]
enum Reading<'a> {
    /// Not all of it is there.
    Partial,
    /// A request; its answer gets a body or, for `HEAD`, does not.
    Whole(Request<'a>, bool),
    /// Nothing that could be answered, and why.
    Refused(Answer),
}

fn refused(status: u16, what: &str) -> Reading<'static> {
    Reading::Refused(Answer::problem(status, what))
}

fn read(bytes: &[u8], peer: SocketAddr) -> Reading<'_> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Request::new(&mut headers);
    let at = match head.parse(bytes) {
        Ok(httparse::Status::Partial) if bytes.len() <= HEAD_MAX => return Reading::Partial,
        Ok(httparse::Status::Complete(at)) if at <= HEAD_MAX => at,
        Ok(_) => return refused(431, "the request head is too long; at most 8 KiB"),
        Err(httparse::Error::TooManyHeaders) => return refused(431, "too many headers; at most 64"),
        Err(_) => return refused(400, "not an HTTP request"),
    };
    let (Some(method), Some(target)) = (head.method, head.path) else { return refused(400, "not an HTTP request") };
    let (mut authorization, mut request_id, mut length) = (None, None, None);
    for header in head.headers.iter() {
        let place = match header.name {
            name if name.eq_ignore_ascii_case("authorization") => &mut authorization,
            name if name.eq_ignore_ascii_case("x-request-id") => &mut request_id,
            name if name.eq_ignore_ascii_case("content-length") => &mut length,
            name if name.eq_ignore_ascii_case("transfer-encoding") => {
                return refused(411, "a body needs Content-Length; chunks are not read here");
            }
            _ => continue,
        };
        if place.replace(header.value).is_some() {
            return refused(400, "a header that must be there once is there twice");
        }
    }
    let length = length.map_or(Some(0), |l| std::str::from_utf8(l).ok()?.trim().parse::<usize>().ok());
    let Some(length) = length else { return refused(400, "Content-Length is not a number") };
    if length > BODY_MAX {
        return refused(413, "the body is too long; at most 4 KiB");
    }
    let Some(body) = bytes.get(at..at + length) else { return Reading::Partial };
    let path = target.split('?').next().unwrap_or("/");
    let wants_body = method != "HEAD";
    let method = if wants_body { method } else { "GET" };
    Reading::Whole(Request { method, path, authorization, request_id, body, peer }, wants_body)
}

fn encode(reply: &Answer, body: bool) -> Vec<u8> {
    let reason = match reply.status {
        200 => "OK",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Bad Request",
    };
    let challenge = if reply.status == 401 { "WWW-Authenticate: Bearer\r\n" } else { "" };
    let mut bytes = format!(
        "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\
         Cache-Control: no-store\r\n{challenge}\r\n",
        reply.status,
        reply.kind,
        reply.body.len()
    )
    .into_bytes();
    if body {
        bytes.extend_from_slice(reply.body.as_bytes());
    }
    bytes
}

/// For a path that is not there.
pub fn not_found(path: &str) -> Answer {
    let there = "/health/live, /health/ready, /metrics, /state, and for POST /admin/…";
    Answer::problem(404, &format!("nothing is at {}; there are {there}", path.escape_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

    /// Serves until that is enough, and fails if it never is.
    #[track_caller]
    fn serve_until(server: &mut Server, now: u64, mut enough: impl FnMut(&Server, usize) -> bool) {
        let begun = std::time::Instant::now();
        loop {
            let done = server.serve(Nanos(now), echo);
            if enough(server, done) {
                return;
            }
            assert!(begun.elapsed().as_secs() < 30, "waited in vain");
        }
    }

    fn echo(request: &Request<'_>) -> Answer {
        match (request.method, request.path) {
            ("GET", "/x") => Answer::metrics("body\n".into()),
            ("POST", "/x") => Answer::metrics(String::from_utf8_lossy(request.body).into_owned()),
            (_, path) => not_found(path),
        }
    }

    fn text(request: &[u8]) -> Option<String> {
        let bytes = match read(request, PEER) {
            Reading::Partial => return None,
            Reading::Whole(request, body) => encode(&echo(&request), body),
            Reading::Refused(answer) => encode(&answer, true),
        };
        Some(String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn requests_and_answers() {
        let long = [b"GET /x HTTP/1.1\r\nA: ".as_slice(), &[b'a'; HEAD_MAX]].concat();
        let many = [b"GET /x HTTP/1.1\r\n".as_slice(), &b"A: b\r\n".repeat(65), b"\r\n"].concat();
        let table: [(&[u8], &str); 15] = [
            (b"GET /x HTTP/1.1\r\n\r\n", "HTTP/1.1 200"),
            (b"GET /x?a=b HTTP/1.1\r\nHost: y\r\n\r\n", "HTTP/1.1 200"),
            (b"GET /y HTTP/1.1\r\n\r\n", "HTTP/1.1 404"),
            (b"POST /x HTTP/1.1\r\n\r\n", "HTTP/1.1 200"),
            (b"POST /x HTTP/1.1\r\ncontent-length: 2\r\n\r\nab", "HTTP/1.1 200"),
            (b"POST /x HTTP/1.1\r\nContent-Length: 4097\r\n\r\n", "HTTP/1.1 413"),
            (b"POST /x HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 400"),
            (b"POST /x HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", "HTTP/1.1 400"),
            (b"POST /x HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 400"),
            (b"POST /x HTTP/1.1\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n", "HTTP/1.1 400"),
            (b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 411"),
            (b"\x16\x03\x01\x02\x00", "HTTP/1.1 400"),
            (b"GET /\xff HTTP/1.1\r\n\r\n", "HTTP/1.1 4"),
            (&long, "HTTP/1.1 431"),
            (&many, "HTTP/1.1 431"),
        ];
        for (request, status) in table {
            let answer = text(request).unwrap();
            assert!(answer.starts_with(status), "{} gave {answer}", String::from_utf8_lossy(request));
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{answer}");
        }
        let whole = b"POST /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
        for cut in 0..whole.len() {
            assert_eq!(text(&whole[..cut]), None, "{cut}");
        }
        assert!(text(whole).unwrap().ends_with("\r\n\r\nabc"));
        assert!(text(b"HEAD /x HTTP/1.1\r\n\r\n").unwrap().ends_with("\r\n\r\n"));
    }

    #[test]
    fn serves_over_a_socket_and_cuts_the_slow() {
        let mut server = Server::listen(([127, 0, 0, 1], 0).into()).unwrap();
        let mut quick = std::net::TcpStream::connect(server.address()).unwrap();
        quick.write_all(b"GET /x HTTP/1.1\r\n\r\n").unwrap();
        let _slow = std::net::TcpStream::connect(server.address()).unwrap();
        let mut done = 0;
        while done == 0 || server.open.is_empty() {
            done += server.serve(Nanos(1), echo);
        }
        let mut answer = String::new();
        quick.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("body\n"), "{answer}");
        assert_eq!(server.open.len(), 1, "the slow one is waited for");
        server.serve(Nanos(1 + DEADLINE_NS), echo);
        assert!(server.open.is_empty());
    }

    #[test]
    fn the_slow_do_not_keep_others_out_and_a_turn_is_bounded() {
        let mut server = Server::listen(([127, 0, 0, 1], 0).into()).unwrap();
        let connect = || std::net::TcpStream::connect(server.address()).unwrap();
        let slow: Vec<_> = (0..CONNECTIONS_MAX).map(|_| connect()).collect();
        let mut quick: Vec<_> = (0..ANSWERS_PER_TURN + 1).map(|_| connect()).collect();
        for client in &mut quick {
            client.write_all(b"GET /x HTTP/1.1\r\n\r\n").unwrap();
        }
        serve_until(&mut server, 1, |server, _| server.open.len() == CONNECTIONS_MAX);
        assert_eq!(server.serve(Nanos(GIVES_WAY_NS), echo), 0, "each gets its time");
        let (mut done, mut turns) = (0, 0);
        serve_until(&mut server, 1 + GIVES_WAY_NS, |_, now| {
            assert!(now <= ANSWERS_PER_TURN, "{now} in one turn");
            (done, turns) = (done + now, turns + 1);
            done == quick.len()
        });
        assert!(turns > 1);
        drop(slow);
    }

    #[test]
    fn a_refusal_is_read_although_the_request_goes_on() {
        let mut server = Server::listen(([127, 0, 0, 1], 0).into()).unwrap();
        let mut client = std::net::TcpStream::connect(server.address()).unwrap();
        client.write_all(b"POST /x HTTP/1.1\r\nContent-Length: 100000\r\n\r\n").unwrap();
        serve_until(&mut server, 1, |server, _| server.open.first().is_some_and(|c| c.written > 0));
        // It was refused by its head alone; the client, which has not looked, goes on and must not be cut off.
        for _ in 0..100 {
            client.write_all(&[b'a'; 1_000]).unwrap();
            server.serve(Nanos(1), echo);
        }
        client.shutdown(std::net::Shutdown::Write).unwrap();
        serve_until(&mut server, 1, |server, _| server.open.is_empty());
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 413 "), "{}", String::from_utf8_lossy(&answer));
    }

    #[test]
    fn a_port_in_use_is_said_plainly() {
        let first = Server::listen(([127, 0, 0, 1], 0).into()).unwrap();
        let said = Server::listen(first.address()).unwrap_err();
        assert!(said.contains("in use") && said.contains("health.listen"), "{said}");
    }
}
