"""Documents: a model, its data and its training as TOML, JSON or a dict.

There is no second list of options here. The keys of a table are the arguments of what it makes, with their types and
defaults, read from the signature of the constructor or function; `type` and `name` choose from closed lists, never from
an import path. Sizes may be left out: the data and the layers before them tell. What is wrong is one line with the path
in the document, the value and, where one is near, the right word.
"""

from __future__ import annotations

from .experiment import Experiment
from .model import from_spec, to_spec
from .registry import DATA, LAYERS, LOSSES, OPTIMIZERS, SCHEDULES, import_layers, register
from .schema import schema

__all__ = [
    "DATA",
    "LAYERS",
    "LOSSES",
    "OPTIMIZERS",
    "SCHEDULES",
    "Experiment",
    "from_spec",
    "import_layers",
    "register",
    "schema",
    "to_spec",
]
