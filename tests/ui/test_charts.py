import xml.etree.ElementTree as ElementTree

from PIL import Image

from tests.ui.history import epoch, history
from transfer.ui.charts import bars, charts, network_picture, thumbnails


def svgs(page: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(page).iter("svg"))


def test_two_charts_shade_both_phases_and_say_the_newest_value():
    page = charts(history())
    assert [svg.get("aria-label").split(" after")[0] for svg in svgs(page)] == ["Accuracy", "Loss"]
    assert all(
        {r.get("class") for r in s.iter("rect")} == {"warm-up", "fine-tune"} for s in svgs(page)
    )
    assert "90%" in svgs(page)[0].get("aria-label")


def test_every_point_lies_inside_its_chart():
    for svg in svgs(charts(history())):
        _, _, width, height = map(float, svg.get("viewBox").split())
        for line in svg.iter("polyline"):
            for point in line.get("points").split():
                x, y = map(float, point.split(","))
                assert 0 <= x <= width
                assert 0 <= y <= height


def test_nothing_is_drawn_before_there_is_a_line():
    assert charts([]) == ""
    assert charts([epoch("warm-up", 0, 0.3)]) == ""


def test_the_picture_of_the_network_tells_frozen_from_learning():
    page = network_picture(["block5", "head"], {"block5": 0.0123, "head": 0.5})
    assert page.count('class="frozen"') == 4
    assert page.count('class="learns"') == 2
    assert "moved 1.23%" in page


def test_names_cannot_carry_markup():
    name = "<script>alert(1)</script>"
    assert "<script>" not in bars({name: 3})
    assert "<script>" not in thumbnails([(Image.new("RGB", (9, 9)), name)])


def test_bars_end_at_the_largest_class_and_tell_how_many_are_left_out():
    page = bars({f"class {i}": i + 1 for i in range(30)}, at_most=10)
    assert page.count("<li>") == 10
    assert "20 more" in page
