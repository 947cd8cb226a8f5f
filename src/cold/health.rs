//! A small HTTP/1.1 server inside the cold tile: who asks gets one answer and the connection is closed.

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
/// A connection that takes longer is closed.
const DEADLINE_NS: u64 = 5_000_000_000;

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

    fn problem(status: u16, what: &str) -> Self {
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
    since: Nanos,
    request: Vec<u8>,
    answer: Vec<u8>,
    written: usize,
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
        Ok(Self { listener, address, open: Vec::new() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The socket, to be watched where the thread sleeps when idle.
    pub fn listener(&mut self) -> &mut TcpListener {
        &mut self.listener
    }

    /// Accepts, reads and writes what can be without waiting. `answer` is given the path of each `GET`.
    /// Returns how many answers were completed.
    pub fn serve(&mut self, now: Nanos, mut answer: impl FnMut(&str) -> Answer) -> usize {
        while self.open.len() < CONNECTIONS_MAX
            && let Ok((stream, _)) = self.listener.accept()
        {
            let fresh = Connection { stream, since: now, request: Vec::new(), answer: Vec::new(), written: 0 };
            self.open.push(fresh);
        }
        let mut done = 0;
        self.open.retain_mut(|connection| match connection.turn(&mut answer) {
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
    fn turn(&mut self, answer: &mut impl FnMut(&str) -> Answer) -> io::Result<Progress> {
        if self.answer.is_empty() {
            let mut block = [0; 2_048];
            loop {
                match self.stream.read(&mut block) {
                    Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                    Ok(n) => self.request.extend_from_slice(&block[..n]),
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                    Err(e) if e.kind() == ErrorKind::Interrupted => {}
                    Err(e) => return Err(e),
                }
                if self.request.len() > HEAD_MAX {
                    break;
                }
            }
            let Some(reply) = respond(&self.request, answer) else { return Ok(Progress::Waiting) };
            self.answer = reply;
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
        Ok(Progress::Done)
    }
}

/// The answer's bytes; `None` while the request is not whole.
fn respond(request: &[u8], answer: &mut impl FnMut(&str) -> Answer) -> Option<Vec<u8>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Request::new(&mut headers);
    let (reply, body) = match head.parse(request) {
        Ok(httparse::Status::Partial) if request.len() <= HEAD_MAX => return None,
        Ok(httparse::Status::Partial) => (Answer::problem(431, "the request head is too long"), true),
        Err(_) => (Answer::problem(400, "not an HTTP request"), true),
        Ok(httparse::Status::Complete(_)) => {
            let path = head.path.unwrap_or("/").split('?').next().unwrap_or("/");
            match head.method {
                Some("GET") => (answer(path), true),
                Some("HEAD") => (answer(path), false),
                _ => (Answer::problem(405, "only GET and HEAD are answered here"), true),
            }
        }
    };
    let reason = match reply.status {
        200 => "OK",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Bad Request",
    };
    let mut bytes = format!(
        "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\
         Cache-Control: no-store\r\n\r\n",
        reply.status,
        reply.kind,
        reply.body.len()
    )
    .into_bytes();
    if body {
        bytes.extend_from_slice(reply.body.as_bytes());
    }
    Some(bytes)
}

/// For a path that is not there.
pub fn not_found(path: &str) -> Answer {
    let there = "/health/live, /health/ready, /metrics, /state";
    Answer::problem(404, &format!("nothing is at {}; there are {there}", path.escape_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo(path: &str) -> Answer {
        if path == "/x" { Answer::metrics("body\n".into()) } else { not_found(path) }
    }

    fn text(request: &[u8]) -> Option<String> {
        respond(request, &mut echo).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn requests_and_answers() {
        let long = [b"GET /x HTTP/1.1\r\nA: ".as_slice(), &[b'a'; HEAD_MAX]].concat();
        let table: [(&[u8], &str); 7] = [
            (b"GET /x HTTP/1.1\r\n\r\n", "HTTP/1.1 200"),
            (b"GET /x?a=b HTTP/1.1\r\nHost: y\r\n\r\n", "HTTP/1.1 200"),
            (b"GET /y HTTP/1.1\r\n\r\n", "HTTP/1.1 404"),
            (b"POST /x HTTP/1.1\r\n\r\n", "HTTP/1.1 405"),
            (b"\x16\x03\x01\x02\x00", "HTTP/1.1 400"),
            (b"GET /\xff HTTP/1.1\r\n\r\n", "HTTP/1.1 4"),
            (&long, "HTTP/1.1 431"),
        ];
        for (request, status) in table {
            let answer = text(request).unwrap();
            assert!(answer.starts_with(status), "{} gave {answer}", String::from_utf8_lossy(request));
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{answer}");
        }
        for cut in 0..b"GET /x HTTP/1.1\r\n\r".len() {
            assert_eq!(text(&b"GET /x HTTP/1.1\r\n\r\n"[..cut]), None, "{cut}");
        }
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
    fn a_port_in_use_is_said_plainly() {
        let first = Server::listen(([127, 0, 0, 1], 0).into()).unwrap();
        let said = Server::listen(first.address()).unwrap_err();
        assert!(said.contains("in use") && said.contains("health.listen"), "{said}");
    }
}
