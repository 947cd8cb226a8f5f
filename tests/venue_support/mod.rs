//! A venue with a small scripted market, and a client of the tests' own: plain blocking sockets, every byte in view.
#![allow(dead_code)]

#[path = "../market_support/mod.rs"]
mod market_support;

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use k256::ecdsa::SigningKey;
use polyloly_fast::{
    scenario::{Books, Command, Filled, OrderTag, Scenario, Setup, SimTime, Size, Trader},
    types::{
        ConditionId, InstrumentIx, MarketSpec, Price, Qty, Side, TimeInForce, TokenId, Usdc,
        market::{Exchange, Rewards, SignatureType},
    },
    venue::{
        Begin, Conduct, Venue, VenueHandle, VenueOptions,
        auth::hmac_of,
        verify::{SignedFields, Word, checksummed, exchange_domain, keccak, typed, uint, word},
        wallets::{self, Listed},
    },
};
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

/// How long a wait for something that must come may last.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long we listen for something that must not come.
pub const SILENCE: Duration = Duration::from_millis(250);

/// One market, and a trader who does what the test has scripted.
pub struct Script {
    /// What is still to be done, the last first.
    script: Vec<(SimTime, Command)>,
    /// What the market pays makers.
    rewards: Option<Rewards>,
}

impl Script {
    /// In the order of time.
    pub fn new(mut script: Vec<(SimTime, Command)>) -> Box<Self> {
        script.reverse();
        Box::new(Self { script, rewards: None })
    }

    /// The same in a market that pays makers.
    pub fn paying(rewards: Rewards) -> Box<Self> {
        Box::new(Self { script: Vec::new(), rewards: Some(rewards) })
    }
}

/// A trader's resting order on the first market.
pub fn rests(tag: u64, outcome: u16, cents: &str, shares: u64) -> Command {
    Command::Place {
        trader: Trader(0),
        tag: OrderTag(tag),
        instrument: InstrumentIx(outcome),
        side: Side::Buy,
        price: Price::parse(cents.as_bytes()).unwrap(),
        size: Size::Shares(Qty::shares(shares)),
        tif: TimeInForce::Gtc,
        post_only: false,
    }
}

impl Scenario for Script {
    fn setup(&self) -> Setup {
        let market = MarketSpec {
            condition: ConditionId([0xc1; 32]),
            tokens: [TokenId([0x11; 32]), TokenId([0x22; 32])],
            hold_ms: 0,
            rewards: self.rewards,
            ..market_support::market()
        };
        Setup { title: "test".into(), markets: vec![market], matches: Vec::new(), traders: vec![Usdc::dollars(1_000)] }
    }

    fn next_at(&self) -> Option<SimTime> {
        self.script.last().map(|(at, _)| *at)
    }

    fn step(&mut self, now: SimTime, _: &dyn Books, out: &mut Vec<Command>) {
        while self.script.last().is_some_and(|(at, _)| *at <= now) {
            out.extend(self.script.pop().map(|(_, c)| c));
        }
    }

    fn filled(&mut self, _: SimTime, _: Filled) {}
}

/// A venue on loopback with this script.
pub fn open(tls: bool, script: Vec<(SimTime, Command)>, begin: Begin, conduct: Conduct) -> VenueHandle {
    let options = VenueOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls,
        speed: 1.0,
        scenario: Script::new(script),
        seed: 7,
        chain_id: 137,
        accounts: wallets::development(Usdc::dollars(10_000)),
        on_thread: None,
        begin,
    };
    Venue::start_with(options, conduct).unwrap()
}

/// A venue whose trader asks 100 YES at 0.55 (as a buyer of NO) and bids for 100 at 0.45; both orders rest.
pub fn start(conduct: Conduct) -> VenueHandle {
    start_tls(false, conduct)
}

/// As [`start`], with TLS or without.
pub fn start_tls(tls: bool, conduct: Conduct) -> VenueHandle {
    let script = vec![(SimTime(0), rests(1, 1, "0.45", 100)), (SimTime(0), rests(2, 0, "0.45", 100))];
    let venue = open(tls, script, Begin::AtOnce, conduct);
    if !tls {
        let mut c = Client::new(&venue, listed(SignatureType::Eoa));
        let target = format!("/book?token_id={}", token(1));
        soon("the traders' orders rest", || {
            let book = c.get(&target);
            !book["asks"].as_array().unwrap().is_empty() && !book["bids"].as_array().unwrap().is_empty()
        });
    }
    venue
}

