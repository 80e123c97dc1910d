"""What the clock sends by itself: reminders, repeats, held alerts, the digest, corrections; `now` is an argument."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from core.school import at
from rooms import ANN, DOMAIN, EXAMPLE, IT, LEAD, NIGHT, SAM, Queued, Rooms, config, technician
from supportd import failpoint, steering
from supportd.cli.app import app
from supportd.config import load
from supportd.core.commands import Command, Verb
from supportd.core.model import EventKind
from supportd.db import ledger, letters, tickets

MINUTE = timedelta(minutes=1)
# Monday, two hours into the service, with the week's digest behind.
MONDAY = at("2026-11-23 10:00")
BOARD = ("Board in Oak is dead", "The interactive whiteboard in Oak does not switch on, the whole class cannot work.")
PASSWORD = ("Password", "I forgot my password and cannot log in to my laptop.")
OUTAGE = ("Internet down", "The internet is down in the whole school, nobody can work.")


@pytest.fixture
def rooms(tmp_path: Path) -> Rooms:
    return started(tmp_path)


def started(folder: Path, changed: dict[str, str] | None = None) -> Rooms:
    rooms = Rooms(folder, MONDAY - timedelta(hours=2), config(changed))
    rooms.tick(MONDAY - timedelta(hours=1))
    return rooms


def act(rooms: Rooms, reference: str, verb: Verb, value: str = "", *, now: str, by: str = SAM) -> None:
    with rooms.database.write() as connection:
        post = rooms.post(connection, at(now))
        ticket = steering.load(post, _id(rooms, reference))
        steering.apply(post, ticket, Command(verb=verb, value=value), technician(by))


def _id(rooms: Rooms, reference: str) -> int:
    return rooms.ticket(reference).id


def told(found: list[Queued], *kinds: str) -> set[tuple[str, str]]:
    """Return (kind, recipient) of the letters *found* that are of *kinds*, the words of the step with it."""
    return {(one.kind, one.recipient) for one in found if one.kind in kinds}


def steps(found: list[Queued]) -> list[str]:
    """Return the steps of the ladder that *found* reminds of, as their keys name them, one entry a letter."""
    return [one.key.split(":")[-2] for one in found if one.kind in ("reminder", "escalation")]


# The ladder.


def test_each_step_goes_once_to_all_technicians_and_from_the_third_to_the_lead(rooms: Rooms) -> None:
    # Level 3, received at 10:00: an answer by 11:00.
    reference = rooms.receive(*BOARD, received_at=MONDAY).reference
    assert rooms.ticket(reference).response_due == at("2026-11-23 11:00")
    sent = {}

    for minute in range(0, 125, 5):
        found = told(rooms.tick(MONDAY + minute * MINUTE), "reminder", "escalation")
        if found:
            sent[minute] = found

    both = {("reminder", SAM), ("reminder", ANN)}
    lead = {("escalation", LEAD)}
    # Response: half, soon, due, an hour after.  Resolution by 12:00: half at 11:00, soon at 11:45, due at 12:00.
    assert sent == {30: both, 45: both, 60: both | lead, 105: both, 120: both | lead}


def test_an_answer_ends_the_ladder(rooms: Rooms) -> None:
    reference = rooms.receive(*BOARD, received_at=MONDAY).reference
    assert steps(rooms.tick(at("2026-11-23 10:30"))) == ["half", "half"]

    act(rooms, reference, Verb.RESOLVE, now="2026-11-23 10:40")

    assert steps([*rooms.tick(at("2026-11-23 10:45")), *rooms.tick(at("2026-11-23 12:30"))]) == []


def test_of_the_steps_that_were_slept_through_only_the_latest_goes(rooms: Rooms) -> None:
    rooms.receive(*BOARD, received_at=MONDAY)

    found = rooms.tick(at("2026-11-23 12:20"))

    # An hour after the response was due, and the resolution due: one letter each.
    assert sorted(set(steps(found))) == ["due", "hour-after"]
    assert told(found, "reminder") == {("reminder", SAM), ("reminder", ANN)}
    assert len([one for one in found if one.kind == "reminder"]) == 4


def test_no_reminder_goes_while_the_service_is_closed(rooms: Rooms) -> None:
    # Received at 15:30: an answer by 08:30 of Tuesday, a fix by 09:30.
    rooms.receive(*BOARD, received_at=at("2026-11-23 15:30"))

    night = [rooms.tick(at(f"2026-11-23 {hour}:00")) for hour in range(16, 24)]
    morning = rooms.tick(at("2026-11-24 08:00"))

    assert [letter for found in night for letter in found if letter.kind in ("reminder", "escalation")] == []
    # Half of one hour is exactly the closing, so it goes out at the opening.
    assert steps(morning) == ["half", "half"]


def test_a_ticket_that_is_overdue_is_told_at_each_opening(rooms: Rooms) -> None:
    rooms.receive(*BOARD, received_at=MONDAY)
    rooms.tick(at("2026-11-23 15:00"))

    tuesday, wednesday = rooms.tick(at("2026-11-24 08:00")), rooms.tick(at("2026-11-25 08:00"))

    assert set(steps(tuesday)) == {"day-2026-11-24"}
    assert set(steps(wednesday)) == {"day-2026-11-25"}
    assert told(tuesday, "escalation") == {("escalation", LEAD)}


def test_whoever_takes_a_ticket_over_is_not_told_an_old_step_again(rooms: Rooms) -> None:
    reference = rooms.receive(*BOARD, received_at=MONDAY).reference
    act(rooms, reference, Verb.ASSIGN, SAM, now="2026-11-23 10:05")
    assert told(rooms.tick(at("2026-11-23 10:30")), "reminder") == {("reminder", SAM)}

    act(rooms, reference, Verb.ASSIGN, ANN, now="2026-11-23 10:31")

    assert told(rooms.tick(at("2026-11-23 10:32")), "reminder") == set()
    assert told(rooms.tick(at("2026-11-23 10:45")), "reminder") == {("reminder", ANN)}


def test_reminders_go_to_the_deputy_of_one_who_is_away(tmp_path: Path) -> None:
    away = f"away: [{{technician: {SAM}, from: 2026-11-23, to: 2026-11-23, deputy: {ANN}}}]"
    rooms = started(tmp_path, {"away: []": away})
    reference = rooms.receive(*PASSWORD, received_at=MONDAY).reference
    act(rooms, reference, Verb.ACK, now="2026-11-23 10:10")
    assert rooms.ticket(reference).assignee == SAM

    today, tomorrow = rooms.tick(at("2026-11-23 14:00")), rooms.tick(at("2026-11-24 09:45"))

    assert told(today, "reminder") == {("reminder", ANN)}
    assert told(tomorrow, "reminder") == {("reminder", SAM)}


def test_the_resolution_ladder_stands_still_while_the_requester_is_waited_for(rooms: Rooms) -> None:
    reference = rooms.receive(*BOARD, received_at=MONDAY).reference
    act(rooms, reference, Verb.ACK, now="2026-11-23 10:05")
    act(rooms, reference, Verb.WAIT, now="2026-11-23 10:10")

    assert steps(rooms.tick(at("2026-11-23 15:00"))) == []
    assert rooms.ticket(reference).waiting_since == at("2026-11-23 10:10")


# Severity 1 while closed.


def test_an_outage_in_the_night_repeats_to_on_call_three_times(rooms: Rooms) -> None:
    received_at = at("2026-11-23 20:00")
    rooms.receive(*OUTAGE, received_at=received_at)
    first = told(rooms.fresh(), "alert")

    repeats = {
        minute: found
        for minute in range(0, 180, 5)
        if (found := told(rooms.tick(received_at + minute * MINUTE), "alert", "reminder"))
    }

    assert first == {("alert", SAM), ("alert", ANN), ("alert", NIGHT)}
    assert repeats == {30: {("alert", NIGHT)}, 60: {("alert", NIGHT)}, 90: {("alert", NIGHT)}}


def test_an_acknowledgement_ends_the_repeats(rooms: Rooms) -> None:
    received_at = at("2026-11-23 20:00")
    reference = rooms.receive(*OUTAGE, received_at=received_at).reference
    assert told(rooms.tick(at("2026-11-23 20:30")), "alert") == {("alert", NIGHT)}

    act(rooms, reference, Verb.ACK, now="2026-11-23 20:40", by=NIGHT)

    assert told(rooms.tick(at("2026-11-23 21:00")), "alert") == set()


def test_after_a_sleep_on_call_is_woken_once(rooms: Rooms) -> None:
    rooms.receive(*OUTAGE, received_at=at("2026-11-23 20:00"))
    rooms.fresh()

    found = rooms.tick(at("2026-11-23 23:00"))

    assert [(one.kind, one.recipient) for one in found] == [("alert", NIGHT)]
    assert "repeat-3" in found[0].key


# Alerts held overnight.


def overnight(rooms: Rooms, count: int) -> list[str]:
    """Return the references of *count* quiet tickets of Monday evening, each of somebody else."""
    received = [at(f"2026-11-23 19:{number:02}") for number in range(count)]
    return [
        rooms.receive(*PASSWORD, sender=f"teacher{number}@{DOMAIN}", received_at=received_at).reference
        for number, received_at in enumerate(received)
    ]


def test_quiet_alerts_of_the_night_come_at_the_opening(rooms: Rooms) -> None:
    references = overnight(rooms, 3)

    night, morning = rooms.tick(at("2026-11-23 22:00")), rooms.tick(at("2026-11-24 08:00"))

    assert told(night, "alert", "alerts") == set()
    alerts = [one for one in morning if one.kind == "alert"]
    assert {one.recipient for one in alerts} == {IT}
    assert [any(reference in one.subject for one in alerts) for reference in references] == [True] * 3
    assert told(rooms.tick(at("2026-11-24 08:01")), "alert", "alerts") == set()


def test_more_than_five_of_the_night_fold_into_one_letter(rooms: Rooms) -> None:
    references = overnight(rooms, 6)

    morning = [one for one in rooms.tick(at("2026-11-24 08:00")) if one.kind in ("alert", "alerts")]

    assert [(one.kind, one.recipient) for one in morning] == [("alerts", IT)]
    assert all(reference in morning[0].text for reference in references)


def test_alerts_of_the_night_survive_a_death_between_writing_and_committing(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms.receive(*PASSWORD, received_at=at("2026-11-23 19:00"))
    rooms.fresh()
    monkeypatch.setattr(failpoint, "_ARMED", failpoint._read("remind.telling=raise"))

    with pytest.raises(failpoint.Stumble):
        rooms.tick(at("2026-11-24 08:00"))

    assert rooms.fresh() == []
    assert told(rooms.tick(at("2026-11-24 08:01")), "alert") == {("alert", IT)}


def test_a_quiet_alert_waits_when_a_closure_comes_between(rooms: Rooms) -> None:
    rooms.receive(*PASSWORD, received_at=at("2026-11-23 19:00"))
    rooms.configure(config({"closures: []": "closures: [{from: 2026-11-24, to: 2026-11-24, reason: snow}]"}))

    snowed_in, thursday = rooms.tick(at("2026-11-24 08:00")), rooms.tick(at("2026-11-25 08:00"))

    assert told(snowed_in, "alert") == set()
    assert told(thursday, "alert") == {("alert", IT)}


# A calendar that changes.


def test_a_closure_tells_each_affected_requester_once(rooms: Rooms) -> None:
    late = rooms.receive(*BOARD, received_at=at("2026-11-23 15:30")).reference
    rooms.receive(*PASSWORD, sender=f"kim@{DOMAIN}", received_at=at("2026-11-23 10:00"))
    rooms.reminder.recount_if_changed(at("2026-11-23 15:31"))
    rooms.fresh()
    rooms.configure(config({"closures: []": "closures: [{from: 2026-11-24, to: 2026-11-24, reason: snow}]"}))

    counts = [rooms.reminder.recount_if_changed(at("2026-11-23 16:30")) for _ in range(2)]

    corrections = [one for one in rooms.fresh() if one.kind == "correction"]
    # Kim's fix was promised for Tuesday 10:00 and moves with the closure too.
    assert counts == [2, 0]
    assert sorted(one.recipient for one in corrections) == [f"jane.smith@{DOMAIN}", f"kim@{DOMAIN}"]
    assert rooms.ticket(late).response_due == at("2026-11-25 08:30")
    assert "the service calendar has changed" in " ".join(corrections[0].text.split())


def test_snow_closed_from_the_shell_is_told_at_the_reload(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(EXAMPLE, encoding="utf-8")
    rooms = Rooms(tmp_path, MONDAY, load(file))
    reference = rooms.receive(*BOARD, received_at=at("2026-11-23 15:30")).reference
    rooms.reminder.recount_if_changed(at("2026-11-23 15:31"))
    rooms.fresh()

    closed = CliRunner().invoke(app, ["-c", str(file), "calendar", "close", "2026-11-24", "snow"])
    rooms.configure(load(file))
    rooms.reminder.recount_if_changed(at("2026-11-23 17:00"))

    assert closed.exit_code == 0
    assert [one.recipient for one in rooms.fresh() if one.kind == "correction"] == [f"jane.smith@{DOMAIN}"]
    assert rooms.ticket(reference).response_due == at("2026-11-25 08:30")


def test_a_calendar_that_opens_earlier_moves_the_deadline_and_tells_nobody(rooms: Rooms) -> None:
    reference = rooms.receive(*BOARD, received_at=at("2026-11-27 15:30")).reference
    rooms.reminder.recount_if_changed(at("2026-11-27 15:31"))
    rooms.fresh()
    cover = 'cover: [{from: 2026-11-28, to: 2026-11-28, hours: ["09:00-12:00"]}]'
    rooms.configure(config({"cover: []": cover}))

    rooms.reminder.recount_if_changed(at("2026-11-27 16:30"))

    assert rooms.ticket(reference).response_due == at("2026-11-28 09:30")
    assert told(rooms.fresh(), "correction") == set()
    assert steps(rooms.tick(at("2026-11-28 09:15"))) == ["soon", "soon"]


def test_alerts_held_over_a_holiday_come_with_a_cover_day(rooms: Rooms) -> None:
    rooms.reminder.recount_if_changed(at("2026-12-18 15:00"))
    rooms.receive(*PASSWORD, received_at=at("2026-12-18 17:00"))
    cover = 'cover: [{from: 2026-12-22, to: 2026-12-22, hours: ["10:00-12:00"]}]'
    rooms.configure(config({"cover: []": cover}))
    rooms.reminder.recount_if_changed(at("2026-12-19 09:00"))

    before, then = rooms.tick(at("2026-12-22 09:59")), rooms.tick(at("2026-12-22 10:00"))

    assert told(before, "alert") == set()
    assert told(then, "alert") == {("alert", IT)}


def test_who_was_told_not_known_is_told_once_when_term_dates_are_configured(tmp_path: Path) -> None:
    short = {
        "    - {name: Spring 2027, from: 2027-01-04, to: 2027-03-25, "
        "half_term: {from: 2027-02-15, to: 2027-02-19}}\n": "",
        "    - {name: Summer 2027, from: 2027-04-12, to: 2027-07-21, "
        "half_term: {from: 2027-05-31, to: 2027-06-04}}\n": "",
    }
    rooms = started(tmp_path, short)
    reference = rooms.receive(*PASSWORD, received_at=at("2026-12-18 15:00")).reference
    acknowledgement = next(one for one in rooms.fresh() if one.kind == "acknowledgement")
    rooms.reminder.recount_if_changed(at("2026-12-18 15:01"))
    assert rooms.ticket(reference).resolution_due is None
    for day in range(19, 31):
        rooms.tick(at(f"2026-12-{day} 09:00"))

    rooms.configure(config())
    for _ in range(2):
        rooms.reminder.recount_if_changed(at("2026-12-30 09:00"))

    corrections = [one for one in rooms.fresh() if one.kind == "correction"]
    assert "not known" in acknowledgement.text
    assert [one.recipient for one in corrections] == [f"jane.smith@{DOMAIN}"]
    assert rooms.ticket(reference).resolution_due == at("2027-01-04 15:00")
    assert set(steps(rooms.tick(at("2027-01-04 08:30")))) == {"half"}


# The digest.


def test_a_digest_takes_up_what_happened_since_the_last_one(rooms: Rooms) -> None:
    away = {"Auto-Submitted": "auto-replied"}
    rooms.receive("Out of office", "I am away.", received_at=at("2026-11-23 15:00"), headers=away)
    rooms.receive(*PASSWORD, sender=f"kim@{DOMAIN}", received_at=at("2026-11-23 15:10"))

    # The host sleeps from Monday afternoon to Thursday noon.
    found = [one for one in rooms.tick(at("2026-11-26 12:00")) if one.kind == "digest"]

    assert len(found) == 1
    assert "Screened: no ticket, no answer" in found[0].text
    assert rooms.slots("digest") == {
        "2026-11-23": "empty", "2026-11-24": "slept", "2026-11-25": "slept", "2026-11-26": "sent",
    }  # fmt: skip
    assert [one for one in rooms.tick(at("2026-11-26 12:01")) if one.kind == "digest"] == []


def test_the_first_digest_of_a_week_carries_the_weeks_that_no_digest_has_told(rooms: Rooms) -> None:
    rooms.receive(*PASSWORD, received_at=at("2026-12-17 09:00"))
    rooms.tick(at("2026-12-17 09:00"))
    rooms.tick(at("2026-12-18 09:00"))

    monday, tuesday = (
        [one.text for one in rooms.tick(at(f"2027-01-0{day} 08:00")) if one.kind == "digest"] for day in (4, 5)
    )

    assert "Since the last report: 0 of 1 replies" in monday[0]
    assert "Mon 14 Dec 2026 to Sun 3 Jan" in monday[0]
    assert "replies" not in tuesday[0]


def test_a_ticket_that_has_used_half_of_its_time_is_at_risk(rooms: Rooms) -> None:
    idea = ("New page on the website", "Could you please add a page for the choir to the school website? No hurry.")
    reference = rooms.receive(*idea, received_at=MONDAY).reference
    assert rooms.ticket(reference).level == 5
    act(rooms, reference, Verb.ACK, now="2026-11-23 10:10")

    digests = {
        day: found[0].text
        for day in (24, 25, 26, 27, 30)
        if (found := [one for one in rooms.tick(at(f"2026-11-{day} 08:00")) if one.kind == "digest"])
    }

    # Five business days from Monday 10:00: half are used up at 14:00 of Wednesday, due on Monday.
    assert [day for day, text in digests.items() if "At risk" in text] == [26, 27]
    assert "Due today" in digests[30]


def test_a_letter_given_up_after_days_of_trying_is_in_the_next_digest(rooms: Rooms) -> None:
    reference = rooms.receive(*PASSWORD, received_at=MONDAY).reference
    for day in (24, 25, 26, 27):
        rooms.tick(at(f"2026-11-{day} 08:00"))
    with rooms.database.write() as connection:
        details = (("kind", "acknowledgement"), ("recipient", f"jane.smith@{DOMAIN}"), ("reply", "451 try later"))
        ticket = tickets.load(connection, _id(rooms, reference), rooms.desk.level_names)
        steering.record(
            rooms.post(connection, at("2026-11-28 10:00")), ticket, EventKind.FAILED, steering.DAEMON,
            details=dict(details),
        )  # fmt: skip

    texts = [
        next(one.text for one in rooms.tick(at(f"{day} 08:00")) if one.kind == "digest")
        for day in ("2026-11-30", "2026-12-01")
    ]

    assert ["451 try later" in text for text in texts] == [True, False]


def test_the_end_of_the_sign_in_secret_counts_down_from_thirty_days(tmp_path: Path) -> None:
    signed = "oauth: {provider: microsoft, tenant: t, client_id: c, secret: {env: X}, secret_expires: 2026-12-25}"
    rooms = started(tmp_path, {"    folders: ": f"    {signed}\n    folders: "})

    told_on = {
        day: [one.text for one in rooms.tick(at(f"2026-11-{day} 08:00")) if one.kind == "digest"] for day in (24, 25)
    }

    assert told_on[24] == []
    assert "the sign-in secret expires on 2026-12-25, in 30 days" in " ".join(told_on[25][0].split())
    assert rooms.desk.secret_warnings(at("2026-12-26 09:00")) == (
        "the sign-in secret expired on 2026-12-25: put a new one in place",
    )


def test_a_broken_calendar_file_is_told_in_every_digest(rooms: Rooms) -> None:
    rooms.config._copies.problems.append("the calendar file terms.ics is cut short; the last good copy is in force")

    digests = [one for day in (24, 25) for one in rooms.tick(at(f"2026-11-{day} 08:00")) if one.kind == "digest"]

    assert len(digests) == 2
    assert all("terms.ics is cut short" in one.text for one in digests)


def test_nothing_to_say_is_not_said_but_once_a_week(rooms: Rooms) -> None:
    kinds: dict[str, list[str]] = {}

    for day in range(24, 31):
        for hour in (7, 8, 9):
            for one in rooms.tick(at(f"2026-11-{day} {hour:02}:00")):
                kinds.setdefault(one.kind, []).append(f"{day} {hour}")

    assert kinds == {"heartbeat": ["30 8"]}


def test_a_clock_that_was_ahead_does_not_silence_the_heartbeat(rooms: Rooms) -> None:
    with rooms.database.write() as connection:
        post = rooms.post(connection, at("2027-11-23 10:00"))
        post.to_technician(
            "heartbeat", "heartbeat:wrong", IT, lambda envelope: rooms.composer.heartbeat(envelope, open_tickets=0)
        )
        assert letters.last_queued_at(connection, rooms.mailbox_id, ("heartbeat",)) == at("2027-11-23 10:00")
        assert ledger.started_at(connection, rooms.mailbox_id) is not None

    assert [one.kind for one in rooms.tick(at("2026-12-01 09:00"))] == ["heartbeat"]


# Closing by itself.


def test_a_resolved_ticket_closes_after_five_quiet_business_days(rooms: Rooms) -> None:
    reference = rooms.receive(*PASSWORD, received_at=MONDAY).reference
    act(rooms, reference, Verb.RESOLVE, now="2026-11-23 11:00")

    states = []
    for when in ("2026-11-30 10:59", "2026-11-30 11:00"):
        rooms.tick(at(when))
        states.append(str(rooms.ticket(reference).status))

    assert states == ["resolved", "closed"]
