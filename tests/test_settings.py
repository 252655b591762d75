import dataclasses
import json
from typing import get_args, get_type_hints

import pytest

from transfer.errors import SettingsError
from transfer.settings import Correction, HeadSettings, PhaseSettings, TrainingSettings


def options(**flat) -> TrainingSettings:
    return TrainingSettings.from_options(**flat)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "magic"}, ("method", "finetune", "features", "'magic'")),
        ({"unfreeze": "block9"}, ("unfreeze", "block1", "none", "'block9'")),
        ({"image_size": 16}, ("image size", "32", "512", "16")),
        ({"image_size": 64.5}, ("image size", "whole", "64.5")),
        ({"target_accuracy": float("nan")}, ("target accuracy", "nan")),
        ({"seed": True}, ("seed", "whole", "True")),
        ({"precision": None}, ("precision", "auto", "bf16", "None")),
        ({"class_weights": 1}, ("class weights", "True, False", "found 1")),
        ({"config": {}}, ("config", "text", "{}")),
        ({"warm_up": PhaseSettings(learning_rate=0)}, ("warm-up learning rate", "1e-09", "0")),
        ({"fine_tune": PhaseSettings(patience=1.5)}, ("fine-tune patience", "whole", "1.5")),
        ({"fine_tune": PhaseSettings(optimizer=["x"])}, ("fine-tune optimizer", "text", "['x']")),
        ({"fine_tune": None}, ("fine-tune", "PhaseSettings", "None")),
        ({"head": "avg"}, ("head", "HeadSettings", "'avg'")),
        ({"folds": 1}, ("folds", "whole", "from 2", "found 1")),
        ({"corrections": ("a",)}, ("correction", "'a'")),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_value_names_field_range_and_value(change, words):
    with pytest.raises(SettingsError) as caught:
        TrainingSettings(**change)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pooling": "max"}, ("head pooling", "avg", "flatten", "'max'")),
        ({"hidden": (1, 2, 3)}, ("at most 2", "found 3")),
        ({"hidden": "256"}, ("head hidden", "widths", "'256'")),
        ({"hidden": (0,)}, ("head hidden width", "1", "4096", "0")),
        ({"dropout": 1.0}, ("head dropout", "0.95", "1.0")),
    ],
    ids=str,
)
def test_a_bad_head_names_field_range_and_value(change, words):
    with pytest.raises(SettingsError) as caught:
        HeadSettings(**change)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_the_ends_of_a_range_are_allowed():
    for change in ({"image_size": 32}, {"image_size": 512}, {"target_accuracy": 1}, {"seed": 0}):
        TrainingSettings(**change)
    HeadSettings(hidden=(), dropout=0)
    HeadSettings(hidden=(4096, 1), dropout=0.95)
    TrainingSettings(fine_tune=PhaseSettings(patience=1))


def test_settings_are_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainingSettings().seed = -1


def test_flat_options_go_to_their_phase():
    settings = options(
        head_epochs=3, finetune_epochs=4, head_lr=0.5, finetune_lr=0.25, optimizer="lamb", seed=7
    )
    assert settings.warm_up == PhaseSettings(epochs=3, learning_rate=0.5, optimizer="lamb")
    assert settings.fine_tune == PhaseSettings(epochs=4, learning_rate=0.25, optimizer="lamb")
    assert settings.seed == 7
    phase = PhaseSettings(patience=9)
    assert options(warm_up=phase).warm_up == phase


@pytest.mark.parametrize("name", ["epoch", "cls", "self", "hidden", ""])
def test_an_unknown_option_is_named(name):
    with pytest.raises(SettingsError, match=f"expected a known setting, found {name!r}"):
        options(**{name: 1})


NAMED = {
    "avg": HeadSettings(pooling="avg", hidden=()),
    "flatten-256": HeadSettings(pooling="flatten", hidden=(256,)),
    "avg-1-4096": HeadSettings(pooling="avg", hidden=(1, 4096)),
}


@pytest.mark.parametrize("name", NAMED)
def test_a_head_and_its_name_mean_the_same(name):
    assert HeadSettings.named(name) == NAMED[name]
    assert NAMED[name].name == name
    assert options(head=name).head == options(head=NAMED[name]).head == NAMED[name]


def test_other_spellings_and_open_pooling_have_a_name():
    assert HeadSettings.named("avg-0256").name == "avg-256"
    assert HeadSettings(hidden=(8, 4)).name == "auto-8-4"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        *((name, ("auto", "avg", "flatten-256", f"found {name!r}")) for name in ("", "max", None)),
        *(
            (name, ("auto", f"found {name!r}"))
            for name in ("avg--3", "avg-1_0", "avg-3\n", "avg-²")
        ),
        ("avg-" + "9" * 5_000, ("auto",)),
        ("flatten-256-0", ("head hidden width", "found 0")),
        ("avg-4097", ("head hidden width", "1", "4096", "found 4097")),
        ("avg-1-2-3", ("head hidden", "at most 2", "found 3")),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_bad_head_name_is_one_line(name, words):
    with pytest.raises(SettingsError) as caught:
        options(head=name)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_heads_are_tried_unless_one_is_given():
    assert options(head="auto") == options() == TrainingSettings()
    assert options().try_heads and not options(try_heads=False).try_heads
    for head in (*NAMED, HeadSettings(dropout=0.1), HeadSettings()):
        assert not options(head=head).try_heads


HINTS = {"head_epochs": int, "finetune_epochs": int, "head_lr": float, "finetune_lr": float}
HINTS |= {"optimizer": str} | get_type_hints(TrainingSettings) | {"head": str}
JSON = (None, True, -1, 0.5, 10**400, "", "avg", "\ud800", ["avg"], {"epochs": 3})


@pytest.mark.parametrize("name", HINTS)
def test_a_value_of_any_json_type_is_accepted_or_one_line(name):
    allowed = {HINTS[name], *get_args(HINTS[name])}
    for value in JSON:
        fits = type(value) in allowed or (type(value) is int and float in allowed)
        try:
            settings = options(**{name: value})
        except SettingsError as error:
            assert len(str(error).splitlines()) == 1 and "found" in str(error)
            continue
        assert fits or value is None
        assert TrainingSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


def test_json_both_ways():
    settings = TrainingSettings(
        method="features",
        image_size=64,
        unfreeze="block4",
        head=HeadSettings(pooling="flatten", hidden=(128, 64), dropout=0.1),
        warm_up=PhaseSettings(epochs=1, learning_rate=1e-2, optimizer="sgd"),
        fine_tune=PhaseSettings(weight_decay=0.1, batch_size=8, patience=2),
        try_heads=False,
        label_column="kind",
        folds=3,
        corrections=(
            Correction(where="a.jpg", label="ant"),
            Correction(where="b.jpg", leave_out=True),
        ),
    )
    for known in (settings, TrainingSettings()):
        assert TrainingSettings.from_json(json.loads(json.dumps(known.to_json()))) == known


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.pop("head"),
        lambda data: data["head"].pop("hidden"),
        lambda data: data.update(colour="red"),
        lambda data: data.update(image_size=1),
        lambda data: data.update(fine_tune=None),
        lambda data: data.update(corrections=[{"where": "a.jpg", "label": "ant"}] * 2),
    ],
    ids=["no head", "no widths", "unknown field", "out of range", "no phase", "twice"],
)
def test_damaged_json_is_refused(damage):
    data = TrainingSettings().to_json()
    damage(data)
    with pytest.raises(SettingsError):
        TrainingSettings.from_json(json.loads(json.dumps(data)))
