"""
The sorts of values a configuration file may hold, each read, shown and described in one place.

Leaves are read here; what contains others (:class:`ListOf`, :class:`Table`, :class:`Tables`, :class:`Named`) only says
what it contains, because the reader in ``load.py`` must know where each part stands in the file.

Source: sizes are binary (1 KiB = 1024 bytes, IEC 80000-13); times are decimal numbers with a unit.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any

from edge.config import contents
from edge.config.address import is_host_name, parse_address, parse_target
from edge.config.schema import Kind, Unfit, toml
from edge.message.path import folded, plain
from edge.message.pattern import Pattern

if TYPE_CHECKING:
    from pathlib import Path

_SIZE = re.compile(r"(\d{1,18})(?:\.(\d{1,6}))?\s*([A-Za-z]*)\Z")
_SIZE_UNITS = {"": 1, "B": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}
_DECIMAL_SIZES = {"K", "KB", "M", "MB", "G", "GB", "T", "TB"}
_TIME_PART = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)\s*(ms|s|m|h|d)\s*")
_FUNCTION = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})
_STATUS_RANGE = re.compile(r"([1-5][0-9][0-9])(?:-([1-5][0-9][0-9]))?\Z|([1-5])xx\Z")
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)\s*%\Z")
_STATUS = re.compile(r"[2-5][0-9][0-9]\Z")
YEAR_S = 365 * 86400.0
"""No lifetime is longer: RFC 9111's own arithmetic stops being of use long before it overflows."""

