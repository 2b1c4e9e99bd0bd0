"""What is deployed fits the code: variables, ports, commands, roles, metrics.

There is neither Docker nor a cluster here, so what they would find late is looked for now.
"""

import asyncio
import importlib
import importlib.util
import json
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml  # type: ignore[import-untyped]  # ships no types
from prometheus_client import Histogram

from chassis.health import main as ask_health
from chassis.metrics import REGISTRY
from chassis.server import build_server
from chassis.settings import ServiceSettings, variable_of, wrong_settings
from chassis.supervise import SuiteError
from services.__main__ import SERVICES
from services.prepare import prepare
from testkit import keys, servers
from testkit.postgres import TestPostgres
from tests.tidy.source import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
KINDS: dict[str, type[ServiceSettings]] = {
    each.name: each.settings for each in SERVICES if each.settings is not None
}
KEEPERS = sorted(each.name for each in SERVICES if each.migrations is not None)
METRIC_MODULES = sorted(
    str(path.relative_to(base).with_suffix("")).replace("/", ".")
    for base, folder in ((ROOT / "libs", "chassis"), (ROOT, "services"))
    for path in (base / folder).rglob("*.py")
    if "registry=REGISTRY" in path.read_text()
)


def manifests() -> dict[tuple[str, str], Any]:
    """What kustomize would apply, by kind and name."""
    found = {}
    listed = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())["resources"]
    for name in listed:
        for each in yaml.safe_load_all((DEPLOY / "kubernetes" / name).read_text()):
            found[each["kind"], each["metadata"]["name"]] = each
    return found


MANIFESTS = manifests()


def pod_of(name: str) -> Any:
    return MANIFESTS["Deployment", name]["spec"]["template"]["spec"]


def environment_of(name: str) -> dict[str, str]:
    """What a container is told in Kubernetes; secrets stand by their names."""
    told = dict(MANIFESTS["ConfigMap", "settings"]["data"])
    for each in pod_of(name)["containers"][0]["env"]:
        told[each["name"]] = each.get("value") or "from a secret"
    return told


def port_of(name: str) -> int:
    default = KINDS[name].model_fields[f"{name}_port"].default
    assert isinstance(default, int)
    return default


def test_every_file_is_well_formed_and_listed() -> None:
    for path in DEPLOY.rglob("*.yaml"):
        assert list(yaml.safe_load_all(path.read_text())), path
    files = {path.name for path in (DEPLOY / "kubernetes").glob("*.yaml")} - {"kustomization.yaml"}
    listed = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())["resources"]

    assert set(listed) == files
    assert subprocess.run(["sh", "-n", DEPLOY / "postgres/roles.sh"], check=False).returncode == 0


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("where", ["compose", "kubernetes"])
def test_a_service_is_told_what_it_reads_and_nothing_else(where: str, name: str) -> None:
    told = COMPOSE["services"][name]["environment"] if where == "compose" else environment_of(name)
    kind = KINDS[name]
    required = {variable_of(each) for each, of in kind.model_fields.items() if of.is_required()}
    shared = {variable_of(each) for each_kind in KINDS.values() for each in each_kind.model_fields}

    assert required <= set(told)
    assert set(told) <= shared, "no service reads it"
    assert wrong_settings(kind, told) == []
    # What is told to this one alone is its own.
    common = (
        COMPOSE["x-environment"]
        if where == "compose"
        else MANIFESTS["ConfigMap", "settings"]["data"]
    )
    assert {each for each in told if each not in common} <= {
        variable_of(each) for each in kind.model_fields
    }


