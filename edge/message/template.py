"""
Texts that operators write with a few variables in braces, filled in with parts of a request.

``{path}`` stands for the variable, ``{{`` and ``}}`` for a brace. Which variables may stand where is the caller's business; one
that is not known there is refused when the template is made, so that filling it in never fails.

Invariant: what is filled in comes as it is. No value that this house gives a variable holds a control byte, so neither does
the text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_PIECE: Final = re.compile(r"\{\{|\}\}|\{([a-z_]+|[0-9])\}|([{}])|([^{}]+)")


class Template:
    """
    A text with variables.

    Args:
        text: as written.
        known: the variables that may stand in it.

    Attributes:
        names: the variables that do.

    Raises:
        ValueError: one is not known, or a brace stands alone; the text says which.
    """

    __slots__ = ("_pieces", "names", "text")

    def __init__(self, text: str, known: Collection[str]) -> None:
        self.text = text
        self._pieces: list[bytes | str] = []
        for piece in _PIECE.finditer(text):
            name, alone, literal = piece.groups()
            if alone is not None:
                raise ValueError(f"{alone!r} stands alone; expected {{NAME}}, or {alone * 2!r} for the sign itself")
            if name is None:
                self._pieces.append((literal or piece[0][0]).encode())
            elif name in known:
                self._pieces.append(name)
            else:
                expected = ", ".join(f"{{{each}}}" for each in known)
                raise ValueError(f"there is no {{{name}}} here; expected {expected or 'none'}")
        self.names = frozenset(piece for piece in self._pieces if isinstance(piece, str))

    def __repr__(self) -> str:
        return f"<Template {self.text!r}>"

    def fill(self, values: Mapping[str, bytes]) -> bytes:
        """Return the text with *values*, which has all of :attr:`names`."""
        return b"".join([piece if isinstance(piece, bytes) else values[piece] for piece in self._pieces])
