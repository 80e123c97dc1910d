"""Makes the one queue of the measured helpdesk (runs in its own environment): HOST IMAP_PORT USER PASSWORD."""

import sys

import django

django.setup()

from helpdesk.models import Queue  # noqa: E402 - Django wants its settings before its models

host, port, user, password = sys.argv[1:]
Queue.objects.create(
    title="Support", slug="support", email_address=user, allow_email_submission=True, email_box_type="imap",
    email_box_host=host, email_box_port=int(port), email_box_user=user, email_box_pass=password, email_box_ssl=False,
    email_box_imap_folder="INBOX", email_box_interval=0, logging_type="none",
)  # fmt: skip
