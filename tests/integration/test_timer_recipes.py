"""What starts a job on a timer: each file has the form that its service wants, and runs the real command."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from migrator.backup.storage.base import open_place
from migrator.cli import cli
from migrator.config import JobConfig, load_job_file
from tests.support.backups import at, simple, write
from tests.support.commands import run_whole
from tests.support.processes import LIMIT_S

CONFIGS = Path(__file__).parents[2] / "configs"
JOB = CONFIGS / "scheduled-backup-sync.toml"
CRON = CONFIGS / "cron" / "migrator-sync"
SERVICE = CONFIGS / "systemd" / "migrator-sync.service"
TIMER = CONFIGS / "systemd" / "migrator-sync.timer"
BACKUP_CRON = CONFIGS / "cron" / "migrator-backup"
BACKUP_SERVICE = CONFIGS / "systemd" / "migrator-backup.service"
BACKUP_TIMER = CONFIGS / "systemd" / "migrator-backup.timer"
WATCHDOG_SERVICE = CONFIGS / "systemd" / "migrator-backup-watchdog.service"
WATCHDOG_TIMER = CONFIGS / "systemd" / "migrator-backup-watchdog.timer"
BACKUP_CRONJOB = CONFIGS / "kubernetes" / "backup-cronjob.yaml"
ENVIRONMENT = {"COUCHDB_SOURCE_URL": "http://a:5984", "COUCHDB_URL": "http://b:5984"}
FIELDS = re.compile(r"((?:[\d*/,-]+\s+){5})(\S+)\s+(.+)")


def unit(path: Path) -> dict[str, dict[str, list[str]]]:
    """A unit file: sections of keys, each with all its values."""
    sections: dict[str, dict[str, list[str]]] = {}

    class Many(dict[str, Any]):
        def __setitem__(self, key: str, value: Any) -> None:
            if key in self and isinstance(value, list):
                self[key].extend(value)
            else:
                super().__setitem__(key, value)

    parser = configparser.ConfigParser(
        dict_type=Many, strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",)
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text())
    for name in parser.sections():
        sections[name] = {key: value.split("\n") for key, value in parser.items(name)}
    return sections


def crontab(path: Path = CRON) -> tuple[dict[str, str], list[re.Match[str]]]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    jobs = [match for line in lines if (match := FIELDS.fullmatch(line))]
    variables = dict(line.split("=", 1) for line in lines if not FIELDS.fullmatch(line))
    return variables, jobs


def backup_jobs() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The claim and the CronJobs of backups in Kubernetes, in their order."""
    claim, *jobs = yaml.safe_load_all(BACKUP_CRONJOB.read_text())
    return claim, jobs


def kubernetes() -> dict[str, Any]:
    return {
        each["kind"]: each for each in yaml.safe_load_all((CONFIGS / "kubernetes" / "cronjob.yaml").read_text())
    }


def container() -> dict[str, Any]:
    job = kubernetes()["CronJob"]["spec"]["jobTemplate"]["spec"]
    (found,) = job["template"]["spec"]["containers"]
    return dict(found)


def commands() -> dict[str, list[str]]:
    """The words of each recipe's command, after the command's own name."""
    _, (job,) = crontab()
    folder, line = job[3].split(" && ")
    assert folder == "cd /var/lib/migrator"
    name, *cron = shlex.split(line)
    assert name == "migrator"
    program, *service = shlex.split(unit(SERVICE)["Service"]["ExecStart"][0])
    assert program.endswith("/bin/migrator")
    return {"cron": cron, "systemd": service, "kubernetes": container()["args"]}


@pytest.mark.parametrize("recipe", ["cron", "systemd", "kubernetes"])
def test_each_runs_the_command_with_the_job_file(recipe: str) -> None:
    """Command and flags are parsed by the real one, and the job file is the one that is shipped."""
    words = commands()[recipe]
    command = cli.get_command(click.Context(cli), words[0])
    assert command is not None
    given = command.make_context(words[0], words[1:]).params
    assert given["job_file"] == f"/etc/migrator/{JOB.name}"
    assert given["json"]
    assert given["metrics"] or given["ping"]
    flags = {name: given[name] or "" for name in ("metrics", "ping")}
    config = JobConfig(**{**load_job_file(str(JOB), ENVIRONMENT), **flags})
    assert config.since_last
    assert config.checkpoint


@pytest.mark.parametrize("recipe", ["cron", "systemd", "kubernetes"])
def test_each_gives_what_the_job_file_asks_for(recipe: str) -> None:
    """Every env:NAME of the job file is set, and a password is in no file of the recipe."""
    wanted = set(re.findall(r'^\w+ = "env:(\w+)"', JOB.read_text(), re.MULTILINE))
    if recipe == "cron":
        given = crontab()[0]
    elif recipe == "systemd":
        given = dict(value.split("=", 1) for value in unit(SERVICE)["Service"]["Environment"])
    else:
        given = {each["name"]: each.get("value", "") for each in container()["env"]}
        (password,) = [each for each in container()["env"] if each["name"] == "COUCHDB_PASSWORD"]
        assert "secretKeyRef" in password["valueFrom"]
    assert wanted <= set(given)
    assert given.get("COUCHDB_PASSWORD", "") == ""
    assert {"COUCHDB_PASSWORD", "COUCHDB_PASSWORD_FILE"} & set(given)


