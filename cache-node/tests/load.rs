//! `hypercache load` against real members and a real redis-server: what it reports is what they counted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::cluster::Cluster;
use common::redis::Redis;
use common::{Member, Raw, free_port, wait_for};
use hypercache_core::cluster::slot_of;
use serde_json::Value;

/// All commands.
const ALL: &str = "get,set,del,exists,incr,hset,hget,lpush,lpop,lrange,sadd,sismember,zadd,zrange";

/// One load at a time: members that get no turn for long are taken for dead.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn launch(args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_hypercache"))
        .arg("load")
        .args(args)
        .env_remove("HYPERCACHE_PASSWORD")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn load(args: &[&str]) -> Output {
    launch(args).wait_with_output().unwrap()
}

/// The report of a load on a server, with flags, that ends with that code.
fn report(code: i32, at: &str, flags: &str) -> Value {
    let flags = flags.split_whitespace().collect::<Vec<_>>();
    let output = load(&[&[at, "--json", "--quiet"], &flags[..]].concat());
    let told = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "{told}{text}");
    serde_json::from_str(&text).unwrap()
}

/// Counts of a section of INFO, of all these servers together: what stands behind the prefix, and the first figure.
fn counts(servers: &mut [Raw], section: &str, prefix: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for server in servers {
        let reply = String::from_utf8(server.ask(&[b"INFO", section.as_bytes()])).unwrap();
        for line in reply.lines().filter_map(|line| line.strip_prefix(prefix)) {
            let (name, rest) = line.split_once(':').unwrap();
            let figure = rest.split(',').next().unwrap().split_once('=').unwrap().1;
            *counts.entry(name.to_owned()).or_default() += figure.parse::<u64>().unwrap();
        }
    }
    counts
}

/// Each command of the report was counted as often by the servers.
fn assert_counted(report: &Value, servers: &mut [Raw]) {
    let counted = counts(servers, "commandstats", "cmdstat_");
    for (name, row) in report["commands"].as_object().unwrap() {
        let answers = row["answers"].as_u64().unwrap();
        assert_eq!(counted.get(name), Some(&answers), "{name}: {report}");
    }
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

#[test]
fn a_member_counts_the_commands_that_the_report_has() {
    let _alone = alone();
    let member = Member::start(&[]);
    let at = address(member.resp_port);
    let told = report(
        0,
        &at,
        &format!("--requests 3001 --connections 3 --pipeline 8 --mix {ALL} --keys 50 --zipf 0.99"),
    );
    assert_eq!((&told["sent"], &told["answered"]), (&3001.into(), &3001.into()));
    assert_eq!(told["commands"].as_object().unwrap().len(), ALL.split(',').count());
    assert_counted(&told, &mut [member.raw()]);
    let kinds = told["errors_by_kind"].as_object().unwrap();
    assert!(kinds.is_empty(), "keys of different types never meet: {kinds:?}");
}

#[test]
fn redis_server_counts_the_commands_that_the_report_has() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let redis = Redis::start(directory.path(), &[]);
    let told =
        report(0, &address(redis.port), &format!("--requests 2000 --mix {ALL} --pipeline 4"));
    assert_eq!(told["answered"], 2000);
    assert_counted(&told, &mut [redis.connect()]);
}

#[test]
fn three_members_count_together_what_the_report_has_whoever_is_asked() {
    let _alone = alone();
    let cluster = Cluster::start([0, 1, 2], "");
    let at: Vec<String> = cluster.members.iter().map(|member| address(member.resp_port)).collect();
    let mut servers: Vec<Raw> = (0..3).map(|i| cluster.raw(i)).collect();
    let flags = format!("{} {} --requests 1200 --mix get,set,hset,zadd", at[1], at[2]);
    let told = report(0, &at[0], &flags);
    assert_eq!(told["answered"], 1200);
    assert_counted(&told, &mut servers);

    servers
        .iter_mut()
        .for_each(|server| assert_eq!(server.ask(&[b"CONFIG", b"RESETSTAT"]), b"+OK\r\n"));
    let told = report(0, &at[0], "--cluster --requests 1200 --mix get,set,hset,zadd");
    assert_eq!(told["answered"], 1200);
    assert_counted(&told, &mut servers);
    for server in &mut servers {
        let mine = counts(std::slice::from_mut(server), "commandstats", "cmdstat_");
        assert!(mine["get"] > 0, "each owner was asked itself: {mine:?}");
    }
}

