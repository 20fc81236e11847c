"""Alerts, fired by what they are about, and quiet once that is gone."""
import re
import subprocess
import time

from system import Failed, System, wait_for

# `for:` and windows are shortened in a copy of the rules: the causes and the conditions are the real ones.
WINDOWS = {"5m": "10s", "10m": "10s", "15m": "10s", "30m": "15s", "1h": "15s", "6h": "20s"}

# So many looks in turn, a fifth of a second apart, find nothing that fires.
CALM = 20
# Those that need a disk that can be filled, which only root can mount.
OF_DISK = ["DiskNearlyFull", "DiskFailing", "LogErrors", "SnapshotsFailing"]
# Those that other tests fire: grafana/rules/tests, by promtool.
BY_PROMTOOL = {
    "HyperCacheHitRatioFell": "needs an hour of another ratio",
    "HyperCacheMemoryFillsSoon": "needs hours of growth",
    "HyperCacheBackupTooOld": "needs 26 hours",
    "HyperCacheVersionsDiffer": "needs another version",
    "HyperCacheFsyncSlow": "needs a slow disk",
    "HyperCacheReplicationBacklog": "needs a network that is slower than the writes",
    "HyperCacheSlotsWithoutOwner": "needs a table without owners",
    "HyperCacheRebalanceStuck": "needs half an hour",
    "HyperCacheCopiesDiffer": "needs a copy that is damaged",
    "HyperCacheClusterNotReady": "needs an API server",
    "HyperCacheMemberCutOff": "needs a network that can be cut",
    "HyperCacheOperatorDown": "needs an API server",
    "HyperCacheOperatorFailing": "needs an API server",
    "HyperCacheOperatorRefused": "needs an API server",
    "HyperCacheOperatorCannotReachClusters": "needs an API server",
    "HyperCacheOperatorNeverSettles": "needs an API server",
}


def shortened(text):
    """The rules with short windows, and without a wait before they fire."""
    text = re.sub(r"^( +for:) \w+", r"\1 1s", text, flags=re.M)
    return re.sub(r"\[(\d+[mh])\]", lambda m: f"[{WINDOWS.get(m[1], m[1])}]", text)


class Alerts:
    """What fires in a system."""

    def __init__(self, system):
        self.system = system
        self.known = {rule["name"] for rule in system.rules() if rule["type"] == "alerting"}
        self.broken = []
        self.fired = set()
        self.left = set()

    def firing(self):
        result = self.system.query('ALERTS{alertstate="firing"}')
        # A Prometheus that does not answer says nothing about alerts.
        if isinstance(result, str):
            return {result}
        return {series["metric"]["alertname"] for series in result}

    def fire(self, names, what, again=lambda: None):
        """Waits for alerts by their cause, which `again` makes happen once more."""
        left = {f"HyperCache{name}" for name in names} & self.known
        wanted = set(left)
        if not wanted:
            return

        def fired():
            again()
            left.difference_update(self.firing())
            return not left

        try:
            wait_for(f"{what}: {', '.join(sorted(left))}", fired)
        except Failed as error:
            self.broken.append(f"{error}; not fired: {', '.join(sorted(left))}")
        self.fired |= wanted - left
        print(f"{what}: {', '.join(sorted(wanted))}", "fired" if not left else f"but not {', '.join(sorted(left))}", flush=True)

    def leave(self, names, why):
        """What cannot be fired here."""
        self.left |= {f"HyperCache{name}" for name in names}
        print(f"left to promtool: {', '.join(names)}: {why}")

    def quiet(self, what):
        """Waits until nothing fires any more, however often it is asked."""
        calm = 0

        def settled():
            nonlocal calm
            calm = 0 if self.firing() else calm + 1
            return calm == CALM

        try:
            wait_for(f"{what}: nothing fires", settled)
            print(f"{what}: quiet", flush=True)
        except Failed as error:
            self.broken.append(f"{error}; {', '.join(sorted(self.firing()))} still do")


def requests(system, alerts):
    """Refused writes and connections, evictions."""
    flags = ("--duration", "10m", "--quiet", "--rate", "200", "--connections", "4")
    load = system.load(*flags, "--store", "3", "--mix", "set", "--value-size", "16KB")
    alerts.fire(["WritesRefused"], "a store without eviction is full")
    end(load)
    load = system.load(*flags, "--store", "2", "--mix", "set", "--value-size", "16KB")
    alerts.fire(["EvictionStorm"], "a small store is written to without end")
    end(load)
    held = [system.load("--duration", "10m", "--quiet", "--rate", "10", "--connections", "60", members=[i]) for i in range(3)]
    more = [system.load("--duration", "2s", "--quiet", "--timeout", "1s", "--connections", "60", members=[i]) for i in range(3)]
    alerts.fire(["ConnectionsRefused"], "more clients than a member takes")
    for load in held + more:
        end(load)
    alerts.quiet("the loads have ended")


def stutter(system, i):
    """A member stands still for as long as nobody takes it for dead."""
    system.stand_still(i)
    time.sleep(0.3)
    system.go_on(i)


