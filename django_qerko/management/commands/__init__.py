"""One command, one file; each calls the same verbs as everybody else."""
