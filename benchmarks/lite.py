"""The tally of NetDissect-Lite: image by image, unit by unit."""

import numpy as np
from PIL import Image

from benchmarks.synthetic import Labels


def tally(maps: np.ndarray, thresholds: np.ndarray, labels: Labels) -> tuple[np.ndarray, np.ndarray]:
    """Count the pixels of every unit's masks, by label and by category.

    maps: float64 (I, U, h, w), as NetDissect-Lite stores them; thresholds: (U,). The maps are upsampled with
    PIL (pixel centres, align_corners false).

    Returns the pixels shared by unit and label, int64 (U, L + 1), and the units' active pixels, int64 (U, C),
    in the images where a label of the category lies in the unit's mask.
    """
    label_count, category_count = len(labels.label_category), len(labels.categories)
    category_of_label = np.eye(category_count)[labels.label_category]
    intersection = np.zeros((maps.shape[1], label_count), np.int64)
    unit_area = np.zeros((maps.shape[1], category_count), np.int64)
    for image, (planes, whole_labels) in enumerate(zip(labels.planes, labels.whole_labels, strict=True)):
        height, width = planes.shape[1:]
        for unit, threshold in enumerate(thresholds):
            feature_map = maps[image, unit]
            if feature_map.max() > threshold:
                low = Image.fromarray(feature_map.astype(np.float32))
                mask = np.asarray(low.resize((width, height), Image.Resampling.BILINEAR))
                indexes = np.argwhere(mask > threshold)
                counts = np.bincount(planes[:, indexes[:, 0], indexes[:, 1]].ravel(), minlength=label_count)
                counts[0] = 0
                by_category = counts @ category_of_label
                intersection[unit] += counts
                for label in whole_labels:
                    by_category += category_of_label[label]
                    intersection[unit, label] += len(indexes)
                unit_area[unit] += len(indexes) * (by_category > 0)
    return intersection, unit_area
