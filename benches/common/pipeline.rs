//! The trading path without its sockets: the parsers, the hot tile, the gateway's requests and answers, and the rings
//! between them, called in turn on one thread as the duty loop does.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use polyloly_fast::{
    cold::Slot,
    engine::{Signed, sign::OrderSigner},
    gateway::{
        Command, Origin,
        asked::{Asked, BATCH_MAX, CANCELS_MAX, Sent},
        lane::Ended,
        recv,
        send::Requests,
    },
    hot::{HotConfig, HotStatus, HotTile},
    stage::{Control, Stage, counters::Counters},
    strategies::{Params, core},
    types::{
        Event, InstrumentIx, MarketIx, OrderHash, Qty, Stamp, Stamped, Universe, Usdc,
        event::{ReadEvent, ReplyEvent, UserEvent},
    },
    wire::{
        auth::L2Auth,
        http::{Limits, parse_response},
        market::MarketParser,
        reply::ReplyParser,
        user::UserParser,
        ws::{Decoded, Decoder, Message},
    },
    wiring::Wiring,
};

use super::traffic::{API_KEY, credentials, key};

/// The venue's host, as requests name it.
pub const HOST: &str = "clob.polymarket.com";
/// What an engine hears before the first byte: the run began, its streams are up, the venue's account of us is ours.
pub const OPENING: [Event; 6] = [
    Event::Start { run_tag: RUN_TAG, cash: CASH, match_feed: false },
    Event::User(UserEvent::Up),
    Event::Reply(ReplyEvent::GatewayUp),
    Event::Tick,
    Event::Reply(ReplyEvent::Read(ReadEvent::Begin { round: 1 })),
    Event::Reply(ReplyEvent::Read(ReadEvent::End { round: 1, complete: true })),
];

const RUN_TAG: u32 = 5;
const CASH: Usdc = Usdc::dollars(1_000_000);

/// Where bytes come from.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "a few thousand of them, made before anything is timed")]
pub enum Source {
    /// A frame of the market channel.
    Market,
    /// A frame of the user channel.
    User,
    /// An answer to a request.
    Answer(Asked),
    /// No bytes: an event by itself.
    Event(Event),
}

/// What leaves for the venue.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "as in the gateway: moved once")]
pub enum Leaving {
    /// A request; its bytes are a range of [`Pipeline::wire`].
    Request(Asked, Range<usize>),
    /// A merge on the chain.
    Merge(MarketIx, Qty),
    /// A question about an order.
    Lookup(OrderHash),
    /// A reading of everything that the venue knows of us.
    Reconcile(u32),
    /// A fresh snapshot of one book.
    Resync(InstrumentIx),
    /// Anything that no run of the benches should ask for.
    Unexpected,
}

/// Reads: steps 1, 2 and 8.
#[derive(Debug)]
pub struct Inbound {
    frames: [Decoder; 2],
    market: MarketParser,
    user: UserParser,
    answers: ReplyParser,
}

impl Inbound {
    /// For the markets of a run.
    pub fn new(universe: &Universe) -> Self {
        Self {
            frames: [Decoder::default(), Decoder::default()],
            market: MarketParser::new(universe),
            user: UserParser::new(universe, API_KEY),
            answers: ReplyParser::new(),
        }
    }

    /// Reads one whole frame or answer and gives its events to `sink`.
    pub fn read(&mut self, source: &Source, bytes: &mut [u8], sink: &mut impl FnMut(Event)) {
        let Self { frames: [market_frames, user_frames], market, user, answers } = self;
        match source {
            Source::Market => {
                market.parse(text(market_frames, bytes), sink).expect("a market message");
            }
            Source::User => {
                user.parse(text(user_frames, bytes), sink).expect("a user message");
            }
            Source::Answer(asked) => {
                let answer = parse_response(bytes, false, Limits::default()).expect("HTTP").expect("a whole answer");
                let ended = Ended::Answered(answer);
                let mut out = |reply| sink(Event::Reply(reply));
                match asked {
                    Asked::Orders(sent) => recv::orders(answers, sent, ended, &mut out),
                    Asked::Cancels(sent) => recv::cancels(answers, sent, ended, &mut out),
                    other => panic!("never asked: {other:?}"),
                }
            }
            Source::Event(event) => sink(*event),
        }
    }
}

