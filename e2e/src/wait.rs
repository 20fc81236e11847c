//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two looks: short beside what a look costs, so that waiting stays cheap on a small
/// machine.
const PAUSE: Duration = Duration::from_millis(250);

/// Looks until `look` finds something, at most `seconds` long. An error of `look` counts as
/// "not yet".
///
/// # Errors
/// After that time, with `what` and the last error.
pub fn until_some<T>(
    what: &str,
    seconds: u64,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        let seen = match look() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if Instant::now() >= end {
            match seen {
                Some(error) => bail!("{what}: not within {seconds} s: {error:#}"),
                None => bail!("{what}: not within {seconds} s"),
            }
        }
        std::thread::sleep(PAUSE);
    }
}

/// Looks until `look` says yes, at most `seconds` long.
///
/// # Errors
/// As [`until_some`].
pub fn until(what: &str, seconds: u64, mut look: impl FnMut() -> Result<bool>) -> Result<()> {
    until_some(what, seconds, || Ok(look()?.then_some(())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_comes_true_ends_the_wait() {
        let mut looks = 0;
        let found = until_some("third look", 20, || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(found.unwrap(), 3);
    }

    #[test]
    fn the_error_says_what_was_waited_for_and_what_stood_in_the_way() {
        let error = until("the moon", 0, || bail!("cloudy")).unwrap_err();
        assert_eq!(error.to_string(), "the moon: not within 0 s: cloudy");
    }
}
