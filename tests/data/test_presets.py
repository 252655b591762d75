import re

from transfer.data.presets import PRESETS


def test_there_are_several_and_the_first_needs_no_network():
    assert 8 <= len(PRESETS) == len({preset.source for preset in PRESETS})
    assert PRESETS[0].source == "digits" and PRESETS[0].megabytes == 0
    for preset in PRESETS[1:]:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", preset.source)


def test_a_title_tells_what_one_needs_to_know():
    titles = [preset.title for preset in PRESETS]
    assert titles[0].endswith("no download")
    assert titles[1] == (
        "AI-Lab-Makerere/beans: bean leaves, healthy or ill, 3 classes, 1,295 images, MIT, 180 MB"
    )
    assert titles[-1].endswith("101,000 images, licence unknown, 5 GB")
