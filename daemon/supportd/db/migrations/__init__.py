"""The history of the schema, one step a file, carried in the wheel."""
