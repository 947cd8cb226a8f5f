//! Steps 7 and 8 of 9: a reading of everything that the venue knows of us, question by question.
//!
//! Open orders, trades, collateral, shares of every token, positions by the Data API: told between a begin and an end that
//! says whether it was all. Anything that fails, a page with fewer rows than it says, cursors that go in circles, or too
//! many pages, and it was not. Cold: it happens a few times an hour, so it may allocate.
//! Source: docs/PROTOCOL.md "account reads", "positions".

use std::{fmt::Write, sync::Arc};

use super::{
    asked::Asked,
    lane::{Ended, Lane, News},
};
use crate::{
    stage::{duty::Doorbell, endpoint::Endpoint},
    sys::tsc::Clock,
    types::{
        Event, InstrumentIx, MarketIx, Nanos, Qty, TokenId, Universe,
        event::{ReadEvent, ReplyEvent},
        market::Exchange,
    },
    wire::{http::write_request, rest, user::UserParser},
};

/// Most pages of one list. More than a hundred orders or trades each, so more than one account can have in a day.
pub const PAGES_MAX: usize = 200;
/// Rows of a page of positions.
const POSITIONS_ROWS: usize = 500;
/// A reading that takes longer is not worth finishing: what it began with is old.
const TAKES_AT_MOST_NS: u64 = 30_000_000_000;
/// Longest wait for the Data API's answer.
const DATA_LIMIT_NS: u64 = 5_000_000_000;
/// Questions asked again before the reading is given up.
const RETRIES_MAX: u32 = 3;

/// Which question is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Orders,
    Trades,
    Cash,
    Shares(u16),
    Positions,
}

/// Where the account's positions are asked for: a host of its own, and a connection of its own.
pub struct DataApi {
    endpoint: Endpoint,
    doorbell: Option<Doorbell>,
    lane: Lane,
}

impl std::fmt::Debug for DataApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataApi").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl DataApi {
    /// Connects at its first question.
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, doorbell: None, lane: Lane::new(0x6461_7461) }
    }

    pub(super) fn attach(&mut self, doorbell: &Doorbell) {
        self.doorbell = doorbell.try_clone().ok();
    }
}

/// The reading under way.
#[derive(Debug)]
struct Job {
    round: u32,
    since: Nanos,
    begun: Nanos,
    step: Step,
    cursor: Option<String>,
    /// Every cursor of this list so far: one that comes again goes in a circle.
    cursors: Vec<String>,
    /// Rows of positions so far.
    rows: usize,
    positions: Vec<Qty>,
    in_flight: bool,
    retries: u32,
}

/// Reads, one after the other.
#[derive(Debug)]
pub struct Reader {
    universe: Arc<Universe>,
    parser: UserParser,
    data: Option<DataApi>,
    job: Option<Job>,
    /// Asked for while one was under way: the newest only.
    waiting: Option<(u32, Nanos)>,
    target: String,
}

/// How a question was answered.
enum Heard {
    /// This list or balance is whole.
    Whole,
    /// There is another page.
    More(String),
    /// Not clean; it may be asked again.
    Unclear,
    /// It contradicts itself: this reading is not to be believed.
    Broken,
}

impl Reader {
    /// Of one account. `api_key` tells our own orders within trades. Without `data`, positions are not said.
    pub fn new(universe: &Arc<Universe>, api_key: &str, data: Option<DataApi>) -> Self {
        let parser = UserParser::new(universe, api_key);
        Self { universe: Arc::clone(universe), parser, data, job: None, waiting: None, target: String::new() }
    }

    pub(super) fn attach(&mut self, doorbell: &Doorbell) {
        if let Some(data) = &mut self.data {
            data.attach(doorbell);
        }
    }

    /// Begins a reading, or notes that one is wanted after the one under way; a round that is overtaken so ends as not
    /// complete.
    pub(super) fn begin(&mut self, round: u32, since: Nanos, now: Nanos, out: &mut dyn FnMut(Event)) {
        if self.job.is_some() {
            if let Some((overtaken, _)) = self.waiting.replace((round, since)) {
                end(overtaken, false, out);
            }
            return;
        }
        out(Event::Reply(ReplyEvent::Read(ReadEvent::Begin { round })));
        self.job = Some(Job {
            round,
            since,
            begun: now,
            step: Step::Orders,
            cursor: None,
            cursors: Vec::new(),
            rows: 0,
            positions: vec![Qty::ZERO; self.universe.markets.len() * 2],
            in_flight: false,
            retries: 0,
        });
    }

