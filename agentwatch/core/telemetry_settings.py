"""What a home was told of telemetry and risks: the sections [telemetry] and [risks]."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct

if TYPE_CHECKING:
    from agentwatch.core.risk_policy import RiskPolicy

Days = Annotated[float, Meta(gt=0, le=36_500)]
RiskAction = Literal["off", "tag", "redact", "block"]


class TelemetrySettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    #: what is kept of prompts and answers: nothing, their sizes, or their text
    payloads: Literal["none", "metadata", "redacted", "full"] = "metadata"
    retention_days: Days = 30.0
    #: other ages for single projects
    project_retention_days: dict[str, Days] = {}
    max_mb: Annotated[int, Meta(ge=1, le=1_000_000)] = 512
    #: /metrics on the data port as well
    metrics_on_port: bool = False

    @property
    def keeps_text(self) -> bool:
        """Whether what is said is kept at all."""
        return self.payloads in ("redacted", "full")


class RisksSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    #: for every tag that `tags` does not name
    action: RiskAction = "tag"
    tags: dict[str, RiskAction] = {}
    #: tags of one's own, by pattern
    patterns: dict[str, str] = {}
    #: what is no risk: texts, or parts of them with * and ?
    allow: tuple[str, ...] = ()
    #: how long a call may wait for its scan, where something is to be blocked
    block_within_s: Annotated[float, Meta(ge=0.01, le=60)] = 1.0

    def policy(self) -> RiskPolicy:
        """What the scanner goes by. Raises UsageError."""
        # not before: its patterns take a while to compile, and who only reads settings needs none
        from agentwatch.core.risk_policy import RiskPolicy

        return RiskPolicy(self.action, self.tags, self.patterns, self.allow)
