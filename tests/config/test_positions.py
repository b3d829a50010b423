"""The index says where every key and value of a TOML text stands."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config.positions import Positions


def at(text, path):
    positions = Positions(text)
    return positions.key(path), positions.value(path)


@pytest.mark.parametrize(
    ("text", "path", "key", "value"),
    [
        ("a = 1", ("a",), (1, 1), (1, 5)),
        ("  a=1", ("a",), (1, 3), (1, 5)),
        ("# x\n\na = 1", ("a",), (3, 1), (3, 5)),
        ("a = 1\r\nb = 2", ("b",), (2, 1), (2, 5)),
        ("[t]\na = 1", ("t", "a"), (2, 1), (2, 5)),
        ("[t]\na = 1", ("t",), (1, 2), (1, 1)),
        (" [ t . u ]\na = 1", ("t", "u", "a"), (2, 1), (2, 5)),
        (" [ t . u ]\na = 1", ("t", "u"), (1, 8), (1, 2)),
        ("[[t]]\n[[t]]\na = 1", ("t", 1, "a"), (3, 1), (3, 5)),
        ("[[t]]\n[[t]]\na = 1", ("t", 1), (2, 3), (2, 1)),
        ("[[t]]\n[[t]]\n[t.u]\na = 1", ("t", 1, "u", "a"), (4, 1), (4, 5)),
        ("[[t]]\n[[t.u]]\n[[t.u]]\na = 1", ("t", 0, "u", 1, "a"), (4, 1), (4, 5)),
        ("a.b.c = 1", ("a", "b", "c"), (1, 5), (1, 9)),
        ("a.b.c = 1", ("a", "b"), (1, 3), (1, 3)),
        ('"a.b" . \'c"\' = 1', ("a.b", 'c"'), (1, 9), (1, 16)),
        (r'"\u0041" = 1', ("A",), (1, 1), (1, 12)),
        ("a = [1, [2, 3],\n # ]\n 4]", ("a", 1, 1), (1, 13), (1, 13)),
        ("a = [1, [2, 3],\n # ]\n 4]", ("a", 2), (3, 2), (3, 2)),
        ("a = {b = 1, c.d = [2]}", ("a", "c", "d", 0), (1, 20), (1, 20)),
        ("a = {b = 1, c.d = [2]}", ("a", "c", "d"), (1, 13 + 2), (1, 19)),
        ('a = """\n]\\""" """\nb = 1', ("b",), (3, 1), (3, 5)),
        ("a = '''\n'''''\nb = 1", ("b",), (3, 1), (3, 5)),
        ('a = """"x\\\\"""""\nb = 1', ("b",), (2, 1), (2, 5)),
        ('a = "\\"]" # b = 2\nb = 1', ("b",), (2, 1), (2, 5)),
        ('"é" . x = 1', ("é", "x"), (1, 7), (1, 11)),
        ("a = 1979-05-27 07:32:00 # x\nb = [inf, -1_0, true]", ("b", 2), (2, 17), (2, 17)),
    ],
)
def test_a_key_and_its_value_are_found(text, path, key, value):
    tomllib.loads(text)

    assert (key, value) == at(text, path)


def test_what_is_not_there_is_found_at_the_nearest_thing_around_it():
    text = "[a]\nb = 1\n[[c]]\n"

    assert at(text, ("a", "x")) == ((1, 1), (1, 1))
    assert at(text, ("c", 0, "address")) == ((3, 1), (3, 1))
    assert at(text, ("x", "y")) == ((1, 1), (1, 1))


def test_columns_are_characters_not_bytes():
    assert at('a = ["é", 1]', ("a", 1)) == ((1, 11), (1, 11))


# Documents are written from a tree, in whatever notation TOML has for each part; the index must know the whole tree.

_KEYS = st.one_of(
    st.sampled_from(["a", "b", "c-d", "1"]), st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]))
)
_STRINGS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=6)


def _quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _string(draw, text):
    forms = [_quoted(text), '"""' + text.replace("\\", "\\\\").replace('"', '\\"') + '\n"""']
    if "'" not in text:
        forms += [f"'{text}'", f"'''\n{text}'''"]
    return draw(st.sampled_from(forms))


def _key(draw, name):
    if name and name.isascii() and name.replace("-", "a").replace("_", "a").isalnum():
        return draw(st.sampled_from([name, _quoted(name)]))
    return _quoted(name)


def _value(draw, value, *, inline):
    space = "" if inline else draw(st.sampled_from(["", "\n", " # ] }\n"]))
    if isinstance(value, str):
        return _string(draw, value)
    if isinstance(value, list):
        return f"[{space}" + f",{space}".join(_value(draw, item, inline=inline) for item in value) + f"{space}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(draw, k)} = {_value(draw, v, inline=True)}" for k, v in value.items()) + "}"
    return str(value).lower()


_LEAVES = st.one_of(st.integers(-9, 9), st.booleans(), _STRINGS)
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3), max_leaves=6
)


@st.composite
def documents(draw):
    lines = []
    for name, value in draw(st.dictionaries(_KEYS, _VALUES, max_size=3)).items():
        lines.append(f"{_key(draw, 'v' + name)} = {_value(draw, value, inline=False)}")
    for name, tables in draw(
        st.dictionaries(_KEYS, st.lists(st.dictionaries(_KEYS, _VALUES, max_size=2)), max_size=3)
    ).items():
        header = _key(draw, "t" + name)
        for table in tables:
            lines.append(f"[[{header}]]" if len(tables) != 1 else f"[ {header} ]")
            lines += [f"{_key(draw, k)} = {_value(draw, v, inline=False)}" for k, v in table.items()]
            lines += draw(st.sampled_from([[], [f"[{header}.{_key(draw, 'sub')}] # x"]])) if "sub" not in table else []
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    return "\n".join(lines).replace("\n", newline)


def _paths(value, path=()):
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _paths(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _paths(inner, (*path, index))


@given(documents())
def test_every_part_of_any_document_is_known_and_nothing_else(text):
    tree = tomllib.loads(text)
    positions = Positions(text)

    known = set(positions.values) | set(positions.keys) | {()}

    assert set(_paths(tree)) == known | {path[:-1] for path in known if path and isinstance(path[-1], int)}
    assert all(isinstance(path[-1], int) or path in positions.keys for path in known if path)
