"""Takes from both ends of a text what a program or a gateway put there.

Above: warnings ("CAUTION: This email originated from outside").  Below, in this order: the tags of telephones and mail
programs, the footer of the house, the signature after "-- ", a card (name, role, organisation, numbers, address).

What looks like one of these and may have been typed stays: a name under a sentence about the footer, a list of people
with their roles, one line of role or number under a name, a postscript.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from supportd.core import boilerplate

# Longer than any real attribution, field or card line; what is longer is prose and needs no closer look.
LINE_LIMIT = 400
# RFC 3676 4.3 leaves the length open; a signature with address, slogan and links seldom has more lines.
_SIGNATURE_LINES = 16
# A shorter line was not wrapped by a program, but ended there.
_WRAPPED_CHARS = 55
# Where a card is looked for, its longest line, and how many lines of slogans or working days may stand under it.
_CARD_WINDOW = 24
_CARD_LINE_LIMIT = 200
_LINES_UNDER_A_CARD = 4


def joined(lines: Sequence[str]) -> str:
    """Return *lines* as one text without blank edges."""
    return "\n".join(lines).strip("\n \t\r\u00a0")


def skip_warnings(lines: list[str]) -> tuple[int, list[str]]:
    """Return the index of the first line under the warnings of a gateway, and the lines of these warnings.

    A warning in brackets before the text on the same line is cut out of *lines*.
    """
    index = 0
    removed: list[str] = []
    while index < len(lines):
        start = _skip_rules(lines, index)
        if start >= len(lines):
            return index, removed
        bracket = boilerplate.BRACKET_BANNER.match(lines[start][:LINE_LIMIT])
        if bracket is not None:
            rest = lines[start][bracket.end() :].strip()
            removed.append(bracket.group().strip())
            if rest and not _opens_warning(rest):
                lines[start] = rest
                return start, removed
            index = start + 1
            if rest:
                removed.append(rest)
            continue
        end = _warning_end(lines, start)
        if end == start:
            break
        removed.extend(lines[index:end])
        index = end
    if removed:
        index = _skip_rules(lines, index)
    return index, removed


def _skip_rules(lines: Sequence[str], index: int) -> int:
    """Return the index of the first line that is neither blank nor, above a warning, a rule."""
    start = index
    while start < len(lines) and (not lines[start].strip() or boilerplate.RULE.fullmatch(lines[start][:210])):
        start += 1
    return start


def _opens_warning(line: str) -> bool:
    low = line.strip(" *|!⚠\ufe0f\t").casefold()[:LINE_LIMIT]
    return low.startswith(boilerplate.BANNER_STARTS)


def _warning_end(lines: Sequence[str], start: int) -> int:
    """Return the index after the warning that begins at *start*, or *start* when none does."""
    if not _opens_warning(lines[start]):
        return start
    end = start
    if lines[start].startswith(boilerplate.PROOFPOINT_START):
        for index in range(start, min(start + 16, len(lines))):
            if boilerplate.PROOFPOINT_END in lines[index][:LINE_LIMIT]:
                return index + 1
    while end < len(lines) and end < start + 8 and lines[end].strip():
        # Without a blank line below, a warning goes on where its line was wrapped, or where the next one warns too.
        above, line = lines[max(end - 1, start)].rstrip(), lines[end][:LINE_LIMIT]
        is_wrapped = len(above) >= _WRAPPED_CHARS and not above.endswith((".", ">", ")", "*", "]", "!"))
        if end > start and not is_wrapped and not _opens_warning(line) and not boilerplate.BANNER_WORDS.search(line):
            break
        end += 1
    return end if boilerplate.BANNER_PROOF.search(" ".join(lines[start:end])[: 4 * LINE_LIMIT]) else start


def cut_end(piece: Sequence[str], *, follows_history: bool = False) -> tuple[list[str], list[str]]:
    """Return *piece* without what programs added to its end, and what was taken.

    A piece that *follows_history* may be nothing but a footer; above the history a footer has something over it.
    """
    kept, tags = _without_tags(piece)
    footer = _footer_start(kept)
    if not follows_history and not joined(kept[:footer]):
        footer = len(kept)
    delimiter = _delimiter_start(kept[:footer])
    removed = kept[delimiter:]
    kept = kept[:delimiter]
    kept, card = _without_card(kept)
    end = len(kept)
    while end and (not kept[end - 1].strip() or _is_decoration(kept[end - 1])):
        end -= 1
    # A picture may be all that somebody sent.
    end = end or (len(kept) if any(boilerplate.IMAGE.search(line[:LINE_LIMIT]) for line in kept) else 0)
    return kept[:end], [*kept[end:], *card, *removed, *tags]


def _is_decoration(line: str) -> bool:
    """Return whether *line* is a rule or stands for a picture."""
    bare = line[:LINE_LIMIT].strip()
    return boilerplate.RULE.fullmatch(bare) is not None or (
        bare[:1] == "[" and not boilerplate.IMAGE.sub("", boilerplate.URL.sub("", bare)).strip()
    )


def _without_tags(piece: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return *piece* without the lines that a telephone or a mail program signs with, and these lines."""
    kept: list[str] = []
    tags: list[str] = []
    for line in piece:
        (tags if _is_tag(line) else kept).append(line)
    return kept, tags


