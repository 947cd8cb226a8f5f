//! Disks: how much room is left.

use std::{ffi::CString, os::unix::ffi::OsStrExt, path::Path};

/// Bytes that an ordinary user may still write where `path` is; `None` where the system does not say.
#[allow(unsafe_code)]
pub fn free_bytes(path: &Path) -> Option<u64> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut room = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: `path` ends with a zero byte and `room` is as large as the call writes; both live beyond it.
    let failed = unsafe { libc::statvfs(path.as_ptr(), room.as_mut_ptr()) } != 0;
    // SAFETY: a structure of integers, zeroed before and filled by a call that did not fail.
    (!failed).then(|| unsafe { room.assume_init() }).map(|r| r.f_bavail.saturating_mul(r.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_there_has_room_and_one_that_is_not_has_none() {
        assert!(free_bytes(&std::env::temp_dir()).is_some_and(|n| n > 0));
        assert_eq!(free_bytes(Path::new("/there/is/nothing/here")), None);
    }
}
