"""Parts of a mixer that are told by their settings alone: nothing in them was learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self

from torch import Tensor


@dataclass(frozen=True)
class Plain:
    """A part whose fields are JSON values; `raydm.mixing.mixer` finds its class again by `name`."""

    name: ClassVar[str]

    def state(self) -> dict[str, Any]:
        """Its name and fields, as JSON allows."""
        return {"name": self.name, **asdict(self)}

    def tensors(self) -> dict[str, Tensor]:
        """None."""
        return {}

    @classmethod
    def load(cls, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        """What `state` wrote."""
        return cls(**{field.name: state[field.name] for field in fields(cls)})
