"""Links from dashboards to log lines: Grafana's Explore, asking the Elasticsearch that the variable `logs` names.

Fields are those of docs/operations/logs.md. What a link is about comes from the variables on top of the page, or from the
labels of what was clicked on. Values are regular expressions, so that several and all are as good as one.
"""
import json
import re
import urllib.parse

# What was chosen on top.
CHOSEN = {name: f"${{{name}:pipe}}" for name in ("namespace", "cluster", "member")}
# The labels of a series, and the fields of a table's line.
LABEL, FIELD = "${__field.labels.%s}", "${__data.fields.%s}"
# What went wrong: at level info, mistakes of clients are not told.
WRONG = "(log.level:(warn OR error) OR event.outcome:failure)"


def members(of=FIELD, labels=(), *more):
    """Lines of members. `labels`: what is taken from what was clicked on, in the words of `of`."""
    value = {name: of % name if name in labels else chosen for name, chosen in CHOSEN.items()}
    return " AND ".join([f"hypercache.cluster:/{value['cluster']}/", f"service.node.name:/{value['member']}/", where(value["namespace"]), *more])


def operators():
    return f"service.name:hypercache-operator AND {where(CHOSEN['namespace'])}"


def where(namespace):
    """Filebeat says the namespace on Kubernetes; elsewhere there is none. Lucene takes NOT from something only: of all."""
    return f"(kubernetes.namespace:/{namespace}/ OR (*:* AND NOT _exists_:kubernetes.namespace))"


def explore(question):
    """The address of Explore with a question in Lucene's words, and the time range of the page."""
    source = {"type": "elasticsearch", "uid": "${logs}"}
    query = {
        "refId": "A", "datasource": source, "query": question, "timeField": "@timestamp",
        "metrics": [{"id": "1", "type": "logs"}], "bucketAggs": [],
    }
    pane = {"datasource": "${logs}", "queries": [query], "range": {"from": "${__from}", "to": "${__to}"}}
    text = json.dumps({"logs": pane}, separators=(",", ":"))
    # Grafana looks for its variables before anything is decoded.
    parts = re.split(r"(\$\{[^}]*\})", text)
    return "/explore?schemaVersion=1&panes=" + "".join(
        part if part.startswith("${") else urllib.parse.quote(part, safe="") for part in parts
    )


def link(question):
    """For the top of a page."""
    return {
        "asDropdown": False, "icon": "doc", "includeVars": False, "keepTime": False, "tags": [], "targetBlank": True,
        "title": "Logs", "tooltip": "Log lines of what is chosen, in Elasticsearch", "type": "link", "url": explore(question),
    }


def _labels(panel):
    """The labels that all series of a panel have, as far as they are of interest here."""
    common = set(CHOSEN)
    for target in panel["targets"]:
        by = re.findall(r"\bby \(([^)]*)\)", target["expr"])
        sums = re.search(r"\b(sum|max|min|count|topk)\b", target["expr"])
        common &= {word.strip() for word in by[0].split(",")} if by else set() if sums else set(CHOSEN)
    return common


def from_errors(panel):
    """Adds a link to the lines that say what went wrong, from each of a panel's series."""
    if panel["type"] in ("timeseries", "stat"):
        url = explore(members(LABEL, _labels(panel), WRONG))
        panel["fieldConfig"]["defaults"]["links"] = [{"targetBlank": True, "title": "Warnings, errors and failures in the log", "url": url}]
    return panel
