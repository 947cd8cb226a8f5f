//! Stage two: values that are each readable but make no sense, alone or together.

use std::net::IpAddr;

use super::{Config, Mode, Problem};
use crate::{
    engine::MARKETS_MAX,
    types::{Address, market::SignatureType},
};

/// Ranges, and contradictions within the configuration.
pub(super) fn values(c: &Config) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut range = |key: &str, value: u64, low: u64, high: u64, unit: &str| {
        if !(low..=high).contains(&value) {
            found.push(Problem::new(key, value.to_string(), format!("must be {low} to {high} {unit}").trim_end()));
        }
    };
    range("run.speed", c.run.speed.into(), 1, 1_000, "times life");
    range("gateway.connections", c.gateway.connections.into(), 2, 16, "connections: one is kept for cancels");
    range("gateway.budget_percent", c.gateway.budget_percent.into(), 10, 100, "percent of the venue's limits");
    range("gateway.reserve_percent", c.gateway.reserve_percent.into(), 0, 90, "percent kept for cancels");
    range("gateway.slow_ack_ms", c.gateway.slow_ack_ms, 10, 60_000, "milliseconds");
    range("feeds.sockets", c.feeds.sockets.into(), 1, 3, "sockets with the same subscription");
    range("feeds.ping_every_s", c.feeds.ping_every_s, 1, 60, "seconds");
    range("feeds.stale_after_s", c.feeds.stale_after_s, 2, 600, "seconds");
    range("feeds.freeze_after_ms", c.feeds.freeze_after_ms, 50, 60_000, "milliseconds");
    range("feeds.dispute_after_ms", c.feeds.dispute_after_ms, 1, 10_000, "milliseconds");
    range("feeds.snapshot_after_ms", c.feeds.snapshot_after_ms, 500, 60_000, "milliseconds");
    range("feeds.witness_grace_ms", c.feeds.witness_grace_ms, 50, 10_000, "milliseconds");
    for (key, value, low, high, unit) in [
        ("feeds.silent_after_s", c.feeds.silent_after_s, 5, 3_600, "seconds"),
        ("feeds.witness_after_ms", c.feeds.witness_after_ms, 500, 600_000, "milliseconds"),
        ("feeds.reconnect_every_s", c.feeds.reconnect_every_s, 10, 86_400, "seconds"),
    ] {
        if value != 0 {
            range(key, value, low, high, &format!("{unit}, or 0 for never"));
        }
    }
    range("journal.segment_mib", c.journal.segment_mib, 1, 1_024, "MiB");
    range("journal.sync_ms", c.journal.sync_ms, 0, 60_000, "milliseconds");
    range("health.disk_reserve_mib", c.health.disk_reserve_mib, 0, 1_048_576, "MiB");
    if let Some(span) = c.run.duration {
        range("run.duration", span.0.as_secs(), 1, 366 * 86_400, "seconds");
    }
    if c.feeds.stale_after_s <= c.feeds.ping_every_s {
        let why = "must be more than feeds.ping_every_s: an idle socket is heard of only when it answers";
        found.push(Problem::new("feeds.stale_after_s", c.feeds.stale_after_s.to_string(), why));
    }
    if ![137, 80_002].contains(&c.venue.chain_id) {
        let why = "must be 137 (Polygon) or 80002 (its test net)";
        found.push(Problem::new("venue.chain_id", c.venue.chain_id.to_string(), why));
    }
    if c.run.scenario.trim().is_empty() {
        found.push(Problem::new("run.scenario", "\"\"", "must be a scenario's name or a file, such as \"lol-bo3\""));
    }
    if c.journal.dir.as_os_str().is_empty() {
        found.push(Problem::new("journal.dir", "\"\"", "must be a directory, such as \"journal\""));
    }
    let cores = &c.topology.cores.0;
    if let Some(twice) = cores.iter().enumerate().find_map(|(i, core)| cores[..i].contains(core).then_some(core))
        && !c.topology.share_cores
    {
        let why = format!("core {twice} is named twice; name it once, or set share_cores = true");
        found.push(Problem::new("topology.cores", format!("\"{}\"", c.topology.cores), why));
    }
    for (key, text, schemes, optional) in [
        ("venue.rest", &c.venue.rest, ["https://", "http://"], false),
        ("venue.ws_market", &c.venue.ws_market, ["wss://", "ws://"], false),
        ("venue.ws_user", &c.venue.ws_user, ["wss://", "ws://"], false),
        ("venue.ws_sports", &c.venue.ws_sports, ["wss://", "ws://"], true),
        ("venue.relayer", &c.venue.relayer, ["https://", "http://"], true),
        ("venue.data", &c.venue.data, ["https://", "http://"], true),
        ("venue.geoblock", &c.venue.geoblock, ["https://", "http://"], true),
    ] {
        if let Some(why) = address(text, schemes, optional) {
            found.push(Problem::new(key, format!("\"{text}\""), why));
        }
    }
    if c.mode == Mode::Embedded && !c.markets.conditions.is_empty() {
        let why = "embedded mode trades the markets of its scenario; leave this empty, or set mode = \"live\"";
        found.push(Problem::new("markets.conditions", format!("{} ids", c.markets.conditions.len()), why));
    }
    if c.mode != Mode::Embedded && c.markets.conditions.is_empty() {
        let why = format!("{} mode needs the condition id of at least one market", c.mode.as_str());
        found.push(Problem::new("markets.conditions", "[]", why));
    }
    if c.markets.conditions.len() > MARKETS_MAX {
        let why = format!("one run trades at most {MARKETS_MAX} markets; leave some out");
        found.push(Problem::new("markets.conditions", format!("{} ids", c.markets.conditions.len()), why));
    }
    let doubled = c.markets.conditions.iter().enumerate().find(|(i, id)| c.markets.conditions[..*i].contains(id));
    if let Some((_, id)) = doubled {
        found.push(Problem::new("markets.conditions", id.to_string(), "is named twice; name each market once"));
    }
    matches(c, &mut found);
    match (c.account.signature_type, c.account.funder) {
        (SignatureType::Eoa, Some(funder)) => {
            let why = "signature type 0 pays from the key's own address; leave this empty, or use type 1, 2 or 3";
            found.push(Problem::new("account.funder", format!("\"{funder}\""), why));
        }
        (kind, None) if kind != SignatureType::Eoa && c.mode == Mode::Live => {
            let why = format!("signature type {} pays from a wallet; give its address, 0x…", kind as u8);
            found.push(Problem::new("account.funder", "\"\"", why));
        }
        _ => {}
    }
    if let Err(bad) = c.engine.validate() {
        found.extend(bad.into_iter().map(|b| Problem::new(b.key, b.value, format!("must be {}", b.right))));
    }
    found
}

