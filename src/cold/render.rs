//! A run's summary for people: at most 100 columns, colour only where it is wanted.

use std::fmt::Write;

use super::{metrics::Quantiles, summary::Summary};
use crate::types::{Qty, Usdc};

/// Widest line.
const WIDTH: usize = 100;

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
const RESET: &str = "\x1b[0m";

/// True if standard output is a terminal and `NO_COLOR` is not set (<https://no-color.org>).
pub fn colour_wanted() -> bool {
    use std::io::IsTerminal;
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Nanoseconds in a unit that keeps three digits: `812 ns`, `41.5 µs`, `1.24 ms`, `2.31 s`.
pub fn duration(ns: u64) -> String {
    let scaled = |unit: u64, name: &str| {
        let (whole, rest) = (ns / unit, ns % unit);
        match whole {
            0..10 => format!("{whole}.{:02} {name}", rest * 100 / unit),
            10..100 => format!("{whole}.{} {name}", rest * 10 / unit),
            _ => format!("{whole} {name}"),
        }
    };
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => scaled(1_000, "µs"),
        1_000_000..1_000_000_000 => scaled(1_000_000, "ms"),
        _ => scaled(1_000_000_000, "s"),
    }
}

/// Money with its sign and up to six decimals, cut towards zero.
pub fn money(value: Usdc, decimals: u32) -> String {
    let unit = 10_u64.pow(6 - decimals.min(6));
    let cut = value.micro().unsigned_abs() / unit;
    let per = 10_u64.pow(decimals.min(6));
    let sign = match value.micro() {
        0 => "",
        n if n < 0 => "−",
        _ => "+",
    };
    if decimals == 0 {
        return format!("{sign}{cut}");
    }
    format!("{sign}{}.{:0width$}", cut / per, cut % per, width = decimals as usize)
}

/// Shares with two decimals, cut.
fn shares(qty: Qty) -> String {
    let cents = qty.micro() / 10_000;
    if cents == 0 { "0".into() } else { format!("{}.{:02}", cents / 100, cents % 100) }
}

/// The whole page, its last line ended.
pub fn page(summary: &Summary, colour: bool) -> String {
    let mut page = Page { text: String::new(), colour };
    page.head(summary);
    page.markets(summary);
    page.equity(summary);
    page.orders(summary);
    page.latency(summary);
    page.rings(summary);
    page.end(summary);
    page.text
}

struct Page {
    text: String,
    colour: bool,
}

