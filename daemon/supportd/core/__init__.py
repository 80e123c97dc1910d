"""Pure rooms: values in, values out; no I/O, no clock, no configuration file."""
