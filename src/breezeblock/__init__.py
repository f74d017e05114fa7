"""Breezeblock: block storage for clouds."""

__version__ = "0.1.0"
