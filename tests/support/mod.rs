//! The binary as a user runs it: started, watched by what it prints, signalled, waited for. Every wait is for something
//! that happens, and fails after a time that no healthy machine needs.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use polyloly_fast::{
    engine::sign::{SecretKey, WalletSigner},
    gateway::bootstrap::Bootstrap,
    stage::endpoint::{Endpoint, Trust, tls_config},
    types::{Account, market::SignatureType},
    wire::{
        auth::{Credentials, L2Auth},
        rest::OpenOrder,
    },
};
use serde_json::Value;

/// Longest wait for anything: these tests share the machine with others.
pub const PATIENCE: Duration = Duration::from_secs(180);
/// Pause between two questions that have no better way to be told.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// A directory of its own for one test, gone afterwards.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("a directory");
        Self(dir)
    }

    pub fn dir(&self) -> &Path {
        &self.0
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        fs::write(self.0.join(name), bytes).expect("a file");
        self.path(name)
    }

    pub fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.0.join(name)).expect("the summary")).expect("JSON")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a stream of the child has said so far.
#[derive(Default)]
struct Caught {
    /// The bytes, and whether the stream has ended.
    said: Mutex<(Vec<u8>, bool)>,
    news: Condvar,
}

impl Caught {
    fn catch(mut from: impl Read + Send + 'static) -> Arc<Self> {
        let caught = Arc::new(Self::default());
        let into = Arc::clone(&caught);
        std::thread::spawn(move || {
            let mut block = [0; 4_096];
            loop {
                let n = from.read(&mut block).unwrap_or(0);
                let mut said = into.said.lock().expect("unpoisoned");
                said.0.extend_from_slice(&block[..n]);
                said.1 = n == 0;
                into.news.notify_all();
                if n == 0 {
                    return;
                }
            }
        });
        caught
    }

    /// Waits until `look` finds something in the text or the stream has ended.
    fn wait<T>(&self, what: &str, look: impl Fn(&str) -> Option<T>) -> Option<T> {
        let start = Instant::now();
        let mut said = self.said.lock().expect("unpoisoned");
        loop {
            let text = String::from_utf8_lossy(&said.0);
            if let Some(found) = look(&text) {
                return Some(found);
            }
            if said.1 {
                return None;
            }
            assert!(start.elapsed() < PATIENCE, "waited in vain for {what}:\n{text}");
            drop(text);
            said = self.news.wait_timeout(said, Duration::from_secs(1)).expect("unpoisoned").0;
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().expect("unpoisoned").0).into_owned()
    }
}

/// How a child ended and all that it said.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Fails unless it ended with this code and without a panic.
    #[track_caller]
    pub fn with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// Fails unless standard error has all of these words.
    #[track_caller]
    pub fn saying(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is missing from\n{}", self.stderr);
        }
        self
    }
}

/// A running child. Killed when dropped.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Arc<Caught>,
    stderr: Arc<Caught>,
}

impl Running {
    /// Starts the binary in a directory, with these variables besides the inherited ones and without any key.
    pub fn start(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_polyloly-fast"))
            .args(args)
            .current_dir(dir)
            .env_remove("POLYMARKET_PRIVATE_KEY")
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        let stdout = Caught::catch(child.stdout.take().expect("piped"));
        let stderr = Caught::catch(child.stderr.take().expect("piped"));
        Self { stdin: child.stdin.take(), child, stdout, stderr }
    }

    /// The first line of standard output as JSON: what a venue says when it is ready.
    #[track_caller]
    pub fn ready(&self) -> Value {
        let line = self.stdout.wait("the ready line", |t| t.split_once('\n').map(|(line, _)| line.to_owned()));
        let line = line.unwrap_or_else(|| panic!("no ready line:\n{}", self.stderr.text()));
        serde_json::from_str(&line).expect("the ready line is JSON")
    }

    /// Waits for a line of standard error that begins so; returns the rest of it.
    #[track_caller]
    pub fn line(&self, begins: &str) -> String {
        let rest = |text: &str| {
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            whole.lines().find_map(|line| line.strip_prefix(begins).map(str::to_owned))
        };
        let found = self.stderr.wait(begins, rest);
        found.unwrap_or_else(|| panic!("it ended without a line {begins:?}:\n{}", self.stderr.text()))
    }

