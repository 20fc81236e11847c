//! A script's first line, `#!lua flags=…`: what it says of the script.
//!
//! Source: the scripting introduction of Redis 7
//! (redis.io/docs/latest/develop/interact/programmability/eval-intro, "script flags").

/// What a script says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    /// It has such a line; one without is held to older, laxer rules.
    pub present: bool,
    /// It only reads.
    pub no_writes: bool,
    /// It may run while a store is over its budget.
    pub allow_oom: bool,
    /// It may use keys of several slots.
    pub cross_slot: bool,
    /// It refuses to run in a cluster.
    pub no_cluster: bool,
    /// How many bytes the line has, without its end.
    pub len: usize,
}

impl Header {
    /// Reads the first line.
    ///
    /// # Errors
    /// Redis's words for what is wrong with it.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        if !text.starts_with(b"#!") {
            return Ok(Self::default());
        }
        let Some(len) = memchr::memchr(b'\n', text) else {
            return Err("ERR Invalid script shebang".into());
        };
        let line = String::from_utf8_lossy(&text[2..len]);
        let mut words = line.split_ascii_whitespace();
        let engine = words.next().unwrap_or_default();
        let engine = if line.starts_with(' ') { "" } else { engine };
        let mut header = Self { present: true, len, ..Self::default() };
        for word in words {
            let Some(flags) = word.strip_prefix("flags=") else {
                return Err(format!("ERR Unknown lua shebang option: {word}"));
            };
            for flag in flags.split(',') {
                match flag {
                    "no-writes" => header.no_writes = true,
                    "allow-oom" => header.allow_oom = true,
                    // Data is never stale here.
                    "allow-stale" => {}
                    "no-cluster" => header.no_cluster = true,
                    "allow-cross-slot-keys" => header.cross_slot = true,
                    other => return Err(format!("ERR Unexpected flag in script shebang: {other}")),
                }
            }
        }
        if engine != "lua" {
            return Err(format!("ERR Could not find scripting engine '{engine}'"));
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_and_unknown_ones_refused() {
        assert_eq!(Header::read(b"return 1"), Ok(Header::default()));
        let header = Header::read(b"#!lua flags=no-writes,allow-oom\nreturn 1").unwrap();
        assert!(header.present && header.no_writes && header.allow_oom && !header.cross_slot);
        assert_eq!(header.len, 31);
        assert!(Header::read(b"#!lua\nreturn 1").unwrap().present);
        for (text, words) in [
            (&b"#!lua"[..], "ERR Invalid script shebang"),
            (b"#!python\n", "ERR Could not find scripting engine 'python'"),
            (b"#!lua x=1\n", "ERR Unknown lua shebang option: x=1"),
            (b"#!lua flags=a\n", "ERR Unexpected flag in script shebang: a"),
        ] {
            assert_eq!(Header::read(text), Err(words.to_owned()));
        }
    }
}