#[test]
fn faults_are_the_errors_that_the_member_counts_and_no_errors_of_the_load() {
    let _alone = alone();
    let member = Member::start(&[]);
    let at = address(member.resp_port);
    let all = "wrong-type,arguments,unknown,option,number,oversized,frame";
    let told = report(
        0,
        &at,
        &format!("--requests 2000 --connections 1 --pipeline 8 --faults 0.3 --fault-kinds {all}"),
    );
    let faults = &told["faults"];
    let (answers, not_refused) = (faults["answers"].as_u64().unwrap(), &faults["not_refused"]);
    assert!((400..800).contains(&answers), "{told}");
    assert_eq!(not_refused, 0);
    let mut kinds: BTreeMap<String, u64> =
        serde_json::from_value(faults["by_kind"].clone()).unwrap();
    assert_eq!(kinds.values().sum::<u64>(), answers);
    // A frame that is none is not counted as a reply of a command; each ends its connection.
    let counted = counts(&mut [member.raw()], "errorstats", "errorstat_");
    assert_eq!(counted["WRONGTYPE"], kinds["WRONGTYPE"]);
    let frames = told["reconnected"].as_u64().unwrap();
    assert!(frames > 0, "{told}");
    let of_err = kinds.remove("ERR").unwrap();
    // (after the last request it is not opened again)
    assert!((of_err - frames - 1..=of_err).contains(&counted["ERR"]), "{counted:?}: {told}");
    assert_eq!(told["errors"], 0);
}

#[test]
fn the_open_loop_sends_every_request_however_late() {
    let _alone = alone();
    let member = Member::start(&[]);
    let at = address(member.resp_port);
    let flags = "--rate 500 --requests 1000 --connections 3 --backlog 1000000 --timeout 30s";
    let told = report(0, &at, flags);
    assert_eq!((&told["answered"], &told["not_sent"]), (&1000.into(), &0.into()), "{told}");
    assert_eq!((&told["loop"], &told["wanted_per_second"]), (&"open".into(), &500.into()));
}

#[test]
fn a_member_that_stands_still_is_told_as_time_outs_and_requests_that_were_not_sent() {
    let _alone = alone();
    let member = Member::start(&[]);
    member.pause();
    let at = address(member.resp_port);
    let told = report(
        1,
        &at,
        "--rate 1000 --duration 1s --timeout 1s --backlog 10 --connections 2 --pipeline 4",
    );
    member.resume();
    assert_eq!(told["answered"], 0, "{told}");
    let (sent, not_sent) = (told["sent"].as_u64().unwrap(), told["not_sent"].as_u64().unwrap());
    assert_eq!(sent + not_sent, 1000, "{told}");
    assert_eq!(told["errors_by_kind"]["timeout"], sent, "{told}");
}

#[test]
fn http_finds_what_was_filled_into_a_store_and_counts_its_refusals() {
    let _alone = alone();
    let yaml = "stores:\n  pages:\n    number: 4\n";
    let member = Member::start_with(yaml, &[]);
    let at = address(member.http_port);
    let flags = "--http --store pages --keys 200 --requests 600";
    let told = report(0, &at, &format!("{flags} --fill --mix get"));
    assert_eq!((&told["answered"], &told["commands"]["get"]["missing"]), (&600.into(), &0.into()));
    let mut raw = member.raw();
    assert_eq!(raw.ask(&[b"SELECT", b"4"]), b"+OK\r\n");
    assert_eq!(raw.ask(&[b"DBSIZE"]), b":200\r\n");

    let told = report(0, &at, &format!("{flags} --faults 0.2 --mix get,set,del"));
    let faults = &told["faults"];
    assert!(faults["answers"].as_u64().unwrap() > 0 && faults["not_refused"] == 0, "{told}");
    for kind in ["HTTP400", "HTTP404", "HTTP413"] {
        assert!(faults["by_kind"][kind].as_u64() > Some(0), "{kind}: {told}");
    }
}

