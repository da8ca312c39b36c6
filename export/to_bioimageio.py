"""Write a network as a BioImage.IO package: ``python export/to_bioimageio.py [--model FOLDER] -o package.zip``."""

from anystar_torch.cli.export import script

if __name__ == "__main__":
    script("bioimageio")
