"""Objects that stay constructed while they are free, compared with boxes that are constructed each time.

`cachetest N` serves N requests, one after the other. Each uses a session for a while and restores its initial state.
"""

from heapwright.collections import Box, BytesType, NoCaches, ObjectCache, StructType, text, u64
from heapwright.collections.structs import Reference, StructValue
from heapwright.programs.user import Args, Fatal, println

SESSION = StructType("Session", state=text, uses=u64, buffer=BytesType(232))


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
    assert (session.state, session.uses) == ("idle", 0), "it is in its constructed state"
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
    cache.destroy()
    tell("ObjectCache", requests, cache.constructed)


def tell(how: str, requests: int, constructed: int) -> None:
    sessions = f"{constructed} {'session' if constructed == 1 else 'sessions'}"
    println(f"{how}: {requests} requests, {sessions} constructed, {constructed * SESSION.size:,} bytes")
