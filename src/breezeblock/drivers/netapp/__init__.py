"""NetApp ONTAP: volumes as LUNs over iSCSI, or as files over NFS."""