def _is_tag(line: str) -> bool:
    if len(line) > LINE_LIMIT:
        return False
    bare = line.strip(" \t*_[]()<>\u00a0.")
    low = bare.casefold()
    # Outlook links its tag in every language to its own shop pages.
    if "aka.ms/" in low and "outlook" in low and len(low) < 120:
        return True
    if low[:3] not in boilerplate.TAG_HEADS or not low.startswith(boilerplate.TAG_STARTS):
        return False
    words = boilerplate.URL.sub(" ", bare).split()
    return (
        len(words) <= 12
        and boilerplate.TAG_DEVICE.search(" ".join(words[1:] if len(words) > 1 else words)) is not None
        and (
            len(words) <= 7
            or "k-9" in low
            or "brevity" in low
            or "typos" in low
            or "excuse" in low
            or "<" in line
            or "http" in low
        )
    )


def _footer_start(piece: Sequence[str]) -> int:
    """Return the index where the house's footer begins, or the length of *piece*."""
    for index, line in enumerate(piece):
        bare = line[:LINE_LIMIT].lstrip(" \t*_[\u00a0>").casefold()
        if bare[:3] in boilerplate.FOOTER_HEADS and bare.startswith(boilerplate.FOOTER_STARTS):
            context = " ".join(piece[index : index + 4])[: 4 * LINE_LIMIT]
            said = {word.casefold() for word in boilerplate.FOOTER_WORDS.findall(context)}
            # "This message contains an error" is no footer, and under a sentence about the footer stands a name.
            if len(said) >= 2:
                return len(piece) if _is_signed(piece[index:]) else index
    return len(piece)


def _is_signed(lines: Sequence[str]) -> bool:
    """Return whether *lines* end with a bare name, as a message does."""
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return _is_name(last) and len(last.split()) <= 2 and not _facts(last)


def _delimiter_start(piece: Sequence[str]) -> int:
    """Return the index of the signature delimiter "-- " (RFC 3676 4.3), or the length of *piece*.

    Programs strip the space, so a bare "--" counts too, unless it divides a list or prose stands under it.
    """
    below: list[str] = []
    found = len(piece)
    for index in range(len(piece) - 1, -1, -1):
        line = piece[index].rstrip(" \t\u00a0")
        if not line:
            continue
        if line in ("--", "—"):
            if piece[index] == "-- ":
                return index
            if found < len(piece):
                return len(piece)
            if below and not any(_is_prose(under) for under in below):
                found = index
        below.append(line)
        if len(below) > _SIGNATURE_LINES:
            break
    return found


def _is_prose(line: str) -> bool:
    return len(line.split()) >= 7 and line.rstrip().endswith((".", "?", "!")) and not _is_slogan(line)


def _is_slogan(line: str) -> bool:
    """Return whether *line* is what houses and part-time staff put under their cards."""
    return boilerplate.SLOGAN.search(line[:LINE_LIMIT]) is not None or _is_decoration(line)


