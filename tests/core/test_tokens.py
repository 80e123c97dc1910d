"""Our Message-IDs and reply addresses: what they prove, and what no stranger can make of them."""

from __future__ import annotations

import base64
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supportd.core import tokens
from supportd.core.tokens import Key, Keys, Role

KEYS = Keys(current=Key(version=1, secret=b"a" * 32))
LETTER = UUID("12345678-1234-5678-1234-567812345678")
SUPPORT = "support@allsaints.example"


def message_id(keys: Keys = KEYS, **over: object) -> str:
    claim = {"kind": "ack", "ticket": 123, "person": "jane@allsaints.example", "role": Role.REQUESTER, "uuid": LETTER}
    return tokens.message_id(keys=keys, domain="allsaints.example", **(claim | over))  # type: ignore[arg-type]


def reply_address(keys: Keys = KEYS, **over: object) -> str:
    claim = {"reference": "AS-123", "person": "sam@allsaints.example", "role": Role.TECHNICIAN}
    return tokens.reply_address(keys=keys, address=SUPPORT, **(claim | over))  # type: ignore[arg-type]


def test_a_message_id_of_ours_proves_its_letter_ticket_role_and_person() -> None:
    own = tokens.verify(message_id(), KEYS)

    assert own is not None
    assert (own.kind, own.uuid, own.ticket, own.role) == ("ack", LETTER, 123, Role.REQUESTER)
    assert tokens.is_for(own, "Jane@AllSaints.example", KEYS)
    assert not tokens.is_for(own, "june@allsaints.example", KEYS)


def test_a_message_id_has_the_shape_that_the_protocol_names() -> None:
    head, mac = message_id(kind="relay-copy").split("@")[0].rsplit(".", 1)

    assert head.startswith("<sd.relay-copy.")
    assert len(base64.b32decode(mac.upper())) * 8 == 80
    assert len(message_id()) < 110


@pytest.mark.parametrize("change", [str.upper, str.title, lambda text: text.strip("<>"), lambda text: f" {text} "])
def test_what_gateways_do_to_a_message_id_does_not_break_it(change: object) -> None:
    assert tokens.verify(change(message_id()), KEYS) is not None  # type: ignore[operator]


def test_one_changed_sign_anywhere_before_the_domain_breaks_the_proof() -> None:
    genuine = message_id()

    for at in range(1, genuine.index("@")):
        for other in "a7.":
            if genuine[at] != other:
                assert tokens.verify(genuine[:at] + other + genuine[at + 1 :], KEYS) is None, (at, other)


def test_the_claim_of_one_letter_does_not_go_with_the_mac_of_another() -> None:
    mine = message_id(ticket=1).split(".")
    theirs = message_id(ticket=2).split(".")

    assert tokens.verify(".".join((*mine[:2], theirs[2], *mine[3:])), KEYS) is None


def test_the_kind_is_part_of_the_proof() -> None:
    assert tokens.verify(message_id().replace("<sd.ack.", "<sd.alert."), KEYS) is None


def test_base32_padding_bits_do_not_give_a_second_spelling() -> None:
    token = reply_address()
    local, _, domain = token.partition("@")
    spellings = [local[:-1] + sign + "@" + domain for sign in "abcdefghijklmnopqrstuvwxyz234567"]

    accepted = [spelling for spelling in spellings if tokens.read_reply_address(spelling, SUPPORT, KEYS)]

    assert accepted == [token]


def test_the_key_before_verifies_during_a_rotation_and_not_after() -> None:
    old = Key(version=1, secret=b"a" * 32)
    new = Key(version=2, secret=b"b" * 32)
    before = message_id(Keys(current=old))

    during = tokens.verify(before, Keys(current=new, previous=old))
    after = tokens.verify(before, Keys(current=new))

    assert during is not None
    assert tokens.is_for(during, "jane@allsaints.example", Keys(current=new, previous=old))
    assert after is None


def test_a_key_of_the_same_version_with_another_secret_verifies_nothing() -> None:
    assert tokens.verify(message_id(), Keys(current=Key(version=1, secret=b"c" * 32))) is None


def test_a_reply_address_proves_ticket_role_and_person_in_any_case() -> None:
    token = tokens.read_reply_address(reply_address().upper(), SUPPORT, KEYS)

    assert token is not None
    assert (token.reference, token.role) == ("as123", Role.TECHNICIAN)
    assert tokens.is_for(token, "sam@allsaints.example", KEYS)


def test_the_local_part_of_a_reply_address_keeps_the_limit_of_smtp() -> None:
    local = reply_address(reference="SUPPORT-1234567").partition("@")[0]

    assert len(local) <= 64


@pytest.mark.parametrize(
    "address",
    [
        "support@allsaints.example",
        "support+as123@allsaints.example",
        "support+as123.@allsaints.example",
        "support+.aaaa@allsaints.example",
        "support+as123.aaaaaaaaaaaaaaaaaaaaaaaaaaaaa@allsaints.example",
        "",
        "@",
        "support+",
    ],
)
def test_an_address_without_a_true_token_proves_nothing(address: str) -> None:
    assert tokens.read_reply_address(address, SUPPORT, KEYS) is None


def test_a_token_is_bound_to_its_ticket_and_its_mailbox() -> None:
    genuine = reply_address()

    assert tokens.read_reply_address(genuine.replace("AS123", "AS124"), SUPPORT, KEYS) is None
    assert tokens.read_reply_address(genuine, "help@allsaints.example", KEYS) is None
    assert tokens.read_reply_address(genuine.replace("@allsaints", "@evil"), SUPPORT, KEYS) is None


def test_a_message_id_and_a_reply_address_do_not_verify_as_each_other() -> None:
    token = reply_address().partition(".")[2].partition("@")[0]

    assert tokens.verify(f"<sd.ack.{token}.{token[-16:]}@x>", KEYS) is None


def test_nothing_in_a_token_tells_whose_address_it_was_made_for() -> None:
    own = tokens.verify(message_id(), KEYS)
    other_school = Keys(current=Key(version=1, secret=b"d" * 32))

    assert own is not None
    assert own.person != tokens.person_tag(other_school.current, "jane@allsaints.example")


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 32"):
        Key(version=1, secret=b"short")


def test_a_secret_never_stands_in_a_printed_key() -> None:
    assert "aaaa" not in repr(KEYS)


@pytest.mark.parametrize("kind", ["", "Ack", "a.b", "a@b", "ack1"])
def test_a_letter_kind_that_would_break_the_shape_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="kind"):
        message_id(kind=kind)


@given(st.text(max_size=300))
def test_no_text_makes_the_readers_fail_or_believe(text: str) -> None:
    assert tokens.verify(text, KEYS) is None
    assert tokens.verify(f"<sd.ack.{text}@x>", KEYS) is None
    assert tokens.read_reply_address(f"support+as1.{text}@allsaints.example", SUPPORT, KEYS) is None


@given(
    ticket=st.integers(0, 2**48 - 1),
    role=st.sampled_from(list(Role)),
    uuid=st.uuids(),
    kind=st.from_regex(r"[a-z][a-z-]{0,20}", fullmatch=True),
)
def test_what_was_written_is_read_again(ticket: int, role: Role, uuid: UUID, kind: str) -> None:
    own = tokens.verify(message_id(ticket=ticket, role=role, uuid=uuid, kind=kind), KEYS)

    assert own is not None
    assert (own.ticket, own.role, own.uuid, own.kind) == (ticket, role, uuid, kind)
