//! The three channels: what a socket has subscribed to, and the frames that the venue's news become.
//!
//! Source: docs/PROTOCOL.md "market channel", "user channel", "sports channel"; fixtures in tests/fixtures/samples.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};

use super::{
    book::{Shown, ladder_price},
    host::{Host, Out},
    notes::{Note, Snapshot},
    views,
};
use crate::types::{
    ConditionId, InstrumentIx, MarketIx, Nanos, OrderHash, Price,
    event::{BookSide, Payout},
    ids::Outcome,
};

/// Who is to hear a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Subscribers of any of these tokens; with `custom`, only those that asked for the extra events.
    Tokens {
        /// Which tokens.
        tokens: Vec<InstrumentIx>,
        /// An event of `custom_feature_enabled`.
        custom: bool,
    },
    /// The sockets of one API key that listen to this market.
    Key(Arc<str>, MarketIx),
    /// Everybody on the sports channel.
    Sports,
}

/// A frame and its audience.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Who hears it.
    pub to: Audience,
    /// Complete text.
    pub text: String,
}

/// What a socket listens to.
#[derive(Clone, Debug)]
pub enum Channel {
    /// `/ws/market`.
    Market {
        /// Subscribed tokens.
        tokens: BTreeSet<InstrumentIx>,
        /// Extra events wanted.
        custom: bool,
        /// True after the first subscription frame; a second of the kind does nothing.
        begun: bool,
    },
    /// `/ws/user`.
    User {
        /// Whose, once authenticated.
        key: Option<Arc<str>>,
        /// Only these markets; `None`: all.
        markets: Option<BTreeSet<MarketIx>>,
    },
    /// `/ws/sports`.
    Sports,
}

/// What to do after a text frame of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Send these.
    Send(Vec<String>),
    /// Close the socket without a message.
    Close,
}

impl Channel {
    /// The channel of a path.
    pub fn of_path(path: &str) -> Option<Self> {
        match path {
            "/ws/market" => Some(Self::Market { tokens: BTreeSet::new(), custom: false, begun: false }),
            "/ws/user" => Some(Self::User { key: None, markets: None }),
            "/ws/sports" => Some(Self::Sports),
            _ => None,
        }
    }

    /// True once there is something to listen to; a socket without is cut after about two minutes.
    pub fn is_subscribed(&self) -> bool {
        match self {
            Self::Market { tokens, .. } => !tokens.is_empty(),
            Self::User { key, .. } => key.is_some(),
            Self::Sports => true,
        }
    }

    /// True if a frame is for this socket.
    pub fn hears(&self, to: &Audience) -> bool {
        match (self, to) {
            (Self::Market { tokens, custom, .. }, Audience::Tokens { tokens: named, custom: extra }) => {
                (*custom || !extra) && named.iter().any(|t| tokens.contains(t))
            }
            (Self::User { key: Some(key), markets }, Audience::Key(to, market)) => {
                key == to && markets.as_ref().is_none_or(|m| m.contains(market))
            }
            (Self::Sports, Audience::Sports) => true,
            _ => false,
        }
    }

