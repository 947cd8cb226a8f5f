//! (wire/order)
