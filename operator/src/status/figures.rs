//! When a status is worth a write.

use hypercache_crds::{HyperCacheClusterStatus, StoreStatus};

/// Whether a new status says nothing that the old one does not. Numbers of keys and bytes that
/// moved by less than a tenth are not worth a write: they move with every request.
pub fn same(old: &HyperCacheClusterStatus, new: &HyperCacheClusterStatus) -> bool {
    let figures_close = old.stores.len() == new.stores.len()
        && old.stores.iter().zip(&new.stores).all(|(old, new)| {
            close(old.keys, new.keys) && close(old.used_memory_bytes, new.used_memory_bytes)
        });
    figures_close && without_figures(old) == without_figures(new)
}

fn close(old: i64, new: i64) -> bool {
    (old == 0) == (new == 0) && (new - old).abs() <= old.abs() / 10
}

fn without_figures(status: &HyperCacheClusterStatus) -> HyperCacheClusterStatus {
    let mut status = status.clone();
    for StoreStatus { keys, used_memory_bytes, .. } in &mut status.stores {
        (*keys, *used_memory_bytes) = (0, 0);
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(keys: i64, ready: i32) -> HyperCacheClusterStatus {
        HyperCacheClusterStatus {
            ready_members: ready,
            stores: vec![StoreStatus {
                name: "a".into(),
                number: 1,
                keys,
                used_memory_bytes: keys * 100,
                max_memory_bytes: None,
                eviction_policy: "wtinylfu".into(),
                replication_factor: 1,
                acks: "one".into(),
                cuckoo_filter: None,
                persistence: "aof".into(),
                fsync: "always".into(),
                applied: true,
            }],
            ..Default::default()
        }
    }

    #[test]
    fn o9_small_moves_of_figures_alone_are_not_written() {
        assert!(same(&with(1000, 3), &with(1099, 3)));
        assert!(!same(&with(1000, 3), &with(1200, 3)));
        assert!(!same(&with(1000, 3), &with(1000, 2)));
        assert!(!same(&with(0, 3), &with(1, 3)));
        assert!(!same(&with(1, 3), &with(0, 3)));
        assert!(!same(
            &with(1, 3),
            &HyperCacheClusterStatus { ready_members: 3, ..Default::default() }
        ));
    }
}
