"""Tallies on a torch device, for GPUs: the same integers as `kernels`, from whole-block operations.

The host needs to know how many maps of each image of a block have a mask; this is copied back while the block before
is computed. The labels of all images stay on the device, as bits.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.dissect.concept_data import ConceptData, LabelBlock
from workflow_scripts.dissect.maps import LayerMaps
from workflow_scripts.dissect.parallel import in_order
from workflow_scripts.dissect.tallies import Pairing, Tally, TallySettings
from workflow_scripts.dissect.tensors import Blocks, DeviceBlock, interpolate, to_device
from workflow_scripts.shared.files import UserError

PIXELS_AT_ONCE = 2**27  # of masks, or of label masks; bounds memory
TILE = 64  # active maps of an image that are counted together
IMAGES_AT_ONCE = 256  # images whose label masks are read together
EXACT_IN_HALF = 2048  # half precision holds every whole number up to this one, so products of masks are exact


class Labels:
    """The labels of all images of a concept set, on a device.

    Each image has entries: first one that all pixels carry, with an additional label L, so that an intersection with it
    is an area; then its labels. `row` int64 (E) is the row of `bits`, uint8 (M + 2, H, bytes), lowest bits first, with
    an entry's pixels; row M has no pixels and row M + 1 has all. `label` int64 (E) has the entries' labels; `start`
    int64 (images + 1), also on the host, the first entry of each image. `counts_for` bool (images, C) is as in a
    LabelBlock.
    """

    def __init__(self, concepts: ConceptData, with_category: bool, each_plane: bool, device: str, threads: int):
        """`with_category` and `each_plane` are as `ConceptData.block` takes them; `threads` threads decode.

        Raises:
            UserError: the labels do not fit the device, or the file is damaged.
        """
        self.device = torch.device(device)
        self.height, self.width = concepts.height, concepts.width
        images = len(concepts.image_has_category)
        runs = [np.arange(first, min(first + IMAGES_AT_ONCE, images)) for first in range(0, images, IMAGES_AT_ONCE)]
        mask_count = concepts.mask_count(each_plane)
        self._require_room(concepts, mask_count)
        shape = (mask_count + 2, self.height, concepts.row_bytes)
        self.bits = torch.zeros(shape, dtype=torch.uint8, device=self.device)
        blocks, self.nothing = [], 0
        for block in in_order(lambda run: concepts.block(run, with_category, each_plane), runs, threads):
            masks = torch.from_numpy(block.masks.view(np.uint8)).view(len(block.masks), *shape[1:])
            self.bits[self.nothing : self.nothing + len(masks)] = to_device(masks, self.device)
            self.nothing += len(masks)
            blocks.append(block._replace(masks=None))
        self.bits[self.nothing + 1] = 255
        self.start, label, row = entries_of(blocks, len(concepts.label_number))
        self.starts, self.label, self.row, self.counts_for = (
            to_device(table, self.device)
            for table in (self.start, label, row, np.concatenate([block.counts_for for block in blocks]))
        )

    def _require_room(self, concepts: ConceptData, mask_count: int) -> None:
        size = mask_count * self.height * concepts.row_bytes
        free = torch.cuda.mem_get_info(self.device)[0] if self.device.type == "cuda" else np.inf
        if size > free / 2:
            raise UserError(
                f"{concepts.path}: its label masks take {size / 1e9:.1f} GB and the GPU has {free / 1e9:.1f} GB free:"
                " set gpus to 0, or use a larger card"
            )

    def most_entries(self, images: np.ndarray) -> int:
        """The largest number of entries of one of these images (n)."""
        return int((self.start[images + 1] - self.start[images]).max())

    def entries(self, images: Tensor, most: int) -> tuple[Tensor, Tensor]:
        """The rows and labels of images (n), int64 (n, most); images with fewer entries are padded with empty ones."""
        place = self.starts[images][:, None] + torch.arange(most, device=self.device)
        there = place < self.starts[images + 1][:, None]
        place = torch.where(there, place, self.starts[images][:, None])
        return torch.where(there, self.row[place], self.nothing), self.label[place]

    def unpack(self, rows: Tensor, dtype: torch.dtype) -> Tensor:
        """The pixels of entries (...): 0 or 1, (..., H, W)."""
        bits = self.bits[rows][..., None] >> torch.arange(8, dtype=torch.uint8, device=self.device)
        return (bits & 1).flatten(-2)[..., : self.width].to(dtype)


def entries_of(blocks: list[LabelBlock], labels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The start of each image's entries, and each entry's label and row, for images in blocks: see `Labels`."""
    mask_counts, whole_counts = (
        np.concatenate([np.diff(starts) for starts in of_blocks])
        for of_blocks in ([block.mask_start for block in blocks], [block.whole_start for block in blocks])
    )
    images, masks = np.arange(len(mask_counts)), mask_counts.sum()
    image = np.concatenate([images, np.repeat(images, mask_counts), np.repeat(images, whole_counts)])
    label = np.concatenate(
        [
            np.full(len(images), labels),
            *(block.mask_label for block in blocks),
            *(block.whole_label for block in blocks),
        ]
    )
    every = masks + 1
    row = np.concatenate([np.full(len(images), every), np.arange(masks), np.full(whole_counts.sum(), every)])
    order = np.argsort(image, kind="stable")
    return np.searchsorted(image[order], np.arange(len(images) + 1)), label[order], row[order]