def test_cron_has_its_form() -> None:
    """Five fields, a user that is not root, a command on one line; cron takes `%` for a line's end."""
    variables, jobs = crontab()
    assert len(jobs) == 1
    assert jobs[0][2] != "root"
    assert "%" not in jobs[0][0]
    assert CRON.read_text().endswith("\n")
    assert "." not in CRON.name
    assert set(variables) >= {"PATH", "SHELL"}


@pytest.mark.parametrize(("service_file", "timer_file"), [(SERVICE, TIMER), (BACKUP_SERVICE, BACKUP_TIMER)])
def test_the_units_have_their_form(service_file: Path, timer_file: Path) -> None:
    """A one-shot service that a timer of the same name starts, with what it keeps where it may write."""
    service, timer = unit(service_file), unit(timer_file)
    assert service["Service"]["Type"] == ["oneshot"]
    assert service["Service"]["WorkingDirectory"] == [f"/var/lib/{service['Service']['StateDirectory'][0]}"]
    assert "Install" not in service
    assert timer["Timer"]["Persistent"] == ["true"]
    assert timer["Install"]["WantedBy"] == ["timers.target"]
    assert service_file.stem == timer_file.stem
    credential = service["Service"]["LoadCredential"][0].partition(":")[0]
    assert f"COUCHDB_PASSWORD_FILE=%d/{credential}" in service["Service"]["Environment"]


def test_the_timer_starts_at_night() -> None:
    """At three."""
    assert unit(TIMER)["Timer"]["OnCalendar"] == ["*-*-* 03:00:00"]