_TIME_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def sort_of(value: object) -> str:
    """Say what TOML type *value* has, in a word an operator knows."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int):
        return "a number"
    if isinstance(value, float):
        return "a fraction"
    if isinstance(value, str):
        return "text"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a table"
    return "a date or time"


class Boolean(Kind):
    """``true`` or ``false``."""

    words = "true or false"

    def _read(self, value: object, base: Path) -> bool:  # noqa: ARG002
        if isinstance(value, bool):
            return value
        raise Unfit(f"this is {sort_of(value)}; expected true or false")

    def _schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


class Integer(Kind):
    """A whole number."""

    words = "a whole number"

    def _read(self, value: object, base: Path) -> int:  # noqa: ARG002
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise Unfit(f"this is {sort_of(value)}; expected a whole number")

    def _schema(self) -> dict[str, Any]:
        return {"type": "integer"}


class Workers(Integer):
    """A number of processes, or ``"auto"``."""

    words = '"auto" or a whole number'

    def _read(self, value: object, base: Path) -> Any:
        if value == "auto":
            return "auto"
        if isinstance(value, int) and not isinstance(value, bool):
            return super()._read(value, base)
        raise Unfit(f'{_seen(value)}; expected "auto" or a number of workers')

    def _schema(self) -> dict[str, Any]:
        return {"anyOf": [{"type": "integer"}, {"const": "auto"}]}


class Size(Kind):
    """A number of bytes: ``"64 MiB"``, or a plain number of bytes."""

    words = 'a size such as "64 MiB"'

    def _read(self, value: object, base: Path) -> int:  # noqa: ARG002
        if isinstance(value, int) and not isinstance(value, bool):
            if value < 0:
                raise Unfit(f"{value} is less than nothing; expected a size such as '64 MiB'")
            return value
        if not isinstance(value, str):
            raise Unfit(f"this is {sort_of(value)}; expected a size such as '64 MiB'")
        match = _SIZE.match(value.strip())
        unit = match[3].upper() if match else ""
        if match and unit in _DECIMAL_SIZES:
            meant = f"{match[0][: match.start(3)].strip()} {unit[0]}iB"
            raise Unfit(f"{value!r} could be counted in tens or twos; expected {meant!r}")
        if match is None or unit not in _SIZE_UNITS:
            raise Unfit(f"{value!r} is not a size; expected a number and B, KiB, MiB, GiB or TiB, as in '64 MiB'")
        scale = _SIZE_UNITS[unit]
        fraction = match[2] or ""
        return int(match[1]) * scale + (int(fraction) * scale // 10 ** len(fraction) if fraction else 0)

    def _show(self, value: Any) -> str:
        return toml(size_words(value))

    def _schema(self) -> dict[str, Any]:
        return {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*([Bb]|[KkMmGgTt][Ii][Bb])?\s*$"},
            ]
        }


def size_words(count: int) -> str:
    """Write a number of bytes in the greatest unit that divides it."""
    for unit, shift in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count and count % (1 << shift) == 0:
            return f"{count >> shift} {unit}"
    return f"{count} B"


class Time(Kind):
    """A length of time: ``"30s"``, ``"500ms"``, ``"1h 30m"``, or a plain number of seconds."""

    words = 'a time such as "30s"'

    def _read(self, value: object, base: Path) -> float:  # noqa: ARG002
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if not 0 <= value < 1e12:  # neither negative nor inf nor nan
                raise Unfit(f"{value} is not a time; expected seconds, or '30s', '500ms', '5m'")
            return float(value)
        if not isinstance(value, str):
            raise Unfit(f"this is {sort_of(value)}; expected a time such as '30s', '500ms' or '5m'")
        text = value.strip()
        if text == "0":
            return 0.0
        total, at = 0.0, 0
        while match := _TIME_PART.match(text, at):
            total += float(match[1]) * _TIME_UNITS[match[2]]
            at = match.end()
        if not text or at != len(text):
            raise Unfit(f"{value!r} is not a time; expected a number and ms, s, m, h or d, as in '30s' or '500ms'")
        return total

    def _show(self, value: Any) -> str:
        return toml(time_words(value))

    def _schema(self) -> dict[str, Any]:
        return {
            "anyOf": [
                {"type": "number", "minimum": 0},
                {"type": "string", "pattern": r"^\s*((\d+(\.\d+)?\s*(ms|s|m|h|d)\s*)+|0)$"},
            ]
        }


def time_words(seconds: float) -> str:
    """Write a time in the greatest unit that divides it."""
    millis = round(seconds * 1000)
    for unit, scale in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if millis and millis % scale == 0:
            return f"{millis // scale}{unit}"
    return f"{millis}ms" if millis else "0s"


class Text(Kind):
    """Text, not empty."""

    words = "text"

    def _read(self, value: object, base: Path) -> str:
        if not isinstance(value, str):
            raise Unfit(f"this is {sort_of(value)}; expected {self.words}")
        if not value:
            raise Unfit(f"this is empty; expected {self.words}")
        if "\0" in value:
            raise Unfit(f"{value!r} holds a NUL; expected {self.words}")
        return self._accept(value, base)

    def _accept(self, value: str, base: Path) -> str:  # noqa: ARG002
        """Judge a text that is not empty; return it as the tree holds it."""
        return value

    def _show(self, value: Any) -> str:
        return toml(str(value))

    def _schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1}


class Choice(Text):
    """One of a few words."""

    def __init__(self, *options: str) -> None:
        self.options = options
        self.words = " | ".join(toml(option) for option in options)

    def _accept(self, value: str, base: Path) -> str:  # noqa: ARG002
        if value in self.options:
            return value
        near = did_you_mean(value, self.options) if len(self.options) > 1 else ""
        raise Unfit(f"{value!r} is not known here; expected {_either(self.options)}{near}")

    def _schema(self) -> dict[str, Any]:
        return {"enum": list(self.options)}


class FilePath(Kind):
    """A path; in the tree it is absolute."""

    def __init__(self, *words: str) -> None:
        self.instead = words
        self.words = " | ".join([*(toml(word) for word in words), "a path"])

    def _read(self, value: object, base: Path) -> Any:
        if not isinstance(value, str):
            raise Unfit(f"this is {sort_of(value)}; expected {self.words}")
        if value in self.instead:
            return value
        if not value or "\0" in value:
            raise Unfit(f"{value!r} is not a path; expected {self.words}")
        return base / value

    def _show(self, value: Any) -> str:
        return toml(str(value))

    def _schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1}


class ContentsFile(Kind):
    """A file that is read with the configuration; in the tree it is its :class:`~edge.config.contents.Contents`."""

    words = "a path"

    def _read(self, value: object, base: Path) -> contents.Contents:
        if not isinstance(value, str):
            raise Unfit(f"this is {sort_of(value)}; expected {self.words}")
        if not value or "\0" in value:
            raise Unfit(f"{value!r} is not a path; expected {self.words}")
        return contents.read(base / value)

    def _show(self, value: Any) -> str:
        return toml(str(value.path))

    def _schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1}


class ListenAddress(Text):
    """Where to listen."""

    words = '"HOST:PORT", "unix:/path" or "systemd:NAME"'

    def _accept(self, value: str, base: Path) -> str:
        value = _absolute_unix(value, base)
        try:
            parse_address(value)
        except ValueError as problem:
            raise Unfit(str(problem)) from None
        return value


class TargetUrl(Text):
    """Where a server of an origin is."""

    words = '"http://HOST:PORT", "https://HOST" or "unix:/path"'

    def _accept(self, value: str, base: Path) -> str:
        value = _absolute_unix(value, base)
        try:
            parse_target(value)
        except ValueError as problem:
            raise Unfit(str(problem)) from None
        return value


class HostPattern(Text):
    """A host name, or ``*.`` and a host name; in the tree it is lower case without a closing dot."""

    words = 'a host such as "shop.example" or "*.shop.example"'

    def _accept(self, value: str, base: Path) -> str:  # noqa: ARG002
        host = value.lower()
        if host.startswith("[") and host.endswith("]"):
            try:
                return f"[{ipaddress.IPv6Address(host[1:-1])}]"
            except ValueError:
                raise Unfit(f"{value!r} is not an IPv6 address; expected {self.words}") from None
        if not host.isascii():
            try:
                ascii_form = host.encode("idna").decode()
            except UnicodeError:
                ascii_form = "xn--…"
            raise Unfit(f"{value!r} is not how a browser sends it; expected its ASCII form, {ascii_form!r}")
        if "://" in host or ":" in host:
            raise Unfit(f"{value!r}: a route's host has no scheme and no port; expected {self.words}")
        if not is_host_name(host.removeprefix("*.")):
            hint = "; a '*' stands only for whole labels at the front" if "*" in host else ""
            raise Unfit(f"{value!r} is not a host name{hint}; expected {self.words}")
        return host.removesuffix(".")


class PathPrefix(Text):
    """The beginning of a request's path; in the tree only ``/`` itself ends in a slash."""

    words = 'a path such as "/" or "/api"'

    def _accept(self, value: str, base: Path) -> str:  # noqa: ARG002
        if not value.startswith("/"):
            raise Unfit(f"{value!r} does not begin with a slash; expected {self.words}")
        if "?" in value or "#" in value:
            raise Unfit(f"{value!r}: routes look at the path alone; expected {self.words}, without query or fragment")
        if "*" in value:
            raise Unfit(f"{value!r}: a path is already a prefix and takes no '*'; expected {self.words}")
        if any(not "!" <= sign <= "~" for sign in value):
            raise Unfit(f"{value!r} cannot stand in a request; expected it percent-encoded, as clients send it")
        return _readable_path(value, self.words).rstrip("/") or "/"


