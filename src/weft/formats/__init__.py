"""Floor 8: files. Weights and checkpoints as safetensors, programs as graph and weights in one file."""

from ..base.atomic import replacing
from .files import SavedState, fingerprint, load, load_weights, save, save_weights
from .loaded import LoadedProgram, load_program
from .program import save_program

__all__ = [
    "LoadedProgram",
    "SavedState",
    "fingerprint",
    "load",
    "load_program",
    "load_weights",
    "replacing",
    "save",
    "save_program",
    "save_weights",
]
