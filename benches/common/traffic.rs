//! Messages as the venue writes them: its key order, full-length ids and hashes, both tokens of a market in one frame.
//! Source: docs/PROTOCOL.md "market channel", "user channel"; tests/fixtures/samples.

use std::fmt::Write;

use polyloly_fast::{
    engine::sign::SecretKey,
    types::{
        Account, ConditionId, MarketSpec, OrderHash, Price, Qty, Side, TickSize, TokenId, Universe,
        event::BookSide,
        fees::FeeSchedule,
        ids::Outcome,
        market::{Exchange, MarketKind, SignatureType},
    },
    wire::auth::Credentials,
};

/// Ticks of the grid that all traffic is on (0.01), both ends included.
pub const TICKS: usize = 101;
/// Our API key: it marks our orders in the user channel.
pub const API_KEY: &str = "8f2b6c1e-4d3a-4b7e-9c55-0a1b2c3d4e5f";
/// Somebody else's.
pub const STRANGER: &str = "86f776cc-e18b-c94e-80b4-a7364e0ecec5";

/// SplitMix64: the same traffic in every run, without a crate.
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.draw() % n
    }

    /// 32 bytes.
    pub fn word(&mut self) -> [u8; 32] {
        let mut out = [0; 32];
        out.chunks_exact_mut(8).for_each(|c| c.copy_from_slice(&self.draw().to_be_bytes()));
        out
    }

    /// A size with two decimals, as most are on the wire.
    pub fn size(&mut self) -> Qty {
        Qty((500 + self.below(60_000)) * 10_000)
    }
}

/// The public test key of `tests/fixtures/vectors`: worth nothing to anybody.
pub fn key() -> SecretKey {
    SecretKey::from_hex(b"ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80").expect("a key")
}

/// API credentials of the usual shapes.
pub fn credentials() -> Credentials {
    Credentials {
        api_key: API_KEY.into(),
        secret: String::from("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").into(),
        passphrase: String::from("6f1a2b3c4d5e6f708192a3b4c5d6e7f80123456789abcdef0123456789abcdef").into(),
    }
}

/// Markets whose token ids have 77 digits.
pub fn universe(markets: usize) -> Universe {
    let mut rng = Rng(7);
    let mut token = || {
        let mut bytes = rng.word();
        // From 2^255 up to 10^77 every number has 77 digits.
        bytes[0] = 0x80 | bytes[0] & 0x3f;
        TokenId(bytes)
    };
    let owner = key().address();
    let mut markets: Vec<_> = (0..markets)
        .map(|m| MarketSpec {
            condition: ConditionId([m as u8 + 1; 32]),
            slug: format!("lol-aaa-bbb-2026-11-23-game{m}"),
            tokens: [token(), token()],
            outcomes: ["Aardvarks".into(), "Badgers".into()],
            exchange: Exchange::V2,
            tick: TickSize::Cent,
            min_size: Qty::shares(5),
            fee: FeeSchedule { rate_ppm: 50_000 },
            rewards: None,
            hold_ms: 1_000,
            clear_on_start: true,
            game_start: None,
            kind: MarketKind::Series,
            of_match: None,
        })
        .collect();
    markets.iter_mut().for_each(|m| m.condition = ConditionId(rng.word()));
    Universe {
        chain_id: 137,
        account: Account { owner, funder: owner, signature_type: SignatureType::Eoa },
        markets,
        matches: Vec::new(),
    }
}

/// One market's book, in ticks of the first token; micro-shares.
#[derive(Clone, Debug)]
pub struct Ladder {
    /// Buyers of the first token.
    pub bids: [u64; TICKS],
    /// Sellers of the first token.
    pub asks: [u64; TICKS],
}

