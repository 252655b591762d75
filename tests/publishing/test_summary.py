import pytest
from huggingface_hub.utils import validate_repo_id

from transfer.publishing.summary import proposed_name


@pytest.mark.parametrize(
    ("name", "proposed"),
    [("AI-Lab/beans", "vgg16-beans"), ("日本", "vgg16-run"), ("a--b..c.git", "vgg16-a-b.c")],
)
def test_the_proposed_name_is_valid_on_the_hub(name, proposed):
    assert proposed_name("vgg16", name) == proposed
    validate_repo_id(f"me/{proposed}")
