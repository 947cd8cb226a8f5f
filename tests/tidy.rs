//! Reads our own sources and holds them to the layout: who may use whom, what the pure half may not touch, where
//! `unsafe` and floats may stand. Each rule is a function over one file's text, and each is shown to be able to fail.

use std::{
    fs,
    iter::Peekable,
    path::{Path, PathBuf},
    str::Chars,
};

/// Longest line, in characters.
const WIDTH: usize = 120;
/// Widest line that holds a string or stands inside a macro: rustfmt leaves those alone.
const WIDTH_OF_TEXT: usize = 200;

/// The pure half: values in, values out.
const PURE: [&str; 4] = ["types", "wire", "engine", "strategies"];

/// What each module of the pure half may use of this crate. `types <- wire`, `types <- engine <- strategies`; `wire`
/// and `engine` are siblings. Shells may use everything.
const MAY_USE: [(&str, &[&str]); 4] =
    [("types", &[]), ("wire", &["types"]), ("engine", &["types"]), ("strategies", &["engine", "types"])];

/// Words that mean a clock, a socket, a file, a thread, a lock or a source of chance.
const IMPURE: [&str; 31] = [
    "std::time",
    "Instant",
    "SystemTime",
    "std::net",
    "std::fs",
    "std::io",
    "std::thread",
    "std::process",
    "std::env",
    "std::sync",
    "Mutex",
    "RwLock",
    "Condvar",
    "Atomic",
    "OnceLock",
    "LazyLock",
    "thread_local",
    "TcpStream",
    "UdpSocket",
    "mio::",
    "rustls",
    "tungstenite",
    "quanta",
    "crossbeam",
    "rtrb",
    "getrandom",
    "rand::",
    "tracing::",
    "println!",
    "eprintln!",
    "memmap2",
];

/// The venue is a second opinion: what it may not take from the client, of the crate and of `types`.
const VENUE_MAY_NOT: [(&str, &[&str]); 2] =
    [("crate::", &["engine", "wire", "strategies"]), ("types::", &["eip712", "keccak", "amounts"])];

/// Dead letters are read again by these files; they can reach nothing that leads to an order.
const DEAD_LETTERS: [&str; 2] = ["src/cold/dead_letters", "src/cli/dead_letters"];
/// What of the crate they may use; below `cold`, `cli` and `stage`, only this.
const DEAD_LETTERS_MAY: [(&str, &[&str]); 4] = [
    ("crate::", &["types", "wire", "stage", "cold", "cli"]),
    ("cold::", &["dead_letters", "journal", "logs"]),
    ("cli::", &["decode", "exit"]),
    ("stage::", &["dead_letter"]),
];

/// Files of the pure half that compute probabilities or fair prices, where floats may stand.
const FLOATS_ALLOWED: [&str; 3] = ["src/strategies/", "src/engine/fair", "src/engine/volatility"];

/// One source file.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// First folder or file below `src`, without its ending.
    fn module(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap_or("");
        below.split('/').next().unwrap_or("").trim_end_matches(".rs")
    }

    fn is_pure(&self) -> bool {
        PURE.contains(&self.module())
    }

    /// Lines of code with their numbers: no comments, no text in quotes, nothing from `#[cfg(test)]` modules.
    fn code(&self) -> Vec<(usize, String)> {
        if self.path.ends_with("tests.rs") {
            return Vec::new();
        }
        let (mut lines, mut skip) = (Vec::new(), Skip::No);
        for (n, line) in self.text.lines().enumerate() {
            let bare = strip(line);
            match &mut skip {
                Skip::No if bare.trim() == "#[cfg(test)]" => skip = Skip::Armed,
                Skip::No => lines.push((n + 1, bare)),
                // What the attribute is on: a line such as `mod tests;`, or a block.
                Skip::Armed if bare.trim_end().ends_with(';') => skip = Skip::No,
                Skip::Armed if bare.contains('{') => {
                    let depth = depth(&bare);
                    skip = if depth == 0 { Skip::No } else { Skip::Block(depth) };
                }
                Skip::Armed => {}
                Skip::Block(open) => {
                    *open += depth(&bare);
                    if *open <= 0 {
                        skip = Skip::No;
                    }
                }
            }
        }
        lines
    }
}

enum Skip {
    No,
    Armed,
    Block(i32),
}

fn depth(code: &str) -> i32 {
    code.chars().map(|c| i32::from(c == '{') - i32::from(c == '}')).sum()
}