impl Ladder {
    /// `depth` levels a side around `center`, which is left empty.
    pub fn around(center: usize, depth: usize, rng: &mut Rng) -> Self {
        let mut ladder = Self { bids: [0; TICKS], asks: [0; TICKS] };
        for k in 1..=depth {
            if center > k {
                ladder.bids[center - k] = rng.size().micro();
            }
            if center + k < TICKS - 1 {
                ladder.asks[center + k] = rng.size().micro();
            }
        }
        ladder
    }

    /// One side.
    pub fn side(&self, side: BookSide) -> &[u64; TICKS] {
        match side {
            BookSide::Bid => &self.bids,
            BookSide::Ask => &self.asks,
        }
    }

    /// One side, to be changed.
    pub fn side_mut(&mut self, side: BookSide) -> &mut [u64; TICKS] {
        match side {
            BookSide::Bid => &mut self.bids,
            BookSide::Ask => &mut self.asks,
        }
    }

    /// Best bid and ask.
    pub fn top(&self) -> (Option<usize>, Option<usize>) {
        (self.bids.iter().rposition(|q| *q > 0), self.asks.iter().position(|q| *q > 0))
    }
}

/// A price by its tick.
pub fn price(tick: usize) -> Price {
    Price::from_units(tick as u16 * TickSize::Cent.units()).expect("a tick of the grid")
}

/// What one token's book calls a tick and side of the first token's.
pub fn seen_from(outcome: Outcome, side: BookSide, tick: usize) -> (BookSide, usize) {
    match outcome {
        Outcome::Yes => (side, tick),
        Outcome::No => (side.other(), TICKS - 1 - tick),
    }
}

/// Best prices as one token's messages state them: an empty side is a bid of 0 or an ask of 1.
fn stated_top(outcome: Outcome, ladder: &Ladder) -> (Price, Price) {
    let (bid, ask) = ladder.top();
    let (bid, ask) = match outcome {
        Outcome::Yes => (bid, ask),
        Outcome::No => (ask.map(|t| TICKS - 1 - t), bid.map(|t| TICKS - 1 - t)),
    };
    (bid.map_or(Price::ZERO, price), ask.map_or(Price::ONE, price))
}

/// Forty hex digits.
fn hash(rng: &mut Rng) -> String {
    format!("{:016x}{:016x}{:08x}", rng.draw(), rng.draw(), rng.draw() as u32)
}

const BOTH: [Outcome; 2] = [Outcome::Yes, Outcome::No];

/// A `price_change`: the new totals of some levels, for both tokens.
pub fn price_change(
    spec: &MarketSpec,
    ladder: &Ladder,
    changed: &[(BookSide, usize)],
    ms: u64,
    rng: &mut Rng,
) -> String {
    let mut out = format!("{{\"market\":\"{}\",\"price_changes\":[", spec.condition);
    for (n, &(side, tick)) in changed.iter().enumerate() {
        for outcome in BOTH {
            let (own_side, own_tick) = seen_from(outcome, side, tick);
            let word = if own_side == BookSide::Bid { "BUY" } else { "SELL" };
            let (bid, ask) = stated_top(outcome, ladder);
            let comma = if n == 0 && outcome == Outcome::Yes { "" } else { "," };
            write!(
                out,
                "{comma}{{\"asset_id\":\"{}\",\"price\":\"{}\",\"size\":\"{}\",\"side\":\"{word}\",\"hash\":\"{}\",\
                 \"best_bid\":\"{bid}\",\"best_ask\":\"{ask}\"}}",
                spec.tokens[outcome as usize],
                price(own_tick),
                Qty(ladder.side(side)[tick]),
                hash(rng),
            )
            .expect("text");
        }
    }
    write!(out, "],\"timestamp\":\"{ms}\",\"event_type\":\"price_change\"}}").expect("text");
    out
}

