//! What members say, as tables for people.

use std::fmt::Write;

use serde_json::Value;

use crate::config::units::format_size;
use crate::tools::table::table;

/// The width of a progress bar.
const BAR: usize = 30;

fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// How many copies a store has, and shall have where that is another number yet.
fn copies(store: &Value) -> String {
    let (now, asked) = (&store["replication_factor_in_force"], &store["replication_factor"]);
    match now.is_null() || now == asked {
        true => word(asked),
        false => format!("{now} to {asked}"),
    }
}

fn size(value: &Value) -> String {
    let units = [(1u64 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")];
    match value.as_u64() {
        None => "?".to_owned(),
        Some(bytes) => units.iter().find(|(unit, _)| bytes >= *unit).map_or_else(
            || format!("{bytes} B"),
            |(unit, name)| format!("{:.1} {name}", bytes as f64 / *unit as f64),
        ),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The members of a status.
pub fn members(status: &Value) -> String {
    let leader = &status["leader"];
    let row = |member: &Value| {
        let name = &member["name"];
        let mut notes = Vec::new();
        notes.extend((name == leader).then_some("leader"));
        notes.extend((member["drained"] == true).then_some("drained"));
        vec![
            word(name),
            word(&member["state"]),
            word(&member["role"]),
            word(&member["zone"]),
            word(&member["weight"]),
            word(&member["slots"]),
            word(&member["replica_slots"]),
            word(&member["keys"]),
            format!("{}:{}", word(&member["host"]), word(&member["http_port"])),
            notes.join(", "),
        ]
    };
    let rows: Vec<Vec<String>> = list(&status["members"]).iter().map(row).collect();
    let head =
        ["MEMBER", "STATE", "ROLE", "ZONE", "WEIGHT", "PRIMARY", "REPLICA", "KEYS", "HTTP", ""];
    table(&head, &rows)
}

/// A status as a whole.
pub fn status(status: &Value) -> String {
    let mut text = format!(
        "cluster {}  epoch {}  protocol {}  leader {}  quorum {}\n",
        word(&status["cluster_id"]),
        word(&status["epoch"]),
        word(&status["protocol"]),
        word(&status["leader"]),
        if status["quorum"] == true { "yes" } else { "NO" },
    );
    let _ = writeln!(
        text,
        "slots   {} of 16384 assigned; {}: {}",
        word(&status["ring"]["slots_assigned"]),
        word(&status["ring"]["reason"]),
        word(&status["ring"]["message"])
    );
    let replicated = match status["fully_replicated"] == true {
        true => "every slot has its owners, all in sync",
        false => "some owners are not in sync, or missing",
    };
    let _ = writeln!(text, "copies  {replicated}\n\n{}", members(status));
    let row = |store: &Value| {
        vec![
            word(&store["name"]),
            word(&store["number"]),
            copies(store),
            word(&store["acks"]),
            word(&store["persistence"]["mode"]),
            word(&store["eviction_policy"]),
            word(&store["keys"]),
            size(&store["used_memory_bytes"]),
        ]
    };
    let rows: Vec<Vec<String>> = list(&status["stores"]).iter().map(row).collect();
    let head = ["STORE", "NUMBER", "COPIES", "ACKS", "DISK", "EVICTION", "KEYS", "MEMORY"];
    let _ = write!(text, "{}", table(&head, &rows));
    for problem in list(&status["problems"]) {
        let (kind, object) = (word(&problem["kind"]), word(&problem["object"]));
        let _ = write!(text, "\nproblem: {kind} {object}: {}", word(&problem["message"]));
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// Whether all is well.
pub fn is_well(status: &Value) -> bool {
    let alive = list(&status["members"]).iter().all(|member| member["state"] == "alive");
    status["quorum"] == true
        && alive
        && status["ring"]["slots_assigned"] == 16384
        && status["fully_replicated"] == true
        && list(&status["problems"]).is_empty()
}

/// A plan.
pub fn plan(plan: &Value) -> String {
    let mut text = format!(
        "{}: {} slots to bring (at least {}), {} under way; {} get another primary (at least {})\n",
        word(&plan["state"]),
        word(&plan["slots"]),
        word(&plan["least_slots"]),
        word(&plan["slots_under_way"]),
        word(&plan["primaries"]),
        word(&plan["least_primaries"]),
    );
    let _ = writeln!(
        text,
        "{} keys, about {} (at least {}, {}); at most {} a second from one member to another one\n",
        word(&plan["keys"]),
        size(&plan["bytes"]),
        word(&plan["least_keys"]),
        size(&plan["least_bytes"]),
        plan["max_bytes_per_second"].as_u64().map_or("?".to_owned(), format_size),
    );
    let row = |of: &Value| {
        let cells = ["from", "to", "slots", "slots_under_way", "keys"].map(|name| word(&of[name]));
        cells.into_iter().chain([size(&of["bytes"])]).collect()
    };
    let rows: Vec<Vec<String>> = list(&plan["moves"]).iter().map(row).collect();
    if !rows.is_empty() {
        let head = ["FROM", "TO", "SLOTS", "UNDER WAY", "KEYS", "BYTES"];
        let _ = writeln!(text, "{}", table(&head, &rows));
    }
    text.push_str(&weights(plan));
    text
}

/// What the members of a plan have, and will have.
pub fn weights(plan: &Value) -> String {
    let row = |of: &Value| {
        let mut notes = Vec::new();
        notes.extend((of["drained"] == true).then_some("drained"));
        notes.extend((of["leaving"] == true).then_some("leaving"));
        let cells = ["name", "weight", "primaries", "target_primaries", "owned", "target_owned"];
        cells.iter().map(|name| word(&of[*name])).chain([notes.join(", ")]).collect()
    };
    let rows: Vec<Vec<String>> = list(&plan["members"]).iter().map(row).collect();
    table(&["MEMBER", "WEIGHT", "PRIMARY", "WILL BE", "OWNED", "WILL BE", ""], &rows)
}

/// What is left to do of a plan, as a number.
pub fn left(plan: &Value) -> u64 {
    let of = |name: &str| plan[name].as_u64().unwrap_or(0);
    of("slots") + of("primaries") + of("removals")
}

/// How far it is, of the most that was left.
pub fn progress(plan: &Value, most: u64) -> String {
    let done = most.saturating_sub(left(plan));
    let filled = (done * BAR as u64 / most.max(1)) as usize;
    format!(
        "[{}{}] {:>3} %  {} slots to bring, {} under way, {} to hand over",
        "#".repeat(filled),
        ".".repeat(BAR - filled),
        done * 100 / most.max(1),
        word(&plan["slots"]),
        word(&plan["slots_under_way"]),
        word(&plan["primaries"]),
    )
}

/// What became of a forgotten member's slots, or would.
pub fn forgotten(done: &Value, member: &str, is_done: bool) -> String {
    let of = |name: &str| done[name].as_u64().unwrap_or(0);
    let (promoted, begun, waiting) = (of("promoted"), of("begun_empty"), of("waiting"));
    let mut text = match is_done {
        true => format!("{member}: {promoted} slots have another primary, {begun} begin empty\n"),
        false => format!(
            "without {member}: {promoted} slots get another primary, {begun} begin empty: what they held is lost\n"
        ),
    };
    if waiting > 0 {
        text += &format!(
            "{waiting} slots wait for other members; {member} stays as long as that is so\n"
        );
    }
    if !is_done {
        text += "nothing is done yet: --yes does it\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_has_names_to_the_left_and_numbers_to_the_right() {
        let rows = [vec!["a".into(), "5".into()], vec!["long".into(), "12345".into()]];
        assert_eq!(table(&["NAME", "N"], &rows), "NAME      N\na         5\nlong  12345\n");
    }

    #[test]
    fn progress_begins_at_nothing_and_ends_with_all() {
        let plan = |slots: u64| json!({ "slots": slots, "primaries": slots, "slots_under_way": 0 });
        assert!(progress(&plan(10), 20).starts_with(&format!("[{}]   0 %", ".".repeat(BAR))));
        assert!(progress(&plan(5), 20).contains("]  50 %"));
        assert!(progress(&plan(0), 20).starts_with(&format!("[{}] 100 %", "#".repeat(BAR))));
        assert!(progress(&plan(0), 0).contains("]   0 %"));
    }

    #[test]
    fn a_cluster_is_well_only_when_everything_is() {
        let well = json!({
            "quorum": true, "members": [{ "name": "a", "state": "alive" }],
            "ring": { "slots_assigned": 16384 }, "fully_replicated": true, "problems": [],
        });
        assert!(is_well(&well));
        for (field, bad) in [
            ("quorum", json!(false)),
            ("members", json!([{ "state": "down" }])),
            ("ring", json!({ "slots_assigned": 1 })),
            ("fully_replicated", json!(false)),
            ("problems", json!([{}])),
        ] {
            let mut status = well.clone();
            status[field] = bad;
            assert!(!is_well(&status), "{field}");
        }
    }

    #[test]
    fn what_is_not_known_is_shown_as_such() {
        let text = plan(&json!({ "state": "Moving", "slots": 7, "keys": null, "bytes": null }));
        assert!(text.starts_with("Moving: 7 slots to bring"), "{text}");
        assert!(text.contains("- keys, about ?"), "{text}");
        assert_eq!(size(&json!(1536)), "1.5 KB");
        assert_eq!(size(&json!(9)), "9 B");
    }
}
