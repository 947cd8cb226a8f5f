//! The operator's token: from the environment, or made once and kept in a file that only its owner reads.

use std::{
    fmt, fs,
    io::{ErrorKind, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The environment variable that sets the token.
pub const TOKEN_VARIABLE: &str = "POLYLOLY_ADMIN_TOKEN";
/// The file that holds a token of our own making.
pub const TOKEN_FILE: &str = "admin-token";
/// The shortest token that is taken.
pub const TOKEN_MIN: usize = 16;
/// The longest.
const TOKEN_MAX: u64 = 1_024;

/// A token that can be compared and nothing else: only its hash is kept.
pub struct Token([u8; 32]);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Where the token is, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// In the environment.
    Environment,
    /// In this file.
    File(PathBuf),
}

impl fmt::Display for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => write!(f, "in {TOKEN_VARIABLE}"),
            Self::File(path) => write!(f, "in {}", path.display()),
        }
    }
}

impl Token {
    /// A token. Errors: too short to be safe.
    pub fn new(text: &[u8]) -> Result<Self, String> {
        let text = text.trim_ascii();
        if text.len() < TOKEN_MIN {
            return Err(format!("the admin token has {} characters; it needs at least {TOKEN_MIN}", text.len()));
        }
        Ok(Self(Sha256::digest(text).into()))
    }

    /// The token of the environment if it is set, or else the one in the file below `dir`, which is made if it is not
    /// there. It is kept for the next run: two runs in one place share it, and the operator's notes stay true.
    /// Errors say what to do.
    pub fn find(given: Option<&[u8]>, dir: &Path) -> Result<(Self, TokenSource), String> {
        if let Some(given) = given {
            let token = Self::new(given).map_err(|e| format!("{TOKEN_VARIABLE}: {e}"))?;
            return Ok((token, TokenSource::Environment));
        }
        let path = dir.join(TOKEN_FILE);
        let text = match make(dir, &path) {
            Ok(text) => Ok(text),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => read(&path),
            Err(e) => Err(e.to_string()),
        };
        let place = |e| format!("{}: {e}; or set {TOKEN_VARIABLE}", path.display());
        let token = text.and_then(|text| Self::new(text.as_bytes())).map_err(place)?;
        Ok((token, TokenSource::File(path)))
    }

    /// Compares in a time that says nothing about how much of it is right: hashes of one length, all of them looked at.
    pub fn is(&self, presented: &[u8]) -> bool {
        let presented: [u8; 32] = Sha256::digest(presented).into();
        let different = self.0.iter().zip(presented).fold(0, |acc, (a, b)| acc | (a ^ b));
        std::hint::black_box(different) == 0
    }
}

/// A new token in a new file.
fn make(dir: &Path, path: &Path) -> std::io::Result<Zeroizing<String>> {
    fs::create_dir_all(dir)?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut bytes = Zeroizing::new([0_u8; 32]);
    let written = getrandom::fill(&mut *bytes).map_err(std::io::Error::other).and_then(|()| {
        let text: Zeroizing<String> = Zeroizing::new(bytes.iter().map(|b| format!("{b:02x}")).collect());
        file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")).and_then(|()| file.sync_all())?;
        Ok(text)
    });
    if written.is_err() {
        // Half a token is no token; the next start makes a whole one.
        let _ = fs::remove_file(path);
    }
    written
}

/// The token of an earlier run, if nobody else could read or have written it.
fn read(path: &Path) -> Result<Zeroizing<String>, String> {
    let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path);
    let mut file = file.map_err(|e| e.to_string())?;
    let facts = file.metadata().map_err(|e| e.to_string())?;
    let mode = facts.permissions().mode() & 0o777;
    if !facts.is_file() || mode & 0o077 != 0 {
        return Err(format!(
            "others may read or write it (mode {mode:o}); delete it, and the next start makes a new one"
        ));
    }
    if fs::metadata("/proc/self").is_ok_and(|me| me.uid() != facts.uid()) {
        return Err("it belongs to another user; delete it, and the next start makes a new one".into());
    }
    let mut text = Zeroizing::new(String::new());
    (&mut file).take(TOKEN_MAX).read_to_string(&mut text).map_err(|e| e.to_string())?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("polyloly-token-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    #[test]
    fn only_the_whole_token_is_the_token() {
        let token = Token::new(b"  0123456789abcdef\n").unwrap();
        for (presented, right) in [
            (&b"0123456789abcdef"[..], true),
            (b"0123456789abcdeg", false),
            (b"0123456789abcde", false),
            (b"0123456789abcdef0", false),
            (b"", false),
        ] {
            assert_eq!(token.is(presented), right, "{presented:?}");
        }
        assert_eq!(format!("{token:?}"), "Token(…)");
        assert!(Token::new(b"0123456789abcde").unwrap_err().contains("at least 16"));
        assert!(Token::find(Some(b"short"), Path::new("")).unwrap_err().contains(TOKEN_VARIABLE));
    }

    #[test]
    fn a_token_is_made_once_for_its_owner_alone() {
        let dir = scratch("made");
        let (first, source) = Token::find(None, &dir).unwrap();
        let path = dir.join(TOKEN_FILE);
        assert_eq!(source, TokenSource::File(path.clone()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.trim().len() == 64 && first.is(text.trim().as_bytes()));
        let (again, _) = Token::find(None, &dir).unwrap();
        assert!(again.is(text.trim().as_bytes()), "it is kept");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Token::find(None, &dir).unwrap_err().contains("others may read"));
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(dir.join("elsewhere"), &path).unwrap();
        assert!(Token::find(None, &dir).is_err(), "a link is not followed");
        fs::remove_dir_all(&dir).unwrap();
    }
}
