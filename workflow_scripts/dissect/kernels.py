"""The compiled inner loops of thresholds and tallies, for the CPU.

All stand in this one file because compiled code is kept from run to run, and made anew only if its own file changes.
Each runs on one thread and releases the interpreter's lock. Half-precision values come as uint16, their bit patterns,
others as float32; a map's values lie in one row.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from workflow_scripts.data.label_masks import WORD_BITS

# Unsigned: an index that might be negative keeps a loop from being vectorised.
WORD = np.uint64(WORD_BITS)
ONE = np.uint64(1)
LANES = 16
LARGEST = np.finfo(np.float32).max


@intrinsic
def single(_context, _value):
    """float32 of a value: a float32 itself, or the bit pattern of a half-precision number."""

    def generate(_context, builder, signature, arguments):
        if signature.args[0] == types.float32:
            return arguments[0]
        return builder.fpext(builder.bitcast(arguments[0], ir.HalfType()), ir.FloatType())

    return types.float32(_value), generate


@intrinsic
def bits(_context, _value):
    """The bit pattern of a value, uint32; that of a half-precision number in the upper half."""

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


@intrinsic
def blended_above(_context, _rows, _upper, _lower, _weight, _threshold):
    """Where a + weight * (b - a) is greater than the threshold: bits of a uint64.

    a and b are the 64 values from the flat positions `upper` and `lower` on of `rows`, float32. Written in vectors
    because the compiler finds no good code for packing comparisons into bits.
    """

    def generate(context, builder, signature, arguments):
        vector = ir.VectorType(ir.FloatType(), WORD_BITS)
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), WORD_BITS), [0] * WORD_BITS)
        rows = make_array(signature.args[0])(context, builder, arguments[0])

        def load(position):
            pointer = builder.bitcast(builder.gep(rows.data, [position]), vector.as_pointer())
            return builder.load(pointer, align=4)

        def repeat(value):
            undefined = ir.Constant(vector, ir.Undefined)
            once = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
            return builder.shuffle_vector(once, undefined, zeros)

        _, upper, lower, weight, threshold = arguments
        a = load(upper)
        values = builder.fadd(a, builder.fmul(repeat(weight), builder.fsub(load(lower), a)))
        return builder.bitcast(builder.fcmp_ordered(">", values, repeat(threshold)), ir.IntType(WORD_BITS))

    return types.uint64(_rows, types.uint64, types.uint64, types.float32, types.float32), generate


@intrinsic
def lanes_above(_context, _values, _start, _threshold):
    """Which of 16 values, from the flat position `start` on, are NaN or above the threshold: bits of a uint16."""

    def generate(context, builder, signature, arguments):
        half = signature.args[0].dtype == types.uint16
        vector = ir.VectorType(ir.HalfType() if half else ir.FloatType(), LANES)
        values = make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.bitcast(builder.gep(values.data, [arguments[1]]), vector.as_pointer())
        loaded = builder.load(pointer, align=2 if half else 4)
        if half:
            loaded = builder.fpext(loaded, ir.VectorType(ir.FloatType(), LANES))
        undefined = ir.Constant(loaded.type, ir.Undefined)
        once = builder.insert_element(undefined, arguments[2], ir.Constant(ir.IntType(32), 0))
        repeated = builder.shuffle_vector(
            once, undefined, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        )
        return builder.bitcast(builder.fcmp_unordered(">", loaded, repeated), ir.IntType(LANES))

    return types.uint16(_values, types.uint64, types.float32), generate


@intrinsic
def lowest_one(_context, _word):
    """The place of the lowest one of a uint16 that is not 0."""

    def generate(_context, builder, _signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint16(types.uint16), generate


@njit(cache=True, nogil=True)
def find_active(values, unit, cut, first, last, active):
    """Write which of the maps `first` to `last` have a value above their unit's cut to `active`; return how many."""
    count = 0
    for entry in range(first, last):
        threshold = cut[unit[entry]]
        some = False
        for place in range(values.shape[1]):
            some |= single(values[entry, place]) > threshold
        active[count] = entry
        count += some
    return count


