//! Where a member listens, how long a connection may be idle, and how a member ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{Member, Raw, free_port};
use std::net::TcpStream;

#[test]
fn l11_every_listener_binds_where_the_configuration_says() {
    let ports = [free_port(), free_port(), free_port()];
    let yaml = "network: {bind: 127.0.0.2}\n";
    let member = Member::launch(yaml, &[], ports[0], ports[1], ports[2], &[]);
    member.wait_for("all three on 127.0.0.2", || {
        ports.iter().all(|port| TcpStream::connect(("127.0.0.2", *port)).is_ok()).then_some(())
    });
    for port in ports {
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "{port} on 127.0.0.1 too");
    }
}

#[test]
fn l2_an_idle_connection_stays_unless_a_timeout_is_configured() {
    let patient = Member::start(&[]);
    let strict = Member::start_with("network: {idle_timeout: 300ms}\n", &[]);
    let mut stays = patient.raw();
    let mut ends = strict.raw();
    assert_eq!(ends.ask(&[b"PING"]), b"+PONG\r\n");
    assert!(ends.ended(), "the configured timeout ends it");
    assert_eq!(stays.ask(&[b"PING"]), b"+PONG\r\n");
    assert_eq!(stays.ask(&[b"CONFIG", b"GET", b"timeout"]), b"*2\r\n$7\r\ntimeout\r\n$1\r\n0\r\n");
}

#[test]
fn a_member_that_is_told_to_stop_ends_in_order() {
    let mut member = Member::start(&[]);
    let mut raw = member.raw();
    assert_eq!(raw.ask(&[b"SET", b"k", b"v"]), b"+OK\r\n");
    assert_eq!(member.terminate(), Some(0), "{}", member.log());
    assert!(raw.ended());
    assert!(
        member.log().lines().all(|line| line.starts_with('{') && line.ends_with('}')),
        "JSON lines"
    );
}

#[test]
fn a_port_that_is_taken_is_an_error_that_names_its_key() {
    let first = Member::start(&[]);
    let mut second = Member::launch("", &[], first.resp_port, free_port(), free_port(), &[]);
    assert_eq!(second.wait_end(), Some(1));
    assert!(second.log().contains("network.resp_port"), "{}", second.log());
    assert_eq!(Raw::connect(first.resp_port).ask(&[b"PING"]), b"+PONG\r\n");
}
