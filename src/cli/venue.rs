//! `polyloly-fast venue`: the embedded venue alone, for any client that speaks the wire.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use signal_hook::consts::{SIGINT, SIGTERM};

use super::exit;
use crate::{
    scenario,
    types::{Address, Usdc},
    venue::{
        Begin, Conduct, Venue, VenueOptions,
        faults::Plan,
        wallets::{self, Listed},
    },
};

/// What each listed development account begins with.
const DEPOSIT: Usdc = Usdc::dollars(10_000);
/// Polygon. Source: docs/PROTOCOL.md "hosts".
const CHAIN_ID: u64 = 137;

/// Runs the embedded venue until it is stopped. When ready it prints one JSON line on stdout.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Loopback address for REST and the WebSocket paths; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8640", value_name = "ADDRESS:PORT", value_parser = loopback)]
    listen: SocketAddr,

    /// No TLS: http and ws instead of https and wss with a generated authority
    #[arg(long)]
    plain: bool,

    /// What unfolds: a name or the path of a recording
    #[arg(long, default_value = "lol-bo3", value_name = "NAME|FILE")]
    scenario: String,

    /// Seed of the scenario and of settlement times
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// How many times as fast as wall time the match unfolds
    #[arg(long, default_value_t = 1.0, value_parser = speed)]
    speed: f64,

    /// Gives an address that signs for itself an account; may be repeated
    #[arg(long, value_name = "ADDRESS:USDC", value_parser = fund)]
    fund: Vec<Listed>,

    /// Faults to inject, see docs/FAULTS.md; opens POST, GET and DELETE /control/faults to this machine
    #[arg(long, value_name = "FILE")]
    faults: Option<std::path::PathBuf>,
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let at: SocketAddr = text.parse().map_err(|_| "expected ADDRESS:PORT, such as 127.0.0.1:8640".to_owned())?;
    if at.ip().is_loopback() { Ok(at) } else { Err(format!("{} is not a loopback address", at.ip())) }
}

fn speed(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text} is not a speed: expected a number from 0.01 to 1000");
    text.parse().ok().filter(|s| (0.01..=1_000.0).contains(s)).ok_or_else(wrong)
}

fn fund(text: &str) -> Result<Listed, String> {
    let read = || {
        let (address, usdc) = text.split_once(':')?;
        let usdc = Usdc::parse(usdc.as_bytes()).filter(|u| *u > Usdc::ZERO)?;
        Some(wallets::funded(Address::parse(address.as_bytes())?, usdc))
    };
    read().ok_or_else(|| format!("{text} is not ADDRESS:USDC, such as 0x70997970C51812dc3A010C7d01b50e0d17dc79C8:500"))
}

/// Runs the command. Exit codes: 1 it could not start or failed, 2 usage, 130 and 143 after a signal.
pub fn run(args: Args) -> ExitCode {
    match serve(args) {
        Ok(signal) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(exit::FAILED)),
        Err((code, text)) => {
            eprintln!("polyloly-fast venue: {text}");
            ExitCode::from(code)
        }
    }
}

/// Serves until a signal comes, and says which.
fn serve(args: Args) -> Result<usize, (u8, String)> {
    let conduct = args.faults.as_deref().map_or_else(|| Ok(Conduct::default()), faults)?;
    let mut accounts = wallets::development(DEPOSIT);
    for extra in args.fund {
        match accounts.iter_mut().find(|a| a.funder == extra.funder) {
            Some(known) => known.usdc = extra.usdc,
            None => accounts.push(extra),
        }
    }
    let scenario = scenario::open(&args.scenario, args.seed).map_err(|text| (exit::USAGE, text))?;
    // Before the ready line, so that whoever reads it can stop us cleanly.
    let mut signals = StopSignal::listen().map_err(|e| (exit::FAILED, e.to_string()))?;
    let options = VenueOptions {
        listen: args.listen,
        tls: !args.plain,
        speed: args.speed,
        scenario,
        seed: args.seed,
        chain_id: CHAIN_ID,
        accounts,
        on_thread: None,
        begin: Begin::AtOnce,
    };
    let venue = Venue::start_with(options, conduct).map_err(|e| (exit::FAILED, e.to_string()))?;
    let line = serde_json::to_string(&venue.ready).map_err(|e| (exit::FAILED, e.to_string()))?;
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|e| (exit::FAILED, format!("stdout: {e}")))?;
    drop(out);
    let signal = signals.wait();
    venue.join().map_err(|e| (exit::FAILED, e.to_string()))?;
    Ok(signal)
}

/// Reads a faults file. Errors name file, line and key.
fn faults(path: &Path) -> Result<Conduct, (u8, String)> {
    let wrong = |text: String| (exit::USAGE, format!("--faults {}: {text}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    Ok(Conduct { control: true, plan: Plan::parse(&text).map_err(wrong)? })
}

/// SIGINT or SIGTERM, waited for without spinning: the handler notes the number and writes a byte.
struct StopSignal {
    number: Arc<AtomicUsize>,
    woken: UnixStream,
}

impl StopSignal {
    fn listen() -> io::Result<Self> {
        let number = Arc::new(AtomicUsize::new(0));
        let (woken, waker) = UnixStream::pair()?;
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_usize(signal, number.clone(), signal as usize)?;
            signal_hook::low_level::pipe::register(signal, waker.try_clone()?)?;
        }
        Ok(Self { number, woken })
    }

    fn wait(&mut self) -> usize {
        loop {
            // An interrupted read is tried again; the other end lives as long as the handlers, so this never spins.
            let _ = self.woken.read(&mut [0]);
            let number = self.number.load(Ordering::Acquire);
            if number != 0 {
                return number;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_cannot_be_are_refused_with_what_would_be_right() {
        assert!(loopback("0.0.0.0:1").unwrap_err().contains("not a loopback address"));
        assert!(loopback("here").unwrap_err().contains("ADDRESS:PORT"));
        for bad in ["0", "-1", "nan", "inf", "x"] {
            assert!(speed(bad).unwrap_err().contains("from 0.01 to 1000"), "{bad}");
        }
        for bad in ["0x12:5", "0x70997970C51812dc3A010C7d01b50e0d17dc79C8:0", "5"] {
            assert!(fund(bad).unwrap_err().contains("ADDRESS:USDC"), "{bad}");
        }
        let one = fund("0x70997970C51812dc3A010C7d01b50e0d17dc79C8:12.5").unwrap();
        assert_eq!((one.usdc, one.funder), (Usdc(12_500_000), one.owner));
    }
}
