//! The rules of payoffs, as tables. A is the first team; `½` is a half.

use super::*;
use MarketKind::{Handicap, Map, Other, Series, Total};
use Team::{First as A, Second as B};

fn best_of(n: u8) -> Lattice {
    Lattice::new(n).expect("1, 3 or 5")
}

fn maps(text: &str) -> Maps {
    text.chars().fold(Maps::NONE, |maps, c| maps.and(if c == 'A' { A } else { B }))
}

fn state(lattice: &Lattice, text: &str) -> State {
    let found = lattice.states().iter().find(|s| s.to_string() == text);
    *found.unwrap_or_else(|| panic!("no state {text:?}"))
}

/// `1`, `½`, `0`, or two of them with a stroke between.
fn shown(pays: Option<Pays>) -> String {
    let one = |halves| ["0", "½", "1"][usize::from(halves)];
    match pays {
        None => "-".into(),
        Some(Pays::Sure(halves)) => one(halves).into(),
        Some(Pays::Either(a, b)) => format!("{}/{}", one(a), one(b)),
    }
}

/// The least that some tokens pay together in a state, in halves; each market is named with the team to win it.
fn least(lattice: &Lattice, state: State, tokens: &[(MarketKind, Team)]) -> u8 {
    let readings = [false, true];
    let sum = |second| tokens.iter().map(|(k, t)| lattice.payoff(state, *k, *t).unwrap().read(second)).sum();
    readings.into_iter().map(sum).min().unwrap()
}

#[test]
fn a_match_has_5_21_or_77_states() {
    for (n, count) in COUNTS {
        let lattice = best_of(n);
        assert_eq!(lattice.states().len(), count, "best of {n}");
        assert_eq!(lattice.all().count(), count);
        let mut texts: Vec<_> = lattice.states().iter().map(State::to_string).collect();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), count, "each is another one");
    }
    for n in [0, 2, 4, 6, 7, 255] {
        assert!(Lattice::new(n).is_none(), "best of {n}");
    }
}

#[test]
fn their_order_never_changes() {
    let texts = |n| best_of(n).states().iter().map(State::to_string).collect::<Vec<_>>();
    assert_eq!(texts(1), ["nil abandoned", "nil forfeit to A", "nil forfeit to B", "A", "B"]);
    let three = [
        "nil abandoned",
        "nil forfeit to A",
        "nil forfeit to B",
        "A abandoned",
        "A forfeit to A",
        "A forfeit to B",
        "B abandoned",
        "B forfeit to A",
        "B forfeit to B",
        "AA",
        "AB abandoned",
        "AB forfeit to A",
        "AB forfeit to B",
        "BA abandoned",
        "BA forfeit to A",
        "BA forfeit to B",
        "BB",
        "ABA",
        "ABB",
        "BAA",
        "BAB",
    ];
    assert_eq!(texts(3), three);
    let five = texts(5);
    assert_eq!((five[0].as_str(), five[76].as_str()), ("nil abandoned", "BBAAB"));
}

#[test]
fn what_fits() {
    let table: [(MarketKind, [bool; 3]); 22] = [
        (Series, [true, true, true]),
        (Map(0), [false, false, false]),
        (Map(1), [true, true, true]),
        (Map(2), [false, true, true]),
        (Map(3), [false, true, true]),
        (Map(4), [false, false, true]),
        (Map(5), [false, false, true]),
        (Map(6), [false, false, false]),
        (Handicap(-1), [true, true, true]),
        (Handicap(3), [false, true, true]),
        (Handicap(-5), [false, false, true]),
        (Handicap(7), [false, false, false]),
        (Handicap(2), [false, false, false]),
        (Handicap(i8::MIN), [false, false, false]),
        (Total(1), [false, false, false]),
        (Total(4), [false, false, false]),
        (Total(5), [false, true, false]),
        (Total(7), [false, false, true]),
        (Total(9), [false, false, true]),
        (Total(11), [false, false, false]),
        (Total(255), [false, false, false]),
        (Other, [false, false, false]),
    ];
    for (kind, fits) in table {
        for (n, fits) in [1, 3, 5].into_iter().zip(fits) {
            let lattice = best_of(n);
            assert_eq!(lattice.fits(kind), fits, "{kind:?} in a best of {n}");
            for state in lattice.states() {
                assert_eq!(lattice.payoff(*state, kind, A).is_some(), fits, "{kind:?} in a best of {n}");
            }
        }
    }
}

