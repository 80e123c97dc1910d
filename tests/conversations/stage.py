"""One scenario: steps that act, by mail or in the shell, and steps that look.

What a step may be:

* ``write``   somebody writes a mail, or answers one in his mailbox, with some mail program
* ``pass``    one pass of supportd, in this process
* ``shell``   a command of supportd's
* ``age``     so much time passes: every instant in the database moves into the past
* ``holds``   all letters of supportd that a mailbox must hold by now
* ``tickets`` all tickets that there must be, and what they must be
* ``twins``   two tickets that must have the same events, whoever and by whichever way
* ``why``     the verdict on the last mail of somebody
"""

from __future__ import annotations

import email.utils
import json
import re
import shlex
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from ruamel.yaml import YAML
from sqlalchemy import DateTime, select, update

from conversations import programs
from forgeries import border
from servers import wait_until
from servers.dovecot import Dovecot
from servers.house import SUPPORT, House
from servers.postfix import Postfix
from supportd import config
from supportd.cli.app import app
from supportd.core import tokens
from supportd.core.sender import Profile
from supportd.core.tokens import Role
from supportd.db.engine import Database
from supportd.db.schema import metadata
from supportd.parsing import Reader
from supportd.service import Service, Summary

HERE = Path(__file__).parent
PEOPLE: dict[str, str] = YAML(typ="safe").load(HERE / "people.yaml")
NAMES = {email.utils.parseaddr(person)[1]: name for name, person in PEOPLE.items()}
IT_PEOPLE = ("sam", "rita", "it", "lead")
# What identifies a message on its server does not age; a ticket's receipt does.
_SERVER_INSTANTS = {("message", "received_at"), ("sent_item", "received_at"), ("mailbox", "lease_until")}


def address_of(person: str) -> str:
    """Return the address of *person*, a name of people.yaml or an address."""
    return email.utils.parseaddr(PEOPLE.get(person, person))[1]


def read(raw: bytes) -> EmailMessage:
    message = message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def kind_of(message: EmailMessage) -> str:
    """Return the kind of supportd's letter that *message* is, or "mail" for a mail of somebody else."""
    message_id = str(message["Message-ID"] or "")
    return message_id.split(".")[1] if message_id.startswith("<sd.") else "mail"


def merged(base: Any, over: Any) -> Any:
    """Return *base* with *over* laid upon it, mappings key by key."""
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        return {**base, **{key: merged(base.get(key), value) for key, value in over.items()}}
    return over


