//! The log's segments as files of their folder.

use super::directory::{Directory, File, Folder};
use super::segment::file_name;
use super::writer::Files;

/// The files that the log's writer writes: the one that it writes now stays open, so that an error of it
/// that comes late is told to who forces it to the disk.
#[derive(Debug)]
pub struct Segments<D: Directory> {
    directory: D,
    open: Option<(u64, D::File)>,
}

impl<D: Directory> Segments<D> {
    /// Those of a directory.
    pub fn of(directory: D) -> Self {
        Self { directory, open: None }
    }

    /// A file, opened if it is not.
    fn file(&mut self, number: u64) -> Result<&mut D::File, D::Error> {
        let open = match self.open.take() {
            Some((open, file)) if open == number => file,
            _ => self.directory.edit(Folder::Log, &file_name(number))?,
        };
        Ok(&mut self.open.insert((number, open)).1)
    }
}

impl<D: Directory> Files for Segments<D> {
    type Error = D::Error;

    fn create(&mut self, number: u64) -> Result<(), D::Error> {
        self.open = Some((number, self.directory.create(Folder::Log, &file_name(number))?));
        Ok(())
    }

    fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> Result<(), D::Error> {
        self.file(number)?.write_at(offset, bytes)
    }

    fn truncate(&mut self, number: u64, len: u64) -> Result<(), D::Error> {
        self.file(number)?.truncate(len)
    }

    fn sync(&mut self, number: u64) -> Result<(), D::Error> {
        self.file(number)?.sync()
    }

    fn sync_dir(&mut self) -> Result<(), D::Error> {
        self.directory.sync(Folder::Log)
    }
}
