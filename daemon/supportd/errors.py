"""The errors that cross rooms: whose fault it is, and whether trying again can help, is the type."""

from __future__ import annotations

from collections.abc import Sequence


class UserError(Exception):
    """A problem that the person at the keyboard can mend; printed as a list, without a traceback, exit status 1."""

    def __init__(self, problems: Sequence[str] | str) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class Unavailable(Exception):
    """The other side cannot serve us now (connection, timeout, 4yz): the same call may succeed later."""


class Declined(Unavailable):
    """The server answered NO or BAD to one command; the connection is good for others."""


class Overtaken(Unavailable):
    """Another daemon wrote the same first, and nothing of ours was written: another look shows what is left to do."""


class Refused(Exception):
    """The other side said no for good (5yz, bad credentials): the same call will fail again."""


class Doubtful(Exception):
    """The connection died after the message was handed over (RFC 5321 4.5.3.2.6): it may or may not be accepted."""
