"""Parts that are well formed alone and contradict each other together."""

from pathlib import Path

import pytest

from edge.config import parse

FILE = Path("edge.toml")

LISTENER = '[[listener]]\naddress = "0.0.0.0:80"\n'
TLS = '[[listener]]\naddress = "0.0.0.0:443"\ntls = true\n'
PAIR = '[[certificate]]\nchain = "c"\nkey = "k"\n'
ORIGIN = '[origin.shop]\nservers = ["http://10.0.0.1"]\n'
ROUTE = '[[route]]\norigin = "shop"\n'
REST = ORIGIN + ROUTE


def said(*parts):
    return [str(problem).removeprefix("edge.toml:") for problem in parse("".join(parts), FILE).problems]


def test_parts_that_agree_are_not_mentioned():
    assert said(LISTENER, TLS, PAIR, REST) == []


def test_nothing_listens():
    assert said(REST) == [
        '1:1: nothing listens; expected at least one [[listener]] with an address such as "0.0.0.0:443"'
    ]


@pytest.mark.parametrize("address", ["0.0.0.0:80", "unix:/run/x.sock", "systemd:http"])
def test_an_address_is_listened_on_twice(address):
    twice = f'[[listener]]\naddress = "{address}"\n' * 2

    assert said(twice, REST) == [f"4:11: {address!r} is listened on twice; expected each address once"]


def test_two_free_ports_are_not_the_same_address():
    assert said('[[listener]]\naddress = "127.0.0.1:0"\n' * 2, REST) == []


def test_the_admin_address_is_a_listeners():
    assert said(LISTENER, REST, '[admin]\naddress = "0.0.0.0:80"\n') == [
        "8:11: '0.0.0.0:80' is a [[listener]]'s address; expected one of its own, for operators only"
    ]


@pytest.mark.parametrize("address", ["0.0.0.0:9180", "10.20.0.5:9180", "[::]:9180", "[2001:db8::1]:9180"])
def test_an_admin_address_that_others_reach_needs_tokens(address):
    admin = f'[admin]\naddress = "{address}"\n'

    [problem] = said(LISTENER, REST, admin)
    assert problem.startswith(f"8:11: whoever reaches {address!r} could purge")
    assert said(LISTENER, REST, admin, 'tokens = "tokens"\n') == []


@pytest.mark.parametrize("address", ["127.0.0.1:9180", "127.0.0.2:9180", "[::1]:9180", "unix:/run/x", "systemd:admin"])
def test_an_admin_address_of_this_machines_own_needs_none(address):
    assert said(LISTENER, REST, f'[admin]\naddress = "{address}"\n') == []


def test_tokens_without_an_address():
    assert said(LISTENER, REST, '[admin]\ntokens = "tokens"\n') == [
        "8:10: warning: there is no address to show them at; expected an address"
    ]


def test_a_redirect_to_https_from_https_goes_in_a_circle():
    assert said(TLS, 'redirect = "https"\n', PAIR, REST)[0].startswith("4:12: clients here use https already")


def test_tls_without_a_certificate():
    assert said(TLS, REST) == ["3:7: there is no certificate to show; expected a [[certificate]]"]


def test_certificates_without_tls():
    assert said(LISTENER, PAIR, REST) == [
        "3:1: warning: no listener uses certificates; expected a [[listener]] with tls = true"
    ]


@pytest.mark.parametrize(
    "listener", ['[[listener]]\naddress = "here"\ntls = true\n', '[[listener]]\naddress = "127.0.0.1:1"\ntls = 1\n']
)
def test_a_listener_that_cannot_be_read_may_use_certificates(listener):
    """What is wrong is said once, and not what would follow from it."""
    found = said(listener, PAIR, REST)

    assert len(found) == 1
    assert "no listener uses certificates" not in found[0]


@pytest.mark.parametrize("setting", ['client_ca = "x"\nclient_verify = "optional"', 'client_verify = "required"'])
def test_client_certificates_without_tls(setting):
    found = said(LISTENER, setting, "\n", REST)

    assert any("only TLS clients show certificates; expected tls = true" in line for line in found)


def test_verifying_against_nothing():
    expected = "there is nothing to verify against; expected a client_ca beside it"

    assert said(TLS, 'client_verify = "optional"\n', PAIR, REST) == [f"4:17: {expected}"]
    assert said(TLS, PAIR, 'client_verify = "required"\n', REST) == [f"7:17: {expected}"]


def test_a_client_ca_nobody_is_verified_against():
    assert said(TLS, 'client_ca = "x"\n', PAIR, REST) == [
        '4:13: warning: clients are not asked for a certificate; expected client_verify = "required"'
    ]


