"""The operations that a GPU kernel can take over, one a file, each in plain PyTorch. Imports nothing of the package."""
