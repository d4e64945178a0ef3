"""The ways to people that the configuration names."""

from __future__ import annotations

from agentwatch.daemon.courier import Channel
from agentwatch.daemon.notify import Notify
from agentwatch.daemon.webhook import Webhook
from agentwatch.sections import AlertsSettings


def channels_of(settings: AlertsSettings) -> list[Channel]:
    """A channel for each way that is configured. Raises SettingsError for one that can't be."""
    channels: list[Channel] = []
    if settings.webhook_url:
        channels.append(
            Webhook(
                settings.webhook_url,
                settings.webhook_secret,
                allow_private=settings.webhook_allow_private,
            )
        )
    if settings.notify:
        channels.append(Notify(settings.notify))
    return channels
