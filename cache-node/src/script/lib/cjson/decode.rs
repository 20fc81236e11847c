//! JSON to values.

use mlua::{Lua, Table, Value};

use super::Values;
use crate::script::vm::callback::{Fail, Items};

/// Reads a value.
pub fn decode(lua: &Lua, text: &[u8], settings: Values) -> Result<Value, Fail> {
    if let [a, b, ..] = text
        && (*a == 0 || *b == 0)
    {
        return Err(Fail::here("JSON parser does not support UTF-16 or UTF-32"));
    }
    let mut decoder =
        Decoder { lua, text, at: 0, settings, items: Items::default(), buffer: Vec::new() };
    let token = decoder.token();
    let value = decoder.value(token, 0)?;
    match decoder.token() {
        (_, Token::End) => Ok(value),
        found => Err(expected("the end", &found)),
    }
}

/// What JSON is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    /// Its text is in the buffer.
    String,
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Error(&'static str),
}

impl Token {
    fn name(self) -> &'static str {
        match self {
            Self::ObjectBegin => "T_OBJ_BEGIN",
            Self::ObjectEnd => "T_OBJ_END",
            Self::ArrayBegin => "T_ARR_BEGIN",
            Self::ArrayEnd => "T_ARR_END",
            Self::String => "T_STRING",
            Self::Number(_) => "T_NUMBER",
            Self::Boolean(_) => "T_BOOLEAN",
            Self::Null => "T_NULL",
            Self::Colon => "T_COLON",
            Self::Comma => "T_COMMA",
            Self::End => "T_END",
            Self::Error(what) => what,
        }
    }
}

/// A token and where it begins.
type Placed = (usize, Token);

fn expected(what: &str, (at, token): &Placed) -> Fail {
    Fail::here(format!("Expected {what} but found {} at character {}", token.name(), at + 1))
}

struct Decoder<'a> {
    lua: &'a Lua,
    text: &'a [u8],
    at: usize,
    settings: Values,
    items: Items,
    buffer: Vec<u8>,
}

