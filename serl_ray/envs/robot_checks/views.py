"""Comparison of a camera's image at the reset with the first images of demonstrations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from serl_ray.data.reference import DemoReference, small_image
from serl_ray.envs.robot_checks.result import CheckVerdict, RobotCheck

SAME_VIEW = 8.0
"""Mean difference of two images, of 255, below which they show the same. The tabletop tasks' and gym-hil's first images
differ by up to 5 from the nearest demonstration, because objects lie elsewhere; the injected faults by 15 or more."""
BEYOND_DEMOS, BEYOND_BY_MANY, MANY_STARTS = 2.0, 1.5, 3
"""Factor by which the difference to the nearest demonstration may exceed the largest one among demonstrations, and the
factor for the best of so many resets or more. The sound tasks stay below 1.6 and 1.1."""
SURE_PART = 0.8
"""Correlation of the brightness of two parts from which they show the same, and are not merely both plain."""
EXPLAINED = 0.6
"""Share of the difference that a known fault must leave at most to be named as its cause; the right one leaves less
than 0.45 in the cases of the tests, others more than 0.75."""
SWAPPED, RIGHT = 0.6, 0.8
"""Ratio of two differences of the colours to the nearest demonstration, with red and blue exchanged and as they are,
below which they are swapped; the inverse, below which they are right. The bundled tasks have 0.55 at most the right way
round."""
CERTAIN_SWAP, CERTAIN_SHARE = 0.35, 0.1
"""Ratio below which a swap is certain, if at least this share of the image is coloured: an object that alone has
another colour fills less."""
COLOURED, LEAST_COLOUR = 16.0, 3.0
"""Red minus blue from which a pixel counts as coloured, and the mean difference of it that is needed to tell anything;
both of 255."""
ZOOMS = np.linspace(0.4, 0.94, 10)
"""Sides of the part of an image that is looked for in the other one, as shares."""
_COLOUR_FIX = (
    "OpenCV gives BGR: turn it round where the camera is read, image[..., ::-1], or in the demonstrations if these are "
    "wrong."
)


def view_checks(reference: DemoReference, starts: Sequence[Mapping[str, np.ndarray]]) -> Iterator[RobotCheck]:
    """The checks of colours and view of each camera that demonstrations and the observations at resets share."""
    for key, demos in reference.images.items():
        found = [np.asarray(start[key]) for start in starts if key in start and np.ndim(start[key]) == 3]
        if found and found[0].shape[2] == 3:
            seen = np.stack([small_image(image) for image in found])
            nearest = [_nearest(image, demos) for image in seen]
            pair = (("here", found[int(np.argmin(nearest))]), ("demonstration", demos[0].round().astype(np.uint8)))
            colours = _colours(key, demos, seen[0], pair)
            yield colours
            yield _view(key, demos, seen[..., ::-1] if colours.verdict == "wrong" else seen, pair)


def _colours(key: str, demos: np.ndarray, seen: np.ndarray, pair: tuple[tuple[str, np.ndarray], ...]) -> RobotCheck:
    title = f"Colours of camera {key}"
    ours, theirs = _warmth(seen), _warmth(demos)
    same = float(np.abs(theirs - ours).mean(axis=(1, 2)).min())
    swapped = float(np.abs(theirs + ours).mean(axis=(1, 2)).min())
    if max(same, swapped) < LEAST_COLOUR:
        return RobotCheck(
            title, "unknown", "The scene has too little colour to tell RGB from BGR: look yourself.", pair
        )
    number = f"the colours differ by {same:.1f} of 255 from the nearest demonstration, and by {swapped:.1f} if swapped"
    if swapped < SWAPPED * same:
        coloured = float(min((np.abs(ours) > COLOURED).mean(), (np.abs(theirs) > COLOURED).mean()))
        is_certain = swapped < CERTAIN_SWAP * same and coloured >= CERTAIN_SHARE
        text = f"Camera `{key}` has red and blue swapped against the demonstrations: {number}. {_COLOUR_FIX}"
        return RobotCheck(title, "wrong", text, pair, is_certain=is_certain)
    if same < RIGHT * swapped:
        return RobotCheck(title, "fine", f"Red and blue are where the demonstrations have them: {number}.", pair)
    return RobotCheck(title, "unknown", f"RGB cannot be told from BGR, look yourself: {number}.", pair)


def _warmth(images: np.ndarray) -> np.ndarray:
    """Red minus blue (..., S, S), without its median in each image, so that the light's colour does not count."""
    warmth = images[..., 0] - images[..., 2]
    return np.asarray(warmth - np.median(warmth, axis=(-2, -1), keepdims=True))


