"""Write a network as a MONAI bundle: ``python export/to_monai.py [--model FOLDER] -o bundle``."""

from anystar_torch.cli.export import script

if __name__ == "__main__":
    script("monai")
