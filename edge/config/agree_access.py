"""
Where what is said about access and limits contradicts itself: names that nothing has, rules that cannot hold, and rules that do
not do what they seem to.

Like ``agree.py``, which it is a part of; what is *in* files (users, keys, networks) is looked at where that is understood.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.config.agree import WARNING, Disagreement
from edge.config.kinds import did_you_mean
from edge.config.tree import (
    Basic,
    Certificate,
    ForwardAuth,
    Jwt,
    Listener,
    Rate,
    RouteAccess,
    RouteCors,
)
from edge.message.claims import CLAIMS, METHOD_OVERRIDES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edge.config.agree import Parts
    from edge.config.positions import Path as Key

_NOT_TOLD: Final = frozenset(
    {
        "accept", "accept-encoding", "authorization", "cache-control", "connection", "content-encoding", "content-length",
        "content-type", "cookie", "expect", "forwarded", "host", "if-match", "if-modified-since", "if-none-match",
        "if-range", "if-unmodified-since", "keep-alive", "origin", "proxy-authorization", "range", "te", "trailer",
        "transfer-encoding", "upgrade", "via", "x-request-id",
    }
)  # fmt: skip
"""Fields that clients must be able to send, or that are ours: an origin cannot be told of a client by them."""


def access_disagreements(parts: Parts) -> Iterator[Disagreement]:
    """Find everything about access in *parts* that contradicts itself."""
    yield from _people(parts)
    yield from _signers(parts)
    yield from _services(parts)
    yield from _limits(parts)
    yield from _access(parts)
    yield from _sites(parts)
    yield from _unused(parts)


def _people(parts: Parts) -> Iterator[Disagreement]:
    for key, basic in parts.all(Basic):
        if not basic.users and basic.file is None:
            yield Disagreement(key, "nobody can sign in here; expected users, or a file of them")


def _signers(parts: Parts) -> Iterator[Disagreement]:
    for key, jwt in parts.all(Jwt):
        if not (jwt.secret_file or jwt.key_file or jwt.jwks_file or jwt.jwks_origin):
            yield Disagreement(
                key, "there is no key to verify with; expected secret_file, key_file, jwks_file or jwks_origin"
            )
        if jwt.jwks_origin is not None:
            yield from _named(parts, "origin", (*key, "jwks_origin"), jwt.jwks_origin)
            yield from _rooted((*key, "jwks_path"), jwt.jwks_path)
        if jwt.issuer is None and not jwt.audience:
            yield Disagreement(
                key,
                "a token that was made for any other service is taken too; expected an issuer and an audience",
                WARNING,
            )
        yield from _told((*key, "headers"), (name for name, _ in jwt.headers))


def _services(parts: Parts) -> Iterator[Disagreement]:
    for key, service in parts.all(ForwardAuth):
        yield from _named(parts, "origin", (*key, "origin"), service.origin)
        yield from _rooted((*key, "path"), service.path)
        yield from _told((*key, "copy_headers"), service.copy_headers)
        if service.cache_by and not service.cache_s:
            yield Disagreement((*key, "cache_by"), "answers are not used again; expected a cache time", WARNING)
        if service.cache_whole_host and not service.cache_s:
            yield Disagreement((*key, "cache_whole_host"), "answers are not used again; expected a cache time", WARNING)


def _limits(parts: Parts) -> Iterator[Disagreement]:
    for key, rate in parts.all(Rate):
        for name, value in (("header", rate.header), ("claim", rate.claim)):
            if rate.by == name and value is None:
                yield Disagreement((*key, "by"), f"which {name} is not said; expected {name} = ... beside it")
            elif rate.by != name and value is not None:
                yield Disagreement(
                    (*key, name), f'this is not looked at; expected by = "{name}", or no {name}', WARNING
                )
        burst = rate.limit if rate.burst is None else rate.burst
        if burst * rate.per_s / rate.limit > 86400.0:
            yield Disagreement(
                (*key, "limit" if rate.burst is None else "burst"),
                "so many requests are not paid off within a day; expected less",
            )
        if rate.limit / rate.per_s > 100_000:
            yield Disagreement((*key, "limit"), "this is more than 100,000 requests a second; expected less")


def _access(parts: Parts) -> Iterator[Disagreement]:
    verified = [listener.client_verify for _, listener in parts.all(Listener)]
    verified += [certificate.client_verify for _, certificate in parts.all(Certificate)]
    are_asked = any(verify != "none" for verify in verified)
    rates = {rate.name: rate for _, rate in parts.all(Rate)}
    bearers = {jwt.name for _, jwt in parts.all(Jwt) if jwt.cookie is None}
    for key, access in parts.all(RouteAccess):
        for header, name in (("basic", access.basic), ("jwt", access.jwt), ("forward_auth", access.forward_auth)):
            if name is not None:
                yield from _named(parts, header, (*key, header), name)
        for at, name in enumerate(access.rates):
            yield from _named(parts, "rate", (*key, "rates", at), name)
        if (access.client_certificate == "required" or access.certificate_headers) and not are_asked:
            setting = "client_certificate" if access.client_certificate == "required" else "certificate_headers"
            yield Disagreement(
                (*key, setting),
                "no client is asked for a certificate; expected client_verify on a listener or a [[certificate]]",
                WARNING,
            )
        yield from _told((*key, "certificate_headers"), (name for name, _ in access.certificate_headers))
        shown = [access.basic, access.jwt, access.forward_auth, access.client_certificate == "required" or None]
        ways = len([one for one in shown if one is not None]) + bool(access.allow or access.allow_files)
        if access.satisfy == "any" and ways < 2:
            yield Disagreement(
                (*key, "satisfy"), 'there is nothing to choose from; expected two ways in, or "all"', WARNING
            )
        if access.satisfy == "all" and access.basic is not None and access.jwt in bearers:
            yield Disagreement(
                (*key, "basic"),
                'a request has one Authorization field: nobody can show both; expected satisfy = "any", or a cookie for '
                f"[jwt.{access.jwt}]",
            )
        for at, name in enumerate(access.rates):
            if name in rates and rates[name].by in {"user", "claim"} and not any(shown):
                yield Disagreement(
                    (*key, "rates", at),
                    f"nobody signs in here, so [rate.{name}] counts by address; expected basic, jwt or forward_auth",
                    WARNING,
                )


def _sites(parts: Parts) -> Iterator[Disagreement]:
    for key, cors in parts.all(RouteCors):
        if not cors.origins and cors != RouteCors():
            yield Disagreement(key, "nothing is said to any site; expected origins", WARNING)
        if "*" in cors.origins and cors.credentials:
            yield Disagreement(
                (*key, "credentials"),
                "pages of every site could act in the name of whoever is signed in here; expected origins by name",
            )


def _unused(parts: Parts) -> Iterator[Disagreement]:
    accesses = [access for _, access in parts.all(RouteAccess)]
    used: dict[str, set[str | None]] = {
        "basic": {access.basic for access in accesses},
        "jwt": {access.jwt for access in accesses},
        "forward_auth": {access.forward_auth for access in accesses},
        "rate": {name for access in accesses for name in access.rates},
    }
    defined: list[tuple[str, Key, str]] = []
    defined += [("basic", key, part.name) for key, part in parts.all(Basic)]
    defined += [("jwt", key, part.name) for key, part in parts.all(Jwt)]
    defined += [("forward_auth", key, part.name) for key, part in parts.all(ForwardAuth)]
    defined += [("rate", key, part.name) for key, part in parts.all(Rate)]
    for header, key, name in defined:
        if name not in used[header]:
            yield Disagreement(key, f"no [route.access] names [{header}.{name}]", WARNING)


def _named(parts: Parts, header: str, key: Key, name: str) -> Iterator[Disagreement]:
    written = parts.raw.get(header)
    known = list(written) if isinstance(written, dict) else []
    if name and name not in known:
        near = did_you_mean(name, known)
        expected = near or (f"; expected one of {', '.join(known)}" if known else f"; expected [{header}.{name}]")
        yield Disagreement(key, f"there is no [{header}.{name}]{expected}")


def _rooted(key: Key, path: str) -> Iterator[Disagreement]:
    if not path.startswith("/") or any(not "!" <= sign <= "~" for sign in path):
        yield Disagreement(key, f"{path!r} is no path; expected one that begins with a slash, percent-encoded")


def _told(key: Key, names: Iterable[str]) -> Iterator[Disagreement]:
    for name in names:
        is_claim = name.encode() in CLAIMS or name.encode() in METHOD_OVERRIDES
        if is_claim or name in _NOT_TOLD or name.startswith(("x-forwarded-", "access-control-", "sec-")):
            yield Disagreement(key, f"clients send {name!r} themselves, or we do; expected a name such as 'x-user'")