@njit(cache=True, nogil=True)
def interpolate_columns(knot, y, grid, first, last, across):
    """Interpolate row y of the knots (h, w) along x into across[y], from column `first` to `last`."""
    for x in range(first, last):
        a = knot[y, grid.columns[0, x]]
        across[y, x] = a + grid.column_weight[x] * (knot[y, grid.columns[1, x]] - a)


@njit(cache=True, nogil=True)
def draw_mask(values, entry, threshold, grid, knot, across, mask):
    """Draw where an interpolated map exceeds the threshold into `mask` (H * words); return its first and last word.

    `knot` (h, w) and `across` (h, words * 64), float32, are scratch space; `across` holds -infinity to the right of
    the label map. Only what can exceed the threshold is interpolated: see `interpolation`.
    """
    h, w = knot.shape
    width = np.uint64(grid.column_weight.size)
    words = np.uint64(across.shape[1]) // WORD
    top, bottom = np.uint64(grid.row_weight.size), np.uint64(0)
    left, right = width, np.uint64(0)
    for y in range(h):
        for x in range(w):
            value = single(values[entry, y * w + x])
            knot[y, x] = value
            if value > threshold:
                top = min(top, np.uint64(grid.row_reach[0, y]))
                bottom = max(bottom, np.uint64(grid.row_reach[1, y]))
                left = min(left, np.uint64(grid.column_reach[0, x]))
                right = max(right, np.uint64(grid.column_reach[1, x]))
    if top >= bottom or left >= right:
        return np.uint64(0), np.uint64(0)
    left, right = left // WORD, (right - ONE) // WORD + ONE
    for y in range(grid.rows[0, top], grid.rows[1, bottom - ONE] + 1):
        interpolate_columns(knot, y, grid, left * WORD, min(right * WORD, width), across)
    mask[top * words : bottom * words] = 0
    for y in range(top, bottom):
        upper, lower = grid.rows[0, y] * words, grid.rows[1, y] * words
        for word in range(left, right):
            mask[y * words + word] = blended_above(
                across, (upper + word) * WORD, (lower + word) * WORD, grid.row_weight[y], threshold
            )
    return top * words, bottom * words


@njit(cache=True, nogil=True)
def shared_pixels(mask, masks, m, first, last):
    """The number of pixels, from word `first` to `last`, in both `mask` (words) and masks[m]."""
    count = np.uint64(0)
    for word in range(first, last):
        count += ones(mask[word] & masks[m, word])
    return np.int64(count)


