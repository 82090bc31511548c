"""The journey of a request, and the workspace it happens in. Import from its modules: some of them need no torch."""
