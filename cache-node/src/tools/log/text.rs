//! Commands as lines that redis-cli reads, and as JSON.

use std::fmt::Write as _;

use base64::Engine as _;
use serde_json::{Value, json};

/// Whether a word needs no quotes.
fn is_plain(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(|byte| byte.is_ascii_graphic() && !b"\"'\\".contains(byte))
}

/// Appends a word, between quotes if it needs them: as redis-cli writes it and reads it.
pub fn put_word(out: &mut String, word: &[u8]) {
    if is_plain(word) {
        out.push_str(&String::from_utf8_lossy(word));
        return;
    }
    out.push('"');
    for byte in word {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'"' => out.push_str("\\\""),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x07 => out.push_str("\\a"),
            0x08 => out.push_str("\\b"),
            b' '..=b'~' => out.push(char::from(*byte)),
            byte => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    out.push('"');
}

/// A command as a line, without its end.
pub fn line(words: &[&[u8]]) -> String {
    let mut out = String::new();
    for word in words {
        if !out.is_empty() {
            out.push(' ');
        }
        put_word(&mut out, word);
    }
    out
}

/// A command as an array: texts as strings, other bytes as `{"base64": …}`.
pub fn as_json(words: &[&[u8]]) -> Value {
    let word = |word: &&[u8]| match std::str::from_utf8(word) {
        Ok(text) => json!(text),
        Err(_) => json!({ "base64": base64::engine::general_purpose::STANDARD.encode(word) }),
    };
    words.iter().map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l4_any_byte_is_a_word_that_redis_cli_reads() {
        let words: [&[u8]; 4] = [b"SET", b"a key", b"", b"\"\\\n\r\t\0\xff"];
        assert_eq!(line(&words), r#"SET "a key" "" "\"\\\n\r\t\x00\xff""#);
    }

    #[test]
    fn bytes_that_are_no_text_are_told_from_texts_in_json() {
        assert_eq!(as_json(&[b"a", b"\xff"]).to_string(), r#"["a",{"base64":"/w=="}]"#);
    }
}
