"""The stage of the scripted conversations: people with mailboxes and mail programs, the daemon, and what is looked at."""
