import inspect

import pytest

from transfer import errors
from transfer.errors import TransferError

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]


def test_a_message_is_one_line():
    assert str(TransferError("expected a cat,\n  found\ta dog ")) == "expected a cat, found a dog"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_is_a_transfer_error_that_keeps_its_message(kind):
    assert issubclass(kind, TransferError)
    assert str(kind("found\nnone")) == "found none"


def test_the_tree_in_the_docstring_names_every_error():
    assert len(KINDS) > 1
    assert all(kind.__name__ in errors.__doc__ for kind in KINDS)
