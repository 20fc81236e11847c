//! COMMAND with its subcommands, and every HELP: answered from the table.

use super::lookup::{find, has_arity, lookup};
use super::ops::texts;
use super::pattern::matches;
use super::spec::{Arg, Find, Flags, KeySpec, Spec};
use super::table::{self, TABLE};
use crate::resp::Writer;

/// Answers COMMAND with all its subcommands, and every command's HELP, from the table.
pub fn introspect(args: &[&[u8]], out: &mut Writer<'_>) {
    let spec = match lookup(args) {
        Ok(spec) => spec,
        Err(error) => return out.error(&error),
    };
    match spec.name {
        "command" => {
            out.array(TABLE.len());
            TABLE.iter().for_each(|spec| info(spec, out));
        }
        "command|count" => out.integer(TABLE.len() as i64),
        "command|list" => list(&args[2..], out),
        "command|info" => infos(&args[2..], out),
        "command|docs" => docs(&args[2..], out),
        "command|getkeys" => get_keys(&args[2..], out, false),
        "command|getkeysandflags" => get_keys(&args[2..], out, true),
        _ => match args.first().and_then(|name| table::find(name)) {
            Some(container) => help(container, out),
            None => out.error(texts::SYNTAX),
        },
    }
}

/// The command of a name such as `client|id`.
fn find_full(name: &[u8]) -> Option<&'static Spec> {
    let mut words = name.splitn(2, |b| *b == b'|');
    let spec = table::find(words.next()?)?;
    match words.next() {
        Some(sub) => table::find_subcommand(spec, sub),
        None => Some(spec),
    }
}

fn infos(names: &[&[u8]], out: &mut Writer<'_>) {
    if names.is_empty() {
        out.array(TABLE.len());
        return TABLE.iter().for_each(|spec| info(spec, out));
    }
    out.array(names.len());
    for name in names {
        match find_full(name) {
            Some(spec) => info(spec, out),
            None => out.null_array(),
        }
    }
}

/// A command as COMMAND INFO describes it.
fn info(spec: &Spec, out: &mut Writer<'_>) {
    let (first, last, step) = spec.legacy_positions();
    out.array(10);
    out.bulk(spec.name.as_bytes());
    out.integer(i64::from(spec.arity));
    let flags: Vec<String> = spec.flags.names().collect();
    out.set(flags.len());
    flags.iter().for_each(|flag| out.simple(flag));
    out.integer(first as i64);
    out.integer(i64::from(last));
    out.integer(step as i64);
    let categories = spec.acl_categories();
    out.set(categories.len());
    categories.iter().for_each(|category| out.simple(category));
    out.set(spec.tips.len());
    spec.tips.iter().for_each(|tip| out.bulk(tip.as_bytes()));
    out.set(spec.key_specs.len());
    spec.key_specs.iter().for_each(|keys| key_spec(keys, out));
    out.array(spec.subcommands.len());
    spec.subcommands.iter().for_each(|sub| info(sub, out));
}

fn key_spec(keys: &KeySpec, out: &mut Writer<'_>) {
    out.map(3 + usize::from(keys.notes.is_some()));
    if let Some(notes) = keys.notes {
        out.bulk(b"notes");
        out.bulk(notes.as_bytes());
    }
    out.bulk(b"flags");
    out.set(keys.flags.len());
    keys.flags.iter().for_each(|flag| out.simple(flag));
    let first = [("index", keys.first as i64)];
    let last = [("lastkey", i64::from(keys.last)), ("keystep", keys.step as i64), ("limit", 0)];
    let count = [("keynumidx", 0), ("firstkey", 1), ("keystep", keys.step as i64)];
    let (begin, find) = match keys.find {
        Find::Range => (("index", &first[..]), ("range", &last)),
        Find::Count => (("index", &first[..]), ("keynum", &count)),
        Find::SortStore | Find::Unknown => {
            step("begin_search", ("unknown", &[]), out);
            return step("find_keys", ("unknown", &[]), out);
        }
    };
    step("begin_search", begin, out);
    step("find_keys", (find.0, find.1), out);
}

/// One of the two steps in which keys are found.
fn step(name: &str, (kind, spec): (&str, &[(&str, i64)]), out: &mut Writer<'_>) {
    out.bulk(name.as_bytes());
    out.map(2);
    pair(("type", kind), out);
    out.bulk(b"spec");
    out.map(spec.len());
    for (name, value) in spec {
        out.bulk(name.as_bytes());
        out.integer(*value);
    }
}

