"""What the demo asks for: models, shapes, an edit, a job with two images, one with a webhook."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from functools import cache
from typing import Any

from PIL import Image, ImageDraw

from imagequeue.domain.images import Shape


@dataclass(frozen=True)
class Order:
    """One job.

    Attributes:
        model: id of the model.
        ratio: aspect ratio, or `auto`.
        prompt: what the simulator paints on the image.
        images: how many.
        webhook: whether the service tells the demo's receiver that the job is final; if not, the demo polls.
        edit: whether an image is sent along, which the model is to change.
    """

    model: str
    ratio: str
    prompt: str
    images: int = 1
    webhook: bool = False
    edit: bool = False

    @property
    def label(self) -> str:
        """The model's name in the path. In Pixazo's document edits have a model name of their own."""
        return f"{self.model}-edit" if self.edit else self.model

    @property
    def body(self) -> dict[str, Any]:
        """The JSON body of the submit."""
        asked = {"prompt": self.prompt, "aspect_ratio": self.ratio, "num_images": self.images}
        return asked | ({"image_urls": [sketch()]} if self.edit else {})

    def fits(self, width: int, height: int) -> bool:
        """Whether a size in pixels is what was asked for.

        Upstreams have sizes of their own for a ratio, and the service promises the ratio to 1 %
        (`imagequeue/providers/foundry_sizes.py`). With `auto` the upstream decides.
        """
        ratio = Shape.parse(self.ratio).ratio
        if ratio is None:
            return True
        across, down = width * ratio[1], height * ratio[0]
        return max(across, down) <= 1.01 * min(across, down)

    def file_name(self, number: int, ordinal: int) -> str:
        """`03-mai-2-5-9x16.png` for the third order; the second image of an order has `-2`."""
        model = self.label.removeprefix("microsoft-").replace("-image", "")
        more = f"-{ordinal}" if ordinal > 1 else ""
        return f"{number:02}-{model}-{self.ratio.replace(':', 'x')}{more}.png"


ORDERS = (
    Order("microsoft-mai-image-2-5", "16:9", "A lighthouse at dusk, waves breaking over the rocks"),
    Order("microsoft-mai-image-2-5", "1:1", "A ceramic teapot on a linen cloth, soft window light"),
    Order("microsoft-mai-image-2-5", "9:16", "A narrow street in the rain, seen from above"),
    Order("microsoft-mai-image-2-5", "3:2", "A fox asleep in the snow; announced by a webhook", webhook=True),
    Order("microsoft-mai-image-2-5", "auto", "The same hills in winter", edit=True),
    Order("microsoft-mai-image-2-5-flash", "4:3", "A paper boat on a pond, two versions", images=2),
    Order("microsoft-mai-image-2-5-flash", "4:5", "A botanical drawing of a thistle"),
    Order("microsoft-mai-image-2e", "auto", "A map of an island that does not exist"),
    Order("microsoft-mai-image-2", "5:4", "A workshop full of clocks, each at another hour"),
)


@cache
def sketch() -> str:
    """A drawing of hills, as a data URL."""
    image = Image.new("RGB", (1024, 768), "lightblue")
    draw = ImageDraw.Draw(image)
    draw.ellipse((-200, 420, 700, 1300), fill="darkgreen")
    draw.ellipse((400, 480, 1300, 1300), fill="forestgreen")
    content = io.BytesIO()
    image.save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
