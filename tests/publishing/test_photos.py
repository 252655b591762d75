from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import transfer.publishing.hub_repository as repository_of
from tests.hub_server import FRIEND
from tests.hub_writing import GIT_ATTRIBUTES
from tests.publishing.sending import contents, refused, send
from transfer.data.image import load_image
from transfer.data.local.custom import CustomImages
from transfer.data.source import open_dataset
from transfer.errors import SourceError
from transfer.publishing import Sending
from transfer.settings import TrainingSettings

ID = "me/own-photos"
# what `datasets` or an address could misread: splits, patterns, quotes, other scripts
NAMES = ("test drive", "my train", "50 % [a] #1", "Grüner Tee", "日本", "{x}+y&z", "a@b", "it's")
SECRET = b"50.087 N 14.421 E"


def colour(kind: int, number: int) -> tuple[int, int, int]:
    return 30 * kind, 20 * number, 128


def telling_photo(path: Path, shown: tuple[int, int, int]) -> Path:
    """A photo that says in five ways where it was taken; its parts would survive a copy."""
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()
    more = {"comment": SECRET, "xmp": b"<x:xmpmeta>" + SECRET, "icc_profile": SECRET}
    Image.new("RGB", (16, 16), shown).save(path, exif=exif, quality=95, **more)
    path.write_bytes(path.read_bytes() + b"a film" + SECRET)
    return path


@pytest.fixture
def photos(tmp_path) -> CustomImages:
    """Five of each class, every one of another colour."""
    images = CustomImages(tmp_path / "mine")
    for kind, name in enumerate(NAMES):
        images.add_class(name)
        for number in range(5):
            images.add(name, telling_photo(tmp_path / "photo.jpg", colour(kind, number)))
    return images


def publish(photos: CustomImages, **more):
    return send(photos.folder, ID, what="dataset", **more)


def held(writing) -> dict[str, bytes]:
    return writing.hub.repositories["datasets", ID].files


def test_photos_become_one_private_commit_that_reads_back_with_its_classes(
    photos, writing, monkeypatch
):
    monkeypatch.setattr(repository_of, "PHOTOS_A_GROUP", 7)
    monkeypatch.setattr(repository_of, "PATHS_A_REQUEST", 9)
    events, published = publish(photos)
    sent = [event.sent_bytes for event in events if isinstance(event, Sending)]
    photo_bytes = published.bytes - published.files["README.md"]
    assert len(sent) == 7 and sent == sorted(sent) and sent[-1] == photo_bytes
    assert writing.hub.repositories["datasets", ID].private and writing.commits == 1
    assert published.url == f"{writing.hub.endpoint}/datasets/{ID}" and published.what == "dataset"
    expected = {f"train/{name}/{number:05}.jpg" for name in NAMES for number in range(1, 6)}
    assert held(writing).keys() == expected | {"README.md", ".gitattributes"}
    everything = [contents(photos.folder), held(writing)]
    assert not [name for files in everything for name, data in files.items() if SECRET in data]

    monkeypatch.setenv("HF_TOKEN", FRIEND)
    import datasets

    rows = datasets.load_dataset(ID, split="train")
    names = rows.features["label"].names
    assert sorted(names) == sorted(NAMES) and len(rows) == 5 * len(NAMES)
    for row in rows:
        red, green, _ = row["image"].convert("RGB").getpixel((8, 8))
        assert names[row["label"]] == NAMES[round(red / 30)] and round(green / 20) in range(5)

    again = open_dataset(f"hub:{ID}", TrainingSettings())
    assert again.class_counts() == dict.fromkeys(sorted(NAMES), 5)
    for row, label in enumerate(again.splits["train"].labels):
        red = load_image(again.splits["train"].read(row)).getpixel((8, 8))[0]
        assert again.classes[label] == NAMES[round(red / 30)]