/// COMMAND DOCS: unknown names are left out.
fn docs(names: &[&[u8]], out: &mut Writer<'_>) {
    let specs: Vec<&Spec> = if names.is_empty() {
        TABLE.iter().collect()
    } else {
        names.iter().filter_map(|name| find_full(name)).collect()
    };
    out.map(specs.len());
    specs.into_iter().for_each(|spec| doc(spec, out));
}

fn doc(spec: &Spec, out: &mut Writer<'_>) {
    out.bulk(spec.name.as_bytes());
    let rows = [
        ("summary", spec.summary),
        ("since", spec.since),
        ("group", spec.group.as_str()),
        ("complexity", spec.complexity),
    ];
    let has_args = usize::from(!spec.arguments.is_empty());
    let replaced = DEPRECATED.iter().find(|(name, ..)| *name == spec.name);
    let history = history(spec);
    let more = 3 * usize::from(replaced.is_some()) + usize::from(!history.is_empty());
    out.map(rows.len() + more + has_args + usize::from(!spec.subcommands.is_empty()));
    rows.iter().for_each(|row| pair(*row, out));
    if let Some((_, since, by)) = replaced {
        out.bulk(b"doc_flags");
        out.set(1);
        out.simple("deprecated");
        pair(("deprecated_since", since), out);
        pair(("replaced_by", by), out);
    }
    if !history.is_empty() {
        out.bulk(b"history");
        out.set(history.len());
        for (since, what) in history {
            out.array(2);
            out.bulk(since.as_bytes());
            out.bulk(what.as_bytes());
        }
    }
    if has_args == 1 {
        arguments(spec.arguments, out);
    }
    if !spec.subcommands.is_empty() {
        out.bulk(b"subcommands");
        out.map(spec.subcommands.len());
        spec.subcommands.iter().for_each(|sub| doc(sub, out));
    }
}

/// Commands that have a successor: since which version of Redis, and which it is.
const DEPRECATED: [(&str, &str, &str); 15] = [
    ("brpoplpush", "6.2.0", "`BLMOVE` with `RIGHT` and `LEFT`"),
    ("cluster|slots", "7.0.0", "`CLUSTER SHARDS`"),
    ("getset", "6.2.0", "`SET` with `GET`"),
    ("hmset", "4.0.0", "`HSET` with several fields"),
    ("psetex", "2.6.12", "`SET` with `PX`"),
    ("quit", "7.2.0", "closing the connection"),
    ("rpoplpush", "6.2.0", "`LMOVE` with `RIGHT` and `LEFT`"),
    ("setex", "2.6.12", "`SET` with `EX`"),
    ("setnx", "2.6.12", "`SET` with `NX`"),
    ("substr", "2.0.0", "`GETRANGE`"),
    ("zrangebylex", "6.2.0", "`ZRANGE` with `BYLEX`"),
    ("zrangebyscore", "6.2.0", "`ZRANGE` with `BYSCORE`"),
    ("zrevrange", "6.2.0", "`ZRANGE` with `REV`"),
    ("zrevrangebylex", "6.2.0", "`ZRANGE` with `REV` and `BYLEX`"),
    ("zrevrangebyscore", "6.2.0", "`ZRANGE` with `REV` and `BYSCORE`"),
];

/// What later versions of Redis added to a command: its arguments that say so.
fn history(spec: &Spec) -> Vec<(&'static str, String)> {
    fn collect(args: &[Arg], found: &mut Vec<(&'static str, Vec<&'static str>)>) {
        for arg in args {
            if let Some(since) = arg.since {
                let word = arg.token.unwrap_or(arg.name);
                match found.iter_mut().find(|(version, _)| *version == since) {
                    Some((_, words)) => words.push(word),
                    None => found.push((since, vec![word])),
                }
            }
            collect(arg.arguments, found);
        }
    }
    let mut found = Vec::new();
    collect(spec.arguments, &mut found);
    found.sort_by_key(|(since, _)| {
        since.split('.').map(|n| n.parse().unwrap_or(0u32)).collect::<Vec<_>>()
    });
    found
        .into_iter()
        .map(|(since, words)| (since, format!("Added `{}`.", words.join("`, `"))))
        .collect()
}

fn pair((name, value): (&str, &str), out: &mut Writer<'_>) {
    out.bulk(name.as_bytes());
    out.bulk(value.as_bytes());
}

fn arguments(args: &[Arg], out: &mut Writer<'_>) {
    out.bulk(b"arguments");
    out.array(args.len());
    args.iter().for_each(|arg| argument(arg, out));
}

