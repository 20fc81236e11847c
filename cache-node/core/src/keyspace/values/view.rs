//! A value where it is kept.

use super::{EMBSTR_BYTES, List, Value};

/// A value that is looked at.
#[derive(Clone, Copy)]
pub enum ValueRef<'a> {
    /// A string that is an integer's decimal digits.
    Int(i64),
    /// A short string.
    Str(&'a [u8]),
    /// A short string that was changed in place.
    Raw(&'a [u8]),
    /// Whatever is larger: any [`Value`].
    Object(&'a Value),
}

impl<'a> From<&'a Value> for ValueRef<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Int(value) => Self::Int(*value),
            value => Self::Object(value),
        }
    }
}

impl<'a> ValueRef<'a> {
    /// What is not a short string.
    #[inline]
    pub fn object(self) -> Option<&'a Value> {
        match self {
            Self::Object(value) => Some(value),
            _ => None,
        }
    }

    /// A copy.
    pub fn to_value(self) -> Value {
        match self {
            Self::Int(value) => Value::Int(value),
            Self::Str(bytes) => Value::plain(bytes),
            Self::Raw(bytes) => Value::Raw(Box::new(bytes.to_vec())),
            Self::Object(value) => value.clone(),
        }
    }

    /// The name of its type.
    pub fn type_name(self) -> &'static str {
        self.object().map_or("string", Value::type_name)
    }

    /// How it is kept, in Redis's words.
    pub fn encoding(self) -> &'static str {
        match self {
            Self::Int(_) => "int",
            Self::Str(bytes) if bytes.len() <= EMBSTR_BYTES => "embstr",
            Self::Str(_) | Self::Raw(_) => "raw",
            Self::Object(value) => value.encoding(),
        }
    }

    /// A string's bytes (an integer's digits are written to `buffer`); `None` for other types.
    #[inline]
    pub fn as_bytes<'b>(self, buffer: &'b mut itoa::Buffer) -> Option<&'b [u8]>
    where
        'a: 'b,
    {
        match self {
            Self::Int(value) => Some(buffer.format(value).as_bytes()),
            Self::Str(bytes) | Self::Raw(bytes) => Some(bytes),
            Self::Object(value) => value.as_bytes(buffer),
        }
    }

    /// A string's length; `None` for other types.
    #[inline]
    pub fn string_len(self) -> Option<usize> {
        self.as_bytes(&mut itoa::Buffer::new()).map(<[u8]>::len)
    }

    /// The list, if it is one.
    #[inline]
    pub fn as_list(self) -> Option<&'a List> {
        self.object()?.as_list()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_looks_the_same_where_it_is_kept() {
        for text in [&b"12"[..], b"", b"short", &[b'a'; 44], &[b'a'; 45]] {
            let value = Value::string(text);
            let bytes = value.as_bytes(&mut itoa::Buffer::new()).unwrap().to_vec();
            let short = match &value {
                Value::Int(value) => ValueRef::Int(*value),
                _ => ValueRef::Str(&bytes),
            };
            for view in [short, ValueRef::from(&value)] {
                assert_eq!(view.encoding(), value.encoding());
                assert_eq!(view.type_name(), "string");
                assert_eq!(view.string_len(), Some(text.len()));
                let copy = view.to_value();
                assert_eq!(copy.as_bytes(&mut itoa::Buffer::new()), Some(text));
                assert_eq!(copy.encoding(), value.encoding());
            }
        }
        let raw = ValueRef::Raw(b"12");
        assert_eq!((raw.encoding(), raw.to_value().encoding()), ("raw", "raw"));
    }
}
