//! Who runs where, for every number of cores: a row per rule.

use polyloly_fast::topology::{Idle, Plan, PlanError, RINGS, Request};

fn plan(cores: &[usize]) -> Plan {
    let allowed: Vec<usize> = (0..16).collect();
    let request = Request {
        cores: Some(cores),
        allowed: &allowed,
        usable: &allowed,
        feed_tiles: 3,
        venue: true,
        ..Request::default()
    };
    Plan::new(&request).expect("a plan")
}

/// `core:tile+tile!` for each thread; `!` marks one that spins.
fn short(plan: &Plan) -> String {
    let threads: Vec<String> = plan
        .threads
        .iter()
        .map(|t| {
            let tiles: Vec<String> = t.tiles.iter().map(ToString::to_string).collect();
            format!("{}:{}{}", t.core, tiles.join("+"), if t.idle == Idle::Spin { "!" } else { "" })
        })
        .collect();
    threads.join(" ")
}

#[test]
fn tiles_are_dealt_to_the_cores() {
    let table: [(&[usize], &str); 7] = [
        (&[0], "0:feed+hot+gateway+cold 0:venue"),
        (&[0, 1], "0:feed+hot+gateway! 1:cold 1:venue"),
        (&[1, 0], "1:feed+hot+gateway! 0:cold 0:venue"),
        (&[0, 1, 2], "0:feed+hot! 1:gateway! 2:cold 2:venue"),
        (&[2, 3, 4, 5], "2:feed! 3:hot! 4:gateway! 5:cold 5:venue"),
        (&[0, 1, 2, 3, 4, 5], "0:feed! 1:feed.1! 2:feed.2! 3:hot! 4:gateway! 5:cold 5:venue"),
        (&[0, 1, 2, 3, 4, 5, 6, 7], "0:feed! 1:feed.1! 2:feed.2! 5:hot! 6:gateway! 7:cold 7:venue"),
    ];
    for (cores, want) in table {
        assert_eq!(short(&plan(cores)), want, "--cores {cores:?}");
    }
    // Three markets give work to three feed tiles, so two of eight cores stay free.
    assert_eq!(plan(&[0, 1, 2, 3, 4, 5, 6, 7]).unused, [3, 4]);
}

#[test]
fn two_that_spin_never_share_a_core() {
    for n in 1..=12 {
        for share in [false, true] {
            let allowed: Vec<usize> = (0..12).collect();
            // With sharing, every core is one of two.
            let cores: Vec<usize> = (0..n).map(|i| if share { i % 2 } else { i }).collect();
            let request = Request {
                cores: Some(&cores),
                allowed: &allowed,
                usable: &allowed,
                share_cores: share,
                feed_tiles: 9,
                venue: true,
            };
            let plan = Plan::new(&request).expect("a plan");
            for (i, thread) in plan.threads.iter().enumerate() {
                let alone = plan.threads.iter().enumerate().all(|(j, t)| i == j || t.core != thread.core);
                assert!(thread.idle == Idle::Block || alone, "{n} cores, share {share}: {}", short(&plan));
            }
        }
    }
}

#[test]
fn the_affinity_mask_is_the_default() {
    let request = Request { allowed: &[3, 7], feed_tiles: 1, ..Request::default() };
    assert_eq!(short(&Plan::new(&request).expect("a plan")), "3:feed+hot+gateway! 7:cold");
}

#[test]
fn impossible_requests_are_refused_with_what_would_be_right() {
    let ask = |cores: &[usize]| {
        Plan::new(&Request { cores: Some(cores), allowed: &[0, 1], feed_tiles: 1, ..Request::default() })
    };
    assert_eq!(ask(&[0, 0]), Err(PlanError::Twice(0)));
    assert_eq!(ask(&[]), Err(PlanError::NoCores));
    assert_eq!(ask(&[0, 9]), Err(PlanError::NoSuchCore(9, vec![0, 1])));
    let said = ask(&[0, 9]).expect_err("no core 9").to_string();
    assert_eq!(said, "core 9 does not exist or may not be used here; there are 0, 1");
}

#[test]
fn the_map_is_readable() {
    let map = plan(&[0, 1]).to_string();
    assert_eq!(map.lines().next(), Some("core   0  feed → hot → gateway         spins"));
    assert_eq!(map.lines().count(), 3);
    let json = serde_json::to_value(plan(&[0, 1])).expect("serialises");
    assert_eq!(json["threads"][0]["tiles"][2], "gateway");
    assert_eq!(json["threads"][1]["idle"], "block");
}

#[test]
fn every_ring_is_named_once() {
    let mut names: Vec<&str> = RINGS.iter().map(|r| r.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), RINGS.len());
    assert!(RINGS.iter().all(|r| r.depth.is_power_of_two()));
}
