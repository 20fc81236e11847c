//! What commands that wait answer where they may not.

use crate::command::{Step, lookup};
use crate::keyspace::{Keyspace, Options};
use crate::resp::Protocol;

fn transact(space: &Keyspace, commands: &[&str]) -> String {
    let steps: Vec<Step<'_>> = commands
        .iter()
        .map(|text| {
            let args: smallvec::SmallVec<[&[u8]; 8]> = text.split(' ').map(str::as_bytes).collect();
            Step { spec: lookup(&args).unwrap(), store: 0, protocol: Protocol::Resp2, args }
        })
        .collect();
    let mut out = Vec::new();
    space.transact(&[], &steps, &crate::command::NoScripts, 1000, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn in_a_transaction_nothing_waits() {
    let space = Keyspace::new(Options { hash_seed: 1, eviction_seed: 2 });
    (0..16384).for_each(|slot| space.set_serving(slot, true));
    let replies = transact(
        &space,
        &[
            "BLMOVE a b LEFT RIGHT 0",
            "BRPOPLPUSH a b 0",
            "BLPOP a 0",
            "BLMPOP 0 1 a LEFT",
            "BZPOPMIN a 0",
            "BZMPOP 0 1 a MIN",
            "BLPOP a -1",
        ],
    );
    let nothing = "$-1\r\n$-1\r\n*-1\r\n*-1\r\n*-1\r\n*-1\r\n-ERR timeout is negative\r\n";
    assert_eq!(replies, nothing);
    let replies = transact(&space, &["RPUSH a 1 2", "BLPOP x a 0", "BLMOVE a b LEFT RIGHT 0"]);
    assert_eq!(replies, ":2\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\n2\r\n");
    assert_eq!(space.waits_bytes(), 0);
}

#[test]
fn a_timeout_stands_first_or_last() {
    for (text, wanted) in [
        ("BLPOP a b 1.5", Some(1500)),
        ("BLPOP a b 0", None),
        ("BLMOVE a b LEFT RIGHT 0.001", Some(1)),
        ("BZMPOP 2 1 a MIN", Some(2000)),
    ] {
        let args: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
        let blocking = lookup(&args).unwrap().blocking().unwrap();
        assert_eq!(blocking.timeout_ms(&args, 1000), wanted, "{text}");
    }
}