    /// Takes a text frame of the client. What is not understood is ignored.
    pub fn on_text(&mut self, text: &str, host: &Host) -> Reply {
        match text.trim() {
            "PING" => return Reply::Send(vec!["PONG".into()]),
            "ping" => return Reply::Send(vec!["pong".into()]),
            _ => {}
        }
        let Ok(v) = serde_json::from_str::<Value>(text) else { return Reply::Send(Vec::new()) };
        match self {
            Self::Market { tokens, custom, begun } => {
                let named: BTreeSet<_> = ["assets_ids", "asset_ids", "token_ids"]
                    .iter()
                    .filter_map(|key| v[*key].as_array())
                    .flatten()
                    .filter_map(|t| host.token_text(t.as_str()?))
                    .collect();
                match (v["operation"].as_str(), v["type"].as_str()) {
                    (Some("unsubscribe"), _) => {
                        tokens.retain(|t| !named.contains(t));
                        return Reply::Send(Vec::new());
                    }
                    (Some("subscribe"), _) => {}
                    (None, Some(kind)) if kind.eq_ignore_ascii_case("market") && !*begun => {}
                    _ => return Reply::Send(Vec::new()),
                }
                *begun = true;
                *custom |= v["custom_feature_enabled"].as_bool().unwrap_or(false);
                let dump = v["initial_dump"].as_bool().unwrap_or(true);
                let fresh: Vec<_> = named.into_iter().filter(|t| tokens.insert(*t)).collect();
                let books = fresh.into_iter().filter(|_| dump).map(|t| book_frame(host, &host.snapshot(t)));
                Reply::Send(books.collect())
            }
            Self::User { key, markets } => {
                let named: BTreeSet<_> = v["markets"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|m| host.condition_text(m.as_str()?))
                    .collect();
                match (v["operation"].as_str(), key.is_some()) {
                    (Some("subscribe"), true) => markets.get_or_insert_default().extend(named),
                    (Some("unsubscribe"), true) => markets.get_or_insert_default().retain(|m| !named.contains(m)),
                    (_, true) => {}
                    (_, false) => {
                        let part = |name: &str| v["auth"][name].as_str().unwrap_or_default();
                        let known = host.keys.check(part("apiKey"), part("secret"), part("passphrase"));
                        let Some(known) = known else { return Reply::Close };
                        *key = Some(known.key.clone());
                        let listed = v["markets"].as_array().is_some_and(|m| !m.is_empty());
                        *markets = listed.then_some(named);
                    }
                }
                Reply::Send(Vec::new())
            }
            Self::Sports => Reply::Send(Vec::new()),
        }
    }
}

/// A `book` event.
fn book_frame(host: &Host, s: &Snapshot) -> String {
    let mut v = views::book(host, s);
    v["event_type"] = "book".into();
    if let Some(fields) = v.as_object_mut() {
        fields.remove("min_order_size");
        fields.remove("neg_risk");
    }
    v.to_string()
}

/// A token's best prices out of those of the YES ladder.
fn tops_of(outcome: Outcome, tops: &[Option<Shown>; 2]) -> [Option<Price>; 2] {
    let [bid, ask] = tops.map(|t| t.map(|(p, _)| ladder_price(outcome, p)));
    match outcome {
        Outcome::Yes => [bid, ask],
        Outcome::No => [ask, bid],
    }
}

fn or_mark(price: Option<Price>, empty: Price) -> String {
    price.unwrap_or(empty).to_string()
}

