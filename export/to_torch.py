"""Write a network as a torch.export program: ``python export/to_torch.py [--model FOLDER] -o network.pt2``."""

from anystar_torch.cli.export import script

if __name__ == "__main__":
    script("torch")
