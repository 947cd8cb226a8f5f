//! Waits until a run is over: resolved, told to stop, out of time, or failed.

use std::{
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use super::{place::Place, tiles::Session};
use crate::{config::Config, sys::signal::Signals};

/// How often the main thread looks. It does nothing else, on the last core's time.
const LOOK: Duration = Duration::from_millis(20);
/// An embedded match begins when the engine admits orders, or after this.
const READY_WITHIN: Duration = Duration::from_secs(10);
/// After a scenario's last word the engine gets this long to see it paid out.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// How a run came to its end.
pub(super) struct Ended {
    /// `resolved`, `signal`, `duration`, `scenario_over` or `failure`.
    pub reason: &'static str,
}

/// Waits. A second signal ends the run at once; what rests at the venue is then cancelled by a call of its own.
pub(super) fn until_over(session: &mut Session, place: &Place, config: &Config, signals: &Signals) -> Ended {
    let started = Instant::now();
    let mut begun = false;
    let mut over_since: Option<Instant> = None;
    let mut reason: Option<&'static str> = None;
    while !session.is_finished() {
        if !begun && (session.status.admitting.load(Ordering::Relaxed) || started.elapsed() > READY_WITHIN) {
            begun = true;
            place.begin();
        }
        if place.scenario_is_over() {
            over_since.get_or_insert_with(Instant::now);
        }
        let due = if signals.count() > 0 {
            Some("signal")
        } else if config.run.duration.is_some_and(|d| started.elapsed() >= d.0) {
            Some("duration")
        } else if over_since.is_some_and(|at| at.elapsed() > AFTERWARDS) {
            Some("scenario_over")
        } else {
            None
        };
        if let (Some(due), None, false) = (due, reason, session.control.is_over()) {
            reason = Some(due);
            session.control.request_stop();
        }
        if signals.count() > 1 {
            session.control.end(false);
        }
        thread::sleep(LOOK);
    }
    let failed = session.control.has_failed();
    Ended { reason: if failed { "failure" } else { reason.unwrap_or("resolved") } }
}
