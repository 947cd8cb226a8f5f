//! Values that every step shares: prices, quantities, names, times, events, orders.
//!
//! Everything here is plain data. Nothing reads a clock, opens a socket or touches a file,
//! and money is never a float.

pub mod amounts;
pub mod eip712;
pub mod event;
pub mod fees;
pub mod ids;
pub mod keccak;
pub mod market;
pub mod order;
pub mod price;
pub mod qty;
pub mod reply;
#[cfg(test)]
pub(crate) mod sample;
pub mod ties;
pub mod time;

pub use event::{Event, Sequenced, Stamped};
pub use ids::{Address, ConditionId, InstrumentIx, MarketIx, MatchIx, OrderHash, TokenId, TradeKey};
pub use market::{Account, InMatch, MarketSpec, MatchSpec, Team, Universe};
pub use order::{Intent, Side, TimeInForce};
pub use price::{Price, TickSize};
pub use qty::{Qty, Usdc};
pub use time::{Cycles, Nanos, Stamp};