@pytest.mark.parametrize("name", KINDS)
def test_a_container_runs_its_service_is_asked_on_its_port_and_is_found_there(name: str) -> None:
    compose, pod = COMPOSE["services"][name], pod_of(name)
    container = pod["containers"][0]
    port = port_of(name)

    assert compose["command"] == container["args"] == [f"services.{name}"]
    assert importlib.util.find_spec(f"services.{name}.__main__") is not None
    assert compose["healthcheck"]["test"] == ["CMD", "python", "-m", "chassis.health", str(port)]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["grpc"] == {"port": port}
    assert {"name": "grpc", "containerPort": port} in container["ports"]
    assert MANIFESTS["Service", name]["spec"]["ports"][0]["port"] == port
    for common in (COMPOSE["x-environment"], MANIFESTS["ConfigMap", "settings"]["data"]):
        if name != "gateway":
            assert common[f"LOYALTY_{name.upper()}_ADDRESS"] == f"{name}:{port}"
        assert name in common["LOYALTY_ALLOW_PLAINTEXT"].split(",")


def test_the_gateways_http_is_published() -> None:
    http = KINDS["gateway"].model_fields["http_port"].default
    published = COMPOSE["services"]["gateway"]["ports"][0]
    service = {each["name"]: each for each in MANIFESTS["Service", "gateway"]["spec"]["ports"]}

    assert published.endswith(f":{http}")
    assert service["http"]["targetPort"] == "http"
    assert {"name": "http", "containerPort": http} in pod_of("gateway")["containers"][0]["ports"]