class ExactPath(Text):
    """A whole path; in the tree it is spelled as requests are compared."""

    words = 'a path such as "/robots.txt"'

    def _accept(self, value: str, base: Path) -> str:  # noqa: ARG002
        if not value.startswith("/"):
            raise Unfit(f"{value!r} does not begin with a slash; expected {self.words}")
        if "?" in value or "#" in value:
            raise Unfit(f"{value!r}: routes look at the path alone; expected {self.words}, without query or fragment")
        if any(not "!" <= sign <= "~" for sign in value):
            raise Unfit(f"{value!r} cannot stand in a request; expected it percent-encoded, as clients send it")
        return _readable_path(value, self.words)


def _readable_path(value: str, words: str) -> str:
    """Return a path in the spelling that requests are compared in; one that can be read in two ways matches nothing."""
    spelled = plain(value.encode())
    if folded(spelled) not in {spelled, spelled.rstrip(b"/") or b"/"}:
        raise Unfit(
            f"{value!r} can be read as {folded(spelled).decode()!r} too, and such requests are refused where it matters; "
            f"expected {words}"
        )
    return spelled.decode()


class Expression(Text):
    """A regular expression; in the tree as it was written."""

    words = "a regular expression (RE2) such as '/items/[0-9]+'"

    def _accept(self, value: str, base: Path) -> str:  # noqa: ARG002
        try:
            Pattern(value)
        except ValueError as problem:
            raise Unfit(f"{value!r} is no regular expression: {problem}; expected {self.words}") from None
        return value