impl Decoder<'_> {
    fn value(&mut self, token: Placed, depth: usize) -> Result<Value, Fail> {
        self.items.next()?;
        match token.1 {
            Token::String => Ok(Value::String(self.lua.create_string(&self.buffer)?)),
            Token::Number(n) => Ok(Value::Number(n)),
            Token::Boolean(b) => Ok(Value::Boolean(b)),
            Token::Null => Ok(Value::NULL),
            Token::ObjectBegin => self.object(self.deeper(depth)?).map(Value::Table),
            Token::ArrayBegin => self.array(self.deeper(depth)?).map(Value::Table),
            _ => Err(expected("value", &token)),
        }
    }

    fn deeper(&self, depth: usize) -> Result<usize, Fail> {
        let depth = depth + 1;
        if depth > self.settings.decode_depth {
            let at = self.at;
            return Err(Fail::here(format!(
                "Found too many nested data structures ({depth}) at character {at}"
            )));
        }
        Ok(depth)
    }

    fn object(&mut self, depth: usize) -> Result<Table, Fail> {
        let table = self.lua.create_table()?;
        let mut token = self.token();
        if token.1 == Token::ObjectEnd {
            return Ok(table);
        }
        loop {
            if token.1 != Token::String {
                return Err(expected("object key string", &token));
            }
            let key = self.lua.create_string(&self.buffer)?;
            let colon = self.token();
            if colon.1 != Token::Colon {
                return Err(expected("colon", &colon));
            }
            let begin = self.token();
            let value = self.value(begin, depth)?;
            table.raw_set(key, value)?;
            let after = self.token();
            match after.1 {
                Token::ObjectEnd => return Ok(table),
                Token::Comma => token = self.token(),
                _ => return Err(expected("comma or object end", &after)),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Table, Fail> {
        let table = self.lua.create_table()?;
        let mut token = self.token();
        if token.1 == Token::ArrayEnd {
            return Ok(table);
        }
        for index in 1.. {
            let value = self.value(token, depth)?;
            table.raw_set(index, value)?;
            let after = self.token();
            match after.1 {
                Token::ArrayEnd => break,
                Token::Comma => token = self.token(),
                _ => return Err(expected("comma or array end", &after)),
            }
        }
        Ok(table)
    }

    fn token(&mut self) -> Placed {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.at += 1;
        }
        let start = self.at;
        let Some(&byte) = self.text.get(start) else { return (start, Token::End) };
        self.at += 1;
        let token = match byte {
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b':' => Token::Colon,
            b',' => Token::Comma,
            b'"' => match self.string() {
                Ok(()) => Token::String,
                Err((at, what)) => return (at, Token::Error(what)),
            },
            b'-' | b'0'..=b'9' => self.number(start),
            _ => self.word(start),
        };
        (start, token)
    }

    fn word(&mut self, start: usize) -> Token {
        let rest = &self.text[start..];
        for (word, token) in [
            (&b"true"[..], Token::Boolean(true)),
            (b"false", Token::Boolean(false)),
            (b"null", Token::Null),
        ] {
            if rest.starts_with(word) {
                self.at = start + word.len();
                return token;
            }
        }
        if self.settings.decode_invalid {
            for (word, n) in
                [(&b"infinity"[..], f64::INFINITY), (b"inf", f64::INFINITY), (b"nan", f64::NAN)]
            {
                if rest.len() >= word.len() && rest[..word.len()].eq_ignore_ascii_case(word) {
                    self.at = start + word.len();
                    return Token::Number(n);
                }
            }
        }
        Token::Error("invalid token")
    }

    fn number(&mut self, start: usize) -> Token {
        let rest = &self.text[start..];
        let unsigned = rest.strip_prefix(b"-").unwrap_or(rest);
        let negative = unsigned.len() < rest.len();
        let sign = if negative { -1.0 } else { 1.0 };
        let odd = match unsigned {
            [b'0', b'x' | b'X', ..] => true,
            [b'0', b'0'..=b'9', ..] => true,
            [b'0'..=b'9', ..] => false,
            _ => true,
        };
        if odd && !self.settings.decode_invalid {
            return Token::Error("invalid number");
        }
        if let [b'0', b'x' | b'X', digits @ ..] = unsigned {
            let len = digits.iter().take_while(|b| b.is_ascii_hexdigit()).count();
            if len > 0 {
                self.at = start + usize::from(negative) + 2 + len;
                let value = digits[..len].iter().fold(0.0, |n, digit| {
                    n * 16.0 + f64::from(char::from(*digit).to_digit(16).unwrap_or(0))
                });
                return Token::Number(sign * value);
            }
        }
        for (word, n) in
            [(&b"infinity"[..], f64::INFINITY), (b"inf", f64::INFINITY), (b"nan", f64::NAN)]
        {
            if unsigned.len() >= word.len() && unsigned[..word.len()].eq_ignore_ascii_case(word) {
                self.at = start + usize::from(negative) + word.len();
                return Token::Number(sign * n);
            }
        }
        let digits = |bytes: &[u8]| bytes.iter().take_while(|b| b.is_ascii_digit()).count();
        let mut len = digits(unsigned);
        if unsigned.get(len) == Some(&b'.') {
            len += 1 + digits(&unsigned[len + 1..]);
        }
        if let Some(b'e' | b'E') = unsigned.get(len) {
            let signed = matches!(unsigned.get(len + 1), Some(b'+' | b'-'));
            let more = digits(unsigned.get(len + 1 + usize::from(signed)..).unwrap_or_default());
            if more > 0 {
                len += 1 + usize::from(signed) + more;
            }
        }
        let text = std::str::from_utf8(&unsigned[..len]).unwrap_or_default();
        match text.parse::<f64>() {
            Ok(n) => {
                self.at = start + usize::from(negative) + len;
                Token::Number(sign * n)
            }
            Err(_) => Token::Error("invalid number"),
        }
    }

    /// Reads a string into the buffer, up to its closing quote.
    fn string(&mut self) -> Result<(), (usize, &'static str)> {
        self.buffer.clear();
        loop {
            let Some(&byte) = self.text.get(self.at) else {
                return Err((self.at, "unexpected end of string"));
            };
            match byte {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => self.escape()?,
                other => {
                    self.buffer.push(other);
                    self.at += 1;
                }
            }
        }
    }

    fn escape(&mut self) -> Result<(), (usize, &'static str)> {
        let at = self.at;
        let plain = match self.text.get(at + 1) {
            Some(byte @ (b'"' | b'\\' | b'/')) => *byte,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => return self.unicode(at),
            _ => return Err((at, "invalid escape code")),
        };
        self.buffer.push(plain);
        self.at = at + 2;
        Ok(())
    }

    fn unicode(&mut self, at: usize) -> Result<(), (usize, &'static str)> {
        const WRONG: &str = "invalid unicode escape code";
        let unit = |at: usize| -> Option<u32> {
            let hex = self.text.get(at + 2..at + 6)?;
            let all = hex.iter().all(u8::is_ascii_hexdigit);
            all.then(|| u32::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()).flatten()
        };
        let first = unit(at).ok_or((at, WRONG))?;
        let mut len = 6;
        let code = match first {
            0xd800..0xdc00 => {
                let low = match self.text.get(at + 6..at + 8) {
                    Some(b"\\u") => unit(at + 6).filter(|low| (0xdc00..0xe000).contains(low)),
                    _ => None,
                };
                len = 12;
                low.map(|low| 0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00))
            }
            0xdc00..0xe000 => None,
            other => Some(other),
        };
        let code = code.and_then(char::from_u32).ok_or((at, WRONG))?;
        self.buffer.extend_from_slice(code.encode_utf8(&mut [0; 4]).as_bytes());
        self.at = at + len;
        Ok(())
    }
}
