"""Arrays in a few numbers, to be compared on any processor."""

from typing import Any

import numpy as np

WHOLE = 32  # numbers that are kept as they are; of more, a few means
MEANS = 6
NO_NUMBER = -9999.0
Said = dict[str, Any]  # by case: a text, or an array's dtype, shape and numbers


def told(array: Any) -> Any:
    """An array as the record holds it: comparable on any processor, and small."""
    array = np.asarray(array)
    numbers = np.nan_to_num(array.astype(np.float64), nan=NO_NUMBER, posinf=1e4, neginf=-1e4)
    if array.size > WHOLE:
        signs = np.random.default_rng(0).choice([-1.0, 1.0], (MEANS, array.size))
        numbers = signs @ numbers.reshape(-1) / array.size
    rounded = [round(number, 5) for number in numbers.reshape(-1).tolist()]
    return [str(array.dtype), list(array.shape), rounded]


def agree(before: Any, now: Any) -> bool:
    """Whether two of them are the same but for the last digits, which are the processor's.

    Libraries round a resized pixel up or down, by the instructions that the processor has.
    """
    if isinstance(before, str) or isinstance(now, str):
        return bool(before == now)
    (dtype, shape, numbers), (*other, others) = before, now
    slack = 0.03 if dtype == "uint8" else 2e-3
    return [dtype, shape] == other and bool(np.allclose(numbers, others, rtol=1e-3, atol=slack))


def differences(before: Said, now: Said) -> list[str]:
    """The cases of `before` that are answered otherwise now, or no more."""
    return [case for case in before if case not in now or not agree(before[case], now[case])]
