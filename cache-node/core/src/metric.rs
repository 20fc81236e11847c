//! A row of the tables of metrics: what a member, and the operator, tell Prometheus, and how that is
//! written down for people.

use std::fmt::Write;

/// How a metric moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Up and down.
    Gauge,
    /// Up, until the process ends.
    Counter,
    /// Counts in buckets, with their sum.
    Histogram,
}

impl Kind {
    /// Prometheus's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name as it is scraped: with its unit, and `_total` where it is a counter.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

/// Metrics about one thing.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// About what.
    pub title: &'static str,
    /// In the order in which they are told.
    pub metrics: &'static [Metric],
}

impl Metric {
    /// A gauge.
    pub const fn gauge(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, kind: Kind::Gauge, labels, help }
    }

    /// A counter.
    pub const fn counter(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, kind: Kind::Counter, labels, help }
    }

    /// A histogram.
    pub const fn histogram(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, kind: Kind::Histogram, labels, help }
    }

    /// The unit that its name ends with.
    pub fn unit(&self) -> Option<&'static str> {
        let name = self.without_total();
        ["bytes", "seconds"]
            .into_iter()
            .find(|unit| name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')))
    }

    fn without_total(&self) -> &'static str {
        match self.kind {
            Kind::Counter => self.name.strip_suffix("_total").unwrap_or(self.name),
            Kind::Gauge | Kind::Histogram => self.name,
        }
    }

    /// Its name without the unit and `_total`, which encoders add themselves.
    pub fn base(&self) -> &'static str {
        let name = self.without_total();
        let unit_len = self.unit().map_or(0, |unit| unit.len() + 1);
        &name[..name.len() - unit_len]
    }
}

/// Sections as Markdown: a heading and a table each.
pub fn markdown(sections: &[Section]) -> String {
    let mut text = String::new();
    for Section { title, metrics } in sections {
        // Writing to a string does not fail.
        let _ = write!(text, "\n### {title}\n\n| metric | type | labels | what it says |\n");
        text.push_str("| --- | --- | --- | --- |\n");
        for metric in *metrics {
            let labels: Vec<String> =
                metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let (name, kind) = (metric.name, metric.kind.as_str());
            let _ =
                writeln!(text, "| `{name}` | {kind} | {} | {} |", labels.join(", "), metric.help);
        }
    }
    text
}

/// A document with the part between its marks `<!-- NAME -->` and `<!-- end of NAME -->` replaced;
/// `None` if it lacks one.
pub fn with_part(document: &str, name: &str, part: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let start = document.find(&begin)? + begin.len();
    let stop = start + document[start..].find(&end)?;
    Some(format!("{}{part}{}", &document[..start], &document[stop..]))
}

/// Makes a constant of each metric, and a table `SECTIONS` of all of them.
#[macro_export]
macro_rules! metrics {
    ($($title:literal { $($id:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)* })*) => {
        $($(
            #[doc = $help]
            pub const $id: $crate::metric::Metric =
                $crate::metric::Metric::$kind($name, &[$($label),*], $help);
        )*)*
        /// All of them.
        pub const SECTIONS: &[$crate::metric::Section] = &[
            $($crate::metric::Section { title: $title, metrics: &[$($id),*] }),*
        ];
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_its_unit_and_its_type_at_its_end() {
        let bytes = Metric::counter("a_net_input_bytes_total", &[], "");
        assert_eq!((bytes.base(), bytes.unit()), ("a_net_input", Some("bytes")));
        let keys = Metric::gauge("a_keys", &[], "");
        assert_eq!((keys.base(), keys.unit()), ("a_keys", None));
        let seconds = Metric::histogram("a_duration_seconds", &[], "");
        assert_eq!((seconds.base(), seconds.unit()), ("a_duration", Some("seconds")));
    }

    #[test]
    fn a_part_of_a_document_is_replaced_and_the_rest_stays() {
        let document = "head\n<!-- a -->\nold\n<!-- end of a -->\ntail\n";
        let replaced = with_part(document, "a", "new\n").unwrap();
        assert_eq!(replaced, "head\n<!-- a -->\nnew\n<!-- end of a -->\ntail\n");
        assert_eq!(with_part(document, "b", ""), None);
    }

    #[test]
    fn a_table_has_a_row_for_each_metric() {
        const METRICS: &[Metric] = &[Metric::gauge("a_keys", &["store"], "Keys")];
        let text = markdown(&[Section { title: "Stores", metrics: METRICS }]);
        assert!(text.contains("### Stores\n"), "{text}");
        assert!(text.ends_with("| `a_keys` | gauge | `store` | Keys |\n"), "{text}");
    }
}
