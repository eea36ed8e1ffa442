"""Import torchvision's models and transforms, even if torchvision was built for CUDA and torch was not.

On Linux the registry's torchvision is a CUDA build. With a CPU-only torch its compiled operators do not load, and the
import fails because it registers shapes for `nms` and `qnms`. Declaring the two operators first lets the import
succeed; they are never called.
"""

import torch


def declare_missing_operators() -> torch.library.Library | None:
    """Declare the operators that torchvision's import needs, if its own library cannot provide them."""
    if torch.version.cuda is not None:
        return None
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return library
    return None


# Keep the object: the declarations disappear with it.
_library = declare_missing_operators()

from torchvision import models, transforms  # noqa: E402

__all__ = ["models", "transforms"]
