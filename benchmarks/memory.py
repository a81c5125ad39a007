"""How many bytes Python and numpy allocate in a call, and keep after it."""

import gc
import tracemalloc


def trace(call, *arguments):
    """The result of a call, the bytes allocated in it that are left at its end, and the bytes at its peak."""
    tracemalloc.start()
    try:
        result = call(*arguments)
        gc.collect()
        return result, *tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
