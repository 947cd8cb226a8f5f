//! What is wrong with a parameter, said so that it can be mended.

use core::fmt;

/// A value that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadParam {
    /// Where: `risk.order_usdc`.
    pub key: String,
    /// What it is.
    pub value: String,
    /// What would be right.
    pub right: &'static str,
}

impl fmt::Display for BadParam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}: must be {}", self.key, self.value, self.right)
    }
}

/// Collects every bad value of one section, so that all are told at once.
#[derive(Debug)]
pub struct BadParams {
    section: &'static str,
    bad: Vec<BadParam>,
}

impl BadParams {
    /// None yet.
    pub fn new(section: &'static str) -> Self {
        Self { section, bad: Vec::new() }
    }

    /// Notes `key` unless `ok`.
    pub fn check(&mut self, key: &str, value: impl fmt::Display, ok: bool, right: &'static str) {
        if !ok {
            self.bad.push(BadParam { key: format!("{}.{key}", self.section), value: value.to_string(), right });
        }
    }

    /// All of them.
    pub fn into_result(self) -> Result<(), Vec<BadParam>> {
        if self.bad.is_empty() { Ok(()) } else { Err(self.bad) }
    }
}
