"""Write a network as a StarDist model: ``python export/to_keras.py [--model FOLDER] -o stardist_model``."""

from anystar_torch.cli.export import script

if __name__ == "__main__":
    script("keras")
