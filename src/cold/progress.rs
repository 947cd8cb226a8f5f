//! One line about a run that is on its way: rewritten in place on a terminal, now and then otherwise.

use std::io::{IsTerminal, Write};

use crate::types::{
    Nanos, Usdc,
    event::{MatchEvent, MatchPhase},
};

/// On a terminal, four times a second.
const EVERY_TTY_NS: u64 = 250_000_000;
/// Elsewhere, every five seconds.
const EVERY_PLAIN_NS: u64 = 5_000_000_000;

/// Where the line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Rewritten in place.
    Terminal,
    /// A new line every few seconds.
    Plain,
    /// Nowhere.
    Off,
}

impl Style {
    /// What suits standard error. `logs_there`: logs go to the same place at `info` or below.
    pub fn for_stderr(logs_there: bool) -> Self {
        if logs_there {
            Self::Off
        } else if std::io::stderr().is_terminal() {
            Self::Terminal
        } else {
            Self::Plain
        }
    }
}

/// What the line shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// Where the match is, if a feed said.
    pub state_of_match: Option<MatchEvent>,
    /// Orders open now.
    pub open: u64,
    /// Fills so far.
    pub fills: u64,
    /// Equity change so far.
    pub equity: Usdc,
    /// Median tick to trade in nanoseconds, once there is one.
    pub tick_to_trade_ns: Option<u64>,
}

/// Writes the line to standard error when it is time.
#[derive(Debug)]
pub struct Progress {
    style: Style,
    next: Nanos,
    last: Option<Glance>,
}

impl Progress {
    /// A line in this style.
    pub fn new(style: Style) -> Self {
        Self { style, next: Nanos(0), last: None }
    }

    /// True when a line is due.
    pub fn due(&self, now: Nanos) -> bool {
        self.style != Style::Off && now >= self.next
    }

    /// Writes a line, unless nothing has changed.
    pub fn show(&mut self, now: Nanos, glance: Glance) {
        let every = if self.style == Style::Terminal { EVERY_TTY_NS } else { EVERY_PLAIN_NS };
        self.next = now.plus(every);
        if self.style == Style::Off || self.last == Some(glance) {
            return;
        }
        self.last = Some(glance);
        let line = line(&glance);
        let mut stderr = std::io::stderr();
        let _ = match self.style {
            Style::Terminal => write!(stderr, "\r\x1b[2K{line}").and_then(|()| stderr.flush()),
            _ => writeln!(stderr, "{line}"),
        };
    }

    /// Clears the line, so that what follows starts on an empty one.
    pub fn finish(&mut self) {
        if self.style == Style::Terminal && self.last.is_some() {
            let mut stderr = std::io::stderr();
            let _ = write!(stderr, "\r\x1b[2K").and_then(|()| stderr.flush());
        }
        self.style = Style::Off;
    }
}

fn line(glance: &Glance) -> String {
    let state = match glance.state_of_match {
        None => "waiting for the match".into(),
        Some(MatchEvent { phase, map, score: [a, b] }) => match phase {
            MatchPhase::NotStarted => "before the match".into(),
            MatchPhase::Running => format!("map {map} · {a}–{b}"),
            MatchPhase::Paused => format!("break · {a}–{b}"),
            MatchPhase::Finished => format!("match over · {a}–{b}"),
        },
    };
    let latency = glance.tick_to_trade_ns.map_or("–".into(), super::render::duration);
    let equity = super::render::money(glance.equity, 2);
    format!("{state:<22} {:>3} open  {:>4} fills  {equity:>9} pUSD  tick to trade {latency}", glance.open, glance.fills)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let running = MatchEvent { phase: MatchPhase::Running, map: 2, score: [1, 0] };
        let glance = Glance {
            state_of_match: Some(running),
            open: 6,
            fills: 41,
            equity: Usdc(-1_234_567),
            tick_to_trade_ns: Some(41_500),
        };
        assert_eq!(line(&glance), "map 2 · 1–0              6 open    41 fills      −1.23 pUSD  tick to trade 41.5 µs");
        assert!(line(&Glance::default()).starts_with("waiting for the match"));
    }

    #[test]
    fn a_line_is_due_as_often_as_its_style_says() {
        for (style, every) in [(Style::Terminal, EVERY_TTY_NS), (Style::Plain, EVERY_PLAIN_NS)] {
            let mut progress = Progress::new(style);
            assert!(progress.due(Nanos(1)));
            progress.last = Some(Glance::default());
            progress.show(Nanos(1), Glance::default());
            assert!(!progress.due(Nanos(every)) && progress.due(Nanos(1 + every)), "{style:?}");
        }
        assert!(!Progress::new(Style::Off).due(Nanos(u64::MAX)));
    }
}
