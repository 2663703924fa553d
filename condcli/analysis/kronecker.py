"""Order statistics of the eigenvalues of A ⊗ B, exactly, and without forming many products.

The eigenvalues are the products a_i · b_j. With both lists sorted, those not yet ruled out are a
run of j for each i. The weighted median of the runs' middles has at least a quarter of them on
either side (Johnson & Mizoguchi 1978), and one binary search for each i tells which side to drop.
"""

from __future__ import annotations

import numpy as np

from condcli.stats import FloatArray, IntArray

_FEW = 1 << 14  # so many products are simply formed
_SMALLEST = float(np.nextafter(0, 1))


def kth_largest_product(a: FloatArray, b: FloatArray, k: int) -> float:
    """The k-th largest (from 1) of all a[g, i] · b[g, j], over i, j and the groups g.

    `a` is (G, m), `b` (G, n), both ≥ 0 and descending along the second axis.
    """
    if a.size * b.shape[1] <= _FEW:
        return _kth_largest(_all_products(a, b), k)
    lists = _padded(b)
    start = np.zeros(a.shape, dtype=np.int64)  # products before it are above the answer
    stop = _counts(a, lists, _SMALLEST)  # products from here on are below the answer
    if stop.sum() < k:
        return 0.0
    while (stop - start).sum() > _FEW:
        pivot = _middle_product(a, lists, start, stop)
        reaching = _counts(a, lists, pivot)
        if reaching.sum() < k:
            start = reaching
            continue
        above = _counts(a, lists, float(np.nextafter(pivot, np.inf)))
        if above.sum() < k:
            return pivot
        stop = above
    return _kth_largest(_products_between(a, b, start, stop), k - int(start.sum()))


def count_products_from(a: FloatArray, b: FloatArray, threshold: float) -> int:
    """How many of the products a[g, i] · b[g, j] are ≥ a threshold above 0."""
    if a.size * b.shape[1] <= _FEW:
        return int(np.count_nonzero(_all_products(a, b) >= threshold))
    return int(_counts(a, _padded(b), threshold).sum())


def _kth_largest(values: FloatArray, k: int) -> float:
    return float(np.partition(values, values.size - k)[values.size - k])


def _all_products(a: FloatArray, b: FloatArray) -> FloatArray:
    products: FloatArray = (a[:, :, None] * b[:, None, :]).ravel()
    return products


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


def _middle_product(a: FloatArray, lists: FloatArray, start: IntArray, stop: IntArray) -> float:
    """The median of the middle products of all runs, each weighted with its run's length."""
    middles = a * np.take_along_axis(lists, (start + stop) // 2, axis=1)
    lengths = (stop - start).ravel()
    order = np.argsort(middles, axis=None)
    reached = np.cumsum(lengths[order])
    return float(middles.ravel()[order[np.searchsorted(reached, (reached[-1] + 1) // 2)]])


def _products_between(a: FloatArray, b: FloatArray, start: IntArray, stop: IntArray) -> FloatArray:
    """All products a[g, i] · b[g, j] with start[g, i] ≤ j < stop[g, i]."""
    lengths = (stop - start).ravel()
    row = np.repeat(np.arange(a.size), lengths)
    ends = np.cumsum(lengths)
    column = np.arange(row.size) - np.repeat(ends - lengths, lengths) + start.ravel()[row]
    products: FloatArray = a.ravel()[row] * b[row // a.shape[1], column]
    return products
