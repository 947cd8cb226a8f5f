//! Stage one: the file's keys over the defaults. Every key is tried alone, so that every wrong one is named.

use toml::{Table, Value};

use super::{Config, Problem};
use crate::strategies::Params;

/// The key in the file of a field of [`Params`]: `risk.x` stays, `pair.x` is `strategy.pair.x`.
pub fn engine_key(field: &str) -> String {
    if field == "risk" || field.starts_with("risk.") { field.into() } else { format!("strategy.{field}") }
}

/// Reads a text as far as it can be read; the rest are problems.
pub(super) fn parse(text: &str) -> (Config, Vec<Problem>) {
    let mut given: Table = match toml::from_str(text) {
        Ok(table) => table,
        Err(e) => return (Config::default(), vec![Problem::whole(e.to_string().trim_end())]),
    };
    let known = known();
    let mut problems = Vec::new();
    keep_known(&mut given, &known, &known, "", &mut problems);
    keep_readable(&mut given, &known, &mut problems);
    match build(overlay(known, given)) {
        Ok(config) => (config, problems),
        Err(why) => {
            problems.push(Problem::whole(why));
            (Config::default(), problems)
        }
    }
}

/// Every key there is, with its default.
pub(super) fn known() -> Table {
    let mut table = Table::try_from(Config::default()).unwrap_or_default();
    let mut strategy = Table::new();
    let mut risk = Value::Table(Table::new());
    for (name, value) in Table::try_from(Params::default()).unwrap_or_default() {
        if name == "risk" { risk = value } else { drop(strategy.insert(name, value)) }
    }
    table.insert("risk".into(), risk);
    table.insert("strategy".into(), Value::Table(strategy));
    table
}

/// A whole table → configuration.
fn build(mut table: Table) -> Result<Config, String> {
    let text = |e: toml::de::Error| e.message().trim().to_owned();
    let mut engine = Table::new();
    if let Some(Value::Table(strategy)) = table.remove("strategy") {
        engine.extend(strategy);
    }
    if let Some(risk) = table.remove("risk") {
        engine.insert("risk".into(), risk);
    }
    let engine = engine.try_into().map_err(text)?;
    let config: Config = table.try_into().map_err(text)?;
    Ok(Config { engine, ..config })
}

