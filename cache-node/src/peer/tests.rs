use super::*;
use crate::loops::{Loops, Threads};
use hypercache_core::cluster::Member;
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::{Instant, timeout},
};

/// Answers with what it is asked; "later:" answers from a task, "no:" refuses, "never" never.
struct Echo;

impl Handler for Echo {
    fn call(&self, from: MemberId, payload: Bytes, out: &mut BytesMut) -> Answer {
        assert_eq!(from, 1);
        if payload.starts_with(b"later:") {
            return Answer::Later(Box::pin(async move {
                tokio::task::yield_now().await;
                Ok(payload)
            }));
        }
        if payload.starts_with(b"never") {
            return Answer::Later(Box::pin(std::future::pending()));
        }
        if payload.starts_with(b"no:") {
            out.extend_from_slice(b"half a reply");
            return Answer::Refused("it does not want to".into());
        }
        out.extend_from_slice(&payload);
        Answer::Now
    }
}

struct Fixture {
    to: Member,
    address: SocketAddr,
    stop: watch::Sender<bool>,
}

async fn server(member: MemberId, cluster: u64, secret: Option<&str>) -> Fixture {
    server_as(Identity::new(member, cluster), secret).await
}

async fn server_as(me: Identity, secret: Option<&str>) -> Fixture {
    let member = me.member;
    let handlers = Arc::new(Handlers::default());
    assert!(handlers.set(Kind::Forward, Arc::new(Echo)));
    assert!(handlers.set(Kind::Control, Arc::new(Echo)));
    let me = Arc::new(me);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server =
        Server::bind(address, me, Secret::new(secret), handlers, Loops::default()).await.unwrap();
    let address = server.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(server.run(stopped));
    Fixture { to: member_at(member, address.port()), address, stop }
}

fn member_at(id: MemberId, gossip_port: u16) -> Member {
    Member {
        id,
        name: format!("demo-{id}"),
        host: "127.0.0.1".into(),
        resp_port: 0,
        http_port: 0,
        gossip_port,
        zone: None,
        weight: 1,
        incarnation: 0,
    }
}

