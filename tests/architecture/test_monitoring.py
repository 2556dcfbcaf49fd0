"""Alerts, dashboard and operations page say only what the code exposes, and agree with each other."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import yaml
from prometheus_client import Counter, Histogram
from prometheus_client.utils import floatToGoString

from services.notifier.transports.outcome import Outcome
from shared.telemetry import metrics
from tests.architecture.promql import Expression, read

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"
PAGE = (ROOT / "docs" / "operations.md").read_text()
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"] for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]
CONFIG: dict[str, Any] = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
DASHBOARD: dict[str, Any] = json.loads((GRAFANA / "dashboard.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
# Labels that Prometheus adds to whatever it scrapes, and series of its own.
TARGET_LABELS = frozenset({"job", "instance"})
OWN_SERIES = {"up": TARGET_LABELS, "ALERTS": frozenset({"alertname", "alertstate", "severity"})}
JOBS = frozenset(job["job_name"] for job in CONFIG["scrape_configs"])


# What is exposed


@cache
def exposed() -> dict[str, frozenset[str]]:
    """Each series as prometheus_client writes it → its labels."""
    found: dict[str, frozenset[str]] = {}
    for collector in vars(metrics).values():
        if not hasattr(collector, "_labelnames"):
            continue
        labels = frozenset(collector._labelnames) | TARGET_LABELS
        name = collector._name
        if isinstance(collector, Counter):
            found |= {f"{name}_total": labels, f"{name}_created": labels}
        elif isinstance(collector, Histogram):
            found |= {f"{name}_{part}": labels for part in ("sum", "count", "created")}
            found[f"{name}_bucket"] = labels | {"le"}
        else:
            found[name] = labels
    return found


def bounds(series: str) -> set[str]:
    """The values of `le` that a histogram's buckets have."""
    for collector in vars(metrics).values():
        if isinstance(collector, Histogram) and f"{collector._name}_bucket" == series:
            return {floatToGoString(bound) for bound in collector._upper_bounds}
    return set()


# What an expression says


def test_the_reader_reads() -> None:
    read_of = read('1 - sum by (a, le) (rate(x_bucket{b="c{", d!~"e|f"}[5m] offset 1h)) / on (a) y{} unless z > 0.5')
    assert [(one.series, one.matchers) for one in read_of.selectors] == [
        ("x_bucket", [("b", "=", "c{"), ("d", "!~", "e|f")]),
        ("y", []),
        ("z", []),
    ]
    assert read_of.groupings == [(("a", "le"), ["x_bucket"])]
    assert read_of.matched_on == ["a"]


# What is recorded


@cache
def known() -> dict[str, frozenset[str]]:
    """Every series that an expression may name → its labels."""
    series = exposed() | OWN_SERIES
    for rule in RULES:
        if "record" in rule:
            series[rule["record"]] = result_labels(read(rule["expr"]), series)
    return series


def result_labels(expression: Expression, series: dict[str, frozenset[str]]) -> frozenset[str]:
    """Labels of what an expression gives: those that it groups by (a quantile takes `le` away), else those of its first
    series."""
    if expression.groupings:
        return frozenset(label for labels, _ in expression.groupings for label in labels) - {"le"}
    first = series[expression.selectors[0].series]
    return first - set(expression.ignored)


def faults(text: str) -> Iterator[str]:
    """What is wrong with an expression."""
    expression = read(text)
    series = known()
    for selector in expression.selectors:
        if selector.series not in series:
            yield f"{selector.series} is not a metric of ours"
            continue
        for label, operator, value in selector.matchers:
            if label not in series[selector.series]:
                yield f"{selector.series} has no label {label}"
            elif label == "le" and value not in bounds(selector.series):
                yield f"{selector.series} has no bucket {value}"
            elif operator in ("=", "!=", "=~") and label in VALUES and not set(value.split("|")) <= VALUES[label]:
                yield f"{label} is never {value}"
    for labels, inside in expression.groupings:
        for name in inside:
            if missing := set(labels) - series.get(name, frozenset(labels)):
                yield f"{name} has no label {', '.join(sorted(missing))}"
    everywhere = {label for one in expression.selectors for label in series.get(one.series, ())}
    if stray := {*expression.matched_on, *expression.ignored} - everywhere:
        yield f"nothing has the label {', '.join(sorted(stray))}"


SERVICES = frozenset({"ingest", "scoring", "routing", "notifier"})
VALUES: dict[str, frozenset[str]] = {
    "job": JOBS,
    "service": SERVICES,
    "outcome": frozenset(kind.replace(" ", "_") for kind in get_args(get_type_hints(Outcome)["kind"])),
    "transport": frozenset({"email", "slack", "webhook"}),
}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("sum(rate(closeloop_consumed_events[5m]))", "is not a metric"),
        ("sum(closeloop_batch_seconds)", "is not a metric"),
        ('up{job="console"}', "job is never console"),
        ('closeloop_outbox_events{topic="x"}', "no label topic"),
        ("sum by (service) (closeloop_consumer_lag_events)", "no label service"),
        ('closeloop_batch_seconds_bucket{le="7.0"}', "no bucket 7.0"),
        ('notifier_deliveries_total{outcome="failed"}', "outcome is never failed"),
        ("up unless on (flavour) up", "nothing has the label flavour"),
    ],
)
def test_a_fault_is_found(text: str, fault: str) -> None:
    assert any(fault in found for found in faults(text))


# Rules


@pytest.mark.parametrize("rule", RULES, ids=[rule.get("alert") or rule["record"] for rule in RULES])
def test_rules_name_what_is_exposed(rule: dict[str, Any]) -> None:
    assert list(faults(rule["expr"])) == []


