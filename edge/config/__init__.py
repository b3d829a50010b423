"""
The configuration: a file becomes one frozen tree, or a list of everything that is wrong with it.

Also: what differs between two trees, and therefore what a reload must do. Every setting is declared once, beside the
field that holds it (``tree.py``); reading, checking, the reference in ``conf/`` and the reload plan follow from there.

Refuses to know: what a setting is used for, certificates' contents, sockets, processes.
"""

from __future__ import annotations

from edge.config.load import Loaded, load, parse
from edge.config.problem import Problem, Severity
from edge.config.schema import Change
from edge.config.tree import Config

__all__ = ["Change", "Config", "Loaded", "Problem", "Severity", "load", "parse"]
