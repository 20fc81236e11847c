//! Which backups there are.

use super::Error;
use super::destination::Destination;
use super::manifest::{MOST_BYTES, Manifest};

/// Which backup is meant; what is left out does not matter.
#[derive(Debug, Clone, Default)]
pub struct Which {
    /// The beginning of a data set's digits, or the name of a member.
    pub of: Option<String>,
    /// A backup's name.
    pub id: Option<String>,
}

/// What is there.
#[derive(Debug, Default)]
pub struct Found {
    /// The backups, the oldest first.
    pub backups: Vec<Manifest>,
    /// Manifests that cannot be read, and why.
    pub wrong: Vec<String>,
}

/// Reads all manifests, or those that are meant.
///
/// # Errors
/// The destination cannot be read.
pub async fn list(destination: &Destination, which: &Which) -> Result<Found, Error> {
    let mut found = Found::default();
    for data_set in destination.directories("").await? {
        if super::names::unhex::<16>(&data_set).is_none() {
            continue;
        }
        let directory = format!("{data_set}/backups");
        for (name, bytes) in destination.objects(&directory).await? {
            let Some(id) = name.strip_suffix(".json") else { continue };
            if which.id.as_ref().is_some_and(|which| which != id) {
                continue;
            }
            let name = format!("{directory}/{name}");
            match read(destination, &name, bytes, &data_set, id).await {
                Ok(manifest) if which.is_of(&manifest) => found.backups.push(manifest),
                Ok(_) => {}
                Err(error @ Error::Damaged { .. }) => found.wrong.push(error.to_string()),
                Err(error) => return Err(error),
            }
        }
    }
    found.backups.sort_by(|a, b| (a.created_ms, &a.id).cmp(&(b.created_ms, &b.id)));
    Ok(found)
}

async fn read(
    destination: &Destination,
    name: &str,
    bytes: u64,
    data_set: &str,
    id: &str,
) -> Result<Manifest, Error> {
    let shown = destination.shown(name);
    if bytes == 0 || bytes > MOST_BYTES {
        return Err(Error::damaged(shown, format!("a manifest of {bytes} bytes is none")));
    }
    let bytes = destination.read(name, 0..bytes).await?;
    let manifest = Manifest::read(&bytes).map_err(|reason| Error::damaged(&shown, reason))?;
    if manifest.data_set != data_set || manifest.id != id {
        return Err(Error::damaged(shown, "it is the manifest of another backup"));
    }
    Ok(manifest)
}

impl Which {
    fn is_of(&self, manifest: &Manifest) -> bool {
        self.of.as_ref().is_none_or(|of| {
            manifest.member == *of || (of.len() >= 4 && manifest.data_set.starts_with(of.as_str()))
        })
    }
}

/// The backups of the one data set that is meant, the oldest first.
///
/// # Errors
/// There is none, or there are those of several data sets; or a manifest is damaged.
pub async fn of_one(destination: &Destination, which: &Which) -> Result<Vec<Manifest>, Error> {
    let Found { backups, wrong } = list(destination, which).await?;
    let mut sets: Vec<_> = backups.iter().map(|m| (&m.data_set, &m.member)).collect();
    sets.sort_unstable();
    sets.dedup();
    let mut distinct: Vec<_> = sets.iter().map(|(data_set, _)| *data_set).collect();
    distinct.dedup();
    if distinct.len() > 1 {
        let each: Vec<_> =
            sets.iter().map(|(data_set, member)| format!("{data_set} (member {member})")).collect();
        return Err(Error::NoBackup(format!(
            "{} has backups of several data sets: say by --of which is meant, by its first digits or \
             its member's name: {}",
            destination.url(),
            each.join(", ")
        )));
    }
    if backups.is_empty() {
        let mut text = format!("{} has no backup that was asked for", destination.url());
        if let Some(wrong) = wrong.first() {
            text.push_str(&format!("; {wrong}"));
        }
        return Err(Error::NoBackup(text));
    }
    for wrong in wrong {
        tracing::warn!(
            action = "backup-manifest-left-out",
            error = wrong,
            "a manifest is left out"
        );
    }
    Ok(backups)
}
