//! Backups to S3-compatible object storage, with a real server and a real member.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/s3.rs"]
mod s3;

use common::backups::{command, create, files, member_on};
use common::kept::Kept;
use common::{free_port, wait_for};
use s3::{CREDENTIALS, S3};

fn member(server: &S3) -> Kept {
    let yaml = format!(
        "backup:\n  url: s3://backups/some/prefix\n  s3_endpoint: {}\nstores:\n  s: {{number: 1, persistence: {{mode: aof, fsync: always}}}}\n",
        server.url()
    );
    Kept::start_with(&yaml, &CREDENTIALS)
}

fn asked(server: &S3, verb: &str, more: &[&str]) -> Result<String, String> {
    let url = server.url();
    let mut args = vec![verb, "--url", "s3://backups/some/prefix", "--s3-endpoint", &url];
    args.extend(more);
    command(&args, &CREDENTIALS)
}

#[test]
fn a_backup_in_s3_is_listed_verified_restored_and_pruned() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("backups")).unwrap();
    let server = S3::start(root.path(), free_port());
    let kept = member(&server);
    let mut client = kept.connect();
    // More than one part.
    let value = vec![b'v'; 1 << 20];
    for n in 0..20 {
        client.ask(&[b"SET", format!("k{n}").as_bytes(), &value]);
    }
    let first = create(&kept);
    assert!(first["sent_bytes"].as_u64().unwrap() > 20 << 20, "{first}");
    client.ask(&[b"SET", b"last", b"v"]);
    let second = create(&kept);
    assert!(second["sent_bytes"].as_u64().unwrap() < 4_000, "{second}");
    let listed = asked(&server, "list", &[]).unwrap();
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(asked(&server, "verify", &[]).unwrap().contains("is whole"));
    let to = tempfile::tempdir().unwrap();
    asked(&server, "restore", &["--to", to.path().to_str().unwrap()]).unwrap();
    let restored = member_on(to.path());
    let mut client = restored.connect();
    assert_eq!(client.ask(&[b"GET", b"last"]), b"$1\r\nv\r\n");
    assert_eq!(client.ask(&[b"STRLEN", b"k19"]), b":1048576\r\n");
    let pruned = asked(&server, "prune", &["--keep", "1"]).unwrap();
    assert!(pruned.contains("is removed"), "{pruned}");
    assert!(asked(&server, "verify", &[]).unwrap().contains("is whole"));
    // What is damaged there is told of.
    let segments = files(root.path()).into_iter();
    let path = segments
        .filter(|path| path.to_str().unwrap().contains("/segments/"))
        .max_by_key(|path| std::fs::metadata(path).unwrap().len());
    let mut bytes = std::fs::read(path.as_ref().unwrap()).unwrap();
    bytes[5_000_000] ^= 1;
    std::fs::write(path.unwrap(), bytes).unwrap();
    let told = asked(&server, "verify", &[]).unwrap_err();
    assert!(told.contains("SHA-256"), "{told}");
}

#[test]
fn storage_that_refuses_or_does_not_answer_is_told_of_and_the_next_backup_works() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("backups")).unwrap();
    let server = S3::start(root.path(), free_port());
    let kept = member(&server);
    kept.connect().ask(&[b"SET", b"k", b"v"]);
    let port = server.port;
    drop(server);
    let url = format!("http://127.0.0.1:{}", kept.member.http_port);
    let told = command(&["create", "--member", &url], &[]).unwrap_err();
    assert!(told.contains("s3://backups/some/prefix"), "{told}");
    let status = kept.member.http("GET /api/admin/backup");
    assert!(status.contains("\"failed\":1") && status.contains("\"last\":null"), "{status}");
    let server = wait_for("the port", || {
        std::net::TcpListener::bind(("127.0.0.1", port)).ok().map(drop)?;
        Some(S3::start(root.path(), port))
    });
    create(&kept);
    assert!(asked(&server, "verify", &[]).unwrap().contains("is whole"));
    let wrong = [CREDENTIALS[0], ("AWS_SECRET_ACCESS_KEY", "other")];
    let args = ["list", "--url", "s3://backups/some/prefix", "--s3-endpoint", &server.url()];
    let told = command(&args, &wrong).unwrap_err();
    assert!(told.contains("s3://backups/some/prefix") && !told.contains("other"), "{told}");
    let missing = CREDENTIALS.map(|(name, _)| (name, ""));
    assert!(command(&args, &missing).unwrap_err().contains("AWS_ACCESS_KEY_ID: not set"));
    let none = ["list", "--url", "s3://nowhere/x", "--s3-endpoint", &server.url()];
    assert!(command(&none, &CREDENTIALS).is_err());
}