def struck(system, i):
    """A member dies with requests of others that it has read and not answered; and is there again."""
    system.stand_still(i)
    time.sleep(0.5)
    system.kill(i)
    system.start(i)
    wait_for("it is back", lambda: system.healthy(i))


def members(system, alerts):
    """Members that stand still, are gone, and come back."""
    # So many connections that those of requests that wait are not all there are; and all at a member that does not stand
    # still itself, as it is there that they are slow.
    load = system.load("--duration", "10m", "--quiet", "--rate", "200", "--timeout", "2s", "--connections", "48",
                       "--store", "1", "--mix", "set=1,get=1", members=[0])
    http = system.load("--duration", "10m", "--quiet", "--rate", "50", "--timeout", "2s", "--connections", "4", "--store",
                       "user_sessions", http=True, members=[0, 1])
    alerts.fire(["LatencyBudgetFast", "LatencyBudgetSlow"], "a member is slow", lambda: stutter(system, 1))
    alerts.fire(["ForwardErrors"], "a member dies with what others sent to it", lambda: struck(system, 2))
    system.kill(2)
    alerts.fire(["MemberDown", "MemberLost", "QuorumAtRisk", "UnderReplicated"], "a member is gone")
    system.kill(1)
    alerts.fire(["QuorumLost", "SlotsUnserved", "ErrorBudgetFast", "ErrorBudgetSlow", "HttpErrors", "ReplicationLag"], "two of three members are gone")
    end(load)
    end(http)
    for i in (1, 2):
        system.start(i)
    wait_for("three members that are well", lambda: all(map(system.healthy, range(3))))
    alerts.quiet("they are back")
    def scraped():
        result = system.query('hypercache_process_start_time_seconds{member="member-2"}')
        return result[0]["value"][1] if result and not isinstance(result, str) else None

    for _ in range(3):
        before = scraped()
        system.kill(2)
        system.start(2)
        wait_for("it is back, and was scraped", lambda before=before: system.healthy(2) and scraped() not in (None, before))
    alerts.fire(["MemberRestarts"], "a member is started again and again")
    alerts.quiet("it stays")


def disk(system, alerts):
    """A disk that is full, a log that was damaged, a storage that takes no backup."""
    load = system.load("--duration", "10m", "--quiet", "--rate", "50", "--connections", "4", "--store", "1", "--mix", "set")
    in_the_way = system.folder / "backups"
    in_the_way.write_text("not a directory")
    alerts.fire(["BackupFailing"], "backups go where no directory can be", lambda: system.admin(0, "backup"))
    in_the_way.unlink()
    if system.small_disk:
        ballast = system.fill_disk()
        alerts.fire(OF_DISK, "a disk is full")
        ballast.unlink()
        wait_for("the disk is written to again", lambda: not system.query("hypercache_disk_degraded == 1"))
        end(load)
        alerts.quiet("there is room again")
    else:
        end(load)
        alerts.leave(OF_DISK, "only root can mount a disk that can be filled")
    system.kill(2)
    damage(system.data(2))
    system.start(2)
    alerts.fire(["DataDamaged"], "a log was damaged")
    system.kill(2)
    subprocess.run([system.program, "log", "repair", system.data(2)], check=True, stdout=subprocess.DEVNULL)
    system.start(2)
    alerts.quiet("it was repaired")


def damage(data):
    """Flips bits in the middle of the largest segment of a log."""
    segment = max(data.rglob("*.hclg"), key=lambda path: path.stat().st_size)
    content = bytearray(segment.read_bytes())
    written = len(content.rstrip(b"\0"))
    content[written // 2] ^= 0xFF
    segment.write_bytes(content)


def memory(system, alerts):
    """A member that may hold less than it is given."""
    flags = ("--duration", "10m", "--quiet", "--rate", "400", "--connections", "4", "--mix", "set", "--value-size", "64KB")
    load = system.load(*flags, "--store", "4")
    alerts.fire(["MemoryPressure"], "more is written than members may hold, and may leave")
    end(load)
    load = system.load(*flags, "--store", "5")
    alerts.fire(["MemoryExhausted"], "more is written than members may hold, and has to stay")
    end(load)
    system.flush()
    alerts.quiet("all keys are gone")


def end(load):
    load.terminate()
    load.wait()


def fire_all(program):
    """What did not fire, or did not go quiet."""
    with System(program, shortened) as system:
        alerts = Alerts(system)
        alerts.quiet("at the beginning")
        requests(system, alerts)
        disk(system, alerts)
        members(system, alerts)
    broken, fired, left, known = alerts.broken, alerts.fired, alerts.left | set(BY_PROMTOOL), alerts.known
    with System(program, shortened, memory_limit="96MB") as system:
        alerts = Alerts(system)
        memory(system, alerts)
    broken, fired = broken + alerts.broken, fired | alerts.fired
    print(f"{len(fired)} of {len(known)} alerts fired by their causes; {len(left & known)} are left to grafana/rules/tests")
    unknown = known - fired - left
    return broken + [f"{name} was not fired, and nothing says why not" for name in sorted(unknown)]