def test_systemd_itself_finds_no_fault(tmp_path: Path) -> None:
    """Where the machine has systemd's own checker, it reads both units; the program is a stand-in."""
    checker = shutil.which("systemd-analyze")
    if checker is None:
        pytest.skip("this machine has no systemd-analyze")
    units = (SERVICE, TIMER, BACKUP_SERVICE, BACKUP_TIMER, WATCHDOG_SERVICE, WATCHDOG_TIMER)
    for path in units:
        text = path.read_text().replace("/opt/migrator/bin/migrator", shutil.which("true") or "/bin/true")
        (tmp_path / path.name).write_text(text)
    done = subprocess.run(
        [
            checker,
            "verify",
            "--man=no",
            "--recursive-errors=no",
            *(str(tmp_path / path.name) for path in units),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    told = [line for line in done.stderr.splitlines() if "migrator-sync" in line or "migrator-backup" in line]
    assert told == [], done.stderr
    calendar = [checker, "calendar", unit(TIMER)["Timer"]["OnCalendar"][0]]
    assert subprocess.run(calendar, capture_output=True, check=False, timeout=LIMIT_S).returncode == 0


@pytest.mark.parametrize("recipe", ["cron", "systemd", "kubernetes"])
def test_backups_are_made_kept_and_proven(recipe: str) -> None:
    """Each command is one that can be typed, all are of one place, and what is old goes only after a backup."""
    if recipe == "cron":
        variables, jobs = crontab(BACKUP_CRON)
        given = [shlex.split(job[3].removeprefix("cd /var/lib/migrator && ")) for job in jobs]
        assert {job[2] for job in jobs} == {"migrator"}
        assert all("%" not in job[0] for job in jobs)
    elif recipe == "kubernetes":
        containers = [pod_of(job)["containers"][0] for job in backup_jobs()[1]]
        given = [["migrator", *each["args"]] for each in containers]
        names = [{variable["name"] for variable in each.get("env", ())} for each in containers]
        # What prunes asks no server; the others have the password of a secret.
        assert names[1] == names[3] == set()
        assert names[0] == names[2] == {"COUCHDB_URL", "COUCHDB_USER", "COUCHDB_PASSWORD", "TMPDIR"}
        for each in (containers[0], containers[2]):
            (password,) = [variable for variable in each["env"] if variable["name"] == "COUCHDB_PASSWORD"]
            assert password.keys() == {"name", "valueFrom"}
        variables = dict.fromkeys(("COUCHDB_URL", "COUCHDB_USER", "COUCHDB_PASSWORD_FILE"), "")
    else:
        service = unit(BACKUP_SERVICE)["Service"]
        variables = dict(value.split("=", 1) for value in service["Environment"])
        given = [shlex.split(line) for line in service["ExecStart"]]
    assert {"COUCHDB_URL", "COUCHDB_USER", "COUCHDB_PASSWORD_FILE"} <= set(variables)
    assert "COUCHDB_PASSWORD" not in variables
    kinds, places = [], set()
    for line in given:
        command = cli.get_command(click.Context(cli), line[1])
        words = line[2:]
        if isinstance(command, click.Group):
            command = command.get_command(click.Context(command), line[2])
            words = line[3:]
        assert command is not None
        params = command.make_context(command.name, words).params
        kinds.append(command.name)
        places.add(params["place"])
    assert len(places) == 1
    assert kinds == ["backup", "prune", *(["check", "check"] if recipe != "systemd" else [])]


def watchdog(recipe: str) -> list[str]:
    """The words of a recipe's watchdog, after the command's own name."""
    if recipe == "cron":
        return shlex.split(crontab(BACKUP_CRON)[1][-1][3].removeprefix("cd /var/lib/migrator && "))[1:]
    if recipe == "kubernetes":
        return [str(word) for word in pod_of(backup_jobs()[1][-1])["containers"][0]["args"]]
    service = unit(WATCHDOG_SERVICE)["Service"]
    assert service["WorkingDirectory"] == unit(BACKUP_SERVICE)["Service"]["WorkingDirectory"]
    assert unit(WATCHDOG_TIMER)["Timer"]["Persistent"] == ["true"]
    return shlex.split(service["ExecStart"][0])[1:]


@pytest.mark.parametrize("recipe", ["cron", "systemd", "kubernetes"])
def test_the_watchdog_finds_a_timer_that_has_died(recipe: str, tmp_path: Path) -> None:
    """It is quiet while the newest backup is of last night, and fails with its name when it is older."""
    words = watchdog(recipe)
    # Whoever else is told is told by other tests; here nobody is there.
    for flag in {"--metrics", "--ping"}.intersection(words):
        del words[words.index(flag) : words.index(flag) + 2]
    place = words.index("--from") + 1
    assert words[place] in {"/var/backups/couchdb", "couchdb", "/data/couchdb"}
    words[place] = "place"
    with at(datetime.now(UTC) - timedelta(hours=27)):
        write(open_place(str(tmp_path / "place")), [simple(1)])
    done = run_whole(tmp_path, *words)
    assert done.returncode == 4
    assert "OVERDUE orders" in done.stdout
    with at(datetime.now(UTC) - timedelta(hours=25)):
        write(open_place(str(tmp_path / "place")), [simple(1)])
    done = run_whole(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert (done.stdout == "") is ("--quiet" in words)


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    """What a CronJob has a pod do."""
    return dict(job["spec"]["jobTemplate"]["spec"]["template"]["spec"])


def test_the_cronjobs_of_backups_have_their_form() -> None:
    """One run at a time each, as nobody in particular, all of them with the one claim where the backups are."""
    claim, jobs = backup_jobs()
    assert claim["kind"] == "PersistentVolumeClaim"
    assert len({job["metadata"]["name"] for job in jobs}) == 4
    for job in jobs:
        assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
        assert job["spec"]["concurrencyPolicy"] == "Forbid"
        assert len(job["spec"]["schedule"].split()) == 5
        pod = pod_of(job)
        assert pod["restartPolicy"] == "Never"
        assert pod["securityContext"]["runAsNonRoot"]
        (volume,) = pod["volumes"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        (container,) = pod["containers"]
        (mount,) = container["volumeMounts"]
        assert (mount["mountPath"], mount["name"]) == ("/data", volume["name"])
        # The root of its disk is read-only: what it writes lies on the claim.
        assert container["securityContext"]["readOnlyRootFilesystem"]
    assert [job["spec"]["schedule"].split()[4] for job in jobs] == ["*", "0", "0", "*"]


def test_the_cronjob_has_its_form() -> None:
    """One run at a time, never started again by the kubelet, the checkpoint on a claim, nothing as root."""
    found = kubernetes()
    spec = found["CronJob"]["spec"]
    assert found["CronJob"]["apiVersion"] == "batch/v1"
    assert spec["concurrencyPolicy"] == "Forbid"
    assert len(spec["schedule"].split()) == 5
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["securityContext"]["runAsNonRoot"]
    volumes = {each["name"]: each for each in pod["volumes"]}
    mounts = {each["mountPath"]: each["name"] for each in container()["volumeMounts"]}
    claim = volumes[mounts["/data"]]["persistentVolumeClaim"]["claimName"]
    assert claim == found["PersistentVolumeClaim"]["metadata"]["name"]
    assert "configMap" in volumes[mounts["/etc/migrator"]]
    # The image's own folder is /data, where a relative checkpoint goes.
    assert "WORKDIR /data" in (CONFIGS.parent / "Dockerfile").read_text()
    assert not Path(JobConfig(**load_job_file(str(JOB), ENVIRONMENT)).checkpoint).is_absolute()
