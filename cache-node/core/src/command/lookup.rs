//! From arguments to a command, or to Redis's words for what is wrong.

use super::spec::Spec;
use super::table;

/// The command or subcommand that `args` name, its arity checked. `args` has at least the name.
///
/// # Errors
/// Redis's text, ready to send: the command is unknown, its subcommand is, or the number of
/// arguments is wrong.
#[inline]
pub fn lookup(args: &[&[u8]]) -> Result<&'static Spec, String> {
    let spec = find(args).ok_or_else(|| unknown(args))?;
    if has_arity(spec, args.len()) {
        Ok(spec)
    } else {
        Err(format!("ERR wrong number of arguments for '{}' command", spec.name))
    }
}

/// As [`lookup`], with no word on what is wrong.
#[inline]
pub fn lookup_quiet(args: &[&[u8]]) -> Option<&'static Spec> {
    find(args).filter(|spec| has_arity(spec, args.len()))
}

/// The command or subcommand that `args` name, whatever its arity.
#[inline]
pub fn find(args: &[&[u8]]) -> Option<&'static Spec> {
    let spec = table::find(args.first()?)?;
    match args.get(1) {
        Some(name) if !spec.subcommands.is_empty() => table::find_subcommand(spec, name),
        _ => Some(spec),
    }
}

/// Whether a command takes so many arguments, its name counted.
#[inline]
pub(super) fn has_arity(spec: &Spec, count: usize) -> bool {
    let arity = spec.arity.unsigned_abs() as usize;
    if spec.arity < 0 { count >= arity } else { count == arity }
}

#[cold]
fn unknown(args: &[&[u8]]) -> String {
    let [name, rest @ ..] = args else { return "ERR empty command".into() };
    if let (Some(container), [sub, ..]) = (table::find(name), rest) {
        let name = container.name.to_ascii_uppercase();
        return format!("ERR unknown subcommand '{}'. Try {name} HELP.", excerpt(sub, 128));
    }
    let (mut shown, mut bytes) = (String::new(), 0);
    for arg in rest {
        if bytes >= 128 {
            break;
        }
        let end = memchr::memchr(0, arg).unwrap_or(arg.len()).min(128 - bytes);
        shown += &format!("'{}' ", excerpt(arg, end));
        bytes += end + 3;
    }
    format!("ERR unknown command '{}', with args beginning with: {shown}", excerpt(name, 128))
}

/// The first bytes of a word that a client sent, up to a NUL, on one line.
fn excerpt(bytes: &[u8], most: usize) -> String {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len()).min(most);
    String::from_utf8_lossy(&bytes[..end]).replace(['\r', '\n'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(words: &str) -> Result<&'static str, String> {
        let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        lookup(&args).map(|spec| spec.name)
    }

    #[test]
    fn errors_have_the_words_of_redis() {
        assert_eq!(name("gEt a"), Ok("get"));
        assert_eq!(name("Client id"), Ok("client|id"));
        let wrong = |command| Err(format!("ERR wrong number of arguments for '{command}' command"));
        assert_eq!(name("get"), wrong("get"));
        assert_eq!(name("get a b"), wrong("get"));
        assert_eq!(name("client"), wrong("client"));
        assert_eq!(name("client id x"), wrong("client|id"));
        assert_eq!(
            name("client nope x"),
            Err("ERR unknown subcommand 'nope'. Try CLIENT HELP.".into())
        );
        assert_eq!(
            name("nope a b"),
            Err("ERR unknown command 'nope', with args beginning with: 'a' 'b' ".into())
        );
    }

    #[test]
    fn what_a_client_sent_is_shown_shortened_and_on_one_line() {
        let long = "x".repeat(300);
        let error = name(&format!("{long} {long}")).unwrap_err();
        assert!(error.len() < 350, "{error}");
        assert!(!name("a\r\nb c\nd").unwrap_err().contains(['\r', '\n']));
    }
}
