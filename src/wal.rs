//! The write-ahead log of orders: known here before the first byte leaves, forgotten when the venue has said the end.
//!
//! One preallocated, memory-mapped file: a table of orders by their hash, and the kill switch. Writing is a copy of
//! some 150 bytes into mapped memory, tens of nanoseconds; the system keeps it when the process is killed at any
//! instruction. A power cut can lose what was not yet on the disk; reconciliation with the venue at start covers that.
//! A record is written whole before its first byte says that it is there, so half of one is never taken for an order.

use std::{
    fmt,
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::atomic::{Ordering, compiler_fence},
};

use memmap2::MmapMut;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    engine::Approved,
    sys::map,
    types::{
        Nanos, OrderHash, Price, Qty, Side, TimeInForce, TokenId, Universe,
        event::{KillReason, RecoveredEvent},
        ids::InstrumentIx,
        order::{Intent, Purpose, StrategyId},
    },
};

/// First bytes of the file; the last two are its version.
const MAGIC: [u8; 8] = *b"plfwal01";
/// The kill switch: the reason's number plus one, and the same inverted, so that no stray byte looks like one.
const KILL_AT: usize = 8;
/// Orders begin here.
const HEADER: usize = 4_096;
/// Orders that fit: eight times as many as can work at once.
const SLOTS: usize = 8_192;
/// Bytes of one order.
const RECORD: usize = 160;
/// Places that an order may be at, from the one that its hash says.
const PROBES: usize = 64;
/// After its own expiry, or this long after its approval if it has none, an order that never showed cannot any more.
const ZOMBIE_S: u64 = 180;

/// Nothing is here.
const FREE: u8 = 0;
/// An order whose end is not known, and that may still be on its way.
const OPEN: u8 = 1;
/// An order that the venue has, and whose end is not known.
const ARRIVED: u8 = 2;

/// Why the log cannot be used. The text says what to do.
#[derive(Debug)]
pub enum WalError {
    /// Another process has it.
    InUse(PathBuf),
    /// It is something else.
    NotOurs(PathBuf),
    /// The system said no.
    Io(PathBuf, io::Error),
}

impl fmt::Display for WalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(path) => {
                write!(f, "{} is in use: another instance trades with this wallet; stop it first", path.display())
            }
            Self::NotOurs(path) => {
                write!(f, "{} is no write-ahead log of this version; move it away if no order is open", path.display())
            }
            Self::Io(path, e) => write!(f, "{}: {e}; orders cannot be written ahead without it", path.display()),
        }
    }
}

impl std::error::Error for WalError {}

/// What an earlier run left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Orders whose end is not known and that may still show, in markets of this run.
    pub orders: Vec<RecoveredEvent>,
    /// The kill switch was on.
    pub killed: Option<KillReason>,
    /// Orders whose end is not known in markets that this run does not trade.
    pub elsewhere: usize,
    /// Records that do not match their checksum: the process died while writing them, before their order left.
    pub torn: usize,
}

/// The log.
pub struct Wal {
    map: MmapMut,
    /// Held, and with it the lock, for as long as the map.
    _file: Option<File>,
}

impl fmt::Debug for Wal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wal").field("bytes", &self.map.len()).finish_non_exhaustive()
    }
}

impl Wal {
    /// A log that is nowhere: dry runs, benches and tests.
    pub fn in_memory() -> io::Result<Self> {
        let mut map = MmapMut::map_anon(HEADER + SLOTS * RECORD)?;
        map[..8].copy_from_slice(&MAGIC);
        Ok(Self { map, _file: None })
    }

