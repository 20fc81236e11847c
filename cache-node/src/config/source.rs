//! One look at the layers: for each key the value of the highest layer that has one.
//!
//! The layers, from low to high: default, file, HYPERCACHE_… variable, flag.

use std::collections::BTreeSet;

use super::cli::ServerArgs;
use super::error::{Place, Problem, nearest};
use super::schema::{self, KEYS};
use super::tree::{Node, Value};

/// A value as text, and where it was written.
#[derive(Debug, Clone)]
pub struct Text {
    /// The text.
    pub text: String,
    /// Where it stands.
    pub place: Place,
}

/// The layers of one configuration, and the problems that reading them brought up.
pub struct Source<'a> {
    file: &'a Node,
    overrides: Vec<(&'static str, Text)>,
    problems: Vec<Problem>,
    asked: BTreeSet<String>,
}

impl<'a> Source<'a> {
    /// Lays flags over variables over the file. An empty variable counts as not set, so that a
    /// manifest can leave one blank.
    pub fn new(file: &'a Node, args: &ServerArgs, env: &dyn Fn(&str) -> Option<String>) -> Self {
        let overrides = KEYS.iter().filter_map(|key| {
            let flag = key.flag.and_then(|flag| {
                let text = args.value(flag)?.to_owned();
                Some(Text { text, place: Place::Flag(flag) })
            });
            let variable = || {
                let name = key.variable?;
                let text = env(name).filter(|text| !text.is_empty())?;
                Some(Text { text, place: Place::Variable(name) })
            };
            Some((key.path, flag.or_else(variable)?))
        });
        Self { file, overrides: overrides.collect(), problems: Vec::new(), asked: BTreeSet::new() }
    }

    /// Reports a problem.
    pub fn problem(&mut self, path: &str, place: Place, message: impl Into<String>) {
        self.problems.push(Problem { path: path.into(), place, message: message.into() });
    }

