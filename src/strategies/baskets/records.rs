//! Step 8 of 9: what is remembered of baskets that are over, as long as their trades can still come late or fail.
//!
//! A trade is told of by its order, so the orders of a match's baskets are remembered, each with the flight that it
//! was of. What is told of one whose flight is over changes that flight's record; if its legs are not level then, it
//! is flown again.
//!
//! The bound: [`ORDERS_KEPT`] orders, [`FLIGHTS_KEPT`] flights and [`BIDS_KEPT`] bids a match. The oldest are forgotten
//! first: of what they held it is only known how much, not what for.

use super::flight::Flight;
use crate::{
    engine::{digest::StateHasher, strategy::NewFill},
    types::{
        InstrumentIx, OrderHash, Price, Qty, Side, Usdc,
        fees::{FeeSchedule, Rounding},
    },
};

/// Orders that are remembered: as many as some minutes of a busy match bring.
pub const ORDERS_KEPT: usize = 256;
/// Flights that are remembered after their end.
pub const FLIGHTS_KEPT: usize = 64;
/// Bids that nothing was filled of, remembered besides: they are many, and nearly all of them are over.
pub const BIDS_KEPT: usize = 16;

/// An order of a flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// Its id.
    pub hash: OrderHash,
    /// The flight's number.
    pub flight: u32,
    /// Its token.
    pub instrument: InstrumentIx,
    /// Buys what is missing, sells what is too much.
    pub side: Side,
    /// Its limit.
    pub price: Price,
    /// It rests, and pays no fee.
    pub rests: bool,
}

impl Ordered {
    /// What so many shares of it cost at most, or bring at least: at the limit, a taker's fee rounded against us.
    pub fn cash(&self, qty: Qty, fee: FeeSchedule) -> Usdc {
        let fee = if self.rests { Usdc::ZERO } else { fee.taker_fee(qty, self.price, Rounding::Up) };
        match self.side {
            Side::Buy => qty.notional_ceil(self.price) + fee,
            Side::Sell => qty.notional_floor(self.price) - fee,
        }
    }
}

/// What a trade changed: a fill that came, or one that is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The token.
    pub instrument: InstrumentIx,
    /// Shares.
    pub qty: Qty,
    /// They are held now. Otherwise they are gone.
    pub more: bool,
    /// What they cost, or what they brought.
    pub cash: Usdc,
}

impl Change {
    /// By a trade of an order: told of, or taken back.
    pub fn of(order: &Ordered, fill: &NewFill, void: bool, fee: FeeSchedule) -> Self {
        let more = (order.side == Side::Buy) != void;
        Self { instrument: fill.instrument, qty: fill.qty, more, cash: order.cash(fill.qty, fee) }
    }

    /// Makes it to a number of shares.
    pub fn apply(&self, held: &mut Qty) {
        *held = if self.more { *held + self.qty } else { held.saturating_sub(self.qty) };
    }
}

impl Flight {
    /// Takes up what a trade changed.
    pub fn change(&mut self, change: &Change) {
        if let Some(leg) = self.legs.iter_mut().find(|l| l.instrument == change.instrument) {
            change.apply(&mut leg.held);
            leg.paid = if change.more { leg.paid + change.cash } else { leg.paid - change.cash };
        }
    }
}

/// Orders and flights of one match. Nothing is allocated.
#[derive(Debug, Default)]
pub struct Records {
    orders: heapless::Deque<Ordered, ORDERS_KEPT>,
    flights: heapless::Vec<Flight, { FLIGHTS_KEPT + BIDS_KEPT }>,
}

impl Records {
    /// An order of a flight was sent.
    pub fn sent(&mut self, order: Ordered) {
        if self.orders.is_full() {
            self.orders.pop_front();
        }
        // There is room now.
        let _ = self.orders.push_back(order);
    }

    /// An order, if it is remembered.
    pub fn order(&self, hash: &OrderHash) -> Option<Ordered> {
        // What is told of is nearly always told of the newest.
        self.orders.iter().rev().find(|o| o.hash == *hash).copied()
    }

    /// A flight is over. The oldest of its kind makes room.
    pub fn over(&mut self, flight: Flight) {
        let room = if flight.counted { FLIGHTS_KEPT } else { BIDS_KEPT };
        let like = |f: &Flight| f.counted == flight.counted;
        if self.flights.iter().filter(|f| like(f)).count() >= room
            && let Some(oldest) = self.flights.iter().position(like)
        {
            self.flights.remove(oldest);
        }
        // A bid that was filled after all is a flight since.
        if self.flights.is_full() {
            self.flights.remove(0);
        }
        // There is room now.
        let _ = self.flights.push(flight);
    }

    /// A flight that is over, by its number.
    pub fn flight(&mut self, n: u32) -> Option<&mut Flight> {
        self.flights.iter_mut().rev().find(|f| f.n == n)
    }

    /// True if one is to be flown again.
    pub fn due(&self) -> bool {
        self.flights.iter().any(|f| f.due)
    }

    /// Takes out the oldest that is to be flown again.
    pub fn again(&mut self) -> Option<Flight> {
        let at = self.flights.iter().position(|f| f.due)?;
        Some(self.flights.remove(at))
    }

