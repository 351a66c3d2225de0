"""How good the heads are: metrics against synthetic ground truth, and the quality reports of real photos."""
