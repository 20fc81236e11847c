"""What the measurements of clusters share: members that are started and ended here, and a client of RESP."""
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request

HERTZ = os.sysconf("SC_CLK_TCK")
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, condition, seconds=60, every=0.02):
    """The first true answer of `condition`; ends the measurement if none comes."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = condition()
        except (OSError, ValueError):
            found = None
        if found:
            return found
        if time.monotonic() > deadline:
            sys.exit(f"{what}: not within {seconds} s")
        time.sleep(every)


def cpu_seconds(pid):
    """User and system time of a process, with nanosecond precision where the kernel has it."""
    total = 0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                total += int(f.read().split()[0])
        if total:
            return total / 1e9
    except OSError:
        pass
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / HERTZ


class Refused(Exception):
    """An error reply."""


class Client:
    """One connection; a call is one request and its reply."""

    def __init__(self, port, timeout=15):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.file = self.socket.makefile("rb")

    def call(self, *words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        return self.reply()

    def reply(self):
        line = self.file.readline()
        if not line:
            raise OSError("the connection was closed")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b"-":
            raise Refused(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        return [self.reply() for _ in range(int(rest))]

    def close(self):
        self.file.close()
        self.socket.close()


class Member:
    """One `hypercache server`."""

    def __init__(self, binary, number, directory, yaml, password=None):
        self.password = password
        self.binary, self.name, self.directory = binary, f"m-{number}", directory
        self.resp, self.http, self.gossip = free_port(), free_port(), free_port()
        self.config = os.path.join(directory, f"{self.name}.yaml")
        with open(self.config, "w") as f:
            f.write(yaml)
        self.process = None

    def start(self, join, first_members, threads=1):
        log = open(os.path.join(self.directory, f"{self.name}.log"), "ab")
        command = [self.binary, "server", "--config", self.config, "--node-id", self.name, "--threads", str(threads),
                   "--resp-port", str(self.resp), "--http-port", str(self.http), "--gossip-port", str(self.gossip),
                   "--data-dir", os.path.join(self.directory, self.name), "--join", join, "--bootstrap-members", str(first_members)]
        self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def status(self):
        headers = {"Authorization": f"Bearer {self.password}"} if self.password else {}
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}/api/admin/cluster", headers=headers)
        with urllib.request.urlopen(request, timeout=3) as reply:
            return json.load(reply)

    def client(self, timeout=15):
        return Client(self.resp, timeout)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Cluster:
    """Members of one cluster, all on loopback."""

    def __init__(self, binary, size, directory, yaml, threads=1, password=None):
        self.binary, self.directory, self.yaml, self.first, self.threads = binary, directory, yaml, size, threads
        self.members = [Member(binary, n, directory, yaml, password) for n in range(size)]
        for member in self.members:
            self.start(member)
        self.wait_whole()

    def start(self, member):
        join = ",".join(f"127.0.0.1:{m.gossip}" for m in self.members)
        member.start(join, self.first, self.threads)

    def add(self):
        """A member more, which knows the first ones."""
        member = Member(self.binary, len(self.members), self.directory, self.yaml)
        join = ",".join(f"127.0.0.1:{m.gossip}" for m in self.members)
        member.start(join, 0, self.threads)
        self.members.append(member)
        return member

    def wait_whole(self, seconds=120):
        """Until every member says that all slots have all their owners in sync."""
        for member in self.members:
            wait_for(f"{member.name} in sync", lambda: member.status()["fully_replicated"], seconds)

    def slots(self, through):
        """The first member of each range of slots: (first, last, port)."""
        client = through.client()
        ranges = [(r[0], r[1], r[2][1]) for r in client.call("CLUSTER", "SLOTS")]
        client.close()
        return ranges

    def key_of(self, member, through, prefix="k"):
        """A key whose primary is this member, as another one says."""
        ranges = self.slots(through)
        client = through.client()
        for n in range(100000):
            slot = client.call("CLUSTER", "KEYSLOT", f"{prefix}{n}")
            if any(first <= slot <= last and port == member.resp for first, last, port in ranges):
                client.close()
                return f"{prefix}{n}"
        sys.exit(f"{member.name} is primary of nothing")

    def stop(self):
        for member in self.members:
            member.stop()


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
