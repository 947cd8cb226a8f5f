//! Step 6 of 9: approved → signed; alone sees the key.

use super::risk::Approved;

/// A signed order: the only thing that the gateway sends.
#[derive(Clone, Copy)]
pub struct Signed {
    approved: Approved,
    signature: [u8; 65],
}

#[allow(dead_code)]
impl Signed {
    /// Joins an approved order with the 65-byte signature (r ‖ s ‖ v, v 27 or 28) over its signing digest.
    const fn join(approved: Approved, signature: [u8; 65]) -> Self {
        Self { approved, signature }
    }

    /// The order.
    pub const fn approved(&self) -> &Approved {
        &self.approved
    }

    /// r ‖ s ‖ v of the owner key. Type 3 wraps it further on the wire.
    pub const fn signature(&self) -> &[u8; 65] {
        &self.signature
    }
}