/// A `book` of one token. Bids ascend, asks descend, as in every capture.
pub fn book(spec: &MarketSpec, outcome: Outcome, ladder: &Ladder, ms: u64, rng: &mut Rng) -> String {
    let mut out = format!(
        "{{\"market\":\"{}\",\"asset_id\":\"{}\",\"timestamp\":\"{ms}\",\"hash\":\"{}\",\"bids\":[",
        spec.condition,
        spec.tokens[outcome as usize],
        hash(rng)
    );
    let side = |wanted: BookSide| {
        let (of_yes, _) = seen_from(outcome, wanted, 0);
        let mut levels: Vec<_> = (0..TICKS)
            .filter(|&tick| ladder.side(of_yes)[tick] > 0)
            .map(|tick| (seen_from(outcome, of_yes, tick).1, ladder.side(of_yes)[tick]))
            .collect();
        levels.sort_unstable();
        if wanted == BookSide::Ask {
            levels.reverse();
        }
        let texts = levels.iter().map(|&(t, q)| format!("{{\"price\":\"{}\",\"size\":\"{}\"}}", price(t), Qty(q)));
        texts.collect::<Vec<_>>().join(",")
    };
    let (bids, asks) = (side(BookSide::Bid), side(BookSide::Ask));
    write!(
        out,
        "{bids}],\"asks\":[{asks}],\"tick_size\":\"0.01\",\"event_type\":\"book\",\"last_trade_price\":\"0.490\"}}"
    )
    .expect("text");
    out
}

/// A `last_trade_price`.
pub fn last_trade(
    spec: &MarketSpec,
    outcome: Outcome,
    side: Side,
    at: Price,
    qty: Qty,
    ms: u64,
    rng: &mut Rng,
) -> String {
    format!(
        "{{\"market\":\"{}\",\"asset_id\":\"{}\",\"price\":\"{at}\",\"size\":\"{qty}\",\"fee_rate_bps\":\"0\",\
         \"side\":\"{}\",\"timestamp\":\"{ms}\",\"event_type\":\"last_trade_price\",\"transaction_hash\":\"{}\"}}",
        spec.condition,
        spec.tokens[outcome as usize],
        side.as_str(),
        ConditionId(rng.word()),
    )
}

/// A `best_bid_ask`.
pub fn best_bid_ask(spec: &MarketSpec, ladder: &Ladder, ms: u64) -> String {
    let (bid, ask) = stated_top(Outcome::Yes, ladder);
    format!(
        "{{\"market\":\"{}\",\"asset_id\":\"{}\",\"best_bid\":\"{bid}\",\"best_ask\":\"{ask}\",\"spread\":\"0.02\",\
         \"timestamp\":\"{ms}\",\"event_type\":\"best_bid_ask\"}}",
        spec.condition, spec.tokens[0],
    )
}

/// One of our orders, as messages name it.
#[derive(Clone, Copy, Debug)]
pub struct OrderText<'a> {
    /// Its market.
    pub spec: &'a MarketSpec,
    /// On which token.
    pub outcome: Outcome,
    /// Its id.
    pub order: OrderHash,
    /// Its side.
    pub side: Side,
    /// Its limit.
    pub price: Price,
    /// Its size.
    pub qty: Qty,
    /// Matched so far.
    pub matched: Qty,
}

