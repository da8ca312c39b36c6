"""The check of the project's language: ``python -m tests.prose [paths]``."""
