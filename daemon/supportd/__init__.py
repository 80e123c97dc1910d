"""supportd: the help desk behind a school's ``support@`` mailbox.

The house, from the door to the cellar; arrows of import point down only (tests/test_architecture.py keeps it), and
docs/architecture.md tells the way of one mail through it:

* ``cli``        what people type: run, once, ticket, check, sla, severity, calendar, templates ...
* ``service``    the composition root: runs the threads, reads the clock, feeds the watchdog
* ``station``    everything that serves one mailbox, wired together
* ``reconcile``  filed mail that the ledger does not know comes back, in silence
* ``capture``    mailbox -> ledger, before anything else is done with a message; files decided mail afterwards
* ``decide``     one captured mail -> one decision -> one transaction; read it first, it is the table of contents
* ``remind``     deadlines -> letters: reminders, the digest with the week's report, heartbeats
* ``outbox``     letters -> SMTP, each tried, retried and given up on its own
* ``sent``       answers that a technician wrote past us, found in the Sent folder
* ``audit``      is every message accounted for?
* ``joining``    a mail that joins a ticket: answers, commands, replies, claims, bounces
* ``opening``    a mail that opens a ticket: its rating, its deadlines, its letters
* ``steering``   what can be done to a ticket, by mail, from the shell or by the daemon: one function an act
* ``arrival``    one mail with all that the pure rooms say of it
* ``post``       a reason to write -> one queued letter: its key, its thread, its cap
* ``report``     outcomes -> how well the promises were kept
* ``publish``    the enforced policy -> the school's own pages
* ``privacy``    what goes by its age, what is told to a person, what is erased at her request
* ``samples``    every letter with made-up tickets, for templates preview and check
* ``lease``      who serves a mailbox: one daemon at a time
* ``accounts``   configuration -> where and as whom to sign in
* ``compose``    ticket + template -> letter (final bytes)
* ``config``     YAML -> frozen configuration; every problem at once, with file:line:column
* ``db``         schema, ledger, tickets, letters, migrations: the only SQL
* ``parsing``    disposable worker processes around ``core.parse``, with hard limits
* ``health``     what is wrong and since when, told by other ways than the mailbox
* ``imap`` ``smtp`` ``oauth``   the wire
* ``core``       pure: values in, values out, ``now`` as an argument
* ``errors`` ``log`` ``failpoint``   know nobody
"""

__version__ = "0.1.0"
