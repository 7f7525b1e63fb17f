"""What is handed out: the distribution, the image, the compose file and the job files."""

from __future__ import annotations

import ast
import configparser
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator
from email import message_from_string
from pathlib import Path
from typing import Any

import pytest
import yaml

from migrator.cli import COMMANDS
from migrator.version import __version__
from tests.support.compiled import compiler
from tests.support.processes import LIMIT_S

ROOT = Path(__file__).parents[2]
BUILD = "from setuptools import build_meta as b; b.build_sdist('out'); b.build_wheel('out')"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel, built from a copy, as building leaves files in the tree."""
    tree = tmp_path_factory.mktemp("tree")
    for path in ROOT.glob("*.*"):
        if path.is_file():
            shutil.copy(path, tree)
    shutil.copy(ROOT / "LICENSE", tree)
    shutil.copytree(ROOT / "migrator", tree / "migrator", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    done = subprocess.run(
        [sys.executable, "-c", BUILD], cwd=tree, capture_output=True, text=True, check=False, timeout=LIMIT_S
    )
    assert done.returncode == 0, done.stderr
    return tree / "out"


TEXTS = {".py", ".md", ".cfg", ".toml", ".yml", ".yaml", ".txt", ".sh", ".service", ".timer", ".json", ""}
FOLDERS = ("migrator", "tests", "docs", "configs", "scripts", ".ci")
# What installs by name: an installer's argument, a requirement with an extra or a version, a list of dependencies.
BY_NAME = re.compile(
    r"""(?x)
    (?: \b(?:pip3?|pipx|uv\ pip|uv\ tool|poetry|conda|mamba)\ (?:install|add|run|inject)\b | \b(?:uvx|uv\ add)\b )
        [^\n|;&]* (?<![\w./:-])migrator(?![\w./:-])
    | (?<![\w./:-])migrator\\?\[ [a-z, ]+ \\?\]
    | (?<![\w./:-])migrator\ ?(?:==|>=|~=|<=|!=)\ ?\d
    | dependencies\s*=\s*\[[^\]]*["']migrator["'><=~\[]
    | pypi\.org/(?:project|simple|pypi)/migrator\b
    """
)


def installs_the_stranger(text: str) -> list[str]:
    """What in a text would install the project of another's that is called `migrator` on the Python index."""
    return [found[0] for found in BY_NAME.finditer(text)]


def test_nothing_installs_the_project_of_another() -> None:
    """Documents, recipes, hints and code say `couchdb-migrator` wherever a package is named to an installer."""
    below = [path for name in FOLDERS for path in (ROOT / name).rglob("*")]
    paths = [path for path in [*ROOT.iterdir(), *below] if path.suffix in TEXTS and path != Path(__file__)]
    texts = {path: path.read_text(encoding="utf-8") for path in paths if path.is_file()}
    assert len(texts) > 500
    assert {str(path): found for path, text in texts.items() if (found := installs_the_stranger(text))} == {}


@pytest.mark.parametrize(
    "text",
    [
        "pip install migrator",
        'pip install "migrator[seed]"',
        "python -m pip install --upgrade migrator",
        "pip install -U pip 'migrator[a,b]' s3fs",
        "RUN pip install --no-cache-dir migrator",
        "pipx install migrator",
        "pipx run migrator run",
        "uvx migrator",
        "uv add migrator",
        "uv pip install migrator",
        "uv tool install migrator",
        "poetry add migrator",
        "migrator==0.1.0",
        "migrator >= 1",
        "the extra `migrator[sandbox]`",
        r"match='migrator\[sql\]'",
        'dependencies = ["click", "migrator"]',
        "https://pypi.org/project/migrator/",
    ],
)
def test_the_search_for_it_knows_each_form(text: str) -> None:
    """So the search above can fail."""
    assert installs_the_stranger(text) != []
    assert installs_the_stranger(text.replace("migrator", "couchdb-migrator", 1)) == []


def package_files() -> set[str]:
    """Every file of the package as it stands in the checkout, without what was made there."""
    paths = (path for path in (ROOT / "migrator").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT).as_posix() for path in paths if path.suffix != ".so"}


