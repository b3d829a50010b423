"""What lies in conf/: made from the rows, up to date, and a configuration that loads."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from edge.config import Severity, load, parse
from edge.config.kinds import Named, Table, Tables
from edge.config.reference import REFERENCE, SCHEMA, json_schema, reference, schema_text, write
from edge.config.schema import rows
from edge.config.tree import Config

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
FILES = sorted(CONF.glob("*.toml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_in_conf_loads(path):
    loaded = load(path)

    assert loaded.config is not None, "\n".join(map(str, loaded.problems))


@pytest.mark.parametrize("path", [path for path in FILES if path.name != REFERENCE], ids=lambda path: path.name)
def test_nothing_in_an_example_is_doubtful(path):
    assert load(path).problems == []


def test_there_are_examples():
    assert {"edge.toml", "tenants.toml", REFERENCE} <= {path.name for path in FILES}


def test_what_is_made_from_the_rows_is_up_to_date(tmp_path):
    """If not: python -m edge.config.reference conf"""
    write(tmp_path)

    for name in (REFERENCE, SCHEMA):
        assert (tmp_path / name).read_text() == (CONF / name).read_text()


def test_the_reference_shows_every_setting():
    text = reference()

    def visit(cls):
        for row in rows(cls):
            if isinstance(row.kind, Table):
                visit(row.kind.cls)
            else:
                assert re.search(rf"^#?{row.name} = ", text, re.MULTILINE), row.name

    visit(Config)


def test_a_page_says_what_every_setting_is_for():
    """Not in prose alone: as code, by its name, in a page for operators."""
    pages = [ROOT / "README.md", *ROOT.glob("edge/**/*.md"), *ROOT.glob("systemd/*.md")]
    fence = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
    code = [said for page in pages for said in fence.findall(page.read_text())]
    code += [said for page in pages for said in re.findall(r"`[^`]+`", fence.sub("", page.read_text()))]
    words = set(re.findall(r"\w+", "\n".join(code)))
    untold = []

    def visit(cls, path):
        for row in rows(cls):
            if isinstance(row.kind, Table | Tables | Named):
                visit(row.kind.cls, (*path, row.name))
            if row.name not in words:
                untold.append(".".join((*path, row.name)))

    visit(Config, ())

    assert [] == untold


def test_the_reference_shows_the_defaults_there_are():
    config = parse(reference(), CONF / REFERENCE).config
    plain = Config()

    assert config is not None
    for room in ("server", "cache", "compression", "log", "admin", "limits", "timeouts", "trusted_proxies"):
        assert getattr(plain, room) == getattr(config, room)


def test_every_example_in_the_reference_is_good_where_it_stands():
    """With each comment sign in front of a setting taken away, values are still accepted: only parts contradict."""
    text = re.sub(r"^#(?=\[|[a-z_]+ = |    |\])", "", reference(), flags=re.MULTILINE)

    problems = [
        problem.message for problem in parse(text, CONF / REFERENCE).problems if problem.severity is Severity.ERROR
    ]

    contradictions = ("client", "either chain and key", "circle", "one of the two", "there is no origin 'canary'")

    assert len(problems) <= 10
    assert all(any(words in message for words in contradictions) for message in problems)


# -- the schema: a validator small enough to be read, for what we use of JSON Schema --------------------------------


def valid(schema, value):
    if "anyOf" in schema:
        return any(valid(each, value) for each in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    if "const" in schema:
        return value == schema["const"]
    kind = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}
    if not isinstance(value, kind[schema["type"]]) or (isinstance(value, bool) and schema["type"] != "boolean"):
        return False
    if schema["type"] == "object":
        known, more = schema.get("properties", {}), schema["additionalProperties"]
        return all(name in value for name in schema.get("required", ())) and all(
            valid(known[name], inner) if name in known else more is not False and valid(more, inner)
            for name, inner in value.items()
        )
    if schema["type"] == "array":
        return len(value) >= schema.get("minItems", 0) and all(valid(schema["items"], item) for item in value)
    if schema["type"] == "string":
        return len(value) >= schema.get("minLength", 0) and re.search(schema.get("pattern", ""), value) is not None
    if schema["type"] in {"integer", "number"}:
        return schema.get("minimum", value) <= value <= schema.get("maximum", value)
    return True


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_loads_is_valid_by_the_schema(path):
    assert valid(json_schema(), tomllib.loads(path.read_text()))


@pytest.mark.parametrize(
    "text",
    [
        "x = 1",
        "[server]\nworkers = 0.5",
        "[server]\ndrain = '30 x'",
        "[cache]\nsize = '1 GB'",
        "[[listener]]\ntls = true",
        "[origin.x]\nservers = []",
        "[log]\nformat = 'xml'",
        "[timeouts]\nidle = true",
        "[server]\nbacklog = 0",
    ],
)
def test_what_the_schema_can_tell_it_tells(text):
    assert not valid(json_schema(), tomllib.loads(text))


def test_every_default_in_the_schema_is_valid_by_it():
    def visit(schema):
        if "default" in schema:
            assert valid({key: value for key, value in schema.items() if key != "default"}, schema["default"])
        for inner in schema.get("properties", {}).values():
            visit(inner)

    visit(json_schema())


def test_the_schema_is_json():
    assert json_schema() == json.loads(schema_text())
