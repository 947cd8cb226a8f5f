//! Many matches at once: workers take the next number, results go back into its place.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

/// How often whoever waits is told how far it is.
const TELL_EVERY: Duration = Duration::from_millis(250);

/// Does `count` pieces of work on `jobs` threads and gives the results in the order of their numbers, whoever did them.
/// `progress` hears how many are done, on the caller's thread; false stops the rest, and `None` comes back.
pub fn each<T: Send>(
    count: usize,
    jobs: usize,
    work: impl Fn(usize) -> T + Sync,
    mut progress: impl FnMut(usize) -> bool,
) -> Option<Vec<T>> {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let results: Mutex<Vec<Option<T>>> = Mutex::new((0..count).map(|_| None).collect());
    let (told, heard) = mpsc::channel();
    let (mut done, mut wanted) = (0, true);
    thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, count.max(1)) {
            let told = told.clone();
            let (next, stop, results, work) = (&next, &stop, &results, &work);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        break;
                    }
                    let result = work(n);
                    if let Ok(mut results) = results.lock() {
                        results[n] = Some(result);
                    }
                    // Nobody listens any more when the rest was given up.
                    let _ = told.send(());
                }
            });
        }
        drop(told);
        loop {
            match heard.recv_timeout(TELL_EVERY) {
                Ok(()) => done += 1,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
            if !progress(done) {
                wanted = false;
                stop.store(true, Ordering::Relaxed);
            }
        }
    });
    if !wanted {
        return None;
    }
    results.into_inner().ok()?.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_back_in_their_places_whoever_did_them() {
        for jobs in [1, 2, 7] {
            let mut seen = 0;
            let squares = each(
                50,
                jobs,
                |n| n * n,
                |done| {
                    seen = done;
                    true
                },
            );
            assert_eq!(squares, Some((0..50).map(|n| n * n).collect::<Vec<_>>()), "{jobs} jobs");
            assert_eq!(seen, 50);
        }
        assert_eq!(each(0, 2, |n| n, |_| true), Some(Vec::new()));
        assert_eq!(each(50, 2, |n| n, |_| false), None, "given up");
    }
}
