import pytest

from genbench.report.text import code, compact, latex, markdown, measured, natural, slug
from genbench.text import clean


@pytest.mark.parametrize(
    ("value", "interval", "expected"),
    [
        (12.34, (11.53, 13.15), "12.3 ± 0.8"),  # 0.81: one digit
        (12.34, (12.18, 12.50), "12.34 ± 0.16"),  # 0.16: two digits
        (3.695, (0.095, 7.295), "3.7 ± 3.6"),
        (0.00001, (-3.59999, 3.60001), "0.0 ± 3.6"),
        (1234.5, (1178.5, 1290.5), "1234 ± 56"),
        (4.0, (4.0, 4.0), "4.000 ± 0"),
        (12.3, (11.9, 14.0), "12.3 [11.9, 14.0]"),  # not symmetric
        (12.3456, None, "12.35"),
        (0.0, None, "0.000"),
        (float("nan"), None, "–"),
        (-0.3, (-14.3, 13.7), "0 ± 14"),  # not "-0"
    ],
)
def test_measured(value: float, interval: tuple[float, float] | None, expected: str) -> None:
    assert measured(value, interval) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "–"),
        (0, "0"),
        (1, "1"),
        (1.5, "1.5"),
        (1000, "1000"),
        (9999, "9999"),
        (10_000, "10 k"),
        (999_900, "1 M"),
        (1_234_567, "1.23 M"),
        (1.2e12, "1.2 T"),
        (3e21, "3e+03 E"),
    ],
)
def test_compact(value: float | None, expected: str) -> None:
    assert compact(value) == expected


def test_clean_is_one_printable_line() -> None:
    assert clean("a\r\n\tb\x00c\u2028d\u200be\ud800f") == "a b c d e f"
    assert clean("\x1b[1;31mred\x1b[0m \x9b2Jx \x1b]0;title\x07y \x1b]8;;u\x1b\\z") == "red x y z"
    assert clean("abcdef", limit=4) == "abc…"
    assert clean("abcd", limit=4) == "abcd"


def test_markdown_keeps_names_readable() -> None:
    assert markdown("class_label a|b *c* _d_ <e>") == r"class_label a\|b \*c\* \_d\_ \<e\>"


@pytest.mark.parametrize(
    ("text", "expected"), [("a", "`a`"), ("a `b`", "`` a `b` ``"), ("``", "``` `` ```")]
)
def test_code(text: str, expected: str) -> None:
    assert code(text) == expected


def test_latex() -> None:
    assert latex("a_b 5% \\x ± 字") == r"a\_b 5\% \textbackslash{}x $\pm$ ?"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ddpm (ddim-50, eta=0.5)", "ddpm-ddim-50-eta-0.5"),
        ("../../etc/passwd", "etc-passwd"),
        ("字", "row"),
        ("", "row"),
    ],
)
def test_slug(text: str, expected: str) -> None:
    assert slug(text) == expected


def test_natural_order() -> None:
    assert sorted(["ddim-100", "ddim-5", "ddim-50"], key=natural) == [
        *("ddim-5", "ddim-50", "ddim-100")
    ]
