import gc
import threading
import weakref

import pytest

from distml.data.ahead import Ahead, Room


class Item:
    pass


def test_items_come_in_order_and_then_no_more():
    with Ahead(iter(range(5)), "test") as items:
        assert list(items) == [0, 1, 2, 3, 4]
        assert list(items) == []


def test_an_error_is_raised_as_it_is_after_what_came_before():
    error = ValueError("mine")

    def fail():
        yield 1
        raise error

    with Ahead(fail(), "test") as items:
        assert next(items) == 1
        for _ in range(2):
            with pytest.raises(ValueError, match="mine") as caught:
                next(items)
            assert caught.value is error


def test_no_more_items_are_made_than_there_are_places():
    made = []

    def make():
        while room.enter():
            made.append(len(made))
            yield made[-1]

    room = Room(3)
    with Ahead(make(), "test") as items, room:
        for expected in range(10):
            assert next(items) == expected
            assert len(made) <= 3 + expected
            room.leave()
    assert len(made) <= 13


def test_closing_the_room_ends_a_source_that_waits():
    def make():
        while room.enter():
            yield 0

    room = Room(1)
    with Ahead(make(), "waits") as items, room:
        next(items)
    assert "waits" not in [thread.name for thread in threading.enumerate()]


def test_an_item_is_freed_when_its_user_lets_go():
    alive = weakref.WeakSet()
    wait = threading.Event()

    def make():
        for _ in range(3):
            item = Item()
            alive.add(item)
            yield item
            del item
        wait.wait()

    with Ahead(Ahead(make(), "first").__enter__(), "second") as items:
        for _ in range(3):
            next(items)
        gc.collect()
        assert len(alive) == 0
        wait.set()