class MethodName(Text):
    """A request's method; case counts."""

    words = 'a method such as "GET"'

    def _accept(self, value: str, base: Path) -> str:  # noqa: ARG002
        if not _TOKEN.match(value):
            raise Unfit(f"{value!r} is not a method; expected {self.words}")
        if value.upper() in _METHODS and value not in _METHODS:
            raise Unfit(f"{value!r}: the case of a method counts; expected {value.upper()!r}")
        return value


class Conditions(Kind):
    """Values asked for by name; in the tree pairs, sorted."""

    words = 'a table of values by name, each a value, "*" or "~EXPRESSION"'

    def __init__(self, name: Kind) -> None:
        self.name = name

    def _read(self, value: object, base: Path) -> tuple[tuple[str, str], ...]:
        if not isinstance(value, dict):
            raise Unfit(f"this is {sort_of(value)}; expected {self.words}")
        found: dict[str, str] = {}
        for name, text in value.items():
            known = self.name.read(name, base)
            if known in found:
                raise Unfit(f"{name!r} is named twice")
            if not isinstance(text, str):
                raise Unfit(f"{name}: this is {sort_of(text)}; expected text")
            if any(sign < " " or sign == "\x7f" for sign in text):
                raise Unfit(f"{name}: {text!r} holds a control sign; no request has one")
            if text.startswith("~"):
                try:
                    Pattern(text[1:])
                except ValueError as problem:
                    raise Unfit(f"{name}: {text[1:]!r} is no regular expression: {problem}") from None
            found[known] = text
        return tuple(sorted(found.items()))

    def _show(self, value: Any) -> str:
        return "{ " + ", ".join(f"{toml(name)} = {toml(text)}" for name, text in value) + " }" if value else "{}"

    def _schema(self) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": {"type": "string"}}


class FunctionName(Text):
    """A function of Python's: ``module:function``."""

    words = '"module:function"'

    def _accept(self, value: str, base: Path) -> str:  # noqa: ARG002
        if not _FUNCTION.fullmatch(value):
            raise Unfit(f"{value!r} is no function's name; expected {self.words}")
        return value


class SplitKey(Text):
    """What is one client where clients are split."""

    words = '"address", "cookie:NAME" or "header:NAME"'

    def _accept(self, value: str, base: Path) -> str:  # noqa: ARG002
        what, colon, name = value.partition(":")
        if value != "address" and not (what in {"cookie", "header"} and colon and _TOKEN.match(name)):
            raise Unfit(f"{value!r} is nothing that clients are told apart by; expected {self.words}")
        return f"header:{name.lower()}" if what == "header" else value


class Network(Text):
    """An address or a network in CIDR notation."""

    words = 'an address or network such as "10.0.0.0/8"'

    def _accept(self, value: str, base: Path) -> Any:  # noqa: ARG002
        try:
            return ipaddress.ip_network(value)
        except ValueError:
            pass
        try:
            meant = ipaddress.ip_network(value, strict=False)
        except ValueError:
            raise Unfit(f"{value!r} is not an address or network; expected one such as '10.0.0.0/8'") from None
        raise Unfit(f"{value!r} has bits set behind its prefix; expected {str(meant)!r}")


class IpAddress(Text):
    """An IP address; in the tree it is written the usual way."""

    words = 'an address such as "10.0.0.5"'

    def _accept(self, value: str, base: Path) -> str:  # noqa: ARG002
        try:
            return str(ipaddress.ip_address(value))
        except ValueError:
            raise Unfit(f"{value!r} is not an IP address; expected one such as '10.0.0.5'") from None


