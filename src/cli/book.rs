//! `polyloly-fast book FILE…`: recorded market-channel messages through the real parser into the real books.

use std::{io::Write, path::PathBuf, process::ExitCode, time::Instant};

use serde_json::{Value, json};

use super::{
    decode::{NO_TOKEN, messages, universe_of},
    exit,
};
use crate::{
    engine::book::{Book, Distrust},
    types::{
        Event,
        event::{BookSide, GapReason, MarketEvent},
        ids::{InstrumentIx, Outcome},
    },
    wire::market::{MarketParser, ParseError},
};

/// Prints the book of every token that some recorded messages lead to, and totals.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Recorded messages: JSON, or JSON lines, plain or gzip; `-` is standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// The books that some messages lead to, and how it went.
struct Replayed {
    books: Vec<Book>,
    parser: MarketParser,
    applied: u64,
    ignored: u64,
    rejected: u64,
}

impl Replayed {
    fn apply(&mut self, message: &mut [u8]) -> Result<(), ParseError> {
        let Self { books, parser, .. } = self;
        let parsed = parser.parse(message, &mut |event| {
            if let Event::Market(event) = event {
                hear(books, &event);
            }
        })?;
        self.applied += u64::from(parsed.applied + parsed.informative);
        self.ignored += u64::from(parsed.unknown_kinds + parsed.not_ours + parsed.unclear);
        Ok(())
    }

    /// A message that could not be read: its book, or every book, is no longer to be trusted.
    fn reject(&mut self, instrument: Option<InstrumentIx>) {
        self.rejected += 1;
        hear(&mut self.books, &MarketEvent::Gap { instrument, reason: GapReason::Malformed });
    }
}

/// Step 3 as the engine does it, without decisions.
fn hear(books: &mut [Book], event: &MarketEvent) {
    match *event {
        MarketEvent::SnapshotStart { instrument, tick, .. } => books[instrument.ix()].snapshot_start(tick),
        MarketEvent::Level { instrument, side, price, qty } => books[instrument.ix()].snapshot_level(side, price, qty),
        MarketEvent::SnapshotEnd { instrument } => books[instrument.ix()].snapshot_end(),
        MarketEvent::Delta { instrument, side, price, qty } => books[instrument.ix()].delta(side, price, qty),
        MarketEvent::Top { instrument, bid, ask } => books[instrument.ix()].check_top(bid, ask),
        MarketEvent::TickSizeChange { instrument, tick } => books[instrument.ix()].tick_changed(tick),
        MarketEvent::Resolved { market, .. } | MarketEvent::ResolvedUnclear { market } => {
            for outcome in [Outcome::Yes, Outcome::No] {
                books[market.instrument(outcome).ix()].mark(Distrust::Resolved);
            }
        }
        MarketEvent::Gap { instrument: Some(instrument), reason } => {
            books[instrument.ix()].mark(Distrust::Gap(reason));
        }
        MarketEvent::Gap { instrument: None, reason } => {
            books.iter_mut().for_each(|b| b.mark(Distrust::Gap(reason)));
        }
        MarketEvent::FrameEnd { .. } | MarketEvent::LastTrade { .. } => {}
    }
}

/// Prints a line. A reader that stopped reading still gets the exit code.
fn say(line: &Value) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn levels(book: &Book, side: BookSide) -> Vec<[String; 2]> {
    book.levels(side).map(|l| [l.price.to_string(), l.qty.to_string()]).collect()
}

