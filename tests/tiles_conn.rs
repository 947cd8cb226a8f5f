//! Connections against small servers: what arrives, what left, and how it ended.
#![cfg(feature = "embedded")]

mod tiles_support;

use std::{
    io::{Read, Write},
    net::SocketAddr,
    sync::Arc,
};

use polyloly_fast::{
    stage::{
        buffer::Buffer,
        conn::{Close, Conn, Left, State},
        endpoint::{Endpoint, Trust, tls_config},
    },
    sys::tsc::Clock,
};
use tiles_support::{Identity, listen, until};

fn endpoint(addr: SocketAddr, scheme: &str, pem: Option<&str>) -> Endpoint {
    let tls = tls_config(pem.map_or(Trust::Public, |pem| Trust::Pem(pem.as_bytes()))).expect("trust");
    let mut endpoint = Endpoint::resolve(&format!("{scheme}://localhost:{}", addr.port()), &tls).expect("an endpoint");
    endpoint.addrs.retain(SocketAddr::is_ipv4);
    endpoint
}

fn open(endpoint: &Endpoint, clock: &Clock) -> Conn {
    Conn::open(endpoint, 0, clock.now(), None).expect("a socket")
}

/// Advances until it is ready or over.
fn settle(conn: &mut Conn, clock: &Clock) -> State {
    until("an open connection", || match conn.advance(clock.now()) {
        State::Connecting | State::Handshaking => None,
        state => Some(state),
    })
}

/// Reads until `n` bytes are there or it is over.
fn read(conn: &mut Conn, buffer: &mut Buffer, clock: &Clock, n: usize) -> Result<(), Close> {
    until("bytes", || match conn.read(buffer, clock) {
        Err(close) => Some(Err(close)),
        Ok(_) if buffer.len() >= n => Some(Ok(())),
        Ok(_) => None,
    })
}

/// A server that echoes `n` bytes and then ends as told.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Clean,
    Cut,
}

fn echo(identity: Option<Arc<Identity>>, n: usize, end: End) -> SocketAddr {
    listen(move |_, socket| {
        let mut bytes = vec![0; n];
        match &identity {
            None => {
                let mut socket = socket;
                socket.read_exact(&mut bytes).expect("request");
                socket.write_all(&bytes).expect("echo");
            }
            Some(identity) => {
                let mut stream = identity.accept(socket);
                if stream.read_exact(&mut bytes).is_err() {
                    return;
                }
                stream.write_all(&bytes).expect("echo");
                if end == End::Clean {
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                }
            }
        }
    })
}

#[test]
fn plain_and_tls_carry_bytes_both_ways_and_tell_a_goodbye_from_a_cut() {
    let clock = Clock::new();
    let identity = Arc::new(Identity::new());
    // More than the kernel's buffers and many TLS records, so that sending needs several turns.
    let size = 3 << 20;
    let payload: Vec<u8> = (0..size).map(|i| (i * 7 % 251) as u8).collect();
    let table = [
        ("http", None, End::Clean, Close::Clean),
        ("https", Some(Arc::clone(&identity)), End::Clean, Close::Clean),
        ("https", Some(identity.clone()), End::Cut, Close::Truncated),
    ];
    for (scheme, server, end, close) in table {
        let addr = echo(server.clone(), size, end);
        let mut conn = open(&endpoint(addr, scheme, Some(&identity.pem)), &clock);
        assert_eq!(settle(&mut conn, &clock), State::Ready, "{scheme}");
        let mut left = conn.send(&payload).expect("open");
        let mut buffer = Buffer::new(64 << 10, 4 << 20);
        while left != Left::All {
            left = conn.flush().expect("open");
            conn.read(&mut buffer, &clock).expect("open");
        }
        read(&mut conn, &mut buffer, &clock, size).expect("the echo");
        assert!(buffer.filled() == payload, "{scheme}");
        assert_eq!(read(&mut conn, &mut buffer, &clock, size + 1), Err(close), "{scheme}");
        assert_eq!(conn.state(), State::Closed(close));
        assert_eq!(conn.send(b"late"), Err(close));
        assert_eq!(conn.left(), Left::Nothing, "nothing of what came too late has left");
    }
}

#[test]
fn what_a_peer_does_not_read_has_left_in_part() {
    let clock = Clock::new();
    let addr = listen(|_, socket| {
        std::thread::park();
        drop(socket);
    });
    let mut conn = open(&endpoint(addr, "http", None), &clock);
    settle(&mut conn, &clock);
    assert_eq!(conn.send(&vec![0; 64 << 20]), Ok(Left::Part));
    conn.close();
    assert_eq!((conn.left(), conn.state()), (Left::Part, State::Closed(Close::Ours)));
}

#[test]
fn a_stamp_is_taken_when_bytes_came() {
    let clock = Clock::new();
    let addr = echo(None, 4, End::Clean);
    let mut conn = open(&endpoint(addr, "http", None), &clock);
    settle(&mut conn, &clock);
    let before = clock.now();
    assert_eq!(conn.send(b"ping"), Ok(Left::All));
    let mut buffer = Buffer::new(64, 64);
    let stamp = until("the echo", || conn.read(&mut buffer, &clock).expect("open"));
    assert!(stamp.cycles > before.cycles && stamp.cycles <= clock.cycles());
}

#[test]
fn nobody_listening_is_refused() {
    let clock = Clock::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound");
    let mut conn = open(&endpoint(free, "http", None), &clock);
    assert_eq!(settle(&mut conn, &clock), State::Closed(Close::Refused));
}

#[test]
fn a_certificate_of_an_unknown_authority_is_not_believed() {
    let clock = Clock::new();
    let addr = echo(Some(Arc::new(Identity::new())), 4, End::Clean);
    for pem in [None, Some(Identity::new().pem)] {
        let mut conn = open(&endpoint(addr, "https", pem.as_deref()), &clock);
        assert_eq!(settle(&mut conn, &clock), State::Closed(Close::Tls));
        assert_eq!(conn.send(b"secret"), Err(Close::Tls));
    }
}

#[test]
fn a_server_that_never_shakes_hands_is_given_up() {
    let clock = Clock::new();
    let addr = listen(|_, socket| {
        // Holds the socket open until the client goes.
        let _ = { socket }.read(&mut [0; 1 << 16]).map(|_| std::thread::park());
    });
    let mut conn = open(&endpoint(addr, "https", None), &clock);
    until("the handshake to begin", || (conn.advance(clock.now()) == State::Handshaking).then_some(()));
    let mut later = clock.now();
    later.wall = later.wall.plus(10_000_000_000);
    assert_eq!(conn.advance(later), State::Closed(Close::TimedOut));
}
