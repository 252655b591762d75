import dataclasses
import json
from typing import get_args, get_type_hints

import pytest

from transfer.data.dataset import DatasetSummary
from transfer.errors import SettingsError
from transfer.settings import PRECISIONS, HeadSettings, PhaseSettings, TrainingSettings
from transfer.training.defaults import fill_defaults


def photos(**change) -> DatasetSummary:
    return DatasetSummary(**{"train_images": 240, "side": 300, "grey": False} | change)


def options(**flat) -> TrainingSettings:
    return TrainingSettings.from_options(**flat)


def suited(settings: TrainingSettings | None = None, **look) -> TrainingSettings:
    return fill_defaults(settings or TrainingSettings(), photos(**look), "hub", fast_device=False)


BAD = [
    ({"method": "magic"}, ("method", "finetune", "features", "'magic'")),
    ({"unfreeze": "block9"}, ("unfreeze", "block1", "none", "'block9'")),
    ({"architecture": "resnet50"}, ("architecture", "vgg16", "'resnet50'")),
    ({"image_size": 16}, ("image size", "32", "512", "16")),
    ({"image_size": 64.5}, ("image size", "whole", "64.5")),
    ({"views": 0}, ("views", "1", "100", "0")),
    ({"target_accuracy": 1.5}, ("target accuracy", "0", "1", "1.5")),
    ({"target_accuracy": float("nan")}, ("target accuracy", "nan")),
    ({"limit_per_class": 0}, ("limit per class", "1", "0")),
    ({"seed": -1}, ("seed", "0", "-1")),
    ({"seed": True}, ("seed", "whole", "True")),
    ({"warm_up": PhaseSettings(epochs=-1)}, ("warm-up epochs", "0", "-1")),
    ({"fine_tune": PhaseSettings(epochs=-1)}, ("fine-tune epochs", "0", "-1")),
    ({"warm_up": PhaseSettings(learning_rate=0)}, ("warm-up learning rate", "1e-09", "0")),
    ({"fine_tune": PhaseSettings(batch_size=0)}, ("fine-tune batch size", "1", "0")),
    ({"warm_up": PhaseSettings(weight_decay=-0.1)}, ("warm-up weight decay", "-0.1")),
    ({"warm_up": PhaseSettings(patience=0)}, ("warm-up patience", "0")),
    ({"fine_tune": PhaseSettings(patience=0)}, ("fine-tune patience", "1", "found 0")),
    ({"fine_tune": PhaseSettings(patience=1.5)}, ("fine-tune patience", "whole", "1.5")),
    ({"precision": "fp8"}, ("precision", "auto", "bf16", "fp16", "fp32", "'fp8'")),
    ({"precision": None}, ("precision", "auto", "None")),
    ({"warm_up": {"epochs": 3}}, ("warm-up", "PhaseSettings", "{'epochs': 3}")),
    ({"fine_tune": None}, ("fine-tune", "PhaseSettings", "None")),
    ({"fine_tune": PhaseSettings(optimizer=["x"])}, ("fine-tune optimizer", "text", "['x']")),
    ({"head": "avg"}, ("head", "HeadSettings", "'avg'")),
    ({"config": {}}, ("config", "text", "{}")),
    ({"class_weights": 1}, ("class weights", "True, False", "found 1")),
    ({"try_heads": "no"}, ("try heads", "True, False", "'no'")),
]


@pytest.mark.parametrize(("change", "words"), BAD, ids=lambda value: str(value)[:40])
def test_a_bad_value_names_field_range_and_value(change, words):
    with pytest.raises(SettingsError) as caught:
        TrainingSettings(**change)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pooling": "max"}, ("head pooling", "avg", "flatten", "'max'")),
        ({"hidden": (1, 2, 3)}, ("at most 2", "found 3")),
        ({"hidden": 256}, ("head hidden", "widths", "found 256")),
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
    for precision in PRECISIONS:
        TrainingSettings(precision=precision, fine_tune=PhaseSettings(patience=1))
    HeadSettings(hidden=(), dropout=0)
    HeadSettings(hidden=(4096, 1), dropout=0.95)


def test_settings_cannot_be_changed_after_their_check():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainingSettings().seed = -1


def test_flat_options_find_their_phase():
    settings = TrainingSettings.from_options(
        head_epochs=3,
        finetune_epochs=4,
        head_lr=0.5,
        finetune_lr=0.25,
        optimizer="lamb",
        method="features",
        seed=7,
    )
    assert settings.warm_up == PhaseSettings(epochs=3, learning_rate=0.5, optimizer="lamb")
    assert settings.fine_tune == PhaseSettings(epochs=4, learning_rate=0.25, optimizer="lamb")
    assert (settings.method, settings.seed) == ("features", 7)


