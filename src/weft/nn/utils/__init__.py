"""What is done with modules and their parameters, beside computing."""

from . import rnn

__all__ = ["rnn"]
