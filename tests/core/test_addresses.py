"""Which addresses may be believed and written into an envelope."""

from __future__ import annotations

import pytest

from supportd.core import addresses


@pytest.mark.parametrize(
    "text",
    [
        "jane@allsaints.example",
        "jane.smith+it@mail.allsaints.example",
        "o'brien@xn--bcher-kva.example",
        "a" * 64 + "@x.example",
        "9@1.example",
        "{x}@a-b.example",
    ],
)
def test_a_plain_address_is_plain(text: str) -> None:
    assert addresses.is_plain(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "jane",
        "jane@",
        "@x.example",
        "jane@localhost",
        "jane@x..example",
        "jane@.example",
        "jane@x.example.",
        "jane@-x.example",
        "jane@x-.example",
        "jane@x_y.example",
        "jane@[192.0.2.1]",
        "jane..smith@x.example",
        ".jane@x.example",
        "jane.@x.example",
        '"jane"@x.example',
        "jane smith@x.example",
        "jane@evil@x.example",
        "jane,evil@x.example",
        "jane@x.example>\r\nRCPT TO:<evil@x.example",
        "jane@x.example\n",
        "jane@x.example\0",
        "jané@x.example",
        "jane@exämple.example",
        "jane\u200b@x.example",
        "-oq@x.example",
        "a" * 65 + "@x.example",
        "a@" + "x" * 64 + ".example",
        "a@" + "x." * 130 + "example",
    ],
)
def test_anything_else_is_not(text: str) -> None:
    assert not addresses.is_plain(text)
