//! Steps 1 and 2 of 9: the sports channel: where the match is. Lifecycle only: it is too slow to trade on.
//!
//! Source: docs/PROTOCOL.md "sports channel".

use super::{
    Shared,
    socket::{Change, Socket, SocketConfig},
};
use crate::{
    stage::{
        counters::add,
        dead_letter::{DeadLetter, Draft, Reason, Source},
        ring::Tx,
    },
    types::{Stamp, Stamped},
    wire::sports::{Game, SportsParser},
};

/// The sports channel, for the match that a run follows. It needs no subscription.
#[derive(Debug)]
pub struct SportsFeed {
    pub(super) socket: Socket,
    events: Tx<Stamped>,
    parser: SportsParser,
    dead_letters: Draft,
    counts: Counts,
}

/// Counted here, published in housekeeping.
#[derive(Debug, Default)]
struct Counts {
    messages: u64,
    malformed: u64,
    reconnects: u64,
}

impl SportsFeed {
    /// The channel, listened to for one match.
    pub fn new(config: SocketConfig, game: Game, events: Tx<Stamped>, seed: u64) -> Self {
        Self {
            socket: Socket::new(config, seed),
            events,
            parser: SportsParser::new(game),
            dead_letters: Draft::new(None),
            counts: Counts::default(),
        }
    }

    /// Messages that cannot be read go there.
    #[must_use]
    pub fn with_dead_letters(mut self, to: Tx<DeadLetter>) -> Self {
        self.dead_letters = Draft::new(Some(to));
        self
    }

    pub(super) fn poll(&mut self, shared: &mut Shared) -> usize {
        let Self { socket, events, parser, dead_letters, counts } = self;
        let mut pinged = false;
        let turn = socket.turn(&shared.clock, &mut |text, stamp| {
            counts.messages += 1;
            // A full ring loses a state that is sent again within 20 s; the ring counts it.
            let mut sink = |event| {
                let _ = events.push(Stamped { stamp, event });
            };
            dead_letters.note(text, None);
            match parser.parse(text, &mut sink) {
                // Some of its servers ping in text, others by frame; the socket answers the latter.
                Ok(parsed) => pinged |= parsed.ping,
                Err(error) => {
                    counts.malformed += 1;
                    dead_letters.post(stamp, Source::Sports, 0, Reason::from(error.kind), None);
                }
            }
            true
        });
        if pinged {
            socket.send_text(b"pong");
        }
        counts.reconnects += u64::from(turn.change == Some(Change::Opened) && socket.opened() > 1);
        turn.work
    }

    pub(super) fn housekeep(&mut self, now: Stamp, shared: &Shared) {
        self.socket.housekeep(now);
        let counts = std::mem::take(&mut self.counts);
        add(&shared.counters.sports_messages, counts.messages);
        add(&shared.counters.sports_malformed, counts.malformed);
        add(&shared.counters.sports_reconnects, counts.reconnects);
        add(&shared.counters.dead_letters_lost, self.dead_letters.take_lost());
    }
}
