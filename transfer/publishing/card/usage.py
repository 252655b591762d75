"""How a published model is loaded, as code that runs as it stands."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transfer.publishing.bundle import Bundle

PYTHON = """\
```python
import transfer

classifier = transfer.load("{repository}")
for prediction in classifier.classify("photo.jpg", top=3):
    print(f"{{prediction.label}}: {{prediction.score:.1%}}")
```"""
SHELL = """\
```bash
python -m transfer classify {repository} photo.jpg
```"""
TIMM = """\
```python
import timm
import torch
from PIL import Image

model = timm.create_model("hf-hub:{repository}", pretrained=True).eval()
config = timm.data.resolve_model_data_config(model)
prepare = timm.data.create_transform(**config, is_training=False)
picture = Image.open("photo.jpg").convert("RGB")
with torch.inference_mode():
    scores = model(prepare(picture)[None]).softmax(dim=1)[0]
names = model.pretrained_cfg["label_names"]
for score, place in zip(*scores.topk(min(3, len(names)))):
    print(f"{{names[place]}}: {{score:.1%}}")
```"""
TRANSFORMERS = """\
```python
from transformers import pipeline

classify = pipeline("image-classification", model="{repository}")
print(classify("photo.jpg", top_k=3))
```"""
PACKAGE = "the package that trained it, `transfer` (*Teach VGG16 something new*)"


def use_section(bundle: "Bundle", repository: str, *, private: bool) -> str:
    """Three ways each; those of a whole model need nothing of this project."""
    if bundle.what == "full":
        ways = [
            "With [timm](https://huggingface.co/docs/timm):",
            TIMM,
            "With [transformers](https://huggingface.co/docs/transformers), which needs timm "
            "beside it:",
            TRANSFORMERS,
            f"With {PACKAGE}:",
            PYTHON,
        ]
    else:
        ways = [
            f"With {PACKAGE}; it finds the body by itself:",
            PYTHON,
            "From the command line:",
            SHELL,
            "On its page, which `python app.py` opens: type `{repository}` in the tab *Try it*.",
        ]
    if private:
        ways.insert(0, "While this repository is private, sign in first: `hf auth login`.")
    return "\n\n".join(["## How to use it", *(way.format(repository=repository) for way in ways)])
