"""Every number has one place, one name and one meaning."""

import ast
from dataclasses import fields
from itertools import groupby
from pathlib import Path

import pytest

from edge.observe import names
from edge.observe.names import (
    BUCKETS_S,
    GAUGES,
    NAMES,
    ORIGIN_BLOCKS,
    ROUTE_BLOCKS,
    ROWS,
    Kind,
    OriginCells,
    RouteCells,
    assign_origins,
    assign_routes,
    named_rows,
)


def test_no_two_rows_have_the_same_name_and_labels() -> None:
    assert len(NAMES) == len(set(NAMES))


def test_the_rows_of_a_family_stand_together_and_agree_on_help_and_label_names() -> None:
    families = [(name, list(rows)) for name, rows in groupby(ROWS[: names._ORIGIN_FIRST], key=lambda row: row.name)]

    assert len(families) == len({name for name, _ in families})
    for _, rows in families:
        assert len({row.help for row in rows}) == 1
        assert len({tuple(label for label, _ in row.labels if label != "le") for row in rows}) == 1


def test_counters_end_in_total_and_nothing_else_does() -> None:
    for row in ROWS:
        assert row.name.endswith("_total") == (row.kind is Kind.COUNTER)


def test_a_histogram_is_its_buckets_then_inf_then_its_sum() -> None:
    for histogram in (names.DURATION_HIT, names.DURATION_FWD, OriginCells.of(0).duration, OriginCells.of(63).duration):
        rows = ROWS[histogram.first : histogram.sum + 1]

        assert [Kind.BUCKET] * (len(BUCKETS_S) + 1) + [Kind.SUM] == [row.kind for row in rows]
        assert [*map(str, BUCKETS_S), "+Inf"] == [row.labels[-1][1] for row in rows[:-1]]


def test_the_gauges_are_the_rows_that_say_how_many_there_are_now() -> None:
    assert {row.flat for row in ROWS if row.kind is Kind.GAUGE} == GAUGES


def test_outcomes_are_rfc_9211s_tokens_and_two_of_ours() -> None:
    fwd = {"bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"}

    assert {"hit", *fwd, "none", "other"} == set(names.OUTCOMES)


def attributes_of(module: Path) -> set[str]:
    """What a module takes from others by a dot: ``names.BUGS``, ``at.faults``; and what it imports by name."""
    tree = ast.parse(module.read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    return imported | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def test_whatever_is_exposed_is_counted_somewhere() -> None:
    """A counter that nobody moves says that nothing happens, and is believed."""
    home = Path(names.__file__)
    used = set().union(*(attributes_of(module) for module in home.parents[1].rglob("*.py") if module != home))
    made = {
        target.id
        for node in ast.parse(home.read_text()).body
        if isinstance(node, ast.AnnAssign) and isinstance(target := node.target, ast.Name)
        if isinstance(node.value, ast.Call) and isinstance(maker := node.value.func, ast.Name)
        if maker.id in {"_one", "_each", "_histogram"}
    }
    cells = {field.name for kind in (OriginCells, RouteCells) for field in fields(kind)}

    assert len(made) > 40
    assert set() == (made | cells) - used


def test_origin_blocks_lie_side_by_side_up_to_the_last_row() -> None:
    first, second, last = OriginCells.of(0), OriginCells.of(1), OriginCells.of(ORIGIN_BLOCKS - 1)

    assert first.duration.sum + 1 == second.replies
    assert last.duration.sum + 1 == RouteCells.of(0).replies
    assert ROWS[first.replies + 2 - 1].labels[-1] == ("status", "2xx")
    assert ROWS[first.faults].name == "edge_origin_faults_total"
    for attribute, name, _, _ in names._ORIGIN_FIGURES:
        assert ROWS[getattr(second, attribute)].name == name


def test_route_blocks_lie_side_by_side_up_to_the_last_row() -> None:
    first, second, last = RouteCells.of(0), RouteCells.of(1), RouteCells.of(ROUTE_BLOCKS - 1)

    assert first.duration.sum + 1 == second.replies
    assert last.duration.sum + 1 == len(ROWS)
    assert ROWS[first.replies + 5 - 1].labels[-1] == ("status", "5xx")
    assert ROWS[first.hits].name == "edge_route_hits_total"
    assert ROWS[first.retries].name == "edge_route_retries_total"


def test_routes_keep_their_blocks_and_those_that_find_none_are_other() -> None:
    before = assign_routes(["shop/", "*/"])
    after = assign_routes(["*/", *(f"r{number}" for number in range(ROUTE_BLOCKS))], before)

    assert {"shop/": 0, "*/": 1} == before
    assert (0, 1, 2) == (after["shop/"], after["*/"], after["r0"])
    assert "other" in {dict(row.labels).get("route") for _, row in named_rows({}, after)}


def test_an_origin_keeps_its_block_across_reloads() -> None:
    before = assign_origins(["shop", "login"])
    after = assign_origins(["api", "login", "shop"], before)

    assert {"shop": 0, "login": 1} == before
    assert {"shop": 0, "login": 1, "api": 2} == after


def test_an_origin_that_went_away_does_not_lend_its_numbers_to_a_new_one() -> None:
    blocks = assign_origins(["new"], assign_origins(["old"]))

    assert {"old": 0, "new": 1} == blocks


def test_origins_that_find_no_block_share_the_last_one_as_other() -> None:
    blocks = assign_origins([f"o{number}" for number in range(ORIGIN_BLOCKS + 1)])

    assert ORIGIN_BLOCKS - 1 == blocks["o63"] == blocks["o64"]
    assert "other" in {dict(row.labels).get("origin") for _, row in named_rows(blocks)}


@pytest.mark.parametrize("blocks", [{}, {"shop": 0}, {"b": 1, "a": 0}])
def test_named_rows_point_at_their_cells_and_keep_families_unbroken(blocks: dict[str, int]) -> None:
    rows = named_rows(blocks)
    family_names = [name for name, _ in groupby(rows, key=lambda pair: pair[1].name)]

    assert len(family_names) == len(set(family_names))
    for cell, row in rows:
        assert (ROWS[cell].name, ROWS[cell].kind) == (row.name, row.kind)
    assert {dict(row.labels)["origin"] for _, row in rows if row.labels and row.labels[0][0] == "origin"} == set(blocks)
