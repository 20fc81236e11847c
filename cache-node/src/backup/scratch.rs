//! Files that are gone when they are closed, whatever happens.

use std::fs::{File, OpenOptions};
use std::path::Path;

use super::Error;
use super::names::hex;

/// Makes a file without a name in a directory.
///
/// # Errors
/// There cannot be one.
pub fn file(directory: &Path) -> Result<File, Error> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| Error::file(directory, error))?;
    let path = directory.join(format!("hypercache-{}.tmp", hex(&random)));
    let made = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
    let file = made.map_err(|error| Error::file(&path, error))?;
    std::fs::remove_file(&path).map_err(|error| Error::file(&path, error))?;
    Ok(file)
}
