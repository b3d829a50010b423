"""
Dates on the wire: read in all three forms that RFC 9110 names, written in one.

Decides what is a date. Does not know what time it is: a caller passes the wall clock's number in.

Read as RFC 9111 §4.2 advises a cache: without regard to case, GMT or UTC and no other zone. The name of the day is
not compared with the date, because no decision rests on it. Everything else is refused as None.
Source: RFC 9110 §5.6.7.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

_MONTHS = (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec")
_MONTH = {name: number for number, name in enumerate(_MONTHS, 1)}
_WEEKDAY_NAMES = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTH_NAMES = tuple(name.capitalize() for name in _MONTHS)

_CLOCK = rb"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_MON = rb"(?P<month>" + b"|".join(_MONTHS) + rb")"
_DAY3 = rb"(?:mon|tue|wed|thu|fri|sat|sun)"
_DAY = rb"(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday)"
_ZONE = rb" (?:gmt|utc)"

_IMF_FIXDATE = re.compile(_DAY3 + rb", (?P<day>[0-9]{2}) " + _MON + rb" (?P<year>[0-9]{4}) " + _CLOCK + _ZONE)
_RFC850 = re.compile(_DAY + rb", (?P<day>[0-9]{2})-" + _MON + rb"-(?P<year>[0-9]{2}) " + _CLOCK + _ZONE)
_ASCTIME = re.compile(_DAY3 + rb" " + _MON + rb" (?P<day>[0-9]{2}| [0-9]) " + _CLOCK + rb" (?P<year>[0-9]{4})")

_LONGEST = len(b"Wednesday, 06-Nov-94 08:49:37 GMT")
_LAST = 253402300799.0  # of the year 9999: a second later cannot be written as a date
_PIVOT = 70  # a two-digit year from 70 on is 19yy: no HTTP date lies before 1970, and 2070 is beyond fifty years


def parse_date(value: bytes | None) -> float | None:
    """
    Return the seconds since the epoch that *value* names, or None if it is not an HTTP date.

    Cost: a dict lookup for a date read lately.
    """
    return None if value is None or len(value) > _LONGEST else _read(value)


@lru_cache(maxsize=1024)  # the same Last-Modified comes back as If-Modified-Since
def _read(value: bytes) -> float | None:
    text = value.lower()
    match = _IMF_FIXDATE.fullmatch(text) or _RFC850.fullmatch(text) or _ASCTIME.fullmatch(text)
    if match is None:
        return None
    year = int(match["year"])
    if len(match["year"]) == 2:
        year += 1900 if year >= _PIVOT else 2000
    second = int(match["second"])
    try:
        minute = datetime(
            year,
            _MONTH[match["month"]],
            int(match["day"]),
            int(match["hour"]),
            int(match["minute"]),
            tzinfo=UTC,
        )
    except ValueError:  # a 30th of February, a 25th hour
        return None
    wall = minute.timestamp() + second
    return wall if second <= 60 and wall <= _LAST else None  # 60 is a leap second


_last: tuple[int, bytes] = (0, b"Thu, 01 Jan 1970 00:00:00 GMT")


def format_date(wall: float) -> bytes:
    """
    Return IMF-fixdate for *wall* (seconds since the epoch; the fraction is dropped).

    Cost: the last second's text is remembered; another second costs about 2 µs.
    """
    global _last  # noqa: PLW0603 - one remembered value of a pure function
    second = int(wall)
    known, text = _last
    if known == second:
        return text
    moment = datetime.fromtimestamp(second, UTC)
    text = b"%b, %02d %b %04d %02d:%02d:%02d GMT" % (
        _WEEKDAY_NAMES[moment.weekday()],
        moment.day,
        _MONTH_NAMES[moment.month - 1],
        moment.year,
        moment.hour,
        moment.minute,
        moment.second,
    )
    _last = (second, text)
    return text
