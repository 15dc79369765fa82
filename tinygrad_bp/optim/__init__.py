"""Optimizers: what changes the parameters once their gradients are known."""

from __future__ import annotations

from .optimizers import SGD, Adam, Optimizer

__all__ = ["SGD", "Adam", "Optimizer"]
