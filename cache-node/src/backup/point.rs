//! Which backup has the point that is asked for.

use super::manifest::Manifest;
use super::{Error, time};

/// To which point data is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The latest that there is.
    Latest,
    /// All records up to this sequence.
    Sequence(u64),
    /// All that was done up to this time, in Unix milliseconds.
    Time(u64),
}

impl Target {
    fn is_in(self, of: &Manifest) -> bool {
        match self {
            Self::Latest => true,
            Self::Sequence(sequence) => (of.from.sequence..=of.to.sequence).contains(&sequence),
            Self::Time(ms) => (of.from.time_ms..=of.to.time_ms).contains(&ms),
        }
    }

    /// The newest backup that has it; they are given the oldest first.
    ///
    /// # Errors
    /// None has it: what they have.
    pub fn find(self, backups: &[Manifest]) -> Result<&Manifest, Error> {
        backups.iter().rev().find(|of| self.is_in(of)).ok_or_else(|| {
            let asked = match self {
                Self::Latest => "a backup".to_owned(),
                Self::Sequence(sequence) => format!("sequence {sequence}"),
                Self::Time(ms) => time::shown(ms),
            };
            let have: Vec<_> =
                backups.iter().map(|of| format!("{} ({})", of.range(), of.id)).collect();
            Error::Range(format!("no backup has {asked}; there are: {}", have.join("; ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::manifest::Point;
    use super::super::manifest::tests::example;
    use super::*;

    #[test]
    fn the_newest_backup_that_has_the_point_is_taken_and_others_are_refused_with_the_ranges() {
        let at = |from, to| {
            let point = |sequence| Point { sequence, time_ms: 1_000 * sequence };
            Manifest { from: point(from), to: point(to), ..example() }
        };
        let backups = [at(3, 9), at(7, 20), at(30, 40)];
        let found = |target: Target| target.find(&backups).map(|of| of.to.sequence).ok();
        assert_eq!(found(Target::Latest), Some(40));
        assert_eq!(found(Target::Sequence(5)), Some(9));
        assert_eq!(found(Target::Sequence(8)), Some(20));
        assert_eq!(found(Target::Time(35_000)), Some(40));
        for outside in [Target::Sequence(2), Target::Sequence(25), Target::Time(41_000)] {
            let told = outside.find(&backups).unwrap_err().to_string();
            assert!(told.contains("sequence 7 to 20"), "{told}");
        }
    }
}
