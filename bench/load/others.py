"""
The peers beside nginx: HAProxy, Varnish behind hitch, Traffic Server, Caddy, each as Debian has it.

Each is configured in ``peers/`` for what it does best here; what it has not at all it says in ``cannot``, and those rows
are left blank for it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from servers import READY_S, Edge, Nginx, NotHere, Server, output, program

if TYPE_CHECKING:
    from collections.abc import Mapping


class Haproxy(Server):
    """HAProxy, with its small-object cache in memory."""

    name = "haproxy"
    cannot: Mapping[str, str] = {"br": "no Brotli", "workers": "one process for all cores"}

    def commands(self) -> list[list[str]]:
        return [[program("haproxy"), "-db", "-f", str(self.configured("haproxy.cfg", "haproxy.cfg"))]]

    @classmethod
    def version(cls) -> str:
        return output(program("haproxy"), "-v").partition(" - ")[0]


class Varnish(Server):
    """Varnish, with hitch for TLS in front: two programs, one process tree for the account."""

    name = "varnish"
    cannot: Mapping[str, str] = {"br": "no Brotli", "workers": "threads for all cores"}

    def commands(self) -> list[list[str]]:
        hitch, varnishd = program("hitch"), program("varnishd", "varnish")
        self.words["HITCH_USER"] = 'user = "root"' if os.geteuid() == 0 else ""
        vcl = self.configured("varnish.vcl", "varnish.vcl")
        listening = f"{self.folder}/varnish.sock,PROXY,mode=666"
        return [
            [varnishd, "-F", "-j", "none", "-n", str(self.folder / "varnish"), "-f", str(vcl), "-a", listening,
             "-s", "malloc,1g", "-p", "thread_pools=1", "-p", "thread_pool_min=200", "-p", "thread_pool_max=6000",
             "-p", "timeout_idle=300", "-p", "vcc_allow_inline_c=off"],
            [hitch, f"--config={self.configured('hitch.conf', 'hitch.conf')}"],
        ]  # fmt: skip

    def between(self) -> None:
        """Hitch will not start without the socket it is to pass everything on to."""
        until = time.monotonic() + READY_S
        while not (self.folder / "varnish.sock").exists() and time.monotonic() < until:
            time.sleep(0.05)

    @classmethod
    def version(cls) -> str:
        varnish = output(program("varnishd", "varnish"), "-V").partition(")")[0].removeprefix("varnishd (")
        return f"{varnish} behind {output(program('hitch'), '--version')}"


class TrafficServer(Server):
    """Apache Traffic Server, with its plugins for compression and for saying hit or miss."""

    name = "ats"
    cannot: Mapping[str, str] = {"workers": "threads for all cores"}

    def commands(self) -> list[list[str]]:
        root = self.folder / "ats"
        etc = root / "etc"
        for name in ("etc", "run", "log", "cache"):
            (root / name).mkdir(parents=True)
        lib = Path("/usr/lib/trafficserver")
        (root / "runroot.yaml").write_text(
            f"prefix: {root}\nexec_prefix: {root}\nbindir: /usr/bin\nsbindir: /usr/sbin\nincludedir: {root}\n"
            f"libdir: {lib}\nlibexecdir: {lib / 'modules'}\nlocalstatedir: {root}\nsysconfdir: {etc}\n"
            f"datadir: {root / 'cache'}\nruntimedir: {root / 'run'}\nlogdir: {root / 'log'}\ncachedir: {root / 'cache'}\n"
        )
        self.words["ATS_USER"] = "#-1"
        self.configured("ats.records.config", "ats/etc/records.config")
        self.configured("ats.remap.config", "ats/etc/remap.config")
        self.configured("ats.compress.config", "compress.config")
        self.configured("ats.rewrite.config", "cache.rewrite")
        (etc / "storage.config").write_text(f"{root / 'cache'} 1G\n")
        (etc / "ssl_multicert.config").write_text("dest_ip=* ssl_cert_name=fullchain.pem ssl_key_name=privkey.pem\n")
        (etc / "plugin.config").write_text("")
        (etc / "ip_allow.yaml").write_text(
            "ip_allow:\n  - {apply: in, ip_addrs: 127.0.0.0/8, action: allow, methods: ALL}\n"
        )
        self.environment = {"TS_RUNROOT": str(root)}
        return [[program("traffic_server", "trafficserver")]]

    @classmethod
    def version(cls) -> str:
        return "Apache Traffic Server " + output(program("traffic_server", "trafficserver"), "--version").split()[2]


class Caddy(Server):
    """Caddy: a proxy without a cache."""

    name = "caddy"
    cannot: Mapping[str, str] = {"cache": "no cache", "br": "no Brotli", "workers": "one process for all cores"}
    environment: Mapping[str, str] = {"GOMAXPROCS": "1"}

    def commands(self) -> list[list[str]]:
        config = self.configured("Caddyfile", "Caddyfile")
        self.environment = {**self.environment, "HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder)}
        return [[program("caddy"), "run", "--config", str(config), "--adapter", "caddyfile"]]

    @classmethod
    def version(cls) -> str:
        return f"Caddy {output(program('caddy'), 'version')}"


SERVERS: dict[str, type[Server]] = {
    server.name: server for server in (Edge, Nginx, Haproxy, Varnish, TrafficServer, Caddy)
}

__all__ = ["SERVERS", "NotHere"]
