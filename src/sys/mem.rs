//! Memory: how much of it we hold.

/// Resident set of this process in bytes; `None` where the system does not say.
pub fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * page_bytes())
}

/// Size of a page in bytes.
#[allow(unsafe_code)]
fn page_bytes() -> u64 {
    // SAFETY: sysconf reads a constant of the system; it takes no pointer and has no precondition.
    let n = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(n).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touching_pages_makes_them_resident() {
        let before = resident_bytes().expect("linux");
        // Zeroed memory of this size is only promised by the system, not there yet.
        let mut buffer = vec![0_u8; 32 << 20];
        for byte in buffer.iter_mut().step_by(4096) {
            *std::hint::black_box(byte) = 0;
        }
        let after = resident_bytes().expect("linux");
        assert!(after >= before + (24 << 20), "{before} {after}");
    }
}
