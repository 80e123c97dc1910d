"""What ``check --auth`` says of the two test mails as they come back: stripped, out-ranked or believed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from forgeries import border as receiving
from supportd.cli import border
from supportd.core import parse, sender
from supportd.core.model import Mail
from supportd.core.sender import Profile

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
MARK = "0123456789abcdef"
PROVING = [Profile.RFC8601, Profile.GOOGLE, Profile.MICROSOFT365]


def arrived(profile: Profile, *, forged: str = "", on_top: str = "") -> Mail:
    """Return a test mail as the border of *profile* delivers it, *forged* below its own fields or wrongly *on_top*."""
    own = receiving.trace(profile, receiving.GENUINE)
    mail = parse.parse(f"{on_top}{own}{forged}From: support@allsaints.example\r\n\r\nx\r\n".encode())
    assert isinstance(mail, Mail)
    return mail


def forgery(profile: Profile) -> str:
    fields = border._forgery(receiving.trust(profile), receiving.SCHOOL, MARK, NOW)
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items())


@pytest.mark.parametrize("profile", PROVING)
def test_forged_results_below_the_border_are_out_ranked(profile: Profile) -> None:
    forged = arrived(profile, forged=forgery(profile))

    held, words = border._judge(receiving.trust(profile), MARK, arrived(profile), forged)

    assert held
    assert words == "forged results are left in place, but out-ranked; the server writes its own"


@pytest.mark.parametrize("profile", PROVING)
def test_forged_results_that_are_gone_are_stripped(profile: Profile) -> None:
    held, words = border._judge(receiving.trust(profile), MARK, arrived(profile), arrived(profile))

    assert held
    assert words == "forged results are stripped; the server writes its own"


@pytest.mark.parametrize("profile", PROVING)
def test_forged_results_that_are_believed_fail_the_proof(profile: Profile) -> None:
    forged = arrived(profile, on_top=forgery(profile))
    assert sender.believed(forged, receiving.trust(profile)), "this border lies, so there is something to notice"

    held, words = border._judge(receiving.trust(profile), MARK, arrived(profile), forged)

    assert not held
    assert "taken for your server's own" in words


def test_a_forged_word_of_exchange_that_is_believed_fails_the_proof() -> None:
    profile = Profile.MICROSOFT365
    own = receiving.trace(profile, receiving.INSIDE_THE_TENANT)
    inside = parse.parse(f"{own}From: support@allsaints.example\r\n\r\nx\r\n".encode())
    assert isinstance(inside, Mail)

    held, words = border._judge(receiving.trust(profile), MARK, arrived(profile), inside)

    assert (held, words) == (False, "a forged X-MS-Exchange-Organization-AuthAs was taken for Exchange's own")


@pytest.mark.parametrize("profile", PROVING)
def test_a_test_mail_that_does_not_come_back_proves_nothing(profile: Profile) -> None:
    held, words = border._judge(receiving.trust(profile), MARK, arrived(profile), None)

    assert not held
    assert "did not arrive within" in words