def test_rules_are_unique() -> None:
    names = [rule.get("alert") or rule["record"] for rule in RULES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("alert", ALERTS, ids=[alert["alert"] for alert in ALERTS])
def test_an_alert_says_how_bad_it_is_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"] == {"severity": alert["labels"]["severity"]}
    assert alert["labels"]["severity"] in {"critical", "warning"}
    texts = alert["annotations"]
    assert set(texts) == {"summary", "description", "runbook_url"}
    assert len(texts["description"]) > 80
    assert texts["description"].endswith(".")
    assert not texts["summary"].endswith(".")
    assert texts["runbook_url"] == f"docs/operations.md#{alert['alert'].lower()}"


@pytest.mark.parametrize("alert", ALERTS, ids=[alert["alert"] for alert in ALERTS])
def test_the_texts_of_an_alert_use_labels_that_it_has(alert: dict[str, Any]) -> None:
    used = set(re.findall(r"\$labels\.(\w+)", " ".join(alert["annotations"].values())))
    expression = read(alert["expr"])
    assert used <= result_labels(expression, known())


def test_every_alert_has_its_section_and_every_section_its_alert() -> None:
    alerts = PAGE.partition("\n## Alerts\n")[2].partition("\n## ")[0]
    sections = dict(re.findall(r"^### (\w+)\n\n\*(\w+)\.\*", alerts, re.MULTILINE))
    assert re.findall(r"^### (.+)$", alerts, re.MULTILINE) == list(sections)
    assert sections == {alert["alert"]: alert["labels"]["severity"] for alert in ALERTS}


def test_prometheus_scrapes_every_service_of_the_compose_file() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    ports = {
        name: int(service["environment"]["HTTP_PORT"])
        for name, service in compose.items()
        if service.get("command", [])[:2] == ["python", "-m"]
    }
    assert JOBS == set(ports) == SERVICES
    for job in CONFIG["scrape_configs"]:
        (source,) = job["dns_sd_configs"]
        assert (source["names"], source["type"], source["port"]) == (
            [job["job_name"]],
            "A",
            ports[job["job_name"]],
        )
        assert job.get("metrics_path", "/metrics") == "/metrics"
    for file in CONFIG["rule_files"]:
        assert (PROMETHEUS / file).is_file()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_agrees() -> None:
    for command in (["check", "config", "prometheus.yml"], ["test", "rules", "rules_test.yml"]):
        done = subprocess.run(["promtool", *command], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tried() -> None:
    quiet, *others = yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text())["tests"]
    assert [(check["expr"], check["exp_samples"]) for check in quiet["promql_expr_test"]] == [("ALERTS", [])]
    fired = {
        re.search(r'alertname="(\w+)"', sample["labels"])[1]  # type: ignore[index]
        for case in others
        for check in case["promql_expr_test"]
        for sample in check["exp_samples"]
    }
    assert fired == {alert["alert"] for alert in ALERTS}


# Dashboard


@pytest.mark.parametrize("panel", PANELS, ids=[panel["title"] for panel in PANELS])
def test_panels_name_what_is_exposed(panel: dict[str, Any]) -> None:
    assert panel["targets"]
    for target in panel["targets"]:
        assert list(faults(target["expr"])) == []
        used = set(re.findall(r"\{\{\s*(\w+)\s*\}\}", target["legendFormat"]))
        assert used <= result_labels(read(target["expr"]), known())


def test_panels_are_told_apart_and_say_what_they_show() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    titles = [panel["title"] for panel in PANELS]
    assert all(titles)
    assert len(set(titles)) == len(titles)
    for panel in PANELS:
        assert panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]


def test_panels_lie_side_by_side() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


def test_variables_ask_for_labels_that_exist() -> None:
    queries = [
        variable["query"]["query"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"
    ]
    assert queries
    for query in queries:
        series, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", query).groups()  # type: ignore[union-attr]
        assert label in exposed()[series]
    named = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD)))
    assert {name for name in used if not name.startswith("__")} == named


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {one.series for panel in PANELS for target in panel["targets"] for one in read(target["expr"]).selectors}
    for rule in RULES:
        if rule.get("record") in shown:
            shown |= {one.series for one in read(rule["expr"]).selectors}
    suffixes = ("", "_total", "_bucket")
    assert {name for name in metrics.NAMES if not {name + suffix for suffix in suffixes} & shown} == set()


def test_provisioning_fits_the_dashboard_and_the_containers() -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text())["datasources"]
    (variable,) = [one for one in DASHBOARD["templating"]["list"] if one["type"] == "datasource"]
    assert (source["uid"], source["type"]) == (variable["current"]["value"], variable["query"])
    (provider,) = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "closeloop.yml").read_text())["providers"]
    containers = yaml.safe_load((ROOT / "deploy" / "monitoring.yml").read_text())["services"]
    mounts = {
        target: ROOT / here
        for container in containers.values()
        for here, target in (volume.split(":")[:2] for volume in container["volumes"])
        if here.startswith("./")
    }
    assert all(path.exists() for path in mounts.values())
    home = containers["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert mounts[home] == GRAFANA / "dashboard.json"
    assert home.rpartition("/")[0] == provider["options"]["path"]
    assert (mounts["/etc/prometheus"], mounts["/etc/grafana/provisioning"]) == (PROMETHEUS, GRAFANA / "provisioning")
    host, port = re.fullmatch(r"http://(\w+):(\d+)", source["url"]).groups()  # type: ignore[union-attr]
    assert containers[host]["ports"][0].endswith(f":{port}")