@pytest.mark.parametrize("name", KINDS)
def test_a_pod_has_no_rights_ends_in_time_and_is_never_the_last_to_go(name: str) -> None:
    pod = pod_of(name)
    container = pod["containers"][0]
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    drain = float(MANIFESTS["ConfigMap", "settings"]["data"]["LOYALTY_DRAIN_SECONDS"])
    deployment, budget = (
        MANIFESTS[kind, name]["spec"] for kind in ("Deployment", "PodDisruptionBudget")
    )
    labels = deployment["template"]["metadata"]["labels"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["terminationGracePeriodSeconds"] > pause + drain
    assert deployment["replicas"] > budget["maxUnavailable"]
    assert deployment["selector"] == budget["selector"] == {"matchLabels": labels}
    assert MANIFESTS["Service", name]["spec"]["selector"] == labels


@pytest.mark.parametrize("name", KINDS)
def test_only_keys_that_a_service_needs_are_mounted_where_it_looks(name: str) -> None:
    pod = pod_of(name)
    mount = pod["containers"][0]["volumeMounts"][0]["mountPath"]
    mounted = {f"{mount}/{each['path']}" for each in pod["volumes"][0]["secret"]["items"]}
    told = environment_of(name)
    looked_for = {text for variable, text in told.items() if variable.endswith("_PATH")}

    assert mounted == looked_for


def test_every_keeper_of_rows_has_two_roles_and_serves_as_the_lesser() -> None:
    tables = COMPOSE["services"]["tables"]["environment"]
    job = MANIFESTS["Job", "tables"]["spec"]["template"]["spec"]["containers"][0]
    secrets = {each["name"]: each["valueFrom"]["secretKeyRef"]["key"] for each in job["env"]}
    variables = {
        f"LOYALTY_{name.upper()}_{which}" for name in KEEPERS for which in ("DSN", "MIGRATION_DSN")
    }
    script = (DEPLOY / "postgres/roles.sh").read_text()
    made = re.search(r"for service in (.*); do", script)

    assert made is not None
    assert sorted(made[1].split()) == KEEPERS
    assert set(tables) == set(secrets) == variables
    for name in KEEPERS:
        database = f"@postgres/loyalty_{name}"
        serving = tables[f"LOYALTY_{name.upper()}_DSN"]
        owning = tables[f"LOYALTY_{name.upper()}_MIGRATION_DSN"]
        assert serving == (f"postgresql://loyalty_{name}:${{SERVING_PASSWORD:?}}{database}")
        assert owning == (f"postgresql://loyalty_{name}_owner:${{MIGRATING_PASSWORD:?}}{database}")
        assert COMPOSE["services"][name]["environment"][f"LOYALTY_{name.upper()}_DSN"] == serving
        assert secrets[f"LOYALTY_{name.upper()}_DSN"] == name


def test_what_compose_fills_in_is_in_the_example() -> None:
    asked = set(re.findall(r"\$\{([A-Z_]+)", (DEPLOY / "compose.yaml").read_text()))
    offered = {
        line.partition("=")[0]
        for line in (DEPLOY / "example.env").read_text().splitlines()
        if "=" in line and not line.startswith("#")
    }

    assert asked == offered


def test_the_image_is_not_roots_and_has_what_was_locked_by_its_hash() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    users = [line for line in lines if line.startswith("USER ")]
    copied = [
        line.split()[1] for line in lines if line.startswith("COPY ") and "--from" not in line
    ]
    exposed = next(line.split()[1:] for line in lines if line.startswith("EXPOSE "))
    locked = pins(ROOT / "requirements.lock")
    image = pins(DEPLOY / "requirements.lock")

    assert users == ["USER 10001:10001"]
    assert pod_of("ledger")["securityContext"]["runAsUser"] == 10001
    assert all((ROOT / each).exists() for each in copied)
    assert {str(port_of(name)) for name in KINDS} <= set(exposed)
    assert "--require-hashes -r /tmp/requirements.lock" in "\n".join(lines)
    assert {"grpcio", "asyncpg", "uvicorn"} <= set(image)
    assert "pytest" not in image
    for name, pin in image.items():
        assert locked.get(name) == pin, f"{name}: make lock"


def pins(path: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """The version and the hashes of each package of a lock."""
    found = {}
    for block in re.split(r"\n(?=[a-z])", path.read_text()):
        head = re.match(r"([a-z0-9._-]+)(?:\[[^\]]*\])?==([^ \\\n]+)", block)
        if head is not None:
            found[head[1]] = head[2], frozenset(re.findall(r"sha256:([0-9a-f]{64})", block))
            assert found[head[1]][1], f"{head[1]} has no hash"
    return found


def known_samples() -> dict[str, set[str]]:
    """The names under which Prometheus has the suite's metrics, and their labels."""
    known: dict[str, set[str]] = {}
    for module in METRIC_MODULES:
        importlib.import_module(module)
    for collector, names in list(REGISTRY._collector_to_names.items()):
        labels = {*getattr(collector, "_labelnames", ()), "instance"}
        for name in names:
            known[name] = labels | ({"le"} if isinstance(collector, Histogram) else set())
    return known


def expressions() -> Iterator[str]:
    """Every expression of the dashboard and of the alerts."""
    dashboard = json.loads((DEPLOY / "grafana/loyalty.json").read_text())
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    for variable in dashboard["templating"]["list"]:
        yield variable["query"]["query"]
    for group in yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def test_every_metric_that_is_looked_at_exists_with_its_labels() -> None:
    known = known_samples()
    used = set()
    for expression in expressions():
        names = set(re.findall(r"\bloyalty_[a-z_]+", expression))
        used |= names
        assert names <= set(known), expression
        labels = {
            label.strip()
            for group in re.findall(r"by \(([^)]*)\)", expression)
            for label in group.split(",")
        } | set(re.findall(r"[{,](\w+)(?:=|!=|=~|!~)\"", expression.replace(" ", "")))
        possible = {label for name in names for label in known[name]} | {"job"}
        assert labels <= possible, expression
    shown = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in used}
    made = {re.sub(r"_(total|created|bucket|sum|count)$", "", name) for name in known}

    assert made - shown == set(), "a metric that nobody looks at"


def test_prometheus_asks_every_service_where_it_answers() -> None:
    port = COMPOSE["x-environment"]["LOYALTY_METRICS_PORT"]
    scraped = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text())
    targets = scraped["scrape_configs"][0]["static_configs"][0]["targets"]

    assert sorted(targets) == sorted(f"{name}:{port}" for name in KINDS)
    for name in KINDS:
        container = pod_of(name)["containers"][0]
        assert {"name": "metrics", "containerPort": int(port)} in container["ports"]


