//! `hypercache doctor` of a cluster that is well, and of one that lost a member.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::process::Command;

use common::cluster::Cluster;
use common::{Member, try_for, wait_for};
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
    // (How full the disk is of the machine that this runs on is not this test's.)
    let others = |told: &Value| -> Vec<Value> {
        let all = told["findings"].as_array().unwrap().iter();
        let is_other =
            |one: &&Value| !one["runbook"].as_str().unwrap_or("").contains("HyperCacheDisk");
        all.filter(is_other).cloned().collect()
    };
    let mut told = Value::Null;
    let well = try_for(|| {
        let (code, text) = doctor(&cluster.members[0], &["--json"]);
        told = serde_json::from_str(&text).unwrap_or_default();
        (code != Some(3) && told["members"].as_array()?.len() == 3 && others(&told).is_empty())
            .then_some(code)
    });
    let code = well.unwrap_or_else(|| panic!("a cluster that is well: {told}"));
    let is_well = told["findings"] == Value::Array(vec![]);
    assert_eq!((told["well"] == true, code == Some(0)), (is_well, is_well), "{told}");

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