fn client(cluster: u64, secret: Option<&str>) -> Client {
    Client::new(Arc::new(Identity::new(1, cluster)), Secret::new(secret), Loops::default())
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// Answers with the name of the thread that it was asked on.
struct Where;

impl Handler for Where {
    fn call(&self, _: MemberId, _: Bytes, out: &mut BytesMut) -> Answer {
        out.extend_from_slice(std::thread::current().name().unwrap_or("").as_bytes());
        Answer::Now
    }
}

#[tokio::test]
async fn what_replicates_is_answered_on_a_loop_and_the_rest_is_not() {
    let threads = Threads::start(2, 2 << 20).unwrap();
    let handlers = Arc::new(Handlers::default());
    assert!(handlers.set(Kind::Replicate, Arc::new(Where)));
    assert!(handlers.set(Kind::Control, Arc::new(Where)));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (me, secret) = (Arc::new(Identity::new(2, 5)), Secret::new(None));
    let server =
        Server::bind(address, me, secret.clone(), handlers, threads.loops()).await.unwrap();
    let to = member_at(2, server.local_addr().unwrap().port());
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(server.run(stopped));
    let client = Client::new(Arc::new(Identity::new(1, 5)), secret, threads.loops());
    let answer = client.call(&to, Kind::Replicate, Bytes::new(), soon()).await.unwrap();
    assert_eq!(answer, "io-1", "the loop of the asking member's number");
    let answer = client.call(&to, Kind::Control, Bytes::new(), soon()).await.unwrap();
    assert!(!answer.starts_with(b"io-"), "{answer:?}");
    stop.send_replace(true);
    timeout(Duration::from_secs(20), running).await.unwrap().unwrap();
    threads.end(Duration::from_secs(20)).await;
}

async fn ask(client: &Client, to: &Member, payload: &'static [u8]) -> Result<Bytes, Error> {
    client.call(to, Kind::Forward, Bytes::from_static(payload), soon()).await
}

#[tokio::test]
async fn requests_are_answered_at_once_later_or_refused() {
    let server = server(2, 5, Some("red")).await;
    let client = client(5, Some("red"));
    assert_eq!(ask(&client, &server.to, b"hello").await.unwrap(), "hello");
    assert_eq!(ask(&client, &server.to, b"later:x").await.unwrap(), "later:x");
    let refused = ask(&client, &server.to, b"no:x").await;
    assert_eq!(refused, Err(Error::Refused("it does not want to".into())));
}

#[tokio::test]
async fn l4_l23_every_byte_and_megabytes_pass_as_they_are() {
    let server = server(2, 5, None).await;
    let client = client(5, None);
    let every: Bytes = (0..=255u8).cycle().take(5 << 20).collect::<Vec<u8>>().into();
    for payload in [Bytes::new(), every.slice(..256), every.clone()] {
        let got = client.call(&server.to, Kind::Forward, payload.clone(), soon()).await.unwrap();
        assert!(got == payload, "{} bytes came back as {}", payload.len(), got.len());
    }
}

#[tokio::test]
async fn a_pipeline_is_answered_in_full_and_matched_by_number() {
    let server = server(2, 5, None).await;
    let client = client(5, None);
    let pending: Vec<Pending> = (0..5000u32)
        .map(|i| {
            let word = if i % 3 == 0 { "later:" } else { "" };
            let payload = Bytes::from(format!("{word}{i}"));
            client.send(&server.to, Kind::Forward, u64::from(i), payload).unwrap()
        })
        .collect();
    for (i, pending) in pending.into_iter().enumerate() {
        let word = if i % 3 == 0 { "later:" } else { "" };
        assert_eq!(pending.until(soon()).await.unwrap(), format!("{word}{i}"));
    }
}

#[tokio::test]
async fn a_member_with_another_secret_is_refused_both_ways() {
    for (theirs, ours) in [(Some("red"), Some("blue")), (Some("red"), None), (None, Some("red"))] {
        let server = server(2, 5, theirs).await;
        let refused = ask(&client(5, ours), &server.to, b"hello").await.unwrap_err();
        assert!(refused.to_string().contains("another cluster secret"), "{refused}");
    }
}

#[tokio::test]
async fn a_caller_that_skips_the_proof_gets_nothing() {
    let server = server(2, 5, Some("red")).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut hello = b"HCPR\0\x01".to_vec();
    hello.extend([0; 40]);
    stream.write_all(&hello).await.unwrap();
    let mut welcome = vec![0; 39 + 32];
    stream.read_exact(&mut welcome).await.unwrap();
    stream.write_all(&[0; 32]).await.unwrap();
    let mut frame = BytesMut::new();
    wire::put_frame(&mut frame, 1, Kind::Forward as u8, b"hello");
    let _ = stream.write_all(&frame).await;
    let mut rest = Vec::new();
    let _ = timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn a_member_of_another_cluster_is_refused_and_one_of_none_is_not() {
    let server = server(2, 5, None).await;
    let refused = ask(&client(6, None), &server.to, b"hello").await.unwrap_err();
    assert!(refused.to_string().contains("another cluster"), "{refused}");
    assert_eq!(ask(&client(0, None), &server.to, b"hello").await.unwrap(), "hello");
}

#[tokio::test]
async fn whoever_else_answers_at_a_members_address_is_not_taken_for_it() {
    let server = server(2, 5, None).await;
    let gone = Member { id: 3, ..server.to.clone() };
    let refused = ask(&client(5, None), &gone, b"hello").await.unwrap_err();
    assert!(refused.to_string().contains("another member answers"), "{refused}");
}

#[tokio::test]
async fn an_unreachable_member_is_an_error_not_a_hang() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (client, gone) = (client(5, None), member_at(2, port));
    let error =
        timeout(Duration::from_secs(20), ask(&client, &gone, b"hello")).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Unreachable { sent: false, .. }), "{error}");
}