@pytest.mark.parametrize(
    ("table", "because"),
    [
        ("", "names no chain and key, or directory"),
        ('chain = "c"', "has a chain but no key"),
        ('key = "k"', "names no chain"),
        ('chain = "c"\nkey = "k"\ndirectory = "d"', "either chain and key, or a directory"),
        ('key = "k"\ndirectory = "d"', "either chain and key, or a directory"),
    ],
)
def test_a_certificate_that_is_neither_a_pair_nor_a_directory(table, because):
    (found,) = said(TLS, "[[certificate]]\n", table, "\n", REST)

    assert found.startswith("4:1: ")
    assert because in found


def test_a_certificate_twice():
    assert said(TLS, PAIR, PAIR, REST) == [
        "7:1: warning: this [[certificate]] is the same as one before; expected each once"
    ]


def test_a_cache_without_a_path():
    assert said(LISTENER, REST, '[cache]\nsize = "2 GiB"\n') == [
        "7:1: warning: without a path nothing is stored; expected path = ... or no [cache] at all"
    ]


def test_an_object_larger_than_the_store():
    found = said(LISTENER, REST, '[cache]\npath = "c"\nsize = "64 MiB"\n')

    assert found == [
        "9:8: warning: one object may have 128 MiB, more than the whole store; expected max_object below size"
    ]


def test_an_encoding_twice():
    assert said(LISTENER, REST, '[compression]\nencodings = ["br", "gzip", "br"]\n') == [
        "8:13: 'br' is named twice; expected each encoding once"
    ]


def test_an_origin_no_route_leads_to():
    assert said(LISTENER, REST, '[origin.spare]\nservers = ["http://x"]\n') == [
        "7:1: warning: no [[route]] leads to origin 'spare'"
    ]


def test_a_server_twice():
    origin = ORIGIN.replace('"]', '", { url = "http://10.0.0.1" }]')

    assert said(LISTENER, origin, ROUTE) == [
        "4:31: warning: 'http://10.0.0.1' is named twice; expected a weight instead"
    ]


@pytest.mark.parametrize(
    ("address", "url", "is_same"),
    [
        ("0.0.0.0:80", "http://127.0.0.1", True),
        ("0.0.0.0:80", "http://localhost:80", True),
        ("127.0.0.1:80", "http://127.0.0.1", True),
        ("[::]:80", "http://[::1]:80", True),
        ("0.0.0.0:80", "http://127.0.0.1:81", False),
        ("0.0.0.0:80", "http://10.0.0.1", False),
        ("0.0.0.0:80", "http://shop.internal", False),
        ("127.0.0.1:0", "http://127.0.0.1", False),
        ("unix:/run/x", "unix:/run/x", False),
    ],
)
def test_an_origin_that_is_the_edge_itself(address, url, is_same):
    found = said(LISTENER.replace("0.0.0.0:80", address), ORIGIN.replace("http://10.0.0.1", url), ROUTE)

    assert is_same == any("is this edge itself" in line for line in found)


def test_tls_settings_of_an_origin_without_tls():
    assert said(LISTENER, REST, "[origin.shop.tls]\nverify = false\n") == [
        "7:1: warning: no server of this origin is https; expected one, or no tls settings"
    ]


def test_a_route_to_an_origin_there_is_not():
    assert said(LISTENER, REST, '[[route]]\npath = "/x"\norigin = "shopp"\n') == [
        "9:10: there is no origin 'shopp'; did you mean 'shop'?"
    ]
    assert said(LISTENER, REST, '[[route]]\npath = "/x"\norigin = "zzz"\n') == [
        "9:10: there is no origin 'zzz'; expected one of shop"
    ]
    assert said(LISTENER, ROUTE) == ["4:10: there is no origin 'shop'; expected [origin.shop]"]


def test_a_route_to_an_origin_that_is_itself_wrong_is_not_wrong_too():
    found = said(LISTENER, ORIGIN.replace("http", "ftp"), ROUTE)

    assert len(found) == 1
    assert "not an origin's URL" in found[0]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ('path = "/x"\npath_exact = "/y"\norigin = "shop"', "9:14: path is a prefix and path_exact the whole"),
        ('path_exact = "/y"\npath_pattern = "/z"\norigin = "shop"', "9:16: path_exact says all there is to say"),
        ('origin = "shop"\nsplit = ["shop"]', "9:9: origin says already where to; expected one of the two"),
        ('path = "/x"', "7:1: [[route]] has no 'origin'; expected origin = \"shop\""),
        ('split = ["shop", "shop"]', "8:9: an origin is named twice; expected each once, with its whole weight"),
        ('split = [{origin = "shop", weight = 0}]', "8:9: no origin has a weight; expected at least one"),
        ('origin = "shop"\nsplit_by = "cookie:a"', "9:12: warning: nothing is split here; expected a split beside it"),
        ('split = ["shop", "shup"]', "8:18: there is no origin 'shup'; did you mean 'shop'?"),
    ],
)
def test_what_a_route_may_not_say_at_once(settings, expected):
    found = said(LISTENER, ORIGIN, "# one line\n# and another\n", f"[[route]]\n{settings}\n")

    assert any(line.startswith(expected) for line in found), found


