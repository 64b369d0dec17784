"""Classifies series by their nearest neighbour: the simple model that a classifier of series must beat.

``python tools/bench/nearest_series.py X_TRAIN.ts X_TEST.ts`` prints the accuracy of one nearest neighbour by
Euclidean distance (over the steps that both series have, per step) and by dynamic time warping without a
window, for the values as they are and for channels scaled as ``ClassificationData`` scales them.
"""

import argparse

import numpy as np

from headway.timeseries.data import Scaler, read_ts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("train")
    parser.add_argument("test")
    args = parser.parse_args()
    train, test = read_ts(args.train), read_ts(args.test)
    names = [str(k) for k in range(train.features)]
    scaler = Scaler.fit(np.concatenate(train.series), names)
    for kind in ("as they are", "scaled"):
        known, asked = (
            [np.nan_to_num(scaler.forward(s) if kind == "scaled" else s) for s in part.series]
            for part in (train, test)
        )
        for name, distances in (("euclidean", euclidean), ("time warping", warped)):
            found = np.array([train.labels[distances(series, known).argmin()] for series in asked])
            right = int((found == test.labels).sum())
            print(f"{kind:12} {name:13} {right}/{len(found)} {right / len(found):.4f}")


def euclidean(series: np.ndarray, known: list[np.ndarray]) -> np.ndarray:
    """Returns the mean squared distance of a step to each known series, over the steps of the shorter one."""
    found = []
    for other in known:
        steps = min(len(series), len(other))
        found.append(((series[:steps] - other[:steps]) ** 2).sum() / steps)
    return np.array(found)


def warped(series: np.ndarray, known: list[np.ndarray]) -> np.ndarray:
    """Returns the cost of the cheapest alignment with each known series."""
    lengths = np.array([len(other) for other in known])
    padded = np.zeros((lengths.max(), len(known), series.shape[1]))
    for k, other in enumerate(known):
        padded[: len(other), k] = other
    rows = np.full((len(padded) + 1, len(known)), np.inf)
    rows[0] = 0.0
    for step in series:
        cost = ((padded - step) ** 2).sum(axis=2)
        after = np.full_like(rows, np.inf)
        for place in range(len(padded)):
            best = np.minimum(np.minimum(rows[place], rows[place + 1]), after[place])
            after[place + 1] = cost[place] + best
        rows = after
    return rows[lengths, np.arange(len(known))]


if __name__ == "__main__":
    main()
