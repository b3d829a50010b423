"""A listener's configuration, for tests below the configuration."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Wanted:
    address: str
    kind: str = "tcp"
    host: str = ""
    port: int = 0
    path: str = ""
    name: str = ""


def tcp(host: str = "127.0.0.1", port: int = 0) -> Wanted:
    return Wanted(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", "tcp", host, port)


def unix(path) -> Wanted:
    return Wanted(f"unix:{path}", "unix", path=str(path))


def systemd(name: str) -> Wanted:
    return Wanted(f"systemd:{name}", "systemd", name=name)
