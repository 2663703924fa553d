"""Order statistics of the eigenvalues of A ⊗ B, exactly and without forming all products.

The eigenvalues are the products a_i · b_j. With both lists sorted, how many products reach a
threshold takes one binary search for each a_i; bisecting the threshold over the floating-point
numbers themselves ends at the exact order statistic.
"""

from __future__ import annotations

import numpy as np

from condcli.stats import FloatArray, IntArray

_FEW = 4096  # so many products left between the two ends are simply sorted
_SMALLEST = 1  # the bits of the smallest positive float


def kth_largest_product(a: FloatArray, b: FloatArray, k: int) -> float:
    """The k-th largest (from 1) of all a[g, i] · b[g, j], over i, j and the groups g.

    `a` is (G, m), `b` (G, n), both ≥ 0 and descending along the second axis.
    """
    lists = _padded(b)
    low, high = _SMALLEST, _bits(float((a[:, 0] * b[:, 0]).max())) + 1
    within = _counts(a, lists, _float(low))  # products ≥ low, for each a[g, i]
    above = np.zeros(a.shape, dtype=np.int64)  # products ≥ high
    if within.sum() < k:
        return 0.0
    # Invariant: fewer than k products are ≥ high, and at least k are ≥ low.
    while high - low > 1 and within.sum() - above.sum() > _FEW:
        middle = (low + high) // 2
        counts = _counts(a, lists, _float(middle))
        if counts.sum() >= k:
            low, within = middle, counts
        else:
            high, above = middle, counts
    if high - low == 1:
        return _float(low)
    left = _products_between(a, b, above, within)
    place = left.size - (k - int(above.sum()))
    return float(np.partition(left, place)[place])


def count_products_from(a: FloatArray, b: FloatArray, threshold: float) -> int:
    """How many of the products a[g, i] · b[g, j] are ≥ a threshold above 0."""
    return int(_counts(a, _padded(b), threshold).sum())


def _padded(b: FloatArray) -> FloatArray:
    """The lists lengthened to a power of two above n by -1, whose products reach no threshold."""
    groups, n = b.shape
    return np.hstack([b, np.full((groups, (1 << n.bit_length()) - n), -1.0)])


def _counts(a: FloatArray, lists: FloatArray, threshold: float) -> IntArray:
    """For each a[g, i], how many products with the padded list of g are ≥ the threshold, (G, m).

    A binary search on the products as rounded, not on threshold / a, so that ties count exactly.
    """
    groups, length = lists.shape
    flat = lists.ravel()
    before = length * np.arange(groups)[:, None] - 1  # where each list begins, less one
    count = np.zeros(a.shape, dtype=np.int64)
    step = length // 2
    while step:
        count += step * (a * flat[before + count + step] >= threshold)
        step //= 2
    return count


def _products_between(a: FloatArray, b: FloatArray, start: IntArray, stop: IntArray) -> FloatArray:
    """All products a[g, i] · b[g, j] with start[g, i] ≤ j < stop[g, i]."""
    lengths = (stop - start).ravel()
    row = np.repeat(np.arange(a.size), lengths)
    ends = np.cumsum(lengths)
    column = np.arange(row.size) - np.repeat(ends - lengths, lengths) + start.ravel()[row]
    products: FloatArray = a.ravel()[row] * b[row // a.shape[1], column]
    return products


def _bits(value: float) -> int:
    """The float's bits as an integer: for values ≥ 0 the order is the same."""
    return int(np.float64(value).view(np.int64))


def _float(bits: int) -> float:
    return float(np.int64(bits).view(np.float64))
