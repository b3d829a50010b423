"""One check for ``edge check``, the start and every reload: the file, what it names, and what is in that."""

import shutil
import tempfile
from pathlib import Path

import pytest

from edge.config import Severity
from edge.master.check import check
from edge.tls.selfsigned import Authority, make

HEAD = (
    '[[listener]]\naddress = "127.0.0.1:0"\ntls = true\n[origin.o]\nservers = ["https://h"]\n[[route]]\norigin = "o"\n'
)
PAIR = '[[certificate]]\nchain = "shop/fullchain.pem"\nkey = "shop/privkey.pem"\n'  # from line 8 on


class At:
    """A clock that stands still."""

    def __init__(self, wall):
        self._wall = wall

    def wall(self):
        return self._wall

    def mono(self):
        return 0.0


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """A folder with two pairs; making keys is slow enough to do it once."""
    folder = tmp_path_factory.mktemp("certificates")
    make(folder / "shop", ["shop.example"], days=30)
    make(folder / "other", ["other.example"], days=30)
    return folder


@pytest.fixture
def said(tmp_path, certificates):
    """Check a text beside the certificates; the problems, without the folders."""
    for folder in certificates.iterdir():
        (tmp_path / folder.name).symlink_to(folder)

    def said(text, **options):
        (tmp_path / "edge.toml").write_text(text)
        checked = check(tmp_path / "edge.toml", **options)
        assert checked.ok is not any(problem.severity is Severity.ERROR for problem in checked.problems)
        return [str(problem).replace(f"{tmp_path}/", "").removeprefix("edge.toml:") for problem in checked.problems]

    return said


def test_all_is_well(said):
    assert said(HEAD + PAIR) == []


def test_a_key_that_belongs_to_another_certificate(said):
    assert said(HEAD + PAIR.replace("shop/priv", "other/priv")) == [
        "10:7: other/privkey.pem does not belong to shop/fullchain.pem; expected the key it was made with"
    ]


def test_a_certificate_out_of_date_is_doubtful_but_no_reason_not_to_start(said):
    """An edge that refused to start would answer nobody, on every name it has."""
    (late,) = said(HEAD + PAIR, clock=At(4e9))
    (early,) = said(HEAD + PAIR, clock=At(1e9))

    assert late.startswith("9:9: warning: shop/fullchain.pem: expired on ")
    assert early.startswith("9:9: warning: shop/fullchain.pem: not valid before ")


def test_a_file_that_is_not_there_is_said_once(said):
    assert said(HEAD + PAIR.replace("shop/", "gone/")) == [
        "9:9: gone/fullchain.pem cannot be read: No such file or directory; expected a file",
        "10:7: gone/privkey.pem cannot be read: No such file or directory; expected a file",
    ]


def test_a_directory_is_looked_into(said, tmp_path):
    (tmp_path / "tenants" / "a").mkdir(parents=True)
    (tmp_path / "tenants" / "a" / "fullchain.pem").write_text("no certificate")
    (tmp_path / "tenants" / "b").mkdir()

    found = said(HEAD + '[[certificate]]\ndirectory = "tenants"\n')

    assert "9:13: tenants/a/privkey.pem cannot be read: No such file or directory" in found
    assert any("tenants/a/fullchain.pem holds no certificate" in line for line in found)


def test_a_directory_that_is_not_there_is_said_once(said):
    assert said(HEAD + '[[certificate]]\ndirectory = "gone"\n') == [
        "9:13: gone cannot be read: No such file or directory; expected a directory"
    ]


def test_authorities_are_looked_into(said, tmp_path):
    (tmp_path / "bad.pem").write_text("no certificate")
    client = 'client_ca = "bad.pem"\nclient_verify = "required"\n'
    origin = '[origin.o.tls]\nca = "bad.pem"\n'

    found = said(HEAD.replace("[origin", client + "[origin") + PAIR + client + origin)

    assert [line.split(" cannot be used")[0] for line in found] == ["4:13: bad.pem", "13:13: bad.pem", "16:6: bad.pem"]


def test_authorities_that_are_good(said):
    client = 'client_ca = "other/ca.pem"\nclient_verify = "required"\n'

    assert said(HEAD + PAIR + client + '[origin.o.tls]\nca = "other/ca.pem"\n') == []


def test_an_authority_of_origins_that_is_not_there_is_said_once(said):
    assert said(HEAD + PAIR + '[origin.o.tls]\nca = "gone.pem"\n') == [
        "12:6: gone.pem cannot be read: No such file or directory; expected a file"
    ]


def test_what_is_shown_to_origins_is_looked_into(said):
    tls = '[origin.o.tls]\nchain = "shop/fullchain.pem"\nkey = "other/privkey.pem"\n'

    assert said(HEAD + PAIR + tls) == [
        "13:7: other/privkey.pem does not belong to shop/fullchain.pem; expected the key it was made with"
    ]
    assert said(HEAD + PAIR + tls.replace("shop/", "gone/").replace("other/", "gone/")) == [
        "12:9: gone/fullchain.pem cannot be read: No such file or directory; expected a file",
        "13:7: gone/privkey.pem cannot be read: No such file or directory; expected a file",
    ]


def test_a_certificate_for_servers_is_doubtful_as_a_clients(said):
    """Several public authorities make no other kind any more; an origin that looks at it would refuse."""
    tls = '[origin.o.tls]\nchain = "shop/fullchain.pem"\nkey = "shop/privkey.pem"\n'

    assert said(HEAD + PAIR + tls) == [
        "12:9: warning: shop/fullchain.pem is not meant to be shown by a client; origins may refuse it"
    ]


