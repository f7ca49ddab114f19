from __future__ import annotations

from analysis.text import wrapped


def test_an_apostrophe_inside_a_word_is_no_quote() -> None:
    text = "within the theory's margins, a twin's angle and its own"
    assert wrapped(text, 30, "  ", "  ") == [
        "  within the theory's",
        "  margins, a twin's angle",
        "  and its own",
    ]


def test_a_quoted_list_stays_whole() -> None:
    lines = wrapped("give resnet-lab train --recipe.drops '[10, 20, 30]' --x=' a  b'", 40, "", "  ")
    assert lines == ["give resnet-lab train --recipe.drops \\", "  '[10, 20, 30]' --x=' a  b'"]
