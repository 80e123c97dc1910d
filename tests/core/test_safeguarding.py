"""What tells of harm to a child is restricted; what only names the subject or its tools is not."""

from __future__ import annotations

import pytest

from supportd.core.safeguarding import SHIPPED, compile_phrases, tells_of_harm

PHRASES = compile_phrases(SHIPPED)


@pytest.mark.parametrize(
    "text",
    [
        "One of my Year 5 girls is being messaged by a stranger. He's been asking for photos.",
        "I found a note on the iPad: she wants to die.",
        "A boy in my class has bruises and says he is scared to go home.",
        "There are indecent images in the shared drive folder of 6B.",
        "She has been self-harming and searching for it on the Chromebook.",
        "Marianne is phoning MASH about what she disclosed to me.",
        "He said his dad hits him. Please keep the chat history.",
        "We think he is being groomed through the game chat.",
    ],
)
def test_a_text_that_tells_of_harm_is_found(text: str) -> None:
    assert tells_of_harm(text, PHRASES)


@pytest.mark.parametrize(
    "text",
    [
        "CPOMS will not load on my laptop.",
        "The safeguarding laptop won't print.",
        "Smoothwall is blocking the safeguarding training video.",
        "Could I have the password for the child protection folder?",
        "The web filter is off and children can see everything.",
        "We need the DSL's mailbox moved before the safeguarding audit.",
        "My mouse died and the printer is killing me.",
        "Please hit the reset button, the board is missing its pen.",
        "Image quality of the photos on the website is poor.",
    ],
)
def test_the_names_of_tools_and_of_the_subject_do_not_restrict(text: str) -> None:
    assert tells_of_harm(text, PHRASES) == ""


def test_case_punctuation_and_hyphens_do_not_matter() -> None:
    assert tells_of_harm("SELF-HARM!", PHRASES)
    assert tells_of_harm("she was cutting\nherself", PHRASES)


def test_a_phrase_of_the_schools_own_counts_and_an_empty_one_is_refused() -> None:
    own = compile_phrases(["blue folder"])

    assert tells_of_harm("It is about the Blue Folder.", own) == "blue folder"
    with pytest.raises(ValueError, match="holds no word"):
        compile_phrases(["..."])
