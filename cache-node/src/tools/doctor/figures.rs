//! What a member tells at `/metrics`, read back.

use hypercache_trace::sample::Sample;

/// The series of one text in Prometheus's format 0.0.4.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures(Vec<Sample>);

impl Figures {
    /// Reads a text; lines that are none are left out.
    pub fn read(text: &str) -> Self {
        Self(
            text.lines()
                .filter(|line| !line.starts_with('#'))
                .filter_map(Sample::of_line)
                .collect(),
        )
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
        named.filter_map(move |series| Some((series.label(label)?, series.value)))
    }
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
