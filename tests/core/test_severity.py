"""What words make of a mail's severity."""

from __future__ import annotations

import pytest

from supportd.config.keywords import KeywordsSection
from supportd.core.severity import Keywords, rate


@pytest.fixture(scope="module")
def keywords() -> Keywords:
    return KeywordsSection().compiled()


def test_an_outage_of_the_whole_school_is_level_1(keywords: Keywords) -> None:
    rating = rate("No internet", "The internet is down in the whole school.", "a@allsaints.example", keywords)

    assert rating.level == 1
    assert rating.service == "internet"
    assert {"scope:school", "lost:internet"} <= {evidence.facet for evidence in rating.evidence}
