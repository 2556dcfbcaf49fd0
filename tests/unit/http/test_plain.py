"""What can be read at a glance is what httptools reads; whatever is in doubt is not."""

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from shared.http import plain as module
from shared.http.plain import BODY_BYTES, HEAD_BYTES, Shape, plain_head, shape_of

GOOD = b"POST /v1/sources/k HTTP/1.1\r\nHost: x\r\nX-Signature: ab, c\r\nContent-Length: 4\r\n\r\n"


def shape(*heads: bytes) -> Shape | None:
    one, other = (plain_head(head) for head in heads)
    assert one is not None
    assert other is not None
    return shape_of(one, other)


SHAPE = shape(GOOD, GOOD.replace(b": 4", b": 5").replace(b"ab, c", b"abc"))


class Reader:
    """What httptools makes of bytes."""

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.url, self.headers, self.body = b"", [], b""
        self.heads = self.ends = 0

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower().decode(), value.decode()))

    def on_headers_complete(self) -> None:
        self.heads += 1

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.ends += 1


def agrees(data: bytes) -> bool:
    """Whether `data` is plain; then httptools must read the same from it, to the byte."""
    plain = plain_head(data)
    by_shape = plain_head(data, SHAPE)
    if plain is None:
        assert by_shape is None
        return False
    assert by_shape is not None
    assert replace(by_shape, lines=plain.lines) == plain
    data = data[: plain.end].ljust(plain.end, b"x")
    reader = Reader()
    if plain.end > plain.body:
        reader.parser.feed_data(data[:-1])
        assert (reader.heads, reader.ends) == (1, 0)
        reader.parser.feed_data(data[-1:])
    else:
        reader.parser.feed_data(data)
    assert (reader.heads, reader.ends) == (1, 1)
    assert reader.parser.get_method() == b"POST"
    assert reader.parser.get_http_version() == "1.1"
    assert reader.parser.should_keep_alive()
    assert not reader.parser.should_upgrade()
    assert reader.url.decode() == plain.url
    assert reader.headers == list(plain.headers.items())
    assert reader.body == data[plain.body :]
    reader.parser.feed_data(data)  # and it stands before another request
    assert reader.ends == 2
    return True


def test_a_plain_request_is_read() -> None:
    plain = plain_head(GOOD + b"body" + GOOD)
    assert plain is not None
    assert plain.url == "/v1/sources/k"
    assert plain.headers == {"host": "x", "x-signature": "ab, c", "content-length": "4"}
    assert (GOOD + b"body")[plain.body : plain.end] == b"body"
    assert agrees(GOOD + b"body")
    assert agrees(GOOD.replace(b"Host: x", b"Connection: Keep-Alive"))
    assert agrees(GOOD.replace(b": 4", b": 0"))
    assert agrees(GOOD.replace(b": 4", b": %d" % BODY_BYTES))


@pytest.mark.parametrize(
    ("what", "by"),
    [
        (b"POST", b"GET"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"/k HTTP", b"/k  HTTP"),
        (b"/k", b"/\x7fk"),
        (b"Host: x", b"Transfer-Encoding: chunked"),
        (b"Host: x", b"Transfer-Encoding : chunked"),
        (b"Host: x", b"Expect: 100-continue"),
        (b"Host: x", b"Upgrade: h2c"),
        (b"Host: x", b"Connection: close"),
        (b"Host: x", b"Connection: keep-alive, upgrade"),
        (b"Host: x", b"content-length: 4"),
        (b"Host: x", b"Host:x"),
        (b"Host: x", b"Host: "),
        (b"Host: x", b"Host:  x"),
        (b"Host: x", b"Host: x "),
        (b"Host: x", b"Host"),
        (b"Host: x", b": x"),
        (b"Host: x", b"Host: x\r\n folded"),
        (b"Host: x", b"Host: x\rX: y"),
        (b"Host: x", b"Host: x\nX: y"),
        (b"Host: x", b"Host: \xc3\xa7"),
        (b"Host: x", b"Host: x\x00"),
        (b"Host: x", b"H\xe2\x84\xaaost: x"),
        (b": 4", b": +4"),
        (b": 4", b": 4, 4"),
        (b": 4", b": 0x4"),
        (b": 4", b": -4"),
        (b": 4", b": %d" % (BODY_BYTES + 1)),
        (b": 4", b": 0000004"),
        (b"Content-Length: 4\r\n", b""),
        (b"\r\n\r\n", b"\r\n"),
        (b"\r\n\r\n", b"\n\n"),
        (b"Host: x", b"Host: " + b"x" * HEAD_BYTES),
    ],
    ids=range(33),
)
def test_what_is_in_doubt_is_not(what: bytes, by: bytes) -> None:
    assert plain_head(GOOD.replace(what, by, 1)) is None
    assert plain_head(GOOD.replace(what, by, 1), SHAPE) is None


NAMES = st.sampled_from(
    [b"Host", b"X-A", b"Content-Length", b"Transfer-Encoding", b"Connection", b"x\xa0", b"A B", b""]
)
VALUES = st.sampled_from([b"4", b"0", b"04", b"chunked", b"keep-alive", b"a b", b"a\tb", b" a", b"", b"\x0b4", b"\xff"])
LINES = st.tuples(
    NAMES, st.sampled_from([b": ", b":", b" : ", b":\t"]), VALUES, st.sampled_from([b"\r\n", b"\n", b"\r"])
)
HEADS = st.builds(
    lambda start, lines, end: start + b"".join(b"".join(line) for line in lines) + end,
    st.sampled_from(
        [b"POST /k HTTP/1.1\r\n", b"POST /k?a=b#c HTTP/1.1\r\n", b"POST / HTTP/1.1\n", b"\r\nPOST / HTTP/1.1\r\n"]
    ),
    st.lists(LINES, max_size=5),
    st.sampled_from([b"\r\n", b"Content-Length: 4\r\n\r\n", b"\n"]),
)


@settings(max_examples=500)
@given(HEADS, st.binary(max_size=8))
def test_any_head_is_read_as_httptools_reads_it_or_not_at_all(head: bytes, body: bytes) -> None:
    agrees(head + body)


@settings(max_examples=500)
@given(st.integers(0, len(GOOD)), st.integers(0, len(GOOD)), st.binary(max_size=4))
def test_any_byte_may_be_another_one(first: int, last: int, by: bytes) -> None:
    agrees(GOOD[:first] + by + GOOD[last:] + b"body")


def test_heads_of_one_sender_have_a_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SHAPE is not None
    assert SHAPE.names == ("x-signature", "content-length")
    assert SHAPE.match(GOOD.replace(b"ab, c", b"0123").replace(b": 4", b": 40"))
    assert not SHAPE.match(GOOD.replace(b"Host: x", b"Host: y"))
    assert shape(GOOD, GOOD.replace(b"/k", b"/l")) is None
    assert shape(GOOD, GOOD.replace(b"Host", b"Most")) is None
    assert shape(GOOD, GOOD.replace(b"Host", b"HOST").replace(b": x", b": y")) is None
    monkeypatch.setattr(module, "_MOST_SHAPES", len(module._SHAPES))
    assert shape(GOOD, GOOD.replace(b"Host: x", b"Host: new")) is None, "there are enough"
    assert shape(GOOD, GOOD.replace(b": 4", b": 5").replace(b"ab, c", b"abc")) is SHAPE
