"""Raw driving logs to a versioned feature store, on CPU nodes, without torch."""
