//! `hypercache doctor`: asks every member of a cluster, and says what is wrong, how bad that is, and where it
//! is written what to do (docs/operations/doctor.md).
//!
//! | file | what it is about |
//! |---|---|
//! | `figures` | a member's metrics, read back |
//! | `findings` | what is wrong, from what members said |

mod figures;
mod findings;

use std::fmt::Write as _;
use std::io::Write as _;

use clap::Args;
use futures::future::join_all;
use serde_json::{Value, json};

use super::cluster::args::Ask;
use super::cluster::client::Client;
use super::cluster::{Error, exit_code};
use crate::clock::now_ms;
use figures::Figures;
use findings::{Asked, Finding, Severity, findings};

/// Flags of `hypercache doctor`.
#[derive(Debug, Clone, Default, Args)]
pub struct DoctorArgs {
    /// Whom.
    #[command(flatten)]
    pub ask: Ask,
}

/// Looks, and tells. The process's exit code: 0 nothing is wrong, notes aside; 1 something is; 2 the
/// question was refused; 3 no member answered.
pub fn run(args: &DoctorArgs, env: impl Fn(&str) -> Option<String>) -> u8 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let looked = match runtime {
        Ok(runtime) => runtime.block_on(look(&args.ask, env)),
        Err(error) => Err(Error::Refused(format!("threads: {error}"))),
    };
    match looked {
        Ok((members, found)) => {
            let text = match args.ask.json {
                true => format!("{}\n", told(&members, &found)),
                false => shown(&members, &found),
            };
            // Nobody may read it any more, which is no error.
            let _ = std::io::stdout().lock().write_all(text.as_bytes());
            u8::from(found.iter().any(is_wrong))
        }
        Err(error) => {
            eprintln!("hypercache: {error}");
            exit_code(&error)
        }
    }
}

fn is_wrong(finding: &Finding) -> bool {
    finding.severity != Severity::Note
}

async fn look(
    ask: &Ask,
    env: impl Fn(&str) -> Option<String>,
) -> Result<(Vec<Asked>, Vec<Finding>), Error> {
    let status = Client::new(ask, &env)?.ask("GET", "/api/admin/cluster", None).await?;
    let listed = status["members"].as_array().cloned().unwrap_or_default();
    let asked = listed.iter().map(async |member| {
        let text = |field: &str| member[field].as_str().unwrap_or_default().to_owned();
        let address = format!("{}:{}", text("host"), member["http_port"]);
        let whom = Ask { http: Some(address.clone()), ..ask.clone() };
        let said = match Client::new(&whom, &env) {
            Ok(client) => what_is_said(&client).await,
            Err(error) => Err(error),
        };
        let said = said.map_err(|error| error.to_string());
        Asked { name: text("name"), address, state: text("state"), said }
    });
    let members = join_all(asked).await;
    let found = findings(&status, &members, now_ms() as f64 / 1e3);
    Ok((members, found))
}

/// What a member says of itself.
async fn what_is_said(client: &Client) -> Result<(Value, Figures), Error> {
    // One that is not ready says so with 503, and why.
    let (_, health) = client.fetch("GET", "/health", None).await?;
    let (_, metrics) = client.fetch("GET", "/metrics", None).await?;
    let health = serde_json::from_slice(&health).unwrap_or(Value::Null);
    Ok((health, Figures::read(&String::from_utf8_lossy(&metrics))))
}

/// For programs.
fn told(members: &[Asked], found: &[Finding]) -> Value {
    let members: Vec<Value> = members
        .iter()
        .map(|asked| {
            json!({
                "name": asked.name,
                "address": asked.address,
                "state": asked.state,
                "answered": asked.said.is_ok(),
            })
        })
        .collect();
    json!({"well": !found.iter().any(is_wrong), "members": members, "findings": found})
}

/// For people.
fn shown(members: &[Asked], found: &[Finding]) -> String {
    let answered = members.iter().filter(|asked| asked.said.is_ok()).count();
    let mut text = format!("{answered} of {} members answered\n", members.len());
    for Finding { severity, member, problem, runbook } in found {
        let who = member.as_deref().unwrap_or("the cluster");
        // Writing to a string does not fail.
        let _ = write!(text, "\n{:<8}  {who}: {problem}\n          {runbook}\n", severity.as_str());
    }
    if found.is_empty() {
        text.push_str("nothing is wrong\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_told_and_are_nothing_wrong() {
        let found = [Finding {
            severity: Severity::Note,
            member: Some("m-0".into()),
            problem: "snapshots failed: 1 since it started".into(),
            runbook: "docs/x.md".into(),
        }];
        assert_eq!(told(&[], &found)["well"], true);
        let text = shown(&[], &found);
        assert!(text.contains("note      m-0: snapshots failed: 1 since it started\n"), "{text}");
        assert!(shown(&[], &[]).ends_with("nothing is wrong\n"));
    }
}