/// Runs the command. Exit 1 if a file or a message could not be read, 0 otherwise, trusted books or not.
pub fn run(args: Args) -> ExitCode {
    let (mut texts, mut failed) = (Vec::new(), false);
    for file in &args.files {
        match messages(file) {
            Ok(more) => texts.extend(more),
            Err(error) => {
                say(&json!({ "error": error }));
                failed = true;
            }
        }
    }
    // The tokens are learnt from the messages, which a running program never does.
    let values: Vec<Value> = texts.iter().flatten().filter_map(|t| serde_json::from_slice(t).ok()).collect();
    let universe = universe_of(&values);
    drop(values);
    let tokens: Vec<_> = universe
        .indices()
        .flat_map(|m| [m.instrument(Outcome::Yes), m.instrument(Outcome::No)])
        .map(|i| (universe.token(i), universe.market(i.market()).tick))
        .collect();
    let mut replayed = Replayed {
        books: tokens.iter().map(|(_, tick)| Book::new(*tick)).collect(),
        parser: MarketParser::new(&universe),
        applied: 0,
        ignored: 0,
        rejected: 0,
    };
    let start = Instant::now();
    for text in &mut texts {
        let error = match text {
            Ok(message) => replayed.apply(message).map_err(|e| (e.instrument, e.to_string())),
            Err(error) => Err((None, error.clone())),
        };
        if let Err((instrument, error)) = error {
            replayed.reject(instrument);
            say(&json!({ "error": error }));
        }
    }
    let elapsed_ns = start.elapsed().as_nanos().max(1);
    for ((token, _), book) in tokens.iter().zip(&replayed.books).filter(|((t, _), _)| *t != NO_TOKEN) {
        let best = |side| book.best(side).map(|l| l.price.to_string());
        let (bids, asks) = (levels(book, BookSide::Bid), levels(book, BookSide::Ask));
        say(&json!({
            "token_id": token.to_string(),
            "best_bid": best(BookSide::Bid),
            "best_ask": best(BookSide::Ask),
            "bids": bids.len(),
            "asks": asks.len(),
            "levels": {"bids": bids, "asks": asks},
            "trusted": book.trusted(),
            "distrust": book.distrust(),
            "tick_size": book.tick().as_str(),
        }));
    }
    let messages = texts.len() as u128;
    say(&json!({
        "messages": texts.len(),
        "applied": replayed.applied,
        "ignored": replayed.ignored,
        "rejected": replayed.rejected,
        "per_second": u64::try_from(messages * 1_000_000_000 / elapsed_ns).unwrap_or(u64::MAX),
    }));
    ExitCode::from(if failed || replayed.rejected > 0 { exit::FAILED } else { exit::DONE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_lead_to_books() {
        let texts = [
            r#"{"event_type":"book","asset_id":"7","timestamp":"1","tick_size":"0.01",
                "bids":[{"price":"0.4","size":"5"}],"asks":[{"price":"0.6","size":"5"}]}"#,
            r#"{"event_type":"price_change","timestamp":"2","price_changes":[
                {"asset_id":"7","price":"0.5","size":"1","side":"BUY","best_bid":"0.5","best_ask":"0.6"},
                {"asset_id":"8","price":"0.5","size":"1","side":"SELL","best_bid":"0.4","best_ask":"0.5"}]}"#,
        ];
        let values: Vec<Value> = texts.iter().map(|t| serde_json::from_str(t).unwrap()).collect();
        let universe = universe_of(&values);
        let mut replayed = Replayed {
            books: (0..2 * universe.markets.len()).map(|_| Book::new(crate::types::TickSize::TenthMill)).collect(),
            parser: MarketParser::new(&universe),
            applied: 0,
            ignored: 0,
            rejected: 0,
        };
        for text in texts {
            replayed.apply(&mut text.as_bytes().to_vec()).unwrap();
        }
        assert_eq!((replayed.applied, replayed.ignored), (2, 0));
        let (seven, eight) = (&replayed.books[0], &replayed.books[2]);
        assert!(seven.trusted());
        assert_eq!(levels(seven, BookSide::Bid), [["0.5", "1"], ["0.4", "5"]]);
        assert_eq!(eight.distrust(), Some(Distrust::NoSnapshot), "a change before a snapshot says nothing");
        replayed.reject(None);
        assert!(!replayed.books[0].trusted());
    }
}