def _view(key: str, demos: np.ndarray, starts: np.ndarray, pair: tuple[tuple[str, np.ndarray], ...]) -> RobotCheck:
    """The check of light, crop, direction and place of a camera; its colours are right."""
    factor = BEYOND_DEMOS if len(starts) < MANY_STARTS else BEYOND_BY_MANY
    seen = min(starts, key=lambda image: _nearest(image, demos))
    found, limit = _nearest(seen, demos), max(SAME_VIEW, factor * _spread(demos))
    number = f"differs by {found:.0f} of 255 from the nearest demonstration, and up to {limit:.0f} would be usual"
    if found <= limit:
        return _of_view(key, "fine", f"Camera `{key}` {number}.", pair)
    causes = dict(_causes(demos, seen))
    cause = min(causes, key=lambda name: causes[name])
    if causes[cause] > EXPLAINED * found:
        cause = (
            "The camera was moved, turned, cropped in another way or is another one, or the scene has changed: make it "
            "as it was, or record new demonstrations."
        )
    return _of_view(key, "wrong", f"Camera `{key}` {number}. {cause}", pair)


def _of_view(key: str, verdict: CheckVerdict, text: str, pair: tuple[tuple[str, np.ndarray], ...]) -> RobotCheck:
    return RobotCheck(f"View of camera {key}", verdict, text, pair)


def _causes(demos: np.ndarray, seen: np.ndarray) -> Iterator[tuple[str, float]]:
    """The known faults in words, each with the difference that it leaves."""
    light, brightness = _light(demos, seen)
    yield (
        f"The image is {abs(brightness):.0%} {'brighter' if brightness > 0 else 'darker'}: set the exposure and the "
        "lamps as they were, and switch automatic exposure off.",
        light,
    )
    for name, turned in (
        ("mirrored", seen[:, ::-1]),
        ("upside down", seen[::-1]),
        ("turned by 180 degrees", seen[::-1, ::-1]),
    ):
        yield f"The image is {name}: turn the camera, or the image in the env.", _nearest(turned, demos)
    few = demos[:3]
    part = min(_best_part(whole, seen) for whole in few)
    yield (
        f"The image shows {part[1]:.0%} of the demonstrations' width: crop in the env as in the demonstrations.",
        part[0],
    )
    whole = min(_best_part(seen, demo) for demo in few)
    yield (
        f"The demonstrations show {whole[1]:.0%} of the image's width: crop in the env as in the demonstrations.",
        whole[0],
    )


def _nearest(seen: np.ndarray, demos: np.ndarray) -> float:
    """The mean difference of an image (S, S, 3) to the nearest of others (N, S, S, 3)."""
    return float(np.abs(demos - seen).mean(axis=(1, 2, 3)).min())


def _spread(demos: np.ndarray) -> float:
    """The largest difference of an image to the nearest other one; 0 of one alone."""
    if len(demos) < 2:
        return 0.0
    return max(_nearest(image, np.delete(demos, place, axis=0)) for place, image in enumerate(demos))


def _light(demos: np.ndarray, seen: np.ndarray) -> tuple[float, float]:
    """The difference that a change of brightness and contrast leaves, and the change of brightness as a share."""
    usual = np.median(demos, axis=0)
    gain, offset = np.polyfit(seen.ravel(), usual.ravel(), 1)
    change = float(seen.mean() / max(usual.mean(), 1.0) - 1.0)
    return (_nearest(np.clip(gain * seen + offset, 0, 255), demos) if gain > 0 else np.inf), change


def _best_part(whole: np.ndarray, part: np.ndarray) -> tuple[float, float]:
    """The difference of an image to the part of another one that is most like it, and the side of that part."""
    side = len(whole)
    best = (np.inf, 1.0)
    for zoom in ZOOMS:
        size = round(zoom * side)
        for top in np.linspace(0, side - size, 5).astype(int):
            for left in np.linspace(0, side - size, 5).astype(int):
                cut = _enlarged(whole[top : top + size, left : left + size], side)
                difference = float(np.abs(cut - part).mean())
                if difference < best[0] and _alike(cut, part) > SURE_PART:
                    best = (difference, float(zoom))
    return best


def _alike(first: np.ndarray, second: np.ndarray) -> float:
    """The correlation of the brightness of two images (S, S, 3); 0 of plain ones."""
    one, other = (image.mean(axis=2).ravel() for image in (first, second))
    return float(np.corrcoef(one, other)[0, 1]) if one.std() > 1.0 and other.std() > 1.0 else 0.0


def _enlarged(image: np.ndarray, side: int) -> np.ndarray:
    """An image (s, s, 3) as (side, side, 3), linear between its pixels."""
    places = ((np.arange(side) + 0.5) * len(image) / side - 0.5).clip(0, len(image) - 1)
    low = np.floor(places).astype(int)
    high, share = np.minimum(low + 1, len(image) - 1), (places - low)[:, None, None]
    rows = image[low] * (1 - share) + image[high] * share
    columns = rows[:, low] * (1 - share[:, 0][None]) + rows[:, high] * share[:, 0][None]
    return np.asarray(columns)
