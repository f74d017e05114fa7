"""What the reference, Cinder 29, is given of ours: callers, and a backend that holds no bytes.

These modules run in `.venv-cinder`, in Cinder's processes, and import nothing of Breezeblock.
"""
