"""Forward passes for the maps of layers: with the network as it is, with fused batch-norms, or compiled."""

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.parametrize import is_parametrized

from workflow_scripts.networks.precisions import autocast

EXECUTIONS = ("plain", "fused", "compiled")
# Maps may differ from those of a plain float32 pass by TOLERANCE of their layer's largest value, well above rounding.
# Those of a compiled pass in another precision may also differ by MULTIPLE times what a plain pass in it differs by.
TOLERANCE, MULTIPLE = 0.005, 2
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)

Maps = dict[str, Tensor]  # (n, units, h, w) by layer
Pass = Callable[[Tensor], Maps]  # of pictures (n, C, H, W)


class ForwardPass:
    """Passes pictures (n, C, H, W) through a network, and returns the maps (n, units, h, w) of its layers by name.

    Unless the execution is plain, the first pictures also go through the unchanged network. If the network cannot be
    executed as requested, or its maps then differ by more than rounding, the log says so and all passes are plain.

    Args:
        network: in evaluation mode; "fused" changes it in place.
        outputs: the network's outputs, as `layer_outputs` yields them.
        forward: the precision, one of FORWARD.
        execution: one of EXECUTIONS: "plain", the network as it is; "fused", with each batch-norm after a convolution
            folded into the convolution's weights; "compiled", by torch.compile, which folds them, too.

    Attributes:
        execution: "plain" once another execution was requested and has failed.
    """

    def __init__(self, network: nn.Module, outputs: Maps, forward: str = "float32", execution: str = "plain") -> None:
        self.network, self.outputs = network, outputs
        self.forward, self.execution = forward, execution
        self.chosen: Pass | None = None

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Maps:
        """Return the maps (n, units, h, w) of pictures (n, C, H, W), by layer; the first call chooses the execution."""
        with autocast(pictures.device, self.forward):
            if self.chosen is None:
                self.chosen = self.plain if self.execution == "plain" else self.choose(pictures)
            return self.chosen(pictures)

    def plain(self, pictures: Tensor) -> Maps:
        """Return the maps from the network as it is."""
        self.network(pictures)
        maps = dict(self.outputs)
        self.outputs.clear()
        return maps

    def choose(self, pictures: Tensor) -> Pass:
        """Return the requested pass if its maps of the first pictures are right, or else the plain one."""
        with autocast(pictures.device, "float32"):
            expected = self.plain(pictures)
        replaced: dict[str, nn.Module] = {}
        chosen: Pass = self.plain
        allowed = TOLERANCE
        try:
            if self.execution == "fused":
                replaced = fuse_batch_norms(self.network)
                how = f"fused ({len(replaced) // 2} batch-norms)"
                with autocast(pictures.device, "float32"):
                    apart = largest_difference(self.plain(pictures), expected)
            else:
                chosen, how = self.compiled(pictures), "compiled"
                allowed += MULTIPLE * largest_difference(self.plain(pictures), expected)
                apart = largest_difference(chosen(pictures), expected)
        except Exception as error:  # whatever torch, its compiler or the network's code raises
            first_line = str(error).splitlines()[:1]
            problem = ": ".join([type(error).__name__, *first_line])
        else:
            share = f"by at most {apart:.1g} of a layer's largest value"
            if apart <= allowed:
                logging.info("the network is %s: its maps differ from those of a plain float32 pass %s", how, share)
                return chosen
            problem = f"maps would differ {share}, but only {allowed:.1g} is allowed"
        for name, module in replaced.items():
            self.network.set_submodule(name, module)
        self.outputs.clear()
        logging.info("the network cannot be %s (%s): its passes are plain", self.execution, problem)
        self.execution = "plain"
        return self.plain

    def compiled(self, pictures: Tensor) -> Pass:
        """Return the pass compiled for as many pictures as these; smaller batches are padded, then cut."""
        run = torch.compile(self.plain, fullgraph=True, dynamic=False, options={"freezing": True})
        filled = torch.zeros_like(pictures)

        def run_filled(pictures: Tensor) -> Maps:
            if len(pictures) == len(filled):
                return run(pictures)
            filled[: len(pictures)] = pictures
            return {name: maps[: len(pictures)] for name, maps in run(filled).items()}

        return run_filled


