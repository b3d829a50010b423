"""
The rules of a route, ready to be applied: made once, from what the route and what it names say.

Decides in which order there are rules, not what becomes of a request (:mod:`edge.exchange.admission`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge.exchange.limits import limits_of
from edge.exchange.proof import CertificateProvider, PasswordProvider, Program, Provider, ServiceProvider, TokenProvider
from edge.policy.cors import Cors
from edge.policy.networks import Listed, NetworkTable, prefixes_of, read_networks

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.config.tree import Config, Route
    from edge.message.head import RequestHead


class Guard:
    """
    The rules of one route, ready to be applied.

    Attributes:
        route: whose.
        networks: who may come from where; None: from everywhere.
        providers: who can tell who asks, in the order in which they are asked.
        is_any: one of them is enough, or to come from an allowed network.
        early, late: limits that know the address alone, and limits that know who asks.
        cors: what pages of other sites may; None: nothing is said.
        certificate_told: what an origin is told of a certificate that was shown.
        program: the operator's function that is asked last; None: there is none.
    """

    __slots__ = (
        "certificate_told",
        "concurrency",
        "cors",
        "early",
        "is_any",
        "is_concurrency_dry",
        "is_identified",
        "late",
        "most_of_client",
        "networks",
        "program",
        "providers",
        "route",
        "tag",
    )

    def __init__(self, route: Route, tag: bytes, providers: Providers) -> None:
        access = route.access
        self.route = route
        self.tag = tag
        self.networks = providers.networks(route)
        told = {name.encode(): part for name, part in access.certificate_headers}
        self.certificate_told = told
        self.providers: list[Provider] = []
        if access.client_certificate == "required":
            self.providers.append(CertificateProvider(told))
        if access.jwt is not None:
            self.providers.append(providers.tokens[access.jwt])
        if access.basic is not None:
            self.providers.append(providers.passwords[access.basic])
        if access.forward_auth is not None:
            self.providers.append(providers.services[access.forward_auth])
        self.is_any = access.satisfy == "any"
        self.program = None if route.policy is None else Program(route, providers.folder)
        # What a function says may depend on whatever it likes: nobody else may have the reply, but by the origin's word.
        self.is_identified = bool(self.providers or told or self.program)
        self.early, self.late = limits_of(providers.rates, access.rates, tag)
        self.concurrency = access.concurrency
        self.most_of_client = access.client_concurrency
        self.is_concurrency_dry = access.concurrency_dry_run
        cors = route.cors
        self.cors = (
            Cors(
                cors.origins,
                methods=cors.methods,
                headers=cors.headers,
                expose=cors.expose,
                credentials=cors.credentials,
                max_age_s=cors.max_age_s,
            )
            if cors.origins
            else None
        )

    @property
    def wants_certificate(self) -> bool:
        """Whether it matters what certificate a client has shown."""
        return bool(self.certificate_told) or self.route.access.client_certificate == "required"

    def __bool__(self) -> bool:
        """Whether there is any rule."""
        return bool(
            self.networks
            or self.is_identified
            or self.early
            or self.late
            or self.cors
            or self.concurrency
            or self.most_of_client
        )


class Providers:
    """Everybody named in a configuration who can tell who asks; and tables of networks, each made once."""

    def __init__(self, config: Config) -> None:
        self.passwords = {name: PasswordProvider(settings) for name, settings in config.basic.items()}
        self.tokens = {name: TokenProvider(settings) for name, settings in config.jwt.items()}
        self.services = {name: ServiceProvider(settings) for name, settings in config.forward_auth.items()}
        self.rates = config.rates
        self.folder = config.source.resolve().parent
        self._tables: dict[Any, NetworkTable] = {}

    def networks(self, route: Route) -> NetworkTable | None:
        """Return the table of a route's networks; None if it names none."""
        access = route.access
        key = (access.allow, access.deny, access.allow_files, access.deny_files)
        if not any(key):
            return None
        if key not in self._tables:
            allow, deny = prefixes_of(access.allow), prefixes_of(access.deny)
            for files, found in ((access.allow_files, allow), (access.deny_files, deny)):
                for file in files:
                    found += read_networks(file.data)
            self._tables[key] = NetworkTable(allow, deny)
        return self._tables[key]


