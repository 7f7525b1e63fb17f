"""Types the commands of a page, one after the other, in one shell, in an empty folder, with a server of its own.

`UPDATE_DOCS=1` puts what is printed into the page where it differs; read the difference before you commit it.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests import support
from tests.docs.pages import OUTPUT, ROOT, SHELL, Block, blocks, name_of
from tests.docs.private_server import PrivateServer
from tests.docs.scenes import ACCOUNT, Scene, scene_of
from tests.support.processes import LIMIT_S, ended

TIMEOUT_S = 90
# Hosts that pages name; each is a view of the test's server with databases of its own.
HOST = re.compile(
    r"https?://((?:localhost|127\.0\.0\.1|a|b|old|new|couchdb):5984|(?:prod|staging|db)\.example\.com)(?![\w.])"
)
# Folders of a machine, which are in the page's own folder here.
ROOTED = re.compile(r"(?<![\w.])/(?:var|shared)/")
# Where the reader of a tutorial is.
READERS_FOLDER = "/home/ada/shop"
LOG_LINE = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z \[.*\n?", re.MULTILINE)
# What differs from run to run.
MOVING = (
    (re.compile(r"\d{8}T\d{6}\.\d{3}Z-[0-9a-f]{6}"), "SNAPSHOT"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)"), "TIME"),
    (re.compile(r"migrator-[0-9a-f]{8}"), "migrator-JOB"),
    (re.compile(r"\(\d[\d,.]*/s\)"), "(N/s)"),
    (re.compile(r"\b\d+(\.\d+)? ?s\b"), "N s"),
    (re.compile(r"\b\d[\d.,]* ([kM]?B)\b"), "N B"),
    (re.compile(r'"run":"[0-9a-f]+",'), ""),
    (re.compile(r'"(\w*seconds|stored_bytes)": [\d.]+'), r'"\1": N'),
    # The sandbox proves nothing.
    (re.compile(r', [\d,]+ (of them as )?proven\b( when they were written)?|"proven": \d+(, )?'), ""),
    (re.compile(r"-{3,}"), "---"),
    (re.compile(r"[ \t]+"), " "),
)
# A page's view of a cluster gives no access to its nodes, so that commands say what they could not make sure of.
UNCONFIRMED = re.compile(r"^not confirmed: .* lists one of \d+ copies .*\n?", re.MULTILINE)


class Shell:
    """One bash; what a command exports and where it goes is there for the next one."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.folder, self.environ = folder, environ
        self.end = f"end-{uuid.uuid4().hex}"
        self._bash = subprocess.Popen(
            ["bash", "--norc"],
            cwd=folder,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, command: str) -> tuple[int, str]:
        """Type a command; its exit code and what it printed, to either output."""
        assert self._bash.stdin is not None
        # A here-document ends with its word alone on a line, so the brace has one of its own.
        self._bash.stdin.write(f"{{ {command}\n}} </dev/null\necho {self.end} $?\n".encode())
        self._bash.stdin.flush()
        text, waits, deadline = b"", 0, time.monotonic() + LIMIT_S
        mark = re.compile(rf"{self.end} (\d+)\n".encode())
        with selectors.DefaultSelector() as waiting:
            assert self._bash.stdout is not None
            waiting.register(self._bash.stdout, selectors.EVENT_READ)
            while not (found := mark.search(text)):
                # Not even where something is printed again and again.
                assert time.monotonic() < deadline, f"no end: {command}\n{text!r}"
                if not waiting.select(1.0):
                    # Seconds are counted, not read from a clock: a machine may stand still.
                    waits += 1
                    assert waits < TIMEOUT_S, f"no end in time: {command}\n{text!r}"
                    continue
                piece = os.read(self._bash.stdout.fileno(), 65536)
                assert piece, f"the shell ended: {command}\n{text!r}"
                text += piece
        return int(found[1]), text[: found.start()].decode()

    def run_until(self, command: str, said: str) -> tuple[int, str]:
        """Type a command that goes on and on, and press Ctrl-C when it has said something."""
        log = self.folder / f".until-{uuid.uuid4().hex}"
        with (
            log.open("wb") as output,
            ended(
                subprocess.Popen(
                    ["bash", "-c", f"exec {command}"],
                    cwd=self.folder,
                    env=self.environ,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                )
            ) as process,
        ):
            for _ in range(TIMEOUT_S * 10):
                if re.search(said, log.read_text()) or process.poll() is not None:
                    break
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            code = process.wait(TIMEOUT_S)
        text = log.read_text()
        log.unlink()
        assert re.search(said, text), f"{command} did not say {said}: {text}"
        return code, text

    def close(self) -> None:
        """End the shell and what it has started."""
        with contextlib.suppress(ProcessLookupError), ended(self._bash):
            # What left the group may hold the pipes still, so their end is not waited for.
            os.killpg(self._bash.pid, signal.SIGKILL)


