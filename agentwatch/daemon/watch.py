"""Watches every session's calls, and does something about what is wrong: tells, pauses, kills.

The governor tells it of each call's beginning and end. It works in memory, in microseconds, before
the last of an answer goes out, so that a session that is to be paused is so before its next call.
What it finds is kept and delivered elsewhere, in its own time. A fault in here costs alerts, and
never a call.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from agentwatch.core import accounts as acc
from agentwatch.core import entries as e
from agentwatch.core.accounts import Session
from agentwatch.core.alert import (
    ALERT,
    FAMILY_OF,
    KILL,
    OVERDRAFT,
    PAUSE,
    PROMPT_GROWTH,
    UNDURABLE,
    WARNING,
    Alert,
    stronger,
)
from agentwatch.core.anomaly import Begun, Change, Ended, Finding, Lane, Limits, Name
from agentwatch.core.anomaly_session import Watched
from agentwatch.core.money import to_usd, usd_text
from agentwatch.core.prompt_sizes import lane_key
from agentwatch.daemon.events import Events
from agentwatch.daemon.flight import Over
from agentwatch.errors import AlertsUnavailable, LedgerError
from agentwatch.sections import AnomaliesSettings
from agentwatch.store.alerts import AlertStore, new_alert_id
from agentwatch.store.store import Store
from agentwatch.wire.dialect import Ask

logger = logging.getLogger(__name__)

#: sessions that are watched, and whose alerts are shown with them; the one that was quiet for
#: longest starts anew
MOST_SESSIONS = 2_000
#: of a session's alerts, so many are shown with it, and so many are kept at all: who makes
#: thousands is not to push others' out
SHOWN = 20
MOST_OF_A_SESSION = 500


class _Open(NamedTuple):
    """What was done about something that is not over. `alert_id`: None where another of its
    family was told already."""

    action: str
    alert_id: str | None


class _Session:
    """What is known of one session; `growing` from before it was forgotten."""

    def __init__(self, session: Session, limits: Limits, growing: dict[Name, _Open]) -> None:
        self.watched = Watched(limits, session.prompt_sizes, growing)
        self.open = growing
        #: nanos beyond what was held, as they were told
        self.overdraft: int | None = None


class _Told:
    """What was told of one session."""

    def __init__(self) -> None:
        self.shown: deque[Alert] = deque(maxlen=SHOWN)
        self.count = 0
        #: why we paused or killed it ourselves
        self.why = ""

    def change(self, alert_id: str, **fields: float) -> None:
        """Something became of an alert."""
        for number, alert in enumerate(self.shown):
            if alert.id == alert_id:
                self.shown[number] = msgspec.structs.replace(alert, **fields)


class Watch:
    """All sessions. Belongs to the daemon's loop."""

    def __init__(
        self,
        store: Store,
        alerts: AlertStore,
        settings: AnomaliesSettings,
        events: Events,
        channels: Sequence[str] = (),
    ) -> None:
        self.alerts = alerts
        #: alerts as they come, for who follows them
        self.told = Events()
        #: what they are delivered through
        self.channels = channels
        self._store = store
        self._settings = settings
        self._limits = settings.limits
        self._events = events
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        #: prompts that grew when their session was watched last, or by the process before this one
        self._growing: dict[str, dict[Name, _Open]] = {}
        self._told: OrderedDict[str, _Told] = OrderedDict()
        store.listen(self._heard)

    async def open(self) -> None:
        """Read what was told before this process began. Sessions are judged anew from here on, so
        what was open is over, but for `prompt_growth`: the ledger has all that it is judged by."""
        self.alerts.open()
        try:
            growing = filter(self._goes_on, await self.alerts.unended(PROMPT_GROWTH))
            for alert in growing:
                known = self._growing.setdefault(alert.session_id, {})
                known[PROMPT_GROWTH, _lane_of(alert)] = _Open(alert.action, alert.id)
            self.alerts.end_all(self._store.now(), but=self._growing_ids())
            for alert in await self.alerts.latest(2_000):
                for name in self._shown_with(alert.session_id):
                    self._told_of(name).shown.append(alert)
        except AlertsUnavailable as error:
            logger.error("what was told before is not known: %s", error)

    def _goes_on(self, alert: Alert) -> bool:
        """Whether the lane's next prompt will tell if these grow on."""
        session = self._store.ledger.sessions.get(alert.session_id)
        if session is None or session.state_at(self._store.now()) == acc.CLOSED:
            return False
        return bool(session.prompt_sizes.get(lane_key(*_lane_of(alert))))

    def _growing_ids(self) -> list[str]:
        found = (each for known in self._growing.values() for each in known.values())
        return [each.alert_id for each in found if each.alert_id]

    # ---- what the governor tells

    def begun(self, session: Session, iteration: int, ask: Ask, tokens: int | None = None) -> Begun:
        """A call was let through. `tokens`: its input, where who asks has counted it."""
        call = Begun(
            at=self._store.now(),
            iteration=iteration,
            lane=(ask.model, ask.thread),
            bound=0 if ask.input_by_reference else ask.input_bound,
            tokens=tokens,
            request=ask.marks.request,
            last=ask.marks.last,
            error=ask.marks.error,
            text=ask.marks.text,
        )
        try:
            known = self._known(session)
            if known.overdraft is None:
                known.overdraft = session.overdraft
            self._take(session, known, known.watched.begun(call))
        except Exception:
            logger.exception("a call's beginning was not watched")
        return call

    def ended(self, session: Session, call: Begun, how: Over) -> None:
        """It is over."""
        end = Ended(
            call=call,
            at=self._store.now(),
            tokens=how.tokens,
            nanos=how.nanos,
            failed=how.failed,
            step=how.step,
            ceiling=session.ceiling,
            left=session.room,
        )
        known = self._sessions.get(session.name)
        if known is None:
            return  # killed, closed or judged anew since it began
        try:
            self._take(session, known, known.watched.ended(end))
            if session.overdraft > (known.overdraft or 0):
                self._overdrawn(session, known)
        except Exception:
            logger.exception("a call's end was not watched")

    def undurable(self, session: Session, why: str) -> None:
        """A call of this session's passed without a durable hold; told once until that is over."""
        known = self._known(session)
        if (UNDURABLE, None) not in known.open:
            message = f"calls pass without a durable hold: {why}"
            self._open(session, known, (UNDURABLE, None), Finding(UNDURABLE, WARNING, message, {}))

    def durable(self, session: Session) -> None:
        """Holds are durable again."""
        known = self._sessions.get(session.name)
        if known is not None and known.open:
            self._over(session.name, known.open.pop((UNDURABLE, None), None))

    def _overdrawn(self, session: Session, known: _Session) -> None:
        more = session.overdraft - (known.overdraft or 0)
        known.overdraft = session.overdraft
        message = f"a call cost ${usd_text(more)} more than was held for it"
        figures = {"usd": to_usd(more), "overdraft_usd": to_usd(session.overdraft)}
        alert = self._alert(session, Finding(OVERDRAFT, WARNING, message, figures), ALERT)
        self._tell(alert)
        self._over(session.name, _Open(ALERT, alert.id))

    # ---- what is shown

    def of(self, session_id: str) -> list[dict[str, Any]]:
        """A session's last alerts, the oldest first."""
        told = self._told.get(session_id)
        return [] if told is None else [alert_shape(alert) for alert in told.shown]

    def why(self, session: Session) -> str:
        """Why we paused or killed it; empty where somebody else did."""
        told = self._told.get(session.name)
        return "" if told is None else told.why

    async def acknowledge(self, ids: Sequence[str] | None) -> list[str]:
        """Somebody has seen these alerts (None: all). Raises AlertsUnavailable."""
        at = self._store.now()
        new = await self.alerts.acknowledge(ids, at)
        for told in self._told.values():
            for alert_id in {alert.id for alert in told.shown}.intersection(new):
                told.change(alert_id, acked_at=at)
        return new

    # ---- what is done

    def _known(self, session: Session) -> _Session:
        known = self._sessions.get(session.name)
        if known is None:
            growing = self._growing.pop(session.name, {})
            known = self._sessions[session.name] = _Session(session, self._limits, growing)
            if len(self._sessions) > MOST_SESSIONS:
                self._forget(*self._sessions.popitem(last=False))
        else:
            self._sessions.move_to_end(session.name)
        return known

    def _forget(self, session_id: str, known: _Session) -> None:
        """Others are watched now. What is told once an episode is not told again for that."""
        growing = {name: what for name, what in known.open.items() if name[0] == PROMPT_GROWTH}
        if growing:
            self._growing[session_id] = growing

    def _take(self, session: Session, known: _Session, change: Change) -> None:
        for name in change.over:
            self._over(session.name, known.open.pop(name, None))
        for name, finding in change.began:
            action = self._action(self._store.ledger.lineage(session), finding)
            if action is None:
                continue
            if _is_told(known, finding.kind, action):
                known.open[name] = _Open(action, None)
            else:
                self._open(session, known, name, finding, action)

    def _action(self, lineage: Sequence[Session], about: Finding | Alert) -> str | None:
        """The firmest that any of these sessions asks for; None: nothing at all."""
        asked = max((each.on_anomaly for each in lineage), key=acc.ANOMALY_ACTIONS.index)
        return self._settings.action(about.kind, about.severity, asked)

    def _open(
        self,
        session: Session,
        known: _Session,
        name: Name,
        finding: Finding,
        action: str = ALERT,
    ) -> None:
        alert = self._alert(session, finding, action)
        known.open[name] = _Open(action, alert.id)
        self._tell(alert)
        self._act(session, alert)

    def _alert(self, session: Session, finding: Finding, action: str) -> Alert:
        at = self._store.now()
        return Alert(
            id=new_alert_id(at),
            at=at,
            session_id=session.name,
            kind=finding.kind,
            severity=finding.severity,
            message=finding.message,
            evidence=finding.evidence,
            action=action,
        )

    def _tell(self, alert: Alert) -> None:
        told = self._told_of(alert.session_id)
        told.count += 1
        if told.count > MOST_OF_A_SESSION:
            return
        logger.warning(
            "%s %s in %s: %s", alert.severity, alert.kind, alert.session_id, alert.message
        )
        shown_with = self._shown_with(alert.session_id)
        for name in shown_with:
            self._told_of(name).shown.append(alert)
        self.alerts.add(alert, self.channels)
        shape = alert_shape(alert)
        self.told.tell(shape)
        event = {"at": alert.at, "session_id": alert.session_id, "kind": "alert", "alert": shape}
        self._events.tell(event, shown_with)

    def _act(self, session: Session, alert: Alert) -> None:
        """Pause or kill the session, and what it is a part of as that asks for: what a part does is
        done by its whole, which would go on with another part."""
        if alert.action == ALERT:
            return
        for each in reversed(self._store.ledger.lineage(session)):
            action = self._action((each,), alert)
            if action in (PAUSE, KILL) and self._stop(each, action, alert):
                self._told_of(session.name).why = alert.message

    def _stop(self, session: Session, action: str, alert: Alert) -> bool:
        """Do so, unless the session is stopped as firmly already; whether it was done."""
        _, state = self._store.ledger.state_at(session, self._store.now())
        if state in acc.ENDED or (action == PAUSE and state == acc.PAUSED):
            return False
        self._told_of(session.name).why = alert.message
        try:
            self._store.set_state(session.name, action, f"anomaly: {alert.kind}")
        except LedgerError as error:
            logger.error("%s could not be done to %s: %s", action, session.name, error)
        return True

    def _shown_with(self, session_id: str) -> list[str]:
        """The sessions that this one's alerts are shown with: it, and what it is a part of."""
        session = self._store.ledger.sessions.get(session_id)
        lineage = () if session is None else self._store.ledger.lineage(session)
        return [each.name for each in lineage] or [session_id]

    def _over(self, session_id: str, what: _Open | None) -> None:
        if what is None or what.alert_id is None:
            return
        at = self._store.now()
        self.alerts.end(what.alert_id, at)
        for told in filter(None, map(self._told.get, self._shown_with(session_id))):
            told.change(what.alert_id, ended_at=at)

    def _told_of(self, session_id: str) -> _Told:
        told = self._told.setdefault(session_id, _Told())
        self._told.move_to_end(session_id)
        if len(self._told) > MOST_SESSIONS:
            self._told.popitem(last=False)
        return told

    def _heard(self, entry: e.AnyEntry) -> None:
        """A session that goes on is judged anew; one that ended is watched no more."""
        if not isinstance(entry, e.StateSet):
            return
        if not entry.reason.startswith("anomaly: "):
            told = self._told.get(entry.session)
            if told is not None:
                told.why = ""
        if entry.state in acc.JUDGED_ANEW:
            known = self._sessions.pop(entry.session, None)
            open_then = self._growing.pop(entry.session, {}) if known is None else known.open
            for what in open_then.values():
                self._over(entry.session, what)


def alert_shape(alert: Alert) -> dict[str, Any]:
    """An alert as everybody sees it."""
    return msgspec.structs.asdict(alert)


def _lane_of(growth: Alert) -> Lane:
    """Whose prompts an alert of `prompt_growth` is about."""
    return growth.evidence.get("model", ""), growth.evidence.get("thread")


def _is_told(known: _Session, kind: str, action: str) -> bool:
    """Whether people know already, by another sign of the same. Each lane's growth is one of its
    own."""
    if kind == PROMPT_GROWTH:
        return False
    family = FAMILY_OF[kind]
    return any(
        FAMILY_OF.get(other) == family and stronger(what.action, action) == what.action
        for (other, _), what in known.open.items()
    )
