"""The house: who may import whom, who knows which package, and what a module looks like."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import migrator
from tests.support.processes import LIMIT_S

PACKAGE = Path(migrator.__file__).parent
MAX_LINES = 300

# From the ground up. A room imports its own modules and what is on a lower floor, never a neighbour.
FLOORS: list[tuple[str, set[str]]] = [
    ("1 nouns", {"errors", "model", "version"}),
    ("2 texts and files", {"codec", "files", "naming"}),
    ("3 what a run keeps and tries again", {"checkpoint", "config", "plugins", "report", "retry"}),
    ("4 the server, and the loop", {"couch", "pipeline", "sandbox", "testing"}),
    ("5 ways in and out", {"database", "extractors", "loaders", "monitoring", "transformers"}),
    ("6 whole jobs", {"jobs"}),
    ("7 built on jobs", {"backup", "integrations", "verification"}),
    ("8 built on these", {"convert", "fixtures", "server"}),
    ("9 faces", {"cli", "functions", "pytest_plugin"}),
    ("10 what is imported or run", {"__init__", "__main__"}),
]
MAX_ROOT_MODULES = 12
MAX_ROOMS = 35

# Who alone may import a package that something else could replace one day.
OWNERS = {
    "click": {"cli"},
    "couchdb": {"couch"},
    "jinja2": {"report"},
    "structlog": {"report"},
    "tenacity": {"retry"},
    "tqdm": {"report"},
}
# Extras that are asked for by name, and imported only where they are used.
OPTIONAL = {
    "dlt": {"integrations"},
    "distributed": {"jobs"},
    "faker": {"transformers"},
    "fsspec": {"extractors"},
    "prometheus_client": {"monitoring"},
    "pyrage": {"backup"},
    "boto3": {"extractors"},
    "botocore": {"extractors"},
    "redis": {"extractors"},
    "pyarrow": {"extractors"},
    "pytest": {"pytest_plugin", "testing"},
    "psycopg": {"extractors"},
    "pymysql": {"extractors"},
    "sqlalchemy": {"extractors"},
    "testcontainers": {"fixtures"},
    "yaml": {"fixtures"},
}
DEPENDENCIES = {*OWNERS, "orjson", "urllib3", "zstandard"}
SLOW_TO_IMPORT = {"couchdb", "jinja2", "orjson", "structlog", "tenacity", "tqdm", "urllib3", "zstandard"}


def modules() -> dict[str, Path]:
    """Every module below `migrator.`, by name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if len(parts) > 1 and parts[-1] == "__init__":
            parts = parts[:-1]
        found[".".join(parts)] = path
    return found


MODULES = modules()


def room_of(module: str) -> str:
    """The first part of a name: a room, or a module of the ground floor."""
    return module.partition(".")[0]


def floor_of(module: str) -> int:
    """The number of its floor, from below."""
    for number, (_, rooms) in enumerate(FLOORS):
        if room_of(module) in rooms:
            return number
    pytest.fail(f"{module} has no floor: say in FLOORS where it belongs")


