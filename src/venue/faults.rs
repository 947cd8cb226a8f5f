//! Misbehaviour on command: which fault strikes what, and when. Pure.
//!
//! A fault is one flat `record`: `what`, where it applies, when it strikes, and its parameters; the `catalogue`
//! says which parameters belong to which `what`; a `plan` is a file of them. [`Faults`] decides, given what happens
//! and the time; `verdict` says what follows; `misbehave` carries it out. The catalogue for people is docs/FAULTS.md.

mod catalogue;
mod plan;
mod record;

use serde::Serialize;

use super::verify::keccak;
use crate::types::Nanos;
pub use catalogue::{Class, Row, TABLE, What};
pub use plan::Plan;
pub use record::{Fault, Kind, Line, ModeName, PayoutName};

/// Faults in force at one time; more are refused, so that the list stays bounded.
pub const FAULTS_MAX: usize = 256;

/// Something that happens and that a fault may strike.
#[derive(Clone, Debug, Default)]
pub struct Facts<'a> {
    /// `POST /order`.
    pub route: &'a str,
    /// Which channel, and which socket of it.
    pub socket: Option<(Line, u32)>,
    /// `event_type`.
    pub event: &'a str,
    /// `status`.
    pub status: &'a str,
    /// Every name of the accounts, markets and tokens concerned, in lower case.
    pub names: &'a [String],
    /// The first frames after a subscription.
    pub snapshot: bool,
}

fn route_matches(pattern: &str, route: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(head) => route.starts_with(head),
        None => pattern == route,
    }
}

impl Fault {
    fn concerns(&self, f: &Facts<'_>) -> bool {
        let row = self.what.row();
        let named = |name: &Option<String>| name.as_ref().is_none_or(|n| f.names.contains(&n.to_lowercase()));
        let here = match (row.class, &self.route, f.socket) {
            (Class::Request, Some(own), _) => route_matches(own, f.route),
            (Class::Request, None, _) => row.places.iter().any(|p| route_matches(p, f.route)),
            (Class::Frame | Class::Socket, _, Some((line, n))) => {
                let right = self.channel.map_or_else(|| row.places.contains(&line.as_str()), |own| own == line);
                right && self.connection.is_none_or(|own| own == n)
            }
            (Class::Frame | Class::Socket, _, None) => false,
            (Class::Trade | Class::State | Class::Act, ..) => true,
        };
        here && named(&self.account)
            && named(&self.market)
            && named(&self.token)
            && self.event.as_ref().is_none_or(|e| e == f.event)
            && self.status.as_ref().is_none_or(|s| s == f.status)
            && (self.what != What::NoSnapshot || f.snapshot)
    }
}

/// A fault in force.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// As it was added.
    #[serde(flatten)]
    pub fault: Fault,
    /// Its id, given or made.
    #[serde(skip)]
    pub id: String,
    /// How often it could have struck.
    pub matched: u64,
    /// How often it has.
    pub hits: u64,
    /// When it was first looked at.
    #[serde(skip)]
    pub since: Option<Nanos>,
}

impl Entry {
    fn begins(&self) -> Option<Nanos> {
        self.since.map(|s| s.plus(ms(self.fault.after_ms.unwrap_or(0))))
    }

    fn ends(&self) -> Option<Nanos> {
        self.begins().zip(self.fault.for_ms).map(|(b, d)| b.plus(ms(d)))
    }

    /// When it ends, `None` if never.
    pub fn end(&self) -> Option<Nanos> {
        self.ends()
    }

    fn is_on(&self, now: Nanos) -> bool {
        self.begins().is_some_and(|b| now >= b) && self.ends().is_none_or(|e| now < e)
    }

    /// True if it strikes this match.
    fn strikes(&mut self, seed: u64) -> bool {
        self.matched += 1;
        let most = self.fault.count.unwrap_or(if self.fault.nth.is_some() { 1 } else { u64::MAX });
        let struck = self.matched >= self.fault.nth.unwrap_or(1)
            && self.hits < most
            && self.fault.probability.is_none_or(|p| draw(seed, &self.id, self.matched) < p);
        self.hits += u64::from(struck);
        struck
    }
}

fn ms(n: u64) -> u64 {
    n.saturating_mul(1_000_000)
}

