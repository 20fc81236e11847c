//! The parameters of CONFIG that say what of the store `default` is on the disk.

use hypercache_core::store::{Durability, Fsync, Mode};

use super::config_kept::number;
use crate::config::units;

/// Redis's names of what a store's policy has.
const POLICY: [&str; 5] = [
    "appendonly",
    "appendfsync",
    "save",
    "auto-aof-rewrite-percentage",
    "auto-aof-rewrite-min-size",
];

/// Whether a parameter is of the policy, which the whole cluster has to agree to.
pub(super) fn is_policy(name: &[u8]) -> bool {
    POLICY.iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes()))
}

/// Every parameter with its value in force.
pub(super) fn parameters(durability: &Durability) -> [(&'static str, String); 6] {
    let fsync = match durability.fsync {
        Fsync::Always => "always",
        Fsync::Periodic => "everysec",
        Fsync::Never => "no",
    };
    let save = match durability.mode.has_snapshots() {
        true => format!("{} 1", durability.snapshot_interval_ms.div_ceil(1000)),
        false => String::new(),
    };
    let yes_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    [
        ("appendfsync", fsync.to_owned()),
        ("appendonly", yes_no(durability.mode.is_logged())),
        ("auto-aof-rewrite-min-size", durability.rewrite_min_bytes.to_string()),
        ("auto-aof-rewrite-percentage", durability.rewrite_percentage.to_string()),
        // The log is forced to the disk while it is rewritten as well.
        ("no-appendfsync-on-rewrite", "no".to_owned()),
        ("save", save),
    ]
}

/// Changes one parameter of the policy; `has_directory` says whether this member has a place on disk.
///
/// # Errors
/// What is wrong with it, in Redis's words where it has some.
pub(super) fn set(
    durability: &mut Durability,
    name: &str,
    value: &[u8],
    has_directory: bool,
) -> Result<(), String> {
    let text = String::from_utf8_lossy(value).to_ascii_lowercase();
    let (logged, snapshots) = (durability.mode.is_logged(), durability.mode.has_snapshots());
    match name {
        "appendonly" => {
            let logged = match &text[..] {
                "yes" => true,
                "no" => false,
                _ => return Err("argument must be 'yes' or 'no'".into()),
            };
            durability.mode = mode(logged, snapshots);
        }
        "appendfsync" => match &text[..] {
            "always" => durability.fsync = Fsync::Always,
            "no" => durability.fsync = Fsync::Never,
            "everysec" => {
                (durability.fsync, durability.fsync_interval_ms) = (Fsync::Periodic, 1_000);
            }
            _ => {
                let words = "everysec, always, no";
                return Err(format!("argument(s) must be one of the following: {words}"));
            }
        },
        "save" => {
            let words: Vec<&str> = text.split_ascii_whitespace().collect();
            let snapshots = match words[..] {
                [] => false,
                [seconds, "1"] => {
                    let seconds = number(seconds.as_bytes(), 1, 7 * 86_400)?;
                    durability.snapshot_interval_ms = seconds.unsigned_abs() * 1000;
                    true
                }
                _ => {
                    return Err(
                        "snapshots are taken at an interval: write its seconds and 1, or nothing for none"
                            .into(),
                    );
                }
            };
            durability.mode = mode(logged, snapshots);
        }
        "auto-aof-rewrite-percentage" => {
            let percentage = number(value, 0, 100_000)?;
            durability.rewrite_percentage = u32::try_from(percentage).unwrap_or(u32::MAX);
        }
        _ => {
            durability.rewrite_min_bytes =
                units::parse_size(&text).map_err(|_| "argument must be a memory value")?;
        }
    }
    if durability.mode != Mode::Disabled && !has_directory {
        return Err("there is no place on disk: set node.data_dir of the members first".into());
    }
    Ok(())
}

fn mode(logged: bool, snapshots: bool) -> Mode {
    match (logged, snapshots) {
        (true, true) => Mode::AofSnapshot,
        (true, false) => Mode::Aof,
        (false, true) => Mode::Snapshot,
        (false, false) => Mode::Disabled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(durability: &Durability, name: &str) -> String {
        let found = parameters(durability).into_iter().find(|(own, _)| *own == name);
        found.unwrap_or_else(|| panic!("{name}")).1
    }

    #[test]
    fn redis_s_names_change_the_policy_and_show_it() {
        let mut durability = Durability::default();
        for (name, word, shown) in [
            ("appendonly", "YES", "yes"),
            ("appendfsync", "always", "always"),
            ("save", "60 1", "60 1"),
            ("auto-aof-rewrite-percentage", "50", "50"),
            ("auto-aof-rewrite-min-size", "2mb", "2097152"),
        ] {
            set(&mut durability, name, word.as_bytes(), true).unwrap();
            assert_eq!(value(&durability, name), shown);
        }
        assert_eq!((durability.mode, durability.fsync), (Mode::AofSnapshot, Fsync::Always));
        assert_eq!(durability.snapshot_interval_ms, 60_000);
        set(&mut durability, "appendonly", b"no", true).unwrap();
        assert_eq!(durability.mode, Mode::Snapshot);
        set(&mut durability, "save", b"", true).unwrap();
        assert_eq!((durability.mode, value(&durability, "save")), (Mode::Disabled, String::new()));
    }

    #[test]
    fn what_cannot_be_kept_as_it_is_asked_for_is_refused() {
        for (name, word) in [
            ("appendonly", "maybe"),
            ("appendfsync", "often"),
            ("save", "900 1 300 10"),
            ("save", "900 10"),
            ("save", "0 1"),
            ("auto-aof-rewrite-percentage", "-1"),
            ("auto-aof-rewrite-min-size", "x"),
        ] {
            let mut durability = Durability::default();
            assert!(set(&mut durability, name, word.as_bytes(), true).is_err(), "{name} {word}");
        }
        let refused = set(&mut Durability::default(), "appendonly", b"yes", false);
        assert!(refused.is_err_and(|why| why.contains("node.data_dir")));
        assert!(set(&mut Durability::default(), "appendonly", b"no", false).is_ok());
    }
}