/// The text of the whole frame that `bytes` are.
fn text<'a>(frames: &'a mut Decoder, bytes: &'a mut [u8]) -> &'a mut [u8] {
    match frames.decode(bytes) {
        Ok(Decoded::Message(_, Message::Text(text))) => text,
        other => panic!("not a text frame: {other:?}"),
    }
}

/// The gateway's requests for the account of the traffic.
pub fn requests(universe: &Universe) -> Requests {
    let auth = L2Auth::new(&universe.account.owner, &credentials()).expect("base64");
    Requests::new(HOST, auth, API_KEY, universe)
}

/// What waits for a connection, as the gateway keeps it.
struct Outbound {
    requests: Requests,
    places: VecDeque<(Signed, Origin)>,
    cancels: heapless::Vec<Sent, CANCELS_MAX>,
    hashes: heapless::Vec<OrderHash, CANCELS_MAX>,
}

/// From plaintext to plaintext.
pub struct Pipeline {
    inbound: Inbound,
    wiring: Ends,
    hot: HotTile,
    out: Outbound,
    wire: Vec<u8>,
    leaving: Vec<Leaving>,
    status: Arc<HotStatus>,
    counters: Arc<Counters>,
    board: Slot<polyloly_fast::cold::Latest>,
}

/// The ends of the rings that are not the hot tile's.
struct Ends {
    feed: polyloly_fast::wiring::FeedEnds,
    gateway: polyloly_fast::gateway::GatewayEnds,
    cold: polyloly_fast::wiring::ColdEnds,
}

impl Ends {
    fn push(&mut self, stamp: Stamp, event: Event) {
        let stamped = Stamped { stamp, event };
        let ring = match event {
            Event::User(_) => self.feed.user.as_mut().expect("one feed tile has all"),
            Event::Reply(_) => &mut self.gateway.replies,
            _ => &mut self.feed.market,
        };
        assert!(ring.push(stamped).is_ok(), "a ring is full");
    }
}

impl Pipeline {
    /// A pipeline that has heard that its streams are up.
    pub fn new(universe: &Universe, params: &Params, stamp: Stamp) -> Self {
        let Wiring { mut feeds, hot, gateway, cold, .. } = Wiring::new(1);
        let (control, counters, status) = (Arc::default(), Arc::default(), Arc::default());
        let board = Slot::new();
        let config = HotConfig {
            wal: polyloly_fast::wal::Wal::in_memory().unwrap(),
            recovered: Vec::new(),
            core: core(universe, params),
            signer: OrderSigner::new(key()),
            run_tag: RUN_TAG,
            cash: CASH,
            match_feed: false,
            dry_run: false,
            board: board.clone(),
        };
        let mut pipeline = Self {
            inbound: Inbound::new(universe),
            hot: HotTile::new(config, hot, &control, &counters, &status),
            wiring: Ends { feed: feeds.remove(0), gateway, cold },
            out: Outbound {
                requests: requests(universe),
                places: VecDeque::with_capacity(BATCH_MAX),
                cancels: heapless::Vec::new(),
                hashes: heapless::Vec::new(),
            },
            wire: Vec::with_capacity(256 << 10),
            leaving: Vec::with_capacity(128),
            status,
            counters,
            board,
        };
        // The tile has the first of them ready itself.
        pipeline.hot.poll();
        for event in &OPENING[1..] {
            if *event == Event::Tick {
                while pipeline.hot.poll() > 0 {}
                pipeline.hot.housekeep(stamp);
            } else {
                pipeline.wiring.push(stamp, *event);
            }
        }
        pipeline.hot.poll();
        pipeline
    }