def wheel(built: Path) -> zipfile.ZipFile:
    """The built wheel."""
    return zipfile.ZipFile(next(built.glob("*.whl")))


def test_the_wheel_holds_the_whole_package(built: Path) -> None:
    """Types, the sandbox's lock file and all other data travel with the code, and nothing else does."""
    with wheel(built) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    compiled = {"migrator/couch/_terms.abi3.so"} if compiler() else set()
    # The source of what is compiled is in the sdist.
    assert names == (package_files() - {"migrator/couch/_terms.c"}) | compiled
    assert {"migrator/py.typed", "migrator/sandbox/package-lock.json", "migrator/sandbox/watchdog.js"} <= names


def test_the_sdist_holds_what_a_build_needs(built: Path) -> None:
    """Who has only the source archive can build the same wheel."""
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert package_files() | {"setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE"} <= names


def test_the_wheel_says_what_it_is(built: Path) -> None:
    """Version, Python and the console script are in the metadata."""
    with wheel(built) as archive:
        folder = f"couchdb_migrator-{__version__}.dist-info"
        metadata = message_from_string(archive.read(f"{folder}/METADATA").decode())
        scripts = configparser.ConfigParser()
        scripts.read_string(archive.read(f"{folder}/entry_points.txt").decode())
    assert metadata["Version"] == __version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-File"] == "LICENSE"
    assert "sandbox" in metadata.get_all("Provides-Extra", [])
    assert dict(scripts["console_scripts"]) == {"migrator": "migrator.cli:main"}


def test_the_console_script_starts() -> None:
    """What is installed under the command's name runs the command."""
    script = Path(sysconfig.get_path("scripts")) / "migrator"
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert (done.returncode, done.stdout) == (0, f"migrator, version {__version__}\n")