class NameServer(Text):
    """A name server; in the tree its address and its port."""

    words = 'an address such as "10.0.0.2" or "10.0.0.2:5353"'

    def _accept(self, value: str, base: Path) -> Any:  # noqa: ARG002
        try:
            return str(ipaddress.ip_address(value)), 53
        except ValueError:
            pass
        try:
            address = parse_address(value)
        except ValueError:
            raise Unfit(f"{value!r} is not a name server's address; expected {self.words}") from None
        if address.kind != "tcp" or not address.port:
            raise Unfit(f"{value!r} is not a name server's address; expected {self.words}")
        return address.host, address.port

    def _show(self, value: Any) -> str:
        host, port = value
        return toml(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


class NetworkOrUnix(Network):
    """A network, or everyone who may connect to a Unix socket."""

    words = 'an address or network such as "10.0.0.0/8", or "unix"'

    def _accept(self, value: str, base: Path) -> Any:
        return value if value == "unix" else super()._accept(value, base)


class MediaRange(Text):
    """A media type, ``type/*`` or ``type/*+suffix``; in the tree it is lower case."""

    words = 'a media type such as "text/*" or "application/json"'
    _form = re.compile(r"\*/\*\Z|[a-z0-9!#$&^_.+-]+/(\*|(\*\+)?[a-z0-9!#$&^_.+-]+)\Z")

    def _accept(self, value: str, base: Path) -> str:  # noqa: ARG002
        media = value.lower()
        if not self._form.match(media):
            raise Unfit(f"{value!r} is not a media type; expected {self.words}")
        return media


class FieldName(Text):
    """The name of a header field; in the tree it is lower case."""

    words = 'a header name such as "accept-language"'

    def _accept(self, value: str, base: Path) -> str:  # noqa: ARG002
        if not _TOKEN.match(value):
            raise Unfit(f"{value!r} is not a header name; expected {self.words}")
        return value.lower()


class CookieName(Text):
    """The name of a cookie, whose case counts. With *patterns*, ``*`` at its end stands for any ending."""

    words = 'a cookie\'s name such as "lang"'

    def __init__(self, *, patterns: bool = False) -> None:
        self.patterns = patterns
        if patterns:
            self.words = 'a cookie\'s name such as "session", or its beginning as in "wordpress_*"'

    def _accept(self, value: str, base: Path) -> str:  # noqa: ARG002
        if not _TOKEN.match(value) or "*" in (value[:-1] if self.patterns else value):
            raise Unfit(f"{value!r} is not a cookie's name; expected {self.words}")
        return value


class ParameterName(Text):
    """The name of a query parameter, whose case counts; ``*`` at its end stands for any ending."""

    words = 'a parameter\'s name such as "page", or its beginning as in "utm_*"'

    def _accept(self, value: str, base: Path) -> str:  # noqa: ARG002
        if any(sign in value for sign in "&=#?") or "*" in value[:-1]:
            raise Unfit(f"{value!r} is not a parameter's name; expected {self.words}")
        return value


class Method(Text):
    """The name of a method, whose case counts."""

    words = 'a method such as "PUT"'

    def _accept(self, value: str, base: Path) -> str:  # noqa: ARG002
        if not _TOKEN.match(value):
            raise Unfit(f"{value!r} is not a method; expected {self.words}")
        return value


class SiteOrigin(Text):
    """The origin of web pages: a scheme and a host; with ``*.`` every name below it; ``*`` for all."""

    words = 'an origin such as "https://shop.example", "https://*.shop.example" or "*"'
    _form = re.compile(r"[a-z][a-z0-9+.-]*://(\*\.)?(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?\Z")

    def _accept(self, value: str, base: Path) -> str:  # noqa: ARG002
        if value in {"*", "null"}:
            return value
        origin = value.lower()
        if not self._form.match(origin):
            hint = f"; did you mean {origin.rstrip('/')!r}?" if self._form.match(origin.rstrip("/")) else ""
            raise Unfit(f"{value!r} is not how a browser names a page's origin{hint}; expected {self.words}")
        scheme, _, host = origin.partition("://")
        default = {"http": ":80", "https": ":443"}.get(scheme)
        if default and host.endswith(default):
            raise Unfit(f"{value!r}: browsers leave the usual port out; expected {origin.removesuffix(default)!r}")
        return origin


class FieldMap(Kind):
    """Texts by the name of a header field; in the tree pairs, sorted. With *options* only those texts."""

    def __init__(self, *options: str, example: str) -> None:
        self.options = options
        self.words = f"a table by header name such as {example}"
        self._name = FieldName()
        self._text = Choice(*options) if options else Text()

    def _read(self, value: object, base: Path) -> tuple[tuple[str, str], ...]:
        if not isinstance(value, dict):
            raise Unfit(f"this is {sort_of(value)}; expected {self.words}")
        found = {}
        for name, text in value.items():
            field = self._name.read(name, base)
            if field in found:
                raise Unfit(f"{field!r} is there twice; expected each header once")
            found[field] = self._text.read(text, base)
        return tuple(sorted(found.items()))

    def _show(self, value: Any) -> str:
        return "{ " + ", ".join(f"{toml(name)} = {toml(text)}" for name, text in value) + " }" if value else "{}"

    def _schema(self) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": self._text.json_schema()}


class ClaimMap(Kind):
    """Accepted values by the name of a claim; in the tree pairs of a name and a tuple, sorted."""

    words = 'a table by claim such as { role = ["admin", "editor"] }'
    _text = Text()

    def _read(self, value: object, base: Path) -> tuple[tuple[str, tuple[str, ...]], ...]:
        if not isinstance(value, dict):
            raise Unfit(f"this is {sort_of(value)}; expected {self.words}")
        found = {}
        for name, accepted in value.items():
            listed = accepted if isinstance(accepted, list) else [accepted]
            if not listed:
                raise Unfit(f"{name}: this list is empty; expected at least one value")
            found[self._text.read(name, base)] = tuple(self._text.read(text, base) for text in listed)
        return tuple(sorted(found.items()))

    def _show(self, value: Any) -> str:
        return "{ " + ", ".join(f"{toml(name)} = {toml(texts)}" for name, texts in value) + " }" if value else "{}"

    def _schema(self) -> dict[str, Any]:
        texts = {"type": "array", "items": self._text.json_schema(), "minItems": 1}
        return {"type": "object", "additionalProperties": {"anyOf": [self._text.json_schema(), texts]}}


class RequestTarget(Text):
    """A path, with a query or without."""

    words = 'a path such as "/healthz"'

    def _accept(self, value: str, base: Path) -> str:  # noqa: ARG002
        if not value.startswith("/"):
            raise Unfit(f"{value!r} does not begin with a slash; expected {self.words}")
        if "#" in value or any(not "!" <= sign <= "~" for sign in value):
            raise Unfit(f"{value!r} cannot stand in a request; expected it percent-encoded and without a fragment")
        return value


class HostHeader(Text):
    """What stands in a Host field."""

    words = 'a host such as "shop.example" or "shop.example:8080"'

    def _accept(self, value: str, base: Path) -> str:  # noqa: ARG002
        host, colon, port = value.rpartition(":") if not value.endswith("]") else (value, "", "")
        name = host if colon else value
        is_address = name.startswith("[") and name.endswith("]")
        if (not is_address and not is_host_name(name.lower())) or (colon and not port.isdigit()):
            raise Unfit(f"{value!r} is not a host; expected {self.words}")
        return value


class HashKey(Text):
    """What of a request is hashed."""

    words = '"target", "path", "client", "header:NAME", "cookie:NAME" or "query:NAME"'

    def _accept(self, value: str, base: Path) -> str:  # noqa: ARG002
        sort, colon, name = value.partition(":")
        if not colon and value in {"target", "path", "client"}:
            return value
        if sort == "header" and _TOKEN.match(name):
            return value.lower()
        if (sort == "cookie" and _TOKEN.match(name)) or (sort == "query" and name and not set(name) & set("&=#?")):
            return value
        raise Unfit(f"{value!r} is nothing to hash; expected {self.words}")


class Share(Kind):
    """A part of a whole: ``"20%"``, or ``0.2``; in the tree it is a fraction."""

    words = 'a share such as "20%"'

    def _read(self, value: object, base: Path) -> float:  # noqa: ARG002
        share = value
        if isinstance(value, str):
            match = _SHARE.match(value.strip())
            if match is None:
                raise Unfit(f"{value!r} is not a share; expected one such as '20%', or 0.2")
            share = float(match[1]) / 100
        if isinstance(share, bool) or not isinstance(share, (int, float)):
            raise Unfit(f"this is {sort_of(value)}; expected {self.words}")
        if not 0 <= share <= 1:
            raise Unfit(f"{value!r} is not a share; expected 0% to 100%")
        return float(share)

    def _show(self, value: Any) -> str:
        return toml(f"{value * 100:g}%")

    def _schema(self) -> dict[str, Any]:
        return {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 1},
                {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*%$"},
            ]
        }


