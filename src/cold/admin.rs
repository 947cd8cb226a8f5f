//! The operator's interface: halt, resume, kill, reset, cancel all, log level. Authenticated and audited.
//!
//! A call needs the bearer token and a request id that was never used before, by this process or an earlier one. What
//! it leads to is an event for the engine, through the control ring, like everything else that the engine hears. What
//! makes things safer is done even where it cannot be written down; what loosens them is not.

mod audit;
mod token;

pub use audit::{AUDIT_FILE, Audit};
pub use token::{TOKEN_FILE, TOKEN_VARIABLE, Token, TokenSource};

use serde_json::{Value, json};

use self::audit::Entry;
use super::health::{Answer, Request};
use crate::{
    config::Level,
    types::{
        ConditionId, MarketIx, Nanos, Universe,
        event::{ControlEvent, KillReason},
    },
};

/// The longest reason that is taken, in characters.
pub const REASON_MAX: usize = 500;
/// The longest request id that is taken.
pub const REQUEST_ID_MAX: usize = 64;

/// Everything below `/admin/`.
const ACTIONS: [&str; 6] = ["halt", "resume", "kill", "reset-kill-switch", "cancel-all", "log-level"];

/// What the operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Order {
    /// No new orders, in one market or in all.
    Halt(Option<MarketIx>),
    /// Orders again, in one market or in all.
    Resume(Option<MarketIx>),
    /// The kill switch.
    Kill,
    /// Lifts the kill switch.
    ResetKill,
    /// Everything at the venue is cancelled, and trading goes on.
    CancelAll,
    /// Another level of logs.
    LogLevel(Level),
}

impl Order {
    /// True if it lets happen what could not happen before. Such an order is written down first, or refused.
    const fn loosens(&self) -> bool {
        matches!(self, Self::Resume(_) | Self::ResetKill)
    }
}

/// What the interface has to know of the run to say yes or no, and to carry it out.
pub trait Engine {
    /// Hands an event to the engine; false if its ring is full.
    fn tell(&mut self, event: ControlEvent) -> bool;
    /// The last event that the engine is known to have heard.
    fn seq(&self) -> u64;
    /// Why the kill switch is on, if it is.
    fn kill_switch(&self) -> Option<&'static str>;
    /// What, besides the kill switch, is not in order: a name each.
    fn troubles(&self) -> Vec<String>;
    /// Changes the level of logs; false if there are none.
    fn set_log_level(&mut self, level: Level) -> bool;
}

/// The interface of one run.
#[derive(Debug)]
pub struct Admin {
    token: Token,
    audit: Audit,
    markets: Vec<(String, ConditionId)>,
}

/// Why a call was refused.
struct No {
    status: u16,
    why: String,
}

fn no<T>(status: u16, why: impl Into<String>) -> Result<T, No> {
    Err(No { status, why: why.into() })
}

impl Admin {
    /// The interface for the markets of a run.
    pub fn new(token: Token, audit: Audit, universe: &Universe) -> Self {
        let markets = universe.markets.iter().map(|m| (m.slug.clone(), m.condition)).collect();
        Self { token, audit, markets }
    }

    /// True for a path of this interface.
    pub fn owns(path: &str) -> bool {
        path == "/admin" || path.starts_with("/admin/")
    }

    /// Answers one call: does what it asks for, or says why not. Either is written down.
    pub fn call(&mut self, request: &Request<'_>, now: Nanos, engine: &mut impl Engine) -> Answer {
        let action = request.path.strip_prefix("/admin/").unwrap_or("");
        let action = ACTIONS.into_iter().find(|a| *a == action);
        let id = request.request_id.and_then(request_id);
        let mut entry = Entry { at: now, peer: request.peer, action, request_id: id, ..Entry::default() };
        let done = self.judge(request, action, &mut entry, engine);
        let answer = match &done {
            Ok(body) => Answer::json(200, body),
            Err(No { status, why }) => Answer::problem(*status, why),
        };
        entry.status = answer.status;
        entry.why = done.err().map(|no| no.why);
        let name = action.unwrap_or("other");
        match self.audit.write(&entry) {
            Ok(true) => tracing::warn!(
                event_type = "admin",
                action = name,
                status = u64::from(answer.status),
                request_id = entry.request_id.unwrap_or(""),
                authenticated = entry.authenticated,
                "the operator's interface was called"
            ),
            Ok(false) => {}
            Err(error) => tracing::error!(event_type = "audit_failed", action = name, "{error}"),
        }
        answer
    }

