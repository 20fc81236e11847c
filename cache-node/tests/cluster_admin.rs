//! How an administrator steers the cluster over HTTP, with real members.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::cluster::{Cluster, launch};
use common::{Member, free_port, try_for, wait_for};
use serde_json::{Value, json};

/// One cluster at a time: members that get no turn for long are taken for dead.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The status and body of an answer.
fn answer(reply: &str) -> (u16, Value) {
    let status = reply.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    let body = reply.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

fn get(member: &Member, path: &str) -> Value {
    answer(&member.http(&format!("GET {path}"))).1
}

fn plan(member: &Member) -> Value {
    get(member, "/api/admin/plan")
}

/// What an administrator's request is answered with; it must be done.
fn done(member: &Member, request: &str, body: Option<Value>) -> Value {
    let reply = match body {
        Some(body) => member.http_json(request, &body.to_string()),
        None => member.http(request),
    };
    let (status, body) = answer(&reply);
    assert_eq!(status, 200, "{request}: {reply}\n{}", member.log());
    body
}

/// The field that a refused request names.
fn refused(member: &Member, request: &str, body: Option<Value>) -> (u16, Value) {
    let reply = match body {
        Some(body) => member.http_json(request, &body.to_string()),
        None => member.http(request),
    };
    let (status, body) = answer(&reply);
    (status, body["error"]["field"].clone())
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// What a plan says of a member.
fn of<'a>(plan: &'a Value, name: &str) -> &'a Value {
    let members = plan["members"].as_array().unwrap();
    members.iter().find(|member| member["name"] == name).unwrap()
}

/// Slots move some at a time: it may take several deadlines.
fn wait_long<T>(member: &Member, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let found = (0..4).find_map(|_| try_for(&mut condition));
    found.unwrap_or_else(|| panic!("{what}: {}\n{}", plan(member), member.log()))
}

fn wait_done(member: &Member) -> Value {
    wait_long(member, "all slots where they should be", || {
        let plan = plan(member);
        (plan["state"] == "Done").then_some(plan)
    })
}

/// A member in its own directory; the first one makes the cluster.
fn start(data: &tempfile::TempDir, i: usize, first: Option<&Member>) -> Member {
    let directory = data.path().join(format!("m{i}")).display().to_string();
    let mut flags = vec!["--node-id".into(), format!("m-{i}"), "--data-dir".into(), directory];
    if let Some(first) = first {
        let join = format!("127.0.0.1:{}", first.gossip_port);
        flags.extend(["--join".into(), join, "--bootstrap-members".into(), "0".into()]);
    }
    let member = launch("", (free_port(), free_port(), free_port()), &flags);
    member.wait_ready();
    member
}

/// The audit's lines about HTTP requests: action, result, detail.
fn audit(member: &Member) -> Vec<(String, String, Value)> {
    let log = member.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let audit = lines.filter(|line| line["url.path"].is_string());
    audit
        .map(|line| {
            let word = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            assert_eq!(line["event.dataset"], "hypercache.audit", "{line}");
            assert!(word("source.address").starts_with("127.0.0.1:"), "{line}");
            let detail = line["hypercache.audit.detail"].clone();
            (word("event.action"), word("hypercache.audit.result"), detail)
        })
        .collect()
}

