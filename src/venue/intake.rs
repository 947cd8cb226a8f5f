//! From the JSON of an order to an order that the exchange may look at: shape, owner, signer, signature.
//!
//! Source: docs/PROTOCOL.md "POST /order", "EIP-712 order", "errors".

use serde_json::Value;

use super::{
    auth::Credentials,
    host::Host,
    rules::{NewOrder, Refusal},
    verify::{SignedFields, Word, exchange_domain, hex_bytes, order_signer},
};
use crate::types::{
    Address, Side, TimeInForce, TokenId,
    market::{Exchange, SignatureType},
};

/// Salts are JSON numbers and must survive a double. Source: docs/PROTOCOL.md "EIP-712 order".
const SALT_MAX: u64 = 1 << 53;

/// What the JSON says.
struct Read {
    fields: SignedFields,
    signature: Vec<u8>,
    owner: String,
    tif: Result<TimeInForce, Refusal>,
    post_only: bool,
}

fn read(v: &Value) -> Option<Read> {
    let o = v.get("order")?;
    let text = |key: &str| o.get(key).and_then(Value::as_str);
    let address = |key: &str| Address::parse(text(key)?.as_bytes());
    let word = |key: &str| -> Option<Word> { hex_bytes(text(key)?)?.try_into().ok() };
    let expiration = match o.get("expiration") {
        None | Some(Value::Null) => 0,
        Some(Value::String(s)) => s.parse::<u64>().ok()?,
        Some(n) => n.as_u64()?,
    };
    let tif = match (v.get("orderType")?.as_str()?, expiration) {
        ("GTC", 0) => Ok(TimeInForce::Gtc),
        ("FOK", 0) => Ok(TimeInForce::Fok),
        ("FAK", 0) => Ok(TimeInForce::Fak),
        ("GTD", expires_s) => Ok(TimeInForce::Gtd { expires_s }),
        ("GTC" | "FOK" | "FAK", _) => Err(Refusal::Expiration),
        _ => return None,
    };
    let fields = SignedFields {
        salt: o.get("salt")?.as_u64().filter(|s| *s < SALT_MAX)?,
        maker: address("maker")?,
        signer: address("signer")?,
        token: TokenId::parse(text("tokenId")?.as_bytes())?,
        maker_amount: text("makerAmount")?.parse().ok().filter(|n| *n <= i64::MAX as u64)?,
        taker_amount: text("takerAmount")?.parse().ok().filter(|n| *n <= i64::MAX as u64)?,
        side: Side::parse(text("side")?.as_bytes())?,
        signature_type: SignatureType::from_number(u8::try_from(o.get("signatureType")?.as_u64()?).ok()?)?,
        timestamp: text("timestamp")?.parse().ok()?,
        metadata: word("metadata")?,
        builder: word("builder")?,
    };
    Some(Read {
        fields,
        signature: hex_bytes(text("signature")?)?,
        owner: v.get("owner")?.as_str()?.to_owned(),
        tif,
        post_only: v.get("postOnly").and_then(Value::as_bool).unwrap_or(false),
    })
}

/// Reads an order that came with these credentials, or refuses it.
pub fn order(host: &Host, v: &Value, who: &Credentials) -> Result<NewOrder, Refusal> {
    let Read { fields, signature, owner, tif, post_only } = read(v).ok_or(Refusal::Payload)?;
    let tif = tif?;
    if owner != *who.key {
        return Err(Refusal::Owner);
    }
    let signer_is_right = match fields.signature_type {
        SignatureType::Eoa => fields.signer == who.owner && fields.maker == who.owner,
        SignatureType::PolyProxy | SignatureType::PolyGnosisSafe => fields.signer == who.owner,
        SignatureType::Poly1271 => fields.signer == fields.maker,
    };
    if !signer_is_right {
        return Err(Refusal::Signer);
    }
    let instrument = host.token(&fields.token).ok_or_else(|| Refusal::NoBook(fields.token.to_string()))?;
    let contract = host.exchange.market(instrument.market()).spec.exchange;
    let domain = exchange_domain(contract, host.chain_id);
    let signed_by = |d: &Word| order_signer(&fields, host.chain_id, d, &signature) == Some(who.owner);
    if !signed_by(&domain) {
        let others = [Exchange::V2, Exchange::V2NegRisk, Exchange::V3].into_iter().filter(|e| *e != contract);
        let elsewhere = others.map(|e| exchange_domain(e, host.chain_id)).any(|d| signed_by(&d));
        return Err(if elsewhere { Refusal::Version } else { Refusal::Signature });
    }
    let account = host.funder(&fields.maker).ok_or(Refusal::Balance)?;
    let known = host.exchange.account(account);
    if known.owner != who.owner || known.signature_type != fields.signature_type {
        return Err(Refusal::Signature);
    }
    Ok(NewOrder {
        id: fields.id(&domain),
        account,
        owner: who.key.clone(),
        tag: None,
        instrument,
        side: fields.side,
        maker_amount: fields.maker_amount,
        taker_amount: fields.taker_amount,
        tif,
        post_only,
    })
}