#[tokio::test]
async fn a_reply_that_does_not_come_is_given_up_at_the_deadline() {
    let server = server(2, 5, None).await;
    let deadline = Instant::now() + Duration::from_millis(50);
    let asked = client(5, None).call(&server.to, Kind::Forward, "never".into(), deadline).await;
    assert_eq!(asked, Err(Error::Deadline { member: "demo-2".into() }));
}

#[tokio::test]
async fn what_waits_fails_at_once_when_the_connection_breaks_and_a_new_one_is_made() {
    let first = server(2, 5, None).await;
    let client = client(5, None);
    let pending = client.send(&first.to, Kind::Forward, 0, "never".into()).unwrap();
    assert_eq!(ask(&client, &first.to, b"hello").await.unwrap(), "hello");
    first.stop.send(true).unwrap();
    let error = pending.until(soon()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { sent: true, .. }), "{error}");
    let second = server(2, 5, None).await;
    assert_eq!(ask(&client, &second.to, b"hello").await.unwrap(), "hello");
}

#[tokio::test]
async fn too_many_that_wait_are_busy() {
    let server = server(2, 5, None).await;
    let client = client(5, None);
    let mut pending = Vec::new();
    let busy = loop {
        match client.send(&server.to, Kind::Forward, 0, "never".into()) {
            Ok(reply) => pending.push(reply),
            Err(error) => break error,
        }
    };
    assert_eq!(busy, Error::Busy { member: "demo-2".into() });
    assert_eq!(pending.len(), 16_384);
}

#[tokio::test]
async fn s2_garbage_ends_its_connection_only() {
    let server = server(2, 5, None).await;
    let client = client(5, None);
    assert_eq!(ask(&client, &server.to, b"hello").await.unwrap(), "hello");
    for garbage in
        [&b"GET / HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nUser-Agent: x\r\n\r\n"[..], &[0xff; 4096]]
    {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let _ = stream.write_all(garbage).await;
        let mut rest = Vec::new();
        let _ = timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await.unwrap();
        assert_eq!(rest, b"");
    }
    assert_eq!(ask(&client, &server.to, b"hello").await.unwrap(), "hello");
}

/// The next frame of a stream: its number and its status.
async fn frame(stream: &mut TcpStream, input: &mut BytesMut) -> (u32, u8) {
    loop {
        if let Some(frame) = wire::take_frame(input).unwrap() {
            return (frame.number, frame.tag);
        }
        let read = timeout(Duration::from_secs(20), stream.read_buf(input)).await.unwrap();
        assert_ne!(read.unwrap(), 0, "the connection ended");
    }
}

#[tokio::test]
async fn a_server_that_stops_says_which_request_was_its_last_and_answers_it() {
    let server = server(2, 5, None).await;
    let me = Identity::new(1, 5);
    let connect = async || {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let newest = *me.protocols().end();
        wire::greet(&mut stream, &me, &Secret::new(None), 2, newest).await.unwrap();
        stream
    };
    let (mut asks, mut idle) = (connect().await, connect().await);
    let mut out = BytesMut::new();
    wire::put_frame(&mut out, 1, Kind::Forward as u8, b"hello");
    wire::put_frame(&mut out, 2, Kind::Forward as u8, b"later:hello");
    asks.write_all(&out).await.unwrap();
    let mut input = BytesMut::new();
    assert_eq!(frame(&mut asks, &mut input).await, (1, wire::STATUS_REPLY));
    server.stop.send(true).unwrap();
    let mut seen = [frame(&mut asks, &mut input).await, frame(&mut asks, &mut input).await];
    seen.sort_unstable();
    assert_eq!(seen, [(2, wire::STATUS_REPLY), (2, wire::STATUS_GOES)]);
    assert_eq!(asks.read_buf(&mut input).await.unwrap(), 0);
    drop(asks);
    // Who has asked for nothing hears the end last.
    assert_eq!(frame(&mut idle, &mut input).await, (0, wire::STATUS_GOES));
}