class Factor(Kind):
    """How many times something."""

    words = "a number such as 1.25"

    def _read(self, value: object, base: Path) -> float:  # noqa: ARG002
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        raise Unfit(f"this is {sort_of(value)}; expected {self.words}")

    def _show(self, value: Any) -> str:
        return f"{value:g}"

    def _schema(self) -> dict[str, Any]:
        return {"type": "number"}


class StatusRange(Kind):
    """A status, or all from one to another; in the tree the first and the last."""

    words = 'a status such as 200, or some as in "200-299" or "2xx"'

    def _read(self, value: object, base: Path) -> tuple[int, int]:  # noqa: ARG002
        if isinstance(value, int) and not isinstance(value, bool):
            first = last = value
        elif isinstance(value, str) and (match := _STATUS_RANGE.match(value)):
            if match[3]:
                first, last = int(match[3]) * 100, int(match[3]) * 100 + 99
            else:
                first = int(match[1])
                last = int(match[2] or first)
        else:
            raise Unfit(f"{_seen(value)}; expected {self.words}")
        if not 100 <= first <= last <= 599:
            raise Unfit(f"{value!r} is no status, or none that is there; expected 100 to 599, the lower first")
        return first, last

    def _show(self, value: Any) -> str:
        first, last = value
        return str(first) if first == last else toml(f"{first}-{last}")

    def _schema(self) -> dict[str, Any]:
        return {
            "anyOf": [
                {"type": "integer", "minimum": 100, "maximum": 599},
                {"type": "string", "pattern": "^([1-5]xx|[1-5][0-9][0-9](-[1-5][0-9][0-9])?)$"},
            ]
        }


