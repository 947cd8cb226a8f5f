//! A faults file: read whole, or refused by line and key.

use serde::Deserialize;

use super::{FAULTS_MAX, Fault};
use crate::venue::limits::Limits;

/// A faults file.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// For probabilities; the venue's own seed if left out.
    pub seed: Option<u64>,
    /// Per-signer limits.
    pub limits: Limits,
    /// In order.
    pub faults: Vec<Fault>,
}

impl Plan {
    /// Reads a TOML file's text. The error names line and key.
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Read {
            seed: Option<u64>,
            #[serde(default)]
            limits: Limits,
            #[serde(default, rename = "fault")]
            faults: Vec<toml::Spanned<Fault>>,
        }
        let read: Read = toml::from_str(text).map_err(|e| {
            let at = e.span().map_or(0, |s| s.start);
            format!("line {}: {}{}", line_of(text, at), e.message(), named(text, at))
        })?;
        if read.faults.len() > FAULTS_MAX {
            return Err(format!("line 1: fault: {} faults, at most {FAULTS_MAX}", read.faults.len()));
        }
        let mut ids = std::collections::BTreeSet::new();
        for spanned in &read.faults {
            let fault = spanned.get_ref();
            let at = spanned.span().start;
            fault
                .check()
                .map_err(|(key, wrong)| format!("line {}: key `{key}` {wrong}", line_of_key(text, at, key)))?;
            if fault.id.as_ref().is_some_and(|id| !ids.insert(id.clone())) {
                return Err(format!("line {}: key `id` is used twice", line_of_key(text, at, "id")));
            }
        }
        Ok(Self {
            seed: read.seed,
            limits: read.limits,
            faults: read.faults.into_iter().map(|s| s.into_inner()).collect(),
        })
    }
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count()
}

/// The key on the line of an error, where the message does not say it.
fn named(text: &str, at: usize) -> String {
    let line = text.lines().nth(line_of(text, at) - 1).unwrap_or_default();
    line.split_once('=').map_or_else(String::new, |(key, _)| format!(" (key `{}`)", key.trim()))
}

/// The line where a table that begins at `at` sets a key, or where the table begins.
fn line_of_key(text: &str, at: usize, key: &str) -> usize {
    let first = line_of(text, at);
    let sets = |l: &str| l.split_once('=').is_some_and(|(k, _)| k.trim() == key);
    let body = text.lines().enumerate().skip(first - 1);
    let own = body.take_while(|(n, l)| *n < first || !l.trim_start().starts_with('['));
    own.filter(|(_, l)| sets(l)).map(|(n, _)| n + 1).next().unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_and_a_bad_one_is_refused_by_line_and_key() {
        let good = "seed = 3\n[limits]\ntier = \"standard\"\nenforce = true\n\n[[fault]]\nwhat = \"stall_after_accept\"\n\
                    route = \"POST /order\"\nnth = 2\nms = 500\n";
        let plan = Plan::parse(good).unwrap();
        assert_eq!((plan.seed, plan.faults.len(), plan.faults[0].ms), (Some(3), 1, Some(500)));
        for (text, line, word) in [
            ("[[fault]]\nwhat = \"stal\"\n", 2, "stal"),
            ("[[fault]]\nwhat = \"slow\"\n\n", 1, "`ms`"),
            ("\n[[fault]]\nwhat = \"slow\"\nms = 3\ntick = \"0.01\"\n", 5, "`tick`"),
            (
                "[[fault]]\nwhat = \"slow\"\nms = 3\n[[fault]]\nwhat = \"slow\"\nms = 1\nprobability = 2.0\n",
                7,
                "`probability`",
            ),
            ("[[fault]]\nwhat = \"slow\"\nms = -3\n", 3, "ms"),
            ("[[fault]]\nwhat = \"slow\"\nmz = 3\n", 3, "mz"),
            ("seeds = 1\n", 1, "seeds"),
            ("[limits]\ntier = \"tin\"\n", 2, "tin"),
            ("[[fault]]\nwhat = \"tick_size\"\ntick = \"0.03\"\n", 3, "`tick`"),
            ("[[fault]]\nwhat = \"disconnect\"\nkind = \"mined\"\n", 3, "`kind`"),
            ("[[fault]]\nwhat = \"html\"\nhttp_status = 99\n", 3, "`http_status`"),
            ("[[fault]]\nid = \"a\"\nwhat = \"close\"\n[[fault]]\nid = \"a\"\nwhat = \"close\"\n", 5, "`id`"),
            ("[[fault]\n", 1, ""),
        ] {
            let said = Plan::parse(text).unwrap_err();
            assert!(said.starts_with(&format!("line {line}:")) && said.contains(word), "{text:?}: {said}");
        }
    }
}