@dataclass
class Stage:
    """Where a page is played: folder, shell, and the views of the server."""

    folder: Path
    server_url: str
    prefix: str
    scene: Scene
    is_couchdb: bool
    views: dict[str, PrivateServer] = field(default_factory=dict)

    def here(self, text: str) -> str:
        """A text of the page with the addresses and folders of this stage."""
        for pattern, instead in self.scene.swap.items():
            text = re.sub(pattern, instead, text)
        text = ROOTED.sub(lambda match: f"{self.folder}{match[0]}", text)
        return HOST.sub(lambda match: self.view(match[1]).url, text)

    def view(self, host: str) -> PrivateServer:
        """The view that stands for a host of the page."""
        if host not in self.views:
            self.views[host] = PrivateServer(self.server_url, f"{self.prefix}{'abcdefgh'[len(self.views)]}_")
        return self.views[host]

    def on_the_page(self, text: str) -> str:
        """What was printed, as it would stand on the page: without the log, and with the page's names."""
        for host, view in self.views.items():
            text = text.replace(view.host, host)
        text = text.replace(f"{self.prefix}", "")
        return LOG_LINE.sub("", text.replace(str(self.folder), READERS_FOLDER)).strip("\n")

    def prepare(self) -> None:
        """Make the files and databases that a page takes for granted."""
        for name in self.scene.copies:
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, self.folder / name)
        for name, text in self.scene.files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.here(text), encoding="utf-8")
            if text.startswith("#!"):
                path.chmod(0o755)
        for url, documents in self.scene.databases.items():
            address = self.here(url)
            view = next(view for view in self.views.values() if address.startswith(view.url))
            name = urlsplit(address).path
            server = self.server_url.rstrip("/") + view.path_at_server(name)
            status, answer = support.request("PUT", server)
            assert status in {201, 202}, answer
            status, answer = support.request("POST", f"{server}/_bulk_docs", {"docs": list(documents)})
            assert status == 201, answer

    def close(self) -> None:
        """Close the views."""
        for view in self.views.values():
            view.__exit__(None, None, None)


def normal(text: str) -> str:
    """A text without what differs from run to run, and without its layout."""
    for pattern, instead in MOVING:
        text = pattern.sub(instead, text)
    return "\n".join(line.strip() for line in text.splitlines()).strip()


