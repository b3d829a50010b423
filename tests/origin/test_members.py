"""A server is its URL; two lists differ in who joined, who left and who is altered."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.origin.members import MOST_WEIGHT, Member, Members

servers = st.lists(
    st.builds(
        lambda port, weight: server(port, weight),
        st.integers(8000, 8006),
        st.integers(1, 3),
    ),
    max_size=8,
)


def server(port, weight=1):
    return Member(f"http://10.0.0.1:{port}", "http", "10.0.0.1", port, weight=weight)


@pytest.mark.parametrize(
    ("member", "label", "authority"),
    [
        (server(8001), "10.0.0.1:8001", "10.0.0.1:8001"),
        (server(80), "10.0.0.1:80", "10.0.0.1"),
        (Member("https://a", "https", "a", 443), "a:443", "a"),
        (Member("http://a:443", "http", "a", 443), "a:443", "a:443"),
        (Member("http://[::1]:80", "http", "::1", 80), "[::1]:80", "[::1]"),
        (Member("unix:/run/a", "http", "localhost", 0, "/run/a"), "/run/a", "localhost"),
    ],
)
def test_a_server_has_a_label_and_an_authority(member, label, authority):
    assert (label, authority) == (member.label, member.authority)


def test_a_list_tells_what_is_different_about_another():
    news = Members.of([server(1), server(2), server(3)]).news(Members.of([server(2), server(3, 5), server(4)]))

    assert (server(4),) == news.joined
    assert (server(1),) == news.left
    assert (server(3, 5),) == news.altered


def test_who_is_named_twice_has_both_weights():
    members = Members.of([server(1, 2), server(2), server(1, 3), server(1, MOST_WEIGHT)])

    assert (server(1, MOST_WEIGHT), server(2)) == members.servers
    assert (server(1, 5),) == Members.of([server(1, 2), server(1, 3)]).servers


@settings(deadline=None)
@given(servers, servers)
def test_news_lead_from_one_list_to_the_other(before, after):
    old, new = Members.of(before), Members.of(after)
    news = old.news(new)
    left = {one.url for one in news.left}
    built = {one.url: one for one in old.servers if one.url not in left}
    built |= {one.url: one for one in (*news.joined, *news.altered)}

    assert built == {one.url: one for one in new.servers}
    assert bool(news) == (set(old.servers) != set(new.servers))
