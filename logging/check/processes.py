"""Processes that the check starts, and ends again."""

import contextlib
import os
import socket
import subprocess
import time
import urllib.request

DEADLINE_SECONDS = 120
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def until(what, condition, seconds=DEADLINE_SECONDS):
    """Waits for something; what it said last is in the error if it does not come."""
    end, said = time.monotonic() + seconds, ""
    while time.monotonic() < end:
        try:
            found = condition()
            if found:
                return found
        except AssertionError:
            raise
        except Exception as error:  # not there yet
            said = f": {error}"
        time.sleep(0.1)
    raise TimeoutError(f"not within {seconds} s: {what}{said}")


PORTS = iter(range(10_000 + os.getpid() % 200 * 100, 32_000))


def free_ports(count):
    """Ports that nothing has, below those that the system gives to connections; other ones at each call."""
    found = []
    while len(found) < count:
        port = next(PORTS)
        with contextlib.ExitStack() as held:
            try:
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    held.enter_context(socket.socket(socket.AF_INET, kind)).bind(("127.0.0.1", port))
                found.append(port)
            except OSError:
                continue
    return found


class Process:
    """One process whose output is a file."""

    def __init__(self, words, log, env=None, cwd=None, user=None):
        self.log = log
        options = {"user": user, "group": user, "extra_groups": []} if user else {}
        with open(log, "ab") as output:
            self.popen = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=cwd,
                env=os.environ | (env or {}), **options,
            )

    def kill(self):
        self.popen.kill()
        self.popen.wait()

    def stop(self, seconds=60):
        """Asks it to end; how it did."""
        self.popen.terminate()
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def tail(self):
        with open(self.log, errors="replace") as file:
            return "".join(file.readlines()[-40:])


def http(method, url, body=None, headers=None):
    """Status and body of an answer."""
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    try:
        with DIRECT.open(request, timeout=DEADLINE_SECONDS) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
