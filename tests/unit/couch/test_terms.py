"""The compiled part of revisions, built from the source as it stands, and the Python that it must agree with."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.couch import revision
from migrator.couch.revision import first_revision, revision_after
from migrator.couch.validate import screen
from migrator.model import Record
from migrator.pipeline.batching import Assembly
from tests.property.test_revision import DOCUMENTS
from tests.support.compiled import ROOT, build, compiler, load
from tests.support.processes import LIMIT_S

DATA = ROOT / "tests" / "data"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The compiled part."""
    if compiler() is None:
        pytest.skip("there is no C compiler with Python's headers here")
    return load(build(tmp_path_factory.mktemp("compiled")))


@pytest.fixture(params=["compiled", "python"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Revisions by compiled code, and by Python alone."""
    terms = request.getfixturevalue("built").read if request.param == "compiled" else None
    monkeypatch.setattr(revision, "compiled_terms", terms)


def lines(name: str) -> list[dict[str, Any]]:
    """Documents with the revisions that a real server gave them."""
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


@pytest.mark.usefixtures("either")
def test_both_give_what_a_real_server_gave() -> None:
    """1,506 first revisions and 300 of updates, each as the server said."""
    first, updates = lines("first-revisions.ndjson"), lines("update-revisions.ndjson")
    assert [line["rev"] for line in first] == [first_revision(line["document"]) for line in first]
    assert [line["rev"] for line in updates] == [
        revision_after(line["document"], line["parent"]) for line in updates
    ]
    assert (len(first), len(updates)) == (1506, 300)


def reference(text: bytes) -> bytes:
    """What the Python makes of a text without special fields."""
    return revision.terms(revision._decode(text))


@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 0, 3]))
def test_both_make_the_same_terms(
    built: ModuleType, document: dict[str, Any], ascii_only: bool, indent: int | None
) -> None:
    """Byte for byte, however the text is spelled; where it leaves it to the Python, that is asked."""
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode()
    id = document.get("_id")
    assert built.read(text, b"head", b"tail") in {None, (id, b"head" + reference(text) + b"tail")}


@pytest.mark.usefixtures("either")
@given(
    DOCUMENTS, st.sampled_from([{}, {"_id": "a"}, {"_id": "_x"}, {"_id": ""}, {"_id": 1}, {"_id": "_design/x"}])
)
def test_what_is_recognized_is_what_parsing_and_screening_let_pass(
    document: dict[str, Any], special: dict[str, Any]
) -> None:
    """The same document, with the first revision; and nothing that would have been refused."""
    text = json.dumps({**document, **special}, ensure_ascii=False).encode(errors="surrogatepass")
    found = revision.recognized(text)
    screened = Assembly(screen=partial(screen, max_document_bytes=8_000_000)).assemble(Record(0, text=text))
    assert found is None or (
        found._replace(rev=None) == screened and found.rev == first_revision(text) is not None
    )


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"_id":"a"}',
        '{"_id":"_design/a","a":{"_id":1,"_rev":2}}',
        '{"a":[1,255,0],"b":[1,256],"c":[1,true],"d":[],"e":{},"f":[[],{}],"g":[-1]}',
        '{"a":0.0,"b":-0.0,"c":1.5e3,"d":0.1,"e":1E5,"f":123456.789e-12}',
        '{"a":-1,"b":2147483647,"c":2147483648,"d":-2147483648,"e":-2147483649,"f":999999999999999999}',
        ' { "a" : [ 1 , null ] ,\n"b":\ttrue,"c":false}\r\n',
        '{"a":"\\u00e9\\ud83d\\ude00\\n\\/\\"\\\\","\\u0000":"€é😀"}',
        json.dumps({"a": [255] * 65_535, "b": [0] * 65_536, "c": "x" * 70_000}),
        json.dumps({str(n): n for n in range(1_999)}),
        '{"deep":' + "[" * 100_000 + '{"a":1}' + "]" * 100_000 + "}",
    ],
    ids=lambda text: text[:40],
)
def test_plain_documents_need_no_reference(built: ModuleType, text: str) -> None:
    """They are the usual ones, for which it is there."""
    id = json.loads(text).get("_id") if len(text) < 100_000 else None
    assert built.read(text.encode(), b"", b"") == (id, revision.terms(without_id(text)))


def without_id(text: str) -> dict[str, Any]:
    """What enters the body."""
    return {key: value for key, value in revision._decode(text.encode()).items() if key != "_id"}


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "null",
            "[]",
            "1",
            '"a"',
            "{",
            "}",
            '{"a"}',
            '{"a":}',
            '{"a":1,}',
            '{"a":1}}',
            '{"a":1} x',
            "{,}",
        ),
        *('{"a":[1,]}', '{"a":[,1]}', '{"a":[1 2]}', '{"a":[1}', '{"a":{]}', "{'a':1}", '{"a":1 "b":2}', "{a:1}"),
        *('{"a":01}', '{"a":-}', '{"a":1.}', '{"a":.5}', '{"a":1e}', '{"a":+1}', '{"a":NaN}', '{"a":Infinity}'),
        *('{"a":nul}', '{"a":truex}', '{"a":"\\x"}', '{"a":"\\u12g4"}', '{"a":"\\u123"}', '{"a":"b', '{"a":"\\'),
        *('{"a":"\\ud800"}', '{"a":"\\udc00"}', '{"a":"\\ud800\\u0041"}', '{"a":"\n"}', '{"a":"\x00"}', "﻿{}"),
        # What only the reference is certain of, or nobody.
        *('{"a":1,"a":2}', '{"a":{"b":1,"b":1}}', '{"a":-0}', '{"a":1000000000000000000}', '{"a":5e-324}'),
        *('{"a":1e400}', '{"a":1e-400}', '{"a":2.2250738585072014e-308}', '{"a":' + "1" * 32 + "e1}"),
        *('{"_rev":"1-a"}', '{"_deleted":true}', '{"_attachments":{}}', '{"_x":1}', '{"_id":1}', '{"_id":""}'),
        *('{"_id":"_x"}', '{"_id":"_design/"}', '{"_id":"a","_id":"a"}', '{"_id":"a","_id":"b"}'),
        json.dumps({str(n): n for n in range(2_001)}),
    ],
    ids=lambda text: repr(text[:40]),
)
def test_all_else_is_left_to_the_reference(built: ModuleType, text: str) -> None:
    """It refuses nothing, and is certain of nothing, by itself."""
    assert built.read(text.encode(), b"", b"") is None


@pytest.mark.parametrize(
    "bad",
    [b"\xff", b"\xc0\x80", b"\xc3", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80"],
)
def test_bytes_that_are_no_text_are_left_to_the_reference(built: ModuleType, bad: bytes) -> None:
    """In a value, in a key, and at the end."""
    for text in (b'{"a":"%s"}' % bad, b'{"%s":1}' % bad, b'{"a":"%s' % bad):
        assert built.read(text, b"", b"") is None


@pytest.mark.parametrize(
    "arguments", [(), (b"{}",), (b"{}", b""), ("{}", b"", b""), (b"{}", 1, b""), ({}, b"", b"")], ids=repr
)
def test_other_arguments_are_errors(built: ModuleType, arguments: tuple[Any, ...]) -> None:
    """And no crash."""
    with pytest.raises(TypeError):
        built.read(*arguments)


def test_odd_texts_under_the_sanitizers(tmp_path: Path) -> None:
    """A moment of what `scripts/fuzz` does for longer: no fault of memory, and no difference."""
    cc = compiler()
    if (
        cc is None
        or not Path(
            subprocess.check_output([cc, "-print-file-name=libasan.so"], text=True, timeout=LIMIT_S).strip()
        ).is_absolute()
    ):
        pytest.skip("there is no C compiler with sanitizers here")
    words = [sys.executable, "-m", "tests.reliability.fuzz_terms", "--seconds", "1", "--seed", "1"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    assert "no difference, no fault" in done.stdout
