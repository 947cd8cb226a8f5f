//! The configuration's promises: the default file is the default, and everything wrong is named with what is right.

use polyloly_fast::{
    config::{Config, DEFAULT_TOML, Mode},
    types::{Address, Usdc, market::SignatureType},
};

fn problems(text: &str) -> Vec<(String, String, String)> {
    match Config::parse(text, "test.toml") {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(problems) => problems.list.into_iter().map(|p| (p.key, p.value, p.why)).collect(),
    }
}

/// One problem, with these words in what is said about it.
fn refused(text: &str, key: &str, value: &str, words: &str) {
    let found = problems(text);
    let hit = found.iter().find(|(k, v, _)| k == key && v == value);
    let Some((_, _, why)) = hit else { panic!("{text}\nnothing about {key} = {value} in {found:?}") };
    assert!(why.contains(words), "{text}\n{why}");
}

#[test]
fn the_default_file_is_the_default() {
    assert_eq!(Config::parse(DEFAULT_TOML, "default.toml").unwrap(), Config::default());
    assert_eq!(Config::parse("", "empty").unwrap(), Config::default());
}

#[test]
fn the_default_file_explains_every_key() {
    let written: toml::Table = toml::from_str(DEFAULT_TOML).unwrap();
    let mut known = toml::Table::try_from(Config::default()).unwrap();
    let mut strategy = toml::Table::new();
    for (name, value) in toml::Table::try_from(Config::default().engine).unwrap() {
        if name == "risk" {
            known.insert(name, value)
        } else {
            strategy.insert(name, value)
        };
    }
    known.insert("strategy".into(), strategy.into());
    assert_eq!(written, known);
    let mut commented = false;
    for (n, line) in DEFAULT_TOML.lines().enumerate() {
        assert!(commented || line.is_empty() || line.starts_with('#'), "line {}: nothing explains {line}", n + 1);
        commented = line.starts_with('#');
    }
}

#[test]
fn values_are_read() {
    let config = Config::parse(
        r#"
        mode = "live"
        run.duration = "5m"
        topology.cores = "2-5"
        [account]
        signature_type = 2
        funder = "0x90f79bf6eb2c4f870365e785982e1f101e93b906"
        [risk]
        order_usdc = 12.5
        market_usdc = "100.25"
        [strategy.pair]
        enabled = false
        [markets]
        conditions = ["0x0707070707070707070707070707070707070707070707070707070707070707"]
        "#,
        "test.toml",
    )
    .unwrap();
    assert_eq!(config.mode, Mode::Live);
    assert_eq!(config.run.duration.unwrap().0.as_secs(), 300);
    assert_eq!(config.topology.cores.0, [2, 3, 4, 5]);
    assert_eq!(config.account.signature_type, SignatureType::PolyGnosisSafe);
    assert_eq!(config.markets.conditions.len(), 1);
    assert_eq!(config.engine.risk.order_usdc, Usdc(12_500_000));
    assert_eq!(config.engine.risk.market_usdc, Usdc(100_250_000));
    assert!(!config.engine.pair.enabled);
    assert_eq!(config.run.seed, Config::default().run.seed, "what is left out stays as it was");
}

