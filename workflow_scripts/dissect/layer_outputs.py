"""Capture the outputs of layers, as maps of their units.

A layer is a module's name in the network. "name#2" is the second run of a module that runs more than once in a pass,
such as an activation that several convolutions share. "name@14x14" says that the layer's output is tokens on a grid of
14 rows and 14 columns, as in a vision transformer (Dosovitskiy et al. 2021); their channels are the units. A layer's
name does not include the grid.
"""

import difflib
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn

from workflow_scripts.networks.weight_files import shown
from workflow_scripts.shared.files import UserError

NUMBER = r"[1-9]\d{0,8}"
Grid = tuple[int, int] | None  # rows and columns of tokens
SUGGESTIONS = 5
LEADING_TOKENS = 5  # at most a class token and four registers (Darcet et al. 2024)


@contextmanager
def layer_outputs(
    network: nn.Module, layers: list[str], copy: Callable[[Tensor], Tensor] = Tensor.clone
) -> Iterator[dict[str, Tensor]]:
    """Yield a dict that each forward pass fills with the outputs (images, units, h, w) of `layers`, by name.

    Each output is copied by `copy` at once, because later layers may work in place.

    The network takes pictures (images, channels, height, width). With a grid, a layer's output is (images, rows,
    columns, channels), or (images, tokens, channels): its last rows x columns tokens are the grid, row by row, and
    tokens before them are dropped. The caller empties the dict between passes.

    Raises:
        UserError: as in `layer_grids` and `find_module`; or a layer does not run in a pass, or runs more than once and
            no run is named, or its output is of another kind.
    """
    grids = layer_grids(layers)
    outputs: dict[str, Tensor] = {}
    runs: dict[str, int] = {}  # so far in this pass
    picture: tuple[int, ...] = (0, 0)  # height and width in this pass

    def start(_network: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal picture
        picture = tuple(inputs[0].shape[2:])
        runs.clear()  # they may be left over from a pass that failed

    def keep(name: str, wanted: str, output: object) -> None:
        runs[name] = runs.get(name, 0) + 1
        if runs[name] == int(wanted or 1):
            outputs[name] = copy(as_maps(name, output, grids[name], picture))

    def check(_network: nn.Module, inputs: tuple[Tensor, ...], _output: object) -> None:
        for name in grids:
            if name not in outputs:
                found = f"runs only {runs[name]} times" if name in runs else "does not run"
                raise UserError(f"layers: {name} {found} in a pass; choose another layer")
            if runs[name] > 1 and "#" not in name:
                raise UserError(
                    f"layers: {name} runs {runs[name]} times in a pass; write which run, as in {name}#{runs[name]}"
                )
            require_maps_of(inputs[0], name, outputs[name], grids[name])
        runs.clear()

    with ExitStack() as hooks:
        for name in grids:
            module, _, wanted = name.partition("#")
            hook = find_module(network, module).register_forward_hook(
                lambda _module, _inputs, output, name=name, wanted=wanted: keep(name, wanted, output)
            )
            hooks.callback(hook.remove)
        hooks.callback(network.register_forward_pre_hook(start).remove)
        hooks.callback(network.register_forward_hook(check).remove)
        yield outputs


def layer_names(layers: list[str]) -> list[str]:
    """Return the names of `layers` without grids; errors as in `layer_grids`."""
    return list(layer_grids(layers))


def layer_grids(layers: list[str]) -> dict[str, Grid]:
    """Return the grids of `layers` by name, or None for a layer without one.

    Raises:
        UserError: a grid is not ROWSxCOLUMNS, a run is not a number from 1, a name has a slash or a NUL, or one is
            listed twice.
    """
    grids: dict[str, Grid] = {}
    for layer in layers:
        name, at, grid = layer.partition("@")
        sides = re.fullmatch(rf"({NUMBER})x({NUMBER})", grid)
        if at and not sides:
            raise UserError(f"layers: {shown(layer)!r} has no grid after its @; write it as in {shown(name)}@14x14")
        module, hash_, run = name.partition("#")
        if hash_ and not re.fullmatch(NUMBER, run):
            raise UserError(f"layers: {shown(layer)!r} has no number after its #; write it as in {shown(module)}#2")
        if "/" in name or "\0" in name:  # files of maps cannot have a layer of such a name
            raise UserError(
                f"layers: {shown(name)!r} has a slash or a NUL in it: rename that module, or choose a layer around it"
            )
        if name in grids:
            raise UserError(f"layers: {shown(name)} is listed more than once; list it once")
        grids[name] = (int(sides[1]), int(sides[2])) if sides else None
    return grids


def as_maps(name: str, output: object, grid: Grid, picture: tuple[int, ...]) -> Tensor:
    """Return an output for pictures of this height and width as (images, units, h, w).

    Raises:
        UserError: it has no such form; the error names the layer.
    """
    if not isinstance(output, Tensor):
        raise UserError(
            f"layers: {name} returns a {type(output).__name__}, not a tensor; choose another layer, such as"
            " one within it"
        )
    shape = tuple(output.shape)
    if grid is None:
        if output.ndim == 4:
            return output
        hint = "choose another layer"
        if output.ndim == 3:
            suggested = suggested_layer(name, shape[1], picture)
            hint = f"if it is (images, tokens, channels), write the tokens' grid, as in {suggested}"
        raise UserError(f"layers: the output of {name} is {shape}, not (images, units, height, width); {hint}")
    rows, columns = grid
    if output.ndim == 4 and shape[1:3] == grid:
        return output.permute(0, 3, 1, 2)
    if output.ndim == 3 and shape[1] >= rows * columns:
        return output[:, shape[1] - rows * columns :].transpose(1, 2).unflatten(2, grid)
    if output.ndim == 3:
        hint = f"its {shape[1]} tokens are too few; write another grid"
    elif output.ndim == 4:
        hint = f"write {name} alone if it is (images, units, height, width)"
    else:
        hint = "choose another layer"
    raise UserError(
        f"layers: the output of {name} is {shape}, neither (images, tokens, channels) with"
        f" at least {rows} x {columns} tokens nor (images, {rows}, {columns}, channels); {hint}"
    )


def suggested_layer(name: str, tokens: int, picture: tuple[int, ...]) -> str:
    """Return how to write a layer with `tokens` tokens: on a grid that fits the picture's shape, if there is one."""
    for leading in range(min(LEADING_TOKENS + 1, tokens)):
        places = tokens - leading
        for rows in range(1, places + 1):
            if places % rows == 0 and alike(rows, places // rows, picture):
                return f"{name}@{rows}x{places // rows}"
    return f"{name}@ROWSxCOLUMNS"


def alike(rows: int, columns: int, picture: tuple[int, ...]) -> bool:
    """Tell whether a picture of this height and width can have a map of these rows and columns.

    Both are the picture's sides divided by one stride, rounded up or down; so a square picture has square maps.
    """
    height, width = picture
    return abs(rows * width - columns * height) < max(height, width)


def require_maps_of(pictures: Tensor, name: str, maps: Tensor, grid: Grid) -> None:
    """Raise UserError unless `maps` can be the maps (images, units, h, w) of `pictures` (images, channels, H, W)."""
    if len(maps) != len(pictures):
        raise UserError(
            f"layers: the output of {name} has {len(maps)} rows for {len(pictures)} pictures; choose another layer"
        )
    if grid is None and has_channels_last(tuple(maps.shape), tuple(pictures.shape[2:])):
        raise UserError(
            f"layers: the output of {name} is {tuple(maps.shape)}, with channels last; write"
            f" {name}@{maps.shape[1]}x{maps.shape[2]}"
        )


def has_channels_last(shape: tuple[int, ...], picture: tuple[int, ...]) -> bool:
    """Tell whether an output for pictures of this height and width seems to be (images, h, w, channels).

    If the picture's sides differ, strides may differ as well, and the number of units can look like a number of rows;
    then the last dimension must exceed the places along a side to count as channels.
    """
    _, second, third, last = shape
    of_one_stride = picture[0] == picture[1] or last > max(second, third)
    return of_one_stride and alike(second, third, picture) and not alike(third, last, picture)


def find_module(network: nn.Module, name: str) -> nn.Module:
    """Return the module called `name`.

    Raises:
        UserError: there is none; the error suggests similar names.
    """
    modules = dict(network.named_modules())
    if not name or name not in modules:
        near = nearest_names(name, [known for known in modules if known])
        hint = f"; similar names are {', '.join(map(shown, near))}" if near else ""
        raise UserError(
            f"layers: the network has no layer {shown(name)!r}{hint}; python -m workflow_scripts list_layers lists all"
            " layers"
        )
    return modules[name]


def nearest_names(name: str, known: list[str]) -> list[str]:
    """Return up to SUGGESTIONS of the names `known`: those with `name` between dots, then within, then similar ones."""
    within = sorted(
        (other for other in known if name and name in other),
        key=lambda other: (f".{name}." not in f".{other}.", len(other)),
    )
    near = difflib.get_close_matches(name, known, SUGGESTIONS)
    return list(dict.fromkeys(within + near))[:SUGGESTIONS]
