//! The venue's one thread: a socket poll that sleeps until the next byte or the next thing that is due.
//!
//! REST and the WebSocket paths share one port. All clocks are here: wall time is the system's at start plus a
//! monotonic one since.

use std::{
    collections::HashMap,
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use mio::{Events, Interest, Poll, Token, Waker, net::TcpListener};
use rustls::ServerConfig;
use serde::Serialize;
use tungstenite::Utf8Bytes;

use super::{
    auth::Headers,
    conn::{Conn, Got, OUT_MAX},
    host::Host,
    http::{self, Request, Response},
    limits::Buckets,
    misbehave::{self, Armed, Conduct, FaultHandle, Later, Schedule},
    rest,
    stream::{self, Channel, Reply},
    tls,
    verdict::Say,
    verify::checksummed,
    wallets::Listed,
};
use crate::{
    scenario::Scenario,
    types::{Nanos, OrderHash},
};

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);
/// A WebSocket without subscription is cut after this. Source: docs/PROTOCOL.md "market channel".
const UNSUBSCRIBED_NS: u64 = 120_000_000_000;

/// When the scenario's clock starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// With the venue.
    AtOnce,
    /// At [`VenueHandle::begin`].
    OnSignal,
}

/// What a venue is made of.
pub struct VenueOptions {
    /// Loopback address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// TLS with a generated authority, or plain.
    pub tls: bool,
    /// How many times as fast as wall time the scenario unfolds.
    pub speed: f64,
    /// What unfolds.
    pub scenario: Box<dyn Scenario>,
    /// For settlement times and ids.
    pub seed: u64,
    /// 137, or 80002.
    pub chain_id: u64,
    /// Funded accounts that no trader uses.
    pub accounts: Vec<Listed>,
    /// Runs first on the venue's thread: where a caller pins it.
    pub on_thread: Option<Box<dyn FnOnce() + Send>>,
    /// When the scenario begins.
    pub begin: Begin,
}

/// Why a venue could not start.
#[derive(Debug)]
pub enum VenueError {
    /// The address cannot be had.
    Listen(SocketAddr, io::Error),
    /// No certificate.
    Tls(String),
    /// No poll or no thread.
    System(io::Error),
    /// A fault that cannot be: its key and what is wrong.
    Fault(&'static str, String),
}

impl fmt::Display for VenueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(at, e) if e.kind() == io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "{at} is in use: stop what listens there, or choose another address (port 0 takes a free one)"
                )
            }
            Self::Listen(at, e) => write!(f, "cannot listen on {at}: {e}"),
            Self::Tls(text) => f.write_str(text),
            Self::System(e) => write!(f, "cannot start the venue: {e}"),
            Self::Fault(key, wrong) => write!(f, "fault: key `{key}` {wrong}"),
        }
    }
}

impl std::error::Error for VenueError {}

/// One account of the ready line.
#[derive(Clone, Debug, Serialize)]
pub struct ReadyAccount {
    /// Hex, where it is a well-known development key.
    pub private_key: Option<String>,
    /// Address of the key.
    pub address: String,
    /// Address that holds the funds.
    pub funder: String,
    /// 0 to 3.
    pub signature_type: u8,
    /// First deposit.
    pub usdc: String,
}

/// One token of the ready line.
#[derive(Clone, Debug, Serialize)]
pub struct ReadyToken {
    /// Decimal.
    pub token_id: String,
    /// Outcome's name.
    pub outcome: String,
}

/// One market of the ready line.
#[derive(Clone, Debug, Serialize)]
pub struct ReadyMarket {
    /// Hex.
    pub condition_id: String,
    /// For people.
    pub slug: String,
    /// In the venue's order.
    pub tokens: Vec<ReadyToken>,
    /// Grid at start.
    pub tick_size: String,
    /// Trades on the negative-risk exchange.
    pub neg_risk: bool,
}

