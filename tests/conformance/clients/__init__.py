"""The sessions that the real clients hold. These files run in `.venv-clients`."""
