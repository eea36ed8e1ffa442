"""Thresholds and tallies in PyTorch, for GPUs: the same integers as `kernels`, from whole-block operations.

Nothing is fused: interpolation rounds after each operation, as `interpolation` defines it.
"""

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.dissect.concept_data import LabelBlock
from workflow_scripts.dissect.interpolation import Grid

PIXELS_AT_ONCE = 2**27  # of masks: bounds memory
IMAGES_AT_ONCE = 32  # and that of their label masks
SAMPLES_AT_ONCE = 2**24  # and of samples
EXACT_IN_HALF = 2048  # half precision holds every whole number up to here, so that products of masks are exact
SIGN, WORD = 0x80000000, 0xFFFFFFFF


def interpolate(maps: Tensor, grid: Grid) -> Tensor:
    """Interpolate maps (K, h, w) to float32 (K, H, W)."""
    maps = maps.float()
    for axis, knots, weight in ((2, grid.columns, grid.column_weight), (1, grid.rows, grid.row_weight)):
        first, second = torch.from_numpy(knots.astype(np.int64)).to(maps.device)
        weight = torch.from_numpy(weight).to(maps.device)
        a = maps.index_select(axis, first)
        step = maps.index_select(axis, second).sub_(a)
        step.mul_(weight if axis == 2 else weight[:, None])
        maps = step.add_(a)
    return maps