class StatusTimes(Kind):
    """Times by status; in the tree pairs, sorted."""

    words = 'a table of times by status such as { 404 = "10s" }'
    _time = Time()

    def __init__(self, *, never: frozenset[int] = frozenset()) -> None:
        self.never = never

    def _read(self, value: object, base: Path) -> tuple[tuple[int, float], ...]:
        if not isinstance(value, dict):
            raise Unfit(f"this is {sort_of(value)}; expected {self.words}")
        found = {}
        for status, time in value.items():
            if not _STATUS.match(status):
                raise Unfit(f"{status!r} is not a status; expected 200 to 599")
            if int(status) in self.never:
                raise Unfit(
                    f"a reply with {status} is an answer to one request alone and never kept; expected another status"
                )
            try:
                found[int(status)] = self._time.read(time, base)
            except Unfit as unfit:
                raise Unfit(f"{status}: {unfit}") from None
            if found[int(status)] > YEAR_S:
                raise Unfit(
                    f"{status}: {time_words(found[int(status)])} is too much; expected at most {time_words(YEAR_S)}"
                )
        return tuple(sorted(found.items()))

    def _show(self, value: Any) -> str:
        if not value:
            return "{}"
        return "{ " + ", ".join(f"{status} = {self._time.show(time)}" for status, time in value) + " }"

    def _schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "propertyNames": {"pattern": "^[2-5][0-9][0-9]$"},
            "additionalProperties": self._time.json_schema(),
        }


class ListOf(Kind):
    """A list; in the tree it is a tuple. ``load.py`` reads it item by item."""

    def __init__(self, item: Kind, *, may_be_empty: bool = True) -> None:
        self.item = item
        self.may_be_empty = may_be_empty
        self.words = f"a list, each {item.words}"

    def _show(self, value: Any) -> str:
        shown = [self.item.show(item) for item in value]
        line = "[" + ", ".join(shown) + "]"
        return line if len(line) <= 100 else "[\n" + "".join(f"    {item},\n" for item in shown) + "]"


class Table(Kind):
    """``[name]``: settings of one class. *short* names the one setting that may stand for the whole table."""

    words = "a table"

    def __init__(self, cls: type, *, short: str | None = None) -> None:
        self.cls = cls
        self.short = short
        if short is not None:
            self.words = f"a {short}, or a table with a {short}"


class Tables(Table):
    """``[[name]]``: any number of tables of one class, a tuple in the tree."""

    words = "tables, each headed [[name]]"


class Named(Table):
    """``[name.ANY]``: tables of one class by a name the operator chose, a mapping in the tree."""

    words = "tables, each headed [name.ANY]"


def did_you_mean(word: str, known: tuple[str, ...] | list[str]) -> str:
    """Return `` (did you mean …?)`` or nothing."""
    import difflib  # noqa: PLC0415 - needed only for a wrong file

    close = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def _either(options: tuple[str, ...]) -> str:
    quoted = [repr(option) for option in options]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " or " + quoted[-1]


def _seen(value: object) -> str:
    return repr(value) if isinstance(value, str) else f"this is {sort_of(value)}"


def _absolute_unix(value: str, base: Path) -> str:
    if value.startswith("unix:") and len(value) > 5:
        return f"unix:{base / value[5:]}"
    return value
