//! A disk that fails below the file system: writes that the system took do not get to the device, and
//! the fsync says so. And one that can only be read.
//!
//! The device is a loop over a sparse file in a small file system of memory: once that is full, the
//! device's writes fail, and it is well again when there is room. Needs to be root, and loop devices.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::Raw;
use common::kept::Kept;

fn run(program: &str, args: &[&str]) -> Result<String, String> {
    let done = Command::new(program).args(args).output().map_err(|e| format!("{program}: {e}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match done.status.success() {
        true => Ok(text(&done.stdout)),
        false => Err(format!("{program} {args:?}: {}", text(&done.stderr))),
    }
}

/// A device in memory with a file system on it; all is given back at the end.
struct Device {
    memory: PathBuf,
    mounted: PathBuf,
    device: String,
    _directory: tempfile::TempDir,
}

impl Device {
    /// `None` where that cannot be had.
    fn make(memory: &str, options: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let mut device = Self {
            memory: path("memory"),
            mounted: path("data/durable"),
            device: String::new(),
            _directory: directory,
        };
        match device.set_up(memory, options) {
            Ok(()) => Some(device),
            Err(reason) => {
                eprintln!("skipped: no device for the test: {reason}");
                None
            }
        }
    }

    fn set_up(&mut self, memory: &str, options: &str) -> Result<(), String> {
        std::fs::create_dir_all(&self.memory).unwrap();
        std::fs::create_dir_all(&self.mounted).unwrap();
        let at = self.memory.to_str().unwrap();
        run("mount", &["-t", "tmpfs", "-o", memory, "tmpfs", at])?;
        let image = self.memory.join("image");
        std::fs::File::create(&image).unwrap().set_len(128 << 20).unwrap();
        self.device = run("losetup", &["-f", "--show", image.to_str().unwrap()])?;
        let made = ["-q", "-O", "^has_journal", "-E", "lazy_itable_init=0,nodiscard", "-N", "2000"];
        run("mkfs.ext4", &[&made[..], &[&self.device]].concat())?;
        self.mount(options)?;
        // A data directory has only ours in it.
        let _ = std::fs::remove_dir(self.mounted.join("lost+found"));
        Ok(())
    }

    fn mount(&self, options: &str) -> Result<(), String> {
        let at = self.mounted.to_str().unwrap();
        run("mount", &["-o", options, &self.device, at]).map(drop)
    }

    fn remount(&self, how: &str) {
        let how = format!("remount,{how}");
        run("mount", &["-o", &how, self.mounted.to_str().unwrap()]).unwrap();
    }

    /// From now on it can only be read: once the member has no file open any more that it writes.
    fn close(&self, kept: &Kept) {
        kept.member.wait_for("the first snapshots", || {
            run("mount", &["-o", "remount,ro", self.mounted.to_str().unwrap()]).ok()
        });
    }

    fn unmount(&self) {
        run("umount", &[self.mounted.to_str().unwrap()]).unwrap();
    }

    /// From now on nothing new gets to the device, until this is removed.
    fn fill(&self) -> PathBuf {
        let path = self.memory.join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        let mut bytes = &[1; 4096][..];
        while let Ok(written) = std::io::Write::write(&mut file, bytes) {
            bytes = &bytes[..written];
        }
        path
    }

    fn data(&self) -> &Path {
        self.mounted.parent().unwrap()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = run("umount", &["-l", self.mounted.to_str().unwrap()]);
        let _ = run("losetup", &["-d", &self.device]);
        let _ = run("umount", &["-l", self.memory.to_str().unwrap()]);
    }
}

/// A file system that answers nobody until this is dropped: also when a test fails meanwhile, as nothing that waits for
/// the file system can be ended before.
struct Frozen<'d>(&'d Device);

impl<'d> Frozen<'d> {
    fn freeze(device: &'d Device) -> Result<Self, String> {
        run("fsfreeze", &["-f", device.mounted.to_str().unwrap()])?;
        Ok(Self(device))
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let thawed = run("fsfreeze", &["-u", self.0.mounted.to_str().unwrap()]);
        assert!(std::thread::panicking() || thawed.is_ok(), "{thawed:?}");
    }
}

