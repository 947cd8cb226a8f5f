//! What the venue accepts at the moment: everything, post-only, cancels, nothing, or 425 during a restart.
//!
//! Source: docs/PROTOCOL.md "restarts and modes", "errors".

use serde_json::{Value, json};

use crate::types::Nanos;

/// How long the post-only window after a restart lasts. Source: docs/PROTOCOL.md "restarts and modes".
pub const POST_ONLY_AFTER_RESTART_MS: u64 = 120_000;

/// The venue's mode. What ends by itself carries its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Everything goes.
    #[default]
    Normal,
    /// Only post-only orders and cancels, until a time.
    PostOnly(Option<Nanos>),
    /// Only cancels, until a time.
    CancelOnly(Option<Nanos>),
    /// Neither orders nor cancels, until a time.
    Disabled(Option<Nanos>),
    /// 425 on every order call until a time, then post-only until another.
    Restarting(Option<(Nanos, Nanos)>),
}

/// Words of a disabled venue.
pub const DISABLED: &str = "Trading is currently disabled. Check polymarket.com for updates";
/// Words of a venue that only cancels.
pub const CANCEL_ONLY: &str = "Trading is currently cancel-only. New orders are not accepted, but cancels are allowed.";
/// Words of a post-only window.
pub const POST_ONLY: &str = "post-only mode: only post-only orders and cancels are allowed";
/// Words of a restart.
pub const RESTARTING: &str = "Too Early: the matching engine is restarting";

/// A refusal: status, body, seconds after which to try again.
#[derive(Clone, Debug, PartialEq)]
pub struct Closed {
    /// 425 or 503.
    pub status: u16,
    /// JSON.
    pub body: Value,
    /// For `Retry-After`.
    pub retry_after_s: Option<u64>,
}

impl Mode {
    /// The mode as it is now: what has ended has ended.
    pub fn at(self, now: Nanos) -> Self {
        let over = |until: Option<Nanos>| until.is_some_and(|u| now >= u);
        match self {
            Self::PostOnly(until) | Self::CancelOnly(until) | Self::Disabled(until) if over(until) => Self::Normal,
            Self::Restarting(Some((up, open))) if now >= up => Self::PostOnly(Some(open)).at(now),
            other => other,
        }
    }

    /// Why an order is not taken, if it is not. Each leg of a batch is asked for.
    pub fn order(self, post_only: bool, now: Nanos) -> Result<(), Closed> {
        let refused = |text: &str| Closed { status: 503, body: json!({"error": text}), retry_after_s: None };
        match self.at(now) {
            Self::Normal => Ok(()),
            Self::PostOnly(_) if post_only => Ok(()),
            Self::PostOnly(until) => {
                let wait =
                    until.map_or(POST_ONLY_AFTER_RESTART_MS * 1_000_000, |u| u.since(now)).div_ceil(1_000_000_000);
                let body = json!({"error": POST_ONLY, "code": "post_only_mode", "retry_after_seconds": wait});
                Err(Closed { status: 503, body, retry_after_s: Some(wait) })
            }
            Self::CancelOnly(_) => Err(refused(CANCEL_ONLY)),
            Self::Disabled(_) => Err(refused(DISABLED)),
            Self::Restarting(_) => Err(Closed { status: 425, ..refused(RESTARTING) }),
        }
    }

    /// Why a cancel is not taken, if it is not.
    pub fn cancel(self, now: Nanos) -> Result<(), Closed> {
        match self.at(now) {
            Self::Normal | Self::PostOnly(_) | Self::CancelOnly(_) => Ok(()),
            Self::Disabled(_) | Self::Restarting(_) => self.order(false, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_mode_takes() {
        let t = Nanos(100_000_000_000);
        let later = Some(t.plus(90_000_000_000));
        let restart = Mode::Restarting(Some((t, t.plus(10_000_000_000))));
        let before = Nanos(t.0 - 1);
        let status = |r: Result<(), Closed>| r.map_or_else(|c| c.status, |()| 200);
        for (mode, at, taker, maker, cancel) in [
            (Mode::Normal, t, 200, 200, 200),
            (Mode::PostOnly(later), t, 503, 200, 200),
            (Mode::PostOnly(Some(t)), t, 200, 200, 200),
            (Mode::CancelOnly(None), t, 503, 503, 200),
            (Mode::Disabled(None), t, 503, 503, 503),
            (Mode::Restarting(None), t, 425, 425, 425),
            (restart, before, 425, 425, 425),
            (restart, t, 503, 200, 200),
            (restart, t.plus(10_000_000_000), 200, 200, 200),
        ] {
            let got = (status(mode.order(false, at)), status(mode.order(true, at)), status(mode.cancel(at)));
            assert_eq!(got, (taker, maker, cancel), "{mode:?}");
        }
        let closed = Mode::PostOnly(later).order(false, t).unwrap_err();
        assert_eq!((closed.retry_after_s, &closed.body["retry_after_seconds"]), (Some(90), &json!(90)));
        assert_eq!(closed.body["code"], "post_only_mode");
    }
}
