//! What is logged, and what is no longer while the process runs.

use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::{AUDIT, Error};

/// Whose lines they are.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// The crates that a level is meant for, as targets have them.
    pub own: &'static [&'static str],
    /// What the others say where a level alone is given, from `warn` to `debug`.
    pub libraries: &'static str,
}

impl Origin {
    /// The filter that a level means. Directives are taken as they are; a level alone is for our own
    /// crates, and libraries are asked for what matters of them.
    pub fn directives(&self, level: &str) -> String {
        if level.contains(['=', ',']) {
            return level.to_owned();
        }
        let level = level.to_ascii_lowercase();
        let mut all = match level.as_str() {
            "off" | "error" | "trace" => level.clone(),
            _ => self.libraries.to_owned(),
        };
        for own in self.own {
            all.push_str(&format!(",{own}={level}"));
        }
        // Who changed what is told also where only warnings are wanted; not where nothing is.
        let audit = match level.as_str() {
            "warn" | "error" => "info",
            level => level,
        };
        all.push_str(&format!(",{AUDIT}={audit}"));
        all
    }

    /// The filter of a level, and the way to change it.
    ///
    /// # Errors
    /// A level that is none.
    pub fn build(self, level: &str) -> Result<(reload::Layer<EnvFilter, Registry>, Levels), Error> {
        let (filter, handle) = reload::Layer::new(parse(&self.directives(level))?);
        let in_force = InForce { level: level.to_owned(), silenced: Vec::new() };
        let shared = Shared { origin: self, handle, in_force: Mutex::new(in_force) };
        Ok((filter, Levels(Arc::new(shared))))
    }
}

fn parse(directives: &str) -> Result<EnvFilter, Error> {
    Ok(EnvFilter::builder().parse(directives)?)
}

/// Changes what is logged while the process runs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Levels(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    origin: Origin,
    handle: reload::Handle<EnvFilter, Registry>,
    in_force: Mutex<InForce>,
}

#[derive(Debug, Clone)]
struct InForce {
    level: String,
    silenced: Vec<&'static str>,
}

impl Levels {
    /// The level in force, as it was given.
    pub fn level(&self) -> String {
        self.0.in_force.lock().unwrap_or_else(PoisonError::into_inner).level.clone()
    }

    /// Puts a level or directives in force.
    ///
    /// # Errors
    /// A level that is none; the one before stays.
    pub fn set(&self, level: &str) -> Result<(), Error> {
        self.change(|in_force| level.clone_into(&mut in_force.level))
    }

    /// Nothing of that part is logged any more, whatever the level.
    ///
    /// # Errors
    /// When nothing is logged to any more.
    pub fn silence(&self, part: &'static str) -> Result<(), Error> {
        self.change(|in_force| in_force.silenced.push(part))
    }

    fn change(&self, how: impl FnOnce(&mut InForce)) -> Result<(), Error> {
        let mut in_force = self.0.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wanted = in_force.clone();
        how(&mut wanted);
        let mut directives = self.0.origin.directives(&wanted.level);
        for part in &wanted.silenced {
            directives.push_str(&format!(",{part}=off"));
        }
        self.0.handle.reload(parse(&directives)?)?;
        *in_force = wanted;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin = Origin { own: &["ours", "ours_too"], libraries: "warn,noisy=error" };

    #[test]
    fn a_level_alone_is_ours_and_libraries_only_warn() {
        assert_eq!(
            ORIGIN.directives("debug"),
            "warn,noisy=error,ours=debug,ours_too=debug,audit=debug"
        );
        assert_eq!(ORIGIN.directives("OFF"), "off,ours=off,ours_too=off,audit=off");
        assert!(ORIGIN.directives("error").ends_with(",audit=info"), "what was changed is told");
        assert_eq!(ORIGIN.directives("info,noisy=debug"), "info,noisy=debug");
    }

    #[test]
    fn a_level_that_is_none_is_an_error_and_changes_nothing() {
        assert!(matches!(ORIGIN.build("ours=loud"), Err(Error::Level(_))));
        let (_filter, levels) = ORIGIN.build("info").unwrap();
        assert!(matches!(levels.set("ours=loud"), Err(Error::Level(_))));
        assert_eq!(levels.level(), "info");
        levels.set("ours=debug").unwrap();
        levels.silence("noisy").unwrap();
        assert_eq!(levels.level(), "ours=debug");
    }

    #[test]
    fn without_a_log_there_is_nothing_to_change() {
        let (filter, levels) = ORIGIN.build("info").unwrap();
        drop(filter);
        assert!(matches!(levels.set("debug"), Err(Error::Gone(_))));
        assert_eq!(levels.level(), "info");
    }
}
