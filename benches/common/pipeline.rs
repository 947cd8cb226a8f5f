//! The trading path without its sockets: plaintext in, plaintext out, through the functions that the tiles call.

use std::ops::Range;

use polyloly_fast::{
    engine::{Action, Actions, Signed, sign::OrderSigner},
    strategies::{Core, Params, core},
    types::{
        Event, InstrumentIx, MarketIx, OrderHash, Qty, Sequenced, Stamp, Universe, Usdc,
        event::{ReplyEvent, UserEvent},
    },
    wire::{
        auth::L2Auth,
        http::{Limits, parse_response, write_request},
        market::MarketParser,
        order::{self, Order, OrderEncoder},
        reply::{OrderReply, ReplyParser},
        user::UserParser,
        ws::{Decoded, Decoder, Message},
    },
};

use super::traffic::{API_KEY, credentials, key};

/// The venue's host, as requests name it.
pub const HOST: &str = "clob.polymarket.com";

/// What a request asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To place this.
    Order(OrderHash),
    /// To cancel this.
    Cancel(OrderHash),
}

/// Where bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// What leaves for the venue, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// A request; its bytes are a range of [`Pipeline::wire`].
    Request(Asked, Range<usize>),
    /// A merge on the chain.
    Merge(MarketIx, Qty),
    /// A question about an order.
    Lookup(OrderHash),
    /// A fresh snapshot of one book.
    Resync(InstrumentIx),
    /// Anything that no run of the benches should ask for.
    Unexpected,
}

/// Signs, encodes and authenticates: steps 6 and 7.
#[derive(Debug)]
pub struct Outbound {
    signer: OrderSigner,
    encoder: OrderEncoder,
    auth: L2Auth,
    body: Vec<u8>,
    headers: Vec<u8>,
}

impl Outbound {
    /// For the markets of a run.
    pub fn new(universe: &Universe) -> Self {
        Self {
            signer: OrderSigner::new(key()),
            encoder: OrderEncoder::new(universe, API_KEY, &[]),
            auth: L2Auth::new(&universe.account.owner, &credentials()).expect("base64"),
            body: Vec::with_capacity(4 << 10),
            headers: Vec::with_capacity(1 << 10),
        }
    }

    /// Appends the request that places a signed order. `now_s`: Unix seconds.
    pub fn place(&mut self, signed: &Signed, now_s: u64, wire: &mut Vec<u8>) {
        let approved = signed.approved();
        let intent = approved.intent();
        let order = Order {
            salt: approved.salt(),
            amounts: approved.amounts(),
            side: intent.side,
            tif: intent.tif,
            post_only: intent.post_only,
            timestamp_ms: approved.timestamp_ms(),
            contents: &approved.digest().contents,
            signature: signed.signature(),
        };
        self.body.clear();
        self.encoder.order(&mut self.body, intent.instrument, &order);
        self.request("POST", now_s, wire);
    }

    /// Appends the request that cancels an order. `now_s`: Unix seconds.
    pub fn cancel(&mut self, order: &OrderHash, now_s: u64, wire: &mut Vec<u8>) {
        self.body.clear();
        order::cancel(&mut self.body, order);
        self.request("DELETE", now_s, wire);
    }

    fn request(&mut self, method: &str, now_s: u64, wire: &mut Vec<u8>) {
        self.headers.clear();
        self.auth.headers(&mut self.headers, now_s, method, "/order", &self.body);
        write_request(wire, method, "/order", HOST, &self.headers, Some(&self.body));
    }
}

/// Runs the engine and carries out what it asks for.
#[derive(Debug)]
struct Hot {
    core: Core,
    out: Outbound,
    actions: Actions,
    seq: u64,
    stamp: Stamp,
    wire: Vec<u8>,
    sent: Vec<Sent>,
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
    pub fn read(&mut self, source: Source, bytes: &mut [u8], sink: &mut impl FnMut(Event)) {
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
                match asked {
                    Asked::Order(order) => {
                        let event = match answers.order(answer.status, answer.json, answer.body) {
                            OrderReply::Accepted { order: theirs, status } if theirs == order => {
                                ReplyEvent::Accepted { order, status }
                            }
                            OrderReply::Rejected(reason) => ReplyEvent::Rejected { order, reason },
                            _ => ReplyEvent::Unknown { order },
                        };
                        sink(Event::Reply(event));
                    }
                    Asked::Cancel(_) => {
                        let clean = answers.cancel(answer.status, answer.json, answer.body, &mut |order, refusal| {
                            sink(Event::Reply(match refusal {
                                None => ReplyEvent::Cancelled { order },
                                Some(reason) => ReplyEvent::CancelRefused { order, reason },
                            }));
                        });
                        assert!(clean, "a cancel's answer");
                    }
                }
            }
            Source::Event(event) => sink(event),
        }
    }
}

