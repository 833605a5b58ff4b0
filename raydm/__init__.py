"""raydm: learns what to do with every training example."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["DataMixer", "DataValuator", "DataWeighter", "MixedRegressor", "__version__", "load_run"]

if TYPE_CHECKING:
    from raydm.estimators import DataMixer, DataValuator, DataWeighter, MixedRegressor
    from raydm.report.run import load_run

_HOMES = {
    "DataMixer": "raydm.estimators",
    "DataValuator": "raydm.estimators",
    "DataWeighter": "raydm.estimators",
    "MixedRegressor": "raydm.estimators",
    "load_run": "raydm.report.run",
}


def __getattr__(name: str) -> Any:
    """Public names load on first use, so that `import raydm` (and the command's --help) stays quick."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'raydm' has no attribute {name!r}")