def test_the_card_counts_and_states_no_license_that_nobody_chose(photos, writing):
    publish(photos)
    card = held(writing)["README.md"].decode()
    assert "license:" not in card and "No license is stated" in card
    assert "- image-classification" in card and "n<1K" in card and "Teach VGG16" in card
    assert "40 photos in 8 classes" in card and "| 50 &#37; &#91;a&#93; &#35;1 | 5 |" in card
    theirs = card.replace("# own-photos", "# Mine\n\nTaken by me.")
    held(writing)["README.md"] = theirs.encode()
    publish(photos, license="CC BY 4.0")
    card = held(writing)["README.md"].decode()
    assert "license: cc-by-4.0" in card and "# Mine\n\nTaken by me." in card
    publish(photos)
    assert held(writing)["README.md"].decode() == card and writing.commits == 2


def test_photos_put_there_by_something_else_lose_what_they_say(photos, writing):
    photo = telling_photo(photos.folder / "日本" / "00009.jpg", colour(4, 4))
    assert SECRET in photo.read_bytes()
    bare = (photos.folder / "日本" / "00001.jpg").read_bytes()
    (photos.folder / "日本" / "00010.jpg").write_bytes(bare + b"a film" + SECRET)
    publish(photos)
    for number in ("00009", "00010"):
        assert SECRET not in held(writing)[f"train/日本/{number}.jpg"]
    assert held(writing)["train/日本/00001.jpg"] == (photos.folder / "日本/00001.jpg").read_bytes()


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ({"data/train.parquet": b"theirs"}, "found other files"),
        ({"README.md": b"---\nconfigs: []\n---\nTheirs", "a.csv": b"theirs"}, "found other files"),
    ],
)
def test_a_dataset_of_somebody_else_stays_as_it_is(there, words, photos, writing):
    writing.hub.add("datasets", ID, dict(there), private=True)
    assert words in refused(photos.folder, ID, what="dataset")
    assert held(writing) == there and writing.commits == 0


def test_photos_that_are_there_are_neither_overwritten_nor_deleted(photos, writing):
    publish(photos)
    photos.add("日本", telling_photo(photos.folder / "new.jpg", colour(4, 4)))
    (photos.folder / "new.jpg").unlink()
    held(writing)["notes.txt"] = b"theirs"
    publish(photos)
    assert "train/日本/00006.jpg" in held(writing) and held(writing)["notes.txt"] == b"theirs"
    for name in ("train/日本/00001.jpg", "train/cat/00001.jpg"):  # another photo, another class
        before = dict(held(writing))
        held(writing)[name] = b"theirs"
        message = refused(photos.folder, ID, what="dataset")
        assert f"found 1 others there, such as {name!r}" in message, message
        assert held(writing) == before | {name: b"theirs"} and writing.commits == 2
        writing.put(replace(writing.hub.repositories["datasets", ID], files=before))


def test_a_fault_on_the_way_leaves_all_or_nothing(photos, writing):
    publish(photos)
    asked, everything = [asked for asked, _ in writing.seen], held(writing)
    commit = 1 + next(i for i, line in enumerate(asked) if "/commit/" in line)
    for number, fault in ((commit, "lost"), (commit - 2, "503"), (commit, "403…")):
        writing.hub.repositories.clear()
        writing.objects.clear()
        writing.forget()
        writing.faults = {number: fault}
        if fault == "403…":
            assert "an empty repository may remain" in refused(photos.folder, ID, what="dataset")
            assert held(writing) == {".gitattributes": GIT_ATTRIBUTES}
        else:
            publish(photos)
            assert held(writing) == everything and writing.commits == 1


def test_what_is_no_dataset_is_refused_before_the_hub_is_asked(photos, writing, tmp_path):
    def why(folder: Path, **more) -> str:
        return refused(folder, ID, what="dataset", **more)

    assert "at least 2 classes" in why(tmp_path / "nothing", kind=SourceError)
    (photos.folder / "日本" / "IMG 1.png").write_bytes(b"")
    assert "found 'IMG 1.png'" in why(photos.folder)
    (photos.folder / "日本" / "IMG 1.png").unlink()
    (photos.folder / "日本").rename(photos.folder / "__x")
    assert "'__x'; begin its name with a letter" in why(photos.folder)
    assert not writing.seen and contents(photos.folder)
