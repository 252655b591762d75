"""What a published run says about itself: nothing of the machine on which it was trained.

Only the keys listed here pass. Every text loses everything before its last slash, so that no path
is left, except class names and the Hub's own addresses.
"""

import re

from transfer.runs.run import Run

RECORD = (
    *("format_version", "classes", "settings", "transform", "body", "source", "revision"),
    *("seed", "phases", "result", "versions"),
)
BODY = ("weights", "sha256", "revision")
REPORT = (
    *("accuracy", "interval", "images", "classes", "confusion", "mistakes", "stages", "curves"),
    *("heads", "skipped"),
)
CONFIG = (
    *("architecture", "num_classes", "num_features", "global_pool", "label_names", "model_args"),
    "pretrained_cfg",
)
MODEL_ARGS = ("mlp_ratio", "global_pool")
PRETRAINED = (
    *("custom_load", "input_size", "fixed_input_size", "interpolation", "crop_pct", "crop_mode"),
    *("mean", "std", "num_classes", "pool_size", "first_conv", "classifier"),
)
HUB_SOURCE = re.compile(r"hub:[\w.-]+(/[\w.-]+)?( \([^/\\]*\))?")


def published_record(run: Run) -> dict:
    """run.json, with the Hub repository where others find the body."""
    record = _without_paths(_only(RECORD, run.record), run.classes)
    body = record["body"] = _only(BODY, record["body"])
    from_hub, architecture = body.get("weights") == "hub", run.settings.architecture
    body["repository"] = f"timm/{architecture}.tv_in1k" if from_hub else None
    if HUB_SOURCE.fullmatch(source := str(run.record.get("source"))):
        record["source"] = source
    if "result" in record:
        record["result"]["weights_reason"] = "as trained"
    return record


def published_report(run: Run, *, public: bool) -> dict:
    """report.json; without names of images unless they are `public`."""
    report = _without_paths(_only(REPORT, run.report), run.classes)
    if not public:
        report["mistakes"] = [mistake | {"name": ""} for mistake in report.get("mistakes", [])]
        report["skipped"] = []
    return report


def published_config(config: dict) -> dict:
    """config.json of an exported network."""
    published = _without_paths(_only(CONFIG, config), ())
    if "label_names" in config:
        published["label_names"] = config["label_names"]
    published["model_args"] = _only(MODEL_ARGS, published.get("model_args") or {})
    pretrained = config.get("pretrained_cfg") or config  # older configs have only one level
    published["pretrained_cfg"] = _only(PRETRAINED, _without_paths(pretrained, ()))
    return published


def bare(text: str) -> str:
    """`/home/ada/photos/` → `photos`, with slashes of either kind."""
    return re.split(r"[\\/]", text.rstrip("\\/"))[-1]


def _only(names: tuple[str, ...], data: dict) -> dict:
    return {name: data[name] for name in names if name in data}


def _without_paths(data, classes: tuple[str, ...]):
    """The same JSON in new objects, with `bare` texts except for class names."""
    known = frozenset(classes)

    def walk(value):
        if isinstance(value, dict):
            return {key: walk(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [walk(inner) for inner in value]
        if isinstance(value, str) and value not in known:
            return bare(value)
        return value

    return walk(data)
