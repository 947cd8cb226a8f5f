//! Which cores we may use, and pinning a thread to one of them.

use core_affinity::CoreId;

/// Numbers of the cores that this process runs on unless told otherwise, ascending: its affinity mask. Never empty.
pub fn allowed() -> Vec<usize> {
    let mut cores: Vec<usize> = core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|c| c.id).collect();
    cores.sort_unstable();
    cores.dedup();
    if cores.is_empty() { vec![0] } else { cores }
}

/// Numbers of the cores that a thread of ours can be pinned to, ascending. More than the mask where cores are isolated:
/// the system keeps everybody off those who does not ask for one by number.
pub fn usable() -> Vec<usize> {
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let mut cores = allowed();
    cores.extend(parse_list(&online));
    cores.sort_unstable();
    cores.dedup();
    // Only trying tells what a container lets us have; on a thread of its own, which keeps nobody's mask.
    let tried = std::thread::spawn(|| cores.into_iter().filter(|&c| pin_current_thread(c)).collect::<Vec<_>>());
    tried.join().ok().filter(|cores| !cores.is_empty()).unwrap_or_else(allowed)
}

/// The kernel's list format: `0-3,8`. What cannot be read is left out.
fn parse_list(text: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

/// Pins the calling thread to one core. False if the system refuses; the thread then floats, slower but correct.
pub fn pin_current_thread(core: usize) -> bool {
    core_affinity::set_for_current(CoreId { id: core })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_list_of_cores_is_read() {
        assert_eq!(parse_list("0-3,8\n"), [0, 1, 2, 3, 8]);
        assert_eq!(parse_list("0"), [0]);
        assert_eq!(parse_list("x,,2"), [2]);
    }

    #[test]
    fn every_allowed_core_is_usable() {
        let usable = usable();
        assert!(allowed().iter().all(|c| usable.contains(c)), "{usable:?}");
    }

    #[test]
    fn an_allowed_core_can_be_pinned_and_a_fantastic_one_cannot() {
        let cores = allowed();
        assert!(cores.is_sorted());
        // On a thread of its own, so that the test runner's thread keeps its mask.
        let pinned = std::thread::spawn(move || {
            let ok = pin_current_thread(cores[0]);
            (ok, cores[0], allowed())
        });
        let (ok, core, mask) = pinned.join().expect("thread ends");
        assert!(ok);
        assert_eq!(mask, [core]);
        assert!(!std::thread::spawn(|| pin_current_thread(1_000)).join().expect("thread ends"));
    }
}
