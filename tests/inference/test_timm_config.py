import json

import pytest
from timm.data import ImageNetInfo

from transfer.data.transform import IMAGENET_MEAN, IMAGENET_STD
from transfer.errors import RunError
from transfer.inference.timm_config import read_config

WHOLE = {
    "architecture": "vgg16",
    "num_classes": 3,
    "num_features": 512,
    "global_pool": "avg",
    "label_names": ["cat", "dog", "hen"],
    "model_args": {"num_classes": 3, "in_chans": 3, "mlp_ratio": 0.25, "global_pool": "avg"},
    "pretrained_cfg": {
        "tag": "tv_in1k",
        "custom_load": False,
        "input_size": [3, 224, 224],
        "fixed_input_size": False,
        "interpolation": "bilinear",
        "crop_pct": 0.9,
        "crop_mode": "border",
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
        "num_classes": 3,
        "pool_size": [7, 7],
        "first_conv": "features.0",
        "classifier": "head.fc",
    },
}


def written(tmp_path, config):
    path = tmp_path / "config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return path


def read(tmp_path, **change):
    """What is read of WHOLE with changes; None takes a field away."""
    config = {name: value for name, value in (WHOLE | change).items() if value is not None}
    return read_config(written(tmp_path, config))


def refusal(tmp_path, **change) -> str:
    with pytest.raises(RunError) as caught:
        read(tmp_path, **change)
    text = str(caught.value)
    assert "\n" not in text and str(tmp_path) not in text and len(text) < 400
    return text


def pretrained(**change) -> dict:
    return {"pretrained_cfg": WHOLE["pretrained_cfg"] | change}


def arguments(**change) -> dict:
    return {"model_args": WHOLE["model_args"] | change}


def test_all_that_counts_is_read(tmp_path):
    config = read(tmp_path)
    assert config.architecture == "vgg16" and config.classes == ("cat", "dog", "hen")
    assert config.arguments == {"mlp_ratio": 0.25, "global_pool": "avg"}
    transform = config.transform
    assert (transform.height, transform.width, transform.image_size) == (224, 224, 224)
    assert (transform.crop_pct, transform.crop_mode) == (0.9, "border")
    assert transform.interpolation == "bilinear"
    assert transform.mean == (0.1, 0.2, 0.3) and transform.std == (0.4, 0.5, 0.6)


def test_what_is_missing_is_as_timm_has_it(tmp_path):
    transform = read_config(written(tmp_path, {"architecture": "vgg11_bn"})).transform
    assert (transform.height, transform.width) == (224, 224)
    assert (transform.crop_pct, transform.crop_mode) == (0.875, "center")
    assert transform.interpolation == "bicubic"
    assert transform.mean == IMAGENET_MEAN and transform.std == IMAGENET_STD


def test_the_older_form_on_one_level_is_understood(tmp_path):
    old = WHOLE["pretrained_cfg"] | {"architecture": "vgg13", "labels": ["a", "b", "c"]}
    config = read_config(written(tmp_path, old))
    assert (config.architecture, config.classes) == ("vgg13", ("a", "b", "c"))
    assert config.transform.crop_mode == "border"


@pytest.mark.parametrize("name", ["vgg11", "vgg13_bn", "vgg16_bn", "vgg19", "vgg16.tv_in1k"])
def test_every_vgg_of_timm_is_known(tmp_path, name):
    assert read(tmp_path, architecture=name).architecture == name.removesuffix(".tv_in1k")


@pytest.mark.parametrize(
    "name", ["resnet50", "repvgg_a2", "vgg12", "vgg16_evil", "../vgg16", "hf-hub:a/b", ["vgg16"], 5]
)
def test_another_architecture_is_refused(tmp_path, name):
    assert "expected a VGG of timm" in refusal(tmp_path, architecture=name)


def test_a_model_of_another_kind_is_refused(tmp_path):
    text = refusal(tmp_path, architecture=None, model_type="bert")
    assert "image classifier of timm" in text and "type 'bert'" in text


