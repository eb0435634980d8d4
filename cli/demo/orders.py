"""What the demo asks for: several models and shapes, one job with two images, one with a callback."""

from __future__ import annotations

from dataclasses import dataclass

from imagequeue.domain.images import Shape


@dataclass(frozen=True)
class Order:
    """One job.

    Attributes:
        model: id of the model.
        ratio: aspect ratio, or `auto`.
        prompt: what the simulator paints on the image.
        images: how many.
        callback: whether the result is announced to the demo's receiver; without it the demo polls.
    """

    model: str
    ratio: str
    prompt: str
    images: int = 1
    callback: bool = False

    def fits(self, width: int, height: int) -> bool:
        """Whether a size in pixels is what was asked for.

        Upstreams have sizes of their own for a ratio; 1 % is what the service promises (`foundry_sizes`).
        With `auto` the upstream decides.
        """
        ratio = Shape.parse(self.ratio).ratio
        if ratio is None:
            return True
        across, down = width * ratio[1], height * ratio[0]
        return max(across, down) <= 1.01 * min(across, down)

    def file_name(self, number: int, ordinal: int) -> str:
        """`03-mai-2-5-9x16.png` for the third order; the second image of an order has `-2`."""
        model = self.model.removeprefix("microsoft-").replace("-image", "")
        more = f"-{ordinal}" if ordinal > 1 else ""
        return f"{number:02}-{model}-{self.ratio.replace(':', 'x')}{more}.png"


ORDERS = (
    Order("microsoft-mai-image-2-5", "16:9", "A lighthouse at dusk, waves breaking over the rocks"),
    Order("microsoft-mai-image-2-5", "1:1", "A ceramic teapot on a linen cloth, soft window light"),
    Order("microsoft-mai-image-2-5", "9:16", "A narrow street in the rain, seen from above"),
    Order(
        "microsoft-mai-image-2-5", "3:2", "A fox asleep in the snow; announced by a callback", callback=True
    ),
    Order("microsoft-mai-image-2-5-flash", "4:3", "A paper boat on a pond, two versions", images=2),
    Order("microsoft-mai-image-2-5-flash", "4:5", "A botanical drawing of a thistle"),
    Order("microsoft-mai-image-2e", "auto", "A map of an island that does not exist"),
    Order("microsoft-mai-image-2", "5:4", "A workshop full of clocks, each at another hour"),
)
