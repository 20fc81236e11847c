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
fn is_audited(spec: &Spec) -> bool {
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
    let refused = reply.strip_prefix(b"-").map(|text| {
        let end = text.iter().position(|byte| *byte == b'\r').unwrap_or(text.len());
        String::from_utf8_lossy(&text[..end]).into_owned()
    });
    let (outcome, result) = match refused {
        None => ("success", "done"),
        Some(_) => ("failure", "refused"),
    };
    tracing::info!(
        target: AUDIT,
        action = spec.name.replace('|', "-"),
        user = "default",
        source = %client.addr,
        client = client.id,
        detail = detail(spec, args),
        outcome,
        result,
        reason = refused,
        "an administrator's command"
    );
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