def test_a_certificate_that_an_origin_will_refuse(said, tmp_path):
    Authority().issue(["edge"], for_client=True, days=30).write(tmp_path / "edge")
    tls = '[origin.o.tls]\nchain = "edge/fullchain.pem"\nkey = "edge/privkey.pem"\n'

    assert said(HEAD + PAIR + tls) == []
    (late,) = [line for line in said(HEAD + PAIR + tls, clock=At(4e9)) if line.startswith("12:")]
    assert late.endswith("; the origin will refuse it")


def test_every_kind_of_problem_is_told_in_one_run_and_in_order(said):
    text = HEAD.replace("tls = true", "tls = true\nxyzzy = 1") + PAIR.replace("shop/priv", "other/priv")

    found = said(text + '[server]\npid_file = "edge.toml/x"\n[log]\nformat = "xml"\n')

    assert [line.split(" ")[0] for line in found] == ["4:1:", "11:7:", "13:12:", "15:10:"]


def test_a_file_that_cannot_be_read_at_all_is_one_problem(tmp_path):
    checked = check(tmp_path / "nowhere.toml")

    assert checked.config is None
    assert len(checked.problems) == 1


# -- secrets -------------------------------------------------------------------------------------------------

OPEN = " may be read by everybody on this machine; expected mode 0600 or 0640"


@pytest.fixture
def public(certificates):
    """A folder that everybody may enter; a test's own is nobody else's."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        if not all(parent.stat().st_mode & 0o001 for parent in folder.parents):
            pytest.skip("there is no place here that everybody may enter")
        shutil.copytree(certificates, folder / "tenants")
        (folder / "tenants").chmod(0o755)
        yield folder


def warned(said, text):
    return [line for line in said(text) if OPEN in line]


def test_keys_that_everybody_may_read(said, public):
    tenants = f'[[certificate]]\ndirectory = "{public}/tenants"\n'
    pair = PAIR.replace("shop/", f"{public}/tenants/shop/")
    shown = pair.replace("[[certificate]]", "[origin.o.tls]")
    shop, other = public / "tenants/shop/privkey.pem", public / "tenants/other/privkey.pem"

    assert warned(said, HEAD + pair + tenants + shown) == []
    shop.chmod(0o640)
    assert warned(said, HEAD + pair + tenants + shown) == []
    shop.chmod(0o644)
    assert warned(said, HEAD + pair + shown) == [f"{line}: warning: {shop}{OPEN}" for line in ("10:7", "13:7")]
    assert warned(said, HEAD + tenants) == [f"9:13: warning: {shop}{OPEN}"]
    other.chmod(0o604)
    assert warned(said, HEAD + tenants) == [f"9:13: warning: {other} and 1 more{OPEN}"]
    (public / "tenants").chmod(0o750)
    assert warned(said, HEAD + pair + tenants + shown) == []


@pytest.mark.parametrize(
    ("table", "contents"),
    [
        ('[admin]\naddress = "127.0.0.1:0"\ntokens = "{}"\n', "0123456789abcdef\n"),
        ('[basic.staff]\nfile = "{}"\n', "alice:$2y$05$XZJU7yxhPzm3rQqpkmrXNuODaeCVbRkZ3bDTAuhlgA/7gtvO1qRlO\n"),
        ('[jwt.staff]\nalgorithms = ["HS256"]\nsecret_file = "{}"\n', "0123456789abcdef" * 2),
        ('[jwt.staff]\nalgorithms = ["HS256"]\njwks_file = "{}"\n', '{"keys": []}'),
    ],
)
def test_secrets_that_everybody_may_read(said, public, table, contents):
    """Also through a link, from a folder that nobody may enter."""
    (public / "secret").write_text(contents)
    (public / "secret").chmod(0o644)
    (public / "closed").mkdir(0o700)
    (public / "closed" / "link").symlink_to(public / "secret")
    for name in ("secret", "closed/link"):
        text = HEAD + PAIR + table.format(public / name)

        assert [line.split("warning: ")[1] for line in warned(said, text)] == [f"{public / name}{OPEN}"]
    (public / "secret").chmod(0o640)
    assert warned(said, text) == []


def test_a_public_key_may_be_read_by_everybody(said, public):
    (public / "keys").write_text('{"keys": []}')
    (public / "keys").chmod(0o644)

    assert warned(said, f'{HEAD}{PAIR}[jwt.staff]\nalgorithms = ["RS256"]\njwks_file = "{public}/keys"\n') == []


# -- routes ----------------------------------------------------------------------------------------------------

ROUTE = '[[route]]\norigin = "o"\n'


def test_a_route_that_is_never_taken(said):
    """However it is spelled: upper case, a closing dot, a closing slash, an escape that is none."""
    twice = f'{ROUTE}host = "a.example"\npath = "/x~"\n{ROUTE}host = "A.example."\npath = "/x%7e/"\n'

    assert said(HEAD + PAIR + twice) == [
        "15:1: this [[route]] is never taken: the one in line 11 takes whatever it would, and goes before it"
    ]


def test_routes_between_which_only_their_order_decides(said):
    alike = f'{ROUTE}headers = {{ a = "1" }}\n{ROUTE}headers = {{ b = "1" }}\n'

    assert said(HEAD + PAIR + alike) == [
        (
            "14:1: warning: a request may match this [[route]] and the one in line 11, which is no less specific and stands "
            "first; expected order = 1, or another number, where that is meant"
        )
    ]
    assert said(HEAD + PAIR + alike + "order = 1\n") == []
