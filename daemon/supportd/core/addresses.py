"""Which addresses are plain enough to be believed in a From field and to stand in an envelope of ours."""

from __future__ import annotations

# RFC 5322 3.2.3: the signs that an atom may hold beside letters and digits.
_ATOM_SIGNS = frozenset("!#$%&'*+/=?^_`{|}~-")


def is_plain(text: str) -> bool:
    """Return whether *text* is ``dot-atom@domain`` in ASCII, as we may put it into an envelope (RFC 5321 4.1.2).

    A hyphen in front is refused: some program behind us may take it for an option.
    """
    local, _, domain = text.rpartition("@")
    if local.startswith("-") or not text.isascii() or not 1 <= len(local) <= 64 or not 3 <= len(domain) <= 253:
        return False
    atoms = local.split(".")
    labels = domain.split(".")
    return (
        all(atom and all(char.isalnum() or char in _ATOM_SIGNS for char in atom) for atom in atoms)
        and len(labels) >= 2
        and all(
            label and len(label) <= 63 and label[0] != "-" != label[-1] and label.replace("-", "").isalnum()
            for label in labels
        )
    )
