//! `hypercache cluster recover`: a new cluster from what one member has, once the majority of voters of the
//! old one is gone for good.

use std::fmt::Write;

use serde_json::{Value, json};

use super::args::RecoverArgs;
use super::{Ended, Error, write};
use crate::raft::{Recoverable, RecoveredStore};

/// Tells what is lost, and does it if it was said so. Not well: something is, or may be lost, and it was not
/// done.
pub async fn run(args: &RecoverArgs) -> Result<Ended, Error> {
    let found = Recoverable::open(&args.data_dir)?;
    let mut told = as_json(&found);
    let mut text = as_text(&found);
    let is_lossless = found.slots_gone == 0 && found.slots_behind == 0;
    let ended = match args.yes {
        true => {
            let cluster = found.recover().await?;
            told["recovered"] = json!(true);
            told["new_cluster_id"] = json!(format!("{cluster:016x}"));
            let _ = writeln!(
                text,
                "\ndone: start the member; it is cluster {cluster:016x} now. Others join it with empty data \
                 directories."
            );
            Ended::Well
        }
        false => {
            told["recovered"] = json!(false);
            text.push_str("\nnothing was changed: --yes does it.\n");
            if is_lossless { Ended::Well } else { Ended::NotWell }
        }
    };
    write(&if args.json { format!("{told}\n") } else { text });
    Ok(ended)
}

fn as_json(found: &Recoverable) -> Value {
    let store = |of: &RecoveredStore| {
        json!({
            "name": of.name, "number": of.number, "on_disk": of.is_on_disk,
            "fsync_always": of.is_synced,
        })
    };
    json!({
        "member": found.name,
        "cluster_id": format!("{:016x}", found.cluster_id),
        "epoch": found.epoch,
        "last_entry": found.last_index,
        "undecided_entries": found.undecided,
        "votes": found.votes,
        "members_gone": found.others,
        "slots_kept": found.slots_kept,
        "slots_behind": found.slots_behind,
        "slots_gone": found.slots_gone,
        "stores": found.stores.iter().map(store).collect::<Vec<_>>(),
    })
}

fn as_text(found: &Recoverable) -> String {
    let mut text = format!(
        "member {} of cluster {:016x}, with the table of epoch {} (entry {} of Raft's log)\n\n",
        found.name, found.cluster_id, found.epoch, found.last_index
    );
    let mut line = |line: String| {
        let _ = writeln!(text, "{line}");
    };
    line(format!(
        "members   {} will be the only one. Gone for good, and never to be started again with the data that \
         they have: {}",
        found.name,
        found.others.join(", ")
    ));
    let learner = if found.votes { "" } else { " It did not vote, so it may lag behind." };
    line(format!(
        "table     changes of members, stores and slots after that entry are lost.{learner}"
    ));
    if found.undecided > 0 {
        line(format!(
            "          its last {} entries may or may not have been decided: they are taken",
            found.undecided
        ));
    }
    line(format!(
        "slots     {} it had in sync: what was acknowledged by `all` or `quorum` is there, as far as it is \
         on this disk",
        found.slots_kept
    ));
    line(format!(
        "          {} it had and not in sync: older data comes back there, what was written last is lost",
        found.slots_behind
    ));
    line(format!(
        "          {} it had not: they begin empty, all their keys are LOST",
        found.slots_gone
    ));
    for store in &found.stores {
        let what = match (store.is_on_disk, store.is_synced) {
            (false, _) => "not kept on disk: all its keys are LOST, as the member is down",
            (true, true) => "on disk, fsync always: what it confirmed is there",
            (true, false) => "on disk: the last moments before it went down may be lost",
        };
        line(format!("store     {} ({}): {what}", store.name, store.number));
    }
    text
}
