"""A square follows the person of the key points, by time, and keeps its size."""

from types import SimpleNamespace

import numpy as np

from hand_signal.clips import ClipDataset, Preprocessing
from hand_signal.data import ClipExample
from hand_signal.person_crop import Cropper


def moving_dot(frames=10, size=60):
    images = np.zeros((frames, size, 2 * size, 3), np.uint8)
    places = [(30, 10 + 10 * k) for k in range(frames)]
    for image, (y, x) in zip(images, places, strict=True):
        image[y, x] = 255
    return images, places


def test_the_square_follows_the_box_by_time_and_has_one_size():
    images, places = moving_dot()
    boxes = np.array([[x - 8, y - 5, x + 8, y + 5] for y, x in places[::2]], float)  # half as many as frames
    cropper = Cropper(boxes, (120, 60), lambda frames: frames)
    numbers = cropper.choose_sorted(lambda total: [4, 0, 4, 8])(len(images))
    squares = cropper.restore(cropper(images[numbers]))
    assert numbers == [0, 4, 8] and squares.shape == (4, 16, 16, 3)
    assert [np.argwhere(square[..., 0] == 255)[0].tolist() for square in squares] == [[8, 8]] * 4


def test_boxes_of_another_size_are_scaled_and_beyond_the_frame_the_border_is_repeated():
    images, _ = moving_dot()
    images[:, :, 0] = 77
    cropper = Cropper(np.tile([[-10.0, 0, 10, 20]], (10, 1)), (240, 120), lambda frames: frames)
    numbers = cropper.choose_sorted(range)(10)
    squares = cropper(images[numbers])
    assert squares.shape == (10, 10, 10, 3) and (squares[:, :, :6] == 77).all()


def test_a_second_decoder_may_ask_again():
    images, places = moving_dot()
    cropper = Cropper(np.array([[x - 8, y - 8, x + 8, y + 8] for y, x in places], float), (120, 60), lambda f: f)
    choose = cropper.choose_sorted(lambda total: [1, 2])
    choose(10)
    cropper(images[[1]])
    assert len(cropper(images[choose(10)])) == 2


def test_the_same_boxes_of_frames_of_another_size_are_not_taken_from_the_cache(tmp_path):
    clip = tmp_path / "a.mp4"
    clip.write_bytes(b"a clip")
    how = Preprocessing(4, 0, 32, [0.0] * 3, [1.0] * 3, True, "none", 1, 1, crop_to_person=True)
    pose = SimpleNamespace(size=(640.0, 480.0))
    example = ClipExample("a.mp4", clip, pose=pose, boxes=np.ones((3, 4)))
    dataset = ClipDataset([example], how, str(tmp_path))
    before = dataset.cache_file(example)
    assert dataset.cache_file(example) == before
    pose.size = (1280.0, 960.0)  # as somebody mends it in the --pose_file
    assert dataset.cache_file(example) != before
