from transfer.cache.timed_cache import TimedCache


def test_the_newest_values_stay_for_a_while():
    cache = TimedCache(2, 60.0)
    for name in ("a", "b", "a", "c"):
        assert cache.put(name, name.upper()) == name.upper()
    assert [cache.get(name) for name in "abc"] == ["A", None, "C"]
    cache.seconds = 0.0
    assert cache.get("c") is None
