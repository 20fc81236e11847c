//! The commands that load is made of.

/// A command, by the kind of key that it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// GET.
    Get,
    /// SET, with a lifetime where there is one.
    Set,
    /// DEL.
    Del,
    /// EXISTS.
    Exists,
    /// INCR.
    Incr,
    /// HSET of one of 100 fields.
    Hset,
    /// HGET of one of 100 fields.
    Hget,
    /// LPUSH.
    Lpush,
    /// LPOP.
    Lpop,
    /// LRANGE of the first ten.
    Lrange,
    /// SADD of one of 100 members.
    Sadd,
    /// SISMEMBER of one of 100 members.
    Sismember,
    /// ZADD of one of 100 members.
    Zadd,
    /// ZRANGE of the first ten.
    Zrange,
}

/// All of them with their names, and the word in their keys: kinds of keys never mix, so that no command
/// meets a value of the wrong type.
const TABLE: [(Command, &str, &str); Command::COUNT] = [
    (Command::Get, "get", "string"),
    (Command::Set, "set", "string"),
    (Command::Del, "del", "string"),
    (Command::Exists, "exists", "string"),
    (Command::Incr, "incr", "counter"),
    (Command::Hset, "hset", "hash"),
    (Command::Hget, "hget", "hash"),
    (Command::Lpush, "lpush", "list"),
    (Command::Lpop, "lpop", "list"),
    (Command::Lrange, "lrange", "list"),
    (Command::Sadd, "sadd", "set"),
    (Command::Sismember, "sismember", "set"),
    (Command::Zadd, "zadd", "zset"),
    (Command::Zrange, "zrange", "zset"),
];

impl Command {
    /// How many there are.
    pub const COUNT: usize = 14;

    /// All of them, each at its place.
    pub fn all() -> [Self; Self::COUNT] {
        TABLE.map(|(command, ..)| command)
    }

    /// Its place among all.
    pub fn index(self) -> usize {
        self as usize
    }

    /// Its name, in small letters.
    pub fn name(self) -> &'static str {
        TABLE[self.index()].1
    }

    /// The word for its kind of key.
    pub fn family(self) -> &'static str {
        TABLE[self.index()].2
    }

    /// Whether HTTP has it.
    pub fn over_http(self) -> bool {
        matches!(self, Self::Get | Self::Set | Self::Del)
    }

    /// The command of a name.
    ///
    /// # Errors
    /// There is none; which there are.
    pub fn parse(name: &str) -> Result<Self, String> {
        let found = TABLE.iter().find(|(_, known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(command, ..)| *command).ok_or_else(|| {
            format!("'{name}' is none of {}", TABLE.map(|(_, name, _)| name).join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_stands_at_its_place_and_is_found_by_its_name() {
        for (place, (command, name, _)) in TABLE.into_iter().enumerate() {
            assert_eq!(command.index(), place);
            assert_eq!(Command::parse(name), Ok(command));
        }
        assert_eq!(Command::parse("GET"), Ok(Command::Get));
        assert!(Command::parse("flushall").unwrap_err().contains("get, set"));
    }
}
