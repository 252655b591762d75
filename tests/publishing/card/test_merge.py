import pytest

from transfer.publishing.card.merge import (
    between_marks,
    merge_metadata,
    merge_text,
    split_card,
    theirs,
    wrote_before,
    wrote_mark,
)

SECTIONS = {"summary": "new summary", "limits": "new limits"}
BEGIN, END = "<!-- transfer: begin summary -->", "<!-- transfer: end summary -->"
LIMITS = between_marks("limits", "old limits")


def result(value: float, data: str = "stripes") -> dict:
    dataset = {"name": data, "type": data}
    metrics = [{"type": "accuracy", "value": value}]
    return {"task": {"type": "image-classification"}, "dataset": dataset, "metrics": metrics}


def index(*results: dict, name: str = "mine") -> list[dict]:
    return [{"name": name, "results": list(results)}]


def published(previous: dict, ours: dict) -> set[str]:
    """What the next publish finds of what this one wrote."""
    return wrote_before(wrote_mark(ours, theirs(previous, set())))


def test_each_section_takes_the_place_of_its_marks():
    text = f"one\n{between_marks('limits', 'old')}\ntwo\n{between_marks('summary', 'old')}\nthree"
    assert merge_text(text, SECTIONS) == (
        f"one\n{between_marks('limits', 'new limits')}\ntwo\n"
        f"{between_marks('summary', 'new summary')}\nthree"
    )


def test_marks_of_windows_lines_are_found():
    text = f"{BEGIN}\r\nold\r\n{END}\r\nmine\r\n{LIMITS}\r\n"
    merged = merge_text(text, SECTIONS)
    assert "old" not in merged and merged.count(BEGIN) == 1 and "\r\nmine\r\n" in merged


def test_a_mark_within_a_line_is_none():
    text = f"`{BEGIN}` my words {END}\n"
    assert merge_text(text, SECTIONS).startswith(text)


@pytest.mark.parametrize(
    "text",
    [
        f"mine 1\n{BEGIN}\nmine 2\nmine 3\n{LIMITS}\nmine 4",
        f"mine 1\n{END}\nmine 2\nmine 3\n{LIMITS}\nmine 4",
        f"mine 1\n{END}\nmine 2\n{BEGIN}\nmine 3\n{LIMITS}\nmine 4",
        f"mine 1\n{BEGIN}\nmine 2\n{BEGIN}\nmine 3\n{END}\n{LIMITS}\nmine 4",
        f"mine 1\n{BEGIN}\nmine 2\n{END}\n{BEGIN}\nmine 3\n{END}\nmine 4\n{LIMITS}",
        f"mine 1\n{BEGIN}\nmine 2\n{LIMITS}\nmine 3\n{END}\nmine 4",
    ],
)
def test_marks_that_are_no_pair_go_and_no_text_is_lost(text):
    merged = merge_text(text, SECTIONS)
    assert all(f"mine {number}" in merged for number in (1, 2, 3, 4))
    assert merged.count(BEGIN) == merged.count(END) == 1 and merged.count("new summary") == 1
    assert merged.count("new limits") == 1
    assert merge_text(merged, SECTIONS) == merged


def test_sections_that_are_missing_stand_beneath():
    assert merge_text("mine", {"limits": "x"}) == f"mine\n\n{between_marks('limits', 'x')}\n"


def test_what_a_person_added_or_changed_stays():
    before = {"tags": ["vgg"], "pipeline_tag": "image-classification", "metrics": ["accuracy"]}
    wrote = published({}, before)
    changed = {"tags": ["vgg", "bees"], "pipeline_tag": "other", "extra": {"a": None}}
    ours = before | {"tags": ["vgg", "new"]}
    assert merge_metadata(changed, ours, wrote) == {
        "tags": ["vgg", "bees", "new"],
        "pipeline_tag": "other",
        "extra": {"a": None},
    }


def test_what_was_ours_is_written_anew_or_goes():
    before = {"license": "mit", "datasets": ["a/b"], "library_name": "timm", "tags": ["x", "y"]}
    wrote = published({}, before)
    ours = {"license": "cc-by-4.0", "datasets": ["c/d"], "tags": ["x"]}
    assert merge_metadata(before, ours, wrote) == ours


def test_results_that_a_person_added_stay_beside_the_new_one_of_ours():
    before = {"model-index": index(result(0.5))}
    wrote = published({}, before)
    changed = {"model-index": index(result(0.5), result(0.7, "other"))}
    ours = {"model-index": index(result(0.6))}
    expected = index(result(0.7, "other"), result(0.6))
    assert merge_metadata(changed, ours, wrote) == {"model-index": expected}


def test_results_under_another_name_stay_under_it():
    old = {"model-index": index(result(0.7), name="theirs")}
    merged = merge_metadata(old, {"model-index": index(result(0.6))}, set())
    expected = index(result(0.7), name="theirs") + index(result(0.6))
    assert merged == {"model-index": expected}


def test_what_a_person_has_is_not_taken_for_ours_later():
    person = {"tags": ["vgg"], "license": "mit"}
    wrote = published(person, {"tags": ["vgg", "new"], "license": "mit"})
    kept = merge_metadata({"tags": ["vgg", "new"], "license": "mit"}, {"tags": []}, wrote)
    assert kept == person


def test_one_word_in_place_of_a_list_is_a_list_of_it():
    assert merge_metadata({"tags": "mine"}, {"tags": ["vgg"]}, set()) == {"tags": ["mine", "vgg"]}


@pytest.mark.parametrize("index", [None, 3, "x", [1], [{"name": "x"}], {"a": 1}])
def test_an_index_of_another_shape_breaks_nothing(index):
    ours = {"model-index": [{"name": "mine", "results": [result(0.5)]}]}
    assert "model-index" in merge_metadata({"model-index": index}, ours, set())


def test_a_card_is_split_as_the_hub_does():
    assert split_card("---\na: 1\n---\ntext") == ({"a": 1}, "text")
    assert split_card("\ufeff---\r\na: 1\r\n---\r\ntext") == ({"a": 1}, "text")
    assert split_card("---\n\n---\ntext") == ({}, "text")
    assert split_card("---\na: 1\n# no end") == (None, "---\na: 1\n# no end")
    assert split_card("text\n---\na: 1\n---\n") == (None, "text\n---\na: 1\n---\n")


def test_a_quoted_block_cannot_end_its_quotation():
    data, text = split_card("---\na: [\n```\n````\n---\nmine")
    assert data is None and text.startswith("mine") and "`````yaml\na: [" in text


def test_metadata_that_could_grow_without_bound_is_not_unfolded():
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 30))]
    data, text = split_card("\n".join(["---", *lines, "---", "mine"]))
    assert data is None and text.startswith("mine") and lines[-1] in text
