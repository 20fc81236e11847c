//! `docs/compatibility.md` tells of every command of Redis 7.0 and Valkey 9.1 whether it is here. That
//! part of it is made from the table of commands, and this holds the two together.
//!
//! `COMPATIBILITY=write cargo test -p hypercache-core --test compatibility` writes it anew.

#![allow(clippy::disallowed_methods, reason = "reads a file and a variable of the test's")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is a test")]
#![allow(clippy::disallowed_types, reason = "reads a file of the test's")]

use hypercache_core::command::{self, DIFFERS, IN_GENERAL, NOT_HERE, Spec};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Name, family, and who has it: `both`, `redis` (7.0) or `valkey` (9.1).
const COMMANDS: &str = include_str!("compatibility/commands.tsv");
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/compatibility.md");
const BEGIN: &str = "<!-- commands:begin -->\n";
const END: &str = "<!-- commands:end -->\n";

/// Those of others: name and family, in order of names.
fn theirs() -> Vec<(&'static str, &'static str, &'static str)> {
    let rows = COMMANDS.lines().map(|line| {
        let mut fields = line.split('\t');
        let mut field = || fields.next().expect("three fields a line");
        (field(), field(), field())
    });
    rows.collect()
}

fn ours() -> BTreeMap<&'static str, &'static Spec> {
    let all = command::all();
    all.iter().chain(all.iter().flat_map(|spec| spec.subcommands)).map(|s| (s.name, s)).collect()
}

fn note(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    table.iter().find(|(of, _)| *of == name).map(|(_, note)| *note)
}

fn shown(name: &str) -> String {
    name.replace('|', " ").to_uppercase()
}

/// The generated part of the document.
fn document() -> String {
    let ours = ours();
    let mut families: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    let known: BTreeSet<&str> = theirs().iter().map(|(name, ..)| *name).collect();
    for (name, family, whose) in theirs() {
        families.entry(family).or_default().push((name, whose));
    }
    for (name, spec) in &ours {
        if !known.contains(name) {
            families.entry(spec.group.as_str()).or_default().push((name, "own"));
        }
    }
    let here = theirs().iter().filter(|(name, ..)| ours.contains_key(name)).count();
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{here} of {} commands and subcommands of Redis 7.0 and Valkey 9.1 are here.\n",
        known.len()
    );
    out.push_str("### What differs in general\n\n| what | why |\n| --- | --- |\n");
    for (what, why) in IN_GENERAL {
        let _ = writeln!(out, "| {what} | {why} |");
    }
    for (family, mut names) in families {
        names.sort_unstable();
        let _ = write!(
            out,
            "\n### {family}\n\n| command | here | what to know |\n| --- | --- | --- |\n"
        );
        for (name, whose) in names {
            let (state, what) = match (ours.contains_key(name), note(NOT_HERE, name)) {
                (true, _) => match note(DIFFERS, name) {
                    Some(what) => ("differs", what),
                    None if name.starts_with("cf.") => ("yes", "as RedisBloom"),
                    None if whose == "own" => ("yes", "not of Redis or Valkey"),
                    None => ("yes", ""),
                },
                (false, Some(why)) => ("no", why),
                (false, None) => ("not yet", ""),
            };
            let whose = if whose == "valkey" { " (Valkey)" } else { "" };
            let what = what.replace('|', "\\|");
            let _ = writeln!(out, "| `{}`{whose} | {state} | {what} |", shown(name));
        }
    }
    out
}

#[test]
fn the_document_says_what_the_table_says() {
    let file = std::fs::read_to_string(DOCUMENT).expect("docs/compatibility.md");
    let (before, rest) = file.split_once(BEGIN).expect("where the generated part begins");
    let (now, after) = rest.split_once(END).expect("where the generated part ends");
    let wanted = format!("\n{}\n", document());
    if std::env::var("COMPATIBILITY").is_ok_and(|word| word == "write") {
        std::fs::write(DOCUMENT, format!("{before}{BEGIN}{wanted}{END}{after}")).unwrap();
        return;
    }
    assert!(
        now == wanted,
        "docs/compatibility.md is not what the table of commands says. Write it anew:\n\
         COMPATIBILITY=write cargo test -p hypercache-core --test compatibility"
    );
}

#[test]
fn notes_are_on_commands_that_are_here_and_reasons_on_those_that_are_not() {
    let ours = ours();
    let known: BTreeSet<&str> = theirs().iter().map(|(name, ..)| *name).collect();
    for (name, _) in DIFFERS {
        assert!(ours.contains_key(name), "{name} is said to differ, but is not here");
    }
    for (name, _) in NOT_HERE {
        assert!(known.contains(name), "{name} is said not to be here, but nobody has it");
        assert!(!ours.contains_key(name), "{name} is said not to be here, but it is");
    }
    let mut names: Vec<&str> = DIFFERS.iter().chain(NOT_HERE).map(|(name, _)| *name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "a name stands twice");
}

#[test]
fn every_command_of_redis_that_is_here_is_in_the_family_that_redis_says() {
    let ours = ours();
    for (name, family, _) in theirs() {
        if let Some(spec) = ours.get(name) {
            assert_eq!(spec.group.as_str(), family, "{name}");
        }
    }
}