/// A cell: its text, and how it is coloured.
struct Cell(String, &'static str);

impl Page {
    fn paint(&self, how: &str, text: &str) -> String {
        if self.colour && !how.is_empty() { format!("{how}{text}{RESET}") } else { text.to_owned() }
    }

    fn line(&mut self, text: &str) {
        let _ = writeln!(self.text, "{}", text.trim_end());
    }

    fn head(&mut self, s: &Summary) {
        let f = &s.facts;
        let result = s.score().map_or(String::new(), |[a, b]| format!(" · {a}–{b}"));
        let title = if f.title.is_empty() { &f.run_id } else { &f.title };
        let title = clip(&format!("{title}{result}"), WIDTH - 1);
        let cores: Vec<String> = f.cores.iter().map(usize::to_string).collect();
        let seconds = f.duration.as_millis() / 100;
        let facts = format!(
            "{} · seed {} · {}× · {}.{} s on core{} {} · {}",
            f.mode,
            f.seed,
            f.speed,
            seconds / 10,
            seconds % 10,
            if cores.len() == 1 { "" } else { "s" },
            cores.join(","),
            f.stop_reason
        );
        let (title, facts) = (self.paint(BOLD, &title), self.paint(DIM, &clip(&facts, WIDTH - 1)));
        self.line(&format!("\n {title}"));
        self.line(&format!(" {facts}"));
        self.line("");
    }

    fn markets(&mut self, s: &Summary) {
        let head = ["market", "paid", "fills", "pairs", "merged", "pair P&L", "unpaired", "unp. P&L", "fees", "P&L"];
        let first = s.report.markets.first().map_or("", |m| m.slug.as_str());
        // The markets of one match share their first's slug; what is added tells them apart.
        let name = |slug: &str| match slug.strip_prefix(first).and_then(|rest| rest.strip_prefix('-')) {
            Some(rest) if !first.is_empty() => format!("  {rest}"),
            _ => slug.to_owned(),
        };
        let rows: Vec<Vec<Cell>> = s
            .report
            .markets
            .iter()
            .map(|m| {
                vec![
                    Cell(name(&m.slug), ""),
                    Cell(m.payout.unwrap_or("–").into(), ""),
                    Cell(format!("{}+{}", m.fills[0], m.fills[1]), ""),
                    Cell(shares(m.pairs), ""),
                    Cell(shares(m.merged), ""),
                    gain(m.pair_pnl, 2),
                    Cell(shares(m.unpaired), ""),
                    gain(m.unpaired_pnl, 2),
                    Cell(money(m.fees, 2).trim_start_matches('+').into(), ""),
                    gain(m.pnl, 2),
                ]
            })
            .collect();
        if !rows.is_empty() {
            self.table(&head, 2, rows);
        }
    }

    fn equity(&mut self, s: &Summary) {
        let p = &s.report.pnl;
        let Cell(equity, how) = gain(p.equity_change, 6);
        let equity = self.paint(how, &equity);
        let verdict = match s.venue_agrees() {
            Some(true) => self.paint(GREEN, "✓ the venue's account of us is the same to the micro-dollar"),
            Some(false) => {
                let theirs = s.facts.venue_equity_change.map_or(String::new(), |v| money(v, 6));
                self.paint(RED, &format!("✗ the venue's account of us says {theirs}"))
            }
            None => String::new(),
        };
        self.line(&format!("\n equity   {equity} pUSD   {verdict}"));
        let [spread, inventory, fees, rounding] = [p.spread, p.inventory, -p.fees, p.rounding]
            .map(|v| if v == Usdc::ZERO { "0".into() } else { money(v, 6) });
        let income = p.rebates + p.rewards;
        let income = if income == Usdc::ZERO { String::new() } else { format!("  rebates {}", money(income, 6)) };
        let line =
            format!("          = spread {spread}  inventory {inventory}  fees {fees}{income}  rounding {rounding}");
        self.line(&line);
    }

    fn orders(&mut self, s: &Summary) {
        let (o, f) = (&s.report.orders, &s.report.fills);
        self.line(&format!(
            " orders   {} sent · {} accepted · {} rejected · {} cancelled · {} unknown, {} unresolved",
            o.sent, o.accepted, o.rejected, o.canceled, o.unknown, o.unresolved
        ));
        let notional = money(f.notional, 2);
        self.line(&format!(
            " fills    {} · {} as maker, {} as taker · {} pUSD changed hands",
            f.count,
            f.count.saturating_sub(f.taker),
            f.taker,
            notional.trim_start_matches(['+', '−'])
        ));
        if let Some(reason) = s.report.kill_switch {
            let text = self.paint(RED, &format!("kill switch: {reason}"));
            self.line(&format!(" risk     {text}"));
        }
        for (n, remark) in s.report.remarks.iter().enumerate() {
            self.line(&format!(" {:<8} {remark}", if n == 0 { "remarks" } else { "" }));
        }
        self.line("");
    }

    fn latency(&mut self, s: &Summary) {
        let rows: Vec<Vec<Cell>> = s
            .latency
            .iter()
            .filter(|(_, q)| q.count > 0)
            .map(|(stage, Quantiles { count, p50_ns, p90_ns, p99_ns, p999_ns, max_ns })| {
                let mut row = vec![Cell(stage.replace('_', " "), ""), Cell(count.to_string(), DIM)];
                row.extend([p50_ns, p90_ns, p99_ns, p999_ns, max_ns].map(|ns| Cell(duration(*ns), "")));
                row
            })
            .collect();
        if !rows.is_empty() {
            self.table(&["latency", "samples", "p50", "p90", "p99", "p99.9", "max"], 1, rows);
            self.line("");
        }
    }

    fn rings(&mut self, s: &Summary) {
        let (mut line, mut width) = (String::from(" rings  "), 8);
        for (name, ring) in &s.rings {
            let lost = if ring.overflows > 0 { format!(", {} lost", ring.overflows) } else { String::new() };
            let item = format!("  {name} {}/{}{lost}", ring.high_water, ring.depth);
            if width + item.chars().count() > WIDTH {
                self.line(&line);
                (line, width) = (" ".repeat(8), 8);
            }
            width += item.chars().count();
            line.push_str(&self.paint(if ring.overflows > 0 { RED } else { "" }, &item));
        }
        if !s.rings.is_empty() {
            self.line(&line);
        }
    }

    fn end(&mut self, s: &Summary) {
        for failure in &s.facts.failures {
            let text = self.paint(RED, failure);
            self.line(&format!(" failed   {text}"));
        }
        if let Some(journal) = &s.facts.journal {
            self.line(&format!(" journal  {}", journal.display()));
            self.line(&format!(" next     polyloly-fast replay {}", quoted(&journal.display().to_string())));
        }
    }

    /// A boxed table: the first `left` columns to the left, numbers to the right. The first column gives way.
    fn table(&mut self, head: &[&str], left: usize, rows: Vec<Vec<Cell>>) {
        let mut widths: Vec<usize> = head.iter().map(|h| h.chars().count()).collect();
        for row in &rows {
            for (width, Cell(text, _)) in widths.iter_mut().zip(row) {
                *width = (*width).max(text.chars().count());
            }
        }
        let frame = 4 + 2 * (widths.len() - 1);
        let others: usize = widths[1..].iter().sum();
        widths[0] = widths[0].min(WIDTH.saturating_sub(frame + others + 1)).max(head[0].chars().count());
        let inside: usize = widths.iter().sum::<usize>() + frame - 2;
        let rule = "─".repeat(inside);
        self.line(&format!(" ┌{rule}┐"));
        self.row(head.iter().map(|h| Cell((*h).into(), BOLD)).collect(), &widths, left);
        self.line(&format!(" ├{rule}┤"));
        rows.into_iter().for_each(|row| self.row(row, &widths, left));
        self.line(&format!(" └{rule}┘"));
    }

    fn row(&mut self, cells: Vec<Cell>, widths: &[usize], left: usize) {
        let mut line = String::from(" │ ");
        for (n, (Cell(text, how), &width)) in cells.into_iter().zip(widths).enumerate() {
            let text = clip(&text, width);
            let padded = if n < left { format!("{text:<width$}") } else { format!("{text:>width$}") };
            line.push_str(if n == 0 { "" } else { "  " });
            line.push_str(&self.paint(how, &padded));
        }
        line.push_str(" │");
        self.line(&line);
    }
}

/// Money, green when gained and red when lost.
fn gain(value: Usdc, decimals: u32) -> Cell {
    let shown = value.micro() / 10_i64.pow(6 - decimals);
    let how = match shown {
        0 => "",
        n if n < 0 => RED,
        _ => GREEN,
    };
    Cell(if shown == 0 { "0".into() } else { money(value, decimals) }, how)
}

/// The text, or its end behind an ellipsis: what tells slugs apart stands at their end.
fn clip(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.into();
    }
    let tail: String = text.chars().skip(count - width.saturating_sub(1)).collect();
    format!("…{tail}")
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c));
    if plain { text.into() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