    /// Reads what arrived, decides, and leaves what is to be sent in [`Pipeline::leaving`] and [`Pipeline::wire`].
    /// This is the hot path: nothing in here may allocate.
    pub fn take_in(&mut self, source: &Source, stamp: Stamp, bytes: &mut [u8]) {
        self.wire.clear();
        self.leaving.clear();
        let Self { inbound, wiring, hot, .. } = self;
        if matches!(source, Source::Event(Event::Tick)) {
            hot.housekeep(stamp);
        } else {
            inbound.read(source, bytes, &mut |event| wiring.push(stamp, event));
            while hot.poll() > 0 {}
        }
        self.dispatch(stamp);
    }

    /// What the gateway does with its commands: first what takes risk away, then orders, in as few requests as it may.
    fn dispatch(&mut self, stamp: Stamp) {
        let Self { wiring, out, wire, leaving, .. } = self;
        while let Some(command) = wiring.gateway.commands.pop() {
            match command {
                Command::Place { signed, origin } => out.places.push_back((signed, origin)),
                Command::Cancel { order, cause, origin } => {
                    out.hashes.push(order).expect("room for a cancel");
                    out.cancels.push(Sent { order, origin, cause: cause.cycles }).expect("room for a cancel");
                }
                Command::Merge { market, qty } => leaving.push(Leaving::Merge(market, qty)),
                Command::Lookup { order } => leaving.push(Leaving::Lookup(order)),
                Command::Reconcile { round, .. } => leaving.push(Leaving::Reconcile(round)),
                // A page that says nothing new.
                Command::AskMarket { .. } => {}
                Command::CancelAll | Command::ReadCollateral => leaving.push(Leaving::Unexpected),
            }
        }
        while let Some(instrument) = wiring.feed.resync.pop() {
            leaving.push(Leaving::Resync(instrument));
        }
        let now_s = stamp.wall.secs();
        if !out.cancels.is_empty() {
            let from = wire.len();
            wire.extend_from_slice(out.requests.cancels(&out.hashes, now_s));
            leaving.push(Leaving::Request(Asked::Cancels(std::mem::take(&mut out.cancels)), from..wire.len()));
            out.hashes.clear();
        }
        while !out.places.is_empty() {
            let (from, count) = (wire.len(), out.places.len().min(BATCH_MAX));
            wire.extend_from_slice(out.requests.orders(out.places.range(..count).map(|p| &p.0), now_s));
            let sent = |(signed, origin): (Signed, Origin)| {
                let approved = signed.approved();
                Sent { order: approved.hash(), origin, cause: approved.cause().cycles }
            };
            let sent = out.places.drain(..count).map(sent).collect();
            leaving.push(Leaving::Request(Asked::Orders(sent), from..wire.len()));
        }
    }

    /// Says that the socket took what was to be sent, and empties what the cold tile would.
    pub fn written(&mut self, stamp: Stamp) {
        let Self { wiring, leaving, hot, .. } = self;
        for leaves in leaving.iter() {
            if let Leaving::Request(Asked::Orders(sent), _) = leaves {
                for one in sent {
                    wiring.push(stamp, Event::Reply(ReplyEvent::Sent { order: one.order }));
                }
            }
        }
        while hot.poll() > 0 {}
        while wiring.cold.journal.pop().is_some() {}
        for samples in &mut wiring.cold.samples {
            while samples.pop().is_some() {}
        }
    }

    /// What is to be sent.
    pub fn leaving(&self) -> &[Leaving] {
        &self.leaving
    }

    /// The bytes of the requests in [`Pipeline::leaving`].
    pub fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// What the tile shows of the engine: events heard and the numbers that change all the time.
    pub fn latest(&mut self, stamp: Stamp) -> polyloly_fast::cold::Latest {
        // The board is written in housekeeping, five times a second.
        self.hot.housekeep(Stamp { wall: stamp.wall.plus(1_000_000_000), ..stamp });
        self.board.take().expect("housekeeping shows")
    }

    /// Every counter that is not zero: what went wrong, if anything did.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        self.counters.read().into_iter().filter(|c| c.1 > 0).collect()
    }

    /// True once the tile ended by itself.
    pub fn ended(&self) -> bool {
        self.status.outcome.get().is_some()
    }
}
