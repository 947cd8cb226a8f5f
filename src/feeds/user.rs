//! Step 8 of 9: the user channel: what happens to our orders.
//!
//! Nothing of it may be lost and nothing is replayed: when the ring to the hot tile is full the socket is not read, and
//! when a message cannot be read the stream counts as down until it was opened anew and the engine reconciled.
//! Source: docs/PROTOCOL.md "user channel".

use std::collections::VecDeque;

use zeroize::Zeroizing;

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
    types::{Event, Stamp, Stamped, Universe, event::UserEvent},
    wire::{
        auth::Credentials,
        user::{self, UserParser},
    },
};

/// The user channel, for every market of the account.
#[derive(Debug)]
pub struct UserFeed {
    pub(super) socket: Socket,
    credentials: Credentials,
    events: Tx<Stamped>,
    parser: UserParser,
    /// What did not fit the ring yet. While anything waits, the socket is not read.
    waiting: VecDeque<Stamped>,
    /// Subscribed and answered: the engine was told that the stream is up.
    up: bool,
    dead_letters: Draft,
    counts: Counts,
}

/// Counted here, published in housekeeping.
#[derive(Debug, Default)]
struct Counts {
    messages: u64,
    malformed: u64,
    ignored: u64,
    reconnects: u64,
}

impl UserFeed {
    /// The channel of one account.
    pub fn new(
        config: SocketConfig,
        universe: &Universe,
        credentials: Credentials,
        events: Tx<Stamped>,
        seed: u64,
    ) -> Self {
        let parser = UserParser::new(universe, &credentials.api_key);
        let waiting = VecDeque::with_capacity(256);
        Self {
            socket: Socket::new(config, seed),
            credentials,
            events,
            parser,
            waiting,
            up: false,
            dead_letters: Draft::new(None),
            counts: Counts::default(),
        }
    }

    /// Messages that cannot be read go there, without our key.
    #[must_use]
    pub fn with_dead_letters(mut self, to: Tx<DeadLetter>) -> Self {
        self.dead_letters = Draft::new(Some(to));
        self
    }

    pub(super) fn poll(&mut self, shared: &mut Shared) -> usize {
        if !self.drain() {
            return 0;
        }
        let Self { socket, parser, waiting, counts, dead_letters, credentials, .. } = self;
        let Shared { clock, .. } = shared;
        let mut unreadable = false;
        let mut heard = false;
        let turn = socket.turn(clock, &mut |text, stamp| {
            heard = true;
            counts.messages += 1;
            dead_letters.note(text, None);
            match parser.parse(text, &mut |event| waiting.push_back(Stamped { stamp, event })) {
                Ok(parsed) => counts.ignored += u64::from(parsed.ignored()),
                Err(error) => {
                    counts.malformed += 1;
                    unreadable = true;
                    dead_letters.blank(credentials.api_key.as_bytes());
                    dead_letters.post(stamp, Source::User, 0, Reason::from(error.kind), None);
                }
            }
            // One message a turn while the ring is behind; the rest stays in the socket.
            waiting.is_empty() && !unreadable
        });
        let now = clock.now();
        // There is no acknowledgement. A frame that answers our ping proves that the subscription before it was taken:
        // bad credentials close the socket instead.
        if !self.up && (heard || self.socket.ponged()) {
            self.up = true;
            self.waiting.push_front(stamped(now, UserEvent::Up));
        }
        let mut change = turn.change;
        if unreadable {
            change = self.socket.restart(now);
        }
        self.changed(change, now);
        self.drain();
        turn.work
    }

    fn changed(&mut self, change: Option<Change>, now: Stamp) {
        match change {
            Some(Change::Opened) => {
                self.counts.reconnects += u64::from(self.socket.opened() > 1);
                let mut text = Zeroizing::new(Vec::with_capacity(512));
                let Credentials { api_key, secret, passphrase } = &self.credentials;
                user::subscribe(&mut text, api_key, secret, passphrase);
                self.socket.send_text(&text);
                self.socket.send_text(b"PING");
            }
            Some(Change::Closed(_)) if self.up => {
                self.up = false;
                self.waiting.push_back(stamped(now, UserEvent::Down));
            }
            _ => {}
        }
    }

    /// Moves what waits into the ring. True when nothing waits any more.
    fn drain(&mut self) -> bool {
        while let Some(event) = self.waiting.front() {
            // Asked first, so that waiting is not counted as an overflow each turn.
            if self.events.free() == 0 || self.events.push(*event).is_err() {
                return false;
            }
            self.waiting.pop_front();
        }
        true
    }

    pub(super) fn housekeep(&mut self, now: Stamp, shared: &Shared) {
        let change = self.socket.housekeep(now);
        self.changed(change, now);
        let counts = std::mem::take(&mut self.counts);
        add(&shared.counters.user_messages, counts.messages);
        add(&shared.counters.user_malformed, counts.malformed);
        add(&shared.counters.user_ignored, counts.ignored);
        add(&shared.counters.user_reconnects, counts.reconnects);
        add(&shared.counters.dead_letters_lost, self.dead_letters.take_lost());
    }
}

fn stamped(stamp: Stamp, event: UserEvent) -> Stamped {
    Stamped { stamp, event: Event::User(event) }
}