#[test]
fn what_is_wrong_is_named_with_what_is_right() {
    let table = [
        ("[run]\nspedd = 3", "run.spedd", "3", "did you mean `run.speed`?"),
        ("[run]\nsegment_mib = 3", "run.segment_mib", "3", "did you mean `journal.segment_mib`?"),
        ("moed = \"live\"", "moed", "\"live\"", "did you mean `mode`?"),
        ("[gateway]\nqqqqqqqqqqqq = 1", "gateway.qqqqqqqqqqqq", "1", "there are budget_percent, connections"),
        ("[run]\nspeed = 0", "run.speed", "0", "1 to 1000"),
        ("[run]\nspeed = -1", "run.speed", "-1", "must not be negative; the default is 200"),
        ("[run]\nspeed = \"fast\"", "run.speed", "\"fast\"", "must be a whole number, such as 200"),
        ("[run]\nspeed = 1.5", "run.speed", "1.5", "must be a whole number"),
        ("[run]\nduration = \"soon\"", "run.duration", "\"soon\"", "500ms, 90s, 5m or 2h"),
        ("[run]\nduration = \"0s\"", "run.duration", "0", "1 to"),
        ("run = 3", "run", "3", "must be a section"),
        ("mode = \"real\"", "mode", "\"real\"", "`embedded`"),
        ("[gateway]\nconnections = 0", "gateway.connections", "0", "2 to 16"),
        ("[gateway]\nconnections = -1", "gateway.connections", "-1", "must not be negative"),
        ("[topology]\ncores = \"1,1\"", "topology.cores", "\"1,1\"", "named twice"),
        ("[topology]\ncores = \"x\"", "topology.cores", "\"x\"", "0,1 or 2-5"),
        ("[venue]\nrest = \"clob\"", "venue.rest", "\"clob\"", "https://"),
        ("[venue]\nrest = \"http://clob.example\"", "venue.rest", "\"http://clob.example\"", "credentials travel"),
        ("[venue]\nws_user = \"wss://u@x/\"", "venue.ws_user", "\"wss://u@x/\"", "HOST:PORT"),
        ("[venue]\nchain_id = 1", "venue.chain_id", "1", "137"),
        ("[account]\nsignature_type = 4", "account.signature_type", "4", "deposit wallet"),
        ("[account]\nfunder = \"0x12\"", "account.funder", "\"0x12\"", "20 bytes of hex"),
        ("[log]\nlevel = \"loud\"", "log.level", "\"loud\"", "`debug`"),
        ("[health]\nlisten = \"here\"", "health.listen", "\"here\"", "default is"),
        ("mode = \"paper\"", "markets.conditions", "[]", "at least one market"),
        ("[risk]\norder_usdc = 0", "risk.order_usdc", "0", "more than 0 pUSD"),
        ("[risk]\norder_usdc = -1", "risk.order_usdc", "-1", "more than 0 pUSD"),
        ("[risk]\norder_usdc = \"-1\"", "risk.order_usdc", "-1", "more than 0 pUSD"),
        ("[risk]\norder_usdc = \"lots\"", "risk.order_usdc", "\"lots\"", "pUSD"),
        ("[risk]\norder_usdc = 0.0000001", "risk.order_usdc", "1e-7", "six decimals"),
        ("[risk]\norder_usdc = 600", "risk.order_usdc", "600", "at most risk.market_usdc"),
        ("[risk]\norders_per_s = -1", "risk.orders_per_s", "-1", "must not be negative; the default is 30"),
        ("[risk]\nmarkt_usdc = 1", "risk.markt_usdc", "1", "did you mean `risk.market_usdc`?"),
        ("[strategy.pair]\nquote_shares = 0", "strategy.pair.quote_shares", "0", "5 to 100000"),
        ("[strategy.pair]\nquote_share = 9", "strategy.pair.quote_share", "9", "`strategy.pair.quote_shares`"),
        ("[strategy.pairs]\nttl_s = 9", "strategy.pairs", "{\"ttl_s\":9}", "did you mean `strategy.pair`?"),
        ("[strategy.baskets]\nmax_shares = 4", "strategy.baskets.max_shares", "4", "5 to 100000"),
        ("[strategy.baskets]\nhalf_ppm = 1000001", "strategy.baskets.half_ppm", "1000001", "0 to 1000000"),
        (
            "[strategy.baskets]\nquote_edge_ppm = 1999",
            "strategy.baskets.quote_edge_ppm",
            "1999",
            "at least min_edge_ppm",
        ),
        ("[strategy.baskets]\ntries = 0", "strategy.baskets.tries", "0", "1 to 10"),
        ("[strategy.baskets]\ngive_up_ms = 999", "strategy.baskets.give_up_ms", "999", "at least pause_ms"),
        ("[strategy.baskets]\nmin_edge = 1", "strategy.baskets.min_edge", "1", "`strategy.baskets.min_edge_ppm`"),
        ("[journal]\nsegment_mib = 0", "journal.segment_mib", "0", "1 to 1024"),
        ("[[matches]]\nslug = \"a\"\nbest_of = 2", "matches[0].best_of", "2", "1, 3 or 5"),
        ("[[matches]]\nslug = \"a\"\nbest_of = -3", "matches[0].best_of", "-3", "1, 3 or 5"),
        ("[[matches]]\nslug = \"\"\nbest_of = 3", "matches[0].slug", "\"\"", "the venue's event"),
        ("[[matches]]\nslug = \"a\"\nbest_of = 3\nteams = [\"A\"]", "matches[0].teams", "1 names", "two names"),
        (
            "[[matches]]\nslug = \"a\"\nbest_of = 3\nhandicaps = [{ market = \"m\", team = \"t\", line = \"1\" }]",
            "matches[0].handicaps.line",
            "\"1\"",
            "a number of maps and a half",
        ),
        ("[[matches]]\nslug = \"a\"\nbest_of = 3", "matches", "1 matches", "leave this out"),
    ];
    for (text, key, value, words) in table {
        refused(text, key, value, words);
    }
}

