//! Step 7 of 9: order and cancel bodies, into the caller's buffer.
//!
//! Everything that does not change from order to order is text before the first order.
//! Source: docs/PROTOCOL.md "POST /order", "POST /orders", "cancel"; tests/fixtures/vectors/orders.json, field `wire`.

use crate::types::{
    Account, InstrumentIx, OrderHash, Universe,
    amounts::Amounts,
    eip712::{ORDER_TYPE, checksummed, decimal, hex_into},
    ids::{Address, TokenId},
    market::SignatureType,
    order::{Side, TimeInForce},
};

/// Most orders in one batch.
pub const BATCH_MAX: usize = 15;
/// Most orders in one cancel.
pub const CANCEL_MAX: usize = 1_000;

/// What differs from order to order.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// Below 2^53.
    pub salt: u64,
    /// What is given and wanted.
    pub amounts: Amounts,
    /// Buy or sell.
    pub side: Side,
    /// Order type and expiration.
    pub tif: TimeInForce,
    /// Refused rather than matched at once.
    pub post_only: bool,
    /// As signed, Unix milliseconds.
    pub timestamp_ms: u64,
    /// The struct hash; type 3 signatures carry it.
    pub contents: &'a [u8; 32],
    /// r ‖ s ‖ v of the owner key.
    pub signature: &'a [u8; 65],
}

/// The parts of an order that one account and token fix, as wire text.
#[derive(Clone, Debug)]
struct Template {
    /// From `,"maker"` to the opening quote of makerAmount.
    parties: Box<[u8]>,
    /// Metadata and builder, up to the opening quote of the signature.
    tail: Box<[u8]>,
    /// After r ‖ s ‖ v and before the contents, in hex: the domain separator of type 3.
    separator: Option<[u8; 64]>,
}

/// Writes the bodies of one account's orders. No allocation while the buffer has room.
#[derive(Clone, Debug)]
pub struct OrderEncoder {
    templates: Vec<Template>,
    /// `,"signatureType":n,"timestamp":"`
    kind: Box<[u8]>,
    /// `","owner":"<api key>","orderType":"`, with what closes the order before it.
    owner: Box<[u8]>,
}

impl OrderEncoder {
    /// Prepares the text for every token of a run. `api_key` becomes `owner`.
    /// `separators`: the domain separator of each market's exchange, for type 3.
    pub fn new(universe: &Universe, api_key: &str, separators: &[[u8; 32]]) -> Self {
        use crate::types::ids::Outcome;
        let templates = universe
            .indices()
            .flat_map(|m| [m.instrument(Outcome::Yes), m.instrument(Outcome::No)])
            .map(|i| {
                let separator = separators.get(i.market().ix()).copied().unwrap_or_default();
                Template::new(&universe.account, universe.token(i), &separator, [&[0; 32]; 2])
            })
            .collect();
        Self::with(universe.account.signature_type, api_key, templates)
    }

    /// For one token, with metadata and builder code: the golden vectors.
    pub fn single(
        account: &Account,
        api_key: &str,
        token: TokenId,
        separator: &[u8; 32],
        metadata: &[u8; 32],
        builder: &[u8; 32],
    ) -> Self {
        let template = Template::new(account, token, separator, [metadata, builder]);
        Self::with(account.signature_type, api_key, vec![template])
    }

    fn with(signature_type: SignatureType, api_key: &str, templates: Vec<Template>) -> Self {
        let kind = format!(",\"signatureType\":{},\"timestamp\":\"", signature_type as u8);
        let owner = format!("\"}},\"owner\":\"{api_key}\",\"orderType\":\"");
        Self { templates, kind: kind.into_bytes().into(), owner: owner.into_bytes().into() }
    }

    /// Appends the body of `POST /order`. The HMAC covers exactly these bytes.
    pub fn order(&self, out: &mut Vec<u8>, instrument: InstrumentIx, order: &Order<'_>) {
        let template = &self.templates[instrument.ix()];
        out.extend_from_slice(b"{\"order\":{\"salt\":");
        number(out, order.salt);
        out.extend_from_slice(&template.parties);
        number(out, order.amounts.maker);
        out.extend_from_slice(b"\",\"takerAmount\":\"");
        number(out, order.amounts.taker);
        out.extend_from_slice(b"\",\"side\":\"");
        out.extend_from_slice(order.side.as_str().as_bytes());
        out.extend_from_slice(b"\",\"expiration\":\"");
        number(out, order.tif.expiration_s());
        out.push(b'"');
        out.extend_from_slice(&self.kind);
        number(out, order.timestamp_ms);
        out.extend_from_slice(&template.tail);
        hex(out, order.signature);
        if let Some(separator) = &template.separator {
            // ERC-7739: the exchange's domain, the struct hash, the type string and its length follow.
            out.extend_from_slice(separator);
            hex(out, order.contents);
            hex(out, ORDER_TYPE);
            hex(out, &(ORDER_TYPE.len() as u16).to_be_bytes());
        }
        out.extend_from_slice(&self.owner);
        out.extend_from_slice(order.tif.as_str().as_bytes());
        out.extend_from_slice(if order.post_only {
            b"\",\"deferExec\":false,\"postOnly\":true}"
        } else {
            b"\",\"deferExec\":false,\"postOnly\":false}"
        });
    }

    /// Appends the body of `POST /orders`: at most [`BATCH_MAX`].
    pub fn batch<'a>(&self, out: &mut Vec<u8>, orders: impl IntoIterator<Item = (InstrumentIx, Order<'a>)>) {
        out.push(b'[');
        for (n, (instrument, order)) in orders.into_iter().enumerate() {
            debug_assert!(n < BATCH_MAX);
            if n > 0 {
                out.push(b',');
            }
            self.order(out, instrument, &order);
        }
        out.push(b']');
    }
}

