//! `polyloly-fast decode FILE…`: what we understand of any recorded message, and what we ignore of it.
//!
//! The understanding is that of the running program: the real parsers read the message, and their events are printed.
//! For every kind the fields they read are listed here; everything else in the message is named as ignored.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    path::PathBuf,
    process::ExitCode,
};

use serde_json::{Value, json};

use self::kinds::KINDS;
use super::exit;
use crate::types::{
    Account, Address, ConditionId, MarketSpec, Qty, TickSize, TokenId, Universe,
    fees::FeeSchedule,
    market::{Exchange, MarketKind, SignatureType},
};

mod kinds;

/// Prints one object a message: its kind, what was understood, and which fields were ignored.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Recorded messages or answers: JSON, or JSON lines, plain or gzip; `-` is standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// One text of a recording, or why it is none.
pub(super) type Text = Result<Vec<u8>, String>;

/// Splits a recording into its messages: JSON values one after another, however they are laid out. Where that fails,
/// lines: each is a message of its own, and a bad one spoils only itself.
pub(super) fn messages(path: &std::path::Path) -> Result<Vec<Text>, String> {
    let name = path.display();
    let mut bytes = Vec::new();
    let read = match path.to_str() {
        Some("-") => std::io::stdin().lock().read_to_end(&mut bytes).map(|_| ()),
        _ => fs::read(path).map(|b| bytes = b),
    };
    read.map_err(|e| format!("{name}: {e}"))?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        bytes = gunzip(&bytes).map_err(|e| format!("{name}: {e}"))?;
    }
    Ok(split(&bytes))
}

fn split(bytes: &[u8]) -> Vec<Text> {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<&serde_json::value::RawValue>();
    let mut whole = Vec::new();
    let failure = loop {
        match values.next() {
            Some(Ok(raw)) => whole.push(Ok(raw.get().as_bytes().to_vec())),
            Some(Err(error)) => break error,
            None => return whole,
        }
    };
    let lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|l| !l.is_empty()).collect();
    // One value over many lines that breaks off is one bad message, not one for each line.
    let is_message = |line: &&&[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok();
    if lines.len() < 2 || (whole.is_empty() && lines.iter().filter(is_message).count() * 2 < lines.len()) {
        whole.push(if is_keepalive(bytes) { Ok(bytes.to_vec()) } else { Err(failure.to_string()) });
        return whole;
    }
    let read = |line: &[u8]| match serde_json::from_slice::<serde::de::IgnoredAny>(line) {
        Err(error) if !is_keepalive(line) => Err(error.to_string()),
        _ => Ok(line.to_vec()),
    };
    lines.into_iter().map(read).collect()
}

fn is_keepalive(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    text.eq_ignore_ascii_case(b"PING") || text.eq_ignore_ascii_case(b"PONG")
}

#[cfg(feature = "tools")]
fn gunzip(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out).map_err(|e| e.to_string())?;
    Ok(out)
}

#[cfg(not(feature = "tools"))]
fn gunzip(_: &[u8]) -> Result<Vec<u8>, String> {
    Err("gzip needs the feature `tools`".into())
}

/// Runs the command. Exit 1 if any file or message could not be read, 0 otherwise.
pub fn run(args: Args) -> ExitCode {
    let (mut out, mut failed) = (std::io::stdout().lock(), false);
    for file in &args.files {
        let texts = messages(file).unwrap_or_else(|error| vec![Err(error)]);
        for text in texts {
            let answers = text.map(|t| decode(&t)).unwrap_or_else(|error| vec![json!({ "error": error })]);
            for answer in answers {
                failed |= answer.get("error").is_some();
                // Whoever reads may stop, as `head` does.
                if writeln!(out, "{answer}").is_err() {
                    return ExitCode::from(exit::FAILED);
                }
            }
        }
    }
    ExitCode::from(if failed { exit::FAILED } else { exit::DONE })
}

/// Decodes one message; each element of an array is one of its own.
pub fn decode(message: &[u8]) -> Vec<Value> {
    if is_keepalive(message) {
        return vec![json!({"kind": "keepalive", "understood": {}, "ignored": []})];
    }
    match serde_json::from_slice(message) {
        Ok(Value::Array(items)) => items.iter().map(one).collect(),
        Ok(value) => vec![one(&value)],
        Err(error) => vec![json!({ "error": error.to_string() })],
    }
}

fn one(value: &Value) -> Value {
    let Some(kind) = KINDS.iter().find(|k| (k.is)(value)) else {
        return json!({"kind": "unknown", "understood": {}, "ignored": paths(value)});
    };
    match (kind.understand)(value) {
        Ok(understood) => {
            let ignored: Vec<_> = paths(value).into_iter().filter(|p| !reads(kind.reads, p)).collect();
            json!({"kind": kind.name, "understood": understood, "ignored": ignored})
        }
        Err(error) => json!({"kind": kind.name, "error": error}),
    }
}

