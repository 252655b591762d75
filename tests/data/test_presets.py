import re

from transfer.data.presets import PRESETS


def test_presets_have_a_source_and_a_title():
    assert PRESETS[0].source == "digits" and PRESETS[0].title.endswith("no download")
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+", preset.source) for preset in PRESETS[1:])
    assert PRESETS[1].title == (
        "AI-Lab-Makerere/beans: bean leaves, healthy or ill, 3 classes, 1,295 images, MIT, 180 MB"
    )
    assert PRESETS[-1].title.endswith("101,000 images, licence unknown, 5 GB")
