//! Whatever members and the operator log has an event's name, and no field that the table does not have.

#![allow(clippy::unwrap_used, clippy::panic, reason = "this is a test")]

use std::collections::BTreeSet;
use std::path::Path;

use hypercache_log::fields::TABLE;

const SOURCES: [&str; 3] = ["../src", "../trace/src", "../../operator/src"];
const MACROS: [&str; 7] =
    ["error!(", "warn!(", "info!(", "debug!(", "trace!(", "error_span!(", "info_span!("];

/// The text of all sources that are no tests.
fn sources(directory: &Path, into: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
            into.push((path.display().to_string(), code));
        }
    }
}

/// The arguments of a macro that begin here, split at the commas between them.
fn arguments(text: &str) -> Vec<String> {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    let mut all = vec![String::new()];
    for c in text.chars() {
        if !quoted && depth == 0 && c == ')' {
            break;
        }
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                all.push(String::new());
                continue;
            }
            _ => {}
        }
        all.last_mut().unwrap().push(c);
    }
    all.iter().map(|argument| argument.trim().to_owned()).filter(|a| !a.is_empty()).collect()
}

/// The field that an argument names; `None` for the message and what goes into it.
fn field(argument: &str) -> Option<String> {
    let plain = argument.split(" = ").next().unwrap().trim_start_matches(['%', '?']);
    let word = plain.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.".contains(&b));
    let is_path = plain.contains('.') && !argument.contains(" = ");
    (word && !is_path && !plain.starts_with("target:")).then(|| plain.to_owned())
}

/// Every call: where it is, which macro, and the fields that it names.
fn calls() -> Vec<(String, &'static str, BTreeSet<String>)> {
    let mut all = Vec::new();
    for directory in SOURCES {
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(directory), &mut all);
    }
    let mut found = Vec::new();
    for (path, text) in &all {
        for (at, _) in text.match_indices("tracing::") {
            let rest = &text[at + "tracing::".len()..];
            let Some(name) = MACROS.into_iter().find(|name| rest.starts_with(name)) else {
                continue;
            };
            let mut arguments = arguments(&rest[name.len()..]);
            if name.contains("span") {
                // Its name.
                arguments.remove(0);
            }
            // What stands after the message goes into it.
            let message = arguments.iter().position(|argument| argument.starts_with('"'));
            let named = &arguments[..message.unwrap_or(arguments.len())];
            let fields = named.iter().filter_map(|argument| field(argument)).collect();
            let line = text[..at].lines().count();
            found.push((format!("{path}:{line}"), name, fields));
        }
    }
    found
}

#[test]
fn each_event_has_a_name() {
    let calls = calls();
    assert!(calls.len() > 100, "only {} calls were found", calls.len());
    for (place, name, fields) in calls {
        assert!(name.contains("span") || fields.contains("action"), "{place} names no action");
    }
}

#[test]
fn each_field_is_in_the_table_and_the_table_has_no_others() {
    let known: BTreeSet<String> = TABLE.iter().map(|row| row.own.to_owned()).collect();
    let mut used = BTreeSet::new();
    for (place, _, fields) in calls() {
        let unknown: Vec<_> = fields.difference(&known).collect();
        assert!(unknown.is_empty(), "{place} names {unknown:?}, which the table has not");
        used.extend(fields);
    }
    let unused: Vec<_> = known.difference(&used).collect();
    assert!(unused.is_empty(), "nobody names {unused:?}");
}
