"""What a run would predict after each step of its training: features, warm-up, fine-tune."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from transfer.errors import RunError
from transfer.inference.classifier import Classifier, Prediction, softmax
from transfer.machine.device import in_parts
from transfer.model.vgg import Network, build_head
from transfer.model.weights import build_body, find_body_again, load_body
from transfer.runs.phase_heads import PhaseHead, read_heads
from transfer.runs.run import STAGES, Run, changed_tensors
from transfer.settings import HeadSettings, SettingsError


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Stage → classifier, in the order of the training, the run itself last; bodies are shared."""

    classifiers: dict[str, Classifier]

    @torch.inference_mode()
    def predict(self, pixels: torch.Tensor, top: int = 5) -> dict[str, list[Prediction]]:
        """Stage → its best classes for one prepared picture; a body that stages share runs once."""
        features: dict[nn.Module, torch.Tensor] = {}  # body → float32 (1, 512, h, w)
        found = {}
        for name, classifier in self.classifiers.items():
            body, head = classifier.network.features, classifier.network.head
            if body not in features:
                features[body] = in_parts(body, pixels)
            found[name] = classifier.rank(softmax(head(features[body]))[0], top)
        return found


def load_stages(classifier: Classifier) -> Comparison:
    """The stages of a classifier's run. Raises RunError where their heads were not saved."""
    run = classifier.run
    phases = run.record.get("phases", []) if run else []
    names = [phase["name"] for phase in phases if phase["name"] != "cache"]
    if not names:
        raise RunError(
            "expected a run with the steps of its training, found a model without its training; "
            "train one here to compare the steps"
        )
    *earlier, last = names
    heads = read_heads(run.path / STAGES)
    if missing := [name for name in earlier if name not in heads]:
        raise RunError(
            f"expected the head after {missing[0]} in {STAGES} of the run, found none: an older "
            "version made the run, or it was published without; train again to compare the steps"
        )
    body = _original_body(run, classifier.network) if earlier else None
    stages = {name: _with_head(classifier, body, heads[name]) for name in earlier}
    return Comparison(classifiers=stages | {last: classifier})


def _original_body(run: Run, network: Network) -> nn.Sequential:
    """The run's own layers where training did not change them, else the ones it began with."""
    settings = run.settings
    body = find_body_again(run.record["body"], settings.architecture, settings.seed)
    if not any(name in body.tensors for name in changed_tensors(network, body.tensors)):
        return network.features
    fresh = load_body(build_body(settings.architecture), body.tensors).eval()
    return fresh.to(next(network.parameters()).device)


def _with_head(classifier: Classifier, body: nn.Sequential, saved: PhaseHead) -> Classifier:
    run, device = classifier.run, next(body.parameters()).device
    try:
        shape = replace(HeadSettings.named(saved.shape), dropout=0.0)
        with torch.device("meta"):  # shapes only; the saved tensors take these places
            head = build_head(body, shape, run.transform.image_size, len(run.classes), seed=0)
        tensors = {name: tensor.to(device) for name, tensor in saved.tensors.items()}
        head.load_state_dict(tensors, assign=True)
    except (SettingsError, RuntimeError):
        raise RunError(
            f"expected heads that fit the run in its {STAGES}, found others; train again"
        ) from None
    network = Network(body, head).eval()
    return replace(classifier, network=network, familiarity=None, least_score=None)
