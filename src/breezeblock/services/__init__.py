"""The services that a process runs: api, scheduler, volume, compute, in any combination."""
