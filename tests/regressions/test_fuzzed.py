"""What coverage-guided fuzzing found: each input broke a parser's claim before its fix."""

from __future__ import annotations

from edge.message.dates import parse_date
from tests.http.talk import each_byte, hear_requests, server


def test_a_line_of_two_words_is_400_whatever_the_next_line_says_and_however_it_is_cut() -> None:
    """The words of a line with another version were looked for in the next line too, if that had come already."""
    wire = b"x HTTP/0.1\r\n HTTP/0.1\r\n\r\n"

    assert [("fault", 400)] == hear_requests(server(), wire) == hear_requests(server(), wire, each_byte(wire))


def test_a_leap_second_after_which_no_year_can_be_written_is_no_date() -> None:
    """It was read as the first second of the year 10000, which has no date of its own."""
    assert parse_date(b"Fri, 31 Dec 9999 23:59:60 GMT") is None
    assert 253402300799.0 == parse_date(b"Fri, 31 Dec 9999 23:59:59 GMT")