/// Asks until it is so. Panics after [`PATIENCE`].
pub fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn listed(signature_type: SignatureType) -> Listed {
    wallets::development(Usdc::dollars(10_000)).into_iter().find(|l| l.signature_type == signature_type).unwrap()
}

pub fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |s, b| s + &format!("{b:02x}"))
}

/// A wallet's signature of a digest.
pub fn sign(key: &Word, digest: &Word) -> Vec<u8> {
    let (rs, id) = SigningKey::from_slice(key).unwrap().sign_prehash_recoverable(digest);
    let (rs, flipped) = (rs.normalize_s(), rs.normalize_s() != rs);
    let v = 27 + (id.to_byte() ^ u8::from(flipped));
    [rs.to_bytes().as_slice(), &[v]].concat()
}

/// What came back.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// A whole answer.
    Answer(Answer),
    /// The end of the stream, after these bytes.
    Closed(Vec<u8>),
    /// A reset, after these bytes.
    Reset(Vec<u8>),
    /// Nothing for as long as we listened.
    Nothing,
}

/// An answer as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The words of a refusal.
    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }
}

/// A client: one keep-alive connection.
pub struct Client {
    pub stream: TcpStream,
    buffer: Vec<u8>,
    pub who: Listed,
    pub creds: Option<(String, String, String)>,
    at: std::net::SocketAddr,
}

impl Client {
    pub fn new(venue: &VenueHandle, who: Listed) -> Self {
        let stream = TcpStream::connect(venue.address).unwrap();
        Self { stream, buffer: Vec::new(), who, creds: None, at: venue.address }
    }

    pub fn authenticated(venue: &VenueHandle, signature_type: SignatureType) -> Self {
        let mut c = Self::new(venue, listed(signature_type));
        c.log_in();
        c
    }

    /// The same account on a connection of its own.
    pub fn beside(&self) -> Self {
        let stream = TcpStream::connect(self.at).unwrap();
        Self { stream, buffer: Vec::new(), who: self.who.clone(), creds: self.creds.clone(), at: self.at }
    }

