"""The compiled part of the package, built from the source as it stands, wherever it is installed or not."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

from tests.support.processes import LIMIT_S

ROOT = Path(__file__).parents[2]
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g -O1"


def compiler() -> str | None:
    """The C compiler's path; None where there is none, or none that finds Python's headers."""
    headers = Path(sysconfig.get_paths()["include"], "Python.h")
    words = (sysconfig.get_config_var("CC") or "cc").split()
    return shutil.which(words[0]) if headers.exists() else None


def build(folder: Path, *, sanitized: bool = False) -> Path:
    """Compile it into a folder; the path of the module."""
    environ = {**os.environ, **({"CFLAGS": SANITIZERS, "LDFLAGS": SANITIZERS} if sanitized else {})}
    words = ["build_ext", "--build-lib", str(folder), "--build-temp", str(folder / "objects")]
    code = "import sys; from setuptools import setup; sys.argv[0] = 'setup.py'; exec(open('setup.py').read())"
    done = subprocess.run(
        [sys.executable, "-c", code, "--quiet", *words],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    found = list((folder / "migrator" / "couch").glob("_terms*.so"))
    assert found, done.stderr
    return found[0]


def load(path: Path) -> ModuleType:
    """Import it from where it was built."""
    spec = importlib.util.spec_from_file_location("migrator.couch._terms", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