impl OrderText<'_> {
    /// A user-channel `order`. `kind`: `PLACEMENT`, `UPDATE` or `CANCELLATION`.
    pub fn event(&self, kind: &str, status: &str, ms: u64) -> String {
        format!(
            "{{\"asset_id\":\"{}\",\"associate_trades\":null,\"created_at\":\"{}\",\"event_type\":\"order\",\
             \"expiration\":\"0\",\"id\":\"{}\",\"maker_address\":\"0xa3D82Ed56F4c68d2328Fb8c29e568Ba2cAF7d7c8\",\
             \"market\":\"{}\",\"order_owner\":\"{API_KEY}\",\"order_type\":\"GTD\",\"original_size\":\"{}\",\
             \"outcome\":\"{}\",\"owner\":\"{API_KEY}\",\"price\":\"{}\",\"side\":\"{}\",\"size_matched\":\"{}\",\
             \"status\":\"{status}\",\"timestamp\":\"{ms}\",\"type\":\"{kind}\"}}",
            self.spec.tokens[self.outcome as usize],
            ms / 1_000,
            self.order,
            self.spec.condition,
            self.qty,
            self.spec.outcomes[self.outcome as usize],
            self.price,
            self.side.as_str(),
            self.matched,
        )
    }

    fn entry(&self, qty: Qty, owner: &str, side: Side, order: OrderHash) -> String {
        format!(
            "{{\"asset_id\":\"{}\",\"fee_rate_bps\":\"0\",\
             \"maker_address\":\"0xFfd192468b7a05b38c37C82d09fA941289FaEB23\",\"matched_amount\":\"{qty}\",\
             \"order_id\":\"{order}\",\"outcome\":\"{}\",\"owner\":\"{owner}\",\"price\":\"{}\",\"side\":\"{}\"}}",
            self.spec.tokens[self.outcome as usize],
            self.spec.outcomes[self.outcome as usize],
            self.price,
            side.as_str(),
        )
    }

    /// A user-channel `trade` of `qty` of this order, which was the maker or the taker.
    pub fn trade(&self, id: u64, qty: Qty, taker: bool, status: &str, ms: u64) -> String {
        // Trades of one id tell the same story at every status.
        let mut rng = Rng(id);
        let (word, other) = (if taker { "TAKER" } else { "MAKER" }, OrderHash(rng.word()));
        let (owner, taker_side, taker_order, maker) = if taker {
            (API_KEY, self.side, self.order, self.entry(qty, STRANGER, self.side.other(), other))
        } else {
            (STRANGER, self.side.other(), other, self.entry(qty, API_KEY, self.side, self.order))
        };
        format!(
            "{{\"asset_id\":\"{}\",\"bucket_index\":0,\"event_type\":\"trade\",\"fee_rate_bps\":\"0\",\
             \"id\":\"83b5c849-620e-4c23-b63b-{id:012x}\",\"last_update\":\"{}\",\
             \"maker_address\":\"0x64B7a036c378f9CF8163A5480437CD12Ae14b6A1\",\"maker_orders\":[{maker}],\
             \"market\":\"{}\",\"match_time\":\"{}\",\"outcome\":\"{}\",\"owner\":\"{owner}\",\"price\":\"{}\",\
             \"side\":\"{}\",\"size\":\"{qty}\",\"status\":\"{status}\",\"taker_order_id\":\"{taker_order}\",\
             \"timestamp\":\"{ms}\",\"trade_owner\":\"{owner}\",\"trader_side\":\"{word}\",\
             \"transaction_hash\":\"{}\",\"type\":\"TRADE\"}}",
            self.spec.tokens[self.outcome as usize],
            ms / 1_000,
            self.spec.condition,
            ms / 1_000,
            self.spec.outcomes[self.outcome as usize],
            self.price,
            taker_side.as_str(),
            ConditionId(rng.word()),
        )
    }
}

/// A text frame as a server sends it: whole and unmasked.
pub fn frame(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 10);
    out.push(0x81);
    match text.len() {
        n @ 0..=125 => out.push(n as u8),
        n @ 126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            out.push(127);
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(text.as_bytes());
    out
}

/// An answer with the head that the venue's edge puts before it.
pub fn answer(status: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nDate: Mon, 23 Nov 2026 07:20:00 GMT\r\nContent-Type: application/json; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: keep-alive\r\nCF-RAY: 9a1b2c3d4e5f6071-LHR\r\nCF-Cache-Status: DYNAMIC\r\n\
         Access-Control-Allow-Origin: *\r\nVary: Origin\r\n\
         Strict-Transport-Security: max-age=31536000; includeSubDomains\r\nServer: cloudflare\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
