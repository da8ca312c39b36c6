"""Train a network: ``python train.py +experiment=mix [group=choice] [key=value]``, as ``anystar train``."""

from anystar_torch.training.main import main

if __name__ == "__main__":
    main()