def told_names(config: Config) -> frozenset[bytes]:
    """Return every field by which an origin is told who asks, on any route: clients may send none of them."""
    found: set[str] = set()
    for tokens_ in config.jwt.values():
        found.update(name for name, _ in tokens_.headers)
    for service in config.forward_auth.values():
        found.update(service.copy_headers)
    for route in config.routes:
        found.update(name for name, _ in route.access.certificate_headers)
    return frozenset(name.encode() for name in found)


def describe(guard: Guard, head: RequestHead, client: str, say: Callable[[str, str, str], None]) -> str | None:
    """
    Put a route's rules in words, in the order in which they are applied. Nothing is counted, and nobody is asked.

    Args:
        guard: the route's.
        head: the request.
        client: its address; empty: not known.
        say: takes a step, what is so there, and where that is written.

    Returns:
        The outcome, if it is certain that this is the end of it.
    """
    cors = guard.route.cors
    is_listed = False
    if guard.networks is not None:
        source = "[route.access] allow, deny"
        others = "who is in none of them may not pass" if guard.networks.has_allowed else "others may pass"
        if not client:
            say("admit", f"the client's address is looked up among networks; {others}", source)
        else:
            listed = guard.networks.listed(client)
            says = {
                Listed.ALLOWED: "is allowed",
                Listed.DENIED: "is denied",
                Listed.NOWHERE: f"is in no network; {others}",
            }
            say("admit", f"{client} {says[listed]}", source)
            is_listed = listed is Listed.ALLOWED
            if not guard.networks.admits(client) and (
                listed is Listed.DENIED or not guard.is_any or not guard.providers
            ):
                return "refused with 403"
    if guard.cors is not None:
        say("admit", f"pages of {', '.join(cors.origins)} may ask", "[route.cors] origins")
        if guard.cors.is_preflight(head):
            say("admit", "this is a preflight, which is answered here", "Fetch §3.3.2")
            return "the edge itself answers " + ("403" if guard.cors.preflight(head) is None else "204")
    for limit in guard.early:
        say("admit", limit.words, f"[rate.{limit.quota.name}]")
    if not (is_listed and guard.is_any):
        _describe_providers(guard, say)
    for limit in guard.late:
        say("admit", limit.words, f"[rate.{limit.quota.name}]")
    if guard.concurrency is not None:
        say("admit", f"at most {guard.concurrency} requests may be under way", "[route.access] concurrency")
    if guard.most_of_client is not None:
        say("admit", f"at most {guard.most_of_client} of each client", "[route.access] client_concurrency")
    if guard.program is not None:
        say("admit", f"the function {guard.program.name} decides", "[[route]] policy")
    if guard.is_identified:
        kept = "who asks matters here: a reply is kept only if the origin says public or s-maxage"
        say("admit", kept, "[route.access], RFC 9111 §3.5")
    return None


def _describe_providers(guard: Guard, say: Callable[[str, str, str], None]) -> None:
    how = "; one of them is enough" if guard.is_any and len(guard.providers) > 1 else ""
    for provider in guard.providers:
        if isinstance(provider, TokenProvider):
            says, source = f"it must show a token of {provider.name}", f"[jwt.{provider.name}]"
        elif isinstance(provider, PasswordProvider):
            says, source = f"it must sign in with a password of {provider.name}", f"[basic.{provider.name}]"
        elif isinstance(provider, ServiceProvider):
            says, source = f"the service {provider.name} is asked", f"[forward_auth.{provider.name}]"
        else:
            says, source = "it must have shown a certificate", "[route.access] client_certificate"
        say("admit", says + how, source)