    fn judge<'r>(
        &mut self,
        request: &Request<'r>,
        action: Option<&'static str>,
        entry: &mut Entry<'r>,
        engine: &mut impl Engine,
    ) -> Result<Value, No> {
        // Whoever has no token learns nothing but that.
        if !request.authorization.and_then(bearer).is_some_and(|token| self.token.is(token)) {
            return no(401, "a bearer token is needed: Authorization: Bearer TOKEN. Its place was printed at start");
        }
        entry.authenticated = true;
        let Some(action) = action else { return no(404, format!("there are POST /admin/{}", ACTIONS.join(", "))) };
        if request.method != "POST" {
            return no(405, "only POST does something here");
        }
        let Some(id) = entry.request_id else {
            return no(400, "a header X-Request-Id is needed: up to 64 letters, digits and -_.: , new for every call");
        };
        if !self.audit.is_fresh(id) {
            return no(
                409,
                "this X-Request-Id was used before; nothing was done now. Look at /state, then use a new one",
            );
        }
        let order = self.read(action, request.body, entry)?;
        if order == Order::ResetKill {
            may_reset(engine)?;
        }
        if order.loosens()
            && let Err(error) = self.audit.write(&Entry { status: 0, ..entry.clone() })
        {
            tracing::error!(event_type = "audit_failed", action, "{error}");
            return no(503, "it cannot be written down, so it is not done; the logs say why");
        }
        self.carry_out(&order, engine)?;
        let mut answer = json!({ "accepted": true, "action": action, "seq": engine.seq() });
        if let Order::Halt(which) | Order::Resume(which) = order {
            answer["markets"] = self.slugs(which).into();
        }
        Ok(answer)
    }

    /// The order in a body. Unknown fields are refused: a misspelt `market` must not become all of them.
    fn read<'r>(&self, action: &str, body: &'r [u8], entry: &mut Entry<'_>) -> Result<Order, No> {
        let body: &'r [u8] = body.trim_ascii();
        let fields: serde_json::Map<String, Value> = match body {
            [] => serde_json::Map::new(),
            _ => match serde_json::from_slice(body) {
                Ok(fields) => fields,
                Err(e) => return no(400, format!("the body must be a JSON object: {e}")),
            },
        };
        let known = match action {
            "halt" | "resume" => &["market", "reason"][..],
            "log-level" => &["level", "reason"],
            _ => &["reason"],
        };
        if let Some(other) = fields.keys().find(|k| !known.contains(&k.as_str())) {
            return no(400, format!("unknown field {other:?}; there are {}", known.join(", ")));
        }
        let text = |name: &str| match fields.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => no(400, format!("{name} must be a text")),
        };
        let reason = text("reason")?.map(str::trim);
        if reason.is_some_and(|r| r.chars().count() > REASON_MAX) {
            return no(400, format!("reason has at most {REASON_MAX} characters"));
        }
        entry.reason = reason.map(str::to_owned);
        entry.about = text("market")?.or(text("level")?).map(str::to_owned);
        Ok(match action {
            "halt" => Order::Halt(self.market(text("market")?)?),
            "resume" => Order::Resume(self.market(text("market")?)?),
            "kill" => Order::Kill,
            "cancel-all" => Order::CancelAll,
            "log-level" => match text("level")?.and_then(Level::parse) {
                Some(level) => Order::LogLevel(level),
                None => return no(400, "level must be one of trace, debug, info, warn, error"),
            },
            _ => match reason {
                None | Some("") => {
                    return no(400, "a reason is needed: {\"reason\": \"what happened, and why it is safe now\"}");
                }
                Some(_) => Order::ResetKill,
            },
        })
    }

    fn market(&self, name: Option<&str>) -> Result<Option<MarketIx>, No> {
        let Some(name) = name else { return Ok(None) };
        let condition = ConditionId::parse(name.as_bytes());
        let found = self.markets.iter().position(|(slug, id)| slug == name || Some(*id) == condition);
        match found {
            Some(n) => Ok(Some(MarketIx(n as u16))),
            None => no(400, format!("this run has no market {name:?}; /state lists its markets")),
        }
    }

    fn chosen(&self, which: Option<MarketIx>) -> Vec<MarketIx> {
        which.map_or_else(|| (0..self.markets.len() as u16).map(MarketIx).collect(), |m| vec![m])
    }

    fn slugs(&self, which: Option<MarketIx>) -> Vec<&str> {
        self.chosen(which).into_iter().filter_map(|m| Some(self.markets.get(m.ix())?.0.as_str())).collect()
    }

    fn carry_out(&self, order: &Order, engine: &mut impl Engine) -> Result<(), No> {
        let events: Vec<ControlEvent> = match order {
            Order::Halt(which) => self.chosen(*which).into_iter().map(ControlEvent::Halt).collect(),
            Order::Resume(which) => self.chosen(*which).into_iter().map(ControlEvent::Resume).collect(),
            Order::Kill => vec![ControlEvent::Kill(KillReason::Manual)],
            Order::ResetKill => vec![ControlEvent::ResetKill],
            Order::CancelAll => vec![ControlEvent::CancelAll],
            Order::LogLevel(level) => {
                return if engine.set_log_level(*level) { Ok(()) } else { no(503, "there are no logs") };
            }
        };
        let all = events.len();
        let told = events.into_iter().take_while(|event| engine.tell(*event)).count();
        if told == all {
            Ok(())
        } else {
            no(
                503,
                format!("the engine took {told} of {all} events and no more now; ask again with a new X-Request-Id"),
            )
        }
    }
}

/// The kill switch is lifted by a person, and only over an instance that is otherwise in order.
fn may_reset(engine: &impl Engine) -> Result<(), No> {
    if engine.kill_switch().is_none() {
        return no(409, "the kill switch is not on");
    }
    let troubles = engine.troubles();
    if troubles.is_empty() { Ok(()) } else { no(409, format!("not while this holds: {}", troubles.join(", "))) }
}

/// The token of an `Authorization` header.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// A request id, if it is one.
fn request_id(value: &[u8]) -> Option<&str> {
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:".contains(b);
    let fits = (1..=REQUEST_ID_MAX).contains(&value.len()) && value.iter().all(allowed);
    std::str::from_utf8(value).ok().filter(|_| fits)
}

#[cfg(test)]
#[path = "admin_tests.rs"]
mod tests;
