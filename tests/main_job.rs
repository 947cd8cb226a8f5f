//! What a finished run has to show, judged from its summary. `.ci/run` does the runs and names their summaries here by
//! `POLYLOLY_SUMMARY` (one file: judged, its journal replayed) or `POLYLOLY_SUMMARIES` (a directory: tabled).

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

/// A run takes at most this long.
const LONGEST_NS: u64 = 90_000_000_000;
/// Resident memory stays below this.
const RESIDENT_MAX: u64 = 200 << 20;

fn number(summary: &Value, path: &str) -> u64 {
    summary.pointer(path).and_then(Value::as_u64).unwrap_or(0)
}

/// A decimal string in micro-units; `None` if it is not one.
fn micro(summary: &Value, path: &str) -> Option<i64> {
    let text = summary.pointer(path)?.as_str()?;
    polyloly_fast::types::Usdc::parse(text.as_bytes()).map(|v| v.micro())
}

/// Money adds up and nothing is left behind: true of every run, however it went.
fn sound(s: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut hold = |ok: bool, what: String| {
        if !ok {
            wrong.push(what);
        }
    };
    let unresolved = s.pointer("/orders/unresolved").and_then(Value::as_u64);
    hold(unresolved == Some(0), format!("unresolved orders: {unresolved:?}"));
    let ours = micro(s, "/pnl/equity_change_usdc");
    let theirs = micro(s, "/pnl/venue_equity_change_usdc");
    hold(ours.is_some() && ours == theirs, format!("equity: ours {ours:?}, the venue's {theirs:?}"));
    let causes = ["spread", "inventory", "fees", "rounding"].map(|c| micro(s, &format!("/pnl/by_cause/{c}")));
    let sum = causes.iter().copied().sum::<Option<i64>>();
    hold(sum.is_some() && sum == ours, format!("equity {ours:?} is not the sum of its causes {causes:?}"));
    hold(s["failures"] == json!([]), format!("failures: {}", s["failures"]));
    hold(s["risk"]["kill_switch"].is_null(), format!("kill switch: {}", s["risk"]["kill_switch"]));
    let lost = s["rings"].as_object().map(|rings| rings.values().map(|r| number(r, "/overflows")).sum::<u64>());
    hold(number(s, "/counters/journal_lost") == 0, "records were lost".into());
    hold(lost.is_some(), "no rings".into());
    wrong
}

/// What the default run has to show besides.
fn demonstrative(s: &Value) -> Vec<String> {
    let mut wrong = sound(s);
    let mut hold = |ok: bool, what: String| {
        if !ok {
            wrong.push(what);
        }
    };
    hold(number(s, "/orders/accepted") >= 20, format!("accepted orders: {}", s["orders"]["accepted"]));
    let empty = Vec::new();
    let positions = s["positions"].as_array().unwrap_or(&empty);
    let fills = |outcome: &str| positions.iter().map(|p| number(p, outcome)).sum::<u64>();
    let (yes, no) = (fills("/fills/0"), fills("/fills/1"));
    hold(yes >= 10 && no >= 10, format!("fills: {yes} on first tokens, {no} on second tokens"));
    let merged: i64 = positions.iter().filter_map(|p| micro(p, "/merged")).sum();
    hold(merged >= 1_000_000, format!("merged pairs: {merged} millionths"));
    let paid = positions.iter().filter(|p| p["payout"].is_string()).count();
    hold(!positions.is_empty() && paid == positions.len(), format!("{paid} of {} markets paid out", positions.len()));
    for stage in ["parse", "book", "decide", "risk", "sign", "encode", "send", "tick_to_trade", "ack"] {
        hold(number(s, &format!("/latency/{stage}/count")) > 0, format!("no latency of {stage}"));
    }
    hold(number(s, "/duration_ns") <= LONGEST_NS, format!("it took {} ns", s["duration_ns"]));
    let resident = number(s, "/resident_bytes");
    hold(resident > 0 && resident < RESIDENT_MAX, format!("resident: {resident} bytes"));
    wrong
}

fn good() -> Value {
    let stage = json!({ "count": 5 });
    let latency: serde_json::Map<String, Value> =
        ["parse", "book", "decide", "risk", "sign", "encode", "send", "tick_to_trade", "ack"]
            .map(|name| (name.to_owned(), stage.clone()))
            .into_iter()
            .collect();
    json!({
        "orders": { "accepted": 20, "unresolved": 0 },
        "pnl": {
            "equity_change_usdc": "-1.5", "venue_equity_change_usdc": "-1.5",
            "by_cause": { "spread": "1", "inventory": "-2", "fees": "-0.500001", "rounding": "0.000001" },
        },
        "positions": [{ "fills": [10, 11], "merged": "1", "payout": "yes" }],
        "latency": latency, "duration_ns": 30_000_000_000_u64, "resident_bytes": 100 << 20,
        "failures": [], "risk": { "kill_switch": null }, "rings": {}, "counters": {},
    })
}