/// What the venue says when it can be used: one JSON line.
#[derive(Clone, Debug, Serialize)]
pub struct Ready {
    /// Base address of REST.
    pub rest: String,
    /// Market channel.
    pub ws_market: String,
    /// User channel.
    pub ws_user: String,
    /// Sports channel.
    pub ws_sports: String,
    /// Base address of the Data API (`/positions`, `/v2/positions`).
    pub data: String,
    /// Whether orders may come from here.
    pub geoblock: String,
    /// Where faults are injected; `null` where they are not.
    pub control: Option<String>,
    /// PEM of the authority; empty without TLS.
    pub ca: String,
    /// Accounts with money.
    pub accounts: Vec<ReadyAccount>,
    /// Markets.
    pub markets: Vec<ReadyMarket>,
}

/// Counters of a running venue.
#[derive(Debug, Default)]
pub struct VenueStats {
    /// Connections accepted.
    pub connections: AtomicU64,
    /// REST requests answered.
    pub requests: AtomicU64,
    /// Of these, refused (status 400 and above).
    pub refused: AtomicU64,
    /// Frames queued to sockets.
    pub frames: AtomicU64,
    /// Connections cut because their reader was too slow.
    pub slow_cut: AtomicU64,
    /// Connections cut because of malformed bytes.
    pub malformed: AtomicU64,
    /// Scenario orders that a rule refused.
    pub trader_refusals: AtomicU64,
    /// True once the scenario has nothing more to say.
    pub finished: AtomicBool,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    begin: AtomicBool,
    stats: VenueStats,
}

/// A running venue. Dropping it stops it.
pub struct VenueHandle {
    faults: FaultHandle,
    /// Where it is and who has money.
    pub ready: Ready,
    /// The port that it listens on.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl VenueHandle {
    /// The scenario's clock starts.
    pub fn begin(&self) {
        self.shared.begin.store(true, Ordering::Release);
        let _ = self.waker.wake();
    }

    /// Asks it to stop.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        let _ = self.waker.wake();
    }

    /// Stops it and waits. Errors: the thread failed.
    pub fn join(mut self) -> io::Result<()> {
        self.finish()
    }

    /// Injects faults.
    pub fn faults(&self) -> FaultHandle {
        self.faults.clone()
    }

    /// Its counters.
    pub fn stats(&self) -> &VenueStats {
        &self.shared.stats
    }

    fn finish(&mut self) -> io::Result<()> {
        self.stop();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("the venue's thread panicked")),
            None => Ok(()),
        }
    }
}

impl Drop for VenueHandle {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

/// The embedded venue.
pub struct Venue {
    host: Host,
    poll: Poll,
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    conns: HashMap<Token, Conn>,
    next_token: usize,
    start: (Nanos, Instant),
    shared: Arc<Shared>,
    later: Schedule,
    sockets: [u32; 3],
    control: bool,
}

impl Venue {
    /// Binds, makes certificates, and starts the thread. It behaves.
    pub fn start(options: VenueOptions) -> Result<VenueHandle, VenueError> {
        Self::start_with(options, Conduct::default())
    }

