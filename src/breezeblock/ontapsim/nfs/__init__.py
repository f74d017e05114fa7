"""How hosts reach the files of FlexVols: NFS version 3, served by nfs-ganesha.

A host asks the LIF's portmapper (port 111) where things are, mounts a junction, and reads and
writes files. One ganesha serves one SVM, on a private port; the LIFs are ours (`lif.py`), so that
they come and go, and several simulators serve side by side, each on addresses of its own.
"""

from breezeblock.ontapsim.nfs.plane import NfsDataPlane as NfsDataPlane
from breezeblock.ontapsim.nfs.plane import NfsSvm as NfsSvm
