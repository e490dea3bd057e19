"""A host that does everything differently."""
