//! A YAML document as a tree in which every key and value knows where it stands.
//!
//! The document is read into this tree first and checked against the schema afterwards, so that
//! one run reports every mistake instead of the first.

use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::error::{Place, Problem};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it is written.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// What a YAML value can be.
#[derive(Debug, Clone)]
pub enum Value {
    /// Nothing after the key, or `null`.
    Null,
    /// A scalar as its text in the file; quotes are taken off.
    Scalar(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the file's order.
    Map(Vec<Entry>),
}

/// One key of a mapping and its value.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// The value.
    pub node: Node,
}

impl Node {
    /// The entry of a mapping under `key`.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|e| e.key == key),
            _ => None,
        }
    }

    /// What kind of value it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Scalar(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

/// Reads one YAML document. An empty one is an empty mapping.
///
/// # Errors
/// Where the text stops being YAML, or which key stands twice.
pub fn parse(text: &str) -> Result<Node, Problem> {
    let empty = || Node { place: Place::Default, value: Value::Map(Vec::new()) };
    let options = serde_saphyr::options! { with_snippet: false };
    match serde_saphyr::from_str_with_options::<Option<Spanned<Raw>>>(text, options) {
        Ok(None) => Ok(empty()),
        Ok(Some(raw)) => match node(raw, text) {
            Node { value: Value::Null, .. } => Ok(empty()),
            node => Ok(node),
        },
        Err(error) => {
            let place = error
                .location()
                .map_or(Place::Default, |at| Place::File { line: at.line(), column: at.column() });
            let formatter = serde_saphyr::UserMessageFormatter;
            let message = error.without_snippet().render_with_formatter(&formatter);
            // The place is told in front of the message.
            let message = message.split(" at line ").next().unwrap_or_default();
            Err(Problem {
                path: String::new(),
                place,
                message: format!("not valid YAML: {message}"),
            })
        }
    }
}

/// What the YAML library hands over.
enum Raw {
    Null,
    Text(String),
    /// A scalar that YAML takes for a number or a boolean; the text is what such a value prints.
    Typed(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn place(location: serde_saphyr::Location) -> Place {
    Place::File { line: location.line(), column: location.column() }
}

fn node(raw: Spanned<Raw>, text: &str) -> Node {
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Text(text) => Value::Scalar(text),
        // A host named 007 keeps its zeros: the file's own spelling counts, not the number's.
        Raw::Typed(printed) => {
            let span = raw.defined.span();
            let written = span.byte_offset().zip(span.byte_len()).and_then(|(start, len)| {
                let start = usize::try_from(start).ok()?;
                text.get(start..start.checked_add(usize::try_from(len).ok()?)?)
            });
            Value::Scalar(written.map_or(printed, |w| w.trim().to_owned()))
        }
        Raw::List(items) => Value::List(items.into_iter().map(|item| node(item, text)).collect()),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| Entry {
                    place: place(key.referenced),
                    key: key.value,
                    node: node(value, text),
                })
                .collect(),
        ),
    };
    Node { place: place(raw.referenced), value }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar<'a>(node: &'a Node, path: &str) -> (&'a str, Place) {
        let mut at = node;
        for key in path.split('.') {
            at = &at.entry(key).unwrap().node;
        }
        match &at.value {
            Value::Scalar(text) => (text, at.place.clone()),
            other => panic!("{path} is {other:?}"),
        }
    }

    #[test]
    fn every_value_knows_its_line_and_column() {
        let tree = parse("node:\n  id: demo\nnetwork:\n  resp_port: 8080\n").unwrap();
        assert_eq!(scalar(&tree, "node.id"), ("demo", Place::File { line: 2, column: 7 }));
        assert_eq!(
            scalar(&tree, "network.resp_port"),
            ("8080", Place::File { line: 4, column: 14 })
        );
        let node = tree.entry("network").unwrap();
        assert_eq!(node.place, Place::File { line: 3, column: 1 });
    }

    #[test]
    fn a_scalar_keeps_the_spelling_of_the_file() {
        let tree = parse("a: 007\nb: 1.10\nc: yes\nd: \"quoted # text\"\ne: 1_000\n").unwrap();
        for (key, text) in
            [("a", "007"), ("b", "1.10"), ("c", "yes"), ("d", "quoted # text"), ("e", "1_000")]
        {
            assert_eq!(scalar(&tree, key).0, text);
        }
    }

    #[test]
    fn aliases_and_merges_are_followed() {
        let text = "a: &x {m: 1GB, n: 5}\nb: *x\nc:\n  <<: *x\n  m: 2GB\n";
        let tree = parse(text).unwrap();
        assert_eq!(scalar(&tree, "b.m").0, "1GB");
        assert_eq!(scalar(&tree, "b.n").0, "5");
        assert_eq!(scalar(&tree, "c.m").0, "2GB");
        assert_eq!(scalar(&tree, "c.n").0, "5");
    }

    #[test]
    fn an_empty_document_is_an_empty_mapping() {
        for text in ["", "# only a comment\n", "---\n", "null\n"] {
            assert!(
                matches!(parse(text).unwrap().value, Value::Map(m) if m.is_empty()),
                "{text:?}"
            );
        }
    }

    #[test]
    fn broken_yaml_and_doubled_keys_say_where() {
        for (text, line) in [("a: [1, 2\nb: 3\n", 2), ("a: 1\nb: 2\na: 3\n", 3), ("a: \"x\n", 1)] {
            let problem = parse(text).unwrap_err();
            match problem.place {
                Place::File { line: at, .. } => assert!(at >= line, "{text:?}: {problem:?}"),
                _ => panic!("{text:?}: {problem:?}"),
            }
        }
    }
}
