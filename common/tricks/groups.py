"""Groups of rows that one fold must hold, where two things can bind rows together."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def join_groups(subjects: np.ndarray, images: np.ndarray) -> np.ndarray:
    """(N,) int64, a group per row: rows of the same subject or the same image are in one group, and so on along the
    chain.

    subjects: (N,) int from 0, or what else belongs together, -1 where unknown. images: (N,) int, the same for identical
    ones.
    """
    people = subjects.max(initial=-1) + 1
    known = subjects >= 0
    nodes = people + np.unique(images, return_inverse=True)[1]
    size = nodes.max(initial=-1) + 1
    edges = coo_array((np.ones(known.sum(), dtype=bool), (subjects[known], nodes[known])), shape=(size, size))
    return connected_components(edges, directed=False)[1][nodes].astype(np.int64)