fn matches(c: &Config, found: &mut Vec<Problem>) {
    if c.mode == Mode::Embedded && !c.matches.is_empty() {
        let why = "embedded mode trades the match of its scenario; leave this out, or set mode = \"live\"";
        found.push(Problem::new("matches", format!("{} matches", c.matches.len()), why));
    }
    for (n, one) in c.matches.iter().enumerate() {
        let mut bad = |key: &str, value: String, why: &str| {
            found.push(Problem::new(format!("matches[{n}].{key}"), value, why));
        };
        if ![1, 3, 5].contains(&one.best_of) {
            bad("best_of", one.best_of.to_string(), "must be 1, 3 or 5");
        }
        if one.slug.is_empty() || c.matches[..n].iter().any(|other| other.slug == one.slug) {
            bad("slug", format!("\"{}\"", one.slug), "must be the slug of the venue's event, each once");
        }
        if ![0, 2].contains(&one.teams.len()) {
            bad("teams", format!("{} names", one.teams.len()), "must be two names, as the series market has them");
        }
        for handicap in one.handicaps.iter().filter(|h| h.half_maps().is_none()) {
            let why = "must be a number of maps and a half, such as \"-1.5\"";
            bad("handicaps.line", format!("\"{}\"", handicap.line), why);
        }
    }
}

/// The configuration against the flags of `run`.
pub(super) fn flags(c: &Config, live_flag: bool) -> Vec<Problem> {
    let mode = format!("\"{}\"", c.mode.as_str());
    match (c.mode, live_flag) {
        (Mode::Live, false) => vec![Problem::new("mode", mode, "trades real money; say so with --live as well")],
        (Mode::Embedded | Mode::Paper, true) => {
            vec![Problem::new("mode", mode, "--live was given, but this mode trades no real money; drop the flag")]
        }
        _ => Vec::new(),
    }
}

/// What is wrong with an address, if anything. Unencrypted ones are for this machine only: credentials travel on them.
fn address(text: &str, [secure, plain]: [&str; 2], optional: bool) -> Option<String> {
    if text.is_empty() && optional {
        return None;
    }
    let encrypted = text.strip_prefix(secure);
    let Some(rest) = encrypted.or_else(|| text.strip_prefix(plain)) else {
        return Some(format!("must begin with {secure}"));
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    let port = authority.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map(|(_, port)| port);
    if host.is_empty() || authority.contains('@') || port.is_some_and(|p| p.parse::<u16>().is_err()) {
        return Some(format!("must be {secure}HOST or {secure}HOST:PORT, with a path if need be"));
    }
    let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    (encrypted.is_none() && !local).then(|| format!("must begin with {secure}: credentials travel on it"))
}

/// True for addresses whose keys are published: the accounts of the usual development chains, and the smallest keys.
pub fn is_development_address(address: &Address) -> bool {
    /// The first ten of hardhat and anvil ("test test … junk"), then the keys 1, 2 and 3.
    const KNOWN: [&str; 13] = [
        "f39fd6e51aad88f6f4ce6ab8827279cfffb92266",
        "70997970c51812dc3a010c7d01b50e0d17dc79c8",
        "3c44cdddb6a900fa2b585dd299e03d12fa4293bc",
        "90f79bf6eb2c4f870365e785982e1f101e93b906",
        "15d34aaf54267db7d7c367839aaf71a00a2c6a65",
        "9965507d1a55bcc2695c58ba16fb37d819b0a4dc",
        "976ea74026e726554db657fa54763abd0c3a0aa9",
        "14dc79964da2c08b23698b3d3cc7ca32193d9955",
        "23618e81e3f5cdf7f54c3d65f7fbc0abf5b21e8f",
        "a0ee7a142d267c1f36714e4a8f75612f20a79720",
        "7e5f4552091a69125d5dfcb7b8c2659029395bdf",
        "2b5ad5c4795c026514f8317c7a215e218dccd6cf",
        "6813eb9362372eef6200f3b1dbc3f819671cba69",
    ];
    KNOWN.iter().any(|known| Address::parse(known.as_bytes()) == Some(*address))
}
