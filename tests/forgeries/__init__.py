"""Forged mails, as text that a person can read and a border that adds what a border adds."""
