//! Room on the disk that is kept for the cluster's table: a file that is nothing but large. When the disk is full it goes,
//! so that a member that cannot write its data any more can say what it votes and take what is decided.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What is kept. An entry of Raft's log takes some hundreds of bytes, a large change of the table some tens of thousands; the
/// database copies each page that it changes.
const BYTES: usize = 4 << 20;
const NAME: &str = "room";
/// After it went it is looked so often whether there is room for it again.
const AGAIN: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub struct Room {
    path: PathBuf,
    looked: Option<Instant>,
}

impl Room {
    /// Keeps it in a directory, if there is any.
    pub fn keep(directory: &Path) -> Self {
        let mut room = Self { path: directory.join(NAME), looked: None };
        room.keep_again();
        room
    }

    /// Keeps it again, if that was not tried just now.
    pub fn keep_again(&mut self) {
        if self.looked.is_some_and(|looked| looked.elapsed() < AGAIN) {
            return;
        }
        self.looked = Some(Instant::now());
        let is_there = fs::metadata(&self.path).is_ok_and(|meta| meta.len() == BYTES as u64);
        if !is_there && fill(&self.path).is_err() {
            // What there is of it is of more use to others.
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Gives it away; whether there was any.
    pub fn give(&mut self) -> bool {
        self.looked = Some(Instant::now());
        fs::remove_file(&self.path).is_ok()
    }
}

fn fill(path: &Path) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    // Something that no file system takes for a hole.
    let block = vec![0xa5; 64 << 10];
    (0..BYTES / block.len()).try_for_each(|_| file.write_all(&block))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_kept_given_once_and_not_taken_again_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let mut room = Room::keep(directory.path());
        let bytes = || fs::metadata(directory.path().join(NAME)).map(|meta| meta.len()).ok();
        assert_eq!(bytes(), Some(BYTES as u64));
        assert!(room.give() && !room.give());
        room.keep_again();
        assert_eq!(bytes(), None, "whoever needed it has it");
        assert_eq!(Room::keep(directory.path()).looked.is_some(), bytes() == Some(BYTES as u64));
    }

    #[test]
    fn what_is_left_of_a_file_that_could_not_be_filled_is_filled() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(NAME), b"a part").unwrap();
        Room::keep(directory.path());
        let bytes = fs::metadata(directory.path().join(NAME)).unwrap().len();
        assert_eq!(bytes, BYTES as u64);
    }
}
