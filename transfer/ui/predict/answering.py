"""Answers about a visitor's pictures by one run, with a card for each."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from transfer.errors import ImageError
from transfer.ui.predict import cards
from transfer.ui.predict.pictures import Asked
from transfer.ui.shared.loaded_runs import LoadedRuns

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from transfer.inference.classifier import Classifier
    from transfer.inference.phase_comparison import Comparison

TOP, SIMILAR = 5, 6


@dataclass(frozen=True)
class Answering:
    """`view` is what a card shows, `label` the class of its heat map or "" for the best one.

    All its methods raise TransferError.
    """

    runs: LoadedRuns
    visitor: str
    run: str
    view: str
    label: str
    as_digits: bool  # whether the run knows drawings in the form of the digits

    def answers(
        self, asked: list[Asked], most_cards: int
    ) -> Iterator[tuple[Asked, str, list[str]]]:
        """(with the answer; its card, which only the first few get, or ""; its row of the table),
        one after the other."""
        pictures = [each.picture for each in asked]
        classifier = self.runs.classifier(self.visitor, self.run, pictures)
        for place, each in enumerate(asked):
            try:
                shown = each.digit() if self.as_digits else each
                image = classifier.transform.load(shown.picture)
                pixels = classifier.prepare(image)  # float32 (1, 3, H, W)
            except ImageError as error:
                unread = replace(each, answer=None, error=str(error))
                card = cards.unreadable_card(each.name, str(error)) if place < most_cards else ""
                yield unread, card, cards.row(unread)
                continue
            answer = classifier.answer(pixels, TOP)
            if shown is not each:  # however well drawn, it is unlike the scans of the training
                answer = replace(answer, known=None, familiarity=None)
            answered = replace(each, answer=answer, error="")
            card = self._card(classifier, answered, image, pixels) if place < most_cards else ""
            yield answered, card, cards.row(answered, image)

    @cached_property
    def _phases(self) -> "Comparison":
        return self.runs.comparison(self.visitor, self.run)

    def _card(
        self, classifier: "Classifier", asked: Asked, image: "Image.Image", pixels: "Tensor"
    ) -> str:
        about = asked.name, image, asked.answer
        if self.view == "phases":
            return cards.phases_card(*about, self._phases.predict(pixels, TOP))
        if self.view == "similar":
            names = classifier.most_similar(pixels, SIMILAR)
            return cards.similar_card(*about, self.runs.photos(self.visitor, self.run, names))
        if self.view == "heat":
            from transfer.inference.grad_cam import heat_map

            return cards.heat_card(*about, heat_map(classifier, pixels, self.label or None))
        return cards.prediction_card(*about)
