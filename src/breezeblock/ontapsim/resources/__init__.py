"""The REST resources: a file each; `routes.py` lists them."""
