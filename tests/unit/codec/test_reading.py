"""Reading of texts: exact, or refused with the reason and the place."""

import json
import sys
from pathlib import Path

import pytest

from migrator.codec import InvalidDocument, decode, decode_value, encode, one_line, top_level
from tests.support.exactness import same

VECTORS = Path(__file__).parents[2] / "data" / "first-revisions.ndjson"
# Two levels each.
DEPTH = 50_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"n":18446744073709551615}', 2**64 - 1),
        (b'{"n":18446744073709551616}', 2**64),
        (b'{"n":-9223372036854775808}', -(2**63)),
        (b'{"n":-9223372036854775809}', -(2**63) - 1),
        (b'{"n":-9999999999999999999}', -9999999999999999999),
        (b'{"n":' + b"7" * 400 + b"}", int("7" * 400)),
        (b'{"n":' + b"7" * 4300 + b"}", int("7" * 4300)),
        (b'{"n":-0}', 0),
        (b'{"n":-0.0}', -0.0),
        (b'{"n":1.0}', 1.0),
        (b'{"n":1E5}', 100000.0),
        (b'{"n":5e-324}', 5e-324),
        (b'{"n":1e-400}', 0.0),
        (b'{"n":0.1000000000000000055511151231257827}', 0.1),
        (b'{"n":123456789012345678901234567890.5}', 123456789012345678901234567890.5),
        (b'{"n":"\\u0000\\u2028\\ud83d\\ude00\\/"}', "\x00\u2028😀/"),
        (b'{"n":"12345678901234567890123"}', "12345678901234567890123"),
        (b'{"":0,"n":true}', True),
    ],
)
def test_values_come_out_exactly(text: bytes, expected: object) -> None:
    """Numbers beyond 64 bits, signed zeros, tiny floats and odd strings keep value and type."""
    assert same(expected, decode(text)["n"])
    assert same(expected, decode(text.decode())["n"])


def test_every_recorded_document_reads_as_the_standard_library_reads_it() -> None:
    """1,506 odd documents come out of `decode` as out of `json`, and the same again after `encode`."""
    texts = [json.loads(line)["document"] for line in VECTORS.read_text().splitlines()]
    assert len(texts) > 1500
    for text in texts:
        document = decode(text)
        assert same(json.loads(text), document)
        assert same(document, decode(encode(document)))


def test_the_last_of_repeated_keys_counts() -> None:
    """Of two equal keys the last value is taken, as CouchDB does, on the fast and on the exact path."""
    assert decode(b'{"a":1,"a":2}') == {"a": 2}
    assert decode(b'{"a":1,"a":%d}' % 2**70) == {"a": 2**70}


def test_half_a_surrogate_pair_is_kept_by_decode() -> None:
    """A transformer may still fix it, so `decode` lets it through; `encode` refuses it."""
    assert decode(b'{"a":"\\ud800"}') == {"a": "\ud800"}
    assert decode('{"a":"\ud800"}') == {"a": "\ud800"}


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        (b"", "invalid_json", "the text is empty"),
        (b" \n", "invalid_json", "the text is empty"),
        (b'{"a":1', "invalid_json", "at character 6: Expecting ',' delimiter, found the end of the text"),
        (b'{"a":1}}', "invalid_json", "at character 7: Extra data, found '}'"),
        (b'{"a":01}', "invalid_json", "at character 6"),
        (b'{"a":1,}', "invalid_json", "at character 6: Illegal trailing comma, found ',}'"),
        (b"[1 , ]", "invalid_json", "at character 3: Illegal trailing comma"),
        (b"[,]", "invalid_json", "at character 1: Expecting value"),
        (b"{'a':1}", "invalid_json", "at character 1"),
        (b'{"a":"\x01"}', "invalid_json", "Invalid control character"),
        (b'\x0c{"a":1}', "invalid_json", "at character 0"),
        (b'{"a":[0,{"b":NaN}]}', "invalid_json", "a[1].b is NaN, which is not a JSON value"),
        (b'{"a":-Infinity}', "invalid_json", "a is -Infinity, which is not a JSON value"),
        (b"NaN", "invalid_json", "the document is NaN"),
        (b'{"a":NaN,"a":1}', "invalid_json", "a value of a repeated key is NaN"),
        (b'{"a":1e999,"b":{"c":-Infinity},"a":1}', "invalid_json", "b.c is -Infinity"),
        (b'{"a":{"odd key":1e400}}', "number_out_of_range", 'a["odd key"] is the number 1e400'),
        (b'{"a":' + b"9" * 4301 + b"}", "integer_too_long", "a is an integer of 4301 digits"),
        (b'{"a":-' + b"9" * 4301 + b"}", "integer_too_long", "a is an integer of 4301 digits"),
        (b'{"a":"\xff"}', "invalid_utf8", "the byte 0xff at offset 6"),
        (b'{"a":"\xed\xa0\x80"}', "invalid_utf8", "the byte 0xed at offset 6"),
        (b'{"a":"\xc0\x80"}', "invalid_utf8", "the byte 0xc0 at offset 6"),
        (b"\xef\xbb\xbf{}", "byte_order_mark", "byte order mark (of UTF-8)"),
        ('{"a":1}'.encode("utf-16"), "byte_order_mark", "byte order mark (of UTF-16)"),
        (b"[1]", "not_an_object", "found an array"),
        (b'"a"', "not_an_object", "found a string"),
        (b"1", "not_an_object", "found a number"),
        (b"1.5", "not_an_object", "found a number"),
        (b"true", "not_an_object", "found true or false"),
        (b"null", "not_an_object", "found null"),
        (b"123456789012345678901234567890", "not_an_object", "found a number"),
    ],
)
def test_what_is_no_document_is_refused_with_the_reason(text: bytes, error: str, words: str) -> None:
    """Each kind of bad text has one word for machines and a sentence with the place, from both readers."""
    for read in (decode, top_level):
        with pytest.raises(InvalidDocument) as caught:
            read(text)
        assert error == caught.value.error
        assert words in caught.value.reason
        assert caught.value.reason == str(caught.value)