def test_a_listener_that_cannot_answer_anything():
    assert said(LISTENER) == ["1:1: warning: nothing can be answered here; expected at least one [[route]]"]
    assert said(LISTENER, 'redirect = "https"\n') == []


STORE = '[cache]\npath = "c"\nsize = "1 GiB"\n'
RULES = STORE + ORIGIN + ROUTE + "[route.cache]\n"


def test_rules_that_agree_are_not_mentioned():
    rules = 'ttl = "10s"\nmax_ttl = "10s"\nstrip_cookies = true\nquery_drop = ["utm_*"]\nmax_object = "1 GiB"\n'

    assert said(LISTENER, RULES, rules) == []
    assert said(LISTENER, RULES, 'on_leave = "stop"\nfinish_left = 0\nfinish_percent = 50\n') == []
    assert said(LISTENER, RULES, "enabled = false\n") == []
    assert said(LISTENER, RULES, "ttl = 0\n") == []


@pytest.mark.parametrize(
    ("rules", "because"),
    [
        ('strip_cookies = true\nttl = "1s"\nmin_ttl = 0', "13:11: warning: ttl replaces every lifetime already"),
        ('strip_cookies = true\nttl = "1s"\ndefault_ttl = "1s"', "13:15: warning: ttl replaces every lifetime already"),
        ('strip_cookies = true\nttl = "2s"\nmax_ttl = "1s"', "12:7: this is longer than max_ttl, 1s; expected less"),
        ('strip_cookies = true\nmin_ttl = "2s"\nmax_ttl = "1s"', "12:11: this is longer than max_ttl, 1s"),
        ('default_ttl = "2s"', "11:15: warning: replies get a lifetime that the origin did not give"),
        ('query = "none"\nquery_keep = ["a"]', "11:9: nothing is left of the query"),
        ('max_object = "2 GiB"', "11:14: warning: one object may have 2 GiB, more than the whole store"),
        ("finish_percent = 50", "11:18: warning: every fetch is finished already; expected on_leave"),
        ("finish_left = 0", "11:15: warning: every fetch is finished already; expected on_leave"),
        ("enabled = false\nquery_sort = true", "10:1: warning: nothing is kept here"),
    ],
)
def test_rules_that_contradict_each_other(rules, because):
    (problem,) = said(LISTENER, RULES, rules)

    assert problem.startswith(because)


def test_rules_for_a_cache_that_there_is_not():
    (problem,) = said(LISTENER, REST, "[route.cache]\nquery_sort = true\n")

    assert "warning: nothing is stored at all; expected a [cache] with a path" in problem


@pytest.mark.parametrize(
    ("address", "networks", "message"),
    [
        ("0.0.0.0:80", '["unix"]', "nobody comes here over a Unix socket; expected the balancers' networks"),
        ("unix:/run/x", '["10.0.0.1"]', 'whoever comes over a Unix socket has no address; expected ["unix"]'),
        (
            "0.0.0.0:80",
            '["::/0"]',
            "warning: anybody at all may say here who he is; expected the balancers' own networks",
        ),
    ],
)
def test_nobody_could_come_with_a_proxy_header_or_everybody(address, networks, message):
    listener = f'[[listener]]\naddress = "{address}"\nproxy_protocol_from = {networks}\n'

    assert said(listener, REST) == [f"3:23: {message}"]


@pytest.mark.parametrize("address", ["unix:/run/x", "systemd:http"])
def test_a_unix_sockets_clients_may_bring_proxy_headers(address):
    assert said(f'[[listener]]\naddress = "{address}"\nproxy_protocol_from = ["unix"]\n', REST) == []


