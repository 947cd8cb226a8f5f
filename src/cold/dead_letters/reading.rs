//! Reads a letter again with the parser of its source, and says in words what it would have been.

use serde::Serialize;

use crate::{
    stage::dead_letter::Source,
    types::{Event, Universe},
    wire::{
        market::MarketParser,
        sports::{Game, SportsParser},
        user::UserParser,
    },
};

/// Events that are put into words; of more, only how many.
const SHOWN: usize = 64;
/// Length of an API key, which is blanked with as many stars.
const KEY_LENGTH: usize = 36;

/// What a letter would have been. Words and numbers only: there is no way back from here to an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// It can be read now.
    pub understood: bool,
    /// Why not, if not.
    pub why: Option<String>,
    /// How many events it would have led to.
    pub events: u64,
    /// The first of them, in words.
    pub shown: Vec<String>,
}

impl Reading {
    /// It cannot be read, and why.
    pub fn failed(why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), ..Self::default() }
    }

    fn of<P>(read: impl FnOnce(&mut dyn FnMut(Event)) -> Result<P, crate::wire::market::ParseError>) -> Self {
        let mut reading = Self::default();
        let result = read(&mut |event| {
            reading.events += 1;
            if reading.shown.len() < SHOWN {
                reading.shown.push(format!("{event:?}"));
            }
        });
        match result {
            Ok(_) => Self { understood: true, ..reading },
            Err(error) => Self::failed(error.to_string()),
        }
    }
}

/// The parsers of the feeds, for one universe.
#[derive(Debug)]
pub struct Parsers {
    universe: Universe,
    market: MarketParser,
    sports: SportsParser,
}

impl Parsers {
    /// Parsers for the markets of a run.
    pub fn new(universe: &Universe) -> Self {
        let teams = universe.markets.first().map(|m| m.outcomes.clone()).unwrap_or_default();
        Self {
            market: MarketParser::new(universe),
            sports: SportsParser::new(Game { id: None, teams }),
            universe: universe.clone(),
        }
    }

    /// Reads a message again. The message itself is left as it is.
    pub fn read(&mut self, source: Source, message: &[u8]) -> Reading {
        let mut text = message.to_vec();
        match source {
            Source::Market => Reading::of(|mut sink| self.market.parse(&mut text, &mut sink)),
            Source::Sports => Reading::of(|mut sink| self.sports.parse(&mut text, &mut sink)),
            Source::User => {
                let mut parser = UserParser::new(&self.universe, &"*".repeat(KEY_LENGTH));
                Reading::of(|mut sink| parser.parse(&mut text, &mut sink))
            }
            Source::Witness => Reading::failed("an answer about a book is not read again; `decode` explains one"),
        }
    }
}