#[test]
fn what_a_best_of_one_pays() {
    // State, series to A, map 1 to A, A −½.
    let table = [
        ("A", ["1", "1", "1"]),
        ("B", ["0", "0", "0"]),
        ("nil abandoned", ["½", "½", "½"]),
        ("nil forfeit to A", ["1", "1/½", "1"]),
        ("nil forfeit to B", ["0", "0/½", "0"]),
    ];
    let lattice = best_of(1);
    for (text, pays) in table {
        let state = state(&lattice, text);
        assert_eq!([Series, Map(1), Handicap(-1)].map(|k| shown(lattice.payoff(state, k, A))), pays, "{text}");
    }
}

#[test]
fn what_a_best_of_three_pays() {
    // State, then for A: series, maps 1, 2, 3, −1.5, +1.5; last: over 2.5.
    let table = [
        ("AA", ["1", "1", "1", "½", "1", "1", "0"]),
        ("BB", ["0", "0", "0", "½", "0", "0", "0"]),
        ("ABA", ["1", "1", "0", "1", "0", "1", "1"]),
        ("BAB", ["0", "0", "1", "0", "0", "1", "1"]),
        ("nil abandoned", ["½", "½", "½", "½", "½", "½", "½"]),
        ("A abandoned", ["½", "1", "½", "½", "½", "½", "½"]),
        ("AB abandoned", ["½", "1", "0", "½", "½", "½", "½"]),
        ("nil forfeit to A", ["1", "1/½", "½", "½", "1", "1", "0"]),
        ("nil forfeit to B", ["0", "0/½", "½", "½", "0", "0", "0"]),
        ("A forfeit to A", ["1", "1", "1/½", "½", "1", "1", "0"]),
        ("A forfeit to B", ["0", "1", "0/½", "½", "0", "1", "1"]),
        ("BA forfeit to A", ["1", "0", "1", "1/½", "0", "1", "1"]),
        ("BA forfeit to B", ["0", "0", "1", "0/½", "0", "1", "1"]),
    ];
    let kinds = [Series, Map(1), Map(2), Map(3), Handicap(-3), Handicap(3), Total(5)];
    let lattice = best_of(3);
    for (text, pays) in table {
        let state = state(&lattice, text);
        assert_eq!(kinds.map(|k| shown(lattice.payoff(state, k, A))), pays, "{text}");
    }
}

#[test]
fn what_a_best_of_five_pays() {
    // State, then for A: series, maps 1, 3, 4, 5, −2.5, −1.5, +1.5; last: over 3.5, over 4.5.
    let table = [
        ("AAA", ["1", "1", "1", "½", "½", "1", "1", "1", "0", "0"]),
        ("AABA", ["1", "1", "0", "1", "½", "0", "1", "1", "1", "0"]),
        ("ABBAB", ["0", "1", "0", "1", "0", "0", "0", "1", "1", "1"]),
        ("BBB", ["0", "0", "0", "½", "½", "0", "0", "0", "0", "0"]),
        ("AAB abandoned", ["½", "1", "0", "½", "½", "½", "½", "½", "½", "½"]),
        ("A forfeit to A", ["1", "1", "½", "½", "½", "1", "1", "1", "0", "0"]),
        ("AA forfeit to B", ["0", "1", "0/½", "½", "½", "0", "0", "1", "1", "1"]),
        ("ABAB forfeit to A", ["1", "1", "1", "0", "1/½", "0", "0", "1", "1", "1"]),
    ];
    let kinds = [Series, Map(1), Map(3), Map(4), Map(5), Handicap(-5), Handicap(-3), Handicap(3), Total(7), Total(9)];
    let lattice = best_of(5);
    for (text, pays) in table {
        let state = state(&lattice, text);
        assert_eq!(kinds.map(|k| shown(lattice.payoff(state, k, A))), pays, "{text}");
    }
}

