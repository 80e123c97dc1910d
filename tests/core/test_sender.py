"""How sure we are who wrote a mail: profiles, borders and the strict reading of Authentication-Results."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supportd.core import sender
from supportd.core.model import Address, Mail
from supportd.core.sender import Level, Profile, Trust

SCHOOL = "allsaints.example"
JANE = "jane@allsaints.example"
SAM = "sam@allsaints.example"
STAFF = {"staff_domains": frozenset({SCHOOL}), "technicians": frozenset({SAM})}
NONE = Trust(**STAFF)  # type: ignore[arg-type]
BORDER = Trust(profile=Profile.RFC8601, authserv_id="mx.allsaints.example", **STAFF)
GOOGLE = Trust(profile=Profile.GOOGLE, **STAFF)  # type: ignore[arg-type]
MICROSOFT = Trust(profile=Profile.MICROSOFT365, **STAFF)  # type: ignore[arg-type]

FROM_OUTSIDE = ("Received", "from out.example (out.example [192.0.2.1]) by mx.allsaints.example with ESMTPS id 1; Mon")
PASSED = "dkim=pass header.d=allsaints.example header.s=s1; spf=pass smtp.mailfrom=allsaints.example; dmarc=pass"
RESULTS = ("Authentication-Results", f"mx.allsaints.example; {PASSED} header.from=allsaints.example")


def mail(*trace: tuple[str, str], author: str = SAM, field: str | None = None, defects: tuple[str, ...] = ()) -> Mail:
    """Return a mail with the *trace* fields on top and *author* in From, written as *field* has it."""
    return Mail(sender=Address(address=author), headers=(*trace, ("From", field or author)), defects=defects)


def level(trust: Trust, *trace: tuple[str, str], **over: object) -> Level:
    return sender.evidence(mail(*trace, **over), trust).level  # type: ignore[arg-type]


# Profile none


def test_without_a_profile_a_staff_address_is_taken_at_its_word() -> None:
    standing = sender.evidence(mail(author=JANE), NONE)

    assert standing.level is Level.MEMBER
    assert "taken at its word" in standing.reasons[0]
    assert not standing.claims_technician


def test_without_a_profile_an_outsider_is_unverified() -> None:
    assert level(NONE, author="parent@gmail.example") is Level.UNVERIFIED


def test_without_a_profile_no_header_makes_an_outsider_more() -> None:
    assert level(NONE, RESULTS, FROM_OUTSIDE, author="parent@gmail.example") is Level.UNVERIFIED


def test_a_domain_that_only_ends_like_the_schools_is_an_outsiders() -> None:
    assert level(NONE, author="x@evil-allsaints.example") is Level.UNVERIFIED
    assert level(NONE, author="x@mail.allsaints.example") is Level.UNVERIFIED


def test_without_a_profile_a_technician_commands_only_with_his_token() -> None:
    standing = sender.evidence(mail(author=SAM), NONE)

    assert standing.level is Level.MEMBER
    assert standing.claims_technician
    assert sender.with_token(standing, NONE).level is Level.COMMANDING


def test_a_token_makes_nobody_else_a_technician() -> None:
    standing = sender.evidence(mail(author=JANE), NONE)

    assert sender.with_token(standing, NONE) is standing


# The From field


@pytest.mark.parametrize(
    "field",
    [
        "sam@allsaints.example",
        "<sam@allsaints.example>",
        "Sam <sam@allsaints.example>",
        '"Reed, Sam (IT)" <Sam@AllSaints.example>',
        '"sam@allsaints.example" <sam@allsaints.example>',
        "Sam @ All Saints <sam@allsaints.example>",
        "'Sam Reed' <sam@allsaints.example>",
    ],
)
def test_one_plain_address_with_any_name_is_read(field: str) -> None:
    assert level(NONE, field=field) is Level.MEMBER


@pytest.mark.parametrize(
    "field",
    [
        "evil@attacker.example <sam@allsaints.example>",
        '"evil@attacker.example" <sam@allsaints.example>',
        "<sam@allsaints.example>, evil@attacker.example",
        "<evil@attacker.example> <sam@allsaints.example>",
        "sam@allsaints.example, evil@attacker.example",
        "sam@allsaints.example (evil@attacker.example)",
        "sam@allsaints.example evil@attacker.example",
        "<sam@allsaints.example>evil@attacker.example",
        "Sam > <sam@allsaints.example>",
        "Sam < <sam@allsaints.example>",
        "<sam@allsaints.example",
        "Sam",
        "",
    ],
)
def test_a_from_field_with_anything_odd_proves_nobody(field: str) -> None:
    found = Mail(sender=Address(address=SAM), headers=(("From", field),))

    assert sender.evidence(found, NONE).level is Level.UNVERIFIED


@pytest.mark.parametrize("address", ['"sam"@allsaints.example', "sam@allsaints..example", "sám@allsaints.example"])
def test_an_address_that_is_not_plain_proves_nobody(address: str) -> None:
    assert level(NONE, author=address) is Level.UNVERIFIED


def test_two_from_fields_prove_nobody() -> None:
    found = Mail(sender=Address(address=SAM), headers=(("From", SAM), ("From", "evil@attacker.example")))

    assert sender.evidence(found, NONE).reasons == ("there are 2 From fields; exactly one is expected",)


def test_a_parsers_doubt_about_from_is_a_reason() -> None:
    standing = sender.evidence(mail(defects=("From: more than one address", "Date: odd")), NONE)

    assert standing.level is Level.UNVERIFIED
    assert standing.reasons == ("From: more than one address",)


def test_a_mail_without_sender_is_unverified() -> None:
    assert sender.evidence(Mail(), NONE).level is Level.UNVERIFIED


# RFC 8601


def test_the_borders_pass_makes_a_technician() -> None:
    standing = sender.evidence(mail(RESULTS, FROM_OUTSIDE), BORDER)

    assert standing.level is Level.TECHNICIAN
    assert standing.reasons[0] == "the border says dmarc=pass for allsaints.example"
    assert sender.with_token(standing, BORDER).level is Level.COMMANDING


def test_the_borders_pass_makes_a_member_of_staff_and_a_verified_outsider() -> None:
    outsider = ("Authentication-Results", "mx.allsaints.example; dmarc=pass header.from=gmail.example")

    assert level(BORDER, RESULTS, FROM_OUTSIDE, author=JANE) is Level.MEMBER
    assert level(BORDER, outsider, FROM_OUTSIDE, author="parent@gmail.example") is Level.VERIFIED


def test_a_technician_by_spf_alone_is_only_a_member() -> None:
    results = ("Authentication-Results", "mx.allsaints.example; spf=pass; dmarc=pass header.from=allsaints.example")

    assert level(BORDER, results, FROM_OUTSIDE) is Level.MEMBER


def test_another_domains_signature_does_not_make_a_technician() -> None:
    results = (
        "Authentication-Results",
        "mx.allsaints.example; dkim=pass header.d=mailer.example; dkim=fail header.d=allsaints.example;"
        " dmarc=pass header.from=allsaints.example",
    )

    assert level(BORDER, results, FROM_OUTSIDE) is Level.MEMBER


def test_a_signature_of_two_domains_is_nobodys() -> None:
    results = (
        "Authentication-Results",
        "mx.allsaints.example; dkim=pass header.d=allsaints.example header.d=mailer.example;"
        " dmarc=pass header.from=allsaints.example",
    )

    assert level(BORDER, results, FROM_OUTSIDE) is Level.MEMBER


def test_a_field_that_cannot_be_read_spoils_those_beside_it() -> None:
    odd = ("Authentication-Results", "mx.allsaints.example; spf=pass (x")

    assert level(BORDER, odd, RESULTS, FROM_OUTSIDE) is Level.UNVERIFIED
    assert level(BORDER, RESULTS, odd, FROM_OUTSIDE) is Level.UNVERIFIED


def test_a_mail_from_with_more_than_an_address_in_it_spoils_the_results() -> None:
    found = mail(RESULTS, FROM_OUTSIDE)

    for odd in ("x;dmarc=pass@attacker.example", '"x y"@attacker.example', "x"):
        assert sender.evidence(replace(found, envelope_from=odd), BORDER).level is Level.UNVERIFIED
    for usual in ("", "bounces+jane=x.example@mailer.example", SAM):
        assert sender.evidence(replace(found, envelope_from=usual), BORDER).level is Level.TECHNICIAN


def test_a_token_does_not_mend_an_odd_from_field() -> None:
    standing = sender.evidence(mail(field=f"{SAM}, evil@attacker.example"), NONE)

    assert standing.claims_technician
    assert sender.with_token(standing, NONE) is standing


def test_with_a_profile_a_token_alone_proves_nothing() -> None:
    standing = sender.evidence(mail(FROM_OUTSIDE), BORDER)

    assert sender.with_token(standing, BORDER) == standing
    assert standing.level is Level.UNVERIFIED


@pytest.mark.parametrize(
    "verdict",
    [
        "dmarc=fail header.from=allsaints.example",
        "dmarc=none header.from=allsaints.example",
        "dmarc=bestguesspass header.from=allsaints.example",
        "dmarc=pass",
        "dmarc=pass header.from=attacker.example",
        "dmarc=pass header.from=allsaints.example header.from=attacker.example",
        "dmarc=pass header.from=sub.allsaints.example",
        "dmarc=pass header.from=allsaints.example; dmarc=fail header.from=allsaints.example",
        "dkim=pass header.d=allsaints.example; spf=pass smtp.mailfrom=allsaints.example",
        "none",
    ],
)
def test_anything_but_one_aligned_dmarc_pass_proves_nothing(verdict: str) -> None:
    assert level(BORDER, ("Authentication-Results", f"mx.allsaints.example; {verdict}"), FROM_OUTSIDE) is (
        Level.UNVERIFIED
    )


def test_results_of_two_programs_at_the_border_are_read_together() -> None:
    dkim = ("Authentication-Results", "mx.allsaints.example; dkim=pass header.d=allsaints.example")
    dmarc = ("Authentication-Results", "mx.allsaints.example 1; dmarc=pass (p=none) header.from=allsaints.example")

    assert level(BORDER, dmarc, dkim, FROM_OUTSIDE) is Level.TECHNICIAN


def test_a_field_below_the_borders_received_is_the_senders() -> None:
    assert level(BORDER, FROM_OUTSIDE, RESULTS) is Level.UNVERIFIED


def test_a_forged_received_below_the_forged_results_does_not_raise_them() -> None:
    genuine = ("Received", "from evil (unknown [203.0.113.9]) by mx1.allsaints.example with ESMTP; Mon")

    assert level(BORDER, genuine, RESULTS, FROM_OUTSIDE) is Level.UNVERIFIED


def test_a_field_of_another_server_does_not_count() -> None:
    other = ("Authentication-Results", f"mx.attacker.example; {PASSED} header.from=allsaints.example")
    longer = (
        "Authentication-Results",
        f"mx.allsaints.example.attacker.example; {PASSED} header.from=allsaints.example",
    )

    assert level(BORDER, other, FROM_OUTSIDE) is Level.UNVERIFIED
    assert level(BORDER, longer, FROM_OUTSIDE) is Level.UNVERIFIED


def test_a_mail_that_nobody_received_proves_nothing() -> None:
    assert level(BORDER, RESULTS) is Level.UNVERIFIED


def test_the_last_hand_over_into_the_mailbox_does_not_hide_the_border() -> None:
    lmtp = ("Received", "from mx.allsaints.example by store.allsaints.example with LMTP id 7; Mon")

    assert level(BORDER, lmtp, RESULTS, FROM_OUTSIDE) is Level.TECHNICIAN


def test_a_second_server_inside_is_passed_only_when_the_border_is_named() -> None:
    inner = ("Received", "from mx.allsaints.example by store.allsaints.example with ESMTP id 7; Mon")
    named = Trust(
        profile=Profile.RFC8601,
        authserv_id="mx.allsaints.example",
        border_hosts=frozenset({"mx.allsaints.example"}),
        **STAFF,
    )

    assert level(BORDER, inner, RESULTS, FROM_OUTSIDE) is Level.UNVERIFIED
    assert level(named, inner, RESULTS, FROM_OUTSIDE) is Level.TECHNICIAN
    assert level(named, inner, FROM_OUTSIDE, RESULTS) is Level.UNVERIFIED


@pytest.mark.parametrize(
    "helo",
    ["x by store.allsaints.example with LMTP", "x by a", "x (", "x )", "x with LMTP", "x by a; "],
)
def test_words_in_helo_do_not_make_the_border_look_like_an_inner_server(helo: str) -> None:
    received = (
        "Received",
        f"from {helo} (unknown [203.0.113.9]) by mx.allsaints.example (Postfix) with ESMTP id 1; Mon",
    )

    assert level(BORDER, received, RESULTS, FROM_OUTSIDE) is Level.UNVERIFIED


def test_the_profile_needs_its_authserv_id() -> None:
    with pytest.raises(ValueError, match="authserv-id"):
        Trust(profile=Profile.RFC8601)


# Google

FROM_GOOGLE = (
    ("Delivered-To", "support@allsaints.example"),
    ("Received", "by 2002:a05:6402:5208:b0:5cb:5ff0:1234 with SMTP id s8csp1; Mon, 23 Nov 2026 01:02:03 -0800 (PST)"),
    ("X-Received", "by 2002:a17:906:c105:b0:a99:c9a6:1234 with SMTP id do5mr; Mon, 23 Nov 2026 01:02:02 -0800 (PST)"),
    ("ARC-Authentication-Results", "i=1; mx.google.com; dmarc=pass header.from=evil.example"),
    ("Return-Path", "<sam@allsaints.example>"),
    (
        "Received",
        "from mail-sor-f41.google.com (mail-sor-f41.google.com. [209.85.220.41]) by mx.google.com with SMTPS id",
    ),
    ("Received-SPF", "pass (google.com: domain of sam@allsaints.example designates 209.85.220.41 as permitted sender)"),
)
BY_GOOGLE = (
    "Authentication-Results",
    "mx.google.com; dkim=pass header.i=@allsaints.example header.s=google header.b=AbC+/d=; spf=pass (google.com:"
    " domain of sam@allsaints.example designates 209.85.220.41 as permitted sender) smtp.mailfrom=sam@allsaints.example"
    "; dmarc=pass (p=REJECT sp=REJECT dis=NONE) header.from=allsaints.example",
)


def test_googles_results_make_a_technician() -> None:
    assert level(GOOGLE, *FROM_GOOGLE, BY_GOOGLE) is Level.TECHNICIAN


def test_a_signature_of_googles_own_service_makes_only_a_member() -> None:
    name, value = BY_GOOGLE
    results = (name, value.replace("@allsaints.example header.s", "@allsaints-example.20230601.gappssmtp.com header.s"))

    assert level(GOOGLE, *FROM_GOOGLE, results) is Level.MEMBER


def test_results_of_the_senders_below_googles_do_not_count() -> None:
    failed = ("Authentication-Results", "mx.google.com; spf=fail; dmarc=fail header.from=allsaints.example")

    assert level(GOOGLE, *FROM_GOOGLE, failed, BY_GOOGLE) is Level.UNVERIFIED
    assert level(GOOGLE, *FROM_GOOGLE, ("MIME-Version", "1.0"), BY_GOOGLE) is Level.UNVERIFIED
    for host in ("b", "mx.google.com", "2002:a05:6402::1"):
        received = ("Received", f"from a by {host} with SMTP; Mon")
        assert level(GOOGLE, *FROM_GOOGLE, received, BY_GOOGLE) is Level.UNVERIFIED


def test_results_below_googles_border_in_anothers_name_do_not_count() -> None:
    other = ("Authentication-Results", BY_GOOGLE[1].replace("mx.google.com;", "mx.attacker.example;"))

    assert level(GOOGLE, *FROM_GOOGLE, other) is Level.UNVERIFIED


def test_results_above_every_google_hop_are_not_googles() -> None:
    assert level(GOOGLE, BY_GOOGLE, *FROM_GOOGLE) is Level.UNVERIFIED
    assert level(GOOGLE, ("Received", "from a by mx.attacker.example with SMTP; Mon"), *FROM_GOOGLE, BY_GOOGLE) is (
        Level.UNVERIFIED
    )


def test_a_chain_of_seals_proves_nothing() -> None:
    arc = ("ARC-Authentication-Results", "i=1; " + BY_GOOGLE[1])

    assert level(GOOGLE, arc, *FROM_GOOGLE) is Level.UNVERIFIED


# Microsoft 365

INSIDE = (
    "Received",
    "from LO2P265MB0001.GBRP265.PROD.OUTLOOK.COM (2603:10a6:600:f0::1) by CWXP265MB0002.GBRP265.PROD.OUTLOOK.COM with"
    " HTTPS; Mon, 23 Nov 2026 09:02:03 +0000",
)
AT_MICROSOFTS_BORDER = (
    "Received",
    "from out.allsaints.example (192.0.2.1) by LO1PEPF00001234.mail.protection.outlook.com (10.167.240.1) with"
    " Microsoft SMTP Server (version=TLS1_3, cipher=TLS_AES_256_GCM_SHA384) id 15.20.1 via Frontend Transport; Mon",
)
BY_MICROSOFT = (
    "Authentication-Results",
    "spf=pass (sender IP is 192.0.2.1) smtp.mailfrom=allsaints.example; dkim=pass (signature was verified)"
    " header.d=allsaints.example;dmarc=pass action=none header.from=allsaints.example;compauth=pass reason=100",
)
INTERNAL = ("X-MS-Exchange-Organization-AuthAs", "Internal")


def test_microsofts_results_make_a_technician() -> None:
    assert level(MICROSOFT, INSIDE, BY_MICROSOFT, AT_MICROSOFTS_BORDER) is Level.TECHNICIAN


def test_microsofts_guess_is_no_pass() -> None:
    guess = (
        "Authentication-Results",
        "spf=none; dkim=none; dmarc=bestguesspass header.from=allsaints.example;compauth=pass",
    )

    assert level(MICROSOFT, INSIDE, guess, AT_MICROSOFTS_BORDER) is Level.UNVERIFIED


def test_mail_inside_the_tenant_is_vouched_for_by_exchange() -> None:
    standing = sender.evidence(mail(INSIDE, INTERNAL), MICROSOFT)

    assert standing.level is Level.TECHNICIAN
    assert "never left the tenant" in standing.reasons[0]


@pytest.mark.parametrize(
    "trace",
    [
        (INSIDE, AT_MICROSOFTS_BORDER, INTERNAL),
        (INSIDE, ("X-MS-Exchange-Organization-AuthAs", "Anonymous"), INTERNAL),
        (INSIDE, ("Received", "from a by mx.attacker.example with SMTP; Mon"), INTERNAL),
        (INSIDE, ("Received", "from a by b by c.outlook.com with SMTP; Mon"), INTERNAL),
        (INSIDE, ("X-MS-Exchange-CrossTenant-AuthAs", "Internal")),
        (INTERNAL,),
        (INSIDE, AT_MICROSOFTS_BORDER, BY_MICROSOFT),
        (("Received", "from a by mx.attacker.example with SMTP; Mon"), BY_MICROSOFT, AT_MICROSOFTS_BORDER),
    ],
)
def test_what_a_stranger_can_write_does_not_pass_for_exchanges_word(trace: tuple[tuple[str, str], ...]) -> None:
    assert level(MICROSOFT, *trace) is Level.UNVERIFIED


def test_the_topmost_of_microsofts_fields_is_the_last_word() -> None:
    failed = ("Authentication-Results", "spf=fail; dmarc=fail action=quarantine header.from=allsaints.example")

    assert level(MICROSOFT, INSIDE, failed, BY_MICROSOFT, AT_MICROSOFTS_BORDER) is Level.UNVERIFIED
    assert level(MICROSOFT, INSIDE, BY_MICROSOFT, failed, AT_MICROSOFTS_BORDER) is Level.TECHNICIAN


# Reading the field


@pytest.mark.parametrize(
    "value",
    [
        "mx; spf=pass smtp.mailfrom=x; dmarc=pass (unclosed header.from=allsaints.example",
        'mx; spf=pass smtp.mailfrom="x; dmarc=pass header.from=allsaints.example"@evil.example',
        'mx; spf=pass (domain of "x); dmarc=pass header.from=allsaints.example (y"@evil.example ok)',
        "mx; dkim=pass header.d=allsaints.example(.evil.example",
        "mx; dkim=pass header.d=allsaints.example).evil.example",
        "mx; dkim=pass (a\\) header.d=x) header.d=y",
        "mx; dkim=pass header.d=allsaints.example,evil.example",
        "mx; dkim=pass header.d=allsaints.exämple",
        "mx; dkim",
        # RFC 8601 allows the space, nobody writes it, and a reader who is unsure of it is a reader to be fooled.
        "mx; dkim = pass",
        "mx; =pass",
        "mx; dkim=pass " + "x=y " * 4000,
    ],
)
def test_a_field_with_anything_odd_in_it_is_not_read(value: str) -> None:
    assert sender.read_authentication_results(value) is None


def test_a_field_is_read_as_the_standard_writes_it() -> None:
    found = sender.read_authentication_results(
        'Example.COM 1 ; (a (nested) comment; with signs) dkim/1=pass (2048-bit key; unprotected) reason="good key"'
        " header.d=Example.NET header.b=aBc; none ;"
    )

    assert found is not None
    assert found.authserv_id == "example.com"
    assert [(result.method, result.result) for result in found.results] == [("dkim", "pass")]
    assert found.results[0].values("header.d") == ("example.net",)


@given(st.text(max_size=400))
def test_any_text_is_read_or_refused_without_an_error(text: str) -> None:
    sender.read_authentication_results(text)
    sender.evidence(mail(("Authentication-Results", text), ("Received", text), ("Received", text)), BORDER)


def test_hostile_fields_cost_linear_time() -> None:
    hostile = [("Received", "(" * 16_000), ("Authentication-Results", "mx; " + "(" * 16_000)] * 100
    started = time.perf_counter()

    for trust in (BORDER, GOOGLE, MICROSOFT):
        sender.evidence(mail(*hostile), trust)

    assert time.perf_counter() - started < 2
