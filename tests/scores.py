"""Scores of masks by other people's software: reads cases from a JSON file, prints their scores as JSON.

    scores.py CASES.json

A case: shape [depth, rows, columns], spacing_mm in the same order, truth and prediction as strings of 0 and 1.
Needs numpy, scipy and surface-distance.
"""

import json
import sys

import numpy
import scipy.stats
from surface_distance import metrics


def scores(case):
    shape = case["shape"]
    truth, prediction = (
        numpy.frombuffer(case[name].encode(), numpy.uint8).reshape(shape) == ord("1") for name in ("truth", "prediction")
    )
    distances = metrics.compute_surface_distances(truth, prediction, case["spacing_mm"])
    both = (truth & prediction).sum()
    finite = lambda value: float(value) if numpy.isfinite(value) else None
    with numpy.errstate(invalid="ignore", divide="ignore"):
        return {
            "dice": finite(2 * both / (truth.sum() + prediction.sum())),
            "surface_dice": finite(metrics.compute_surface_dice_at_tolerance(distances, 0.42)),
            "hausdorff": finite(metrics.compute_robust_hausdorff(distances, 100)),
            "hausdorff_95": finite(metrics.compute_robust_hausdorff(distances, 95)),
            "mean_distances": [finite(value) for value in metrics.compute_average_surface_distance(distances)],
        }


def tests(pairs):
    first, second = numpy.array(pairs).T
    method = "exact" if len(set(abs(first - second))) == len(first) <= 25 else "approx"
    wilcoxon = scipy.stats.wilcoxon(first, second, zero_method="wilcox", correction=False, method=method)
    return {"wilcoxon": [float(wilcoxon.statistic), float(wilcoxon.pvalue)], "icc": icc(first, second)}


def icc(first, second):
    """ICC(2,1) from the two-way analysis of variance, written out with matrices."""
    table = numpy.stack([first, second], axis=1)
    things, measurements = table.shape
    grand = table.mean()
    rows = measurements * ((table.mean(axis=1) - grand) ** 2).sum() / (things - 1)
    columns = things * ((table.mean(axis=0) - grand) ** 2).sum() / (measurements - 1)
    residual = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + grand
    error = (residual**2).sum() / ((things - 1) * (measurements - 1))
    return float((rows - error) / (rows + (measurements - 1) * error + measurements * (columns - error) / things))


def main():
    with open(sys.argv[1]) as file:
        asked = json.load(file)
    print(json.dumps({"masks": [scores(case) for case in asked["masks"]], "pairs": [tests(pairs) for pairs in asked["pairs"]]}))


if __name__ == "__main__":
    main()
