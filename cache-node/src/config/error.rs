//! What a configuration can get wrong, and where.

use std::fmt;
use std::path::PathBuf;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the file, at a line and column that count from 1.
    File {
        /// The line.
        line: u64,
        /// The column, in characters.
        column: u64,
    },
    /// In an environment variable.
    Variable(&'static str),
    /// In a flag of the command line.
    Flag(&'static str),
    /// Nowhere: a default, or something that is missing.
    Default,
}

/// One thing that is wrong: where, under which key, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key's path, such as `stores.page_cache.max_memory`; empty for the file as a whole.
    pub path: String,
    /// Where the value or key stands.
    pub place: Place,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Keys or values are wrong: all that were found, in the order of the file.
    #[error("{}", Report { file: file.as_ref(), problems })]
    Invalid {
        /// The file, when one was read.
        file: Option<PathBuf>,
        /// What is wrong; never empty.
        problems: Vec<Problem>,
    },
    /// The effective configuration cannot be written as YAML.
    #[error("cannot write the configuration as YAML: {0}")]
    Unwritable(String),
}

impl Error {
    /// Every problem that was found; empty when the file could not be read at all.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Invalid { problems, .. } => problems,
            Self::Unreadable { .. } | Self::Unwritable(_) => &[],
        }
    }
}

struct Report<'a> {
    file: Option<&'a PathBuf>,
    problems: &'a [Problem],
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            match (&problem.place, self.file) {
                (Place::File { line, column }, Some(file)) => {
                    write!(f, "{}:{line}:{column}: ", file.display())?;
                }
                (Place::File { line, column }, None) => {
                    write!(f, "line {line}, column {column}: ")?
                }
                (Place::Variable(name), _) => write!(f, "{name}: ")?,
                (Place::Flag(name), _) => write!(f, "{name}: ")?,
                (Place::Default, _) => {}
            }
            if !problem.path.is_empty() {
                write!(f, "{}: ", problem.path)?;
            }
            f.write_str(&problem.message)?;
        }
        Ok(())
    }
}

/// The known word that an unknown one was most likely meant to be.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(&word.to_lowercase(), candidate), candidate))
        .filter(|(edits, _)| *edits <= limit)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap neighbours) between two words.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let replace = last[j] + usize::from(a[i] != b[j]);
            let mut best = replace.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_a_key_finds_the_key_that_was_meant() {
        let known = ["max_memory", "default_ttl", "eviction_policy"];
        assert_eq!(nearest("max_memroy", known), Some("max_memory"));
        assert_eq!(nearest("maxmemory", known), Some("max_memory"));
        assert_eq!(nearest("Default_TTL", known), Some("default_ttl"));
        assert_eq!(nearest("replicas", known), None);
    }

    #[test]
    fn swapped_letters_are_one_edit() {
        assert_eq!(distance("host", "hsot"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}
