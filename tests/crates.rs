//! How many crates the binary stands on: counted, with a limit, so that each new one is a decision.

use std::{collections::BTreeSet, process::Command};

/// Distinct crates, ours included, by name and version.
fn crates(features: &str) -> BTreeSet<String> {
    let cargo = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}", features])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let text = String::from_utf8(cargo.stdout).expect("text");
    let name = |line: &str| line.split(" (").next().map(str::to_owned);
    text.lines().filter(|line| !line.is_empty()).filter_map(name).collect()
}

#[test]
fn the_trading_binary_stands_on_few_crates() {
    let (trading, all) = (crates("--no-default-features"), crates("--all-features"));
    println!("crates: {} for the trading binary, {} with every feature", trading.len(), all.len());
    assert!(trading.is_subset(&all));
    assert!(trading.iter().any(|c| c.starts_with("rustls v")), "{trading:?}");
    assert!(trading.len() <= 130, "{}: {trading:?}", trading.len());
    assert!(all.len() <= 210, "{}: {all:?}", all.len());
}