def play(
    page: Path,
    folder: Path,
    server_url: str,
    prefix: str,
    *,
    is_couchdb: bool,
    swap: Mapping[str, str],
    with_account: bool = False,
) -> int:
    """Go through a page; how many commands were typed. Each must end with the exit code that is expected of it.

    With an account, the server gets no credentials but those that the page's commands send, as the page tells how.
    """
    scene = scene_of(page)
    scene = replace(scene, swap={**scene.swap, **swap})
    on_cluster = support.is_cluster(server_url)
    if with_account:
        scene, server_url = account_typed(scene, server_url)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("COUCHDB_", "PYTEST_"))}
    programs = f"{folder}/bin:{Path(sys.executable).parent}"
    stage = Stage(folder, server_url, prefix, scene, is_couchdb)
    userinfo = urlsplit(server_url).netloc.rpartition("@")[0]
    environ |= {
        "PATH": f"{programs}:{environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(str(ROOT / path) for path in ("", *scene.modules)),
        **{name: stage.here(value) for name, value in scene.environ.items()},
        "COUCHDB_TEST_URL": f"http://{userinfo}{'@' if userinfo else ''}{stage.view('localhost:5984').host}",
    }
    shell = Shell(folder, environ)
    typed, printed = 0, None
    changed: list[tuple[Block, str]] = []
    try:
        stage.prepare()
        for command in scene.first:
            code, text = shell.run(stage.here(command))
            assert code == 0, f"{command}: {text}"
        for block in blocks(page):
            if block.title == OUTPUT:
                assert printed is not None, f"{block.where}: the output of nothing that was run"
                if normal(printed) != normal(block.body):
                    assert os.environ.get("UPDATE_DOCS"), f"{block.where}: printed was\n{printed}"
                    changed.append((block, printed))
            elif block.title:
                path = folder / block.title
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(stage.here(block.body), encoding="utf-8")
            elif block.language in SHELL:
                texts = [typed_command(block, command, stage, shell) for command in block.commands()]
                said = [text for text in texts if text is not None]
                typed += len(said)
                printed = stage.on_the_page("".join(said)) if said else None
                if printed is not None and on_cluster:
                    printed = UNCONFIRMED.sub("", printed)
            elif block.language in {"python", "py"}:
                (folder / "block.py").write_text(stage.here(block.body), encoding="utf-8")
                code, text = shell.run("python block.py")
                assert code == 0, f"{block.where}: {text}"
                typed += 1
                printed = stage.on_the_page(text)
    finally:
        shell.close()
        stage.close()
    update(page, changed)
    return typed


def account_typed(scene: Scene, server_url: str) -> tuple[Scene, str]:
    """A scene in which a server's credentials are typed where its page says so, and the URL without them."""
    parts = urlsplit(server_url)
    values = {"USER": unquote(parts.username or ""), "PASSWORD": unquote(parts.password or "")}
    words = " ".join(f"COUCHDB_{name}={shlex.quote(value)}" for name, value in values.items())
    swap = {r"COUCHDB_USER=\w+ COUCHDB_PASSWORD=\w+": words.replace("\\", r"\\")}
    url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return replace(scene, swap={**scene.swap, **swap}, not_run={**scene.not_run, ACCOUNT: ""}), url


def typed_command(block: Block, command: str, stage: Stage, shell: Shell) -> str | None:
    """Type one command of a page; what it printed, or None where it cannot be run here."""
    if stage.scene.why_not_run(command):
        return None
    expected = stage.scene.code_of(command, is_couchdb=stage.is_couchdb)
    if said := stage.scene.goes_on_until(command):
        code, text = shell.run_until(stage.here(command), said)
    else:
        code, text = shell.run(stage.here(command))
    assert code == expected, f"{block.where}: {command}\nended with {code}, not {expected}:\n{text}"
    assert "Traceback" not in text, f"{block.where}: {command}\n{text}"
    return text


def update(page: Path, changed: list[tuple[Block, str]]) -> None:
    """Put what was printed into the page, from its end to its beginning."""
    lines = page.read_text(encoding="utf-8").splitlines(keepends=True)
    for block, printed in reversed(changed):
        lines[block.line : block.line + len(block.body.splitlines())] = [
            f"{line}\n" for line in printed.splitlines()
        ]
    if changed:
        page.write_text("".join(lines), encoding="utf-8")
        print(f"{name_of(page)}: {len(changed)} outputs were changed")
