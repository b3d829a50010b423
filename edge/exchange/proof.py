"""
Who a client is, and who can tell: certificates, passwords, tokens, and services that are asked.

Each provider judges a request by what it carries. Where that takes time it says what must be asked (an :data:`Ask`), and goes on
with what was answered; how it is asked is not known here. What was learned is remembered in bounded memories, by keyed hashes:
the memory itself tells no secret.

Made once per worker from what the configuration names.
"""

from __future__ import annotations

import dataclasses
import secrets
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from cachetools import LRUCache

from edge.policy.forward_auth import question_key
from edge.policy.identity import Identity, field_value, fields_of, has
from edge.policy.passwords import Passwords, credentials, read_users, user_of
from edge.policy.program import find
from edge.policy.verdict import Ruling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from edge.config.contents import Contents
    from edge.config.tree import Basic, ForwardAuth, Jwt, Route
    from edge.exchange.admission import Visit
    from edge.message.head import Field, ReplyHead, RequestHead
    from edge.policy.tokens import Key, KeySet, Reason, Terms, Verified
    from edge.policy.verdict import Request

MOST_VERIFIED: Final = 4096
"""Credentials, tokens and answers of services that each provider remembers."""

MOST_TOLD: Final = 8192
"""Bytes of a service's answer that are remembered."""

BUSY_S: Final = 1
"""After how many seconds to try again, where too much is being verified or under way."""


@dataclasses.dataclass(frozen=True, slots=True)
class Refused:
    """
    Why a request may not pass.

    Attributes:
        status: of the reply.
        rule: of names.RULES.
        detail: for the log.
        challenge: for ``WWW-Authenticate``, with 401.
        retry_after_s: with 429 and 503.
        reply: the service's own, if it is its refusal.
    """

    status: int
    rule: str
    detail: str
    challenge: bytes | None = None
    retry_after_s: int | None = None
    reply: tuple[ReplyHead, bytes] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class AskPassword:
    """A password must be verified: ``True`` or ``False``, or ``None`` if too many are being verified."""

    provider: PasswordProvider
    user: str
    password: bytes = dataclasses.field(repr=False)
    key: bytes = b""


@dataclasses.dataclass(frozen=True, slots=True)
class AskKeys:
    """Keys must be fetched: ``True`` once that was tried, with whatever success."""

    provider: TokenProvider


@dataclasses.dataclass(frozen=True, slots=True)
class AskService:
    """A service must be asked: the fields the origin is told, or how it refused, or that it failed."""

    provider: ServiceProvider
    head: RequestHead
    key: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class AskProgram:
    """An operator's function must be called: a Ruling, or how it failed."""

    program: Program
    request: Request


Ask = AskPassword | AskKeys | AskService | AskProgram


class Program:
    """
    A route's policy function.

    Args:
        route: whose.
        folder: where its module is looked for first.

    Raises:
        NoSuchFunction: it cannot be imported.
    """

    def __init__(self, route: Route, folder: Path) -> None:
        assert route.policy is not None
        self.name = route.policy
        self.timeout_s = route.policy_timeout_s
        self._function = find(route.policy, folder)

    def call(self, request: Request) -> object:
        """
        Call it. In a thread: it may take its time.

        Raises:
            Exception: whatever it raises. One that wants to end the process is told that it cannot.
        """
        try:
            return self._function(request)
        except Exception:
            raise
        except BaseException as error:
            told = RuntimeError(f"it raised {type(error).__name__}")
            raise told.with_traceback(error.__traceback__) from error  # located where it was raised

    def check(self, visit: Visit) -> Ruling | Refused | Ask:
        """Return what it has said of a request, or that it must be called."""
        said = visit.take_said()
        if said is NOTHING_SAID:
            return AskProgram(self, visit.request())
        assert isinstance(said, Ruling | Refused)
        return said


class Yes(NamedTuple):
    """What a service said in favour of a request."""

    fields: tuple[Field, ...]
    user: str


Said = bool | None | Yes | Refused | Ruling
"""What was answered to an Ask."""

NOTHING_SAID: Final = object()


class Provider(Protocol):
    """Somebody who can tell who a client is."""

    def check(self, visit: Visit, now_mono: float, now_wall: float) -> Identity | Refused | Ask:
        """Judge the request; ``visit.said`` holds what was answered to this provider's own Ask, once."""
        ...


class _Remembered(LRUCache[bytes, tuple[float, Any]]):
    """What was found out, each for a time, by keyed hash: the memory itself tells no secret."""

    def __init__(self) -> None:
        super().__init__(MOST_VERIFIED)
        self._secret = secrets.token_bytes(32)

    def key(self, *parts: bytes) -> bytes:
        digest = blake2b(digest_size=16, key=self._secret)
        for part in parts:
            digest.update(b"%d:" % len(part))
            digest.update(part)
        return digest.digest()

    def find(self, key: bytes, now_mono: float) -> Any:
        found = self.get(key)
        return found[1] if found is not None and now_mono < found[0] else None


