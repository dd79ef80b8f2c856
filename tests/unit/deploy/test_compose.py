"""docker-compose.yml and the Dockerfile say what the product is: its commands, its settings, limits on everything."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.cli.main import Root
from app.config.settings import Settings

ROOT = Path(__file__).parents[3]
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<default>[^}]*))?\}")
PRODUCT = {"api": ["serve"], "engine": ["engine"], "worker": ["worker"], "beat": ["beat"], "migrate": ["migrate"]}
SERVERS = {"proxy", "postgres", "redis", "rabbitmq"}
SECRETS = {"SECRET_KEY": "k" * 43, "POSTGRES_PASSWORD": "one", "RABBITMQ_PASSWORD": "two"}


def filled(text: str, variables: Mapping[str, str]) -> str:
    """The text with its variables as compose fills them in."""

    def value(match: re.Match[str]) -> str:
        found = variables.get(match["name"]) or (match["default"] if match["kind"] == "-" else None)
        assert found is not None, f"{match['name']} has neither a value nor a default"
        return found

    return VARIABLE.sub(value, text)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    text = filled((ROOT / "docker-compose.yml").read_text(), SECRETS)
    found: dict[str, Any] = yaml.safe_load(text)["services"]
    return found


def test_every_part_of_the_product_is_a_service(services: Mapping[str, Any]) -> None:
    assert set(services) == set(PRODUCT) | SERVERS
    assert {name: services[name]["command"] for name in PRODUCT} == PRODUCT
    assert {command for (command,) in PRODUCT.values()} <= set(Root.table)
    assert {name: services[name]["deploy"].get("replicas", 1) for name in PRODUCT} == {
        "api": 2,
        "engine": 2,
        "worker": 2,
        "beat": 1,
        "migrate": 1,
    }


@pytest.mark.parametrize("name", sorted(PRODUCT))
def test_a_process_gets_settings_that_production_takes(
    services: Mapping[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = services[name]["environment"]
    assert {key.lower() for key in environment} <= set(Settings.model_fields)
    for key in os.environ.keys() & {field.upper() for field in Settings.model_fields}:
        monkeypatch.delenv(key)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    settings = Settings(_env_file=None)
    assert settings.is_production
    assert settings.database_url is not None
    assert settings.redis_url is not None
    assert settings.broker_url is not None


@pytest.mark.parametrize("name", sorted(set(PRODUCT) | SERVERS))
def test_a_service_is_limited_and_watched(services: Mapping[str, Any], name: str) -> None:
    service = services[name]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert "healthcheck" in service
    has_port = name in SERVERS | {"api"}
    assert ("test" in service["healthcheck"]) is has_port
    assert service["restart"] == ("no" if name == "migrate" else "unless-stopped")


def test_limits_are_variables() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    limits = re.findall(r"limits: \{cpus: \"(.*?)\", memory: \"(.*?)\"\}", text)
    assert len(limits) == len(PRODUCT) + len(SERVERS)
    assert all(VARIABLE.fullmatch(limit) for pair in limits for limit in pair)


def test_only_the_proxy_is_reached_from_elsewhere(services: Mapping[str, Any]) -> None:
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert set(ports) == {"proxy", "rabbitmq"}
    assert all(port.startswith("127.0.0.1:") for port in ports["rabbitmq"])


def test_what_must_be_kept_has_a_volume(services: Mapping[str, Any]) -> None:
    volumes = yaml.safe_load(filled((ROOT / "docker-compose.yml").read_text(), SECRETS))["volumes"]
    used = {volume.partition(":")[0] for service in services.values() for volume in service.get("volumes", [])}
    assert {name for name in used if not name.startswith(".")} == set(volumes)
    assert {"postgres_data", "redis_data", "rabbitmq_data"} <= set(volumes)


def test_secrets_have_no_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    assert {match["name"] for match in VARIABLE.finditer(text) if match["kind"] == "?"} == set(SECRETS)


def test_the_image_is_small_and_nobody_is_root_in_it() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    stages = [line for line in lines if line.startswith("FROM ")]
    assert stages == ["FROM python:3.12-slim AS build", "FROM python:3.12-slim"]
    last = lines[lines.index(stages[-1]) :]
    assert "USER marqetfi" in last
    assert last.index("USER marqetfi") < last.index('ENTRYPOINT ["marqetfi"]')
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert ignored[0] == "*"
    assert "!.env" not in ignored


def has_compose() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not has_compose(), reason="no `docker compose` here")
def test_compose_takes_it() -> None:
    command = ["docker", "compose", "--project-directory", str(ROOT), "config", "--quiet"]
    done = subprocess.run(command, env={**os.environ, **SECRETS}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
