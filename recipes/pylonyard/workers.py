"""Work that the processors of this machine share; standard library only.

The processes are forks that live for one piece of work: they take numbers from a pipe
until it is empty, or the process that started them is gone.  So a killed run leaves
none that goes on, and the locks that it held are held until the last has ended.
"""

import fcntl
import gc
import os
import struct
import termios
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TypeVar

Item = TypeVar("Item")

_NUMBER = struct.Struct("I")
_MOST = 4096
"""So many numbers fit into a pipe."""


Told = Callable[[int], object]
"""Is called, by the process that shares its work, with how many items have been begun."""


def share(
    work: Callable[[Item], object],
    items: Sequence[Item],
    *,
    few: int = 1,
    told: Told = lambda begun: None,
) -> None:
    """Call ``work`` with each item; the first are begun first.

    What fails in another process is done again here, so that its error is raised here:
    to do an item twice must do no harm.

    :param few: up to so many items are not worth another process
    """
    hands = min(len(os.sched_getaffinity(0)), len(items))
    if hands < 2 or len(items) <= few or not _shared(work, items, hands, told):
        for number, item in enumerate(items):
            told(number)
            work(item)


def _shared(
    work: Callable[[Item], object], items: Sequence[Item], hands: int, told: Told
) -> bool:
    """Do it in ``hands`` processes, this one among them; return whether it is done."""
    count = min(len(items), _MOST)
    numbers, filled = os.pipe()
    os.write(filled, b"".join(map(_NUMBER.pack, range(count))))
    os.close(filled)

    def taken() -> Iterator[Item]:
        while number := os.read(numbers, _NUMBER.size):
            yield from items[_NUMBER.unpack(number)[0] :: count]

    children: list[int] = []
    collects = gc.isenabled()
    gc.disable()  # It would walk through all that this process has, in each of them.
    try:
        with suppress(OSError):  # a limit of processes, or of memory: the fewer do it all
            for _ in range(hands - 1):
                children.append(_fork(work, taken()))
        for item in taken():
            told(len(items) - _waiting(numbers))
            work(item)
    finally:
        # After an error nobody is to begin anything.
        os.read(numbers, _MOST * _NUMBER.size)
        os.close(numbers)
        ended = [os.waitpid(child, 0)[1] for child in children]
        if collects:
            gc.enable()
    return not any(ended)


def _waiting(numbers: int) -> int:
    """Return how many numbers a pipe holds."""
    size = bytearray(_NUMBER.size)
    fcntl.ioctl(numbers, termios.FIONREAD, size)
    return int(_NUMBER.unpack(size)[0]) // _NUMBER.size


def _fork(work: Callable[[Item], object], items: Iterator[Item]) -> int:
    """Start a process that works on ``items`` for as long as this one lives; return its number."""
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        for item in items:
            if os.getppid() != parent:
                break
            work(item)
        else:
            status = 0
    finally:
        os._exit(status)