#[test]
fn slots_wait_move_drain_and_are_given_up_as_an_administrator_says() {
    let _alone = alone();
    let data = tempfile::tempdir().unwrap();
    let first = start(&data, 0, None);
    let mut raw = first.raw();
    let value = vec![b'v'; 16 << 10];
    for n in 0..400 {
        assert_eq!(raw.ask(&[b"SET", format!("k{n}").as_bytes(), &value]), b"+OK\r\n");
    }
    assert_eq!(plan(&first)["state"], "Done");

    // Paused: another member comes, and nothing moves; what would is told.
    assert_eq!(done(&first, "POST /api/admin/rebalance/pause", None)["paused"], true);
    let second = start(&data, 1, Some(&first));
    let paused = first.wait_for("a plan with the second member", || {
        let plan = plan(&first);
        (plan["members"].as_array()?.len() == 2 && plan["slots"] != 0).then_some(plan)
    });
    assert_eq!((&paused["state"], &paused["slots"]), (&json!("Paused"), &json!(8192)));
    assert_eq!((&paused["least_slots"], &paused["slots_under_way"]), (&json!(8192), &json!(0)));
    assert_eq!(of(&paused, "m-1")["owned"], 0);
    let (keys, bytes) = (number(&paused["keys"]), number(&paused["bytes"]));
    assert!((100..300).contains(&keys), "about half of 400: {paused}");
    assert!((keys * 16_000..keys * 24_000).contains(&bytes), "{paused}");
    assert_eq!(paused["moves"][0]["to"], "m-1");
    assert_eq!(get(&second, "/api/admin/cluster")["ring"]["reason"], "Paused");

    // At a low rate the slots are on their way for long enough to be given up.
    let rate = json!({ "max_bytes_per_second": 65_536 });
    let told = done(&second, "PUT /api/admin/rebalance", Some(rate));
    assert_eq!(told["max_bytes_per_second"], 65_536);
    done(&second, "POST /api/admin/rebalance/resume", None);
    first.wait_for("slots on their way", || (plan(&first)["slots_under_way"] != 0).then_some(()));
    let given_up = done(&first, "POST /api/admin/rebalance/abort", None);
    assert_eq!((&given_up["slots_under_way"], &given_up["paused"]), (&json!(0), &json!(true)));
    let owned: u64 = ["m-0", "m-1"].map(|name| number(&of(&given_up, name)["owned"])).iter().sum();
    assert!(number(&of(&given_up, "m-0")["primaries"]) > 8192, "{given_up}");
    assert!(owned < 16384 + 2048, "{given_up}");

    // And on from there.
    done(&first, "PUT /api/admin/rebalance", Some(json!({ "max_bytes_per_second": null })));
    done(&first, "POST /api/admin/rebalance/resume", None);
    let even = wait_done(&first);
    assert_eq!(of(&even, "m-1")["owned"], 8192);

    // A weight, and a drain with the other's consent.
    done(&first, "PUT /api/admin/weights", Some(json!({ "weights": { "m-1": 3 } })));
    assert_eq!(of(&wait_done(&first), "m-1")["owned"], 12288);
    done(&second, "POST /api/admin/members/m-1/drain", None);
    let drained = wait_done(&first);
    assert_eq!(
        (&of(&drained, "m-1")["owned"], &of(&drained, "m-1")["drained"]),
        (&json!(0), &json!(true))
    );
    assert_eq!(number(&of(&drained, "m-0")["primaries"]), 16384);
    assert_eq!(refused(&first, "POST /api/admin/members/m-0/drain", None), (400, json!("member")));
    done(&second, "DELETE /api/admin/members/m-1/drain", None);
    done(&first, "PUT /api/admin/weights", Some(json!({ "weights": { "m-1": null } })));
    assert_eq!(of(&wait_done(&second), "m-1")["owned"], 8192);
    for n in 0..400 {
        let got = raw.ask(&[b"STRLEN", format!("k{n}").as_bytes()]);
        assert_eq!(got, b":16384\r\n", "k{n}: {}", got.escape_ascii());
    }

    // What is wrong is named.
    for (request, body, field) in [
        ("PUT /api/admin/weights", json!({ "weights": { "m-9": 1 } }), json!("weights.m-9")),
        ("PUT /api/admin/weights", json!({ "weights": { "m-1": 0 } }), json!("weights.m-1")),
        (
            "PUT /api/admin/rebalance",
            json!({ "max_bytes_per_second": 1 }),
            json!("max_bytes_per_second"),
        ),
        ("POST /api/admin/leader", json!({ "to": "m-9" }), json!("to")),
    ] {
        assert_eq!(refused(&second, request, Some(body)), (400, field), "{request}");
    }
    let lines = audit(&first);
    let has = |action: &str, outcome: &str, detail: Value| {
        assert!(lines.contains(&(action.into(), outcome.into(), detail)), "{action}: {lines:?}");
    };
    has("pauseRebalancing", "done", json!(""));
    has("abortRebalancing", "done", json!(""));
    has("putWeights", "done", json!("m-1=3"));
    has("drainMember", "refused", Value::Null);
}

