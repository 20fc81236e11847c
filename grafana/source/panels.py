"""What all dashboards share: panels, variables, links and the way in which panels flow over the page.

Queries are written with `<cluster>`, `<member>`, `<store>` and `<operator>` where Grafana's variables go:

    sum by (cluster) (rate(hypercache_commands_total{<member>}[$__rate_interval]))
"""

import logs

WIDTH = 24
TAG = "hypercache"
DATASOURCE = {"type": "prometheus", "uid": "$datasource"}
CLUSTER = 'namespace=~"$namespace",cluster=~"$cluster"'
SELECTORS = {
    "<cluster>": CLUSTER,
    "<member>": CLUSTER + ',member=~"$member"',
    "<store>": CLUSTER + ',member=~"$member",store=~"$store"',
    "<operator>": 'namespace=~"$namespace"',
}
# Values that are good below the first bound, doubtful from it on, and bad from the second on.
GOOD, DOUBTFUL, BAD = "green", "orange", "red"


def query(text):
    for word, selector in SELECTORS.items():
        text = text.replace(word, selector)
    return " ".join(text.split())


def steps(*bounds):
    """`steps(1)`: bad from 1 on. `steps(1, 5)`: doubtful from 1 on, bad from 5 on."""
    colors = [BAD] if len(bounds) == 1 else [DOUBTFUL, BAD]
    return [{"color": GOOD, "value": None}] + [{"color": c, "value": v} for c, v in zip(colors, bounds)]


def at_least(good, doubtful=None):
    """Bad, doubtful from the second figure on if there is one, good from the first on."""
    between = [] if doubtful is None else [{"color": DOUBTFUL, "value": doubtful}]
    return [{"color": BAD, "value": None}] + between + [{"color": GOOD, "value": good}]


def _targets(queries, instant, exemplars=False):
    return [
        {
            "datasource": DATASOURCE,
            **({"exemplar": True} if exemplars else {}),
            "expr": query(expr),
            "format": "table" if instant == "table" else "time_series",
            "instant": bool(instant),
            "legendFormat": legend,
            "range": not instant,
            "refId": chr(ord("A") + i),
        }
        for i, (expr, legend) in enumerate(queries)
    ]


def _panel(kind, title, text, unit, queries, width, height, instant, defaults, options):
    return {
        "datasource": DATASOURCE,
        "description": text,
        "fieldConfig": {"defaults": {"unit": unit, **defaults}, "overrides": []},
        "gridPos": {"h": height, "w": width, "x": 0, "y": 0},
        "options": options,
        "targets": _targets(queries, instant),
        "title": title,
        "type": kind,
    }


def series(title, text, unit, *queries, width=12, height=8, stack=False, low=None, bound=None, exemplars=False):
    """Lines over time. `bound`: a dashed line at that value. `exemplars`: traced requests as points, where there are any."""
    custom = {"drawStyle": "line", "fillOpacity": 25 if stack else 8, "lineWidth": 1, "showPoints": "never"}
    custom["stacking"] = {"group": "A", "mode": "normal" if stack else "none"}
    defaults = {"color": {"mode": "palette-classic"}, "custom": custom}
    if low is not None:
        defaults["min"] = low
    if bound is not None:
        custom["thresholdsStyle"] = {"mode": "dashed"}
        defaults["thresholds"] = {"mode": "absolute", "steps": steps(bound)}
    options = {
        "legend": {"calcs": ["mean", "lastNotNull"], "displayMode": "table", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    panel = _panel("timeseries", title, text, unit, queries, width, height, False, defaults, options)
    panel["targets"] = _targets(queries, False, exemplars)
    return panel


def figure(title, text, unit, *queries, width=4, colors=None, words=None, none=None):
    """The newest value of each series. `words`: what a value is called; `none`: what is shown when there is none."""
    mappings = []
    if words:
        options = {str(value): {"index": i, "text": word} for i, (value, word) in enumerate(words.items())}
        mappings.append({"options": options, "type": "value"})
    if none is not None:
        mappings.append({"options": {"match": "null", "result": {"index": 99, "text": none}}, "type": "special"})
    colors = colors or [{"color": "blue", "value": None}]
    defaults = {
        "color": {"mode": "thresholds"},
        "mappings": mappings,
        "thresholds": {"mode": "absolute", "steps": colors},
    }
    if none is not None:
        defaults["noValue"] = none
    options = {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "auto",
    }
    return _panel("stat", title, text, unit, queries, width, 4, True, defaults, options)


def bars(title, text, unit, *queries, width=12, height=8, colors=None, high=None):
    """A bar for each series, the newest value."""
    defaults = {"color": {"mode": "thresholds"}, "min": 0}
    defaults["thresholds"] = {"mode": "absolute", "steps": colors or [{"color": "blue", "value": None}]}
    if high is not None:
        defaults["max"] = high
    options = {
        "displayMode": "basic",
        "orientation": "horizontal",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showUnfilled": True,
        "valueMode": "color",
    }
    return _panel("bargauge", title, text, unit, queries, width, height, True, defaults, options)


def table(title, text, by, *columns, width=24, height=8, link=None):
    """One line for each value of the labels `by`; a column is (title, unit, query)."""
    queries = [(expr, name) for name, _, expr in columns]
    panel = _panel("table", title, text, "short", queries, width, height, "table", {}, {"showHeader": True})
    names, order = {}, {label: i for i, label in enumerate(by)}
    for i, (name, unit, _) in enumerate(columns):
        field = f"Value #{chr(ord('A') + i)}" if len(columns) > 1 else "Value"
        names[field] = name
        order[field] = len(by) + i
        panel["fieldConfig"]["overrides"].append(
            {"matcher": {"id": "byName", "options": name}, "properties": [{"id": "unit", "value": unit}]}
        )
    if link:
        label, title, url = link
        links = {"id": "links", "value": [{"title": title, "url": url}]}
        panel["fieldConfig"]["overrides"].append(
            {"matcher": {"id": "byName", "options": label}, "properties": [links]}
        )
    fields = [*by, *names]
    panel["transformations"] = [
        {"id": "merge", "options": {}},
        {"id": "filterFieldsByName", "options": {"include": {"names": fields}}},
        {"id": "organize", "options": {"excludeByName": {}, "indexByName": order, "renameByName": names}},
    ]
    return panel


def row(title, *panels):
    return title, panels


def variable(name, label, values, multi=True):
    return {
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]} if multi else {},
        "datasource": DATASOURCE,
        "definition": values,
        "hide": 0,
        "includeAll": multi,
        "label": label,
        "multi": multi,
        "name": name,
        "options": [],
        "query": {"query": values, "refId": "variable"},
        "refresh": 2,
        "regex": "",
        "skipUrlSync": False,
        "sort": 3,
        "type": "query",
    }