/// A number from 0 to 1, the same for a seed, a fault and a match.
fn draw(seed: u64, id: &str, n: u64) -> f64 {
    let h = keccak(&[b"fault", &seed.to_be_bytes(), id.as_bytes(), &n.to_be_bytes()]);
    let top = u64::from_be_bytes([h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]]);
    (top >> 11) as f64 / (1_u64 << 53) as f64
}

/// Every fault in force, with its counters.
#[derive(Debug, Default)]
pub struct Faults {
    entries: Vec<Entry>,
    seed: u64,
    made: u64,
}

impl Faults {
    /// None, with a seed for probabilities.
    pub const fn new(seed: u64) -> Self {
        Self { entries: Vec::new(), seed, made: 0 }
    }

    /// Adds one and returns its id. The error is the key and what is wrong.
    pub fn add(&mut self, fault: Fault) -> Result<String, (&'static str, String)> {
        fault.check()?;
        if self.entries.len() >= FAULTS_MAX {
            return Err(("what", format!("cannot be added: {FAULTS_MAX} faults are in force")));
        }
        self.made += 1;
        let id = fault.id.clone().unwrap_or_else(|| format!("{}-{}", fault.what.name(), self.made));
        if self.entries.iter().any(|e| e.id == id) {
            return Err(("id", format!("`{id}` is in force already")));
        }
        self.entries.push(Entry {
            fault: Fault { id: Some(id.clone()), ..fault },
            id: id.clone(),
            matched: 0,
            hits: 0,
            since: None,
        });
        Ok(id)
    }

    /// Ends all, and says how many there were.
    pub fn clear(&mut self) -> usize {
        std::mem::take(&mut self.entries).len()
    }

    /// How often a fault has struck; `None` for an unknown one.
    pub fn hits(&self, id: &str) -> Option<u64> {
        self.entries.iter().find(|e| e.id == id).map(|e| e.hits)
    }

    /// All, in the order in which they were added.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Starts the clocks of what was added since the last look.
    pub fn look(&mut self, now: Nanos) {
        self.entries.iter_mut().filter(|e| e.since.is_none()).for_each(|e| e.since = Some(now));
    }

    /// When something begins or ends next.
    pub fn next_due(&self, now: Nanos) -> Option<Nanos> {
        self.entries.iter().flat_map(|e| [e.begins(), e.ends()]).flatten().filter(|at| *at > now).min()
    }

    /// What happens at once: acts whose time has come, each once.
    pub fn acts(&mut self, now: Nanos) -> Vec<Fault> {
        self.look(now);
        let mut due = Vec::new();
        for e in &mut self.entries {
            let at_once = match e.fault.what.row().class {
                Class::Act => true,
                Class::Socket => e.fault.nth.is_none() && e.fault.for_ms.is_none(),
                _ => false,
            };
            if at_once && e.matched == 0 && e.begins().is_some_and(|b| now >= b) {
                e.matched = 1;
                due.push(e.fault.clone());
                // A socket's hits are counted as sockets are cut.
                e.hits += u64::from(e.fault.what.row().class == Class::Act);
            }
        }
        due
    }

    /// Counts what an act hit.
    pub fn count(&mut self, id: &str, hits: u64) {
        self.entries.iter_mut().filter(|e| e.id == id).for_each(|e| e.hits += hits);
    }

    /// The first fault of a request that strikes.
    pub fn on_request(&mut self, facts: &Facts<'_>, now: Nanos) -> Option<Fault> {
        self.struck(Class::Request, facts, now).next()
    }

    /// The faults that strike a frame to one socket, each with its end.
    pub fn on_frame(&mut self, facts: &Facts<'_>, now: Nanos) -> Vec<(Fault, Option<Nanos>)> {
        self.look(now);
        let seed = self.seed;
        let all = self.entries.iter_mut().filter(|e| {
            let class = e.fault.what.row().class;
            let by_frame = class == Class::Frame
                || (class == Class::Socket && (e.fault.nth.is_some() || e.fault.for_ms.is_some()));
            by_frame && e.is_on(now) && e.fault.concerns(facts)
        });
        all.filter_map(|e| e.strikes(seed).then(|| (e.fault.clone(), e.ends()))).collect()
    }

    /// The fault that decides about a trade.
    pub fn on_trade(&mut self, facts: &Facts<'_>, now: Nanos) -> Option<Fault> {
        self.struck(Class::Trade, facts, now).next()
    }