def _without_card(piece: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return *piece* without the card (name, role, organisation, numbers, address) near its end, and the card.

    A postscript under the card is the sender's; a few lines of slogans or working days there are the card's.
    """
    filled = [index for index, line in enumerate(piece) if line.strip()][-_CARD_WINDOW:]
    facts = [_facts(piece[index]) for index in filled]
    if sum(map(len, facts)) < 2:
        return list(piece), []
    for at in range(len(filled)):
        last = _card_end(piece, filled, facts, at)
        if not last or len(filled) - last > _LINES_UNDER_A_CARD:
            continue
        end = filled[last - 1] + 1
        # Nothing but a sign-off says that the message is over: without one, a new paragraph may be the message.
        is_closed = _is_sign_off(piece[filled[at]])
        if not is_closed and not all(_is_slogan(piece[index]) for index in filled[last:]):
            continue
        postscript = next((index for index in filled[last:] if boilerplate.POSTSCRIPT.match(piece[index])), len(piece))
        start = filled[_after_typed_closing(piece, filled, facts, at)]
        under = [] if postscript == len(piece) else ["", *piece[postscript:]]
        return [*piece[:start], *under], list(piece[start : max(end, postscript)])
    return list(piece), []


def _card_end(piece: Sequence[str], filled: Sequence[int], facts: Sequence[set[str]], at: int) -> int:
    """Return the position in *filled* after the card whose first line is *filled[at]*, or 0 when none begins there.

    A card begins with a sign-off, or where a paragraph does.  Its names come first and it states two kinds of facts:
    a list of people with their roles has names all the way down.
    """
    first = filled[at]
    leads_in = _is_sign_off(piece[first])
    if not leads_in:
        announced = at > 0 and piece[filled[at - 1]].rstrip().endswith(":")
        if announced or not _begins_paragraph(piece, first) or not (facts[at] or _is_name(piece[first])):
            return 0
        # A name alone in a paragraph above the name of the card ("Ruth") was typed.
        below = filled[at + 1] if at + 1 < len(filled) else first
        is_alone = not facts[at] and below > first and _begins_paragraph(piece, below)
        if is_alone and (_is_first_name(piece[first]) or (_is_name(piece[below]) and not facts[at + 1])):
            return 0
    kinds: set[str] = set()
    contacts = names = names_below = 0
    last = 0
    for position in range(at + leads_in, min(at + _SIGNATURE_LINES, len(filled))):
        line = piece[filled[position]]
        if facts[position]:
            if names_below and facts[position] & {"role"}:
                return 0
            kinds |= facts[position]
            contacts += "contact" in facts[position]
            last = position + 1
        elif _is_name(line):
            names, names_below = (names, names_below + 1) if kinds else (names + 1, 0)
        elif not _is_decoration(line):
            break
    return last if names <= 3 and (len(kinds) >= 2 or contacts >= 2) else 0


def _begins_paragraph(piece: Sequence[str], index: int) -> bool:
    return index > 0 and (not piece[index - 1].strip() or _is_decoration(piece[index - 1]))


def _after_typed_closing(piece: Sequence[str], filled: Sequence[int], facts: Sequence[set[str]], at: int) -> int:
    """Return the position where the card itself begins, when a typed closing ("Thanks / Jo") stands at *at*.

    A closing is typed when it is a paragraph with a first name in it, or with a name that the card repeats.
    """
    name = at + 1
    if not _is_sign_off(piece[filled[at]]) or name >= len(filled) or filled[name] > filled[at] + 1 or facts[name]:
        return at
    below = name + 1
    while below < len(filled) and filled[below] == filled[below - 1] + 1:
        below += 1
    while below < len(filled) and _is_decoration(piece[filled[below]]):
        below += 1
    if below >= len(filled) or not _card_end(piece, filled, facts, below):
        return at
    return below if _is_first_name(piece[filled[name]]) or _is_name(piece[filled[below]]) else at


def _is_first_name(line: str) -> bool:
    """Return whether *line* is a name as people sign for each other: "Ruth", "Dave P"."""
    words = line.strip(" ,*_.\t\u00a0").split()
    return _is_name(line) and (len(words) == 1 or (len(words) == 2 and len(words[1]) == 1))


def _is_sign_off(line: str) -> bool:
    """Return whether *line* is nothing but a closing formula: "Kind regards", "Many thanks for your help"."""
    bare = line.strip(" ,.!;:*_-–\t\u00a0😊🙂☺\ufe0f").casefold()
    if bare in boilerplate.SIGN_OFFS:
        return True
    words = bare.replace("&", "and").split()
    return (
        len(words) <= 7
        and bare.startswith(boilerplate.CLOSING_STARTS)
        and all(word.strip(",.!") in boilerplate.CLOSING_WORDS for word in words)
    )


def _is_name(line: str) -> bool:
    """Return whether *line* may be a person's name: one to six words in capitals, no digits, no sentence."""
    bare = line.strip(" ,*_\t\u00a0")
    if not 1 <= len(bare) <= 60 or bare[-1] in ".?!:;" or any(char.isdigit() or char in "@<>[]|" for char in bare):
        return False
    words = bare.split()
    return len(words) <= 6 and all(
        word[0].isupper() or not word[0].isascii() or word[0] == "(" or word.casefold() in boilerplate.SMALL_NAME_WORDS
        for word in words
    )


def _facts(line: str) -> set[str]:
    """Return the kinds of facts that *line* of a card states: contact, role, organisation; none for prose."""
    if len(line) > _CARD_LINE_LIMIT:
        return set()
    parts = [part.strip(" *_|,<>[]()\u00a0") for part in boilerplate.DIVIDER.split(line.strip())]
    return {kind for part in parts if part for kind in _kinds_of_fact(part)}


def _kinds_of_fact(bare: str) -> Iterator[str]:
    words = bare.split()
    if len(words) > 12 or (bare.endswith((".", "?", "!")) and len(words) > 4):
        return
    label = boilerplate.CONTACT_LABEL.match(bare)
    if label is not None and boilerplate.CONTACT_TAIL.match(bare[label.end() :].lstrip(" <[")):
        yield "contact"
        return
    if (
        boilerplate.PHONE.fullmatch(bare)
        or boilerplate.URL.fullmatch(bare)
        or boilerplate.SITE.fullmatch(bare)
        or boilerplate.ADDRESS.fullmatch(words[0])
    ):
        yield "contact"
        return
    if boilerplate.POSTCODE.search(bare) or (boilerplate.STREET.search(bare) and bare[0].isupper() and "," in bare):
        yield "contact"
        return
    small = sum(1 for word in words if word[0].islower() and word not in ("of", "and", "the", "for", "to", "in", "at"))
    if len(words) <= 10 and small * 2 <= len(words):
        if boilerplate.ROLE.search(bare) is not None:
            yield "role"
        # A school may be called like a role ("Nursery"), and one word must not count twice.
        elif boilerplate.ORGANISATION.search(bare) is not None:
            yield "organisation"
