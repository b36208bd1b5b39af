"""The generic figures of the report: what is drawn, what is counted in words, and what they refuse to distort."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audits.claims.figures import STYLES, CurvePoint, Curves, DotColumn, Dots, Reference, Series
from audits.jsonable import json_text
from audits.report.claims.json import figure_entry
from audits.report.render.axes import axis, drawable, tick_text
from audits.report.render.figure_curves import curves_plot, point_labels
from audits.report.render.figure_dots import dots_plot, mean
from audits.report.render.figures import figure_note, figure_plot, figure_table
from audits.report.render.looks import looks

MARKS = {"circle", "rect", "polygon"}


def dots(*columns, **options):
    return Dots("Perplexity", "perplexity", columns, **options)


def column(*values, label="arm", style="causal", failed=0):
    return DotColumn(label, style, tuple(enumerate(values)), failed)


def curves(*series, **options):
    return Curves("Converged", "hubs M", "share", series, **options)


def series(*points, label="one", style="causal"):
    return Series(label, style, tuple(CurvePoint(*point) for point in points))


def parts(drawing):
    """The drawing's elements by name, with the text each is read out by."""
    root = ET.fromstring(drawing)
    return [(node.tag.rpartition("}")[2], node) for node in root.iter()]


def points(drawing):
    """The titles of all drawn points."""
    return [node[0].text for name, node in parts(drawing) if name in MARKS and len(node)]


def texts(drawing):
    return [node.text for name, node in parts(drawing) if name == "text"]


def test_every_seed_is_a_point_that_tells_its_arm_seed_and_value():
    drawing = dots_plot("f", dots(column(4.0, 5.0, label="clean"), column(3.0, 3.5, label="leaky", style="leaky")))
    text = ["clean, seed 0: 4.000", "clean, seed 1: 5.000", "leaky, seed 0: 3.000", "leaky, seed 1: 3.500"]
    assert sorted(points(drawing)) == text


def test_points_of_equal_value_do_not_hide_each_other():
    drawing = dots_plot("f", dots(column(*[2.0] * 5)))
    places = {(node.get("cx"), node.get("cy")) for name, node in parts(drawing) if name == "circle"}
    assert len(places) == 5


def test_the_seeds_of_a_pair_are_joined_and_others_are_not():
    pair = (column(1.0, 2.0, label="a"), column(2.0, 3.0, 4.0, label="b"))
    joined = re.findall(r'class="pair"', dots_plot("f", dots(*pair)))
    assert len(joined) == 2
    assert 'class="pair"' not in dots_plot("f", dots(*pair, joined=False))


def test_a_log_axis_shows_the_geometric_mean_and_says_so():
    arm = column(1.0, 100.0)
    assert mean(arm, log=True) == pytest.approx(10.0)
    assert mean(arm, log=False) == pytest.approx(50.5)
    assert "geometric mean" in figure_note(dots(arm, log=True))
    assert "geometric" not in figure_note(dots(arm))
    assert figure_table(dots(arm, log=True)).rows[0][1] == "10.0"


def test_diverged_runs_and_values_without_a_place_are_counted_in_words():
    figure = dots(column(3.0, math.nan, -1.0, failed=2), column(failed=3, label="none"), log=True)
    assert "3.00 (1 run), 2 diverged, 2 off the scale" in texts(dots_plot("f", figure))
    assert "no value, 3 diverged" in texts(dots_plot("f", figure))
    assert [row[3] for row in figure_table(figure).rows] == ["2 diverged, 2 off the scale", "3 diverged"]


@pytest.mark.parametrize("figure", [dots(), dots(column(failed=5)), curves(), curves(series((1.0, math.nan)))])
def test_a_figure_without_a_value_is_empty_text_and_its_table_still_stands(figure):
    assert figure_plot("f", figure) == ""
    assert figure_table(figure).title == figure.title


def test_arms_are_told_apart_by_shape_as_well_as_by_colour():
    shapes = set()
    for style in STYLES:
        (name,) = {name for name, node in parts(dots_plot("f", dots(column(1.0, style=style)))) if name in MARKS}
        drawing = dots_plot("f", dots(column(1.0, style=style)))
        (mark,) = [node for name, node in parts(drawing) if name in MARKS]
        corners = [pair.split(",") for pair in mark.get("points", "").split()]
        low = min((float(y) for _, y in corners), default=0.0)
        shapes.add((name, tuple(round(float(y) - low, 1) for _, y in corners)))
    assert len(shapes) == len(STYLES)


def test_series_of_one_style_differ_in_shape_dash_and_shade():
    found = looks(["control", "control", "control", "causal"])
    assert len({look.shape for look in found}) == len({look.dash for look in found}) == 4
    assert len({look.classes for look in found}) == 4
    assert found[3].shape == looks(["causal"])[0].shape


def test_a_curve_draws_its_interval_and_writes_its_count():
    drawing = curves_plot("f", curves(series((4.0, 0.8, 0.4, 0.95, "4/5"), (8.0, 1.0, 0.6, 1.0, "5/5"))))
    assert drawing.count('class="whisker causal"') == 6
    assert {"4/5", "5/5"} <= set(texts(drawing))
    assert points(drawing)[0] == "one, x = 4: 0.800, interval 0.400 to 0.950, 4/5"
    table = figure_table(curves(series((4.0, 0.8, 0.4, 0.95, "4/5"))))
    assert table.rows == (("one", "4", "0.800", "0.400 to 0.950", "4/5"),)