    /// Opens the log, or makes it, and says what is in it. Nobody else can open it meanwhile.
    pub fn open(path: &Path, universe: &Universe, now: Nanos) -> Result<(Self, Found), WalError> {
        let io = |e| WalError::Io(path.to_owned(), e);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(WalError::InUse(path.to_owned())),
            Err(TryLockError::Error(e)) => return Err(io(e)),
        }
        let length = (HEADER + SLOTS * RECORD) as u64;
        let fresh = file.metadata().map_err(io)?.len() == 0;
        if fresh {
            // Written, not only promised: a full disk is told now and not while an order waits.
            io::copy(&mut io::Read::take(io::repeat(0), length), &mut &file).map_err(io)?;
        } else if file.metadata().map_err(io)?.len() != length {
            return Err(WalError::NotOurs(path.to_owned()));
        }
        let mut map = map::writable(&file).map_err(io)?;
        if fresh {
            map[..8].copy_from_slice(&MAGIC);
        } else if map[..8] != MAGIC {
            return Err(WalError::NotOurs(path.to_owned()));
        }
        let mut wal = Self { map, _file: Some(file) };
        let found = wal.look(universe, now);
        Ok((wal, found))
    }

    /// Registers an order before it leaves. False: there is no room, and it must not leave.
    pub fn register(&mut self, approved: &Approved, token: &TokenId, now: Nanos) -> bool {
        let hash = approved.hash();
        let Some(at) = self.places(&hash).find(|at| self.map[*at] == FREE) else { return false };
        let i = approved.intent();
        let mut r = [0; RECORD];
        r[8..40].copy_from_slice(&hash.0);
        r[40..72].copy_from_slice(&token.0);
        r[72..77].copy_from_slice(&[
            i.side as u8,
            tif_number(i.tif),
            u8::from(i.post_only),
            i.strategy as u8,
            i.purpose as u8,
        ]);
        r[78..80].copy_from_slice(&i.price.units().to_le_bytes());
        r[80..88].copy_from_slice(&i.qty.micro().to_le_bytes());
        r[88..96].copy_from_slice(&i.tif.expiration_s().to_le_bytes());
        r[96..100].copy_from_slice(&i.epoch.to_le_bytes());
        r[104..112].copy_from_slice(&now.0.to_le_bytes());
        r[112..120].copy_from_slice(&approved.salt().to_le_bytes());
        let sum = xxh3_64(&r[8..120]);
        r[120..128].copy_from_slice(&sum.to_le_bytes());
        self.map[at + 1..at + RECORD].copy_from_slice(&r[1..]);
        // The processor keeps the order of stores; the compiler is told to.
        compiler_fence(Ordering::Release);
        self.map[at] = OPEN;
        true
    }

    /// The venue has an order.
    pub fn arrived(&mut self, hash: &OrderHash) {
        if let Some(at) = self.find(hash) {
            self.map[at] = ARRIVED;
        }
    }

    /// An order's end is known.
    pub fn finish(&mut self, hash: &OrderHash) {
        if let Some(at) = self.find(hash) {
            self.map[at] = FREE;
        }
    }

    fn find(&self, hash: &OrderHash) -> Option<usize> {
        self.places(hash).find(|at| self.map[*at] != FREE && self.map[at + 8..at + 40] == hash.0)
    }

    /// The kill switch is on, or was lifted.
    pub fn set_killed(&mut self, why: Option<KillReason>) {
        let number = why.map_or(0, |why| why as u8 + 1);
        self.map[KILL_AT..KILL_AT + 2].copy_from_slice(&[number, !number]);
    }

    fn killed(&self) -> Option<KillReason> {
        let (number, check) = (self.map[KILL_AT], self.map[KILL_AT + 1]);
        // Two bytes that do not belong together were written by nobody of ours: better on than off.
        if number != 0 && number != !check {
            return Some(KillReason::Manual);
        }
        KillReason::ALL.get(usize::from(number).wrapping_sub(1)).copied()
    }

    /// Where an order may be.
    fn places(&self, hash: &OrderHash) -> impl Iterator<Item = usize> + use<> {
        let first = hash.0.first_chunk::<8>().map_or(0, |b| u64::from_le_bytes(*b)) as usize;
        (0..PROBES).map(move |n| HEADER + (first.wrapping_add(n) % SLOTS) * RECORD)
    }

    /// What is there. What cannot show any more, or was never whole, is forgotten.
    fn look(&mut self, universe: &Universe, now: Nanos) -> Found {
        let mut found = Found { killed: self.killed(), ..Found::default() };
        for slot in 0..SLOTS {
            let at = HEADER + slot * RECORD;
            if self.map[at] == FREE {
                continue;
            }
            let Some((order, token, intent, created)) = read(&self.map[at..at + RECORD]) else {
                found.torn += 1;
                self.map[at] = FREE;
                continue;
            };
            let last_s = match intent.tif.expiration_s() {
                0 => created.secs() + ZOMBIE_S,
                expires_s => expires_s,
            };
            if now.secs() > last_s {
                self.map[at] = FREE;
                continue;
            }
            match universe.instrument_of(&token) {
                Some(instrument) => {
                    let intent = Intent { instrument, ..intent };
                    let arrived = self.map[at] == ARRIVED;
                    found.orders.push(RecoveredEvent::Order { order, intent, created, arrived });
                }
                None => found.elsewhere += 1,
            }
        }
        found
    }
}

