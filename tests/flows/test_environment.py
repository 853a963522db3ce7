"""The environment that every command makes for itself and for what it starts."""

import http.server
import os
import stat
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.proxy import get_proxy
from websockets.uri import parse_uri

from flows.serving.answers import Server
from flows.serving.server import keep_loopback_from_proxies, set_private_environment
from schemas.errors import FlowError

CLOSED = "http://127.0.0.1:9"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without proxies, and put back as it was."""
    before = dict(os.environ)
    for name in before:
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    # made with the first question, it keeps the proxies that there were
    monkeypatch.setattr(urllib.request, "_opener", None)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture
def address() -> Iterator[str]:
    """A server of this machine that answers everything with an empty list."""

    class Empty(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Empty) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_a_proxy_is_not_asked_for_a_server_of_this_machine(
    address: str, name: str, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, CLOSED)
    # Prefect's clients are httpx and websockets
    if name != "ALL_PROXY":
        with pytest.raises(FlowError, match="does not answer"):
            Server(address).ask("/any", method="GET")
    with pytest.raises(httpx.ConnectError):
        httpx.get(address)
    set_private_environment()
    assert Server(address).ask("/any", method="GET") == []
    assert httpx.get(address).json() == []
    assert get_proxy(parse_uri(address.replace("http", "ws"))) is None


@pytest.mark.usefixtures("environment")
def test_other_addresses_keep_their_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", CLOSED)
    monkeypatch.setenv("NO_PROXY", ".example.org, localhost")
    keep_loopback_from_proxies()
    keep_loopback_from_proxies()
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == ".example.org,localhost,127.0.0.1"
    with httpx.Client() as client:
        assert client._transport_for_url(httpx.URL("http://s3.other.org")) is not client._transport
        assert client._transport_for_url(httpx.URL("http://127.0.0.1:4200")) is client._transport


@pytest.mark.usefixtures("environment")
def test_where_no_proxy_is_nothing_is_said_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_loopback_from_proxies()
    assert "no_proxy" not in {name.lower() for name in os.environ}
    monkeypatch.setenv("https_proxy", CLOSED)
    monkeypatch.setenv("no_proxy", "*")
    keep_loopback_from_proxies()
    assert os.environ["no_proxy"] == "*"
    assert "NO_PROXY" not in os.environ


@pytest.mark.usefixtures("environment")
def test_the_folder_of_prefect_is_for_its_owner_alone(state: Path) -> None:
    (state / "prefect").chmod(0o755)
    set_private_environment()
    assert stat.S_IMODE((state / "prefect").stat().st_mode) == 0o700