fn overlay(mut base: Table, over: Table) -> Table {
    for (key, value) in over {
        let value = match (base.remove(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => Value::Table(overlay(below, above)),
            (_, value) => value,
        };
        base.insert(key, value);
    }
    base
}

/// Takes out, and names, every key that does not exist and every value of the wrong kind.
fn keep_known(given: &mut Table, known: &Table, all: &Table, path: &str, problems: &mut Vec<Problem>) {
    given.retain(|key, value| {
        let full = join(path, key);
        if let Some((full, advice)) = secret(key).map(|advice| (full.clone(), advice)).or_else(|| hidden(&full, value))
        {
            problems.push(Problem::new(full, "", advice));
            return false;
        }
        match (known.get(key), value) {
            (None, value) => {
                problems.push(Problem::new(full, show(value), unknown(key, path, known, all)));
                false
            }
            (Some(Value::Table(known)), Value::Table(given)) => {
                keep_known(given, known, all, &full, problems);
                true
            }
            // Money is a text, so that it is exact; a plain number is understood as well.
            (Some(Value::String(_)), Value::Integer(_) | Value::Float(_)) if key.ends_with("_usdc") => true,
            (Some(Value::Float(_)), Value::Integer(_)) => true,
            (Some(right), value) if !right.same_type(value) => {
                let why = format!("must be {}, such as {}", article(right), show(right));
                problems.push(Problem::new(full, show(value), why));
                false
            }
            _ => true,
        }
    });
}

/// A secret within a list of tables: where it stands, and what to do.
fn hidden(path: &str, value: &Value) -> Option<(String, &'static str)> {
    value.as_array()?.iter().enumerate().find_map(|(n, one)| {
        one.as_table()?.iter().find_map(|(key, value)| {
            let full = format!("{path}[{n}].{key}");
            secret(key).map(|advice| (full.clone(), advice)).or_else(|| hidden(&full, value))
        })
    })
}

/// Takes out, and names, every value that cannot be read, by trying each alone over the defaults.
fn keep_readable(given: &mut Table, known: &Table, problems: &mut Vec<Problem>) {
    let mut leaves = Vec::new();
    walk(given, &mut Vec::new(), &mut |path, value| leaves.push((path.to_vec(), value.clone())));
    for (path, value) in leaves {
        let Some((last, tables)) = path.split_last() else { continue };
        let mut alone = Table::from_iter([(last.clone(), value.clone())]);
        for name in tables.iter().rev() {
            alone = Table::from_iter([(name.clone(), Value::Table(alone))]);
        }
        if let Err(mut why) = build(overlay(known.clone(), alone)) {
            if let Some(default) =
                tables.iter().try_fold(known, |t, name| t.get(name)?.as_table()).and_then(|t| t.get(last))
            {
                if value.as_integer().is_some_and(|v| v < 0) && default.as_integer().is_some_and(|v| v >= 0) {
                    why = "must not be negative".into();
                }
                why = format!("{why}; the default is {}", show(default));
            }
            problems.push(Problem::new(path.join("."), show(&value), why));
            let table = tables.iter().try_fold(&mut *given, |t, name| t.get_mut(name)?.as_table_mut());
            table.and_then(|t| t.remove(last));
        }
    }
}

fn walk(table: &Table, path: &mut Vec<String>, see: &mut dyn FnMut(&[String], &Value)) {
    for (key, value) in table {
        path.push(key.clone());
        match value {
            Value::Table(inner) => walk(inner, path, see),
            value => see(path, value),
        }
        path.pop();
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.into() } else { format!("{path}.{key}") }
}

/// What to do instead of writing a secret into a file. Its value is never shown.
fn secret(key: &str) -> Option<&'static str> {
    let key = key.to_lowercase();
    if ["private_key", "privatekey", "mnemonic", "seed_phrase", "wallet_key"].iter().any(|s| key.contains(s)) {
        Some("a key does not belong in a file; set POLYMARKET_PRIVATE_KEY in the environment and delete this line")
    } else if ["secret", "passphrase", "password", "api_key", "apikey"].iter().any(|s| key.contains(s)) {
        Some("credentials do not belong in a file; they are derived from the wallet key at start. Delete this line")
    } else if key == "token" || key.contains("admin_token") {
        Some("a token does not belong in a file; set POLYLOLY_ADMIN_TOKEN in the environment and delete this line")
    } else {
        None
    }
}

/// What would be right instead of an unknown key: a near one here, the same one elsewhere, or the list.
fn unknown(key: &str, path: &str, known: &Table, all: &Table) -> String {
    let close = |candidate: &str| {
        let d = distance(key, candidate);
        (d <= 2.max(candidate.len() / 3)).then_some(d)
    };
    if let Some((_, near)) = known.keys().filter_map(|k| Some((close(k)?, k))).min() {
        return format!("unknown key; did you mean `{}`?", join(path, near));
    }
    let mut elsewhere = None;
    walk(all, &mut Vec::new(), &mut |full, _| {
        if elsewhere.is_none() && full.last().is_some_and(|k| k == key) {
            elsewhere = Some(full.join("."));
        }
    });
    if let Some(full) = elsewhere {
        return format!("unknown key; did you mean `{full}`?");
    }
    let list: Vec<&str> = known.keys().map(String::as_str).collect();
    match list.as_slice() {
        [] => "unknown key; there is none in this section".into(),
        _ => format!("unknown key; there are {}", list.join(", ")),
    }
}

/// Number of single-character edits from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let next = (diagonal + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], next);
        }
    }
    row[b.len()]
}

fn show(value: &Value) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn article(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a section",
    }
}
