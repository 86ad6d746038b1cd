from __future__ import annotations

import numpy as np
import pytest

import cofactor as cf
from cofactor._cuda import CudaDevice, CudaInfo
from cofactor.cli import main

INFO = cf.cuda_info()
without_a_gpu = pytest.mark.skipif(not INFO.missing, reason="this machine has a GPU")


def test_says_what_there_is_or_what_is_missing() -> None:
    assert bool(INFO.devices) != bool(INFO.missing)
    assert INFO.built == bool(INFO.runtime)
    assert not INFO.devices or INFO.driver


def test_is_one_line_either_way() -> None:
    gpu = CudaDevice("NVIDIA H100 80GB HBM3", "9.0", 85_029_158_912)
    with_gpu = CudaInfo(True, "13.0", "13.1", (gpu,), "")
    assert str(with_gpu) == (
        "NVIDIA H100 80GB HBM3 (85.0 GB, compute capability 9.0); "
        "built with CUDA 13.0, driver for up to 13.1"
    )
    without = CudaInfo(False, "", "", (), "this build of cofactor has no CUDA backend")
    assert str(without) == "not available: this build of cofactor has no CUDA backend"


def test_the_command_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["info"])
    assert end.value.code == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("cuda ")]
    assert line.split(maxsplit=1)[1] == str(INFO)


@without_a_gpu
def test_asking_for_a_gpu_that_is_not_there_says_what_is_missing() -> None:
    x = np.ones((4, 3))
    with pytest.raises(RuntimeError, match="device='cuda' was asked for, but") as error:
        cf.NMF(1, device="cuda").fit(x)
    assert INFO.missing in str(error.value)
    assert "device='cpu'" in str(error.value)


@without_a_gpu
def test_auto_stays_on_the_cpu_where_there_is_no_gpu() -> None:
    x = np.random.default_rng(0).random((20, 6))
    fits = [cf.NMF(2, device=device, random_state=0).fit_transform(x) for device in ("auto", "cpu")]
    assert np.array_equal(fits[0], fits[1])
