"""The only SQL: schema, ledger (incoming mail), tickets (events and their projection), letters (the outbox), slots.

Every function takes the connection of an open transaction: the caller decides what is one decision.
"""