def variables(*words):
    """The datasources and then the variables of these names, each of what the ones before leave."""
    known = {
        "namespace": variable("namespace", "Namespace", "label_values(hypercache_build_info, namespace)"),
        "cluster": variable("cluster", "Cluster", 'label_values(hypercache_build_info{namespace=~"$namespace"}, cluster)'),
        "member": variable("member", "Member", f"label_values(hypercache_build_info{{{CLUSTER}}}, member)"),
        "store": variable("store", "Store", f"label_values(hypercache_store_keys{{{CLUSTER}}}, store)"),
        "operators": variable("namespace", "Namespace", "label_values(hypercache_operator_pass_seconds_count, namespace)"),
    }
    sources = [source("datasource", "Data source", "prometheus"), source("logs", "Logs", "elasticsearch")]
    return sources + [known[word] for word in words]


def source(name, label, kind):
    """A variable that names a datasource."""
    return {
        "current": {},
        "hide": 0,
        "includeAll": False,
        "label": label,
        "multi": False,
        "name": name,
        "options": [],
        "query": kind,
        "refresh": 1,
        "regex": "",
        "skipUrlSync": False,
        "type": "datasource",
    }


def dashboard(uid, title, text, of, rows, since="now-3h"):
    """A page. Panels flow from left to right; a row begins below all that were before."""
    panels, y = [], 0
    for name, content in rows:
        panels.append({
            "collapsed": False, "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": y},
            "panels": [], "title": name, "type": "row",
        })
        y += 1
        x = tallest = 0
        for panel in content:
            grid = panel["gridPos"]
            if x + grid["w"] > WIDTH:
                y, x, tallest = y + tallest, 0, 0
            grid["x"], grid["y"] = x, y
            x += grid["w"]
            tallest = max(tallest, grid["h"])
            panels.append(panel)
        y += tallest
    for i, panel in enumerate(panels):
        panel["id"] = i + 1
    lines = logs.operators() if "operators" in of else logs.members()
    others = {
        "asDropdown": False, "icon": "external link", "includeVars": True, "keepTime": True, "tags": [TAG],
        "targetBlank": False, "title": "HyperCache", "tooltip": "", "type": "dashboards", "url": "",
    }
    return {
        "annotations": {"list": []},
        "description": text,
        "editable": True,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "id": None,
        "links": [others, logs.link(lines)],
        "liveNow": False,
        "panels": panels,
        "refresh": "30s",
        "schemaVersion": 38,
        "tags": [TAG],
        "templating": {"list": variables(*of)},
        "time": {"from": since, "to": "now"},
        "timepicker": {},
        "timezone": "",
        "title": title,
        "uid": uid,
        "version": 1,
        "weekStart": "",
    }
