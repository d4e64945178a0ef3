"""Alerts on the control path: the last ones, those to come, and that somebody has seen them."""

from __future__ import annotations

from urllib.parse import parse_qs

from aiohttp import web

from agentwatch.daemon.courier import Courier
from agentwatch.daemon.fields import check_fields, texts
from agentwatch.daemon.following import follow
from agentwatch.daemon.routes import Answer, Asked, Route, row
from agentwatch.daemon.watch import Watch, alert_shape
from agentwatch.errors import Refusal, UsageError

#: alerts that one answer has, where nothing else is asked for; and at most
LISTED, MOST_LISTED = 100, 10_000
_ASKED = ("session_id", "limit", "unacked", "follow")


class AlertCalls:
    """The rows below /v1/alerts."""

    def __init__(self, watch: Watch, courier: Courier) -> None:
        self._watch = watch
        self._courier = courier

    def routes(self) -> tuple[Route, ...]:
        """The rows of this part."""
        return (
            row("GET", r"/v1/alerts", self.alerts),
            row("GET", r"/v1/alerts/dead", self.dead),
            row("POST", r"/v1/alerts/ack", self.acknowledge),
            row("POST", r"/v1/alerts/test", self.test),
        )

    async def alerts(self, asked: Asked) -> Answer | web.StreamResponse:
        """The last alerts, or with ?follow=1 those that come from now on."""
        told = {name: values[-1] for name, values in parse_qs(asked.query).items()}
        check_fields(told, _ASKED)
        session_id = told.get("session_id")
        if asked.follows:
            return await follow(asked.stream, self._watch.told, session_id)
        unacked = told.get("unacked") in ("1", "true")
        found = await self._watch.alerts.latest(_limit(told), session_id, unacked=unacked)
        return {"alerts": [alert_shape(alert) for alert in found]}

    async def dead(self, asked: Asked) -> Answer:
        """The last that could not be delivered, and why."""
        dead = await self._watch.alerts.dead(LISTED)
        return {
            "alerts": [
                {
                    **alert_shape(each.alert),
                    "channel": each.channel,
                    "attempts": each.attempts,
                    "why": each.why,
                }
                for each in dead
            ]
        }

    async def test(self, asked: Asked) -> Answer:
        """Send a test through every channel, and tell how each took it."""
        return {"channels": await self._courier.test()}

    async def acknowledge(self, asked: Asked) -> Answer:
        """Somebody has seen these (`ids`), or all of them (`all`)."""
        check_fields(asked.body, ("ids", "all"))
        everything = asked.body.get("all") is True
        ids = texts(asked.body, "ids")
        if everything == bool(ids):
            raise UsageError('say which: {"ids": ["al…"]}, or {"all": true}')
        if not everything:
            await self._check_known(ids)
        new = await self._watch.acknowledge(None if everything else ids)
        return {"acknowledged": new}

    async def _check_known(self, ids: list[str]) -> None:
        unknown = [each for each in ids if each not in await self._watch.alerts.known(ids)]
        if unknown:
            raise Refusal(
                "unknown_alert",
                f"no alert {unknown[0][:64]!r}: `agentwatch alerts ls` lists them",
                status=404,
            )


def _limit(told: dict[str, str]) -> int:
    given = told.get("limit", str(LISTED))
    if not given.isdecimal() or not 1 <= int(given) <= MOST_LISTED:
        raise UsageError(f"limit must be a whole number from 1 to {MOST_LISTED:,}")
    return int(given)
