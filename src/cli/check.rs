//! `polyloly-fast check`: is this machine, with this configuration, ready? One line a check.

use std::{
    fs,
    net::{TcpStream, ToSocketAddrs},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use serde::Serialize;
use serde_json::json;
use zeroize::Zeroize;

use super::exit;
use crate::{
    cold::health::Server,
    config::{Config, Cores, Mode},
    engine::sign::SecretKey,
    sys::{cpu, tsc::Clock},
    topology::{Plan, Request},
};

/// A venue that does not answer within this is not reachable.
const REACH: Duration = Duration::from_secs(5);
/// Before this, in Unix seconds (2026-01-01), a clock is wrong whatever it says.
const NOT_BEFORE_S: u64 = 1_767_225_600;

/// Validates the configuration, the machine, and the way to the venue.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Configuration file; without it the built-in defaults are checked.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Cores that the run would use, instead of the configuration's.
    #[arg(long, value_name = "LIST")]
    pub cores: Option<Cores>,
    /// Print one JSON object instead of lines.
    #[arg(long)]
    pub json: bool,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    check: &'static str,
    ok: bool,
    detail: String,
}

/// Runs it. Exit 0 if every check holds, 3 if any fails.
pub fn run(args: Args) -> ExitCode {
    let findings = findings(&args);
    let ok = findings.iter().all(|f| f.ok);
    if args.json {
        println!("{}", json!({ "ok": ok, "checks": findings }));
    } else {
        for Finding { check, ok, detail } in &findings {
            // What goes on over several lines stays in its column.
            let detail = detail.replace('\n', &format!("\n{:16}", ""));
            println!("{} {check:<13} {detail}", if *ok { '✓' } else { '✗' });
        }
    }
    if ok { exit::DONE.into() } else { exit::PREFLIGHT.into() }
}

fn findings(args: &Args) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut note = |check, result: Result<String, String>| {
        let (ok, detail) = match result {
            Ok(detail) => (true, detail),
            Err(detail) => (false, detail),
        };
        found.push(Finding { check, ok, detail });
    };
    let config = match args.config.as_deref() {
        Some(path) => Config::load(path).map_err(|problems| problems.to_string()),
        None => Ok(Config::default()),
    };
    let source = args.config.as_ref().map_or("built-in defaults".into(), |p| p.display().to_string());
    note("configuration", config.as_ref().map(|c| format!("{source}: mode {}", c.mode.as_str())).map_err(Clone::clone));
    let config = config.unwrap_or_default();
    note("cores", cores(args.cores.as_ref().unwrap_or(&config.topology.cores), config.topology.share_cores));
    note("clock", clock());
    note("locked memory", locked_memory(&config));
    note("journal", writable(&config.journal.dir));
    let listening = Server::listen(config.health.listen).map(|s| format!("{} is free", s.address()));
    note("health", listening);
    if config.mode != Mode::Embedded {
        if let Some(ca) = &config.venue.ca_file {
            note("authority", authority(ca));
        }
        if config.mode == Mode::Live {
            note("key", key(&config));
        }
        for url in [&config.venue.rest, &config.venue.ws_market, &config.venue.ws_user] {
            note("venue", reachable(url));
        }
    }
    found
}

fn cores(wanted: &Cores, share_cores: bool) -> Result<String, String> {
    let (allowed, usable) = (cpu::allowed(), cpu::usable());
    let cores = (!wanted.0.is_empty()).then_some(wanted.0.as_slice());
    let request = Request { cores, allowed: &allowed, usable: &usable, share_cores, feed_tiles: 1, venue: false };
    Plan::new(&request).map(|plan| plan.to_string()).map_err(|e| e.to_string())
}

/// The counter has to be fine and steady, and the wall time plausible.
fn clock() -> Result<String, String> {
    let clock = Clock::new();
    let mut gaps: Vec<u64> = Vec::with_capacity(1_000);
    let mut last = clock.now();
    for _ in 0..1_000 {
        let now = clock.now();
        if now.cycles < last.cycles || now.wall < last.wall {
            return Err("the cycle counter ran backwards".into());
        }
        gaps.push(clock.ns_between(last.cycles, now.cycles));
        last = now;
    }
    gaps.sort_unstable();
    let step = gaps[gaps.len() / 2];
    if last.wall.secs() < NOT_BEFORE_S {
        let now = crate::cold::logs::rfc3339(last.wall.0);
        return Err(format!("the wall clock says {now}, which cannot be; set it (orders carry their time)"));
    }
    let source = fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    let source = source.map_or("unknown".into(), |s| s.trim().to_owned());
    if step > 1_000 {
        return Err(format!("a reading takes {step} ns, so latencies cannot be told (clock source {source})"));
    }
    Ok(format!("a reading takes {step} ns; clock source {source}"))
}

