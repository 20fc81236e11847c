//! `hypercache doctor` of a cluster that is well, and of one that lost a member.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::process::Command;

use common::cluster::Cluster;
use common::{Member, wait_for};
use serde_json::Value;

/// The exit code and what was printed.
fn doctor(member: &Member, flags: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_hypercache"))
        .args(["doctor", "--http", &format!("127.0.0.1:{}", member.http_port)])
        .args(flags)
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_doctor_finds_nothing_where_all_is_well_and_the_member_that_is_gone() {
    let mut cluster = Cluster::start([0, 1, 2], "");
    let well = wait_for("a cluster that is well", || {
        let (code, text) = doctor(&cluster.members[0], &["--json"]);
        (code == Some(0)).then_some(text)
    });
    let well: Value = serde_json::from_str(&well).unwrap();
    assert_eq!((&well["well"], well["members"].as_array().unwrap().len()), (&Value::Bool(true), 3));

    cluster.members[2].kill();
    let text = wait_for("the member that is gone to be found", || {
        let (code, text) = doctor(&cluster.members[0], &[]);
        (code == Some(1) && text.contains("m-2: it is down")).then_some(text)
    });
    assert!(text.starts_with("2 of 3 members answered\n"), "{text}");
    assert!(text.contains("HyperCacheMemberLost.md"), "{text}");

    cluster.members.iter_mut().take(2).for_each(Member::kill);
    assert_eq!(doctor(&cluster.members[0], &[]).0, Some(3));
}