    /// As [`Self::start`], with limits, faults and perhaps the control endpoint.
    pub fn start_with(options: VenueOptions, conduct: Conduct) -> Result<VenueHandle, VenueError> {
        let VenueOptions { listen, tls, speed, scenario, seed, chain_id, accounts, on_thread, begin } = options;
        let mut listener = TcpListener::bind(listen).map_err(|e| VenueError::Listen(listen, e))?;
        let address = listener.local_addr().map_err(|e| VenueError::Listen(listen, e))?;
        let (tls, ca) = match tls {
            true => tls::generate(address.ip()).map(|(c, pem)| (Some(c), pem)).map_err(VenueError::Tls)?,
            false => (None, String::new()),
        };
        let poll = Poll::new().map_err(VenueError::System)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).map_err(VenueError::System)?);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).map_err(VenueError::System)?;
        let mut host = Host::new(scenario, &accounts, chain_id, seed, speed);
        let Conduct { control, plan } = conduct;
        let armed = Armed::new(plan.seed.unwrap_or(seed), plan.faults);
        let armed = Arc::new(armed.map_err(|(key, wrong)| VenueError::Fault(key, wrong))?);
        host.armed = armed.clone();
        host.buckets = Buckets::new(plan.limits);
        let faults = FaultHandle { armed, waker: waker.clone() };
        let ready = ready(&host, &accounts, address, ca, tls.is_some(), control);
        let shared = Arc::new(Shared::default());
        shared.begin.store(begin == Begin::AtOnce, Ordering::Release);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        host.schedule(Nanos(wall.as_nanos() as u64));
        let mut venue = Self {
            host,
            poll,
            listener,
            tls,
            conns: HashMap::new(),
            next_token: 2,
            start: (Nanos(wall.as_nanos() as u64), Instant::now()),
            shared: shared.clone(),
            later: Schedule::default(),
            sockets: [0; 3],
            control,
        };
        let run = move || {
            if let Some(first) = on_thread {
                first();
            }
            venue.run()
        };
        let thread = std::thread::Builder::new().name("venue".into()).spawn(run).map_err(VenueError::System)?;
        Ok(VenueHandle { faults, ready, address, shared, waker, thread: Some(thread) })
    }

    fn now(&self) -> Nanos {
        self.start.0.plus(self.start.1.elapsed().as_nanos() as u64)
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        while !self.shared.stop.load(Ordering::Acquire) {
            let now = self.now();
            let until = |due: Nanos| Duration::from_nanos(due.since(now));
            let sleep = self.next_due().map(until);
            self.poll.poll(&mut events, sleep).or_else(interrupted)?;
            let now = self.now();
            if self.shared.begin.load(Ordering::Acquire) {
                self.host.begin(now);
            }
            self.host.advance(now);
            self.misbehave(now);
            self.tell(now);
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(now)?,
                    WAKER => {}
                    token => self.serve(token, now),
                }
            }
            self.sweep(now);
            let stats = &self.shared.stats;
            stats.trader_refusals.store(self.host.trader_refusals, Ordering::Relaxed);
            stats.finished.store(self.host.is_finished(), Ordering::Release);
        }
        Ok(())
    }

    /// When there is something to do even if no byte comes.
    fn next_due(&mut self) -> Option<Nanos> {
        let lonely = |c: &mut Conn| {
            let born = c.born;
            c.channel().filter(|ch| !ch.is_subscribed()).map(|_| born.plus(UNSUBSCRIBED_NS))
        };
        let cut = self.conns.values_mut().filter_map(lonely).min();
        let armed = self.host.armed.any().then(|| self.host.armed.lock().next_due(self.now())).flatten();
        [self.host.next_due(), cut, armed, self.later.next()].into_iter().flatten().min()
    }

    /// What is due of the misbehaviour: acts, cuts, late answers, swallowed requests, frames.
    fn misbehave(&mut self, now: Nanos) {
        for fault in misbehave::follow(&mut self.host, now) {
            misbehave::cut(&self.host, &fault, self.conns.values_mut());
        }
        while let Some(due) = self.later.pop(now) {
            match due {
                Later::Request(r) => {
                    rest::respond(&mut self.host, &r, now);
                }
                Later::Answer(token, answer, keep_alive, end) => {
                    if let Some(conn) = self.conns.get_mut(&token) {
                        misbehave::say(conn, &answer, keep_alive, end);
                        conn.held = false;
                    }
                    // What came while the answer was due is looked at now.
                    self.serve(token, now);
                }
                Later::Frame(token, text, pieces) => {
                    if let Some(conn) = self.conns.get_mut(&token) {
                        conn.send_pieces(text, pieces);
                        self.shared.stats.frames.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Later::Release(token, id) => {
                    if let Some(conn) = self.conns.get_mut(&token) {
                        misbehave::release(conn, id);
                    }
                }
            }
        }
    }

    fn accept(&mut self, now: Nanos) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // The peer gave up, or descriptors ran out: those that are here go on.
                Err(_) => return Ok(()),
            };
            let _ = stream.set_nodelay(true);
            let token = Token(self.next_token);
            self.next_token += 1;
            self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            self.shared.stats.connections.fetch_add(1, Ordering::Relaxed);
            if let Ok(conn) = Conn::new(stream, self.tls.clone(), now) {
                self.conns.insert(token, conn);
            }
        }
    }

    /// Reads, answers, and tells everybody what that changed.
    fn serve(&mut self, token: Token, now: Nanos) {
        let Some(mut conn) = self.conns.remove(&token) else { return };
        let mut alive = true;
        loop {
            let got = conn.receive();
            self.answer(&mut conn, token, now);
            match got {
                // Whoever sends on and on while an answer is due is not listened to for ever.
                Ok(Got::More) if conn.held => {
                    alive = false;
                    break;
                }
                Ok(Got::More) if !conn.closing => {}
                Ok(Got::Drained | Got::More) => break,
                Ok(Got::Closed) | Err(_) => {
                    alive = false;
                    break;
                }
            }
        }
        // What was answered before the peer went away is still written.
        let written = conn.flush().is_ok();
        if alive && written && !conn.is_over() {
            self.conns.insert(token, conn);
        }
        self.tell(now);
    }

    fn answer(&mut self, conn: &mut Conn, token: Token, now: Nanos) {
        while conn.channel().is_none() && !conn.closing && !conn.held {
            match http::parse(&conn.input) {
                Ok(None) => return,
                Ok(Some((request, used))) => {
                    conn.input.drain(..used);
                    self.answer_one(conn, token, &request, now);
                }
                Err(http::Malformed(text)) => {
                    self.shared.stats.malformed.fetch_add(1, Ordering::Relaxed);
                    conn.input.clear();
                    conn.queue(|out| Response::error(400, text).write(false, out));
                    conn.closing = true;
                }
            }
        }
        while let Some(text) = conn.next_text() {
            let Some(channel) = conn.channel() else { return };
            match channel.on_text(&text, &self.host) {
                Reply::Send(all) => {
                    for text in all {
                        // An answer to a PING is no data.
                        if text.len() > 4 {
                            misbehave::deliver(&self.host, &mut self.later, conn, token, text.into(), true, now);
                        } else {
                            conn.send_text(text.into());
                        }
                    }
                }
                Reply::Close => conn.send_close(),
            }
        }
    }

    fn answer_one(&mut self, conn: &mut Conn, token: Token, request: &Request, now: Nanos) {
        let upgrade = request.header("upgrade").is_some_and(|u| u.eq_ignore_ascii_case("websocket"));
        let channel = Channel::of_path(&request.path).filter(|_| upgrade);
        let stats = &self.shared.stats;
        if let Some(verdict) = misbehave::judge(&self.host, request, now)
            // Of an upgrade only the refusal can be something else.
            && (channel.is_none() || matches!(verdict.say, Say::Instead(_)))
        {
            let (host, later) = (&mut self.host, &mut self.later);
            let status = misbehave::carry_out(host, later, conn, token, request, verdict, now);
            stats.requests.fetch_add(1, Ordering::Relaxed);
            stats.refused.fetch_add(u64::from(status.is_some_and(|s| s >= 400)), Ordering::Relaxed);
            return;
        }
        if self.control
            && conn.stream.peer_addr().is_ok_and(|p| p.ip().is_loopback())
            && let Some(response) = misbehave::control(&self.host, request)
        {
            conn.queue(|out| response.write(request.keep_alive, out));
            conn.closing |= !request.keep_alive;
            // In force before the answer can have been read.
            self.misbehave(now);
            return;
        }
        if let Some(channel) = channel {
            match request.header("sec-websocket-key") {
                Some(key) => {
                    let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
                    let head = format!(
                        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Accept: {accept}\r\n\r\n"
                    );
                    conn.queue(|out| out.extend_from_slice(head.as_bytes()));
                    let count = &mut self.sockets[match channel {
                        Channel::Market { .. } => 0,
                        Channel::User { .. } => 1,
                        Channel::Sports => 2,
                    }];
                    *count += 1;
                    conn.number = *count;
                    conn.upgrade(channel);
                }
                None => {
                    conn.queue(|out| Response::error(400, "missing Sec-WebSocket-Key").write(false, out));
                    conn.closing = true;
                }
            }
            return;
        }
        let response = rest::respond(&mut self.host, request, now);
        let stats = &self.shared.stats;
        stats.requests.fetch_add(1, Ordering::Relaxed);
        stats.refused.fetch_add(u64::from(response.status >= 400), Ordering::Relaxed);
        conn.queue(|out| response.write(request.keep_alive, out));
        conn.closing |= !request.keep_alive;
    }

    /// Sends the news to those who listen.
    fn tell(&mut self, now: Nanos) {
        for out in self.host.take_out(now) {
            for frame in stream::frames(&self.host, &out, now) {
                let text = Utf8Bytes::from(frame.text);
                for (token, conn) in &mut self.conns {
                    if conn.channel().is_some_and(|c| c.hears(&frame.to)) {
                        let (host, later) = (&self.host, &mut self.later);
                        let n = misbehave::deliver(host, later, conn, *token, text.clone(), false, now);
                        self.shared.stats.frames.fetch_add(n, Ordering::Relaxed);
                    }
                }
            }
        }
    }

    /// Writes what waits, and drops what is over, broken, too slow or has nothing to listen to.
    fn sweep(&mut self, now: Nanos) {
        let stats = &self.shared.stats;
        self.conns.retain(|_, conn| {
            if conn.waiting() > 0 && conn.flush().is_err() {
                return false;
            }
            if conn.waiting() > OUT_MAX {
                stats.slow_cut.fetch_add(1, Ordering::Relaxed);
                return false;
            }
            let born = conn.born;
            let lonely = conn.channel().is_some_and(|c| !c.is_subscribed()) && now.since(born) >= UNSUBSCRIBED_NS;
            !conn.is_over() && !lonely
        });
    }
}