    /// Whether nothing was reported so far.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// Everything that was reported, in the order of the file.
    pub fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems;
        problems.sort_by_key(|problem| match problem.place {
            Place::File { line, column } => (0, line, column),
            Place::Variable(_) => (1, 0, 0),
            Place::Flag(_) => (2, 0, 0),
            Place::Default => (3, 0, 0),
        });
        problems
    }

    /// Where the value of a key stands, or `Default` if no layer has it.
    pub fn place(&self, path: &str) -> Place {
        if let Some((_, text)) = self.overrides.iter().find(|(p, _)| *p == path) {
            return text.place.clone();
        }
        self.node(path).map_or(Place::Default, |node| node.place.clone())
    }

    /// The file's node at a path, if it is there and not empty.
    pub fn node(&self, path: &str) -> Option<&'a Node> {
        let mut at = self.file;
        for key in path.split('.') {
            at = &at.entry(key)?.node;
        }
        (!matches!(at.value, Value::Null)).then_some(at)
    }

    /// What the file has for a key, if no higher layer has anything.
    pub fn file_value(&mut self, path: &str) -> Option<&'a Value> {
        self.asked.insert(path.to_owned());
        let overridden = self.overrides.iter().any(|(p, _)| *p == path);
        self.node(path).filter(|_| !overridden).map(|node| &node.value)
    }

    /// The single value of a key.
    pub fn text(&mut self, path: &str) -> Option<Text> {
        self.asked.insert(path.to_owned());
        if let Some((_, text)) = self.overrides.iter().find(|(p, _)| *p == path) {
            return Some(text.clone());
        }
        let node = self.node(path)?;
        match &node.value {
            Value::Scalar(text) => Some(Text { text: text.clone(), place: node.place.clone() }),
            _ => {
                let message = format!("is {}: one value belongs here", node.kind());
                self.problem(path, node.place.clone(), message);
                None
            }
        }
    }

    /// The value of a key as `parse` reads it, if a layer has one that is right.
    pub fn optional<T>(
        &mut self,
        path: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let Text { text, place } = self.text(path)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(message) => {
                self.problem(path, place, message);
                None
            }
        }
    }

    /// The value of a key as `parse` reads it, or its default.
    pub fn get<T>(
        &mut self,
        path: &str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        self.optional(path, parse).unwrap_or(default)
    }

    /// The values of a key that takes a list; one text with commas is a list as well.
    pub fn list(&mut self, path: &str) -> Vec<Text> {
        let overridden = self.overrides.iter().any(|(p, _)| *p == path);
        if let (false, Some(Node { value: Value::List(items), .. })) = (overridden, self.node(path))
        {
            self.asked.insert(path.to_owned());
            let mut texts = Vec::new();
            for item in items {
                match &item.value {
                    Value::Scalar(text) => {
                        texts.push(Text { text: text.clone(), place: item.place.clone() });
                    }
                    _ => self.problem(
                        path,
                        item.place.clone(),
                        format!("holds {}: a list of single values belongs here", item.kind()),
                    ),
                }
            }
            return texts;
        }
        let Some(whole) = self.text(path) else { return Vec::new() };
        whole
            .text
            .split(',')
            .map(|part| Text { text: part.trim().to_owned(), place: whole.place.clone() })
            .filter(|part| !part.text.is_empty())
            .collect()
    }

    /// Reports every key of the file that the schema does not have, and every section that is
    /// not a mapping.
    pub fn report_unknown_keys(&mut self) {
        let file = self.file;
        let Some(sections) = self.entries("", file) else { return };
        for section in sections {
            if !schema::sections().any(|known| known == section.key) {
                self.unknown("", section, &schema::sections().collect::<Vec<_>>());
                continue;
            }
            let Some(entries) = self.entries(&section.key, &section.node) else { continue };
            let stores = section.key == "stores";
            for entry in entries {
                let path = format!("{}.{}", section.key, entry.key);
                if !stores {
                    let known: Vec<_> = schema::keys_of(&section.key).collect();
                    if !known.contains(&entry.key.as_str()) {
                        self.unknown(&section.key, entry, &known);
                    }
                } else if let Some(keys) = self.entries(&path, &entry.node) {
                    let known: Vec<_> = schema::keys_of("stores.*").collect();
                    for key in keys.iter().filter(|key| !known.contains(&key.key.as_str())) {
                        self.unknown(&path, key, &known);
                    }
                }
            }
        }
    }

    /// The entries of what must be a mapping or nothing.
    fn entries(&mut self, path: &str, node: &'a Node) -> Option<&'a [super::tree::Entry]> {
        match &node.value {
            Value::Map(entries) => Some(entries),
            Value::Null => None,
            _ => {
                let message = format!("is {}: a mapping of keys belongs here", node.kind());
                let message = if path.is_empty() { format!("the file {message}") } else { message };
                self.problem(path, node.place.clone(), message);
                None
            }
        }
    }

    /// Reports a key that is none of those known under `parent`.
    pub fn unknown(&mut self, parent: &str, entry: &super::tree::Entry, known: &[&'static str]) {
        let path =
            if parent.is_empty() { entry.key.clone() } else { format!("{parent}.{}", entry.key) };
        // The key may be right and only stand in the wrong section.
        let elsewhere = KEYS.iter().find(|key| key.path.rsplit('.').next() == Some(&entry.key));
        let message = match (nearest(&entry.key, known.iter().copied()), elsewhere) {
            (Some(near), _) => format!("unknown key; did you mean '{near}'?"),
            (None, Some(key)) => format!("unknown key here; it belongs to '{}'", key.path),
            (None, None) => format!("unknown key; known here: {}", known.join(", ")),
        };
        self.problem(&path, entry.place.clone(), message);
    }

    /// Every path that was asked for, so that a test can compare them with the schema.
    #[cfg(test)]
    pub fn asked(&self) -> &BTreeSet<String> {
        &self.asked
    }
}
