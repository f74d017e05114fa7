"""A NetApp ONTAP array on a laptop: its REST API over SQLite, its LUNs over real iSCSI.

A product of its own: it imports nothing else of Breezeblock, and any ONTAP client may use it.
"""
