"""The tally of quick-netdissect: all units of an image at once, label by label."""

import numpy as np
import torch

from benchmarks.synthetic import Labels


@torch.no_grad()
def tally(
    maps: np.ndarray, thresholds: np.ndarray, labels: Labels, device: str = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """Count the pixels of every unit's masks, by label and by category, on a torch device.

    maps: (I, U, h, w), float16 or float32; thresholds: (U,). The maps are upsampled in single precision by grid_sample,
    from the centres of equal cells, as in its `upsample_grid`, and clamped beyond the outer centres.

    Returns the pixels shared by unit and label, int64 (U, L + 1), and the units' active pixels, int64 (U, C),
    in the images that have a label of the category.
    """
    units, label_count = maps.shape[1], len(labels.label_category)
    levels = torch.from_numpy(thresholds).float().to(device)[:, None, None]
    intersection = torch.zeros(label_count, units, dtype=torch.int64, device=device)
    unit_area = torch.zeros(len(labels.categories), units, dtype=torch.int64, device=device)
    for low, planes, whole_labels in zip(maps, labels.planes, labels.whole_labels, strict=True):
        whole_planes = [np.full(planes.shape[1:], label) for label in whole_labels]
        segmentation = torch.from_numpy(np.stack([*planes, *whole_planes]).astype(np.int64)).to(device)
        upsampled = torch.nn.functional.grid_sample(
            torch.from_numpy(low).to(device).float()[None],
            upsample_grid(low.shape[1:], tuple(segmentation.shape[1:])).to(device),
            padding_mode="border",
            align_corners=True,  # the default at that time
        )
        active = upsampled > levels
        area = active.int().view(units, -1).sum(1)
        present = segmentation.unique()
        present = present[present > 0].tolist()
        for label in present:
            shared = active * (segmentation == label).any(0)
            intersection[label] += shared.int().view(units, -1).sum(1)
        for category in set(labels.label_category[present].tolist()):
            unit_area[category] += area
    return intersection.cpu().numpy().T, unit_area.cpu().numpy().T


def upsample_grid(size: tuple[int, ...], new_size: tuple[int, ...]) -> torch.Tensor:
    """Return the place in the map of each position of the upsampled map, as grid_sample takes it: (1, H, W, 2).

    -1 and 1 are the centres of the outer cells; a cell is H / h positions long, the first centre at (H / h - 1) / 2.
    """
    axes = []
    for cells, positions in zip(size, new_size, strict=True):
        scale = positions / cells
        place = torch.arange(positions, dtype=torch.float32) - (scale - 1) / 2
        axes.append(place * 2 / (scale * max(cells - 1, 1)) - 1)
    rows, columns = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([columns, rows], dim=-1)[None]
