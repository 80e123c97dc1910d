"""What the receiving servers of three providers write on top of a mail, with every word a sender can bring into it."""

from __future__ import annotations

from dataclasses import dataclass

from supportd.core.sender import Profile, Trust

SCHOOL = "allsaints.example"
TECHNICIAN = "sam@allsaints.example"
NAMES = {
    Profile.RFC8601: ("mx.allsaints.example", "mx.allsaints.example"),
    Profile.GOOGLE: ("mx.google.com", "mx.google.com"),
    Profile.MICROSOFT365: ("", "LO1PEPF00001234.mail.protection.outlook.com"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a border found out about one delivery, and what the sender told it."""

    author_domain: str = "attacker.example"
    dmarc: str = "pass"  # empty: the border writes no verdict
    signed_by: str = "attacker.example"  # empty: no signature
    mail_from: str = "evil@attacker.example"
    helo: str = "out.attacker.example"
    writes_results: bool = True
    is_inside: bool = False  # it never left the tenant of Exchange Online


# A genuine mail of the school's, signed and aligned.
GENUINE = Words(author_domain=SCHOOL, signed_by=SCHOOL, mail_from=TECHNICIAN, helo="out.allsaints.example")

INSIDE_THE_TENANT = Words(author_domain=SCHOOL, is_inside=True)


def sayings(profile: Profile) -> tuple[Words, ...]:
    """Return all that a border can be brought to say of a stranger's mail.

    That is: his own domain is proved; the school's is refused; no verdict; and no results at all, but for Google, which
    writes them on every mail from outside, whatever it found.
    """
    silent = Words(author_domain=SCHOOL, dmarc="", signed_by="", writes_results=False)
    spoken = (Words(), Words(author_domain=SCHOOL, dmarc="fail"), Words(author_domain=SCHOOL, dmarc=""))
    return spoken if profile is Profile.GOOGLE else (*spoken, silent)


def trust(profile: Profile) -> Trust:
    """Return what a school with *profile* configures."""
    return Trust(
        profile=profile,
        authserv_id=NAMES[profile][0] if profile is Profile.RFC8601 else "",
        staff_domains=frozenset({SCHOOL}),
        technicians=frozenset({TECHNICIAN}),
    )


def trace(profile: Profile, words: Words) -> str:
    """Return the fields, with line ends, that the border of *profile* and the servers behind it put on top."""
    if profile is Profile.NONE:
        lines = [f"Return-Path: <{words.mail_from}>", received("mail.allsaints.example", words)]
    elif profile is Profile.GOOGLE:
        lines = google(words)
    elif profile is Profile.MICROSOFT365:
        lines = microsoft(words)
    else:
        lines = standard(words)
    return "".join(f"{line}\r\n" for line in lines)


def received(host: str, words: Words) -> str:
    return (
        f"Received: from {words.helo} (unknown [203.0.113.9]) by {host} (Postfix) with ESMTPS id 4Xy1;"
        " Mon, 23 Nov 2026 09:00:00 +0000 (GMT)"
    )


def standard(words: Words) -> list[str]:
    results = [f"spf=pass smtp.mailfrom={words.mail_from}"]
    if words.signed_by:
        results.insert(0, f'dkim=pass (2048-bit key; unprotected) header.d={words.signed_by} header.b="AbC/d+="')
    if words.dmarc:
        results.append(f"dmarc={words.dmarc} (p=reject dis=none) header.from={words.author_domain}")
    written = [f"Authentication-Results: mx.allsaints.example; {'; '.join(results)}"] if words.writes_results else []
    return [
        f"Return-Path: <{words.mail_from}>",
        "Delivered-To: support@allsaints.example",
        "Received: from mx.allsaints.example by store.allsaints.example with LMTP id 7; Mon, 23 Nov 2026 09:00 +0000",
        *written,
        received("mx.allsaints.example", words),
    ]


def google(words: Words) -> list[str]:
    results = [
        f"spf=pass (google.com: domain of {words.mail_from} designates 203.0.113.9 as permitted sender)"
        f" smtp.mailfrom={words.mail_from}"
    ]
    if words.signed_by:
        results.insert(0, f"dkim=pass header.i=@{words.signed_by} header.s=s1 header.b=AbC/d+=")
    if words.dmarc:
        results.append(f"dmarc={words.dmarc} (p=REJECT sp=REJECT dis=NONE) header.from={words.author_domain}")
    return [
        "Delivered-To: support@allsaints.example",
        "Received: by 2002:a05:6402:5208:b0:5cb:5ff0:1234 with SMTP id s8csp1; Mon, 23 Nov 2026 01:00:03 -0800 (PST)",
        "X-Received: by 2002:a17:906:c105:b0:a99:c9a6:1234 with SMTP id do5mr1; Mon, 23 Nov 2026 01:00:02 -0800 (PST)",
        f"ARC-Authentication-Results: i=1; mx.google.com; {'; '.join(results)}",
        f"Return-Path: <{words.mail_from}>",
        f"Received: from {words.helo} (unknown. [203.0.113.9]) by mx.google.com with ESMTPS id 1;"
        " Mon, 23 Nov 2026 01:00:01 -0800 (PST)",
        f"Received-SPF: pass (google.com: domain of {words.mail_from} designates 203.0.113.9 as permitted sender)",
        f"Authentication-Results: mx.google.com; {'; '.join(results)}",
    ]


def microsoft(words: Words) -> list[str]:
    if words.is_inside:
        return inside_the_tenant()
    dkim = f"pass (signature was verified) header.d={words.signed_by}" if words.signed_by else "none header.d=none"
    dmarc = f"dmarc={words.dmarc} action=none header.from={words.author_domain};" if words.dmarc else ""
    results = (
        f"Authentication-Results: spf=pass (sender IP is 203.0.113.9) smtp.mailfrom={words.mail_from}; dkim={dkim};"
        f"{dmarc}compauth=pass reason=100"
    )
    return [
        "Received: from LO2P265MB0001.GBRP265.PROD.OUTLOOK.COM (2603:10a6:600:f0::1) by"
        " CWXP265MB0002.GBRP265.PROD.OUTLOOK.COM with HTTPS; Mon, 23 Nov 2026 09:00:02 +0000",
        "Received: from LO1PEPF00001234.GBRP265.PROD.OUTLOOK.COM (2603:10a6:600:f0::2) by"
        " LO2P265CA0001.outlook.office365.com (2603:10a6:600:f1::1) with Microsoft SMTP Server; Mon, 23 Nov 2026",
        *([results] if words.writes_results else []),
        f"Received: from {words.helo} (203.0.113.9) by LO1PEPF00001234.mail.protection.outlook.com (10.167.240.1) with"
        " Microsoft SMTP Server id 15.20.8158.14 via Frontend Transport; Mon, 23 Nov 2026 09:00:00 +0000",
        f"Return-Path: {words.mail_from}",
        # The header firewall takes away what the sender wrote; a test that leaves it in is the harder one.
        "X-MS-Exchange-Organization-AuthAs: Anonymous",
    ]


def inside_the_tenant() -> list[str]:
    """Return what Exchange Online writes on mail from one of its mailboxes to another of the same school."""
    return [
        "Received: from LO2P265MB0001.GBRP265.PROD.OUTLOOK.COM (2603:10a6:600:f0::1) by"
        " CWXP265MB0002.GBRP265.PROD.OUTLOOK.COM with HTTPS; Mon, 23 Nov 2026 09:00:02 +0000",
        "Authentication-Results: dkim=none (message not signed) header.d=none;dmarc=none action=none"
        " header.from=allsaints.example;",
        "Received: from LO2P265MB0003.GBRP265.PROD.OUTLOOK.COM ([fe80::1]) by"
        " LO2P265MB0003.GBRP265.PROD.OUTLOOK.COM ([fe80::1%4]) with mapi id 15.20.8158.014; Mon, 23 Nov 2026",
        "X-MS-Exchange-Organization-AuthAs: Internal",
        "X-MS-Exchange-Organization-AuthSource: LO2P265MB0003.GBRP265.PROD.OUTLOOK.COM",
    ]