    /// True while there is one.
    pub fn is_busy(&self) -> bool {
        self.job.is_some()
    }

    /// When the reading under way began.
    pub(super) fn begun(&self) -> Option<Nanos> {
        self.job.as_ref().map(|job| job.begun)
    }

    /// The next question to the REST host: path and query, and whether it is about a balance. `None`: nothing to ask there
    /// now.
    pub(super) fn question(&mut self) -> Option<(&str, bool)> {
        let job = self.job.as_mut().filter(|job| !job.in_flight && job.step != Step::Positions)?;
        let target = &mut self.target;
        target.clear();
        let kind = self.universe.account.signature_type as u8;
        // Writing into a string cannot fail.
        let _ = match job.step {
            Step::Orders => write!(target, "/data/orders?"),
            Step::Trades => match job.since.secs() {
                0 => write!(target, "/data/trades?"),
                after => write!(target, "/data/trades?after={after}&"),
            },
            Step::Cash => write!(target, "/balance-allowance?asset_type=COLLATERAL&signature_type={kind}"),
            Step::Shares(n) => {
                let (market, outcome) = (MarketIx(n / 2), n % 2);
                let spec = self.universe.market(market);
                let token: &TokenId = &spec.tokens[usize::from(outcome)];
                let asset = if spec.exchange == Exchange::V3 { "CONDITIONAL-V2" } else { "CONDITIONAL" };
                write!(target, "/balance-allowance?asset_type={asset}&signature_type={kind}&token_id={token}")
            }
            Step::Positions => Ok(()),
        };
        match &job.cursor {
            Some(cursor) => {
                target.push_str("next_cursor=");
                // Looked at when it came.
                rest::push_cursor(target, cursor);
            }
            None => {
                let bare = target.trim_end_matches(['?', '&']).len();
                target.truncate(bare);
            }
        }
        let balance = matches!(job.step, Step::Cash | Step::Shares(_));
        Some((target, balance))
    }

    /// The question is on its way.
    pub(super) fn asks(&mut self) {
        if let Some(job) = &mut self.job {
            job.in_flight = true;
        }
    }

    /// An answer to the question under way. True if it was clean.
    pub(super) fn hears(&mut self, ended: &Ended<'_>, now: Nanos, out: &mut dyn FnMut(Event)) -> bool {
        let Self { universe, parser, job, .. } = self;
        let Some(job) = job else { return true };
        job.in_flight = false;
        let body: &[u8] = match ended {
            Ended::Answered(response) if response.status == 200 && response.json => response.body,
            Ended::Answered(response) if response.status == 404 && job.step == Step::Positions => {
                // There is no such service here: positions are not said.
                job.positions.clear();
                self.goes_on(Heard::Whole, now, out);
                return true;
            }
            _ => {
                self.goes_on(Heard::Unclear, now, out);
                return false;
            }
        };
        let heard = match job.step {
            Step::Orders => orders(body, universe, out),
            Step::Trades => match rest::trades(body, parser, &mut |event| out(event)) {
                Ok(next) => next.map_or(Heard::Whole, Heard::More),
                Err(_) => Heard::Broken,
            },
            Step::Cash | Step::Shares(_) => match (rest::balance_allowance(body), job.step) {
                (Ok(balance), Step::Shares(n)) => {
                    let read = ReadEvent::Shares { instrument: InstrumentIx(n), qty: Qty(balance.balance) };
                    out(Event::Reply(ReplyEvent::Read(read)));
                    Heard::Whole
                }
                (Ok(balance), _) => {
                    out(Event::Reply(ReplyEvent::Read(ReadEvent::Cash { cash: balance.cash() })));
                    Heard::Whole
                }
                (Err(_), _) => Heard::Broken,
            },
            Step::Positions => positions(body, universe, job),
        };
        let clean = !matches!(heard, Heard::Broken);
        self.goes_on(heard, now, out);
        clean
    }

