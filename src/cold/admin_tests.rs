//! The operator's interface alone: who may call, what is taken for an order, what is remembered.

use std::{fs, path::PathBuf};

use super::*;
use crate::types::{Account, Address, market::SignatureType};

const TOKEN: &str = "a-token-of-a-test-only";

/// A run that takes whatever it is told.
#[derive(Default)]
struct Run {
    told: Vec<ControlEvent>,
    full: bool,
    kill_switch: Option<&'static str>,
    troubles: Vec<String>,
    level: Option<Level>,
}

impl Engine for Run {
    fn tell(&mut self, event: ControlEvent) -> bool {
        if !self.full {
            self.told.push(event);
        }
        !self.full
    }

    fn seq(&self) -> u64 {
        7
    }

    fn kill_switch(&self) -> Option<&'static str> {
        self.kill_switch
    }

    fn troubles(&self) -> Vec<String> {
        self.troubles.clone()
    }

    fn set_log_level(&mut self, level: Level) -> bool {
        self.level = Some(level);
        true
    }
}

struct Rig {
    admin: Admin,
    run: Run,
    dir: PathBuf,
    now: Nanos,
}

impl Rig {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("polyloly-admin-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        Self { admin: open(&dir), run: Run::default(), dir, now: Nanos(1_000_000_000) }
    }

    fn call(&mut self, action: &str, token: Option<&str>, id: Option<&str>, body: &str) -> (u16, String) {
        let path = format!("/admin/{action}");
        let authorization = token.map(|t| format!("Bearer {t}"));
        let request = Request {
            method: "POST",
            path: &path,
            authorization: authorization.as_ref().map(String::as_bytes),
            request_id: id.map(str::as_bytes),
            body: body.as_bytes(),
            peer: ([127, 0, 0, 1], 9).into(),
        };
        let answer = self.admin.call(&request, self.now, &mut self.run);
        (answer.status, answer.body)
    }

    fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.dir.join(AUDIT_FILE)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn open(dir: &std::path::Path) -> Admin {
    let account = Account { owner: Address([1; 20]), funder: Address([1; 20]), signature_type: SignatureType::Eoa };
    let universe = Universe { chain_id: 137, account, markets: Vec::new(), matches: Vec::new() };
    Admin::new(Token::new(TOKEN.as_bytes()).unwrap(), Audit::open(dir, "r1").unwrap(), &universe)
}

#[test]
fn p18_kill_switch_reset_without_or_with_a_wrong_token_replayed_or_while_a_breaker_is_open() {
    let mut rig = Rig::new("p18");
    rig.run.kill_switch = Some("daily_loss");
    let reason = r#"{"reason":"the limit was meant"}"#;
    let reset = |rig: &mut Rig, token, id| rig.call("reset-kill-switch", token, id, reason).0;
    let wrong = format!("{TOKEN}x");
    for token in [None, Some(""), Some("a"), Some(&TOKEN[1..]), Some(wrong.as_str())] {
        assert_eq!(reset(&mut rig, token, Some("one")), 401, "{token:?}");
    }
    assert_eq!(reset(&mut rig, Some(TOKEN), None), 400, "without a request id");
    rig.run.troubles = vec!["the breaker of cancels is open".into()];
    let (status, said) = rig.call("reset-kill-switch", Some(TOKEN), Some("one"), reason);
    assert!(status == 409 && said.contains("breaker of cancels"), "{said}");
    rig.run.troubles.clear();
    assert_eq!(reset(&mut rig, Some(TOKEN), Some("one")), 409, "an id is used by its first authenticated call");
    assert_eq!(rig.run.told, [], "nothing was lifted so far");
    assert_eq!(reset(&mut rig, Some(TOKEN), Some("two")), 200);
    assert_eq!(reset(&mut rig, Some(TOKEN), Some("two")), 409, "replayed");
    assert_eq!(rig.run.told, [ControlEvent::ResetKill]);
    rig.run.kill_switch = None;
    assert_eq!(reset(&mut rig, Some(TOKEN), Some("three")), 409, "it is not on");
    // The process comes back, with the same token and the same files.
    rig.admin = open(&rig.dir);
    rig.run.kill_switch = Some("daily_loss");
    for used in ["one", "two", "three"] {
        assert_eq!(reset(&mut rig, Some(TOKEN), Some(used)), 409, "{used} after a restart");
    }
    assert_eq!(reset(&mut rig, Some(TOKEN), Some("four")), 200);
    assert_eq!(rig.run.told.len(), 2);
    let audit = rig.audit();
    let outcomes: Vec<_> = audit.iter().map(|r| r["outcome"].as_str().unwrap()).collect();
    let refused = |n| vec!["refused"; n];
    let expected = [refused(8), vec!["asked", "accepted"], refused(2), refused(3), vec!["asked", "accepted"]].concat();
    assert_eq!(outcomes, expected, "every call is written down, and a reset before it is done");
    assert!(audit.iter().all(|r| r["action"] == "reset-kill-switch" && r["peer"] == "127.0.0.1:9"));
    assert_eq!(audit[9]["reason"], "the limit was meant");
    assert!(!fs::read_to_string(rig.dir.join(AUDIT_FILE)).unwrap().contains(TOKEN));
}

#[test]
fn a_reset_needs_a_reason() {
    let mut rig = Rig::new("reason");
    rig.run.kill_switch = Some("manual");
    let long = format!("{{\"reason\":\"{}\"}}", "é".repeat(REASON_MAX + 1));
    let bodies = ["", "{}", r#"{"reason":""}"#, r#"{"reason":"  "}"#, r#"{"reason":7}"#, &long, "[]", "{", "null"];
    for (n, body) in bodies.into_iter().enumerate() {
        let (status, said) = rig.call("reset-kill-switch", Some(TOKEN), Some(&format!("n{n}")), body);
        assert_eq!(status, 400, "{body}: {said}");
    }
    let most = format!("{{\"reason\":\"{}\"}}", "é".repeat(REASON_MAX));
    assert_eq!(rig.call("reset-kill-switch", Some(TOKEN), Some("last"), &most).0, 200);
}

#[test]
fn what_is_not_understood_does_nothing() {
    let mut rig = Rig::new("misspelt");
    let table = [
        ("halt", r#"{"markt":"lol-1"}"#, 400),
        ("halt", r#"{"market":"lol-1"}"#, 400),
        ("halt", r#"{"market":null}"#, 400),
        ("cancel-all", r#"{"market":"lol-1"}"#, 400),
        ("log-level", "{}", 400),
        ("log-level", r#"{"level":"loud"}"#, 400),
        ("reset", "", 404),
        ("", "", 404),
        ("halt/", "", 404),
    ];
    for (n, (action, body, status)) in table.into_iter().enumerate() {
        assert_eq!(rig.call(action, Some(TOKEN), Some(&n.to_string()), body).0, status, "{action} {body}");
    }
    for id in ["", "a b", "ä", &"a".repeat(REQUEST_ID_MAX + 1), "a\"b"] {
        assert_eq!(rig.call("kill", Some(TOKEN), Some(id), "").0, 400, "{id:?}");
    }
    assert!(rig.run.told.is_empty() && rig.run.level.is_none());
    assert_eq!(rig.call("log-level", Some(TOKEN), Some("x"), r#"{"level":"debug"}"#).0, 200);
    assert_eq!(rig.run.level, Some(Level::Debug));
}

#[test]
fn strangers_neither_fill_the_disk_nor_use_up_ids() {
    let mut rig = Rig::new("strangers");
    for _ in 0..1_000 {
        assert_eq!(rig.call("kill", None, Some("mine"), "").0, 401);
    }
    assert_eq!(rig.audit().len(), 60);
    assert_eq!(rig.call("kill", Some(TOKEN), Some("mine"), "").0, 200);
    let audit = rig.audit();
    assert_eq!((audit.len(), &audit[60]["calls_without_token_not_written"]), (61, &json!(940)));
    rig.now = rig.now.plus(60_000_000_000);
    rig.call("kill", None, None, "");
    assert_eq!(rig.audit().len(), 62, "the next minute they are written again");
}

#[test]
fn what_cannot_be_written_down_is_done_only_if_it_makes_things_safer() {
    let mut rig = Rig::new("disk");
    rig.run.kill_switch = Some("manual");
    rig.admin.audit.break_file();
    assert_eq!(rig.call("kill", Some(TOKEN), Some("a"), "").0, 200);
    assert_eq!(rig.call("halt", Some(TOKEN), Some("b"), "").0, 200);
    assert_eq!(rig.call("cancel-all", Some(TOKEN), Some("c"), "").0, 200);
    for (action, body) in [("reset-kill-switch", r#"{"reason":"x"}"#), ("resume", "")] {
        let (status, said) = rig.call(action, Some(TOKEN), Some(action), body);
        assert!(status == 503 && said.contains("written down"), "{said}");
    }
    assert_eq!(rig.run.told, [ControlEvent::Kill(KillReason::Manual), ControlEvent::CancelAll]);
}

#[test]
fn a_line_cut_off_by_a_kill_hides_nothing() {
    let mut rig = Rig::new("cut");
    assert_eq!(rig.call("kill", Some(TOKEN), Some("a"), "").0, 200);
    let path = rig.dir.join(AUDIT_FILE);
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{whole}no json\n{}", &whole[..whole.len() / 2])).unwrap();
    rig.admin = open(&rig.dir);
    assert_eq!(rig.call("kill", Some(TOKEN), Some("b"), "").0, 200);
    let text = fs::read_to_string(&path).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["request_id"], "b", "it stands on a line of its own");
    rig.admin = open(&rig.dir);
    for used in ["a", "b"] {
        assert_eq!(rig.call("kill", Some(TOKEN), Some(used), "").0, 409, "{used}");
    }
}

#[test]
fn ids_are_remembered_within_a_bound() {
    let mut rig = Rig::new("bound");
    let entry = |id: &'static str| Entry { request_id: Some(id), authenticated: true, ..Entry::default() };
    rig.admin.audit.write(&entry("first")).unwrap();
    assert!(!rig.admin.audit.is_fresh("first"));
    for n in 0..10_000 {
        rig.admin.audit.remember(n.to_string());
    }
    assert!(rig.admin.audit.is_fresh("first") && !rig.admin.audit.is_fresh("0"));
}
