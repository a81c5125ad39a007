"""Orders of floats by radix, 16 bits at a time: several times faster than by comparisons."""

import numpy as np


def argsort(x):
    """The order (n,) that sorts finite floats (n,); equal ones stay in order."""
    bits = np.ascontiguousarray(x, dtype="<f8").view("<i8")
    ascending = bits >> 63  # negative floats sort by their flipped bits, the others come after them
    ascending |= np.int64(-(2**63))
    ascending ^= bits
    digits = ascending.view("<u2").reshape(-1, 4)
    order = np.argsort(digits[:, 0], kind="stable")
    for digit in digits.T[1:]:
        order = np.take(order, np.argsort(np.take(digit, order), kind="stable"))
    return order


def argsort_coarsely(x, low, step):
    """The order (n,) by the number of steps from `low`, cut to 0 ... 65535."""
    with np.errstate(over="ignore"):
        steps = np.subtract(x, low)
        steps /= step
    np.clip(steps, 0, 65535, out=steps)
    return np.argsort(steps.astype(np.uint16), kind="stable")
