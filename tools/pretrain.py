"""Trains a model of the package and writes its weights and its card: python tools/pretrain.py NAME

NAME is digits (half a minute), or mnist (minutes; it is downloaded unless CVAE_NB_DATA names a folder with mnist.npz). The files
are cvae_nb/weights/NAME.npz, float16 arrays, and cvae_nb/weights/NAME.json, the card with the figures on the test images.
"""
import argparse
from pathlib import Path

from cvae_nb.pretrained import PRETRAINED, make_pretrained

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(PRETRAINED))
    name = parser.parse_args().name
    print(make_pretrained(name, Path(__file__).resolve().parent.parent / "cvae_nb" / "weights"))
