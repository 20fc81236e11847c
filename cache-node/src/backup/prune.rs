//! Removes old backups: first their manifests, then the objects that no other backup names.

use std::collections::BTreeSet;

use super::list::{Found, Which, list};
use super::{Destination, Error};

/// What was removed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// The names of the backups.
    pub backups: Vec<String>,
    /// Objects that they had alone, or that belong to no backup.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Removes all backups of each data set but the newest `keep`, and what is left of backups that were given
/// up. No backup may be made meanwhile: what it has sent belongs to none yet.
///
/// # Errors
/// A manifest is damaged, which then may need any object; or the destination failed.
pub async fn prune(destination: &Destination, which: &Which, keep: usize) -> Result<Pruned, Error> {
    let Found { backups, wrong } = list(destination, which).await?;
    if let Some(wrong) = wrong.first() {
        return Err(Error::Unsound(format!(
            "{wrong}; nothing is removed: what it needs is not known. Remove it first, if it is of no use"
        )));
    }
    let mut pruned = Pruned::default();
    let sets: BTreeSet<&String> = backups.iter().map(|backup| &backup.data_set).collect();
    for data_set in sets {
        let of_set: Vec<_> = backups.iter().filter(|b| b.data_set == *data_set).collect();
        let (old, stay) = of_set.split_at(of_set.len().saturating_sub(keep.max(1)));
        for backup in old {
            destination.remove(&format!("{data_set}/backups/{}.json", backup.id)).await?;
            pruned.backups.push(backup.id.clone());
        }
        let needed: BTreeSet<&str> =
            stay.iter().flat_map(|b| b.objects().map(|object| object.name.as_str())).collect();
        for kind in ["segments", "snapshots"] {
            for (name, bytes) in destination.objects(&format!("{data_set}/{kind}")).await? {
                let name = format!("{kind}/{name}");
                if !needed.contains(name.as_str()) {
                    destination.remove(&format!("{data_set}/{name}")).await?;
                    pruned.objects += 1;
                    pruned.bytes += bytes;
                }
            }
        }
    }
    Ok(pruned)
}