#[test]
fn what_is_paused_stays_so_whoever_leads_and_leadership_goes_where_it_is_told() {
    let _alone = alone();
    let mut cluster = Cluster::start([0, 1, 2], "");
    let leader = |member: &Member| get(member, "/api/admin/cluster")["leader"].clone();
    let at =
        |name: &Value| name.as_str().unwrap().trim_start_matches("m-").parse::<usize>().unwrap();
    let members = &cluster.members;
    members[0].wait_for("three voters", || {
        let status = get(&members[0], "/api/admin/cluster");
        let voters = status["members"].as_array()?.iter().filter(|m| m["role"] == "voter");
        (voters.count() == 3).then_some(())
    });
    let before = at(&leader(&members[0]));
    let heir = (before + 1) % 3;
    let asked = &members[(before + 2) % 3];
    let told = done(asked, "POST /api/admin/leader", Some(json!({ "to": format!("m-{heir}") })));
    assert_eq!(told, json!({ "leader": format!("m-{heir}") }));
    wait_for("all to know who leads", || {
        members.iter().all(|member| leader(member) == format!("m-{heir}")).then_some(())
    });
    // To itself: nothing to do.
    let told = done(asked, "POST /api/admin/leader", Some(json!({ "to": format!("m-{heir}") })));
    assert_eq!(told["leader"], format!("m-{heir}"));

    done(asked, "POST /api/admin/rebalance/pause", None);
    done(asked, "PUT /api/admin/weights", Some(json!({ "weights": { "m-0": 7 } })));
    let epoch = number(&plan(asked)["epoch"]);
    done(asked, "POST /api/admin/rebalance/pause", None);
    assert_eq!(plan(asked)["epoch"], epoch, "the same again writes nothing");
    cluster.members[heir].kill();
    let other = &cluster.members[before];
    other.wait_for("another leader", || {
        let plan = plan(other);
        let health = answer(&other.http("GET /health")).1;
        (health["quorum"] == true
            && health["leader"] != format!("m-{heir}")
            && plan["paused"] == true
            && of(&plan, "m-0")["weight"] == 7)
            .then_some(())
    });
    cluster.members[heir] = launch("", cluster.ports[heir], &cluster.flags[heir]);
    cluster.wait_whole();
    let plan = plan(&cluster.members[heir]);
    assert_eq!((&plan["state"], &of(&plan, "m-0")["weight"]), (&json!("Paused"), &json!(7)));
    let any = done(&cluster.members[heir], "POST /api/admin/leader", Some(json!({})));
    assert!(any["leader"].is_string(), "{any}");
}

#[test]
fn who_has_no_password_changes_nothing_and_that_is_audited() {
    let _alone = alone();
    let member = Member::start_with("auth: {password: s3cret}\nlog: {level: warn}\n", &[]);
    for request in ["GET /api/admin/plan", "POST /api/admin/rebalance/pause"] {
        assert_eq!(answer(&member.http(request)).0, 401, "{request}");
    }
    assert_eq!(audit(&member), [("pauseRebalancing".into(), "denied".into(), Value::Null)]);
}