#[test]
fn stores_lifetimes_and_passwords_are_used() {
    let _alone = alone();
    let yaml =
        "auth:\n  password: open-sesame\nstores:\n  one:\n    number: 1\n  two:\n    number: 2\n";
    let member = Member::start_with(yaml, &[]);
    let at = address(member.resp_port);
    let flags = "--store 1,2 --mix set --ttl 1h-2h --keys 40 --requests 800";
    let output = load(&[&[at.as_str()], &flags.split(' ').collect::<Vec<_>>()[..]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("SELECT: NOAUTH"));
    report(0, &at, &format!("{flags} --password open-sesame"));
    let mut raw = member.raw();
    assert_eq!(raw.ask(&[b"AUTH", b"open-sesame"]), b"+OK\r\n");
    for store in [&b"1"[..], b"2"] {
        assert_eq!(raw.ask(&[b"SELECT", store]), b"+OK\r\n");
        assert_eq!(raw.ask(&[b"DBSIZE"]), b":40\r\n");
        let left = String::from_utf8(raw.ask(&[b"TTL", b"load:string:7"])).unwrap();
        let seconds: u64 = left.trim_matches([':', '\r', '\n']).parse().unwrap();
        assert!(seconds > 0 && seconds <= 7200, "{left}");
    }
}

#[test]
fn a_slot_that_moves_is_followed_and_an_interrupt_ends_with_the_report() {
    let _alone = alone();
    let directories: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let start = |directory: &tempfile::TempDir| {
        // Its port for other servers would be 10000 above the other one, which may be too high.
        let bus = free_port().to_string();
        Redis::start(directory.path(), &["--cluster-enabled", "yes", "--cluster-port", &bus])
    };
    let servers: Vec<Redis> = directories.iter().map(start).collect();
    let mut raws: Vec<Raw> = servers.iter().map(Redis::connect).collect();
    let slot = slot_of(b"load:string:0").to_string();
    let slots: [&[u8]; 4] = [b"CLUSTER", b"ADDSLOTSRANGE", b"0", b"16383"];
    assert_eq!(raws[0].ask(&slots), b"+OK\r\n");
    let ids: Vec<String> = raws
        .iter_mut()
        .map(|raw| String::from_utf8(raw.ask(&[b"CLUSTER", b"MYID"])).unwrap())
        .map(|reply| reply.lines().nth(1).unwrap().to_owned())
        .collect();
    let bus_of = |raw: &mut Raw| {
        let reply = raw.ask(&[b"CONFIG", b"GET", b"cluster-port"]);
        String::from_utf8(reply).unwrap().lines().nth(4).unwrap().to_owned()
    };
    let (port, bus) = (servers[0].port.to_string(), bus_of(&mut raws[0]));
    let meet: [&[u8]; 5] = [b"CLUSTER", b"MEET", b"127.0.0.1", port.as_bytes(), bus.as_bytes()];
    assert_eq!(raws[1].ask(&meet), b"+OK\r\n");
    for raw in &mut raws {
        wait_for("both servers know each other", || {
            let info = String::from_utf8(raw.ask(&[b"CLUSTER", b"INFO"])).unwrap();
            (info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:2"))
                .then_some(())
        });
    }

    let at = address(servers[0].port);
    let flags = "--cluster --mix get --keys 1 --connections 2 --duration 10m --json --quiet";
    let process = launch(&[&[at.as_str()], &flags.split(' ').collect::<Vec<_>>()[..]].concat());
    let asked = |raw: &mut Raw| {
        counts(std::slice::from_mut(raw), "commandstats", "cmdstat_").get("get").copied()
    };
    wait_for("the first owner is asked", || asked(&mut raws[0]));
    // As who moves slots does it: the new owner announces that it is one with a later epoch.
    for (i, words) in [(1, ["IMPORTING", &ids[0]]), (1, ["NODE", &ids[1]]), (0, ["NODE", &ids[1]])]
    {
        let words = [&["CLUSTER", "SETSLOT", &slot][..], &words].concat();
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        assert_eq!(raws[i].ask(&words), b"+OK\r\n");
    }
    wait_for("the second owner is asked", || asked(&mut raws[1]));
    let interrupted = Command::new("kill").args(["-s", "INT", &process.id().to_string()]).status();
    assert!(interrupted.unwrap().success());
    let output = process.wait_with_output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert_eq!((&told["interrupted"], &told["errors"]), (&true.into(), &0.into()), "{told}");
    assert!(told["redirected"].as_u64() > Some(0), "{told}");
}

#[test]
fn the_report_for_people_has_a_table_of_latencies() {
    let _alone = alone();
    let member = Member::start(&[]);
    let output = load(&[&address(member.resp_port), "--requests", "100"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for told in [
        "16 connections, closed loop",
        "100 sent, 100 answered",
        "COMMAND",
        "P99.99",
        "all but faults",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
}

#[test]
fn what_cannot_be_is_refused_with_its_reason() {
    for (code, args, told) in [
        (2, &["--mix", "flushall"][..], "--mix: 'flushall' is none of get"),
        (2, &["--rate", "many"], "invalid value 'many' for '--rate"),
        (2, &["--http", "--mix", "zadd"], "zadd is not there over HTTP"),
        (3, &[&address(free_port())], "Connection refused"),
    ] {
        let output = load(args);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(told), "{told}: {text}");
    }
}
