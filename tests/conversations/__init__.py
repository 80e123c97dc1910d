"""The stage of the scripted conversations: people with mail programs, the daemon, and what is looked at."""