class Stage:
    """A house with two technicians that is always open, its mail servers, and everybody's mail programs."""

    def __init__(
        self, folder: Path, dovecot: Dovecot, postfix: Postfix, reader: Reader, settings: Mapping[str, Any]
    ) -> None:
        self.dovecot = dovecot
        self.postfix = postfix
        self._folder = folder
        self._reader = reader
        self._traffic = Traffic(postfix)
        self.house = House(folder, dovecot, postfix)
        self.house.settings["calendar"] |= {"hours": {"mon-sun": ["00:00-24:00"]}, "bank_holidays": None}
        self.house.settings["technicians"] = [
            {"name": email.utils.parseaddr(PEOPLE[name])[0], "address": address_of(name)} for name in ("sam", "rita")
        ]
        own = dict(settings)
        mailbox = own.pop("mailbox", {})
        self.house.settings = merged(self.house.settings, own)
        self.house.settings["mailboxes"] = [merged(self.house.settings["mailboxes"][0], mailbox)]
        self.file = self.house._written()
        # Loaded once: that passes and commands read the file for themselves is tested elsewhere.
        self._config = config.load(self.file)
        self.summary = Summary()
        self.said = ""

    # -- acting ----------------------------------------------------------------------------------------------------

    def play(self, step: Mapping[str, Any] | str) -> None:
        """Do or look at what *step* says."""
        if isinstance(step, str):
            step = {step: None}
        [(what, value)] = step.items()
        match what:
            case "write":
                self._write(dict(value))
            case "pass":
                self._pass()
            case "shell":
                self._shell(value)
            case "age":
                self._age(timedelta(**{unit: int(number) for number, unit in [str(value).split()]}))
            case "holds":
                for person, wanted in value.items():
                    self._check_mailbox(person, wanted or [])
            case "tickets":
                self._check_tickets(value or {})
            case "twins":
                self._check_twins(*value)
            case "why":
                self._check_verdicts(value)
            case _:
                raise ValueError(f"no step is called {what}")

    def _write(self, given: dict[str, Any]) -> None:
        # One after the other: Postfix delivers side by side what it has at the same time.
        self._traffic.settle()
        sender = PEOPLE.get(given["from"], given["from"])
        address = email.utils.parseaddr(sender)[1]
        program = given.get("with", "plain")
        answered = self._letter(given["from"], given["answers"]) if "answers" in given else None
        text = str(given.get("text", "")).rstrip("\n")
        if program in ("mutt", "s-nail"):
            assert answered is not None, "mutt and s-nail answer letters here"
            everybody = bool(given.get("everybody"))
            number = self._number(address, str(answered["Message-ID"]))
            if program == "mutt":
                programs.mutt(self.dovecot, self.postfix, self._folder, sender, number, text, everybody=everybody)
            else:
                programs.s_nail(self.dovecot, self.postfix, address, number, text)
            self._traffic.expect(1)
            return
        now = datetime.now(UTC) - timedelta(minutes=given.get("minutes_ago", 0))
        if "returns" in given:
            raw = bytes(self._letter(given["from"], given["returns"]))
        elif "passes_on" in given:
            original = self._letter(given["from"], given["passes_on"])
            raw = programs.passed_on(bytes(original), sender=sender, to=SUPPORT, text=text, now=now)
        else:
            raw = self._composed(given, sender, program, text, answered, now)
        if "into" in given:
            # Written past us, or delivered by a border that is not here: it lies in the mailbox as it is.
            folder = given["into"]
            with self.dovecot.imap(SUPPORT) as client:
                if not client.folder_exists(folder):
                    client.create_folder(folder)
            self.dovecot.append(SUPPORT, raw, folder=folder, received_at=now)
            return
        if "border" in given:
            told = given["border"] or {}
            self.dovecot.append(SUPPORT, _trace(self._profile(), told) + raw, received_at=now)
            return
        recipients = [one for field in (given.get("to", "support"), given.get("cc")) for one in _list(field)]
        recipients = [self._recipient(one, answered) for one in recipients]
        if given.get("everybody") and answered is not None:
            recipients = list(dict.fromkeys([*recipients, *self._others(answered, address)]))
        if "envelope" in given:
            self.postfix.deliver(raw, recipients, sender=given["envelope"])
        elif address.endswith("@allsaints.example"):
            self.postfix.submit(raw, recipients, sender=address)
        else:
            self.postfix.deliver(raw, recipients, sender=address)
        self._traffic.expect(1)

    def _composed(
        self,
        given: Mapping[str, Any],
        sender: str,
        program: str,
        text: str,
        answered: EmailMessage | None,
        now: datetime,
    ) -> bytes:
        own = email.utils.parseaddr(sender)[1]
        to = [PEOPLE.get(one, one) for one in _list(given.get("to", "support"))]
        cc = [PEOPLE.get(one, one) for one in _list(given.get("cc"))]
        if answered is not None and "to" not in given:
            to = [str(answered["Reply-To"] or answered["From"])]
        if given.get("everybody") and answered is not None:
            cc += [one for one in self._others(answered, own) if one != SUPPORT]
        subject = given.get("subject")
        if subject is None:
            assert answered is not None, "a mail that answers nothing has a subject"
            subject = str(answered["Subject"])
            subject = subject if subject.lower().startswith("re:") else f"Re: {subject}"
        return programs.written(
            program,
            sender=sender,
            to=", ".join(to),
            cc=", ".join(cc),
            subject=subject,
            text=text,
            now=now,
            answers=answered if given.get("threads", True) else None,
            fields=given.get("fields"),
            attachments=given.get("attach", ()),
        )

    def _recipient(self, person: str, answered: EmailMessage | None) -> str:
        """Return where a mail to *person* goes; an answer goes to the Reply-To of what it answers."""
        if person == "support" and answered is not None:
            return email.utils.parseaddr(str(answered["Reply-To"] or answered["From"]))[1]
        return address_of(person)

    def _others(self, answered: EmailMessage, own: str) -> list[str]:
        """Return whom "reply to all" writes to beside the sender of *answered*."""
        fields = [str(answered[name]) for name in ("To", "Cc") if answered[name]]
        return [address for _, address in email.utils.getaddresses(fields) if address != own]

    def _pass(self) -> None:
        self._traffic.settle()
        service = Service(self._config)
        # Workers that read mail take a second to start; one pool reads for all scenarios.
        service._reader = self._reader
        try:
            self.summary = service.once()
        finally:
            service._reader = None
            service.close()
        self._traffic.expect(self.summary.sent)
        self._traffic.settle()

    def _shell(self, given: str | Mapping[str, Any]) -> None:
        """Run a command; ``exits`` and ``says`` tell what must come of it."""
        if isinstance(given, str):
            given = {"run": given}
        result = CliRunner().invoke(
            app, ["-c", str(self.file), *shlex.split(given["run"])], input=given.get("given"), catch_exceptions=True
        )
        problems = getattr(result.exception, "problems", ())
        self.said = result.output + "".join(f"{problem}\n" for problem in problems)
        failed = result.exception is not None and result.exit_code
        assert bool(failed) == bool(given.get("fails")), f"{given['run']}: {result.exception!r} {self.said}"
        said = " ".join(self.said.split())
        for words in _list(given.get("says")):
            assert words in said, f"{given['run']} does not say {words!r}: {self.said}"
        for words in _list(given.get("never")):
            assert words not in said, f"{given['run']} says {words!r}: {self.said}"

    def _age(self, passed: timedelta) -> None:
        with self._database() as database, database.write() as connection:
            for table in metadata.sorted_tables:
                columns = [
                    column
                    for column in table.columns
                    if isinstance(getattr(column.type, "impl_instance", None), DateTime)
                    and (table.name, column.name) not in _SERVER_INSTANTS
                ]
                keys = list(table.primary_key.columns)
                for row in connection.execute(select(*keys, *columns)).all() if columns else ():
                    older = {
                        column.name: getattr(row, column.name) - passed
                        for column in columns
                        if getattr(row, column.name) is not None
                    }
                    where = [key == getattr(row, key.name) for key in keys]
                    connection.execute(update(table).where(*where).values(**older))

    # -- looking ---------------------------------------------------------------------------------------------------

    def letters(self, person: str) -> list[EmailMessage]:
        """Return all mails in the mailbox of *person*, oldest first."""
        folders = ("INBOX", "Processed") if person == "support" else ("INBOX",)
        return [read(raw) for folder in folders for raw in self.dovecot.messages(address_of(person), folder)]

    def _letter(self, person: str, wanted: str) -> EmailMessage:
        """Return the newest mail of a kind in somebody's mailbox: "alert", "alert AS-2", "mail", "mail Subject"."""
        kind, _, about = wanted.partition(" ")
        found = [
            one
            for one in self.letters(person)
            if kind_of(one) == kind and (about in str(one["Subject"]) if about else True)
        ]
        held = [f"{kind_of(one)}: {one['Subject']}" for one in self.letters(person)]
        assert found, f"{person} has no {wanted}, only {held}"
        return found[-1]

    def _number(self, address: str, message_id: str) -> int:
        """Return which message of the mailbox has *message_id*, counted from 1 as a mail program does."""
        return [str(one["Message-ID"]) for one in self.letters(address)].index(message_id) + 1

    def _check_mailbox(self, person: str, wanted: list[Any]) -> None:
        """Assert that the mailbox holds exactly the letters *wanted*; the morning's digest only where it is named."""
        specs = [{"letter": one} if isinstance(one, str) else one for one in wanted]
        named = {one["letter"] for one in specs}
        held = [one for one in self.letters(person) if kind_of(one) not in {"mail", "digest"} - named]
        kinds = sorted(kind_of(one) for one in held)
        assert kinds == sorted(one["letter"] for one in specs), (
            f"{person} holds {[(kind_of(one), str(one['Subject'])) for one in held]}"
        )
        waiting = deque(held)
        for spec in specs:
            problems: list[str] = []
            for _ in range(len(waiting)):
                letter = waiting.popleft()
                found = list(self._mistakes(letter, spec))
                if not found:
                    break
                problems += found
                waiting.append(letter)
            else:
                raise AssertionError(f"{person} holds no such {spec}: {problems}")

    def _mistakes(self, letter: EmailMessage, spec: Mapping[str, Any]) -> Iterator[str]:
        """Yield in what *letter* differs from *spec*."""
        if kind_of(letter) != spec["letter"]:
            yield f"a {kind_of(letter)}"
            return
        html = letter.get_body(("html",))
        shown = re.sub(r"<[^>]{0,2000}>", " ", html.get_content()) if html else ""
        text = " ".join(programs.text_of(letter).split())
        if "subject" in spec and str(letter["Subject"]) != spec["subject"]:
            yield f"its subject is {letter['Subject']!r}"
        for words in _list(spec.get("says")):
            if words not in text:
                yield f"it does not say {words!r}: {text}"
        for words in _list(spec.get("never")):
            if words in text or words in shown or words in str(letter):
                yield f"it says {words!r}"
        if "answers" in spec and not self._is_answer(letter, spec["answers"]):
            yield f"it is not in the thread of {spec['answers']}: {letter['In-Reply-To']} {letter['References']}"
        carried = {part.get_filename(): part.get_content() for part in letter.iter_attachments()}
        for name, content in (spec.get("carries") or {}).items():
            if str(carried.get(name, "")).strip() != content.strip():
                yield f"it carries {carried}"

    def _is_answer(self, letter: EmailMessage, answered: str) -> bool:
        """Return whether *letter* stands in the thread of the mail with the subject *answered* in support's folders."""
        ids = {
            str(one["Message-ID"])
            for folder in ("Processed", "INBOX")
            for one in map(read, self.dovecot.messages(SUPPORT, folder))
            if str(one["Subject"]) == answered
        }
        return str(letter["In-Reply-To"]) in ids and any(one in str(letter["References"]) for one in ids)

    def shown(self) -> dict[str, dict[str, Any]]:
        """Return every ticket by its reference, as ``ticket show --json`` has it."""
        self._shell("ticket list --status all --json")
        found = {}
        for one in json.loads(self.said):
            self._shell(f"ticket show {one['reference']} --json")
            found[one["reference"]] = json.loads(self.said)
        return found

    def _check_tickets(self, wanted: Mapping[str, Mapping[str, Any]]) -> None:
        found = self.shown()
        assert list(found) == list(wanted), {name: (one["subject"], one["requester"]) for name, one in found.items()}
        for reference, spec in wanted.items():
            ticket = found[reference]
            for name, value in spec.items():
                if name == "events":
                    _check_events(reference, ticket["events"], _list(value))
                elif name == "says":
                    text = json.dumps(ticket, ensure_ascii=False)
                    assert all(words in text for words in _list(value)), text
                else:
                    is_person = name in ("requester", "assignee") and value
                    expected = address_of(value) if is_person else value
                    assert ticket[name] == expected, f"{reference}: {name} is {ticket[name]!r}, not {expected!r}"
        self._check_deadlines(found)

    def _check_deadlines(self, found: Mapping[str, Mapping[str, Any]]) -> None:
        """Assert that each ticket without a pause or a reopening is due when ``sla due`` says so."""
        plain = {
            reference: ticket
            for reference, ticket in found.items()
            if not {"waiting", "reopened"} & {event["kind"] for event in ticket["events"]}
        }
        asked = [
            {"id": reference, "severity": one["severity"], "received_at": one["received_at"]}
            for reference, one in plain.items()
        ]
        self._shell({"run": "sla due --jsonl", "given": "".join(json.dumps(one) + "\n" for one in asked)})
        for line in self.said.splitlines():
            due = json.loads(line)
            ticket = plain[due["id"]]
            # Ended clocks keep what they were counted by; a correction leaves an outcome as it is.
            if not any(event["kind"] == "corrected" for event in ticket["events"]):
                assert ticket["response_due"] == due["response_due"], due["id"]
            if ticket["resolved_at"] is None:
                assert ticket["resolution_due"] == due["resolution_due"], due["id"]

    def _check_twins(self, first: str, second: str) -> None:
        found = self.shown()
        kinds = [
            [
                (event["kind"], re.sub(r"AS-\d+", "AS", event["text"].strip()), sorted(_plain(event["details"])))
                for event in found[reference]["events"]
                if event["way"] in ("mail", "shell") and event["kind"] not in ("received", "replied")
            ]
            for reference in (first, second)
        ]
        assert kinds[0], f"nothing happened to {first}"
        assert kinds[0] == kinds[1]

    def _check_verdicts(self, wanted: Mapping[str, str]) -> None:
        with self._database() as database, database.read() as connection:
            for person, verdict in wanted.items():
                rows = [row for row in _rows(connection) if row["sender"] == address_of(person)]
                assert rows, f"{person} wrote nothing"
                row = rows[-1]
                said = f"{row['verdict']} {row['rule'] or ''}".strip()
                assert said.startswith(verdict), f"{person}'s last mail: {said} ({row['reason']})"

    def check_secrets(self) -> None:
        """Assert that nobody but technicians ever got a technician's token or a technician's own address."""
        service_keys = self._keys()
        private = {address_of(name) for name in ("sam", "rita", "it", "lead")}
        for address in self.dovecot.addresses():
            if address == SUPPORT or NAMES.get(address) in IT_PEOPLE:
                continue
            for raw in self.dovecot.messages(address):
                letter = read(raw)
                if kind_of(letter) == "mail":
                    continue
                html = letter.get_body(("html",))
                whole = " ".join((str(letter), programs.text_of(letter), html.get_content() if html else ""))
                for word in re.findall(r"<?sd\.[a-z-]+\.[a-z0-9]+\.[a-z0-9]+@", whole):
                    own = tokens.verify(word + "x", service_keys)
                    assert own is None or own.role is Role.REQUESTER, f"{address} got a technician's Message-ID"
                for plus in re.findall(r"support\+[^\s<>\"]+", whole):
                    token = tokens.read_reply_address(plus.strip(">;,"), SUPPORT, service_keys)
                    assert token is None or token.role is Role.REQUESTER, f"{address} got a technician's reply address"
                leaked = {one for one in private if one in whole} - {address}
                assert not leaked, f"{address} got {leaked}: {letter}"

    def _keys(self) -> tokens.Keys:
        service = Service(self._config)
        try:
            return service.keys
        finally:
            service.close()

    def _profile(self) -> Profile:
        return Profile(self.house.settings["trust"]["profile"])

    def _database(self) -> _Open:
        return _Open(self._config.database_url)


