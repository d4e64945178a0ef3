"""Paths taken apart as they came on the wire, and what is said of a body that is sent on."""

from __future__ import annotations

from typing import cast

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from agentwatch.daemon.governor import Governor
from agentwatch.daemon.keys import Keys
from agentwatch.daemon.proxy import Proxy, _as_read
from agentwatch.settings import Settings, load_settings
from agentwatch.wire.openai import OpenAI

TOKEN = "aws_" + "a" * 43


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Settings:  # type: ignore[no-untyped-def]
    (tmp_path / "config.toml").write_text('[providers.openai]\npassthrough = ["/v1/files"]\n')
    return load_settings(environ={"AGENTWATCH_HOME": str(tmp_path)})


@pytest.fixture
def proxy(settings: Settings) -> Proxy:
    return Proxy(cast(Governor, None), {"openai": OpenAI()}, cast(Keys, None), settings)


def test_a_path_leads_to_a_provider_below_its_name_alone(proxy: Proxy) -> None:
    assert proxy.target("/openai/v1/x?a=b&c") == ("openai", "/v1/x", "a=b&c", None)
    assert proxy.target(f"/s/{TOKEN}/openai/v1/x") == ("openai", "/v1/x", "", TOKEN)
    assert proxy.target(f"/s/{TOKEN}/openai/v1/x?y") == ("openai", "/v1/x", "y", TOKEN)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "*",
        "/openai",
        "//openai/v1",
        "openai/v1",
        "/OpenAI/v1",
        "/open%61i/v1",
        "/openai%2fv1",
        "/v1/sessions",
        "http://127.0.0.1/openai/v1",
        "/s/aws_short/openai/v1",
        f"/s/{TOKEN}",
        f"/s/{TOKEN}//openai/v1",
        f"/s/{TOKEN}/s/{TOKEN}/openai/v1",
        f"/s/{TOKEN}?/openai/v1",
    ],
)
def test_any_other_path_leads_nowhere(path: str, proxy: Proxy) -> None:
    assert proxy.target(path) is None


@pytest.mark.parametrize(
    ("path", "opened"),
    [
        ("/v1/files", True),
        ("/v1/files/f-1/content", True),
        ("/v1/filesystem", False),
        ("/v1/files/../batches", False),
        ("/v1/files/%2e%2e/batches", False),
        ("/v1/files/..%2fbatches", False),
        ("/v1/files\\..\\batches", False),
        ("/v1/batches", False),
        ("/files", False),
    ],
)
def test_a_path_that_was_opened_opens_no_other(path: str, opened: bool, proxy: Proxy) -> None:
    target = proxy.target("/openai" + path)
    assert target is not None
    assert proxy._is_open(target) is opened


@pytest.mark.parametrize(
    "told",
    [
        [],
        ["application/json; charset=utf-7"],
        ["text/plain"],
        ["application/json", "application/json"],
        ["application/x-www-form-urlencoded"],
    ],
)
def test_a_body_that_was_read_as_json_is_sent_as_json(told: list[str]) -> None:
    headers = CIMultiDict([("X-A", "1"), *(("content-type", value) for value in told)])
    sent = _as_read(CIMultiDictProxy(headers), b"{}", "application/json")
    assert isinstance(sent, CIMultiDict)
    assert sent.getall("Content-Type") == ["application/json"]
    assert sent["X-A"] == "1"


def test_what_is_in_order_is_not_copied() -> None:
    headers = CIMultiDictProxy(CIMultiDict({"content-type": "application/json"}))
    assert _as_read(headers, b"{}", "application/json") is headers
    bare = CIMultiDictProxy(CIMultiDict[str]())
    assert _as_read(bare, b"", "application/json") is bare
