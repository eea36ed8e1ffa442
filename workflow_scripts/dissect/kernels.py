"""The compiled inner loops of thresholds and tallies, for the CPU.

All are in this one file because compiled code is cached between runs and rebuilt only if its own file changes. Each
runs on one thread and releases the interpreter's lock. Half-precision values are passed as uint16, their bit patterns,
others as float32; the values of a map are one row.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, njit, types
from numba.np.arrayobj import make_array

from workflow_scripts.data.label_masks import WORD_BITS

# Unsigned: an index that might be negative keeps a loop from being vectorised.
WORD = np.uint64(WORD_BITS)
ONE = np.uint64(1)
LANES = 16
MASKS_AT_ONCE = 64  # of an image
LARGEST = np.finfo(np.float32).max
# Any, because Numba's type hints count the compiler's context among the arguments of each call.
intrinsic: Any = extending.intrinsic


def compiled(kernel: Callable) -> Callable:
    """Compile a kernel; keep its code for later runs, if there is a folder for it."""
    try:
        return njit(cache=True, nogil=True)(kernel)
    except RuntimeError:  # neither this folder, nor the user's cache, nor NUMBA_CACHE_DIR can be written
        return njit(nogil=True)(kernel)


@intrinsic
def single(_context, _value):
    """Return a value as float32: it is a float32 already, or the bit pattern of a half-precision number."""

    def generate(_context, builder, signature, arguments):
        if signature.args[0] == types.float32:
            return arguments[0]
        return builder.fpext(builder.bitcast(arguments[0], ir.HalfType()), ir.FloatType())

    return types.float32(_value), generate


@intrinsic
def bits(_context, _value):
    """The bit pattern of a value, uint32; for a half-precision number, in the upper half."""

    def generate(_context, builder, signature, arguments):
        if signature.args[0] == types.float32:
            return builder.bitcast(arguments[0], ir.IntType(32))
        return builder.shl(builder.zext(arguments[0], ir.IntType(32)), ir.Constant(ir.IntType(32), 16))

    return types.uint32(_value), generate


@intrinsic
def ones(_context, _word):
    """The number of ones in a uint64."""

    def generate(_context, builder, _signature, arguments):
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


def vector_pointer(context, builder, kind, array, place, element, lanes):
    """A pointer to `lanes` elements, from the flat position `place`, of an array whose Numba type is `kind`."""
    data = make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [place]), ir.VectorType(element, lanes).as_pointer())


def repeated(builder, value, lanes):
    """A vector of `lanes` copies of a float32."""
    undefined = ir.Constant(ir.VectorType(ir.FloatType(), lanes), ir.Undefined)
    once = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(once, undefined, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes))


@intrinsic
def blended_above(_context, _rows, _steps, _place, _weight, _threshold):
    """Where a + weight * step is greater than the threshold: the bits of a uint64.

    a and step are the 64 values of `rows` and `steps`, float32, from the flat position `place`. This is written in
    vectors because the compiler finds no good code for packing comparisons into bits.
    """

    def generate(context, builder, signature, arguments):
        *arrays, place, weight, threshold = arguments
        a, step = (
            builder.load(vector_pointer(context, builder, kind, array, place, ir.FloatType(), WORD_BITS), align=4)
            for kind, array in zip(signature.args[:2], arrays, strict=True)
        )
        values = builder.fadd(a, builder.fmul(repeated(builder, weight, WORD_BITS), step))
        above = builder.fcmp_ordered(">", values, repeated(builder, threshold, WORD_BITS))
        return builder.bitcast(above, ir.IntType(WORD_BITS))

    return types.uint64(_rows, _steps, types.uint64, types.float32, types.float32), generate


@intrinsic
def subtract(_context, _out, _rows, _lower, _upper):
    """Write to `out`, from the flat position `upper`, 64 values of `rows` from `lower` minus those from `upper`."""

    def generate(context, builder, signature, arguments):
        def pointer(array, place):
            kind = signature.args[array]
            return vector_pointer(context, builder, kind, arguments[array], arguments[place], ir.FloatType(), WORD_BITS)

        lower, upper = (builder.load(pointer(1, place), align=4) for place in (2, 3))
        builder.store(builder.fsub(lower, upper), pointer(0, 3), align=4)
        return context.get_dummy_value()

    return types.void(_out, _rows, types.uint64, types.uint64), generate


@intrinsic
def blend(_context, _out, _place, _weights, _first, _a, _difference):
    """Write a + weight * difference for 16 weights, from the flat position `first`, to `place` of `out`: float32."""

    def generate(context, builder, signature, arguments):
        out, weights = (
            vector_pointer(context, builder, signature.args[i], arguments[i], arguments[i + 1], ir.FloatType(), LANES)
            for i in (0, 2)
        )
        a, difference = (repeated(builder, value, LANES) for value in arguments[4:])
        builder.store(builder.fadd(a, builder.fmul(builder.load(weights, align=4), difference)), out, align=4)
        return context.get_dummy_value()

    return types.void(_out, types.uint64, _weights, types.uint64, types.float32, types.float32), generate


@intrinsic
def lanes_outside(_context, _values, _start, _least, _most):
    """Which of 16 values, from the flat position `start`, lie outside two bounds: the bits of a uint32.

    Lower 16 bits: NaN or above `most`; upper 16 bits: below `least`.
    """

    def generate(context, builder, signature, arguments):
        values, start, least, most = arguments
        half = signature.args[0].dtype == types.uint16
        element = ir.HalfType() if half else ir.FloatType()
        pointer = vector_pointer(context, builder, signature.args[0], values, start, element, LANES)
        loaded = builder.load(pointer, align=2 if half else 4)
        if half:
            loaded = builder.fpext(loaded, ir.VectorType(ir.FloatType(), LANES))
        above, below = (
            builder.zext(builder.bitcast(found, ir.IntType(LANES)), ir.IntType(32))
            for found in (
                builder.fcmp_unordered(">", loaded, repeated(builder, most, LANES)),
                builder.fcmp_ordered("<", loaded, repeated(builder, least, LANES)),
            )
        )
        return builder.or_(above, builder.shl(below, ir.Constant(ir.IntType(32), LANES)))

    return types.uint32(_values, types.uint64, types.float32, types.float32), generate


@intrinsic
def lowest_one(_context, _word):
    """The place of the lowest one of a uint16 that is not 0."""

    def generate(_context, builder, _signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint16(types.uint16), generate


@compiled
def find_active(values, unit, cut, zeros, first, last, active):
    """Write to `active` which maps from `first` to `last` have a value above their unit's `cut`; return how many.

    With `zeros`, each map has a border of zeros.
    """
    count = 0
    for entry in range(first, last):
        threshold = cut[unit[entry]]
        some = zeros and np.float32(0) > threshold
        for place in range(values.shape[1]):
            some |= single(values[entry, place]) > threshold
        active[count] = entry
        count += some
    return count


@compiled
def new_knots(pixels, w, border):
    """Scratch space for the knots of a map of `pixels` values in rows of `w`, surrounded by zeros: float32."""
    return np.zeros((pixels // w + 2 * border, w + 2 * border), np.float32)


@compiled
def new_across(height, width):
    """Scratch space for rows of knots interpolated along x, float32 (height, width), with spare room at the end."""
    return np.full(height * width + LANES, -np.inf, np.float32)[: height * width].reshape(height, width)


@compiled
def column_spans(grid, knots):
    """For each column of knots, the first position that is not left of it, then the end; and padded weights.

    Weights after the last position are NaN, so that values interpolated there are above no threshold.
    """
    span = np.full(knots + 1, grid.column_weight.size, np.int64)
    for x in range(grid.column_weight.size - 1, -1, -1):
        span[: grid.columns[0, x] + 1] = x
    weight = np.full(grid.column_weight.size + LANES, np.nan, np.float32)
    weight[: grid.column_weight.size] = grid.column_weight
    return span, weight


@compiled
def interpolate_columns(knot, y, span, weight, first, last, across):
    """Interpolate row y of the knots along x into across[y], between the columns of knots `first` to `last`.

    This overwrites some lanes to the right of them and of the row, so rows are interpolated from first to last.
    """
    for k in range(first, last):
        a = knot[y, k]
        difference = knot[y, min(k + 1, knot.shape[1] - 1)] - a
        for x in range(span[k], span[k + 1], LANES):
            blend(across, np.uint64(y * across.shape[1] + x), weight, np.uint64(x), a, difference)


@compiled
def draw_mask(values, entry, threshold, grid, span, weight, knot, across, step, mask):
    """Draw into `mask` (H * words) where an interpolated map exceeds the threshold; return its first and last word.

    `knot` (h, w), `across` and `step` (h, words * 64), float32, are scratch space, each with the grid's border. The
    border of `knot` holds zeros, and no threshold is below what `across` holds to the right of the label map. `span`
    and `weight` are as `column_spans` makes them. Only parts that can exceed the threshold are interpolated: see
    `interpolation`.
    """
    border = grid.border
    h, w = knot.shape[0] - 2 * border, knot.shape[1] - 2 * border
    width = np.uint64(grid.column_weight.size)
    words = np.uint64(across.shape[1]) // WORD
    top, bottom = np.uint64(grid.row_weight.size), np.uint64(0)
    left, right = width, np.uint64(0)
    for y in range(h):
        for x in range(w):
            value = single(values[entry, y * w + x])
            knot[y + border, x + border] = value
            if value > threshold:
                top = min(top, np.uint64(grid.row_reach[0, y + border]))
                bottom = max(bottom, np.uint64(grid.row_reach[1, y + border]))
                left = min(left, np.uint64(grid.column_reach[0, x + border]))
                right = max(right, np.uint64(grid.column_reach[1, x + border]))
    if border and np.float32(0) > threshold:
        top, bottom, left, right = np.uint64(0), np.uint64(grid.row_weight.size), np.uint64(0), width
    if top >= bottom or left >= right:
        return np.uint64(0), np.uint64(0)
    left, right = left // WORD, (right - ONE) // WORD + ONE
    leftmost, rightmost = grid.columns[0, left * WORD], grid.columns[0, min(right * WORD, width) - ONE]
    for y in range(grid.rows[0, top], grid.rows[1, bottom - ONE] + 1):
        interpolate_columns(knot, y, span, weight, leftmost, rightmost + 1, across)
    for y in range(grid.rows[0, top], grid.rows[0, bottom - ONE] + 1):
        below = np.uint64(min(y + 1, knot.shape[0] - 1))
        for word in range(left, right):
            subtract(step, across, (below * words + word) * WORD, (np.uint64(y) * words + word) * WORD)
    mask[top * words : bottom * words] = 0
    for y in range(top, bottom):
        upper = grid.rows[0, y] * words
        for word in range(left, right):
            mask[y * words + word] = blended_above(across, step, (upper + word) * WORD, grid.row_weight[y], threshold)
    return top * words, bottom * words


@compiled
def shared_pixels(mask, masks, m, first, last):
    """The number of pixels in both `mask` (words) and masks[m], from word `first` to `last`."""
    count = np.uint64(0)
    for word in range(first, last):
        count += ones(mask[word] & masks[m, word])
    return np.int64(count)


@compiled
def tally(values, unit, start, cut, w, grid, labels, partner, target, label_category, in_mask, intersection, unit_area):
    """Add the counts of a block of N images to T tallies: `intersection` (T, L, U) and `unit_area` (T, U, C), int64.

    Masks are drawn once, some of an image at a time, and then compared with the labels of one partner after another:
    so both stay in the cache, and counts of neighbouring units are adjacent.

    Args:
        values: maps (K, h * w).
        unit: the unit of each map (K).
        start: (N + 1); the maps of image i go from start[i] to start[i + 1].
        cut: float32 (U); a unit's mask is where its interpolated map is greater.
        w: the maps' width.
        grid: a Grid to the label maps' size.
        labels: a LabelBlock.
        partner: whose labels the images meet, int64 (m * N): image i those of partner[i], partner[N + i], ...
        target: the tally that each of these counts in, int64 (m * N).
        label_category: the primary category of each label (L).
        in_mask: whether an image counts for a category only if a label of the category lies in the unit's mask.
        intersection: the pixels that mask and label share are added to it.
        unit_area: the pixels of the mask, over the images that count for the category, are added to it.
    """
    images = start.size - 1
    height = grid.row_weight.size
    words = labels.masks.shape[1] // height
    knot = new_knots(values.shape[1], w, grid.border)
    across = new_across(knot.shape[0], words * WORD_BITS)
    step = np.empty_like(across)
    span, weight = column_spans(grid, knot.shape[1])
    masks = np.empty((MASKS_AT_ONCE, height * words), np.uint64)
    of_unit, area = np.empty(MASKS_AT_ONCE, np.int64), np.empty(MASKS_AT_ONCE, np.int64)
    extent = np.empty((MASKS_AT_ONCE, 2), np.uint64)
    active = np.empty(np.max(np.diff(start)) + 1, np.int64)
    shared = np.empty(np.max(np.diff(labels.mask_start)), np.int64)
    touched = np.zeros(unit_area.shape[2], np.bool_)
    for image in range(images):
        count = find_active(values, unit, cut, grid.border > 0, start[image], start[image + 1], active)
        for begin in range(0, count, MASKS_AT_ONCE):
            drawn = 0
            for place in range(begin, min(begin + MASKS_AT_ONCE, count)):
                u = unit[active[place]]
                first, last = draw_mask(
                    values, active[place], cut[u], grid, span, weight, knot, across, step, masks[drawn]
                )
                pixels = np.uint64(0)
                for word in range(first, last):
                    pixels += ones(masks[drawn, word])
                if pixels:
                    of_unit[drawn], area[drawn] = u, np.int64(pixels)
                    extent[drawn, 0], extent[drawn, 1] = first, last
                    drawn += 1
            for meeting in range(image, target.size, images):
                meet(
                    masks[:drawn], of_unit, area, extent, labels, partner[meeting], label_category, in_mask, shared,
                    touched, intersection[target[meeting]], unit_area[target[meeting]],
                )  # fmt: skip


@compiled
def meet(
    masks, of_unit, area, extent, labels, image, label_category, in_mask, shared, touched, intersection, unit_area
):
    """Add what masks share with the labels of an image to a tally: `intersection` (L, U) and `unit_area` (U, C).

    `shared`, int64, one for each label mask of an image, and `touched`, bool (C), are scratch space.
    """
    first_label = labels.mask_start[image]
    label_count = labels.mask_start[image + 1] - first_label
    for place in range(masks.shape[0]):
        u, first, last = of_unit[place], extent[place, 0], extent[place, 1]
        touched[:] = not in_mask
        # There are two loops so that the scattered additions of the second overlap.
        for m in range(label_count):
            shared[m] = shared_pixels(masks[place], labels.masks, first_label + m, first, last)
        for m in range(label_count):
            label = labels.mask_label[first_label + m]
            intersection[label, u] += shared[m]
            touched[label_category[label]] |= shared[m] > 0
        for m in range(labels.whole_start[image], labels.whole_start[image + 1]):
            intersection[labels.whole_label[m], u] += area[place]
            touched[label_category[labels.whole_label[m]]] = True
        for c in range(touched.size):
            if touched[c] and labels.counts_for[image, c]:
                unit_area[u, c] += area[place]


@compiled
def trailing_zeros(word):
    """The place of the lowest one of a uint64 that is not 0."""
    return ones((word & (~word + ONE)) - ONE)


@compiled
def heat(labels, place, row, counts):
    """Add where labels lie to `counts` (K, S, H, words * 64), int32: how many images have a label on each pixel.

    Args:
        labels: a LabelBlock of N images.
        place: the place of each label (L) among the K, or below 0.
        row: the place of each image among the S, int64 (N), or below 0.
        counts: the counts to add to.
    """
    words = counts.shape[3] // WORD_BITS
    for image in range(row.size):
        if row[image] < 0:
            continue
        for m in range(labels.mask_start[image], labels.mask_start[image + 1]):
            k = place[labels.mask_label[m]]
            if k >= 0:
                for word in range(labels.masks.shape[1]):
                    bits_left = labels.masks[m, word]
                    while bits_left:
                        x = word % words * WORD_BITS + trailing_zeros(bits_left)
                        counts[k, row[image], word // words, x] += 1
                        bits_left &= bits_left - ONE
        for m in range(labels.whole_start[image], labels.whole_start[image + 1]):
            k = place[labels.whole_label[m]]
            if k >= 0:
                counts[k, row[image]] += 1


@compiled
def add_heat(values, unit, start, cut, w, grid, row, place, counts, shared):
    """Add to `shared` (S, U), int64, the sums of `counts` in the masks of a block of N images.

    Args:
        values: as for `tally`.
        unit: as for `tally`.
        start: as for `tally`.
        cut: as for `tally`.
        w: as for `tally`.
        grid: as for `tally`.
        row: as for `heat`.
        place: the place of each unit among the K, int64 (U), or below 0.
        counts: the counts that `heat` made.
        shared: the sums to add to.
    """
    words = np.uint64(counts.shape[3]) // WORD
    knot = new_knots(values.shape[1], w, grid.border)
    across = new_across(knot.shape[0], words * WORD)
    step = np.empty_like(across)
    span, weight = column_spans(grid, knot.shape[1])
    mask = np.empty(counts.shape[2] * words, np.uint64)
    active = np.empty(np.max(np.diff(start)) + 1, np.int64)
    for image in range(start.size - 1):
        if row[image] < 0:
            continue
        count = find_active(values, unit, cut, grid.border > 0, start[image], start[image + 1], active)
        for entry in active[:count]:
            u = unit[entry]
            k = place[u]
            if k < 0:
                continue
            first, last = draw_mask(values, entry, cut[u], grid, span, weight, knot, across, step, mask)
            total = np.int64(0)
            for word in range(first, last):
                bits_left = mask[word]
                while bits_left:
                    x = word % words * WORD + trailing_zeros(bits_left)
                    total += counts[k, row[image], word // words, x]
                    bits_left &= bits_left - ONE
            shared[row[image], u] += total


@compiled
def bin_of(value, pattern, shift):
    """The bin of a sample: 16 bits, from bit `shift`, of its bit pattern, transformed to rise with the number."""
    if value == 0:
        pattern = np.uint32(0)  # -0 and 0 are one number
    rising = pattern ^ (np.uint32(0xFFFFFFFF) if pattern & np.uint32(0x80000000) else np.uint32(0x80000000))
    return np.uint64((rising >> np.uint32(shift)) & np.uint32(0xFFFF))


@compiled
def increment(histogram, waiting, count):
    """Add 1 to the bins at the first `count` flat positions of `waiting`, and return 0, the new count.

    Bins are far apart in memory: memory delays overlap only in a loop that does nothing but add.
    """
    for place in range(count):
        histogram[waiting[place]] += np.uint32(1)
    return 0


@compiled
def count_samples(values, unit, w, grid, shift, low, high, minimum, maximum, histogram):
    """Add the samples of maps (K, h * w) of the units `unit` (K) to the units' histograms, uint32 (U, 65536).

    A sample above low[u] and not above high[u] is counted, in the bin given by 16 bits, from bit `shift`, of its rising
    bit pattern. If the grid has rows, samples are taken from the interpolated map, otherwise they are the values.
    It updates the extremes of the values, float32 (U), and returns the unit of a value that is not finite, or -1.
    """
    border = grid.border
    knot = new_knots(values.shape[1], w, border)
    across = new_across(knot.shape[0], grid.column_weight.size)
    span, weight = column_spans(grid, knot.shape[1])
    raw = grid.row_weight.size == 0
    pixels = values.shape[1]
    bins = np.uint64(histogram.shape[1])
    flat = histogram.ravel()
    waiting = np.empty(max(2**12, 2 * pixels), np.uint64)
    count = 0
    for entry in range(values.shape[0]):
        u = unit[entry]
        least, most, limit = minimum[u], low[u], high[u]
        watched = min(most, maximum[u])  # a new maximum may lie in the floor's bin
        below = False
        above = border > 0 and np.float32(0) > most
        for first in range(0, pixels, LANES):
            if pixels >= LANES:
                # The last lanes overlap those before them; only the new ones are checked.
                start = min(first, pixels - LANES)
                outside = lanes_outside(values, np.uint64(entry * pixels + start), least, watched)
                below |= outside >> np.uint32(LANES) != 0
                found = np.uint16(outside) & (np.uint16(0xFFFF) << np.uint16(first - start))
            else:
                start, found = first, np.uint16(0)
                for lane in range(pixels):
                    value = single(values[entry, lane])
                    below |= value < least
                    if not value <= watched:
                        found |= np.uint16(1) << np.uint16(lane)
            while found:
                sample = values[entry, start + lowest_one(found)]
                found &= found - np.uint16(1)
                value = single(sample)
                if not value <= LARGEST:
                    return u
                maximum[u] = max(maximum[u], value)
                above |= value > most
                if raw and value > most and value <= limit:
                    waiting[count] = np.uint64(u) * bins + bin_of(value, bits(sample), shift)
                    count += 1
        if below:
            for place in range(pixels):
                value = single(values[entry, place])
                if value < -LARGEST:
                    return u
                minimum[u] = min(minimum[u], value)
        if count + pixels > waiting.size:
            count = increment(flat, waiting, count)
        if raw or not above:
            continue
        for place in range(pixels):
            knot[place // w + border, place % w + border] = single(values[entry, place])
        for y in range(knot.shape[0]):
            interpolate_columns(knot, y, span, weight, 0, knot.shape[1], across)
        for y in range(grid.row_weight.size):
            for x in range(across.shape[1]):
                a = across[grid.rows[0, y], x]
                value = a + grid.row_weight[y] * (across[grid.rows[1, y], x] - a)
                if value > most and value <= limit:
                    flat[np.uint64(u) * bins + bin_of(value, bits(value), shift)] += np.uint32(1)
    increment(flat, waiting, count)
    return -1


@compiled
def raise_floors(histogram, rank, floor, above, lowest, highest):
    """Raise each unit's floor to the bin of its rank[u]-th largest sample, if that was counted above the floor.

    `floor`, int64 (U), is the highest bin whose samples may not all have been counted; `above`, int64 (U), becomes the
    number of samples in higher bins. No sample is in a bin below `lowest` or above `highest`, int64 (U).
    """
    for u in range(floor.size):
        count = np.int64(0)
        for place in range(highest[u], max(floor[u], lowest[u] - 1), -1):
            here = np.int64(histogram[u, place])
            if count + here >= rank[u]:
                floor[u] = place
                break
            count += here
        above[u] = count