def test_the_changelog_knows_this_version() -> None:
    """The newest heading of the changelog that names a version names this one."""
    headings = re.findall(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == __version__


def declared(name: str) -> set[str]:
    """Distribution names that a section of setup.cfg asks for, in lower case; "" stands for the package itself."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    text = config["options.extras_require"][name] if name else config["options"]["install_requires"]
    return {re.split(r"[^\w.-]", line, maxsplit=1)[0].lower() for line in text.split("\n") if line.strip()}


def test_what_is_imported_is_declared() -> None:
    """Each foreign package that the code imports is asked for, and each that is asked for is imported."""
    modules = set()
    for path in (ROOT / "migrator").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.partition(".")[0])
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    foreign = modules - set(sys.stdlib_module_names) - {"migrator"}
    if "pytest11" in config["options.entry_points"]:
        # Only pytest itself imports its plugins.
        foreign -= {"pytest"}
    owners = importlib.metadata.packages_distributions()
    used = {owners.get(module, [module])[0].lower() for module in foreign}
    # What only developers need cannot excuse an import.
    extras = set(config["options.extras_require"]) - {"dev", "test", "test-all", "demo"}
    assert used - declared("") <= set().union(*(declared(extra) for extra in extras))
    assert declared("") <= used


def test_one_test_needs_few_packages() -> None:
    """`test` is small, and `dev` has everything that any test needs."""
    assert {"pytest", "hypothesis"} <= declared("test")
    assert len(declared("test")) <= 6
    assert declared("test") < declared("test-all") < declared("dev")


def instructions(path: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, with continued lines joined and comments left out."""
    lines = [line for line in path.read_text(encoding="utf-8").split("\n") if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    words = (line.partition(" ") for line in joined.split("\n") if line.strip())
    return [(word.upper(), rest.strip()) for word, _, rest in words]


@pytest.fixture
def stages() -> list[list[tuple[str, str]]]:
    """The Dockerfile's instructions, stage by stage."""
    stages: list[list[tuple[str, str]]] = []
    for word, rest in instructions(ROOT / "Dockerfile"):
        if word == "FROM":
            stages.append([])
        stages[-1].append((word, rest))
    return stages


def test_the_image_is_built_apart_and_pinned(stages: list[list[tuple[str, str]]]) -> None:
    """Every base is pinned by a tag, and what builds the package stays behind in the first stage."""
    bases = [stage[0][1].split()[0] for stage in stages]
    assert len(stages) >= 2
    # A compiler is in the first alone.
    assert re.fullmatch(r"python:3\.\d+(-\w+)?", bases[0])
    assert [base for base in bases[1:] if not re.fullmatch(r"python:3\.\d+-slim(-\w+)?", base)] == []
    final = stages[-1]
    assert [rest for word, rest in final if word == "COPY"] == ["--from=build /opt/migrator /opt/migrator"]
    assert [rest for word, rest in final if word == "RUN" and re.search(r"\b(pip|apt|apt-get|gcc)\b", rest)] == []


def test_the_image_runs_the_command_as_nobody_special(stages: list[list[tuple[str, str]]]) -> None:
    """Its user is not root and stays so to the end, and it may write to the working folder."""
    final = stages[-1]
    [user] = [rest for word, rest in final if word == "USER"]
    assert user not in {"root", "0"}
    assert "RUN" not in [word for word, _ in final[final.index(("USER", user)) :]]
    [folder] = [rest for word, rest in final if word == "WORKDIR"]
    [made] = [rest for word, rest in final if word == "RUN"]
    assert made.endswith(f"install --directory --owner={user} {folder}")
    assert json.loads(dict(final)["ENTRYPOINT"]) == ["migrator"]


def test_the_images_health_check_runs(stages: list[list[tuple[str, str]]]) -> None:
    """The command that the check calls is there and ends with 0."""
    flags, _, called = dict(stages[-1])["HEALTHCHECK"].partition("CMD ")
    assert {"--interval", "--timeout"} <= {flag.partition("=")[0] for flag in flags.split()}
    program, *arguments = json.loads(called)
    assert program == "migrator"
    done = subprocess.run(
        [sys.executable, "-m", "migrator", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert (done.returncode, done.stdout.strip()) == (0, f"migrator, version {__version__}")


def test_the_image_is_given_what_it_copies(stages: list[list[tuple[str, str]]]) -> None:
    """Each file that is copied is there, and .dockerignore, which shuts everything out, lets it in."""
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert ignored[0] == "*"
    copied = [name for word, rest in stages[0] if word == "COPY" for name in rest.split()[:-1]]
    assert "migrator" in copied
    assert [name for name in copied if not (ROOT / name).exists() or f"!{name}" not in ignored] == []


@pytest.fixture
def compose() -> dict[str, Any]:
    """The compose file as data."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    return content


def strings(value: Any) -> Iterator[str]:
    """All strings in a nested value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


def test_the_job_waits_for_a_healthy_couchdb(compose: dict[str, Any]) -> None:
    """CouchDB 3.5 is asked for its health, and the job beside it starts only then and when it is called."""
    couchdb, job = compose["services"]["couchdb"], compose["services"]["migrator"]
    assert couchdb["image"] == "couchdb:3.5"
    assert couchdb["healthcheck"]["test"][-1].endswith("/_up")
    assert job["depends_on"] == {"couchdb": {"condition": "service_healthy"}}
    assert job["profiles"] == ["job"]
    assert job["command"][0] in COMMANDS
    assert job["volumes"] == [f"./data:{dict(instructions(ROOT / 'Dockerfile'))['WORKDIR']}"]


def test_the_compose_file_holds_no_secret(compose: dict[str, Any]) -> None:
    """Passwords come from the environment, without a default, and CouchDB is not open to the network."""
    for service in compose["services"].values():
        assert service["environment"]["COUCHDB_PASSWORD"] == "${COUCHDB_PASSWORD:?set COUCHDB_PASSWORD}"
    assert [text for text in strings(compose) if re.search(r"PASSWORD:?[-=+]|://[^/]*@", text)] == []
    assert [port for port in compose["services"]["couchdb"]["ports"] if not port.startswith("127.0.0.1:")] == []
