"""Output sizes: from a ratio, or from an input image."""

MEGAPIXEL = 1024 * 1024  # pixels


def ratio_size(ratio: str) -> tuple[int, int]:
    """Width and height of at most a megapixel, multiples of 8; `ratio` is like 16:9, or auto (1:1)."""
    if ratio == "auto":
        ratio = "1:1"
    width, _, height = ratio.partition(":")
    return scaled((int(width), int(height)))


def scaled(shape: tuple[int, int]) -> tuple[int, int]:
    """The largest size of at most a megapixel with about the proportions of `shape`, no side under 64."""
    scale = (MEGAPIXEL / (shape[0] * shape[1])) ** 0.5
    width, height = (max(64, int(side * scale) // 8 * 8) for side in shape)
    return width, height