/// Keys and nonces are locked into memory; running live, that has to be allowed.
fn locked_memory(config: &Config) -> Result<String, String> {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let Some(limit) = memory_lock_limit(&limits) else { return Ok("no limit is known on this system".into()) };
    match limit {
        None => Ok("no limit".into()),
        Some(bytes) if bytes >= 64 << 10 || config.mode != Mode::Live => Ok(format!("up to {} KiB", bytes >> 10)),
        Some(bytes) => Err(format!("only {} KiB may be locked; raise it: ulimit -l 1024", bytes >> 10)),
    }
}

/// The soft limit in `/proc/self/limits`: `Some(None)` for unlimited.
fn memory_lock_limit(limits: &str) -> Option<Option<u64>> {
    let line = limits.lines().find_map(|l| l.strip_prefix("Max locked memory"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(None),
        bytes => bytes.parse().ok().map(Some),
    }
}

/// Tries to write where the journal would go, or where its directory would be made.
fn writable(dir: &Path) -> Result<String, String> {
    let there = std::path::absolute(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let existing = there.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
    let probe = existing.join(format!(".polyloly-check-{}", std::process::id()));
    let tried = fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe));
    tried.map(|()| format!("{} can be written", there.display())).map_err(|e| format!("{}: {e}", existing.display()))
}

fn authority(path: &Path) -> Result<String, String> {
    use rustls_pki_types::{CertificateDer, pem::PemObject};
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if certificates.is_empty() => Err(format!("{}: no certificate in it", path.display())),
        Ok(certificates) => Ok(format!("{}: {} certificates", path.display(), certificates.len())),
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

/// Only whether there is a key and whose it is; never the key.
fn key(config: &Config) -> Result<String, String> {
    const NAME: &str = "POLYMARKET_PRIVATE_KEY";
    let mut text = std::env::var(NAME).map_err(|_| format!("{NAME} is not set"))?;
    let key = SecretKey::from_hex(text.trim().as_bytes());
    text.zeroize();
    let owner = key.map_err(|e| format!("{NAME}: {e}"))?.address();
    config.check_key(&owner).map_err(|problems| problems.to_string())?;
    Ok(format!("{NAME} is the key of {owner}"))
}

/// Resolves the host and opens a connection. What the host then says is not asked.
fn reachable(url: &str) -> Result<String, String> {
    let (host, port) = host_and_port(url).ok_or_else(|| format!("{url}: no host in it"))?;
    let resolved = (host.as_str(), port).to_socket_addrs().map_err(|e| format!("{host}: {e}"))?;
    let mut last = format!("{host}: no address");
    for address in resolved {
        match TcpStream::connect_timeout(&address, REACH) {
            Ok(_) => return Ok(format!("{host}:{port} answers at {}", address.ip())),
            Err(e) => last = format!("{host}:{port} ({}): {e}", address.ip()),
        }
    }
    Err(last)
}

/// Host and port of an address, the scheme's own port if none is given.
fn host_and_port(url: &str) -> Option<(String, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let default = if matches!(scheme, "https" | "wss") { 443 } else { 80 };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        _ => (authority, default),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (url, expected) in [
            ("https://a.example/b", Some(("a.example", 443))),
            ("wss://a.example:8/b?c", Some(("a.example", 8))),
            ("ws://[::1]:9/x", Some(("::1", 9))),
            ("http://[::1]", Some(("::1", 80))),
            ("a.example", None),
            ("http://", None),
        ] {
            assert_eq!(host_and_port(url), expected.map(|(h, p)| (h.to_owned(), p)), "{url}");
        }
    }

    #[test]
    fn limits() {
        let line = |soft: &str| format!("Limit  Soft\nMax locked memory         {soft}   unlimited  bytes\n");
        assert_eq!(memory_lock_limit(&line("unlimited")), Some(None));
        assert_eq!(memory_lock_limit(&line("65536")), Some(Some(65_536)));
        assert_eq!(memory_lock_limit("nothing"), None);
    }

    #[test]
    fn a_closed_port_is_not_reachable() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        assert!(reachable(&url).is_ok());
        drop(listener);
        assert!(reachable(&url).is_err());
    }

    #[test]
    fn cores_are_checked_against_the_machine() {
        assert!(cores(&Cores(vec![]), false).is_ok());
        let said = cores(&Cores(vec![9_999]), false).unwrap_err();
        assert!(said.contains("9999"), "{said}");
    }
}