/// Every leaf of a value as a path such as `maker_orders[].price`.
fn paths(value: &Value) -> BTreeSet<String> {
    fn walk(value: &Value, path: &str, out: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) if !fields.is_empty() => fields.iter().for_each(|(key, v)| {
                walk(v, &if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, out);
            }),
            Value::Array(items) if !items.is_empty() => items.iter().for_each(|v| walk(v, &format!("{path}[]"), out)),
            _ => {
                out.insert(path.to_owned());
            }
        }
    }
    let mut out = BTreeSet::new();
    walk(value, "", &mut out);
    out
}

/// True if a path, or something that holds all of it, is read. `x.*` is everything below `x`; an empty list or object
/// has nothing that could be ignored if something below it is read.
fn reads(read: &[&str], path: &str) -> bool {
    read.iter().any(|r| {
        let below = |outer: &str, inner: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        below(r.strip_suffix(".*").unwrap_or(r), path) || (!path.is_empty() && below(path, r))
    })
}

/// A universe made of the tokens that some messages name, one market a token and pairs where a message names both.
pub(super) fn universe_of<'v>(values: impl IntoIterator<Item = &'v Value>) -> Universe {
    fn tokens(v: &Value, pairs: &mut Vec<(ConditionId, [TokenId; 2])>, seen: &mut BTreeSet<TokenId>) {
        let id = |v: &Value| TokenId::parse(v.as_str()?.as_bytes());
        match v {
            Value::Array(items) => items.iter().for_each(|i| tokens(i, pairs, seen)),
            Value::Object(fields) => {
                let both = ["assets_ids", "asset_ids", "token_ids"].iter().find_map(|k| fields.get(*k)?.as_array());
                let condition = fields.get("market").and_then(Value::as_str).map(str::as_bytes);
                let condition = condition.and_then(ConditionId::parse).unwrap_or_default();
                if let Some([a, b]) = both.and_then(|l| Some([id(l.first()?)?, id(l.get(1)?)?]))
                    && !seen.contains(&a)
                    && !seen.contains(&b)
                {
                    seen.extend([a, b]);
                    pairs.push((condition, [a, b]));
                }
                for key in ["asset_id", "token_id"] {
                    if let Some(token) = fields.get(key).and_then(id)
                        && seen.insert(token)
                    {
                        pairs.push((condition, [token, NO_TOKEN]));
                    }
                }
                fields.values().for_each(|f| tokens(f, pairs, seen));
            }
            _ => {}
        }
    }
    let (mut pairs, mut seen) = (Vec::new(), BTreeSet::new());
    values.into_iter().for_each(|v| tokens(v, &mut pairs, &mut seen));
    let nobody = Address::default();
    let market = |(condition, tokens)| MarketSpec {
        condition,
        slug: String::new(),
        tokens,
        outcomes: Default::default(),
        exchange: Exchange::V2,
        // The finest grid takes every price until a message names the market's own.
        tick: TickSize::TenthMill,
        min_size: Qty::shares(5),
        fee: FeeSchedule::FREE,
        rewards: None,
        hold_ms: 0,
        clear_on_start: false,
        game_start: None,
        kind: MarketKind::Other,
        of_match: None,
    };
    Universe {
        chain_id: 137,
        account: Account { owner: nobody, funder: nobody, signature_type: SignatureType::Eoa },
        markets: pairs.into_iter().take(usize::from(u16::MAX / 2)).map(market).collect(),
        matches: Vec::new(),
    }
}

/// Stands for the token that no message named.
pub(super) const NO_TOKEN: TokenId = TokenId([0xff; 32]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_are_split_into_messages() {
        let told = |bytes: &[u8]| -> Vec<bool> { split(bytes).iter().map(Result::is_ok).collect() };
        for (what, bytes, expected) in [
            ("nothing", &b""[..], &[][..]),
            ("one, laid out", b"{\n \"a\": [\n1,\n2]\n}\n", &[true]),
            ("one after another", b"{\"a\":1}{\"b\":2} [3]", &[true, true, true]),
            ("lines", b"{\"a\":1}\n\n{\"b\":2}\n", &[true, true]),
            ("a bad line spoils itself", b"{\"a\":1}\n{\"b\":\nPONG\n{\"c\":3}\n", &[true, false, true, true]),
            ("a broken layout is one message", b"{\n \"a\": [\n1,\n2", &[false]),
            ("a keepalive", b"PONG", &[true]),
            ("no JSON at all", b"<html>\n</html>\n", &[false]),
            ("not UTF-8", b"\"\xff\"", &[false]),
        ] {
            assert_eq!(told(bytes), expected, "{what}");
        }
    }

    #[test]
    fn ignored_paths_are_what_no_read_path_covers() {
        let message = json!({"a": {"b": [{"c": 1, "d": 2}]}, "e": [], "f": {"g": 0}});
        let left = |read: &[&str]| -> Vec<_> { paths(&message).into_iter().filter(|p| !reads(read, p)).collect() };
        assert_eq!(left(&[]), ["a.b[].c", "a.b[].d", "e", "f.g"]);
        assert_eq!(left(&["a.b[].c", "e[].x"]), ["a.b[].d", "f.g"], "an empty list of read things is read");
        assert_eq!(left(&["a", "f.*"]), ["e"]);
    }
}
