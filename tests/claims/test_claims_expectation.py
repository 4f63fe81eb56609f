"""How the line of comparisons is read."""

import pytest

from genbench.claims.expectation import Side, parse
from genbench.spec import ConfigError

ROWS = ("a", "b", "w0", "w0.5", "ddim-50")


def test_one_row_below_another_whichever_way_it_is_written():
    for text in ("a < ddim-50", "ddim-50 > a"):
        (one,) = parse(text, ROWS)
        assert (one.less, one.more, one.text) == (Side("a"), Side("ddim-50"), text)
        assert one.rows == tuple(w for w in text.split() if w in ROWS) and not one.scaled


def test_a_chain_compares_neighbours():
    found = parse("w0 > w0.5 < a", ROWS)
    assert [(c.less.row, c.more.row) for c in found] == [("w0.5", "w0"), ("w0.5", "a")]
    assert [c.text for c in found] == ["w0 > w0.5", "w0.5 < a"]


def test_multiples_and_numbers():
    low, high = parse("18 * a < b < 2.5e1 * a", ROWS)
    assert low.less == Side("a", 18) and high.more == Side("a", 25) and low.scaled
    assert low.text == "18 * a < b" and high.text == "b < 25 * a"
    (one,) = parse("a < 1", ROWS)
    assert one.more == Side("", 1) and one.rows == ("a",) and not one.scaled
    assert parse("-1 < a", ROWS)[0].less.number == -1
    assert not parse("1 * a < b", ROWS)[0].scaled


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a < w05", "unknown row 'w05'; did you mean 'w0.5'?"),
        ("a<b", "unknown row 'a<b'"),
        ("", "ends where a row or a number should stand"),
        ("a <", "ends where a row or a number should stand"),
        ("a", "compares nothing; write 'ROW < ROW'"),
        ("a = b", "'=' is not '<' or '>'"),
        ("a <= b", "'<=' is not '<' or '>'"),
        ("a b", "'b' is not '<' or '>'"),
        ("1 < 2", "compares two numbers; name a row"),
        ("a < 2 * a", "compares 'a' with itself"),
        ("2 * a < 3 * b", "one side of a comparison is multiplied, not both"),
        ("0 * a < b", "multiplied by a number above 0"),
        ("-2 * a < b", "multiplied by a number above 0"),
        ("2 * 3 < a", "after 2 * comes a row's name"),
        ("2 * 3 * a < b", "after 2 * comes a row's name"),
        ("nan < a", "unknown row 'nan'"),
    ],
)
def test_anything_else_is_refused_in_one_sentence(text, said):
    with pytest.raises(ConfigError) as error:
        parse(text, ROWS)
    assert str(error.value).startswith(f"expect={text!r}") and said in str(error.value)
