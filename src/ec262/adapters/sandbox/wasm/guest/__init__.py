"""What runs inside the engine, beside the runner that all sandboxes share."""
