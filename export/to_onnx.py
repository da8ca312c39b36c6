"""Write a network as an ONNX file: ``python export/to_onnx.py [--model FOLDER] -o network.onnx``."""

from anystar_torch.cli.export import script

if __name__ == "__main__":
    script("onnx")