    /// Everything that is remembered, into the state hash.
    pub fn digest(&self, h: &mut StateHasher) {
        for o in &self.orders {
            h.bytes(&o.hash.0);
            h.u64(u64::from(o.flight) << 32 | u64::from(o.instrument.0) << 16 | u64::from(o.price.units()));
            h.u64((o.side as u64) << 1 | u64::from(o.rests));
        }
        h.u64(u64::MAX);
        for f in &self.flights {
            h.u64(u64::from(f.n) << 32 | u64::from(f.candidate) << 16 | u64::from(f.worst));
            let bits = [f.sent, f.counted, f.due].into_iter().fold(0, |bits, b| bits << 1 | u64::from(b));
            h.u64(u64::from(f.flown) << 3 | bits);
            h.u64(f.wanted.micro());
            for leg in &f.legs {
                h.u64(u64::from(leg.instrument.0));
                h.u64(leg.held.micro());
                h.i64(leg.paid.micro());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategies::baskets::flight::Leg;

    fn ordered(n: u8, flight: u32) -> Ordered {
        Ordered {
            hash: OrderHash([n; 32]),
            flight,
            instrument: InstrumentIx(0),
            side: Side::Buy,
            price: Price::from_units(5_000).unwrap(),
            rests: false,
        }
    }

    fn flown(n: u32, counted: bool) -> Flight {
        Flight { n, counted, ..Flight::default() }
    }

    #[test]
    fn a_trade_that_came_and_then_failed_leaves_nothing() {
        let fee = FeeSchedule { rate_ppm: 50_000 };
        for side in [Side::Buy, Side::Sell] {
            let order = Ordered { side, ..ordered(1, 7) };
            let fill = NewFill {
                order: order.hash,
                instrument: order.instrument,
                side,
                qty: Qty::shares(3),
                notional: Usdc(1_500_000),
                fee: Usdc(37_500),
                taker: true,
            };
            let mut flight = flown(7, true);
            let before = Leg { held: Qty::shares(10), paid: Usdc(5_000_000), ..Leg::new(InstrumentIx(0), 0) };
            flight.legs.push(before).unwrap();
            flight.change(&Change::of(&order, &fill, false, fee));
            let (held, paid) =
                if side == Side::Buy { (Qty::shares(13), Usdc(6_537_500)) } else { (Qty::shares(7), Usdc(3_537_500)) };
            assert_eq!((flight.legs[0].held, flight.legs[0].paid), (held, paid));
            flight.change(&Change::of(&order, &fill, true, fee));
            assert_eq!(flight.legs[0], before);
        }
        // A bid that rested pays no fee.
        assert_eq!(Ordered { rests: true, ..ordered(1, 7) }.cash(Qty::shares(3), fee), Usdc(1_500_000));
    }

    #[test]
    fn the_oldest_are_forgotten_first_bids_apart_from_flights() {
        let mut records = Records::default();
        (0..=ORDERS_KEPT).for_each(|n| records.sent(ordered(n as u8, n as u32)));
        // The first made way for the last, which has the same id here.
        assert_eq!(records.order(&OrderHash([0; 32])).map(|o| o.flight), Some(ORDERS_KEPT as u32));
        assert_eq!(records.order(&OrderHash([1; 32])).map(|o| o.flight), Some(1));
        let (flights, bids) = (FLIGHTS_KEPT as u32, BIDS_KEPT as u32);
        (0..flights + 1).for_each(|n| records.over(flown(n, true)));
        (100..100 + bids + 3).for_each(|n| records.over(flown(n, false)));
        let mut kept = |n| records.flight(n).is_some();
        assert_eq!([0, 1, flights, 102, 103, 102 + bids].map(&mut kept), [false, true, true, false, true, true]);
        // Bids that are filled late are flights: the whole list is full, and still one goes in.
        records.flight(103).unwrap().counted = true;
        (200..203).for_each(|n| records.over(flown(n, n == 200)));
        assert!(records.flight(200).is_some() && records.flight(202).is_some());
        assert_eq!(records.flights.len(), FLIGHTS_KEPT + BIDS_KEPT);
        records.flight(7).unwrap().due = true;
        assert!(records.due());
        assert_eq!(records.again().map(|f| f.n), Some(7));
        assert!(records.again().is_none() && records.flight(7).is_none() && !records.due());
    }

    #[test]
    fn all_of_it_is_in_the_hash() {
        let records = |change: &dyn Fn(&mut Ordered, &mut Flight)| {
            let mut flight = Flight { n: 7, wanted: Qty::shares(10), ..Flight::default() };
            flight.legs.push(Leg::new(InstrumentIx(0), 0)).unwrap();
            let mut order = ordered(1, 7);
            change(&mut order, &mut flight);
            let mut records = Records::default();
            records.sent(order);
            records.over(flight);
            let mut h = StateHasher::default();
            records.digest(&mut h);
            h.finish()
        };
        type Changes<'a> = [&'a dyn Fn(&mut Ordered, &mut Flight); 16];
        let changes: Changes<'_> = [
            &|_, _| (),
            &|o, _| o.hash = OrderHash([2; 32]),
            &|o, _| o.flight = 8,
            &|o, _| o.instrument = InstrumentIx(1),
            &|o, _| o.side = Side::Sell,
            &|o, _| o.price = Price::from_units(5_001).unwrap(),
            &|o, _| o.rests = true,
            &|_, f| f.n = 8,
            &|_, f| f.worst = 2,
            &|_, f| f.wanted = Qty::shares(11),
            &|_, f| f.flown = 1,
            &|_, f| f.sent = true,
            &|_, f| f.counted = true,
            &|_, f| f.due = true,
            &|_, f| f.legs[0].held = Qty::ONE,
            &|_, f| f.legs[0].paid = Usdc(1),
        ];
        let mut hashes: Vec<_> = changes.iter().map(|c| records(*c)).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), changes.len());
    }
}