def test_whole_phases_may_be_given_too():
    phase = PhaseSettings(patience=9)
    assert TrainingSettings.from_options(warm_up=phase).warm_up == phase


NAMED = {
    "avg": HeadSettings(pooling="avg", hidden=()),
    "flatten": HeadSettings(pooling="flatten", hidden=()),
    "flatten-256": HeadSettings(pooling="flatten", hidden=(256,)),
    "avg-256-128": HeadSettings(pooling="avg", hidden=(256, 128)),
    "avg-1-4096": HeadSettings(pooling="avg", hidden=(1, 4096)),
}
NAMELESS = (
    *("", "-", "avg-", "flatten-", "-256", "max", "max-3", "Avg", "avg256", "avg_256"),
    *("avg--3", "avg-+3", "avg-3.5", "avg-1e2", "avg-1_0", "avg- 3", "avg-3 ", "avg-3\n", "avg-x"),
    *("avg-²", "avg-③", "avg-½", "avg-٢٥٦", "avg-" + "9" * 5_000, "auto-256", None, 256),
)
OUT_OF_RANGE = {
    "avg-0": ("head hidden width", "1", "4096", "found 0"),
    "flatten-256-0": ("head hidden width", "found 0"),
    "avg-4097": ("head hidden width", "found 4097"),
    "avg-9999": ("head hidden width", "1", "4096", "found 9999"),
    "avg-1-2-3": ("head hidden", "at most 2", "found 3"),
}


@pytest.mark.parametrize("name", NAMED)
def test_a_head_and_its_name_say_the_same(name):
    assert HeadSettings.named(name) == NAMED[name]
    assert NAMED[name].name == name


def test_a_head_whose_pooling_is_left_open_says_so_in_its_name():
    assert HeadSettings(hidden=(8, 4)).name == "auto-8-4"


def test_a_width_written_in_another_way_gets_its_plain_name():
    assert HeadSettings.named("avg-0256").name == "avg-256"


@pytest.mark.parametrize("ask", [HeadSettings.named, lambda name: options(head=name)])
@pytest.mark.parametrize("name", [*NAMELESS, *OUT_OF_RANGE], ids=repr)
def test_a_bad_name_of_a_head_is_refused_in_one_line(ask, name):
    with pytest.raises(SettingsError) as caught:
        ask(name)
    words = OUT_OF_RANGE.get(name, ("auto", "avg", "flatten-256", f"found {name!r}"))
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_heads_are_tried_unless_one_is_asked_for():
    assert options().try_heads
    assert options(head="auto") == options() == TrainingSettings()
    assert not options(try_heads=False).try_heads
    for head in (*NAMED, HeadSettings(dropout=0.1), HeadSettings()):
        assert not options(head=head).try_heads


def test_the_head_that_is_asked_for_is_taken():
    for name, wanted in NAMED.items():
        assert options(head=name).head == options(head=wanted).head == wanted
    assert suited(options(head="flatten-8")).head.name == "flatten-8"


def test_an_unknown_option_is_named():
    with pytest.raises(SettingsError, match="'epoch'"):
        TrainingSettings.from_options(epoch=3)


HINTS = {"head_epochs": int, "finetune_epochs": int, "head_lr": float, "finetune_lr": float}
HINTS |= {"optimizer": str} | get_type_hints(TrainingSettings) | {"head": str}
JSON = (None, True, False, 0, 1, -1, 0.5, 1e300, 10**400, "", "avg", "\ud800", [], ["avg"], {})
JSON += ({"epochs": 3}, [[None]], [64, 64])