/// What an engine hears before the first byte: the run began, and its streams are up.
pub const OPENING: [Event; 3] = [
    Event::Start { run_tag: 5, cash: Usdc::dollars(1_000_000) },
    Event::User(UserEvent::Up),
    Event::Reply(ReplyEvent::GatewayUp),
];

/// From plaintext to plaintext.
#[derive(Debug)]
pub struct Pipeline {
    inbound: Inbound,
    hot: Hot,
}

impl Pipeline {
    /// A pipeline that has heard that its streams are up.
    pub fn new(universe: &Universe, params: &Params, stamp: Stamp) -> Self {
        let mut hot = Hot {
            core: core(universe, params),
            out: Outbound::new(universe),
            actions: Actions::new(),
            seq: 0,
            stamp,
            wire: Vec::with_capacity(256 << 10),
            sent: Vec::with_capacity(128),
        };
        OPENING.into_iter().for_each(|event| hot.hear(event));
        Self { inbound: Inbound::new(universe), hot }
    }

    /// Reads what arrived, decides, and leaves what is to be sent in [`Pipeline::sent`] and [`Pipeline::wire`].
    /// This is the hot path: nothing in here may allocate.
    pub fn take_in(&mut self, source: Source, stamp: Stamp, bytes: &mut [u8]) {
        let Self { inbound, hot } = self;
        hot.wire.clear();
        hot.sent.clear();
        hot.stamp = stamp;
        inbound.read(source, bytes, &mut |event| hot.hear(event));
    }

    /// Says that the socket took what was to be sent.
    pub fn written(&mut self) {
        for n in 0..self.hot.sent.len() {
            if let Sent::Request(Asked::Order(order), _) = self.hot.sent[n] {
                self.hot.hear(Event::Reply(ReplyEvent::Sent { order }));
            }
        }
    }

    /// What is to be sent.
    pub fn sent(&self) -> &[Sent] {
        &self.hot.sent
    }

    /// The bytes of the requests in [`Pipeline::sent`].
    pub fn wire(&self) -> &[u8] {
        &self.hot.wire
    }

    /// Events heard so far.
    pub fn events(&self) -> u64 {
        self.hot.seq
    }

    /// The engine.
    pub fn core(&self) -> &Core {
        &self.hot.core
    }
}

/// The text of the whole frame that `bytes` are.
fn text<'a>(frames: &'a mut Decoder, bytes: &'a mut [u8]) -> &'a mut [u8] {
    match frames.decode(bytes) {
        Ok(Decoded::Message(_, Message::Text(text))) => text,
        other => panic!("not a text frame: {other:?}"),
    }
}

impl Hot {
    fn hear(&mut self, event: Event) {
        self.seq += 1;
        self.actions.clear();
        let event = Sequenced { seq: self.seq, stamp: self.stamp, event };
        self.core.on(&event, &mut (), &mut self.actions);
        let Self { core, out, actions, stamp, wire, sent, .. } = self;
        let now_s = stamp.wall.secs();
        for action in actions.iter() {
            let from = wire.len();
            sent.push(match action {
                Action::Place(approved) => {
                    let signed = out.signer.sign(approved, core.hasher(approved.intent().instrument.market()));
                    out.place(&signed, now_s, wire);
                    Sent::Request(Asked::Order(approved.hash()), from..wire.len())
                }
                Action::Cancel { order, .. } => {
                    out.cancel(order, now_s, wire);
                    Sent::Request(Asked::Cancel(*order), from..wire.len())
                }
                Action::Merge { market, qty } => Sent::Merge(*market, *qty),
                Action::Lookup { order } => Sent::Lookup(*order),
                Action::Resync { instrument } => Sent::Resync(*instrument),
                Action::CancelAll | Action::ReadCollateral | Action::Finished { .. } => Sent::Unexpected,
            });
        }
    }
}
