import os

from tests.ui.visitors import ME, OTHER
from transfer.ui.shared.downloads import SECONDS_A_FILE_STAYS, Downloads


def test_a_visitor_has_one_folder_where_gradio_serves_files_until_it_is_old(gradio_folder):
    downloads = Downloads()
    first, other = downloads.new_folder(ME), downloads.new_folder(OTHER)
    assert first.is_dir() and first.is_relative_to(gradio_folder)
    second = downloads.new_folder(ME)
    assert second.is_dir() and not first.exists() and other.is_dir()
    then = other.stat().st_mtime - SECONDS_A_FILE_STAYS - 1
    os.utime(other, (then, then))
    downloads.new_folder("another visitor")
    assert second.is_dir() and not other.exists()