@pytest.mark.parametrize("value", JSON, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("name", HINTS)
def test_of_whatever_kind_a_value_is_it_fits_or_is_refused_in_one_line(name, value):
    allowed = {HINTS[name], *get_args(HINTS[name])}
    fits = type(value) in allowed or (type(value) is int and float in allowed)
    try:
        settings = options(**{name: value})
    except SettingsError as error:
        assert len(str(error).splitlines()) == 1 and "found" in str(error)
        return
    assert fits or value is None
    assert TrainingSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


@pytest.mark.parametrize("name", ["cls", "self", "hidden", ""])
def test_no_name_of_an_option_is_taken_for_something_else(name):
    with pytest.raises(SettingsError, match="expected a known setting"):
        options(**{name: 1})


@pytest.mark.parametrize(
    "settings",
    [
        TrainingSettings(),
        TrainingSettings(
            method="features",
            weights="random",
            architecture="vgg11",
            image_size=64,
            unfreeze="block4",
            head=HeadSettings(pooling="flatten", hidden=(128, 64), dropout=0.1),
            warm_up=PhaseSettings(epochs=1, learning_rate=1e-2, optimizer="sgd"),
            fine_tune=PhaseSettings(weight_decay=0.1, batch_size=8, patience=2),
            views=3,
            target_accuracy=0.9,
            precision="fp16",
            try_heads=False,
            seed=5,
            limit_per_class=10,
            image_column="img",
            label_column="kind",
            config="small",
        ),
    ],
    ids=["defaults", "all set"],
)
def test_json_both_ways(settings):
    assert TrainingSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.pop("head"),
        lambda data: data["head"].pop("hidden"),
        lambda data: data.update(colour="red"),
        lambda data: data.update(image_size=1),
        lambda data: data["warm_up"].update(epochs="many"),
        lambda data: data.update(fine_tune=None),
    ],
    ids=["no head", "no widths", "unknown field", "out of range", "wrong kind", "no phase"],
)
def test_a_record_that_does_not_fit_is_refused(damage):
    data = TrainingSettings().to_json()
    damage(data)
    with pytest.raises(SettingsError):
        TrainingSettings.from_json(json.loads(json.dumps(data)))


def test_everything_left_open_is_chosen_from_the_data():
    settings = suited()
    assert settings.image_size and settings.views
    assert None not in dataclasses.asdict(settings.head).values()
    for phase in (settings.warm_up, settings.fine_tune):
        left_open = {name for name, value in dataclasses.asdict(phase).items() if value is None}
        assert left_open == {"patience"}


def test_without_patience_every_epoch_is_trained():
    settings = suited(TrainingSettings(fine_tune=PhaseSettings(patience=2)))
    assert (settings.warm_up.patience, settings.fine_tune.patience) == (None, 2)


def test_a_head_that_is_left_open_suits_the_pictures():
    small, large = suited(grey=True).head, suited().head
    assert (small.pooling, large.pooling) == ("flatten", "avg")
    assert small.dropout < large.dropout
    said = HeadSettings(pooling="avg", hidden=(7,), dropout=0)
    assert suited(TrainingSettings(head=said), grey=True).head == said


def test_what_was_said_is_kept():
    said = TrainingSettings(
        image_size=96, views=2, warm_up=PhaseSettings(epochs=0, learning_rate=0.3, patience=3)
    )
    settings = suited(said)
    assert (settings.image_size, settings.views) == (96, 2)
    warm_up = settings.warm_up
    assert (warm_up.epochs, warm_up.learning_rate, warm_up.patience) == (0, 0.3, 3)


def test_small_and_grey_pictures_are_not_blown_up():
    large = suited().image_size
    assert suited(side=32).image_size < large
    assert suited(grey=True).image_size < large


def test_the_bundled_body_gets_smaller_pictures_than_imagenet_body():
    bundled = fill_defaults(TrainingSettings(), photos(), "bundled", fast_device=False)
    assert bundled.image_size < suited().image_size


def test_a_fast_device_gets_large_pictures_for_large_data_too():
    look = photos(train_images=100_000)
    slow, fast = (
        fill_defaults(TrainingSettings(), look, "hub", fast_device=quick) for quick in (False, True)
    )
    assert slow.image_size < fast.image_size


def test_little_data_gets_more_epochs_and_views():
    sizes = (200, 10_000, 1_000_000)
    little, medium, much = (suited(train_images=n) for n in sizes)
    assert little.warm_up.epochs > medium.warm_up.epochs > much.warm_up.epochs
    assert little.fine_tune.epochs > medium.fine_tune.epochs > much.fine_tune.epochs
    assert little.views > medium.views > much.views == 1


def test_letters_are_not_mirrored():
    assert suited(grey=True).views == 1


def test_fine_tuning_moves_the_filters_less_than_warm_up_the_head():
    settings = suited()
    assert settings.fine_tune.learning_rate < settings.warm_up.learning_rate


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("asked", [None, False, True])
def test_classes_are_weighed_where_they_are_uneven_unless_it_is_said(uneven, asked):
    settings = TrainingSettings(class_weights=asked)
    found = fill_defaults(settings, photos(uneven=uneven), "hub", fast_device=False)
    assert found.class_weights == (uneven if asked is None else asked)


def test_class_weights_are_on_or_off():
    with pytest.raises(SettingsError, match="class weights must be one of True, False"):
        TrainingSettings(class_weights="some")