async def test_the_roles_and_the_job_of_tables_work_on_a_new_cluster(
    postgres: TestPostgres,
) -> None:
    server = postgres.server
    superuser = {
        "PATH": f"{server._binaries}:{os.environ['PATH']}",
        "PGHOST": "127.0.0.1",
        "PGPORT": str(server.port),
        "PGPASSWORD": server._password,
        "POSTGRES_USER": "postgres",
        "MIGRATING_PASSWORD": "migrating",
        "SERVING_PASSWORD": "serving",
    }
    # Other tests have roles of these names: this one's are called otherwise.
    script = (DEPLOY / "postgres/roles.sh").read_text().replace("loyalty_", "deployed_")
    made = await asyncio.to_thread(
        subprocess.run, ["sh", "-c", script], env=superuser, capture_output=True, check=False
    )
    at = f"127.0.0.1:{server.port}/deployed_"
    environment = {
        variable: dsn
        for name in KEEPERS
        for variable, dsn in (
            (f"LOYALTY_{name.upper()}_DSN", f"postgresql://deployed_{name}:serving@{at}{name}"),
            (
                f"LOYALTY_{name.upper()}_MIGRATION_DSN",
                f"postgresql://deployed_{name}_owner:migrating@{at}{name}",
            ),
        )
    }
    try:
        assert made.returncode == 0, made.stderr
        told = await asyncio.to_thread(prepare, ["tables"], environment)
        again = await asyncio.to_thread(prepare, ["tables"], environment)
        connection = await asyncpg.connect(environment["LOYALTY_LEDGER_DSN"])
        try:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("DELETE FROM entry")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("CREATE TABLE note (id integer)")
            count = await connection.fetchval("SELECT count(*) FROM entry")
        finally:
            await connection.close()
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(f"postgresql://deployed_rules:serving@{at}ledger")
    finally:
        for name in KEEPERS:
            postgres.drop(f"deployed_{name}")
            server.execute(f"DROP ROLE deployed_{name}, deployed_{name}_owner")

    assert told == again == [f"the tables of {name} are up to date" for name in KEEPERS]
    assert count == 0


def test_keys_are_made_once_and_not_told(tmp_path: Path) -> None:
    environment = {"LOYALTY_HOME": str(tmp_path / "home")}
    told = prepare(["keys", "acme"], environment)
    home = tmp_path / "home"
    files = ("keys/signing.json", "keys/jwks.json", "credentials.json", "admin.key")
    before = [(home / name).read_text() for name in files]
    prepare(["keys", "acme"], environment)
    key = (home / "admin.key").read_text().strip()
    credential = next(iter(json.loads((home / "credentials.json").read_text()).values()))

    assert [(home / name).read_text() for name in files] == before
    assert stat.S_IMODE((home / "admin.key").stat().st_mode) == 0o600
    assert credential["organization"] == "acme"
    assert key not in "".join(told)


@pytest.mark.parametrize("arguments", [[], ["key"], ["tables", "x"], ["tables"]])
def test_what_cannot_be_prepared_is_one_sentence(arguments: list[str]) -> None:
    with pytest.raises(SuiteError, match=r"usage: |no LOYALTY_<NAME>_DSN"):
        prepare(arguments, {})


async def test_a_containers_health_is_that_of_its_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in [each for each in os.environ if each.startswith("LOYALTY_")]:
        monkeypatch.delenv(variable)
    server = build_server(
        name="test", servicers=[], scopes={}, verifier=keys.verifier(), settings=servers.settings()
    )
    async with servers.running(server) as port:
        serves = await asyncio.to_thread(ask_health, [str(port)])
    gone = await asyncio.to_thread(ask_health, [str(port)])

    assert (serves, gone, ask_health([])) == (0, 1, 2)