const YAML: &str = "stores:\n  s: {number: 1, persistence: {mode: aof, fsync: always}}\n  \
                    p: {number: 2, persistence: {mode: aof, fsync: periodic}}\n  n: {number: 3}\n";

/// Sets keys, and notes which of them were acknowledged, until one is refused; what was said.
fn set_until_refused(kept: &Kept, client: &mut Raw, good: &mut Vec<String>) -> String {
    let large = "x".repeat(20_000);
    kept.member.wait_for("a refused write", || {
        let key = format!("k{}", good.len());
        let value = format!("{key}:{large}");
        let reply = client.ask(&[b"SET", key.as_bytes(), value.as_bytes()]);
        if reply == b"+OK\r\n" {
            good.push(key);
            return None;
        }
        Some(String::from_utf8_lossy(&reply).into_owned())
    })
}

fn accepts(kept: &Kept, client: &mut Raw, key: &str) {
    kept.member.wait_for("an accepted write", || {
        (client.ask(&[b"SET", key.as_bytes(), key.as_bytes()]) == b"+OK\r\n").then_some(())
    });
}

/// Whoever waits for the disk is told first, and then the log.
fn tells(kept: &Kept, text: &str) {
    kept.member.wait_for(text, || kept.member.log().contains(text).then_some(()));
}

fn are_there(kept: &Kept, good: &[String]) {
    let mut client = kept.connect();
    for key in good {
        let reply = client.ask(&[b"GET", key.as_bytes()]);
        let is_its = String::from_utf8_lossy(&reply).contains(key.as_str());
        assert!(
            is_its,
            "{key}: {}; {}",
            reply[..20.min(reply.len())].escape_ascii(),
            kept.member.log()
        );
    }
}

#[test]
fn an_fsync_that_fails_refuses_writers_until_snapshots_made_the_disk_whole() {
    let Some(device) = Device::make("size=32m", "errors=continue") else { return };
    let mut kept = Kept::start_in(device.data(), YAML);
    let mut client = kept.connect();
    let mut good = Vec::new();
    for round in 0..2 {
        // A segment is open: what fails then is its fsync.
        accepts(&kept, &mut client, "k0");
        if good.is_empty() {
            good.push("k0".into());
        }
        let filler = device.fill();
        let refused = set_until_refused(&kept, &mut client, &mut good);
        assert!(refused.starts_with("-MISCONF"), "{refused}");
        assert!(client.ask(&[b"SET", b"x", b"y"]).starts_with(b"-MISCONF"));
        tells(&kept, "the log cannot be forced to the disk");
        // Readers go on, and so do stores that promise nothing.
        assert_eq!(client.ask(&[b"GET", b"k0"]), b"$2\r\nk0\r\n");
        let mut other = kept.member.raw();
        other.ask(&[b"SELECT", b"2"]);
        assert!(other.ask(&[b"SET", b"a", b"b"]).starts_with(b"-MISCONF"));
        other.ask(&[b"SELECT", b"3"]);
        assert_eq!(other.ask(&[b"SET", b"a", b"b"]), b"+OK\r\n");
        assert!(kept.member.http("GET /health").contains("disk:"));

        std::fs::remove_file(&filler).unwrap();
        let after = format!("after{round}");
        accepts(&kept, &mut client, &after);
        good.push(after);
        assert!(!kept.member.http("GET /health").contains("disk:"));
        tells(&kept, "snapshots of all logged stores are on the disk");
    }
    // What the system still had in memory of lost writes is gone with the mount.
    kept.member.kill();
    device.unmount();
    device.mount("errors=continue").unwrap();
    kept.again();
    are_there(&kept, &good);
}

