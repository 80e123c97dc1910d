"""The test servers do what the other tests take for granted of them."""

from __future__ import annotations

import smtplib
import time
from email.message import EmailMessage

import psycopg
import pytest
from imapclient.exceptions import LoginError

from servers import HOST, ServerProblem, program, wait_until
from servers.dovecot import Dovecot
from servers.postfix import Postfix
from servers.postgresql import PostgreSQL

TEACHER = "m.okafor@allsaints.example"


def mail(subject: str = "The projector in Year 4") -> bytes:
    message = EmailMessage()
    message["From"] = TEACHER
    message["To"] = "support@allsaints.example"
    message["Subject"] = subject
    message.set_content("It hums and shows nothing.\n")
    return message.as_bytes()


def test_mail_handed_to_postfix_is_in_the_mailbox_within_seconds(postfix: Postfix, dovecot: Dovecot) -> None:
    postfix.deliver(mail(), "support@allsaints.example")

    wait_until(lambda: dovecot.count("support@allsaints.example") == 1, "the mail is there")
    [message] = dovecot.messages("support@allsaints.example")
    assert b"Subject: The projector in Year 4" in message
    assert b"Message-ID" not in message


def test_an_idle_client_hears_of_new_mail_within_a_second(postfix: Postfix, dovecot: Dovecot) -> None:
    with dovecot.imap("support@allsaints.example") as client:
        client.select_folder("INBOX")
        client.idle()
        started_at = time.monotonic()

        postfix.deliver(mail(), "support@allsaints.example")

        assert (1, b"EXISTS") in client.idle_check(timeout=10)
        assert time.monotonic() - started_at < 1
        client.idle_done()


def test_the_mailbox_can_move_and_starts_with_an_inbox_only(dovecot: Dovecot) -> None:
    dovecot.append(TEACHER, mail())

    with dovecot.imap(TEACHER) as client:
        assert {b"MOVE", b"UIDPLUS", b"IDLE"} <= set(client.capabilities())
        assert [name for _flags, _separator, name in client.list_folders()] == ["INBOX"]


def test_a_wrong_password_is_refused_without_a_wait(dovecot: Dovecot) -> None:
    with dovecot.imap(TEACHER):
        pass  # The right one is accepted.

    with pytest.raises(LoginError), dovecot.imap(TEACHER, password="wrong horse"):
        pass


def test_a_teacher_who_logs_in_may_send_and_who_does_not_may_not(postfix: Postfix, dovecot: Dovecot) -> None:
    postfix.submit(mail(), "governor@elsewhere.example", TEACHER)
    with smtplib.SMTP("localhost", postfix.submission_port) as client:
        client.starttls(context=dovecot.certificates.client_context())
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail(TEACHER, "governor@elsewhere.example", mail())

    wait_until(lambda: dovecot.count("governor@elsewhere.example") == 1, "the mail is there")


def test_a_plus_address_is_the_same_mailbox(postfix: Postfix, dovecot: Dovecot) -> None:
    postfix.deliver(mail(), "support+AS-1.token@allsaints.example")

    wait_until(lambda: dovecot.count("support@allsaints.example") == 1, "the mail is there")
    assert dovecot.addresses() >= {"support@allsaints.example"}
    assert not [address for address in dovecot.addresses() if "+" in address]


def test_an_unknown_recipient_is_refused_and_one_who_left_bounces(postfix: Postfix, dovecot: Dovecot) -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        postfix.deliver(mail(), "unknown.person@allsaints.example")

    postfix.deliver(mail(), "gone.person@allsaints.example", sender=TEACHER)

    wait_until(lambda: dovecot.count(TEACHER) == 1, "the bounce is there")
    [bounce] = dovecot.messages(TEACHER)
    assert b"Return-Path: <>" in bounce
    assert b"message/delivery-status" in bounce


def test_mail_survives_the_stop_and_the_death_of_both_servers(postfix: Postfix, dovecot: Dovecot) -> None:
    dovecot.stop()
    postfix.deliver(mail("while the mailbox is away"), TEACHER)
    postfix.kill()

    postfix.start()
    dovecot.start()
    dovecot.kill()
    dovecot.start()

    wait_until(lambda: dovecot.count(TEACHER) == 1, "the mail is there")
    with smtplib.SMTP(HOST, postfix.smtp_port) as client:
        assert client.noop()[0] == 250


def test_each_database_is_empty_and_survives_a_crash(postgresql: PostgreSQL, postgresql_url: str) -> None:
    address = postgresql_url.replace("+psycopg", "")
    with psycopg.connect(address) as connection:
        connection.execute("CREATE TABLE ticket (id integer)")

    postgresql.kill()
    postgresql.start()

    other = postgresql.new_database()
    with psycopg.connect(address) as connection, psycopg.connect(other.replace("+psycopg", "")) as empty:
        assert connection.execute("SELECT to_regclass('ticket')").fetchone() == ("ticket",)
        assert empty.execute("SELECT to_regclass('ticket')").fetchone() == (None,)
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
    postgresql.drop_database(other)


def test_a_missing_program_is_an_error_that_names_its_cure() -> None:
    with pytest.raises(ServerProblem, match="make servers, or apt-get install postfix"):
        program("a-mail-server-that-nobody-has", "postfix")
