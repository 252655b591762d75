import xml.etree.ElementTree as ElementTree
from itertools import pairwise

from tests.ui.history import epoch, history
from transfer.ui.shared.charts import bars, charts

TITLES = ["Accuracy", "Loss", "Drift since the phase began"]


def test_three_charts_shade_both_phases_and_say_the_newest_values():
    drawn = list(ElementTree.fromstring(charts(history())).iter("svg"))
    assert [svg.get("aria-label").split(" after")[0] for svg in drawn] == TITLES
    for svg in drawn:
        assert {box.get("class") for box in svg.iter("rect")} == {"warm-up", "fine-tune"}
    accuracy, loss, drift = (svg.get("aria-label") for svg in drawn)
    assert "validation accuracy 90%" in accuracy
    assert "training loss 0.33" in loss and "validation loss 0.30" in loss
    assert "head 30%" in drift and "block5 3%" in drift
    lines = [(line.get("class"), line.get("points")) for line in drawn[2].iter("polyline")]
    kinds = [kind for kind, _ in lines if kind != "grid"]
    assert kinds == ["line head"] * 2 + ["line block5"] * 2  # each phase has its own
    heights = [float(path.rpartition(",")[2]) for kind, path in lines if kind == "grid"]
    steps = {round(a - b, 1) for a, b in pairwise(heights)}
    assert len(set(steps)) == 1 and min(steps) > 0  # powers of ten are evenly spaced


def test_before_two_epochs_only_the_place_is_kept():
    assert charts([]) == charts([epoch("warm-up", 0, 0.3)]) == ""
    assert charts([], live=True) == '<div class="charts waiting"></div>'


def test_bars_say_how_many_classes_are_left_out_and_escape_names():
    page = bars({f"<b>{i}": i + 1 for i in range(30)})
    assert page.count("<li>") == 20 and "10 more" in page and "<b>" not in page
