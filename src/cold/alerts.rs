//! What somebody should be woken for: one line at `error` for each, with its `event_type`, and never a flood of them.

use super::{dead_letters, journal::Record, status::Latest};
use crate::{
    engine::report::Brief,
    types::{
        Event, Nanos, Sequenced,
        event::{CancelRefusal, ControlEvent, ReplyEvent},
    },
};

/// Of each kind, one line in this time; the next one says how many were held back.
const EVERY_NS: u64 = 10_000_000_000;
/// An order whose fate is unknown for this long is told of: most are settled by one question.
const UNRESOLVED_NS: u64 = 5_000_000_000;

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    KillSwitch,
    Breaker,
    Mismatch,
    Unresolved,
    CannotCancel,
    DeadLetters,
    DiskLow,
}

const KINDS: usize = 7;

/// One thing to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// As in the log line.
    pub event_type: &'static str,
    /// What happened.
    pub what: String,
    /// Alerts of this kind held back since the last one.
    pub held_back: u64,
}

/// What was told last, by kind, and what it was compared with.
#[derive(Clone, Debug, Default)]
pub struct Alerts {
    told: [Option<Nanos>; KINDS],
    held_back: [u64; KINDS],
    kill_switch: Option<&'static str>,
    mismatches: u64,
    market_breaker_trips: u64,
    unresolved_since: Option<Nanos>,
    dead_letters: u64,
}

impl Alerts {
    /// Looks at a record on its way to the disk.
    pub fn see(&mut self, record: &Record) -> Option<Alert> {
        let Record::Event(Sequenced { stamp, event, .. }) = record else { return None };
        let now = stamp.wall;
        match event {
            Event::Control(ControlEvent::Kill(reason)) => {
                // The engine's own numbers will say the same a moment later.
                self.kill_switch = Some(reason.as_str());
                self.tell(Kind::KillSwitch, now, || kill_text(reason.as_str()))
            }
            Event::Reply(ReplyEvent::Breaker { of, open: true }) => self.tell(Kind::Breaker, now, || {
                format!("the breaker of {} opened: no new calls of that kind", of.as_str())
            }),
            Event::Reply(ReplyEvent::CancelUnknown { order }) => self
                .tell(Kind::CannotCancel, now, || format!("the cancel of {order} was not answered; it is asked again")),
            Event::Reply(ReplyEvent::CancelRefused { order, reason: CancelRefusal::Other }) => {
                self.tell(Kind::CannotCancel, now, || format!("the venue did not cancel {order}"))
            }
            _ => None,
        }
    }

    /// Looks at the engine's numbers.
    pub fn look(&mut self, latest: &Latest, now: Nanos) -> Vec<Alert> {
        let Brief { kill_switch, orders, reconciliation, .. } = latest.brief;
        let (reconcile_mismatches, market_breaker_trips) = (reconciliation.mismatches, reconciliation.breaker_trips);
        let mut all = Vec::new();
        if kill_switch.is_some() && self.kill_switch.is_none() {
            all.extend(self.tell(Kind::KillSwitch, now, || kill_text(kill_switch.unwrap_or_default())));
        }
        self.kill_switch = kill_switch;
        let more = reconcile_mismatches.saturating_sub(std::mem::replace(&mut self.mismatches, reconcile_mismatches));
        if more > 0 {
            let what = || format!("{more} times the venue's word of our orders or holdings was not ours");
            all.extend(self.tell(Kind::Mismatch, now, what));
        }
        let before = std::mem::replace(&mut self.market_breaker_trips, market_breaker_trips);
        if market_breaker_trips > before {
            let what = || "a market's breaker opened: no new orders there for a while".into();
            all.extend(self.tell(Kind::Breaker, now, what));
        }
        if orders.unresolved == 0 {
            self.unresolved_since = None;
        } else if now.since(*self.unresolved_since.get_or_insert(now)) >= UNRESOLVED_NS {
            let what = || format!("{} orders whose fate is unknown; they hold their exposure", orders.unresolved);
            all.extend(self.tell(Kind::Unresolved, now, what));
        }
        all
    }

    /// Looks at the dead letters.
    pub fn letters(&mut self, counts: &dead_letters::Counts, now: Nanos) -> Option<Alert> {
        let (dead, before) = (counts.dead + counts.lost, self.dead_letters);
        self.dead_letters = dead;
        let what = || format!("{dead} messages of this run could not be read; `dead-letters list` shows them");
        if dead > before { self.tell(Kind::DeadLetters, now, what) } else { None }
    }

