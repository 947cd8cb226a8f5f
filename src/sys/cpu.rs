//! Which cores we may use, and pinning a thread to one of them.

use core_affinity::CoreId;

/// Numbers of the cores that this process may run on, ascending: its affinity mask. Never empty.
pub fn allowed() -> Vec<usize> {
    let mut cores: Vec<usize> = core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|c| c.id).collect();
    cores.sort_unstable();
    cores.dedup();
    if cores.is_empty() { vec![0] } else { cores }
}

/// Pins the calling thread to one core. False if the system refuses; the thread then floats, slower but correct.
pub fn pin_current_thread(core: usize) -> bool {
    core_affinity::set_for_current(CoreId { id: core })
}

#[cfg(test)]
mod tests {
    use super::*;

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