def tally(
    values: np.ndarray,
    unit: np.ndarray,
    start: np.ndarray,
    cut: np.ndarray,
    width: int,
    grid: Grid,
    labels: LabelBlock,
    label_category: np.ndarray,
    in_mask: bool,
    intersection: Tensor,
    unit_area: Tensor,
) -> None:
    """`kernels.tally` on the device of `intersection` (L, U) and `unit_area` (U, C), int64."""
    device = intersection.device
    maps = torch.from_numpy(values).to(device).unflatten(1, (-1, width))
    units, cuts = torch.from_numpy(unit.astype(np.int64)).to(device), torch.from_numpy(cut).to(device)
    image = torch.from_numpy(np.repeat(np.arange(len(start) - 1), np.diff(start))).to(device)
    active = (maps.amax((1, 2)).float() > cuts[units]).nonzero()[:, 0]
    maps, units, image = maps[active], units[active], image[active]
    # The first active map of each image, and the number of all.
    first = torch.searchsorted(image, torch.arange(len(start), device=device)).cpu().numpy()
    most = int(np.diff(first).max(initial=0))
    if not most:
        return
    step = min(IMAGES_AT_ONCE, max(1, PIXELS_AT_ONCE // (most * len(grid.row_weight) * len(grid.column_weight))))
    for begin in range(0, len(start) - 1, step):
        end = min(begin + step, len(start) - 1)
        here = slice(first[begin], first[end])
        if here.start < here.stop:
            slot = torch.arange(here.start, here.stop, device=device)
            slot -= torch.from_numpy(first).to(device)[image[here]]
            place = (image[here] - begin, slot)
            masks = interpolate(maps[here], grid) > cuts[units[here], None, None]
            label_masks, label = unpack_labels(labels, begin, end, grid, device)
            count(masks, place, units[here], label_masks, label, label_category, in_mask,
                  torch.from_numpy(labels.counts_for[begin:end]).to(device), intersection, unit_area)  # fmt: skip


def count(
    masks: Tensor,
    place: tuple[Tensor, Tensor],
    units: Tensor,
    label_masks: Tensor,
    label: Tensor,
    label_category: np.ndarray,
    in_mask: bool,
    counts_for: Tensor,
    intersection: Tensor,
    unit_area: Tensor,
) -> None:
    """Add the counts of masks (K, H, W): that of unit units[k] on image place[0][k], the place[1][k]-th there.

    `label_masks` float16 (images, l, pixels) are those of the labels `label` (images, l).
    """
    images, slots = len(label), int(place[1].max()) + 1
    padded = label_masks.new_zeros(images, slots, label_masks.shape[2])
    padded[:, :, : masks[0].numel()][place] = masks.flatten(1).half()
    blocks = -(-padded.shape[2] // EXACT_IN_HALF)
    left = padded.unflatten(2, (blocks, -1)).transpose(1, 2).flatten(0, 1)
    right = label_masks.unflatten(2, (blocks, -1)).transpose(1, 2).flatten(0, 1)
    shared = torch.bmm(left, right.transpose(1, 2)).unflatten(0, (images, blocks)).sum(1, dtype=torch.float32).long()
    shared = shared[place]  # (K, l)
    label = label[place[0]]
    intersection.view(-1).index_add_(0, (label * intersection.shape[1] + units[:, None]).flatten(), shared.flatten())
    area = masks.flatten(1).sum(1)[:, None] * counts_for[place[0]]
    if in_mask:
        category = torch.from_numpy(label_category.astype(np.int64)).to(label.device)[label]
        touched = torch.zeros_like(area).scatter_add_(1, category, shared)
        area = area * (touched > 0)
    unit_area.index_add_(0, units, area)


def unpack_labels(labels: LabelBlock, begin: int, end: int, grid: Grid, device: torch.device) -> tuple[Tensor, Tensor]:
    """The labels of some images of a LabelBlock, as many a column as the most that an image has.

    Returns masks float16 (images, l, pixels), padded with zeros to whole blocks of pixels, and labels int64
    (images, l), 0 where an image has fewer.
    """
    numbers = [
        np.concatenate(
            [
                labels.mask_label[labels.mask_start[i] : labels.mask_start[i + 1]],
                labels.whole_label[labels.whole_start[i] : labels.whole_start[i + 1]],
            ]
        )
        for i in range(begin, end)
    ]
    most = max(1, max(len(n) for n in numbers))
    padded = np.zeros((end - begin, most), np.int64)
    for row, n in zip(padded, numbers, strict=True):
        row[: len(n)] = n
    chosen = slice(labels.mask_start[begin], labels.mask_start[end])
    packed = torch.from_numpy(labels.masks[chosen].view(np.uint8)).to(device)  # bytes, lowest bits first
    pixels = (packed[..., None] >> torch.arange(8, device=device, dtype=torch.uint8)) & 1
    pixels = pixels.reshape(len(packed), len(grid.row_weight), 8 * packed.shape[1] // len(grid.row_weight))[
        ..., : len(grid.column_weight)
    ].flatten(1)
    size = pixels.shape[1]
    blocks = -(-size // EXACT_IN_HALF)
    masks = torch.zeros(end - begin, most, blocks * -(-size // blocks), dtype=torch.float16, device=device)
    counts = np.diff(labels.mask_start[begin : end + 1])
    image = np.repeat(np.arange(end - begin), counts)
    slot = np.arange(len(image)) - np.repeat(np.cumsum(counts) - counts, counts)
    masks[torch.from_numpy(image).to(device), torch.from_numpy(slot).to(device), :size] = pixels.half()
    for i in range(begin, end):
        masks[i - begin, counts[i - begin] : len(numbers[i - begin]), :size] = 1
    return masks, torch.from_numpy(padded).to(device)


def count_samples(
    values: np.ndarray,
    unit: np.ndarray,
    width: int,
    grid: Grid | None,
    shift: int,
    low: np.ndarray,
    high: np.ndarray,
    minimum: Tensor,
    maximum: Tensor,
    histogram: Tensor,
) -> int:
    """`kernels.count_samples` on the device of `histogram`, int32 (U, bins)."""
    device = histogram.device
    maps, units = torch.from_numpy(values).to(device), torch.from_numpy(unit.astype(np.int64)).to(device)
    low, high = torch.from_numpy(low).to(device), torch.from_numpy(high).to(device)
    finite = torch.isfinite(maps).all(1)
    if not finite.all():
        return int(units[~finite][0])
    minimum.scatter_reduce_(0, units, maps.amin(1).float(), "amin")
    most = maps.amax(1).float()
    maximum.scatter_reduce_(0, units, most, "amax")
    chosen = (most > low[units]).nonzero()[:, 0]
    samples_of_map = maps.shape[1] if grid is None else len(grid.row_weight) * len(grid.column_weight)
    for part in chosen.split(max(1, SAMPLES_AT_ONCE // samples_of_map)):
        samples, owner = maps[part], units[part][:, None]
        if grid is not None:
            samples = interpolate(samples.unflatten(1, (-1, width)), grid).flatten(1)
        counted = (samples.float() > low[owner]) & (samples.float() <= high[owner])
        bins = (rising_bits(samples[counted]) >> shift) & (histogram.shape[1] - 1)
        place = owner.expand_as(samples)[counted] * histogram.shape[1] + bins
        histogram.view(-1).index_add_(0, place, torch.ones_like(place, dtype=torch.int32))
    return -1


def rising_bits(samples: Tensor) -> Tensor:
    """32-bit patterns that rise with the numbers, int64; of half precision the upper 16 bits."""
    samples = samples + 0  # -0 and 0 are one number
    half = samples.dtype == torch.float16
    pattern = samples.view(torch.int16 if half else torch.int32).long()
    pattern = (pattern << 16 if half else pattern) & WORD
    return torch.where(pattern >= SIGN, pattern ^ WORD, pattern ^ SIGN)