/// A line without its comment and without what stands in quotes. Good enough for sources that rustfmt has formatted.
fn strip(line: &str) -> String {
    let mut out = String::new();
    let mut chars = line.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted => chars = skipped(chars, 1),
            '"' => quoted = !quoted,
            '/' if !quoted && chars.peek() == Some(&'/') => break,
            // A quote or brace as a character literal.
            '\'' if !quoted => {
                let rest: String = chars.clone().take(3).collect();
                let skip = match rest.as_bytes() {
                    [b'\\', _, b'\''] => 3,
                    [_, b'\'', ..] => 2,
                    _ => 0,
                };
                chars = skipped(chars, skip);
            }
            c if !quoted => out.push(c),
            _ => {}
        }
    }
    out
}

fn skipped(mut chars: Peekable<Chars<'_>>, n: usize) -> Peekable<Chars<'_>> {
    if n > 0 {
        chars.nth(n - 1);
    }
    chars
}

/// True if `word` stands in `code` as a word or path of its own.
fn has(code: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        let open_end = word.ends_with("::") || word.ends_with('!') || word == "Atomic";
        !(word.starts_with(part) && before.is_some_and(part)) && (open_end || !after.is_some_and(part))
    })
}

fn complain(s: &Source, line: usize, what: &str) -> String {
    format!("{}:{line}: {what}", s.path)
}

/// What the code names below a path such as `crate::`: `crate::x`, and each head of `crate::{x::y, z}`.
fn used(s: &Source, below: &str) -> Vec<(usize, String)> {
    let lines = s.code();
    let joined: String = lines.iter().map(|(_, l)| format!("{l}\n")).collect();
    let mut used = Vec::new();
    for (at, _) in joined.match_indices(below) {
        let line = lines[joined[..at].matches('\n').count()].0;
        let rest = &joined[at + below.len()..];
        match rest.strip_prefix('{') {
            Some(group) => {
                let (mut open, mut start, mut heads) = (1, true, vec![String::new()]);
                for c in group.chars() {
                    match c {
                        '{' => open += 1,
                        '}' => open -= 1,
                        ',' if open == 1 => {
                            start = true;
                            heads.push(String::new());
                        }
                        ':' => start = false,
                        c if open == 1 && start && (c.is_alphanumeric() || c == '_') => {
                            heads.last_mut().unwrap().push(c);
                        }
                        _ => {}
                    }
                    if open == 0 {
                        break;
                    }
                }
                used.extend(heads.into_iter().filter(|h| !h.is_empty()).map(|h| (line, h)));
            }
            None => {
                used.push((line, rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()));
            }
        }
    }
    used
}

fn layering(s: &Source) -> Vec<String> {
    let Some((module, may)) = MAY_USE.iter().find(|(m, _)| *m == s.module()) else { return Vec::new() };
    let wrong = |name: &str| name != *module && !may.contains(&name);
    let foreign = used(s, "crate::").into_iter().filter(|(_, name)| wrong(name));
    foreign.map(|(line, name)| complain(s, line, &format!("{module} may not use crate::{name}"))).collect()
}

fn purity(s: &Source) -> Vec<String> {
    if !s.is_pure() {
        return Vec::new();
    }
    let hits = s
        .code()
        .into_iter()
        .flat_map(|(n, code)| IMPURE.iter().filter(move |word| has(&code, word)).map(move |word| (n, *word)));
    hits.map(|(n, word)| complain(s, n, &format!("the pure half has no {word}"))).collect()
}

fn unsafe_only_in_sys(s: &Source) -> Vec<String> {
    if s.module() == "sys" {
        return Vec::new();
    }
    let hits = s.code().into_iter().filter(|(_, code)| has(code, "unsafe") || has(code, "unsafe_code"));
    hits.filter(|_| s.path.starts_with("src/")).map(|(n, _)| complain(s, n, "unsafe belongs in src/sys")).collect()
}