@functools.cache
def parsed(path: Path) -> ast.Module:
    """The syntax of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def imported(path: Path, *, late: bool = True) -> list[tuple[str, int]]:
    """Full names of all imported modules with their lines; `late` counts those inside functions too."""
    found = []
    tree = parsed(path)
    for node in ast.walk(tree) if late else tree.body:
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            assert node.module is not None
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.append((full if full.removeprefix("migrator.") in MODULES else node.module, node.lineno))
    return found


def internal(module: str, *, late: bool = True) -> list[tuple[str, int]]:
    """What a module imports of the package itself."""
    return [
        (name.removeprefix("migrator").removeprefix(".") or "__init__", line)
        for name, line in imported(MODULES[module], late=late)
        if name == "migrator" or name.startswith("migrator.")
    ]


def test_imports_only_downwards() -> None:
    """A module knows its own room and what is below."""
    wrong = [
        f"{module} ({FLOORS[floor_of(module)][0]}), line {line}: {name} ({FLOORS[floor_of(name)][0]})"
        for module in MODULES
        for name, line in internal(module)
        if floor_of(name) >= floor_of(module) and room_of(name) != room_of(module)
    ]
    assert wrong == [], "these import what they may not know"


def test_a_newcomer_knows_the_house_by_its_listing() -> None:
    """Few modules in the root, few rooms, and none that is named here and gone."""
    rooms = {room_of(module) for module in MODULES}
    assert rooms == set().union(*(names for _, names in FLOORS))
    assert len(list(PACKAGE.glob("*.py"))) <= MAX_ROOT_MODULES
    assert len(rooms) <= MAX_ROOMS


def test_a_newcomer_knows_where_a_test_goes() -> None:
    """Each folder of tests stands in the table of CONTRIBUTING.md, and unit tests lie in those of their rooms."""
    tests = Path(__file__).parent
    table = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Where a test goes")[2]
    named = set(re.findall(r"`tests/(\w+)/`", table.partition("\n\nA test ")[0]))
    assert named == {path.parent.name for path in tests.glob("*/__init__.py")} | {"data"}
    assert {path.parent.name for path in tests.glob("unit/*/__init__.py")} <= {room_of(name) for name in MODULES}


def test_imports_run_in_no_circles() -> None:
    """There is an order in which everyone can read the house, one module after the other."""
    graph = {module: {name for name, _ in internal(module, late=False) if name != module} for module in MODULES}
    # A room's front names what is in it, and what is in it may use the front's own words.
    for module, names in graph.items():
        names.difference_update({room_of(module)} if "." in module else set())
    order = list(TopologicalSorter(graph).static_order())
    assert set(MODULES) <= set(order)


def test_nothing_imports_the_command_line() -> None:
    """What the command can do, a library user can."""
    users = {module for module in MODULES for name, _ in internal(module) if room_of(name) == "cli"}
    assert {module for module in users if room_of(module) != "cli"} <= {"__main__"}


def test_one_piece_of_code_reads_the_url_of_a_server() -> None:
    """By its text alone a URL cannot be read: where the server begins is asked, but of servers of our own."""
    calls = [name for name, path in MODULES.items() if re.search(r"(?<!def )parse_endpoint\(", path.read_text())]
    assert calls == ["fixtures.servers"]


def test_knows_no_foreign_package() -> None:
    """Only declared dependencies, and those with an owner only by their owner."""
    wrong = []
    for module, path in MODULES.items():
        for name, line in imported(path):
            package = name.partition(".")[0]
            if package in sys.stdlib_module_names or package == "migrator":
                continue
            owners = {**OWNERS, **OPTIONAL}.get(package, {room_of(module)} if package in DEPENDENCIES else set())
            if room_of(module) not in owners:
                wrong.append(f"{module}, line {line}: {name}")
    assert wrong == []


def test_every_owner_still_needs_its_package() -> None:
    """A package that nobody imports any more is not a dependency."""
    used = {name.partition(".")[0] for path in MODULES.values() for name, _ in imported(path)}
    assert used >= DEPENDENCIES


def test_dependencies_are_declared() -> None:
    """What is imported is what `setup.cfg` installs."""
    text = (PACKAGE.parent / "setup.cfg").read_text(encoding="utf-8")
    listed = text.partition("install_requires =")[2].partition("\n\n")[0]
    assert set(re.findall(r"^    ([a-z0-9-]+)", listed, re.MULTILINE)) == DEPENDENCIES


def test_each_says_what_it_is() -> None:
    """The first line of each file is one sentence about it."""
    for module, path in MODULES.items():
        docstring = ast.get_docstring(parsed(path))
        assert docstring, module
        first, _, rest = docstring.partition("\n")
        assert len(first) > 10, module
        assert not rest or rest.startswith("\n"), module


def test_each_can_be_read_in_one_sitting() -> None:
    """A module that is longer wants dividing."""
    lines = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in MODULES.items()}
    assert {module: count for module, count in lines.items() if count > MAX_LINES} == {}


@pytest.mark.parametrize(
    "code",
    [
        "import migrator.cli",
        "import migrator.cli.run",
        "from migrator.cli import cli; cli.main(['--help'], standalone_mode=False)",
        "from migrator.cli import cli; cli.main(['--version'], standalone_mode=False)",
        "from migrator.cli import cli; cli.main(['run', '--help'], standalone_mode=False)",
    ],
)
def test_starts_quickly(code: str) -> None:
    """Help and mistyped flags wait for no package that only a run needs."""
    look = f"import sys; {code}; print(sorted({SLOW_TO_IMPORT!r} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", look], capture_output=True, text=True, check=True, timeout=LIMIT_S
    )
    assert done.stderr == "[]\n"


def test_nothing_is_unpickled_evaluated_or_given_to_a_shell() -> None:
    """Not by the ways that a linter does not see, either."""
    banned = re.compile(r"\bpickle\b\.|import pickle|\.recv\(\)|\beval\(|\bexec\(|shell=True|os\.system")
    found = [name for name, path in MODULES.items() if banned.search(path.read_text(encoding="utf-8"))]
    assert found == []
