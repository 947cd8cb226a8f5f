//! Carries out what the faults decide: answers that come late, wrong or never, frames that go astray, sockets that are
//! cut. Also how faults come in: from a test, a file, or the control endpoint.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use mio::{Token, Waker};
use serde_json::{Value, json};
use tungstenite::Utf8Bytes;

use super::{
    auth::Headers,
    conn::Conn,
    faults::{Facts, Fault, Faults, Line, Plan, What},
    host::Host,
    http::{Request, Response},
    intake, rest,
    stream::Channel,
    verdict::{self, Act, Edit, End, Passage, Say, Verdict},
};
use crate::types::Nanos;

/// Things that wait at one time; what comes later is not misbehaved with, so that the list stays bounded.
const WAITING_MAX: usize = 100_000;

/// How a venue is to behave, beside its rules.
#[derive(Clone, Debug, Default)]
pub struct Conduct {
    /// True: `/control/faults` answers, to loopback alone.
    pub control: bool,
    /// Limits, and faults from the start.
    pub plan: Plan,
}

/// The faults in force, shared between the venue's thread and whoever adds them.
#[derive(Debug, Default)]
pub struct Armed {
    faults: Mutex<Faults>,
    any: AtomicBool,
    cleared: AtomicBool,
}

impl Armed {
    /// Faults from the start, with a seed. The error is the key and what is wrong.
    pub fn new(seed: u64, faults: Vec<Fault>) -> Result<Self, (&'static str, String)> {
        let armed = Self { faults: Mutex::new(Faults::new(seed)), ..Self::default() };
        faults.into_iter().try_for_each(|f| armed.add(f).map(drop))?;
        Ok(armed)
    }

    /// False where nothing can strike: the one question that a venue without faults asks.
    pub fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// The faults. A panic elsewhere leaves them as they were.
    pub fn lock(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, fault: Fault) -> Result<String, (&'static str, String)> {
        let id = self.lock().add(fault)?;
        self.any.store(true, Ordering::Release);
        Ok(id)
    }

    fn clear(&self) -> usize {
        let mut faults = self.lock();
        let ended = faults.clear();
        self.cleared.store(true, Ordering::Release);
        self.any.store(false, Ordering::Release);
        ended
    }
}

/// Adds faults to a running venue. What was added is in force for every request that is sent afterwards.
#[derive(Clone)]
pub struct FaultHandle {
    pub(super) armed: Arc<Armed>,
    pub(super) waker: Arc<Waker>,
}

impl FaultHandle {
    /// Adds a fault and returns its id. Errors: the key and what is wrong with it.
    pub fn add(&self, fault: Fault) -> Result<String, String> {
        let id = self.armed.add(fault).map_err(|(key, wrong)| format!("key `{key}` {wrong}"))?;
        let _ = self.waker.wake();
        Ok(id)
    }

    /// Ends every fault; mode, lags and pretences end with them.
    pub fn clear(&self) {
        self.armed.clear();
        let _ = self.waker.wake();
    }

    /// How often a fault has struck; 0 for an unknown one.
    pub fn hits(&self, id: &str) -> u64 {
        self.armed.lock().hits(id).unwrap_or(0)
    }
}

/// Something that is to happen later.
pub(super) enum Later {
    /// An answer, whether the connection lives on, and how it ends.
    Answer(Token, Box<Response>, bool, End),
    /// A request that was swallowed.
    Request(Box<Request>),
    /// A frame.
    Frame(Token, Utf8Bytes, Option<usize>),
    /// A frame that was held back waits no more.
    Release(Token, u64),
}

/// What waits, by time and then by order.
#[derive(Default)]
pub(super) struct Schedule {
    due: BTreeMap<(Nanos, u64), Later>,
    seq: u64,
}

impl Schedule {
    fn at(&mut self, when: Nanos, what: Later) -> u64 {
        self.seq += 1;
        if self.due.len() < WAITING_MAX {
            self.due.insert((when, self.seq), what);
        }
        self.seq
    }

    /// When the next thing is due.
    pub fn next(&self) -> Option<Nanos> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next thing that is due.
    pub fn pop(&mut self, now: Nanos) -> Option<Later> {
        let entry = self.due.first_entry().filter(|e| e.key().0 <= now)?;
        Some(entry.remove())
    }
}

/// Does at once what has come into force, and follows what lasts. Returns the faults that cut sockets.
pub(super) fn follow(host: &mut Host, now: Nanos) -> Vec<Fault> {
    let armed = host.armed.clone();
    if armed.cleared.swap(false, Ordering::AcqRel) {
        host.behave();
    }
    if !armed.any() {
        return Vec::new();
    }
    let due = armed.lock().acts(now);
    host.follow_states(now);
    let (cuts, acts): (Vec<_>, Vec<_>) = due.into_iter().partition(|f| f.what == What::Disconnect);
    for act in acts {
        host.act(&act, now);
    }
    cuts
}