class CertificateProvider:
    """Whoever has shown a certificate in the handshake."""

    def __init__(self, told: dict[bytes, str]) -> None:
        self._told = told

    def check(self, visit: Visit, now_mono: float, now_wall: float) -> Identity | Refused | Ask:  # noqa: ARG002
        """Say who has shown it."""
        shown = visit.shown
        if shown is None:
            return Refused(403, "certificate", "certificate: none was shown")
        return Identity(shown.fingerprint, {}, shown.fields(self._told))


class PasswordProvider:
    """
    People with passwords.

    Raises:
        Unreadable, ValueError: they cannot be read.
    """

    def __init__(self, settings: Basic) -> None:
        users = dict(map(user_of, settings.users))
        if settings.file is not None:
            users |= read_users(settings.file.data)
        self.name = settings.name
        self.passwords = Passwords(users.items())
        self.cache_s = settings.cache_s
        self.challenge = b'Basic realm="%b", charset="UTF-8"' % quoted(settings.realm)
        self._verified = _Remembered()

    def check(self, visit: Visit, now_mono: float, now_wall: float) -> Identity | Refused | Ask:  # noqa: ARG002
        """Say who they are whose password came along."""
        sent = visit.head.index.get(b"authorization")
        found = credentials(sent)
        if found is None:
            return Refused(401, "basic", f"basic {self.name}: no credentials", self.challenge)
        user, password = found
        said = visit.take_said()
        if said is NOTHING_SAID:
            key = self._verified.key(user.encode(), password)
            if self._verified.find(key, now_mono) is None:
                return AskPassword(self, user, password, key)
        elif said is None:
            detail = f"basic {self.name}: too many passwords are being verified"
            return Refused(503, "basic", detail, retry_after_s=BUSY_S)
        elif said is not True:
            return Refused(401, "basic", f"basic {self.name}: wrong user or password", self.challenge)
        return Identity(user, {"name": user})

    def known(self, ask: AskPassword, now_mono: float) -> bool:
        """Whether the password was verified meanwhile, for another request."""
        return self._verified.find(ask.key, now_mono) is not None

    def learn(self, ask: AskPassword, now_mono: float) -> None:
        """Remember a password that was right."""
        if self.cache_s:
            self._verified[ask.key] = (now_mono + self.cache_s, True)


class TokenProvider:
    """
    Who signs tokens. Keys that are fetched are told to :meth:`learn`.

    Attributes:
        settings: as configured.
        is_fetched: there are keys that must be fetched.
        is_fetching: a fetch is under way.
        asked_mono: when a fetch was last begun.

    Raises:
        ValueError: a key cannot be read.
    """

    LEAST_S: Final = 10.0
    """Between two fetches, whatever tokens name."""

    def __init__(self, settings: Jwt) -> None:
        from edge.policy import tokens as jose  # noqa: PLC0415 - 40 ms, for those who have tokens

        self._jose = jose
        self.settings = settings
        self.name = settings.name
        self.is_fetched = settings.jwks_origin is not None
        self.is_fetching = False
        self.asked_mono = float("-inf")
        self._static = jose.KeySet(static_keys(settings))
        self._fetched: KeySet | None = None
        self._until_mono = float("-inf")
        self._all: KeySet | None = None if self.is_fetched and not len(self._static) else self._static
        self._terms: Terms = jose.Terms(
            settings.issuer, settings.audience, settings.leeway_s, needs_expiry=settings.require_expiry
        )
        self._told = {name.encode(): said for name, said in settings.headers}
        self._cookie = None if settings.cookie is None else settings.cookie.encode()
        self._realm = b'Bearer realm="%b"' % quoted(settings.realm)
        self._verified = _Remembered()

    def keys(self, now_mono: float) -> KeySet | None:
        """Return the keys there are; None: they were never had, or are too old by now."""
        if self._fetched is not None and now_mono >= self._until_mono:
            self._fetched = None
            self._all = self._static if len(self._static) else None
            self._verified.clear()
        return self._all

    def learn(self, keys: KeySet, now_mono: float) -> None:
        """Take fetched keys in the place of those before."""
        if self._fetched is None or self._fetched.keys != keys.keys:
            self._verified.clear()  # a key may have been taken back
        self._fetched = keys
        self._until_mono = now_mono + self.settings.keep_s
        self._all = self._jose.KeySet((*self._static.keys, *keys.keys))

    def may_fetch(self, now_mono: float) -> bool:
        """Whether a token with a strange key is reason enough to fetch now, or to wait for a fetch that is under way."""
        return self.is_fetched and (self.is_fetching or now_mono >= self.asked_mono + self.LEAST_S)

    def check(self, visit: Visit, now_mono: float, now_wall: float) -> Identity | Refused | Ask:
        """Say who a token speaks of."""
        jose, index = self._jose, visit.head.index
        said = visit.take_said()
        token = (
            jose.bearer(index.get(b"authorization"))
            if self._cookie is None
            else jose.cookie(index.get(b"cookie"), self._cookie)
        )
        if token is None:
            return Refused(401, "jwt", f"jwt {self.name}: no token", self._realm)
        keys = self.keys(now_mono)
        if keys is None:
            if said is NOTHING_SAID:
                return AskKeys(self)
            return Refused(503, "jwt", f"jwt {self.name}: there are no keys to verify with", retry_after_s=BUSY_S)
        key = self._verified.key(token)
        verified: Verified | Reason | None = self._verified.find(key, now_mono)
        if verified is None:
            verified = jose.verify(token, keys, self._terms)
            if verified is jose.Reason.KEY and said is NOTHING_SAID and self.may_fetch(now_mono):
                return AskKeys(self)
            if isinstance(verified, jose.Reason):
                return self._refused(verified)
            self._verified[key] = (float("inf"), verified)
        assert isinstance(verified, jose.Verified)
        untimely = jose.judge_times(verified, now_wall, self._terms.leeway_s)
        if untimely is not None:
            return self._refused(untimely)
        claims = verified.claims
        for name, accepted in self.settings.claims:
            if not has(claims, name, accepted):
                challenge = self._realm + b', error="insufficient_scope"'
                return Refused(403, "jwt", f"jwt {self.name}: {jose.Reason.CLAIM.value}: {name}", challenge)
        subject = claims.get("sub")
        return Identity(subject if isinstance(subject, str) else "", claims, fields_of(claims, self._told))

    def _refused(self, reason: Reason) -> Refused:
        challenge = b'%b, error="invalid_token", error_description="%b"' % (self._realm, reason.value.encode())
        return Refused(401, "jwt", f"jwt {self.name}: {reason.value}", challenge)


