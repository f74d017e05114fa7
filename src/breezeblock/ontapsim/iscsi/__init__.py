"""The simulator's iSCSI service: tgtd serves the LUNs, a login front of ours stands before it."""

from breezeblock.ontapsim.iscsi.plane import IscsiDataPlane

__all__ = ["IscsiDataPlane"]
