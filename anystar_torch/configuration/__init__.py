"""Find, compose and instantiate configuration files. Below training only this room imports Hydra."""