fn argument(arg: &Arg, out: &mut Writer<'_>) {
    let rows = [Some(("name", arg.name)), Some(("type", arg.kind))];
    let more = [arg.token.map(|token| ("token", token)), arg.since.map(|since| ("since", since))];
    let optional = [arg.key_spec.is_some(), !arg.flags.is_empty(), !arg.arguments.is_empty()];
    let count = rows.iter().chain(&more).flatten().count();
    out.map(count + optional.iter().filter(|there| **there).count());
    rows.into_iter().flatten().for_each(|row| pair(row, out));
    if let Some(index) = arg.key_spec {
        out.bulk(b"key_spec_index");
        out.integer(i64::from(index));
    }
    more.into_iter().flatten().for_each(|row| pair(row, out));
    if !arg.flags.is_empty() {
        out.bulk(b"flags");
        out.set(arg.flags.len());
        arg.flags.iter().for_each(|flag| out.simple(flag));
    }
    if !arg.arguments.is_empty() {
        arguments(arg.arguments, out);
    }
}

/// COMMAND LIST [FILTERBY MODULE name|ACLCAT category|PATTERN pattern]
fn list(args: &[&[u8]], out: &mut Writer<'_>) {
    let subcommands = TABLE.iter().flat_map(|spec| spec.subcommands);
    let filter: Box<dyn Fn(&Spec) -> bool + '_> = match args {
        [] => Box::new(|_| true),
        [by, kind, value] if texts::is(by, "FILTERBY") => {
            if texts::is(kind, "MODULE") {
                Box::new(|_| false)
            } else if texts::is(kind, "ACLCAT") {
                let wanted = format!("@{}", String::from_utf8_lossy(value).to_ascii_lowercase());
                Box::new(move |spec| spec.acl_categories().contains(&wanted))
            } else if texts::is(kind, "PATTERN") {
                let pattern = value.to_ascii_lowercase();
                Box::new(move |spec| matches(&pattern, spec.name.as_bytes()))
            } else {
                return out.error(texts::SYNTAX);
            }
        }
        _ => return out.error(texts::SYNTAX),
    };
    let mut names: Vec<&str> =
        TABLE.iter().filter(|spec| filter(spec)).map(|spec| spec.name).collect();
    names.extend(subcommands.filter(|spec| filter(spec)).map(|spec| spec.name));
    out.set(names.len());
    names.iter().for_each(|name| out.bulk(name.as_bytes()));
}

/// COMMAND GETKEYS and GETKEYSANDFLAGS
fn get_keys(args: &[&[u8]], out: &mut Writer<'_>, with_flags: bool) {
    let Some(spec) = find(args) else { return out.error("ERR Invalid command specified") };
    let command = spec.name;
    if spec.key_specs.is_empty() {
        return out.error("ERR The command has no key arguments");
    }
    if !has_arity(spec, args.len()) {
        return out.error("ERR Invalid number of arguments specified for command");
    }
    let keys: Vec<(&[u8], &KeySpec)> = spec
        .key_specs
        .iter()
        .flat_map(|keys| keys.positions(args).map(move |at| (at, keys)))
        .filter_map(|(at, keys)| Some((*args.get(at)?, keys)))
        .collect();
    let missing = spec.key_specs.iter().any(|keys| keys.is_short(args));
    let keys = if missing { Vec::new() } else { keys };
    if keys.is_empty() && spec.flags.contains(Flags::NO_MANDATORY_KEYS) {
        return out.array(0);
    }
    if keys.is_empty() {
        return out.error("ERR Invalid arguments specified for command");
    }
    out.array(keys.len());
    for (key, spec) in keys {
        if with_flags {
            out.array(2);
        }
        out.bulk(key);
        if with_flags {
            let flags = key_flags(command, spec, args);
            out.set(flags.len());
            flags.iter().for_each(|flag| out.simple(flag));
        }
    }
}

/// What a command does to a key, where that depends on its arguments.
fn key_flags(command: &str, keys: &KeySpec, args: &[&[u8]]) -> &'static [&'static str] {
    let has = |from: usize, words: &[&str]| {
        args.iter().skip(from).any(|arg| words.iter().any(|word| texts::is(arg, word)))
    };
    match command {
        "set" if has(3, &["GET"]) => &["RW", "access", "update"],
        "set" => &["OW", "update"],
        "bitfield" if has(2, &["SET", "INCRBY"]) => &["RW", "access", "update"],
        "bitfield" => &["RO", "access"],
        _ => keys.flags,
    }
}