#[test]
fn seen_from_the_other_team_every_market_but_a_total_pays_the_rest_of_the_pair() {
    for n in [1, 3, 5] {
        let lattice = best_of(n);
        let mirrored = [(Series, Series), (Handicap(-3), Handicap(3)), (Handicap(1), Handicap(-1))];
        let maps = (1..=n).map(|m| (Map(m), Map(m)));
        for (kind, mirror) in mirrored.into_iter().chain(maps).filter(|(k, _)| lattice.fits(*k)) {
            for state in lattice.states() {
                let read = |kind, team, second| lattice.payoff(*state, kind, team).unwrap().read(second);
                for second in [false, true] {
                    assert_eq!(read(kind, A, second) + read(mirror, B, second), 2, "{kind:?} in {state}");
                }
            }
        }
        for total in [Total(5), Total(7)].into_iter().filter(|t| lattice.fits(*t)) {
            assert!(lattice.states().iter().all(|s| lattice.payoff(*s, total, A) == lattice.payoff(*s, total, B)));
        }
    }
}

#[test]
fn only_one_map_of_one_state_can_be_read_two_ways() {
    for n in [1, 3, 5] {
        let lattice = best_of(n);
        for state in lattice.states() {
            let either = |k: &MarketKind| matches!(lattice.payoff(*state, *k, A), Some(Pays::Either(..)));
            let kinds = (-9..=9).map(Handicap).chain((0..=12).map(Total)).chain((0..=7).map(Map)).chain([Series]);
            let expected = match state.end {
                End::Forfeit(_) => vec![Map(state.prefix.played() + 1)],
                _ => vec![],
            };
            assert_eq!(kinds.filter(either).collect::<Vec<_>>(), expected, "{state}");
        }
    }
}

#[test]
fn a_sweep_pays_map_3_half() {
    let lattice = best_of(3);
    for sweep in ["AA", "BB"] {
        assert_eq!(lattice.payoff(state(&lattice, sweep), Map(3), A), Some(Pays::HALF));
    }
}

#[test]
fn the_series_to_a_and_b_plus_one_and_a_half_pay_at_least_1_everywhere() {
    let lattice = best_of(3);
    for state in lattice.states() {
        let pays = least(&lattice, *state, &[(Series, A), (Handicap(3), B)]);
        let both = ["ABA", "BAA"].contains(&state.to_string().as_str());
        assert!(pays >= 2 && (pays == 4 || !both), "{state}");
    }
}

#[test]
fn both_sweeps_and_over_pay_exactly_1_when_played_and_at_least_1_whatever_happens() {
    let lattice = best_of(3);
    for state in lattice.states() {
        let pays = least(&lattice, *state, &[(Handicap(-3), A), (Handicap(-3), B), (Total(5), A)]);
        assert!(if state.end == End::Complete { pays == 2 } else { pays >= 2 }, "{state}");
        assert!(state.end != End::Abandoned || pays == 3, "{state}: three halves");
    }
}

#[test]
fn at_one_all_the_series_is_map_3_unless_the_decider_is_forfeited_unplayed() {
    let lattice = best_of(3);
    let at_one_all = lattice.reachable_from(maps("AB"));
    assert_eq!(at_one_all.count(), 5);
    for (index, state) in lattice.states().iter().enumerate().filter(|(index, _)| at_one_all.has(*index)) {
        let (series, third) = (lattice.payoff(*state, Series, A).unwrap(), lattice.payoff(*state, Map(3), A).unwrap());
        match state.end {
            End::Complete | End::Abandoned => assert_eq!(series, third, "{index}: {state}"),
            End::Forfeit(_) => {
                let apart = |second| series.read(second).abs_diff(third.read(second));
                assert_eq!([false, true].map(apart), [0, 1], "{state}: begun, unplayed");
            }
        }
    }
}