class ServiceProvider:
    """A service that is asked."""

    def __init__(self, settings: ForwardAuth) -> None:
        self.settings = settings
        self.name = settings.name
        self.copied = frozenset(name.encode() for name in settings.copy_headers)
        self._by = frozenset(name.encode() for name in settings.cache_by) or None
        self._said = _Remembered()

    def check(self, visit: Visit, now_mono: float, now_wall: float) -> Identity | Refused | Ask:  # noqa: ARG002
        """Say whom the service lets pass."""
        said = visit.take_said()
        if said is NOTHING_SAID:
            key = b""
            head = visit.believable()
            if self.settings.cache_s:
                whole_host = self.settings.cache_whole_host
                key = self._said.key(question_key(head, visit.address, self._by, whole_host=whole_host))
                said = self._said.find(key, now_mono)
            if not isinstance(said, Yes):
                return AskService(self, head, key)
        if isinstance(said, Yes):
            return Identity(said.user, {"name": said.user} if said.user else {}, said.fields)
        assert isinstance(said, Refused)
        return said

    def learn(self, ask: AskService, said: Yes, now_mono: float) -> None:
        """Remember a yes, unless there is very much of it."""
        if self.settings.cache_s and sum(len(value) for _, value in said.fields) <= MOST_TOLD:
            self._said[ask.key] = (now_mono + self.settings.cache_s, said)


class UnusableKey(ValueError):  # noqa: N818 - the key is wrong, not we
    """
    A file holds no key that can be used.

    Attributes:
        setting: that names it.
    """

    def __init__(self, setting: str, file: Contents, why: ValueError) -> None:
        super().__init__(f"{file.path}: {why}")
        self.setting = setting


def static_keys(settings: Jwt) -> list[Key]:
    """
    Return the keys that lie in files.

    Raises:
        UnusableKey: one cannot be used.
    """
    from edge.policy import tokens as jose  # noqa: PLC0415 - as above

    keys: list[Key] = []
    readers: tuple[tuple[str, Contents | None, Callable[[bytes], Iterable[Key]]], ...] = (
        ("secret_file", settings.secret_file, lambda data: [jose.secret_key(data, settings.algorithms)]),
        ("key_file", settings.key_file, lambda data: [jose.public_key(data, settings.algorithms)]),
        ("jwks_file", settings.jwks_file, lambda data: jose.read_set(data, settings.algorithms, is_local=True).keys),
    )
    for setting, file, read in readers:
        if file is not None:
            try:
                keys += read(file.data)
            except ValueError as why:
                raise UnusableKey(setting, file, why) from None
    return keys


def quoted(text: str) -> bytes:
    """Write a realm as it stands between quotes."""
    return (field_value(text) or b"").replace(b"\\", b"").replace(b'"', b"'")