    /// What comes within a time.
    pub fn hear(&mut self, within: Duration) -> Heard {
        self.stream.set_read_timeout(Some(within)).unwrap();
        let mut chunk = [0; 65_536];
        loop {
            if let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = String::from_utf8(self.buffer[..end].to_vec()).unwrap();
                let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                let length: usize =
                    head.lines().find_map(|l| l.strip_prefix("Content-Length: ")).unwrap().parse().unwrap();
                if self.buffer.len() >= end + 4 + length {
                    let body = self.buffer[end + 4..end + 4 + length].to_vec();
                    self.buffer.drain(..end + 4 + length);
                    return Heard::Answer(Answer { status, head, body });
                }
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return Heard::Closed(std::mem::take(&mut self.buffer)),
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Heard::Nothing,
                Err(e) if e.kind() == ErrorKind::ConnectionReset => {
                    return Heard::Reset(std::mem::take(&mut self.buffer));
                }
                Err(e) => panic!("{e}"),
            }
        }
    }

    /// The next answer.
    pub fn answer(&mut self) -> Answer {
        match self.hear(PATIENCE) {
            Heard::Answer(a) => a,
            other => panic!("no answer: {other:?}"),
        }
    }

    pub fn send_raw(&mut self, method: &str, target: &str, headers: &[(&str, String)], body: &str) {
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n", body.len());
        headers.iter().for_each(|(n, v)| text.push_str(&format!("{n}: {v}\r\n")));
        self.stream.write_all(format!("{text}\r\n{body}").as_bytes()).unwrap();
    }

    pub fn raw(&mut self, method: &str, target: &str, headers: &[(&str, String)], body: &str) -> (u16, Value) {
        self.send_raw(method, target, headers, body);
        let a = self.answer();
        (a.status, a.json())
    }

    pub fn get(&mut self, target: &str) -> Value {
        let (status, body) = self.raw("GET", target, &[], "");
        assert_eq!(status, 200, "{target}: {body}");
        body
    }

    pub fn log_in(&mut self) {
        let timestamp = unix_s().to_string();
        let domain = keccak(&[
            &keccak(&[b"EIP712Domain(string name,string version,uint256 chainId)"]),
            &keccak(&[b"ClobAuthDomain"]),
            &keccak(&[b"1"]),
            &uint(137),
        ]);
        let message = keccak(&[
            &keccak(&[b"ClobAuth(address address,string timestamp,uint256 nonce,string message)"]),
            &word(self.who.owner),
            &keccak(&[timestamp.as_bytes()]),
            &uint(0),
            &keccak(&[b"This message attests that I control the given wallet"]),
        ]);
        let signature = hex(&sign(&self.who.private_key.unwrap(), &typed(&domain, &message)));
        let headers = [
            ("POLY_ADDRESS", checksummed(self.who.owner)),
            ("POLY_SIGNATURE", signature),
            ("POLY_TIMESTAMP", timestamp),
            ("POLY_NONCE", "0".into()),
        ];
        let (_, key) = self.raw("POST", "/auth/api-key", &headers, "");
        let key = if key["apiKey"].is_string() { key } else { self.raw("GET", "/auth/derive-api-key", &headers, "").1 };
        let text = |k: &str| key[k].as_str().unwrap().to_owned();
        self.creds = Some((text("apiKey"), text("secret"), text("passphrase")));
    }

    /// Sends a signed request and does not wait.
    pub fn send(&mut self, method: &str, target: &str, body: &str) {
        let (key, secret, passphrase) = self.creds.clone().unwrap();
        let timestamp = unix_s().to_string();
        let path = target.split('?').next().unwrap();
        let headers = [
            ("POLY_ADDRESS", checksummed(self.who.owner)),
            ("POLY_SIGNATURE", hmac_of(&secret, &timestamp, method, path, body.as_bytes()).unwrap()),
            ("POLY_TIMESTAMP", timestamp),
            ("POLY_API_KEY", key),
            ("POLY_PASSPHRASE", passphrase),
        ];
        self.send_raw(method, target, &headers, body);
    }

    /// Sends a signed request and hears its answer.
    pub fn ask(&mut self, method: &str, target: &str, body: &str) -> Answer {
        self.send(method, target, body);
        self.answer()
    }

    /// As [`Self::ask`]: status and body.
    pub fn private(&mut self, method: &str, target: &str, body: &str) -> (u16, Value) {
        let a = self.ask(method, target, body);
        (a.status, a.json())
    }

    pub fn post(&mut self, order: &Value) -> Answer {
        self.ask("POST", "/order", &order.to_string())
    }

    /// The id of an order that has not been answered.
    pub fn id_of(&self, order: &Value) -> String {
        let o = &order["order"];
        let text = |k: &str| o[k].as_str().unwrap();
        let address = |k: &str| polyloly_fast::types::Address::parse(text(k).as_bytes()).unwrap();
        let fields = SignedFields {
            salt: o["salt"].as_u64().unwrap(),
            maker: address("maker"),
            signer: address("signer"),
            token: TokenId::parse(text("tokenId").as_bytes()).unwrap(),
            maker_amount: text("makerAmount").parse().unwrap(),
            taker_amount: text("takerAmount").parse().unwrap(),
            side: Side::parse(text("side").as_bytes()).unwrap(),
            signature_type: self.who.signature_type,
            timestamp: text("timestamp").parse().unwrap(),
            metadata: [0; 32],
            builder: [0; 32],
        };
        fields.id(&exchange_domain(Exchange::V2, 137)).to_string()
    }

    /// Places an order that is taken, and gives the answer's body.
    pub fn placed(&mut self, order: &Value) -> Value {
        let a = self.post(order);
        assert_eq!(a.status, 200, "{a:?}");
        a.json()
    }

    /// Places an order that is taken, and says its id and status.
    pub fn place(&mut self, order: &Value) -> (String, String) {
        let placed = self.placed(order);
        let text = |k: &str| placed[k].as_str().unwrap().to_owned();
        (text("orderID"), text("status"))
    }

    /// The ids of our open orders.
    pub fn open(&mut self) -> Vec<String> {
        let page = self.ask("GET", "/data/orders", "").json();
        page["data"].as_array().unwrap().iter().map(|o| o["id"].as_str().unwrap().to_owned()).collect()
    }

    /// The venue's own account of us.
    pub fn account(&mut self) -> Value {
        self.get(&format!("/embedded/account?address={}", checksummed(self.who.funder)))
    }

    /// The user channel, listening.
    pub fn user(&self, venue: &VenueHandle) -> Ws {
        let (key, secret, passphrase) = self.creds.clone().unwrap();
        let hello = json!({"type": "user", "auth": {"apiKey": key, "secret": secret, "passphrase": passphrase}});
        let mut user = ws(venue, "/ws/user", Some(hello));
        pong(&mut user);
        user
    }

    /// The body of an order of `shares` at `cents`.
    pub fn order(&self, outcome: u8, side: Side, cents: u64, shares: u64, kind: &str, salt: u64) -> Value {
        let who = &self.who;
        let (cash, qty) = (cents * shares * 10_000, shares * 1_000_000);
        let (maker_amount, taker_amount) = if side == Side::Buy { (cash, qty) } else { (qty, cash) };
        let fields = SignedFields {
            salt,
            maker: who.funder,
            signer: if who.signature_type == SignatureType::Poly1271 { who.funder } else { who.owner },
            token: TokenId([0x11 * (outcome + 1); 32]),
            maker_amount,
            taker_amount,
            side,
            signature_type: who.signature_type,
            timestamp: 1_790_000_000_000,
            metadata: [0; 32],
            builder: [0; 32],
        };
        let app = exchange_domain(Exchange::V2, 137);
        let key = who.private_key.unwrap();
        let signature = if who.signature_type == SignatureType::Poly1271 {
            const ORDER: &str = polyloly_fast::venue::verify::ORDER_TYPE;
            let kind = format!(
                "TypedDataSign(Order contents,string name,string version,uint256 chainId,address verifyingContract,\
                 bytes32 salt){ORDER}"
            );
            let contents = fields.struct_hash();
            let nested = keccak(&[
                &keccak(&[kind.as_bytes()]),
                &contents,
                &keccak(&[b"DepositWallet"]),
                &keccak(&[b"1"]),
                &uint(137),
                &word(who.funder),
                &[0; 32],
            ]);
            let sig = sign(&key, &typed(&app, &nested));
            [sig.as_slice(), &app, &contents, ORDER.as_bytes(), &186_u16.to_be_bytes()].concat()
        } else {
            sign(&key, &typed(&app, &fields.struct_hash()))
        };
        json!({
            "order": {
                "salt": salt, "maker": checksummed(fields.maker), "signer": checksummed(fields.signer),
                "tokenId": fields.token.to_string(), "makerAmount": maker_amount.to_string(),
                "takerAmount": taker_amount.to_string(), "side": side.as_str(), "expiration": "0",
                "signatureType": who.signature_type as u8, "timestamp": "1790000000000",
                "metadata": hex(&[0; 32]), "builder": hex(&[0; 32]), "signature": hex(&signature),
            },
            "owner": self.creds.as_ref().unwrap().0, "orderType": kind, "deferExec": false, "postOnly": false,
        })
    }
}

