"""A run as it was after each step of its training: what features, warm-up and fine-tune say."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from transfer.data.image import Picture
from transfer.errors import RunError
from transfer.inference.classifier import Classifier, Prediction, probabilities
from transfer.model.vgg import Network, build_head
from transfer.model.weights import Body, build_body, find_body_again, load_body
from transfer.runs.phase_heads import PhaseHead, read_heads
from transfer.runs.run import STAGES, Run, changed_tensors
from transfer.settings import HeadSettings, SettingsError


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Stage → classifier, in the order of the training; the last one is the run itself.

    Stages on the same body share its layers.
    """

    classifiers: dict[str, Classifier]

    def stage(self, name: str) -> Classifier:
        """Raises RunError where the run has no such stage."""
        if name not in self.classifiers:
            raise RunError(
                f"expected a stage of the run ({', '.join(self.classifiers)}), found {name!r}"
            )
        return self.classifiers[name]

    @torch.inference_mode()
    def classify(self, picture: Picture, top: int = 5) -> dict[str, list[Prediction]]:
        """Stage → its best classes. A body that stages share runs once. Raises ImageError."""
        any_of_them = next(iter(self.classifiers.values()))
        pixels = any_of_them.normalised(picture)
        seen: dict[nn.Module, torch.Tensor] = {}
        found = {}
        for name, classifier in self.classifiers.items():
            network = classifier.network
            if network.features not in seen:
                seen[network.features] = network.features(pixels)
            logits = network.head(seen[network.features])
            found[name] = classifier.best(probabilities(logits), top)
        return found


def load_stages(classifier: Classifier) -> Comparison:
    """The stages of a classifier's run. Raises RunError where they were not kept."""
    run = classifier.run
    names = [phase["name"] for phase in run.record.get("phases", [])] if run else []
    names = [name for name in names if name != "cache"]
    if not names:
        raise RunError(
            "expected a run with the stages of its training, found a model that came without; "
            "train one here to compare them"
        )
    *earlier, last = names
    heads = read_heads(run.path / STAGES)
    if missing := [name for name in earlier if name not in heads]:
        raise RunError(
            f"expected the head after {missing[0]} in {STAGES} of the run, found none: it was "
            "made before these were kept, or published without; train again to compare the stages"
        )
    body = _body_as_it_came(run, classifier.network) if earlier else None
    stages = {name: _on(body, heads[name], classifier) for name in earlier}
    return Comparison(classifiers=stages | {last: classifier})


def _body_as_it_came(run: Run, network: Network) -> nn.Sequential:
    """The run's own layers where training left them as they were, else the ones it began with."""
    settings = run.settings
    body: Body = find_body_again(run.record["body"], settings.architecture, settings.seed)
    if not any(name in body.tensors for name in changed_tensors(network, body.tensors)):
        return network.features
    fresh = load_body(build_body(settings.architecture), body.tensors).eval()
    return fresh.to(next(network.parameters()).device)


def _on(body: nn.Sequential, kept: PhaseHead, classifier: Classifier) -> Classifier:
    run = classifier.run
    try:
        shape = replace(HeadSettings.named(kept.shape), dropout=0.0)
        size, classes = run.transform.image_size, len(run.classes)
        with torch.device("meta"):
            head = build_head(body, shape, size, classes, run.settings.seed)
        device = next(body.parameters()).device
        tensors = {name: tensor.to(device) for name, tensor in kept.tensors.items()}
        head.load_state_dict(tensors, assign=True)
    except (SettingsError, RuntimeError):
        raise RunError(
            f"expected heads that fit the run in its {STAGES}, found others; train again"
        ) from None
    return replace(classifier, network=Network(body, head).eval())
