//! One line of what is scraped, read back.

/// `name{label="value",…} number`
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The name.
    pub name: String,
    /// Labels and their values, in the line's order.
    pub labels: Vec<(String, String)>,
    /// The number.
    pub value: f64,
}

impl Sample {
    /// Reads a line in Prometheus's format 0.0.4 or OpenMetrics; `None`: it is no sample.
    pub fn of_line(line: &str) -> Option<Self> {
        let end = line.find(['{', ' '])?;
        let (name, mut rest) = line.split_at(end);
        let mut labels = Vec::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            while !rest.starts_with('}') {
                let (label, value) = rest.split_once("=\"")?;
                let (value, after) = quoted(value)?;
                labels.push((label.to_owned(), value));
                rest = after.strip_prefix(',').unwrap_or(after);
            }
            rest = rest.strip_prefix('}')?;
        }
        let value = rest.trim().split(' ').next()?.parse().ok()?;
        Some(Self { name: name.to_owned(), labels, value })
    }

    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What stands before the closing quote, and what behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match letters.next()?.1 {
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
    fn an_exemplar_is_no_part_of_a_sample() {
        let exemplar = " # {trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\"} 0.5 1700000000.123";
        for line in
            ["a_bucket{le=\"1.0\",x=\"# {\"} 7", "a_bucket{le=\"+Inf\"} 7 1700000000.5", "a 7"]
        {
            let sample = Sample::of_line(line).unwrap();
            assert_eq!(Sample::of_line(&format!("{line}{exemplar}")).unwrap(), sample);
            assert_eq!((sample.value, sample.label("trace_id")), (7.0, None));
        }
    }
}