pub type Ws = WebSocket<TcpStream>;

pub fn ws(venue: &VenueHandle, path: &str, hello: Option<Value>) -> Ws {
    let stream = TcpStream::connect(venue.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut ws, _) = tungstenite::client(format!("ws://{}{path}", venue.address), stream).unwrap();
    if let Some(hello) = hello {
        ws.send(Message::text(hello.to_string())).unwrap();
    }
    ws
}

/// The market channel, subscribed to both tokens and with its snapshots read.
pub fn market(venue: &VenueHandle) -> Ws {
    let mut m = ws(venue, "/ws/market", Some(market_hello()));
    for _ in 0..2 {
        until(&mut m, |v| v["event_type"] == "book");
    }
    m
}

/// Asks for a PONG and returns what came before it: whatever was sent to us earlier has arrived.
pub fn pong(ws: &mut Ws) -> Vec<Value> {
    ws.send(Message::text("PING")).unwrap();
    let mut before = Vec::new();
    loop {
        match ws.read().unwrap() {
            Message::Text(t) if t.as_str() == "PONG" => return before,
            Message::Text(t) => before.push(serde_json::from_str(&t).unwrap()),
            _ => {}
        }
    }
}

/// The next message that satisfies a test; those before it are dropped.
pub fn until(ws: &mut Ws, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        if let Message::Text(text) = ws.read().unwrap()
            && let Ok(v) = serde_json::from_str::<Value>(&text)
            && wanted(&v)
        {
            return v;
        }
    }
}

pub fn token(n: u8) -> String {
    TokenId([0x11 * n; 32]).to_string()
}

pub fn condition() -> String {
    format!("0x{}", "c1".repeat(32))
}

pub fn market_hello() -> Value {
    json!({"assets_ids": [token(1), token(2)], "type": "market", "custom_feature_enabled": true})
}
