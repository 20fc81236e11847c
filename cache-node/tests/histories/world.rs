//! A network of our own: members in namespaces on a bridge, where a way from one to another can be
//! cut in silence.
//!
//! A test runs itself again as the first process of namespaces that go with it, whatever happens: so
//! nothing is left behind, and the machine's own network is not touched. A way is cut by a false
//! hardware address in the sender's table of neighbours: packets leave and nobody takes them, as with
//! a cable that is out; what comes the other way still arrives.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

/// Set in the process that has the namespaces.
const INSIDE: &str = "HISTORY_WORLD";

/// How members reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Net {
    /// Each has an address of its own, 10.9.0.1 for the first; ways can be cut.
    Namespaces,
    /// All are on 127.0.0.1, and nothing can be cut.
    Loopback,
}

/// Runs the body in a world of its own: the test of this name, once more, as a process there. Where
/// the system does not let us have one, the body runs here, on the loopback.
///
/// Panics if the body does, with what it printed.
pub fn within(test: &str, body: impl FnOnce(Net)) {
    if std::env::var_os(INSIDE).is_some() {
        shell("mount -t tmpfs none /run && mkdir -p /run/netns && ip link set lo up");
        return body(Net::Namespaces);
    }
    if std::env::var("HISTORY_NET").is_ok_and(|net| net == "loopback") || !can_have_one() {
        println!("no namespaces here: members on the loopback, and no partitions");
        return body(Net::Loopback);
    }
    let mut again = namespaces();
    again.arg(std::env::current_exe().unwrap());
    again
        .args(["--exact", test, "--include-ignored", "--nocapture", "--test-threads", "1"])
        .env(INSIDE, "1");
    again.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = again.spawn().unwrap();
    let mut err = child.stderr.take().unwrap();
    let errors = std::thread::spawn(move || {
        let mut text = Vec::new();
        err.read_to_end(&mut text).map(|_| String::from_utf8_lossy(&text).into_owned())
    });
    let mut passed = false;
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        passed |= line.contains("1 passed");
        println!("{line}");
    }
    let (status, errors) = (child.wait().unwrap(), errors.join().unwrap().unwrap());
    assert!(passed, "{status}: not one test passed in its namespaces\n{errors}");
}

fn namespaces() -> Command {
    let mut command = Command::new("setpriv");
    // Ended with this process, and all that is in there with it.
    command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--fork"]);
    command.args(["--kill-child", "--mount-proc"]);
    command
}

fn can_have_one() -> bool {
    let script = "mount -t tmpfs none /run && mkdir /run/netns && ip netns add a && \
                  ip link add name br0 type bridge && ip link add v0 type veth peer name eth0 netns a && \
                  nsenter --net=/run/netns/a true";
    let tried = namespaces().args(["sh", "-c", script]).stdin(Stdio::null()).output();
    tried.is_ok_and(|tried| tried.status.success())
}

/// Runs a few lines of shell that must succeed.
pub fn shell(script: &str) {
    let done = Command::new("sh").args(["-ec", script]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{script}: {}: {said}", done.status);
}

/// Commands of `ip` as a batch.
fn ip(lines: &str) {
    let mut child = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "ip -batch:\n{lines}");
}

fn mac(i: usize) -> String {
    format!("02:00:00:00:01:{i:02x}")
}

/// The address of member `i`.
pub fn address(i: usize) -> String {
    format!("10.9.0.{}", i + 1)
}

/// A bridge with a namespace for each of so many members; what was there before goes.
pub fn wire(members: usize) {
    let mut lines =
        String::from("link add br0 type bridge\nlink set br0 up\naddr add 10.9.0.100/24 dev br0\n");
    for i in 0..members {
        let mac = mac(i);
        lines += &format!("netns add m{i}\n");
        lines += &format!("link add v{i} type veth peer name eth0 address {mac} netns m{i}\n");
        lines += &format!("link set v{i} master br0 up\n");
    }
    ip(&lines);
    for i in 0..members {
        let at = address(i);
        shell(&format!(
            "ip -n m{i} link set lo up; ip -n m{i} addr add {at}/24 dev eth0; ip -n m{i} link set eth0 up"
        ));
    }
    heal(members);
}

/// Takes away what [`wire`] made.
pub fn unwire(members: usize) {
    let mut lines = String::from("link del br0\n");
    (0..members).for_each(|i| lines += &format!("link del v{i}\nnetns del m{i}\n"));
    ip(&lines);
}

fn neighbour(from: usize, to: usize, mac: &str) {
    let to = address(to);
    shell(&format!("ip -n m{from} neigh replace {to} lladdr {mac} dev eth0 nud permanent"));
}

/// From now on nothing that `from` sends reaches `to`.
pub fn cut(from: usize, to: usize) {
    neighbour(from, to, "02:00:00:00:ff:ff");
}

/// Every way is open again.
pub fn heal(members: usize) {
    for from in 0..members {
        for to in (0..members).filter(|to| *to != from) {
            neighbour(from, to, &mac(to));
        }
    }
}
