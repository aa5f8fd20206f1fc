"""The server: loads the artifacts that are checked out and predicts with them."""