/// A container's HELP: how to call it, then two lines for each subcommand.
fn help(container: &Spec, out: &mut Writer<'_>) {
    let name = container.name.to_ascii_uppercase();
    let mut lines =
        vec![format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")];
    for sub in container.subcommands {
        let own = sub.name.rsplit('|').next().unwrap_or(sub.name).to_ascii_uppercase();
        let args: String = sub.arguments.iter().map(|arg| format!(" {}", usage(arg))).collect();
        lines.push(format!("{own}{args}"));
        lines.push(format!("    {}", sub.summary));
    }
    out.array(lines.len());
    lines.iter().for_each(|line| out.simple(line));
}

/// An argument as a person reads it: `[EX seconds]`, `<key>`.
fn usage(arg: &Arg) -> String {
    let inner: Vec<String> = arg.arguments.iter().map(usage).collect();
    let mut text = match arg.kind {
        "pure-token" => arg.token.unwrap_or(arg.name).to_owned(),
        "oneof" => inner.join("|"),
        "block" => inner.join(" "),
        _ => format!("<{}>", arg.name),
    };
    if let Some(token) = arg.token.filter(|_| arg.kind != "pure-token") {
        text = format!("{token} {text}");
    }
    if arg.flags.contains(&"multiple") {
        text = format!("{text} [{text} ...]");
    }
    if arg.flags.contains(&"optional") { format!("[{text}]") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{Protocol, Reply};

    fn answer(words: &str) -> Reply {
        let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        let mut bytes = Vec::new();
        introspect(&args, &mut Writer::new(&mut bytes, Protocol::Resp3));
        let (reply, len) = Reply::parse(&bytes).unwrap().expect("a whole reply");
        assert_eq!(len, bytes.len(), "{words}");
        reply
    }

    fn bulks(words: &[&str]) -> Vec<Reply> {
        words.iter().map(|word| Reply::Bulk(word.as_bytes().to_vec())).collect()
    }

    #[test]
    fn every_answer_is_one_whole_reply() {
        for words in [
            "command",
            "command count",
            "command list",
            "command docs",
            "command info",
            "command info get client|id nope",
            "command docs set",
            "command help",
            "client help",
            "object help",
            "config help",
            "cluster help",
            "command list filterby pattern *get*",
            "command list filterby aclcat read",
        ] {
            assert!(!matches!(answer(words), Reply::Error(_)), "{words}");
        }
    }

    #[test]
    fn what_is_done_to_a_key_follows_from_the_arguments() {
        let flags = |words: &str| match answer(&format!("command getkeysandflags {words}")) {
            Reply::Array(keys) => match &keys[0] {
                Reply::Array(pair) => format!("{:?}", pair[1]),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        assert!(flags("set k v").contains("OW") && !flags("set k v").contains("access"));
        assert!(flags("set k v ex 5 get").contains("RW"));
        assert!(flags("bitfield k get u8 0").contains("RO"));
        assert!(flags("bitfield k get u8 0 set u8 0 1").contains("RW"));
        assert!(flags("get k").contains("RO"));
    }

    #[test]
    fn docs_tell_what_came_later_and_what_has_a_successor() {
        let set = format!("{:?}", answer("command docs set"));
        let bulk = |text: &str| format!("{:?}", Reply::Bulk(text.as_bytes().to_vec()));
        assert!(set.contains(&bulk("Added `KEEPTTL`.")), "{set}");
        let hmset = format!("{:?}", answer("command docs hmset"));
        assert!(hmset.contains(&bulk("`HSET` with several fields")), "{hmset}");
    }

    #[test]
    fn keys_are_found_where_the_table_says() {
        assert_eq!(answer("command getkeys mset a 1 b 2"), Reply::Array(bulks(&["a", "b"])));
        assert_eq!(answer("command getkeys eval x 2 a b c"), Reply::Array(bulks(&["a", "b"])));
        for none in ["command getkeys eval x 0", "command getkeys eval x 2147483647 a"] {
            assert_eq!(answer(none), Reply::Array(Vec::new()), "{none}");
        }
        assert_eq!(answer("command getkeys copy a b"), Reply::Array(bulks(&["a", "b"])));
        assert_eq!(answer("command getkeys object encoding a"), Reply::Array(bulks(&["a"])));
        assert_eq!(
            answer("command getkeys ping x"),
            Reply::Error("ERR The command has no key arguments".into())
        );
        assert_eq!(
            answer("command getkeys nope x"),
            Reply::Error("ERR Invalid command specified".into())
        );
    }
}
