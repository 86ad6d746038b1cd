"""What the compiled module links to."""

import re
import shutil
import subprocess

import pytest

from cofactor import _core

BLAS = re.compile(r"(cblas_|LAPACKE_|mkl_|openblas)|^[sdcz](gemm|gemv|syrk|symm|trsm|potrf|dot)_?$")


def symbols(*options: str) -> list[str]:
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("nm (binutils) is not installed")
    listing = subprocess.run(
        [nm, *options, _core.__file__], capture_output=True, text=True, check=True
    ).stdout
    return [line.split()[-1].split("@")[0] for line in listing.splitlines() if line.strip()]


def test_the_loop_calls_no_blas() -> None:
    undefined = symbols("--dynamic", "--undefined-only")
    assert "memcpy" in undefined or "memmove" in undefined  # the listing is not empty
    assert not [name for name in symbols("--dynamic") if BLAS.search(name)]


@pytest.mark.parametrize("name", ["cblas_sgemm", "sgemm_", "dpotrf_", "mkl_malloc"])
def test_blas_would_be_recognised(name: str) -> None:
    assert BLAS.search(name)
