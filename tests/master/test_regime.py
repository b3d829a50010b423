"""A regime is made whole or not at all."""

import pytest

from edge.config.tree import Admin, CacheConfig, Certificate, Config, Listener, Log, Origin, OriginServer, Server
from edge.master import regime
from edge.master.regime import Refused


def _config(**more):
    return Config(listeners=(Listener("127.0.0.1:1"),), **more)


def test_a_plain_configuration_needs_no_contexts():
    made = regime.make(3, _config(), {})

    assert (made.generation, made.tls, made.addresses) == (3, None, {"127.0.0.1:1"})


def test_the_admin_listens_like_any_other():
    made = regime.make(1, _config(admin=Admin("127.0.0.1:2")), {})

    assert [listener.address for listener in made.listeners] == ["127.0.0.1:1", "127.0.0.1:2"]


def test_origins_keep_the_counters_they_had():
    def origin(name):
        return Origin(name, (OriginServer("http://127.0.0.1:1"),))

    first = regime.make(1, _config(origins={"a": origin("a"), "b": origin("b")}), {})
    second = regime.make(2, _config(origins={"c": origin("c"), "b": origin("b")}), first.origin_blocks)

    assert second.origin_blocks["b"] == first.origin_blocks["b"]
    assert second.origin_blocks["c"] != first.origin_blocks["a"]


def test_a_cache_directory_is_made(tmp_path):
    regime.make(1, _config(cache=CacheConfig(path=tmp_path / "cache")), {})

    assert (tmp_path / "cache").is_dir()


def test_a_log_that_cannot_be_opened_refuses_the_whole(tmp_path):
    (tmp_path / "log").mkdir()

    with pytest.raises(Refused, match="log"):
        regime.make(1, _config(log=Log(access=tmp_path / "log")), {})


def test_a_certificate_that_cannot_be_read_refuses_the_whole(tmp_path):
    config = Config(
        listeners=(Listener("127.0.0.1:1", tls=True),),
        certificates=(Certificate(chain=tmp_path / "a", key=tmp_path / "b"),),
    )

    with pytest.raises(Refused, match=str(tmp_path)):
        regime.make(1, config, {})


def test_a_user_that_does_not_exist_refuses_the_whole(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)

    with pytest.raises(Refused, match="no-such-user"):
        regime.make(1, _config(server=Server(user="no-such-user")), {})


def test_a_file_with_errors_is_refused_with_all_of_them(tmp_path):
    (tmp_path / "edge.toml").write_text("[server]\nworkerz = 1\ndrian = 2\n")

    with pytest.raises(Refused) as refused:
        regime.read(tmp_path / "edge.toml")
    assert len(refused.value.reasons) >= 2
    assert any("workerz" in reason for reason in refused.value.reasons)
    assert "(and " in refused.value.summary


def test_one_reason_is_its_own_summary():
    assert Refused("the roof leaks").summary == "the roof leaks"
