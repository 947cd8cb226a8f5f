//! `polyloly-fast dead-letters list|show|replay`: messages that could not be read, and what they would have been.
//!
//! It reads files and prints words. It can reach no order: it names neither engine nor gateway nor signer, and
//! `tests/tidy.rs` holds it to that.

use std::{
    collections::HashMap,
    fmt::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Subcommand;
use serde_json::{Value, json};

use super::{decode, exit};
use crate::{
    cold::{
        dead_letters::{FILE, Kept, Letter, OLDER_FILE, Parsers, Reading, State},
        journal::Reader,
    },
    stage::dead_letter::Source,
};

/// Messages that could not be read: lists them, shows one, or reads them again with the parsers of this version.
///
/// A replay prints what a message would have been. It changes nothing, and nothing that it reads can become an order.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

/// Where the letters are, and how they are printed.
#[derive(clap::Args, Debug)]
struct Place {
    /// The directory that holds the journals (journal.dir), or the journal of one run in it
    #[arg(long, value_name = "DIR", default_value = "journal")]
    journal: PathBuf,
    /// Print one JSON object a letter, one a line
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// One line a letter, oldest first
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Everything that is known of one letter
    Show {
        /// The letter's id, or as much of its beginning as tells it from the others
        id: String,
        #[command(flatten)]
        place: Place,
    },
    /// Reads letters again: what would they have been? Exit 1 if any still cannot be read
    Replay {
        /// The letter's id, or as much of its beginning as tells it from the others
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        id: Option<String>,
        /// Every letter
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        place: Place,
    },
}

/// Runs it.
pub fn run(args: Args) -> ExitCode {
    let (Command::List { place } | Command::Show { place, .. } | Command::Replay { place, .. }) = &args.command;
    let (dir, kept) = match open(&place.journal) {
        Ok(found) => found,
        Err(why) => return refuse(exit::USAGE, &why),
    };
    if kept.unreadable > 0 {
        eprintln!("{} lines are no letters and were passed over", kept.unreadable);
    }
    let one = |id: &str| kept.find(id).map(std::slice::from_ref);
    match &args.command {
        Command::List { place } => list(&kept.letters, place.json),
        Command::Show { id, place } => match one(id) {
            Ok([letter, ..]) => print!("{}", if place.json { format!("{}\n", json!(letter)) } else { page(letter) }),
            Ok([]) => {}
            Err(why) => return refuse(exit::USAGE, &why),
        },
        Command::Replay { id, place, .. } => {
            let letters = match id {
                Some(id) => one(id),
                None => Ok(kept.letters.as_slice()),
            };
            match letters {
                Ok(letters) => return replay(&dir, letters, place.json),
                Err(why) => return refuse(exit::USAGE, &why),
            }
        }
    }
    exit::DONE.into()
}

fn refuse(code: u8, why: &str) -> ExitCode {
    eprintln!("{why}");
    code.into()
}

/// The directory with the letters, and what is in it: they stand beside the journals, also when one of those is named.
fn open(dir: &Path) -> Result<(PathBuf, Kept), String> {
    let has_letters = |dir: &Path| [FILE, OLDER_FILE].iter().any(|name| dir.join(name).exists());
    let above = dir.join("..");
    let place = if !has_letters(dir) && dir.is_dir() && has_letters(&above) { above } else { dir.to_owned() };
    if !place.is_dir() {
        return Err(format!("{} is no directory; --journal names the one that holds the journals", dir.display()));
    }
    let kept = Kept::read(&place).map_err(|e| format!("{}: {e}", place.display()))?;
    Ok((place, kept))
}

fn list(letters: &[Letter], json: bool) {
    if json {
        letters.iter().for_each(|letter| println!("{}", json!(letter)));
        return;
    }
    if letters.is_empty() {
        println!("no dead letters");
        return;
    }
    println!("{:<12}  {:<23}  {:<7}  {:<20}  {:>7}  {:<10}  run", "id", "received", "source", "why", "bytes", "state");
    for l in letters {
        let time = l.received_at.get(..23).unwrap_or(&l.received_at);
        let (source, run) = (printable(&l.source), printable(&l.run));
        let (why, state) = (printable(&why(l)), l.state.as_str());
        println!("{:<12}  {time:<23}  {source:<7}  {why:<20}  {:>7}  {state:<10}  {run}", printable(&l.id), l.length);
    }
}

/// Why it could not be read: `field price`.
fn why(letter: &Letter) -> String {
    match &letter.field {
        Some(field) => format!("{} {field}", letter.reason),
        None => letter.reason.clone(),
    }
}

/// Text from outside, with nothing in it that a terminal would obey.
fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

fn page(letter: &Letter) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<9} {}", printable(value));
    };
    line("id", &letter.id);
    line("received", &letter.received_at);
    line("run", &letter.run);
    line("source", &format!("{}, socket {}", letter.source, letter.line));
    line("why", &format!("{}, by the parser of version {}", why(letter), letter.parser_version));
    line(
        "state",
        &match letter.state {
            State::New => "new: the run ended before it was tried again".into(),
            State::Dead => format!("dead after {} more tries", letter.attempts),
            State::Understood => format!("understood at try {}, and not applied", letter.attempts),
        },
    );
    let kept = if letter.is_whole() { "all of it is kept" } else { "the beginning is kept" };
    line("length", &format!("{} bytes, {kept}; xxh3 {}", letter.length, letter.xxh3));
    match (&letter.payload, &letter.payload_base64) {
        (Some(payload), _) => line("payload", payload),
        (None, base64) => line("base64", base64.as_deref().unwrap_or("")),
    }
    text
}

