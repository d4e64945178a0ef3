"""Alerts on their way to people: from the outbox through each channel, until they are taken.

Nothing on a call's path waits for any of this. What was taken just before the daemon died is sent
again, under the same id: a receiver that keeps ids gets each alert once.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from agentwatch.core.alert import INFO, Alert
from agentwatch.daemon.events import Events, Follower
from agentwatch.errors import AgentWatchError, AlertsUnavailable
from agentwatch.store.alerts import AlertStore, Delivery, new_alert_id
from agentwatch.webhooks import MOST_TRIES, wait_before

logger = logging.getLogger(__name__)

#: alerts that are on their way at once
AT_ONCE = 16
#: where nothing is due, and where the outbox can't be read
LONGEST_SLEEP_S = 600.0
UNREADABLE_S = 5.0


class Undelivered(AgentWatchError):
    """The receiver did not take a message. `final`: it would not take it another time."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


class Channel(Protocol):
    """A way to people."""

    name: str

    async def deliver(self, alert: Alert, at_s: int) -> None:
        """Deliver an alert; `at_s` is the time of this try. Raises Undelivered."""
        ...


class Courier:
    """Carries what is due. `run` goes on until it is cancelled."""

    def __init__(
        self, alerts: AlertStore, channels: Sequence[Channel], now: Callable[[], float]
    ) -> None:
        self._alerts = alerts
        self._channels = {channel.name: channel for channel in channels}
        self._now = now

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of the channels."""
        return tuple(self._channels)

    async def run(self, told: Events) -> None:
        """Deliver what is due, now and whenever something is told."""
        if not self._channels:
            return
        with told.follow(None) as follower:
            while True:
                try:
                    await self._carry()
                    await self._rest(follower)
                except AlertsUnavailable as error:
                    logger.error("the outbox can't be read: %s", error)
                    await asyncio.sleep(UNREADABLE_S)

    async def test(self) -> list[dict[str, Any]]:
        """Send an alert through every channel at once; how each took it."""
        at = self._now()
        alert = Alert(
            id=new_alert_id(at),
            at=at,
            session_id="test",
            kind="test",
            severity=INFO,
            message="This is a test of AgentWatch's alerts: nothing is wrong.",
        )
        tries = (_tested(channel, alert) for channel in self._channels.values())
        return list(await asyncio.gather(*tries))

    async def _carry(self) -> None:
        while due := await self._alerts.due(self._now(), AT_ONCE):
            await asyncio.gather(*map(self._try, due))

    async def _rest(self, follower: Follower) -> None:
        """Until something is told, or something that failed is due again."""
        next_at = await self._alerts.next_due_at()
        pause = LONGEST_SLEEP_S if next_at is None else min(next_at - self._now(), LONGEST_SLEEP_S)
        try:
            async with asyncio.timeout(max(0.0, pause)):
                await follower.next()
        except TimeoutError:
            return

    async def _try(self, due: Delivery) -> None:
        channel = self._channels.get(due.channel)
        if channel is None:
            self._alerts.died(due.alert.id, due.channel, "this channel is no longer configured")
            return
        try:
            await channel.deliver(due.alert, int(self._now()))
        except Undelivered as error:
            self._failed(due, error)
        except Exception as error:
            logger.exception("an alert's delivery failed")
            self._failed(due, Undelivered(type(error).__name__))
        else:
            self._alerts.delivered(due.alert.id, due.channel)

    def _failed(self, due: Delivery, error: Undelivered) -> None:
        tries = due.attempts + 1
        if error.final or tries >= MOST_TRIES:
            logger.error("alert %s is given up (%s): %s", due.alert.id, due.channel, error)
            self._alerts.died(due.alert.id, due.channel, str(error))
            return
        wait_s = wait_before(tries, random.random())  # noqa: S311 - spreads, and hides nothing
        self._alerts.failed(due.alert.id, due.channel, self._now() + wait_s, str(error))


async def _tested(channel: Channel, alert: Alert) -> dict[str, Any]:
    """How a channel took it."""
    try:
        await channel.deliver(alert, int(alert.at))
    except Undelivered as error:
        return {"channel": channel.name, "delivered": False, "why": str(error)}
    return {"channel": channel.name, "delivered": True, "why": ""}
