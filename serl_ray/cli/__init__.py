"""The `serl` command: every flag comes from the declaration of its option."""
