"""Batches: the same images in the same order, in the device's memory, streamed, or decoded by workers."""

import numpy as np
import pytest
import torch
from PIL import Image

from ppvae.datasets import DecodedImages, ImageDataset, RenderedImages, StoredImages, image_folder
from ppvae.errors import UserError
from ppvae.svi import batches as module
from ppvae.svi.batches import Batches, fits

CPU = torch.device("cpu")
PIXELS = torch.arange(50, dtype=torch.uint8).view(50, 1, 1, 1).expand(-1, 3, 4, 5).contiguous()


def read(path: str) -> torch.Tensor:
    """A stand-in for decoding: the image's number is its name."""
    if path == "13":
        raise UserError("13 brings bad luck")
    return PIXELS[int(path)]


def decoded(files=range(50)) -> DecodedImages:
    return DecodedImages([str(number) for number in files if number != 13], read, (3, 4, 5))


def numbers(stream) -> list[list[int]]:
    return [images[:, 0, 0, 0].tolist() for images, *_ in stream]


def made(source, size=8, seed=0, rank=0, ranks=1) -> Batches:
    return Batches(source, size, seed, CPU, rank, ranks)


@pytest.fixture
def no_room(monkeypatch) -> None:
    monkeypatch.setattr(module, "fits", lambda *_: False)
    monkeypatch.setattr(Batches, "resident", property(lambda _: False))


@pytest.fixture
def workers(monkeypatch) -> None:
    monkeypatch.setattr(module, "FEW_FILES", 0)


SOURCES = {
    "stored": StoredImages(PIXELS),
    "floats": PIXELS.float(),
    "rendered": RenderedImages(lambda rows: PIXELS[rows], torch.arange(50), (3, 4, 5)),
}


def test_an_epoch_is_a_permutation_without_the_rest():
    batches = made(PIXELS)
    epochs = [numbers(batches.epoch(epoch)) for epoch in (0, 1, 0)]
    assert epochs[0] == epochs[2] != epochs[1]
    for epoch in epochs:
        assert [len(batch) for batch in epoch] == [8] * 6
        assert len({number for batch in epoch for number in batch}) == 48
    assert epochs[0] != numbers(made(PIXELS, seed=1).epoch(0))
    assert numbers([batches.first()]) == [list(range(8))]


@pytest.mark.parametrize("name", SOURCES)
def test_streamed_images_are_the_resident_ones(name, request):
    expected = [[images for (images,) in made(PIXELS).epoch(epoch)] for epoch in range(2)]
    request.getfixturevalue("no_room")
    batches, state = made(SOURCES[name]), torch.get_rng_state()
    for epoch in range(2):
        streamed = [images for (images,) in batches.epoch(epoch)]
        assert [b.dtype for b in streamed] == [torch.float32 if name == "floats" else torch.uint8] * 6
        assert all(torch.equal(one.to(torch.uint8), two) for one, two in zip(streamed, expected[epoch], strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert numbers([batches.first()]) == [list(range(8))]


@pytest.mark.usefixtures("workers")
def test_workers_decode_the_same_batches_for_several_epochs():
    files = [number for number in range(50) if number != 13]
    stored, batches = made(PIXELS[files]), made(decoded())
    assert stored.resident
    assert not batches.resident
    state = torch.get_rng_state()
    for epoch in range(3):
        assert numbers(batches.epoch(epoch)) == numbers(stored.epoch(epoch))
    assert batches._loader.num_workers >= 1
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.usefixtures("workers")
def test_an_epoch_that_was_left_does_not_touch_the_next():
    stored, batches = made(PIXELS[14:]), made(decoded(range(14, 50)))
    next(batches.epoch(0))
    assert numbers(batches.epoch(1)) == numbers(stored.epoch(1))


@pytest.mark.usefixtures("workers")
def test_a_broken_file_in_a_worker_is_one_line(tmp_path):
    for k in range(6):
        Image.fromarray(np.full((4, 4), k, dtype=np.uint8)).save(tmp_path / f"{k}.png")
    (tmp_path / "3.png").write_bytes(b"broken")
    batches = made(image_folder(tmp_path, image_size=4, resident=False).images, size=3)
    with pytest.raises(UserError, match=r"3\.png") as caught:
        list(batches.epoch(0))
    assert "\n" not in str(caught.value)
    assert len(batches.first()[0]) == 3


def test_few_files_need_no_workers():
    assert made(decoded())._loader.num_workers == 0
    assert made(SOURCES["rendered"])._loader.num_workers == 0


@pytest.mark.parametrize("kind", ["resident", "streamed"])
def test_ranks_share_the_batches(kind, request):
    if kind == "streamed":
        request.getfixturevalue("no_room")
    whole = numbers(made(PIXELS, size=8).epoch(2))
    shares = [made(PIXELS, size=8, rank=rank, ranks=2) for rank in range(2)]
    assert [batches.size for batches in shares] == [4, 4]
    halves = zip(*(numbers(batches.epoch(2)) for batches in shares), strict=True)
    assert [first + second for first, second in halves] == whole


def test_more_ranks_than_images():
    with pytest.raises(UserError, match="1 images cannot be shared by 2 devices"):
        made(PIXELS[:1], ranks=2)


def test_images_fit_in_two_fifths_of_a_gpus_free_memory(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1000, 80_000))
    cuda = torch.device("cuda")
    assert fits(torch.zeros(400, dtype=torch.uint8), cuda)
    assert not fits(torch.zeros(401, dtype=torch.uint8), cuda)
    assert not fits(torch.zeros(101), cuda)  # floats take four times the bytes
    assert fits(torch.zeros(10_000), CPU)


def test_stored_images_on_the_cpu_are_not_copied():
    data = ImageDataset(PIXELS)
    assert made(data.images).source.data_ptr() == PIXELS.data_ptr()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gets_the_same_batches_streamed_and_resident(monkeypatch):
    cuda = torch.device("cuda")
    resident = Batches(PIXELS, 8, 0, cuda, 0, 1)
    monkeypatch.setattr(module, "SHARE", 0.0)
    streamed = Batches(PIXELS, 8, 0, cuda, 0, 1)
    assert (resident.resident, streamed.resident) == (True, False)
    for (one,), (two,) in zip(resident.epoch(1), streamed.epoch(1), strict=True):
        assert one.is_cuda
        assert torch.equal(one, two)


@pytest.mark.parametrize("room", [True, False])
def test_what_is_given_stays_with_its_image(monkeypatch, room):
    """Each image's number comes with it, resident or streamed, in every epoch and share."""
    if not room:
        monkeypatch.setattr(module, "fits", lambda *_: False)
        monkeypatch.setattr(Batches, "resident", property(lambda _: False))
    given = (torch.arange(50), torch.arange(50.0)[:, None].expand(50, 2))
    for rank in range(2):
        batches = Batches(PIXELS, 8, 0, CPU, rank, 2, given=given)
        for images, labels, rows in [batches.first(), *batches.epoch(0), *batches.epoch(1)]:
            assert images[:, 0, 0, 0].tolist() == PIXELS[labels][:, 0, 0, 0].tolist()
            assert rows.tolist() == [[label, label] for label in labels.tolist()]