impl Template {
    fn new(account: &Account, token: TokenId, separator: &[u8; 32], [metadata, builder]: [&[u8; 32]; 2]) -> Self {
        let mut parties = Vec::with_capacity(256);
        parties.extend_from_slice(b",\"maker\":\"");
        parties.extend_from_slice(&checksummed(&account.funder));
        parties.extend_from_slice(b"\",\"signer\":\"");
        parties.extend_from_slice(&checksummed(&account.signer()));
        parties.extend_from_slice(b"\",\"tokenId\":\"");
        parties.extend_from_slice(token.decimal(&mut [0; 78]).as_bytes());
        parties.extend_from_slice(b"\",\"makerAmount\":\"");
        let mut tail = b"\",\"metadata\":\"0x".to_vec();
        hex(&mut tail, metadata);
        tail.extend_from_slice(b"\",\"builder\":\"0x");
        hex(&mut tail, builder);
        tail.extend_from_slice(b"\",\"signature\":\"0x");
        let separator = (account.signature_type == SignatureType::Poly1271).then(|| {
            let mut text = [0; 64];
            hex_into(separator, &mut text);
            text
        });
        Self { parties: parties.into(), tail: tail.into(), separator }
    }
}

/// The 317 bytes that a type 3 account sends as signature.
/// Source: docs/PROTOCOL.md "deposit wallet".
pub fn nested_signature(signature: &[u8; 65], separator: &[u8; 32], contents: &[u8; 32]) -> [u8; 317] {
    let mut out = [0; 317];
    out[..65].copy_from_slice(signature);
    out[65..97].copy_from_slice(separator);
    out[97..129].copy_from_slice(contents);
    out[129..315].copy_from_slice(ORDER_TYPE);
    out[315..].copy_from_slice(&(ORDER_TYPE.len() as u16).to_be_bytes());
    out
}

/// Appends the body of `DELETE /order`.
pub fn cancel(out: &mut Vec<u8>, order: &OrderHash) {
    out.extend_from_slice(b"{\"orderID\":\"0x");
    hex(out, &order.0);
    out.extend_from_slice(b"\"}");
}

/// Appends the body of `DELETE /orders`: at most [`CANCEL_MAX`].
pub fn cancel_many(out: &mut Vec<u8>, orders: &[OrderHash]) {
    out.push(b'[');
    for (n, order) in orders.iter().enumerate() {
        out.extend_from_slice(if n == 0 { b"\"0x" } else { b",\"0x" });
        hex(out, &order.0);
        out.push(b'"');
    }
    out.push(b']');
}

/// Appends the body of `POST /v1/heartbeats`. `id` is empty the first time, then what the last answer gave.
pub fn heartbeat(out: &mut Vec<u8>, id: &str) {
    out.extend_from_slice(b"{\"heartbeat_id\":\"");
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(b"\"}");
}

fn number(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(decimal(n, &mut [0; 20]));
}

/// Appends lower-case hex without `0x`.
pub(super) fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    let at = out.len();
    out.resize(at + 2 * bytes.len(), 0);
    hex_into(bytes, &mut out[at..]);
}

/// Appends `0x` and the mixed-case form of an address.
pub(super) fn push_address(out: &mut Vec<u8>, address: &Address) {
    out.extend_from_slice(&checksummed(address));
}

#[cfg(test)]
mod tests {
    use super::{super::tokens::tests::universe, *};

    #[test]
    fn a_batch_is_an_array_of_orders() {
        let encoder = OrderEncoder::new(&universe(&[("", ["111", "222"])]), "key", &[]);
        let order = Order {
            salt: 7,
            amounts: Amounts { maker: 1, taker: 2 },
            side: Side::Buy,
            tif: TimeInForce::Gtd { expires_s: 99 },
            post_only: true,
            timestamp_ms: 5,
            contents: &[0; 32],
            signature: &[0xab; 65],
        };
        let (mut one, mut two, mut batch) = (Vec::new(), Vec::new(), Vec::new());
        encoder.order(&mut one, InstrumentIx(0), &order);
        encoder.order(&mut two, InstrumentIx(1), &order);
        encoder.batch(&mut batch, [(InstrumentIx(0), order), (InstrumentIx(1), order)]);
        assert_eq!(batch, [b"[", &one[..], b",", &two, b"]"].concat());
        let json: serde_json::Value = serde_json::from_slice(&batch).unwrap();
        assert_eq!(json[1]["order"]["tokenId"], "222");
        assert_eq!(json[0]["order"]["salt"], 7);
        assert_eq!(json[0]["order"]["expiration"], "99");
        assert_eq!(json[0]["orderType"], "GTD");
        assert_eq!(json[0]["postOnly"], true);
    }

    #[test]
    fn cancels_are_the_documented_bodies() {
        let (a, b) = (OrderHash([0x11; 32]), OrderHash([0x22; 32]));
        let mut out = Vec::new();
        cancel(&mut out, &a);
        assert_eq!(String::from_utf8_lossy(&out), format!(r#"{{"orderID":"{a}"}}"#));
        out.clear();
        cancel_many(&mut out, &[a, b]);
        assert_eq!(String::from_utf8_lossy(&out), format!(r#"["{a}","{b}"]"#));
        out.clear();
        cancel_many(&mut out, &[]);
        assert_eq!(out, b"[]");
    }
}