/// Asks the faults about a request.
pub(super) fn judge(host: &Host, r: &Request, now: Nanos) -> Option<Verdict> {
    if !host.armed.any() || r.path.starts_with("/control/") {
        return None;
    }
    let route = format!("{} {}", r.method, r.path);
    let mut names = r.header("POLY_API_KEY").map(|k| host.names_of_key(k)).unwrap_or_default();
    names.extend(r.header("POLY_ADDRESS").map(str::to_lowercase));
    let facts = Facts { route: &route, names: &names, ..Facts::default() };
    let fault = host.armed.lock().on_request(&facts, now)?;
    Some(verdict::on_request(&fault, &route, &r.body, r.param("next_cursor")))
}

/// Carries out a verdict on a request. The connection takes no further request while its answer is due.
pub(super) fn carry_out(
    host: &mut Host,
    later: &mut Schedule,
    conn: &mut Conn,
    token: Token,
    r: &Request,
    v: Verdict,
    now: Nanos,
) -> Option<u16> {
    let truth = match v.act {
        Act::Now => Some(rest::respond(host, r, now)),
        Act::Never => None,
        Act::After(ns) => {
            later.at(now.plus(ns), Later::Request(Box::new(r.clone())));
            None
        }
        Act::Capped(n, words) => {
            host.cancel_cap = Some((n, words));
            let response = rest::respond(host, r, now);
            host.cancel_cap = None;
            Some(response)
        }
        Act::Disturbed => {
            if let Some(key) = r.header("POLY_API_KEY").and_then(|k| host.keys.known(k)) {
                host.heartbeats.disturb(&key, now);
            }
            Some(rest::respond(host, r, now))
        }
    };
    let answer = match v.say {
        Say::Truth => truth,
        Say::Nothing => None,
        Say::Instead(response) => Some(response),
        Say::Edited(edit) => {
            let id = matches!(edit, Edit::Duplicated).then(|| order_id(host, r)).flatten();
            Some(verdict::edited(truth.unwrap_or_else(|| Response::ok(Value::Null)), &edit, id.as_deref()))
        }
    };
    let status = answer.as_ref().map(|a| a.status);
    match (answer, v.end) {
        (_, End::Close) => {
            conn.input.clear();
            conn.closing = true;
        }
        (Some(answer), end) if v.delay_ns > 0 => {
            conn.held = true;
            later.at(now.plus(v.delay_ns), Later::Answer(token, Box::new(answer), r.keep_alive, end));
        }
        (Some(answer), end) => say(conn, &answer, r.keep_alive, end),
        (None, End::Reset(_)) => conn.reset(),
        (None, End::Open) => conn.held = true,
    }
    status
}

/// Writes an answer, or the beginning of it.
pub(super) fn say(conn: &mut Conn, answer: &Response, keep_alive: bool, end: End) {
    match end {
        End::Reset(bytes) => {
            let mut text = Vec::new();
            answer.write(keep_alive, &mut text);
            text.truncate(bytes);
            conn.queue(|out| out.append(&mut text));
            conn.reset();
        }
        End::Open | End::Close => {
            conn.queue(|out| answer.write(keep_alive, out));
            conn.closing |= !keep_alive;
        }
    }
}

/// The id of the order that a request brings.
fn order_id(host: &Host, r: &Request) -> Option<String> {
    let sent: Value = serde_json::from_slice(&r.body).ok()?;
    let first = sent.as_array().map_or(Some(&sent), |legs| legs.first())?;
    let who = host.keys.credentials(r.header("POLY_API_KEY")?)?;
    intake::order(host, first, who).ok().map(|new| new.id.to_string())
}

const fn line(channel: &Channel) -> Line {
    match channel {
        Channel::Market { .. } => Line::Market,
        Channel::User { .. } => Line::User,
        Channel::Sports => Line::Sports,
    }
}

/// Every name by which a fault may mean what a frame tells of.
fn names_of_frame(host: &Host, v: &Value, names: &mut Vec<String>) {
    let parts = v["price_changes"].as_array().map_or(&[] as &[Value], Vec::as_slice);
    let listed = v["assets_ids"].as_array().map_or(&[] as &[Value], Vec::as_slice);
    let tokens = parts.iter().map(|p| &p["asset_id"]).chain(listed).chain([&v["asset_id"]]);
    for text in tokens.filter_map(Value::as_str) {
        names.push(text.to_owned());
        names.extend(host.token_text(text).map(|i| host.names_of_market(i.market())).into_iter().flatten());
    }
    if let Some(m) = v["market"].as_str().and_then(|m| host.condition_text(m)) {
        names.extend(host.names_of_market(m));
    }
}