def test_a_point_off_the_axes_is_said_to_be():
    drawing = curves_plot("f", curves(series((1.0, 2.0), (0.0, 2.0), (2.0, math.inf)), log_x=True))
    assert "one (2 off the scale)" in texts(drawing)
    assert len([title for title in points(drawing) if title.startswith("one, x")]) == 1


def test_a_one_sided_interval_is_drawn_to_the_side_it_has():
    assert curves_plot("f", curves(series((1.0, 2.0, None, 3.0), (2.0, 2.0)))).count('class="whisker causal"') == 3


def test_texts_at_points_never_overlap_and_the_last_one_gives_way():
    assert point_labels([(10, 10, "5/5"), (100, 10, "4/5")]).count("<text") == 2
    assert point_labels([(10, 10, "5/5")] * 9).count("<text") == 4


@pytest.mark.parametrize(
    ("values", "log", "ticks"),
    [
        ((0.0, 1.0), False, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        ((0.2, 1.0), False, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        ((1.4, 492.0), True, ["1", "10", "100", "1000"]),
        ((43.0, 45.0), True, ["43", "43.5", "44", "44.5", "45"]),
        ((3.0, 40.0), True, ["2", "5", "10", "20", "50"]),
        ((5.0, 5.0), True, ["5", "50"]),
        ((0.0, 0.0), False, ["0", "1"]),
        ((7.0, 7.0), False, ["0", "2", "4", "6", "8"]),
    ],
)
def test_ticks_are_round_and_enclose_the_data(values, log, ticks):
    found = axis(values, 0, 100, log=log)
    assert [tick_text(tick) for tick in found.ticks] == ticks


def test_a_log_axis_over_many_decades_has_few_ticks():
    found = axis((1e-60, 1e60), 0, 100, log=True)
    assert len(found.ticks) <= 7
    assert found.ticks[0] <= 1e-60
    assert found.ticks[-1] >= 1e60


FLOATS = st.floats(allow_nan=True, allow_infinity=True)


@settings(derandomize=True, max_examples=150, deadline=None)
@given(st.lists(FLOATS, max_size=6), st.booleans(), st.text(max_size=80), st.integers(0, 3))
def test_any_numbers_and_names_are_drawn_within_the_frame(values, log, name, failed):
    figures = (
        dots(column(*values, label=name, failed=failed), column(1.0), log=log),
        curves(series(*((x, x, None, x, name) for x in values), label=name), series((1.0, 1.0)), log_x=log, log_y=log),
    )
    for figure in figures:
        drawing = figure_plot("f", figure)
        root = ET.fromstring(drawing)
        _, _, width, height = map(float, root.get("viewBox").split())
        for _, node in parts(drawing):
            assert 0 <= float(node.get("cx", 0)) <= width
            assert 0 <= float(node.get("cy", 0)) <= height
        assert json_text(msgspec.to_builtins(figure_entry(figure)))
        assert len(figure_table(figure).header) == 5


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=4), st.booleans())
def test_an_axis_encloses_whatever_can_be_drawn(values, log):
    kept = [value for value in values if drawable(value, log=log)]
    found = axis(kept, 0.0, 100.0, log=log)
    assert all(-1e-6 <= found(value) <= 100 + 1e-6 for value in kept)
    assert 2 <= len(found.ticks) <= 12


CHANCE = (Reference("chance", 0.0625), Reference("content alone", 4 / 9))


@pytest.mark.parametrize("figure", [
    dots(column(0.5, 0.9), references=CHANCE),
    curves(series((1, 0.5), (2, 0.9)), references=CHANCE),
])  # fmt: skip
def test_a_reference_is_a_line_through_its_value_and_is_named_in_drawing_table_and_description(figure):
    drawing = figure_plot("f", figure)
    lines = [node for name, node in parts(drawing) if name == "line" and node.get("class") == "reference"]
    assert len(lines) == 4  # two across the figure, two samples in the legend
    assert {"chance: 0.0625", "content alone: 0.444"} <= set(texts(drawing))
    desc = next(node.text for name, node in parts(drawing) if name == "desc")
    assert "chance: 0.0625; content alone: 0.444" in desc
    assert any("chance" in row for row in figure_table(figure).rows)
    assert [item.label for item in figure_entry(figure).references] == ["chance", "content alone"]


def test_a_reference_beyond_the_data_widens_the_axis_and_one_without_a_place_is_left_out():
    far = curves(series((1, 0.5), (2, 0.6)), references=(Reference("limit", 3.0),))
    heights = [float(node.get("y1")) for name, node in parts(figure_plot("f", far)) if node.get("class") == "reference"]
    assert min(heights) >= 0
    assert "reference" not in dots_plot("f", dots(column(2.0), log=True, references=(Reference("none", 0.0),)))


def test_a_figure_without_references_is_drawn_as_before():
    assert "reference" not in dots_plot("f", dots(column(1.0, 2.0)))
