"""The wording: every letter as a text and an HTML template, one layout, one partial per recurring thing."""