fn interrupted(e: io::Error) -> io::Result<()> {
    if e.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(e) }
}

fn ready(host: &Host, accounts: &[Listed], at: SocketAddr, ca: String, tls: bool, control: bool) -> Ready {
    let (http, ws) = if tls { ("https", "wss") } else { ("http", "ws") };
    let account = |l: &Listed| ReadyAccount {
        private_key: l.private_key.map(|k| OrderHash(k).to_string()),
        address: checksummed(l.owner),
        funder: checksummed(l.funder),
        signature_type: l.signature_type as u8,
        usdc: l.usdc.to_string(),
    };
    let markets = host.exchange.markets().iter().map(|m| ReadyMarket {
        condition_id: m.spec.condition.to_string(),
        slug: m.spec.slug.clone(),
        tokens: m
            .spec
            .tokens
            .iter()
            .zip(&m.spec.outcomes)
            .map(|(t, o)| ReadyToken { token_id: t.to_string(), outcome: o.clone() })
            .collect(),
        tick_size: m.tick.to_string(),
        neg_risk: super::views::neg_risk(m.spec.exchange),
    });
    Ready {
        rest: format!("{http}://{at}"),
        ws_market: format!("{ws}://{at}/ws/market"),
        ws_user: format!("{ws}://{at}/ws/user"),
        ws_sports: format!("{ws}://{at}/ws/sports"),
        data: format!("{http}://{at}"),
        geoblock: format!("{http}://{at}/api/geoblock"),
        control: control.then(|| format!("{http}://{at}/control/faults")),
        ca,
        accounts: accounts.iter().map(account).collect(),
        markets: markets.collect(),
    }
}
