"""Objects that stay constructed while they are free, beside boxes that are constructed each time.

`cachetest N` serves N requests, one after the other; each needs a session for a while, and leaves it as it was.
"""

from heapwright.collections import Box, Bytes, NoCaches, ObjectCache, Struct, text, u64
from heapwright.collections.types import Reference, StructValue
from heapwright.programs.user import Args, Fatal, println

SESSION = Struct("Session", state=text, uses=u64, buffer=Bytes(232))


def main(args: Args) -> int:
    given = args.skip(1).next() or "300"
    if not given.isdecimal():
        raise Fatal("how many requests?")
    use_boxes(int(given))
    try:
        use_cache(int(given))
    except NoCaches as error:
        println(str(error))
    return 0


def new_session() -> StructValue:
    return SESSION(state="idle", uses=0, buffer=bytes(232))


def serve_request(session: Reference, number: int) -> None:
    assert (session.state, session.uses) == ("idle", 0), "it is as it was constructed"
    session.state, session.uses = "busy", number
    assert session.uses == number
    session.state, session.uses = "idle", 0


def use_boxes(requests: int) -> None:
    for number in range(requests):
        serve_request(Box(new_session()).value, number)
    tell("Box", requests, requests)


def use_cache(requests: int) -> None:
    cache = ObjectCache(new_session())
    for number in range(requests):
        session = cache.alloc()
        serve_request(session, number)
        cache.free(session)
    tell("ObjectCache", requests, cache.constructed)


def tell(how: str, requests: int, constructed: int) -> None:
    println(f"{how}: {requests} requests, {constructed} sessions constructed, {constructed * SESSION.size:,} bytes")
