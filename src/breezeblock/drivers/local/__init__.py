"""Volumes as files of one machine's file system, exported over NBD."""

from breezeblock.drivers.local.driver import LocalDriver

__all__ = ["LocalDriver"]