    fn goes_on(&mut self, heard: Heard, now: Nanos, out: &mut dyn FnMut(Event)) {
        let Some(job) = &mut self.job else { return };
        match heard {
            Heard::Unclear => {
                job.retries += 1;
                if job.retries > RETRIES_MAX {
                    self.finish(false, now, out);
                }
                return;
            }
            Heard::Broken => return self.finish(false, now, out),
            Heard::More(cursor) => {
                let circle = job.cursors.contains(&cursor) || job.cursors.len() + 1 >= PAGES_MAX;
                if circle || !rest::push_cursor(&mut String::new(), &cursor) {
                    return self.finish(false, now, out);
                }
                job.cursors.push(cursor.clone());
                job.cursor = Some(cursor);
                return;
            }
            Heard::Whole => {}
        }
        (job.cursor, job.cursors, job.rows) = (None, Vec::new(), 0);
        let instruments = (self.universe.markets.len() * 2) as u16;
        let next = match job.step {
            Step::Orders => Some(Step::Trades),
            Step::Trades => Some(Step::Cash),
            Step::Cash => Some(Step::Shares(0)),
            Step::Shares(n) => Some(Step::Shares(n + 1)),
            Step::Positions => None,
        };
        let next = match next {
            Some(Step::Shares(n)) if n >= instruments => self.data.is_some().then_some(Step::Positions),
            next => next,
        };
        match next {
            Some(step) => job.step = step,
            None => {
                if job.step == Step::Positions {
                    for (n, qty) in job.positions.iter().enumerate() {
                        let instrument = InstrumentIx(n as u16);
                        out(Event::Reply(ReplyEvent::Read(ReadEvent::Position { instrument, qty: *qty })));
                    }
                }
                self.finish(true, now, out);
            }
        }
    }

    fn finish(&mut self, complete: bool, now: Nanos, out: &mut dyn FnMut(Event)) {
        if let Some(job) = self.job.take() {
            end(job.round, complete, out);
        }
        if let Some((round, since)) = self.waiting.take() {
            self.begin(round, since, now, out);
        }
    }

    /// Time passes: a reading that takes too long ends, and the Data API has its turn. Gives how much was done.
    pub(super) fn turn(&mut self, clock: &Clock, out: &mut dyn FnMut(Event)) -> usize {
        let Some(job) = &self.job else { return 0 };
        let now = clock.now().wall;
        if now.since(job.begun) >= TAKES_AT_MOST_NS {
            self.finish(false, now, out);
            return 1;
        }
        if job.step != Step::Positions {
            return 0;
        }
        let Some(mut data) = self.data.take() else { return 0 };
        let DataApi { endpoint, doorbell, lane } = &mut data;
        let mut worked = lane.turn(endpoint, doorbell.as_ref(), clock, &mut |news| {
            if let News::Ended(_, ended) = news {
                self.hears(&ended, now, out);
            }
        });
        if let Some(job) = self.job.as_mut().filter(|job| job.step == Step::Positions && !job.in_flight)
            && lane.is_idle()
        {
            let user = crate::types::eip712::checksummed(&self.universe.account.funder);
            let target = format!(
                "{}/positions?user={}&sizeThreshold=0&limit={POSITIONS_ROWS}&offset={}",
                endpoint.path,
                String::from_utf8_lossy(&user),
                job.rows
            );
            let mut request = Vec::with_capacity(512);
            write_request(&mut request, "GET", &target, &endpoint.authority, b"", None);
            job.in_flight = true;
            lane.send(Asked::Data, &request, clock, DATA_LIMIT_NS);
            worked += 1;
        }
        self.data = Some(data);
        worked
    }
}

fn end(round: u32, complete: bool, out: &mut dyn FnMut(Event)) {
    out(Event::Reply(ReplyEvent::Read(ReadEvent::End { round, complete })));
}

fn orders(body: &[u8], universe: &Universe, out: &mut dyn FnMut(Event)) -> Heard {
    let Ok(page) = rest::open_orders(body) else { return Heard::Broken };
    for row in page.rows {
        let read = match universe.instrument_of(&row.token) {
            Some(instrument) => ReadEvent::Order { order: row.id, instrument, side: row.side, matched: row.matched },
            None => ReadEvent::ForeignOrder { order: row.id },
        };
        out(Event::Reply(ReplyEvent::Read(read)));
    }
    page.next.map_or(Heard::Whole, Heard::More)
}

fn positions(body: &[u8], universe: &Universe, job: &mut Job) -> Heard {
    let Ok(rows) = rest::positions(body) else { return Heard::Broken };
    for row in &rows {
        if let Some(instrument) = universe.instrument_of(&row.token)
            && let Some(held) = job.positions.get_mut(instrument.ix())
        {
            *held = row.shares;
        }
    }
    let full = rows.len() >= POSITIONS_ROWS;
    job.rows += rows.len();
    match full {
        false => Heard::Whole,
        true if job.rows >= POSITIONS_ROWS * PAGES_MAX => Heard::Broken,
        // The next rows, by their number; the cursor is only told apart from the last.
        true => Heard::More(job.rows.to_string()),
    }
}