/// What `hypercache cluster …` printed, and its exit code.
fn command(args: &[&str], env: &[(&str, &str)]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hypercache"));
    command.arg("cluster").args(args).envs(env.iter().copied()).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn the_command_line_shows_and_steers_and_its_exit_code_says_how_it_ended() {
    let _alone = alone();
    let data = tempfile::tempdir().unwrap();
    let first = start(&data, 0, None);
    let at = format!("127.0.0.1:{}", first.http_port);
    let run = |args: &[&str]| command(&[args, &["--http", &at]].concat(), &[]);
    let (code, text) = run(&["status"]);
    assert!(code == 0 && text.contains("m-0") && text.contains("quorum yes"), "{code}: {text}");
    assert_eq!(run(&["pause"]).0, 0);
    let _second = start(&data, 1, Some(&first));
    first.wait_for("something to move", || (plan(&first)["slots"] == 8192).then_some(()));
    let (code, text) = run(&["plan"]);
    assert!(code == 1 && text.contains("Paused: 8192 slots to bring (at least 8192)"), "{text}");
    let (code, text) = run(&["plan", "--watch"]);
    assert!(code == 1 && text.contains("cluster resume"), "{text}");
    let (code, text) = run(&["resume", "--watch", "--timeout", "120"]);
    assert!(code == 0 && text.contains("100 %"), "{code}: {text}");
    let (code, text) = run(&["weights", "m-1=3", "--watch", "--timeout", "120", "--json"]);
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((code, &of(&last, "m-1")["owned"]), (0, &json!(12288)));
    let (code, text) = run(&["drain", "m-1", "--watch", "--timeout", "120"]);
    assert!(code == 0 && text.contains("all slots are where they should be"), "{code}: {text}");
    let (code, text) = run(&["members"]);
    assert!(code == 0 && text.contains("drained") && text.contains("leader"), "{text}");
    let (code, text) = run(&["drain", "m-9"]);
    assert!(code == 2 && text.contains("member: no member is named 'm-9'"), "{code}: {text}");
    assert_eq!(run(&["rate", "16MB"]).0, 0);
    assert_eq!(plan(&first)["max_bytes_per_second"], 16 << 20);
    assert_eq!(run(&["weights", "m-1"]).0, 2, "wrong usage");
    let nobody = format!("127.0.0.1:{}", free_port());
    assert_eq!(command(&["status", "--http", &nobody], &[]).0, 3);
    // What the first member asks for, by the environment.
    let env = [("HYPERCACHE_MEMBER", at.as_str())];
    assert_eq!(command(&["members", "--json"], &env).0, 0);
}

/// Kept on disk, three times; and a store that is not.
const KEPT: &str = "stores:\n  q: {number: 1, replication_factor: 3, acks: quorum, \
                    persistence: {mode: aof, fsync: always}}\n";

#[test]
fn a_member_that_never_comes_back_is_forgotten_and_the_slots_that_waited_for_it_begin_anew() {
    let _alone = alone();
    let single = "stores:\n  s: {number: 1, persistence: {mode: aof, fsync: always}}\n";
    let mut cluster = Cluster::start([0, 1, 2], single);
    let asked = 0;
    let slots_of = |member: &Member, name: &str| {
        number(&of(&get(member, "/api/admin/cluster"), name)["slots"])
    };
    let before = slots_of(&cluster.members[asked], "m-2");
    assert!(before > 5000, "{before}");
    let path = "POST /api/admin/members/m-2/forget";
    let alive = refused(&cluster.members[asked], path, None);
    assert_eq!(alive, (400, json!("member")), "nobody forgets who is alive");
    assert_eq!(refused(&cluster.members[asked], &path.replace("m-2", "m-7"), None).0, 400);
    cluster.members[2].kill();
    let member = &cluster.members[asked];
    let trial = member.wait_for("a member that is down", || {
        let (status, body) = answer(&member.http(&format!("{path}?dry_run=true")));
        (status == 200).then_some(body)
    });
    assert_eq!(trial, json!({ "promoted": 0, "begun_empty": before, "waiting": 0 }));
    assert_eq!(slots_of(member, "m-2"), before, "a trial does nothing");
    let told = done(member, path, None);
    assert_eq!(told, trial);
    member.wait_for("two members with all slots", || {
        let status = get(member, "/api/admin/cluster");
        let members = status["members"].as_array()?;
        let slots: u64 = members.iter().filter_map(|member| member["slots"].as_u64()).sum();
        (members.len() == 2 && slots == 16384).then_some(())
    });
    let mut raw = member.raw();
    for n in 0..100 {
        let key = format!("k{n}");
        wait_for("a write of any slot", || {
            (raw.ask(&[b"SET", key.as_bytes(), b"v"]) == b"+OK\r\n").then_some(())
        });
    }
    // It was only away, after all: it joins as one that has nothing.
    cluster.members[2] = launch(single, cluster.ports[2], &cluster.flags[2]);
    wait_long(&cluster.members[asked], "it is a member again", || {
        let status = get(&cluster.members[asked], "/api/admin/cluster");
        let alive = status["members"].as_array()?.iter().filter(|m| m["state"] == "alive").count();
        (alive == 3 && status["ring"]["balanced"] == true).then_some(())
    });
    let mut raw = cluster.members[2].raw();
    for n in 0..100 {
        let key = format!("k{n}");
        assert_eq!(raw.ask(&[b"GET", key.as_bytes()]), b"$1\r\nv\r\n", "{key}");
    }
}

#[test]
fn when_the_majority_is_gone_for_good_what_one_member_has_is_a_cluster_again() {
    let _alone = alone();
    let mut cluster = Cluster::start([0, 1, 2], KEPT);
    let store = |member: &Member| {
        let mut raw = member.raw();
        assert_eq!(raw.ask(&[b"SELECT", b"1"]), b"+OK\r\n");
        raw
    };
    let write = |member: &Member, round: usize| {
        let mut raw = store(member);
        for n in 0..150 {
            let (key, value) = (format!("k{n}"), format!("v{round}"));
            wait_for("an acknowledged write", || {
                let reply = raw.ask(&[b"SET", key.as_bytes(), value.as_bytes()]);
                (reply == b"+OK\r\n").then_some(())
            });
        }
    };
    let read = |member: &Member, round: usize| {
        let mut raw = store(member);
        for n in 0..150 {
            let got = wait_for("an answer", || {
                let reply = raw.ask(&[b"GET", format!("k{n}").as_bytes()]);
                (!reply.starts_with(b"-")).then_some(reply)
            });
            assert_eq!(got, format!("$2\r\nv{round}\r\n").as_bytes(), "k{n}");
        }
    };
    let wait_replicated = |member: &Member| {
        wait_long(member, "all in sync", || {
            let status = get(member, "/api/admin/cluster");
            let alive = status["members"].as_array()?.iter().filter(|m| m["state"] == "alive");
            (alive.count() == 3 && status["fully_replicated"] == true).then_some(())
        });
    };
    wait_replicated(&cluster.members[0]);
    write(&cluster.members[0], 1);
    let old = get(&cluster.members[0], "/api/admin/cluster")["cluster_id"].clone();
    let directory = |i: usize| cluster.flags[i][3].clone();
    let recover = |args: &[&str]| {
        let directory = directory(2);
        command(&[&["recover", "--data-dir", &directory], args].concat(), &[])
    };
    let (code, text) = recover(&["--yes"]);
    assert!(code == 2 && text.contains("another process uses it"), "{code}: {text}");

    for i in 0..3 {
        cluster.members[i].kill();
    }
    for i in 0..2 {
        std::fs::remove_dir_all(directory(i)).unwrap();
    }
    let (code, text) = recover(&[]);
    assert_eq!(code, 0, "it has all slots in sync: {text}");
    for told in
        ["m-0, m-1", "16384 it had in sync", "default (0): not kept on disk", "nothing was changed"]
    {
        assert!(text.contains(told), "{told}: {text}");
    }
    let (code, text) = recover(&["--json"]);
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &told["cluster_id"], &told["recovered"]), (0, &old, &json!(false)));
    let (code, text) = recover(&["--yes"]);
    assert!(code == 0 && text.contains("done: start the member"), "{code}: {text}");
    let (code, text) = recover(&["--yes"]);
    assert!(code == 2 && text.contains("the only voter already"), "{code}: {text}");

    // It serves what it has, alone; a store that wants a majority of three does not write yet.
    cluster.members[2] = launch(KEPT, cluster.ports[2], &cluster.flags[2]);
    cluster.members[2].wait_ready();
    read(&cluster.members[2], 1);
    let status = get(&cluster.members[2], "/api/admin/cluster");
    assert_eq!(status["members"].as_array().unwrap().len(), 1);
    assert_ne!(status["cluster_id"], old);
    let refused = store(&cluster.members[2]).ask(&[b"SET", b"k0", b"v9"]);
    assert!(refused.starts_with(b"-NOREPLICAS"), "{}", refused.escape_ascii());

    // The others come as new ones.
    for i in 0..2 {
        cluster.members[i] = launch(KEPT, cluster.ports[i], &cluster.flags[i]);
    }
    cluster.wait_whole();
    wait_replicated(&cluster.members[0]);
    read(&cluster.members[0], 1);
    write(&cluster.members[1], 2);
    read(&cluster.members[2], 2);
}