/// Sends a frame to a socket as the faults will have it. Returns how many frames were queued now.
pub(super) fn deliver(
    host: &Host,
    later: &mut Schedule,
    conn: &mut Conn,
    token: Token,
    text: Utf8Bytes,
    snapshot: bool,
    now: Nanos,
) -> u64 {
    let passage = if host.armed.any() { passage(host, conn, &text, snapshot, now) } else { Passage::default() };
    if let Some(cut) = passage.cut {
        conn.cut(cut);
        return 0;
    }
    if passage.drop {
        return 0;
    }
    conn.one_byte = passage.one_byte;
    let text = passage.lie.map_or(text.clone(), |(shift, times)| verdict::lied(&text, shift, times).into());
    if let Some((after, ns)) = passage.hold {
        let id = later.seq + 1;
        later.at(now.plus(ns), Later::Release(token, id));
        conn.held_back.push((after, id, text));
        return 0;
    }
    // What was sent before comes before, however much faster this one might be.
    let behind = conn.backlog.filter(|b| *b > now);
    let mut queued = 0;
    match passage.not_before.filter(|at| *at > now).max(behind) {
        Some(at) => {
            conn.backlog = Some(at);
            later.at(at, Later::Frame(token, text.clone(), passage.pieces));
        }
        None => {
            conn.send_pieces(text.clone(), passage.pieces);
            queued += 1 + passed(conn);
        }
    }
    match passage.again {
        Some(0) => {
            conn.send_text(text);
            queued += 1;
        }
        Some(ns) => {
            later.at(now.plus(ns), Later::Frame(token, text, None));
        }
        None => {}
    }
    queued
}

/// One more frame has gone by: those held back for it go now.
fn passed(conn: &mut Conn) -> u64 {
    let mut gone = Vec::new();
    conn.held_back.retain_mut(|(left, _, text)| {
        *left = left.saturating_sub(1);
        if *left == 0 {
            gone.push(text.clone());
        }
        *left > 0
    });
    let n = gone.len() as u64;
    gone.into_iter().for_each(|t| conn.send_text(t));
    n
}

/// A held-back frame has waited long enough.
pub(super) fn release(conn: &mut Conn, id: u64) {
    if let Some(at) = conn.held_back.iter().position(|(_, held, _)| *held == id) {
        let (.., text) = conn.held_back.remove(at);
        conn.send_text(text);
    }
}

fn passage(host: &Host, conn: &mut Conn, text: &str, snapshot: bool, now: Nanos) -> Passage {
    let number = conn.number;
    let Some(channel) = conn.channel() else { return Passage::default() };
    let mut names = match channel {
        Channel::User { key: Some(key), .. } => host.names_of_key(key),
        _ => Vec::new(),
    };
    let socket = Some((line(channel), number));
    let v: Value = serde_json::from_str(text).unwrap_or_default();
    names_of_frame(host, &v, &mut names);
    let word = |key: &str| v[key].as_str().unwrap_or_default();
    let facts = Facts {
        socket,
        event: word("event_type"),
        status: word("status"),
        names: &names,
        snapshot,
        ..Facts::default()
    };
    let struck = host.armed.lock().on_frame(&facts, now);
    verdict::on_frame(&struck, now)
}

/// Cuts the sockets that a fault means.
pub(super) fn cut<'a>(host: &Host, fault: &Fault, conns: impl Iterator<Item = &'a mut Conn>) {
    let mut hits = 0;
    let wanted = fault.account.as_ref().map(|a| a.to_lowercase());
    for conn in conns {
        let number = conn.number;
        let Some(channel) = conn.channel() else { continue };
        let own_account = match channel {
            Channel::User { key: Some(key), .. } => wanted.as_ref().is_none_or(|w| host.names_of_key(key).contains(w)),
            _ => wanted.is_none(),
        };
        let right = line(channel) == fault.channel.unwrap_or(Line::Market);
        if right && own_account && fault.connection.is_none_or(|n| n == number) {
            fault.kind.iter().for_each(|k| conn.cut(*k));
            hits += 1;
        }
    }
    host.armed.lock().count(fault.id.as_deref().unwrap_or_default(), hits);
}

/// Answers `/control/faults`; `None` for any other path.
pub(super) fn control(host: &Host, r: &Request) -> Option<Response> {
    if r.path != "/control/faults" {
        return None;
    }
    // A page in a browser on this machine could reach loopback too; it cannot leave this header out.
    if r.header("origin").is_some() {
        return Some(Response::error(403, "not from a browser"));
    }
    Some(match r.method.as_str() {
        "GET" => Response::ok(json!({
            "mode": format!("{:?}", host.mode), "fates_refused": host.exchange.fates_refused,
            "faults": host.armed.lock().entries(),
        })),
        "POST" => match serde_json::from_slice::<Fault>(&r.body) {
            Ok(fault) => match host.armed.add(fault) {
                Ok(id) => Response::ok(json!({"id": id})),
                Err((key, wrong)) => Response::error(400, format!("key `{key}` {wrong}")),
            },
            Err(e) => Response::error(400, e),
        },
        "DELETE" => Response::ok(json!({"cleared": host.armed.clear()})),
        _ => Response::error(405, "GET, POST or DELETE"),
    })
}