#[test]
fn the_series_to_a_and_map_3_to_b_are_no_pair_at_nil_all() {
    let three = best_of(3);
    let tokens = [(Series, A), (Map(3), B)];
    // At 0.60 and 0.45 they cost 1.05; after a sweep by B they pay a half.
    assert_eq!(least(&three, state(&three, "BB"), &tokens), 1);
    assert_eq!(least(&three, state(&three, "nil forfeit to B"), &tokens), 1);
    // In a best of five A can win map 3 and lose: nothing at all.
    let five = best_of(5);
    assert_eq!(least(&five, state(&five, "BBAB"), &tokens), 0);
}

#[test]
fn what_a_payout_tells_of_the_rest() {
    let lattice = best_of(3);
    let texts = |set: States| {
        let named = lattice.states().iter().enumerate().filter(|(index, _)| set.has(*index));
        named.map(|(_, s)| s.to_string()).collect::<Vec<_>>()
    };
    // Map 3 to A: it was played, or forfeited to A after it began.
    let third = lattice.consistent_with(Map(3), A, Payout::Yes);
    assert_eq!(texts(third), ["AB forfeit to A", "BA forfeit to A", "ABA", "BAA"]);
    let over = lattice.consistent_with(Total(5), A, Payout::Yes);
    let b_took_it = lattice.consistent_with(Series, B, Payout::Yes);
    assert_eq!(texts(over.and(b_took_it)), ["A forfeit to B", "AB forfeit to B", "BA forfeit to B", "ABB", "BAB"]);
    // The series paid a half: abandoned, whatever was played.
    assert_eq!(lattice.consistent_with(Series, A, Payout::Half).count(), 5);
    assert_eq!(lattice.consistent_with(Other, A, Payout::Yes), lattice.all(), "it says nothing");
    assert!(lattice.consistent_with(Series, A, Payout::Yes).and(b_took_it).is_empty());
}

#[test]
fn what_is_decided() {
    let lattice = best_of(3);
    let after = |text| lattice.reachable_from(maps(text));
    assert_eq!(lattice.decided(Map(1), A, after("A")), Some(Payout::Yes));
    assert_eq!(lattice.decided(Map(1), B, after("A")), Some(Payout::No));
    assert_eq!(lattice.decided(Series, A, after("A")), None);
    assert_eq!(lattice.decided(Series, A, after("AA")), Some(Payout::Yes));
    assert_eq!(lattice.decided(Map(3), A, after("AA")), Some(Payout::Half));
    assert_eq!(lattice.decided(Total(5), A, after("AA")), Some(Payout::No));
    assert_eq!(lattice.decided(Other, A, after("AA")), None);
    assert_eq!(lattice.decided(Series, A, States::NONE), None);
    assert_eq!(lattice.decided(Map(3), A, lattice.consistent_with(Map(3), A, Payout::Yes)), None, "two readings");
    assert_eq!(lattice.reachable_from(Maps::NONE), lattice.all());
    assert!(lattice.reachable_from(maps("AAA")).is_empty(), "it was over");
}

#[test]
fn maps_are_read_back() {
    let played = maps("ABB");
    assert_eq!((played.played(), played.won(A), played.won(B)), (3, 1, 2));
    assert_eq!([0, 1, 2, 3, 4].map(|n| played.winner(n)), [None, Some(A), Some(B), Some(B), None]);
    assert!(played.began_with(maps("AB")) && played.began_with(Maps::NONE) && played.began_with(played));
    assert!(!played.began_with(maps("AA")) && !played.began_with(maps("ABBA")));
    assert_eq!(maps("BBBBBBBB").and(A), maps("BBBBBBBB"), "no more than are kept");
}
