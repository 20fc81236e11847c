"""A real Elasticsearch, on loopback, in a directory of its own."""

import os
import re
import shutil
import subprocess

from processes import Process, free_ports, http, until

SETTINGS = """\
cluster.name: hypercache-check
discovery.type: single-node
network.host: 127.0.0.1
http.port: {http}
transport.port: {transport}
path.data: {directory}/data
path.logs: {directory}/logs
cluster.routing.allocation.disk.threshold_enabled: false
bootstrap.system_call_filter: false
xpack.ml.enabled: false
xpack.monitoring.enabled: false
xpack.security.enabled: false
xpack.watcher.enabled: false
"""
# It refuses to run as root.
NOBODY = 65534


def java_options():
    """Java 18 and newer refuse what 6.8 begins with, unless they are told to allow it."""
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr
    major = re.search(r'version "(\d+)', said)
    return "-Djava.security.manager=allow" if major and int(major[1]) >= 18 else ""


class Elasticsearch:
    """Runs what the archive has."""

    def __init__(self, archive, directory):
        self.directory = directory / "elasticsearch"
        user = NOBODY if os.getuid() == 0 else None
        shutil.unpack_archive(archive, self.directory)
        (home,) = self.directory.iterdir()
        # Archives are unpacked without the right to run what is in them.
        for program in home.glob("modules/*/platform/*/bin/*"):
            program.chmod(0o755)
        (self.directory / "tmp").mkdir()
        ports = dict(zip(("http", "transport"), free_ports(2)))
        settings = SETTINGS.format(directory=self.directory, **ports)
        (home / "config/elasticsearch.yml").write_text(settings)
        if user:
            directory.chmod(0o711)
            for path in [self.directory, *self.directory.rglob("*")]:
                os.chown(path, user, user)
        self.url = f"http://127.0.0.1:{ports['http']}"
        env = {
            "ES_TMPDIR": str(self.directory / "tmp"),
            "ES_JAVA_OPTS": f"-Xms512m -Xmx512m {java_options()}",
            "HOME": str(self.directory),
        }
        words = ["bash", str(home / "bin/elasticsearch")]
        self.process = Process(words, directory / "elasticsearch.log", env, home, user)

    def wait(self):
        """Until it answers."""
        try:
            until("Elasticsearch answers", self.answers)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.process.tail()}") from None

    def answers(self):
        if self.process.popen.poll() is not None:
            raise AssertionError(f"Elasticsearch ended\n{self.process.tail()}")
        return http("GET", self.url)[0] == 200

    def kill(self):
        self.process.kill()