def test_a_byte_order_mark_in_a_string_is_refused_too() -> None:
    """A text that was decoded by someone else says so just the same."""
    with pytest.raises(InvalidDocument) as caught:
        decode('\ufeff{"a":1}')
    assert caught.value.error == "byte_order_mark"


def test_decode_value_reads_any_kind() -> None:
    """Values that are not objects are read by `decode_value`."""
    assert decode_value(b'[1,null,"x",%d]' % 2**80) == [1, None, "x", 2**80]


def test_top_level_refuses_half_a_surrogate_pair_with_its_path() -> None:
    """A text that is passed on unparsed must not hold what CouchDB refuses the whole batch for; keys count."""
    for text, path in ((b'{"a":["\\udfff"]}', "a[0]"), (b'{"b":{"\\ud800":1}}', 'b["\\ud800"]')):
        with pytest.raises(InvalidDocument) as caught:
            top_level(text)
        assert caught.value.error == "lone_surrogate"
        assert caught.value.reason.startswith(f"{path} holds half")


def test_top_level_gives_the_fields_of_long_numbers_too() -> None:
    """Integers that orjson cannot read are not reason to refuse a text."""
    top = top_level(b'{"_id":"a","n":' + b"9" * 400 + b"}")
    assert list(top) == ["_id", "n"]


def test_documents_of_any_depth_are_read() -> None:
    """A hundred thousand levels come out, from objects and arrays, by both readers."""
    text = b'{"a":[' * DEPTH + b'1.5,{"b":"x"}, {} , [ ]' + b"]}" * DEPTH
    for read in (decode, top_level):
        value = read(text)
        depth = 0
        while "a" in value:
            depth += 1
            rest = value["a"][1:]
            value = value["a"][0] if isinstance(value["a"][0], dict) else value["a"][1]
        assert depth == DEPTH
        assert rest == [{"b": "x"}, {}, []]


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        ("", "Expecting value, found '}"),
        ("[1 2]", "Expecting ',' delimiter"),
        ('{"a" 1}', "Expecting ':' delimiter"),
        ("{1:2}", "Expecting property name"),
        ('{"a":1,}', "Illegal trailing comma, found ',}"),
        ("[1,\n]", "Illegal trailing comma, found ',\\n]"),
        ('"\n"', "Invalid control character"),
        ("1]]", "Expecting ',' delimiter"),
    ],
)
def test_a_fault_deep_inside_is_found(tail: str, words: str) -> None:
    """Where the fast readers give up for the depth, bad JSON is told as clearly."""
    with pytest.raises(InvalidDocument) as caught:
        decode('{"a":' * 5000 + tail + "}" * 5000)
    assert caught.value.error == "invalid_json"
    assert words in caught.value.reason


def test_a_number_out_of_range_deep_inside_is_named_in_short() -> None:
    """The path of a value thousands of levels down is told by its ends."""
    with pytest.raises(InvalidDocument) as caught:
        decode('{"a":' * 5000 + "1e999" + "}" * 5000)
    assert caught.value.error == "number_out_of_range"
    assert "(5000 levels deep)" in caught.value.reason
    assert len(caught.value.reason) < 200


def test_text_after_a_deep_document_is_refused() -> None:
    """Extra data is found after a document of any depth."""
    with pytest.raises(InvalidDocument, match="Extra data"):
        decode('{"a":' * 5000 + "1" + "}" * 5000 + " {}")


def test_one_line_takes_out_breaks_and_nothing_else() -> None:
    """Line breaks between tokens go, those escaped in strings stay, every value is the same."""
    text = b'{\r\n "a" : "x\\n\\r y",\n\t"b":[1.10,\n123456789012345678901234]\n}\n'
    line = one_line(text)
    assert line == b'{ "a" : "x\\n\\r y",\t"b":[1.10,123456789012345678901234]}'
    assert same(decode(text), decode(line))


def test_the_limit_on_digits_is_pythons_own() -> None:
    """A process that sets another limit on integers' digits gets what it asked for."""
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        assert decode(b'{"a":1' + b"0" * 5000 + b"}")["a"] == 10**5000
    finally:
        sys.set_int_max_str_digits(limit)
