"""The recipes of configs/ci: they have the form that their services want, and their commands are the command's."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

from migrator.cli import cli
from migrator.fixtures.folder import read_fixtures
from migrator.fixtures.options import Masking
from migrator.fixtures.staging import filters_of, masks_of
from migrator.fixtures.values import parse_now
from tests import support

CI = Path(__file__).parents[2] / "configs" / "ci"
VARIABLES = {
    "CI_PIPELINE_ID": "4711",
    "PRODUCTION_URL": "https://prod.example.com",
    "STAGING_URL": "https://staging.example.com",
}


def load(name: str) -> Any:
    """A recipe as YAML 1.1, as these services read it; the key `on` is a text there too."""
    value = yaml.safe_load((CI / name).read_text())
    if True in value:
        value["on"] = value.pop(True)
    return value


def github_commands() -> list[str]:
    steps = load("github-actions.yml")["jobs"]["tests"]["steps"]
    return [line for step in steps for line in step.get("run", "").splitlines()]


def gitlab_commands() -> list[str]:
    jobs = [value for value in load("gitlab-ci.yml").values() if isinstance(value, dict)]
    parts = ("before_script", "script", "after_script")
    return [line for job in jobs for part in parts for line in job.get(part, [])]


def compose_commands() -> list[str]:
    seed = load("docker-compose.yml")["services"]["seed"]
    return ["migrator " + shlex.join(seed["command"])]


def arguments(line: str) -> list[str]:
    """The words of a line after the name of the command, as a shell gives them."""
    line = re.sub(r"\$\{?(\w+)\}?", lambda match: VARIABLES[match[1]], line.removesuffix("|| true"))
    words = shlex.split(line)
    assert words[0] == "migrator"
    return words[1:]


COMMANDS = [
    (recipe, line)
    for recipe, lines in (
        ("github-actions.yml", github_commands()),
        ("gitlab-ci.yml", gitlab_commands()),
        ("docker-compose.yml", compose_commands()),
    )
    for line in lines
    if line.startswith("migrator ")
]


def parsed(line: str) -> click.Context:
    words = arguments(line)
    command = cli.get_command(click.Context(cli), words[0])
    assert command is not None, f"there is no command {words[0]}"
    return command.make_context(words[0], words[1:])


def test_every_recipe_has_commands() -> None:
    """The checks below look at something in each."""
    assert {recipe for recipe, _ in COMMANDS} == {"github-actions.yml", "gitlab-ci.yml", "docker-compose.yml"}
    assert {path.name for path in CI.glob("*.yml")} == {recipe for recipe, _ in COMMANDS}


@pytest.mark.parametrize(("recipe", "line"), COMMANDS)
def test_commands_and_flags_exist(recipe: str, line: str) -> None:
    """Each command of a recipe is parsed by the real one, and its masks and sample by the real ones too."""
    given = parsed(line).params
    masking = Masking(given["sample"], given["where"], given["mask"])
    assert len(masks_of(masking, {"MIGRATOR_MASK_KEY": "0123456789abcdef"})) == len(given["mask"])
    assert len(filters_of(masking)) == bool(given["sample"])
    if given["prefix"]:
        assert read_fixtures(CI / "fixtures", environ={}, now=parse_now(None), prefix=given["prefix"]).names


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("github-actions.yml", ["wait", "diff"]),
        ("gitlab-ci.yml", ["wait", "diff"]),
        ("docker-compose.yml", ["wait"]),
    ],
)
def test_seeding_waits_for_the_server(recipe: str, expected: list[str]) -> None:
    """A service container takes a while, so the seed job waits; what tests changed can be shown."""
    contexts = [parsed(line).params for name, line in COMMANDS if name == recipe]
    assert contexts[0]["wait_s"] == 120
    assert any(context["diff"] for context in contexts) is ("diff" in expected)


def test_the_github_workflow_has_its_form() -> None:
    """Triggers, a job on a runner, the service with its port, and steps that either use or run something."""
    workflow = load("github-actions.yml")
    assert set(workflow) == {"name", "on", "permissions", "jobs"}
    job = workflow["jobs"]["tests"]
    assert set(job) <= {"runs-on", "timeout-minutes", "services", "env", "steps"}
    service = job["services"]["couchdb"]
    assert service["image"] == "couchdb:3.5"
    assert service["ports"] == ["5984:5984"]
    assert job["env"]["COUCHDB_PASSWORD"] == service["env"]["COUCHDB_PASSWORD"]
    assert job["env"]["COUCHDB_USER"] == service["env"]["COUCHDB_USER"]
    for step in job["steps"]:
        assert ("uses" in step) != ("run" in step)
        assert set(step) <= {"uses", "with", "name", "run", "if"}
    seeding, testing = (
        next(number for number, step in enumerate(job["steps"]) if words in step.get("run", ""))
        for words in ("--wait", "pytest")
    )
    assert seeding < testing
    for value in job["env"].values():
        assert isinstance(value, str), "what is not a text in YAML is another text in the environment"


def test_the_gitlab_pipeline_has_its_form() -> None:
    """Jobs of declared stages with scripts, and the service under the name that the URL has."""
    pipeline = load("gitlab-ci.yml")
    jobs = {name: job for name, job in pipeline.items() if name not in {"default", "variables", "stages"}}
    for job in jobs.values():
        assert job["stage"] in pipeline["stages"]
        assert all(isinstance(line, str) for line in job["script"])
    tests = jobs["tests"]
    service = tests["services"][0]
    assert service == {"name": "couchdb:3.5", "alias": "couchdb"}
    assert tests["variables"]["COUCHDB_URL"] == "http://couchdb:5984"
    assert tests["variables"]["COUCHDB_PASSWORD"] in tests["variables"]["COUCHDB_TEST_URL"]


def test_the_application_starts_when_the_seed_job_has_ended_well() -> None:
    """Compose: the condition, one run of the job, and the same server for both."""
    services = load("docker-compose.yml")["services"]
    assert services["app"]["depends_on"] == {"seed": {"condition": "service_completed_successfully"}}
    assert services["seed"]["restart"] == "no"
    assert services["couchdb"]["image"] == "couchdb:3.5"
    assert services["seed"]["environment"]["COUCHDB_URL"] == services["app"]["environment"]["COUCHDB_URL"]
    assert 'ENTRYPOINT ["migrator"]' in services["seed"]["build"]["dockerfile_inline"]
    folder = services["seed"]["command"][1]
    assert services["seed"]["volumes"] == [f"./{folder.removeprefix('/')}:{folder}:ro"]


def test_the_example_fixtures_are_seeded_by_the_recipes_command(
    server_url: str, database_prefix: str, no_credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compose recipe's own words, with a prefix, against a real server: data, index and view are there."""
    monkeypatch.setenv("COUCHDB_URL", server_url)
    words = arguments(compose_commands()[0])
    words[words.index("/fixtures")] = str(CI / "fixtures")
    chosen = ["--collection", "customers", "--collection", "orders"]
    result = CliRunner().invoke(cli, [*words, *chosen, "--prefix", database_prefix, "--quiet"])
    assert result.exit_code == 0, (result.output, result.exception)
    orders = support.documents(server_url, f"{database_prefix}orders")
    assert {"o-1001", "o-1002", "o-1003", "_design/by", "_design/by-status"} == set(orders)
    assert orders["o-1003"]["customer"] == "bjarne"
    assert support.documents(server_url, f"{database_prefix}customers")["bjarne"]["country"] == "NO"


def test_the_example_fixtures_have_no_fault() -> None:
    """All of it, with the user whose password is a variable."""
    fixtures = read_fixtures(CI / "fixtures", environ={"APP_PASSWORD": "x"}, now=parse_now(None))
    assert set(fixtures.names) == {"customers", "orders", "_users"}
    assert b'"password":"x"' in fixtures.databases["_users"].documents[0].body
    assert os.access(CI / "fixtures" / "_references.json", os.R_OK)
