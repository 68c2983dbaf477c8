"""Where training sound comes from: manifests, and recordings in memory or on the disk."""
