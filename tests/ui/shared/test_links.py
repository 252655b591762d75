import gradio as gr
import pytest

from transfer.ui.shared.links import follow_link

SKIPPED = gr.skip()


def opened_by(monkeypatch, **query) -> tuple[dict[str, str], list[str]]:
    """(what the link sets, its warnings)."""
    warnings = []
    monkeypatch.setattr(gr, "Warning", warnings.append)
    found = zip(("source", "run", "tab"), follow_link(query), strict=True)
    return {name: value for name, value in found if value and value != SKIPPED}, warnings


@pytest.mark.parametrize(
    ("query", "opens"),
    [
        ({}, {}),
        ({"source": "digits"}, {"source": "digits", "tab": "data"}),
        ({"source": "user/photos"}, {"source": "user/photos", "tab": "data"}),
        ({"run": "user/model"}, {"run": "user/model", "tab": "try"}),
        ({"source": "user/photos", "tab": "train"}, {"source": "user/photos", "tab": "train"}),
        ({"tab": "publish", "utm": "x"}, {"tab": "publish"}),
    ],
)
def test_a_link_opens_a_dataset_a_model_or_a_tab(monkeypatch, query, opens):
    assert opened_by(monkeypatch, **query) == (opens, [])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("source", "/etc"),
        ("source", "../../home/me/photos"),
        ("source", "~/photos"),
        ("source", "upload: mine.zip"),
        ("source", "<script>alert(1)</script>"),
        ("source", ["a/b"]),
        ("run", "https://example.org/user/model"),
        ("run", "some run"),
        ("run", "/etc/passwd"),
        ("tab", "settings"),
    ],
)
def test_what_a_link_may_not_name_is_refused_in_a_sentence(monkeypatch, name, value):
    sets, (warning,) = opened_by(monkeypatch, **{name: value})
    assert sets == {} and f"This link's {name} cannot be opened" in warning
    assert str(value) not in warning


def test_a_link_means_the_hub_where_a_folder_has_the_same_name(monkeypatch, tmp_path):
    (tmp_path / "user" / "photos").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    sets, _ = opened_by(monkeypatch, source="user/photos")
    assert sets["source"] == "hub:user/photos"


def test_no_query_is_no_link():
    assert follow_link(None)[2] == follow_link("x")[2] == ""
