"""Schedules: the learning rate as a function of the epoch."""

from __future__ import annotations

__all__: list[str] = []
