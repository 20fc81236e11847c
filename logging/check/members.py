"""Three members with a password, and what goes wrong with them."""

import base64
import json
import socket

from processes import DEADLINE_SECONDS, Process, free_ports, http, until

PASSWORD = "s3cret-of-the-check"
STORES = "stores:\n  sessions: {number: 1, max_memory: 64MB, default_ttl: 5m}\n"


class Client:
    """RESP, one command at a time."""

    def __init__(self, port, password=PASSWORD):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS)
        self.file = self.socket.makefile("rb")
        if password:
            self.ask("AUTH", password)

    def ask(self, *words):
        """A reply's first line."""
        parts = [f"*{len(words)}\r\n".encode()]
        for word in words:
            data = word.encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
        self.socket.sendall(b"".join(parts))
        line = self.file.readline().decode().rstrip("\r\n")
        if line.startswith("$") and line != "$-1":
            self.file.readline()
        return line


class Members:
    """They log into files of one directory, `m-0.log` and so on."""

    def __init__(self, program, directory):
        self.program, self.directory = program, directory
        ports = free_ports(9)
        self.ports = [ports[3 * i : 3 * i + 3] for i in range(3)]
        self.config = directory / "config.yaml"
        self.config.write_text(
            f"cluster:\n  name: checked\n  join: {json.dumps([f'127.0.0.1:{p[2]}' for p in self.ports])}\n"
            f"  bootstrap_members: 3\nauth: {{password: {PASSWORD}}}\n{STORES}"
        )
        (directory / "logs").mkdir()
        self.running = [self.start(i) for i in range(3)]
        self.wait()

    def start(self, i):
        resp, http_port, gossip = self.ports[i]
        words = [
            self.program, "server", "--config", str(self.config), "--node-id", f"m-{i}",
            "--bind", "127.0.0.1", "--advertise", "127.0.0.1", "--threads", "1",
            "--resp-port", str(resp), "--http-port", str(http_port), "--gossip-port", str(gossip),
            "--data-dir", str(self.directory / f"data-{i}"),
        ]
        return Process(words, self.directory / "logs" / f"m-{i}.log")

    def wait(self):
        for i in range(3):
            until(f"m-{i} is well", lambda: self.http(i, "GET", "/health")[0] == 200)

    def http(self, i, method, path, body=None, password=PASSWORD):
        pair = base64.b64encode(f"checker:{password}".encode()).decode()
        headers = {"authorization": f"Basic {pair}", "content-type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        return http(method, f"http://127.0.0.1:{self.ports[i][1]}{path}", data, headers)

    def client(self, i, password=PASSWORD):
        return Client(self.ports[i][0], password)

    def go_wrong(self):
        """Wrong types, bad logins, settings, policies, a kill, a restart; the cluster goes on."""
        expect = lambda got, wanted: got.startswith(wanted) or unexpected(got, wanted)
        first, second = self.client(0), self.client(1)
        expect(first.ask("CONFIG", "SET", "loglevel", "debug"), "+OK")
        for n in range(30):
            key = f"key-{n}"
            until("SET is done", lambda: first.ask("SET", key, "a value that is in no line") == "+OK")
            expect(first.ask("LPUSH", key, "x"), "-WRONGTYPE")
        expect(first.ask("CONFIG", "SET", "loglevel", "notice"), "+OK")
        expect(second.ask("CONFIG", "SET", "maxclients", "5000", "requirepass", PASSWORD), "+OK")
        expect(second.ask("CONFIG", "SET", "no-such-parameter", "1"), "-ERR")
        for _ in range(7):
            expect(self.client(1, None).ask("AUTH", "a wrong password"), "-WRONGPASS")
        for _ in range(3):
            status, _ = self.http(2, "GET", "/api/cache/key-1", password="another wrong password")
            status == 401 or unexpected(status, 401)
        for method, path, body, wanted in [
            ("PATCH", "/api/stores/sessions", {"max_memory_bytes": 32 << 20}, 200),
            ("PATCH", "/api/stores/sessions", {"max_memory_bytes": "lots"}, 400),
            ("POST", "/api/admin/rebalance/pause", None, 200),
            ("POST", "/api/admin/rebalance/resume", None, 200),
            ("POST", "/api/admin/members/m-9/drain", None, 400),
        ]:
            status, body = self.http(0, method, path, body)
            status == wanted or unexpected((status, body), (path, wanted))
        self.running[2].kill()
        until("the others see it", lambda: self.lines('"hypercache.was":"alive"', 0) > 0)
        self.running[2] = self.start(2)
        self.wait()
        until("FLUSHALL is done", lambda: self.client(2).ask("FLUSHALL") == "+OK")

    def lines(self, text, i):
        log = (self.directory / "logs" / f"m-{i}.log").read_text(errors="replace")
        return sum(text in line for line in log.splitlines())

    def stop(self):
        """Each as it should end."""
        for i, member in enumerate(self.running):
            code = member.stop()
            code == 0 or unexpected(f"m-{i} ended with {code}\n{member.tail()}", 0)

    def kill(self):
        for member in self.running:
            member.kill()


def unexpected(got, wanted):
    raise AssertionError(f"{got!r} instead of {wanted!r}")
