"""Text from outside on a terminal."""

import pytest

from workflow_scripts.shared.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b]0;title\x07", r"\x1b[31mred\x1b]0;title\x07"),
        ("\x9b31m\x7f\x00", r"\x9b31m\x7f\x00"),
        ("all kept\rlost", r"all kept\rlost"),
        ("exe.\u202egpj", r"exe.\u202egpj"),
        ("a\tb\nÄ 図 🦓, café", "a\tb\nÄ 図 🦓, café"),
        ("caf\udce9", r"caf\udce9"),
    ],
)
def test_a_terminal_does_not_obey_what_is_printable(text, shown):
    assert printable(text) == shown