fn nothing_unfinished(s: &Source) -> Vec<String> {
    let words = [concat!("#[", "ignore"), concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!(")];
    let mut found = Vec::new();
    for (n, line) in s.text.lines().enumerate() {
        let code = strip(line);
        found.extend(
            words.iter().filter(|w| code.contains(**w)).map(|w| complain(s, n + 1, &format!("{w} is unfinished"))),
        );
    }
    found
}

fn first_line_says_what_it_is(s: &Source) -> Vec<String> {
    let first = s.text.lines().next().unwrap_or("");
    let placeholder = first.starts_with("//! (");
    if first.starts_with("//! ") && !placeholder {
        Vec::new()
    } else {
        vec![complain(s, 1, "the first line says in a `//!` sentence what the file is")]
    }
}

fn lines_fit(s: &Source) -> Vec<String> {
    let allowed = |line: &str| {
        let comment = line.trim_start().starts_with("//");
        if !comment && (line.contains('"') || line.contains(" in ") || line.starts_with("            ")) {
            WIDTH_OF_TEXT
        } else {
            WIDTH
        }
    };
    let long = s.text.lines().enumerate().filter(|(_, line)| line.chars().count() > allowed(line));
    long.map(|(n, line)| complain(s, n + 1, &format!("{} columns; at most {WIDTH}", line.chars().count()))).collect()
}

fn no_floats_in_money(s: &Source) -> Vec<String> {
    let money = ["types", "engine", "strategies", "wire"].contains(&s.module());
    if !money || FLOATS_ALLOWED.iter().any(|p| s.path.starts_with(p)) {
        return Vec::new();
    }
    // Reading a number that somebody wrote as a float, by its text, is no arithmetic.
    let hits = s.code().into_iter().filter(|(_, c)| (has(c, "f64") || has(c, "f32")) && !c.contains("fn visit_f64"));
    hits.map(|(n, _)| complain(s, n, "money has no floats")).collect()
}

fn no_machine_paths(s: &Source) -> Vec<String> {
    let words = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")];
    let mut found = Vec::new();
    for (n, line) in s.text.lines().enumerate() {
        found.extend(
            words.iter().filter(|w| line.contains(**w)).map(|w| complain(s, n + 1, &format!("{w} is of one machine"))),
        );
    }
    found
}

fn venue_is_a_second_opinion(s: &Source) -> Vec<String> {
    if s.module() != "venue" {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (below, names) in VENUE_MAY_NOT {
        let hits = used(s, below).into_iter().filter(|(_, name)| names.contains(&name.as_str()));
        found.extend(hits.map(|(n, name)| complain(s, n, &format!("the venue may not use {below}{name}"))));
    }
    found
}

fn dead_letters_reach_no_order(s: &Source) -> Vec<String> {
    if !DEAD_LETTERS.iter().any(|p| s.path.starts_with(p)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (below, may) in DEAD_LETTERS_MAY {
        let wrong = used(s, below).into_iter().filter(|(_, name)| !may.contains(&name.as_str()));
        found.extend(wrong.map(|(n, name)| complain(s, n, &format!("dead letters may not use {below}{name}"))));
    }
    // Above the two files themselves stand `cold` and `cli`; above their parts, only they.
    if ["src/cold/dead_letters.rs", "src/cli/dead_letters.rs"].contains(&s.path.as_str()) {
        let wrong =
            used(s, "super::").into_iter().filter(|(_, name)| !["decode", "exit", "logs"].contains(&name.as_str()));
        found.extend(wrong.map(|(n, name)| complain(s, n, &format!("dead letters may not use super::{name}"))));
    }
    let words = ["super::super", "TcpStream", "std::net", "ControlEvent", "Tx"];
    let hits = s.code().into_iter().filter_map(|(n, code)| words.iter().find(|w| has(&code, w)).map(|w| (n, *w)));
    found.extend(hits.map(|(n, word)| complain(s, n, &format!("dead letters have no {word}"))));
    found
}

/// A line of one column too many.
const LONG: &str = match str::from_utf8(&[b'-'; WIDTH + 1]) {
    Ok(line) => line,
    Err(_) => "",
};

type Rule = fn(&Source) -> Vec<String>;
/// A path and a text.
type Snippet = (&'static str, &'static str);

/// Every rule with a text that breaks it and one that does not.
const RULES: [(&str, Rule, Snippet, Snippet); 10] = [
    (
        "layering",
        layering,
        ("src/wire/a.rs", "use crate::{\n    engine::book::Book,\n    types::Price,\n};"),
        ("src/strategies/a.rs", "use crate::{engine::book::Book, types::{Price, engine}};"),
    ),
    (
        "purity",
        purity,
        ("src/engine/a.rs", "use std::time::Instant;"),
        ("src/engine/a.rs", "// std::time\nlet instant = \"Instant\";\n#[cfg(test)]\nmod tests {\n use std::fs;\n}"),
    ),
    ("unsafe", unsafe_only_in_sys, ("src/hot.rs", "unsafe { x() }"), ("src/sys/a.rs", "unsafe { x() }")),
    ("unfinished", nothing_unfinished, ("src/a.rs", concat!("    todo", "!()")), ("src/a.rs", "// to do: nothing")),
    ("first line", first_line_says_what_it_is, ("src/a.rs", "use x;"), ("src/a.rs", "//! A file.")),
    ("width", lines_fit, ("src/a.rs", LONG), ("src/a.rs", "short")),
    (
        "floats",
        no_floats_in_money,
        ("src/types/a.rs", "let x: f64 = 0.1;"),
        ("src/strategies/a.rs", "let x: f64 = 0.1;"),
    ),
    ("paths", no_machine_paths, ("src/a.rs", concat!("\"/ho", "me/me\"")), ("src/a.rs", "\"/tmp/x\"")),
    (
        "dead letters",
        dead_letters_reach_no_order,
        ("src/cold/dead_letters/a.rs", "use crate::{engine::sign::OrderSigner, types::Price};"),
        ("src/cold/dead_letters/a.rs", "use crate::{stage::dead_letter::Source, types::Price};\nuse super::Letter;"),
    ),
    (
        "venue",
        venue_is_a_second_opinion,
        ("src/venue/a.rs", "use crate::{\n    engine::Action,\n    types::Price,\n};"),
        ("src/venue/a.rs", "use crate::types::{Price, Qty};\nuse base64::engine::X;\nlet amounts = amounts();"),
    ),
];

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["src", "tests", "benches"] {
        collect(&root.join(folder), &mut found);
    }
    let relative = |path: &Path| path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
    found.iter().map(|path| Source { path: relative(path), text: fs::read_to_string(path).unwrap() }).collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|e| e.unwrap().path()) {
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_sources_are_tidy() {
    let sources = sources();
    assert!(sources.len() > 40, "the sources were found");
    let found: Vec<String> = RULES.iter().flat_map(|(_, rule, ..)| sources.iter().flat_map(rule)).collect();
    assert!(found.is_empty(), "{} untidy places:\n{}", found.len(), found.join("\n"));
}

#[test]
fn every_rule_can_fail() {
    for (name, rule, bad, good) in RULES {
        let source = |(path, text): (&str, &str)| Source { path: path.into(), text: text.into() };
        assert!(!rule(&source(bad)).is_empty(), "{name} overlooks {bad:?}");
        assert_eq!(rule(&source(good)), Vec::<String>::new(), "{name} is too strict");
    }
}

#[test]
fn more_that_the_rules_must_see() {
    let layering_table = [
        ("src/types/a.rs", "use crate::engine::Action;", true),
        ("src/engine/a.rs", "fn f() { crate::wire::x() }", true),
        ("src/engine/a.rs", "use crate::{types::Price, cold::Slot};", true),
        ("src/strategies/a.rs", "use crate::wire::order;", true),
        ("src/hot.rs", "use crate::{engine, wire};", false),
        ("src/engine/a.rs", "use crate::engine::book;", false),
    ];
    for (path, text, wrong) in layering_table {
        let source = Source { path: path.into(), text: text.into() };
        assert_eq!(!layering(&source).is_empty(), wrong, "{path}: {text}");
    }
    for word in IMPURE {
        let source = Source { path: "src/wire/a.rs".into(), text: format!("use {word};") };
        assert!(!purity(&source).is_empty(), "{word} is overlooked");
    }
    for word in [
        "gateway::Command",
        "engine::{Signed, risk}",
        "hot::HotTile",
        "{stage::{ring::Tx, dead_letter::Source}}",
        "cold::tile::Parts",
    ] {
        let source = Source { path: "src/cli/dead_letters.rs".into(), text: format!("use crate::{word};") };
        assert!(!dead_letters_reach_no_order(&source).is_empty(), "{word} is overlooked");
    }
    for word in [
        "types::eip712::OrderHasher",
        "types::amounts::limit",
        "engine::Action",
        "wire::ws",
        "types::keccak::keccak256",
        "{types::{Price, amounts::limit}}",
    ] {
        let source = Source { path: "src/venue/a.rs".into(), text: format!("use crate::{word};") };
        assert!(!venue_is_a_second_opinion(&source).is_empty(), "{word} is overlooked");
    }
}

#[test]
fn code_is_told_from_comments_texts_and_tests() {
    let text =
        "//! x\nlet a = \"{ unsafe\"; // unsafe\n#[cfg(test)]\nmod tests {\n  unsafe {}\n}\nlet b = '\"';\nunsafe {}";
    let source = Source { path: "src/a.rs".into(), text: text.into() };
    let lines: Vec<usize> = source.code().iter().filter(|(_, c)| has(c, "unsafe")).map(|(n, _)| *n).collect();
    assert_eq!(lines, [8]);
    assert!(has("a unsafe b", "unsafe") && !has("unsafely", "unsafe") && has("AtomicU64", "Atomic"));
}
