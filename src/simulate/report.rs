//! What many matches came to: tables for people, and the same as JSON.

use std::fmt::Write;

use serde::Serialize;

use super::{account::HORIZONS_S, course::Course, series::Played, stats::Mean};
use crate::{engine::refusal::Refusal, scenario::family::Family, types::Usdc};

/// One player's matches of a family. Money in pUSD a match.
#[derive(Clone, Debug, Serialize)]
pub struct Player {
    /// Whole-match equity, and its 95 % interval.
    pub equity: Mean,
    /// The same with each fill against the exact fair price at its moment instead of the payout: the mean is the
    /// same, the luck of the result is out.
    pub at_fair: Mean,
    /// The same by the strategy that bought, rounding left out.
    pub strategies: Vec<(&'static str, f64)>,
    /// Earned against the middle before each fill.
    pub spread: f64,
    /// Lost or gained by the middle's move within 1, 5, 30 and 300 s of each fill.
    pub markouts: [f64; 4],
    /// From 300 s to the payout.
    pub inventory: f64,
    /// Paid as taker.
    pub fees: f64,
    /// Paid to makers by the venue: none is modelled.
    pub rebates: f64,
    /// The venue's integers against prices × sizes.
    pub rounding: f64,
    /// Cash that changed hands.
    pub traded: f64,
    /// Fills.
    pub fills: f64,
    /// Orders sent.
    pub orders: f64,
    /// Part of the match in which an order of ours stood.
    pub quoting: f64,
    /// Matches in which the kill switch stopped it, by reason.
    pub stopped: Vec<(&'static str, usize)>,
    /// Matches in which orders were refused because what could be lost in all, the loss so far included, was at its
    /// limit.
    pub held_back: usize,
    /// Matches in which it left a market alone because its own fills said so.
    pub left: usize,
    /// Markets that it left alone, at a time.
    pub markets_off: f64,
}

/// One family.
#[derive(Clone, Debug, Serialize)]
pub struct Chapter {
    /// Its name.
    pub family: &'static str,
    /// Matches.
    pub matches: usize,
    /// The strategies of a run.
    pub ours: Player,
    /// The baseline.
    pub touch: Player,
    /// The strategy's equity minus the baseline's, match by match.
    pub ahead: Mean,
    /// In words.
    pub verdict: String,
    /// Whatever did not add up, with its seed. Empty, or the figures mean nothing.
    pub faults: Vec<String>,
}

fn dollars(money: Usdc) -> f64 {
    money.micro() as f64 / 1e6
}

impl Player {
    fn of(matches: &[&Course]) -> Self {
        let n = matches.len().max(1) as f64;
        let all = |f: &dyn Fn(&Course) -> f64| matches.iter().map(|c| f(c)).collect::<Vec<_>>();
        let mean = |f: &dyn Fn(&Course) -> f64| all(f).iter().sum::<f64>() / n;
        let mut stopped: Vec<(&'static str, usize)> = Vec::new();
        for reason in matches.iter().filter_map(|c| c.report.kill_switch) {
            match stopped.iter_mut().find(|(r, _)| *r == reason) {
                Some((_, times)) => *times += 1,
                None => stopped.push((reason, 1)),
            }
        }
        stopped.sort_unstable();
        let names: Vec<_> = matches.first().map_or_else(Vec::new, |c| c.report.strategies.iter().collect());
        let of = |name: &'static str| {
            let its = |c: &Course| c.report.strategies.iter().find(|s| s.name == name).map_or(0.0, |s| dollars(s.pnl));
            (name, mean(&its))
        };
        Self {
            strategies: names.into_iter().map(|s| of(s.name)).filter(|(_, pnl)| *pnl != 0.0).collect(),
            equity: Mean::of(&all(&|c| dollars(c.money.equity))),
            at_fair: Mean::of(&all(&|c| c.at_fair)),
            spread: mean(&|c| dollars(c.money.spread)),
            markouts: std::array::from_fn(|h| mean(&|c| dollars(c.money.markouts[h]))),
            inventory: mean(&|c| dollars(c.money.inventory)),
            fees: mean(&|c| dollars(c.money.fees)),
            rebates: 0.0,
            rounding: mean(&|c| dollars(c.money.rounding)),
            traded: mean(&|c| dollars(c.money.traded)),
            fills: mean(&|c| c.money.fills as f64),
            orders: mean(&|c| c.report.orders.sent as f64),
            quoting: mean(&|c| c.quoted[0] as f64 / c.quoted[1].max(1) as f64),
            stopped,
            held_back: matches.iter().filter(|c| at_limit(c)).count(),
            left: matches.iter().filter(|c| c.off_ticks > 0).count(),
            markets_off: mean(&|c| c.off_ticks as f64 / c.quoted[1].max(1) as f64),
        }
    }

    fn stops(&self) -> usize {
        self.stopped.iter().map(|(_, times)| times).sum()
    }
}

impl Chapter {
    /// Sums up a family's matches, in the order of their seeds.
    pub fn of(family: &Family, played: &[Played]) -> Self {
        let ours = Player::of(&played.iter().map(|p| &p.ours).collect::<Vec<_>>());
        let touch = Player::of(&played.iter().map(|p| &p.touch).collect::<Vec<_>>());
        let ahead: Vec<f64> = played.iter().map(|p| dollars(p.ours.money.equity - p.touch.money.equity)).collect();
        let faults = played
            .iter()
            .flat_map(|p| [("ours", p.seed, &p.ours), ("touch", p.seed, &p.touch)])
            .flat_map(|(who, seed, c)| c.faults.iter().map(move |f| format!("seed {seed}, {who}: {f}")))
            .collect();
        Self {
            family: family.short(),
            matches: played.len(),
            verdict: verdict(&ours.equity),
            ours,
            touch,
            ahead: Mean::of(&ahead),
            faults,
        }
    }

    /// As one line of the table of delays.
    pub fn row(&self, delay_ms: u64) -> String {
        let Self { family, ours, .. } = self;
        let [equity, at_fair] = [interval(&ours.equity), interval(&ours.at_fair)];
        format!("  {family:<12}{delay_ms:>5} ms{equity:>30}{at_fair:>30}{:>10.1}", ours.fills)
    }

    /// As a table.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let Self { ours, touch, .. } = self;
        // Writing into a string cannot fail.
        let mut line = |text: std::fmt::Arguments<'_>| {
            let _ = writeln!(out, "{text}");
        };
        line(format_args!("{} · {} matches · pUSD a match", self.family, self.matches));
        line(format_args!("  {:<24}{:>30}{:>30}", "", "ours", "touch"));
        let mut both = |name: &str, a: String, b: String| line(format_args!("  {name:<24}{a:>30}{b:>30}"));
        both("equity, 95 % interval", interval(&ours.equity), interval(&touch.equity));
        both("at the fair price", interval(&ours.at_fair), interval(&touch.at_fair));
        for (name, pnl) in ours.strategies.iter().filter(|_| ours.strategies.len() > 1) {
            both(&format!("  of which {name}"), money(*pnl), String::new());
        }
        both("spread", money(ours.spread), money(touch.spread));
        for (h, s) in HORIZONS_S.iter().enumerate() {
            both(&format!("moved within {s} s"), money(ours.markouts[h]), money(touch.markouts[h]));
        }
        both("inventory after that", money(ours.inventory), money(touch.inventory));
        both("fees", money(-ours.fees), money(-touch.fees));
        both("rebates", money(ours.rebates), money(touch.rebates));
        both("rounding", money(ours.rounding), money(touch.rounding));
        both("traded", format!("{:.0}", ours.traded), format!("{:.0}", touch.traded));
        both("fills", format!("{:.1}", ours.fills), format!("{:.1}", touch.fills));
        both("orders", format!("{:.1}", ours.orders), format!("{:.1}", touch.orders));
        both("quoting", format!("{:.1} %", 100.0 * ours.quoting), format!("{:.1} %", 100.0 * touch.quoting));
        both("stopped itself", stops(ours, self.matches), stops(touch, self.matches));
        both("left markets alone", left(ours, self.matches), left(touch, self.matches));
        both("held back by its limit", held_back(ours, self.matches), held_back(touch, self.matches));
        line(format_args!("  ours minus touch        {:>30}", interval(&self.ahead)));
        line(format_args!("  verdict: {}", self.verdict));
        for fault in self.faults.iter().take(5) {
            line(format_args!("  does not add up: {fault}"));
        }
        out
    }
}

