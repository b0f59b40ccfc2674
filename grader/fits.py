"""Which versions go together: TensorFlow with Keras, Python, NumPy, CUDA and cuDNN. Facts and their arithmetic only."""

from __future__ import annotations

import re

from grader.records import Record

Version = tuple[int, int]


class Fit(Record, frozen=True):
    """What a TensorFlow fits. Bounds are inclusive, but that of NumPy's: the first version that no longer fits."""

    tensorflow: Version
    keras: Version
    python: tuple[Version, Version]
    numpy: tuple[Version, Version | None]
    cuda: Version
    cudnn: Version


#: From the wheels of 2.16.2, 2.17.1, 2.18.1, 2.19.1, 2.20.0 and 2.21.0 themselves: Requires-Dist of keras and numpy, the
#: interpreters they are built for (cp tags), and the versions of the and-cuda extra (exact up to 2.19, then the least).
FITS = (
    Fit(
        tensorflow=(2, 16),
        keras=(3, 0),
        python=((3, 9), (3, 12)),
        numpy=((1, 23), (2, 0)),
        cuda=(12, 3),
        cudnn=(8, 9),
    ),
    Fit(
        tensorflow=(2, 17),
        keras=(3, 2),
        python=((3, 9), (3, 12)),
        numpy=((1, 23), (2, 0)),
        cuda=(12, 3),
        cudnn=(8, 9),
    ),
    Fit(
        tensorflow=(2, 18),
        keras=(3, 5),
        python=((3, 9), (3, 12)),
        numpy=((1, 26), (2, 1)),
        cuda=(12, 5),
        cudnn=(9, 3),
    ),
    Fit(
        tensorflow=(2, 19),
        keras=(3, 5),
        python=((3, 9), (3, 12)),
        numpy=((1, 26), (2, 2)),
        cuda=(12, 5),
        cudnn=(9, 3),
    ),
    Fit(
        tensorflow=(2, 20),
        keras=(3, 10),
        python=((3, 9), (3, 13)),
        numpy=((1, 26), None),
        cuda=(12, 5),
        cudnn=(9, 3),
    ),
    Fit(
        tensorflow=(2, 21),
        keras=(3, 12),
        python=((3, 10), (3, 13)),
        numpy=((1, 26), None),
        cuda=(12, 5),
        cudnn=(9, 3),
    ),
)
#: The packages that bring CUDA and cuDNN, in this order, where TensorFlow was installed for a GPU.
CUDA = ("nvidia-cuda-runtime-cu12", "nvidia-cudnn-cu12")
#: The least driver of CUDA 12 (NVIDIA's table of minor version compatibility); newer drivers run it too.
LEAST_DRIVER = 525


def fit_of(tensorflow: str) -> Fit | None:
    """What goes with this TensorFlow, where that is known."""
    version = version_of(tensorflow)
    return next((fit for fit in FITS if fit.tensorflow == version), None)


def unfit(tensorflow: str, package: str, version: str) -> str:
    """What this TensorFlow asks for where a package, or Python, does not fit it, such as ``numpy>=1.26,<2.1``."""
    row, has = fit_of(tensorflow), version_of(version)
    if row is None or has is None:
        return ""
    bounds: dict[str, tuple[Version, Version | None]] = {
        "python": (row.python[0], (row.python[1][0], row.python[1][1] + 1)),
        "keras": (row.keras, None),
        "numpy": row.numpy,
        # Within a major version newer is compatible (NVIDIA), older is not.
        CUDA[0]: (row.cuda, (row.cuda[0] + 1, 0)),
        CUDA[1]: (row.cudnn, (row.cudnn[0] + 1, 0)),
    }
    low, beyond = bounds[package]
    if low <= has and (beyond is None or has < beyond):
        return ""
    return f"{package}>={dotted(low)}" + (f",<{dotted(beyond)}" if beyond else "")


def version_of(text: str) -> Version | None:
    """The first two numbers of a version."""
    match = re.match(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


def dotted(version: Version) -> str:
    """``2.21``."""
    return f"{version[0]}.{version[1]}"
