//! What an event or a span names, as JSON.

use std::fmt;

use serde_json::Value;
use tracing::field::{Field, Visit};

/// A text in a line ends after so many bytes.
const MAX_TEXT_BYTES: usize = 8 << 10;

/// Fields in the order in which they are named; a later one of the same name takes its place.
#[derive(Debug, Default)]
pub struct Named {
    /// The event's own words.
    pub message: Option<String>,
    /// The others.
    pub fields: Vec<(&'static str, Value)>,
}

impl Named {
    /// Takes a value in.
    pub fn put(&mut self, name: &'static str, value: Value) {
        match self.fields.iter_mut().find(|(known, _)| *known == name) {
            Some((_, of)) => *of = value,
            None => self.fields.push((name, value)),
        }
    }

    fn text(&mut self, field: &Field, mut text: String) {
        if text.len() > MAX_TEXT_BYTES {
            text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
            text.push('…');
        }
        match field.name() {
            "message" => self.message = Some(text),
            name => self.put(name, Value::String(text)),
        }
    }
}

impl Visit for Named {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.text(field, value.to_string());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value.into());
    }
}