@njit(cache=True, nogil=True)
def tally(values, unit, start, cut, w, grid, labels, label_category, in_mask, intersection, unit_area):
    """Add the counts of a block of images to `intersection` (L, U) and `unit_area` (U, C), int64.

    Args:
        values: maps (K, h * w), those of image i from start[i] to start[i + 1], of the units `unit` (K).
        cut: float32 (U); a unit's mask is where its interpolated map is greater.
        grid: a Grid to the label maps' size.
        labels: a LabelBlock of the same images.
        label_category: the primary category of each label (L).
        in_mask: whether an image counts for a category only if a label of the category lies in the unit's mask.
    """
    height = grid.row_weight.size
    words = labels.masks.shape[1] // height
    knot = np.empty((values.shape[1] // w, w), np.float32)
    across = np.full((knot.shape[0], words * WORD_BITS), -np.inf, np.float32)
    mask = np.empty(height * words, np.uint64)
    active = np.empty(np.max(np.diff(start)) + 1, np.int64)
    shared = np.empty(np.max(np.diff(labels.mask_start)), np.int64)
    touched = np.zeros(unit_area.shape[1], np.bool_)
    for image in range(start.size - 1):
        first_label = labels.mask_start[image]
        label_count = labels.mask_start[image + 1] - first_label
        for place in range(find_active(values, unit, cut, start[image], start[image + 1], active)):
            u = unit[active[place]]
            first, last = draw_mask(values, active[place], cut[u], grid, knot, across, mask)
            pixels = np.uint64(0)
            for word in range(first, last):
                pixels += ones(mask[word])
            area = np.int64(pixels)
            if area == 0:
                continue
            touched[:] = not in_mask
            # Two loops, so that the scattered additions of the second overlap.
            for m in range(label_count):
                shared[m] = shared_pixels(mask, labels.masks, first_label + m, first, last)
            for m in range(label_count):
                label = labels.mask_label[first_label + m]
                intersection[label, u] += shared[m]
                touched[label_category[label]] |= shared[m] > 0
            for m in range(labels.whole_start[image], labels.whole_start[image + 1]):
                intersection[labels.whole_label[m], u] += area
                touched[label_category[labels.whole_label[m]]] = True
            for c in range(touched.size):
                if touched[c] and labels.counts_for[image, c]:
                    unit_area[u, c] += area


@njit(cache=True, nogil=True)
def bin_of(value, pattern, shift):
    """The bin of a sample: 16 bits, from bit `shift` on, of its bit pattern made to rise with the number."""
    if value == 0:
        pattern = np.uint32(0)  # -0 and 0 are one number
    rising = pattern ^ (np.uint32(0xFFFFFFFF) if pattern & np.uint32(0x80000000) else np.uint32(0x80000000))
    return np.uint64((rising >> np.uint32(shift)) & np.uint32(0xFFFF))


@njit(cache=True, nogil=True)
def increment(histogram, waiting, count):
    """Add 1 to the bins at the first `count` flat positions of `waiting`, and return 0, the new count.

    Bins lie far apart in memory: only in a loop of nothing but additions do their delays overlap.
    """
    for place in range(count):
        histogram[waiting[place]] += np.uint32(1)
    return 0


@njit(cache=True, nogil=True)
def count_samples(values, unit, w, grid, shift, low, high, minimum, maximum, histogram):
    """Add the samples of maps (K, h * w) of the units `unit` (K) to the units' histograms, uint32 (U, 65536).

    A sample is counted if it lies above low[u] and not above high[u], in the bin of 16 bits of its rising bit
    pattern, from bit `shift` on. With a grid of rows the samples are those of the interpolated map, else the values.
    Updates the extremes of the values, float32 (U); returns the unit of a value that is not finite, or -1.
    """
    knot = np.empty((values.shape[1] // w, w), np.float32)
    across = np.empty((knot.shape[0], grid.column_weight.size), np.float32)
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
        for place in range(pixels):
            below |= single(values[entry, place]) < least
        if below:
            for place in range(pixels):
                value = single(values[entry, place])
                if value < -LARGEST:
                    return u
                minimum[u] = min(minimum[u], value)
        above = False
        for first in range(0, pixels, LANES):
            if first + LANES <= pixels:
                found = lanes_above(values, np.uint64(entry * pixels + first), watched)
            else:
                found = np.uint16(0)
                for lane in range(pixels - first):
                    if not single(values[entry, first + lane]) <= watched:
                        found |= np.uint16(1) << np.uint16(lane)
            while found:
                sample = values[entry, first + lowest_one(found)]
                found &= found - np.uint16(1)
                value = single(sample)
                if not value <= LARGEST:
                    return u
                maximum[u] = max(maximum[u], value)
                above |= value > most
                if raw and value > most and value <= limit:
                    waiting[count] = np.uint64(u) * bins + bin_of(value, bits(sample), shift)
                    count += 1
        if count + pixels > waiting.size:
            count = increment(flat, waiting, count)
        if raw or not above:
            continue
        for y in range(knot.shape[0]):
            for x in range(w):
                knot[y, x] = single(values[entry, y * w + x])
            interpolate_columns(knot, y, grid, np.uint64(0), np.uint64(across.shape[1]), across)
        for y in range(grid.row_weight.size):
            for x in range(across.shape[1]):
                a = across[grid.rows[0, y], x]
                value = a + grid.row_weight[y] * (across[grid.rows[1, y], x] - a)
                if value > most and value <= limit:
                    flat[np.uint64(u) * bins + bin_of(value, bits(value), shift)] += np.uint32(1)
    increment(flat, waiting, count)
    return -1


@njit(cache=True, nogil=True)
def raise_floors(histogram, rank, floor, above, lowest, highest):
    """Raise each unit's floor to the bin of its rank[u]-th largest sample, if that was counted above the floor.

    `floor` int64 (U) is the highest bin whose samples need not all have been counted; `above` int64 (U) becomes the
    number of samples in higher bins. No sample lies in a bin below `lowest` or above `highest`, int64 (U).
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
