//! `DATASET`: whose data a directory has. And the checksum that our texts end in.

use super::directory::{self, DRAFT, Directory, Folder, Wrong};
use super::frame::crc32c;
use super::segment::DataSet;

/// The file's name.
pub const NAME: &str = "DATASET";
const FORMAT_PREFIX: &str = "hypercache durable ";
const FORMAT: &str = "hypercache durable 1";

/// A text with a line behind it that has its checksum.
pub fn with_checksum(text: &str) -> String {
    format!("{text}crc32c {:08x}\n", crc32c(text.as_bytes()))
}

/// The text before a checksum's line, if that is right.
pub fn checked(text: &str) -> Option<&str> {
    let at = text.rfind("crc32c ")?;
    let (body, line) = text.split_at(at);
    (with_checksum(body).strip_prefix(body)? == line).then_some(body)
}

/// The file that says so.
pub fn write(data_set: DataSet) -> String {
    let hex: String = data_set.iter().map(|byte| format!("{byte:02x}")).collect();
    with_checksum(&format!("{FORMAT}\ndata-set {hex}\n"))
}

/// What the file says.
///
/// # Errors
/// What is wrong with it.
pub fn read(bytes: &[u8]) -> Result<DataSet, String> {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    match text.lines().next() {
        Some(FORMAT) => {}
        Some(other) if other.starts_with(FORMAT_PREFIX) => {
            return Err(format!(
                "it is of the format '{other}', which another version of HyperCache wrote; this \
                 version reads '{FORMAT}'"
            ));
        }
        _ => return Err("it is no file of HyperCache".into()),
    }
    let body = checked(text).ok_or("it is damaged: its checksum is wrong")?;
    let hex = body.lines().nth(1).and_then(|line| line.strip_prefix("data-set "));
    let hex = hex.filter(|hex| hex.len() == 32 && hex.is_ascii()).unwrap_or_default();
    let mut data_set = [0; 16];
    for (byte, at) in data_set.iter_mut().zip((0..).step_by(2)) {
        let digits = hex.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
        *byte = digits.ok_or("its second line is not 'data-set' and 32 hexadecimal digits")?;
    }
    Ok(data_set)
}

/// Whose data the directory has; `None`: nothing is in it yet.
///
/// # Errors
/// It cannot be understood: the file is damaged, or missing although others are there.
pub fn find<D: Directory>(directory: &D) -> Result<Option<DataSet>, Wrong> {
    let wrong = |reason: String| Wrong::new(Folder::Root, NAME, reason);
    let found = directory::read_whole(directory, Folder::Root, NAME);
    if let Some(bytes) = found.map_err(|error| wrong(error.to_string()))? {
        return read(&bytes).map(Some).map_err(wrong);
    }
    for folder in Folder::ALL {
        let names = directory.names(folder).map_err(|error| Wrong::new(folder, "", error))?;
        if let Some(name) = names.into_iter().find(|name| !name.ends_with(DRAFT)) {
            let other = Wrong::new(folder, name, "").path();
            return Err(wrong(format!(
                "it is missing, although {other} is there. Restore it, or move the directory away \
                 to begin with no data"
            )));
        }
    }
    Ok(None)
}

/// Writes it into a directory in which nothing is yet.
///
/// # Errors
/// It cannot be written.
pub fn begin<D: Directory>(directory: &D, data_set: DataSet) -> Result<(), Wrong> {
    let text = write(data_set);
    let written = directory::write_whole(directory, Folder::Root, NAME, text.as_bytes());
    written.map_err(|error| Wrong::new(Folder::Root, NAME, error))
}
