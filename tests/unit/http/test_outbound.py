"""The client behind the wall, against a real listener that counts connections."""

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shared.http.addresses import UNREACHABLE, AddressRefused
from shared.http.outbound import ANSWER_LIMIT_BYTES, Answer, NoAnswer, NotSent, OutboundClient
from tests.support.http_receiver import HttpReceiver, http_receiver


@pytest.fixture
async def hook() -> AsyncIterator[HttpReceiver]:
    async with http_receiver() as receiver:
        yield receiver


def resolving(*addresses: str) -> "Resolver":
    return Resolver([list(addresses)])


class Resolver:
    """Answers differently each time, as a rebinding name server does."""

    def __init__(self, answers: Sequence[Sequence[str]]) -> None:
        self.answers = list(answers)
        self.calls = 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.calls += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


INSIDE = [
    "127.0.0.1",
    "::1",
    "::ffff:127.0.0.1",
    "10.1.2.3",
    "169.254.169.254",
    "64:ff9b::7f00:1",
    "0.0.0.0",
    "fe80::1%lo",
]


@pytest.mark.parametrize("address", INSIDE)
@pytest.mark.parametrize("others", [[], ["93.184.215.14"], ["2606:4700::1111"]])
async def test_a_name_that_points_inside_is_refused(hook: HttpReceiver, address: str, others: list[str]) -> None:
    client = OutboundClient(resolver=resolving(*others, address))
    with pytest.raises(AddressRefused) as refused:
        await client.post("https://attacker.example:8443/", b"x", {})
    await client.close()
    assert (refused.value.detail, hook.connections) == (UNREACHABLE, 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f000001", "127.1", "①②⑦.⓪.⓪.①"])
async def test_the_listener_sees_no_packet(hook: HttpReceiver, host: str) -> None:
    client = OutboundClient()
    for scheme in ("http", "https"):
        with pytest.raises(AddressRefused):
            await client.post(f"{scheme}://{host}:{hook.port}/", b"x", {})
    await client.close()
    assert hook.connections == 0


async def test_a_name_is_resolved_once_and_the_checked_address_is_the_one_called(hook: HttpReceiver) -> None:
    resolver = Resolver([["127.0.0.1"], ["169.254.169.254"]])
    client = OutboundClient(allow_private=True, resolver=resolver)
    answer = await client.post(f"http://rebinding.example:{hook.port}/path?q=1", b"body", {"X-Test": "1"})
    assert (answer.status, resolver.calls) == (200, 1)
    [received] = hook.received
    assert received.line == "POST /path?q=1 HTTP/1.1"
    assert received.headers["host"] == f"rebinding.example:{hook.port}"
    assert received.headers["accept-encoding"] == "identity"
    assert received.body == b"body"
    with pytest.raises(AddressRefused):
        await client.post(f"http://rebinding.example:{hook.port}/", b"", {})
    await client.close()
    assert hook.connections == 1


async def test_a_proxy_of_the_environment_is_ignored(hook: HttpReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    async with http_receiver() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        client = OutboundClient(allow_private=True)
        await client.post(hook.url(), b"", {})
        await client.close()
        assert (hook.connections, proxy.connections) == (1, 0)


async def test_a_redirect_is_an_answer_and_is_not_followed(hook: HttpReceiver) -> None:
    async with http_receiver() as inside:
        hook.answers = [f"HTTP/1.1 302 Found\r\nlocation: {inside.url()}\r\ncontent-length: 0\r\n\r\n".encode()]
        client = OutboundClient(allow_private=True)
        assert (await client.post(hook.url(), b"", {})).status == 302
        await client.close()
        assert inside.connections == 0


async def test_only_so_much_of_an_answer_is_read(hook: HttpReceiver) -> None:
    hook.answers = [b"HTTP/1.1 500 No\r\ncontent-length: 1000000000\r\n\r\n" + b"x" * 1_000_000]
    client = OutboundClient(allow_private=True)
    answer = await client.post(hook.url(), b"", {})
    await client.close()
    assert (answer.status, len(answer.body)) == (500, ANSWER_LIMIT_BYTES)


async def test_a_get_goes_through_the_same_wall_and_says_if_the_body_is_whole(hook: HttpReceiver) -> None:
    resolver = Resolver([["127.0.0.1"], ["169.254.169.254"]])
    body = b"x" * 60_000
    whole = b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n" + body
    hook.answers = [whole, whole, b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart"]
    client = OutboundClient(allow_private=True, resolver=resolver, total_seconds=1.0)
    url = f"http://rebinding.example:{hook.port}/v3/surveys?q=1"
    answer = await client.get(url, {"Authorization": "Bearer t"}, limit_bytes=60_000)
    assert (answer.status, answer.body, answer.whole) == (200, body, True)
    [received] = hook.received
    assert received.line == "GET /v3/surveys?q=1 HTTP/1.1"
    assert (received.headers["authorization"], received.headers["host"]) == (
        "Bearer t",
        f"rebinding.example:{hook.port}",
    )
    assert (received.headers["accept-encoding"], received.body) == ("identity", b"")
    with pytest.raises(AddressRefused):
        await client.get(url, {})
    cut = await client.get(hook.url(), {}, limit_bytes=59_999)
    assert (len(cut.body), cut.whole) == (59_999, False)
    broken = await client.get(hook.url(), {})
    assert (broken.body, broken.whole) == (b"part", False)
    await client.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433"])
async def test_a_get_sends_no_packet_inside(hook: HttpReceiver, host: str) -> None:
    client = OutboundClient()
    for scheme in ("http", "https"):
        with pytest.raises(AddressRefused):
            await client.get(f"{scheme}://{host}:{hook.port}/", {})
    await client.close()
    assert hook.connections == 0


@pytest.mark.parametrize("answer", ["drop", "hang", b"not http at all\r\n\r\n"])
async def test_a_get_without_an_answer_says_so(hook: HttpReceiver, answer: bytes | str) -> None:
    hook.answers = [answer]
    client = OutboundClient(allow_private=True, total_seconds=0.3)
    with pytest.raises(NoAnswer):
        await client.get(hook.url(), {})
    await client.close()


async def test_a_compressed_answer_is_not_inflated(hook: HttpReceiver) -> None:
    hook.answers = [b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\n\x1f\x8b\x08"]
    client = OutboundClient(allow_private=True)
    assert (await client.post(hook.url(), b"", {})).body == b"\x1f\x8b\x08"
    await client.close()


async def test_the_status_counts_even_if_the_body_never_ends(hook: HttpReceiver) -> None:
    hook.answers = [b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart"]
    client = OutboundClient(allow_private=True, total_seconds=0.5)
    assert (await client.post(hook.url(), b"", {})).body == b"part"
    await client.close()


@pytest.mark.parametrize("answer", ["drop", "hang", b"not http at all\r\n\r\n"])
async def test_no_answer_may_have_arrived(hook: HttpReceiver, answer: bytes | str) -> None:
    hook.answers = [answer]
    client = OutboundClient(allow_private=True, total_seconds=0.3)
    with pytest.raises(NoAnswer) as lost:
        await client.post(hook.url(), b"", {})
    await client.close()
    assert "after the message was sent" in lost.value.detail
    assert len(hook.received) == 1


async def test_nobody_there_and_no_such_name_say_the_same(hook: HttpReceiver) -> None:
    async with http_receiver() as gone:
        url = gone.url()

    async def unknown(host: str, port: int) -> Sequence[str]:
        raise OSError("no such name")

    async def hanging(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    clients = [
        (OutboundClient(allow_private=True), url),
        (OutboundClient(resolver=unknown), "https://nowhere.example/"),
        (OutboundClient(resolver=resolving()), "https://nowhere.example/"),
        (OutboundClient(resolver=hanging, connect_seconds=0.1), "https://nowhere.example/"),
    ]
    for client, target in clients:
        with pytest.raises(NotSent) as refused:
            await client.post(target, b"", {})
        await client.close()
        assert refused.value.detail == UNREACHABLE


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1" * 30, None),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 0.0),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert Answer(503, {"retry-after": value}, b"").retry_after_seconds() == seconds


def certificate(folder: Path, name: str) -> ssl.SSLContext:
    """A server's TLS context for `name`, signed by itself; its certificate is at folder/cert.pem."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(built.public_bytes(pem))
    plain = serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


async def test_tls_is_checked_against_the_name_and_not_the_address(tmp_path: Path) -> None:
    context = certificate(tmp_path, "hooks.example")
    names: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    receiver = HttpReceiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    trusting = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    client = OutboundClient(allow_private=True, resolver=resolving("127.0.0.1"), tls=trusting)
    try:
        assert (await client.post(f"https://hooks.example:{port}/", b"", {})).status == 200
        with pytest.raises(NotSent):
            await client.post(f"https://other.example:{port}/", b"", {})
    finally:
        await client.close()
        server.close()
    assert names == ["hooks.example", "other.example"]
    assert len(receiver.received) == 1
