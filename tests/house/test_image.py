"""The image: packages pinned by hash, no registry's address, an unprivileged user, only what is needed sent along."""

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement

from canary.cli.main import canary
from canary.config.load import load
from tests.support.source_tree import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
PINS, BUILD_PINS = ((DEPLOY / name).read_text(encoding="utf-8") for name in ("requirements.txt", "build-requirements.txt"))
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
INSTRUCTIONS = [line for line in DOCKERFILE.splitlines() if re.match(r"[A-Z]+ ", line)]


def pinned(pins: str) -> dict[str, set[str]]:
    """The versions that each package is pinned to; several where they differ by Python."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", pins, re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found


def unmet(asked: list[str], pins: str) -> list[str]:
    """The requirements that the pins do not satisfy."""
    missing = []
    for text in asked:
        wanted = Requirement(text)
        versions = pinned(pins).get(wanted.name.lower().replace("_", "-"), set())
        if not versions or not all(wanted.specifier.contains(version) for version in versions):
            missing.append(f"{text}: pinned {sorted(versions)}; run deploy/lock.sh")
    return missing


def test_every_dependency_is_pinned_to_what_it_asks_for() -> None:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    assert unmet(settings["project"]["dependencies"], PINS) == []
    assert unmet(settings["build-system"]["requires"], BUILD_PINS) == []


@pytest.mark.parametrize("pins", [PINS, BUILD_PINS], ids=["run", "build"])
def test_every_pin_has_hashes_and_no_address(pins: str) -> None:
    entries = re.split(r"\n(?=[a-z0-9-]+==)", pins.strip())
    assert [entry.partition(" ")[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in pins
    assert "--" + "index" not in pins


def test_nothing_is_fetched_without_a_hash() -> None:
    fetches = re.findall(r"pip (?:install|wheel) [^&\\\n]+", DOCKERFILE)
    assert len(fetches) == 4
    hashed = [line for line in fetches if "--require-hashes" in line and "--only-binary=:all:" in line]
    local = [line for line in fetches if "--no-deps" in line and ("--no-index" in line or "--no-build-isolation" in line)]
    assert len(hashed) == 2
    assert len(local) == 2


def test_the_image_runs_unprivileged_with_its_state_on_a_volume() -> None:
    last_stage = INSTRUCTIONS[max(i for i, line in enumerate(INSTRUCTIONS) if line.startswith("FROM ")) :]
    assert "USER 65532:65532" in last_stage
    assert "VOLUME /var/lib/canary" in last_stage
    assert last_stage.index("USER 65532:65532") < next(i for i, line in enumerate(last_stage) if line.startswith("ENTRYPOINT "))
    assert [line for line in INSTRUCTIONS if line.startswith(("ADD ", "HEALTHCHECK "))] == []


def test_everything_that_is_copied_is_sent_to_the_builder() -> None:
    rules = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sent = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        part.rstrip("/")
        for line in INSTRUCTIONS
        if line.startswith("COPY ") and "--from=" not in line
        for part in line.split()[1:-1]
    }
    assert rules[1] == "*"
    assert copied == sent
    assert [part for part in copied if not (REPOSITORY / part).exists()] == []


@pytest.mark.parametrize("example", ["canary.example.yaml", "compose/canary.yaml.example"])
def test_every_example_is_a_valid_file(example: str) -> None:
    path = DEPLOY / example
    assert load(path.read_text(encoding="utf-8"), path=str(path), env={}).config.routes


def test_compose_starts_what_there_is() -> None:
    services = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text(encoding="utf-8"))["services"]
    asked = {name: service["command"] for name, service in services.items() if "command" in service}
    assert asked == {"canary": ["serve", "--state-dir", "/var/lib/canary"], "tables": ["db", "upgrade"]}
    for words in asked.values():
        with canary.make_context("canary", [*words, "--help"], resilient_parsing=True) as context:
            found = canary.get_command(context, words[0])
            assert found is not None
    assert all(service["read_only"] and service["cap_drop"] == ["ALL"] for name, service in services.items() if name in asked)
