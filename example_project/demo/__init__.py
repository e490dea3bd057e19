"""The demo: an evening in the pub, with Qerko's sandbox as Qerko and real processes as everybody else."""
