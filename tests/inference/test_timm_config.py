import json

import pytest
from timm.data import ImageNetInfo

from tests.inference.conftest import refused
from transfer.data.greys import GreyScale
from transfer.data.transform import IMAGENET_MEAN, IMAGENET_STD
from transfer.inference.timm_config import read_config

COMPLETE = {
    "architecture": "vgg16",
    "num_classes": 3,
    "label_names": ["cat", "dog", "hen"],
    "model_args": {"num_classes": 3, "in_chans": 3, "mlp_ratio": 0.25, "global_pool": "avg"},
    "pretrained_cfg": {
        "custom_load": False,
        "input_size": [3, 224, 200],
        "interpolation": "bilinear",
        "crop_pct": 0.9,
        "crop_mode": "border",
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
    },
    "greys": {"integers": [0, 4095], "floats": None},
}


def read(tmp_path, config: dict | str):
    path = tmp_path / "config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return read_config(path)


def classes_of(tmp_path, labels, **change) -> tuple[str, ...]:
    return read(tmp_path, COMPLETE | {"label_names": labels} | change).classes


def test_every_field_that_counts_is_read(tmp_path):
    config = read(tmp_path, COMPLETE)
    assert config.architecture == "vgg16" and config.classes == ("cat", "dog", "hen")
    assert config.arguments == {"mlp_ratio": 0.25, "global_pool": "avg"}
    expected = {"height": 224, "width": 200, "image_size": 200, "crop_pct": 0.9}
    expected |= {"crop_mode": "border", "interpolation": "bilinear"}
    expected |= {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    expected |= {"greys": GreyScale(integers=(0, 4095))}
    assert expected.items() <= vars(config.transform).items()


def test_missing_fields_are_timm_s_defaults(tmp_path):
    transform = read(tmp_path, {"architecture": "vgg11_bn.tv_in1k"}).transform
    expected = {"height": 224, "width": 224, "crop_pct": 0.875, "crop_mode": "center"}
    expected |= {"interpolation": "bicubic", "mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    assert expected.items() <= vars(transform).items()


def test_the_older_form_with_a_single_level_is_understood(tmp_path):
    old = COMPLETE["pretrained_cfg"] | {"architecture": "vgg13", "num_classes": 3}
    config = read(tmp_path, old | {"labels": ["a", "b", "c"]})
    assert (config.architecture, config.classes) == ("vgg13", ("a", "b", "c"))
    assert config.transform.crop_mode == "border"


def test_classes_without_names_are_imagenet_s_or_numbers(tmp_path):
    classes = classes_of(tmp_path, None, num_classes=1000)
    names = ImageNetInfo().label_descriptions()
    assert len(set(classes)) == 1000 and classes[0] == names[0] == "tench, Tinca tinca"
    assert names[134] == names[517] == "crane"
    assert (classes[134], classes[517]) == ("crane (134)", "crane (517)")
    assert classes_of(tmp_path, None) == ("class 0", "class 1", "class 2")


def test_names_are_one_printable_line_and_distinct(tmp_path):
    assert classes_of(tmp_path, {"2": "hen", "0": "cat"}) == ("cat", "class 1", "hen")
    labels = ["<b>bold</b>", "a\x1b[2J\nb\u2028c\ud800", "🦆 Ente"]
    assert classes_of(tmp_path, labels) == ("<b>bold</b>", "a [2J b c", "🦆 Ente")
    assert classes_of(tmp_path, ["cat", " cat", ""]) == ("cat (0)", "cat (1)", "(2)")
    assert all(len(name) <= 210 for name in classes_of(tmp_path, ["x" * 10**6] * 3))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"architecture": "resnet50"}, "a VGG of timm"),
        ({"architecture": "../vgg16"}, "a VGG of timm"),
        ({"architecture": None, "model_type": "bert"}, "a model of type bert"),
        ({"num_classes": 10**9}, "num_classes"),
        ({"label_names": ["cat", "dog"]}, "label_names"),
        ({"label_names": {"3": "cat"}}, "label_names"),
        ({"model_args": {"act_layer": "os.system"}}, "act_layer"),
        ({"model_args": {"mlp_ratio": 1e9}}, "mlp_ratio"),
        ({"model_args": {"global_pool": "attention"}}, "global_pool"),
        ({"pretrained_cfg": {"input_size": [3, 100_000, 100_000]}}, "input_size"),
        ({"pretrained_cfg": {"mean": [0.5, 0.5, float("nan")]}}, "mean"),
        ({"pretrained_cfg": {"std": [0.2, 0.2, 0.0]}}, "std"),
        ({"pretrained_cfg": {"crop_pct": 1e-6}}, "crop_pct"),
        ({"pretrained_cfg": {"input_size": [3, 224.5, 224]}}, "another kind"),
        ({"model_args": "run"}, "another kind"),
        ("[" * 100_000, "another kind"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_values_that_cannot_be_used_are_refused_in_one_line(tmp_path, change, words):
    with refused(words):
        read(tmp_path, change if isinstance(change, str) else COMPLETE | change)
