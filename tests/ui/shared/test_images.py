from PIL import Image

from transfer.ui.shared.images import fitted, thumbnails


def test_a_tiny_picture_grows_by_whole_pixels_and_a_large_one_shrinks():
    sizes = {(8, 8): (160, 160), (500, 250): (160, 80), (1, 500): (1, 160)}
    assert {size: fitted(Image.new("RGB", size), 160).size for size in sizes} == sizes


def test_captions_are_escaped():
    page = thumbnails([(Image.new("RGB", (9, 9)), "<script>")])
    assert "<script>" not in page and 'src="data:image/webp;base64,' in page
