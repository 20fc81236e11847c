//! What the kernel allows and counts for the control group of this process: cgroup v2 and v1.
//!
//! A group's *working set* is what the kubelet takes for it: what it uses, less the page cache that
//! the kernel would take back first (`inactive_file`).

use std::fs;
use std::path::{Path, PathBuf};

/// A limit that is as good as none; cgroup v1 writes a number near 2^63 for that.
const NO_LIMIT: u64 = 1 << 60;

/// The files of one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Files {
    limit: &'static str,
    usage: &'static str,
    inactive: &'static str,
}

const V2: Files =
    Files { limit: "memory.max", usage: "memory.current", inactive: "inactive_file " };
const V1: Files = Files {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    inactive: "total_inactive_file ",
};

/// A group that has a limit, or stands below one that does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    directory: PathBuf,
    files: Files,
}

/// A group at one time, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// What it may use.
    pub limit_bytes: u64,
    /// Its working set.
    pub working_set_bytes: u64,
}

impl Cgroup {
    /// The groups of this process for which limits can be set, its own first, then those above it.
    /// `proc` is `/proc/self`. Empty where there are none, or none that can be seen.
    pub fn find(proc: &Path) -> Vec<Self> {
        let groups = fs::read_to_string(proc.join("cgroup")).unwrap_or_default();
        let mounts = fs::read_to_string(proc.join("mountinfo")).unwrap_or_default();
        let mut found = Vec::new();
        for line in groups.lines() {
            // number:controllers:path, and 0::path for v2.
            let mut parts = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) =
                (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            let files = match controllers {
                "" => V2,
                some if some.split(',').any(|one| one == "memory") => V1,
                _ => continue,
            };
            for (root, point) in mounts.lines().filter_map(|line| mount(line, files)) {
                // What is mounted may be a part of the tree: in a container its own group.
                let below = Path::new(path).strip_prefix(&root).unwrap_or(Path::new(""));
                let directory = point.join(below);
                let above = directory.ancestors().take_while(|at| at.starts_with(&point));
                found.extend(
                    above
                        .filter(|at| at.join(files.limit).is_file())
                        .map(|at| Self { directory: at.to_owned(), files }),
                );
            }
        }
        found
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.directory.join(file)).ok()
    }

    /// What it may use, in bytes; `None` without a limit, or when it cannot be read any more.
    pub fn limit_bytes(&self) -> Option<u64> {
        self.read(self.files.limit)?.trim().parse().ok().filter(|n| *n < NO_LIMIT)
    }

    /// What it may use and does; `None` without a limit, or when it cannot be read any more.
    pub fn usage(&self) -> Option<Usage> {
        let limit_bytes = self.limit_bytes()?;
        let usage: u64 = self.read(self.files.usage)?.trim().parse().ok()?;
        let stat = self.read("memory.stat")?;
        let inactive = stat.lines().find_map(|line| line.strip_prefix(self.files.inactive));
        let inactive: u64 = inactive.and_then(|n| n.trim().parse().ok()).unwrap_or(0);
        Some(Usage { limit_bytes, working_set_bytes: usage.saturating_sub(inactive) })
    }
}

/// The root and the mount point of a line of mountinfo (proc(5)), if these files are there.
fn mount(line: &str, files: Files) -> Option<(PathBuf, PathBuf)> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3);
    let (root, point) = (mount.next()?, mount.next()?);
    let mut filesystem = filesystem.split(' ');
    let (kind, options) = (filesystem.next()?, filesystem.nth(1)?);
    let fits = match kind {
        "cgroup2" => files == V2,
        "cgroup" => files == V1 && options.split(',').any(|option| option == "memory"),
        _ => false,
    };
    fits.then(|| (PathBuf::from(root), PathBuf::from(point)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(directory: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(directory).unwrap();
        files.iter().for_each(|(name, text)| fs::write(directory.join(name), text).unwrap());
    }

    fn usages(proc: &Path) -> Vec<(u64, u64)> {
        let usages = Cgroup::find(proc).into_iter().filter_map(|group| group.usage());
        usages.map(|usage| (usage.limit_bytes, usage.working_set_bytes)).collect()
    }

    #[test]
    fn a_group_of_version_two_is_found_with_those_above_it() {
        let root = tempfile::tempdir().unwrap();
        let (proc, tree) = (root.path().join("proc"), root.path().join("tree"));
        let point = tree.display();
        write(
            &proc,
            &[
                ("cgroup", "0::/kubepods/pod1/member\n"),
                ("mountinfo", &format!("31 23 0:28 / {point} rw,relatime - cgroup2 cgroup2 rw\n")),
            ],
        );
        let member = tree.join("kubepods/pod1/member");
        write(
            &member,
            &[
                ("memory.max", "671088640\n"),
                ("memory.current", "500000\n"),
                ("memory.stat", "anon 400000\nfile 100000\ninactive_file 90000\n"),
            ],
        );
        write(&tree.join("kubepods/pod1"), &[("memory.max", "max\n")]);
        let above = [("memory.max", "1000\n"), ("memory.current", "7\n"), ("memory.stat", "\n")];
        write(&tree.join("kubepods"), &above);
        assert_eq!(usages(&proc), [(671_088_640, 410_000), (1000, 7)]);
        fs::remove_dir_all(&member).unwrap();
        assert_eq!(usages(&proc), [(1000, 7)], "a group that went is none");
    }

    #[test]
    fn a_group_of_version_one_is_found_also_where_only_its_own_part_is_mounted() {
        let root = tempfile::tempdir().unwrap();
        let (proc, tree) = (root.path().join("proc"), root.path().join("tree"));
        let point = tree.display();
        let line = format!(
            "9 8 0:31 / /other rw - cgroup cgroup rw,cpu\n\
             35 31 0:32 /docker/abc {point} rw,relatime - cgroup cgroup rw,memory\n"
        );
        for path in ["/docker/abc", "/", "/elsewhere/abc"] {
            let groups = format!("5:cpu:{path}\n4:hugetlb,memory:{path}\n0::/\n");
            write(&proc, &[("cgroup", &groups), ("mountinfo", &line)]);
            write(
                &tree,
                &[
                    ("memory.limit_in_bytes", "1000\n"),
                    ("memory.usage_in_bytes", "700\n"),
                    ("memory.stat", "inactive_file 1\ntotal_inactive_file 100\n"),
                ],
            );
            assert_eq!(usages(&proc), [(1000, 600)], "{path}");
        }
        write(&tree, &[("memory.limit_in_bytes", "9223372036854771712\n")]);
        assert_eq!(usages(&proc), []);
    }

    #[test]
    fn where_there_is_nothing_nothing_is_found() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Cgroup::find(root.path()), []);
        write(root.path(), &[("cgroup", "\n::\n0:\n4:memory"), ("mountinfo", "x - y\n\n - \n")]);
        assert_eq!(Cgroup::find(root.path()), []);
    }
}
