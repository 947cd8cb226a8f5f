//! `polyloly-fast vectors DIR`: checks every golden vector against this program's own functions.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{amounts, exit, sign};
use crate::{
    engine::sign::{SecretKey, WalletSigner},
    types::{
        Address, ConditionId, Price, Qty, TickSize, Usdc,
        amounts::limit,
        eip712::{WalletCall, checksummed, wallet_batch_digest},
        fees::{FeeSchedule, Rounding},
        ids::parse_hex,
        market::Exchange,
        order::TimeInForce,
        qty::parse_micro,
    },
    wire::{
        auth::{Credentials, L2Auth, l1_headers},
        book_hash::BookSummary,
        order::{Order, OrderEncoder},
        relayer,
    },
};

/// Checks every file of a directory of golden vectors.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory with orders.json, amounts.json, l1_auth.json, l2_hmac.json, book_hash.json, fees.json, relayer.json
    dir: PathBuf,
}

/// What checking one file gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReport {
    /// The file's name.
    pub file: String,
    /// Rows checked.
    pub rows: usize,
    /// Rows of a kind that this program does not make, by kind.
    pub skipped: usize,
    /// What differed, a row each.
    pub differences: Vec<String>,
}

/// True if the row was checked, false if its kind is not made here.
type Checked = Result<bool, String>;

/// Checks one row.
type Row = fn(&Value, &WalletSigner) -> Checked;

/// The six files that must be there, with what reads a row of each. Every row of these is checked.
const FILES: [(&str, Row); 6] = [
    ("orders.json", order_row),
    ("amounts.json", amounts_row),
    ("l1_auth.json", l1_row),
    ("l2_hmac.json", l2_row),
    ("book_hash.json", book_row),
    ("fees.json", fee_row),
];

/// Checks a directory. Errors: it or one of its files cannot be read; the text says which.
pub fn check_dir(dir: &Path) -> Result<Vec<FileReport>, String> {
    let mut reports = Vec::new();
    for (file, row) in FILES {
        let document = read(&dir.join(file))?;
        reports.push(check(file, &document, &[("vectors", row)])?);
    }
    let relayer = dir.join("relayer.json");
    if relayer.exists() {
        let lists: [(&str, Row); 2] = [("calls", call_row), ("transactions", transaction_row)];
        reports.push(check("relayer.json", &read(&relayer)?, &lists)?);
    }
    Ok(reports)
}

/// Checks one document, list by list. The key is its own `meta.privateKey`; files without signatures have none.
fn check(file: &str, document: &Value, lists: &[(&str, Row)]) -> Result<FileReport, String> {
    // Any key does where no signature is compared.
    let key = document["meta"]["privateKey"]
        .as_str()
        .unwrap_or("0000000000000000000000000000000000000000000000000000000000000001");
    let signer = WalletSigner::new(SecretKey::from_hex(key.as_bytes()).map_err(|e| format!("{file}: {e}"))?);
    let mut report = FileReport { file: file.to_owned(), rows: 0, skipped: 0, differences: Vec::new() };
    for (list, row_check) in lists {
        let rows = document[*list].as_array().ok_or_else(|| format!("{file}: no list {list}"))?;
        for row in rows {
            match row_check(row, &signer) {
                Ok(true) => report.rows += 1,
                Ok(false) => report.skipped += 1,
                Err(difference) => {
                    report.rows += 1;
                    report.differences.push(format!("{}: {difference}", row["id"].as_str().unwrap_or("?")));
                }
            }
        }
    }
    Ok(report)
}

fn read(path: &Path) -> Result<Value, String> {
    let text = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    serde_json::from_slice(&text).map_err(|e| format!("{}: {e}", path.display()))
}

/// Runs the command. Exit 4 on any difference, 1 if a file cannot be read.
pub fn run(args: Args) -> ExitCode {
    match check_dir(&args.dir) {
        Ok(reports) => {
            let mut same = true;
            for r in reports {
                let ok = r.differences.is_empty();
                same &= ok;
                let line = json!({"file": r.file, "rows": r.rows, "ok": ok, "skipped": r.skipped});
                // A reader that stopped reading still gets the exit code.
                let _ = writeln!(std::io::stdout(), "{line}");
                r.differences.iter().for_each(|d| eprintln!("{}: {d}", r.file));
            }
            ExitCode::from(if same { exit::DONE } else { exit::MISMATCH })
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(exit::FAILED)
        }
    }
}

/// Fails with both values unless they are equal.
fn same(what: &str, ours: &str, theirs: &Value) -> Result<(), String> {
    match theirs.as_str() {
        Some(theirs) if theirs == ours => Ok(()),
        _ => Err(format!("{what}: {ours} here, {theirs} there")),
    }
}

fn as_typed<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    serde_json::from_value(value.clone()).map_err(|e| e.to_string())
}

/// A row's text field.
fn text<'v>(row: &'v Value, name: &str) -> Result<&'v str, String> {
    row[name].as_str().ok_or_else(|| format!("no text {name}"))
}

