"""The configuration files: found, composed and turned into objects. The only room below training that sees Hydra."""