#[test]
fn every_problem_is_reported_at_once() {
    let text = "moed = 1\n[run]\nspeed = -1\nduration = \"x\"\n[gateway]\nconnections = 99\n[log]\nlevl = \"info\"";
    let keys: Vec<String> = problems(text).into_iter().map(|(key, ..)| key).collect();
    for key in ["moed", "run.speed", "run.duration", "gateway.connections", "log.levl"] {
        assert!(keys.iter().any(|k| k == key), "{key} is missing from {keys:?}");
    }
}

#[test]
fn a_syntax_error_names_its_line() {
    let said = Config::parse("mode = \"embedded\"\n[run\n", "mine.toml").unwrap_err().to_string();
    assert!(said.starts_with("mine.toml: ") && said.contains("line 2"), "{said}");
}

#[test]
fn a_missing_file_is_said_plainly() {
    let said = Config::load("no/such/file.toml".as_ref()).unwrap_err().to_string();
    assert!(said.starts_with("no/such/file.toml: cannot be read"), "{said}");
}

#[test]
fn secrets_are_refused_and_never_repeated() {
    for key in ["private_key", "POLYMARKET_PRIVATE_KEY", "api_secret", "passphrase"] {
        for section in ["account", "run", "venue", "[matches]"] {
            let text = format!("[{section}]\n{key} = \"hunter2\"");
            let said = Config::parse(&text, "mine.toml").unwrap_err().to_string();
            assert!(said.contains(key) && said.contains("elete this line"), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}

#[test]
fn real_money_needs_the_flag_and_a_key_of_ones_own() {
    let live = Config { mode: Mode::Live, ..Config::default() };
    let said = live.check_flags(false).unwrap_err().to_string();
    assert!(said.contains("--live"), "{said}");
    assert!(live.check_flags(true).is_ok());
    assert!(Config::default().check_flags(true).is_err(), "--live without a live configuration contradicts itself");
    assert!(Config::default().check_flags(false).is_ok());

    let known = Address::parse(b"0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266").unwrap();
    assert!(live.check_key(&known).unwrap_err().to_string().contains("well-known development"));
    assert!(Config::default().check_key(&known).is_ok(), "on paper everybody may use it");
    assert!(live.check_key(&Address([9; 20])).is_ok());
}

/// The list of known addresses against the keys themselves, by a hash of its own.
#[cfg(feature = "embedded")]
#[test]
fn development_keys_are_known() {
    use sha3::Digest;

    let mut keys: Vec<[u8; 32]> = (1..=3).map(|n| std::array::from_fn(|i| if i == 31 { n } else { 0 })).collect();
    for hex in [
        b"ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
        b"59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    ] {
        keys.push(polyloly_fast::types::ids::parse_hex(hex).unwrap());
    }
    for key in keys {
        let key = k256::ecdsa::SigningKey::from_slice(&key).unwrap();
        let point = key.verifying_key().to_sec1_point(false);
        let hash = sha3::Keccak256::digest(&point.as_bytes()[1..]);
        let address = Address(hash[12..].try_into().unwrap());
        assert!(polyloly_fast::config::is_development_address(&address), "{address}");
    }
}