fn replay(dir: &Path, letters: &[Letter], json: bool) -> ExitCode {
    let mut parsers = HashMap::new();
    let mut failed = 0;
    for letter in letters {
        let reading = read(dir, letter, &mut parsers);
        failed += usize::from(!reading.understood);
        if json {
            let mut object = json!(reading);
            object["id"] = letter.id.as_str().into();
            object["source"] = letter.source.as_str().into();
            println!("{object}");
            continue;
        }
        match &reading.why {
            Some(why) => {
                println!("{}  {}: still not read: {}", printable(&letter.id), printable(&letter.source), printable(why))
            }
            None => {
                let n = reading.events;
                let would =
                    if n == 0 { "nothing".into() } else { format!("{n} event{}", if n == 1 { "" } else { "s" }) };
                println!(
                    "{}  {}: read now; it would have been {would}",
                    printable(&letter.id),
                    printable(&letter.source)
                );
                reading.shown.iter().for_each(|event| println!("    {}", printable(event)));
            }
        }
    }
    if !json {
        println!("{} of {} can be read now; nothing was changed", letters.len() - failed, letters.len());
    }
    (if failed > 0 { exit::FAILED } else { exit::DONE }).into()
}

/// Reads one letter with the parser of its source, for the markets of the run that received it.
fn read(dir: &Path, letter: &Letter, parsers: &mut HashMap<String, Parsers>) -> Reading {
    let Some(source) = letter.source() else {
        return Reading::failed(format!("this version knows no source {:?}", letter.source));
    };
    if !letter.is_whole() {
        return Reading::failed(format!(
            "only the first {} of {} bytes were kept",
            letter.bytes().len(),
            letter.length
        ));
    }
    let message = letter.bytes();
    if source == Source::Witness {
        return decoded(&message);
    }
    // A run's name is one folder below; anything else came from a file that somebody else wrote.
    let named = !letter.run.is_empty() && letter.run.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let journal = named.then(|| Reader::open(&dir.join(&letter.run)).ok()).flatten();
    match journal {
        Some(journal) => {
            let of_run = parsers.entry(letter.run.clone()).or_insert_with(|| Parsers::new(&journal.header().universe));
            of_run.read(source, &message)
        }
        // Without its journal the markets are those that the message itself names.
        None => {
            let value: Value = serde_json::from_slice(&message).unwrap_or_default();
            Parsers::new(&decode::universe_of([&value])).read(source, &message)
        }
    }
}

fn decoded(message: &[u8]) -> Reading {
    let answers = decode::decode(message);
    match answers.iter().find_map(|a| a.get("error")) {
        Some(error) => Reading::failed(error.as_str().unwrap_or("it cannot be read")),
        None => {
            Reading { understood: true, shown: answers.iter().map(Value::to_string).collect(), ..Reading::default() }
        }
    }
}