    /// The journal's disk has less room than is kept in reserve.
    pub fn disk_low(&mut self, free_mib: u64, now: Nanos) -> Option<Alert> {
        self.tell(Kind::DiskLow, now, || {
            format!("{free_mib} MiB left on the journal's disk; full, it stops all orders")
        })
    }

    fn tell(&mut self, kind: Kind, now: Nanos, what: impl FnOnce() -> String) -> Option<Alert> {
        let n = kind as usize;
        if self.told[n].is_some_and(|at| now.since(at) < EVERY_NS) {
            self.held_back[n] += 1;
            return None;
        }
        self.told[n] = Some(now);
        let event_type = match kind {
            Kind::KillSwitch => "kill_switch",
            Kind::Breaker => "breaker_open",
            Kind::Mismatch => "reconcile_mismatch",
            Kind::Unresolved => "order_unresolved",
            Kind::CannotCancel => "cannot_cancel",
            Kind::DeadLetters => "dead_letters",
            Kind::DiskLow => "disk_low",
        };
        Some(Alert { event_type, what: what(), held_back: std::mem::take(&mut self.held_back[n]) })
    }
}

fn kill_text(reason: &str) -> String {
    format!("the kill switch is on: {reason}; no order leaves, everything is being cancelled")
}

/// Writes alerts to the log.
pub fn log(alerts: impl IntoIterator<Item = Alert>) {
    for Alert { event_type, what, held_back } in alerts {
        tracing::error!(component = "alert", event_type, held_back, "{what}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::report::{Orders, Reconciliation},
        types::{
            OrderHash, Stamp,
            event::{Dependency, KillReason},
        },
    };

    const S: u64 = 1_000_000_000;

    fn at(seconds: u64, event: Event) -> Record {
        let stamp = Stamp { wall: Nanos(seconds * S), ..Stamp::default() };
        Record::Event(Sequenced { seq: 1, stamp, event })
    }

    #[test]
    fn each_kind_is_told_and_a_flood_is_held_back() {
        let order = OrderHash([1; 32]);
        let table = [
            (Event::Control(ControlEvent::Kill(KillReason::Manual)), Some("kill_switch")),
            (Event::Reply(ReplyEvent::Breaker { of: Dependency::Cancels, open: true }), Some("breaker_open")),
            (Event::Reply(ReplyEvent::Breaker { of: Dependency::Reads, open: false }), None),
            (Event::Reply(ReplyEvent::CancelUnknown { order }), Some("cannot_cancel")),
            (Event::Reply(ReplyEvent::CancelRefused { order, reason: CancelRefusal::Gone }), None),
            (Event::Tick, None),
        ];
        for (event, kind) in table {
            let mut alerts = Alerts::default();
            assert_eq!(alerts.see(&at(1, event)).map(|a| a.event_type), kind, "{event:?}");
            assert_eq!((2..=10).find_map(|s| alerts.see(&at(s, event))), None, "{event:?}");
            assert_eq!(alerts.see(&at(11, event)).map(|a| a.held_back), kind.map(|_| 9), "{event:?}");
        }
    }

    #[test]
    fn the_engine_s_numbers_are_told_when_they_change() {
        let mut alerts = Alerts::default();
        let latest = |kill_switch, unresolved, reconcile_mismatches| Latest {
            brief: Brief {
                kill_switch,
                reconciliation: Reconciliation { mismatches: reconcile_mismatches, ..Reconciliation::default() },
                orders: Orders { unresolved, ..Orders::default() },
                ..Brief::default()
            },
            ..Latest::default()
        };
        let mut told = |seconds, latest: &Latest| -> Vec<&'static str> {
            alerts.look(latest, Nanos(seconds * S)).iter().map(|a| a.event_type).collect()
        };
        assert!(told(1, &latest(None, 1, 0)).is_empty(), "most are settled by one question");
        assert_eq!(told(2, &latest(Some("rejects"), 1, 1)), ["kill_switch", "reconcile_mismatch"]);
        assert!(told(3, &latest(Some("rejects"), 1, 1)).is_empty());
        assert_eq!(told(6, &latest(Some("rejects"), 1, 1)), ["order_unresolved"]);
        assert!(told(30, &latest(Some("rejects"), 0, 1)).is_empty());
        assert!(told(31, &latest(None, 0, 1)).is_empty());
        assert_eq!(told(32, &latest(Some("manual"), 0, 2)), ["kill_switch", "reconcile_mismatch"]);
    }
}