const fn tif_number(tif: TimeInForce) -> u8 {
    match tif {
        TimeInForce::Gtc => 0,
        TimeInForce::Gtd { .. } => 1,
        TimeInForce::Fok => 2,
        TimeInForce::Fak => 3,
    }
}

/// One record; the intent's instrument is not known yet.
fn read(r: &[u8]) -> Option<(OrderHash, TokenId, Intent, Nanos)> {
    let u64_at = |at: usize| Some(u64::from_le_bytes(*r.get(at..at + 8)?.first_chunk()?));
    if !matches!(r.first(), Some(&OPEN | &ARRIVED)) || u64_at(120)? != xxh3_64(r.get(8..120)?) {
        return None;
    }
    let intent = Intent {
        instrument: InstrumentIx(0),
        side: if r[72] == Side::Buy as u8 { Side::Buy } else { Side::Sell },
        price: Price::from_units(u16::from_le_bytes([r[78], r[79]]))?,
        qty: Qty(u64_at(80)?),
        tif: match r[73] {
            0 => TimeInForce::Gtc,
            1 => TimeInForce::Gtd { expires_s: u64_at(88)? },
            2 => TimeInForce::Fok,
            _ => TimeInForce::Fak,
        },
        post_only: r[74] != 0,
        strategy: *StrategyId::ALL.get(usize::from(r[75]))?,
        purpose: match r[76] {
            0 => Purpose::Quote,
            1 => Purpose::Complete,
            2 => Purpose::Unwind,
            _ => Purpose::Leg,
        },
        epoch: u32::from_le_bytes(*r.get(96..100)?.first_chunk()?),
    };
    Some((
        OrderHash(*r.get(8..40)?.first_chunk()?),
        TokenId(*r.get(40..72)?.first_chunk()?),
        intent,
        Nanos(u64_at(104)?),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Usdc, sample};

    const NOW: Nanos = Nanos(1_790_000_000_000_000_000);

    fn universe() -> Universe {
        sample::universe(vec![sample::market()])
    }

    /// Orders as risk approves them: a core that quotes a book on both tokens.
    fn orders() -> Vec<Approved> {
        use crate::{
            engine::{Action, Actions},
            strategies::{Params, core},
            types::{
                Event, Sequenced, Stamp,
                event::{BookSide, MarketEvent, ReadEvent, ReplyEvent, UserEvent},
            },
        };
        let mut core = core(&universe(), &Params::default());
        let mut seq = 0;
        let mut hear = |event| {
            seq += 1;
            let mut out = Actions::new();
            let stamp = Stamp { wall: NOW.plus(seq), ..Stamp::default() };
            core.on(&Sequenced { seq, stamp, event }, &mut (), &mut out);
            out
        };
        hear(Event::Start { run_tag: 1, cash: Usdc::dollars(1_000), match_feed: false });
        hear(Event::User(UserEvent::Up));
        hear(Event::Reply(ReplyEvent::GatewayUp));
        hear(Event::Tick);
        hear(Event::Reply(ReplyEvent::Read(ReadEvent::Begin { round: 1 })));
        hear(Event::Reply(ReplyEvent::Read(ReadEvent::End { round: 1, complete: true })));
        for n in 0..2 {
            let instrument = InstrumentIx(n);
            hear(Event::Market(MarketEvent::SnapshotStart { instrument, tick: None, venue_ms: 0 }));
            for (side, units) in [(BookSide::Bid, 4_800), (BookSide::Ask, 5_200)] {
                let price = Price::from_units(units).unwrap();
                let level = MarketEvent::Level { instrument, side, price, qty: Qty::shares(100) };
                hear(Event::Market(level));
            }
            hear(Event::Market(MarketEvent::SnapshotEnd { instrument }));
        }
        let out = hear(Event::Market(MarketEvent::FrameEnd { venue_ms: 0 }));
        out.iter().filter_map(|a| if let Action::Place(approved) = a { Some(*approved) } else { None }).collect()
    }

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("polyloly-wal-{name}-{}", std::process::id()));
            let _ = std::fs::remove_file(&path);
            Self(path)
        }

        fn open(&self, after_s: u64) -> (Wal, Found) {
            Wal::open(&self.0, &universe(), NOW.plus(after_s * 1_000_000_000)).unwrap()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn token(approved: &Approved) -> TokenId {
        universe().token(approved.intent().instrument)
    }

    #[test]
    fn what_is_not_finished_is_found_again_as_it_was() {
        let place = Place::new("found");
        let orders = orders();
        let [one, two] = orders.as_slice() else { panic!("{orders:?}") };
        let (mut wal, found) = place.open(0);
        assert_eq!(found, Found::default());
        assert!(wal.register(one, &token(one), NOW) && wal.register(two, &token(two), NOW));
        wal.finish(&one.hash());
        wal.arrived(&two.hash());
        wal.set_killed(Some(KillReason::DailyLoss));
        drop(wal);
        let (mut wal, found) = place.open(1);
        let left = RecoveredEvent::Order { order: two.hash(), intent: *two.intent(), created: NOW, arrived: true };
        assert_eq!((found.orders.as_slice(), found.killed), ([left].as_slice(), Some(KillReason::DailyLoss)));
        wal.set_killed(None);
        drop(wal);
        let (_, found) = place.open(10 * 60);
        assert_eq!(found, Found::default(), "after its own expiry it cannot show any more");
    }

    #[test]
    fn half_a_record_is_no_order_at_any_byte() {
        let place = Place::new("torn");
        let orders = orders();
        let order = &orders[0];
        let (mut wal, _) = place.open(0);
        assert!(wal.register(order, &token(order), NOW));
        let at = wal.places(&order.hash()).next().unwrap();
        drop(wal);
        let whole = std::fs::read(&place.0).unwrap();
        for byte in at + 8..at + 128 {
            let mut torn = whole.clone();
            torn[byte] ^= 0x40;
            std::fs::write(&place.0, &torn).unwrap();
            let (_, found) = place.open(1);
            assert_eq!((found.orders.len(), found.torn), (0, 1), "byte {}", byte - at);
        }
    }

    #[test]
    fn a_second_user_is_refused() {
        let place = Place::new("locked");
        let (_wal, _) = place.open(0);
        let second = Wal::open(&place.0, &universe(), NOW).unwrap_err();
        assert!(second.to_string().contains("another instance trades with this wallet"), "{second}");
    }

    #[test]
    fn something_else_is_not_written_over() {
        let place = Place::new("other");
        for text in [b"a text that somebody wants to keep".to_vec(), vec![0; HEADER + SLOTS * RECORD]] {
            std::fs::write(&place.0, &text).unwrap();
            assert!(matches!(Wal::open(&place.0, &universe(), NOW), Err(WalError::NotOurs(_))));
            assert_eq!(std::fs::read(&place.0).unwrap(), text);
        }
    }

    #[test]
    fn a_full_neighbourhood_refuses_the_order() {
        let orders = orders();
        let order = &orders[0];
        let mut wal = Wal::in_memory().unwrap();
        for _ in 0..PROBES {
            assert!(wal.register(order, &token(order), NOW));
        }
        assert!(!wal.register(order, &token(order), NOW));
        wal.finish(&order.hash());
        assert!(wal.register(order, &token(order), NOW));
    }

    #[test]
    fn a_kill_switch_that_cannot_be_read_is_on() {
        let mut wal = Wal::in_memory().unwrap();
        for why in KillReason::ALL {
            wal.set_killed(Some(why));
            assert_eq!(wal.killed(), Some(why));
        }
        wal.set_killed(None);
        assert_eq!(wal.killed(), None);
        wal.map[KILL_AT] = 3;
        assert_eq!(wal.killed(), Some(KillReason::Manual));
    }
}
