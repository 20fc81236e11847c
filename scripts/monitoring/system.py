"""Real members, a real Prometheus and `hypercache load`, on free ports of this machine, in a directory that goes away."""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# How long anything may take.
DEADLINE_S = 120

CONFIG = """
network: {{max_connections: 64, request_timeout: 1s}}
node: {{memory_limit: {memory_limit}}}
cluster: {{name: live}}
cache: {{max_memory: 0}}
persistence: {{mode: aof+snapshot, fsync: periodic, fsync_interval: 100ms, snapshot_interval: 2s}}
backup: {{url: "{backups}"}}
stores:
  user_sessions: {{number: 1, default_ttl: 1s, eviction_policy: session, cuckoo_filter: true, replication_factor: 3, acks: quorum,
    persistence: {{mode: aof+snapshot, fsync: always, snapshot_interval: 2s}}}}
  page_cache: {{number: 2, max_memory: 2MB, eviction_policy: lru, cuckoo_filter: 0.1, replication_factor: 2}}
  full: {{number: 3, max_memory: 1MB, eviction_policy: noeviction}}
  cached: {{number: 4}}
  kept: {{number: 5, eviction_policy: noeviction}}
"""


class Failed(Exception):
    """What was waited for did not come."""


def free_ports(count):
    """Ports that nobody listens on now, below those that the system gives to connections."""
    ports, port = [], 21000 + os.getpid() % 400 * 20
    while len(ports) < count:
        port += 1
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
                ports.append(port)
            except OSError:
                pass
    return ports


def wait_for(what, condition, seconds=DEADLINE_S):
    """What the condition gives, once it is something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.2)
    raise Failed(f"not within {seconds} s: {what}")


def fetch(url, method="GET"):
    """Status and text; None while nobody answers."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return None


class System:
    """Three members and a Prometheus. Rules are those of grafana/rules, changed by `rewrite`."""

    def __init__(self, program, rewrite=lambda text: text, memory_limit="0"):
        self.program = program
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="hypercache-live-"))
        ports = free_ports(10)
        self.resp, self.http, self.gossip, self.prometheus_port = ports[:3], ports[3:6], ports[6:9], ports[9]
        self.members = [None, None, None]
        self.others = []
        self.base = f"http://127.0.0.1:{self.prometheus_port}"
        try:
            self.small_disk = self.mount()
            config = CONFIG.format(backups=self.folder / "backups", memory_limit=memory_limit)
            (self.folder / "config.yaml").write_text(config)
            for i in range(3):
                self.start(i)
            wait_for("three members that are ready and know each other", lambda: all(map(self.healthy, range(3))))
            self.start_prometheus(rewrite)
        except BaseException:
            self.end()
            raise

    def spawn(self, name, command):
        log = open(self.folder / f"{name}.log", "ab")
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def start(self, i):
        """Starts a member."""
        self.data(i).parent.mkdir(exist_ok=True)
        join = ",".join(f"127.0.0.1:{port}" for port in self.gossip)
        self.members[i] = self.spawn(f"member-{i}", [
            self.program, "server", "--config", self.folder / "config.yaml", "--node-id", f"member-{i}", "--threads", "2",
            "--resp-port", str(self.resp[i]), "--http-port", str(self.http[i]), "--gossip-port", str(self.gossip[i]),
            "--data-dir", self.data(i), "--join", join, "--bootstrap-members", "3"])

    def mount(self):
        """A disk of its own for member-2's data, which can be filled; whether there is one."""
        disk = self.folder / "disk-2"
        disk.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", disk]
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0

    def data(self, i):
        return self.folder / f"disk-{i}" / "data"

    def fill_disk(self):
        """Nothing more can be written by member-2; a file that makes room again when it is taken away."""
        ballast = self.folder / "disk-2" / "ballast"
        with open(ballast, "wb", buffering=0) as file:
            try:
                while file.write(bytes(1 << 16)):
                    pass
            except OSError:
                return ballast

    def healthy(self, i):
        answer = fetch(f"http://127.0.0.1:{self.http[i]}/health")
        return answer is not None and answer[0] == 200

    def kill(self, i):
        """Ends a member as a crash would."""
        self.members[i].kill()
        self.members[i].wait()

    def stand_still(self, i):
        self.members[i].send_signal(signal.SIGSTOP)

    def go_on(self, i):
        self.members[i].send_signal(signal.SIGCONT)

    def start_prometheus(self, rewrite):
        rules = self.folder / "rules"
        rules.mkdir()
        for path in (ROOT / "grafana" / "rules").glob("*.yaml"):
            (rules / path.name).write_text(rewrite(path.read_text()))
        config = (ROOT / "grafana" / "prometheus.yaml").read_text()
        for i in range(3):
            config = config.replace(f"localhost:{9080 + i}", f"127.0.0.1:{self.http[i]}")
        config = re.sub(r"(scrape|evaluation)_interval: \w+", r"\1_interval: 1s", config)
        (self.folder / "prometheus.yaml").write_text(config)
        subprocess.run(["promtool", "check", "config", self.folder / "prometheus.yaml"], check=True, stdout=subprocess.DEVNULL)
        self.others.append(self.spawn("prometheus", [
            "prometheus", f"--config.file={self.folder}/prometheus.yaml", f"--storage.tsdb.path={self.folder}/prometheus",
            f"--web.listen-address=127.0.0.1:{self.prometheus_port}"]))
        wait_for("Prometheus is ready", lambda: (fetch(self.base + "/-/ready") or (0,))[0] == 200)

    def load(self, *flags, http=False, members=(0, 1, 2)):
        """Begins a load on members; ends with this system at the latest."""
        ports = self.http if http else self.resp
        process = self.spawn("load", [self.program, "load", *(f"127.0.0.1:{ports[i]}" for i in members),
                                      *(["--http"] if http else []), *flags])
        self.others.append(process)
        return process

    def admin(self, i, what):
        """Status and text of what an administrator asks a member for; None while it does not answer."""
        return fetch(f"http://127.0.0.1:{self.http[i]}/api/admin/{what}", "POST")

    def flush(self):
        """No member has keys any more."""
        with socket.create_connection(("127.0.0.1", self.resp[0]), timeout=30) as connection:
            connection.sendall(b"FLUSHALL\r\n")
            connection.recv(100)

    def query(self, text):
        """What Prometheus says now; an error as a text."""
        url = f"{self.base}/api/v1/query?" + urllib.parse.urlencode({"query": text})
        status, body = fetch(url) or (0, "{}")
        answer = json.loads(body)
        return answer["data"]["result"] if status == 200 else answer.get("error", f"status {status}")

    def rules(self):
        groups = json.loads(fetch(self.base + "/api/v1/rules")[1])["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def names(self):
        """All metrics that it has seen."""
        return set(json.loads(fetch(self.base + "/api/v1/label/__name__/values")[1])["data"])

    def end(self):
        for process in [*self.others, *filter(None, self.members)]:
            process.kill()
            process.wait()
        if os.path.ismount(self.folder / "disk-2"):
            subprocess.run(["umount", self.folder / "disk-2"], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
