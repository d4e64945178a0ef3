"""Telemetry on the control path: a session's records, their removal, figures for Prometheus."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from agentwatch.core.call_record import exported
from agentwatch.daemon.fields import boolean, check_fields, text
from agentwatch.daemon.governor import Governor
from agentwatch.daemon.metrics import CONTENT_TYPE
from agentwatch.daemon.routes import ID, Answer, Asked, Route, row
from agentwatch.errors import UsageError

#: records that are asked for at a time: with payloads each may be megabytes
PAGE, PAGE_OF_PAYLOADS = 500, 20


class TelemetryCalls:
    """The rows of telemetry."""

    def __init__(self, governor: Governor, *, metrics_on_port: bool) -> None:
        self._governor = governor
        self._telemetry = governor.telemetry
        self._metrics_on_port = metrics_on_port

    def routes(self) -> tuple[Route, ...]:
        """The rows of this part."""
        on_port = self._metrics_on_port
        return (
            row("GET", rf"/v1/sessions/{ID}/export", self.export),
            row("POST", r"/v1/purge", self.purge),
            row("GET", r"/metrics", self.metrics, inside=True, port=on_port, anybody=True),
        )

    async def export(self, asked: Asked) -> web.StreamResponse:
        """A session's records as JSON Lines, oldest first; ?payloads=0 leaves out what was said.

        Raises UnknownAccount for a session of which nothing is known, here or in the ledger.
        """
        session, payloads = asked.names["id"], "payloads=0" not in asked.query.split("&")
        page = await self._page(session, 0, payloads)
        if not page["calls"]:
            self._governor.store.ledger.session(session)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(asked.stream)
        while page["calls"]:
            lines = [msgspec.json.encode(exported(call)) + b"\n" for call in page["calls"]]
            await response.write(b"".join(lines))
            page = await self._page(session, page["last"], payloads)
        await response.write_eof()
        return response

    async def _page(self, session: str, after: int, payloads: bool) -> dict[str, Any]:
        limit = PAGE_OF_PAYLOADS if payloads else PAGE
        told: dict[str, Any] = await self._telemetry.ask(
            "calls", session=session, after=after, limit=limit, payloads=payloads
        )
        return told

    async def purge(self, asked: Asked) -> Answer:
        """Remove for good what meets all that is said, or everything (`all`).

        Raises UnknownAccount for a session of which nothing is known, here or in the ledger.
        """
        body = asked.body
        check_fields(body, ("session_id", "project", "before", "all"))
        session = text(body, "session_id")
        what = {
            "session": session,
            "project": text(body, "project"),
            "before": _moment(body.get("before")),
        }
        everything = boolean(body, "all") is True
        if everything == any(value is not None for value in what.values()):
            raise UsageError('say what is to be removed: session_id, project, before, or "all"')
        removed = await self._telemetry.ask("purge", **what)
        if session is not None and not removed["removed"]:
            self._governor.store.ledger.session(session)
        return {"removed": removed["removed"]}

    async def metrics(self, asked: Asked) -> web.StreamResponse:
        """For Prometheus."""
        body = self._telemetry.metrics.text(self._governor)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})


def _moment(given: object) -> float | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 <= given < 1e11:
        raise UsageError("before must be seconds since 1970")
    return float(given)
