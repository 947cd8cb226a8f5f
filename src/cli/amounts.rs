//! `polyloly-fast amounts`: price and size → the two integers that are signed.

use std::{
    io::{BufRead, Write},
    process::ExitCode,
};

use serde::Deserialize;
use serde_json::json;

use super::exit;
use crate::{
    types::{
        Price, Qty, Side, TickSize, Usdc,
        amounts::{self, Amounts},
        qty::parse_micro,
    },
    wire::rest::Text,
};

/// Reads one JSON object a line on stdin, prints its amounts or an error a line.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// One line, with the names of `amounts.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    kind: String,
    side: Text,
    tick_size: Text,
    price: Text,
    size: Option<Text>,
    amount: Option<Text>,
}

/// Reads an unsigned decimal of any length and cuts it after `decimals`.
fn cut(text: &[u8], decimals: usize) -> Option<u64> {
    let point = text.iter().position(|b| *b == b'.').unwrap_or(text.len());
    let rest = text.get(point + 1..).unwrap_or(b"");
    if !rest.iter().all(u8::is_ascii_digit) {
        return None;
    }
    parse_micro(&text[..text.len().min(point + 1 + decimals)])
}

impl Line {
    /// The amounts of the order that it describes. Errors: the text says what is wrong with which field.
    /// Source: docs/PROTOCOL.md "amounts".
    pub fn amounts(&self) -> Result<Amounts, String> {
        let tick = TickSize::parse(self.tick_size.bytes()).ok_or_else(|| {
            format!("tickSize {:?} is none of 0.1, 0.01, 0.005, 0.0025, 0.001, 0.0001", self.tick_size.0)
        })?;
        let side =
            Side::parse(self.side.bytes()).ok_or_else(|| format!("side {:?} is not BUY or SELL", self.side.0))?;
        let market = match self.kind.as_str() {
            "limit" => false,
            "market" => true,
            other => return Err(format!("kind {other:?} is not limit or market")),
        };
        // A market order's worst price may be finer than the grid and is cut to its decimals; a limit may not.
        let units = if market {
            cut(self.price.bytes(), tick.price_decimals() as usize).map(|micro| micro / 100)
        } else {
            Price::parse(self.price.bytes()).ok().map(|p| u64::from(p.units()))
        };
        let price = units
            .and_then(|u| Price::from_units(u16::try_from(u).ok()?))
            .filter(|p| p.on_grid(tick))
            .ok_or_else(|| format!("price {:?} is not on the grid of {tick}", self.price.0))?;
        let (name, number) = match (&self.size, &self.amount, market) {
            (Some(size), _, false) => ("size", size),
            (_, Some(amount), true) => ("amount", amount),
            (None, _, false) => return Err("a limit order needs size".into()),
            (_, None, true) => return Err("a market order needs amount".into()),
        };
        // Above 2^53 hundredths nothing on the venue is meant, and the product with the price must fit.
        let micro = cut(number.bytes(), 2)
            .filter(|n| *n >= 10_000 && *n < 1 << 50)
            .ok_or_else(|| format!("{name} {:?} is not a number from 0.01 to 10^9", number.0))?;
        if market && side == Side::Buy {
            return amounts::market_buy(price, Usdc(micro as i64), tick)
                .ok_or_else(|| format!("price {:?} is too low", self.price.0));
        }
        Ok(amounts::limit(side, price, Qty(micro)))
    }
}

/// Runs the command. Exit 1 if any line was an error, 0 otherwise.
pub fn run(_args: Args) -> ExitCode {
    let (mut out, mut failed) = (std::io::stdout().lock(), false);
    for line in std::io::stdin().lock().split(b'\n') {
        let answer = match line {
            Ok(line) if line.trim_ascii().is_empty() => continue,
            Ok(line) => serde_json::from_slice::<Line>(&line).map_err(|e| e.to_string()).and_then(|l| l.amounts()),
            Err(e) => Err(e.to_string()),
        };
        failed |= answer.is_err();
        let answer = match answer {
            Ok(a) => json!({"makerAmount": a.maker.to_string(), "takerAmount": a.taker.to_string()}),
            Err(error) => json!({ "error": error }),
        };
        if writeln!(out, "{answer}").is_err() {
            return ExitCode::from(exit::FAILED);
        }
    }
    ExitCode::from(if failed { exit::FAILED } else { exit::DONE })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(line: &str) -> Result<(u64, u64), String> {
        let line: Line = serde_json::from_str(line).map_err(|e| e.to_string())?;
        line.amounts().map(|a| (a.maker, a.taker))
    }

    #[test]
    fn examples_of_the_reference() {
        let line = |kind, side, tick, price, name, size| {
            format!(r#"{{"kind":"{kind}","side":"{side}","tickSize":"{tick}","price":"{price}","{name}":"{size}"}}"#)
        };
        for (text, expected) in [
            (line("limit", "BUY", "0.1", "0.2", "size", "45.3"), (9_060_000, 45_300_000)),
            (line("limit", "BUY", "0.01", "0.47", "size", "19.99"), (9_395_300, 19_990_000)),
            (line("limit", "SELL", "0.001", "0.333", "size", "12.34"), (12_340_000, 4_109_220)),
            (line("market", "BUY", "0.01", "0.52", "amount", "10"), (10_000_000, 19_230_700)),
            (line("market", "BUY", "0.01", "0.5299", "amount", "10.0099999999"), (10_000_000, 19_230_700)),
        ] {
            assert_eq!(amounts(&text), Ok(expected), "{text}");
        }
        for text in [
            line("limit", "BUY", "0.01", "0.475", "size", "1"),
            line("limit", "BUY", "0.01", "1", "size", "1"),
            line("limit", "BUY", "0.01", "0", "size", "1"),
            line("limit", "BUY", "0.02", "0.5", "size", "1"),
            line("limit", "HOLD", "0.01", "0.5", "size", "1"),
            line("limit", "BUY", "0.01", "0.5", "size", "-1"),
            line("limit", "BUY", "0.01", "0.5", "size", "0.009"),
            line("limit", "BUY", "0.01", "0.5", "size", "1e3"),
            line("limit", "BUY", "0.01", "0.5", "size", "99999999999999999999"),
            line("limit", "BUY", "0.01", "0.5", "amount", "1"),
            line("loan", "BUY", "0.01", "0.5", "size", "1"),
            "{}".into(),
            "[".into(),
        ] {
            assert!(amounts(&text).is_err(), "{text}");
        }
    }
}
