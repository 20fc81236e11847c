//! Tables for people.

use std::fmt::Write;

/// Rows below a head; the first column to the left, numbers to the right.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..head.len())
        .map(|i| {
            let cells = rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.chars().count());
            cells.chain([head[i].chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (i, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let is_number = rows.iter().all(|row| {
                row.get(i).is_none_or(|c| c == "-" || c.starts_with(|c: char| c.is_ascii_digit()))
            });
            let space = " ".repeat(width - cell.chars().count());
            let _ = match is_number && i > 0 {
                true => write!(line, "{space}{cell}  "),
                false => write!(line, "{cell}{space}  "),
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_to_the_left_and_numbers_to_the_right() {
        let rows = [["get", "7"], ["zrange", "1234"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&["WHAT", "N"], &rows), "WHAT       N\nget        7\nzrange  1234\n");
    }
}