#[test]
fn a_disk_that_can_only_be_read_refuses_writers_and_heals_when_it_can_be_written() {
    let Some(device) = Device::make("size=100m", "errors=continue") else { return };
    let mut kept = Kept::start_in(device.data(), YAML);
    let mut good = vec!["before".to_owned()];
    accepts(&kept, &mut kept.connect(), "before");
    // A member that has not written since its start has no file open that would keep it from that.
    assert_eq!(kept.member.terminate(), Some(0));
    kept.again();
    device.close(&kept);
    let mut client = kept.connect();
    let refused = set_until_refused(&kept, &mut client, &mut good);
    assert!(refused.starts_with("-MISCONF") && refused.contains("Read-only"), "{refused}");
    assert_eq!(client.ask(&[b"GET", b"before"]), b"$6\r\nbefore\r\n");
    assert!(kept.member.http("GET /health").contains("disk:"));
    device.remount("rw");
    accepts(&kept, &mut client, "after");
    good.push("after".into());
    kept.member.kill();
    kept.again();
    are_there(&kept, &good);
}

#[test]
fn a_file_system_that_stops_writing_in_the_middle_loses_nothing_that_was_acknowledged() {
    let Some(device) = Device::make("size=100m", "errors=remount-ro") else { return };
    let name = device.device.trim_start_matches("/dev/").to_owned();
    let trigger = PathBuf::from(format!("/sys/fs/ext4/{name}/trigger_fs_error"));
    if !trigger.exists() {
        eprintln!("skipped: the kernel lets nobody say that its file system has an error");
        return;
    }
    let mut kept = Kept::start_in(device.data(), YAML);
    let mut client = kept.connect();
    let mut good = Vec::new();
    for n in 0..20 {
        accepts(&kept, &mut client, &format!("k{n}"));
        good.push(format!("k{n}"));
    }
    std::fs::write(&trigger, "1").unwrap();
    let refused = set_until_refused(&kept, &mut client, &mut good);
    assert!(refused.starts_with("-MISCONF"), "{refused}");
    assert_eq!(client.ask(&[b"GET", b"k1"]), b"$2\r\nk1\r\n");
    kept.member.kill();
    device.unmount();
    device.mount("errors=remount-ro").unwrap();
    kept.again();
    are_there(&kept, &good);
    accepts(&kept, &mut kept.connect(), "after");
}

#[test]
fn a_disk_that_hangs_refuses_writers_and_heals_when_it_answers() {
    let Some(device) = Device::make("size=100m", "errors=continue") else { return };
    let mut kept = Kept::start_in(device.data(), YAML);
    let mut client = kept.connect();
    accepts(&kept, &mut client, "k0");
    let mut good = vec!["k0".to_owned()];
    let frozen = match Frozen::freeze(&device) {
        Ok(frozen) => frozen,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    let refused = set_until_refused(&kept, &mut client, &mut good);
    let again = client.ask(&[b"SET", b"x", b"y"]);
    let read = client.ask(&[b"GET", b"k0"]);
    drop(frozen);
    assert!(refused.starts_with("-MISCONF") && again.starts_with(b"-MISCONF"), "{refused}");
    assert_eq!(read, b"$2\r\nk0\r\n");
    accepts(&kept, &mut client, "after");
    good.push("after".into());
    kept.member.kill();
    kept.again();
    are_there(&kept, &good);
}

#[test]
fn no_backup_is_made_from_a_disk_that_fails_and_one_is_when_it_is_well() {
    let Some(device) = Device::make("size=100m", "errors=continue") else { return };
    let destination = tempfile::tempdir().unwrap();
    let yaml = format!("backup: {{url: {}}}\n{YAML}", destination.path().display());
    let mut kept = Kept::start_in(device.data(), &yaml);
    accepts(&kept, &mut kept.connect(), "before");
    assert_eq!(kept.member.terminate(), Some(0));
    kept.again();
    device.close(&kept);
    let mut client = kept.connect();
    set_until_refused(&kept, &mut client, &mut Vec::new());
    let refused = kept.member.http("POST /api/admin/backup?wait=true");
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(refused.contains("the disk has failed") && refused.contains("Read-only"), "{refused}");
    assert!(std::fs::read_dir(destination.path()).unwrap().next().is_none());
    device.remount("rw");
    accepts(&kept, &mut client, "after");
    let made = kept.member.http("POST /api/admin/backup?wait=true");
    assert!(made.starts_with("HTTP/1.1 200"), "{made}");
}
