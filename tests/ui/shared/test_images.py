from PIL import Image

from transfer.ui.shared.images import fitted, thumbnails


def test_tiny_pictures_grow_by_whole_pixels_and_captions_are_escaped():
    sizes = {(8, 8): (160, 160), (500, 250): (160, 80), (1, 500): (1, 160)}
    assert {size: fitted(Image.new("RGB", size), 160).size for size in sizes} == sizes
    page = thumbnails([(Image.new("RGB", (9, 9)), "<script>")])
    assert "<script>" not in page and 'src="data:image/webp;base64,' in page