def tally_layer(maps: LayerMaps, labels: Labels, settings: TallySettings, pairing: Pairing, threads: int) -> Tally:
    """Count the tallies of a layer like `tallies.tally_layer`, on the device of `labels`."""
    tally = TensorTally(settings, labels, pairing)
    blocks = Blocks(maps, labels.device, threads)
    before: list[tuple[DeviceBlock, Active]] = []
    for block in blocks:
        with blocks.on_stream():
            found = tally.find_active(block)
        for waiting in before:
            tally.add(blocks, *waiting)
        before = [(block, found)]
    for waiting in before:
        tally.add(blocks, *waiting)
    return tally.fetch()


class Active(NamedTuple):
    """Which maps of a block have a mask: bool (K) and, on the host once `counted` has happened, how many per image."""

    maps: Tensor
    counts: Tensor
    counted: torch.cuda.Event | None


class TensorTally:
    """The counts of one layer on a device: intersections (T, L + 1, U), unit areas (T, U, C), int64."""

    def __init__(self, settings: TallySettings, labels: Labels, pairing: Pairing):
        device = labels.device
        self.settings, self.labels, self.partner = settings, labels, pairing.partner
        self.cut = to_device(settings.cut, device)
        # The label of areas has no category, so it gets an additional one.
        self.category = to_device(np.append(settings.label_category, settings.categories).astype(np.int64), device)
        self.partners, self.targets = (to_device(table, device) for table in pairing)
        units, count = len(settings.cut), len(settings.label_category)
        self.intersection = torch.zeros(settings.tallies, count + 1, units, dtype=torch.int64, device=device)
        self.unit_area = torch.zeros(settings.tallies, units, settings.categories, dtype=torch.int64, device=device)

    def find_active(self, block: DeviceBlock) -> Active:
        """Find the maps of a block that have a mask."""
        cut = self.cut[block.unit]
        maps = block.values.amax(1).float() > cut
        if self.settings.to.border:
            maps |= cut < 0
        counts = torch.zeros(block.images.stop - block.images.start, dtype=torch.int64, device=maps.device)
        counts.index_add_(0, block.image, maps.long())
        if maps.device.type != "cuda":
            return Active(maps, counts, None)
        host = torch.empty(counts.shape, dtype=counts.dtype, pin_memory=True).copy_(counts, non_blocking=True)
        return Active(maps, host, torch.cuda.current_stream().record_event())

    def add(self, blocks: Blocks, block: DeviceBlock, active: Active) -> None:
        """Add a block; its active maps are counted in tiles, of one image each."""
        blocks.use(block)
        if active.counted:
            active.counted.synchronize()  # the host waits for the device only here
            active.maps.record_stream(torch.cuda.current_stream())
        counts = active.counts.numpy()
        total = int(counts.sum())
        if not total:
            return
        device, tile = block.values.device, min(TILE, int(counts.max()))
        # The places of the active maps; nonzero would make the host wait.
        place = torch.where(active.maps, active.maps.cumsum(0) - 1, total)
        found = torch.empty(total + 1, dtype=torch.int64, device=device)
        found.scatter_(0, place, torch.arange(len(place), device=device))
        tiles = -(-counts // tile)
        image = np.repeat(np.arange(len(counts)), tiles)
        turn = np.arange(len(image)) - np.repeat(np.cumsum(tiles) - tiles, tiles)
        last = np.cumsum(counts)[image]
        first = last - counts[image] + turn * tile
        pixels = self.labels.height * self.labels.width
        most = max(self.labels.most_entries(partner[block.images]) for partner in self.partner)
        step = max(1, PIXELS_AT_ONCE // (max(tile, most) * pixels))
        on_device = to_device(np.stack([first, last, image + block.images.start]), device)
        for begin in range(0, len(image), step):
            here = slice(begin, begin + step)
            slot = on_device[0, here, None] + torch.arange(tile, device=device)
            there = slot < on_device[1, here, None]
            chosen = found[torch.where(there, slot, 0)]
            unit = block.unit[chosen]
            cut = torch.where(there, self.cut[unit], torch.inf)
            masks = self.draw(block.values[chosen.flatten()], cut)
            images = image[here] + block.images.start
            for partner in range(len(self.partner)):
                self.count(masks, unit, partner, images, on_device[2, here])

    @property
    def part(self) -> int:
        """The number of rows of label maps counted at once; 0 if half precision cannot count even one."""
        return EXACT_IN_HALF // self.labels.width

    def split(self, pixels: Tensor) -> Tensor:
        """Split pixels (n, k, rows, W) into parts that half precision can count: (n, parts, k, rows of a part, W)."""
        return pixels.unflatten(2, (-1, self.part or pixels.shape[2])).transpose(1, 2)

    def draw(self, values: Tensor, cut: Tensor) -> Tensor:
        """Where maps (n * k, h * w) exceed `cut` (n, k): 0 or 1, (n * parts, k, pixels), parts as in `split`."""
        grid = self.settings.to
        height, width = self.labels.height, self.labels.width
        rows = -(-height // self.part) * self.part if self.part else height
        h = len(grid.row_reach[0]) - 2 * grid.border
        pixels = interpolate(values.unflatten(1, (h, -1)), grid, rows)
        parts = self.split(pixels.view(*cut.shape, rows, width))
        masks = torch.empty(parts.shape, dtype=torch.half if self.part else torch.float, device=pixels.device)
        torch.gt(parts, cut[:, None, :, None, None], out=masks)
        return masks.flatten(3).flatten(0, 1)

    def count(self, masks: Tensor, unit: Tensor, partner: int, images: np.ndarray, on_device: Tensor) -> None:
        """Add what masks, drawn for the units (n, k) on images (n), share with the labels of the images' partners."""
        labels = self.labels
        met = self.partner[partner, images]
        most = labels.most_entries(met)
        met = self.partners[partner, on_device]
        rows, label = labels.entries(met, most)
        pixels = labels.unpack(rows, masks.dtype)
        missing = -pixels.shape[2] % (self.part or 1)
        pixels = self.split(torch.nn.functional.pad(pixels, (0, 0, 0, missing))).flatten(3).flatten(0, 1)
        shared = torch.bmm(masks, pixels.transpose(1, 2)).unflatten(0, (len(label), -1))
        shared = shared.sum(1, dtype=torch.float).long()  # (n, k, most)
        target = self.targets[partner, on_device][:, None]
        place = (target[..., None] * self.intersection.shape[1] + label[:, None]) * self.intersection.shape[2]
        self.intersection.view(-1).index_add_(0, (place + unit[..., None]).flatten(), shared.flatten())
        counts_for = labels.counts_for[met][:, None]
        if self.settings.in_mask:
            touched = torch.zeros(*unit.shape, self.settings.categories + 1, dtype=torch.int64, device=unit.device)
            category = self.category[label][:, None].expand_as(shared)
            counts_for = counts_for & (touched.scatter_add_(2, category, shared)[..., :-1] > 0)
        area = shared[..., :1] * counts_for
        self.unit_area.flatten(0, 1).index_add_(
            0, (target * self.unit_area.shape[1] + unit).flatten(), area.flatten(0, 1)
        )

    def fetch(self) -> Tally:
        """Return the counts on the host."""
        tally = Tally(self.settings)
        tally.intersection, tally.unit_area = self.intersection[:, :-1].cpu().numpy(), self.unit_area.cpu().numpy()
        return tally
