"""The drawings of the report: what is drawn, what is counted in words, and what they refuse to distort."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audits.claims.figures import STYLES, CurvePoint, Curves, DotColumn, DotPoint, Dots, Reference, Series
from audits.report.render.document import figure_picture
from audits.report.render.influence import influence_map, largest_future
from audits.report.render.plot import looks
from audits.report.render.plot_dots import mean

SVG = "{http://www.w3.org/2000/svg}"


def dots(*columns, **options):
    return Dots("Perplexity", "perplexity", columns, **options)


def column(*values, label="arm", style="causal", failed=0):
    return DotColumn(label, style, tuple(map(DotPoint, range(len(values)), values)), failed)


def curves(*series, **options):
    return Curves("Converged", "hubs M", "share", series, **options)


def series(*points, label="one", style="causal"):
    return Series(label, style, tuple(CurvePoint(*point) for point in points))


def svg(figure):
    return figure_picture("f", figure).svg


def texts(drawing):
    return [node.text for node in ET.fromstring(drawing).iter(f"{SVG}text")]


def marks(drawing, colour):
    """Where markers of this colour lie."""
    nodes = ET.fromstring(drawing).iter(f"{SVG}use")
    filled = (node for node in nodes if f"fill: {colour}" in node.get("style", ""))
    return [(float(node.get("x")), float(node.get("y"))) for node in filled]


BLUE, ORANGE = "#1c62a8", "#c8500d"


def test_every_seed_is_a_point_in_the_colour_of_its_arm():
    drawing = svg(dots(column(4.0, 5.0, label="clean"), column(3.0, 3.5, 9.0, label="leaky", style="leaky")))
    assert len(marks(drawing, BLUE)) == 2
    assert len(marks(drawing, ORANGE)) == 3
    assert {"clean", "leaky", "4.50 (2 runs)", "5.17 (3 runs)", "perplexity"} <= set(texts(drawing))


def test_points_of_equal_value_do_not_hide_each_other():
    assert len(set(marks(svg(dots(column(*[2.0] * 5))), BLUE))) == 5


def test_larger_values_lie_further_to_the_right_on_both_scales():
    for log in (False, True):
        across = [x for x, _ in marks(svg(dots(column(1.0, 2.0, 50.0), log=log)), BLUE)]
        assert across == sorted(across)
        assert len(set(across)) == 3


def test_the_seeds_of_a_pair_are_joined_and_others_are_not():
    pair = (column(1.0, 2.0, label="a"), column(2.0, 3.0, 4.0, label="b"))
    joined = "stroke-opacity: 0.45"
    assert svg(dots(*pair)).count(joined) == 2 + 1  # a seed that one arm alone has is a line without length
    assert svg(dots(*pair, joined=False)).count(joined) == 0


def test_a_log_axis_shows_the_geometric_mean_and_says_so():
    arm = column(1.0, 100.0)
    assert mean(arm, log=True) == pytest.approx(10.0)
    assert mean(arm, log=False) == pytest.approx(50.5)
    assert "geometric mean" in figure_picture("f", dots(arm, log=True)).note
    assert "geometric" not in figure_picture("f", dots(arm)).note
    assert figure_picture("f", dots(arm, log=True)).numbers.rows[0][1] == "10.0"


def test_diverged_runs_and_values_without_a_place_are_counted_in_words():
    figure = dots(column(3.0, math.nan, -1.0, failed=2), column(failed=3, label="none"), log=True)
    assert {"3.00 (1 run), 2 diverged, 2 off the scale", "no value, 3 diverged"} <= set(texts(svg(figure)))
    rows = figure_picture("f", figure).numbers.rows
    assert [row[3] for row in rows] == ["2 diverged, 2 off the scale", "3 diverged"]


@pytest.mark.parametrize("figure", [dots(), dots(column(failed=5)), curves(), curves(series((1.0, math.nan)))])
def test_a_figure_without_a_value_is_empty_text_and_its_table_still_stands(figure):
    picture = figure_picture("f", figure)
    assert picture.svg == ""
    assert picture.numbers.title == figure.title


def test_arms_are_told_apart_by_shape_as_well_as_by_colour():
    found = looks(STYLES)
    assert len({look["marker"] for look in found}) == len(STYLES)
    again = looks(["control", "control", "control", "causal"])
    assert len({look["marker"] for look in again}) == len({str(look["linestyle"]) for look in again}) == 4
    assert len({look["color"] for look in again}) == 4
    assert again[3]["marker"] == looks(["causal"])[0]["marker"]


def test_a_curve_draws_its_interval_and_writes_its_count():
    figure = curves(series((4.0, 0.8, 0.4, 0.95, "4/5"), (8.0, 1.0, 0.6, 1.0, "5/5")))
    assert {"4/5", "5/5", "hubs M", "share"} <= set(texts(svg(figure)))
    bars = "stroke: #1c62a8; stroke-width: 1.1"
    assert svg(figure).count(bars) == 2 + 1  # and a sample in the legend
    assert svg(curves(series((4.0, 0.8), (8.0, 1.0)))).count(bars) == 0
    assert figure_picture("f", figure).numbers.rows[0] == ("one", "4", "0.800", "0.400 to 0.950", "4/5")
    assert figure_picture("f", figure).note == "Bars are intervals."


def test_a_point_off_the_axes_is_said_to_be():
    figure = curves(series((1.0, 2.0), (0.0, 2.0), (2.0, math.inf)), log_x=True)
    assert "one (2 off the scale)" in texts(svg(figure))
    assert "one: 1 points (2 off the scale)" in figure_picture("f", figure).description


def test_texts_at_points_never_overlap_and_the_last_ones_give_way():
    near = curves(series(*((x / 1000, 1.0, None, None, f"{x}/99") for x in range(9)), (1.0, 2.0)))
    assert 1 <= sum("/99" in text for text in texts(svg(near))) <= 4
    apart = curves(series(*((x, 1.0, None, None, f"{x}/9") for x in range(1, 5))))
    assert sum("/9" in text for text in texts(svg(apart))) == 4


@pytest.mark.parametrize(
    ("values", "log", "ticks"),
    [
        ((1.4, 492.0), True, {"2", "5", "10", "20", "50", "100", "200"}),
        ((1e-20, 1e20), True, {"1e-15", "1e15"}),
        ((43.0, 45.0), True, {"43.5", "44", "44.5"}),
        ((0.2, 1.0), False, {"0.2", "0.4", "0.6", "0.8", "1"}),
        ((7.0, 7.0), False, {"7"}),
    ],
)
def test_ticks_are_round_numbers_without_powers_of_ten_in_small_print(values, log, ticks):
    assert ticks <= set(texts(svg(dots(column(*values), log=log))))


CHANCE = (Reference("chance", 0.0625), Reference("content alone", 4 / 9))


@pytest.mark.parametrize("figure", [
    dots(column(0.5, 0.9), references=CHANCE),
    curves(series((1, 0.5), (2, 0.9)), references=CHANCE),
])  # fmt: skip
def test_a_reference_is_a_line_through_its_value_and_is_named_in_drawing_and_table(figure):
    picture = figure_picture("f", figure)
    assert {"chance: 0.0625", "content alone: 0.444"} <= set(texts(picture.svg))
    dashed = len(re.findall(r"stroke-dasharray[^\"]*stroke: #17202a", picture.svg))
    assert dashed == 4  # two across the figure, two samples in the legend
    assert sum("a line in the figure" in row for row in picture.numbers.rows) == 2


def test_a_drawing_reads_on_dark_ground_and_keeps_text_as_text():
    drawing = svg(dots(column(1.0, 2.0, label="a $x$ <b>")))
    assert "prefers-color-scheme:dark" in drawing
    assert f'[style*="fill: {BLUE}"]' in drawing
    assert "a $x$ <b>" in texts(drawing)
    assert "font-family: " not in drawing
    assert "<metadata>" not in drawing or "<dc:date>" not in drawing


def test_a_drawing_is_the_same_text_every_time():
    figure = curves(series((1, 0.5, 0.4, 0.6, "1/2"), (2, 0.9)), references=CHANCE)
    assert svg(figure) == svg(figure)


FLOATS = st.floats(allow_nan=True, allow_infinity=True)


@settings(derandomize=True, max_examples=20, deadline=None)
@given(st.lists(FLOATS, max_size=6), st.booleans(), st.text(max_size=80), st.integers(0, 3))
def test_any_numbers_and_names_are_drawn_within_the_frame(values, log, name, failed):
    figures = (
        dots(column(*values, label=name, failed=failed), column(1.0), log=log),
        curves(series(*((x, x, None, x, name) for x in values), label=name), series((1.0, 1.0)), log_x=log, log_y=log),
    )
    for figure in figures:
        picture = figure_picture("f", figure)
        root = ET.fromstring(picture.svg)
        _, _, width, height = map(float, root.get("viewBox").split())
        for node in root.iter(f"{SVG}use"):
            assert -1 <= float(node.get("x")) <= width + 1
            assert -1 <= float(node.get("y")) <= height + 1
        assert len(picture.numbers.header) == 5


def test_an_influence_map_leaves_exact_zeros_empty_and_shows_the_largest_future():
    causal = ((1.0, 0.0), (0.5, 1.0))
    leaky = ((1.0, 0.25), (0.5, 1.0))
    assert (largest_future(causal), largest_future(leaky)) == (0.0, 0.25)
    drawings = [influence_map("map", "", matrix, 1.0, alone=True) for matrix in (causal, leaky)]
    assert [texts(drawing).count("exactly 0") for drawing in drawings] == [1, 0]
    assert "largest: 0.250" in texts(drawings[1])
    assert all("prefers-color-scheme: dark" in drawing for drawing in drawings)
