from tests.ui.visitors import ME, OTHER
from tests.waiting import Threads, wait_for
from transfer.ui.shared import downloads
from transfer.ui.shared.downloads import Downloads


def test_a_download_is_served_from_where_it_is_and_takes_the_place_of_the_last(gradio_folder):
    made = Downloads()
    first, other = made.new_folder(ME), made.new_folder(OTHER)
    assert first.is_dir() and first.is_relative_to(gradio_folder)
    second = made.new_folder(ME)
    assert second.is_dir() and second != first and not first.exists()
    assert other.is_dir()


def test_downloads_go_after_a_while(gradio_folder, monkeypatch):
    monkeypatch.setattr(downloads, "SECONDS_A_DOWNLOAD_STAYS", 0.2)
    made = Downloads()
    for round_ in range(2):  # once more after nothing was left
        folders = [made.new_folder(f"{round_} {n}") for n in range(3)]
        wait_for(lambda folders=folders: not any(folder.exists() for folder in folders))


def test_one_thread_waits_for_all(gradio_folder):
    made, threads = Downloads(), Threads()
    for n in range(20):
        made.new_folder(f"visitor {n}")
        made.new_folder(ME)
    assert threads.alive == 1
