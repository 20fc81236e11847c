"""Lines on their way to Elasticsearch: by Filebeat where there is one, else by what its configuration says."""

import json

from client import DATASETS, index_of
from processes import Process, until


def by_filebeat(program, config, logs, url, directory, wanted):
    """Runs the real one until as many lines are there, and ends it."""
    (directory / "filebeat").mkdir()
    words = [
        program, "-e", "--strict.perms=false", "-c", str(config),
        "--path.home", str(directory / "filebeat"), "--path.data", str(directory / "filebeat"),
    ]
    env = {"HYPERCACHE_LOGS": str(logs), "ELASTICSEARCH_URL": url}
    filebeat = Process(words, directory / "filebeat.log", env)
    try:
        until("Filebeat has sent every line", wanted)
    except TimeoutError as error:
        raise AssertionError(f"{error}\n{filebeat.tail()}") from None
    finally:
        filebeat.stop()


def document(line, path, offset):
    """A line as Filebeat's parser `ndjson` makes it with `expand_keys`, `overwrite_keys` and `add_error_key`."""
    event = {"log": {"file": {"path": str(path)}, "offset": offset}, "host": {"name": "check"}}
    try:
        of = json.loads(line)
        if not isinstance(of, dict):
            raise ValueError("it is no object")
    except ValueError as error:
        event |= {"message": line, "error": {"message": f"Error decoding JSON: {error}", "type": "json"}}
        event["@timestamp"] = "1970-01-01T00:00:00.000Z"
        of = {}
    for name, value in of.items():
        at, parts = event, name.split(".")
        for part in parts[:-1]:
            at = at.setdefault(part, {})
        at[parts[-1]] = value
    event.setdefault("event", {}).setdefault("dataset", "hypercache.log")
    return event


def by_rules(client, logs):
    """Sends every line; gives how many, and what Elasticsearch would not take."""
    sent, refused = 0, []
    for path in sorted(logs.glob("*.log")):
        offset, batch = 0, []
        for raw in path.read_bytes().splitlines(keepends=True):
            event = document(raw.decode(errors="replace").rstrip("\n"), path, offset)
            offset += len(raw)
            dataset = event["event"]["dataset"]
            target = {"_index": index_of(dataset if dataset in DATASETS else "hypercache.log")}
            if client.version < (7, 0):
                target["_type"] = "doc"
            batch += [{"create" if client.has_data_streams else "index": target}, event]
        body = "".join(json.dumps(part) + "\n" for part in batch).encode()
        answer = client.ask("POST", "_bulk", body, kind="application/x-ndjson")
        results = [of for item in answer["items"] for of in item.values()]
        sent += len(results)
        refused += [of["error"] for of in results if "error" in of]
    return sent, refused
