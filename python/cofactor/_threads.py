"""The library's threads, as threadpoolctl sees and limits them."""

from __future__ import annotations

import threadpoolctl

__all__ = ["register"]


class _Controller(threadpoolctl.LibController):  # type: ignore[misc]
    user_api = "cofactor"
    internal_api = "cofactor"
    filename_prefixes = ("_core",)
    # Other packages have a module of that name.
    check_symbols = ("cofactor_get_num_threads", "cofactor_set_num_threads")

    def get_num_threads(self) -> int:
        return int(self.dynlib.cofactor_get_num_threads())

    def set_num_threads(self, num_threads: int) -> None:
        self.dynlib.cofactor_set_num_threads(num_threads)

    def get_version(self) -> str:
        from . import __version__

        return __version__


def register() -> None:
    """Make ``threadpoolctl.threadpool_limits`` limit fits that name no number of threads."""
    threadpoolctl.register(_Controller)