    /// True while a state of this kind lasts for any of these names.
    pub fn lasts(&self, what: What, names: &[String], now: Nanos) -> bool {
        let facts = Facts { names, ..Facts::default() };
        self.entries.iter().any(|e| e.fault.what == what && e.is_on(now) && e.fault.concerns(&facts))
    }

    fn struck(&mut self, class: Class, facts: &Facts<'_>, now: Nanos) -> impl Iterator<Item = Fault> {
        self.look(now);
        let seed = self.seed;
        self.entries
            .iter_mut()
            .filter(move |e| e.fault.what.row().class == class && e.is_on(now) && e.fault.concerns(facts))
            .filter_map(move |e| e.strikes(seed).then(|| e.fault.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Nanos {
        Nanos(seconds * 1_000_000_000)
    }

    fn post() -> Facts<'static> {
        Facts { route: "POST /order", ..Facts::default() }
    }

    fn pattern(fault: Fault, seed: u64, n: usize) -> Vec<bool> {
        let mut all = Faults::new(seed);
        all.add(fault).unwrap();
        (0..n).map(|_| all.on_request(&post(), s(1)).is_some()).collect()
    }

    #[test]
    fn when_a_fault_strikes() {
        let slow = Fault { ms: Some(5), ..Fault::new(What::Slow) };
        for (fault, wanted) in [
            (slow.clone(), [true, true, true, true]),
            (Fault { nth: Some(3), ..slow.clone() }, [false, false, true, false]),
            (Fault { count: Some(2), ..slow.clone() }, [true, true, false, false]),
            (Fault { nth: Some(2), count: Some(2), ..slow.clone() }, [false, true, true, false]),
            (Fault { probability: Some(0.0), ..slow.clone() }, [false; 4]),
            (Fault { probability: Some(1.0), ..slow.clone() }, [true; 4]),
            (Fault { route: Some("POST /orders".into()), ..slow.clone() }, [false; 4]),
            (Fault { route: Some("POST /o*".into()), ..slow.clone() }, [true; 4]),
            (Fault { account: Some("0xAB".into()), ..slow.clone() }, [false; 4]),
        ] {
            assert_eq!(pattern(fault.clone(), 1, 4), wanted, "{fault:?}");
        }
        let half = Fault { probability: Some(0.5), ..slow };
        let of = |seed| pattern(half.clone(), seed, 1_000);
        assert_eq!(of(7), of(7), "a seed repeats itself");
        assert_ne!(of(7), of(8));
        let hits = of(7).iter().filter(|h| **h).count();
        assert!((400..600).contains(&hits), "{hits}");
    }

    #[test]
    fn a_window_begins_and_ends_and_an_act_is_done_once() {
        let mut all = Faults::new(1);
        let id = all
            .add(Fault { ms: Some(1), after_ms: Some(1_000), for_ms: Some(2_000), ..Fault::new(What::Slow) })
            .unwrap();
        all.look(s(10));
        assert_eq!(all.next_due(s(10)), Some(s(11)));
        let struck: Vec<_> = (10..15).map(|t| all.on_request(&post(), s(t)).is_some()).collect();
        assert_eq!(struck, [false, true, true, false, false]);
        assert_eq!(all.hits(&id), Some(2));
        let act = all.add(Fault { after_ms: Some(1_000), ..Fault::new(What::BookClear) }).unwrap();
        let due: Vec<_> = (20..24).map(|t| all.acts(s(t)).len()).collect();
        assert_eq!((due, all.hits(&act)), (vec![0, 1, 0, 0], Some(1)));
        assert_eq!(all.clear(), 2);
        assert_eq!(all.hits(&act), None);
    }

    #[test]
    fn sockets_are_told_apart() {
        let mut all = Faults::new(1);
        let freeze = Fault { connection: Some(2), token: Some("17".into()), ..Fault::new(What::Freeze) };
        all.add(freeze).unwrap();
        let mut frozen = |line, n, names: &[&str]| {
            let names: Vec<_> = names.iter().map(|n| (*n).to_owned()).collect();
            !all.on_frame(&Facts { socket: Some((line, n)), names: &names, ..Facts::default() }, s(1)).is_empty()
        };
        assert!(frozen(Line::Market, 2, &["17", "18"]));
        assert!(
            !frozen(Line::Market, 1, &["17"]) && !frozen(Line::User, 2, &["17"]) && !frozen(Line::Market, 2, &["18"])
        );
    }
}