    /// Asks its health server for the state until `enough` finds something in it.
    #[track_caller]
    pub fn state<T>(&self, what: &str, enough: impl Fn(&Value) -> Option<T>) -> T {
        let health = self.line("health at http://");
        let start = Instant::now();
        loop {
            let state = get(&health, "/state");
            if let Some(found) = state.as_ref().and_then(&enough) {
                return found;
            }
            let waited = start.elapsed() < PATIENCE;
            assert!(waited, "waited in vain for {what}: {state:?}\n{}", self.stderr.text());
            assert!(!self.is_over(), "it ended before {what}:\n{}\n{}", self.stderr.text(), self.stdout.text());
            std::thread::sleep(ASK_AGAIN);
        }
    }

    /// Waits until at least so many of its orders rest at the venue.
    #[track_caller]
    pub fn orders_open(&self, at_least: u64) {
        self.state("open orders", |s| (s["orders"]["open"].as_u64()? >= at_least).then_some(()));
    }

    fn is_over(&self) -> bool {
        self.stderr.said.lock().expect("unpoisoned").1
    }

    /// Sends it a signal by name, such as `INT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status();
        assert!(sent.expect("a shell").success(), "no signal could be sent");
    }

    /// Gives it this on standard input, and no more.
    pub fn feed(mut self, bytes: &[u8]) -> Self {
        if let Some(mut stdin) = self.stdin.take() {
            // A child that refuses its arguments does not read.
            let _ = stdin.write_all(bytes);
        }
        self
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        drop(self.stdin.take());
        self.stdout.wait("the end", |_| None::<()>);
        self.stderr.wait("the end", |_| None::<()>);
        let status: ExitStatus = self.child.wait().expect("an end");
        let code = status.code().unwrap_or_else(|| panic!("killed by a signal: {status}\n{}", self.stderr.text()));
        Ended { code, stdout: self.stdout.text(), stderr: self.stderr.text() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the binary to its end.
#[track_caller]
pub fn polyloly(dir: &Path, args: &[&str]) -> Ended {
    Running::start(dir, args, &[]).end()
}

/// One plain HTTP request; `None` if nobody answers.
pub fn get_text(authority: &str, path: &str) -> Option<String> {
    let mut socket = TcpStream::connect(authority).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

/// The same; `None` if the answer is not JSON.
pub fn get(authority: &str, path: &str) -> Option<Value> {
    serde_json::from_str(&get_text(authority, path)?).ok()
}

/// Sends these bytes and reads the answer: its status and its JSON.
pub fn exchange(authority: &str, request: &[u8]) -> (u16, Value) {
    let mut socket = TcpStream::connect(authority).expect("it listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    socket.write_all(request).expect("it reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_else(|| panic!("no status: {answer}"));
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, serde_json::from_str(body).unwrap_or_default())
}

/// Who may tell a running instance what to do.
pub struct Operator {
    pub at: String,
    pub token: String,
}

impl Operator {
    /// Whoever may read the file that is named at start.
    pub fn of(run: &Running, dir: &Scratch) -> Self {
        let at = run.line("health at http://");
        let place = run.line("admin token in ");
        let token = fs::read_to_string(dir.dir().join(place)).expect("the token").trim().to_owned();
        Self { at, token }
    }

    /// One call with the token; its status and its answer.
    pub fn post(&self, action: &str, id: &str, body: &str) -> (u16, Value) {
        let request = format!(
            "POST /admin/{action} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nX-Request-Id: {id}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.at,
            self.token,
            body.len()
        );
        exchange(&self.at, request.as_bytes())
    }

    /// What `/health/ready` says.
    pub fn ready(&self) -> Value {
        get(&self.at, "/health/ready").expect("an answer")
    }
}

/// Waits until `look` is true.
#[track_caller]
pub fn until(what: &str, mut look: impl FnMut() -> bool) {
    let start = Instant::now();
    while !look() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A number of a summary.
#[track_caller]
pub fn number(summary: &Value, path: &str) -> u64 {
    summary.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("no number {path} in {summary}"))
}

/// What is true of every run that ended as it should: nothing left at the venue, and both accounts the same.
#[track_caller]
pub fn assert_clean(summary: &Value) {
    assert_eq!((number(summary, "/orders/open"), number(summary, "/orders/unresolved")), (0, 0), "{summary:#}");
    let equity = |path: &str| summary.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let ours = equity("/pnl/equity_change_usdc");
    assert!(ours.is_some() && ours == equity("/pnl/venue_equity_change_usdc"), "{summary:#}");
    assert_eq!(summary["failures"], serde_json::json!([]), "{summary:#}");
}

/// 64 hex digits that nobody has used before.
pub fn random_key() -> String {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("randomness");
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A venue in a process of its own, and an account on it that signs for itself.
pub struct Abroad {
    pub venue: Running,
    pub ready: Value,
    pub key: String,
}

impl Abroad {
    /// Starts a venue with these arguments besides, and funds the account of a new key.
    pub fn start(dir: &Scratch, args: &[&str]) -> Self {
        let key = random_key();
        let fund = format!("{}:5000", secret(&key).address());
        let venue = [&["venue", "--listen", "127.0.0.1:0", "--fund", &fund], args].concat();
        let venue = Running::start(dir.dir(), &venue, &[]);
        let ready = venue.ready();
        Self { venue, ready, key }
    }

    /// A field of the ready line.
    pub fn at(&self, field: &str) -> &str {
        self.ready[field].as_str().expect("a text of the ready line")
    }

    /// Writes a configuration that trades the first markets of this venue. `hosts`: `venue.rest`, `ws_market`,
    /// `ws_user` and `ws_sports`, where they are not the venue's own.
    pub fn configure(&self, dir: &Scratch, markets: usize, hosts: [Option<&str>; 4]) -> String {
        let [rest, market, user, sports] = ["rest", "ws_market", "ws_user", "ws_sports"].map(|name| self.at(name));
        let [rest, market, user, sports] =
            [(0, rest), (1, market), (2, user), (3, sports)].map(|(n, own)| hosts[n].unwrap_or(own));
        let ca = if self.at("ca").is_empty() { String::new() } else { dir.write("ca.pem", self.at("ca")) };
        let conditions: Vec<_> = self.ready["markets"]
            .as_array()
            .expect("markets")
            .iter()
            .take(markets)
            .map(|m| &m["condition_id"])
            .collect();
        let conditions = serde_json::json!(conditions);
        let also = |field: &str| self.ready[field].as_str().unwrap_or("").to_owned();
        let (data, geoblock) = (also("data"), also("geoblock"));
        dir.write(
            "live.toml",
            format!(
                "mode = \"live\"\n[venue]\nrest = \"{rest}\"\nrelayer = \"\"\ndata = \"{data}\"\n\
                 geoblock = \"{geoblock}\"\nws_market = \"{market}\"\n\
                 ws_user = \"{user}\"\nws_sports = \"{sports}\"\nca_file = \"{ca}\"\n[account]\nsignature_type = 0\n\
                 [markets]\nconditions = {conditions}\n[log]\nlevel = \"trace\"\nfile = \"run.log\"\n"
            ),
        )
    }

    /// Starts a run of this configuration with the account's key in its environment.
    pub fn trade(&self, dir: &Scratch, config: &str, args: &[&str]) -> Running {
        let args = [&["run", "--config", config, "--live", "--cores", "0", "--summary", "summary.json"], args].concat();
        Running::start(dir.dir(), &args, &[("POLYMARKET_PRIVATE_KEY", &self.key)])
    }

    /// The account's address, checksummed or not.
    pub fn address(&self) -> String {
        secret(&self.key).address().to_string()
    }

    /// Waits until the venue itself says that orders of ours rest there.
    #[track_caller]
    pub fn shows_open_orders(&self) {
        let start = Instant::now();
        while self.account().1.is_empty() {
            assert!(start.elapsed() < PATIENCE, "waited in vain for open orders");
            std::thread::sleep(ASK_AGAIN);
        }
    }

    /// The venue's own account of us: our API credentials and our open orders.
    pub fn account(&self) -> (Credentials, Vec<OpenOrder>) {
        let owner = secret(&self.key).address();
        let account = Account { owner, funder: owner, signature_type: SignatureType::Eoa };
        let ca = self.at("ca");
        let trust = if ca.is_empty() { Trust::Public } else { Trust::Pem(ca.as_bytes()) };
        let tls = tls_config(trust).expect("the venue's authority");
        let rest = Endpoint::resolve(self.at("rest"), &tls).expect("the venue's address");
        let mut ask = Bootstrap::new(rest, 137, account).expect("a client");
        let credentials = ask.credentials(&WalletSigner::new(secret(&self.key))).expect("credentials");
        let auth = L2Auth::new(&owner, &credentials).expect("a base64 secret");
        let open = ask.open_orders(&auth).expect("open orders");
        (credentials, open)
    }
}

fn secret(key: &str) -> SecretKey {
    SecretKey::from_hex(key.as_bytes()).expect("a key")
}
