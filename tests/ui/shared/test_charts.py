import xml.etree.ElementTree as ElementTree
from itertools import pairwise

from tests.ui.history import epoch, history
from transfer.ui.shared.charts import bars, charts


def svgs(page: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(page).iter("svg"))


TITLES = ["Accuracy", "Loss", "Drift since the phase began"]


def test_three_charts_shade_both_phases_and_say_the_newest_values():
    page = charts(history())
    assert [svg.get("aria-label").split(" after")[0] for svg in svgs(page)] == TITLES
    assert all(
        {r.get("class") for r in s.iter("rect")} == {"warm-up", "fine-tune"} for s in svgs(page)
    )
    accuracy, loss, drift = (svg.get("aria-label") for svg in svgs(page))
    assert "held-out accuracy 90%" in accuracy
    assert "training loss 0.33" in loss and "held-out loss 0.30" in loss
    assert "head 30%" in drift and "block5 3%" in drift


def test_a_part_is_drawn_only_while_it_learns_and_each_phase_has_a_line_of_its_own():
    drift = svgs(charts(history()))[2]
    lines = [line.get("class").split()[-1] for line in drift.iter("polyline")]
    assert lines == ["head", "head", "block5", "block5"]
    assert all(len(line.get("points").split()) == 3 for line in drift.iter("polyline"))
    warm_up = svgs(charts(history()[:4]))[2]
    assert {line.get("class") for line in warm_up.iter("polyline")} <= {"line head", "line block5"}


def test_ten_times_the_distance_is_one_step_higher():
    heights = [float(line.get("y1")) for line in svgs(charts(history()))[2].iter("line")]
    steps = [round(a - b, 1) for a, b in pairwise(heights)]
    assert len(set(steps)) == 1 and steps[0] > 0


def test_every_point_lies_inside_its_chart():
    for svg in svgs(charts(history())):
        _, _, width, height = map(float, svg.get("viewBox").split())
        for line in svg.iter("polyline"):
            for point in line.get("points").split():
                x, y = map(float, point.split(","))
                assert 0 <= x <= width
                assert 0 <= y <= height


def test_nothing_is_drawn_before_there_is_a_line_but_its_place_is_kept():
    assert charts([]) == charts([epoch("warm-up", 0, 0.3)]) == ""
    assert charts([], live=True) == '<div class="charts waiting"></div>'


def test_names_cannot_carry_markup():
    name = "<script>alert(1)</script>"
    assert "<script>" not in bars({name: 3})


def test_bars_end_at_the_largest_class_and_tell_how_many_are_left_out():
    page = bars({f"class {i}": i + 1 for i in range(30)}, at_most=10)
    assert page.count("<li>") == 10
    assert "20 more" in page
