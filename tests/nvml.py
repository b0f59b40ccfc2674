"""A stand-in for NVIDIA's management library: the entry points that nvidia-ml-py calls, over GPUs that are made up.

It stands where the binding keeps the loaded libnvidia-ml.so.1, so everything above it is the real thing. It speaks C as
far as the binding does: results are written through pointers, and the returned number is NVML's.
"""

# ruff: noqa: N802 - the names are NVML's

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import pynvml

NAME = "Stand-in GPU"


class Library:
    """GPUs of these names. ``busy`` says which process uses how much of GPU 0 now, ``holds`` how many MiB of its memory;
    ``lost_mb`` is held beyond that. ``errors`` makes calls fail.
    """

    def __init__(self, cards: Sequence[str] = (NAME,), busy: Callable[[], dict[int, int]] = dict) -> None:
        self.cards, self.busy = cards, busy
        self.holds: Callable[[], dict[int, int | None]] = dict
        self.lost_mb = 400
        self.errors: dict[str, int] = {}
        self._ready: list[tuple[int, int, int]] = []

    def nvmlInitWithFlags(self, flags):
        return self.errors.get("init", pynvml.NVML_SUCCESS)

    def nvmlShutdown(self):
        return pynvml.NVML_SUCCESS

    def nvmlErrorString(self, code):
        return b"stand-in error"

    def nvmlDeviceGetCount_v2(self, count):
        count._obj.value = len(self.cards)
        return pynvml.NVML_SUCCESS

    def nvmlDeviceGetHandleByIndex_v2(self, index, device):
        return pynvml.NVML_SUCCESS

    def nvmlDeviceGetName(self, device, buffer, size):
        buffer.value = self.cards[0].encode()
        return pynvml.NVML_SUCCESS

    def nvmlSystemGetDriverVersion(self, buffer, size):
        buffer.value = b"550.54"
        return pynvml.NVML_SUCCESS

    def nvmlDeviceGetGraphicsRunningProcesses_v3(self, device, count, processes):
        return pynvml.NVML_SUCCESS

    def nvmlDeviceGetComputeRunningProcesses_v3(self, device, count, processes):
        """Called twice, too."""
        if "processes" in self.errors:
            return self.errors["processes"]
        if processes is None:
            self._holding = self.holds()
            count._obj.value = len(self._holding)
            return pynvml.NVML_ERROR_INSUFFICIENT_SIZE if self._holding else pynvml.NVML_SUCCESS
        unknown = pynvml.NVML_VALUE_NOT_AVAILABLE_ulonglong.value
        for process, (pid, held) in zip(processes, self._holding.items(), strict=False):
            process.pid, process.usedGpuMemory = pid, unknown if held is None else held << 20
        count._obj.value = len(self._holding)
        return pynvml.NVML_SUCCESS

    def nvmlDeviceGetMemoryInfo(self, device, memory):
        memory._obj.used = self.lost_mb + sum(held or 0 for held in self.holds().values()) << 20
        return pynvml.NVML_SUCCESS

    def nvmlDeviceGetProcessUtilization(self, device, samples, count, since):
        """Called twice: without room for samples, to learn how many there are, then with it."""
        if "utilization" in self.errors:
            return self.errors["utilization"]
        if samples is None:
            now = int(time.time() * 1e6)
            self._ready = [(pid, now, percent) for pid, percent in self.busy().items()]
            count._obj.value = len(self._ready)
            return pynvml.NVML_ERROR_INSUFFICIENT_SIZE if self._ready else pynvml.NVML_ERROR_NOT_FOUND
        for sample, (pid, now, percent) in zip(samples, self._ready, strict=True):
            sample.pid, sample.timeStamp, sample.smUtil = pid, now, percent
        return pynvml.NVML_SUCCESS


def install(monkeypatch, library: Library) -> Library:
    """Make it the library that nvidia-ml-py has loaded, for one test."""
    monkeypatch.setattr(pynvml, "nvmlLib", library)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    return library
