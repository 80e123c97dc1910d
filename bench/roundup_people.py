"""Makes the users of the measured Roundup tracker (runs in its own environment): HOME ADDRESS ..."""

import sys

import roundup.instance

home, *addresses = sys.argv[1:]
database = roundup.instance.open(home).open("admin")
for address in addresses:
    database.user.create(username=address, address=address, realname=address, roles="User")
database.commit()
database.close()