/// True if risk refused an order for the limit over everything, or the day's.
fn at_limit(c: &Course) -> bool {
    let limits = [Refusal::TotalLimit, Refusal::DayLimit].map(Refusal::as_str);
    c.report.rejections.iter().any(|(why, n)| limits.contains(why) && *n > 0)
}

/// In words: an edge is one whose whole interval is above zero.
fn verdict(equity: &Mean) -> String {
    if equity.is_positive() {
        format!("edge: {} pUSD a match {}", money(equity.mean), brackets(equity))
    } else {
        "no edge here".into()
    }
}

fn stops(player: &Player, matches: usize) -> String {
    let reasons: Vec<String> = player.stopped.iter().map(|(why, times)| format!("{why} {times}")).collect();
    match player.stops() {
        0 => "never".into(),
        n => format!("{n} of {matches} ({})", reasons.join(", ")),
    }
}

/// In how many matches, and how many markets at a time.
fn left(player: &Player, matches: usize) -> String {
    match player.left {
        0 => "never".into(),
        n => format!("{n} of {matches} ({:.2} at a time)", player.markets_off),
    }
}

fn held_back(player: &Player, matches: usize) -> String {
    match player.held_back {
        0 => "never".into(),
        n => format!("{n} of {matches}"),
    }
}

fn brackets(m: &Mean) -> String {
    format!("[{}, {}]", money(m.low), money(m.high))
}

fn interval(m: &Mean) -> String {
    format!("{} {}", money(m.mean), brackets(m))
}

/// Two decimals and a sign; nothing is −0.00.
fn money(dollars: f64) -> String {
    if dollars.is_infinite() {
        return if dollars > 0.0 { "∞".into() } else { "−∞".into() };
    }
    let text = format!("{:.2}", dollars.abs());
    match dollars {
        _ if text == "0.00" => text,
        d if d < 0.0 => format!("−{text}"),
        _ => format!("+{text}"),
    }
}
