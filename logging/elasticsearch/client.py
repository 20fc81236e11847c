"""Elasticsearch over HTTP, with what Python brings itself."""

import base64
import json
import os
import ssl
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
DATASETS = {"hypercache.log": "log", "hypercache.operator": "log", "hypercache.audit": "audit"}
TIMEOUT_SECONDS = 120


class Refused(Exception):
    """Elasticsearch answered with an error."""

    def __init__(self, status, what):
        super().__init__(f"{status}: {what}")
        self.status = status


def index_of(dataset):
    """Where the lines of a dataset go: a data stream, before Elasticsearch 7.9 an alias."""
    return f"logs-{dataset}-default"


class Client:
    """ELASTICSEARCH_URL, and ELASTICSEARCH_API_KEY or ELASTICSEARCH_USER and _PASSWORD; ELASTICSEARCH_CA for a
    certificate of one's own."""

    def __init__(self, url=None):
        self.url = (url or os.environ.get("ELASTICSEARCH_URL") or "http://127.0.0.1:9200").rstrip("/")
        self.headers = {}
        key, user = os.environ.get("ELASTICSEARCH_API_KEY"), os.environ.get("ELASTICSEARCH_USER")
        if key:
            self.headers["authorization"] = f"ApiKey {key}"
        elif user:
            pair = f"{user}:{os.environ.get('ELASTICSEARCH_PASSWORD', '')}".encode()
            self.headers["authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        ca = os.environ.get("ELASTICSEARCH_CA")
        handlers = [urllib.request.ProxyHandler({})]
        if ca:
            handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca)))
        self.opener = urllib.request.build_opener(*handlers)
        self._version = None

    def ask(self, method, path, body=None, missing=None, kind="application/json"):
        """The answer; `missing` where there is nothing of that name."""
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        headers = self.headers | ({"content-type": kind} if data is not None else {})
        request = urllib.request.Request(f"{self.url}/{path}", data=data, method=method, headers=headers)
        try:
            with self.opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            if error.code == 404 and missing is not None:
                return missing
            raise Refused(error.code, f"{method} {path}: {error.read().decode(errors='replace')[:2000]}") from None

    @property
    def version(self):
        """Major and minor."""
        if self._version is None:
            number = self.ask("GET", "")["version"]["number"]
            self._version = tuple(int(part) for part in number.split(".")[:2])
        return self._version

    @property
    def has_data_streams(self):
        return self.version >= (7, 9)

    @property
    def has_lifecycles(self):
        """Not every build has them."""
        try:
            self.ask("GET", "_ilm/policy")
            return True
        except Refused as error:
            if error.status in (400, 404, 405):
                return False
            raise


def file(name):
    """A file beside this one, as JSON."""
    return json.loads((HERE / name).read_text())
