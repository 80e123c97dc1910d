"""The least that can be done with a mailbox in Python: download it in batches and parse it, nothing else.

python bench/floor_read.py HOST IMAP_PORT USER PASSWORD
"""

from __future__ import annotations

import sys

import mailparser
from imapclient import IMAPClient


def main() -> None:
    """Read the inbox and print how many mails it holds."""
    host, port, user, password = sys.argv[1:]
    count = 0
    with IMAPClient(host, port=int(port), ssl=False) as inbox:
        inbox._imap.debug = 0
        inbox.login(user, password)
        inbox.select_folder("INBOX", readonly=True)
        uids = inbox.search()
        for start in range(0, len(uids), 100):
            for data in inbox.fetch(uids[start : start + 100], ["BODY.PEEK[]"]).values():
                mailparser.parse_from_bytes(data[b"BODY[]"])
                count += 1
    print(count)


if __name__ == "__main__":
    main()
