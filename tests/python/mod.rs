//! The official Python client of the venue, where it can be had.

use std::{
    path::{Path, PathBuf},
    process::{Command as Process, Stdio},
    sync::Mutex,
};

/// The version that the reference describes.
const PACKAGE: &str = "py-clob-client-v2==1.2.1";
/// One at a time makes the environment.
static MAKING: Mutex<()> = Mutex::new(());

/// A Python that has the package; made once below `target/`. Errors: why it cannot be had.
pub fn with_stock_client() -> Result<PathBuf, String> {
    let _making = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stock-client");
    let python = home.join("bin/python");
    let run = |what: &mut Process| {
        let out = what.stdin(Stdio::null()).output().map_err(|e| format!("{what:?}: {e}"))?;
        match out.status.success() {
            true => Ok(()),
            false => Err(format!("{what:?}: {}", String::from_utf8_lossy(&out.stderr))),
        }
    };
    let has_package = |python: &Path| run(Process::new(python).args(["-c", "import py_clob_client_v2"]));
    if has_package(&python).is_err() {
        run(Process::new("python3").args(["-m", "venv", "--clear"]).arg(&home))?;
        run(Process::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE]))?;
        has_package(&python)?;
    }
    Ok(python)
}
