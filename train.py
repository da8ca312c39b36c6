"""Train a network: ``python train.py +experiment=mix [group=choice] [key=value]``, as ``anystar train``."""

import sys

try:
    from anystar_torch.training.main import main
except ModuleNotFoundError as error:
    sys.exit(
        f"train.py: the package {error.name} is not installed; install all with: make setup, or pip install -e ."
    )

if __name__ == "__main__":
    main()
