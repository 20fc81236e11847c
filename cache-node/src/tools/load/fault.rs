//! What is wrong on purpose, so that dashboards and alerts of errors have something to show.

/// A request that a server refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A command for lists on a text: WRONGTYPE. RESP only.
    WrongType,
    /// A command without its arguments; over HTTP, a body that cannot be read.
    Arguments,
    /// A command, or a path, that does not exist.
    Unknown,
    /// An option that does not exist: a syntax error; over HTTP, such a parameter of the query.
    Option,
    /// A word where a number is wanted. RESP only.
    Number,
    /// A value that would be larger than 512 MB; over HTTP, a body that is announced as such. None is sent.
    Oversized,
    /// A password that is wrong: an AUTH, or a header.
    Password,
    /// A frame that is none, which ends the connection. RESP only.
    Frame,
}

const TABLE: [(Fault, &str); 8] = [
    (Fault::WrongType, "wrong-type"),
    (Fault::Arguments, "arguments"),
    (Fault::Unknown, "unknown"),
    (Fault::Option, "option"),
    (Fault::Number, "number"),
    (Fault::Oversized, "oversized"),
    (Fault::Password, "password"),
    (Fault::Frame, "frame"),
];

impl Fault {
    /// What is done unless told otherwise: those that leave connections and audits alone.
    pub const USUAL: [Self; 6] = [
        Self::WrongType,
        Self::Arguments,
        Self::Unknown,
        Self::Option,
        Self::Number,
        Self::Oversized,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        TABLE[self as usize].1
    }

    /// Whether it can be done over HTTP.
    pub fn over_http(self) -> bool {
        !matches!(self, Self::WrongType | Self::Number | Self::Frame)
    }

    /// Whether the server ends the connection after it.
    pub fn ends_connection(self, http: bool) -> bool {
        self == Self::Frame || (http && self == Self::Oversized)
    }

    /// Whether it is about a text that has to be there.
    pub fn needs_text(self) -> bool {
        matches!(self, Self::WrongType | Self::Number)
    }

    /// The fault of a name.
    ///
    /// # Errors
    /// There is none; which there are.
    pub fn parse(name: &str) -> Result<Self, String> {
        let found = TABLE.iter().find(|(_, known)| *known == name);
        found.map(|(fault, _)| *fault).ok_or_else(|| {
            format!("'{name}' is none of {}", TABLE.map(|(_, name)| name).join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_stands_at_its_place_and_is_found_by_its_name() {
        for (place, (fault, name)) in TABLE.into_iter().enumerate() {
            assert_eq!(fault as usize, place);
            assert_eq!(fault.name(), name);
            assert_eq!(Fault::parse(name), Ok(fault));
        }
        assert!(Fault::parse("fire").unwrap_err().contains("wrong-type, arguments"));
    }
}
