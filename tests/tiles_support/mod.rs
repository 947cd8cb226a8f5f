//! Small scripted servers on loopback, for the tests of the tiles.
#![allow(dead_code, reason = "each test file uses its part")]

#[path = "../market_support/mod.rs"]
pub mod market_support;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use polyloly_fast::types::{Address, Universe};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// The condition of the one market that the feeds' tests hear of.
pub const CONDITION: &str = "0x1111111111111111111111111111111111111111111111111111111111111111";

/// That market, with tokens 111 and 222.
pub fn universe() -> Arc<Universe> {
    let market = market_support::named(CONDITION, ["111", "222"]);
    Arc::new(market_support::universe(Address([1; 20]), vec![market]))
}

/// A connection as the server sees it.
pub trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A generated certificate for `localhost`, good for both ends.
pub struct Identity {
    pub pem: String,
    config: Arc<ServerConfig>,
}

impl Identity {
    pub fn new() -> Self {
        let cert = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(cert.signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![cert.cert.der().clone()], key)
            .expect("a server configuration");
        Self { pem: cert.cert.pem(), config: Arc::new(config) }
    }

    pub fn accept(&self, socket: TcpStream) -> StreamOwned<ServerConnection, TcpStream> {
        StreamOwned::new(ServerConnection::new(Arc::clone(&self.config)).expect("a server"), socket)
    }
}

/// Listens on loopback and gives each connection, in order of arrival and counted from 0, to `serve` on a thread of its
/// own.
pub fn listen(serve: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let addr = listener.local_addr().expect("bound");
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for (n, socket) in listener.incoming().enumerate() {
            let (Ok(socket), serve) = (socket, Arc::clone(&serve)) else { return };
            socket.set_nodelay(true).expect("an option");
            std::thread::spawn(move || serve(n, socket));
        }
    });
    addr
}

/// Calls `step` until it gives something. Fails after a time that no healthy machine needs.
pub fn until<T>(what: &str, mut step: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = step() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "waited in vain for {what}");
        std::thread::yield_now();
    }
}

/// One HTTP request as a server reads it: head and body. `None` when the client is gone.
pub fn read_request(stream: &mut dyn Stream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).expect("ASCII head");
    let length = head
        .lines()
        .find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length:").and_then(|v| v.trim().parse().ok()))
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8(body).expect("UTF-8 body")))
}

/// A whole answer with a JSON body.
pub fn answer(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// WebSockets, as far as a scripted server needs them.
pub mod ws {
    use std::{
        io::{Read, Write},
        net::TcpStream,
    };

    use tungstenite::handshake::derive_accept_key;

    /// A server's frame.
    pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![0x80 | opcode];
        match payload.len() {
            n @ 0..126 => out.push(n as u8),
            n => {
                out.push(126);
                out.extend_from_slice(&(n as u16).to_be_bytes());
            }
        }
        out.extend_from_slice(payload);
        out
    }

    /// Agrees to the upgrade.
    pub fn shake_hands(socket: &mut TcpStream) -> Option<()> {
        shake_hands_and(socket, b"")
    }

    /// Agrees to the upgrade, and says more in the same breath.
    pub fn shake_hands_and(socket: &mut TcpStream, more: &[u8]) -> Option<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).ok()?;
        let key = head.lines().find_map(|l| l.strip_prefix("Sec-WebSocket-Key: "))?;
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            derive_accept_key(key.as_bytes())
        );
        socket.write_all(&[answer.as_bytes(), more].concat()).ok()
    }

    /// The next text that the client says; `None` when it is gone.
    pub fn read_text(socket: &mut TcpStream) -> Option<String> {
        let mut head = [0; 2];
        socket.read_exact(&mut head).ok()?;
        let length = match head[1] & 0x7f {
            126 => {
                let mut long = [0; 2];
                socket.read_exact(&mut long).ok()?;
                usize::from(u16::from_be_bytes(long))
            }
            n => usize::from(n),
        };
        let mut mask = [0; 4];
        socket.read_exact(&mut mask).ok()?;
        let mut payload = vec![0; length];
        socket.read_exact(&mut payload).ok()?;
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(b, m)| *b ^= m);
        String::from_utf8(payload).ok()
    }
}
