//! Accounts: collateral and shares to the millionth, what of them is promised to open orders, and where they went.
//!
//! `cash = deposits − spent + received − fees + merged − split + payouts` holds after every operation.

use crate::types::{Address, InstrumentIx, Qty, Usdc, market::SignatureType};

/// Dense index of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountIx(pub u32);

impl AccountIx {
    /// As an array index.
    pub const fn ix(self) -> usize {
        self.0 as usize
    }
}

/// Shares of one token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Owned.
    pub balance: Qty,
    /// Of these, promised to open sells.
    pub reserved: Qty,
    /// Bought in trades that are not mined yet: they can be sold but not merged.
    pub unsettled: Qty,
}

impl Holding {
    /// Not promised to anyone.
    pub const fn free(&self) -> Qty {
        self.balance.saturating_sub(self.reserved)
    }

    /// On chain.
    pub const fn settled(&self) -> Qty {
        self.balance.saturating_sub(self.unsettled)
    }
}

/// One account.
#[derive(Clone, Debug)]
pub struct Account {
    /// Address that holds the funds.
    pub funder: Address,
    /// Address of the key that signs for it.
    pub owner: Address,
    /// How it signs.
    pub signature_type: SignatureType,
    /// Collateral paid in.
    pub deposits: Usdc,
    /// Collateral now.
    pub cash: Usdc,
    /// Of it, promised to open buys.
    pub reserved: Usdc,
    /// Paid for shares, without fees.
    pub spent: Usdc,
    /// Received for shares, before fees.
    pub received: Usdc,
    /// Taker fees paid.
    pub fees: Usdc,
    /// Received by merging complete sets.
    pub merged: Usdc,
    /// Paid for complete sets.
    pub split: Usdc,
    /// Received at resolution.
    pub payouts: Usdc,
    holdings: Vec<Holding>,
}

impl Account {
    /// An account with a first deposit, able to hold every token of `instruments`.
    pub fn new(
        funder: Address,
        owner: Address,
        signature_type: SignatureType,
        deposit: Usdc,
        instruments: usize,
    ) -> Self {
        Self {
            funder,
            owner,
            signature_type,
            deposits: deposit,
            cash: deposit,
            reserved: Usdc::ZERO,
            spent: Usdc::ZERO,
            received: Usdc::ZERO,
            fees: Usdc::ZERO,
            merged: Usdc::ZERO,
            split: Usdc::ZERO,
            payouts: Usdc::ZERO,
            holdings: vec![Holding::default(); instruments],
        }
    }

    /// Shares of a token.
    pub fn holding(&self, i: InstrumentIx) -> &Holding {
        &self.holdings[i.ix()]
    }

    /// Shares of a token, to change.
    pub fn holding_mut(&mut self, i: InstrumentIx) -> &mut Holding {
        &mut self.holdings[i.ix()]
    }

    /// Collateral not promised to anyone.
    pub fn free_cash(&self) -> Usdc {
        self.cash - self.reserved
    }

    /// Pays for shares and receives them.
    pub fn buy(&mut self, i: InstrumentIx, qty: Qty, cost: Usdc) {
        self.cash -= cost;
        self.spent += cost;
        let h = self.holding_mut(i);
        h.balance += qty;
        h.unsettled += qty;
    }

    /// Gives shares and receives their price.
    pub fn sell(&mut self, i: InstrumentIx, qty: Qty, proceeds: Usdc) {
        self.cash += proceeds;
        self.received += proceeds;
        self.holding_mut(i).balance -= qty;
    }

    /// Takes a purchase back: the shares go, their cost comes. `landed`: they had been on chain.
    pub fn unbuy(&mut self, i: InstrumentIx, qty: Qty, cost: Usdc, landed: bool) {
        self.cash += cost;
        self.spent -= cost;
        let h = self.holding_mut(i);
        h.balance -= qty;
        if !landed {
            h.unsettled = h.unsettled.saturating_sub(qty);
        }
    }

    /// Takes a sale back: the shares come, their proceeds go.
    pub fn unsell(&mut self, i: InstrumentIx, qty: Qty, proceeds: Usdc) {
        self.cash -= proceeds;
        self.received -= proceeds;
        self.holding_mut(i).balance += qty;
    }

    /// Gets a taker fee back.
    pub fn refund_fee(&mut self, fee: Usdc) {
        self.cash += fee;
        self.fees -= fee;
    }

    /// A deposit from outside.
    pub fn deposit(&mut self, cash: Usdc) {
        self.cash += cash;
        self.deposits += cash;
    }

    /// Pays a taker fee.
    pub fn pay_fee(&mut self, fee: Usdc) {
        self.cash -= fee;
        self.fees += fee;
    }

    /// True when the sums agree with each other and nothing is negative.
    pub fn is_sound(&self) -> bool {
        let sum = self.deposits - self.spent + self.received - self.fees + self.merged - self.split + self.payouts;
        sum == self.cash
            && self.cash >= Usdc::ZERO
            && self.reserved >= Usdc::ZERO
            && self.reserved <= self.cash
            && self.holdings.iter().all(|h| h.reserved <= h.balance)
    }
}
