"""Wake-ups over a real Valkey."""

from app.events.signals import CHANNEL, Signals, connect_redis

PATIENCE = 10


async def test_what_changes_often_is_told_once_for_all_that_happened_meanwhile(redis_url: str) -> None:
    redis, signals = connect_redis(redis_url), Signals(connect_redis(redis_url))
    async with redis, redis.pubsub(ignore_subscribe_messages=True) as channel:
        await channel.subscribe(CHANNEL)
        await channel.get_message(timeout=PATIENCE)

        for _ in range(100):
            signals.notify_soon("a")
            signals.notify_soon("b")
        told = await channel.get_message(timeout=PATIENCE)
        signals.notify("c")
        then = await channel.get_message(timeout=PATIENCE)
    await signals.close()

    assert told is not None
    assert then is not None
    assert sorted(told["data"].decode().split("\n")) == ["a", "b"]
    assert then["data"] == b"c"