class _Open:
    """The database of the scenario, closed again afterwards."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    def __enter__(self) -> Database:
        return self._database

    def __exit__(self, *_: object) -> None:
        self._database.close()


class Traffic:
    """What Postfix has in its hands, read from its log: a pass must not look before the mail is there."""

    def __init__(self, postfix: Postfix) -> None:
        self._log = postfix.log
        self._read_bytes = postfix.log.stat().st_size
        self._rest = b""
        self._taken: set[bytes] = set()
        self._done: set[bytes] = set()
        self._expected = 0

    def expect(self, messages: int) -> None:
        """Reckon with *messages* more that were handed to Postfix."""
        self._expected += messages

    def settle(self) -> None:
        """Return when all that was expected, and what bounced of it, is delivered."""
        wait_until(self._is_settled, f"{self._expected} messages are delivered")

    def _is_settled(self) -> bool:
        with self._log.open("rb") as log:
            log.seek(self._read_bytes)
            new = log.read()
        self._read_bytes += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        for line in lines:
            found = re.search(rb"postfix[^ ]*/(cleanup|qmgr)\[\d+\]: ([0-9A-Za-z]{6,20}): (message-id=|removed)", line)
            if found:
                (self._taken if found[3] == b"message-id=" else self._done).add(found[2])
        return len(self._taken) >= self._expected and self._taken <= self._done


def _trace(profile: Profile, told: Mapping[str, Any]) -> bytes:
    """Return what the border of *profile* writes on top of a mail of which it was *told* this."""
    if told.get("inside"):
        return border.trace(profile, border.INSIDE_THE_TENANT).encode()
    domain = told.get("author", border.SCHOOL)
    words = border.Words(
        author_domain=domain,
        dmarc=told.get("dmarc", "pass"),
        signed_by=told.get("signed_by", domain),
        mail_from=told.get("mail_from", f"someone@{domain}"),
        helo=told.get("helo", f"out.{domain}"),
    )
    return border.trace(profile, words).encode()


def _check_events(reference: str, events: list[Mapping[str, Any]], wanted: list[str]) -> None:
    """Assert that *events* are those *wanted*: "noted", or more of it: "noted mail sam"."""
    found = [f"{event['kind']} {event['way']} {NAMES.get(event['by'], event['by'])}" for event in events]
    is_same = len(found) == len(wanted) and all(
        f"{one} ".startswith(f"{want} ") for one, want in zip(found, wanted, strict=True)
    )
    assert is_same, f"{reference}: {found}"


def _plain(details: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(key, re.sub(r"AS-\d+", "AS", value)) for key, value in details.items()]


def _rows(connection: Any) -> list[Mapping[str, Any]]:
    message = metadata.tables["message"]
    return [dict(row._mapping) for row in connection.execute(select(message).order_by(message.c.id))]


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