fn number(row: &Value, name: &str) -> Result<u64, String> {
    row[name].as_u64().or_else(|| row[name].as_str()?.parse().ok()).ok_or_else(|| format!("no number {name}"))
}

fn address_of(row: &Value, name: &str) -> Result<Address, String> {
    Address::parse(text(row, name)?.as_bytes()).ok_or_else(|| format!("{name} is no address"))
}

fn price(row: &Value) -> Result<Price, String> {
    Price::parse(text(row, "price")?.as_bytes()).map_err(|e| e.to_string())
}

fn order_row(row: &Value, signer: &WalletSigner) -> Checked {
    let (input, wire) = (&row["input"], &row["wire"]);
    let (chain_id, version) = (number(input, "chainId")?, number(input, "exchangeVersion")?);
    let exchange = match (version, input["negRisk"].as_bool()) {
        (2, Some(false)) => Exchange::V2,
        (2, Some(true)) => Exchange::V2NegRisk,
        (3, _) => Exchange::V3,
        other => return Err(format!("no exchange {other:?}")),
    };
    let contract = String::from_utf8_lossy(&checksummed(&exchange.contract(chain_id))).into_owned();
    same("verifyingContract", &contract, &row["verifyingContract"])?;
    let line: sign::Line = as_typed(&json!({
        "order": row["order"],
        "chainId": chain_id,
        "verifyingContract": row["verifyingContract"],
        "domainVersion": exchange.domain_version(),
    }))?;
    let signed = line.sign(signer)?;
    for (what, bytes) in [
        ("domainSeparator", &signed.domain_separator[..]),
        ("structHash", &signed.struct_hash),
        ("orderId", &signed.order_id),
        ("signedDigest", &signed.signed_digest),
        ("signature", &signed.signature),
    ] {
        same(what, &sign::hex(bytes), &row[what])?;
    }
    // The amounts that price and size lead to.
    let raw: sign::RawOrder = as_typed(&row["order"])?;
    let (account, fields) = (raw.account()?, raw.fields()?);
    let qty = Qty::parse(text(input, "size")?.as_bytes()).ok_or("size")?;
    let tick = TickSize::parse(text(input, "tickSize")?.as_bytes()).ok_or("tickSize")?;
    let price = price(input)?;
    if !price.on_grid(tick) {
        return Err(format!("price {price} is off the grid of {tick}"));
    }
    if limit(fields.side, price, qty) != fields.amounts {
        return Err(format!("amounts: {:?} here", limit(fields.side, price, qty)));
    }
    // The body that is sent.
    let signature: &[u8; 65] = signed.signature.first_chunk().ok_or("signature is short")?;
    let tif = match text(input, "orderType")? {
        "GTC" => TimeInForce::Gtc,
        "GTD" => TimeInForce::Gtd { expires_s: number(input, "expiration")? },
        "FOK" => TimeInForce::Fok,
        "FAK" => TimeInForce::Fak,
        other => return Err(format!("orderType {other}")),
    };
    let encoder = OrderEncoder::single(
        &account,
        text(wire, "owner")?,
        fields.token,
        &signed.domain_separator,
        &fields.metadata,
        &fields.builder,
    );
    let mut body = Vec::new();
    let order = Order {
        salt: fields.salt,
        amounts: fields.amounts,
        side: fields.side,
        tif,
        post_only: input["postOnly"].as_bool().ok_or("postOnly")?,
        timestamp_ms: fields.timestamp_ms,
        contents: &signed.struct_hash,
        signature,
    };
    encoder.order(&mut body, crate::types::InstrumentIx(0), &order);
    let ours: Value = serde_json::from_slice(&body).map_err(|e| format!("wire: {e}"))?;
    if ours != *wire {
        return Err(format!("wire: {ours} here, {wire} there"));
    }
    Ok(true)
}

fn amounts_row(row: &Value, _: &WalletSigner) -> Checked {
    let ours = as_typed::<amounts::Line>(row)?.amounts()?;
    same("makerAmount", &ours.maker.to_string(), &row["makerAmount"])?;
    same("takerAmount", &ours.taker.to_string(), &row["takerAmount"])?;
    Ok(true)
}

fn l1_row(row: &Value, signer: &WalletSigner) -> Checked {
    let (timestamp, nonce) = (number(row, "timestamp")?, number(row, "nonce")?);
    let signature = signer.sign_clob_auth(number(row, "chainId")?, timestamp, nonce);
    same("signature", &sign::hex(&signature), &row["signature"])?;
    let mut lines = Vec::new();
    l1_headers(&mut lines, &signer.address(), &signature, timestamp, nonce);
    let lines = String::from_utf8_lossy(&lines);
    let ours: serde_json::Map<_, _> = lines
        .split_terminator("\r\n")
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect();
    let theirs = &row["headers"];
    if Value::Object(ours) != *theirs {
        return Err(format!("headers: {lines:?} here, {theirs} there"));
    }
    Ok(true)
}

