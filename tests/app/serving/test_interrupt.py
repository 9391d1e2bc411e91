import asyncio

import pytest

from app.serving.interrupt import Interruptible


class WhyError(Exception):
    """The reason."""


class OtherError(Exception):
    """Another one."""


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


def test_interrupted_body_raises_the_reason_and_the_task_lives_on() -> None:
    async def check() -> None:
        with pytest.raises(WhyError), Interruptible(WhyError) as context:
            asyncio.get_running_loop().call_soon(context.interrupt)
            await forever()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0)

    asyncio.run(check())


def test_cancellation_from_elsewhere_stays_one() -> None:
    async def wait() -> None:
        with Interruptible(WhyError):
            await forever()

    async def check() -> None:
        task = asyncio.create_task(wait())
        asyncio.get_running_loop().call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(check())


def test_inner_reason_wins_and_the_outer_leaves_nothing_behind() -> None:
    async def check() -> None:
        with pytest.raises(OtherError), Interruptible(WhyError) as outer, Interruptible(OtherError) as inner:
            loop = asyncio.get_running_loop()
            loop.call_soon(inner.interrupt)
            loop.call_soon(outer.interrupt)
            await forever()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    asyncio.run(check())


def test_body_that_ends_by_itself_is_left_alone() -> None:
    async def check() -> str:
        with Interruptible(WhyError):
            await asyncio.sleep(0)
        return "done"

    assert asyncio.run(check()) == "done"