def test_a_thousand_classes_without_names_are_those_of_imagenet(tmp_path):
    classes = read(tmp_path, num_classes=1000, label_names=None, model_args=None).classes
    words = ImageNetInfo().label_descriptions()
    assert len(set(classes)) == 1000 and classes[0] == words[0] == "tench, Tinca tinca"
    assert words[134] == words[517] == "crane"
    assert (classes[134], classes[517]) == ("crane (134)", "crane (517)")


def test_other_classes_without_names_are_numbers(tmp_path):
    assert read(tmp_path, label_names=None).classes == ("class 0", "class 1", "class 2")


def test_names_may_stand_by_number_with_gaps(tmp_path):
    assert read(tmp_path, label_names={"2": "hen", "0": "cat"}).classes == (
        "cat",
        "class 1",
        "hen",
    )


def test_names_are_kept_but_for_what_harms_a_terminal(tmp_path):
    labels = ["<b>bold</b>", "a\x1b[2J\nb\u2028c\ud800", "🦆 Ente"]
    assert read(tmp_path, label_names=labels).classes == (
        "<b>bold</b>",
        "a [2J b c",
        "🦆 Ente",
    )


def test_each_name_means_one_class(tmp_path):
    assert read(tmp_path, label_names=["cat", " cat", ""]).classes == (
        "cat (0)",
        "cat (1)",
        "(2)",
    )
    assert all(len(name) <= 210 for name in read(tmp_path, label_names=["x" * 10**6] * 3).classes)


def test_ten_thousand_names_are_read(tmp_path):
    labels = [f"kind {i}" for i in range(10_000)]
    changed = arguments(num_classes=10_000) | {"num_classes": 10_000, "label_names": labels}
    assert read(tmp_path, **changed).classes == tuple(labels)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_classes": 4}, "num_classes"),
        ({"num_classes": 0, "model_args": None}, "from 1 to"),
        ({"num_classes": 10**9, "model_args": None}, "from 1 to"),
        ({"num_classes": True, "model_args": None}, "found 'True'"),
        ({"label_names": ["cat", "dog"]}, "3 classes, found '2 of them'"),
        ({"label_names": "cat"}, "label_names"),
        ({"label_names": {"3": "cat"}}, "from 0 to 2"),
        ({"label_names": {"cat": "0"}}, "from 0 to 2"),
        ({"pretrained_cfg": [1]}, "pretrained_cfg"),
        ({"model_args": "run"}, "model_args"),
        (arguments(act_layer="os.system"), "'act_layer'"),
        (arguments(cfg=["M"]), "'cfg'"),
        (arguments(mlp_ratio=1e9), "mlp_ratio"),
        (arguments(mlp_ratio="1"), "mlp_ratio"),
        (arguments(in_chans=1), "in_chans"),
        (arguments(global_pool=""), "global_pool"),
        (arguments(global_pool="attention"), "global_pool"),
        (pretrained(input_size=[3, 100_000, 100_000]), "32 to 1024 pixels"),
        (pretrained(input_size=[1, 224, 224]), "input_size"),
        (pretrained(input_size=[3, 224.5, 224]), "input_size"),
        (pretrained(input_size=224), "input_size"),
        (pretrained(mean=[0.5]), "mean"),
        (pretrained(mean=[0.5, 0.5, float("nan")]), "mean"),
        (pretrained(std=[0.2, 0.2, 0.0]), "std"),
        (pretrained(std=[0.2, 0.2, 10**400]), "std"),
        (pretrained(crop_pct=1e-6), "crop_pct"),
        (pretrained(crop_pct=float("inf")), "crop_pct"),
        (pretrained(crop_mode="five"), "center, squash, border"),
        (pretrained(interpolation=["bilinear"]), "interpolation"),
    ],
    ids=str,
)
def test_what_cannot_be_true_is_refused_by_name(tmp_path, change, words):
    assert words in refusal(tmp_path, **change)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "[]", "null", '"vgg16"', "\x00"])
def test_what_is_no_record_is_refused(tmp_path, text):
    with pytest.raises(RunError, match=r"config\.json"):
        read_config(written(tmp_path, text))
