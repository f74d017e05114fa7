"""The doctor: what is wrong with a live deployment, and what of it can safely be put right."""
