"""What of CUDA there is."""

from __future__ import annotations

from dataclasses import dataclass

from cofactor import _core


@dataclass(frozen=True)
class CudaDevice:
    """A GPU.

    Attributes
    ----------
    name : str
    capability : str
        Compute capability, such as ``"9.0"``.
    n_bytes : int
        Of its memory.
    """

    name: str
    capability: str
    n_bytes: int

    def __str__(self) -> str:
        return f"{self.name} ({self.n_bytes / 1e9:.1f} GB, compute capability {self.capability})"


@dataclass(frozen=True)
class CudaInfo:
    """What of CUDA there is in this build and on this machine.

    Attributes
    ----------
    built : bool
        Whether this build has the CUDA backend.
    runtime : str
        Version of CUDA that it was built with; empty for a build without.
    driver : str
        The latest version of CUDA that the machine's driver supports; empty without a driver.
    devices : tuple of CudaDevice
        Those that ``device="cuda"`` can use.
    missing : str
        Why there is none; empty where there is one.
    """

    built: bool
    runtime: str
    driver: str
    devices: tuple[CudaDevice, ...]
    missing: str

    def __str__(self) -> str:
        if self.missing:
            return f"not available: {self.missing}"
        devices = ", ".join(map(str, self.devices))
        return f"{devices}; built with CUDA {self.runtime}, driver for up to {self.driver}"


def cuda_info() -> CudaInfo:
    """Say what of CUDA there is, and what is missing where there is no GPU to use.

    Returns
    -------
    CudaInfo

    Examples
    --------
    >>> import cofactor as cf
    >>> info = cf.cuda_info()
    >>> bool(info.devices) != bool(info.missing)
    True
    """
    info = _core.cuda_info()
    return CudaInfo(
        built=info.built,
        runtime=info.runtime,
        driver=info.driver,
        devices=tuple(CudaDevice(d.name, d.capability, d.bytes) for d in info.devices),
        missing=info.missing,
    )
