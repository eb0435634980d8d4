"""The request for images in one form for all dialects and providers, which have nothing else in common.

A `Requirement` is the part of a request that decides which deployments can serve it. It has a short text
form, because jobs with equal requirements wait in the same flow (docs/design/pipeline.md, "Dispatch").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, cast

from imagequeue.domain.errors import InvalidRequest

Operation = Literal["generate", "edit"]
OutputFormat = Literal["png", "jpeg", "webp"]
MEDIA_TYPES: dict[OutputFormat, str] = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}

PROMPT_LENGTH_STEPS = (2, 4_000, 5_000, 32_000)
"""Characters: the limits of the upstreams. A requirement has the step instead of the prompt's length, so that
prompts of different length wait in the same flow (docs/design/protocols.md, "Routing").

The first step is for prompts that are too short for Pixazo, which requires 3 characters.
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of an image: `auto`, or a ratio, or an exact size in pixels."""

    ratio: tuple[int, int] | None = None
    size: tuple[int, int] | None = None

    def __str__(self) -> str:
        if self.size:
            return f"{self.size[0]}x{self.size[1]}"
        return f"{self.ratio[0]}:{self.ratio[1]}" if self.ratio else "auto"

    @classmethod
    def parse(cls, text: str) -> Shape:
        """Read `auto`, `16:9` or `1024x768`.

        Raises:
            InvalidRequest: the text is none of the three.
        """
        if text == "auto":
            return AUTO
        for separator in (":", "x"):
            left, found, right = text.partition(separator)
            if found and left.isdecimal() and right.isdecimal() and int(left) and int(right):
                pair = (int(left), int(right))
                return cls(ratio=pair) if separator == ":" else cls(size=pair)
        raise InvalidRequest(
            f"'{text}' is not a shape: use auto, a ratio such as 16:9, or a size such as 1024x768"
        )


AUTO = Shape()


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a deployment must be able to do to serve a job.

    `unfetched`: some input images must still be fetched from URLs; until then no deployment serves the job.
    """

    operation: Operation = "generate"
    shape: Shape = AUTO
    image_count: int = 1
    output_format: OutputFormat = "png"
    input_count: int = 0
    has_mask: bool = False
    prompt_limit: int = PROMPT_LENGTH_STEPS[1]
    unfetched: bool = False

    def __str__(self) -> str:
        marks = ("m" if self.has_mask else "") + ("u" if self.unfetched else "")
        parts = (self.operation, self.shape, self.image_count, self.output_format)
        return "/".join(map(str, (*parts, f"{self.input_count}{marks}", self.prompt_limit)))

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """Read what `str()` wrote."""
        operation, shape, count, output_format, inputs, limit = text.split("/")
        return cls(
            operation=cast("Operation", operation),
            shape=Shape.parse(shape),
            image_count=int(count),
            output_format=cast("OutputFormat", output_format),
            input_count=int(inputs.rstrip("mu")),
            has_mask="m" in inputs,
            prompt_limit=int(limit),
            unfetched="u" in inputs,
        )


def is_url(source: str) -> bool:
    """Whether an input image is a URL, and not a key of the storage."""
    return "://" in source


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One request for images, the same for every dialect.

    `input_images` and `mask` are storage keys (`inputs/{sha256}`) or http(s) URLs that are still to be
    fetched. `options` holds what only some upstreams take: quality, background, moderation,
    input_fidelity, temperature, max_tokens, max_completion_tokens.
    """

    model_id: str
    prompt: str
    operation: Operation = "generate"
    image_count: int = 1
    shape: Shape = AUTO
    output_format: OutputFormat = "png"
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    input_images: tuple[str, ...] = ()
    mask: str | None = None

    @property
    def requirement(self) -> Requirement:
        """What a deployment must be able to do to serve this request."""
        length = len(self.prompt)
        limit = next((step for step in PROMPT_LENGTH_STEPS if length <= step), length)
        return Requirement(
            operation=self.operation,
            shape=self.shape,
            image_count=self.image_count,
            output_format=self.output_format,
            input_count=len(self.input_images),
            has_mask=self.mask is not None,
            prompt_limit=limit,
            unfetched=self.unfetched,
        )

    @property
    def unfetched(self) -> bool:
        """Whether some input images are still to be fetched."""
        return any(is_url(source) for source in (*self.input_images, self.mask or ""))

    def parameters(self) -> dict[str, Any]:
        """Everything but the model and the prompt, as JSON for `job_requests.parameters`."""
        return {
            "operation": self.operation,
            "image_count": self.image_count,
            "shape": str(self.shape),
            "output_format": self.output_format,
            "options": self.options,
            "input_images": list(self.input_images),
            "mask": self.mask,
        }

    @classmethod
    def from_parameters(cls, model_id: str, prompt: str, parameters: dict[str, Any]) -> ImageRequest:
        """Rebuild what `parameters()` wrote."""
        plain = dict(parameters)
        plain["shape"] = Shape.parse(plain["shape"])
        plain["input_images"] = tuple(plain["input_images"])
        return cls(model_id=model_id, prompt=prompt, **plain)
