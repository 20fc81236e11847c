"""Workers that write until they are told to stop, and know what they were promised (see ../README.md)."""

import json
import re
import sys
import threading
import time

KEYS = 32
PAUSE_SECONDS = 0.01
CHECK_SECONDS = 60


class Tally:
    """What happened to all workers since the last line that was read."""

    def __init__(self, workers):
        self.lock = threading.Lock()
        # How often each got what it asked for since it last did not.
        self.clean = [0] * workers
        self.begin()

    def begin(self):
        self.written, self.twice, self.longest_ms = 0, 0, 0
        self.errors, self.first_error, self.last_error = {}, None, None

    def done(self, worker, took_seconds, text):
        with self.lock:
            self.longest_ms = max(self.longest_ms, int(took_seconds * 1000))
            if text is None:
                self.clean[worker] += 1
                return
            self.clean[worker] = 0
            self.errors[text] = self.errors.get(text, 0) + 1
            self.last_error = time.monotonic()
            self.first_error = self.first_error or self.last_error

    def acknowledged(self, twice=0):
        with self.lock:
            self.written += 1
            self.twice += twice

    def end(self, limit_seconds):
        """What there is to tell once every worker went through all its keys without an error, or
        when there was time enough for it."""
        with self.lock:
            self.clean = [0] * len(self.clean)
        until = time.monotonic() + limit_seconds
        while min(self.clean) < 3 * KEYS and time.monotonic() < until:
            time.sleep(0.01)
        with self.lock:
            errors_ms = int((self.last_error - self.first_error) * 1000) if self.errors else 0
            report = {
                "written": self.written,
                "errors": self.errors,
                "errors_ms": errors_ms,
                "twice": self.twice,
                "longest_ms": self.longest_ms,
                "clean": min(self.clean) >= 3 * KEYS,
            }
            self.begin()
        return report


class Worker:
    """Writes, counts up and reads keys of its own."""

    def __init__(self, client, prefix, number, tally):
        self.client, self.tally, self.number = client, tally, number
        self.keys = [f"{prefix}:{number}:{i}" for i in range(KEYS)]
        self.counters = [f"{prefix}:{number}:{i}:count" for i in range(KEYS)]
        # Of each key: what was acknowledged last, and what was tried since without an answer.
        self.last = [None] * KEYS
        self.open = [[] for _ in range(KEYS)]
        # Of each counter: how often it was counted up for sure, and at most.
        self.sure = [0] * KEYS
        self.most = [0] * KEYS
        self.written = 0
        self.wrong = []

    def attempt(self, call, *arguments):
        """Whether there was an answer, and the answer."""
        began = time.monotonic()
        good, answer, text = True, None, None
        try:
            answer = call(*arguments)
        except Exception as error:  # whatever the library gives its user
            good, text = False, re.sub(r"\d+", "N", f"{type(error).__name__}: {error}")[:200]
        self.tally.done(self.number, time.monotonic() - began, text)
        return good, answer

    def run(self, stop):
        turn = 0
        while not stop.is_set():
            i = turn % KEYS
            turn += 1
            self.write(i, turn)
            self.count(i)
            self.read(turn * 7 % KEYS)
            stop.wait(PAUSE_SECONDS)

    def write(self, i, value):
        good, _ = self.attempt(self.client.set, self.keys[i], value)
        if not good:
            self.open[i].append(value)
            return
        self.last[i], self.open[i] = value, []
        self.written += 1
        self.tally.acknowledged()

    def count(self, i):
        self.most[i] += 1
        good, found = self.attempt(self.client.incr, self.counters[i])
        if not good:
            return
        if found <= self.sure[i]:
            self.wrong.append(f"{self.counters[i]}: {found} after {self.sure[i]} were acknowledged")
        # More than was asked for: the library sent again what had been done already.
        twice = max(0, found - self.most[i])
        self.sure[i] = self.most[i] = found
        self.written += 1
        self.tally.acknowledged(twice)

    def read(self, i):
        good, found = self.attempt(self.client.get, self.keys[i])
        if good:
            self.check(i, found)

    def check(self, i, found):
        found = None if found is None else int(found)
        if found != self.last[i] and found not in self.open[i]:
            self.wrong.append(f"{self.keys[i]}: {found}, not {self.last[i]} or one of {self.open[i]}")

    def check_all(self):
        """Everything once more, now that nothing happens any more."""
        for i in range(KEYS):
            self.check(i, self.patient(self.client.get, self.keys[i]))
            found = int(self.patient(self.client.get, self.counters[i]) or 0)
            if not self.sure[i] <= found <= self.most[i]:
                self.wrong.append(f"{self.counters[i]}: {found}, not {self.sure[i]} to {self.most[i]}")

    def patient(self, call, *arguments):
        until = time.monotonic() + CHECK_SECONDS
        while True:
            try:
                return call(*arguments)
            except Exception:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)


def say(report):
    print(json.dumps(report), flush=True)


def work(client, version, mode, count, prefix):
    """Runs until the input ends; the exit code."""
    tally, stop = Tally(count), threading.Event()
    workers = [Worker(client, prefix, number, tally) for number in range(count)]
    threads = [threading.Thread(target=worker.run, args=(stop,), daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    for line in sys.stdin:
        say(tally.end(float(line)))
    stop.set()
    for thread in threads:
        thread.join()
    for worker in workers:
        worker.check_all()
    wrong = [text for worker in workers for text in worker.wrong]
    written = sum(worker.written for worker in workers)
    report = {"client": "redis-py", "version": version, "mode": mode, "action": "work"}
    report |= {"count": written, "wrong": len(wrong)}
    if wrong:
        report["first"] = wrong[0]
    say(report)
    return 1 if wrong else 0