#[tokio::test]
async fn what_a_server_that_stops_has_not_taken_was_surely_not_done() {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let to = member_at(2, listener.local_addr().unwrap().port());
    let client = client(5, None);
    let send = |payload: &'static str| {
        client.send(&to, Kind::Forward, 0, Bytes::from_static(payload.as_bytes())).unwrap()
    };
    let (taken, late) = (send("taken"), send("late"));
    let (mut stream, _) = listener.accept().await.unwrap();
    let me = Identity::new(2, 5);
    wire::welcome(&mut stream, &me, &Secret::new(None)).await.unwrap();
    let mut input = BytesMut::new();
    assert_eq!(frame(&mut stream, &mut input).await.0, 1);
    assert_eq!(frame(&mut stream, &mut input).await.0, 2);
    drop(listener);
    let mut out = BytesMut::new();
    wire::put_frame(&mut out, 1, wire::STATUS_GOES, b"");
    stream.write_all(&out).await.unwrap();
    let error = late.until(soon()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { sent: false, .. }), "{error}");
    out.clear();
    wire::put_frame(&mut out, 1, wire::STATUS_REPLY, b"done");
    stream.write_all(&out).await.unwrap();
    assert_eq!(taken.until(soon()).await.unwrap(), "done");
    let error = send("later").until(soon()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { sent: false, .. }), "{error}");
}

#[tokio::test]
async fn members_of_two_releases_speak_the_older_one_s_protocol() {
    let (older, newer) = (*PROTOCOLS.start(), *PROTOCOLS.end());
    let old = server_as(Identity::new(2, 5).up_to(older), None).await;
    let new = server_as(Identity::new(3, 5), None).await;
    let client = client(5, None);
    for to in [&old.to, &new.to] {
        let payload = Bytes::from_static(b"hello");
        assert_eq!(client.call(to, Kind::Forward, payload, soon()).await.unwrap(), "hello");
    }
    assert_eq!(client.protocols(), [(2, older), (3, newer)].into());
    // And the other way round.
    let me = Arc::new(Identity::new(1, 5).up_to(older));
    let client = Client::new(me, Secret::new(None), Loops::default());
    let payload = Bytes::from_static(b"hello");
    assert_eq!(client.call(&new.to, Kind::Forward, payload, soon()).await.unwrap(), "hello");
    assert_eq!(client.protocols(), [(3, older)].into());
}

#[tokio::test]
async fn who_does_not_know_the_protocol_that_all_others_speak_is_refused() {
    let (older, newer) = (*PROTOCOLS.start(), *PROTOCOLS.end());
    let old = server_as(Identity::new(2, 5).up_to(older), None).await;
    let me = Arc::new(Identity::new(1, 5));
    me.set_common(newer);
    let client = Client::new(me, Secret::new(None), Loops::default());
    let error = client.call(&old.to, Kind::Forward, Bytes::new(), soon()).await.unwrap_err();
    let expected = format!("it speaks protocol {older}, this member {newer} to {newer}");
    assert!(error.to_string().contains(&expected), "{error}");
    assert!(client.protocols().is_empty());
}

/// The greeting as release 0.1 before protocol 3 sent it: a member of that release must be answered for ever as long
/// as its protocol is spoken.
#[tokio::test]
async fn a_greeting_in_protocol_2_is_answered_in_protocol_2() {
    let server = server(2, 5, None).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut hello = b"HCPR\0\x02".to_vec();
    for number in [5u64, 1, 2] {
        hello.extend(number.to_be_bytes());
    }
    hello.extend([7; 16]);
    stream.write_all(&hello).await.unwrap();
    let mut welcome = [0; 4 + 2 + 1 + 8 + 8 + 16];
    timeout(Duration::from_secs(20), stream.read_exact(&mut welcome)).await.unwrap().unwrap();
    assert_eq!(welcome[..7], *b"HCPR\0\x02\0");
}