/// The frames of one piece of news, in the order in which they are sent.
pub fn frames(host: &Host, out: &Out, now: Nanos) -> Vec<Frame> {
    let at = views::millis(now);
    let condition = |m: MarketIx| -> ConditionId { host.exchange.market(m).spec.condition };
    let both = |m: MarketIx| vec![m.instrument(Outcome::Yes), m.instrument(Outcome::No)];
    let one = |tokens: Vec<InstrumentIx>, custom: bool, v: Value| Frame {
        to: Audience::Tokens { tokens, custom },
        text: v.to_string(),
    };
    match out {
        Out::Sports(text) => vec![Frame { to: Audience::Sports, text: text.clone() }],
        Out::Replay(text, tokens) => {
            vec![Frame { to: Audience::Tokens { tokens: tokens.clone(), custom: false }, text: text.clone() }]
        }
        Out::Note(Note::Levels { market, changes, tops, top_moved }) => {
            let mut parts = Vec::with_capacity(changes.len() * 2);
            for (side, ladder, total) in changes {
                for outcome in [Outcome::Yes, Outcome::No] {
                    let own = if outcome == Outcome::Yes { *side } else { side.other() };
                    let price = ladder_price(outcome, *ladder);
                    let asset = host.token_of(market.instrument(outcome)).to_string();
                    let [bid, ask] = tops_of(outcome, tops);
                    parts.push(json!({
                        "asset_id": asset, "price": price.to_string(), "size": total.to_string(),
                        "side": if own == BookSide::Bid { "BUY" } else { "SELL" },
                        "hash": views::short_hash(&format!("{asset}{price}{total}{at}")),
                        "best_bid": or_mark(bid, Price::ZERO), "best_ask": or_mark(ask, Price::ONE),
                    }));
                }
            }
            let v = json!({
                "event_type": "price_change", "market": condition(*market).to_string(), "timestamp": at,
                "price_changes": parts,
            });
            let mut all = vec![one(both(*market), false, v)];
            for outcome in [Outcome::Yes, Outcome::No].into_iter().filter(|_| *top_moved) {
                let i = market.instrument(outcome);
                let [bid, ask] = tops_of(outcome, tops);
                let (bid, ask) = (bid.unwrap_or(Price::ZERO), ask.unwrap_or(Price::ONE));
                let spread = Price::from_units(ask.units().saturating_sub(bid.units())).unwrap_or_default();
                let v = json!({
                    "event_type": "best_bid_ask", "market": condition(*market).to_string(),
                    "asset_id": host.token_of(i).to_string(), "best_bid": bid.to_string(),
                    "best_ask": ask.to_string(), "spread": spread.to_string(), "timestamp": at,
                });
                all.push(one(vec![i], true, v));
            }
            all
        }
        Out::Note(Note::LastTrade { instrument, price, qty, side, hash }) => {
            let v = json!({
                "event_type": "last_trade_price", "market": condition(instrument.market()).to_string(),
                "asset_id": host.token_of(*instrument).to_string(), "price": price.to_string(),
                "size": qty.to_string(), "side": side.as_str(), "fee_rate_bps": "0", "timestamp": at,
                "transaction_hash": OrderHash(*hash).to_string(),
            });
            vec![one(vec![*instrument], false, v)]
        }
        Out::Note(Note::Book(s)) => vec![Frame {
            to: Audience::Tokens { tokens: vec![s.instrument], custom: false },
            text: book_frame(host, s),
        }],
        Out::Note(Note::Tick { market, old, new }) => both(*market)
            .into_iter()
            .map(|i| {
                let v = json!({
                    "event_type": "tick_size_change", "market": condition(*market).to_string(),
                    "asset_id": host.token_of(i).to_string(), "old_tick_size": old.as_str(),
                    "new_tick_size": new.as_str(), "timestamp": at,
                });
                one(vec![i], false, v)
            })
            .collect(),
        Out::Note(Note::Resolved(market, payout)) => {
            let spec = &host.exchange.market(*market).spec;
            let mut v = json!({
                "event_type": "market_resolved", "id": (market.0 + 1).to_string(),
                "market": spec.condition.to_string(), "timestamp": at, "tags": ["esports"],
                "assets_ids": [spec.tokens[0].to_string(), spec.tokens[1].to_string()],
            });
            // The form of a ½-½ resolution is unconfirmed: no winner is named.
            let winner = match payout {
                Payout::Yes => Some(0),
                Payout::No => Some(1),
                Payout::Half => None,
            };
            if let Some(w) = winner {
                v["winning_asset_id"] = spec.tokens[w].to_string().into();
                v["winning_outcome"] = spec.outcomes[w].clone().into();
            }
            vec![one(both(*market), true, v)]
        }
        Out::Note(Note::Order(n)) => vec![Frame {
            to: Audience::Key(n.new.owner.clone(), n.new.instrument.market()),
            text: views::order_event(host, n, now).to_string(),
        }],
        Out::Note(Note::Trade(t)) => {
            let parties: BTreeSet<_> = t.makers.iter().map(|f| &f.owner).chain([&t.owner]).collect();
            let outside = parties.into_iter().filter(|p| ***p != *super::TRADERS_KEY);
            outside
                .map(|p| Frame {
                    to: Audience::Key(p.clone(), t.instrument.market()),
                    text: views::trade_event(host, t, p, now).to_string(),
                })
                .collect()
        }
        // The scenario hears of its traders directly.
        Out::Note(Note::Filled(_) | Note::Gone(_)) => Vec::new(),
    }
}