def largest_difference(found: Maps, expected: Maps) -> float:
    """Return the largest difference of maps, as a share of the largest value of their layer; NaN if one is NaN."""
    apart = [
        (found[name].float() - maps.float()).abs().max() / maps.float().abs().max().clamp(min=1e-30)
        for name, maps in expected.items()
    ]
    return float(torch.stack(apart).max())


def fuse_batch_norms(network: nn.Module) -> dict[str, nn.Module]:
    """Fold batch-norms into the weights of the convolutions before them, and return the modules replaced, by name.

    (w * x - mean) / sqrt(variance + eps) * scale + shift is one convolution (Jacob et al. 2018, section 3.2). Names,
    shapes, and what hooks such as those of `layer_outputs` see do not change.

    Raises:
        Exception: of any kind, if torch.fx cannot trace the network, which is then unchanged.
    """
    modules = dict(network.named_modules())
    fused: dict[str, nn.Module] = {}
    for convolution, norm in find_pairs(network):
        # In double precision, so that the weights are rounded once.
        both = (deepcopy(modules[name]).double() for name in (convolution, norm))
        fused[convolution] = fuse_conv_bn_eval(*both).to(modules[convolution].weight.dtype)
        fused[norm] = nn.Sequential(OrderedDict(modules[norm].named_children()))
    for name, module in fused.items():
        network.set_submodule(name, module)
    return {name: modules[name] for name in fused}


def find_pairs(network: nn.Module) -> list[tuple[str, str]]:
    """Return the names of the convolutions, and of the batch-norms after them, that may be fused.

    Both run once in a pass, nothing else uses the convolution's output, and each module with a hook contains both or
    neither. Modules with two names, and batch-norms of classes other than torch's and timm's, are left alone.
    """
    modules = dict(network.named_modules())
    names = Counter(id(module) for _, module in network.named_modules(remove_duplicate=False))
    hooked = [name for name, module in modules.items() if name and (module._forward_hooks or module._forward_pre_hooks)]
    calls = [node for node in Tracer().trace(network).nodes if node.op == "call_module"]
    runs = Counter(node.target for node in calls)

    def is_alone(node: fx.Node, test: Callable[[nn.Module], bool]) -> bool:
        module = modules[node.target]
        return test(module) and runs[node.target] == 1 and names[id(module)] == 1

    pairs = []
    for node in calls:
        before = node.args[0] if node.args else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        pair = str(before.target), str(node.target)
        apart = any(is_within(pair[0], name) != is_within(pair[1], name) for name in hooked)
        if not apart and is_alone(before, is_convolution) and is_alone(node, is_fixed_norm):
            pairs.append(pair)
    return pairs


class Tracer(fx.Tracer):
    """Traces only modules that hold a convolution or a batch-norm, without hooks; others need not be traceable."""

    def call_module(self, module: nn.Module, _call: Callable, args: tuple, kwargs: dict) -> object:
        """Trace only a module's `forward`, without the hooks that calling the module would run."""
        return super().call_module(module, module.forward, args, kwargs)

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        """Tell whether a module is traced as one step: a convolution, a batch-norm, or a module that holds neither."""
        whole = (*CONVOLUTIONS, *NORMS)
        return isinstance(module, whole) or not any(isinstance(part, whole) for part in module.modules())


def is_convolution(module: nn.Module) -> bool:
    """Tell whether a module is a convolution with weights of its own, not parametrized ones."""
    return isinstance(module, CONVOLUTIONS) and not is_parametrized(module)


def is_fixed_norm(module: nn.Module) -> bool:
    """Tell whether a module is a batch-norm with running statistics, followed only by its child modules."""
    with_activation = type(module).__module__.startswith("timm.") and type(module).__name__ == "BatchNormAct2d"
    return (type(module) in NORMS or with_activation) and module.running_mean is not None


def is_within(name: str, holder: str) -> bool:
    """Tell whether a module's name is `holder` or that of a module within it."""
    return name == holder or name.startswith(f"{holder}.")
