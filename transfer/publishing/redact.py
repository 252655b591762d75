"""What a published run says about itself: nothing of the machine on which it was trained.

Only the keys listed here pass. Every text loses everything before its last slash, so that no path
is left, except class names and the Hub's own addresses.
"""

import re
from collections.abc import Iterable

from transfer.runs.run import Run

RECORD = (
    "format_version classes settings transform body source revision seed phases result calibration "
    "versions"
).split()
BODY = ("weights", "sha256", "revision")
REPORT = (
    "accuracy balanced_accuracy interval images uneven classes confusion mistakes mistakes_total "
    "stages curves heads skipped calibration sets unknown cross_validation block_probes"
).split()
CONFIG = (
    "architecture num_classes num_features global_pool label_names greys model_args pretrained_cfg"
).split()
MODEL_ARGS = ("mlp_ratio", "global_pool")
PRETRAINED = (
    "custom_load input_size fixed_input_size interpolation crop_pct crop_mode mean std num_classes "
    "pool_size first_conv classifier"
).split()
HUB_SOURCE = re.compile(r"hub:[\w.-]+(/[\w.-]+)?( \([^/\\]*\))?")


def published_record(run: Run) -> dict:
    """run.json, with the Hub repository where others find the body."""
    record = _without_paths(_only(RECORD, run.record), frozenset(run.classes))
    if "corrections" in record["settings"]:  # they name images
        record["settings"]["corrections"] = []
    if "others" in record["settings"]:  # a place on this machine
        record["settings"]["others"] = None
    record["body"] = _only(BODY, record["body"]) | {"repository": base_model(run)}
    if HUB_SOURCE.fullmatch(source := str(run.record.get("source"))):
        record["source"] = source
    if "result" in record:
        record["result"]["weights_reason"] = "as trained"
    return record


def base_model(run: Run) -> str | None:
    """The Hub id of the model whose body this one started from."""
    from_hub = run.record["body"].get("weights") == "hub"
    return f"timm/{run.settings.architecture}.tv_in1k" if from_hub else None


def published_report(run: Run, *, public: bool) -> dict:
    """report.json; without names of images unless they are `public`."""
    report = _without_paths(_only(REPORT, run.report), frozenset(run.classes))
    if not public:
        report["mistakes"] = [mistake | {"name": ""} for mistake in report.get("mistakes", [])]
        report["skipped"] = []
    return report


def published_config(config: dict) -> dict:
    """config.json of an exported network."""
    published = _without_paths(_only(CONFIG, config))
    if "label_names" in config:
        published["label_names"] = config["label_names"]
    published["model_args"] = _only(MODEL_ARGS, published.get("model_args") or {})
    pretrained = config.get("pretrained_cfg") or config  # older configs have only one level
    published["pretrained_cfg"] = _only(PRETRAINED, _without_paths(pretrained))
    return published


def bare(text: str) -> str:
    """`/home/ada/photos/` → `photos`, with slashes of either kind."""
    return re.split(r"[\\/]", text.rstrip("\\/"))[-1]


def _only(names: Iterable[str], data: dict) -> dict:
    return {name: data[name] for name in names if name in data}


def _without_paths(data, classes: frozenset[str] = frozenset()):
    """The same JSON in new objects, with `bare` texts except for class names."""
    if isinstance(data, dict):
        return {key: _without_paths(value, classes) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_without_paths(value, classes) for value in data]
    return bare(data) if isinstance(data, str) and data not in classes else data
