//! One instance at a time: a file that a process holds for as long as it lives, however it dies.

use std::{
    fmt,
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

/// Why a lock was not taken.
#[derive(Debug)]
pub enum LockError {
    /// Somebody else holds it; the process, if the file says.
    Held(PathBuf, Option<u32>),
    /// The system said no.
    Io(PathBuf, io::Error),
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held(path, Some(pid)) => write!(f, "{} is held by process {pid}", path.display()),
            Self::Held(path, None) => write!(f, "{} is held by another process", path.display()),
            Self::Io(path, e) => write!(f, "{} cannot be locked: {e}", path.display()),
        }
    }
}

impl std::error::Error for LockError {}

/// A lock that is held until it is dropped, or its process is gone.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a file, which is made if need be and says who holds it.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let io = |e| LockError::Io(path.to_owned(), e);
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // For people only: what cannot be read is not told.
                let _ = Read::by_ref(&mut file).take(32).read_to_string(&mut text);
                return Err(LockError::Held(path.to_owned(), text.trim().parse().ok()));
            }
            Err(TryLockError::Error(e)) => return Err(io(e)),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(io)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_and_told_who_the_first_is() {
        let path = std::env::temp_dir().join(format!("polyloly-lock-{}", std::process::id()));
        let first = Lock::take(&path).unwrap();
        let Err(LockError::Held(_, holder)) = Lock::take(&path) else { panic!("held twice") };
        assert_eq!(holder, Some(std::process::id()));
        drop(first);
        drop(Lock::take(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
    }
}
