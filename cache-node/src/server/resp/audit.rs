//! What commands for administrators changed: one line of the audit each, also when they were refused.

use hypercache_core::command::{Run, ShellCommand, Spec};
use hypercache_log::AUDIT;

use super::clients::Client;

/// So much of a word is told.
const MAX_WORD_CHARS: usize = 64;
/// So many words are.
const MAX_WORDS: usize = 32;
/// Parameters whose values nobody may read.
const SECRET: [&str; 1] = ["requirepass"];

/// Tells of a command that has run, and of its reply, if it is one of those.
#[inline]
pub fn note(client: &Client, spec: &Spec, args: &[&[u8]], reply: &[u8]) {
    if is_audited(spec) {
        tell(client, spec, args, reply);
    }
}

/// Whether a command changes a configuration, takes everything away, or does to others what they did not
/// ask for. What only looks is none of these.
#[inline]
pub fn is_audited(spec: &Spec) -> bool {
    use ShellCommand as C;
    match spec.run {
        Run::Shell(command) => matches!(
            command,
            C::ConfigSet
                | C::ConfigResetStat
                | C::ConfigRewrite
                | C::ClientKill
                | C::ClientPause
                | C::ClientUnpause
                | C::ScriptFlush
                | C::ScriptKill
                | C::Save
                | C::BgSave
                | C::BgRewriteAof
                | C::SlowlogReset
                | C::CommandlogReset
                | C::LatencyReset
        ),
        Run::Walk(_) => matches!(spec.name, "flushall" | "flushdb"),
        _ => false,
    }
}

#[cold]
fn tell(client: &Client, spec: &Spec, args: &[&[u8]], reply: &[u8]) {
    let (outcome, result, reason) = became(reply);
    tracing::info!(
        target: AUDIT,
        action = spec.name.replace('|', "-"),
        user = "default",
        source = %client.addr,
        client = client.id,
        detail = detail(spec, args),
        outcome,
        result,
        reason,
        "an administrator's command"
    );
}

/// What a reply says: the schema's word, ours, and why not.
fn became(reply: &[u8]) -> (&'static str, &'static str, Option<String>) {
    match reply {
        [b'-', text @ ..] => {
            let end = text.iter().position(|byte| *byte == b'\r').unwrap_or(text.len());
            let reason = String::from_utf8_lossy(&text[..end]).into_owned();
            if text.starts_with(b"UNKNOWN ") {
                ("unknown", "unknown", Some(reason))
            } else {
                ("failure", "refused", Some(reason))
            }
        }
        // None of the commands answers with null, but EXEC does, for all of them.
        b"*-1\r\n" | b"_\r\n" => {
            ("failure", "refused", Some("a watched key was changed".to_owned()))
        }
        _ => ("success", "done", None),
    }
}

/// The words after a command's name; of parameters that are secret, not the values.
fn detail(spec: &Spec, args: &[&[u8]]) -> String {
    let words = args.get(spec.name.split('|').count()..).unwrap_or_default();
    let shown = |word: &[u8]| -> String {
        String::from_utf8_lossy(word).chars().take(MAX_WORD_CHARS).collect()
    };
    let is_config = matches!(spec.run, Run::Shell(ShellCommand::ConfigSet));
    let step = if is_config { 2 } else { 1 };
    let mut all: Vec<String> = words
        .chunks(step)
        .take(MAX_WORDS)
        .map(|pair| match pair {
            [name, _]
                if SECRET.iter().any(|secret| name.eq_ignore_ascii_case(secret.as_bytes())) =>
            {
                format!("{}=<hidden>", shown(name))
            }
            [name, value] => format!("{}={}", shown(name), shown(value)),
            words => words.iter().map(|word| shown(word)).collect(),
        })
        .collect();
    if words.len() > MAX_WORDS * step {
        all.push("…".to_owned());
    }
    all.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypercache_core::command::lookup;

    fn of(line: &str) -> Option<String> {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let spec = lookup(&args).unwrap();
        is_audited(spec).then(|| detail(spec, &args))
    }

    #[test]
    fn what_changes_something_for_others_is_audited_and_nothing_else() {
        assert_eq!(of("FLUSHALL ASYNC").as_deref(), Some("ASYNC"));
        assert_eq!(of("CLIENT KILL ID 7").as_deref(), Some("ID 7"));
        assert_eq!(of("CONFIG SET maxmemory 1gb").as_deref(), Some("maxmemory=1gb"));
        for line in ["GET k", "SET k v", "CONFIG GET *", "CLIENT LIST", "INFO", "AUTH x", "DEL k"] {
            assert_eq!(of(line), None, "{line}");
        }
    }

    #[test]
    fn what_came_of_a_command_is_told_by_its_reply() {
        let of = |reply: &[u8]| became(reply).1;
        assert_eq!([of(b"+OK\r\n"), of(b":3\r\n"), of(b"*-1")], ["done"; 3]);
        assert_eq!([of(b"-ERR no\r\n"), of(b"*-1\r\n"), of(b"_\r\n")], ["refused"; 3]);
        let lost = became(b"-UNKNOWN it may have been done\r\n");
        let reason = Some("UNKNOWN it may have been done".to_owned());
        assert_eq!(lost, ("unknown", "unknown", reason));
    }

    #[test]
    fn a_password_is_never_told() {
        assert_eq!(
            of("CONFIG SET RequirePass s3cret maxclients 7").as_deref(),
            Some("RequirePass=<hidden> maxclients=7")
        );
    }

    #[test]
    fn long_words_and_many_of_them_are_cut() {
        let long = format!("CLIENT KILL {}", "x".repeat(999));
        assert_eq!(of(&long).unwrap().len(), MAX_WORD_CHARS);
        let many = format!("CONFIG SET {}", "a b ".repeat(99).trim_end());
        let told = of(&many).unwrap();
        assert!(told.ends_with(" …") && told.split(' ').count() == MAX_WORDS + 1, "{told}");
    }
}