@pytest.mark.parametrize(("given", "missing"), [("chain", "key"), ("key", "chain")])
def test_half_of_a_certificate_for_origins(given, missing):
    tls = f'[origin.shop.tls]\n{given} = "x"\n'

    assert said(LISTENER, ORIGIN.replace("http:", "https:"), tls, ROUTE) == [
        f"6:{len(given) + 4}: there is a {given} but no {missing}; expected the {missing} beside it"
    ]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("min_idle = 65", "7:12: no more than 64 are kept unused; expected a greater max_idle"),
        ("min_idle = 2\nmax_connections = 1", "7:12: there may be only 1; expected a greater max_connections"),
        ('min_idle = 1\nidle = "0s"', "7:12: no connection is kept unused; expected an idle time above 0s"),
        (
            'min_idle = 1\nproxy_protocol = "v2"',
            "7:12: a connection that says who its client is cannot be made before he comes",
        ),
        ('source = ["10.0.0.5", "10.0.0.6"]', "7:10: two addresses of one family; expected at most one of each"),
    ],
)
def test_connections_that_cannot_be_as_they_are_wanted(settings, problem):
    assert said(LISTENER, ROUTE, ORIGIN, settings, "\n") == [problem]


def test_an_address_to_reach_a_unix_socket_from():
    origin = '[origin.shop]\nservers = ["unix:/run/x"]\nsource = ["10.0.0.5"]\n'

    assert said(LISTENER, ROUTE, origin) == ["7:10: warning: Unix sockets are not reached from an address"]


def test_an_origin_without_servers():
    assert said(LISTENER, ROUTE, "[origin.shop]\n") == [
        "5:1: [origin.shop] has no servers; expected servers = [...], or a servers_file"
    ]
    assert said(LISTENER, ROUTE, '[origin.shop]\nservers_file = "s.toml"\n') == []
    assert len(said(LISTENER, ROUTE, "[origin.shop]\nservers = []\n")) == 1


@pytest.mark.parametrize(
    ("url", "what"), [("http://10.0.0.1", "is an address already"), ("unix:/run/x", "is a Unix socket")]
)
def test_what_there_is_nothing_to_discover_of(url, what):
    origin = f'[origin.shop]\nservers = [{{ url = "{url}", discover = "addresses" }}]\n'

    assert said(LISTENER, ROUTE, origin) == [f"6:{35 + len(url)}: {url!r} {what}; expected a name to ask for"]


def test_what_is_found_may_speak_tls():
    origin = '[origin.shop]\nservers_file = "s.toml"\n[origin.shop.tls]\nverify = false\n'

    assert said(LISTENER, ROUTE, origin) == []


TWO = '[origin.shop]\nservers = ["http://10.0.0.1", "http://10.0.0.2"]\n'


@pytest.mark.parametrize(
    ("settings", "because"),
    [
        ('[origin.shop.health]\nbody = "x"\n', "without a path nobody is asked"),
        ('[origin.shop.health]\npath = "/"\ninterval = "1s"\n', "the next check is due after 1s"),
        ('[origin.shop.ejection]\nfailures = 0\npause = "2s"\n', "with failures = 0 nobody is left out"),
        ('[origin.shop.ejection]\npause = "1m"\n', "this is longer than longest, 30s"),
        ('[origin.shop.ejection]\non = ["503", "503"]\n', "'503' is named twice"),
        ("[origin.shop.sticky]\nsecure = false\n", "without a cookie nobody stays"),
        ('[origin.shop.sticky]\ncookie = "s"\nsecret = "short"\n', "this can be guessed"),
        ('[origin.shop.sticky]\ncookie = "s"\nsame_site = "none"\nsecure = false\n', "browsers take no such cookie"),
        ('hash_key = "path"\n', 'nothing is hashed with balance = "round_robin"'),
        ("bounded_load = 1.5\n", 'nothing is hashed with balance = "round_robin"'),
    ],
)
def test_settings_of_servers_that_contradict_each_other(settings, because):
    (problem,) = said(LISTENER, TWO, settings, ROUTE)

    assert because in problem


@pytest.mark.parametrize(
    ("rules", "because"),
    [
        ('on = ["503", "503"]', "'503' is named twice"),
        ('methods = ["GET", "GET"]', "'GET' is named twice"),
        ('retries = 0\non = ["503"]', "nothing is sent again here"),
        ('hedge = "1s"', "origin 'shop' has one server, and no second to ask"),
    ],
)
def test_rules_for_asking_again_that_contradict_each_other(rules, because):
    (problem,) = said(LISTENER, REST, "[route.retry]\n", rules)

    assert because in problem


def test_backups_of_nobody():
    (problem,) = said(LISTENER, '[origin.shop]\nservers = [{ url = "http://10.0.0.1", backup = true }]\n', ROUTE)

    assert "every server is a backup" in problem


def test_more_servers_than_the_node_can_know():
    urls = ", ".join(f'"http://10.0.{at // 250}.{at % 250 + 1}"' for at in range(900))

    assert any(
        "there are 901 origins and servers" in line
        for line in said(LISTENER, f"[origin.shop]\nservers = [{urls}]\n", ROUTE)
    )
