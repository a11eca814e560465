"""A traversal as an animation, there and back: GIF by Pillow, MP4 by ffmpeg."""

import importlib.util
import io
import shutil
import subprocess
import tempfile
from math import ceil
from pathlib import Path

import numpy as np
from PIL import Image

from ppvae.errors import UserError

__all__ = ["FRAMES_PER_SECOND", "ffmpeg", "gif", "mp4", "there_and_back"]

FRAMES_PER_SECOND = 12
SHORTEST = 256  # pixels that the longer side of a frame is enlarged to, by a whole factor


def there_and_back(frames: np.ndarray) -> np.ndarray:
    """Frames (step, ...) → (2 · step − 2, ...), which end where they begin, so that they can be repeated."""
    return np.concatenate([frames, frames[-2:0:-1]])


def gif(frames: np.ndarray) -> bytes:
    """Frames (step, H, W) or (step, H, W, 3), uint8, as a GIF that repeats for ever.

    Grey levels are kept; colours are the nearest of 256 that are chosen for all frames together. Frames that are alike
    are one that is shown for as long.
    """
    pictures = [Image.fromarray(frame) for frame in _enlarged(there_and_back(frames))]
    if frames.ndim == 4:
        pictures = _of_one_palette(pictures)
    file, duration = io.BytesIO(), round(1000 / FRAMES_PER_SECOND / 10) * 10  # a GIF counts hundredths of a second
    pictures[0].save(
        file, "gif", save_all=True, append_images=pictures[1:], loop=0, duration=duration, optimize=False, disposal=1
    )
    return file.getvalue()


def _of_one_palette(pictures: list[Image.Image]) -> list[Image.Image]:
    whole = Image.fromarray(np.concatenate([np.asarray(picture) for picture in pictures]))
    palette = whole.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    return [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]


def mp4(frames: np.ndarray) -> bytes:
    """The same as H.264 in MP4. Errors: :class:`~ppvae.UserError` where there is no ffmpeg, or it fails."""
    program = ffmpeg()
    if program is None:
        raise UserError("MP4 takes ffmpeg, which is not installed: apt install ffmpeg, or pip install imageio-ffmpeg")
    coloured = frames if frames.ndim == 4 else np.repeat(frames[..., None], 3, -1)
    pixels = _even(_enlarged(there_and_back(coloured)))
    size = f"{pixels.shape[2]}x{pixels.shape[1]}"
    taken = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(FRAMES_PER_SECOND), "-i", "-"]
    made = ["-c:v", "libx264", "-crf", "16", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "traversal.mp4"  # its index is written last, so that it cannot be a pipe
        command = [program, "-loglevel", "error", "-y", *taken, *made, str(out)]
        done = subprocess.run(command, input=pixels.tobytes(), capture_output=True, check=False)
        if done.returncode or not out.is_file():
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise UserError(f"ffmpeg made no MP4: {said[-1] if said else f'exit code {done.returncode}'}")
        return out.read_bytes()


def ffmpeg() -> str | None:
    """Its path: the system's or imageio-ffmpeg's; None where there is neither."""
    found = shutil.which("ffmpeg")
    if found is None and importlib.util.find_spec("imageio_ffmpeg") is not None:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    return found


def _enlarged(frames: np.ndarray) -> np.ndarray:
    """Each pixel as a square of them, where frames are small."""
    factor = ceil(SHORTEST / max(frames.shape[1:3])) if max(frames.shape[1:3]) < SHORTEST else 1
    return frames.repeat(factor, 1).repeat(factor, 2)


def _even(frames: np.ndarray) -> np.ndarray:
    """H.264 takes frames of even sides alone: the last row or column once more."""
    rows, columns = frames.shape[1] % 2, frames.shape[2] % 2
    return np.pad(frames, [(0, 0), (0, rows), (0, columns), (0, 0)], mode="edge")
