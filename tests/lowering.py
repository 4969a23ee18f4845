"""What a program says of itself in StableHLO: its products, loops and calls."""

import re

PRODUCT = re.compile(r"stablehlo\.(?:dot_general|convolution).*")
TARGET = re.compile(r"stablehlo\.custom_call @(\w+)")
OF_LIBRARIES = re.compile(r"(cusolver|cublas|cu_)\w*_ffi|Sharding|annotate_device_placement")


def short_products(text: str) -> list[str]:
    """The products of matrices that are neither of float64 nor in full precision."""
    products = [line for line in PRODUCT.findall(text) if "xf64>" not in line]
    return [line for line in products if "precision = [HIGHEST, HIGHEST]" not in line]


def products(text: str) -> int:
    return len(PRODUCT.findall(text))


def foreign_calls(text: str) -> set[str]:
    """The calls that are not of the device's own libraries, as those back to Python."""
    return {name for name in TARGET.findall(text) if not OF_LIBRARIES.fullmatch(name)}


def loops(text: str) -> int:
    return len(re.findall(r"stablehlo\.while", text))
