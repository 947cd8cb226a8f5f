//! Files as memory: what is written there survives the death of the process at once, and costs no system call.

use std::{fs::File, io};

use memmap2::MmapMut;

/// Maps a whole file, which the caller has locked and given its length.
#[allow(unsafe_code)]
pub fn writable(file: &File) -> io::Result<MmapMut> {
    // SAFETY: a mapping is undefined only if the file is changed or cut short underneath it. Its one user holds an
    // exclusive lock on the file for as long as it is mapped, and every program of ours asks for that lock first.
    unsafe { MmapMut::map_mut(file) }
}
