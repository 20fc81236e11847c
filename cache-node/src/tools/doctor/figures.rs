//! What a member tells at `/metrics`, read back.

/// The series of one text in Prometheus's format 0.0.4.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures(Vec<Series>);

#[derive(Debug, Clone, PartialEq)]
struct Series {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Figures {
    /// Reads a text; lines that are none are left out.
    pub fn read(text: &str) -> Self {
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(series).collect())
    }

    /// The value of a series without labels; `None`: it is not told.
    pub fn one(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|series| series.name == name).map(|series| series.value)
    }

    /// The values of a label's series.
    pub fn by<'a>(
        &'a self,
        name: &'a str,
        label: &'a str,
    ) -> impl Iterator<Item = (&'a str, f64)> + 'a {
        let named = self.0.iter().filter(move |series| series.name == name);
        named.filter_map(move |series| {
            let found = series.labels.iter().find(|(known, _)| known == label)?;
            Some((found.1.as_str(), series.value))
        })
    }
}

/// `name{label="value",…} number`
fn series(line: &str) -> Option<Series> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = (line[..end].to_owned(), &line[end..]);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.push((label.to_owned(), value));
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    let value = rest.trim().split(' ').next()?.parse().ok()?;
    Some(Series { name, labels, value })
}

/// A text up to its closing quote, and what follows that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_by_name_and_label() {
        let text =
            "# HELP a b\n# TYPE a gauge\na 1.5\nb{to=\"m-1\",x=\"q\\\"u\"} 2\nb{to=\"m-2\"} 3\n";
        let figures = Figures::read(text);
        assert_eq!((figures.one("a"), figures.one("c")), (Some(1.5), None));
        assert_eq!(figures.by("b", "to").collect::<Vec<_>>(), [("m-1", 2.0), ("m-2", 3.0)]);
        assert_eq!(figures.by("b", "x").collect::<Vec<_>>(), [("q\"u", 2.0)]);
    }

    #[test]
    fn what_is_no_series_is_left_out() {
        for text in ["", "a", "a{", "a{b=\"c", "a{b=\"c\"", "a x", "{} 1 2", "a{b} 1"] {
            let read = Figures::read(text);
            assert!(read.one("a").is_none(), "{text}: {read:?}");
        }
    }
}
