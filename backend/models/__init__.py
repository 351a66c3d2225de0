"""Models on the disk: bundles, their store, and the import of official files without executing what is in them."""
