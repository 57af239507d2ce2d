"""Room is given out first come, first served; nobody starves, and who leaves takes nothing along."""

import asyncio

from tinsmith.serve import room as module
from tinsmith.serve.room import Context, Room, context_for


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def waiting(room: Room, tokens: int, ids=()) -> asyncio.Task:
    task = asyncio.create_task(room.take(ids, tokens))
    await settled()
    return task


def test_a_large_request_is_not_overtaken_by_small_ones():
    async def run() -> None:
        room = Room(slots=4, tokens=100)
        first = await waiting(room, 60)
        large = await waiting(room, 90)
        small = [await waiting(room, 10) for _ in range(3)]
        assert first.done()
        assert not large.done()
        assert not any(task.done() for task in small)  # they would fit, but came later
        room.give_back(first.result())
        await settled()
        assert large.done()
        assert [task.done() for task in small] == [True, False, False]

    asyncio.run(run())


def test_slots_and_tokens_are_never_given_out_twice():
    async def run() -> None:
        room = Room(slots=2, tokens=100)
        tasks = [await waiting(room, 40) for _ in range(5)]
        held = [task.result() for task in tasks if task.done()]
        assert sorted(held) == [0, 1]
        for number in range(2, 5):
            room.give_back(tasks[number - 2].result())
            await settled()
            assert tasks[number].done()
            assert sum(task.done() for task in tasks) == number + 1

    asyncio.run(run())


def test_who_leaves_while_it_waits_is_overtaken():
    async def run() -> None:
        room = Room(slots=2, tokens=100)
        await waiting(room, 60)
        leaves = await waiting(room, 100)
        last = await waiting(room, 40)
        assert not last.done()
        leaves.cancel()
        await settled()
        assert last.done()
        assert not room._waiting

    asyncio.run(run())


def test_who_leaves_as_it_is_let_in_gives_its_room_back():
    async def run() -> None:
        room = Room(slots=2, tokens=100)
        first = await waiting(room, 100)
        leaves = await waiting(room, 100)
        last = await waiting(room, 50)
        room.give_back(first.result())  # lets the next one in, which leaves before it hears of it
        leaves.cancel()
        await settled()
        assert last.done()
        assert len(room._free) == 1

    asyncio.run(run())


def test_who_has_just_left_is_not_let_in():
    async def run() -> None:
        room = Room(slots=2, tokens=100)
        first = await waiting(room, 100)
        leaves = await waiting(room, 100)
        leaves.cancel()
        room.give_back(first.result())
        await settled()
        assert leaves.cancelled()
        assert len(room._free) == 2

    asyncio.run(run())


def test_a_prompt_goes_to_the_slot_that_read_its_beginning():
    async def run() -> None:
        room = Room(slots=3, tokens=100)
        talks = [(1, 2, 3), (7, 8, 9), (7, 8)]
        slots = [await room.take(ids, 10) for ids in talks]
        for slot in slots:
            room.give_back(slot)
        assert await room.take((7, 8, 9, 10), 10) == slots[1]
        assert await room.take((1, 2, 3, 4), 10) == slots[0]

    asyncio.run(run())


def test_each_slot_has_a_context_if_memory_holds_them(bundle, monkeypatch):
    gguf = bundle / "gguf" / "model-f16.gguf"
    assert context_for(gguf) == Context(8 * 512, shared=False)
    # Three contexts: two layers with two heads, a key and a value of 16 numbers of two bytes each.
    monkeypatch.setattr(module, "_MOST_BYTES", 3 * 512 * (2 * 2 * (16 + 16) * 2))
    assert context_for(gguf) == Context(3 * 512, shared=True)
    monkeypatch.setattr(module, "_MOST_BYTES", 1)
    assert context_for(gguf) == Context(512, shared=True)
