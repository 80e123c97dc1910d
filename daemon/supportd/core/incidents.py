"""Whether a new ticket is one more report of something that others report too.

Same service, near in time, another person, a serious level: never the number of keywords.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from supportd.core.model import Status, Ticket

# behaviour.md: a second sender, the same service, levels 1-3, within fifteen minutes.
NEAR = timedelta(minutes=15)
_MOST_SERIOUS_LEVELS = (1, 2, 3)
# Who cannot get online cannot tell whether the school's network or the line outside has failed.
_SAME_SERVICE = {"network": "internet"}
_OPEN = (Status.NEW, Status.OPEN, Status.WAITING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathering:
    """The new ticket joins *incident*, or opens one together with *tickets* when it is None.

    *reports* counts the people who have reported it, this one included.
    """

    incident: int | None
    tickets: tuple[int, ...]
    reports: int
    reason: str


def gathers(ticket: Ticket, recent: Iterable[Ticket]) -> Gathering | None:
    """Return the incident that *ticket* is one more report of, or None.

    *recent* are other tickets of the same mailbox, open ones received in the last quarter of an hour and all of open
    incidents; order and extra ones do not matter.
    """
    if ticket.incident is not None or not _counts(ticket):
        return None
    service = _service(ticket)
    same = sorted(
        (other for other in recent if other.id != ticket.id and _counts(other) and _service(other) == service),
        key=lambda other: (other.received_at, other.id),
    )
    near = [other for other in same if abs(ticket.received_at - other.received_at) <= NEAR]
    others = {other.requester.address for other in near} - {ticket.requester.address}
    if not others:
        return None
    incident = next((other.incident for other in near if other.incident is not None), None)
    together = [other for other in same if incident is not None and other.incident == incident] or near
    people = {other.requester.address for other in together} | {ticket.requester.address}
    return Gathering(
        incident=incident,
        tickets=tuple(other.id for other in together),
        reports=len(people),
        reason=f"{len(people)} people report {ticket.service} within fifteen minutes",
    )


def same_services(service: str) -> tuple[str, ...]:
    """Return the services under which others may report the same thing as *service*."""
    common = _SAME_SERVICE.get(service, service)
    return (common, *(other for other, same in _SAME_SERVICE.items() if same == common))


def _counts(ticket: Ticket) -> bool:
    return (
        ticket.level in _MOST_SERIOUS_LEVELS
        and ticket.service != ""
        and ticket.status in _OPEN
        and ticket.merged_into is None
        and not ticket.automatic
        # A stranger must not hold back the alert of a teacher's report, nor hear what she is told.
        and ticket.verified
    )


def _service(ticket: Ticket) -> str:
    return _SAME_SERVICE.get(ticket.service, ticket.service)
