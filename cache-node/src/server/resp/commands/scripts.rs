//! SCRIPT and its subcommands.

use hypercache_core::command::ShellCommand;
use hypercache_core::resp::Writer;

use crate::script::{Killed, sha_named};
use crate::server::resp::Shared;

/// Whether a command is one of SCRIPT's that ask other members.
pub(super) fn waits(command: ShellCommand) -> bool {
    use ShellCommand as C;
    matches!(
        command,
        C::ScriptLoad | C::ScriptExists | C::ScriptFlush | C::ScriptKill | C::ScriptShow
    )
}

/// Carries out a command that [`waits`].
pub(super) async fn run(
    shared: &Shared,
    order: u64,
    command: ShellCommand,
    args: &[&[u8]],
    out: &mut Writer<'_>,
) {
    let router = &shared.router;
    let rest = args.get(2..).unwrap_or_default();
    match (command, rest) {
        (ShellCommand::ScriptLoad, [text]) => match router.load_script(order, text).await {
            Ok(sha) => out.bulk(sha.as_bytes()),
            Err(text) => out.error(&text),
        },
        (ShellCommand::ScriptExists, names) => {
            let mut found = Vec::with_capacity(names.len());
            for name in names {
                found.push(match sha_named(name) {
                    Some(sha) => router.find_script(order, &sha).await.is_some(),
                    None => false,
                });
            }
            out.array(found.len());
            found.into_iter().for_each(|found| out.integer(found.into()));
        }
        (ShellCommand::ScriptShow, [name]) => {
            let script = match sha_named(name) {
                Some(sha) => router.find_script(order, &sha).await,
                None => None,
            };
            match script {
                Some(script) => out.bulk(&script.text),
                None => out.error("NOSCRIPT No matching script."),
            }
        }
        (ShellCommand::ScriptFlush, how) => {
            let known = match how {
                [] => true,
                [how] => how.eq_ignore_ascii_case(b"SYNC") || how.eq_ignore_ascii_case(b"ASYNC"),
                _ => false,
            };
            if !known {
                return out.error("ERR SCRIPT FLUSH only support SYNC|ASYNC option");
            }
            match router.flush_scripts(order).await {
                Ok(()) => out.ok(),
                Err(text) => out.error(&text),
            }
        }
        (ShellCommand::ScriptKill, _) => match router.kill_script(order).await {
            Killed::Killed => out.ok(),
            Killed::NotBusy => out.error("NOTBUSY No scripts in execution right now."),
            Killed::Unkillable => out.error(
                "UNKILLABLE Sorry the script already executed write commands against the dataset. \
                 It is stopped once it has run for twice script.time_limit.",
            ),
        },
        _ => out.error("ERR syntax error"),
    }
}

/// SCRIPT DEBUG: there is no debugger to switch on.
pub(super) fn debug(args: &[&[u8]], out: &mut Writer<'_>) {
    match args.get(2) {
        Some(word) if word.eq_ignore_ascii_case(b"NO") => out.ok(),
        Some(word) if word.eq_ignore_ascii_case(b"YES") || word.eq_ignore_ascii_case(b"SYNC") => {
            out.error("ERR There is no debugger for scripts here");
        }
        _ => out.error("ERR Use SCRIPT DEBUG YES/SYNC/NO"),
    }
}