#[test]
fn the_judge_can_say_no() {
    assert_eq!(demonstrative(&good()), Vec::<String>::new());
    for (path, value) in [
        ("/orders/unresolved", json!(1)),
        ("/orders/accepted", json!(19)),
        ("/pnl/equity_change_usdc", json!("-1.500001")),
        ("/pnl/venue_equity_change_usdc", json!(null)),
        ("/pnl/by_cause/spread", json!("1.000001")),
        ("/positions/0/fills/1", json!(9)),
        ("/positions/0/merged", json!("0.999999")),
        ("/positions/0/payout", json!(null)),
        ("/latency/sign/count", json!(0)),
        ("/duration_ns", json!(90_000_000_001_u64)),
        ("/resident_bytes", json!(200 << 20)),
        ("/failures", json!(["x"])),
        ("/risk/kill_switch", json!("daily_loss")),
        ("/rings", json!(null)),
    ] {
        let mut bad = good();
        *bad.pointer_mut(path).unwrap() = value.clone();
        assert!(!demonstrative(&bad).is_empty(), "{path} = {value} passes");
    }
}

fn replay(args: &[&str]) -> (Option<i32>, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_polyloly-fast")).arg("replay").args(args).output().unwrap();
    (out.status.code(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}

#[test]
fn the_run_named_by_the_environment() {
    let Some(file) = std::env::var_os("POLYLOLY_SUMMARY") else {
        eprintln!("SKIPPED: POLYLOLY_SUMMARY names no summary; .ci/run makes one");
        return;
    };
    let summary: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(demonstrative(&summary), Vec::<String>::new());

    let journal = PathBuf::from(summary["journal"].as_str().unwrap());
    let path = journal.display().to_string();
    let (code, said) = replay(&[&path, "--json"]);
    assert_eq!(code, Some(0), "{said}");
    let verdict: Value = serde_json::from_str(said.trim()).unwrap();
    assert_eq!(verdict["state_hash"], summary["state_hash"]);

    let changed = std::env::temp_dir().join(format!("polyloly-changed-{}.toml", std::process::id()));
    fs::write(&changed, "[strategy.pair]\nquote_shares = 51\n").unwrap();
    assert_eq!(replay(&[&path, "--config", &changed.display().to_string()]).0, Some(4));
    fs::remove_file(changed).unwrap();

    let copy = std::env::temp_dir().join(format!("polyloly-copy-{}", std::process::id()));
    fs::create_dir_all(&copy).unwrap();
    let segments: Vec<PathBuf> = fs::read_dir(&journal).unwrap().map(|e| e.unwrap().path()).collect();
    let into = |segment: &Path| copy.join(segment.file_name().unwrap());
    for segment in &segments {
        fs::copy(segment, into(segment)).unwrap();
    }
    let victim = into(&segments[0]);
    let whole = fs::read(&victim).unwrap();
    for part in 0..8 {
        let mut bytes = whole.clone();
        bytes[whole.len() * part / 8] ^= 0x20;
        fs::write(&victim, bytes).unwrap();
        let (code, said) = replay(&[&copy.display().to_string()]);
        assert_eq!(code, Some(4), "part {part}: {said}");
    }
    fs::remove_dir_all(copy).unwrap();
}

#[test]
fn the_seeds_named_by_the_environment() {
    let Some(folder) = std::env::var_os("POLYLOLY_SUMMARIES") else {
        eprintln!("SKIPPED: POLYLOLY_SUMMARIES names no directory; .ci/run --long makes one");
        return;
    };
    let mut runs: Vec<Value> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "json"))
        .map(|p| serde_json::from_str(&fs::read_to_string(p).unwrap()).unwrap())
        .collect();
    runs.sort_by_key(|r| r["seed"].as_u64());
    assert!(!runs.is_empty(), "no summaries there");
    println!("{:>5} {:>14} {:>7} {:>6} {:>12} {:>12}", "seed", "equity", "orders", "fills", "spread", "inventory");
    let mut wrong = Vec::new();
    for run in &runs {
        let text = |path: &str| run.pointer(path).and_then(Value::as_str).unwrap_or("?").to_owned();
        println!(
            "{:>5} {:>14} {:>7} {:>6} {:>12} {:>12}",
            run["seed"],
            text("/pnl/equity_change_usdc"),
            number(run, "/orders/accepted"),
            number(run, "/fills/count"),
            text("/pnl/by_cause/spread"),
            text("/pnl/by_cause/inventory")
        );
        wrong.extend(sound(run).into_iter().map(|what| format!("seed {}: {what}", run["seed"])));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
