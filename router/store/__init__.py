"""The database: all SQL of the core, behind classes named after what they hold."""

from __future__ import annotations

from .database import Database
from .entries import Entries
from .errors import StoreError
from .generations import Generations
from .keys import Keys
from .migrations import Migration

__all__ = ["Database", "Entries", "Generations", "Keys", "Migration", "StoreError"]