fn l2_row(row: &Value, signer: &WalletSigner) -> Checked {
    let credentials = Credentials {
        api_key: String::new(),
        secret: Zeroizing::new(text(row, "secret")?.to_owned()),
        passphrase: Zeroizing::default(),
    };
    let auth = L2Auth::new(&signer.address(), &credentials).map_err(|e| e.to_string())?;
    let body = row["body"].as_str().unwrap_or("").as_bytes();
    let ours = auth.sign(number(row, "timestamp")?, text(row, "method")?, text(row, "requestPath")?, body);
    same("signature", &String::from_utf8_lossy(&ours), &row["signature"])?;
    Ok(true)
}

fn book_row(row: &Value, _: &WalletSigner) -> Checked {
    let book: BookSummary = as_typed(&row["book"])?;
    if !row["preimage"].is_null() {
        same("preimage", &book.preimage(), &row["preimage"])?;
    }
    same("sha1", &sign::hex(&book.hash())[2..], &row["sha1"])?;
    Ok(true)
}

fn fee_row(row: &Value, _: &WalletSigner) -> Checked {
    let micro = |name: &str| {
        let text = text(row, name)?;
        parse_micro(text.as_bytes()).ok_or_else(|| format!("{name} {text:?}"))
    };
    if number(row, "exponent")? != 1 {
        return Err("a fee curve that no market has".into());
    }
    let schedule = FeeSchedule { rate_ppm: u32::try_from(micro("rate")?).map_err(|e| e.to_string())? };
    let (qty, price) = (Qty(micro("shares")?), price(row)?);
    let fee = |rounding| schedule.taker_fee(qty, price, rounding);
    let notional = qty.notional_floor(price);
    for (name, ours) in [
        ("fee5_halfEven", fee(Rounding::HalfEven)),
        ("fee5_down", fee(Rounding::Down)),
        ("notional", notional),
        ("buyerPays", notional + fee(Rounding::HalfEven)),
        ("sellerReceives", notional - fee(Rounding::HalfEven)),
    ] {
        if ours != Usdc(micro(name)? as i64) {
            return Err(format!("{name}: {ours} here, {} there", row[name]));
        }
    }
    // Up is down, or one step more wherever the exact fee is not a whole number of steps.
    let exact = text(row, "feeExact")?;
    let whole = exact.split_once('.').is_none_or(|(_, d)| d.bytes().skip(5).all(|b| b == b'0'));
    let step = if whole { Usdc::ZERO } else { Usdc(10) };
    if fee(Rounding::Up) != fee(Rounding::Down) + step {
        return Err(format!("up: {} here for {exact}", fee(Rounding::Up)));
    }
    Ok(true)
}

fn call_row(row: &Value, _: &WalletSigner) -> Checked {
    let args = &row["args"];
    let data = match text(row, "kind")? {
        "merge" => {
            let condition = ConditionId::parse(text(args, "conditionId")?.as_bytes()).ok_or("conditionId")?;
            relayer::merge_calldata(&condition, Qty(number(args, "amount")?))
        }
        "routerMerge" => {
            let condition = parse_hex::<31>(text(args, "conditionId")?.as_bytes()).ok_or("conditionId")?;
            relayer::router_merge_calldata(&condition, Qty(number(args, "amount")?))
        }
        _ => return Ok(false),
    };
    same("data", &sign::hex(&data), &row["data"])?;
    let to = address_of(row, "to")?;
    if ![relayer::ADAPTER, relayer::NEG_RISK_ADAPTER, relayer::ROUTER].contains(&to) {
        return Err(format!("to: {to} is no contract that we call"));
    }
    Ok(true)
}

fn transaction_row(row: &Value, signer: &WalletSigner) -> Checked {
    if text(row, "kind")? != "WALLET" {
        return Ok(false);
    }
    let (chain_id, wallet) = (number(row, "chainId")?, address_of(row, "wallet")?);
    let (nonce, deadline) = (number(row, "nonce")?, number(row, "deadline")?);
    let calls = row["calls"].as_array().ok_or("calls")?.iter();
    let calls: Vec<WalletCall> = calls
        .map(|c| {
            let data = bytes(text(c, "data")?).ok_or("data")?;
            Ok::<_, String>(WalletCall { target: address_of(c, "to")?, value: number(c, "value")?, data })
        })
        .collect::<Result<_, _>>()?;
    let digest = wallet_batch_digest(chain_id, &wallet, nonce, deadline, &calls);
    same("digest", &sign::hex(&digest), &row["digest"])?;
    let signature = signer.sign_wallet_batch(chain_id, &wallet, nonce, deadline, &calls);
    same("signature", &sign::hex(&signature), &row["signature"])?;
    let body = relayer::submit_wallet_batch(&signer.address(), &wallet, nonce, deadline, &calls, &signature);
    let ours: Value = serde_json::from_slice(&body).map_err(|e| e.to_string())?;
    if ours != row["submitBody"] {
        return Err(format!("submitBody: {ours} here"));
    }
    Ok(true)
}

/// Hex text of any length.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x")?.as_bytes();
    digits.len().is_multiple_of(2).then_some(())?;
    digits.chunks_exact(2).map(|pair| parse_hex::<1>(pair).map(|[b]| b)).collect()
}
