"""What a published run tells of itself: nothing of the machine that it was made on.

Only what is named here passes. Every text loses what stands before its last slash, so that no path
is left, apart from class names and from the Hub's own addresses.
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
ARGUMENTS = ("mlp_ratio", "global_pool")
PRETRAINED = (
    *("custom_load", "input_size", "fixed_input_size", "interpolation", "crop_pct", "crop_mode"),
    *("mean", "std", "num_classes", "pool_size", "first_conv", "classifier"),
)
HUB_SOURCE = re.compile(r"hub:[\w.-]+(/[\w.-]+)?( \([^/\\]*\))?")


def published_record(run: Run) -> dict:
    """What stands in run.json, with where the body is found by whoever has not got it."""
    record = _bare(_only(RECORD, run.record), run.classes)
    body = record["body"] = _only(BODY, record["body"])
    from_hub, architecture = body.get("weights") == "hub", run.settings.architecture
    body["repository"] = f"timm/{architecture}.tv_in1k" if from_hub else None
    if HUB_SOURCE.fullmatch(source := str(run.record.get("source"))):
        record["source"] = source
    if "result" in record:
        record["result"]["weights_reason"] = "as trained"
    return record


def published_report(run: Run, *, public: bool) -> dict:
    """What stands in report.json; whose photos are not `public` keeps their file names."""
    report = _bare(_only(REPORT, run.report), run.classes)
    if not public:
        report["mistakes"] = [mistake | {"name": ""} for mistake in report.get("mistakes", [])]
        report["skipped"] = []
    return report


def published_config(config: dict) -> dict:
    """What stands in the config.json of an exported network."""
    published = _bare(_only(CONFIG, config), ())
    if "label_names" in config:
        published["label_names"] = config["label_names"]
    published["model_args"] = _only(ARGUMENTS, published.get("model_args") or {})
    pretrained = _bare(config.get("pretrained_cfg") or config, ())  # older ones have but one level
    published["pretrained_cfg"] = _only(PRETRAINED, pretrained)
    return published


def bare(text: str) -> str:
    """`/home/ada/photos/` → `photos`, with slashes of either kind."""
    return re.split(r"[\\/]", text.rstrip("\\/"))[-1]


def _only(names: tuple[str, ...], data: dict) -> dict:
    return {name: data[name] for name in names if name in data}


def _bare(data, classes: tuple[str, ...]):
    """The same JSON, made of new objects, with `bare` texts but for class names."""
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
