import os

from tests.ui.visitors import ME, OTHER
from transfer.ui.shared.downloads import SECONDS_A_FILE_STAYS, Downloads


def test_a_visitor_has_one_folder_where_gradio_serves_files(gradio_folder):
    downloads = Downloads()
    first, other = downloads.new_folder(ME), downloads.new_folder(OTHER)
    assert first.is_dir() and first.is_relative_to(gradio_folder)
    second = downloads.new_folder(ME)
    assert second.is_dir() and second != first and not first.exists()
    assert other.is_dir()


def test_old_folders_are_removed(gradio_folder):
    downloads = Downloads()
    old, new = downloads.new_folder(ME), downloads.new_folder(OTHER)
    then = old.stat().st_mtime - SECONDS_A_FILE_STAYS - 1
    os.utime(old, (then, then))
    downloads.new_folder("another visitor")
    assert new.is_dir() and not old.exists()
