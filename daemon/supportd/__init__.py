"""supportd: the help desk behind a school's ``support@`` mailbox.

The house, from the door to the cellar; arrows of import point down only (tests/test_architecture.py keeps it):

* ``cli``        what people type: run, once, ticket, check, sla, severity, calendar, templates ...
* ``service``    the composition root: runs the threads, reads the clock, feeds the watchdog
* ``capture``    mailbox -> ledger, before anything else is done with a message; files decided mail afterwards
* ``decide``     one captured mail -> one decision -> one transaction; read it first, it is the table of contents
* ``remind``     deadlines -> letters: reminders, digest, weekly report
* ``outbox``     letters -> SMTP, each tried, retried and given up on its own
* ``parsing``    disposable worker processes around ``core.parse``, with hard limits
* ``compose``    ticket + template -> letter (final bytes)
* ``config``     YAML -> frozen configuration; every problem at once, with file:line:column
* ``imap`` ``smtp``   the wire
* ``db``         schema, ledger, tickets, letters, migrations: the only SQL
* ``core``       pure: values in, values out, ``now`` as an argument
* ``errors`` ``log``  know nobody
"""

__version__ = "0.1.0"
